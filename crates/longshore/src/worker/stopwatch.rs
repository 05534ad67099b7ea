//! How long callbacks take.

use longshore_base::Time;
use longshore_port::Port;
use std::time::Duration;

/// Looks at how long callbacks take: one look for each completion, on a clock that costs next to
/// nothing.
#[derive(Debug)]
pub(super) struct Stopwatch {
    /// Longer ones are told; zero for none.
    pub(super) most: Duration,
    /// The last look.
    last: Time,
}

impl Stopwatch {
    pub(super) fn new(most: Duration) -> Self {
        Self { most, last: Time::NEVER }
    }

    /// How long it took since the last look, if that is long.
    #[inline]
    pub(super) fn look(&mut self, port: &impl Port) -> Option<Duration> {
        if self.most.is_zero() {
            return None;
        }
        let now = port.coarse_now();
        let took = now.since(std::mem::replace(&mut self.last, now));
        (took >= self.most).then_some(took)
    }
}
