//! Chance from a seed.

use longshore_base::SplitMix64;
use std::time::Duration;

/// [`SplitMix64`], with what a storm asks of it.
#[derive(Clone, Debug)]
pub(crate) struct Rng(SplitMix64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(SplitMix64::new(seed ^ 0x5707_0a11))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// 0 to `end - 1`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0.below(end)
    }

    pub(crate) fn one_in(&mut self, times: usize) -> bool {
        self.0.one_in(times)
    }

    pub(crate) fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// None at all, a moment, or a while.
    pub(crate) fn span(&mut self) -> Duration {
        let most = self.of(&[1, 1_000, 100_000, 3_000_000]);
        Duration::from_micros(self.below(most) as u64)
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        self.0.bytes(len)
    }
}
