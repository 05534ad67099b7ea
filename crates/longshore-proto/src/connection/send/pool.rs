//! What the send halves of a worker share.

use super::staged::Staged;
use crate::frame::Kept;
use longshore_base::{BlockPool, Lease, SEGMENTS_MAX, Segment, SendData};
use std::collections::VecDeque;

/// What all send halves of a worker use in turn.
#[derive(Debug)]
pub struct SendPool<L: Lease> {
    /// Memory of tails.
    pub blocks: BlockPool,
    /// Vectors of gathered sends, and queues of connections that have one.
    pub(super) vectors: Vec<Vec<Segment<L>>>,
    pub(super) queues: Vec<VecDeque<Segment<L>>>,
    #[expect(clippy::vec_box, reason = "what is kept is the box as well")]
    pub(super) staged: Vec<Box<Staged>>,
    pub(super) kept: Vec<Kept>,
}

/// Vectors and queues that are kept for reuse: each member of a large group may have one in the same
/// turn. They are small, and freed by [`SendPool::trim`].
const VECTORS_KEPT_MAX: usize = 16 * 1024;

impl<L: Lease> SendPool<L> {
    /// A pool that keeps at most `blocks_max` blocks.
    pub fn new(blocks_max: usize) -> Self {
        let (blocks, vectors, queues) = (BlockPool::new(blocks_max), Vec::new(), Vec::new());
        Self { blocks, vectors, queues, staged: Vec::new(), kept: Vec::new() }
    }

    /// Frees what was kept for a peak. For a slow, regular tick.
    pub fn trim(&mut self) {
        self.blocks.trim();
        self.vectors = Vec::new();
        self.queues = Vec::new();
        self.staged = Vec::new();
        self.kept = Vec::new();
    }

    /// Memory of segments that were not sent as they were.
    pub(super) fn give_back(&mut self, data: SendData<L>) {
        let mut give = |segment| {
            if let Segment::Block(block) = segment {
                self.blocks.give(block);
            }
        };
        match data {
            SendData::One(segment) => give(segment),
            SendData::Many(mut segments) => {
                segments.drain(..).for_each(give);
                self.give_vector(segments);
            }
        }
    }

    pub(super) fn give_vector(&mut self, vector: Vec<Segment<L>>) {
        debug_assert!(vector.is_empty(), "segments are taken out first");
        if self.vectors.len() < VECTORS_KEPT_MAX {
            self.vectors.push(vector);
        }
    }

    /// Largest queue that is kept: one slow peer must not pin the memory of its worst moment.
    pub(super) fn give_queue(&mut self, queue: VecDeque<Segment<L>>) {
        debug_assert!(queue.is_empty(), "segments are taken out first");
        let kept = (1..=SEGMENTS_MAX).contains(&queue.capacity());
        if kept && self.queues.len() < VECTORS_KEPT_MAX {
            self.queues.push(queue);
        }
    }

    pub(super) fn give_staged(&mut self, mut staged: Box<Staged>) {
        if staged.is_small() && self.staged.len() < VECTORS_KEPT_MAX {
            staged.clear();
            self.staged.push(staged);
        }
    }
}
