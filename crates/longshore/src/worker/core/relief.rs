//! What is done when all connections together hold too much.

use super::ending::How;
use super::{Alarm, Core};
use crate::DisconnectReason;
use crate::server::budget::{Level, SMALL_BYTES, STEP_BYTES};
use crate::server::mailbox::Cmd;
use longshore_base::{Time, Token, event};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Between two looks at all connections.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// How often who is held back is looked at while nothing else happens.
const HELD_LOOK_EVERY: Duration = Duration::from_millis(100);

/// If that long nothing became free, the largest are ended until there is enough; then again after
/// each second.
const HELD_MAX: Duration = Duration::from_secs(10);
const HELD_NEXT: Duration = Duration::from_secs(1);

/// With hardly any memory left nobody waits for long: others are turned away meanwhile.
const HELD_FULL: Duration = Duration::from_millis(100);

/// How often free memory goes back to the system while there is little.
const TRIM_EVERY: Duration = Duration::from_secs(1);

/// What makes a burst: connections that ended, or bytes that became free, between two ticks.
const BURST: u32 = 256;
const BURST_BYTES: u64 = 4 << 20;

/// Ticks after it at which free memory goes back to the system.
const TRIMS: u32 = 3;

impl Core {
    /// What a connection holds may have changed.
    pub(crate) fn recount(&mut self, token: Token) {
        if let Some(conn) = self.conns.get_mut(token) {
            self.memory.recount(conn, &self.board, self.me);
        }
    }

    fn tell_memory(&mut self) {
        self.memory.tell(&self.board.budget);
    }

    /// At the slow, regular tick: whether free memory is to go back to the system. An allocator keeps
    /// that of a burst for the next one, which may never come. Pools let go of theirs in steps, so
    /// it is done more than once.
    pub(crate) fn trims_heap(&mut self) -> bool {
        let memory = &mut self.memory;
        let fell = std::mem::replace(&mut memory.peak, memory.held).saturating_sub(memory.held);
        if std::mem::take(&mut memory.ended) >= BURST || fell >= BURST_BYTES {
            memory.trims = TRIMS;
        }
        let trims = memory.trims > 0;
        memory.trims = memory.trims.saturating_sub(1);
        trims
    }

    /// Once a turn, when its sends are settled: does what the level of memory asks for. Says whether
    /// there is more to settle.
    #[inline]
    pub(crate) fn watch_memory(&mut self) -> bool {
        let level = self.board.budget.level();
        let memory = &self.memory;
        let waiting = !(memory.held_back.is_empty() && memory.starved.is_empty());
        if level >= Level::Tight || waiting || memory.asked {
            self.relieve(level);
        }
        !self.dirty.is_empty()
    }

    /// Whether who is owed an answer has to wait until there is memory again.
    pub(crate) fn has_to_wait_for_memory(&mut self, token: Token) -> bool {
        let waits = self.board.budget.level() >= Level::Full;
        if waits {
            self.memory.starved.push(token);
        }
        waits
    }

