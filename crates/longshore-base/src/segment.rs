//! What one send is made of.

use crate::Block;
use bytes::{Buf, Bytes};
use std::fmt::Debug;
use std::ops::{Deref, Range};

/// Most bytes of one send op, 256 KiB: a deadline on progress needs completions to look at, and a
/// send that waits for room to a stalled peer completes only as a whole.
pub const SEND_BYTES_MAX: usize = 256 * 1024;

/// Most bytes of one send op of a file, 1 MiB: the system reads and sends them in one go, and others
/// wait meanwhile.
pub const FILE_BYTES_MAX: usize = 1024 * 1024;

/// Most segments of one send op; a gathered write takes up to 1,024 of them, few are ever needed.
pub const SEGMENTS_MAX: usize = 64;

/// Received bytes that a port has lent: given back when dropped.
pub trait Lease: Deref<Target = [u8]> {
    /// A file that the same port can send from; cloning shares it.
    type File: Clone + Debug;

    /// A second lease on a part of the same bytes.
    ///
    /// # Panics
    /// When `range` lies outside.
    #[must_use]
    fn slice(&self, range: Range<usize>) -> Self;
}

/// A part of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileRange<F> {
    /// Which file.
    pub file: F,
    /// Where the part begins.
    pub offset: u64,
    /// Its bytes.
    pub len: u64,
}

impl<F: Clone> FileRange<F> {
    /// Cuts the first `count` bytes off, and gives them.
    ///
    /// # Panics
    /// When there are fewer.
    #[must_use]
    pub fn split_to(&mut self, count: u64) -> Self {
        assert!(count <= self.len, "{count} of {} bytes", self.len);
        let front = Self { len: count, ..self.clone() };
        self.offset += count;
        self.len -= count;
        front
    }
}

/// A run of bytes to send: one piece of memory, or a part of a file. `L` is the port's lease.
#[derive(Debug)]
pub enum Segment<L: Lease> {
    /// Small messages put together; goes back to the block pool.
    Block(Block),
    /// Shared with others, or kept by somebody: a broadcast, a payload that came as [`Bytes`].
    Shared(Bytes),
    /// The same, where somebody else counts the memory: all who send it have it once.
    Common(Bytes),
    /// A piece of what was just received, sent back without a copy.
    Leased(L),
    /// A part of a file, which the port reads. Alone in its send.
    File(FileRange<L::File>),
}

impl<L: Lease> Segment<L> {
    /// How many bytes are still to send.
    #[inline]
    #[expect(clippy::len_without_is_empty, reason = "one of nothing is not made")]
    pub fn len(&self) -> u64 {
        match self {
            Self::File(range) => range.len,
            memory => memory.bytes().len() as u64,
        }
    }

    /// The bytes still to send.
    ///
    /// # Panics
    /// Those of a file are nowhere yet.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Block(block) => block,
            Self::Shared(bytes) | Self::Common(bytes) => bytes,
            Self::Leased(lease) => lease,
            Self::File(range) => panic!("{range:?} is not in memory"),
        }
    }

    /// Drops the first `count` bytes.
    ///
    /// # Panics
    /// When there are fewer.
    pub fn advance(&mut self, count: usize) {
        match self {
            Self::File(range) => drop(range.split_to(count as u64)),
            Self::Block(block) => block.advance(count),
            Self::Shared(bytes) | Self::Common(bytes) => bytes.advance(count),
            Self::Leased(lease) => *lease = lease.slice(count..lease.len()),
        }
    }
}

/// The segments of one send. One is the common case and needs no vector.
#[derive(Debug)]
pub enum SendData<L: Lease> {
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
            Self::One(Segment::File(range)) => usize::try_from(range.len).unwrap_or(usize::MAX),
            Self::One(segment) => segment.bytes().len(),
            Self::Many(segments) => segments.iter().map(|segment| segment.bytes().len()).sum(),
        }
    }

    /// The part of a file that this is, if it is one.
    #[inline]
    pub fn file(&self) -> Option<&FileRange<L::File>> {
        match self {
            Self::One(Segment::File(range)) => Some(range),
            _ => None,
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
        type File = &'static str;

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
            Segment::Common(text.clone()),
            Segment::Leased(PlainLease(text)),
        ];
        for segment in &mut all {
            segment.advance(2);
            segment.advance(1);
            assert_eq!(segment.bytes(), b"def");
        }
        assert_eq!(SendData::Many(all.into()).byte_count(), 12);
    }

    #[test]
    fn a_part_of_a_file_is_cut_from_its_front() {
        let range = FileRange { file: "a film", offset: 10, len: 1 << 40 };
        let mut segment: Segment<PlainLease> = Segment::File(range.clone());
        segment.advance(6);
        assert_eq!(segment.len(), (1 << 40) - 6);
        let Segment::File(mut rest) = segment else { panic!("{segment:?}") };
        assert_eq!(rest.split_to(4), FileRange { offset: 16, len: 4, ..range });
        let data: SendData<PlainLease> = SendData::One(Segment::File(rest.clone()));
        assert_eq!((data.file(), data.byte_count()), (Some(&rest), (1 << 40) - 10));
        assert_eq!(rest.offset, 20);
    }
}
