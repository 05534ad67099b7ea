//! Who is in a group, worker by worker, and what became of what was sent to all of them.

use super::notice::Notice;
use super::shared::{ConnId, Shared};
use crate::sync::{AtomicUsize, Condvar, Mutex, MutexGuard};
use longshore_base::Token;
use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};

/// The untyped half of a group.
#[derive(Debug)]
pub(crate) struct Members {
    workers: Box<[OfWorker]>,
    /// Most bytes of broadcasts that may be on their way to one worker.
    pending_max: u64,
    /// Hears whenever a worker has no member any more.
    emptied: Option<Notice>,
}

/// Those of one worker.
#[derive(Debug, Default)]
struct OfWorker {
    /// Members by what was asked last, and how many they are: who has asked to join is one at once, so that
    /// who joins and then broadcasts is heard by itself.
    asked: Mutex<BTreeSet<ConnId>>,
    count: AtomicUsize,
    /// Bytes of broadcasts that are on their way to it.
    pending: AtomicU64,
    /// Their slots. Only that worker looks at it.
    slots: Mutex<Vec<Token>>,
}

impl Members {
    pub(crate) fn new(workers: usize, pending_max: u64, emptied: Option<Notice>) -> Self {
        let workers = (0..workers).map(|_| OfWorker::default()).collect();
        Self { workers, pending_max, emptied }
    }

    pub(crate) fn workers(&self) -> u16 {
        u16::try_from(self.workers.len()).expect("at most 1,024 workers")
    }

    fn of(&self, worker: u16) -> &OfWorker {
        &self.workers[usize::from(worker)]
    }

    /// A broadcast of so many bytes sets out for a worker, if it may.
    pub(crate) fn set_out(&self, worker: u16, bytes: u64) -> bool {
        let more = |sum: u64| sum.checked_add(bytes).filter(|sum| *sum <= self.pending_max);
        let pending = &self.of(worker).pending;
        pending.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    /// It has arrived, or never will.
    pub(crate) fn arrived(&self, worker: u16, bytes: u64) {
        self.of(worker).pending.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// How many a worker has, or is about to have.
    pub(crate) fn count(&self, worker: u16) -> usize {
        self.of(worker).count.load(Ordering::Relaxed)
    }

    /// A connection of a worker is to be a member. Says whether it was none.
    pub(crate) fn add(&self, worker: u16, id: ConnId) -> bool {
        let mut asked = self.asked(worker);
        let is_new = asked.insert(id);
        self.of(worker).count.store(asked.len(), Ordering::Relaxed);
        is_new
    }

    /// Counts a connection that is to join. Says whether it may, which it may not when it is closing or
    /// gone, and whether it was no member.
    pub(crate) fn expect(&self, shared: &Shared) -> (bool, bool) {
        let route = shared.route.lock().unwrap_or_else(PoisonError::into_inner);
        let may = !shared.closed.load(Ordering::Acquire);
        (may, may && self.add(*route, shared.id))
    }

    /// One of a worker is no member any more, or did not become one. Says whether it was.
    pub(crate) fn sub(&self, worker: u16, id: ConnId) -> bool {
        let mut asked = self.asked(worker);
        let was = asked.remove(&id);
        let is_empty = was && asked.is_empty();
        self.of(worker).count.store(asked.len(), Ordering::Relaxed);
        drop(asked);
        if let Some(emptied) = self.emptied.as_ref().filter(|_| is_empty) {
            emptied.tell();
        }
        was
    }

    fn asked(&self, worker: u16) -> MutexGuard<'_, BTreeSet<ConnId>> {
        self.of(worker).asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many all workers have, or are about to have.
    pub(crate) fn total(&self) -> usize {
        (0..self.workers()).map(|worker| self.count(worker)).sum()
    }

    /// The slots of a worker, for that worker.
    pub(crate) fn slots(&self, worker: u16) -> MutexGuard<'_, Vec<Token>> {
        self.of(worker).slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What became of one broadcast. The sum of all is for how many members it was meant; a worker that
/// refuses it to all of its members, or is gone, counts an excepted one with them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Delivered {
    /// Members for whom it is queued.
    pub queued: u64,
    /// Members whose queue was full: where the policy of their listener is to disconnect slow readers,
    /// they are ended. Or members of a worker for which too much waits already, of this group or by
    /// `limits.memory`: those stay.
    pub refused: u64,
    /// Members that lost a message by it, where that is the policy of their listener: this one, or an
    /// older one for it.
    pub dropped: u64,
    /// Members that were closing or gone.
    pub gone: u64,
}

/// Counts for one broadcast, until each worker has done its part.
#[derive(Debug)]
pub(crate) struct Tally {
    queued: AtomicU64,
    refused: AtomicU64,
    dropped: AtomicU64,
    gone: AtomicU64,
    /// Parts that are not done: one for each worker, and one for who gives them out.
    open: AtomicUsize,
    done: Mutex<bool>,
    wake: Condvar,
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self {
            queued: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            gone: AtomicU64::new(0),
            open: AtomicUsize::new(1),
            done: Mutex::new(false),
            wake: Condvar::new(),
        }
    }

    /// Another part is given out.
    pub(crate) fn begin(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    /// A part is done, and came to this.
    pub(crate) fn end(&self, part: Delivered) {
        self.queued.fetch_add(part.queued, Ordering::Relaxed);
        self.refused.fetch_add(part.refused, Ordering::Relaxed);
        self.dropped.fetch_add(part.dropped, Ordering::Relaxed);
        self.gone.fetch_add(part.gone, Ordering::Relaxed);
        // What was counted before is seen by who finds that this was the last.
        if self.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            *self.done() = true;
            self.wake.notify_all();
        }
    }

    fn done(&self) -> MutexGuard<'_, bool> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn poll(&self) -> Option<Delivered> {
        (self.open.load(Ordering::Acquire) == 0).then(|| Delivered {
            queued: self.queued.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
            gone: self.gone.load(Ordering::Relaxed),
        })
    }

    pub(crate) fn wait(&self) {
        let mut done = self.done();
        while !*done {
            done = self.wake.wait(done).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_is_there_when_the_last_part_is_and_adds_them_up() {
        let tally = Tally::new();
        tally.begin();
        tally.begin();
        tally.end(Delivered { queued: 2, dropped: 5, ..Delivered::default() });
        tally.end(Delivered::default());
        assert_eq!(tally.poll(), None);
        std::thread::scope(|scope| {
            scope.spawn(|| tally.end(Delivered { refused: 1, gone: 3, ..Delivered::default() }));
            tally.wait();
        });
        assert_eq!(tally.poll(), Some(Delivered { queued: 2, refused: 1, dropped: 5, gone: 3 }));
    }
}
