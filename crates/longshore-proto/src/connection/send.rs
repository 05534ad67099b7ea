//! The send half: items in, ordered sends out.
//!
//! ```text
//! stream:   0 ........ sent ................... end
//!                       | in flight | queue | tail |
//! ```
//!
//! One unanswered send at a time. What one turn produces goes out as one send; what comes back
//! short goes in front again. Untyped: it lives beside thousands of others in one table.

use super::Filter;
use crate::frame::Kept;
use crate::{Codec, FrameError, Out};
use bytes::Bytes;
use longshore_base::{
    Block, BlockPool, FILE_BYTES_MAX, FileRange, Lease, SEGMENTS_MAX, SEND_BYTES_MAX, Segment,
    SendData,
};
use std::collections::VecDeque;

/// A tail this long becomes a segment, so that it is not copied again and again while it grows.
const TAIL_SEALED_MIN: usize = 32 * 1024;

/// Shared bytes up to here are copied behind a tail that exists anyway: cheaper than a segment.
const SHARED_COPIED_MAX: usize = 512;

/// Most bytes of a send that waits for room, 64 KiB: on systems that do not tell what a peer has
/// acknowledged its completion is the only sign of progress, and a peer on a slow line must be able to
/// give one within the write deadline.
const WHOLE_BYTES_MAX: usize = 64 * 1024;

/// What all send halves of a worker use in turn.
#[derive(Debug)]
pub struct SendPool<L: Lease> {
    /// Memory of tails.
    pub blocks: BlockPool,
    /// Vectors of gathered sends, and queues of connections that have one.
    vectors: Vec<Vec<Segment<L>>>,
    queues: Vec<VecDeque<Segment<L>>>,
    kept: Vec<Kept>,
}

/// Vectors and queues that are kept for reuse.
const VECTORS_KEPT_MAX: usize = 1024;

impl<L: Lease> SendPool<L> {
    /// A pool that keeps at most `blocks_max` blocks.
    pub fn new(blocks_max: usize) -> Self {
        let (blocks, vectors, queues) = (BlockPool::new(blocks_max), Vec::new(), Vec::new());
        Self { blocks, vectors, queues, kept: Vec::new() }
    }

    /// Frees what was kept for a peak. For a slow, regular tick.
    pub fn trim(&mut self) {
        self.blocks.trim();
        self.vectors = Vec::new();
        self.queues = Vec::new();
        self.kept = Vec::new();
    }

    /// Memory of segments that were not sent as they were.
    fn give_back(&mut self, data: SendData<L>) {
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

    fn give_vector(&mut self, vector: Vec<Segment<L>>) {
        debug_assert!(vector.is_empty(), "segments are taken out first");
        if self.vectors.len() < VECTORS_KEPT_MAX {
            self.vectors.push(vector);
        }
    }

    /// Largest queue that is kept: one slow peer must not pin the memory of its worst moment.
    fn give_queue(&mut self, queue: VecDeque<Segment<L>>) {
        debug_assert!(queue.is_empty(), "segments are taken out first");
        let kept = (1..=SEGMENTS_MAX).contains(&queue.capacity());
        if kept && self.queues.len() < VECTORS_KEPT_MAX {
            self.queues.push(queue);
        }
    }
}

/// Why an item was not queued.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    /// It does not fit into what the queue may still take.
    Full,
    /// The codec cannot make a frame of it.
    Encode(FrameError),
}

/// One send to submit.
#[derive(Debug)]
pub struct Transmit<L: Lease> {
    /// What to send, at most [`SEND_BYTES_MAX`], of a file [`FILE_BYTES_MAX`].
    pub data: SendData<L>,
    /// Whether to wait for room: the peer was slow last time.
    pub whole: bool,
    /// Somebody waits for the answer: more is queued, or a send is tracked.
    pub prompt: bool,
}

