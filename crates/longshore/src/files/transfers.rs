//! The transfers of one connection: who waits for what is known to the protocol, what is done with files
//! becomes tasks, and what the handler hears becomes events.

mod acts;
mod requests;

use super::error::FileError;
use super::event::{CutFile, FileDone, FileEvent, FileFailed};
use super::id::FileId;
use super::offer::{FileRequest, ListRequest};
use super::pieces::Pieces;
use super::source::FileSource;
use super::store::{FileStore, Slot, There};
use super::task::{Running, Task};
use crate::config::Limits;
use crate::server::open_files::{MayOpen, OpenFiles};
use crate::server::shared::Shared;
use crate::server::switchboard::Switchboard;
use bytes::Bytes;
use longshore_base::{FileName, Time};
use longshore_proto::FrameError;
use longshore_proto::transfer::{
    CAPABILITY_FILES, Digest, FileErrorKind, FileFrame, FilePiece, FileStream, Incoming, Last,
    Listed, Offered, Outgoing, Pace, TransferError, data_head, ping,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// A list that a peer has asked for waits while as much waits to be sent.
const ENTRIES_BELOW_BYTES: u64 = 64 * 1024;

/// How often at most is told how far a file has got.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// How long a file waits for another one that has its place, and how often it is looked.
const PLACE_WAIT: Duration = Duration::from_secs(10);
const PLACE_LOOK: Duration = Duration::from_millis(100);

/// Small tasks that go to one thread together.
const BATCH_MAX: usize = 64;

/// What is known of a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Peer {
    /// It has not said what it can do.
    Silent,
    /// And it was asked whether it is there.
    Asked,
    Takes,
    TakesNot,
}

/// A file that goes out.
#[derive(Debug)]
struct Going {
    id: FileId,
    name: String,
    /// None when all of it is read.
    source: Option<FileSource>,
    /// The peer has asked for it, and this is its place among those that are open for that.
    asked: Option<MayOpen>,
    start: u64,
    total: u64,
    /// None while a task has it.
    running: Option<Running>,
    digest: Option<Digest>,
    /// All of it is sent, whatever the receiver has.
    anew: bool,
    resumed: u64,
    written: u64,
    told: Time,
}

/// Where a file that comes in is to lie.
#[derive(Clone, Debug)]
struct Place {
    store: FileStore,
    name: FileName,
}

/// A file that comes in.
#[derive(Debug)]
struct Coming {
    id: FileId,
    offered: Offered,
    /// Once it is wanted.
    place: Option<Place>,
    /// Once it is opened: its place among the files that are open.
    may_open: Option<MayOpen>,
    /// None while a task has it.
    slot: Option<Box<Slot>>,
    /// In its place, if it lay there already.
    there: Option<Box<There>>,
    /// A task has something of it.
    busy: bool,
    /// It is over: what becomes of its slot when that comes back.
    ended: Option<bool>,
    digest: Option<Digest>,
    resumed: u64,
    written: u64,
    told: Time,
    /// Until when it waits for another one that has its place.
    waits_until: Time,
}

/// What we have asked the peer.
#[derive(Debug)]
struct Request {
    id: FileId,
    name: String,
    /// For a file; none for a list.
    place: Option<Place>,
    /// From where, and how many bytes.
    range: (u64, u64),
    /// Of a list: how many answers it has had, how many entries the last one, and the last of those.
    pages: usize,
    entries: usize,
    last_entry: String,
    due: Time,
}

/// A file that somebody at the peer may have, once it was opened.
#[derive(Debug)]
struct Serving {
    start: u64,
    bytes: u64,
    may_open: Option<MayOpen>,
}

