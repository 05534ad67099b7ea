//! Coming and leaving: connects, closes, detaches.
#![expect(unsafe_code, reason = "entries name descriptors and memory")]

use super::names::{self, Kind, user_data};
use super::ops::SendOp;
use super::socket::{Connecting, Leaving, RecvState, Role, make_fit, unattached};
use super::{Socket, UringPort};
use crate::{
    Addr, Call, Completion, ConnectTo, ErrorKind, Listening, OpKind, PortError, SocketId,
    Unattached, What,
};
use io_uring::{opcode, squeue};
use longshore_base::Token;
use std::time::Duration;

impl UringPort {
    pub(super) fn take_in(
        &mut self,
        socket: Unattached,
        owner: Token,
    ) -> Result<SocketId, (PortError, Unattached)> {
        let Unattached { peer, local, raw } = socket;
        match make_fit(raw, self.features.nonblocking) {
            Ok(system) => {
                let role = Role::Connection { peer, local };
                Ok(SocketId(self.sockets.insert(Socket::new(owner, system, role))))
            }
            Err((error, raw)) => Err((error, Unattached { peer, local, raw })),
        }
    }

    pub(super) fn take_in_listener(
        &mut self,
        listening: Listening,
        owner: Token,
    ) -> Result<SocketId, PortError> {
        let system = make_fit(listening.raw, false).map_err(|(error, _)| error)?;
        let role = Role::Listener { local: listening.local, accepting: None };
        Ok(SocketId(self.sockets.insert(Socket::new(owner, system, role))))
    }

    pub(super) fn start_connect(
        &mut self,
        to: &ConnectTo,
        owner: Token,
    ) -> Result<SocketId, PortError> {
        let failed = |error: std::io::Error| PortError::from_io(Call::Connect, &error);
        let system = crate::driver::sockets::open(to.addr).map_err(failed)?;
        crate::driver::sockets::set_options(&system, &to.options).map_err(failed)?;
        if let Some(from) = to.from {
            system.bind(&from.into()).map_err(failed)?;
        }
        let connecting = Connecting { to: to.addr.into(), peer: to.addr.into(), cancelled: false };
        let role = Role::Connecting(Box::new(connecting));
        let token = self.sockets.insert(Socket::new(owner, system, role));
        let socket = self.sockets.get(token).expect("just put in");
        if let Role::Connecting(connecting) = &socket.role {
            let (addr, len) = (connecting.to.as_ptr().cast(), connecting.to.len());
            let entry = opcode::Connect::new(socket.fd(), addr, len).build();
            self.in_flight += 1;
            // SAFETY: the kernel reads `len` bytes of an address in a box of its own, which stays
            // in the socket's slot until `connect_done` has this op's completion. The socket stays
            // open as long.
            unsafe { self.ring.push(entry.user_data(user_data(Kind::Connect, token))) };
        }
        Ok(SocketId(token))
    }

    pub(super) fn stop_connect(&mut self, token: Token) {
        let Some(socket) = self.sockets.get_mut(token) else { return };
        let Role::Connecting(connecting) = &mut socket.role else { return };
        if !std::mem::replace(&mut connecting.cancelled, true) {
            self.push_cancel(user_data(Kind::Connect, token));
        }
    }

    pub(super) fn connect_done(&mut self, token: Token, result: i32) {
        self.in_flight -= 1;
        let socket = self.sockets.get_mut(token).expect("open until its connect has returned");
        let Role::Connecting(connecting) = &socket.role else {
            unreachable!("only a connecting socket has a connect in flight")
        };
        let peer = connecting.peer;
        let unknown = Addr::from(std::net::SocketAddr::from(([0, 0, 0, 0], 0)));
        let local = crate::driver::sockets::local_addr(&socket.system).unwrap_or(unknown);
        socket.role = Role::Connection { peer, local };
        let owner = socket.owner;
        let error = match -result {
            _ if socket.leaving.is_some() => PortError::new(Call::Connect, ErrorKind::Cancelled),
            code @ 1.. => PortError::from_code(Call::Connect, code),
            _ => {
                socket.ops.end(OpKind::Connect, self.waits);
                self.ready.push(Completion { token: owner, what: What::Connected { local } });
                return;
            }
        };
        socket.leaving.get_or_insert(Leaving::Closed);
        self.ready.push(Completion { token: owner, what: What::ConnectFailed(error) });
        self.settle(token); // nothing else can be in flight: the socket is gone with this
    }