/// What a connection has yet to send.
#[derive(Debug)]
pub struct SendHalf<L: Lease> {
    /// Sealed segments, in order, before `tail`.
    queue: VecDeque<Segment<L>>,
    /// Small messages of this turn. From the pool at the first byte.
    tail: Vec<u8>,
    /// Stream offsets: bytes accepted, bytes that the kernel took.
    end: u64,
    sent: u64,
    /// Up to this stream offset bytes have passed the filter.
    filtered: u64,
    /// Bytes that the filter was given and keeps back.
    held: u64,
    /// Bytes between the two that lie in files, where they take no memory.
    in_files: u64,
    /// Bytes of the first file that are being read for the filter; 0 is none.
    reading: u32,
    /// (offset, id) of sends that somebody wants to hear of, ascending.
    #[expect(clippy::box_collection, reason = "most connections track nothing")]
    tracked: Option<Box<VecDeque<(u64, u64)>>>,
    /// Bytes of the send that was not answered yet; 0 is none.
    in_flight: u32,
    /// The last send came back short: no leases until the queue has run empty once.
    congested: bool,
}

impl<L: Lease> Default for SendHalf<L> {
    fn default() -> Self {
        Self {
            queue: VecDeque::new(),
            tail: Vec::new(),
            end: 0,
            sent: 0,
            filtered: 0,
            held: 0,
            in_files: 0,
            reading: 0,
            tracked: None,
            in_flight: 0,
            congested: false,
        }
    }
}

/// Rolls a tail back unless encoding succeeded: also when the codec panics.
struct Undo<'a> {
    tail: &'a mut Vec<u8>,
    kept: &'a mut Vec<Kept>,
    len: usize,
    armed: bool,
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.tail.truncate(self.len);
            self.kept.clear();
        }
    }
}

impl<L: Lease> SendHalf<L> {
    /// Bytes in memory, accepted and not yet taken by the kernel; those that a filter keeps too.
    #[inline]
    pub fn queued(&self) -> u64 {
        self.end - self.sent - self.in_files + self.held
    }

    /// Whether nothing is queued and nothing in flight, and a filter keeps nothing.
    pub fn is_flushed(&self) -> bool {
        self.is_idle() && self.held == 0
    }

    /// Bytes that a filter keeps back, which leave when more came in.
    pub fn held(&self) -> u64 {
        self.held
    }

    /// Whether somebody wants to hear of a send.
    pub fn is_tracked(&self) -> bool {
        self.tracked.is_some()
    }

    /// Bytes of files, accepted and not yet taken by the kernel, nor read for a filter.
    pub fn queued_in_files(&self) -> u64 {
        self.in_files
    }

    /// Whether nothing is queued and nothing in flight.
    pub fn is_idle(&self) -> bool {
        self.in_flight == 0 && self.end == self.sent
    }

    /// Whether a send has not been answered.
    pub fn is_in_flight(&self) -> bool {
        self.in_flight > 0
    }

    /// Bytes that the kernel took.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Encodes `item` behind what is queued; says how many bytes that made. Large payloads that lie
    /// in `lease` stay there, unless they would have to wait. When the codec fails or panics, or
    /// the frame is larger than `room`, nothing has happened.
    ///
    /// # Errors
    /// See [`Refused`].
    #[inline]
    pub fn handle_item<C: Codec>(
        &mut self,
        codec: &C,
        item: C::Item<'_>,
        lease: Option<&L>,
        room: usize,
        pool: &mut SendPool<L>,
    ) -> Result<usize, Refused> {
        let encoded = self.encode(codec, item, lease, room, pool);
        if encoded.is_err() && self.tail.is_empty() {
            pool.blocks.give_bytes(std::mem::take(&mut self.tail));
        }
        encoded
    }

    #[inline]
    fn encode<C: Codec>(
        &mut self,
        codec: &C,
        item: C::Item<'_>,
        lease: Option<&L>,
        room: usize,
        pool: &mut SendPool<L>,
    ) -> Result<usize, Refused> {
        if self.tail.capacity() == 0 {
            self.tail = pool.blocks.take();
        }
        let lease = lease.filter(|_| !self.congested && self.in_flight == 0);
        let received = lease.map_or(&[][..], |lease| lease);
        let len = self.tail.len();
        let (tail, kept) = (&mut self.tail, &mut pool.kept);
        let mut undo = Undo { tail, kept, len, armed: true };
        let mut out = Out::new(undo.tail, received, undo.kept, codec.frame_bytes_max());
        codec.encode(item, &mut out).map_err(Refused::Encode)?;
        let bytes = out.finish().map_err(Refused::Encode)?;
        if bytes > room {
            return Err(Refused::Full);
        }
        undo.armed = false;
        drop(undo);
        self.end += bytes as u64;
        if let Some(lease) = lease.filter(|_| !pool.kept.is_empty()) {
            self.keep_payloads(lease, pool);
        } else if self.tail.len() >= TAIL_SEALED_MIN {
            self.seal(pool);
        }
        Ok(bytes)
    }

