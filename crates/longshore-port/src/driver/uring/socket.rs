//! One socket of the port: which ops it has in flight, and how it leaves.

use crate::{Addr, Call, ErrorKind, InFlight, PortError, RawSocket, Unattached};
use io_uring::types;
use longshore_base::Token;
use rustix::fs::OFlags;
use socket2::Socket as SystemSocket;
use std::io;
use std::net::Shutdown;
use std::os::fd::AsRawFd;

/// A socket that this port holds.
pub(super) struct Socket {
    /// What the owner calls it.
    pub(super) owner: Token,
    pub(super) system: SystemSocket,
    /// What its owner has asked for and got no answer to.
    pub(super) ops: InFlight,
    pub(super) role: Role,
    pub(super) recv: Recv,
    /// The watch in flight.
    pub(super) watch: Option<Watch>,
    /// The send in flight, by its slot.
    pub(super) send: Option<Token>,
    pub(super) leaving: Option<Leaving>,
}

const _: () = assert!(size_of::<Socket>() <= 128, "two cache lines an idle connection");

pub(super) enum Role {
    Connection { peer: Addr, local: Addr },
    Connecting(Box<Connecting>),
    Listener { local: Addr, accepting: Option<Box<Accepting>> },
}

/// A connect in flight.
pub(super) struct Connecting {
    /// The address in the form that the kernel reads.
    pub(super) to: socket2::SockAddr,
    pub(super) peer: Addr,
    pub(super) cancelled: bool,
}

/// An accept op: up to so many accepts of the ring at once.
pub(super) struct Accepting {
    /// The slots of those in flight.
    pub(super) slots: Vec<Token>,
    /// Connections that none of them stands for yet.
    pub(super) credit: u32,
    pub(super) cancelled: bool,
    pub(super) error: Option<PortError>,
}

/// A receive op.
#[derive(Clone, Copy, Default)]
pub(super) struct Recv {
    pub(super) state: RecvState,
    pub(super) credit: u32,
    /// The place in the queue for buffers, 0 for none; kept until bytes came.
    pub(super) ticket: u64,
    /// The ring was asked to end it.
    pub(super) cancelled: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum RecvState {
    #[default]
    Idle,
    /// The kernel has it.
    Armed,
    /// It waits for a buffer.
    Parked,
}

/// A watch op.
#[derive(Clone, Copy)]
pub(super) struct Watch {
    /// The end of the peer's stream ends it.
    pub(super) half: bool,
    /// What it watches for has come.
    pub(super) over: bool,
    /// The ring was asked to end it.
    pub(super) cancelled: bool,
}

/// How a socket leaves the port.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Leaving {
    Detached,
    Closed,
    Aborted,
}

impl Socket {
    pub(super) fn new(owner: Token, system: SystemSocket, role: Role) -> Self {
        let ops = match role {
            Role::Connection { .. } => InFlight::connection(),
            Role::Connecting(_) => InFlight::connecting(),
            Role::Listener { .. } => InFlight::listener(),
        };
        Self {
            owner,
            system,
            ops,
            role,
            recv: Recv::default(),
            watch: None,
            send: None,
            leaving: None,
        }
    }

    #[inline]
    pub(super) fn fd(&self) -> types::Fd {
        types::Fd(self.system.as_raw_fd())
    }

    /// Whether the ring knows nothing of it.
    pub(super) fn is_idle(&self) -> bool {
        let role_idle = match &self.role {
            Role::Connection { .. } => true,
            Role::Connecting(_) => false,
            Role::Listener { accepting, .. } => accepting.is_none(),
        };
        let input_idle = self.recv.state == RecvState::Idle && self.watch.is_none();
        role_idle && input_idle && self.send.is_none()
    }

    /// Ends the stream of a connection that closes while the ring still holds it: the peer is told at
    /// once, where `close` alone would leave it open for the receive in flight. A system call, not an
    /// op: the ring hands that to a thread. With nothing in flight `close` does it all.
    pub(super) fn end_stream(&self) {
        let connection = matches!(self.role, Role::Connection { .. });
        if connection && self.leaving == Some(Leaving::Closed) && !self.is_idle() {
            // An error says that the connection is gone already.
            let _ = self.system.shutdown(Shutdown::Both);
        }
    }

    /// Whether it is being closed, so that errors of its ops are our own doing.
    pub(super) fn is_closing(&self) -> bool {
        matches!(self.leaving, Some(Leaving::Closed | Leaving::Aborted))
    }
}

/// Makes a socket fit for the ring: on some kernels a non-blocking one would fail instead of waiting.
/// `either` is whether the ring's ops were seen to wait on both kinds.
///
/// # Errors
/// With the socket: it is one of a simulation, or the system refused.
pub(super) fn make_fit(
    raw: RawSocket,
    either: bool,
) -> Result<SystemSocket, (PortError, RawSocket)> {
    match raw {
        RawSocket::System(system) if either => Ok(system),
        RawSocket::System(system) => match set_blocking(&system) {
            Ok(()) => Ok(system),
            Err(error) => {
                Err((PortError::from_io(Call::Attach, &error), RawSocket::System(system)))
            }
        },
        RawSocket::Virtual(_) => Err((PortError::new(Call::Attach, ErrorKind::Unsupported), raw)),
    }
}

fn set_blocking(system: &SystemSocket) -> io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(system)?;
    if flags.contains(OFlags::NONBLOCK) {
        rustix::fs::fcntl_setfl(system, flags - OFlags::NONBLOCK)?;
    }
    Ok(())
}

/// A connected socket as a value without a port.
pub(super) fn unattached(system: SystemSocket, peer: Addr, local: Addr) -> Unattached {
    Unattached { peer, local, raw: RawSocket::System(system) }
}
