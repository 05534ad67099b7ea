//! One socket of the port: what is in flight on it.

use crate::driver::turns::{Received, Receiver, receive_once};
use crate::{Addr, End, InFlight, PortError, RecvPool, SocketOptions};
use longshore_base::Token;
use socket2::Socket;
use std::io::{self, ErrorKind as IoErrorKind, Read};
use std::rc::Rc;

/// A socket that the port holds.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, not a state machine")]
pub(super) struct Entry {
    /// What its owner calls it.
    pub(super) token: Token,
    pub(super) socket: Socket,
    pub(super) local: Addr,
    /// What its owner has asked for and got no answer to.
    pub(super) ops: InFlight,
    pub(super) role: Role,
    /// What the receive or the accept in flight may still take; 0 if there is none.
    pub(super) credit: u32,
    /// What connections of a listener are to have: here they do not inherit it.
    pub(super) options: Option<Box<SocketOptions>>,
    /// How the accept in flight ends, once all that the system has of it are back.
    pub(super) accept_end: Option<End>,
    /// Accepts in a row that took nobody, since the peer was gone.
    pub(super) passed: u32,
    /// Ops that the system has of this socket; it closes when there are none.
    pub(super) pending: u32,
    /// The wait for something to receive. Takes nothing, so it may outlive the receive.
    pub(super) waits_readable: Option<Token>,
    /// A receive may find something.
    pub(super) readable: bool,
    /// How that wait failed, which a receive may not say again.
    pub(super) broken: Option<PortError>,
    /// The send that the system has.
    pub(super) send: Option<Token>,
    /// The watch in flight.
    pub(super) watch: Option<Watch>,
    /// Our stream has ended.
    pub(super) shut: bool,
    /// An op that is over at once puts no packet.
    pub(super) skips: bool,
    /// The last op of all, if it was submitted.
    pub(super) ending: Option<Ending>,
    /// It was told to end what is in flight.
    pub(super) closing: bool,
    /// It stands in the list of those to go on with, or of those without a lease.
    pub(super) queued: bool,
}

/// What kind of socket it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    Listener,
    /// Its attempt to connect is in flight: that op.
    Connecting(Option<Token>),
    Connection,
}

/// How a socket leaves the port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ending {
    Close,
    Abort,
    Detach,
}

/// A watch in flight.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watch {
    pub(super) half: bool,
    /// The question that the system has, if it took it.
    pub(super) poll: Option<Token>,
}

impl Entry {
    pub(super) fn new(socket: Socket, token: Token, role: Role, local: Addr) -> Self {
        Self {
            token,
            socket,
            local,
            ops: match role {
                Role::Listener => InFlight::listener(),
                Role::Connecting(_) => InFlight::connecting(),
                Role::Connection => InFlight::connection(),
            },
            role,
            credit: 0,
            options: None,
            accept_end: None,
            passed: 0,
            pending: 0,
            waits_readable: None,
            readable: false,
            broken: None,
            send: None,
            watch: None,
            shut: false,
            skips: false,
            ending: None,
            closing: false,
            queued: false,
        }
    }
}

impl Receiver for Entry {
    fn owner(&self) -> Token {
        self.token
    }

    fn ops(&mut self) -> &mut InFlight {
        &mut self.ops
    }

    fn credit(&mut self) -> &mut u32 {
        &mut self.credit
    }

    fn set_queued(&mut self, queued: bool) {
        self.queued = queued;
    }

    #[inline]
    fn can_go_on(&self) -> bool {
        self.readable && self.credit > 0 && self.role == Role::Connection
    }

    /// Fewer than there was room for are all there were, as far as one can see: the next wait for
    /// something to receive tells at once if there is more.
    #[inline]
    fn receive(&mut self, pool: &Rc<RecvPool>, most: usize) -> Received {
        if let Some(error) = self.broken {
            return Received::Failed(error);
        }
        let (received, more) = receive_once(pool, most, |room| (&self.socket).read(room));
        self.readable = more;
        received
    }
}

/// Whether there was nothing to do for now.
pub(super) fn is_nothing(error: &io::Error) -> bool {
    error.kind() == IoErrorKind::WouldBlock
}
