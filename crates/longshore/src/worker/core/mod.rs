//! The untyped half of a worker: all its connections, their sends and deadlines. Knows neither the
//! port nor any handler, so a callback may reach any connection of its worker through it.

pub(crate) mod ending;
#[cfg(feature = "files")]
mod files;
mod groups;
mod inbox;
mod memory;
mod reading;
mod relief;
mod sending;

use super::connection::Connection;
use super::timer_wheel::TimerWheel;
use crate::config::Limits;
use crate::metrics::Counters;
use crate::server::mailbox::{Cmd, DialStart};
use crate::server::shared::Shared;
use crate::server::switchboard::{Desk, Switchboard};
use crate::{ConnId, Server};
use longshore_base::{Slab, Time, Token};
use longshore_port::{Addr, RecvBuf, Until};
use longshore_proto::connection::SendPool;
use memory::Memory;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Free blocks that a worker keeps for its next sends.
const BLOCKS_KEPT_MAX: usize = 1024;

/// Rare things that are due at a time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Alarm {
    /// A listener may accept again.
    Accept(u32),
    /// An outgoing connection is tried again.
    Dial(Token),
    /// A tick of the server.
    Tick(u32),
    /// All are to be told of a shutdown.
    Asked,
    /// The time of a shutdown is up.
    Drained,
    /// Memory is short: somebody is held back.
    Memory,
    /// Memory of a peak goes home.
    Trim,
}

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
    /// Connections with news of their files.
    pub(crate) filed: VecDeque<Token>,
    #[cfg(feature = "files")]
    /// Files that all of them send.
    pub(crate) files_going: usize,
    /// Outgoing connections that callbacks asked for.
    pub(crate) dials: VecDeque<Box<DialStart>>,
    /// Connections that are owed an answer although no send of theirs may come back.
    pub(crate) owed: VecDeque<Token>,
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
            filed: VecDeque::new(),
            #[cfg(feature = "files")]
            files_going: 0,
            dials: VecDeque::new(),
            owed: VecDeque::new(),
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
        let asked = self.later.len() + self.dials.len() + self.owed.len() + self.filed.len();
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
        limits: &Limits,
    ) -> Arc<Shared> {
        self.next_conn += 1;
        let id = ConnId(u64::from(self.me) << 48 | self.next_conn);
        let addrs = (peer_addr, local_addr);
        Arc::new(Shared::new(id, addrs, self.now, self.me, limits))
    }

    /// The slot of a connection that a handle of whatever worker names: `None` if it lives elsewhere,
    /// or no more.
    pub(crate) fn token_of(&self, shared: &Arc<Shared>) -> Option<Token> {
        let token = Token::from_bits(shared.slot.load(Ordering::Relaxed));
        let conn = self.conns.get(token)?;
        Arc::ptr_eq(&conn.shared, shared).then_some(token)
    }

    /// The connection's ops are to be settled at the end of this turn.
    #[inline]
    pub(crate) fn mark(&mut self, token: Token) {
        let Some(conn) = self.conns.get_mut(token) else { return };
        if !std::mem::replace(&mut conn.facts.dirty, true) {
            self.dirty.push(token);
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

    /// Memory of a peak goes home. Once in a while.
    pub(crate) fn trim(&mut self) {
        self.pool.trim();
        self.wheel.trim();
        self.conns.trim();
        self.inbox.shrink_to(1024);
        self.dirty.shrink_to(1024);
        self.runnable.shrink_to(1024);
    }
}

/// How often memory of a peak is given back.
pub(crate) const TRIM_EVERY: Duration = Duration::from_secs(20);
