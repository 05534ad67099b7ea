//! The handle on a server, and what it stands for: the way to each worker, for any thread.

pub(crate) mod budget;
pub(crate) mod mailbox;
pub(crate) mod members;
pub(crate) mod notice;
#[cfg(feature = "files")]
pub(crate) mod open_files;
#[cfg(all(test, longshore_loom))]
#[path = "tests/order_model.rs"]
mod order_model;
mod sent;
pub(crate) mod shared;
pub(crate) mod source;
pub(crate) mod switchboard;
pub(crate) mod threads;
mod tick;

use crate::Result;
use crate::metrics::{LaneCounters, Snapshot};
use longshore_port::{Abilities, Addr};
use mailbox::{Cmd, Ending};
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use switchboard::{Named, Switchboard};
use threads::Threads;

pub use members::Delivered;
pub use sent::Sent;
pub use shared::{ConnId, ConnInfo};
pub use tick::Tick;
pub(crate) use tick::TickFn;

/// A running server, or one about to run. Cloning it is cheap; it works from any thread.
#[derive(Clone)]
pub struct Server(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) board: Arc<Switchboard>,
    pub(crate) local_addrs: Vec<Addr>,
    /// Known when all ports are open, which is before anybody has the server.
    pub(crate) abilities: OnceLock<Abilities>,
    lane_counters: Vec<Arc<LaneCounters>>,
    pub(crate) threads: Threads,
    drain: Duration,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("local_addrs", &self.0.local_addrs).finish_non_exhaustive()
    }
}

impl Server {
    /// Where each listener really is, in their order: the port that the system chose for port 0.
    pub fn local_addrs(&self) -> &[Addr] {
        &self.0.local_addrs
    }

    /// What the driver in use can do, and why no better one was taken.
    #[expect(clippy::missing_panics_doc, reason = "it is set before anybody has a server")]
    pub fn abilities(&self) -> &Abilities {
        self.0.abilities.get().expect("known since before the workers began")
    }

    /// How many workers handle connections.
    pub fn workers(&self) -> usize {
        self.0.board.workers
    }

    /// Stops accepting, calls each connection's `on_shutdown` when the messages that had come before
    /// are handled, at the latest after a quarter of `within`, and aborts at its end what is left.
    /// Returns at once; [`wait`](Self::wait) returns when all is over. From any
    /// thread, callbacks included. A second call with a shorter time shortens it.
    pub fn shutdown(&self, within: Duration) {
        self.0.board.push_all(|| Cmd::Shutdown { within });
    }

    /// [`shutdown`](Self::shutdown) within the time that the builder was given.
    pub fn drain(&self) {
        self.shutdown(self.0.drain);
    }

    /// Waits until the server has stopped.
    ///
    /// # Errors
    /// When a worker died: its port failed, or it panicked. On a thread of this server, in a
    /// callback for one, at once: it would wait for itself.
    pub fn wait(&self) -> Result {
        self.0.threads.join()
    }

    /// Connections that are open now.
    pub fn connection_count(&self) -> usize {
        self.0.board.open_connections()
    }

    /// All connections. A view that is a little old when it returns.
    pub fn connections(&self) -> Vec<ConnInfo> {
        self.0.board.all().iter().map(|shared| shared.info()).collect()
    }

    /// Closes the connection of that name, gracefully. [`Sent::Closed`] if it is gone already, else
    /// `Queued`: a name may be that of nobody, unlike a [`Conn`](crate::Conn).
    pub fn close(&self, id: ConnId) -> Sent {
        self.end(id, Ending::Close(None))
    }

    /// Ends the connection of that name with a reset. Answers as [`close`](Self::close).
    pub fn abort(&self, id: ConnId) -> Sent {
        self.end(id, Ending::Abort)
    }

    /// Closes all connections, gracefully; new ones are accepted as before. Says how many it asked
    /// to, those included that were closing already.
    pub fn close_all(&self) -> usize {
        let all = self.0.board.all();
        for shared in &all {
            self.0.board.push_end(shared, Ending::Close(None));
        }
        all.len()
    }

    fn end(&self, id: ConnId, ending: Ending) -> Sent {
        let Some(Named { shared, .. }) = self.0.board.find(id) else { return Sent::Closed };
        self.0.board.push_end(&shared, ending);
        Sent::Queued
    }

    /// All counters, summed over the workers.
    pub fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot::default();
        for desk in &self.0.board.desks {
            snapshot.add(&desk.counters);
        }
        snapshot.memory_bytes = self.0.board.budget.used();
        snapshot.connections = self.0.board.open_connections() as u64;
        snapshot.messages_refused += self.0.board.messages_refused.load(Ordering::Relaxed);
        snapshot.joins_refused += self.0.board.joins_refused.load(Ordering::Relaxed);
        snapshot.claims_refused += self.0.board.claims_refused.load(Ordering::Relaxed);
        snapshot.groups_refused += self.0.board.groups_refused.load(Ordering::Relaxed);
        snapshot.messages_dropped += self.0.board.messages_dropped.load(Ordering::Relaxed);
        snapshot.posts_refused += self.0.board.posts_refused.load(Ordering::Relaxed);
        snapshot.posts_skipped += self.0.board.posts_skipped.load(Ordering::Relaxed);
        snapshot.refused_by_shutdown += self.0.board.refused_by_shutdown.load(Ordering::Relaxed);
        snapshot
    }

    /// Sends of handles on any thread that were refused as full, for each listener.
    pub fn refused_sends(&self) -> Vec<u64> {
        self.0.lane_counters.iter().map(|counters| counters.read()).collect()
    }
}

impl Inner {
    pub(crate) fn new(
        board: Arc<Switchboard>,
        local_addrs: Vec<Addr>,
        lane_counters: Vec<Arc<LaneCounters>>,
        drain: Duration,
    ) -> Self {
        let threads = Threads::default();
        let abilities = OnceLock::new();
        Self { board, local_addrs, abilities, lane_counters, threads, drain }
    }
}
