//! The untyped part of a connection: everything but its handler value and decoder.

use crate::config::Limits;
use crate::files::Files;
#[cfg(feature = "files")]
use crate::files::Transfers;
use crate::server::members::Members;
use crate::server::notice::Notice;
use crate::server::shared::Shared;
use crate::server::source::Source;
use crate::{Closed, CutFile, DisconnectReason, Server, SlowReader, TrackedSend};
use bytes::Bytes;
use longshore_base::{OutOfMemory, Time, Token, try_extend};
use longshore_port::{PortError, RecvBuf, SocketId};
use longshore_proto::connection::{Closing, Deadlines, Filter, SendHalf};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Up to here what is queued for a connection does not count as memory.
const FREE_BYTES: u64 = 1024;

/// Received bytes that wait for their turn.
#[derive(Debug)]
pub(crate) enum Chunk {
    /// Where they were received. Only while the connection can go on at once.
    Leased(RecvBuf),
    /// In the connection's own memory.
    Owned(Vec<u8>),
}

impl Chunk {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Leased(lease) => lease,
            Self::Owned(bytes) => bytes,
        }
    }

    pub(crate) fn lease(&self) -> Option<&RecvBuf> {
        match self {
            Self::Leased(lease) => Some(lease),
            Self::Owned(_) => None,
        }
    }

    /// In the connection's own memory, if there is any.
    fn own(&mut self) -> Result<(), OutOfMemory> {
        if let Self::Leased(lease) = self {
            let mut bytes = Vec::new();
            try_extend(&mut bytes, lease)?;
            *self = Self::Owned(bytes);
        }
        Ok(())
    }
}

/// Chunks in order, and how much of the first one is done with.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    pub(crate) chunks: VecDeque<Chunk>,
    pub(crate) used: usize,
}

impl Backlog {
    /// Puts bytes behind the others, in memory of their own: many small ones take one allocation.
    fn append(&mut self, mut chunk: Chunk) -> Result<(), OutOfMemory> {
        if let Some(Chunk::Owned(last)) = self.chunks.back_mut() {
            return try_extend(last, chunk.bytes());
        }
        chunk.own()?;
        self.chunks.push_back(chunk);
        Ok(())
    }

    fn byte_count(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.bytes().len()).sum::<usize>() - self.used
    }
}

/// What is kept of a frame that is not whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Torn {
    /// Its bytes so far, and those of the memory that they are in.
    pub(crate) bytes: usize,
    pub(crate) memory: usize,
}

/// That a connection is in a group.
#[derive(Debug)]
pub(crate) struct Membership {
    pub(crate) members: Arc<Members>,
    /// Its place in the list of its worker.
    pub(crate) at: usize,
}

impl Membership {
    pub(crate) fn is_of(&self, members: &Arc<Members>) -> bool {
        Arc::ptr_eq(&self.members, members)
    }
}

/// The lists that a connection is in, and has to be taken out of at its end.
#[derive(Debug, Default)]
pub(crate) struct Listed {
    pub(crate) groups: Vec<Membership>,
    /// Those that hear of its end, and see to the rest themselves.
    pub(crate) owners: Vec<Notice>,
}

/// How the peer's stream ended. Told once everything before it was handled.
#[derive(Clone, Copy, Debug)]
pub(crate) enum InputEnd {
    Eof,
    /// The filter was told so; bytes that nobody wants may still come.
    GoodBye,
    Failed(PortError),
}

impl InputEnd {
    /// Why a connection ends whose input ended so.
    pub(crate) fn reason(self) -> DisconnectReason {
        match self {
            Self::Eof | Self::GoodBye => DisconnectReason::PeerClosed,
            Self::Failed(error) => DisconnectReason::from_port(error),
        }
    }
}

/// Yes-or-no facts of a connection, together to keep it small.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, not a state machine")]
pub(crate) struct Facts {
    /// In the worker's list of connections to look at before the turn ends.
    pub(crate) dirty: bool,
    /// In the worker's list of connections with input left, once; if paused, to be passed over.
    pub(crate) runnable: bool,
    /// A receive op is out.
    pub(crate) receiving: bool,
    /// It was cancelled, and has not ended.
    pub(crate) cancelling: bool,
    /// A watch op is out.
    pub(crate) watching: bool,
    /// The handler does not want input.
    pub(crate) paused: bool,
    /// All connections together hold too much, and this one more than others.
    pub(crate) held_back: bool,
    /// The peer has ended its stream, behind what is still to be read.
    pub(crate) ends: bool,
    /// A connect op is out.
    pub(crate) connecting: bool,
    /// The send side is shut down.
    pub(crate) half_closed: bool,
    #[cfg(feature = "files")]
    /// Its codec lets files through.
    pub(crate) takes_files: bool,
    #[cfg(feature = "files")]
    /// In the worker's list of connections with news of their files.
    pub(crate) filed: bool,
    /// The way to its peer is to be measured.
    pub(crate) measures: bool,
    /// The filter has said its last word, or has none.
    pub(crate) filter_closed: bool,
    /// What came ends within something of the filter.
    pub(crate) filter_torn: bool,
    /// The peer has said to the filter that nothing more comes.
    pub(crate) filter_ended: bool,
    /// What the codec or the filter answered by itself went over the bound of the queue: nothing is
    /// read until there is room.
    pub(crate) waits_for_room: bool,
}

