//! What connections are asked to send, within their bounds.

use super::Core;
use super::ending::How;
use crate::worker::connection::Connection;
use crate::{
    ConnId, DisconnectReason, FileError, FileErrorKind, FileId, FileSource, Result, SendError,
    SlowReader,
};
use bytes::Bytes;
use longshore_base::Token;
use longshore_port::{FileRange, RecvBuf};
use longshore_proto::Codec;
use longshore_proto::connection::{Mark, Message, Refused};
use std::ops::Range;
use std::sync::atomic::Ordering;

/// What became of a message that was not refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    /// It waits.
    Queued,
    /// It waits, and an older one was dropped for it.
    QueuedForOlder,
    /// It was dropped.
    Dropped,
}

/// What became of messages in one piece.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Whole {
    Queued,
    /// They are for all but this one.
    Excepted,
    /// There is more to be said of it.
    NotSo,
}

impl Core {
    /// Encodes `item` behind what the connection has queued. Where messages are dropped, one that `may_drop`
    /// not is refused.
    #[inline]
    pub(crate) fn send_item<C: Codec>(
        &mut self,
        token: Token,
        codec: &C,
        item: C::Item<'_>,
        lease: Option<&RecvBuf>,
        may_drop: bool,
    ) -> Result<Fate, SendError> {
        self.catch_up();
        let conn = self.conns.get_mut(token).filter(|conn| conn.is_open());
        let Some(conn) = conn else { return Err(SendError::Closed) };
        if conn.send.keeps_whole() {
            let message = Message { may_drop, ..Message::new(codec.to_bytes(item)?) };
            return self.queue_message(token, message, 0);
        }
        let queued = conn.queued();
        let room = conn.limits.send_queue_bytes.saturating_sub(queued);
        let never = queued == 0; // no room now is no room ever
        let left = self.memory.left(&self.board.budget, queued);
        let room = usize::try_from(room.min(left)).unwrap_or(usize::MAX);
        match conn.send.handle_item(codec, item, lease, room, &mut self.pool) {
            Ok(bytes) => {
                self.memory.queued += bytes as u64;
                conn.messages_out += 1;
                conn.publish_queued();
                if !conn.facts.dirty {
                    conn.facts.dirty = true;
                    self.dirty.push(token);
                }
                self.counters().messages_out.add(1);
                Ok(Fate::Queued)
            }
            Err(Refused::Encode(error)) => Err(SendError::Encode(error)),
            Err(Refused::Full) => self.at_bound(token, left > room as u64, never, may_drop),
        }
    }

    /// Queues whole frames that were encoded already, within the bound.
    pub(crate) fn send_message(
        &mut self,
        token: Token,
        message: Message,
    ) -> Result<Fate, SendError> {
        self.catch_up();
        self.queue_message(token, message, 0)
    }

    /// The same without a look at what others have asked for meanwhile. It may be queued as one of a
    /// handle already, as so many bytes.
    pub(super) fn queue_message(
        &mut self,
        token: Token,
        message: Message,
        counted: u64,
    ) -> Result<Fate, SendError> {
        let mut fate = Fate::Queued;
        loop {
            let conn = self.conns.get_mut(token).filter(|conn| conn.is_open());
            let Some(conn) = conn else { return Err(SendError::Closed) };
            let (len, max) = (message.bytes.len() as u64, conn.limits.send_queue_bytes);
            let replaced = message.key.map_or(0, |key| conn.send.queued_of(key));
            let queued = conn.queued_here(counted) - replaced;
            let is_full = || conn.is_full(counted > 0);
            let full = queued.saturating_add(len) > max || (replaced == 0 && is_full());
            // What many send takes no more of the memory than it does already.
            let short = !message.shared && len > self.memory.left(&self.board.budget, queued);
            let drops_oldest = conn.limits.slow_reader == SlowReader::DropOldest;
            if !(full || short) {
                if let Some(conn) = self.queue_bytes(token, message) {
                    conn.publish_queued();
                }
                return Ok(fate);
            }
            let never = len > max;
            if never || !drops_oldest || !conn.send.drop_oldest(&mut self.pool) {
                return self.at_bound(token, full, never, message.may_drop);
            }
            conn.count_dropped();
            self.counters().messages_dropped.add(1);
            fate = Fate::QueuedForOlder;
        }
    }

