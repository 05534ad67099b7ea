//! Files that go out: offered, proven where the receiver has a part of them, sent in chunks.
//!
//! ```text
//! waiting ─► offered ─► proving ─► sending ─► ended ─► (told)
//!    too many    accept     what it has   end     done
//! ```
//!
//! Each may be refused, given up or too slow at any time. No bytes are kept but two pieces of each file.

use super::clock::{Clock, Hold, Pace};
use super::fault::{FileErrorKind, TransferError};
use super::wire::{Digest, FileFrame, Offered};
use crate::FrameError;
use crate::frame::head::FILE_CHUNK_BYTES_MAX;
use bytes::Bytes;
use longshore_base::Time;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Offers of one side that are not finished, on a connection. A receiver takes as many.
pub const OFFERS_MAX: usize = 256;

/// Pieces of a file that are in memory: one that is sent, one that is read meanwhile.
const PIECES: usize = 2;

/// What the owner of the files is to do, or to know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SendAct {
    /// Look whether the first `have` bytes have that digest, and begin the digest of the file with
    /// them: [`handle_proved`](Outgoing::handle_proved). If not, it begins with nothing.
    Prove {
        /// Which file.
        id: u32,
        /// Bytes from its start.
        have: u64,
        /// What the receiver says of them.
        digest: Digest,
    },
    /// Read these bytes, and add them to the digest: [`handle_read`](Outgoing::handle_read). If they are
    /// the `last` ones, perhaps none, look whether the file is what it was, and end its digest.
    Read {
        /// Which file.
        id: u32,
        /// From where, counted from the start of what is sent.
        offset: u64,
        /// How many.
        len: usize,
        /// These are the last.
        last: bool,
    },
    /// The receiver has written so much.
    Progress {
        /// Which file.
        id: u32,
        /// Bytes from its start.
        written: u64,
    },
    /// It is over. The last word of a file.
    Ended {
        /// Which file.
        id: u32,
        /// Well: the receiver has it whole. Or not.
        result: Result<(), TransferError>,
    },
}

/// Bytes of a file to send: one frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chunk {
    /// Which file.
    pub id: u32,
    /// Where they stand.
    pub offset: u64,
    /// At most 64 KiB.
    pub bytes: Bytes,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Phase {
    /// For its offer to be sent.
    Waiting(Option<Box<Offered>>),
    Offered,
    Proving,
    Sending,
    Ended,
}

#[derive(Debug)]
struct Sending {
    phase: Phase,
    bytes: u64,
    /// Asked of the disk, given to be sent, and written by the receiver.
    read: u64,
    sent: u64,
    written: u64,
    credit: u64,
    reading: bool,
    ready: VecDeque<Bytes>,
    digest: Option<Digest>,
    held: bool,
    held_there: Hold,
    clock: Clock,
    /// Bytes in a second, and when the next ones may go; zero is now, as somebody knows.
    rate: Option<(u64, Time)>,
}

/// The files that one connection sends.
#[derive(Debug)]
pub struct Outgoing {
    pace: Pace,
    piece: usize,
    sends: BTreeMap<u32, Sending>,
    last: u32,
    /// Those that are not finished and not waiting.
    open: usize,
    /// When the receiver got on last, with whichever file.
    heard: Time,
    /// Whose turn it is to send a chunk.
    turn: u32,
    frames: VecDeque<FileFrame>,
    acts: VecDeque<SendAct>,
}

impl Outgoing {
    /// None yet.
    pub fn new(pace: Pace) -> Self {
        Self {
            pace,
            piece: FILE_CHUNK_BYTES_MAX,
            sends: BTreeMap::new(),
            last: 0,
            open: 0,
            heard: Time::ZERO,
            turn: 0,
            frames: VecDeque::new(),
            acts: VecDeque::new(),
        }
    }

    /// Bytes of each file that are read at a time, from now on.
    pub fn set_piece(&mut self, bytes: usize) {
        self.piece = bytes.max(1);
    }

    /// Files that are not over.
    pub fn len(&self) -> usize {
        self.sends.len()
    }

    /// Whether a file is not over.
    pub fn contains(&self, id: u32) -> bool {
        self.sends.contains_key(&id)
    }

    /// Whether all are over.
    pub fn is_empty(&self) -> bool {
        self.sends.is_empty()
    }

    /// Bytes that wait in memory to be sent.
    pub fn memory_bytes(&self) -> u64 {
        let ready = self.sends.values().flat_map(|send| &send.ready);
        ready.map(|bytes| bytes.len() as u64).sum()
    }

