//! The receive pool in the kernel's hands: a ring of provided buffers over the pool's blocks.
//!
//! The kernel picks a buffer when bytes arrive, so an idle connection holds none. With incremental
//! buffers (`IOU_PBUF_RING_INC`) small messages of many connections lie behind one another in one
//! block; without, each receive uses one up, and the pool is split into small blocks instead.
#![expect(unsafe_code, reason = "the ring of buffers is shared with the kernel")]

use super::ring::Ring;
use crate::{PortConfig, RecvBuf, RecvPool};
use io_uring::types::BufRingEntry;
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::io;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::atomic::{AtomicU16, Ordering};

/// The one group of buffers of a ring.
pub(super) const GROUP: u16 = 0;

/// Buffers are used up piece by piece. Linux 6.12. Source: `io_uring_register_buf_ring(3)`.
const IOU_PBUF_RING_INC: u16 = 2;

/// Bytes of a block where each receive uses one up: enough for a large message, and few enough for
/// many sockets to have one.
const PIECE_BYTES_MAX: u32 = 16 * 1024;

/// Most buffers of one ring. Source: `io_uring_register_buf_ring(3)`.
const ENTRIES_MAX: u32 = 1 << 15;

/// The kernel maps the ring by pages.
const PAGE: usize = 4096;

pub(super) struct Buffers {
    pool: Rc<RecvPool>,
    ring: NonNull<BufRingEntry>,
    layout: Layout,
    mask: u16,
    tail: u16,
    /// Blocks in all, and those that the kernel may write to.
    blocks: u16,
    in_kernel: u16,
    /// How much of each block the kernel has used.
    used: Box<[u32]>,
}

impl Buffers {
    /// Makes the pool and registers it with `ring`.
    pub(super) fn new(ring: &Ring, config: &PortConfig, incremental: bool) -> io::Result<Self> {
        let (blocks, block_bytes) = shape(config, incremental);
        let out_of_memory = || io::Error::from(io::ErrorKind::OutOfMemory);
        let pool = RecvPool::new(blocks, block_bytes).ok_or_else(out_of_memory)?;
        let entries = blocks.next_power_of_two();
        let layout = Layout::array::<BufRingEntry>(usize::from(entries))
            .and_then(|layout| layout.align_to(PAGE))
            .map_err(io::Error::other)?;
        // SAFETY: there is at least one entry, so the layout is not empty.
        let memory = unsafe { alloc_zeroed(layout) };
        let memory = NonNull::new(memory.cast()).ok_or_else(out_of_memory)?;
        let buffers = Self {
            pool,
            ring: memory,
            layout,
            mask: entries - 1,
            tail: 0,
            blocks,
            in_kernel: 0,
            used: vec![0; usize::from(blocks)].into(),
        };
        let flags = if incremental { IOU_PBUF_RING_INC } else { 0 };
        let addr = buffers.ring.as_ptr() as u64;
        // SAFETY: the entries lie at `addr`, page-aligned and zeroed; the kernel pins these pages
        // until the ring is gone, and this value is dropped after the ring.
        unsafe { ring.submitter().register_buf_ring_with_flags(addr, entries, GROUP, flags)? };
        Ok(buffers)
    }

    pub(super) fn pool(&self) -> &Rc<RecvPool> {
        &self.pool
    }

    /// Blocks that the kernel may write to.
    #[inline]
    pub(super) fn in_kernel(&self) -> u16 {
        self.in_kernel
    }

    /// Whether half of the blocks or fewer are left: then leases have to come home soon.
    #[inline]
    pub(super) fn is_low(&self) -> bool {
        (usize::from(self.in_kernel) + self.pool.free_blocks()) * 2 <= usize::from(self.blocks)
    }

    /// Gives the kernel every block that came home.
    #[inline]
    pub(super) fn refill(&mut self) {
        if self.pool.free_blocks() == 0 {
            return;
        }
        while let Some(block) = self.pool.hold() {
            self.give(block);
        }
        // SAFETY: the ring's memory lives as long as `self`, and its first entry was zeroed.
        let tail = unsafe { BufRingEntry::tail(self.ring.as_ptr()) };
        // SAFETY: `tail` points to an aligned `u16` that nobody but this thread writes; the kernel
        // reads it, atomically.
        let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }

    fn give(&mut self, block: u16) {
        let at = usize::from(self.tail & self.mask);
        // SAFETY: masked, so within the ring.
        let entry = unsafe { self.ring.add(at) };
        // SAFETY: at most as many blocks as entries are in the kernel's hands, and this one was
        // not; so the kernel is done with the entry.
        let entry = unsafe { &mut *entry.as_ptr() };
        entry.set_addr(self.pool.block_ptr(block).as_ptr() as u64);
        entry.set_len(u32::try_from(self.pool.block_bytes()).expect("a block is below 4 GiB"));
        entry.set_bid(block);
        self.tail = self.tail.wrapping_add(1);
        self.in_kernel += 1;
    }

    /// Lends the `count` bytes that the kernel just wrote to `block`; `goes_on` if it will write
    /// to that block again.
    #[inline]
    pub(super) fn take(&mut self, block: u16, count: u32, goes_on: bool) -> Option<RecvBuf> {
        let used = &mut self.used[usize::from(block)];
        let range = *used as usize..(*used + count) as usize;
        let lease = (count > 0).then(|| self.pool.lend(block, range));
        if goes_on {
            *used += count;
        } else {
            *used = 0;
            self.in_kernel -= 1;
            self.pool.let_go(block);
        }
        lease
    }

    /// Makes the port believe that the kernel has so many blocks.
    #[cfg(test)]
    pub(super) fn believe(&mut self, blocks: u16) {
        self.in_kernel = blocks;
    }

    /// Keeps the memory for ever, since the kernel may still write to it.
    pub(super) fn leak(&mut self) {
        std::mem::forget(Rc::clone(&self.pool));
        self.layout = Layout::new::<()>();
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        #[cfg(test)]
        super::ring::gone::note("buffers");
        if self.layout.size() > 0 {
            // SAFETY: allocated in `new` with this layout; the ring that read it is gone.
            unsafe { dealloc(self.ring.as_ptr().cast(), self.layout) };
        }
    }
}

/// How many blocks of how many bytes the pool has: as configured, or the same memory in pieces.
fn shape(config: &PortConfig, incremental: bool) -> (u16, u32) {
    if incremental {
        return (config.recv_blocks, config.recv_block_bytes);
    }
    let piece = config.recv_block_bytes.min(PIECE_BYTES_MAX);
    let bytes = u64::from(config.recv_blocks) * u64::from(config.recv_block_bytes);
    let pieces = (bytes / u64::from(piece)).min(u64::from(ENTRIES_MAX));
    (u16::try_from(pieces).expect("at most 32,768"), piece)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_incremental_buffers_the_same_memory_is_split_into_pieces() {
        let config = PortConfig { recv_blocks: 8, recv_block_bytes: 128 << 10, ..<_>::default() };
        assert_eq!(shape(&config, true), (8, 128 << 10));
        assert_eq!(shape(&config, false), (64, 16 << 10));
        let tiny = PortConfig { recv_blocks: 1, recv_block_bytes: 64, ..<_>::default() };
        assert_eq!(shape(&tiny, false), (1, 64));
        let huge = PortConfig { recv_blocks: 1 << 15, recv_block_bytes: 1 << 20, ..tiny };
        assert_eq!(shape(&huge, false), (1 << 15, 16 << 10));
    }
}
