//! The seat of a filter: when it is asked, and what becomes of what it says.
//!
//! ```text
//! lease ─► filter ─► plain bytes ─► input          queue ─► filter ─► send
//!             └─► reply, behind what it made before ───────────┘
//! ```

use super::Worker;
use super::connection::{Chunk, InputEnd};
use super::core::ending::How;
use crate::DisconnectReason;
use longshore_base::{Token, caught};
use longshore_port::{Port, RecvBuf};
use longshore_proto::FrameError;
use longshore_proto::connection::{Filter, Transmit};

/// How a call of a filter ended, if not well.
enum Failed {
    Error(FrameError),
    Panic(String),
}

impl<P: Port> Worker<P> {
    /// The connection stands: what its filter says first.
    pub(super) fn start_filter(&mut self, token: Token) {
        let failed = self.say(token, |filter, wire| filter.handle_start(wire));
        self.filter_failed(token, failed);
    }

    /// All is out and the connection closes: what its filter says last. Says whether the end has to
    /// wait for that, or for what the filter still keeps.
    pub(super) fn close_filter(&mut self, token: Token) -> bool {
        let Some(conn) = self.core.conns.get(token) else { return false };
        if conn.filter.is_none() || conn.facts.filter_closed {
            return false;
        }
        let failed = self.say(token, |filter, wire| filter.handle_close(wire));
        if failed.is_some() {
            self.filter_failed(token, failed);
            return true;
        }
        let Some(conn) = self.core.conns.get_mut(token) else { return false };
        conn.facts.filter_closed = conn.send.held() == 0;
        !conn.send.is_flushed()
    }

    /// Lets the filter say something.
    fn say(
        &mut self,
        token: Token,
        ask: impl FnOnce(&mut dyn Filter, &mut Vec<u8>) -> Result<(), FrameError>,
    ) -> Option<Failed> {
        let conn = self.core.conns.get_mut(token)?;
        let filter = conn.filter.as_deref_mut()?;
        let wire = &mut self.plain.1;
        wire.clear();
        let asked = caught(|| (ask(filter, wire), filter.held_bytes()));
        match asked {
            Ok((Ok(()), held)) => {
                conn.send.handle_filter_reply(wire, held, &mut self.core.pool);
                if !wire.is_empty() {
                    self.core.replied(token);
                }
                None
            }
            Ok((Err(error), _)) => Some(Failed::Error(error)),
            Err(text) => Some(Failed::Panic(text)),
        }
    }

    /// Bytes came for a connection with a filter: its codec gets the plain ones.
    pub(super) fn filtered(&mut self, token: Token, bytes: &[u8]) {
        let Some(conn) = self.core.conns.get_mut(token) else { return };
        if conn.facts.filter_ended {
            return; // nothing was to come any more
        }
        let Some(filter) = conn.filter.as_deref_mut() else { return };
        let (plain, reply) = &mut self.plain;
        plain.clear();
        reply.clear();
        let asked = caught(|| {
            let result = filter.handle_input(bytes, plain, reply);
            (result, filter.held_bytes(), filter.has_ended(), filter.is_torn())
        });
        let (result, held, ended, torn) = match asked {
            Ok(said) => said,
            Err(text) => return self.filter_failed(token, Some(Failed::Panic(text))),
        };
        let was_torn = std::mem::replace(&mut conn.facts.filter_torn, torn);
        conn.facts.filter_ended = ended;
        conn.send.handle_filter_reply(reply, held, &mut self.core.pool);
        let begins = !(reply.is_empty() && plain.is_empty());
        if !reply.is_empty() {
            self.core.replied(token);
        }
        if torn || was_torn {
            self.torn(token, begins);
        }
        self.look_at_other("Filter", "handle_input");
        self.plain_input(token);
        match result {
            Ok(()) if ended => self.input_ended(token, InputEnd::GoodBye),
            Ok(()) => {}
            Err(error) => {
                // It may have said why; but it does not say good-bye as well.
                if let Some(conn) = self.core.conns.get_mut(token) {
                    conn.facts.filter_closed = true;
                }
                self.core.end(token, DisconnectReason::from_frame(error), How::Flush);
            }
        }
    }

    /// Hands the plain bytes on, in memory that is used again unless some of them have to wait.
    fn plain_input(&mut self, token: Token) {
        let open = self.core.conns.get(token).is_some_and(super::connection::Connection::is_open);
        if self.plain.0.is_empty() || !open {
            return;
        }
        let chunk = Chunk::Owned(std::mem::take(&mut self.plain.0));
        if let Some(Chunk::Owned(used)) = self.input(token, chunk) {
            self.plain.0 = used;
        }
    }

    /// The next send of a connection with a filter.
    pub(super) fn poll_filtered(&mut self, token: Token) -> Option<Transmit<RecvBuf>> {
        let conn = self.core.conns.get_mut(token)?;
        let (send, filter, pool) =
            (&mut conn.send, conn.filter.as_deref_mut()?, &mut self.core.pool);
        let failed = match caught(|| send.poll_filtered(pool, filter)) {
            Ok(Ok(Some(transmit))) => return Some(transmit),
            Ok(Ok(None)) => {
                let owed = conn.shared.refused.load(std::sync::atomic::Ordering::Relaxed)
                    || conn.facts.waits_for_room
                    || conn.send.is_tracked();
                if owed && conn.send.is_idle() {
                    self.core.owed.push_back(token); // it made nothing of it: no answer will come
                }
                return None;
            }
            Ok(Err(error)) => Failed::Error(error),
            Err(text) => Failed::Panic(text),
        };
        self.filter_failed(token, Some(failed));
        None
    }

    /// The stream of a connection with a filter has ended. Whether it may end here.
    pub(super) fn end_filter(&mut self, token: Token) -> bool {
        let Some(conn) = self.core.conns.get_mut(token) else { return false };
        let ended = conn.facts.filter_ended;
        let Some(filter) = conn.filter.as_deref_mut().filter(|_| !ended) else { return true };
        match caught(|| filter.handle_end()) {
            Ok(Ok(())) => return true,
            Ok(Err(error)) => self.core.end(token, DisconnectReason::from_frame(error), How::Flush),
            Err(text) => self.filter_failed(token, Some(Failed::Panic(text))),
        }
        false
    }

    /// Nothing can pass a filter any more that failed, not even what is queued.
    fn filter_failed(&mut self, token: Token, failed: Option<Failed>) {
        let reason = match failed {
            None => return,
            Some(Failed::Error(error)) => DisconnectReason::from_frame(error),
            Some(Failed::Panic(text)) => DisconnectReason::HandlerPanic(text),
        };
        self.core.end(token, reason, How::Reset);
    }
}