#[derive(Debug)]
pub(crate) struct Transfers {
    peer: Peer,
    address: Option<IpAddr>,
    shared: Arc<Shared>,
    board: Arc<Switchboard>,
    stream: FileStream,
    start: Duration,
    outgoing_max: usize,
    served_max: usize,
    open_files: Arc<OpenFiles>,
    out: Outgoing,
    inn: Incoming,
    going: BTreeMap<u32, Going>,
    coming: BTreeMap<u32, Coming>,
    requests: BTreeMap<u32, Request>,
    /// Requests that nobody here waits for any more, and that the peer has yet to answer.
    late: BTreeSet<u32>,
    last_request: u32,
    last_id: u64,
    /// When something came of files of the peer last.
    heard: Time,
    /// Requests of the peer that are not answered.
    asked: BTreeMap<u32, (FileId, Option<Serving>)>,
    /// Of those, files that are being opened, and that are to be.
    opening: usize,
    to_open: VecDeque<Task>,
    /// When it is looked again whether one more may be open; for ever if nothing waits for that.
    look_again: Time,
    /// Lists that are to be made; one is made, or on its way out.
    to_list: VecDeque<Task>,
    listing: bool,
    frames: VecDeque<FileFrame>,
    pieces: Pieces,
    small: VecDeque<Task>,
    large: Vec<Task>,
    /// Files that are to be put in their places, together.
    stores: Vec<(u32, Slot, Digest)>,
    small_busy: bool,
    store_busy: bool,
    /// Files whose place another one had, and when it is looked again.
    again: VecDeque<(Time, u32)>,
    events: VecDeque<FileEvent>,
    /// How many go out, as the worker has counted them.
    pub(crate) counted_going: usize,
}

impl Transfers {
    pub(crate) fn new(shared: &Arc<Shared>, board: &Arc<Switchboard>, limits: &Limits) -> Self {
        let pace = Pace {
            start: limits.file_start,
            stall: limits.file_stall,
            rate: limits.file_rate.into(),
            hold: limits.file_hold,
        };
        let (running, window) = (limits.files_running as usize, limits.file_window_bytes);
        Self {
            peer: Peer::Silent,
            address: shared.peer_addr.ip(),
            shared: Arc::clone(shared),
            board: Arc::clone(board),
            stream: FileStream::default(),
            start: limits.file_start,
            outgoing_max: limits.files_waiting as usize,
            served_max: limits.files_served as usize,
            open_files: Arc::clone(&board.open_files),
            out: Outgoing::new(pace),
            inn: Incoming::new(pace, running, window),
            going: BTreeMap::new(),
            coming: BTreeMap::new(),
            requests: BTreeMap::new(),
            late: BTreeSet::new(),
            last_request: 0,
            last_id: 0,
            heard: Time::ZERO,
            asked: BTreeMap::new(),
            opening: 0,
            to_open: VecDeque::new(),
            look_again: Time::NEVER,
            to_list: VecDeque::new(),
            listing: false,
            frames: VecDeque::new(),
            pieces: Pieces::default(),
            small: VecDeque::new(),
            large: Vec::new(),
            stores: Vec::new(),
            small_busy: false,
            store_busy: false,
            again: VecDeque::new(),
            events: VecDeque::new(),
            counted_going: 0,
        }
    }

    /// Files that go out and are not over.
    pub(crate) fn going(&self) -> usize {
        self.going.len()
    }

