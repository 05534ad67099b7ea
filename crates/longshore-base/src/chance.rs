//! Chance from a seed.

/// Numbers that look like chance and are the same for the same seed, on every system and for ever:
/// simulations and tests are repeated from a seed that somebody wrote down.
///
/// Small, fast, and every seed is a good one. Nothing that anybody must not guess may come from it.
/// Source: `SplitMix64`, Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators",
/// OOPSLA 2014; the constants are those of Sebastiano Vigna's `splitmix64.c`.
///
/// ```
/// use longshore_base::SplitMix64;
///
/// let mut chance = SplitMix64::new(1_234_567);
/// assert_eq!(chance.next_u64(), 6_457_827_717_110_365_317);
/// assert!(chance.below(6) < 6);
/// assert_eq!(chance.bytes(5).len(), 5);
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SplitMix64(u64);

impl SplitMix64 {
    /// The numbers of `seed`, from the first one on.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number, each as likely as any other.
    pub const fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// 0 to `end - 1`, the low ones a trifle more often.
    ///
    /// # Panics
    /// When `end` is 0.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next_u64() % end as u64).expect("smaller than a usize")
    }

    /// True one time in `times`.
    ///
    /// # Panics
    /// When `times` is 0.
    pub fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// `len` bytes.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        for piece in bytes.chunks_mut(8) {
            piece.copy_from_slice(&self.next_u64().to_le_bytes()[..piece.len()]);
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seeds of failed runs are written down. The numbers are those of `splitmix64.c`.
    #[test]
    fn a_seed_gives_the_numbers_that_it_always_gave() {
        let mut chance = SplitMix64::new(0);
        let numbers = [chance.next_u64(), chance.next_u64()];
        assert_eq!(numbers, [0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4]);
        let of = |len| SplitMix64::new(0).bytes(len);
        assert_eq!(of(0), []);
        assert_eq!(of(9), [0xaf, 0xcd, 0x1d, 0x7b, 0x39, 0xa8, 0x20, 0xe2, 0xf4]);
        assert_eq!(SplitMix64::new(0).below(10), 5);
    }
}