    /// Lets a socket leave: ends its ops now, takes it out when the last one has returned.
    pub(super) fn leave(&mut self, token: Token, how: Leaving) {
        let socket = self.sockets.get_mut(token).expect("checked by submit");
        socket.leaving = Some(how);
        let tries = socket.send.and_then(|slot| self.sends.get(slot)).is_some_and(SendOp::is_try);
        match how {
            Leaving::Closed if !tries => socket.end_stream(),
            // An error says that the connection is gone already.
            Leaving::Aborted => drop(socket.system.set_linger(Some(Duration::ZERO))),
            Leaving::Closed | Leaving::Detached => {}
        }
        self.stop_recv(token);
        self.stop_watch(token);
        if how != Leaving::Detached {
            self.stop_send(token);
            self.stop_accept(token);
            self.stop_connect(token);
        }
        self.settle(token);
    }

    /// Takes a leaving socket out if its last op has returned. The one place that closes sockets:
    /// the number of a descriptor that the ring still knows must not be given to a new connection.
    pub(super) fn settle(&mut self, token: Token) {
        let gone = |socket: &Socket| socket.leaving.is_some() && socket.is_idle();
        if !self.sockets.get(token).is_some_and(gone) {
            return;
        }
        let Some(socket) = self.sockets.remove(token) else { return };
        let what = if let (Some(Leaving::Detached), Role::Connection { peer, local }) =
            (socket.leaving, socket.role)
        {
            What::Detached(unattached(socket.system, peer, local))
        } else {
            drop(socket.system);
            What::Closed
        };
        self.ready.push(Completion { token: socket.owner, what });
    }

    /// A cancel did not find its op. Mostly that has returned meanwhile. It may also be that the
    /// kernel was about to look at it again and had it in none of its tables, which was read out of
    /// the kernel's ways and never seen; another cancel costs little.
    pub(super) fn cancel_missed(&mut self, name: u64, result: i32) {
        let op = names::cancelled_by(name);
        if result == -libc::ENOENT && self.is_to_end(op) {
            self.push_cancel(op);
        }
    }

    /// Whether that op is in flight, and was asked to end.
    fn is_to_end(&self, op: u64) -> bool {
        match names::parse(op) {
            (Kind::Recv, token) => self.sockets.get(token).is_some_and(|socket| {
                socket.recv.state == RecvState::Armed && socket.recv.cancelled
            }),
            (Kind::WholeSend | Kind::Room, slot) => self.sends.get(slot).is_some_and(SendOp::is_cancelled),
            (Kind::Accept, slot) => self.accepts.get(slot).is_some(),
            (Kind::Connect, token) => self.sockets.get(token).is_some_and(|socket| {
                matches!(&socket.role, Role::Connecting(connecting) if connecting.cancelled)
            }),
            (Kind::Watch, token) => self
                .sockets
                .get(token)
                .is_some_and(|socket| socket.watch.is_some_and(|watch| watch.cancelled)),
            (Kind::Wake, _) => self.dropping && self.wake.is_armed(),
            (Kind::TrySend | Kind::Cancel, _) => false,
        }
    }

    /// Asks the ring to end an op. By its name: by descriptor the kernel would walk its tables.
    pub(super) fn push_cancel(&mut self, op: u64) {
        let entry = opcode::AsyncCancel::new(op)
            .build()
            .flags(squeue::Flags::SKIP_SUCCESS)
            .user_data(names::cancel_of(op));
        // SAFETY: the entry points to nothing.
        unsafe { self.ring.push(entry) };
    }
}