/// The last op of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Last {
    /// It closes.
    Close,
    /// It closes with a reset.
    Reset,
    /// One of them is out.
    Asked,
}

/// One connection, as its worker's core sees it.
pub(crate) struct Connection {
    pub(crate) shared: Arc<Shared>,
    /// `None` until it is connected or attached.
    pub(crate) socket: Option<SocketId>,
    pub(crate) send: SendHalf<RecvBuf>,
    pub(crate) deadlines: Deadlines,
    pub(crate) closing: Closing,
    pub(crate) limits: Arc<Limits>,
    pub(crate) lane: Token,
    /// Its handler's seat in the lane, once the factory made one.
    pub(crate) seat: Option<Token>,
    /// The outgoing connection that it is an attempt of.
    pub(crate) dial: Option<Token>,
    pub(crate) source: Option<Source>,
    pub(crate) backlog: Option<Box<Backlog>>,
    pub(crate) ended: Option<InputEnd>,
    /// The frame that was begun.
    pub(crate) torn: Torn,
    /// What the codec answered by itself when the queue was full.
    pub(crate) held: Option<Box<Bytes>>,
    /// Files that it sends. Most connections send none.
    pub(crate) files: Option<Box<Files>>,
    /// Where it is listed. Most connections are nowhere.
    pub(crate) listed: Option<Box<Listed>>,
    pub(crate) filter: Option<Box<dyn Filter>>,
    pub(crate) reason: Option<Box<DisconnectReason>>,
    pub(crate) facts: Facts,
    /// How its socket goes, once it does.
    pub(crate) last: Option<Last>,
    /// Frames left in the turn numbered `turn`.
    pub(crate) budget: u32,
    pub(crate) turn: u32,
    /// What it holds, as its worker counts it.
    pub(crate) counted: u64,
    /// Bytes in the send half that count as those of handles.
    remote_bytes: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_discarded: u64,
    pub(crate) messages_in: u64,
    pub(crate) messages_out: u64,
}

impl Connection {
    pub(crate) fn new(shared: Arc<Shared>, limits: Arc<Limits>, lane: Token, now: Time) -> Self {
        let mut deadlines = Deadlines::new(now, limits.first_byte, limits.idle);
        deadlines.set_idle_of(limits.idle_of);
        deadlines.set_login(now, limits.login);
        let mut send = SendHalf::default();
        if limits.keeps_whole() {
            send.keep_whole();
        }
        Self {
            shared,
            socket: None,
            send,
            deadlines,
            closing: Closing::default(),
            limits,
            lane,
            seat: None,
            dial: None,
            source: None,
            backlog: None,
            ended: None,
            torn: Torn::default(),
            held: None,
            files: None,
            listed: None,
            filter: None,
            reason: None,
            facts: Facts::default(),
            last: None,
            budget: 0,
            turn: 0,
            counted: 0,
            remote_bytes: 0,
            bytes_in: 0,
            bytes_discarded: 0,
            messages_in: 0,
            messages_out: 0,
        }
    }

