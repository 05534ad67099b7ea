//! What one send is made of.

use crate::Block;
use bytes::{Buf, Bytes};
use std::ops::{Deref, Range};

/// Most bytes of one send op, 256 KiB: a deadline on progress needs completions to look at, and a
/// send that waits for room to a stalled peer completes only as a whole.
pub const SEND_BYTES_MAX: usize = 256 * 1024;

/// Most segments of one send op; a gathered write takes up to 1,024 of them, few are ever needed.
pub const SEGMENTS_MAX: usize = 64;

/// Received bytes that a port has lent: given back when dropped.
pub trait Lease: Deref<Target = [u8]> {
    /// A second lease on a part of the same bytes.
    ///
    /// # Panics
    /// When `range` lies outside.
    #[must_use]
    fn slice(&self, range: Range<usize>) -> Self;
}

/// A run of bytes to send, in one piece of memory. `L` is the port's lease.
#[derive(Debug)]
pub enum Segment<L> {
    /// Small messages put together; goes back to the block pool.
    Block(Block),
    /// Shared with others, or kept by somebody: a broadcast, a payload that came as [`Bytes`].
    Shared(Bytes),
    /// A piece of what was just received, sent back without a copy.
    Leased(L),
}

impl<L: Lease> Segment<L> {
    /// The bytes still to send.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Block(block) => block,
            Self::Shared(bytes) => bytes,
            Self::Leased(lease) => lease,
        }
    }

    /// Drops the first `count` bytes.
    ///
    /// # Panics
    /// When there are fewer.
    pub fn advance(&mut self, count: usize) {
        match self {
            Self::Block(block) => block.advance(count),
            Self::Shared(bytes) => bytes.advance(count),
            Self::Leased(lease) => *lease = lease.slice(count..lease.len()),
        }
    }
}

/// The segments of one send. One is the common case and needs no vector.
#[derive(Debug)]
pub enum SendData<L> {
    /// A single segment.
    One(Segment<L>),
    /// At most [`SEGMENTS_MAX`] segments, in a vector that is used again.
    Many(Vec<Segment<L>>),
}

impl<L: Lease> SendData<L> {
    /// The segments, in order.
    #[inline]
    pub fn segments(&self) -> &[Segment<L>] {
        match self {
            Self::One(segment) => std::slice::from_ref(segment),
            Self::Many(segments) => segments,
        }
    }

    /// Bytes in all segments.
    #[inline]
    pub fn byte_count(&self) -> usize {
        match self {
            Self::One(segment) => segment.bytes().len(),
            Self::Many(segments) => segments.iter().map(|segment| segment.bytes().len()).sum(),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A lease on plain memory, for tests.
    #[derive(Clone, Debug)]
    pub(crate) struct PlainLease(Bytes);

    impl Deref for PlainLease {
        type Target = [u8];
        fn deref(&self) -> &[u8] {
            &self.0
        }
    }

    impl Lease for PlainLease {
        fn slice(&self, range: Range<usize>) -> Self {
            Self(self.0.slice(range))
        }
    }

    #[test]
    fn every_kind_of_segment_advances_alike() {
        let text = Bytes::from_static(b"abcdef");
        let mut all = [
            Segment::Block(Block::new(text.to_vec())),
            Segment::Shared(text.clone()),
            Segment::Leased(PlainLease(text)),
        ];
        for segment in &mut all {
            segment.advance(2);
            segment.advance(1);
            assert_eq!(segment.bytes(), b"def");
        }
        assert_eq!(SendData::Many(all.into()).byte_count(), 9);
    }
}