    /// What of files lies in memory: to be sent, and to be written.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let entries = |frame: &FileFrame| match frame {
            FileFrame::Entries { entries, .. } => entries.iter().map(Listed::wire_bytes).sum(),
            _ => 0,
        };
        let lists: usize = if self.listing { self.frames.iter().map(entries).sum() } else { 0 };
        self.out.memory_bytes() + self.inn.memory_bytes() + lists as u64
    }

    // ---- what the handler wants

    /// Offers a part of a file.
    pub(crate) fn offer(
        &mut self,
        now: Time,
        source: FileSource,
        (start, bytes): (u64, u64),
        name: &FileName,
    ) -> Result<FileId, FileError> {
        let id = self.next_id();
        self.offer_as(now, id, source, (start, bytes), name, None)?;
        Ok(id)
    }

    fn next_id(&mut self) -> FileId {
        self.last_id += 1;
        FileId(2 * self.last_id + 1) // those that are sent as they are have the even ones
    }

    fn offer_as(
        &mut self,
        now: Time,
        id: FileId,
        source: FileSource,
        (start, bytes): (u64, u64),
        name: &FileName,
        asked: Option<(u32, Option<MayOpen>)>,
    ) -> Result<(), FileError> {
        if self.peer == Peer::TakesNot {
            return Err(FileError::new(FileErrorKind::Unsupported, ""));
        }
        if self.going.len() >= self.outgoing_max {
            let text = format_args!("limits.files_waiting = {}", self.outgoing_max);
            return Err(FileError::new(FileErrorKind::Busy, text));
        }
        let (total, modified) = (source.bytes(), source.modified_nanos());
        // What is as old as that, or older, is no file of unknown time.
        let modified = u64::try_from(modified).unwrap_or(0).max(1);
        let (request, asked) = asked.unwrap_or((0, None));
        let name = name.as_str().to_string();
        let offered = Offered { name: name.clone(), request, start, bytes, total, modified };
        let Some(number) = self.out.offer(now, offered) else {
            return Err(FileError::new(FileErrorKind::Busy, "too many files for one connection"));
        };
        let going = Going {
            id,
            name,
            source: Some(source),
            asked,
            start,
            total: bytes,
            running: Some(Running::new()),
            digest: None,
            anew: false,
            resumed: 0,
            written: 0,
            told: Time::ZERO,
        };
        self.going.insert(number, going);
        Ok(())
    }

    /// Gives a file up, whichever way it goes; says whether there is such a one.
    pub(crate) fn cancel(&mut self, now: Time, id: FileId, why: &str) -> bool {
        if let Some(number) = self.number_going(id) {
            self.out.give_up(now, number, FileErrorKind::Cancelled, why);
            return true;
        }
        // What is being put in its place is as good as there.
        let may_end = |file: &Coming| file.ended.is_none() && file.digest.is_none();
        if let Some(number) = self.number_coming(id).filter(|it| may_end(&self.coming[it])) {
            self.inn.refuse(now, number, FileErrorKind::Cancelled, why);
            return true;
        }
        let asked = self.requests.iter().find(|(_, it)| it.id == id).map(|(number, _)| *number);
        if let Some(number) = asked {
            self.ask_no_more(number, &FileError::new(FileErrorKind::Cancelled, why));
            return true;
        }
        false
    }

    /// Holds a file, whichever way it goes, or lets it go on; says whether there is such a one.
    pub(crate) fn hold(&mut self, now: Time, id: FileId, on: bool) -> bool {
        if let Some(number) = self.number_going(id) {
            self.out.hold(now, number, on);
            return true;
        }
        if let Some(number) = self.number_coming(id) {
            self.inn.hold(now, number, on);
            return true;
        }
        false
    }

    /// What the receiver has of a file is not looked at; says whether there is such a one.
    pub(crate) fn restart(&mut self, id: FileId) -> bool {
        let going = self.number_going(id).and_then(|number| self.going.get_mut(&number));
        going.map(|file| file.anew = true).is_some()
    }

    /// Bounds how fast a file goes out; says whether there is such a one.
    pub(crate) fn set_rate(&mut self, now: Time, id: FileId, bytes: u64) -> bool {
        let Some(number) = self.number_going(id) else { return false };
        self.out.set_rate(now, number, bytes);
        true
    }

    /// The number of a file that goes out and is not over: the handler may not have heard of its end yet.
    fn number_going(&self, id: FileId) -> Option<u32> {
        let of = |(number, file): &(&u32, &Going)| file.id == id && self.out.contains(**number);
        self.going.iter().find(of).map(|(number, _)| *number)
    }

    /// The same of one that comes in.
    fn number_coming(&self, id: FileId) -> Option<u32> {
        let of = |(number, file): &(&u32, &Coming)| file.id == id && self.inn.contains(**number);
        self.coming.iter().find(of).map(|(number, _)| *number)
    }

    // ---- what the peer says

    /// Bytes that belong to files, as the codec cut them.
    ///
    /// # Errors
    /// They break the rules.
    pub(crate) fn handle_bytes(&mut self, now: Time, bytes: &[u8]) -> Result<(), FrameError> {
        match self.stream.piece(bytes)? {
            None => Ok(()),
            Some(FilePiece::Data { id, offset, bytes }) => {
                self.heard = now;
                self.inn.handle_data(id, offset, bytes)
            }
            Some(FilePiece::Pong) => {
                if self.peer == Peer::Asked {
                    self.hello(now, false); // it would have said so before
                }
                Ok(())
            }
            Some(FilePiece::Hello(bits)) => {
                self.hello(now, bits & CAPABILITY_FILES != 0);
                Ok(())
            }
            Some(FilePiece::Frame(frame)) => self.handle_frame(now, frame),
        }
    }

    fn hello(&mut self, now: Time, takes: bool) {
        self.peer = if takes { Peer::Takes } else { Peer::TakesNot };
        if !takes {
            for number in self.going.keys() {
                self.out.give_up(now, *number, FileErrorKind::Unsupported, "");
            }
            let numbers: Vec<_> = self.requests.keys().copied().collect();
            for number in numbers {
                self.unanswered(number, &FileError::new(FileErrorKind::Unsupported, ""));
            }
            self.frames.clear();
            self.listing = false;
        }
    }

    fn handle_frame(&mut self, now: Time, frame: FileFrame) -> Result<(), FrameError> {
        self.peer = Peer::Takes; // who says such a thing does
        if matches!(
            frame,
            FileFrame::Offer { .. } | FileFrame::Entries { .. } | FileFrame::No { .. }
        ) {
            self.heard = now;
        }
        match frame {
            FileFrame::Get { request, start, bytes, name } => {
                let id = self.peer_asks(request)?;
                let way = (Arc::clone(&self.shared), Arc::clone(&self.board));
                let request = FileRequest::new(way, id, request, name, (start, bytes));
                self.events.push_back(FileEvent::Asked(request));
                Ok(())
            }
            FileFrame::List { request, name, after } => {
                self.peer_asks(request)?;
                let way = (Arc::clone(&self.shared), Arc::clone(&self.board));
                let request = ListRequest::new(way, request, (name, after));
                self.events.push_back(FileEvent::ListAsked(request));
                Ok(())
            }
            FileFrame::Entries { request, last, entries } => {
                self.entries(now, request, last, entries)
            }
            FileFrame::No { request, why, text } => {
                let error = FileError::of_peer(why, &text);
                self.late.remove(&request);
                self.unanswered(request, &error);
                Ok(())
            }
            FileFrame::Offer { .. }
            | FileFrame::End { .. }
            | FileFrame::GiveUp { .. }
            | FileFrame::SenderHolds { .. } => self.inn.handle_frame(now, frame),
            _ => self.out.handle_frame(now, frame),
        }
    }

    // ---- what leaves

    /// The next frame that is no chunk, where `queued` bytes wait to be sent. Nothing before the peer has
    /// said that it takes files.
    pub(crate) fn poll_frame(&mut self, queued: u64) -> Option<Bytes> {
        if self.peer == Peer::Silent && (self.going() > 0 || !self.frames.is_empty()) {
            self.peer = Peer::Asked;
            return Some(ping());
        }
        if self.peer != Peer::Takes {
            return None;
        }
        let frame = self.out.poll_frame().or_else(|| self.inn.poll_frame());
        let frame = frame.or_else(|| {
            let is_list = matches!(self.frames.front(), Some(FileFrame::Entries { .. }));
            if is_list && queued >= ENTRIES_BELOW_BYTES { None } else { self.frames.pop_front() }
        })?;
        if matches!(&frame, FileFrame::Entries { last, .. } if *last != Last::No) {
            self.listing = false; // the next one may be made
        }
        Some(frame.to_bytes())
    }

    /// Whether a list is to be made.
    pub(crate) fn has_lists(&self) -> bool {
        !self.listing && !self.to_list.is_empty()
    }

    /// The next chunk: its head, and its bytes.
    pub(crate) fn poll_chunk(&mut self, now: Time) -> Option<(Bytes, Bytes)> {
        if self.peer != Peer::Takes {
            return None;
        }
        let chunk = self.out.poll_chunk(now)?;
        Some((data_head(chunk.id, chunk.offset, chunk.bytes.len()), chunk.bytes))
    }

    /// What the handler is to hear next. Of files that a peer has asked for, it is their end.
    pub(crate) fn poll_event(&mut self) -> Option<FileEvent> {
        self.events.pop_front()
    }

    // ---- time, and the end

    pub(crate) fn next_due(&self) -> Time {
        let heard_by = self.heard_by();
        let requests = self.requests.values().map(|request| request.due.max(heard_by)).min();
        let again = self.again.front().map_or(Time::NEVER, |(at, _)| *at);
        let due = self.out.next_due().min(self.inn.next_due()).min(again).min(self.look_again);
        due.min(requests.unwrap_or(Time::NEVER))
    }

    /// Until then a peer that sends anything of files has time to answer what we asked.
    fn heard_by(&self) -> Time {
        if self.heard == Time::ZERO { Time::ZERO } else { self.heard + self.start }
    }

    pub(crate) fn handle_time(&mut self, now: Time) {
        self.out.handle_time(now);
        self.inn.handle_time(now);
        let heard_by = self.heard_by();
        let late = self.requests.iter().filter(|(_, it)| it.due.max(heard_by) <= now);
        let late: Vec<_> = late.map(|(number, _)| *number).collect();
        for number in late {
            let why = TransferError::here(FileErrorKind::TimedOut, "no answer");
            let error = self.told_error(why);
            self.ask_no_more(number, &error);
        }
    }

    /// The connection is over: files that nobody was told of, and what is still to be done.
    pub(crate) fn close(&mut self, now: Time) -> (Vec<CutFile>, Vec<Task>) {
        self.out.close(now);
        self.inn.close(now);
        self.step(now, 1);
        let lost = FileError::new(FileErrorKind::ConnectionLost, "");
        let numbers: Vec<_> = self.requests.keys().copied().collect();
        for number in numbers {
            self.unanswered(number, &lost);
        }
        let cut = self.events.drain(..).filter_map(|event| match event {
            FileEvent::Done(FileDone { id, .. }) | FileEvent::Failed(FileFailed { id, .. }) => {
                Some(CutFile { id, sent: false })
            }
            _ => None,
        });
        let cut = cut.collect();
        let keeps = |task: &Task| matches!(task, Task::Write { .. } | Task::GiveUp { .. });
        let left = std::mem::take(&mut self.large).into_iter().chain(self.small.drain(..));
        let mut tasks: Vec<_> = left.filter(keeps).collect();
        // What is whole is put in its place, though nobody can be told.
        let files = std::mem::take(&mut self.stores);
        if !files.is_empty() {
            tasks.push(Task::Store { files });
        }
        (cut, tasks)
    }
}

impl Coming {
    fn new(id: FileId, offered: Offered, place: Option<Place>) -> Self {
        Self {
            id,
            offered,
            place,
            may_open: None,
            slot: None,
            there: None,
            busy: false,
            ended: None,
            digest: None,
            resumed: 0,
            written: 0,
            told: Time::ZERO,
            waits_until: Time::NEVER,
        }
    }
}
