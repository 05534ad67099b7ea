//! Chance from a seed.

/// `SplitMix64`: small, fast, and its every seed is a good one.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// 0 to `end - 1`; `end` is at least 1.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next_u64() % end as u64).expect("smaller than a usize")
    }

    /// True one time in `times`.
    pub(crate) fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// 1 to `most`, which is at least 1: often all, often little.
    pub(crate) fn piece(&mut self, most: usize) -> usize {
        match self.below(4) {
            0 | 1 => most,
            2 => 1 + self.below(most.min(16)),
            _ => 1 + self.below(most),
        }
    }
}
