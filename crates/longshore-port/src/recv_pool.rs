//! The memory that received bytes lie in, and leases on it: one pool for all drivers.
//!
//! ```text
//! block:  | lease | lease | lease |      still to fill      |
//!         0                      used               block_bytes
//! ```
//!
//! A block is *held* while somebody appends to it: the kernel (a provided-buffer ring that is used
//! up incrementally) or [`RecvPool::fill`]. It is free again when it is not held and its last
//! lease is gone. Ranges of different leases never overlap, and what is lent is never written.
#![expect(unsafe_code, reason = "lent memory is written by the kernel beside live leases")]

use crate::FileHandle;
use longshore_base::Lease;
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::ops::{Deref, Range};
use std::ptr::NonNull;
use std::rc::Rc;

/// Pages are what the kernel maps; a block that starts on one shares none.
const ALIGN: usize = 4096;

/// Below this much room, or a quarter of a smaller block, a fresh one is taken, if there is one:
/// tiny reads cost system calls.
const ROOM_MIN: usize = 16 * 1024;

#[derive(Debug, Default)]
struct BlockState {
    leases: Cell<u32>,
    held: Cell<bool>,
}

/// The blocks of one port. Belongs to the port's thread.
pub struct RecvPool {
    /// What was allocated, and within it where the first block begins.
    allocation: NonNull<u8>,
    layout: Layout,
    memory: NonNull<u8>,
    block_bytes: usize,
    blocks: Box<[BlockState]>,
    free: RefCell<Vec<u16>>,
    /// The block that `fill` appends to, and how much of it is used.
    filling: Cell<Option<(u16, usize)>>,
    leases: Cell<usize>,
}

impl RecvPool {
    /// A pool of `blocks` blocks of `block_bytes` each; `None` if there is no memory for it.
    /// Pages are touched as they are used.
    ///
    /// # Panics
    /// With no blocks, or blocks of no bytes.
    pub fn new(blocks: u16, block_bytes: u32) -> Option<Rc<Self>> {
        assert!(blocks > 0 && block_bytes > 0, "a pool needs blocks with bytes");
        let bytes =
            usize::from(blocks).checked_mul(block_bytes as usize)?.checked_add(ALIGN - 1)?;
        // An allocator that is asked for more than its own alignment writes the zeros itself, and
        // every page would be resident from the start.
        let layout = Layout::array::<u8>(bytes).ok()?;
        // SAFETY: the size is not zero, asserted above.
        let allocation = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        let before = allocation.as_ptr().align_offset(ALIGN);
        // SAFETY: at most `ALIGN - 1` bytes, which were allocated beside those of the blocks.
        let memory = unsafe { allocation.add(before) };
        Some(Rc::new(Self {
            allocation,
            layout,
            memory,
            block_bytes: block_bytes as usize,
            blocks: (0..blocks).map(|_| BlockState::default()).collect(),
            free: RefCell::new((0..blocks).rev().collect()),
            filling: Cell::new(None),
            leases: Cell::new(0),
        }))
    }

    /// Bytes of a block.
    pub const fn block_bytes(&self) -> usize {
        self.block_bytes
    }

    /// Leases that are out.
    pub fn leases(&self) -> usize {
        self.leases.get()
    }

    /// Blocks that are neither held nor lent.
    pub fn free_blocks(&self) -> usize {
        self.free.borrow().len()
    }

    /// Where block `block` begins.
    pub(crate) fn block_ptr(&self, block: u16) -> NonNull<u8> {
        let offset = usize::from(block) * self.block_bytes;
        assert!(usize::from(block) < self.blocks.len(), "no such block");
        // SAFETY: the block was just checked to be one of this allocation's.
        unsafe { self.memory.add(offset) }
    }

    /// Takes a free block out and holds it: the caller, or the kernel for it, appends to it until
    /// [`let_go`](Self::let_go).
    pub(crate) fn hold(&self) -> Option<u16> {
        let block = self.free.borrow_mut().pop()?;
        self.blocks[usize::from(block)].held.set(true);
        Some(block)
    }

    /// Nobody appends to the block any more. It is free when its last lease is gone.
    pub(crate) fn let_go(&self, block: u16) {
        let state = &self.blocks[usize::from(block)];
        assert!(state.held.replace(false), "let go of a block that nobody held");
        if state.leases.get() == 0 {
            self.free.borrow_mut().push(block);
        }
    }

