//! Connections that come, and those that are made.
#![expect(unsafe_code, reason = "the system remembers the op")]

use super::IocpPort;
use super::slots::{Accepting, Held};
use super::socket::{Ending, Entry, Role};
use super::sys::{self, AcceptAddrs};
use crate::driver::sockets;
use crate::{
    Addr, Call, ConnectTo, End, ErrorKind, OpKind, PortError, RawSocket, SocketId, Unattached, What,
};
use longshore_base::Token;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// Accepts that the system has of one listener: so many may come between two waits without one
/// being late for its socket.
const ACCEPTS_MAX: u32 = 64;

/// Errors in a row, each of one connection, after which the accept ends with the next one: its owner
/// may want to wait.
const PASSED_MAX: u32 = 64;

impl IocpPort {
    /// Starts an accept.
    pub(super) fn start_accept(&mut self, id: Token, credit: u32) {
        let Some(entry) = self.sockets.get_mut(id) else { return };
        (entry.credit, entry.accept_end, entry.passed) = (credit, None, 0);
        self.refill_accepts(id);
    }

    /// Has the system hold as many accepts as there is credit for.
    fn refill_accepts(&mut self, id: Token) {
        loop {
            let Some(entry) = self.sockets.get(id) else { return };
            let wanted = entry.credit.min(ACCEPTS_MAX);
            if entry.accept_end.is_some() || entry.pending >= wanted {
                break;
            }
            if let Err(error) = self.accept_one(id) {
                let Some(entry) = self.sockets.get_mut(id) else { return };
                if entry.pending == 0 {
                    entry.accept_end = Some(End::Failed(PortError::from_io(Call::Accept, &error)));
                }
                break; // those that are there go on
            }
        }
        self.end_accept(id);
    }

    fn accept_one(&mut self, id: Token) -> io::Result<()> {
        let Some(entry) = self.sockets.get_mut(id) else { return Ok(()) };
        let like = entry.local.socket_addr().unwrap_or((Ipv4Addr::LOCALHOST, 0).into());
        let socket = sockets::open(like)?;
        let accepting = Accepting { socket, addrs: [0; size_of::<AcceptAddrs>()] };
        let name = self.slots.begin(id, Held::Accept(Box::new(accepting)));
        let overlapped = self.slots.overlapped(name);
        let Some(slot) = self.slots.get_mut(name) else { return Ok(()) };
        let Held::Accept(accepting) = &mut slot.held else { unreachable!("just begun") };
        let Accepting { socket, addrs } = &mut **accepting;
        // SAFETY: the slot, and with it the socket and the addresses, stays until the op has ended.
        let begun = unsafe { sys::accept(&entry.socket, socket, addrs, overlapped) };
        self.begun(id, name, begun);
        Ok(())
    }

    /// A connection came, or not.
    pub(super) fn accept_done(
        &mut self,
        id: Token,
        accepting: Accepting,
        result: Result<u32, i32>,
    ) {
        let error = result.err().map(|code| self.error_of(id, Call::Accept, code));
        let Some(entry) = self.sockets.get_mut(id) else { return };
        let token = entry.token;
        match error.map_or_else(|| accepted(entry, accepting), Err) {
            Ok(socket) => {
                entry.passed = 0;
                if entry.credit < u32::MAX {
                    entry.credit = entry.credit.saturating_sub(1); // the greatest is without end
                }
                if entry.credit == 0 {
                    entry.accept_end.get_or_insert(End::Credit);
                }
                self.turns.answer(token, What::Accepted(socket));
            }
            // To end the others for it would cost those who are about to come by them.
            Err(error) if error.kind == ErrorKind::Passing && entry.passed < PASSED_MAX => {
                entry.passed += 1;
            }
            Err(error) => {
                entry.accept_end.get_or_insert(End::Failed(error));
            }
        }
        if self.sockets.get(id).is_some_and(|entry| entry.accept_end.is_none()) {
            self.refill_accepts(id);
        } else {
            self.cancel_all(id);
            self.end_accept(id);
        }
    }

    /// Ends the accept; those that the system has come back first.
    pub(super) fn stop_accept(&mut self, id: Token, end: End) {
        let Some(entry) = self.sockets.get_mut(id) else { return };
        if entry.credit > 0 {
            entry.accept_end.get_or_insert(end);
            self.cancel_all(id);
            self.end_accept(id);
        }
    }

