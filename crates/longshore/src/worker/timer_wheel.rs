//! One timer wheel per worker: one entry per connection, moved lazily.
//!
//! Six levels of 64 slots; a tick is a millisecond. An entry lies in the level where its distance
//! fits, and falls to a lower one when its slot comes round. Insert and remove are O(1); the next
//! deadline is found with one bit scan a level.
//!
//! Who becomes active does nothing here: when the entry fires, its owner looks at its deadlines and
//! puts it in again (S96).

use longshore_base::Time;

/// Length of a tick, a millisecond. Timers are never early, and at most one tick late.
const TICK_NANOS: u64 = 1_000_000;
const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
const LEVELS: usize = 6;
/// How far ahead an entry can lie, in ticks.
const SPAN: u64 = 1 << (SLOT_BITS * 6);
const NONE: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct Node {
    next: u32,
    prev: u32,
    /// Tick at which it is due; `NOT_IN` if it is not in the wheel.
    due: u64,
}

const NOT_IN: u64 = u64::MAX;

/// Entries are small numbers: slots of the connection table.
#[derive(Debug)]
pub(crate) struct TimerWheel {
    /// The first entry of each slot.
    heads: [[u32; SLOTS]; LEVELS],
    /// Which slots of a level have entries.
    occupied: [u64; LEVELS],
    /// By entry; doubly linked within a slot.
    nodes: Vec<Node>,
    /// The tick that was handled last.
    now: u64,
    len: usize,
}

impl TimerWheel {
    pub(crate) fn new() -> Self {
        let heads = [[NONE; SLOTS]; LEVELS];
        Self { heads, occupied: [0; LEVELS], nodes: Vec::new(), now: 0, len: 0 }
    }

    /// Where an entry due at `due` lies, seen from now.
    fn place(&self, due: u64) -> (usize, u32) {
        let highest_bit = ((due ^ self.now) | 1).ilog2();
        let level = ((highest_bit / SLOT_BITS) as usize).min(LEVELS - 1);
        (level, slot_of(due, level))
    }

    /// Puts `entry` in for `at`, or moves it there. `Time::NEVER` takes it out.
    pub(crate) fn set(&mut self, entry: u32, at: Time) {
        self.clear(entry);
        if at == Time::NEVER {
            return;
        }
        let index = entry as usize;
        if index >= self.nodes.len() {
            self.nodes.resize(index + 1, Node { next: NONE, prev: NONE, due: NOT_IN });
        }
        // Rounded up: never early. Beyond the wheel's 2 years it comes round and is put in again.
        let due = at.as_nanos().div_ceil(TICK_NANOS);
        let due = due.clamp(self.now + 1, self.now + SPAN - 1);
        self.link(entry, due);
        self.len += 1;
    }

    /// Whether `entry` is in, and due at `at` or before.
    #[inline]
    pub(crate) fn is_set_by(&self, entry: u32, at: Time) -> bool {
        let due = self.nodes.get(entry as usize).map_or(NOT_IN, |node| node.due);
        due != NOT_IN && due <= at.as_nanos().div_ceil(TICK_NANOS)
    }

    fn link(&mut self, entry: u32, due: u64) {
        let (level, slot) = self.place(due);
        let head = std::mem::replace(&mut self.heads[level][slot as usize], entry);
        self.nodes[entry as usize] = Node { next: head, prev: NONE, due };
        if head != NONE {
            self.nodes[head as usize].prev = entry;
        }
        self.occupied[level] |= 1 << slot;
    }

    /// Takes `entry` out, if it is in.
    pub(crate) fn clear(&mut self, entry: u32) {
        let Some(&Node { next, prev, due }) = self.nodes.get(entry as usize) else { return };
        if due == NOT_IN {
            return;
        }
        self.nodes[entry as usize].due = NOT_IN;
        self.len -= 1;
        if next != NONE {
            self.nodes[next as usize].prev = prev;
        }
        if prev != NONE {
            self.nodes[prev as usize].next = next;
            return;
        }
        // First of its slot. An entry stays in the slot where it was put until that comes round,
        // so the slot is found by its head.
        let slots = (0..LEVELS).map(|level| (level, slot_of(due, level)));
        let (level, slot) = slots
            .into_iter()
            .find(|&(level, slot)| self.heads[level][slot as usize] == entry)
            .expect("an entry without predecessor heads a slot");
        self.heads[level][slot as usize] = next;
        if next == NONE {
            self.occupied[level] &= !(1 << slot);
        }
    }

    /// The time until which nothing has to be done; exact for the next 64 ticks, else early: the
    /// time when a slot has to be looked at again.
    pub(crate) fn next(&self) -> Time {
        if self.len == 0 {
            return Time::NEVER;
        }
        let tick = (0..LEVELS).filter_map(|level| self.next_of(level)).min().unwrap_or(self.now);
        Time::from_nanos(tick.saturating_mul(TICK_NANOS))
    }

