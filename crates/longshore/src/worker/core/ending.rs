//! How connections end. All ways begin at [`Core::end`]; the first reason is the one that is told.

use super::Core;
use crate::DisconnectReason;
use crate::worker::connection::Last;
use longshore_base::{Token, event};
use longshore_proto::connection::CloseAct;
use std::sync::atomic::Ordering;

/// How a connection ends.
///
/// | | what is queued | what the peer gets | where a graceful close is under way |
/// | --- | --- | --- | --- |
/// | `Flush` | leaves, within `limits.linger` | the end of the stream, behind all of it | it goes on |
/// | `Reset` | is lost | a reset | it is over |
/// | `Drop` | is lost | no more: it has left, or is not wanted | it is over |
/// | `Broken` | is lost | a reset; no more, if the end was told already | it is over |
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum How {
    Flush,
    Reset,
    Drop,
    /// An op failed, by the peer's doing or not. Without a reset a peer that is well would take what
    /// it has got for all of it.
    Broken,
}

impl Core {
    /// Ends a connection, behind what handles have sent before now.
    pub(crate) fn end(&mut self, token: Token, reason: DisconnectReason, how: How) {
        self.catch_up();
        self.end_now(token, reason, how);
    }

    /// The same in the middle of what others have sent.
    pub(super) fn end_now(&mut self, token: Token, reason: DisconnectReason, how: How) {
        if matches!(reason, DisconnectReason::HandlerPanic(_)) {
            self.counters().panics.add(1);
        }
        let now = self.now;
        let Some(conn) = self.conns.get_mut(token) else { return };
        let flush = how == How::Flush && !conn.facts.connecting;
        if !flush && !conn.is_open() && !conn.send.is_flushed() && reason.is_fault() {
            if let Some(held_back) = self.board.log.closed(&reason, now) {
                let (peer, why) = (conn.shared.peer_addr, reason.with_limit(&conn.limits));
                event!(
                    warn,
                    conn = %conn.shared.id,
                    "closing {peer} is cut short, and what was queued is lost: {why}{held_back}"
                );
            }
        }
        let news = if flush {
            let linger = conn.limits.linger;
            conn.closing.begin(now, &linger, reason.is_fault())
        } else {
            conn.closing.end()
        };
        if !news {
            return;
        }
        let told = conn.facts.half_closed;
        self.quiet(token, reason);
        match how {
            _ if flush => {}
            How::Drop => self.leave(token, Last::Close),
            How::Broken if told => self.leave(token, Last::Close),
            How::Flush | How::Reset | How::Broken => self.leave(token, Last::Reset),
        }
    }

    /// What a step of the graceful close asks for.
    pub(crate) fn act(&mut self, token: Token, act: CloseAct) {
        match act {
            CloseAct::Wait => {}
            CloseAct::HalfClose => {
                let Some(conn) = self.conns.get_mut(token) else { return };
                conn.facts.half_closed = true;
                self.mark(token);
                self.rearm(token);
            }
            CloseAct::Close => self.leave(token, Last::Close),
            CloseAct::Abort => {
                event!(debug, "gave up what was queued when a close began (limits.linger.total)");
                self.leave(token, Last::Reset);
            }
        }
    }

    /// No callback any more but the last one, and no input.
    fn quiet(&mut self, token: Token, reason: DisconnectReason) {
        let Some(conn) = self.conns.get_mut(token) else { return };
        conn.shared.closed.store(true, Ordering::Release);
        // An end of the stream was well only if all that was queued went out.
        let cut = matches!(conn.reason.as_deref(), Some(DisconnectReason::PeerClosed))
            && reason.is_fault()
            && !conn.send.is_flushed();
        if cut || conn.reason.is_none() {
            conn.reason = Some(Box::new(reason));
        }
        conn.deadlines.handle_closing();
        conn.facts.paused = false;
        conn.held = None;
        conn.facts.waits_for_room = false;
        conn.drop_backlog();
        conn.ended = None;
        self.interrupt(token);
        self.mark(token);
        self.rearm(token);
    }

    /// The socket goes, with the end of this turn.
    fn leave(&mut self, token: Token, last: Last) {
        let Some(conn) = self.conns.get_mut(token) else { return };
        if conn.is_leaving() {
            return;
        }
        conn.last = Some(last);
        conn.send.clear(&mut self.pool);
        conn.publish();
        self.mark(token);
    }
}
