//! From received bytes to callbacks, within each connection's share of a turn.
//!
//! ```text
//! lease ─► (filter ─► plain bytes) ─► decoder ─► frame ─► on_message
//!   └── over the budget, or paused: backlog ── next turns ──┘
//! ```
//!
//! What waits is a queue: a later lease, and the end of the stream, go behind it.

use super::Worker;
use super::connection::{Chunk, InputEnd};
use super::core::ending::How;
use crate::DisconnectReason;
use crate::config::HalfClose;
use longshore_base::Token;
use longshore_port::{End, ErrorKind, Port, RecvBuf};

/// Most frames of one connection in one turn; the rest waits until the others had theirs (S4).
const TURN_FRAMES_MAX: u32 = 64;

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
            if conn.filter.is_some() && !conn.facts.filter_closed {
                self.filtered(token, &lease); // what it keeps may have to wait for this
                self.core.mark(token);
            }
            return self.core.rearm(token);
        }
        conn.deadlines.handle_heard(now);
        if conn.filter.is_some() {
            return self.filtered(token, &lease);
        }
        self.input(token, Chunk::Leased(lease));
    }

    /// Plain bytes for the codec: now, or behind what waits. The chunk, if it is done with.
    #[inline]
    pub(super) fn input(&mut self, token: Token, chunk: Chunk) -> Option<Chunk> {
        let turn = self.turn;
        let conn = self.core.conns.get_mut(token)?;
        if conn.backlog.is_some() || conn.is_stopped() {
            let queued = conn.queue_chunk(chunk);
            self.core.kept(token, queued);
            return None;
        }
        if conn.turn != turn {
            (conn.turn, conn.budget) = (turn, TURN_FRAMES_MAX);
        }
        let used = self.cut(token, &chunk, 0);
        if used < chunk.bytes().len() {
            self.put_back(token, chunk, used);
            return None;
        }
        Some(chunk)
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
        let (mut budget, of) = (conn.budget, conn.lane);
        let core = &mut self.core;
        core.current = Some(token);
        core.interrupted = false;
        let input = &chunk.bytes()[from..];
        let told = lane.received(core, token, seat, input, chunk.lease(), &mut budget);
        core.current = None;
        core.counters().messages_in.add(told.messages);
        self.look_at_callback(of, "on_message");
        if let Some(conn) = self.core.conns.get_mut(token) {
            let begins = budget != conn.budget;
            conn.budget = budget;
            conn.count_messages(told.messages);
            if told.torn.bytes > 0 || conn.is_torn() {
                conn.torn = told.torn;
                self.torn(token, begins);
                self.core.recount(token);
            }
        }
        if let Some(reason) = told.failed {
            self.core.end(token, reason, How::Flush);
        }
        from + told.used
    }

    /// What came ends within a frame, or something of its filter, or does so no more.
    pub(super) fn torn(&mut self, token: Token, begins: bool) {
        let now = self.core.now;
        let Some(conn) = self.core.conns.get_mut(token).filter(|conn| conn.is_open()) else {
            return;
        };
        if conn.is_torn() {
            let (within, rate) = (conn.limits.frame, conn.limits.frame_rate);
            conn.deadlines.handle_torn(now, begins, conn.torn.bytes, within, rate);
            self.core.rearm(token);
        } else {
            conn.deadlines.handle_whole();
        }
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
            let owned = conn.own_backlog();
            self.core.kept(token, owned);
        } else {
            self.core.make_runnable(token);
        }
    }

    /// The receive is over.
    pub(super) fn recv_ended(&mut self, token: Token, end: End) {
        let Some(conn) = self.core.conns.get_mut(token) else { return };
        (conn.facts.receiving, conn.facts.cancelling) = (false, false);
        self.stream_ended(token, end);
    }

    /// The watch is over. It stays when reading goes on, and may tell what the receive then does not.
    pub(super) fn watch_ended(&mut self, token: Token, end: End) {
        let Some(conn) = self.core.conns.get_mut(token) else { return };
        conn.facts.watching = false;
        match end {
            End::Eof if conn.facts.receiving => {} // which tells it, behind what there is
            End::Eof if conn.is_open() => {
                // There may be bytes before it. Reading on tells, for which nobody has to wait.
                (conn.facts.held_back, conn.facts.ends) = (false, true);
                self.core.mark(token);
            }
            End::Eof | End::Failed(_) => self.stream_ended(token, end),
            End::Credit | End::Cancelled => {}
        }
    }

    fn stream_ended(&mut self, token: Token, end: End) {
        let Some(conn) = self.core.conns.get_mut(token) else { return };
        match end {
            End::Failed(error) if error.kind == ErrorKind::NoMemory => self.core.refused(token),
            End::Credit | End::Cancelled => self.core.mark(token),
            End::Eof if !conn.is_open() => {
                let act = conn.closing.handle_peer_ended();
                self.core.act(token, act);
            }
            // A dead connection that waits for `resume` would hold its memory for nothing.
            End::Failed(error) if !conn.is_open() || conn.is_stopped() => {
                self.core.end(token, DisconnectReason::from_port(error), How::Broken);
            }
            End::Eof => self.input_ended(token, InputEnd::Eof),
            End::Failed(error) => self.input_ended(token, InputEnd::Failed(error)),
        }
    }

    /// Nothing more comes. Told once everything before it was handled.
    pub(super) fn input_ended(&mut self, token: Token, end: InputEnd) {
        let Some(conn) = self.core.conns.get_mut(token).filter(|conn| conn.is_open()) else {
            return;
        };
        conn.ended = Some(end);
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
            return self.core.end(token, end.reason(), How::Broken);
        }
        if let InputEnd::Eof = end {
            conn.closing.handle_peer_ended();
        }
        if conn.filter.is_some() && !self.end_filter(token) {
            return;
        }
        let Some(conn) = self.core.conns.get_mut(token) else { return };
        let (Some(seat), Some(lane)) = (conn.seat, self.lanes.get_mut(conn.lane)) else { return };
        let of = conn.lane;
        let core = &mut self.core;
        core.current = Some(token);
        core.interrupted = false;
        let told = lane.ended(core, token, seat);
        core.current = None;
        core.counters().messages_in.add(told.messages);
        self.look_at_callback(of, "on_message");
        if let Some(conn) = self.core.conns.get_mut(token) {
            conn.count_messages(told.messages);
        }
        match (told.failed, limits.half_close) {
            (Some(reason), _) => self.core.end(token, reason, How::Flush),
            (None, HalfClose::Flush) => self.core.end(token, end.reason(), How::Flush),
            (None, HalfClose::Close) => self.core.end(token, end.reason(), How::Drop),
        }
    }
}
