//! Looking a little longer before sleeping: putting a core to sleep and waking it takes longer than
//! many a peer takes to answer.
//!
//! A look that is in vain costs processor time and saves nothing. So a worker looks for no longer
//! than a sleep costs, and only while nearly all of its recent looks paid. When they do not, it
//! sleeps at once, and each try that fails doubles the number of sleeps until the next one. How
//! long a sleep took says nothing about a look: its greater part is the waking.

use std::time::Duration;

/// Looks that are remembered are as many as there are bits; so many of them may have been in vain,
/// since now and then a peer is late.
const VAIN_MAX: u32 = 2;

/// What a try begins with: as many in vain as there may be, so one more ends it.
const ON_TRIAL: u32 = (1 << VAIN_MAX) - 1;

/// Doublings at most: then one sleep in 1,024 begins with a look.
const FAILED_MAX: u32 = 10;

/// Whether the next sleep begins with a look.
#[derive(Debug)]
pub(crate) struct Spin {
    /// How long a look may take; zero is never.
    most: Duration,
    /// The recent looks, the last one in the lowest bit: a one was in vain.
    vain: u32,
    /// Tries that failed one after another, up to a limit.
    failed: u32,
    /// Sleeps until the next look.
    skip: u32,
}

impl Spin {
    pub(crate) fn new(most: Duration) -> Self {
        Self { most, vain: ON_TRIAL, failed: 0, skip: 0 }
    }

    /// How long to look before this sleep, if at all.
    pub(crate) fn budget(&mut self) -> Option<Duration> {
        if self.skip > 0 {
            self.skip -= 1;
            return None;
        }
        (!self.most.is_zero()).then_some(self.most)
    }

    /// Something came.
    pub(crate) fn hit(&mut self) {
        self.vain <<= 1;
        if self.vain == 0 {
            self.failed = 0;
        }
    }

    /// Nothing came.
    pub(crate) fn miss(&mut self) {
        self.vain = (self.vain << 1) | 1;
        if self.vain.count_ones() > VAIN_MAX {
            self.vain = ON_TRIAL;
            self.failed = (self.failed + 1).min(FAILED_MAX);
            self.skip = 1 << self.failed;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Duration = Duration::from_micros(10);

    /// Looks before so many sleeps. `pays` says it of the look of that number.
    fn looks(spin: &mut Spin, sleeps: u32, pays: impl Fn(u32) -> bool) -> u32 {
        let mut looks = 0;
        for _ in 0..sleeps {
            if spin.budget().is_some() {
                if pays(looks) {
                    spin.hit();
                } else {
                    spin.miss();
                }
                looks += 1;
            }
        }
        looks
    }

    #[test]
    fn looks_in_vain_become_rare() {
        let count = looks(&mut Spin::new(MOST), 10_000, |_| false);
        assert!((10..=20).contains(&count), "{count} looks");
    }

    /// Messages at a fixed rate: a sleep makes the worker late, so the next look pays, which makes
    /// it wait for the one after that.
    #[test]
    fn looks_of_which_one_in_two_pays_become_as_rare() {
        let count = looks(&mut Spin::new(MOST), 10_000, |look| look % 2 == 0);
        assert!((20..=40).contains(&count), "{count} looks");
    }

    #[test]
    fn looks_go_on_while_nearly_all_of_them_pay() {
        let mut spin = Spin::new(MOST);
        assert_eq!(looks(&mut spin, 32, |_| true), 32, "the first ones");
        assert_eq!(looks(&mut spin, 10_000, |look| look % 16 != 0), 10_000, "two in 32 in vain");
        assert_eq!(looks(&mut spin, 10_000, |_| true), 10_000);
        let count = looks(&mut spin, 10_000, |look| look % 8 != 0);
        assert!(count < 500, "{count} looks though one in eight was in vain");
    }

    #[test]
    fn one_try_that_pays_brings_looks_back() {
        let mut spin = Spin::new(MOST);
        looks(&mut spin, 10_000, |_| false);
        let count = looks(&mut spin, 2_048, |_| true);
        assert!(count >= 1_024, "{count} looks though all paid");
        looks(&mut spin, 3, |_| false);
        assert_eq!(looks(&mut spin, 3, |_| true), 1, "the next try is two sleeps away again");
    }

    #[test]
    fn off_is_off() {
        assert_eq!(Spin::new(Duration::ZERO).budget(), None);
    }
}
