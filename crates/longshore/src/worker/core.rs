//! The untyped half of a worker: all its connections, their sends and deadlines. Knows neither the
//! port nor any handler, so a callback may reach any connection of its worker through it.

use super::connection::Connection;
use super::dial::{Alarm, DialStart};
use super::mailbox::{Cmd, Ending};
use super::memory::Memory;
use super::switchboard::{Desk, Switchboard};
use super::timer_wheel::TimerWheel;
use crate::config::ConnLimits;
use crate::conn::{ConnId, Counts, Shared};
use crate::metrics::Counters;
use crate::{DisconnectReason, SendError, Server};
use bytes::Bytes;
use longshore_base::{OutOfMemory, Slab, Time, Token, event};
use longshore_port::{Addr, Op, RecvBuf, SocketId, Until};
use longshore_proto::Codec;
use longshore_proto::connection::{CloseAct, Refused, SendPool};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Free blocks that a worker keeps for its next sends.
const BLOCKS_KEPT_MAX: usize = 1024;

/// What a callback can reach.
pub(crate) struct Core {
    pub(crate) now: Time,
    pub(crate) me: u16,
    pub(crate) board: Arc<Switchboard>,
    pub(crate) server: Server,
    pub(crate) conns: Slab<Connection>,
    /// Connections whose ops are settled at the end of the turn.
    pub(crate) dirty: Vec<Token>,
    /// Connections with input left, in the order they go on.
    pub(crate) runnable: VecDeque<Token>,
    pub(crate) wheel: TimerWheel,
    /// Rare deadlines: attempts to connect, ticks, back-offs.
    pub(crate) alarms: BinaryHeap<Reverse<(Time, u64, Alarm)>>,
    alarm_count: u64,
    inbox: Vec<Cmd>,
    /// Commands that run user code, met while a callback was running: after it. Sends may overtake
    /// them; the order that is promised is that of bytes.
    pub(crate) later: VecDeque<Cmd>,
    /// Outgoing connections that callbacks asked for.
    pub(crate) dials: VecDeque<Box<DialStart>>,
    /// Connections that are owed an answer although no send of theirs may come back.
    pub(crate) owed: VecDeque<Token>,
    pub(crate) ops: Vec<(SocketId, Op)>,
    /// Receives that are to end, behind the ops.
    pub(crate) cancels: Vec<SocketId>,
    pub(crate) pool: SendPool<RecvBuf>,
    pub(crate) memory: Memory,
    /// Whose callback is running, and whether it must get no further frame.
    pub(crate) current: Option<Token>,
    pub(crate) interrupted: bool,
    next_conn: u64,
    rng: u64,
}

impl Core {
    pub(crate) fn new(
        me: u16,
        board: Arc<Switchboard>,
        server: Server,
        now: Time,
        seed: u64,
    ) -> Self {
        Self {
            now,
            me,
            board,
            server,
            conns: Slab::new(),
            dirty: Vec::new(),
            runnable: VecDeque::new(),
            wheel: TimerWheel::new(),
            alarms: BinaryHeap::new(),
            alarm_count: 0,
            inbox: Vec::new(),
            later: VecDeque::new(),
            dials: VecDeque::new(),
            owed: VecDeque::new(),
            ops: Vec::new(),
            cancels: Vec::new(),
            pool: SendPool::new(BLOCKS_KEPT_MAX),
            memory: Memory::default(),
            current: None,
            interrupted: false,
            next_conn: 0,
            rng: seed | 1,
        }
    }

    pub(crate) fn desk(&self) -> &Desk {
        &self.board.desks[usize::from(self.me)]
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.desk().counters
    }

    /// A random number below `bound`: for jitter, nothing that must not be guessed.
    pub(crate) fn random_below(&mut self, bound: u64) -> u64 {
        self.rng ^= self.rng << 13;
        self.rng ^= self.rng >> 7;
        self.rng ^= self.rng << 17;
        self.rng % bound.max(1)
    }

    /// Whether a turn left something to the next one, which may then not sleep.
    pub(crate) fn has_left(&self) -> bool {
        let asked = self.later.len() + self.dials.len() + self.owed.len();
        asked > 0 || !self.runnable.is_empty()
    }

    // ---- time

    /// Wants `alarm` at `at`.
    pub(crate) fn set_alarm(&mut self, at: Time, alarm: Alarm) {
        self.alarm_count += 1; // equal times go off in the order they were set
        self.alarms.push(Reverse((at, self.alarm_count, alarm)));
    }

