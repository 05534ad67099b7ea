//! Files that come in: offered, wanted, opened, written, and put in their place.
//!
//! ```text
//! offered ─► waiting ─► opening ─► receiving ─► finishing ─► (told)
//!    accept    room       opened       end         stored
//! ```
//!
//! A file is held in memory up to its credit, which is how much its sender may send before more of it
//! is written.

use super::clock::{Clock, Hold, Pace};
use super::fault::{FileErrorKind, TransferError};
use super::outgoing::OFFERS_MAX;
use super::wire::{Digest, FileFrame, Offered};
use crate::FrameError;
use longshore_base::{OutOfMemory, Time, try_extend};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Bytes that each file may be sent before they are written, however many there are.
const WINDOW_BYTES_MIN: u64 = 128 << 10;

/// How often a sender hears at least how far it is, while bytes come.
const TOLD_EVERY: Duration = Duration::from_secs(1);

/// What the keeper of the files is to do, or to know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RecvAct {
    /// A file is offered: [`accept`](Incoming::accept) or [`refuse`](Incoming::refuse) it.
    Offered {
        /// Which file.
        id: u32,
        /// What is known of it.
        offered: Offered,
    },
    /// Make ready to write it: [`handle_opened`](Incoming::handle_opened).
    Open {
        /// Which file.
        id: u32,
    },
    /// Write these bytes, and add them to the digest: [`handle_written`](Incoming::handle_written).
    Write {
        /// Which file.
        id: u32,
        /// Where they stand. If `anew`, nothing before counts: what there was is another file's.
        offset: u64,
        /// What was there is not what is sent: forget it first.
        anew: bool,
        /// Them.
        bytes: Vec<u8>,
    },
    /// All is written: look at the digest, and put it in its place, so that it stays there:
    /// [`handle_stored`](Incoming::handle_stored).
    Store {
        /// Which file.
        id: u32,
        /// As its sender says.
        digest: Digest,
    },
    /// The sender has sent so much of it.
    Progress {
        /// Which file.
        id: u32,
        /// Bytes from its start that are written.
        written: u64,
    },
    /// It is over. The last word of a file that was not stored, behind whatever was asked for before: what
    /// there is of it may be kept if the error is one after which it can be gone on with.
    Ended {
        /// Which file.
        id: u32,
        /// Well: it is stored. Or not.
        result: Result<(), TransferError>,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Somebody has to decide.
    Offered,
    /// Wanted, behind others.
    Waiting,
    Opening,
    Receiving,
    /// Its digest is looked at, and it is put in its place.
    Finishing,
}

#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, not a state machine")]
struct Receiving {
    phase: Phase,
    bytes: u64,
    /// What was there before, until the first bytes come.
    have: u64,
    /// What has come, and what is written.
    at: u64,
    written: u64,
    credit: u64,
    /// When its sender was told last how far it is.
    told: Time,
    /// What has come and is not being written.
    buffer: Vec<u8>,
    /// Memory of what was written, for what comes next.
    spare: Vec<u8>,
    writing: bool,
    /// Some of it came: from then on it has to get on.
    begun: bool,
    /// What was there is not what is sent.
    anew: bool,
    end: Option<Digest>,
    held: bool,
    held_there: Hold,
    clock: Clock,
}

/// The files that one connection receives.
#[derive(Debug)]
pub struct Incoming {
    pace: Pace,
    running_max: usize,
    window_bytes: u64,
    files: BTreeMap<u32, Receiving>,
    last: u32,
    frames: VecDeque<FileFrame>,
    acts: VecDeque<RecvAct>,
}

impl Incoming {
    /// None yet; at most `running_max` at a time later, others wait. All together may be sent
    /// `window_bytes` before they are written, each 128 KiB at least.
    pub fn new(pace: Pace, running_max: usize, window_bytes: u64) -> Self {
        Self {
            pace,
            running_max: running_max.max(1),
            window_bytes,
            files: BTreeMap::new(),
            last: 0,
            frames: VecDeque::new(),
            acts: VecDeque::new(),
        }
    }

    /// Files that are not over.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether a file is not over.
    pub fn contains(&self, id: u32) -> bool {
        self.files.contains_key(&id)
    }

