//! Owned bytes of ops, from a bounded pool.

use std::ops::Deref;

/// Bytes that a new block has room for before it grows: a handful of small messages.
pub const BLOCK_BYTES: usize = 2 * 1024;

/// Capacity from which a block is not kept for reuse: one large message must not pin its memory.
const KEPT_BYTES_MAX: usize = 64 * 1024;

/// Small messages put together; owned by one send, then back to its [`BlockPool`].
///
/// ```text
/// bytes:  | sent already | still to send |   spare capacity   |
///         0            start            len
/// ```
#[derive(Debug, Default)]
pub struct Block {
    bytes: Vec<u8>,
    start: usize,
}

impl Block {
    /// Wraps `bytes`, all of it still to send.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, start: 0 }
    }

    /// Puts `bytes` behind those that are there.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Drops the first `count` bytes.
    ///
    /// # Panics
    /// When there are fewer.
    pub fn advance(&mut self, count: usize) {
        assert!(count <= self.len(), "advance past the end of a block");
        self.start += count;
    }
}

impl Deref for Block {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

/// Blocks to use again, most recently used first, so that a busy worker stays in its cache.
///
/// Bounded: what does not fit, or grew large, is freed. [`trim`](Self::trim) frees the rest.
#[derive(Debug)]
pub struct BlockPool {
    free: Vec<Vec<u8>>,
    free_max: usize,
    /// Fewest free blocks since the last trim: so many were not needed.
    spare: usize,
}

impl BlockPool {
    /// A pool that keeps at most `free_max` blocks.
    pub fn new(free_max: usize) -> Self {
        Self { free: Vec::new(), free_max, spare: 0 }
    }

    /// Empty bytes with room for at least [`BLOCK_BYTES`].
    #[inline]
    pub fn take(&mut self) -> Vec<u8> {
        let bytes = self.free.pop().unwrap_or_else(|| Vec::with_capacity(BLOCK_BYTES));
        self.spare = self.spare.min(self.free.len());
        bytes
    }

    /// Takes a block back.
    #[inline]
    pub fn give(&mut self, block: Block) {
        self.give_bytes(block.bytes);
    }

    /// Takes bytes back that did not become a block.
    #[inline]
    pub fn give_bytes(&mut self, mut bytes: Vec<u8>) {
        let kept = (BLOCK_BYTES..=KEPT_BYTES_MAX).contains(&bytes.capacity());
        if kept && self.free.len() < self.free_max {
            bytes.clear();
            self.free.push(bytes);
        }
    }

    /// Frees what was not needed since the last call. For a slow, regular tick.
    pub fn trim(&mut self) {
        self.free.drain(..self.spare);
        self.free.shrink_to(self.free.len().max(16));
        self.spare = self.free.len();
    }

    /// Blocks that lie ready.
    pub fn free(&self) -> usize {
        self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_comes_back_empty_and_in_lifo_order() {
        let mut pool = BlockPool::new(2);
        let mut bytes = pool.take();
        bytes.extend_from_slice(b"abc");
        let address = bytes.as_ptr();
        let mut block = Block::new(bytes);
        block.advance(1);
        assert_eq!(&*block, b"bc");
        pool.give(block);
        let again = pool.take();
        assert_eq!((again.as_ptr(), again.len()), (address, 0));
    }

    #[test]
    fn the_pool_keeps_no_more_than_its_bound_and_nothing_large() {
        let mut pool = BlockPool::new(2);
        for _ in 0..5 {
            pool.give_bytes(Vec::with_capacity(BLOCK_BYTES));
        }
        assert_eq!(pool.free(), 2);
        let mut pool = BlockPool::new(2);
        pool.give_bytes(Vec::with_capacity(KEPT_BYTES_MAX + 1));
        pool.give_bytes(Vec::new());
        assert_eq!(pool.free(), 0);
    }

    #[test]
    fn trim_frees_only_what_was_not_needed_since_the_last_one() {
        let mut pool = BlockPool::new(10);
        for _ in 0..10 {
            pool.give_bytes(Vec::with_capacity(BLOCK_BYTES));
        }
        pool.trim();
        let taken: Vec<_> = (0..4).map(|_| pool.take()).collect();
        for bytes in taken {
            pool.give_bytes(bytes);
        }
        pool.trim();
        assert_eq!(pool.free(), 4);
        pool.trim();
        assert_eq!(pool.free(), 0);
    }
}