    /// Offers a file, behind those that were offered before; none when all numbers are used up.
    pub fn offer(&mut self, now: Time, offered: Offered) -> Option<u32> {
        let id = self.last.checked_add(1)?;
        self.last = id;
        let sending = Sending {
            bytes: offered.bytes,
            phase: Phase::Waiting(Some(Box::new(offered))),
            read: 0,
            sent: 0,
            written: 0,
            credit: 0,
            reading: false,
            ready: VecDeque::new(),
            digest: None,
            held: false,
            held_there: Hold::default(),
            clock: Clock::NEVER,
            rate: None,
        };
        self.sends.insert(id, sending);
        self.offer_next(now);
        Some(id)
    }

    /// Offers those that wait, as many as may be.
    fn offer_next(&mut self, now: Time) {
        if self.open >= OFFERS_MAX {
            return;
        }
        for (id, send) in &mut self.sends {
            let Phase::Waiting(offered) = &mut send.phase else { continue };
            let Some(offered) = offered.take() else { continue };
            self.frames.push_back(FileFrame::Offer { id: *id, offered: *offered });
            if send.held {
                self.frames.push_back(FileFrame::SenderHolds { id: *id, on: true });
            }
            send.phase = Phase::Offered;
            // As much of it may be there, and has to be looked at.
            send.clock = Clock::start(&self.pace, now, send.bytes);
            self.open += 1;
            if self.open >= OFFERS_MAX {
                return;
            }
        }
    }

    /// At most so many bytes in a second of that file; zero is as many as there may be.
    pub fn set_rate(&mut self, now: Time, id: u32, bytes: u64) {
        if let Some(send) = self.sends.get_mut(&id) {
            send.rate = (bytes > 0).then_some((bytes, now));
        }
    }

    /// Stops sending a file for a while, or goes on; the receiver is told.
    pub fn hold(&mut self, now: Time, id: u32, on: bool) {
        let Some(send) = self.sends.get_mut(&id) else { return };
        if std::mem::replace(&mut send.held, on) == on {
            return;
        }
        if !matches!(send.phase, Phase::Waiting(_)) {
            self.frames.push_back(FileFrame::SenderHolds { id, on });
        }
        send.go_on(&self.pace, now);
        self.read_on(id);
    }

    /// Gives a file up; the receiver is told.
    pub fn give_up(&mut self, now: Time, id: u32, why: FileErrorKind, text: &str) {
        let Some(send) = self.sends.get(&id) else { return };
        if !matches!(send.phase, Phase::Waiting(_)) {
            self.frames.push_back(FileFrame::GiveUp { id, why, text: text.into() });
        }
        self.over(now, id, Err(TransferError::here(why, text)));
    }

    /// All are over: the connection is.
    pub fn close(&mut self, now: Time) {
        let ids: Vec<_> = self.sends.keys().copied().collect();
        for id in ids {
            self.over(now, id, Err(TransferError::here(FileErrorKind::ConnectionLost, "")));
        }
        self.frames.clear();
    }

    fn over(&mut self, now: Time, id: u32, result: Result<(), TransferError>) {
        let Some(send) = self.sends.remove(&id) else { return };
        if !matches!(send.phase, Phase::Waiting(_)) {
            self.open -= 1;
        }
        self.acts.push_back(SendAct::Ended { id, result });
        self.offer_next(now);
    }

