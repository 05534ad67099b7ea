//! What other threads want of the connections of a worker.

use super::Core;
use super::ending::How;
use crate::server::mailbox::{Broadcast, Cmd, Ending, mail_bytes};
use crate::server::shared::{Asks, Shared};
use crate::{DisconnectReason, SlowReader};
use bytes::Bytes;
use longshore_base::Token;
use longshore_proto::connection::Message;
use std::iter::Peekable;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::vec::Drain;

/// What is done for a thing that is asked.
type Act = fn(&mut Core, Token);

const ASKS: [(u8, Act); 4] = [
    (Asks::ADMIT, Core::admit),
    (Asks::MEASURE, Core::measure),
    (Asks::PAUSE, Core::pause),
    (Asks::RESUME, Core::resume),
];

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
        let mut cmds = inbox.drain(..).peekable();
        while let Some(cmd) = cmds.next() {
            match cmd {
                Cmd::Broadcast(first) => self.broadcasts(first, &mut cmds),
                cmd if cmd.is_quiet() => self.apply(cmd),
                cmd => self.later.push_back(cmd),
            }
        }
        drop(cmds);
        self.inbox = inbox;
    }

    /// A broadcast has come, and all those of the same group that are right behind it.
    fn broadcasts(&mut self, first: Box<Broadcast>, cmds: &mut Peekable<Drain<'_, Cmd>>) {
        let members = Arc::clone(&first.members);
        let is_next =
            |cmd: &Cmd| matches!(cmd, Cmd::Broadcast(next) if Arc::ptr_eq(&next.members, &members));
        let mut run = vec![first];
        while let Some(Cmd::Broadcast(next)) = cmds.next_if(is_next) {
            run.push(next);
        }
        for broadcast in &run {
            self.board.has_arrived(self.me, broadcast);
        }
        self.broadcast(&run);
    }

    /// A message of a handle has come, for which there was room when it set out.
    fn arrived(&mut self, shared: &Arc<Shared>, bytes: Bytes, key: Option<u64>) {
        let (len, mail) = (bytes.len() as u64, mail_bytes(&bytes));
        self.board.budget.take_post(mail);
        let token = self.token_of(shared);
        let message = Message { key, ..Message::new(bytes) };
        let conn = token.and_then(|token| self.conns.get(token));
        let drops_oldest =
            conn.is_some_and(|conn| conn.limits.slow_reader == SlowReader::DropOldest);
        let stays = if drops_oldest || key.is_some() {
            // It had room on its way only, and another one may go for it.
            let _ = token.map(|token| self.queue_message(token, message, mail));
            0
        } else if let Some(conn) = token.and_then(|token| self.queue_bytes(token, message)) {
            conn.take_remote(len);
            conn.publish_waiting();
            len
        } else {
            0
        };
        if stays < mail {
            shared.remote_bytes.fetch_sub(mail - stays, Ordering::AcqRel);
        }
        if shared.counts_messages {
            shared.remote_messages.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Touches queues and flags only, never user code: safe in the middle of a callback.
    fn apply(&mut self, cmd: Cmd) {
        match cmd {
            Cmd::Send { shared, bytes, key } => self.arrived(&shared, bytes, key),
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
            Cmd::Asked { shared } => {
                let asks = shared.asks.take();
                let Some(token) = self.token_of(&shared) else { return };
                for (what, act) in ASKS {
                    if asks & what != 0 {
                        act(self, token);
                    }
                }
            }
            Cmd::Claimed { shared, ended } => {
                let conn = self.token_of(&shared).and_then(|token| self.conns.get_mut(token));
                let Some(conn) = conn else { return ended.tell() };
                conn.deadlines.handle_admitted();
                conn.listed.get_or_insert_default().owners.push(ended);
            }
            Cmd::Join { shared, members } => self.join_group(&shared, members),
            Cmd::Leave { shared, members } => {
                if let Some(token) = self.token_of(&shared) {
                    self.leave_group(token, &members);
                }
            }
            #[cfg(feature = "files")]
            Cmd::File { shared, answer } => self.file_answer(&shared, *answer),
            Cmd::Look => self.memory.asked = true,
            other => self.later.push_back(other),
        }
    }
}