    /// Queues messages in one piece, which others have as well, where that is all that there is to do: there
    /// is room for all of it, and they need not stay apart.
    #[inline]
    pub(super) fn queue_whole(
        &mut self,
        token: Token,
        bytes: &Bytes,
        messages: u64,
        except: Option<ConnId>,
    ) -> Whole {
        let conn = self.conns.get_mut(token).filter(|conn| conn.is_open());
        let Some(conn) = conn else { return Whole::NotSo };
        let queued = conn.queued().saturating_add(bytes.len() as u64);
        if except == Some(conn.shared.id) {
            return Whole::Excepted;
        }
        if conn.send.keeps_whole() || queued > conn.limits.send_queue_bytes {
            return Whole::NotSo;
        }
        let message = Message { shared: true, ..Message::new(bytes.clone()) };
        conn.send.handle_message(message, &mut self.pool);
        conn.messages_out += messages;
        conn.publish_queued();
        if !std::mem::replace(&mut conn.facts.dirty, true) {
            self.dirty.push(token);
        }
        self.counters().messages_out.add(messages);
        Whole::Queued
    }

    /// Queues a part of a file behind what is queued.
    pub(crate) fn send_file(
        &mut self,
        token: Token,
        source: &FileSource,
        range: Range<u64>,
    ) -> Result<FileId> {
        self.catch_up();
        let conn = self.conns.get_mut(token).filter(|conn| conn.is_open());
        let Some(conn) = conn else { return Err(SendError::Closed.into()) };
        let (files, most) = (conn.files.get_or_insert_default(), conn.limits.send_queue_files);
        if files.waiting() >= most as usize {
            self.counters().files_refused.add(1);
            let text = format_args!("limits.send_queue_files = {most}");
            return Err(FileError::new(FileErrorKind::Busy, text).into());
        }
        let id = files.add(source.clone());
        let len = range.end - range.start;
        let range = FileRange { file: source.handle.clone(), offset: range.start, len };
        conn.send.handle_file(range, &mut self.pool);
        conn.send.track(Mark::File(id.0));
        if conn.send.is_idle() {
            self.owed.push_back(token); // it has no bytes: no answer will come
        }
        self.mark(token);
        Ok(id)
    }

    /// Queues what a codec answers by itself. Where a full queue refuses, it waits for room, and all
    /// input with it: nobody could be told that it is lost.
    pub(crate) fn reply(&mut self, token: Token, bytes: Bytes) -> Result<(), SendError> {
        self.catch_up();
        let now = self.now;
        let conn = self.conns.get_mut(token).filter(|conn| conn.is_open());
        let Some(conn) = conn else { return Err(SendError::Closed) };
        let (len, max) = (bytes.len() as u64, conn.limits.send_queue_bytes);
        let full = conn.queued().saturating_add(len) > max || conn.is_full(false);
        // Where all together hold too much this peer is not to blame, and may wait.
        let short = len > self.memory.left(&self.board.budget, conn.queued());
        if !(full || short) || len > max || (full && conn.limits.slow_reader.disconnects()) {
            let message = Message { may_drop: false, ..Message::new(bytes) };
            return self.send_message(token, message).map(|_| ());
        }
        conn.held = Some(Box::new(bytes));
        conn.facts.waits_for_room = true;
        if short {
            self.owed.push_back(token); // nothing of it may be queued that comes back
        }
        conn.stop_or_go(now);
        let owned = conn.own_backlog();
        self.kept(token, owned);
        self.interrupt(token);
        self.mark(token);
        Ok(())
    }