    /// Whether all are over.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Bytes that have come and are not being written.
    pub fn memory_bytes(&self) -> u64 {
        let memory = |file: &Receiving| file.buffer.capacity() + file.spare.capacity();
        self.files.values().map(|file| memory(file) as u64).sum()
    }

    /// A file is wanted.
    pub fn accept(&mut self, now: Time, id: u32) {
        if let Some(file) = self.files.get_mut(&id).filter(|it| it.phase == Phase::Offered) {
            file.phase = Phase::Waiting;
            file.clock = Clock::NEVER;
            self.open_next(now);
        }
    }

    /// A file is not wanted, or not any more: its sender is told.
    pub fn refuse(&mut self, now: Time, id: u32, why: FileErrorKind, text: &str) {
        if self.files.contains_key(&id) {
            self.frames.push_back(FileFrame::Refuse { id, why, text: text.into() });
            self.over(now, id, Err(TransferError::here(why, text)));
        }
    }

    /// Holds its sender back for a while, or lets it go on.
    pub fn hold(&mut self, now: Time, id: u32, on: bool) {
        let Some(file) = self.files.get_mut(&id) else { return };
        if std::mem::replace(&mut file.held, on) != on {
            self.frames.push_back(FileFrame::ReceiverHolds { id, on });
            file.go_on(&self.pace, now);
        }
    }

    /// All are over: the connection is.
    pub fn close(&mut self, now: Time) {
        self.running_max = 0;
        let ids: Vec<_> = self.files.keys().copied().collect();
        for id in ids {
            self.over(now, id, Err(TransferError::here(FileErrorKind::ConnectionLost, "")));
        }
        self.frames.clear();
    }

    fn over(&mut self, now: Time, id: u32, result: Result<(), TransferError>) {
        if let Some(file) = self.files.remove(&id) {
            // What has come is worth keeping.
            let receiving = file.phase == Phase::Receiving && !file.writing;
            if receiving && !file.buffer.is_empty() {
                let (offset, bytes, anew) = (file.written, file.buffer, file.anew);
                self.acts.push_back(RecvAct::Write { id, offset, anew, bytes });
            }
            self.acts.push_back(RecvAct::Ended { id, result });
            self.open_next(now);
        }
    }

    /// Has those opened that wait, as many as may run.
    fn open_next(&mut self, now: Time) {
        let runs = |file: &&mut Receiving| matches!(file.phase, Phase::Opening | Phase::Receiving);
        let running = self.files.values_mut().filter(runs).count();
        let waiting = self.files.iter_mut().filter(|(_, file)| file.phase == Phase::Waiting);
        for (id, file) in waiting.take(self.running_max.saturating_sub(running)) {
            file.phase = Phase::Opening;
            file.go_on(&self.pace, now);
            self.acts.push_back(RecvAct::Open { id: *id });
        }
    }

    /// It can be written; `have` bytes are there, with that digest.
    pub fn handle_opened(&mut self, now: Time, id: u32, have: u64, digest: Digest) {
        let window = self.window(1);
        let Some(file) = self.files.get_mut(&id).filter(|it| it.phase == Phase::Opening) else {
            return;
        };
        let have = have.min(file.bytes);
        file.phase = Phase::Receiving;
        (file.have, file.at, file.written) = (have, have, have);
        file.credit = have.saturating_add(window);
        file.clock = Clock::start(&self.pace, now, have);
        self.frames.push_back(FileFrame::Accept { id, have, credit: file.credit, digest });
    }

    /// Bytes that a file may be sent ahead of what is written, with `more` than there are.
    fn window(&self, more: u64) -> u64 {
        let receiving = |file: &&Receiving| file.phase == Phase::Receiving;
        let count = self.files.values().filter(receiving).count() as u64 + more;
        (self.window_bytes / count.max(1)).max(WINDOW_BYTES_MIN)
    }

