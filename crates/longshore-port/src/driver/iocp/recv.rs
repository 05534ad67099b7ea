//! Receiving: a wait that takes nothing tells when there is something, then it is taken at once.
//!
//! So an idle connection pins no memory (S9), and what comes goes into the pool that all share.
#![expect(unsafe_code, reason = "the system remembers the op")]

use super::IocpPort;
use super::slots::Held;
use super::socket::Role;
use super::sys;
use crate::driver::turns::Receiver;
use crate::{Call, End};
use longshore_base::Token;

impl IocpPort {
    /// Starts a receive.
    pub(super) fn start_recv(&mut self, id: Token, credit: u32) {
        let Some(entry) = self.sockets.get_mut(id) else { return };
        entry.credit = credit;
        self.go_on_later(id);
    }

    /// Has a socket with a receive go on: now in line, or when there is something.
    fn go_on_later(&mut self, id: Token) {
        let Some(entry) = self.sockets.get_mut(id) else { return };
        if entry.credit == 0 || entry.closing || entry.role != Role::Connection {
            return;
        }
        if !entry.readable {
            self.wait_readable(id);
        }
        let Some(entry) = self.sockets.get_mut(id) else { return };
        if entry.can_go_on() && !entry.queued {
            entry.queued = true;
            self.turns.line_up(id);
        }
    }

    /// Asks the system to say when there is something to receive.
    fn wait_readable(&mut self, id: Token) {
        let Some(entry) = self.sockets.get_mut(id) else { return };
        if entry.waits_readable.is_some() {
            return;
        }
        let name = self.slots.begin(id, Held::Readable);
        entry.waits_readable = Some(name);
        let overlapped = self.slots.overlapped(name);
        // SAFETY: the slot stays until the op has ended.
        let begun = unsafe { sys::wait_readable(&entry.socket, overlapped) };
        self.begun(id, name, begun);
    }

    /// There is something, or the connection broke.
    pub(super) fn readable(&mut self, id: Token, result: Result<u32, i32>) {
        let broken = result.err().map(|code| self.error_of(id, Call::Recv, code));
        let Some(entry) = self.sockets.get_mut(id) else { return };
        (entry.waits_readable, entry.readable, entry.broken) = (None, true, broken);
        self.go_on_later(id);
    }

    /// Lets every socket that can go on do so once.
    pub(super) fn go_on(&mut self) {
        let mut round = self.turns.begin();
        while let Some(id) = self.turns.next(&mut round) {
            let Some(entry) = self.sockets.get_mut(id) else { continue };
            entry.queued = false;
            self.turns.receive(id, entry);
            if !entry.queued {
                self.go_on_later(id);
            }
        }
    }

    /// Ends the receive, if one is in flight. The wait below it may stay: it takes nothing.
    pub(super) fn end_recv(&mut self, id: Token, end: End) {
        if let Some(entry) = self.sockets.get_mut(id) {
            self.turns.end_receive(entry, end);
        }
    }
}
