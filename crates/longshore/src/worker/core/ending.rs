//! How connections end.

use super::Core;
use crate::DisconnectReason;
use longshore_base::{Token, event};
use longshore_port::Op;
use longshore_proto::connection::CloseAct;
use std::sync::atomic::Ordering;

impl Core {
    /// Flush, half-close, linger, close. The first reason is the one that is told.
    pub(crate) fn close(&mut self, token: Token, reason: DisconnectReason) {
        let now = self.now;
        let Some(conn) = self.conns.get_mut(token) else { return };
        if conn.facts.connecting {
            return self.abort(token, reason);
        }
        let linger = conn.limits.linger;
        if !conn.closing.begin(now, &linger, reason.is_fault()) {
            return;
        }
        self.closing(token, reason);
    }

    /// At once, with a reset; what is queued is lost.
    pub(crate) fn abort(&mut self, token: Token, reason: DisconnectReason) {
        self.end(token, reason, Op::Abort);
    }

    /// At once, without a reset: the peer ended it already.
    pub(crate) fn drop_dead(&mut self, token: Token, reason: DisconnectReason) {
        self.end(token, reason, Op::Close);
    }

    /// An op of it failed, by the peer's doing or not. With a reset, or a peer that is well would take
    /// what it has got for all of it; but not if that is all.
    pub(crate) fn broke(&mut self, token: Token, reason: DisconnectReason) {
        let Some(conn) = self.conns.get(token) else { return };
        if conn.facts.half_closed {
            self.drop_dead(token, reason);
        } else {
            self.abort(token, reason);
        }
    }

    /// With a reset, even if it is closing gracefully already.
    pub(crate) fn abort_at_last(&mut self, token: Token, reason: DisconnectReason) {
        let Some(conn) = self.conns.get_mut(token) else { return };
        conn.closing.end();
        self.closing(token, reason);
        self.close_socket(token, Op::Abort);
    }

    fn end(&mut self, token: Token, reason: DisconnectReason, op: Op) {
        let Some(conn) = self.conns.get_mut(token) else { return };
        if !conn.closing.end() {
            return;
        }
        self.closing(token, reason);
        self.close_socket(token, op);
    }

    /// What is common to all ways to end.
    fn closing(&mut self, token: Token, reason: DisconnectReason) {
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

    /// What a step of the graceful close asks for.
    pub(crate) fn act(&mut self, token: Token, act: CloseAct) {
        match act {
            CloseAct::Wait => {}
            CloseAct::HalfClose => {
                let Some(conn) = self.conns.get_mut(token) else { return };
                conn.facts.half_closed = true;
                if let Some(socket) = conn.socket {
                    self.ops.push((socket, Op::Shutdown));
                }
                self.mark(token);
                self.rearm(token);
            }
            CloseAct::Close => self.close_socket(token, Op::Close),
            CloseAct::Abort => {
                event!(debug, "gave up what was queued when a close began (limits.linger.total)");
                self.close_socket(token, Op::Abort);
            }
        }
    }

    /// The last op of a connection.
    fn close_socket(&mut self, token: Token, op: Op) {
        let Some(conn) = self.conns.get_mut(token) else { return };
        if std::mem::replace(&mut conn.facts.ending, true) {
            return;
        }
        conn.send.clear(&mut self.pool);
        conn.publish();
        if let Some(socket) = conn.socket {
            self.ops.push((socket, op));
        }
    }
}
