//! What one side asks the other for, files and lists: our own questions, and the peer's.

use super::{Going, Peer, Place, Request, Serving, Transfers};
use crate::files::answer::Answer;
use crate::files::error::FileError;
use crate::files::event::{FileEvent, FileFailed, FileList, FileWay};
use crate::files::id::FileId;
use crate::files::store::{FileStore, LIST_MAX};
use crate::files::task::Task;
use longshore_base::{FileName, Time};
use longshore_proto::FrameError;
use longshore_proto::transfer::{FileErrorKind, FileFrame, Last, Listed};

/// Requests of one side that are not answered.
const REQUESTS_MAX: usize = 64;

/// Answers to one question for a list: of a million files and folders.
const LIST_PAGES_MAX: usize = 100;

impl Transfers {
    /// Asks the peer for a file.
    pub(crate) fn get(
        &mut self,
        now: Time,
        name: &FileName,
        range @ (start, bytes): (u64, u64),
        store: &FileStore,
        place: FileName,
    ) -> Result<FileId, FileError> {
        let place = Place { store: store.clone(), name: place };
        let name = name.as_str();
        let (id, request) = self.request(now, name, Some(place), range)?;
        self.frames.push_back(FileFrame::Get { request, start, bytes, name: name.into() });
        Ok(id)
    }

    /// Asks the peer what there is.
    pub(crate) fn list(
        &mut self,
        now: Time,
        folder: Option<&FileName>,
    ) -> Result<FileId, FileError> {
        let name = folder.map_or("", |name| name.as_str());
        let (id, request) = self.request(now, name, None, (0, 0))?;
        let (name, after) = (name.into(), String::new());
        self.frames.push_back(FileFrame::List { request, name, after });
        Ok(id)
    }

    pub(super) fn request(
        &mut self,
        now: Time,
        name: &str,
        place: Option<Place>,
        range: (u64, u64),
    ) -> Result<(FileId, u32), FileError> {
        if self.peer == Peer::TakesNot {
            return Err(FileError::new(FileErrorKind::Unsupported, ""));
        }
        if self.requests.len() + self.late.len() >= REQUESTS_MAX {
            let text = format_args!("{REQUESTS_MAX} requests are not answered");
            return Err(FileError::new(FileErrorKind::Busy, text));
        }
        let (number, due) = self.next_request(now);
        let id = self.next_id();
        let name = name.into();
        let (pages, entries, last_entry) = (0, 0, String::new());
        let request = Request { id, name, place, range, pages, entries, last_entry, due };
        self.requests.insert(number, request);
        Ok((id, number))
    }

    /// Its number, and when it has to be answered.
    fn next_request(&mut self, now: Time) -> (u32, Time) {
        self.last_request = self.last_request.wrapping_add(1).max(1);
        let due = if self.start.is_zero() { Time::NEVER } else { now + self.start };
        (self.last_request, due)
    }

    /// Nobody waits for the answer to what we asked. The peer still has it to give, if it was asked.
    pub(super) fn ask_no_more(&mut self, number: u32, error: &FileError) {
        let before = self.frames.len();
        self.frames.retain(|frame| match frame {
            FileFrame::Get { request, .. } | FileFrame::List { request, .. } => *request != number,
            _ => true,
        });
        if self.frames.len() == before {
            self.late.insert(number);
        }
        self.unanswered(number, error);
    }

    /// The answer to what we asked is no.
    pub(super) fn unanswered(&mut self, number: u32, error: &FileError) {
        if let Some(Request { id, name, .. }) = self.requests.remove(&number) {
            let error = error.clone();
            let failed = FileFailed { id, way: FileWay::In, name, error, bytes: 0 };
            self.events.push_back(FileEvent::Failed(failed));
        }
    }

    pub(super) fn entries(
        &mut self,
        now: Time,
        request: u32,
        last: Last,
        entries: Vec<Listed>,
    ) -> Result<(), FrameError> {
        if last != Last::No {
            self.late.remove(&request);
        }
        let asked = self.requests.get_mut(&request);
        let Some(asked) = asked.filter(|it| it.place.is_none()) else {
            return Ok(()); // it was given up
        };
        asked.entries += entries.len();
        let of_nothing = entries.is_empty() && last != Last::Yes;
        if asked.entries > LIST_MAX || asked.pages >= LIST_PAGES_MAX || of_nothing {
            let what = format_args!(
                "a list of more than {LIST_MAX} entries in an answer, of more than \
                 {LIST_PAGES_MAX} answers, or of nothing"
            );
            return Err(FrameError::invalid(what));
        }
        if let Some(entry) = entries.last() {
            asked.last_entry.clone_from(&entry.name);
        }
        let told = FileList { id: asked.id, entries, last: last == Last::Yes };
        self.events.push_back(FileEvent::Listed(told));
        if last == Last::No {
            return Ok(());
        }
        let asked = self.requests.remove(&request);
        if let Some(mut asked) = asked.filter(|_| last == Last::More) {
            let (request, due) = self.next_request(now);
            let (name, after) = (asked.name.clone(), std::mem::take(&mut asked.last_entry));
            self.frames.push_back(FileFrame::List { request, name, after });
            (asked.pages, asked.entries, asked.due) = (asked.pages + 1, 0, due);
            self.requests.insert(request, asked);
        }
        Ok(())
    }

    pub(super) fn peer_asks(&mut self, request: u32) -> Result<FileId, FrameError> {
        if request == 0 {
            return Err(FrameError::invalid("a request has the number 0"));
        }
        let id = self.next_id();
        if self.asked.len() >= REQUESTS_MAX || self.asked.insert(request, (id, None)).is_some() {
            let what = format_args!("request {request} is one too many, or not answered yet");
            return Err(FrameError::invalid(what));
        }
        Ok(id)
    }

    /// What somebody says to what the peer wants.
    pub(crate) fn answer(&mut self, now: Time, answer: Answer) {
        match answer {
            Answer::Accept { number, store, name } => {
                if let Some(coming) = self.coming.get_mut(&number) {
                    coming.place = Some(Place { store, name });
                    self.inn.accept(now, number);
                }
            }
            Answer::Refuse { number, why, text } => self.inn.refuse(now, number, why, &text),
            Answer::Serve { request, store, name, start, bytes } => {
                if let Some((_, serving @ None)) = self.asked.get_mut(&request) {
                    *serving = Some(Serving { start, bytes, may_open: None });
                    self.to_open.push_back(Task::Open { request, store, name });
                }
            }
            Answer::List { request, store, name, after } => {
                if self.asked.contains_key(&request) {
                    self.to_list.push_back(Task::List { request, store, name, after });
                }
            }
            Answer::No { request, why, text } => self.no(request, why, &text),
        }
    }

    /// Files that are open since the peer has asked for them.
    pub(super) fn served(&self) -> usize {
        let is_open = |file: &&Going| file.asked.is_some();
        self.opening + self.going.values().filter(is_open).count()
    }

    pub(super) fn no(&mut self, request: u32, why: FileErrorKind, text: &str) {
        if self.asked.remove(&request).is_some() {
            self.frames.push_back(FileFrame::No { request, why, text: text.into() });
        }
    }
}
