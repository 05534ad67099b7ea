//! What all threads of a server share: the way to each worker, and what is counted across them.

use super::budget::Budget;
use super::mailbox::{Broadcast, COMMAND_BYTES, Cmd, Ending, Mailbox, mail_bytes};
use super::members::{Delivered, Members};
#[cfg(feature = "files")]
use super::open_files::{OPEN_FILES, OpenFiles};
use super::shared::{ConnId, Shared};
use crate::metrics::{Counters, LogGates};
use bytes::Bytes;
use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

/// A connection in the directory.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    pub(crate) shared: Arc<Shared>,
    /// Its `LaneShared`, of whatever handler. Weak: the switchboard, which that holds on to, must
    /// not hold on to it.
    pub(crate) lane: Weak<dyn Any + Send + Sync>,
}

type Wake = Box<dyn Fn() + Send + Sync>;

/// One worker, as others see it.
#[derive(Default)]
pub(crate) struct Desk {
    pub(crate) mailbox: Mailbox,
    /// Set when the worker's port is open.
    pub(crate) wake: OnceLock<Wake>,
    /// Connections it has, those on their way included, and outgoing ones from the first attempt
    /// until they are given up: what was assigned counts at once, or a burst would all go to one.
    pub(crate) load: AtomicUsize,
    /// At least as much as its largest connection holds.
    pub(crate) largest: AtomicU64,
    pub(crate) counters: Counters,
}

impl Desk {
    /// A connection is on its way to this worker.
    pub(crate) fn add_load(&self) {
        self.load.fetch_add(1, Ordering::Relaxed);
    }

    /// It is gone.
    pub(crate) fn sub_load(&self) {
        self.load.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").field("load", &self.load).finish_non_exhaustive()
    }
}

/// Shards of the directory: connects and disconnects of different workers seldom meet.
const SHARDS: usize = 16;

/// Lock order: `Shared::route`, then a mailbox. A shard alone. No user code and no system call under
/// any.
#[derive(Debug)]
pub(crate) struct Switchboard {
    /// The workers, then the door if there is one.
    pub(crate) desks: Vec<Desk>,
    /// How many of them are workers.
    pub(crate) workers: usize,
    /// Connections of all workers, and how many there may be.
    pub(crate) connections: AtomicUsize,
    pub(crate) connections_max: usize,
    pub(crate) budget: Arc<Budget>,
    #[cfg(feature = "files")]
    pub(crate) open_files: Arc<OpenFiles>,
    /// How much is logged of what peers cause.
    pub(crate) log: LogGates,
    /// Sends of handles that were refused because a queue was full.
    pub(crate) messages_refused: AtomicU64,
    /// Joins that were refused because too many commands wait for a worker.
    pub(crate) joins_refused: AtomicU64,
    /// Claims of owners that were refused.
    pub(crate) claims_refused: AtomicU64,
    /// Groups that were not made because there are as many already as may be.
    pub(crate) groups_refused: AtomicU64,
    /// Messages that were dropped where that is the policy.
    pub(crate) messages_dropped: AtomicU64,
    /// Posts that were refused because as many wait already as may.
    pub(crate) posts_refused: AtomicU64,
    /// Posts whose connection was gone before their turn.
    pub(crate) posts_skipped: AtomicU64,
    /// Connections that were accepted and given up, since the server stops.
    pub(crate) refused_by_shutdown: AtomicU64,
    directory: [Mutex<BTreeMap<ConnId, Named>>; SHARDS],
}

