//! What passes a filter on its way, and what the filter says by itself.

use super::{FILE_READ_BYTES_MAX, SendHalf, SendPool, TAIL_SEALED_MIN, Transmit};
use crate::FrameError;
use crate::connection::Filter;
use bytes::Bytes;
use longshore_base::{Block, FileRange, Lease, SEND_BYTES_MAX, Segment, SendData};

impl<L: Lease> SendHalf<L> {
    /// A piece of a file that has to be read, when nothing before it is left to send: because it is not
    /// at hand, or because a filter is to change it, if there `is_filtered` one. Its bytes go to
    /// [`handle_file_read`](Self::handle_file_read); until then there is no other one.
    pub fn poll_file_read(&mut self, is_filtered: bool) -> Option<FileRange<L::File>> {
        let idle = self.in_flight == 0 && self.filtered <= self.sent && self.reading == 0;
        let wanted = idle && (self.unread || is_filtered);
        let Some(Segment::File(range)) = self.queue.front().filter(|_| wanted) else { return None };
        let len = range.len.min(FILE_READ_BYTES_MAX as u64).min(self.most_now() as u64 / 2);
        self.reading = u32::try_from(len).unwrap_or(u32::MAX);
        Some(FileRange { len, ..range.clone() })
    }

    /// The piece that was asked for, whole: it takes the place of that part of the file. Nothing
    /// happens if nothing is to be sent any more.
    pub fn handle_file_read(&mut self, bytes: Bytes) {
        let len = u64::from(std::mem::take(&mut self.reading));
        self.unread = false;
        if len == 0 {
            return;
        }
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

    /// The same of a connection with a filter.
    ///
    /// # Errors
    /// That of the filter. Nothing more can be sent then.
    pub fn poll_filtered(
        &mut self,
        pool: &mut SendPool<L>,
        filter: &mut (dyn Filter + 'static),
    ) -> Result<Option<Transmit<L>>, FrameError> {
        if self.in_flight > 0 {
            return Ok(None);
        }
        if self.staged.is_some() {
            self.begin_messages(self.most_now() as u64, pool);
        }
        if self.end == self.sent {
            return Ok(None);
        }
        let data = self.filtered_data(pool, filter)?;
        Ok(data.map(|data| self.transmit(data, pool)))
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
            if matches!(segment, Segment::Common(_)) {
                self.common = self.common.saturating_sub(segment.len());
            }
            filter.handle_output(segment.bytes(), &mut wire)?;
        }
        self.held = filter.held_bytes() as u64;
        let (before, after) = (plain.byte_count() as u64, wire.len() as u64);
        pool.give_back(plain);
        self.end = self.end - before + after;
        self.filtered = self.sent + after;
        for (offset, _) in self.tracked.iter_mut().flat_map(|tracked| tracked.iter_mut()) {
            let behind = offset.saturating_sub(self.sent + before);
            *offset = (self.sent + after).saturating_add(behind);
        }
        match wire.len() {
            0 => pool.blocks.give_bytes(wire),
            1..=SEND_BYTES_MAX => self.queue.push_front(Segment::Block(Block::new(wire))),
            _ => self.queue.push_front(Segment::Shared(wire.into())),
        }
        Ok(())
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
                *offset = offset.saturating_add(by); // what was never sent is at no offset
            }
        }
    }
}
