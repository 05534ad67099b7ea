//! From received bytes to callbacks, within each connection's share of a turn.
//!
//! ```text
//! lease ─► (filter ─► plain bytes) ─► decoder ─► frame ─► on_message
//!   └── over the budget, or paused: backlog ── next turns ──┘
//! ```
//!
//! What waits is a queue: a later lease, and the end of the stream, go behind it.

use super::connection::{Chunk, InputEnd};
use super::lane::LaneEnd;
use super::{TURN_FRAMES_MAX, Worker, end_reason};
use crate::DisconnectReason;
use crate::config::HalfClose;
use longshore_base::{Token, caught};
use longshore_port::{End, Port, RecvBuf};

impl<P: Port> Worker<P> {
    /// Bytes came.
    #[inline]
    pub(super) fn received(&mut self, token: Token, lease: RecvBuf) {
        let now = self.core.now;
        let count = lease.len();
        self.core.counters().bytes_in.add(count as u64);
        let Some(conn) = self.core.conns.get_mut(token) else { return };
        conn.count_received(count);
        if !conn.is_open() {
            conn.discard(count, now);
            return self.core.rearm(token);
        }
        conn.deadlines.handle_heard(now);
        if conn.filter.is_some() {
            return self.filtered(token, &lease);
        }
        self.input(token, Chunk::Leased(lease));
    }

    /// Bytes came for a connection with a filter: its codec gets the plain ones.
    fn filtered(&mut self, token: Token, bytes: &[u8]) {
        let (mut plain, mut reply) = std::mem::take(&mut self.plain);
        let Some(conn) = self.core.conns.get_mut(token) else { return };
        let Some(filter) = &mut conn.filter else { return };
        let result = caught(|| filter.handle_input(bytes, &mut plain, &mut reply));
        let result = match result {
            Ok(result) => result,
            Err(text) => return self.filter_panicked(token, text),
        };
        if !reply.is_empty() {
            conn.send.handle_filter_reply(reply.split_off(0).into());
            self.core.replied(token);
        }
        if !plain.is_empty() {
            self.input(token, Chunk::Owned(plain.split_off(0)));
        }
        self.plain = (plain, reply);
        if let Err(error) = result {
            self.close(token, DisconnectReason::from_frame(error));
        }
    }

    /// Nothing can pass a filter any more that panicked, not even what is queued.
    pub(super) fn filter_panicked(&mut self, token: Token, text: String) {
        self.core.counters().panics.add(1);
        self.core.abort(token, DisconnectReason::HandlerPanic(text));
    }

    /// Plain bytes for the codec: now, or behind what waits.
    #[inline]
    fn input(&mut self, token: Token, chunk: Chunk) {
        let turn = self.turn;
        let Some(conn) = self.core.conns.get_mut(token) else { return };
        if conn.backlog.is_some() || conn.is_stopped() {
            return conn.queue_chunk(chunk);
        }
        if conn.turn != turn {
            (conn.turn, conn.budget) = (turn, TURN_FRAMES_MAX);
        }
        let used = self.cut(token, &chunk, 0);
        if used < chunk.bytes().len() {
            self.put_back(token, chunk, used);
        }
    }

    /// Hands bytes of a chunk to the lane; says up to where they are used.
    #[inline]
    fn cut(&mut self, token: Token, chunk: &Chunk, from: usize) -> usize {
        let len = chunk.bytes().len();
        self.core.catch_up(); // a handle may have closed or paused it in the callback of another
        let Some(conn) = self.core.conns.get_mut(token) else { return len };
        if !conn.is_open() || conn.is_stopped() {
            return from; // put back, or dropped and counted
        }
        let (Some(seat), Some(lane)) = (conn.seat, self.lanes.get_mut(conn.lane)) else {
            return len;
        };
        let mut budget = conn.budget;
        let core = &mut self.core;
        core.current = Some(token);
        core.interrupted = false;
        let input = &chunk.bytes()[from..];
        let cut = lane.received(core, token, seat, input, chunk.lease(), &mut budget);
        core.current = None;
        core.counters().messages_in.add(cut.messages);
        if let Some(conn) = core.conns.get_mut(token) {
            conn.budget = budget;
            conn.count_messages(cut.messages);
        }
        if let LaneEnd::Failed(reason) = cut.end {
            self.fail(token, reason);
            return from + cut.used;
        }
        from + cut.used
    }