    /// Whether callbacks may still come, but for the last one.
    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        self.closing.is_open()
    }

    /// Whether its socket goes, or is gone: nothing is asked of it any more.
    #[inline]
    pub(crate) fn is_leaving(&self) -> bool {
        self.last.is_some()
    }

    /// Whether input has to wait: the handler does not want it, or its answer finds no room.
    #[inline]
    pub(crate) fn is_stopped(&self) -> bool {
        self.facts.paused || self.facts.waits_for_room
    }

    /// Whether what came ends within a frame, or something of the filter.
    #[inline]
    pub(crate) fn is_torn(&self) -> bool {
        self.torn.bytes > 0 || self.facts.filter_torn
    }

    /// The peer's time stands still while we have stopped it; not while it is held back, since it
    /// then holds more than others (docs/decisions/0007).
    pub(crate) fn stop_or_go(&mut self, now: Time) {
        if self.is_stopped() {
            self.deadlines.pause(now);
        } else {
            self.deadlines.resume(now);
        }
    }

    /// Bytes that it holds: queued, kept by a filter, of a torn frame, received and not looked at.
    /// A small message is no matter, so that nothing is counted for one that comes and goes.
    #[inline]
    pub(crate) fn memory(&self) -> u64 {
        if self.is_leaving() {
            return 0; // they go as soon as the port is through with them
        }
        let mut bytes = self.torn.memory as u64;
        // What many send is counted once, elsewhere.
        let queued = self.send.queued() - self.send.common();
        if queued > FREE_BYTES {
            bytes += queued + self.send.overhead();
        }
        if self.backlog.is_some() || self.held.is_some() {
            let held = self.held.as_ref().map_or(0, |reply| reply.len());
            let backlog = self.backlog.as_ref().map_or(0, |backlog| backlog.byte_count());
            bytes += (held + backlog) as u64;
        }
        #[cfg(feature = "files")]
        if let Some(transfers) = self.transfers() {
            bytes += transfers.memory_bytes();
        }
        bytes
    }

    /// Bytes queued here and on their way in mailboxes.
    #[inline]
    pub(crate) fn queued(&self) -> u64 {
        let remote = self.shared.remote_bytes.load(Ordering::Relaxed);
        self.send.queued() + remote.saturating_sub(self.remote_bytes)
    }

    /// Those that count against the bound of the queue here, without the `own` ones of a message that has
    /// just come from a handle. Where handles have a bound of their own for what is on its way, that is
    /// not among them.
    pub(crate) fn queued_here(&self, own: u64) -> u64 {
        let drops_oldest = self.limits.slow_reader == SlowReader::DropOldest;
        if drops_oldest { self.send.queued() } else { self.queued().saturating_sub(own) }
    }

    /// Whether as many messages wait as may, one that has just come from a handle not counted.
    pub(crate) fn is_full(&self, has_come: bool) -> bool {
        if !self.limits.counts_messages() {
            return false;
        }
        let on_their_way = match self.limits.slow_reader {
            SlowReader::DropOldest => 0,
            _ => self.shared.remote_messages.load(Ordering::Relaxed) as usize,
        };
        let others = on_their_way.saturating_sub(usize::from(has_come));
        self.send.waiting() + others >= self.limits.send_queue_messages as usize
    }

    /// A message for it was dropped.
    pub(crate) fn count_dropped(&self) {
        self.shared.counts.messages_dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// What it holds, with its part of what others hold, too: what becomes free with it, at best.
    pub(crate) fn weight(&self) -> u64 {
        self.counted + self.send.common()
    }

    /// Bytes that a handle sent are in the send half now.
    pub(crate) fn take_remote(&mut self, bytes: u64) {
        self.remote_bytes += bytes;
    }

    /// Tells other threads how much of the bound is taken. Which bytes have left is not kept: those
    /// of handles count as the last ones to do so.
    #[inline]
    pub(crate) fn publish_queued(&mut self) {
        let queued = self.send.queued();
        if self.remote_bytes > queued {
            self.give_remote_back(queued);
        }
        self.shared.local_bytes.store(queued - self.remote_bytes, Ordering::Release);
        self.publish_waiting();
    }

    /// Tells other threads how many messages wait, where that has a bound.
    #[inline]
    pub(crate) fn publish_waiting(&self) {
        if self.shared.counts_messages {
            let waiting = u32::try_from(self.send.waiting()).unwrap_or(u32::MAX);
            self.shared.local_messages.store(waiting, Ordering::Release);
        }
    }

    /// Whether more waits for it than may for long.
    #[inline]
    pub(crate) fn look_at_queue(&mut self, now: Time) -> bool {
        let Some(soft) = self.limits.send_queue_soft_bytes else { return false };
        let is_behind = self.is_open() && self.send.queued() > soft;
        self.deadlines.handle_queue(now, is_behind, self.limits.send_queue_soft);
        is_behind
    }

    /// The same, and what the kernel took. For a send that came back.
    #[inline]
    pub(crate) fn publish(&mut self) {
        self.publish_queued();
        self.shared.counts.bytes_out.store(self.send.sent(), Ordering::Relaxed);
    }

    /// Tells other threads what it has queued. Once a turn.
    #[inline]
    pub(crate) fn publish_messages(&self) {
        self.shared.counts.messages_out.store(self.messages_out, Ordering::Relaxed);
    }

    /// Counts what was received.
    #[inline]
    pub(crate) fn count_received(&mut self, bytes: usize) {
        self.bytes_in += bytes as u64;
        self.shared.counts.bytes_in.store(self.bytes_in, Ordering::Relaxed);
    }

    /// Counts frames that its handler got.
    #[inline]
    pub(crate) fn count_messages(&mut self, more: u64) {
        self.messages_in += more;
        self.shared.counts.messages_in.store(self.messages_in, Ordering::Relaxed);
    }

    #[cold]
    fn give_remote_back(&mut self, queued: u64) {
        let left = self.remote_bytes - queued;
        self.remote_bytes = queued;
        self.shared.remote_bytes.fetch_sub(left, Ordering::AcqRel);
    }

    /// When it has to be looked at.
    pub(crate) fn next_deadline(&self) -> Time {
        let next = self.deadlines.next().min(self.closing.next());
        // At the end nobody looks at them any more: what is due then would be due for ever.
        #[cfg(feature = "files")]
        let transfers = self.transfers().filter(|_| self.closing.is_open());
        #[cfg(feature = "files")]
        let next = next.min(transfers.map_or(Time::NEVER, Transfers::next_due));
        next
    }

    /// Its transfers, if there are any.
    #[cfg(feature = "files")]
    pub(crate) fn transfers(&self) -> Option<&Transfers> {
        self.files.as_ref()?.transfers.as_deref()
    }

    /// Puts a chunk behind what waits already.
    pub(crate) fn queue_chunk(&mut self, chunk: Chunk) -> Result<(), OutOfMemory> {
        let waits = !self.facts.runnable || self.is_stopped(); // nobody knows when it goes on
        let backlog = self.backlog.get_or_insert_default();
        if waits {
            return backlog.append(chunk);
        }
        backlog.chunks.push_back(chunk);
        Ok(())
    }

    /// It cannot go on at once: what waits moves into memory of its own.
    pub(crate) fn own_backlog(&mut self) -> Result<(), OutOfMemory> {
        let mut chunks = self.backlog.iter_mut().flat_map(|backlog| backlog.chunks.iter_mut());
        chunks.try_for_each(Chunk::own)
    }

    /// What waits will never be looked at.
    pub(crate) fn drop_backlog(&mut self) {
        if let Some(backlog) = self.backlog.take() {
            self.bytes_discarded += backlog.byte_count() as u64;
        }
    }

    /// Whether it is read, and may wait. Who has ended its stream is read on: it will soon be gone.
    pub(crate) fn may_be_held_back(&self) -> bool {
        self.is_open() && !self.facts.held_back && !self.facts.ends
    }

    /// Whether nothing may come for now, so that no receive is to be out, and a watch has to tell
    /// when the peer is gone.
    pub(crate) fn is_deaf(&self) -> bool {
        let deaf = if self.closing.discards() {
            !self.closing.peer_ended() && !self.closing.reads(&self.limits.linger)
        } else {
            self.is_stopped() || self.facts.held_back
        };
        deaf && self.ended.is_none()
    }

    /// Whether a receive should be out.
    pub(crate) fn wants_input(&self) -> bool {
        if self.is_leaving() || self.ended.is_some() || self.closing.peer_ended() {
            return false;
        }
        if self.closing.discards() {
            return self.closing.reads(&self.limits.linger);
        }
        !self.is_stopped() && !self.facts.held_back && self.backlog.is_none()
    }

    /// Bytes came that nobody wants.
    pub(crate) fn discard(&mut self, count: usize, now: Time) {
        self.bytes_discarded += count as u64;
        self.closing.handle_discarded(count, now, &self.limits.linger);
    }

    /// The last thing to say about it.
    pub(crate) fn closed<'a>(
        &self,
        reason: &'a DisconnectReason,
        tracked: &'a [TrackedSend],
        files: &'a [CutFile],
        server: &'a Server,
    ) -> Closed<'a> {
        Closed {
            id: self.shared.id,
            peer_addr: self.shared.peer_addr,
            local_addr: self.shared.local_addr,
            reason,
            bytes_in: self.bytes_in,
            bytes_out: self.send.sent(),
            messages_in: self.messages_in,
            messages_out: self.messages_out,
            bytes_discarded: self.bytes_discarded,
            tracked,
            files,
            server,
        }
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("id", &self.shared.id)
            .field("closing", &self.closing)
            .field("facts", &self.facts)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_with_does_not_wait() {
        let chunks = [10, 5].map(|len| Chunk::Owned(vec![0; len])).into();
        assert_eq!(Backlog { chunks, used: 4 }.byte_count(), 11);
    }

    #[test]
    fn what_has_to_wait_goes_into_one_chunk() {
        let mut backlog = Backlog::default();
        for part in [&b"a"[..], b"bc", b"d"] {
            backlog.append(Chunk::Owned(part.to_vec())).unwrap();
        }
        assert_eq!(backlog.chunks.iter().map(Chunk::bytes).collect::<Vec<_>>(), [b"abcd"]);
    }
}