impl Switchboard {
    pub(crate) fn new(workers: usize, connections_max: usize, memory_max: u64) -> Self {
        let desks = if workers == 1 { 1 } else { workers + 1 };
        Self {
            desks: (0..desks).map(|_| Desk::default()).collect(),
            workers,
            connections: AtomicUsize::new(0),
            connections_max,
            budget: Arc::new(Budget::new(memory_max)),
            #[cfg(feature = "files")]
            open_files: Arc::new(OpenFiles::new(OPEN_FILES)),
            log: LogGates::default(),
            messages_refused: AtomicU64::new(0),
            joins_refused: AtomicU64::new(0),
            claims_refused: AtomicU64::new(0),
            groups_refused: AtomicU64::new(0),
            messages_dropped: AtomicU64::new(0),
            posts_refused: AtomicU64::new(0),
            posts_skipped: AtomicU64::new(0),
            refused_by_shutdown: AtomicU64::new(0),
            directory: Default::default(),
        }
    }

    /// The same with as many open files as there may be.
    #[cfg(feature = "files")]
    pub(crate) fn with_open_files(mut self, files: OpenFiles) -> Self {
        self.open_files = Arc::new(files);
        self
    }

    /// The worker that has the listeners: one of its own if there are several workers, so that a
    /// handler that blocks never stops accepting.
    pub(crate) fn door(&self) -> u16 {
        let last = self.desks.len() - 1;
        u16::try_from(last).expect("at most 1,024 workers")
    }

    /// Gives `cmd` to a worker, and wakes it if it sleeps.
    pub(crate) fn push(&self, worker: u16, cmd: Cmd) {
        let put = self.put(worker, cmd);
        self.was_put(worker, put);
    }

    /// Puts `cmd` before a worker. Waking it, which is a system call, and dropping what comes too late,
    /// which may be the user's, is for [`was_put`](Self::was_put), outside of any lock.
    fn put(&self, worker: u16, cmd: Cmd) -> Result<bool, Cmd> {
        self.desks[usize::from(worker)].mailbox.push(cmd)
    }

    fn was_put(&self, worker: u16, put: Result<bool, Cmd>) {
        match put {
            Ok(false) => {}
            Ok(true) => {
                if let Some(wake) = self.desks[usize::from(worker)].wake.get() {
                    wake();
                }
            }
            Err(cmd) => self.too_late(worker, cmd),
        }
    }

    /// Puts a command of a connection before its worker, in order with what else is asked of it, if
    /// it `may` be.
    fn put_for(
        &self,
        shared: &Arc<Shared>,
        may: impl FnOnce(u16) -> bool,
        cmd: impl FnOnce(Arc<Shared>) -> Cmd,
    ) -> bool {
        let route = shared.route.lock().unwrap_or_else(PoisonError::into_inner);
        let worker = *route;
        if !may(worker) {
            return false;
        }
        let put = self.put(worker, cmd(Arc::clone(shared)));
        drop(route);
        self.was_put(worker, put);
        true
    }

    /// A worker ends: what it was asked for and has not done is given up.
    pub(crate) fn leave_desk(&self, worker: u16, later: impl IntoIterator<Item = Cmd>) {
        let desk = &self.desks[usize::from(worker)];
        desk.largest.store(0, Ordering::Relaxed);
        let cmds = desk.mailbox.close();
        later.into_iter().chain(cmds).for_each(|cmd| self.too_late(worker, cmd));
    }

    /// A command for a worker that is gone.
    fn too_late(&self, worker: u16, cmd: Cmd) {
        match cmd {
            Cmd::Adopt { .. } => {
                self.release(); // dropping the socket closes it
                self.refused_by_shutdown.fetch_add(1, Ordering::Relaxed);
                self.desks[usize::from(worker)].sub_load();
            }
            Cmd::Dial(start) => {
                self.desks[usize::from(worker)].sub_load();
                start.refuse();
            }
            Cmd::Send { bytes, .. } => self.budget.take_post(mail_bytes(&bytes)),
            Cmd::Join { shared, members } => drop(members.sub(worker, shared.id)),
            Cmd::Claimed { ended, .. } => ended.tell(),
            Cmd::Broadcast(broadcast) => {
                self.has_arrived(worker, &broadcast);
                broadcast.give_up(worker, |gone| Delivered { gone, ..Delivered::default() });
            }
            Cmd::Post { .. } => drop(self.posts_skipped.fetch_add(1, Ordering::Relaxed)),
            _ => {} // of connections that are gone as well
        }
    }

