//! How long callbacks take.

use longshore_base::Time;
use longshore_port::Port;
use std::time::Duration;

/// Looks at how long callbacks take: one look for each completion, on a clock that costs next to
/// nothing.
#[derive(Debug)]
pub(super) struct Stopwatch {
    /// Longer ones are told; zero nanoseconds for none.
    most_nanos: u64,
    /// The last look.
    last: Time,
}

impl Stopwatch {
    pub(super) fn new(most: Duration) -> Self {
        let most_nanos = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX);
        Self { most_nanos, last: Time::NEVER }
    }

    pub(super) fn most(&self) -> Duration {
        Duration::from_nanos(self.most_nanos)
    }

    /// How long it took since the last look, if that is long.
    #[inline]
    pub(super) fn look(&mut self, port: &impl Port) -> Option<Duration> {
        if self.most_nanos == 0 {
            return None;
        }
        let now = port.coarse_now();
        let last = std::mem::replace(&mut self.last, now);
        let is_late = now.as_nanos().saturating_sub(last.as_nanos()) >= self.most_nanos;
        is_late.then(|| now.since(last))
    }
}
