//! What other threads want of the connections of a worker.

use super::Core;
use super::ending::How;
use crate::DisconnectReason;
use crate::server::mailbox::{Cmd, Ending};
use std::sync::atomic::Ordering;

impl Core {
    /// Applies what other threads queued before now, so that it goes before what this callback is
    /// about to queue: that makes "returned before called" true across threads. One load when
    /// there is nothing.
    #[inline]
    pub(crate) fn catch_up(&mut self) {
        if self.desk().mailbox.has_some() {
            self.apply_inbox();
        }
    }

    fn apply_inbox(&mut self) {
        let mut inbox = std::mem::take(&mut self.inbox);
        self.desk().mailbox.swap(&mut inbox);
        for cmd in inbox.drain(..) {
            if cmd.is_quiet() { self.apply(cmd) } else { self.later.push_back(cmd) }
        }
        self.inbox = inbox;
    }

    /// Touches queues and flags only, never user code: safe in the middle of a callback.
    fn apply(&mut self, cmd: Cmd) {
        match cmd {
            Cmd::Send { shared, bytes } => {
                let (token, len) = (self.token_of(&shared), bytes.len() as u64);
                self.board.budget.take_post(len);
                match token.and_then(|token| self.queue_bytes(token, bytes)) {
                    Some(conn) => conn.take_remote(len),
                    None => drop(shared.remote_bytes.fetch_sub(len, Ordering::AcqRel)),
                }
            }
            Cmd::Refused { shared } => {
                if let Some(token) = self.token_of(&shared) {
                    self.owed.push_back(token); // the low mark may be passed already
                }
            }
            Cmd::End { shared, ending } => {
                let Some(token) = self.token_of(&shared) else { return };
                let (reason, how) = match ending {
                    Ending::Close(None) => (DisconnectReason::Local, How::Flush),
                    Ending::Close(Some(why)) => (DisconnectReason::Said(why), How::Flush),
                    Ending::Abort => (DisconnectReason::Aborted, How::Reset),
                    Ending::Replaced => (DisconnectReason::Replaced, How::Flush),
                    Ending::SlowReader => (DisconnectReason::SlowReader, How::Reset),
                };
                self.end_now(token, reason, how);
            }
            Cmd::Pause { shared, on } => {
                let Some(token) = self.token_of(&shared) else { return };
                if on { self.pause(token) } else { self.resume(token) }
            }
            Cmd::Admit { shared } => {
                if let Some(token) = self.token_of(&shared) {
                    self.admit(token);
                }
            }
            Cmd::Claimed { shared, ended } => {
                let conn = self.token_of(&shared).and_then(|token| self.conns.get_mut(token));
                match (conn, ended) {
                    (Some(conn), ended) => {
                        conn.deadlines.handle_admitted();
                        if let Some(ended) = ended {
                            conn.listed.get_or_insert_default().owners.push(ended);
                        }
                    }
                    (None, Some(ended)) => ended.tell(),
                    (None, None) => {}
                }
            }
            Cmd::Join { shared, members } => self.join_group(self.token_of(&shared), members),
            Cmd::Leave { shared, members } => {
                if let Some(token) = self.token_of(&shared) {
                    self.leave_group(token, &members);
                }
            }
            Cmd::Broadcast(broadcast) => {
                self.board.has_arrived(self.me, &broadcast);
                self.broadcast(&broadcast);
            }
            Cmd::Look => self.memory.asked = true,
            Cmd::Measure { shared } => {
                if let Some(token) = self.token_of(&shared) {
                    self.measure(token);
                }
            }
            other => self.later.push_back(other),
        }
    }
}