    /// To every worker and the door.
    pub(crate) fn push_all(&self, cmd: impl Fn() -> Cmd) {
        for worker in 0..=self.door() {
            self.push(worker, cmd());
        }
    }

    /// Assigns a connection to the worker with the fewest, of those that live.
    pub(crate) fn assign(&self) -> u16 {
        let worker = self.least_loaded();
        self.desks[usize::from(worker)].add_load();
        worker
    }

    fn least_loaded(&self) -> u16 {
        let desks = self.desks[..self.workers].iter().enumerate();
        let alive = desks.filter(|(_, desk)| !desk.mailbox.is_closed());
        let least = alive.min_by_key(|(_, desk)| desk.load.load(Ordering::Relaxed));
        u16::try_from(least.map_or(0, |(worker, _)| worker)).expect("at most 1,024 workers")
    }

    /// Takes a place for one more connection, if there is one.
    pub(crate) fn reserve(&self) -> bool {
        let max = self.connections_max;
        let more = |count| if count < max { Some(count + 1) } else { None };
        self.connections.fetch_update(Ordering::AcqRel, Ordering::Relaxed, more).is_ok()
    }

    /// Gives the place back.
    pub(crate) fn release(&self) {
        self.connections.fetch_sub(1, Ordering::AcqRel);
    }

    /// Connections of all workers now.
    pub(crate) fn open_connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    fn shard(&self, id: ConnId) -> &Mutex<BTreeMap<ConnId, Named>> {
        #[expect(clippy::cast_possible_truncation, reason = "only the low bits count")]
        let at = id.0 as usize % SHARDS;
        &self.directory[at]
    }

    /// Makes a connection findable by its name.
    pub(crate) fn enter(&self, conn: &Arc<Shared>, lane: Weak<dyn Any + Send + Sync>) {
        let named = Named { shared: Arc::clone(conn), lane };
        let mut shard = self.shard(conn.id).lock().unwrap_or_else(PoisonError::into_inner);
        shard.insert(conn.id, named);
    }