    /// Puts the payloads that stayed in the lease between the written bytes.
    fn keep_payloads(&mut self, lease: &L, pool: &mut SendPool<L>) {
        let mut cut = 0;
        let mut all_kept = std::mem::take(&mut pool.kept);
        for Kept { at, range } in all_kept.drain(..) {
            if at > cut {
                let behind = at - cut;
                let rest = if behind == self.tail.len() {
                    Vec::new()
                } else {
                    self.tail.split_off(behind)
                };
                self.seal(pool);
                self.tail = rest;
                cut = at;
            }
            self.push(Segment::Leased(lease.slice(range)), pool);
        }
        pool.kept = all_kept;
    }

    /// Puts a segment at the end of the queue.
    fn push(&mut self, segment: Segment<L>, pool: &mut SendPool<L>) {
        self.insert(self.queue.len(), segment, pool);
    }

    fn insert(&mut self, at: usize, segment: Segment<L>, pool: &mut SendPool<L>) {
        if self.queue.capacity() == 0 {
            self.queue = pool.queues.pop().unwrap_or_default();
        }
        self.queue.insert(at, segment);
    }

    /// Queues bytes that are shared with others or kept by somebody.
    pub fn handle_bytes(&mut self, bytes: Bytes, pool: &mut SendPool<L>) {
        self.end += bytes.len() as u64;
        if !self.tail.is_empty() && bytes.len() <= SHARED_COPIED_MAX {
            self.tail.extend_from_slice(&bytes);
        } else if !bytes.is_empty() {
            self.seal(pool);
            self.push(Segment::Shared(bytes), pool);
        }
    }

    /// Queues a part of a file, of any length. It takes no memory of the queue.
    pub fn handle_file(&mut self, range: FileRange<L::File>, pool: &mut SendPool<L>) {
        if range.len > 0 {
            self.end += range.len;
            self.in_files += range.len;
            self.seal(pool);
            self.push(Segment::File(range), pool);
        }
    }

    /// A piece of a file that has to be read, because a filter is to change it and nothing before it
    /// is left to send. Its bytes go to [`handle_file_read`](Self::handle_file_read); until then
    /// there is no other one.
    pub fn poll_file_read(&mut self) -> Option<FileRange<L::File>> {
        let idle = self.in_flight == 0 && self.filtered <= self.sent && self.reading == 0;
        let Some(Segment::File(range)) = self.queue.front().filter(|_| idle) else { return None };
        let len = range.len.min(self.most_now() as u64 / 2);
        self.reading = u32::try_from(len).unwrap_or(u32::MAX);
        Some(FileRange { len, ..range.clone() })
    }

    /// The piece that was asked for, whole: it takes the place of that part of the file. Nothing
    /// happens if nothing is to be sent any more.
    pub fn handle_file_read(&mut self, bytes: Bytes) {
        let len = u64::from(std::mem::take(&mut self.reading));
        debug_assert_eq!(bytes.len() as u64, len, "the piece that was asked for");
        let files = |segment: &mut Segment<L>| matches!(segment, Segment::File(_));
        let Some(at) = self.queue.iter_mut().position(files) else { return };
        if self.queue[at].len() == len {
            self.queue[at] = Segment::Shared(bytes);
        } else {
            self.queue[at].advance(bytes.len());
            self.queue.insert(at, Segment::Shared(bytes));
        }
        self.in_files -= len;
    }

    /// Queues what a filter says by itself, and notes how much it keeps: behind all that came out of
    /// the filter before, in front of what has not passed it. So the peer gets what the filter made
    /// in the order in which it was made, which records with numbers or a running key depend on.
    pub fn handle_filter_reply(&mut self, bytes: &[u8], held: usize, pool: &mut SendPool<L>) {
        let queue_from = self.sent + u64::from(self.in_flight);
        let from = self.filtered.max(queue_from);
        let len = bytes.len() as u64;
        if len > 0 {
            let at = self.segments_within(from - queue_from);
            let before = at.checked_sub(1).and_then(|before| self.queue.get_mut(before));
            match before {
                Some(Segment::Block(block)) if block.len() + bytes.len() <= TAIL_SEALED_MIN => {
                    block.extend_from_slice(bytes);
                }
                _ if bytes.len() > SEND_BYTES_MAX => {
                    self.insert(at, Segment::Shared(Bytes::copy_from_slice(bytes)), pool);
                }
                _ => {
                    let mut block = pool.blocks.take();
                    block.extend_from_slice(bytes);
                    self.insert(at, Segment::Block(Block::new(block)), pool);
                }
            }
        }
        // What was kept until now is told as sent behind this.
        let first = if self.held > 0 { from } else { from + 1 };
        self.filtered = from + len;
        self.shift(first, len);
        self.held = held as u64;
    }