    /// Until when the worker may sleep.
    pub(crate) fn sleep_until(&self) -> Until {
        let alarm = self.alarms.peek().map_or(Time::NEVER, |Reverse((at, ..))| *at);
        match self.wheel.next().min(alarm) {
            Time::NEVER => Until::Woken,
            at => Until::Time(at),
        }
    }

    /// A connection's deadlines may have come nearer. Where they went further away nothing is done:
    /// its entry fires early and is put in again.
    pub(crate) fn rearm(&mut self, token: Token) {
        let Some(conn) = self.conns.get(token) else { return };
        let next = conn.next_deadline();
        if next != Time::NEVER && !self.wheel.is_set_by(token.index(), next) {
            self.wheel.set(token.index(), next);
        }
    }

    // ---- connections

    /// What other threads know of a connection that begins here.
    pub(crate) fn share(
        &mut self,
        peer_addr: Addr,
        local_addr: Addr,
        limits: &ConnLimits,
    ) -> Arc<Shared> {
        self.next_conn += 1;
        Arc::new(Shared {
            id: ConnId(u64::from(self.me) << 48 | self.next_conn),
            peer_addr,
            local_addr,
            connected_at: self.now,
            counts: Counts::default(),
            link: Mutex::default(),
            route: Mutex::new(self.me),
            slot: AtomicU64::new(u64::MAX),
            remote_bytes: AtomicU64::new(0),
            local_bytes: AtomicU64::new(0),
            queue_bytes_max: limits.send_queue_bytes,
            closed: AtomicBool::new(false),
            refused: AtomicBool::new(false),
        })
    }

    /// The slot of a connection that a handle names, if it is still this worker's.
    fn token_of(&self, shared: &Arc<Shared>) -> Option<Token> {
        let token = Token::from_bits(shared.slot.load(Ordering::Relaxed));
        let conn = self.conns.get(token)?;
        Arc::ptr_eq(&conn.shared, shared).then_some(token)
    }

    /// The same for a handle of whatever worker: `None` if it lives elsewhere.
    pub(crate) fn local_token(&self, shared: &Arc<Shared>) -> Option<Token> {
        self.token_of(shared)
    }

    /// The connection's ops are to be settled at the end of this turn.
    #[inline]
    pub(crate) fn mark(&mut self, token: Token) {
        let Some(conn) = self.conns.get_mut(token) else { return };
        if !std::mem::replace(&mut conn.facts.dirty, true) {
            self.dirty.push(token);
        }
    }

