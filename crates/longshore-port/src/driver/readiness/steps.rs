//! What takes ops further: the edges of the system, new ops, and their ends.

use super::socket::{Ending, Entry, Role, Sending};
use super::{ReadinessPort, TURN_ACCEPTS};
use crate::driver::poller::Readiness;
use crate::driver::turns::Receiver;
use crate::{Call, End, ErrorKind, OpKind, PortError, RawSocket, SendMode, Unattached, What};
use longshore_base::{Token, event};
use std::net::Shutdown;
use std::time::Duration;

impl ReadinessPort {
    /// Takes down what the system says of a socket, and goes on with what waited for room.
    pub(super) fn note(&mut self, event: Readiness) {
        // The waker has no entry, and neither has a socket that was closed meanwhile.
        let Some(entry) = self.sockets.get_mut(event.token) else { return };
        entry.readable |= event.readable;
        entry.hangup |= event.hangup;
        entry.broken |= event.broken;
        let watched = entry.watch.is_some();
        if event.writable || event.hangup {
            if entry.role == Role::Connecting {
                self.try_connected(event.token);
            }
            self.send_rest(event.token);
        }
        if watched && event.hangup {
            self.look_at_end(event.token);
        }
        self.queue(event.token);
    }

    /// Puts a socket that can go on into the line, once.
    fn queue(&mut self, id: Token) {
        let Some(entry) = self.sockets.get_mut(id) else { return };
        if entry.can_go_on() && !entry.queued {
            entry.queued = true;
            self.turns.line_up(id);
        }
    }

    /// Starts a receive or an accept.
    pub(super) fn want(&mut self, id: Token, credit: u32) {
        let Some(entry) = self.sockets.get_mut(id) else { return };
        entry.credit = credit;
        self.queue(id);
    }

    /// Lets every socket that can go on do so once.
    pub(super) fn go_on(&mut self) {
        let mut round = self.turns.begin();
        while let Some(id) = self.turns.next(&mut round) {
            self.go_on_with(id);
        }
    }

    #[inline]
    fn go_on_with(&mut self, id: Token) {
        let Some(entry) = self.sockets.get_mut(id) else { return };
        entry.queued = false;
        if entry.role == Role::Listener {
            self.accept(id);
        } else {
            self.turns.receive(id, entry);
        }
        self.queue(id);
    }

    fn accept(&mut self, id: Token) {
        let Some(entry) = self.sockets.get_mut(id) else { return };
        for _ in 0..TURN_ACCEPTS {
            if !entry.can_go_on() || !self.turns.has_room() {
                return;
            }
            let (what, end): (_, Option<End>) = match entry.accept() {
                Ok(None) => return,
                Ok(Some(accepted)) => {
                    if entry.credit < u32::MAX {
                        entry.credit -= 1; // the greatest credit is without end
                    }
                    (Some(What::Accepted(accepted)), (entry.credit == 0).then_some(End::Credit))
                }
                Err(error) => {
                    entry.credit = 0;
                    (None, Some(End::Failed(error)))
                }
            };
            if end.is_some() {
                entry.ops.end(OpKind::Accept, self.turns.waits());
            }
            for what in what.into_iter().chain(end.map(What::AcceptEnded)) {
                self.turns.answer(entry.token, what);
            }
        }
    }

    /// Tries a new send at once.
    pub(super) fn send(&mut self, id: Token, mut send: Sending, mode: SendMode, prompt: bool) {
        let Some(entry) = self.sockets.get_mut(id) else { return };
        let error = send.go_on(&entry.socket, mode).err();
        let whole = send.left == 0;
        if mode == SendMode::Whole && !whole && error.is_none() {
            entry.send = Some(send);
            return;
        }
        let what = What::Sent { bytes: send.bytes, data: send.data, error };
        entry.ops.sent(error, self.turns.waits());
        // A send that went out whole and that nobody waits for does not keep the port awake.
        self.turns.answer_some_time(entry.token, what, prompt || !whole);
    }

    /// Goes on with the send that waits for room, if there is one.
    fn send_rest(&mut self, id: Token) {
        let Some(entry) = self.sockets.get_mut(id) else { return };
        let Some(mut send) = entry.send.take() else { return };
        match send.go_on(&entry.socket, SendMode::Whole) {
            Ok(()) if send.left > 0 => entry.send = Some(send),
            done => self.sent(id, send, done.err()),
        }
    }