    /// What is left of a chunk waits in front of all else.
    fn put_back(&mut self, token: Token, chunk: Chunk, used: usize) {
        let now = self.core.now;
        let Some(conn) = self.core.conns.get_mut(token) else { return };
        if !conn.is_open() {
            return conn.discard(chunk.bytes().len() - used, now);
        }
        let backlog = conn.backlog.get_or_insert_default();
        backlog.chunks.push_front(chunk);
        backlog.used = used;
        if conn.is_stopped() {
            conn.own_backlog();
        } else {
            self.core.make_runnable(token);
        }
    }

    /// The receive is over.
    pub(super) fn recv_ended(&mut self, token: Token, end: End) {
        let Some(conn) = self.core.conns.get_mut(token) else { return };
        conn.facts.receiving = false;
        match end {
            End::Credit | End::Cancelled => return self.core.mark(token),
            End::Eof if !conn.is_open() => {
                let act = conn.closing.handle_peer_ended();
                return self.core.act(token, act);
            }
            // A dead connection that waits for `resume` would hold its memory for nothing.
            End::Failed(error) if !conn.is_open() || conn.is_stopped() => {
                return self.core.drop_dead(token, DisconnectReason::from_port(error));
            }
            End::Eof => conn.ended = Some(InputEnd::Eof),
            End::Failed(error) => conn.ended = Some(InputEnd::Failed(error)),
        }
        if conn.backlog.is_none() && !conn.is_stopped() {
            self.tell_end(token);
        }
    }

    /// Connections that had more input than their share of a turn, each once more.
    pub(super) fn go_on(&mut self) {
        for _ in 0..self.core.runnable.len() {
            let Some(token) = self.core.runnable.pop_front() else { return };
            self.go_on_with(token);
        }
    }

    fn go_on_with(&mut self, token: Token) {
        let turn = self.turn;
        let Some(conn) = self.core.conns.get_mut(token) else { return };
        if !std::mem::take(&mut conn.facts.runnable) || !conn.is_open() || conn.is_stopped() {
            return; // paused or closed meanwhile
        }
        if conn.turn != turn {
            (conn.turn, conn.budget) = (turn, TURN_FRAMES_MAX);
        }
        while let Some(conn) = self.core.conns.get_mut(token).filter(|conn| conn.is_open()) {
            if conn.is_stopped() {
                return; // by the last frame of a chunk; `resume` goes on with the next
            }
            let Some(backlog) = &mut conn.backlog else { break };
            let from = std::mem::take(&mut backlog.used);
            let Some(chunk) = backlog.chunks.pop_front() else {
                conn.backlog = None;
                break;
            };
            let used = self.cut(token, &chunk, from);
            if used < chunk.bytes().len() {
                return self.put_back(token, chunk, used);
            }
        }
        self.core.mark(token); // the receive that was not asked for again is asked for now
        self.tell_end(token);
    }

    /// The end of the stream counts once everything before it was handled.
    fn tell_end(&mut self, token: Token) {
        let Some(conn) = self.core.conns.get_mut(token).filter(|conn| conn.is_open()) else {
            return;
        };
        let Some(end) = conn.ended.take() else { return };
        let limits = std::sync::Arc::clone(&conn.limits);
        if let InputEnd::Failed(_) = end {
            return self.core.drop_dead(token, end_reason(end));
        }
        conn.closing.handle_peer_ended();
        if let Some(filter) = &mut conn.filter {
            match caught(|| filter.handle_end()) {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    return self.close(token, DisconnectReason::from_frame(error));
                }
                Err(text) => return self.filter_panicked(token, text),
            }
        }
        let (Some(seat), Some(lane)) = (conn.seat, self.lanes.get_mut(conn.lane)) else { return };
        let core = &mut self.core;
        core.current = Some(token);
        core.interrupted = false;
        let cut = lane.ended(core, token, seat);
        core.current = None;
        core.counters().messages_in.add(cut.messages);
        if let Some(conn) = core.conns.get_mut(token) {
            conn.count_messages(cut.messages);
        }
        match (cut.end, limits.half_close) {
            (LaneEnd::Failed(reason), _) => self.fail(token, reason),
            (_, HalfClose::Flush) => self.close(token, end_reason(end)),
            (_, HalfClose::Close) => self.core.drop_dead(token, end_reason(end)),
        }
    }
}
