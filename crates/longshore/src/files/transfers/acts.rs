//! What has happened becomes tasks and events, and what became of tasks is told to the protocol.

use super::{
    BATCH_MAX, Coming, Going, PLACE_LOOK, PLACE_WAIT, PROGRESS_EVERY, Peer, Place, Request,
    Serving, Transfers,
};
use crate::files::error::FileError;
use crate::files::event::{FileDone, FileEvent, FileFailed, FileProgress, FileWay};
use crate::files::offer::FileOffer;
use crate::files::source::FileSource;
use crate::files::store::{Ready, Slot, Wanted};
use crate::files::task::{Batch, Outcome, Outcomes, ReadTask, Task};
use longshore_base::{FileName, Time};
use longshore_proto::frame::FILE_CONTROL_BYTES_MAX;
use longshore_proto::transfer::{
    FileErrorKind, FileFrame, Last, Listed, Offered, RecvAct, SendAct, TransferError,
};
use std::sync::Arc;

impl Transfers {
    /// Makes tasks and events of what has happened. `piece` is how much of a file is read at a time.
    pub(crate) fn step(&mut self, now: Time, piece: usize) {
        self.out.set_piece(piece);
        self.inn.write();
        while self.again.front().is_some_and(|(at, _)| *at <= now) {
            let Some((_, number)) = self.again.pop_front() else { break };
            self.recv_act(now, RecvAct::Open { id: number });
        }
        while let Some(act) = self.out.poll_act() {
            self.send_act(now, act);
        }
        while let Some(act) = self.inn.poll_act() {
            self.recv_act(now, act);
        }
        self.open_more(now);
    }

    /// Opens files that the peer has asked for, as many as may be.
    fn open_more(&mut self, now: Time) {
        self.look_again = Time::NEVER;
        while !self.to_open.is_empty() && self.served() < self.served_max {
            let Some(Task::Open { request, .. }) = self.to_open.front() else { return };
            let Some((_, Some(serving))) = self.asked.get_mut(request) else {
                self.to_open.pop_front(); // nobody waits for it
                continue;
            };
            serving.may_open = self.open_files.take(self.address);
            if serving.may_open.is_none() {
                self.look_again = now + PLACE_LOOK; // others give theirs on
                return;
            }
            self.opening += 1;
            self.small.extend(self.to_open.pop_front());
        }
    }

    fn send_act(&mut self, now: Time, act: SendAct) {
        match act {
            SendAct::Prove { id, have, digest } => {
                let Some(going) = self.going.get_mut(&id) else { return };
                if going.anew {
                    return self.out.handle_proved(now, id, have, false);
                }
                let (Some(source), start) = (going.source.clone(), going.start) else { return };
                going.running = None;
                self.large.push(Task::Prove { number: id, source, start, have, digest });
            }
            SendAct::Read { id, offset, len, last } => {
                let Some(going) = self.going.get_mut(&id) else { return };
                let Some(source) = going.source.clone() else { return };
                let Some(running) = going.running.take() else { return };
                let at = going.start + offset;
                let pieces = self.pieces.clone();
                let read = ReadTask { number: id, source, at, len, last, running, pieces };
                self.task(Task::Read(Box::new(read)));
            }
            SendAct::Progress { id, written } => {
                let Some(going) = self.going.get_mut(&id) else { return };
                going.written = written;
                if now.since(going.told) >= PROGRESS_EVERY {
                    going.told = now;
                    let (id, resumed, total) = (going.id, going.resumed, going.total);
                    let way = FileWay::Out;
                    let told = FileProgress { id, way, bytes: written, total, resumed };
                    self.events.push_back(FileEvent::Progress(told));
                }
            }
            SendAct::Ended { id, result } => {
                let Some(going) = self.going.remove(&id) else { return };
                let Going { id, name, total, resumed, written, digest, .. } = going;
                let way = FileWay::Out;
                self.events.push_back(match (result, digest) {
                    (Ok(()), Some(digest)) => {
                        FileEvent::Done(FileDone { id, way, name, bytes: total, resumed, digest })
                    }
                    (Ok(()), None) => unreachable!("a file is not over before its digest is known"),
                    (Err(error), _) => {
                        let error = self.told_error(error);
                        FileEvent::Failed(FileFailed { id, way, name, error, bytes: written })
                    }
                });
            }
        }
    }

