//! What chance decides here beside yes and no.

use longshore_base::SplitMix64;

/// 1 to `most`, which is at least 1: often all, often little.
pub(crate) fn piece(chance: &mut SplitMix64, most: usize) -> usize {
    match chance.below(4) {
        0 | 1 => most,
        2 => 1 + chance.below(most.min(16)),
        _ => 1 + chance.below(most),
    }
}
