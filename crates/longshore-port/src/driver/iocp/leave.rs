//! How sockets leave: what is in flight ends first.

use super::IocpPort;
use super::socket::{Ending, Role};
use super::sys;
use crate::{Call, End, ErrorKind, OpKind, PortError, What};
use longshore_base::Token;
use std::net::Shutdown;
use std::time::Duration;

impl IocpPort {
    /// Notes that a socket leaves; it does so in the next wait.
    pub(super) fn end(&mut self, id: Token, ending: Ending) {
        let Some(entry) = self.sockets.get_mut(id) else { return };
        entry.ending = Some(ending);
        self.endings.push_back(id);
    }

    /// Lets go of the sockets that are to leave.
    pub(super) fn end_sockets(&mut self) {
        while let Some(id) = self.endings.pop_front() {
            let Some(entry) = self.sockets.get(id) else { continue };
            match entry.ending {
                Some(Ending::Detach) => self.stay(id),
                Some(ending) => self.close(id, ending),
                None => {}
            }
        }
    }

    /// Sockets cannot move: each is tied to its port for good. It stays as it is, once a send that
    /// is under way has ended.
    fn stay(&mut self, id: Token) {
        self.end_recv(id, End::Cancelled);
        self.end_watch(id, End::Cancelled);
        let Some(entry) = self.sockets.get_mut(id) else { return };
        if entry.send.is_some() {
            return;
        }
        entry.ending = None;
        entry.ops.stay();
        let token = entry.token;
        let error = PortError::new(Call::Detach, ErrorKind::Unsupported);
        self.turns.answer(token, What::DetachFailed(error));
    }

    /// Ends what is in flight, then the socket.
    pub(super) fn close(&mut self, id: Token, ending: Ending) {
        let Some(entry) = self.sockets.get_mut(id) else { return };
        (entry.ending, entry.closing) = (Some(ending), true);
        match entry.role {
            Role::Listener => self.stop_accept(id, End::Cancelled),
            Role::Connecting(_) | Role::Connection => self.end_recv(id, End::Cancelled),
        }
        self.end_watch(id, End::Cancelled);
        self.cancel_all(id);
        self.close_if_idle(id);
    }

    /// Asks that everything the system has of a socket end soon.
    pub(super) fn cancel_all(&mut self, id: Token) {
        if let Some(entry) = self.sockets.get(id).filter(|entry| entry.pending > 0) {
            sys::cancel(&entry.socket, std::ptr::null());
        }
    }

    /// Closes a socket that is to close, when the system has nothing more of it.
    pub(super) fn close_if_idle(&mut self, id: Token) {
        if !self.sockets.get(id).is_some_and(|entry| entry.closing && entry.pending == 0) {
            return;
        }
        let Some(entry) = self.sockets.remove(id) else { return };
        // Errors of both calls say that the peer was faster, which is what was wanted.
        if entry.ending == Some(Ending::Abort) {
            let _ = entry.socket.set_linger(Some(Duration::ZERO)); // the close sends a reset
        } else if entry.role == Role::Connection {
            let _ = entry.socket.shutdown(Shutdown::Both);
        }
        let token = entry.token;
        drop(entry);
        self.turns.answer(token, What::Closed);
    }

    pub(super) fn cancel_op(&mut self, id: Token, kind: OpKind) {
        let Some(role) = self.sockets.get(id).map(|entry| entry.role) else { return };
        match (kind, role) {
            (OpKind::Accept, Role::Listener) => self.stop_accept(id, End::Cancelled),
            (OpKind::Recv, Role::Connection) => self.end_recv(id, End::Cancelled),
            (OpKind::Send, _) => self.cancel_send(id),
            (OpKind::Watch, _) => self.end_watch(id, End::Cancelled),
            (OpKind::Connect, Role::Connecting(_)) => self.cancel_connect(id),
            _ => {}
        }
    }
}