    // ---- what other threads want

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
                match ending {
                    Ending::Close(None) => self.close(token, DisconnectReason::Local),
                    Ending::Close(Some(why)) => self.close(token, DisconnectReason::Said(why)),
                    Ending::Abort => self.abort(token, DisconnectReason::Aborted),
                    Ending::SlowReader => self.abort(token, DisconnectReason::SlowReader),
                }
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
            Cmd::Look => self.memory.asked = true,
            Cmd::Measure { shared } => {
                if let Some(token) = self.token_of(&shared) {
                    self.measure(token);
                }
            }
            other => self.later.push_back(other),
        }
    }

    /// The way to its peer is measured at the end of this turn.
    pub(crate) fn measure(&mut self, token: Token) {
        if let Some(conn) = self.conns.get_mut(token) {
            conn.facts.measures = true;
            self.mark(token);
        }
    }

    /// The peer may be who it says: it has logged in in time.
    pub(crate) fn admit(&mut self, token: Token) {
        if let Some(conn) = self.conns.get_mut(token) {
            conn.deadlines.handle_admitted();
        }
    }

    // ---- sending

    /// Encodes `item` behind what the connection has queued.
    #[inline]
    pub(crate) fn send_item<C: Codec>(
        &mut self,
        token: Token,
        codec: &C,
        item: C::Item<'_>,
        lease: Option<&RecvBuf>,
    ) -> Result<(), SendError> {
        self.catch_up();
        let conn = self.conns.get_mut(token).filter(|conn| conn.is_open());
        let Some(conn) = conn else { return Err(SendError::Closed) };
        let room = conn.limits.send_queue_bytes.saturating_sub(conn.queued());
        let never = conn.queued() == 0; // no room now is no room ever
        let left = self.memory.left(&self.board.budget, conn.queued());
        let room = usize::try_from(room.min(left)).unwrap_or(usize::MAX);
        match conn.send.handle_item(codec, item, lease, room, &mut self.pool) {
            Ok(bytes) => {
                self.memory.queued += bytes as u64;
                conn.messages_out += 1;
                conn.publish_queued();
                if !conn.facts.dirty {
                    conn.facts.dirty = true;
                    self.dirty.push(token);
                }
                self.counters().messages_out.add(1);
                Ok(())
            }
            Err(Refused::Encode(error)) => Err(SendError::Encode(error)),
            Err(Refused::Full) if left > room as u64 => Err(self.refuse_full(token, never)),
            Err(Refused::Full) => Err(self.refuse_memory(token)),
        }
    }

    /// Queues whole frames that were encoded already, within the bound.
    pub(crate) fn send_encoded(&mut self, token: Token, bytes: Bytes) -> Result<(), SendError> {
        self.catch_up();
        let conn = self.conns.get(token).filter(|conn| conn.is_open());
        let Some(conn) = conn else { return Err(SendError::Closed) };
        let (len, max) = (bytes.len() as u64, conn.limits.send_queue_bytes);
        if conn.queued().saturating_add(len) > max {
            return Err(self.refuse_full(token, len > max));
        }
        if len > self.memory.left(&self.board.budget, conn.queued()) {
            return Err(self.refuse_memory(token));
        }
        if let Some(conn) = self.queue_bytes(token, bytes) {
            conn.publish_queued();
        }
        Ok(())
    }

    /// Queues what a codec answers by itself. Where a full queue refuses, it waits for room, and all
    /// input with it: nobody could be told that it is lost.
    pub(crate) fn reply(&mut self, token: Token, bytes: Bytes) -> Result<(), SendError> {
        self.catch_up();
        let now = self.now;
        let conn = self.conns.get_mut(token).filter(|conn| conn.is_open());
        let Some(conn) = conn else { return Err(SendError::Closed) };
        let (len, max) = (bytes.len() as u64, conn.limits.send_queue_bytes);
        let full = conn.queued().saturating_add(len) > max;
        // Where all together hold too much this peer is not to blame, and may wait.
        let short = len > self.memory.left(&self.board.budget, conn.queued());
        if !(full || short) || len > max || (full && conn.limits.slow_reader.disconnects()) {
            return self.send_encoded(token, bytes);
        }
        conn.held = Some(Box::new(bytes));
        conn.facts.waits_for_room = true;
        if short {
            self.owed.push_back(token); // nothing of it may be queued that comes back
        }
        conn.stop_or_go(now);
        let owned = conn.own_backlog();
        self.kept(token, owned);
        self.interrupt(token);
        self.mark(token);
        Ok(())
    }

    /// The filter has queued replies of its own, which nobody could refuse. Past the bound a slow
    /// reader is one, or nothing more is read that could bring others.
    pub(crate) fn replied(&mut self, token: Token) {
        self.mark(token);
        let now = self.now;
        let Some(conn) = self.conns.get_mut(token).filter(|conn| conn.is_open()) else { return };
        conn.publish_queued();
        // What it keeps leaves by reading on, so that is no reason to stop.
        if conn.queued() - conn.send.held() <= conn.limits.send_queue_bytes {
            return;
        }
        if conn.limits.slow_reader.disconnects() {
            return self.abort(token, DisconnectReason::SlowReader);
        }
        conn.facts.waits_for_room = true;
        conn.stop_or_go(now);
        let owned = conn.own_backlog();
        self.kept(token, owned);
    }

    /// Bytes are out: queues the answer that waited for that, if it fits, and reads on.
    pub(crate) fn room_again(&mut self, token: Token) {
        let now = self.now;
        let Some(conn) = self.conns.get_mut(token) else { return };
        let queued = conn.queued();
        if let Some(len) = conn.held.as_ref().map(|reply| reply.len() as u64) {
            if queued.saturating_add(len) > conn.limits.send_queue_bytes {
                return;
            }
        } else if queued - conn.send.held() > conn.limits.send_queue_low_bytes {
            return;
        }
        conn.facts.waits_for_room = false;
        conn.stop_or_go(now);
        if let Some(reply) = conn.held.take() {
            if let Some(conn) = self.queue_bytes(token, *reply) {
                conn.publish_queued();
            }
        }
        self.make_runnable(token);
        self.mark(token);
        self.rearm(token);
    }

    /// Queues bytes without asking whether they fit: that was asked before. Nothing, unless the
    /// connection is open.
    fn queue_bytes(&mut self, token: Token, bytes: Bytes) -> Option<&mut Connection> {
        let conn = self.conns.get_mut(token).filter(|conn| conn.is_open())?;
        conn.messages_out += 1;
        self.memory.queued += bytes.len() as u64;
        conn.send.handle_bytes(bytes, &mut self.pool);
        self.counters().messages_out.add(1);
        self.mark(token);
        self.conns.get_mut(token)
    }

    /// The queue is at its bound: what the policy of the listener says. Nothing is owed to who
    /// sends what will `never` fit.
    #[cold]
    fn refuse_full(&mut self, token: Token, never: bool) -> SendError {
        self.counters().messages_refused.add(1);
        if let Some(conn) = self.conns.get(token) {
            if conn.limits.slow_reader.disconnects() {
                self.abort(token, DisconnectReason::SlowReader);
            } else if !never {
                conn.shared.refused.store(true, Ordering::Release);
                self.mark(token); // so that its answer is asked for promptly
            }
        }
        SendError::Full
    }

    /// All connections together hold too much: the peer of this one is not to blame.
    #[cold]
    fn refuse_memory(&mut self, token: Token) -> SendError {
        self.counters().messages_refused.add(1);
        if let Some(conn) = self.conns.get(token) {
            // Nothing of it may be queued that comes back. Who asks on and on is owed one answer.
            if !conn.shared.refused.swap(true, Ordering::AcqRel) {
                self.owed.push_back(token);
            }
        }
        SendError::Full
    }

    // ---- reading or not

    /// No more `on_message` until `resume`.
    pub(crate) fn pause(&mut self, token: Token) {
        let now = self.now;
        let Some(conn) = self.conns.get_mut(token).filter(|conn| conn.is_open()) else { return };
        if std::mem::replace(&mut conn.facts.paused, true) {
            return;
        }
        conn.stop_or_go(now);
        let owned = conn.own_backlog(); // it stays in the list, and is passed over there
        self.kept(token, owned);
        self.interrupt(token);
        self.mark(token);
    }

    /// Goes on, with what waits already first.
    pub(crate) fn resume(&mut self, token: Token) {
        let now = self.now;
        let Some(conn) = self.conns.get_mut(token).filter(|conn| conn.is_open()) else { return };
        if !std::mem::replace(&mut conn.facts.paused, false) {
            return;
        }
        conn.stop_or_go(now);
        self.make_runnable(token);
        self.mark(token);
        self.rearm(token);
    }

    /// Puts a connection with input left, or an end of stream to tell, into the list.
    pub(crate) fn make_runnable(&mut self, token: Token) {
        let Some(conn) = self.conns.get_mut(token) else { return };
        let something = conn.backlog.is_some() || conn.ended.is_some();
        if something && conn.is_open() && !conn.is_stopped() && !conn.facts.runnable {
            conn.facts.runnable = true;
            self.runnable.push_back(token);
        }
    }

    /// What it received waits, if there was memory for that.
    pub(crate) fn kept(&mut self, token: Token, kept: Result<(), OutOfMemory>) {
        match kept {
            Ok(()) => self.recount(token),
            Err(OutOfMemory(bytes)) => {
                self.abort(token, DisconnectReason::OutOfMemory { bytes: bytes as u64 });
            }
        }
    }

    /// If it is the one whose callback runs, it gets no further frame.
    fn interrupt(&mut self, token: Token) {
        self.interrupted |= self.current == Some(token);
    }

    /// The system was too short of memory for an op of it: back-pressure, no end. It is asked again
    /// later (R14).
    pub(crate) fn refused(&mut self, token: Token) {
        let now = self.now;
        let Some(conn) = self.conns.get_mut(token).filter(|conn| !conn.facts.ending) else {
            return;
        };
        conn.deadlines.handle_refused(now);
        self.counters().memory_backoffs.add(1);
        if let Some(held_back) = self.board.log.out_of_memory(now) {
            event!(
                warn,
                "the system is out of memory or buffers for sockets: trying again{held_back}"
            );
        }
        self.rearm(token);
    }

    // ---- ending

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

    /// Memory of a peak goes home. Once in a while.
    pub(crate) fn trim(&mut self) {
        self.pool.trim();
        self.wheel.trim();
        self.conns.trim();
        self.inbox.shrink_to(1024);
        self.dirty.shrink_to(1024);
        self.runnable.shrink_to(1024);
        self.ops.shrink_to(1024);
        self.cancels.shrink_to(1024);
    }
}

/// How often memory of a peak is given back.
pub(crate) const TRIM_EVERY: Duration = Duration::from_secs(20);
