//! The transfers of connections: what has happened to them, what they have to say, and their tasks, which
//! are done elsewhere.

use super::Worker;
use super::connection::Connection;
use super::lane::Callback;
use crate::files::{Batch, CutFile, FileEvent, Outcomes, Transfers};
use longshore_base::Token;
use longshore_port::Port;
use longshore_proto::connection::Message;
use std::any::Any;

/// A chunk of a file is only queued where less waits than this: so long a message waits behind files.
const FEED_BELOW_BYTES: u64 = 16 * 1024;

fn next_event(conn: &mut Connection) -> Option<FileEvent> {
    let open = conn.closing.is_open();
    conn.files.as_mut().filter(|_| open)?.transfers.as_mut()?.poll_event()
}

impl<P: Port> Worker<P> {
    /// Tasks are done.
    pub(super) fn tasks_done(&mut self, token: Token, done: Box<dyn Any + Send>) {
        let now = self.core.now;
        let Ok(outcomes) = done.downcast::<Outcomes>() else { return };
        let Some(conn) = self.core.conns.get_mut(token) else { return };
        if let Some(transfers) = conn.files.as_mut().and_then(|files| files.transfers.as_mut()) {
            transfers.handle(now, *outcomes);
            self.core.file_news(token);
        }
    }

    /// Connections with news of their files, each once.
    pub(super) fn files_turn(&mut self) {
        for _ in 0..self.core.filed.len() {
            let Some(token) = self.core.filed.pop_front() else { return };
            if let Some(conn) = self.core.conns.get_mut(token) {
                conn.facts.filed = false;
                self.step_files(token);
                self.core.mark(token);
                while let Some(event) = self.core.conns.get_mut(token).and_then(next_event) {
                    self.count_file(&event);
                    self.call(token, Callback::File(event));
                }
                self.core.rearm(token);
            }
        }
    }

    fn count_file(&self, event: &FileEvent) {
        let counters = self.core.counters();
        match event {
            FileEvent::Done(_) => counters.files_done.add(1),
            FileEvent::Failed(_) => counters.files_failed.add(1),
            _ => {}
        }
    }

    /// What has happened to the files of a connection becomes tasks, which are begun.
    fn step_files(&mut self, token: Token) {
        self.count_going(token); // the more there are, the less is read of each
        let (now, piece) = (self.core.now, self.core.piece_bytes());
        let Some(transfers) = self.transfers_at_work(token) else { return };
        transfers.step(now, piece);
        let mut batches = Vec::new();
        while let Some(batch) = transfers.poll_tasks() {
            batches.push(batch);
        }
        self.count_going(token);
        for batch in batches {
            self.start_job(token, move || batch.run());
        }
    }

    fn transfers_at_work(&mut self, token: Token) -> Option<&mut Transfers> {
        let conn = self.core.conns.get_mut(token).filter(|conn| !conn.is_leaving())?;
        conn.files.as_mut()?.transfers.as_deref_mut()
    }

    fn count_going(&mut self, token: Token) {
        let Some(transfers) = self.transfers_at_work(token) else { return };
        let after = transfers.going();
        let before = std::mem::replace(&mut transfers.counted_going, after);
        self.core.files_going = self.core.files_going + after - before;
    }

    /// Queues what the transfers of a connection have to say, and one chunk, if nothing much waits.
    pub(super) fn feed_files(&mut self, token: Token) {
        let now = self.core.now;
        let pool = &mut self.core.pool;
        let Some(conn) = self.core.conns.get_mut(token).filter(|conn| conn.is_open()) else {
            return;
        };
        let transfers = conn.files.as_mut().and_then(|files| files.transfers.as_mut());
        let Some(transfers) = transfers else { return };
        let mut fed = 0;
        let mut queue = |bytes| {
            let message = Message { may_drop: false, ..Message::new(bytes) };
            conn.send.handle_message(message, pool);
            conn.send.queued()
        };
        let mut queued = queue(bytes::Bytes::new());
        while let Some(frame) = transfers.poll_frame(queued) {
            queued = queue(frame);
        }
        while queued < FEED_BELOW_BYTES {
            let Some((head, bytes)) = transfers.poll_chunk(now) else { break };
            fed += bytes.len() as u64;
            queue(head);
            queued = queue(bytes);
            while let Some(frame) = transfers.poll_frame(queued) {
                queued = queue(frame); // the end of that file
            }
        }
        let lists = transfers.has_lists();
        conn.publish_queued();
        self.core.counters().file_bytes_copied.add(fed);
        if fed > 0 || lists {
            self.step_files(token); // more of them may be read, or listed
            self.core.rearm(token);
        }
    }

    /// Something of the files of a connection may be due.
    pub(super) fn file_time(&mut self, token: Token) {
        let now = self.core.now;
        let Some(conn) = self.core.conns.get_mut(token).filter(|conn| conn.is_open()) else {
            return;
        };
        let transfers = conn.files.as_mut().and_then(|files| files.transfers.as_mut());
        if let Some(transfers) = transfers.filter(|transfers| transfers.next_due() <= now) {
            transfers.handle_time(now);
            self.core.file_news(token);
        }
    }

    /// The connection is gone: which files nobody was told of. What came of them is kept.
    pub(super) fn close_files(
        &mut self,
        token: Token,
        conn: &mut Connection,
        sent: &[u64],
    ) -> Vec<CutFile> {
        let Some(mut files) = conn.files.take() else { return Vec::new() };
        let mut cut = files.cut(sent);
        if let Some(mut transfers) = files.transfers.take() {
            let (lost, tasks) = transfers.close(self.core.now);
            cut.extend(lost);
            self.core.files_going -= transfers.counted_going;
            if !tasks.is_empty() {
                let batch = Batch { small: false, tasks };
                self.start_job(token, move || batch.run());
            }
        }
        cut
    }
}