    /// What a handler is told of an error; of a peer that never said what it can do, that.
    pub(super) fn told_error(&self, error: TransferError) -> FileError {
        let mut error = FileError::from(error);
        if matches!(self.peer, Peer::Silent | Peer::Asked) && error.kind == FileErrorKind::TimedOut
        {
            error.kind = FileErrorKind::Unsupported;
        }
        error
    }

    fn recv_act(&mut self, now: Time, act: RecvAct) {
        match act {
            RecvAct::Offered { id, offered } => self.offered(now, id, offered),
            RecvAct::Open { id } => {
                let Some(coming) = self.coming.get_mut(&id) else { return };
                if coming.ended.is_some() {
                    return;
                }
                let Some(Place { store, name }) = coming.place.clone() else { return };
                if coming.may_open.is_none() {
                    coming.may_open = self.open_files.take(self.address);
                }
                if coming.may_open.is_none() {
                    let text = "as many files are open as may be";
                    return self.begun(now, id, Err(FileError::new(FileErrorKind::Busy, text)));
                }
                let Offered { start, bytes, total, modified, .. } = coming.offered;
                let wanted = Wanted { bytes, start, total, modified };
                coming.busy = true;
                let peer = self.address;
                self.task(Task::Begin { number: id, store, peer, name, wanted });
            }
            RecvAct::Write { id, offset, anew, bytes } => {
                let Some(coming) = self.coming.get_mut(&id) else { return };
                if let Some(there) = coming.there.take() {
                    let FileError { kind, text, .. } = there.is_another();
                    return self.inn.refuse(now, id, kind, &text);
                }
                let Some(slot) = coming.slot.take() else { return };
                coming.busy = true;
                if anew {
                    coming.resumed = 0;
                }
                self.task(Task::Write { number: id, slot, offset, anew, bytes });
            }
            RecvAct::Store { id, digest } => {
                let Some(coming) = self.coming.get_mut(&id) else { return };
                if let Some(there) = coming.there.take() {
                    (coming.busy, coming.digest) = (true, Some(digest));
                    return self.large.push(Task::Confirm { number: id, there, digest });
                }
                let Some(slot) = coming.slot.take() else { return };
                (coming.busy, coming.digest) = (true, Some(digest));
                self.stores.push((id, *slot, digest));
            }
            RecvAct::Progress { id, written } => {
                let Some(coming) = self.coming.get_mut(&id) else { return };
                coming.written = written;
                if now.since(coming.told) >= PROGRESS_EVERY {
                    coming.told = now;
                    let (id, resumed, total) = (coming.id, coming.resumed, coming.offered.bytes);
                    let way = FileWay::In;
                    let told = FileProgress { id, way, bytes: written, total, resumed };
                    self.events.push_back(FileEvent::Progress(told));
                }
            }
            RecvAct::Ended { id, result } => self.recv_ended(id, &result),
        }
    }

    fn offered(&mut self, now: Time, number: u32, offered: Offered) {
        if offered.request == 0 {
            let id = self.next_id();
            self.coming.insert(number, Coming::new(id, offered.clone(), None));
            let way = (Arc::clone(&self.shared), Arc::clone(&self.board));
            let offer = FileOffer::new(way, id, number, offered);
            self.events.push_back(FileEvent::Offered(offer));
            return;
        }
        self.late.remove(&offered.request);
        let asked = self.requests.get(&offered.request);
        if let Some(Request { id, place: Some(place), range: (start, bytes), .. }) = asked {
            let (id, place) = (*id, place.clone());
            let all =
                if *bytes == u64::MAX { offered.total.checked_sub(*start) } else { Some(*bytes) };
            let right = offered.start == *start && Some(offered.bytes) == all;
            let (from, count) = (offered.start, offered.bytes);
            self.requests.remove(&offered.request);
            self.coming.insert(number, Coming::new(id, offered, Some(place)));
            if right {
                self.inn.accept(now, number);
            } else {
                let text = format!("not what was asked for: {count} bytes from {from}");
                self.inn.refuse(now, number, FileErrorKind::BadRange, &text);
            }
        } else {
            let text = "nobody asks for it any more";
            self.inn.refuse(now, number, FileErrorKind::Cancelled, text);
        }
    }

