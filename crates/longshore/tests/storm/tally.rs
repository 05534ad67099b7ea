//! What a storm did and its handlers were told, to hold against what the server counted.

use longshore::{Closed, Server, Snapshot};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Sums over all that `on_disconnect` was told.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Told {
    /// By name, those that there were.
    reasons: BTreeMap<&'static str, u64>,
    bytes_in: u64,
    bytes_out: u64,
    bytes_discarded: u64,
    messages_in: u64,
    messages_out: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Tally {
    made: AtomicU64,
    messages: AtomicU64,
    panics: AtomicU64,
    factory_panics: AtomicU64,
    /// Tracked sends, and how many of them were told of.
    pub(crate) tracked: AtomicU64,
    pub(crate) tracked_told: AtomicU64,
    /// Files that were sent, and how many of them were told of.
    pub(crate) files: AtomicU64,
    pub(crate) files_told: AtomicU64,
    /// Posts that were queued, those of them that ran, and those that were refused.
    pub(crate) posts: AtomicU64,
    pub(crate) posts_run: AtomicU64,
    pub(crate) posts_refused: AtomicU64,
    /// Those that the server may have had nobody to count for.
    late_panics: AtomicU64,
    told: Mutex<Told>,
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

/// How connections ended, by name.
fn reasons(snapshot: &Snapshot) -> BTreeMap<&'static str, u64> {
    snapshot.disconnects().filter(|(_, count)| *count > 0).collect()
}

impl Tally {
    /// A factory made a handler.
    pub(crate) fn made<H>(&self, handler: H) -> H {
        add(&self.made);
        handler
    }

    /// `on_message` was called.
    pub(crate) fn message(&self) {
        add(&self.messages);
    }

    /// `on_disconnect` was called.
    pub(crate) fn ended(&self, closed: &Closed<'_>) {
        let mut told = self.told.lock().unwrap();
        *told.reasons.entry(closed.reason.name()).or_default() += 1;
        told.bytes_in += closed.bytes_in;
        told.bytes_out += closed.bytes_out;
        told.bytes_discarded += closed.bytes_discarded;
        told.messages_in += closed.messages_in;
        told.messages_out += closed.messages_out;
        self.tracked_told.fetch_add(closed.tracked.len() as u64, Relaxed);
        self.files_told.fetch_add(closed.files.len() as u64, Relaxed);
    }

    /// Panics in the middle of a callback.
    pub(crate) fn panic(&self, text: &'static str) -> ! {
        add(&self.panics);
        std::panic::panic_any(text)
    }

    /// Panics instead of making a handler or its filter.
    pub(crate) fn panic_in_factory(&self, text: &'static str) -> ! {
        add(&self.factory_panics);
        std::panic::panic_any(text)
    }

    /// Panics where nothing goes on, perhaps after the worker that would have counted it.
    pub(crate) fn panic_late(&self, text: &'static str) -> ! {
        add(&self.late_panics);
        std::panic::panic_any(text)
    }

    /// Holds the counters against what happened, at a time when nothing is under way.
    pub(crate) fn check(&self, server: &Server) -> Snapshot {
        let snapshot = server.snapshot();
        let told = self.told.lock().unwrap().clone();
        let ended: u64 = told.reasons.values().sum();
        let (made, open) = (self.made.load(Relaxed), server.connections().len() as u64);
        assert_eq!(made, ended + open, "handlers made, and ended or there");
        assert_eq!(snapshot.closed, ended, "closed");
        assert_eq!(reasons(&snapshot), told.reasons, "disconnects by reason");
        assert_eq!(snapshot.messages_in, self.messages.load(Relaxed), "messages");
        let factory_panics = self.factory_panics.load(Relaxed);
        let refused =
            snapshot.refused_by_factory + snapshot.refused_by_system + snapshot.refused_by_shutdown;
        let begun = snapshot.accepted + snapshot.connected;
        assert_eq!(begun, made + refused, "each admission has one end: {snapshot:?}");
        let (sure, late) =
            (self.panics.load(Relaxed) + factory_panics, self.late_panics.load(Relaxed));
        assert!((sure..=sure + late).contains(&snapshot.panics), "panics: {sure} of {snapshot:?}");
        snapshot
    }

    /// The same when all is over.
    pub(crate) fn check_end(&self, server: &Server) {
        let snapshot = self.check(server);
        assert_eq!(server.connections().len(), 0, "the directory");
        assert_eq!(server.connection_count(), 0, "connections");
        let counted = Told {
            reasons: reasons(&snapshot),
            bytes_in: snapshot.bytes_in,
            bytes_out: snapshot.bytes_out,
            bytes_discarded: snapshot.bytes_discarded,
            messages_in: snapshot.messages_in,
            messages_out: snapshot.messages_out,
        };
        assert_eq!(counted, *self.told.lock().unwrap(), "counted, and told");
        let [tracked, told] = [&self.tracked, &self.tracked_told].map(|count| count.load(Relaxed));
        assert_eq!(tracked, told, "each tracked send is told of once");
        let [files, told] = [&self.files, &self.files_told].map(|count| count.load(Relaxed));
        assert_eq!(files, told, "each file is told of once");
        let posts = [&self.posts, &self.posts_run, &self.posts_refused];
        let [posts, run, refused] = posts.map(|count| count.load(Relaxed));
        assert_eq!(posts, run + snapshot.posts_skipped, "each post runs or is skipped");
        assert_eq!(refused, snapshot.posts_refused, "refused posts");
        // Each worker may be a step behind with what it has told.
        let step = 64 << 10;
        assert!(snapshot.memory_bytes <= server.workers() as u64 * step, "{snapshot:?}");
    }
}