    /// The filter has queued replies of its own, which nobody could refuse. Past the bound a slow
    /// reader is one, or nothing more is read that could bring others.
    pub(crate) fn replied(&mut self, token: Token) {
        self.mark(token);
        let now = self.now;
        let Some(conn) = self.conns.get_mut(token).filter(|conn| conn.is_open()) else { return };
        conn.publish_queued();
        // What it keeps leaves by reading on, so that is no reason to stop.
        if conn.queued() - conn.send.held() <= conn.limits.send_queue_bytes {
            return;
        }
        if conn.limits.slow_reader.disconnects() {
            return self.end(token, DisconnectReason::SlowReader, How::Reset);
        }
        conn.facts.waits_for_room = true;
        conn.stop_or_go(now);
        let owned = conn.own_backlog();
        self.kept(token, owned);
    }

    /// Bytes are out: queues the answer that waited for that, if it fits, and reads on.
    pub(crate) fn room_again(&mut self, token: Token) {
        let now = self.now;
        let Some(conn) = self.conns.get_mut(token) else { return };
        let queued = conn.queued();
        if let Some(len) = conn.held.as_ref().map(|reply| reply.len() as u64) {
            if queued.saturating_add(len) > conn.limits.send_queue_bytes || conn.is_full(false) {
                return;
            }
        } else if queued - conn.send.held() > conn.limits.low_mark() {
            return;
        }
        conn.facts.waits_for_room = false;
        conn.stop_or_go(now);
        if let Some(reply) = conn.held.take() {
            let message = Message { may_drop: false, ..Message::new(*reply) };
            if let Some(conn) = self.queue_bytes(token, message) {
                conn.publish_queued();
            }
        }
        self.make_runnable(token);
        self.mark(token);
        self.rearm(token);
    }

    /// Queues bytes without asking whether they fit: that was asked before. Nothing, unless the
    /// connection is open.
    pub(super) fn queue_bytes(
        &mut self,
        token: Token,
        message: Message,
    ) -> Option<&mut Connection> {
        let conn = self.conns.get_mut(token).filter(|conn| conn.is_open())?;
        conn.messages_out += 1;
        if !message.shared {
            self.memory.queued += message.bytes.len() as u64;
        }
        conn.send.handle_message(message, &mut self.pool);
        self.counters().messages_out.add(1);
        self.mark(token);
        self.conns.get_mut(token)
    }

    /// There is no room, in the queue if that is `full`, else in memory: what the policy of the listener
    /// says.
    #[cold]
    fn at_bound(
        &mut self,
        token: Token,
        full: bool,
        never: bool,
        may_drop: bool,
    ) -> Result<Fate, SendError> {
        let drops = |conn: &&Connection| conn.limits.slow_reader.drops() && may_drop && !never;
        let conn = self.conns.get(token).filter(drops);
        if let Some(conn) = conn {
            conn.count_dropped();
            self.counters().messages_dropped.add(1);
            return Ok(Fate::Dropped);
        }
        Err(if full { self.refuse_full(token, never) } else { self.refuse_memory(token) })
    }

    /// The queue is at its bound, and nothing is dropped. Nothing is owed to who sends what will
    /// `never` fit.
    #[cold]
    fn refuse_full(&mut self, token: Token, never: bool) -> SendError {
        self.counters().messages_refused.add(1);
        if let Some(conn) = self.conns.get(token) {
            if conn.limits.slow_reader.disconnects() {
                // Not behind what came meanwhile: a broadcast has the list of its group at hand.
                self.end_now(token, DisconnectReason::SlowReader, How::Reset);
            } else if !never {
                conn.shared.refused.store(true, Ordering::Release);
                self.mark(token); // so that its answer is asked for promptly
            }
        }
        SendError::Full
    }

    /// All connections together hold too much: the peer of this one is not to blame.
    #[cold]
    fn refuse_memory(&mut self, token: Token) -> SendError {
        self.counters().messages_refused.add(1);
        if let Some(conn) = self.conns.get(token) {
            // Nothing of it may be queued that comes back. Who asks on and on is owed one answer.
            if !conn.shared.refused.swap(true, Ordering::AcqRel) {
                self.owed.push_back(token);
            }
        }
        SendError::Full
    }
}
