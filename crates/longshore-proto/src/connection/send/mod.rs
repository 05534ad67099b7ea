//! The send half: items in, ordered sends out.
//!
//! ```text
//! stream:   0 ........ sent ................... end
//!                       | in flight | queue | tail |
//! ```
//!
//! One unanswered send at a time. What one turn produces goes out as one send; what comes back
//! short goes in front again. Untyped: it lives beside thousands of others in one table.

mod filtered;
mod pool;
mod staged;

use crate::frame::Kept;
use crate::{Codec, FrameError, Out};
use bytes::Bytes;
use longshore_base::{
    Block, BlockPool, FILE_BYTES_MAX, FileRange, Lease, SEGMENTS_MAX, SEND_BYTES_MAX, Segment,
    SendData,
};
use staged::Staged;
use std::collections::VecDeque;

pub use pool::SendPool;
pub use staged::{Mark, Message};

/// A tail this long becomes a segment, so that it is not copied again and again while it grows.
const TAIL_SEALED_MIN: usize = 32 * 1024;

/// Shared bytes up to here are copied behind a tail that exists anyway: cheaper than a segment.
const SHARED_COPIED_MAX: usize = 512;

/// Most bytes of a file that are read at a time: what a connection has in memory of it.
const FILE_READ_BYTES_MAX: usize = 64 * 1024;