    /// The tick at which the next occupied slot of a level begins.
    fn next_of(&self, level: usize) -> Option<u64> {
        let occupied = self.occupied[level];
        if occupied == 0 {
            return None;
        }
        let present = self.now >> shift(level);
        // Slots ahead of the present one in this round, else those of the next round.
        let ahead = occupied.rotate_right(slot_of(self.now, level) + 1).trailing_zeros() + 1;
        Some((present + u64::from(ahead)) << shift(level))
    }

    /// Moves the wheel to `now` and appends the entries that are due; they are out then.
    pub(crate) fn advance(&mut self, now: Time, due: &mut Vec<u32>) {
        let target = now.as_nanos() / TICK_NANOS;
        while self.now < target {
            let next = (0..LEVELS).filter_map(|level| self.next_of(level)).min();
            let Some(next) = next.filter(|next| *next <= target) else {
                self.now = target;
                return;
            };
            self.now = next;
            for level in (0..LEVELS).rev() {
                if next & ((1 << shift(level)) - 1) == 0 {
                    self.empty_slot(level, due);
                }
            }
        }
    }

    /// What lies in the slot that just came round is due, or falls to a lower level.
    fn empty_slot(&mut self, level: usize, due: &mut Vec<u32>) {
        let slot = slot_of(self.now, level);
        let mut entry = std::mem::replace(&mut self.heads[level][slot as usize], NONE);
        self.occupied[level] &= !(1 << slot);
        while entry != NONE {
            let Node { next, due: at, .. } = self.nodes[entry as usize];
            if at <= self.now {
                self.nodes[entry as usize].due = NOT_IN;
                self.len -= 1;
                due.push(entry);
            } else {
                self.link(entry, at);
            }
            entry = next;
        }
    }

    /// Frees what a peak of entries took.
    pub(crate) fn trim(&mut self) {
        if self.len == 0 {
            self.nodes = Vec::new();
        }
    }
}

/// Bits of a tick below those that choose the slot of a level.
const fn shift(level: usize) -> usize {
    level * SLOT_BITS as usize
}

/// Where in its level an entry due at `due` lies.
#[expect(clippy::cast_possible_truncation, reason = "masked to a slot")]
const fn slot_of(due: u64, level: usize) -> u32 {
    (due >> shift(level)) as u32 % SLOTS as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::time::Duration;

    fn at(ms: u64) -> Time {
        Time::ZERO + Duration::from_millis(ms)
    }

    #[test]
    fn an_entry_fires_once_at_its_tick_and_not_before() {
        let mut wheel = TimerWheel::new();
        let mut due = Vec::new();
        for (entry, ms) in [(0, 1), (1, 63), (2, 64), (3, 65), (4, 4_096), (5, 10_000_000)] {
            wheel.set(entry, at(ms));
            wheel.advance(at(ms - 1).max(at(0)), &mut due);
            assert!(due.is_empty(), "entry {entry} early");
            wheel.advance(at(ms), &mut due);
            assert_eq!(std::mem::take(&mut due), [entry]);
        }
        assert_eq!(wheel.next(), Time::NEVER);
    }

    #[test]
    fn a_time_between_ticks_is_rounded_up() {
        let (mut wheel, mut due) = (TimerWheel::new(), Vec::new());
        wheel.set(7, at(5) + Duration::from_nanos(1));
        wheel.advance(at(5), &mut due);
        assert!(due.is_empty());
        wheel.advance(at(6), &mut due);
        assert_eq!(due, [7]);
    }

    proptest! {
        /// R46: against a sorted map; never early, at most a tick late, whatever the steps in time.
        #[test]
        fn behaves_like_a_sorted_map(steps in prop::collection::vec((0u8..5, 0u32..100, 0u64..5_000_000, 0u8..3), 1..800)) {
            let mut wheel = TimerWheel::new();
            let mut model: BTreeMap<u32, u64> = BTreeMap::new();
            let mut now = 0u64;
            for (step, entry, ms, scale) in steps {
                let ms = ms >> (u32::from(scale) * 8);
                match step {
                    0 | 1 => {
                        wheel.set(entry, at(now + ms));
                        model.insert(entry, (now + ms).max(now + 1));
                    }
                    2 => {
                        wheel.clear(entry);
                        model.remove(&entry);
                    }
                    _ => {
                        now += ms / 2;
                        let mut due = Vec::new();
                        wheel.advance(at(now), &mut due);
                        due.sort_unstable();
                        let want: Vec<u32> = model.iter().filter(|(_, t)| **t <= now).map(|(e, _)| *e).collect();
                        prop_assert_eq!(due, want);
                        model.retain(|_, t| *t > now);
                    }
                }
                let next = wheel.next();
                prop_assert_eq!(next == Time::NEVER, model.is_empty());
                if let Some(first) = model.values().min() {
                    prop_assert!(next <= at(*first), "would sleep past a deadline");
                    prop_assert!(next > at(now), "would not sleep at all");
                }
                prop_assert_eq!(wheel.len, model.len());
            }
        }
    }
}