    /// What the sender says.
    ///
    /// # Errors
    /// It breaks the rules; the connection is to end.
    pub fn handle_frame(&mut self, now: Time, frame: FileFrame) -> Result<(), FrameError> {
        match frame {
            FileFrame::Offer { id, offered } => self.handle_offer(now, id, offered),
            FileFrame::End { id, bytes, digest } => {
                let Some(file) = self.known(id)? else { return Ok(()) };
                let right = file.phase == Phase::Receiving && file.end.is_none();
                if !right || bytes != file.bytes || file.at != bytes {
                    let (at, of) = (file.at, file.bytes);
                    let what = format_args!("file {id} ends at {at} of {of}");
                    return Err(FrameError::invalid(what));
                }
                file.end = Some(digest);
                (file.clock, file.held_there) = (Clock::NEVER, Hold::default());
                self.go_on_writing(now, id);
                Ok(())
            }
            FileFrame::GiveUp { id, why, text } => {
                if self.known(id)?.is_some() {
                    self.over(now, id, Err(TransferError { why, text, of_peer: true }));
                }
                Ok(())
            }
            FileFrame::SenderHolds { id, on } => {
                // Of a file that has come there is nothing to hold.
                if let Some(file) = self.known(id)?.filter(|it| it.end.is_none()) {
                    file.clock = file.clock.later(file.held_there.set(now, on));
                }
                Ok(())
            }
            _ => Err(FrameError::invalid("not what a sender says")),
        }
    }

    fn handle_offer(&mut self, now: Time, id: u32, offered: Offered) -> Result<(), FrameError> {
        if id <= self.last {
            return Err(FrameError::invalid(format_args!("file {id} was offered before")));
        }
        self.last = id;
        if self.files.len() >= OFFERS_MAX {
            let why = FileErrorKind::Busy;
            let text = format!("{OFFERS_MAX} offers are not finished");
            self.frames.push_back(FileFrame::Refuse { id, why, text });
            return Ok(());
        }
        let file = Receiving {
            phase: Phase::Offered,
            bytes: offered.bytes,
            have: 0,
            at: 0,
            written: 0,
            credit: 0,
            told: now,
            buffer: Vec::new(),
            spare: Vec::new(),
            writing: false,
            begun: false,
            anew: false,
            end: None,
            held: false,
            held_there: Hold::default(),
            clock: Clock::start(&self.pace, now, 0),
        };
        self.files.insert(id, file);
        self.acts.push_back(RecvAct::Offered { id, offered });
        Ok(())
    }

    /// A file that was offered; nothing if it is over here, which its sender may not know yet.
    fn known(&mut self, id: u32) -> Result<Option<&mut Receiving>, FrameError> {
        if id == 0 || id > self.last {
            return Err(FrameError::invalid(format_args!("file {id} was not offered")));
        }
        Ok(self.files.get_mut(&id))
    }

    /// Bytes of a file.
    ///
    /// # Errors
    /// They stand where none may come, or are more than may come; or there is no memory for them.
    pub fn handle_data(&mut self, id: u32, offset: u64, bytes: &[u8]) -> Result<(), FrameError> {
        let Some(file) = self.known(id)? else { return Ok(()) };
        let first = file.have > 0 && file.at == file.have;
        if first && offset == 0 {
            // What was there is not what is sent, and no credit for it.
            (file.at, file.written, file.anew) = (0, 0, true);
            file.credit -= file.have;
            file.clock = file.clock.restarted();
        }
        let end = offset.saturating_add(bytes.len() as u64);
        let right = file.phase == Phase::Receiving && file.end.is_none() && offset == file.at;
        if !right || end > file.bytes || end > file.credit {
            let (at, most) = (file.at, file.credit.min(file.bytes));
            let what =
                format_args!("bytes {offset} to {end} of file {id}, {at} to {most} may come");
            return Err(FrameError::invalid(what));
        }
        if first {
            file.have = 0;
        }
        file.at = end;
        try_extend(&mut file.buffer, bytes)
            .map_err(|OutOfMemory(bytes)| FrameError::OutOfMemory { bytes: bytes as u64 })
    }

    /// All that has come in this turn may be written.
    pub fn write(&mut self) {
        let has_some = |(_, file): &(&u32, &Receiving)| !file.writing && !file.buffer.is_empty();
        let ids: Vec<_> = self.files.iter().filter(has_some).map(|(id, _)| *id).collect();
        for id in ids {
            self.write_on(id);
        }
    }

