//! Files that are sent as they are: read where they are not at hand, and looked at when they are out.

use super::Worker;
use super::connection::Connection;
use super::core::ending::How;
use super::lane::Callback;
use super::names::{Kind, name};
use crate::DisconnectReason;
use crate::files::{FileError, FileEvent, FileId, FileSent};
use longshore_base::{Token, panic_text};
use longshore_port::{Port, Work, WorkDone};
use std::any::Any;

/// What became of a look at a file that is out.
struct Checked {
    id: FileId,
    unchanged: Result<(), FileError>,
}

fn next_told(conn: &mut Connection) -> Option<FileSent> {
    conn.files.as_mut().filter(|_| conn.closing.is_open())?.next_told()
}

impl<P: Port> Worker<P> {
    /// Has the next piece of a file read, where that is what its connection waits for.
    pub(super) fn read_file(&mut self, token: Token) {
        let Some(conn) = self.core.conns.get_mut(token) else { return };
        let Some(range) = conn.send.poll_file_read(conn.filter.is_some()) else { return };
        conn.deadlines.handle_all_sent(); // it is the disk that is waited for
        self.port.start(name(Kind::Read, token), Work::Read(range));
    }

    /// A piece of a file is in memory.
    pub(super) fn file_read(&mut self, token: Token, done: WorkDone) {
        let Some(conn) = self.core.conns.get_mut(token) else { return };
        if conn.is_leaving() {
            return;
        }
        let WorkDone::Read(read) = done else { return };
        match read {
            Ok(bytes) => {
                let len = bytes.len() as u64;
                conn.send.handle_file_read(bytes);
                conn.publish_queued();
                if let Some(files) = &mut conn.files {
                    files.count(0, len);
                }
                self.core.counters().file_bytes_copied.add(len);
                self.core.mark(token);
            }
            Err(error) => self.core.end(token, DisconnectReason::from_port(error), How::Broken),
        }
    }

    /// A file is with the kernel: whether it is still what it was has to be asked of the disk.
    pub(super) fn file_out(&mut self, token: Token, id: u64) {
        let conn = self.core.conns.get_mut(token);
        let file = conn.and_then(|conn| conn.files.as_mut()?.is_out(id));
        let Some((id, source)) = file.map(|file| (file.id(), file.source.clone())) else { return };
        self.start_job(token, move || Checked { id, unchanged: source.check() });
    }

    pub(super) fn start_job<T: Any + Send>(
        &mut self,
        token: Token,
        job: impl FnOnce() -> T + Send + 'static,
    ) {
        let job = move || -> Box<dyn Any + Send> { Box::new(job()) };
        self.port.start(name(Kind::File, token), Work::Job(Box::new(job)));
    }

    /// Work with files is done.
    pub(super) fn file_work_done(&mut self, token: Token, done: WorkDone) {
        let WorkDone::Job(done) = done else { return };
        let Some(conn) = self.core.conns.get_mut(token) else { return };
        let done = match done {
            Ok(done) => done,
            Err(panic) => {
                // Whatever it had is lost with it.
                let reason = DisconnectReason::HandlerPanic(panic_text(panic));
                return self.core.end(token, reason, How::Reset);
            }
        };
        let done = match done.downcast::<Checked>() {
            Ok(checked) => {
                let Checked { id, unchanged } = *checked;
                if let Some(files) = &mut conn.files {
                    files.looked_at(id, unchanged);
                }
                while let Some(sent) = self.core.conns.get_mut(token).and_then(next_told) {
                    self.core.counters().files_sent.add(1);
                    self.call(token, Callback::File(FileEvent::Sent(sent)));
                }
                return;
            }
            Err(other) => other,
        };
        #[cfg(feature = "files")]
        self.tasks_done(token, done);
        #[cfg(not(feature = "files"))]
        drop(done);
    }
}