    /// What the receiver says.
    ///
    /// # Errors
    /// It breaks the rules; the connection is to end.
    pub fn handle_frame(&mut self, now: Time, frame: FileFrame) -> Result<(), FrameError> {
        let (FileFrame::Accept { id, .. }
        | FileFrame::Credit { id, .. }
        | FileFrame::Done { id, .. }
        | FileFrame::Refuse { id, .. }
        | FileFrame::ReceiverHolds { id, .. }) = frame
        else {
            return Err(FrameError::invalid("not what a receiver says"));
        };
        let known = id <= self.last && id > 0;
        let waits = |send: &Sending| matches!(send.phase, Phase::Waiting(_));
        if !known || self.sends.get(&id).is_some_and(waits) {
            return Err(FrameError::invalid(format_args!("file {id} was not offered")));
        }
        let Some(send) = self.sends.get_mut(&id) else { return Ok(()) }; // it is over here already
        let gets_on = match frame {
            FileFrame::ReceiverHolds { .. } => false,
            FileFrame::Credit { written, .. } => written > send.written,
            _ => true,
        };
        if gets_on {
            self.heard = now;
        }
        match frame {
            FileFrame::Accept { have, credit, digest, .. } => {
                let right = send.phase == Phase::Offered && have <= send.bytes && credit >= have;
                if !right {
                    return Err(FrameError::invalid(format_args!("file {id} is accepted wrongly")));
                }
                send.credit = credit;
                send.clock = Clock::NEVER;
                if have > 0 {
                    send.phase = Phase::Proving;
                    self.acts.push_back(SendAct::Prove { id, have, digest });
                } else {
                    self.begin(now, id, 0);
                }
            }
            FileFrame::Credit { written, credit, .. } => {
                let grows = credit >= send.credit && written >= send.written;
                let begun = matches!(send.phase, Phase::Sending | Phase::Ended);
                let right = begun && grows && written <= send.sent && credit >= written;
                if !right {
                    return Err(FrameError::invalid(format_args!("credit of file {id} is wrong")));
                }
                send.credit = credit;
                if written > send.written {
                    send.written = written;
                    self.acts.push_back(SendAct::Progress { id, written });
                }
                self.read_on(id);
            }
            FileFrame::Done { bytes, .. } => {
                if send.phase != Phase::Ended || bytes != send.bytes {
                    return Err(FrameError::invalid(format_args!("file {id} cannot be done")));
                }
                self.over(now, id, Ok(()));
            }
            FileFrame::Refuse { why, text, .. } => {
                self.over(now, id, Err(TransferError { why, text, of_peer: true }));
            }
            // Of a file that is sent there is nothing to hold.
            FileFrame::ReceiverHolds { on, .. } if send.phase != Phase::Ended => {
                send.clock = send.clock.later(send.held_there.set(now, on));
                self.read_on(id);
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether what the receiver has is what the file begins with.
    pub fn handle_proved(&mut self, now: Time, id: u32, have: u64, equal: bool) {
        if self.sends.get(&id).is_some_and(|send| send.phase == Phase::Proving) {
            if let Some(send) = self.sends.get_mut(&id).filter(|_| !equal) {
                send.credit -= have; // what was there is no credit for what comes in its place
            }
            self.begin(now, id, if equal { have } else { 0 });
        }
    }

    fn begin(&mut self, now: Time, id: u32, from: u64) {
        let Some(send) = self.sends.get_mut(&id) else { return };
        send.phase = Phase::Sending;
        (send.read, send.sent, send.written) = (from, from, from);
        send.clock = Clock::stall(&self.pace, now, from);
        self.read_on(id);
    }

    /// Has the next piece read, if there is room and credit for it.
    fn read_on(&mut self, id: u32) {
        let Some(send) = self.sends.get_mut(&id) else { return };
        let done = send.digest.is_some() || send.phase != Phase::Sending;
        if done || send.reading || send.ready.len() >= PIECES || send.is_held() {
            return;
        }
        let most = send.credit.min(send.bytes).saturating_sub(send.read);
        let len = usize::try_from(most).unwrap_or(usize::MAX).min(self.piece);
        if len == 0 && send.read < send.bytes {
            return; // credit will come
        }
        let (offset, last) = (send.read, send.read + len as u64 == send.bytes);
        send.reading = true;
        send.read += len as u64;
        self.acts.push_back(SendAct::Read { id, offset, len, last });
    }

    /// The bytes that were asked for; the digest of the file if they are the last.
    pub fn handle_read(&mut self, now: Time, id: u32, bytes: Bytes, digest: Option<Digest>) {
        let Some(send) = self.sends.get_mut(&id) else { return };
        send.reading = false;
        if !bytes.is_empty() {
            send.ready.push_back(bytes);
        }
        send.digest = digest;
        self.end_if_sent(now, id);
        self.read_on(id);
    }

    /// Says that all is sent, if it is.
    fn end_if_sent(&mut self, now: Time, id: u32) {
        let Some(send) = self.sends.get_mut(&id) else { return };
        let Some(digest) = send.digest.filter(|_| send.sent == send.bytes) else { return };
        (send.phase, send.held_there) = (Phase::Ended, Hold::default());
        send.clock = Clock::start(&self.pace, now, send.bytes);
        self.frames.push_back(FileFrame::End { id, bytes: send.bytes, digest });
    }

    /// The next frame that is no chunk. Chunks that were taken before go before it.
    pub fn poll_frame(&mut self) -> Option<FileFrame> {
        self.frames.pop_front()
    }

    /// The next chunk, of each file in turn; none while there is no credit, or its rate is reached.
    pub fn poll_chunk(&mut self, now: Time) -> Option<Chunk> {
        let may = |send: &Sending| send.may_send(now) > 0;
        let behind = self.sends.range(self.turn.saturating_add(1)..).find(|(_, send)| may(send));
        let found = behind.or_else(|| self.sends.range(..=self.turn).find(|(_, send)| may(send)));
        let id = *found?.0;
        self.turn = id;
        let send = self.sends.get_mut(&id)?;
        let most = send.may_send(now);
        let front = send.ready.front_mut()?;
        let bytes = front.split_to(most.min(front.len()));
        if front.is_empty() {
            send.ready.pop_front();
        }
        let offset = send.sent;
        send.sent += bytes.len() as u64;
        if let Some((rate, next)) = &mut send.rate {
            let nanos = 1_000_000_000 * bytes.len() as u128 / u128::from(*rate);
            let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
            *next = (*next).max(now) + Duration::from_nanos(nanos);
        }
        self.end_if_sent(now, id);
        self.read_on(id);
        Some(Chunk { id, offset, bytes })
    }

    /// What is to be done, or known.
    pub fn poll_act(&mut self) -> Option<SendAct> {
        self.acts.pop_front()
    }

    /// When to look again: whether something is too slow, or may be sent again.
    pub fn next_due(&self) -> Time {
        let start = self.heard_by();
        let due = |send: &Sending| {
            let clock = send.due(&self.pace, start);
            let rate = send.rate.filter(|(_, next)| {
                *next > Time::ZERO && !send.ready.is_empty() && send.has_credit()
            });
            clock.min(rate.map_or(Time::NEVER, |(_, next)| next))
        };
        self.sends.values().map(due).min().unwrap_or(Time::NEVER)
    }

    /// Until then a receiver that gets on with anything has time to answer the rest.
    fn heard_by(&self) -> Time {
        if self.heard == Time::ZERO { Time::ZERO } else { self.heard + self.pace.start }
    }

    /// Time has come to [`next_due`](Self::next_due).
    pub fn handle_time(&mut self, now: Time) {
        let heard_by = self.heard_by();
        let share = self.sends.values().filter(|send| send.phase == Phase::Sending).count();
        let mut slow = Vec::new();
        for (id, send) in &mut self.sends {
            if let Some((_, next)) = send.rate.as_mut().filter(|(_, next)| *next <= now) {
                *next = Time::ZERO; // it goes when there is room, and nobody has to look again
            }
            if send.due(&self.pace, heard_by) > now {
                continue;
            }
            if send.held_there.is_on() {
                slow.push((*id, format!("held for {:?} in all", self.pace.hold)));
                continue;
            }
            if send.waits_for_word() {
                slow.push((*id, format!("no answer in {:?}", self.pace.start)));
                continue;
            }
            // Who waits for our disk, or for us to go on, is not slow. Who writes it all and wants no more is.
            let no_credit = send.credit <= send.sent && send.sent < send.bytes;
            let ours = !no_credit && (send.rate.is_some() || send.written == send.sent);
            if send.held || ours {
                send.clock = Clock::stall(&self.pace, now, send.written);
                continue;
            }
            let left = send.sent - send.written;
            if let Some(clock) = send.clock.next(&self.pace, now, send.written, left, share) {
                send.clock = clock;
                continue;
            }
            let (stall, taken, of) = (self.pace.stall, send.written, send.sent);
            slow.push((*id, format!("too little was taken in {stall:?}: {taken} of {of}")));
        }
        for (id, text) in slow {
            self.give_up(now, id, FileErrorKind::TimedOut, &text);
        }
    }
}

impl Sending {
    /// The receiver is to say something, whatever it writes.
    fn waits_for_word(&self) -> bool {
        matches!(self.phase, Phase::Offered | Phase::Ended)
    }

    /// When it is to be looked at, unless its rate wants it. While its receiver holds it, no other time
    /// runs. Until `heard_by` nobody is late with a word.
    fn due(&self, pace: &Pace, heard_by: Time) -> Time {
        if self.held_there.is_on() {
            self.held_there.due(pace)
        } else if self.waits_for_word() {
            self.clock.due().max(heard_by)
        } else {
            self.clock.due()
        }
    }

    fn is_held(&self) -> bool {
        self.held || self.held_there.is_on()
    }

    fn has_credit(&self) -> bool {
        self.credit > self.sent && !self.is_held()
    }

    /// Bytes that may go into one frame now.
    fn may_send(&self, now: Time) -> usize {
        let waits = self.rate.is_some_and(|(_, next)| next > now);
        if waits || !self.has_credit() || self.ready.is_empty() {
            return 0;
        }
        let credit = usize::try_from(self.credit - self.sent).unwrap_or(usize::MAX);
        credit.min(FILE_CHUNK_BYTES_MAX)
    }

    /// It stops or goes on: its time begins anew.
    fn go_on(&mut self, pace: &Pace, now: Time) {
        if self.phase == Phase::Sending {
            self.clock = Clock::stall(pace, now, self.written);
        }
    }
}
