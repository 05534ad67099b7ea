//! Looking a little longer before sleeping: waking a sleeping core costs tens of microseconds.
//!
//! Adaptive: a worker looks only while its recent waits were short. Each time in vain doubles the
//! number of sleeps until it tries again; a sleep that was short after all makes it try at once.

use std::time::Duration;

/// Doublings at most: then one sleep in 1,024 begins with a look.
const MISSES_MAX: u32 = 10;

/// Whether the next sleep begins with a look.
#[derive(Debug)]
pub(crate) struct Spin {
    /// How long a look may take; zero is never.
    most: Duration,
    misses: u32,
    /// Sleeps until the next look.
    skip: u32,
}

impl Spin {
    pub(crate) fn new(most: Duration) -> Self {
        Self { most, misses: 0, skip: 0 }
    }

    pub(crate) fn is_on(&self) -> bool {
        !self.most.is_zero()
    }

    /// How long to look before this sleep, if at all.
    pub(crate) fn budget(&mut self) -> Option<Duration> {
        if self.skip > 0 {
            self.skip -= 1;
            return None;
        }
        self.is_on().then_some(self.most)
    }

    /// Something came.
    pub(crate) fn hit(&mut self) {
        self.misses = 0;
    }

    /// Nothing came.
    pub(crate) fn miss(&mut self) {
        self.misses = (self.misses + 1).min(MISSES_MAX);
        self.skip = 1 << self.misses;
    }

    /// A sleep took so long, the waking included.
    pub(crate) fn slept(&mut self, time: Duration) {
        if time < self.most * 2 {
            self.misses = 0;
            self.skip = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Duration = Duration::from_micros(50);

    #[test]
    fn looks_in_vain_become_rare_and_a_short_sleep_brings_them_back() {
        let mut spin = Spin::new(MOST);
        let mut looks = 0;
        for _ in 0..10_000 {
            if spin.budget().is_some() {
                looks += 1;
                spin.miss();
            }
            spin.slept(Duration::from_millis(1));
        }
        assert!(looks < 25, "{looks} of 10,000 sleeps began with a look in vain");
        assert_eq!(spin.budget(), None);
        spin.slept(MOST);
        assert_eq!(spin.budget(), Some(MOST));
        spin.hit();
        assert_eq!(spin.budget(), Some(MOST));
    }

    #[test]
    fn off_is_off() {
        let mut spin = Spin::new(Duration::ZERO);
        spin.slept(Duration::ZERO);
        assert_eq!((spin.budget(), spin.is_on()), (None, false));
    }
}
