//! The memory that the connections of a server may take together (R43).
//!
//! ```text
//! 0 ─────────────── 70 % ── 80 % ─────────── 92 % ──── 95 % ── limits.memory
//!                read again  │ not from       │ refuse  │ end
//!                from all    │ the largest    │ new ones│ the largest
//! ```

use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a worker takes or frees until it says so: no atomic write for a message.
pub(crate) const STEP_BYTES: u64 = 64 << 10;

/// So much each connection may hold whatever the others do: a message or two. Who holds no more is
/// never refused for the sake of all, nor held back.
pub(crate) const SMALL_BYTES: u64 = 16 << 10;

/// How much is taken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Level {
    /// There is enough: what is held back may go on.
    Free,
    /// Between stopping and going on nothing changes.
    Enough,
    /// Nothing is read from the largest.
    Tight,
    /// Nobody new is taken in.
    Full,
    /// The largest is ended.
    Over,
}

/// Counted by all workers, in steps.
#[derive(Debug)]
pub(crate) struct Budget {
    pub(crate) max: u64,
    used: AtomicU64,
    /// What handles sent and no worker has taken over yet, and payloads that many send.
    mail: AtomicU64,
}

impl Budget {
    pub(crate) fn new(max: u64) -> Self {
        Self { max, used: AtomicU64::new(0), mail: AtomicU64::new(0) }
    }

    /// A worker held `before` bytes when it last said so, and now `after`.
    pub(crate) fn change(&self, before: u64, after: u64) {
        self.used.fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
    }

    /// Takes room for what a handle sends to a connection for which `queued` bytes wait, if there is
    /// any.
    pub(crate) fn post(&self, bytes: u64, queued: u64) -> bool {
        let fits = bytes <= self.left().max(SMALL_BYTES.saturating_sub(queued));
        if fits {
            self.mail.fetch_add(bytes, Ordering::Relaxed);
        }
        fits
    }

    /// Takes room that there is no question of.
    pub(crate) fn take(&self, bytes: u64) {
        self.mail.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Takes room for what many send, if there is any: once for all of them, until the last is through.
    pub(crate) fn hold(budget: &Arc<Self>, bytes: &Bytes) -> Option<Bytes> {
        let fits = budget.post(bytes.len() as u64, SMALL_BYTES);
        let held = || Held { bytes: bytes.clone(), budget: Arc::clone(budget) };
        fits.then(|| Bytes::from_owner(held()))
    }

    /// That has arrived, or never will.
    pub(crate) fn take_post(&self, bytes: u64) {
        self.mail.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed).saturating_add(self.mail.load(Ordering::Relaxed))
    }

    pub(crate) fn left(&self) -> u64 {
        self.max.saturating_sub(self.used())
    }

    pub(crate) fn level(&self) -> Level {
        let used = self.used();
        let above = |percent: u64| used >= (self.max / 100).saturating_mul(percent);
        if !above(70) {
            Level::Free
        } else if !above(80) {
            Level::Enough
        } else if !above(92) {
            Level::Tight
        } else if !above(95) {
            Level::Full
        } else {
            Level::Over
        }
    }
}

/// A payload that counts as long as anybody has it.
struct Held {
    bytes: Bytes,
    budget: Arc<Budget>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.take_post(self.bytes.len() as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Level::{Enough, Free, Full, Over, Tight};

    /// R43
    #[test]
    fn the_steps_are_at_seventy_eighty_ninety_two_and_ninety_five() {
        let budget = Budget::new(1_000);
        let mut before = 0;
        let mut at = |used| {
            budget.change(before, used);
            before = used;
            budget.level()
        };
        let steps = [690, 700, 790, 800, 910, 920, 940, 950, 2_000, 0].map(&mut at);
        let wanted = [Free, Enough, Enough, Tight, Tight, Full, Full, Over, Over, Free];
        assert_eq!(steps, wanted);
        assert_eq!(Budget::new(u64::MAX).level(), Free, "without a limit");
    }

    #[test]
    fn what_is_under_way_counts_until_it_has_arrived() {
        let budget = Budget::new(1_000);
        budget.change(0, 600);
        assert!(!budget.post(401, SMALL_BYTES));
        assert!(budget.post(400, SMALL_BYTES));
        assert_eq!((budget.used(), budget.left()), (1_000, 0));
        assert!(!budget.post(401, SMALL_BYTES - 400));
        assert!(budget.post(400, SMALL_BYTES - 400), "who holds little is let through");
        budget.take_post(800);
        assert_eq!((budget.used(), budget.left()), (600, 400));
    }

    #[test]
    fn a_payload_counts_once_for_all_until_the_last_has_dropped_it() {
        let budget = Arc::new(Budget::new(1_000));
        let all = Budget::hold(&budget, &Bytes::from(vec![7; 600])).unwrap();
        let parts = [all.clone(), all.slice(..10), all.slice(10..)];
        drop(all);
        assert_eq!(budget.used(), 600);
        assert!(Budget::hold(&budget, &Bytes::from(vec![7; 401])).is_none(), "no room");
        drop(parts);
        assert_eq!(budget.used(), 0);
    }
}
