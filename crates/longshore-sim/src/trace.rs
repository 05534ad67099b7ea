//! What happened, as one number.

/// A running hash (FNV-1a over words) of everything that a run did. Two runs with equal traces did
/// the same; no addresses of memory go in, so that they do.
#[derive(Debug)]
pub(crate) struct Trace(u64);

impl Trace {
    pub(crate) const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    pub(crate) fn note<const N: usize>(&mut self, words: [u64; N]) {
        for word in words {
            self.0 = (self.0 ^ word).wrapping_mul(0x0000_0100_0000_01b3);
            self.0 ^= self.0 >> 29; // FNV takes bytes; a word's upper half has to reach the lower
        }
    }

    pub(crate) const fn hash(&self) -> u64 {
        self.0
    }
}