    /// Wants to hear, as `id`, when all that was accepted up to now is with the kernel.
    pub fn track(&mut self, id: u64) {
        self.tracked.get_or_insert_default().push_back((self.end, id));
    }

    /// The next tracked send whose bytes the kernel has taken.
    pub fn poll_tracked(&mut self) -> Option<u64> {
        let tracked = self.tracked.as_mut()?;
        // Behind the last bytes that left the filter may be those that it keeps.
        let kept = |offset: u64| self.held > 0 && offset >= self.filtered;
        let gone = |offset: u64| offset <= self.sent && !kept(offset);
        let (_, id) = *tracked.front().filter(|(offset, _)| gone(*offset))?;
        tracked.pop_front();
        if tracked.is_empty() {
            self.tracked = None;
        }
        Some(id)
    }

    /// What [`poll_tracked`](Self::poll_tracked) has not told, when all is over: the ids, and whether
    /// the kernel took their bytes.
    pub fn take_tracked(&mut self) -> Vec<(u64, bool)> {
        let tracked = self.tracked.take().unwrap_or_default();
        tracked.into_iter().map(|(at, id)| (id, at <= self.sent)).collect()
    }

    /// The next send, if there is something and none is in flight. Of a connection without a filter.
    #[inline]
    pub fn poll_transmit(&mut self, pool: &mut SendPool<L>) -> Option<Transmit<L>> {
        if self.in_flight > 0 || self.end == self.sent {
            return None;
        }
        if !self.queue.is_empty() || self.tail.len() > WHOLE_BYTES_MAX {
            return Some(self.next_transmit(pool));
        }
        let tail = std::mem::take(&mut self.tail);
        self.in_flight = u32::try_from(tail.len()).unwrap_or(u32::MAX);
        if self.queue.capacity() > 0 {
            self.give_memory_back(pool);
        }
        let data = SendData::One(Segment::Block(Block::new(tail)));
        Some(Transmit { data, whole: self.congested, prompt: self.tracked.is_some() })
    }