    /// Has what has come written, or the file stored if that is all.
    fn write_on(&mut self, id: u32) {
        let Some(file) = self.files.get_mut(&id) else { return };
        if file.writing || file.phase != Phase::Receiving {
            return;
        }
        if !file.buffer.is_empty() {
            file.writing = true;
            let spare = std::mem::take(&mut file.spare);
            let (offset, bytes) = (file.written, std::mem::replace(&mut file.buffer, spare));
            let anew = std::mem::take(&mut file.anew);
            self.acts.push_back(RecvAct::Write { id, offset, anew, bytes });
        } else if let Some(digest) = file.end {
            file.phase = Phase::Finishing;
            self.acts.push_back(RecvAct::Store { id, digest });
        }
    }

    /// Bytes of a file are written, of those that were asked for. Their memory may come back.
    pub fn handle_written(&mut self, now: Time, id: u32, count: u64, memory: Vec<u8>) {
        let window = self.window(0);
        let Some(file) = self.files.get_mut(&id) else { return };
        file.writing = false;
        file.written += count;
        if !std::mem::replace(&mut file.begun, true) {
            file.go_on(&self.pace, now);
        }
        file.spare = memory;
        file.spare.clear();
        let written = file.written;
        let credit = written.saturating_add(window).max(file.credit);
        // Not each time: a quarter of the window is soon enough. But a sender on a slow line has to hear that
        // it gets on.
        let much = credit - file.credit >= window / 4 && file.credit < file.bytes;
        if much || now.since(file.told) >= TOLD_EVERY {
            (file.credit, file.told) = (credit, now);
            self.frames.push_back(FileFrame::Credit { id, written, credit });
        }
        self.acts.push_back(RecvAct::Progress { id, written });
        self.go_on_writing(now, id);
    }

    /// The same, and has another one opened in place of a file of which all has come.
    fn go_on_writing(&mut self, now: Time, id: u32) {
        self.write_on(id);
        if self.files.get(&id).is_some_and(|file| file.phase == Phase::Finishing) {
            self.open_next(now);
        }
    }

    /// A file is in its place, and its sender is told.
    pub fn handle_stored(&mut self, now: Time, id: u32) {
        let Some(file) = self.files.get(&id).filter(|it| it.phase == Phase::Finishing) else {
            return;
        };
        self.frames.push_back(FileFrame::Done { id, bytes: file.bytes });
        self.over(now, id, Ok(()));
    }

    /// The next frame to send.
    pub fn poll_frame(&mut self) -> Option<FileFrame> {
        self.frames.pop_front()
    }

    /// What is to be done, or known.
    pub fn poll_act(&mut self) -> Option<RecvAct> {
        self.acts.pop_front()
    }

    /// When to look again whether something is too slow.
    pub fn next_due(&self) -> Time {
        self.files.values().map(|file| file.due(&self.pace)).min().unwrap_or(Time::NEVER)
    }

    /// Time has come to [`next_due`](Self::next_due).
    pub fn handle_time(&mut self, now: Time) {
        let share = self.files.values().filter(|it| it.phase == Phase::Receiving).count();
        let mut slow = Vec::new();
        for (id, file) in &mut self.files {
            if file.due(&self.pace) > now {
                continue;
            }
            if file.held_there.is_on() {
                slow.push((*id, format!("held for {:?} in all", self.pace.hold)));
                continue;
            }
            // Who waits for our disk, or for us to go on, is not slow.
            let ours = file.held || file.at == file.credit || file.writing;
            if file.phase == Phase::Receiving && ours {
                file.clock = Clock::stall(&self.pace, now, file.at);
                continue;
            }
            let left = file.bytes - file.at;
            let next = match file.phase {
                Phase::Receiving => file.clock.next(&self.pace, now, file.at, left, share),
                _ => None,
            };
            match next {
                Some(clock) => file.clock = clock,
                None => slow.push((*id, format!("too little came in {:?}", self.pace.stall))),
            }
        }
        for (id, text) in slow {
            self.refuse(now, id, FileErrorKind::TimedOut, &text);
        }
    }
}

impl Receiving {
    /// When it is to be looked at. While its sender holds it, no other time runs.
    fn due(&self, pace: &Pace) -> Time {
        if self.held_there.is_on() { self.held_there.due(pace) } else { self.clock.due() }
    }

    /// It stops or goes on: its time begins anew, unless all of it has come.
    fn go_on(&mut self, pace: &Pace, now: Time) {
        if self.phase == Phase::Receiving && self.end.is_none() {
            self.clock = Clock::stall(pace, now, self.at);
        }
    }
}