    fn recv_ended(&mut self, number: u32, result: &Result<(), TransferError>) {
        let Some(coming) = self.coming.get_mut(&number) else { return };
        let name = coming.place.as_ref().map_or(&coming.offered.name[..], |it| it.name.as_str());
        let (id, way, name) = (coming.id, FileWay::In, name.to_string());
        let event = match (result, coming.digest) {
            (Ok(()), Some(digest)) => {
                let (bytes, resumed) = (coming.offered.bytes, coming.resumed);
                FileEvent::Done(FileDone { id, way, name, bytes, resumed, digest })
            }
            (Ok(()), None) => unreachable!("a file is not stored before its digest is known"),
            (Err(error), _) => {
                let error = FileError::from(error.clone());
                FileEvent::Failed(FileFailed { id, way, name, error, bytes: coming.written })
            }
        };
        // What was changed, or is not what was sent, is of no use to anybody.
        let keep = !matches!(
            result,
            Err(error) if matches!(
                error.why,
                FileErrorKind::SourceChanged | FileErrorKind::DigestMismatch
            )
        );
        coming.ended = Some(keep);
        let slot = coming.slot.take();
        if !coming.busy {
            self.coming.remove(&number);
        }
        if let Some(slot) = slot {
            self.small.push_back(Task::GiveUp { slot, keep });
        }
        self.events.push_back(event);
    }

    fn task(&mut self, task: Task) {
        if task.is_small() {
            self.small.push_back(task);
        } else {
            self.large.push(task);
        }
    }

    /// What is to be done next, together: on another thread, all in order. Its outcomes go to
    /// [`handle`](Self::handle).
    pub(crate) fn poll_tasks(&mut self) -> Option<Batch> {
        if !self.listing {
            let next = self.to_list.pop_front();
            self.listing = next.is_some();
            self.large.extend(next);
        }
        if let Some(large) = self.large.pop() {
            return Some(Batch { small: false, tasks: vec![large] });
        }
        if !self.small_busy && !self.small.is_empty() {
            self.small_busy = true;
            let count = self.small.len().min(BATCH_MAX);
            return Some(Batch { small: true, tasks: self.small.drain(..count).collect() });
        }
        if !self.store_busy && !self.stores.is_empty() {
            self.store_busy = true;
            let files = std::mem::take(&mut self.stores);
            return Some(Batch { small: false, tasks: vec![Task::Store { files }] });
        }
        None
    }

    /// What became of tasks that were done together.
    pub(crate) fn handle(&mut self, now: Time, done: Outcomes) {
        self.small_busy &= !done.small;
        self.heard = now; // what our own disk takes is not the peer's time
        for outcome in done.outcomes {
            self.outcome(now, outcome);
        }
    }

    fn outcome(&mut self, now: Time, outcome: Outcome) {
        match outcome {
            Outcome::Proved { number, have, equal, running } => {
                if let Some(going) = self.going.get_mut(&number) {
                    going.running = Some(running);
                    (going.resumed, going.written) = if equal { (have, have) } else { (0, 0) };
                    self.out.handle_proved(now, number, have, equal);
                }
            }
            Outcome::Read { number, read: Ok((bytes, running, digest)) } => {
                if let Some(going) = self.going.get_mut(&number) {
                    (going.running, going.digest) = (Some(running), digest);
                    if digest.is_some() {
                        (going.running, going.source, going.asked) = (None, None, None); // it is read
                    }
                    self.out.handle_read(now, number, bytes, digest);
                }
            }
            Outcome::Read { number, read: Err(error) } => {
                self.out.give_up(now, number, error.kind, &error.text);
            }
            Outcome::Opened { request, opened } => self.opened(now, request, opened),
            Outcome::Listed { request, listed: Ok((listed, more)) } => {
                self.listed(request, listed, more);
            }
            Outcome::Listed { request, listed: Err(error) } => {
                self.listing = false;
                self.no(request, error.kind, &error.text);
            }
            Outcome::Begun { number, begun } => self.begun(now, number, begun),
            Outcome::Written { number, slot, bytes, written } => {
                if let Some(slot) = self.came_back(number, slot) {
                    let count = bytes.len() as u64;
                    if let Some(coming) = self.coming.get_mut(&number) {
                        coming.slot = Some(slot);
                    }
                    match written {
                        Ok(()) => self.inn.handle_written(now, number, count, bytes),
                        Err(error) => self.inn.refuse(now, number, error.kind, &error.text),
                    }
                }
            }
            Outcome::Stored { store, files } => {
                self.store_busy &= !store;
                for (number, stored) in files {
                    let Some(coming) = self.coming.get_mut(&number) else { continue };
                    coming.busy = false;
                    if coming.ended.is_some() {
                        self.coming.remove(&number); // it was given up too late
                        continue;
                    }
                    match stored {
                        Ok(_) => self.inn.handle_stored(now, number),
                        Err(error) => self.inn.refuse(now, number, error.kind, &error.text),
                    }
                }
            }
            Outcome::Nothing => {}
        }
    }