    /// The same of a connection with a filter.
    ///
    /// # Errors
    /// That of the filter. Nothing more can be sent then.
    pub fn poll_filtered(
        &mut self,
        pool: &mut SendPool<L>,
        filter: &mut (dyn Filter + 'static),
    ) -> Result<Option<Transmit<L>>, FrameError> {
        if self.in_flight > 0 || self.end == self.sent {
            return Ok(None);
        }
        let data = self.filtered_data(pool, filter)?;
        Ok(data.map(|data| self.transmit(data, pool)))
    }

    fn transmit(&mut self, data: SendData<L>, pool: &mut SendPool<L>) -> Transmit<L> {
        self.in_flight = u32::try_from(data.byte_count()).unwrap_or(u32::MAX);
        debug_assert!(self.in_flight > 0, "a send of nothing");
        let more = !self.queue.is_empty() || !self.tail.is_empty();
        if more {
            self.copy_waiting_leases(pool);
        } else {
            self.give_memory_back(pool);
        }
        Transmit { data, whole: self.congested, prompt: more || self.tracked.is_some() }
    }

    /// The next send where there is more than the small messages of one turn.
    #[inline(never)]
    fn next_transmit(&mut self, pool: &mut SendPool<L>) -> Transmit<L> {
        self.seal(pool);
        let data = self.gather(pool, self.most_now());
        self.transmit(data, pool)
    }

    /// The send came back; what the kernel did not take goes in front again.
    #[inline]
    pub fn handle_sent(&mut self, bytes: usize, data: SendData<L>, pool: &mut SendPool<L>) {
        debug_assert!(self.in_flight > 0, "an answer without a send");
        self.in_flight = 0;
        self.sent += bytes as u64;
        if data.file().is_some() {
            self.in_files = self.in_files.saturating_sub(bytes as u64);
        }
        self.end = self.end.max(self.sent); // it was in flight when the rest was cleared
        let mut left = bytes;
        let short = match data {
            SendData::One(segment) => self.take_back(segment, &mut left, 0, pool),
            SendData::Many(mut segments) => {
                let mut at = 0;
                for segment in segments.drain(..) {
                    at += usize::from(self.take_back(segment, &mut left, at, pool));
                }
                pool.give_vector(segments);
                at > 0
            }
        };
        self.congested = short || (self.congested && self.end > self.sent);
    }

    /// Frees a segment that went out, or puts what is left of it at place `at` of the queue.
    #[inline]
    fn take_back(
        &mut self,
        mut segment: Segment<L>,
        left: &mut usize,
        at: usize,
        pool: &mut SendPool<L>,
    ) -> bool {
        let len = usize::try_from(segment.len()).unwrap_or(usize::MAX);
        if *left >= len {
            *left -= len;
            if let Segment::Block(block) = segment {
                pool.blocks.give(block);
            }
            return false;
        }
        segment.advance(std::mem::take(left));
        self.queue.insert(at, copied(segment, &mut pool.blocks));
        true
    }

    /// Nothing more will be sent: frees what is queued. A send in flight still comes back, and what
    /// is tracked stays.
    pub fn clear(&mut self, pool: &mut SendPool<L>) {
        for segment in self.queue.drain(..) {
            if let Segment::Block(block) = segment {
                pool.blocks.give(block);
            }
        }
        self.tail.clear();
        self.give_memory_back(pool);
        if self.held > 0 {
            let kept = self.filtered;
            let tracked = self.tracked.iter_mut().flat_map(|tracked| tracked.iter_mut());
            tracked.filter(|(at, _)| *at >= kept).for_each(|(at, _)| *at = u64::MAX);
        }
        self.end = self.sent;
        self.filtered = self.sent;
        self.held = 0;
        self.in_files = 0;
        self.reading = 0;
    }

    /// An idle connection holds no memory.
    fn give_memory_back(&mut self, pool: &mut SendPool<L>) {
        if self.queue.capacity() > 0 {
            pool.give_queue(std::mem::take(&mut self.queue));
        }
        if self.tail.capacity() > 0 {
            pool.blocks.give_bytes(std::mem::take(&mut self.tail));
        }
    }

    /// Makes a segment of the tail.
    fn seal(&mut self, pool: &mut SendPool<L>) {
        if self.tail.is_empty() {
            return;
        }
        let tail = std::mem::take(&mut self.tail);
        // What is longer than a send must be divisible, which shared bytes are and blocks are not.
        let segment = if tail.len() > SEND_BYTES_MAX {
            Segment::Shared(tail.into())
        } else {
            Segment::Block(Block::new(tail))
        };
        self.push(segment, pool);
    }

    /// At most `most` bytes and `SEGMENTS_MAX` segments from the front of the queue, at least one; a
    /// part of a file alone.
    fn gather(&mut self, pool: &mut SendPool<L>, most: usize) -> SendData<L> {
        if let Some(part) = self.part_of_file() {
            return SendData::One(part);
        }
        let mut segments = pool.vectors.pop().unwrap_or_default();
        let mut room = most;
        while segments.len() < SEGMENTS_MAX && room > 0 {
            let Some(front) = self.queue.front_mut() else { break };
            if matches!(front, Segment::File(_)) {
                break;
            }
            let len = front.bytes().len();
            if len <= room {
                room -= len;
                segments.extend(self.queue.pop_front());
                continue;
            }
            match front {
                Segment::Shared(bytes) => segments.push(Segment::Shared(bytes.split_to(room))),
                Segment::Leased(lease) => {
                    segments.push(Segment::Leased(lease.slice(0..room)));
                    front.advance(room);
                }
                // Next time, unless it is the first: it cannot be divided, but its copy can.
                Segment::Block(block) if segments.is_empty() => {
                    let mut bytes = Bytes::copy_from_slice(block);
                    segments.push(Segment::Shared(bytes.split_to(room)));
                    *front = Segment::Shared(bytes);
                }
                Segment::Block(_) | Segment::File(_) => {}
            }
            break;
        }
        if segments.len() == 1 {
            let only = segments.pop().expect("one");
            pool.give_vector(segments);
            return SendData::One(only);
        }
        SendData::Many(segments)
    }

    /// What to send of a file next, if one is in front.
    fn part_of_file(&mut self) -> Option<Segment<L>> {
        let most = if self.congested { WHOLE_BYTES_MAX } else { FILE_BYTES_MAX } as u64;
        match self.queue.front_mut()? {
            Segment::File(range) if range.len > most => Some(Segment::File(range.split_to(most))),
            Segment::File(_) => self.queue.pop_front(),
            _ => None,
        }
    }

    /// The next bytes after they have passed the filter; first those that came back.
    fn filtered_data(
        &mut self,
        pool: &mut SendPool<L>,
        filter: &mut (dyn Filter + 'static),
    ) -> Result<Option<SendData<L>>, FrameError> {
        self.seal(pool);
        while self.filtered <= self.sent {
            // The filter keeps what there was, or a file has to be read first.
            if matches!(self.queue.front(), None | Some(Segment::File(_))) {
                return Ok(None);
            }
            self.pass(pool, filter)?;
        }
        let passed = usize::try_from(self.filtered - self.sent).unwrap_or(usize::MAX);
        Ok(Some(self.gather(pool, passed.min(self.most_now()))))
    }

    /// Lets bytes of the queue, of which none has passed the filter, pass it.
    fn pass(
        &mut self,
        pool: &mut SendPool<L>,
        filter: &mut (dyn Filter + 'static),
    ) -> Result<(), FrameError> {
        // A filter may make more of it; half leaves room to stay within one send.
        let plain = self.gather(pool, self.most_now() / 2);
        let mut wire = pool.blocks.take();
        for segment in plain.segments() {
            filter.handle_output(segment.bytes(), &mut wire)?;
        }
        self.held = filter.held_bytes() as u64;
        let (before, after) = (plain.byte_count() as u64, wire.len() as u64);
        pool.give_back(plain);
        self.end = self.end - before + after;
        self.filtered = self.sent + after;
        for (offset, _) in self.tracked.iter_mut().flat_map(|tracked| tracked.iter_mut()) {
            let behind = offset.saturating_sub(self.sent + before);
            *offset = self.sent + after + behind;
        }
        match wire.len() {
            0 => pool.blocks.give_bytes(wire),
            1..=SEND_BYTES_MAX => self.queue.push_front(Segment::Block(Block::new(wire))),
            _ => self.queue.push_front(Segment::Shared(wire.into())),
        }
        Ok(())
    }

    /// Most bytes of the next send.
    fn most_now(&self) -> usize {
        if self.congested { WHOLE_BYTES_MAX } else { SEND_BYTES_MAX }
    }

    /// How many whole segments lie within the first `bytes` of the queue.
    fn segments_within(&self, bytes: u64) -> usize {
        let mut left = bytes;
        let lens = self.queue.iter().map(Segment::len);
        lens.take_while(|len| {
            left.checked_sub(*len).is_some_and(|rest| {
                left = rest;
                true
            })
        })
        .count()
    }

    /// Moves what is told at stream offset `from` or later by `by` bytes.
    fn shift(&mut self, from: u64, by: u64) {
        self.end += by;
        for (offset, _) in self.tracked.iter_mut().flat_map(|tracked| tracked.iter_mut()) {
            if *offset >= from {
                *offset += by;
            }
        }
    }

    /// A lease must not wait for a peer that does not read.
    fn copy_waiting_leases(&mut self, pool: &mut SendPool<L>) {
        for segment in &mut self.queue {
            if matches!(segment, Segment::Leased(_)) {
                let taken = std::mem::replace(segment, Segment::Shared(Bytes::new()));
                *segment = copied(taken, &mut pool.blocks);
            }
        }
    }
}

/// The segment, in memory of its own if it was a lease.
fn copied<L: Lease>(segment: Segment<L>, blocks: &mut BlockPool) -> Segment<L> {
    let Segment::Leased(lease) = segment else { return segment };
    let mut bytes = blocks.take();
    bytes.extend_from_slice(&lease);
    if bytes.len() > SEND_BYTES_MAX {
        return Segment::Shared(bytes.into());
    }
    Segment::Block(Block::new(bytes))
}

#[cfg(test)]
#[path = "send_tests.rs"]
mod tests;