    #[cold]
    fn relieve(&mut self, level: Level) {
        let asked = std::mem::take(&mut self.memory.asked);
        if level < Level::Full {
            self.owed.extend(self.memory.starved.drain(..));
        }
        let of_conns = &self.conns;
        let waits = |token: &Token| of_conns.get(*token).is_some_and(|conn| conn.facts.held_back);
        self.memory.held_back.retain(waits);
        if level == Level::Free {
            self.memory.held_until = Time::NEVER;
            for token in std::mem::take(&mut self.memory.held_back) {
                if let Some(conn) = self.conns.get_mut(token) {
                    conn.facts.held_back = false;
                    self.mark(token);
                }
            }
            return;
        }
        if level >= Level::Tight && self.now >= self.memory.next_look {
            self.memory.next_look = self.now + LOOK_EVERY;
            self.hold_back();
        }
        if level >= Level::Tight && self.now >= self.memory.next_trim {
            // What was freed is to be there for others, not to be kept by the allocator.
            self.memory.next_trim = self.now + TRIM_EVERY;
            self.memory.trim_now = true;
        }
        let used = self.board.budget.used();
        if level >= Level::Full {
            self.memory.held_until = self.memory.held_until.min(self.now + HELD_FULL);
        }
        if used + STEP_BYTES <= self.memory.taken {
            self.wait_for_less(HELD_MAX); // somebody reads, if slowly
        }
        if level == Level::Over {
            while self.end_largest() && self.board.budget.level() == Level::Over {}
        } else if asked || self.now >= self.memory.held_until {
            while self.end_largest() && self.board.budget.level() > Level::Free {}
            self.wait_for_less(HELD_NEXT);
        }
        let waiting = !(self.memory.held_back.is_empty() && self.memory.starved.is_empty());
        if waiting && !std::mem::replace(&mut self.memory.alarm, true) {
            self.set_alarm(self.now + HELD_LOOK_EVERY, Alarm::Memory);
        }
    }

    /// Something has to become free within that time.
    fn wait_for_less(&mut self, within: Duration) {
        self.memory.taken = self.board.budget.used();
        self.memory.held_until = self.now + within;
    }

    /// Reads no more from the connections that hold more than others.
    fn hold_back(&mut self) {
        let of_large = || self.conns.iter().filter(|(_, conn)| conn.weight() >= SMALL_BYTES);
        let (count, sum) =
            of_large().fold((0, 0), |(n, sum), (_, conn)| (n + 1, sum + conn.weight()));
        let share = sum / u64::max(count, 1);
        let held_back: Vec<_> = of_large()
            .filter(|(_, conn)| conn.weight() >= share && conn.may_be_held_back())
            .map(|(token, _)| token)
            .collect();
        if held_back.is_empty() {
            return;
        }
        self.counters().memory_held_back.add(held_back.len() as u64);
        if let Some(more) = self.board.log.memory(self.now) {
            let (used, max) = (self.board.budget.used(), self.board.budget.max);
            event!(
                warn,
                "{used} bytes of limits.memory = {max} are taken: not reading from {} connections \
                 that hold most{more}",
                held_back.len()
            );
        }
        if self.memory.held_back.is_empty() {
            self.wait_for_less(HELD_MAX);
        }
        for token in held_back {
            if let Some(conn) = self.conns.get_mut(token) {
                conn.facts.held_back = true;
                self.memory.held_back.push(token);
                self.mark(token);
            }
        }
    }

    /// Ends the connection that holds most, if it is one of this worker; else wakes the worker that
    /// has it, which looks by itself. Says whether it ended one.
    fn end_largest(&mut self) -> bool {
        let open = self.conns.iter().filter(|(_, conn)| !conn.is_leaving());
        let largest = open.max_by_key(|(_, conn)| conn.weight());
        let (token, holds) =
            largest.map_or((None, 0), |(token, conn)| (Some(token), conn.weight()));
        self.memory.largest = holds;
        self.desk().largest.store(holds, Ordering::Relaxed);
        let others = self.board.desks.iter().enumerate();
        let others = others.filter(|(desk, _)| *desk != usize::from(self.me));
        let other = others.map(|(desk, it)| (it.largest.load(Ordering::Relaxed), desk)).max();
        if let Some((bytes, desk)) = other.filter(|(bytes, _)| *bytes > holds) {
            debug_assert!(bytes > 0, "more than nothing");
            self.board.push(u16::try_from(desk).unwrap_or(0), Cmd::Look);
            return false;
        }
        let Some(token) = token.filter(|_| holds > 0) else { return false };
        let max = self.board.budget.max;
        self.end(token, DisconnectReason::Overload { held: holds, max }, How::Reset);
        self.recount(token);
        self.tell_memory();
        true
    }
}