/// Most bytes of a send that waits for room, 64 KiB: on systems that do not tell what a peer has
/// acknowledged its completion is the only sign of progress, and a peer on a slow line must be able to
/// give one within the write deadline.
const WHOLE_BYTES_MAX: usize = 64 * 1024;

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
    /// Bytes between the two that somebody else counts.
    common: u64,
    /// Messages behind all that, if they have to stay whole until they begin to leave.
    staged: Option<Box<Staged>>,
    /// All messages have to.
    keeps_whole: bool,
    /// Bytes of the first file that are being read; 0 is none.
    reading: u32,
    /// The next bytes of the first file were not at hand: they are to be read.
    unread: bool,
    /// (offset, mark) of what somebody wants to hear of, ascending.
    #[expect(clippy::box_collection, reason = "most connections track nothing")]
    tracked: Option<Box<VecDeque<(u64, Mark)>>>,
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
            common: 0,
            staged: None,
            keeps_whole: false,
            reading: 0,
            unread: false,
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
        let staged = self.staged.as_ref().map_or(0, |staged| staged.bytes());
        self.end - self.sent - self.in_files + self.held + staged
    }

    /// Of those bytes, the ones that somebody else counts.
    pub fn common(&self) -> u64 {
        self.common + self.staged.as_ref().map_or(0, |staged| staged.shared_bytes())
    }

    /// What messages take beside their bytes.
    pub fn overhead(&self) -> u64 {
        self.staged.as_ref().map_or(0, |staged| staged.overhead_bytes())
    }

    /// Messages that have not begun to leave, of those that are kept whole until then.
    pub fn waiting(&self) -> usize {
        self.staged.as_ref().map_or(0, |staged| staged.count())
    }

    /// From now on each message is kept whole until it begins to leave, and may be dropped until
    /// then.
    pub fn keep_whole(&mut self) {
        self.keeps_whole = true;
    }

    /// Whether what is sent now has to be given as a message: [`handle_message`](Self::handle_message).
    #[inline]
    pub fn keeps_whole(&self) -> bool {
        self.keeps_whole || self.staged.is_some()
    }

    /// Bytes of the message of that key that waits; 0 if none does.
    pub fn queued_of(&self, key: u64) -> u64 {
        self.staged.as_ref().map_or(0, |staged| staged.bytes_of(key))
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
        self.in_flight == 0 && self.end == self.sent && self.staged.is_none()
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
        debug_assert!(!self.keeps_whole(), "it would overtake what waits");
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
        self.handle_message(Message::new(bytes), pool);
    }

    /// The same, with all that is to be known of them.
    pub fn handle_message(&mut self, message: Message, pool: &mut SendPool<L>) {
        if message.bytes.is_empty() {
            return;
        }
        if self.keeps_whole() || message.key.is_some() {
            let staged = &mut self.staged;
            staged.get_or_insert_with(|| pool.staged.pop().unwrap_or_default()).push(message);
        } else {
            self.append(message.bytes, message.shared, pool);
        }
    }

    /// Drops the oldest message that has not begun to leave, if there is one that may be dropped.
    pub fn drop_oldest(&mut self, pool: &mut SendPool<L>) -> bool {
        let dropped = self.staged.as_mut().is_some_and(|staged| staged.drop_oldest());
        if dropped && self.waiting() == 0 {
            self.staged.take().into_iter().for_each(|staged| pool.give_staged(staged));
        }
        dropped
    }

    /// Messages begin to leave, until so many bytes do.
    #[cold]
    fn begin_messages(&mut self, most: u64, pool: &mut SendPool<L>) {
        let Some(mut staged) = self.staged.take() else { return };
        while self.end - self.sent < most {
            let Some(Message { bytes, shared, .. }) = staged.pop() else { break };
            self.append(bytes, shared, pool);
            while let Some(mark) = staged.pop_tracked() {
                self.tracked.get_or_insert_default().push_back((self.end, mark));
            }
        }
        if staged.count() > 0 { self.staged = Some(staged) } else { pool.give_staged(staged) }
    }

    /// Puts bytes at the end of the stream: small ones together.
    fn append(&mut self, bytes: Bytes, shared: bool, pool: &mut SendPool<L>) {
        let len = bytes.len();
        self.end += len as u64;
        if len <= SHARED_COPIED_MAX {
            self.open_tail(pool);
            if !self.tail.is_empty() {
                self.tail.extend_from_slice(&bytes);
                if self.tail.len() >= TAIL_SEALED_MIN {
                    self.seal(pool);
                }
                return;
            }
        }
        self.seal(pool);
        self.common += if shared { len as u64 } else { 0 };
        self.push(if shared { Segment::Common(bytes) } else { Segment::Shared(bytes) }, pool);
    }

    /// A tail of the last bytes, if those are few and were alone until now.
    fn open_tail(&mut self, pool: &mut SendPool<L>) {
        let small = |segment: &Segment<L>| {
            matches!(segment, Segment::Shared(_) | Segment::Common(_))
                && segment.len() <= SHARED_COPIED_MAX as u64
        };
        if !self.tail.is_empty() || !self.queue.back().is_some_and(small) {
            return;
        }
        let Some(last) = self.queue.pop_back() else { return };
        if matches!(last, Segment::Common(_)) {
            self.common = self.common.saturating_sub(last.len());
        }
        if self.tail.capacity() == 0 {
            self.tail = pool.blocks.take();
        }
        self.tail.extend_from_slice(last.bytes());
    }

    /// Queues a part of a file, of any length. It takes no memory of the queue.
    pub fn handle_file(&mut self, range: FileRange<L::File>, pool: &mut SendPool<L>) {
        if range.len > 0 {
            self.begin_messages(u64::MAX, pool); // they are in front of it
            self.end += range.len;
            self.in_files += range.len;
            self.seal(pool);
            self.push(Segment::File(range), pool);
        }
    }

    /// Wants to hear of `mark` when all that was accepted up to now is with the kernel.
    pub fn track(&mut self, mark: Mark) {
        if !self.staged.as_mut().is_some_and(|staged| staged.track(mark)) {
            self.tracked.get_or_insert_default().push_back((self.end, mark));
        }
    }

    /// The next mark whose bytes the kernel has taken.
    pub fn poll_tracked(&mut self) -> Option<Mark> {
        let tracked = self.tracked.as_mut()?;
        // Behind the last bytes that left the filter may be those that it keeps.
        let kept = |offset: u64| self.held > 0 && offset >= self.filtered;
        let gone = |offset: u64| offset <= self.sent && !kept(offset);
        let (_, mark) = *tracked.front().filter(|(offset, _)| gone(*offset))?;
        tracked.pop_front();
        if tracked.is_empty() {
            self.tracked = None;
        }
        Some(mark)
    }

    /// What [`poll_tracked`](Self::poll_tracked) has not told, when all is over, and whether the
    /// kernel took their bytes.
    pub fn take_tracked(&mut self) -> Vec<(Mark, bool)> {
        let tracked = self.tracked.take().unwrap_or_default();
        tracked.into_iter().map(|(at, mark)| (mark, at <= self.sent)).collect()
    }

    /// The next send, if there is something and none is in flight. Of a connection without a filter.
    #[inline]
    pub fn poll_transmit(&mut self, pool: &mut SendPool<L>) -> Option<Transmit<L>> {
        if self.in_flight > 0 {
            return None;
        }
        if self.staged.is_some() {
            self.begin_messages(self.most_now() as u64, pool);
        }
        if self.end == self.sent {
            return None;
        }
        if !self.queue.is_empty() || self.tail.len() > WHOLE_BYTES_MAX {
            return self.next_transmit(pool);
        }
        let tail = std::mem::take(&mut self.tail);
        self.in_flight = u32::try_from(tail.len()).unwrap_or(u32::MAX);
        if self.queue.capacity() > 0 {
            self.give_memory_back(pool);
        }
        let data = SendData::One(Segment::Block(Block::new(tail)));
        let prompt = self.tracked.is_some() || self.staged.is_some();
        Some(Transmit { data, whole: self.congested, prompt })
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
        let prompt = more || self.tracked.is_some() || self.staged.is_some();
        Transmit { data, whole: self.congested, prompt }
    }

    /// The next send where there is more than the small messages of one turn.
    #[inline(never)]
    fn next_transmit(&mut self, pool: &mut SendPool<L>) -> Option<Transmit<L>> {
        if self.unread {
            return None; // what is in front has to be read first
        }
        self.seal(pool);
        let data = self.gather(pool, self.most_now());
        Some(self.transmit(data, pool))
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
        let more = self.end > self.sent || self.staged.is_some();
        self.congested = short || (self.congested && more);
    }

    /// The same of a part of a file whose next bytes were not at hand: they have to be read, which
    /// says nothing of the peer. See [`poll_file_read`](Self::poll_file_read).
    pub fn handle_not_cached(&mut self, bytes: usize, data: SendData<L>, pool: &mut SendPool<L>) {
        let congested = self.congested;
        self.handle_sent(bytes, data, pool);
        self.congested &= congested;
        self.unread = matches!(self.queue.front(), Some(Segment::File(_)));
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
        if matches!(segment, Segment::Common(_)) {
            self.common = self.common.saturating_sub(len.min(*left) as u64);
        }
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
        if let Some(mut staged) = self.staged.take() {
            let marks: Vec<_> = staged.take_tracked().map(|mark| (u64::MAX, mark)).collect();
            if !marks.is_empty() {
                self.tracked.get_or_insert_default().extend(marks);
            }
            pool.give_staged(staged);
        }
        if self.held > 0 {
            let kept = self.filtered;
            let tracked = self.tracked.iter_mut().flat_map(|tracked| tracked.iter_mut());
            tracked.filter(|(at, _)| *at >= kept).for_each(|(at, _)| *at = u64::MAX);
        }
        self.end = self.sent;
        self.filtered = self.sent;
        self.held = 0;
        self.in_files = 0;
        self.common = 0;
        self.reading = 0;
        self.unread = false;
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
                Segment::Common(bytes) => segments.push(Segment::Common(bytes.split_to(room))),
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

    /// Most bytes of the next send.
    fn most_now(&self) -> usize {
        if self.congested { WHOLE_BYTES_MAX } else { SEND_BYTES_MAX }
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
mod tests;