    /// Lends bytes of a held block that were written and will not be written again until the block
    /// has been free.
    ///
    /// # Panics
    /// When the range lies outside the block, or the block is not held.
    pub(crate) fn lend(self: &Rc<Self>, block: u16, range: Range<usize>) -> RecvBuf {
        let state = &self.blocks[usize::from(block)];
        assert!(state.held.get() && range.start <= range.end && range.end <= self.block_bytes);
        state.leases.set(state.leases.get() + 1);
        self.leases.set(self.leases.get() + 1);
        // SAFETY: the range was just checked to lie within the block.
        let ptr = unsafe { self.block_ptr(block).add(range.start) };
        let len = u32::try_from(range.len()).expect("a block is smaller than 4 GiB");
        RecvBuf { ptr, len, block, pool: Rc::clone(self) }
    }

    /// How many bytes the next [`fill`](Self::fill) has room for; 0 if all blocks are lent.
    pub fn room(&self) -> usize {
        let now = self.filling.get();
        if let Some((block, used)) = now {
            if used > 0 && self.blocks[usize::from(block)].leases.get() == 0 {
                self.filling.set(Some((block, 0))); // all of it came back: warm, so use it again
                return self.block_bytes;
            }
            if self.block_bytes - used >= ROOM_MIN.min(self.block_bytes / 4) {
                return self.block_bytes - used;
            }
        }
        if let Some(fresh) = self.hold() {
            if let Some((block, _)) = now {
                self.let_go(block);
            }
            self.filling.set(Some((fresh, 0)));
            return self.block_bytes;
        }
        now.map_or(0, |(_, used)| self.block_bytes - used)
    }

    /// Lends what `write` writes, at most `most` bytes of it, into memory of the pool; nothing if
    /// there is no room or it writes nothing.
    ///
    /// # Errors
    /// That of `write`.
    ///
    /// # Panics
    /// When `write` says it wrote more than there was room for.
    #[inline]
    pub fn fill<E>(
        self: &Rc<Self>,
        most: usize,
        write: impl FnOnce(&mut [u8]) -> Result<usize, E>,
    ) -> Result<Option<RecvBuf>, E> {
        let room = self.room().min(most);
        let Some((block, used)) = self.filling.get().filter(|_| room > 0) else { return Ok(None) };
        // SAFETY: `room` made sure that the offset lies within the block.
        let start = unsafe { self.block_ptr(block).add(used) };
        // SAFETY: `used..used + room` of a held block is not lent, `fill` is not called within
        // `write` with the same block state (it would see the same `filling`, so this borrows
        // exclusively: `filling` is taken out meanwhile), and the memory was zeroed at the start.
        let slice = unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), room) };
        let back = PutBack { filling: &self.filling, place: (block, used) };
        self.filling.set(None);
        let written = write(slice);
        drop(back);
        let count = written?;
        assert!(count <= room, "{count} bytes written into room for {room}");
        if count == 0 {
            return Ok(None);
        }
        self.filling.set(Some((block, used + count)));
        Ok(Some(self.lend(block, used..used + count)))
    }
}

/// Gives the block to fill back, also when whoever writes to it panics.
struct PutBack<'a> {
    filling: &'a Cell<Option<(u16, usize)>>,
    place: (u16, usize),
}

impl Drop for PutBack<'_> {
    fn drop(&mut self) {
        self.filling.set(Some(self.place));
    }
}

impl Drop for RecvPool {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout; every lease holds an `Rc` of the pool, and
        // a driver keeps one as long as the kernel may write, so nobody looks at it any more.
        unsafe { dealloc(self.allocation.as_ptr(), self.layout) }
    }
}

impl fmt::Debug for RecvPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvPool")
            .field("blocks", &self.blocks.len())
            .field("block_bytes", &self.block_bytes)
            .field("free", &self.free_blocks())
            .field("leases", &self.leases())
            .finish_non_exhaustive()
    }
}

/// Received bytes, lent. Dropping it gives its part of the block back.
///
/// Not `Send`: it belongs to its port's thread.
pub struct RecvBuf {
    ptr: NonNull<u8>,
    len: u32,
    block: u16,
    pool: Rc<RecvPool>,
}

impl Deref for RecvBuf {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: `ptr..ptr + len` lies in the pool that `self` keeps alive, was initialised when
        // it was lent, and is not written before this lease has been dropped.
        unsafe { std::slice::from_raw_parts(self.ptr.as_ptr(), self.len as usize) }
    }
}

impl Lease for RecvBuf {
    type File = FileHandle;

