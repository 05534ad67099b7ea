//! What the connections of a worker hold.

use crate::server::budget::{Budget, SMALL_BYTES, STEP_BYTES};
use crate::server::switchboard::Switchboard;
use crate::worker::connection::Connection;
use longshore_base::{Time, Token};
use std::sync::atomic::Ordering;

/// What a worker knows of its memory.
#[derive(Debug)]
pub(crate) struct Memory {
    /// What its connections hold, and what it has told of that.
    pub(crate) held: u64,
    pub(crate) told: u64,
    /// At least as much as its largest connection holds; as others see it, too.
    pub(crate) largest: u64,
    /// Connections that have ended since the heap was looked at, and the most that was held since.
    pub(crate) ended: u32,
    pub(crate) peak: u64,
    /// How often free memory is still to go back to the system, when that may be again, and whether
    /// it is to be now.
    pub(crate) trims: u32,
    pub(crate) next_trim: Time,
    pub(crate) trim_now: bool,
    /// What was queued since the turn's sends were settled.
    pub(crate) queued: u64,
    /// Connections that are not read.
    pub(crate) held_back: Vec<Token>,
    /// Connections that were refused room for the sake of all, and hear when there is some.
    pub(crate) starved: Vec<Token>,
    /// When they have waited too long, unless less is taken by then than was.
    pub(crate) held_until: Time,
    pub(crate) taken: u64,
    /// Another worker has seen that the largest has to go, and that it may be here.
    pub(crate) asked: bool,
    /// When all connections may be looked at again.
    pub(crate) next_look: Time,
    /// An alarm is set, for a turn in which that is done.
    pub(crate) alarm: bool,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            held: 0,
            told: 0,
            largest: 0,
            ended: 0,
            peak: 0,
            trims: 0,
            next_trim: Time::ZERO,
            trim_now: false,
            queued: 0,
            held_back: Vec::new(),
            starved: Vec::new(),
            held_until: Time::NEVER,
            taken: 0,
            asked: false,
            next_look: Time::ZERO,
            alarm: false,
        }
    }
}

impl Memory {
    /// Bytes that all connections together leave to one for which `queued` bytes wait, in this turn.
    #[inline]
    pub(crate) fn left(&self, budget: &Budget, queued: u64) -> u64 {
        if self.queued < STEP_BYTES {
            return u64::MAX; // no matter
        }
        let left = budget.left().saturating_sub(self.queued);
        left.max(SMALL_BYTES.saturating_sub(queued))
    }

    /// What a connection of worker `me` holds may have changed.
    #[inline]
    pub(crate) fn recount(&mut self, conn: &mut Connection, board: &Switchboard, me: u16) {
        let holds = conn.memory();
        if holds != conn.counted {
            let before = std::mem::replace(&mut conn.counted, holds);
            self.count(before, holds, board);
        }
        let weight = conn.weight();
        if weight > self.largest {
            self.largest = weight;
            board.desks[usize::from(me)].largest.store(weight, Ordering::Relaxed);
        }
    }

    /// A connection held `before` bytes, and now `after`.
    pub(crate) fn count(&mut self, before: u64, after: u64, board: &Switchboard) {
        self.held = self.held + after - before;
        if self.held.abs_diff(self.told) >= STEP_BYTES {
            self.peak = self.peak.max(self.held);
            self.tell(&board.budget);
        }
    }

    pub(crate) fn tell(&mut self, budget: &Budget) {
        budget.change(self.told, self.held);
        self.told = self.held;
    }
}