    /// A slot comes back from a task: it goes on, unless its file is over.
    fn came_back(&mut self, number: u32, slot: Box<Slot>) -> Option<Box<Slot>> {
        let coming = self.coming.get_mut(&number)?;
        coming.busy = false;
        let Some(keep) = coming.ended else { return Some(slot) };
        self.coming.remove(&number);
        self.small.push_back(Task::GiveUp { slot, keep });
        None
    }

    fn begun(&mut self, now: Time, number: u32, begun: Result<Ready, FileError>) {
        match begun {
            Ok(Ready::There(there)) => {
                let Some(coming) = self.coming.get_mut(&number) else { return };
                coming.busy = false;
                if coming.ended.is_some() {
                    self.coming.remove(&number);
                    return;
                }
                let (have, digest) = (there.bytes(), there.digest());
                (coming.resumed, coming.written) = (have, have);
                coming.there = Some(there);
                self.inn.handle_opened(now, number, have, digest);
            }
            Ok(Ready::Slot(slot)) => {
                let (have, digest) = (slot.have(), slot.digest());
                let Some(slot) = self.came_back(number, slot) else { return };
                if let Some(coming) = self.coming.get_mut(&number) {
                    coming.slot = Some(slot);
                    (coming.resumed, coming.written) = (have, have);
                    self.inn.handle_opened(now, number, have, digest);
                }
            }
            Err(error) => {
                let Some(coming) = self.coming.get_mut(&number) else { return };
                coming.busy = false;
                if coming.ended.is_some() {
                    self.coming.remove(&number);
                    return;
                }
                // Perhaps that is what a connection has left that was lost, and that this one goes on with.
                coming.waits_until = coming.waits_until.min(now + PLACE_WAIT);
                if error.kind == FileErrorKind::Busy && now < coming.waits_until {
                    self.again.push_back((now + PLACE_LOOK, number));
                } else {
                    self.inn.refuse(now, number, error.kind, &error.text);
                }
            }
        }
    }

    fn opened(
        &mut self,
        now: Time,
        request: u32,
        opened: Result<(FileSource, FileName), FileError>,
    ) {
        self.opening -= 1;
        let Some((id, Some(serving))) = self.asked.get_mut(&request) else { return };
        let (id, may_open) = (*id, serving.may_open.take());
        let Serving { start, bytes, .. } = *serving;
        let offered = opened.and_then(|(source, name)| {
            let left = source.bytes().checked_sub(start);
            let bytes = if bytes == u64::MAX {
                left
            } else {
                left.filter(|it| *it >= bytes).map(|_| bytes)
            };
            let Some(bytes) = bytes else {
                let text = format_args!("it has {} bytes", source.bytes());
                return Err(FileError::new(FileErrorKind::BadRange, text));
            };
            self.offer_as(now, id, source, (start, bytes), &name, Some((request, may_open)))
        });
        match offered {
            Ok(()) => drop(self.asked.remove(&request)),
            Err(error) => self.no(request, error.kind, &error.text),
        }
    }

    fn listed(&mut self, request: u32, listed: Vec<Listed>, more: bool) {
        if self.asked.remove(&request).is_none() {
            self.listing = false;
            return;
        }
        let (mut entries, mut bytes) = (Vec::new(), 5);
        for entry in listed {
            let more = entry.wire_bytes();
            if bytes + more > FILE_CONTROL_BYTES_MAX {
                let entries = std::mem::take(&mut entries);
                self.frames.push_back(FileFrame::Entries { request, last: Last::No, entries });
                bytes = 5;
            }
            bytes += more;
            entries.push(entry);
        }
        let last = if more { Last::More } else { Last::Yes };
        self.frames.push_back(FileFrame::Entries { request, last, entries });
    }
}