    /// It is gone.
    pub(crate) fn leave(&self, id: ConnId) {
        self.shard(id).lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    /// The connection of that name.
    pub(crate) fn find(&self, id: ConnId) -> Option<Named> {
        self.shard(id).lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    /// All connections, shard by shard: never all locked at once.
    pub(crate) fn all(&self) -> Vec<Arc<Shared>> {
        let mut all = Vec::with_capacity(self.connections.load(Ordering::Relaxed));
        for shard in &self.directory {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            all.extend(shard.values().map(|named| Arc::clone(&named.shared)));
        }
        all
    }

    /// Sends to a connection, unless it is closing or gone: looked at under the same lock as the
    /// close, so that what is queued is flushed, and what is not is told.
    pub(crate) fn push_send(&self, shared: &Arc<Shared>, bytes: Bytes, key: Option<u64>) -> bool {
        let is_open = |_| !shared.closed.load(Ordering::Acquire);
        self.put_for(shared, is_open, |shared| Cmd::Send { shared, bytes, key })
    }

    /// A connection that was counted joins. Says whether it still may.
    pub(crate) fn push_join(&self, shared: &Arc<Shared>, members: &Arc<Members>) -> bool {
        let may = |worker| {
            let is_open = !shared.closed.load(Ordering::Acquire);
            let is_crowded = self.desks[usize::from(worker)].mailbox.is_crowded();
            if is_crowded {
                self.joins_refused.fetch_add(1, Ordering::Relaxed);
            }
            let may = is_open && !is_crowded;
            // It may have left since it was counted, in a command that is before this one.
            if may {
                members.add(worker, shared.id);
            } else {
                members.sub(worker, shared.id);
            }
            may
        };
        self.put_for(shared, may, |shared| Cmd::Join { shared, members: Arc::clone(members) })
    }

    /// A connection leaves a group, if it is a member.
    pub(crate) fn push_leave(&self, shared: &Arc<Shared>, members: &Arc<Members>) {
        let is_member = |worker| members.sub(worker, shared.id);
        self.put_for(shared, is_member, |shared| Cmd::Leave {
            shared,
            members: Arc::clone(members),
        });
    }

    /// Sends to all members of a group, on each worker that has some.
    pub(crate) fn broadcast(&self, mut broadcast: Broadcast) {
        let held = Budget::hold(&self.budget, &broadcast.bytes);
        let fits = held.is_some();
        broadcast.bytes = held.unwrap_or_default();
        let broadcast = &broadcast;
        for worker in 0..broadcast.members.workers() {
            if broadcast.members.count(worker) == 0 {
                continue;
            }
            broadcast.tally.begin();
            if fits && self.sets_out(worker, broadcast) {
                self.push(worker, Cmd::Broadcast(Box::new(broadcast.clone())));
            } else {
                broadcast.give_up(worker, |refused| {
                    self.messages_refused.fetch_add(refused, Ordering::Relaxed);
                    Delivered { refused, ..Delivered::default() }
                });
            }
        }
        broadcast.tally.end(Delivered::default());
    }

    /// Whether there is room for a broadcast on its way to a worker.
    fn sets_out(&self, worker: u16, broadcast: &Broadcast) -> bool {
        let fits = broadcast.members.set_out(worker, broadcast.mail_bytes());
        if fits {
            self.budget.take(COMMAND_BYTES);
        }
        fits
    }

    /// It is on its way no more.
    pub(crate) fn has_arrived(&self, worker: u16, broadcast: &Broadcast) {
        self.budget.take_post(COMMAND_BYTES);
        broadcast.members.arrived(worker, broadcast.mail_bytes());
    }

    /// Ends a connection. Sends that are asked for after this answer that it is closed.
    pub(crate) fn push_end(&self, shared: &Arc<Shared>, ending: Ending) {
        // Who is closing is only asked for more than that, and once.
        let aborts = matches!(ending, Ending::Abort);
        let close = |_| {
            let was_open = !shared.closed.swap(true, Ordering::AcqRel);
            if aborts { shared.asks.abort() } else { was_open }
        };
        self.put_for(shared, close, |shared| Cmd::End { shared, ending });
    }

    /// Asks something of a connection of which only the last word counts.
    pub(crate) fn ask(&self, shared: &Arc<Shared>, what: u8) {
        if shared.asks.ask(what) {
            self.push_to(shared, |shared| Cmd::Asked { shared });
        }
    }

    /// Asks a connection's worker for something, in order with what else is asked of it.
    pub(crate) fn push_to(&self, shared: &Arc<Shared>, cmd: impl FnOnce(Arc<Shared>) -> Cmd) {
        self.put_for(shared, |_| true, cmd);
    }
}

#[cfg(test)]
mod tests {
    use super::super::mailbox::COMMANDS_MAX;
    use super::super::members::Tally;
    use super::super::notice::Notice;
    use super::super::shared::Asks;
    use super::*;
    use crate::Limits;
    use longshore_base::Time;
    use longshore_port::Addr;

    fn broadcast(members: &Arc<Members>) -> Broadcast {
        let bytes = Bytes::from_static(b"to all");
        Broadcast {
            members: Arc::clone(members),
            bytes,
            key: None,
            except: None,
            tally: Arc::new(Tally::new()),
        }
    }

    #[test]
    fn a_broadcast_for_a_worker_that_is_gone_is_answered_and_takes_no_memory() {
        let board = Switchboard::new(1, 10, u64::MAX);
        let members = Arc::new(Members::new(1, u64::MAX, None));
        members.add(0, ConnId(1));
        let [waits, comes_late] = [(); 2].map(|()| broadcast(&members));
        board.broadcast(waits.clone());
        assert_eq!(waits.tally.poll(), None, "the worker has to do its part");
        assert_eq!(board.budget.used(), waits.mail_bytes());
        board.leave_desk(0, []);
        board.broadcast(comes_late.clone());
        for Broadcast { tally, .. } in [&waits, &comes_late] {
            assert_eq!(tally.poll(), Some(Delivered { gone: 1, ..Delivered::default() }));
        }
        assert_eq!(board.budget.used(), 0);
    }

    /// Asks for something of a connection when it is dropped.
    struct AsksAtDrop(Arc<(Switchboard, Arc<Shared>)>);

    impl Drop for AsksAtDrop {
        fn drop(&mut self) {
            let (board, shared) = &*self.0;
            board.push_to(shared, |shared| Cmd::Asked { shared });
        }
    }

    #[test]
    fn a_post_that_comes_too_late_is_dropped_outside_of_any_lock() {
        let board = Switchboard::new(1, 10, u64::MAX);
        board.leave_desk(0, []);
        let addr = Addr::Ip(([127, 0, 0, 1], 0).into());
        let shared = Shared::new(ConnId(1), (addr, addr), Time::ZERO, 0, &Limits::new());
        let both = Arc::new((board, Arc::new(shared)));
        let (board, shared) = &*both;
        let work = Box::new(AsksAtDrop(Arc::clone(&both)));
        board.push_to(shared, |shared| Cmd::Post { shared, work });
        assert_eq!(board.posts_skipped.load(Ordering::Relaxed), 1);
        assert_eq!(Arc::strong_count(&both), 1);
    }

    fn commands(board: &Switchboard) -> usize {
        let mut cmds = Vec::new();
        board.desks[0].mailbox.swap(&mut cmds);
        cmds.len()
    }

    #[test]
    fn who_asks_on_and_on_fills_no_mailbox() {
        let board = Switchboard::new(1, 10, u64::MAX);
        let addr = Addr::Ip(([127, 0, 0, 1], 0).into());
        let shared = Arc::new(Shared::new(ConnId(1), (addr, addr), Time::ZERO, 0, &Limits::new()));
        let members = Arc::new(Members::new(1, u64::MAX, None));
        let join = || match members.expect(&shared) {
            (may, true) => may && board.push_join(&shared, &members),
            (may, false) => may,
        };
        for _ in 0..1_000 {
            assert!(join());
            for what in [Asks::PAUSE, Asks::RESUME, Asks::MEASURE, Asks::ADMIT, Asks::PAUSE] {
                board.ask(&shared, what);
            }
        }
        assert_eq!((commands(&board), members.total()), (2, 1), "it joins once, and is asked once");
        assert_eq!(shared.asks.take(), Asks::PAUSE | Asks::MEASURE | Asks::ADMIT, "the last word");
        board.ask(&shared, Asks::RESUME);
        assert_eq!(commands(&board), 1, "what was taken may be asked again");
        board.push_leave(&shared, &members);
        board.push_leave(&shared, &members);
        assert_eq!((commands(&board), members.total()), (1, 0));
        // It leaves while it is about to join.
        assert_eq!(members.expect(&shared), (true, true));
        board.push_leave(&shared, &members);
        assert!(board.push_join(&shared, &members));
        assert_eq!((commands(&board), members.total()), (2, 1), "the last word is that it joins");
        board.push_leave(&shared, &members);
        assert_eq!((commands(&board), members.total()), (1, 0));
        // Who joins and leaves and joins has a bound.
        let joined = (0..COMMANDS_MAX).take_while(|_| {
            let joined = join();
            board.push_leave(&shared, &members);
            joined
        });
        assert_eq!(joined.count(), COMMANDS_MAX / 2);
        assert_eq!(board.joins_refused.load(Ordering::Relaxed), 1);
        assert_eq!((commands(&board), members.total()), (COMMANDS_MAX, 0));
        for _ in 0..1_000 {
            board.push_end(&shared, Ending::Close(None));
            board.push_end(&shared, Ending::Abort);
        }
        assert_eq!(commands(&board), 2, "it closes, and then is aborted");
        assert_eq!(members.expect(&shared), (false, false));
    }

    #[test]
    fn what_was_asked_of_a_worker_that_goes_is_taken_back() {
        let board = Switchboard::new(1, 10, u64::MAX);
        let addr = Addr::Ip(([127, 0, 0, 1], 0).into());
        let shared = Arc::new(Shared::new(ConnId(1), (addr, addr), Time::ZERO, 0, &Limits::new()));
        let (bytes, ends) = (Bytes::from_static(b"waits"), Notice::default());
        board.budget.take(mail_bytes(&bytes));
        assert!(board.push_send(&shared, bytes, None));
        let ended = ends.of(7);
        board.push_to(&shared, |shared| Cmd::Claimed { shared, ended });
        assert_eq!(ends.take(), vec![]);
        board.leave_desk(0, []);
        assert_eq!((ends.take(), board.budget.used()), (vec![7], 0));
    }

    #[test]
    fn a_sleeper_is_woken_outside_of_any_lock() {
        let board = Switchboard::new(1, 10, u64::MAX);
        let addr = Addr::Ip(([127, 0, 0, 1], 0).into());
        let shared = Arc::new(Shared::new(ConnId(1), (addr, addr), Time::ZERO, 0, &Limits::new()));
        let (woken, of_wake) = (Arc::new(AtomicUsize::new(0)), Arc::clone(&shared));
        let count = Arc::clone(&woken);
        let wake = move || {
            assert!(of_wake.route.try_lock().is_ok(), "the way to its worker is locked");
            count.fetch_add(1, Ordering::Relaxed);
        };
        assert!(board.desks[0].wake.set(Box::new(wake)).is_ok());
        let asks: [&dyn Fn(); 4] = [
            &|| assert!(board.push_send(&shared, Bytes::from_static(b"hello"), None)),
            &|| assert!(board.push_join(&shared, &Arc::new(Members::new(1, u64::MAX, None)))),
            &|| board.push_to(&shared, |shared| Cmd::Asked { shared }),
            &|| board.push_end(&shared, Ending::Abort),
        ];
        for (at, ask) in asks.iter().enumerate() {
            board.desks[0].mailbox.swap(&mut Vec::new());
            assert!(board.desks[0].mailbox.prepare_sleep());
            ask();
            ask(); // it is awake
            assert_eq!(woken.load(Ordering::Relaxed), at + 1);
            if at == 3 {
                assert!(!board.push_send(&shared, Bytes::from_static(b"late"), None));
            }
        }
    }

    #[test]
    fn what_there_is_no_room_for_on_its_way_is_refused_to_all_members() {
        // By memory at once; by what waits of the group, for a worker that does not take it.
        for (memory, pending, fit) in [(5, u64::MAX, 0), (u64::MAX, 300, 2)] {
            let board = Switchboard::new(1, 10, memory);
            let members = Arc::new(Members::new(1, pending, None));
            members.add(0, ConnId(1));
            members.add(0, ConnId(2));
            let all = [(); 3].map(|()| broadcast(&members));
            for it in &all {
                board.broadcast(it.clone());
            }
            let refused = Some(Delivered { refused: 2, ..Delivered::default() });
            let answers = all.each_ref().map(|it| it.tally.poll());
            assert_eq!(answers.iter().filter(|it| **it == refused).count(), 3 - fit);
            assert_eq!(board.messages_refused.load(Ordering::Relaxed), 2 * (3 - fit) as u64);
            board.leave_desk(0, []);
            assert_eq!(board.budget.used(), 0);
            assert!(members.set_out(0, pending), "all of it has arrived");
        }
    }
}