    pub(super) fn cancel_send(&mut self, id: Token) {
        let send = self.sockets.get_mut(id).and_then(|entry| entry.send.take());
        if let Some(send) = send {
            self.sent(id, send, Some(PortError::new(Call::Send, ErrorKind::Cancelled)));
        }
    }

    fn sent(&mut self, id: Token, send: Sending, error: Option<PortError>) {
        let Some(entry) = self.sockets.get_mut(id) else { return };
        let token = entry.token;
        entry.ops.sent(error, self.turns.waits());
        if entry.ending == Some(Ending::Detach) {
            self.endings.push_back(id); // this is what it waited for
        }
        let what = What::Sent { bytes: send.bytes, data: send.data, error };
        self.turns.answer(token, what);
    }

    /// Ends the receive or the accept, if one is in flight.
    pub(super) fn end_input(&mut self, id: Token, end: End) {
        let Some(entry) = self.sockets.get_mut(id) else { return };
        if entry.role != Role::Listener {
            return self.turns.end_receive(entry, end);
        }
        if std::mem::take(&mut entry.credit) > 0 {
            entry.ops.end(OpKind::Accept, self.turns.waits());
            self.turns.answer(entry.token, What::AcceptEnded(end));
        }
    }

    /// Ends the watch if what it watches for has come.
    pub(super) fn look_at_end(&mut self, id: Token) {
        if let Some(end) = self.sockets.get(id).and_then(Entry::watched_end) {
            self.end_watch(id, end);
        }
    }

    /// Ends the watch, if one is in flight.
    pub(super) fn end_watch(&mut self, id: Token, end: End) {
        let Some(entry) = self.sockets.get_mut(id) else { return };
        if entry.watch.take().is_some() {
            let token = entry.token;
            entry.ops.end(OpKind::Watch, self.turns.waits());
            self.turns.answer(token, What::WatchEnded(end));
        }
    }

    fn try_connected(&mut self, id: Token) {
        let Some(entry) = self.sockets.get_mut(id) else { return };
        let token = entry.token;
        match entry.connected() {
            None => {}
            Some(Ok(local)) => {
                entry.ops.end(OpKind::Connect, self.turns.waits());
                self.turns.answer(token, What::Connected { local });
            }
            Some(Err(error)) => self.connect_failed(id, error),
        }
    }

    pub(super) fn connect_failed(&mut self, id: Token, error: PortError) {
        let Some(entry) = self.sockets.get_mut(id) else { return };
        entry.role = Role::Connection; // the attempt is over
        let token = entry.token;
        self.turns.answer(token, What::ConnectFailed(error));
        self.close(id, Ending::Close);
    }

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
                Some(Ending::Detach) => self.detach(id),
                Some(ending) => self.close(id, ending),
                None => {}
            }
        }
    }

    /// Ends what is in flight, then the socket.
    fn close(&mut self, id: Token, ending: Ending) {
        if self.sockets.get(id).is_some_and(|entry| entry.role == Role::Connecting) {
            return self.connect_failed(id, PortError::new(Call::Connect, ErrorKind::Cancelled));
        }
        self.end_input(id, End::Cancelled);
        self.end_watch(id, End::Cancelled);
        self.cancel_send(id);
        let Some(entry) = self.sockets.remove(id) else { return };
        self.unwatch(&entry);
        // Errors of both calls say that the peer was faster, which is what was wanted.
        if ending == Ending::Abort {
            let _ = entry.socket.set_linger(Some(Duration::ZERO)); // the close sends a reset
        } else if entry.role == Role::Connection {
            // Ends the stream also when somebody else has a duplicate of the descriptor. Not on a
            // listener: a duplicate of that goes on listening.
            let _ = entry.socket.shutdown(Shutdown::Both);
        }
        let token = entry.token;
        drop(entry);
        self.turns.answer(token, What::Closed);
    }

    /// Hands the socket out, unless a send still waits for room: then `sent` comes back to it.
    fn detach(&mut self, id: Token) {
        self.end_input(id, End::Cancelled);
        self.end_watch(id, End::Cancelled);
        if self.sockets.get(id).is_none_or(|entry| entry.send.is_some()) {
            return;
        }
        if let Some(entry) = self.sockets.remove(id) {
            self.unwatch(&entry);
            let Entry { token, socket, peer, local, .. } = entry;
            let raw = RawSocket::System(socket);
            self.turns.answer(token, What::Detached(Unattached { peer, local, raw }));
        }
    }

    fn unwatch(&self, entry: &Entry) {
        if let Err(error) = self.poller.delete(&entry.socket) {
            event!(error, %error, "cannot stop watching a socket");
        }
    }
}