    fn slice(&self, range: Range<usize>) -> Self {
        let part = &self[range];
        let ptr = NonNull::from(part).cast();
        let len = u32::try_from(part.len()).expect("no longer than this lease");
        let leases = &self.pool.blocks[usize::from(self.block)].leases;
        leases.set(leases.get() + 1);
        self.pool.leases.set(self.pool.leases.get() + 1);
        Self { ptr, len, block: self.block, pool: Rc::clone(&self.pool) }
    }
}

impl Drop for RecvBuf {
    #[inline]
    fn drop(&mut self) {
        let state = &self.pool.blocks[usize::from(self.block)];
        let left = state.leases.get() - 1;
        state.leases.set(left);
        self.pool.leases.set(self.pool.leases.get() - 1);
        if left == 0 && !state.held.get() {
            self.pool.free.borrow_mut().push(self.block);
        }
    }
}

impl fmt::Debug for RecvBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecvBuf({} bytes of block {})", self.len, self.block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    fn put(pool: &Rc<RecvPool>, bytes: &[u8]) -> Option<RecvBuf> {
        pool.fill::<Infallible>(bytes.len(), |room| {
            let count = bytes.len().min(room.len());
            room[..count].copy_from_slice(&bytes[..count]);
            Ok(count)
        })
        .unwrap_or_else(|never| match never {})
    }

    #[test]
    fn leases_of_one_block_lie_beside_each_other_and_keep_their_bytes() {
        let pool = RecvPool::new(2, 64).unwrap();
        let first = put(&pool, b"one").unwrap();
        let second = put(&pool, b"two").unwrap();
        assert_eq!((&*first, &*second), (&b"one"[..], &b"two"[..]));
        assert_eq!(second.as_ptr() as usize, first.as_ptr() as usize + 3);
        let part = second.slice(1..3);
        drop((first, second));
        assert_eq!((&*part, pool.leases()), (&b"wo"[..], 1));
    }

    #[test]
    fn a_pool_whose_blocks_are_all_lent_has_no_room_until_one_returns() {
        let pool = RecvPool::new(2, 4).unwrap();
        let first = put(&pool, b"aaaa").unwrap();
        let second = put(&pool, b"bbbb").unwrap();
        assert_eq!(pool.room(), 0);
        assert!(put(&pool, b"c").is_none());
        drop(first);
        assert_eq!(&*put(&pool, b"cccc").unwrap(), b"cccc");
        assert_eq!(&*second, b"bbbb");
    }

    /// Many workers are as many pools, of which an idle server must not keep the memory.
    #[test]
    fn pages_that_nobody_used_are_not_resident() {
        let resident = || {
            let told = std::fs::read_to_string("/proc/self/statm").ok()?;
            told.split(' ').nth(1)?.parse::<usize>().ok()
        };
        let Some(before) = resident() else {
            println!("SKIPPED: this system does not tell in /proc what is resident");
            return;
        };
        let pool = RecvPool::new(1024, 64 << 10).unwrap();
        let first = put(&pool, b"one").unwrap();
        assert_eq!(first.as_ptr() as usize % ALIGN, 0, "a block begins with a page");
        let more = resident().unwrap().saturating_sub(before);
        // Other tests of this process take some meanwhile.
        assert!(more < 32 << 20 >> 12, "{more} pages of 64 MiB");
    }

    #[test]
    fn a_block_whose_leases_are_home_is_used_again_at_once() {
        let pool = RecvPool::new(4, 64).unwrap();
        let address = put(&pool, b"warm").unwrap().as_ptr();
        assert_eq!(put(&pool, b"again").unwrap().as_ptr(), address);
    }

    #[test]
    fn a_failed_fill_lends_nothing_and_loses_nothing() {
        let pool = RecvPool::new(1, 8).unwrap();
        assert_eq!(pool.fill(8, |_| Err("no")).unwrap_err(), "no");
        assert!(pool.fill::<Infallible>(8, |_| Ok(0)).unwrap().is_none());
        assert_eq!((pool.leases(), &*put(&pool, b"12345678").unwrap()), (0, &b"12345678"[..]));
    }

    #[test]
    fn a_fill_that_panics_keeps_its_block() {
        let pool = RecvPool::new(1, 8).unwrap();
        let panics = || pool.fill::<Infallible>(8, |_| panic!("in the middle"));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(panics)).is_err());
        assert_eq!(&*put(&pool, b"12345678").unwrap(), b"12345678");
    }
}
