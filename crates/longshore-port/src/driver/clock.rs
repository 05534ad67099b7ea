//! Time as the drivers tell it, and what is done now and then.

use longshore_base::Time;
use std::time::{Duration, Instant};

/// The system's monotonic clock, from the beginning of its world.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    /// One whose world began at `start`.
    pub(super) const fn since(start: Instant) -> Self {
        Self { start }
    }

    pub(crate) fn now(self) -> Time {
        Time::ZERO + self.start.elapsed()
    }
}

/// How often tables give back what they did not need.
const TRIM_EVERY: Duration = Duration::from_secs(20);

/// When that is next.
#[derive(Debug)]
pub(super) struct TrimTime(Time);

impl TrimTime {
    /// At once.
    pub(super) const NOW: Self = Self(Time::ZERO);

    /// Whether it is time now; the next one is then a while later.
    #[inline]
    pub(super) fn is_due(&mut self, now: Time) -> bool {
        let due = now >= self.0;
        if due {
            self.0 = now + TRIM_EVERY;
        }
        due
    }
}