    /// Says that the accept is over, when it is to end and nothing of it is left.
    fn end_accept(&mut self, id: Token) {
        let Some(entry) = self.sockets.get_mut(id) else { return };
        if entry.pending > 0 {
            return;
        }
        if let Some(end) = entry.accept_end.take() {
            entry.credit = 0;
            entry.ops.end(OpKind::Accept, self.turns.waits());
            let token = entry.token;
            self.turns.answer(token, What::AcceptEnded(end));
        }
    }

    pub(super) fn start_connect(
        &mut self,
        to: &ConnectTo,
        token: Token,
    ) -> Result<SocketId, PortError> {
        let failed = |error: io::Error| PortError::from_io(Call::Connect, &error);
        let socket = sockets::open(to.addr).map_err(failed)?;
        socket.set_nonblocking(true).map_err(failed)?;
        sockets::set_options(&socket, &to.options).map_err(failed)?;
        let any = match to.addr {
            SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        socket.bind(&to.from.unwrap_or(any).into()).map_err(failed)?; // as `ConnectEx` asks
        // The own address is known, and asked for, when the connection stands.
        let entry = Entry::new(socket, token, Role::Connecting(None), to.addr.into());
        let id = self.take_in(entry).map_err(|(error, _)| failed(error))?;
        let name = self.slots.begin(id, Held::Connect);
        let overlapped = self.slots.overlapped(name);
        let entry = self.sockets.get_mut(id).expect("just taken in");
        entry.role = Role::Connecting(Some(name));
        // SAFETY: the slot stays until the op has ended.
        let begun = unsafe { sys::connect(&entry.socket, &to.addr.into(), overlapped) };
        self.begun(id, name, begun);
        Ok(SocketId(id))
    }

    /// The attempt to connect is over.
    pub(super) fn connect_done(&mut self, id: Token, result: Result<u32, i32>) {
        let error = result.err().map(|code| self.error_of(id, Call::Connect, code));
        let Some(entry) = self.sockets.get_mut(id) else { return };
        let failed = |error| PortError::from_io(Call::Connect, &error);
        let cancelled = PortError::new(Call::Connect, ErrorKind::Cancelled);
        let stands = match error {
            _ if entry.closing => Err(cancelled),
            Some(error) => Err(error),
            None => sys::finish_connect(&entry.socket)
                .and_then(|()| sockets::local_addr(&entry.socket))
                .map_err(failed),
        };
        let token = entry.token;
        entry.role = Role::Connection; // or the attempt is over
        match stands {
            Ok(local) => {
                entry.local = local;
                entry.ops.end(OpKind::Connect, self.turns.waits());
                self.turns.answer(token, What::Connected { local });
            }
            Err(error) => {
                entry.ops.connect_failed(self.turns.waits());
                self.turns.answer(token, What::ConnectFailed(error));
                self.close(id, Ending::Close);
            }
        }
    }

    pub(super) fn cancel_connect(&mut self, id: Token) {
        let Some(entry) = self.sockets.get(id) else { return };
        if let Role::Connecting(Some(name)) = entry.role {
            sys::cancel(&entry.socket, self.slots.overlapped(name));
        }
    }
}

/// A socket that a connection was taken into becomes one like any other.
fn accepted(listener: &Entry, accepting: Accepting) -> Result<Unattached, PortError> {
    let Accepting { socket, addrs } = accepting;
    let gone = PortError::new(Call::Accept, ErrorKind::Passing);
    sys::finish_accept(&listener.socket, &socket).map_err(|_| gone)?;
    let peer = sys::accepted_peer(&listener.socket, &addrs).ok_or(gone)?;
    let wildcard = listener.local.ip().is_none_or(|ip| ip.is_unspecified());
    let local =
        if wildcard { sockets::local_addr(&socket).map_err(|_| gone)? } else { listener.local };
    if let Some(options) = &listener.options {
        // The listener took them, so this one is gone already, as its first receive says.
        let _ = sockets::set_options(&socket, options);
    }
    Ok(Unattached { peer: Addr::from(peer), local, raw: RawSocket::System(socket) })
}
