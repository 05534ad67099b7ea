//! What [`Conn`] and [`Group`] promise of order, in each order that threads may take: two that ask for
//! things, two workers that sleep, wake, do them and leave. All but the turn of a worker, its socket and
//! its bell is the code that ships; loom tries the orders, of memory too.
//!
//! `cargo xtask test` runs it as `order model`. A scenario that fails says what each thread asked for.

#![expect(clippy::unwrap_used, reason = "a test")]
#![expect(clippy::print_stdout, reason = "how many orders were tried")]
#![expect(clippy::cast_possible_truncation, reason = "small numbers")]

use super::*;
use crate::config::GROUP_PENDING_BYTES;
use crate::conn::LaneShared;
use crate::push::{Group, Receipt};
use crate::sync::{AtomicBool, Condvar, Mutex};
use crate::worker::connection::Connection;
use crate::worker::core::Core;
use crate::{Conn, Ctx, Handler, Limits, Lines};
use bytes::Bytes;
use longshore_base::{Foreign, Time, Token};
use longshore_proto::connection::Message;
use loom::model::Builder;
use loom::thread;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Mutex as Record, PoisonError};

/// Most workers.
const WORKERS: usize = 2;

/// What a queue may hold.
const QUEUE_BYTES: u64 = 4096;

/// What a handler says by itself.
const NUDGED: char = '!';

struct Mute;

impl Handler for Mute {
    type Codec = Lines;
    fn on_message(&mut self, _: &mut Ctx<'_, Self>, _: &str) -> Result {
        Ok(())
    }
}

/// What a thread asks for. A message is one letter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ask {
    Send(usize, char),
    /// To whoever has the key: all connections, one after the other.
    Owner(char),
    Broadcast(char),
    Join(usize),
    Post(usize, char),
    Close(usize),
    /// The handler of connection 0 is to say [`NUDGED`]: told by a flag, not through its mailbox.
    Nudge,
}
use Ask::{Broadcast, Close, Join, Nudge, Owner, Post, Send};

/// How long a worker takes turns while others ask for things.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ends {
    /// After so many turns, between which it does not sleep; the last one comes when all was asked for.
    Turns(usize),
    /// When it has so many letters, for which it sleeps and has to be woken.
    Has(u64),
    /// After so many turns, with all its connections: it died.
    Dies(usize),
}

struct Scenario {
    name: &'static str,
    threads: &'static [&'static [Ask]],
    workers: usize,
    /// Each with as many as another of the workers: number `n` is on worker `n % workers`.
    conns: usize,
    /// Connections that are in the group from the beginning.
    members: &'static [usize],
    ends: [Ends; WORKERS],
    /// Connection 0 has no room, and the policy is to end it.
    is_full: bool,
    /// Who broadcasts waits for what becomes of it.
    waits: bool,
    /// Most times that a thread is made to wait where it could go on; none is no bound.
    preemptions: Option<usize>,
}

const SCENARIO: Scenario = Scenario {
    name: "",
    threads: &[],
    workers: 1,
    conns: 1,
    members: &[],
    ends: [Ends::Turns(2); WORKERS],
    is_full: false,
    waits: false,
    preemptions: Some(2),
};

/// Something that was asked for, and when: `called` and `returned` are on one clock.
struct Asked {
    ask: Ask,
    thread: usize,
    called: u64,
    returned: u64,
    queued: bool,
    receipt: Option<Receipt>,
}

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ask, thread, called, returned, queued, .. } = self;
        write!(f, "thread {thread} at {called} to {returned}: {ask:?} -> {queued}")
    }
}

impl Asked {
    fn is_before(&self, other: &Self) -> bool {
        self.returned < other.called
    }
}

/// What a connection has put onto the wire, and which posts it ran: each with the letters before it.
#[derive(Clone, Default, Debug)]
struct Wire {
    letters: String,
    posts: Vec<(char, usize)>,
}

/// What the notifier of a port is to its worker.
#[derive(Default)]
struct Bell {
    rung: Mutex<bool>,
    wake: Condvar,
}

impl Bell {
    fn ring(&self) {
        *self.rung.lock().unwrap() = true;
        self.wake.notify_one();
    }

    fn wait(&self) {
        let mut rung = self.rung.lock().unwrap();
        while !*rung {
            rung = self.wake.wait(rung).unwrap();
        }
        *rung = false;
    }

    fn look(&self) {
        *self.rung.lock().unwrap() = false;
    }
}

struct World {
    server: Server,
    board: Arc<Switchboard>,
    conns: Vec<Conn<Mute>>,
    group: Group<Lines>,
    clock: AtomicU64,
    asked: Record<Vec<Asked>>,
    wires: Record<Vec<Wire>>,
    /// Said to the worker of connection 0, by something else than its mailbox.
    nudged: AtomicBool,
    limits: Arc<Limits>,
    waits: bool,
}

fn open<T>(record: &Record<T>) -> std::sync::MutexGuard<'_, T> {
    record.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    fn new(scenario: &Scenario) -> Self {
        let board = Arc::new(Switchboard::new(scenario.workers, 10, 1 << 20));
        let inner = Inner::new(Arc::clone(&board), Vec::new(), Vec::new(), Duration::ZERO);
        let limits = Arc::new(Limits::new().send_queue_bytes(QUEUE_BYTES));
        let lane = Arc::new(LaneShared {
            codec: Foreign::new(Lines::max(10)),
            limits: Arc::clone(&limits),
            board: Arc::clone(&board),
            counters: Arc::default(),
        });
        let addr = Addr::from(SocketAddr::from(([127, 0, 0, 1], 1)));
        let conn = |number: usize| {
            let worker = (number % scenario.workers) as u16;
            let id = ConnId(number as u64);
            let shared = shared::Shared::new(id, (addr, addr), Time::ZERO, worker, &limits);
            board.reserve();
            board.desks[usize::from(worker)].add_load();
            Conn { shared: Arc::new(shared), lane: Arc::clone(&lane) }
        };
        let conns = (0..scenario.conns).map(conn).collect();
        let group = Group::new(Lines::max(10));
        group.members_at(&board).unwrap();
        Self {
            server: Server(Arc::new(inner)),
            board: Arc::clone(&board),
            conns,
            group,
            clock: AtomicU64::new(0),
            asked: Record::default(),
            wires: Record::new(vec![Wire::default(); scenario.conns]),
            nudged: AtomicBool::new(false),
            limits,
            waits: scenario.waits,
        }
    }

    fn now(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::Relaxed)
    }

    fn ask(&self, thread: usize, ask: Ask) {
        if let Owner(letter) = ask {
            return (0..self.conns.len()).for_each(|conn| self.ask(thread, Send(conn, letter)));
        }
        let called = self.now();
        let mut receipt = None;
        let queued = match ask {
            Send(conn, letter) => self.conns[conn].send_encoded(bytes_of(letter)) == Sent::Queued,
            Broadcast(letter) => {
                let told = self.group.broadcast_encoded(None, bytes_of(letter));
                if self.waits {
                    told.wait();
                }
                receipt = Some(told);
                true
            }
            Join(conn) => self.group.join(&self.conns[conn]),
            Post(conn, letter) => {
                let conn = &self.conns[conn];
                let open = !conn.is_closed();
                if open {
                    conn.shared.posts.fetch_add(1, Ordering::Relaxed);
                    let work = Box::new(letter);
                    self.board.push_to(&conn.shared, |shared| Cmd::Post { shared, work });
                }
                open
            }
            Close(conn) => {
                self.conns[conn].close();
                true
            }
            Nudge => {
                self.nudged.store(true, Ordering::Release);
                true
            }
            Owner(_) => unreachable!("asked one by one"),
        };
        let returned = self.now();
        open(&self.asked).push(Asked { ask, thread, called, returned, queued, receipt });
    }
}

fn bytes_of(letter: char) -> Bytes {
    Bytes::from(String::from(letter))
}

/// A worker without a port: nothing comes, and what goes is kept.
struct Desk {
    core: Core,
    world: Arc<World>,
    bell: Arc<Bell>,
    /// Number and slot of each connection.
    tokens: Vec<(usize, Token)>,
    said: bool,
}

impl Desk {
    fn new(world: &Arc<World>, me: usize, scenario: &Scenario) -> Self {
        let server = world.server.clone();
        let board = Arc::clone(&world.board);
        let mut core = Core::new(me as u16, board, server, Time::ZERO, 1);
        let lane = Token::new(0, 0);
        let mut tokens = Vec::new();
        for (number, conn) in world.conns.iter().enumerate().skip(me).step_by(scenario.workers) {
            let (shared, limits) = (Arc::clone(&conn.shared), Arc::clone(&world.limits));
            let token = core.conns.insert(Connection::new(shared, limits, lane, Time::ZERO));
            conn.shared.slot.store(token.to_bits(), Ordering::Relaxed);
            tokens.push((number, token));
            if scenario.is_full && number == 0 {
                let most = Bytes::from(vec![b'.'; QUEUE_BYTES as usize]);
                assert!(core.send_message(token, Message::new(most)).is_ok());
            }
            if scenario.members.contains(&number) {
                core.take_into_group(&conn.shared, &world.group.members_at(&world.board).unwrap());
            }
        }
        let bell: Arc<Bell> = Arc::default();
        let of_wake = Arc::clone(&bell);
        assert!(world.board.desks[me].wake.set(Box::new(move || of_wake.ring())).is_ok());
        Self { core, world: Arc::clone(world), bell, tokens, said: false }
    }

    /// On a thread of its own.
    fn run(mut self, ends: Ends) -> Self {
        match ends {
            Ends::Turns(turns) => (0..turns).for_each(|_| self.turn()),
            Ends::Dies(turns) => {
                (0..turns).for_each(|_| self.turn());
                self.core.board.leave_desk(self.core.me, []);
                self.leave();
            }
            Ends::Has(letters) => loop {
                self.turn();
                let has = self.tokens.iter().map(|(_, token)| self.letters(*token));
                if has.sum::<u64>() == letters {
                    break;
                }
                self.wait();
            },
        }
        self
    }

    /// As `Worker::wait`.
    fn wait(&self) {
        let mailbox = &self.core.desk().mailbox;
        if !self.core.has_left() && !mailbox.has_some() && mailbox.prepare_sleep() {
            self.bell.wait();
        } else {
            self.bell.look();
        }
    }

    fn turn(&mut self) {
        self.core.desk().mailbox.woke();
        self.commands();
        self.end_closed();
    }

    /// As `Worker::bury` and its drop.
    fn leave(&mut self) {
        for (number, token) in std::mem::take(&mut self.tokens) {
            self.closed(number, token);
        }
        let later = std::mem::take(&mut self.core.later);
        self.core.board.leave_desk(self.core.me, later);
    }

    /// As `Worker::commands`.
    fn commands(&mut self) {
        self.core.catch_up();
        for _ in 0..self.core.later.len() {
            let Some(cmd) = self.core.later.pop_front() else { break };
            match cmd {
                Cmd::Post { shared, work } => {
                    let waiting = &shared.posts;
                    waiting.fetch_sub(1, Ordering::AcqRel);
                    let letter = *work.downcast::<char>().unwrap();
                    let token = self.core.token_of(&shared);
                    if !token.is_some_and(|token| self.call(token, letter)) {
                        self.core.board.posts_skipped.fetch_add(1, Ordering::Relaxed);
                    }
                }
                other => panic!("{other:?} was to be applied at once"),
            }
        }
        self.say_if_nudged();
    }

    fn call(&mut self, token: Token, letter: char) -> bool {
        self.core.catch_up();
        let before = self.letters(token) as usize;
        if !self.core.conns.get(token).is_some_and(Connection::is_open) {
            return false;
        }
        let number = self.number(token);
        open(&self.world.wires)[number].posts.push((letter, before));
        true
    }

    /// A callback that something else than the mailbox has brought about.
    fn say_if_nudged(&mut self) {
        let Some((0, token)) = self.tokens.first().copied() else { return };
        if !self.said && self.world.nudged.load(Ordering::Acquire) {
            self.said = true;
            let _ = self.core.send_message(token, Message::new(bytes_of(NUDGED)));
        }
    }

    fn letters(&self, token: Token) -> u64 {
        self.core.conns.get(token).map_or(0, |conn| conn.send.queued())
    }

    fn number(&self, token: Token) -> usize {
        self.tokens.iter().find(|(_, it)| *it == token).unwrap().0
    }

    /// What was asked to close has flushed, and goes.
    fn end_closed(&mut self) {
        for (number, token) in self.tokens.clone() {
            if !self.core.conns.get(token).is_some_and(Connection::is_open) {
                self.tokens.retain(|(_, it)| *it != token);
                self.closed(number, token);
            }
        }
    }

    /// As `Worker::closed`.
    fn closed(&mut self, number: usize, token: Token) {
        let Some(mut conn) = self.core.conns.remove(token) else { return };
        conn.shared.closed.store(true, Ordering::Release);
        while let Some(transmit) = conn.send.poll_transmit(&mut self.core.pool) {
            let segments = transmit.data.segments();
            let bytes: Vec<u8> = segments.iter().flat_map(|it| it.bytes().to_vec()).collect();
            let letters = String::from_utf8(bytes).unwrap();
            open(&self.world.wires)[number].letters.push_str(&letters);
            conn.send.handle_sent(letters.len(), transmit.data, &mut self.core.pool);
        }
        conn.send.clear(&mut self.core.pool);
        let groups = conn.listed.take().map(|listed| listed.groups);
        self.core.leave_groups(conn.shared.id, &groups.unwrap_or_default());
        self.core.board.release();
        self.core.desk().sub_load();
    }
}

/// Runs a scenario in each order.
fn explore(scenario: &'static Scenario) {
    let begun = std::time::Instant::now();
    let count = Arc::new(AtomicUsize::new(0));
    let of_model = Arc::clone(&count);
    let mut builder = Builder::new();
    if scenario.preemptions.is_some() {
        builder.preemption_bound = scenario.preemptions;
    }
    builder.max_branches = 10_000;
    builder.check(move || {
        of_model.fetch_add(1, Ordering::Relaxed);
        run_once(scenario);
    });
    let (name, count) = (scenario.name, count.load(Ordering::Relaxed));
    let bound = scenario.preemptions.map_or("all".into(), |most| format!("{most} preemptions"));
    println!("order_model {name}: {count} executions, {bound}, {:.1?}", begun.elapsed());
}

fn run_once(scenario: &'static Scenario) {
    let world = Arc::new(World::new(scenario));
    let workers: Vec<_> = (0..scenario.workers)
        .map(|me| {
            let desk = Desk::new(&world, me, scenario);
            let ends = scenario.ends[me];
            thread::spawn(move || desk.run(ends))
        })
        .collect();
    let (first, others) = scenario.threads.split_first().unwrap();
    let askers: Vec<_> = others
        .iter()
        .enumerate()
        .map(|(at, asks)| {
            let world = Arc::clone(&world);
            thread::spawn(move || asks.iter().for_each(|ask| world.ask(at + 1, *ask)))
        })
        .collect();
    first.iter().for_each(|ask| world.ask(0, *ask));
    for asker in askers {
        asker.join().unwrap();
    }
    for worker in workers {
        let mut desk = worker.join().unwrap();
        desk.turn();
        desk.leave();
    }
    check(scenario, &world);
}

/// What a failure is told with: the scenario, what was asked for, and what came of it.
struct Told<'a>(&'a str, &'a [Asked], &'a [Wire]);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.0)?;
        let asked = self.1.iter().try_for_each(|it| writeln!(f, "    {it:?}"));
        asked.and_then(|()| writeln!(f, "on the wires: {:?}", self.2))
    }
}

fn check(scenario: &Scenario, world: &World) {
    let asked = std::mem::take(&mut *open(&world.asked));
    let wires = open(&world.wires).clone();
    let told = &Told(scenario.name, &asked, &wires);
    for (number, wire) in wires.iter().enumerate() {
        let ends = scenario.ends[number % scenario.workers];
        let dies = matches!(ends, Ends::Dies(_)) || scenario.is_full && number == 0;
        for it in &asked {
            check_one(scenario, (number, wire), dies, it, told);
        }
    }
    let receipts = asked.iter().filter_map(|it| Some((it.ask, it.receipt.as_ref()?)));
    for (ask, receipt) in receipts {
        let Broadcast(letter) = ask else { unreachable!() };
        let Some(sum) = receipt.poll() else { panic!("{ask:?} is never answered: {told}") };
        let heard = wires.iter().filter(|wire| wire.letters.contains(letter)).count();
        assert_eq!(sum.queued, heard as u64, "{ask:?} was told of others: {told}");
        let joins = scenario.threads.iter().copied().flatten();
        let most = scenario.members.len() + joins.filter(|it| matches!(it, Join(_))).count();
        let all = sum.queued + sum.refused + sum.dropped + sum.gone;
        assert!(all <= most as u64, "{ask:?} came to {sum:?}: {told}");
    }
    let posts = asked.iter().filter(|it| matches!(it.ask, Post(..)) && it.queued).count();
    let ran: usize = wires.iter().map(|wire| wire.posts.len()).sum();
    let skipped = world.board.posts_skipped.load(Ordering::Relaxed) as usize;
    assert_eq!(posts, ran + skipped, "a post is lost: {told}");
    let members = world.group.members_at(&world.board).unwrap();
    for (me, desk) in world.board.desks[..scenario.workers].iter().enumerate() {
        assert!(desk.mailbox.is_closed() && desk.mailbox.close().is_empty(), "{told}");
        assert!(members.set_out(me as u16, GROUP_PENDING_BYTES), "a broadcast is out: {told}");
    }
    assert_eq!(members.total(), 0, "who is gone is a member: {told}");
    assert_eq!(world.board.budget.used(), 0, "memory is taken: {told}");
}

/// What `it` means for one connection, beside all else that was asked.
fn check_one(
    scenario: &Scenario,
    (number, wire): (usize, &Wire),
    dies: bool,
    it: &Asked,
    told: &Told<'_>,
) {
    let asked = told.1;
    let place = |letter: char| wire.letters.find(letter);
    let is_close = |other: &&Asked| other.ask == Close(number);
    let closed_before = asked.iter().filter(is_close).any(|close| close.is_before(it));
    let closed_meanwhile = asked.iter().filter(is_close).any(|close| !it.is_before(close));
    let letter = match it.ask {
        Send(conn, letter) if conn == number => {
            assert!(!(closed_before && it.queued), "{it:?} came behind a close: {told}");
            let lost = it.queued && place(letter).is_none();
            assert!(!lost || dies, "{it:?} is queued and lost: {told}");
            assert!(it.queued || place(letter).is_none(), "{it:?} is sent and refused: {told}");
            letter
        }
        Broadcast(letter) => {
            let mut joins = asked.iter().filter(|other| other.ask == Join(number) && other.queued);
            let since_ever = scenario.members.contains(&number);
            let is_member = since_ever
                || joins.clone().any(|join| join.thread == it.thread && join.is_before(it));
            let may_be = since_ever || joins.any(|join| join.called < it.returned);
            let hears = place(letter).is_some();
            assert!(hears || !is_member || closed_meanwhile || dies, "{it:?}, unheard: {told}");
            assert!(!hears || may_be && !closed_before, "{it:?} is heard by {number}: {told}");
            letter
        }
        Post(conn, letter) if conn == number => {
            let at = wire.posts.iter().position(|(other, _)| *other == letter);
            let Some(at) = at else {
                // A close may overtake it, which is no secret.
                let closes = asked.iter().any(|other| other.ask == Close(number));
                assert!(closes || dies, "{it:?} did not run: {told}");
                return;
            };
            assert!(!closed_before, "{it:?} ran behind a close: {told}");
            for other in asked.iter().filter(|other| other.is_before(it)) {
                match other.ask {
                    Send(conn, sent) if conn == number => {
                        let first = place(sent).is_none_or(|place| place < wire.posts[at].1);
                        assert!(first, "{it:?} ran before {other:?}: {told}");
                    }
                    Broadcast(sent) => {
                        let first = place(sent).is_none_or(|place| place < wire.posts[at].1);
                        assert!(first, "{it:?} ran before {other:?}: {told}");
                    }
                    Post(conn, post) if conn == number => {
                        let place = wire.posts.iter().position(|(letter, _)| *letter == post);
                        assert!(place.is_some_and(|place| place < at), "{it:?}, {other:?}: {told}");
                    }
                    _ => {}
                }
            }
            return;
        }
        Nudge if number == 0 => NUDGED,
        _ => return,
    };
    let Some(place_of_it) = place(letter) else { return };
    assert_eq!(wire.letters.matches(letter).count(), 1, "{it:?} is there twice: {told}");
    // A flag tells a handler of what its own thread did before, not of others.
    let known = |other: &&Asked| it.ask != Nudge || other.thread == it.thread;
    for other in asked.iter().filter(known).filter(|other| other.is_before(it)) {
        let (Send(_, sent) | Broadcast(sent)) = other.ask else { continue };
        if matches!(other.ask, Send(conn, _) if conn != number) {
            continue;
        }
        let first = place(sent).is_none_or(|place| place < place_of_it);
        assert!(first, "{it:?} is before {other:?}: {told}");
    }
}

macro_rules! scenarios {
    ($($name:ident { $($field:ident: $value:expr),* $(,)? })*) => {$(
        #[test]
        fn $name() {
            const IT: Scenario =
                Scenario { name: stringify!($name), $($field: $value,)* ..SCENARIO };
            explore(&IT);
        }
    )*};
}

scenarios! {
    a_sleeper_is_woken_for_the_last_that_comes {
        threads: &[&[Send(0, 'a')], &[Send(0, 'b')]],
        ends: [Ends::Has(2); WORKERS],
        preemptions: Some(4),
    }
    each_sleeper_is_woken_for_a_broadcast {
        threads: &[&[Broadcast('a')], &[Send(1, 'b')]],
        workers: 2,
        conns: 2,
        members: &[0, 1],
        ends: [Ends::Has(1), Ends::Has(2)],
    }
    what_one_thread_sends_comes_in_that_order {
        threads: &[&[Send(0, 'a'), Owner('b')], &[Send(0, 'c'), Send(1, 'd')]],
        workers: 2,
        conns: 2,
        ends: [Ends::Turns(1); WORKERS],
    }
    a_send_is_flushed_before_a_close_or_told_that_it_is_late {
        threads: &[&[Send(0, 'a'), Close(0), Send(0, 'b')], &[Send(0, 'c'), Send(0, 'd')]],
        preemptions: Some(3),
    }
    two_who_close_end_it_once {
        threads: &[&[Send(0, 'a'), Close(0)], &[Send(0, 'b'), Close(0), Send(0, 'c')]],
    }
    broadcasts_and_sends_keep_their_order {
        threads: &[&[Broadcast('a'), Send(0, 'b')], &[Send(1, 'c'), Broadcast('d')]],
        workers: 2,
        conns: 2,
        members: &[0, 1],
        ends: [Ends::Turns(1); WORKERS],
    }
    who_joins_hears_what_is_broadcast_then {
        threads: &[&[Join(0), Broadcast('a')], &[Broadcast('b'), Close(0)]],
        conns: 2,
        members: &[1],
        preemptions: Some(3),
    }
    an_owner_send_keeps_its_place {
        threads: &[&[Broadcast('a'), Owner('b')], &[Owner('c'), Close(1)]],
        workers: 2,
        conns: 2,
        members: &[0],
        ends: [Ends::Turns(1); WORKERS],
    }
    posts_run_behind_what_was_asked_before {
        threads: &[&[Send(0, 'a'), Post(0, 'p')], &[Post(0, 'q'), Send(0, 'b'), Close(0)]],
        preemptions: Some(3),
    }
    a_callback_says_its_word_behind_what_was_sent_before {
        threads: &[&[Send(0, 'a'), Nudge], &[Send(0, 'b'), Close(0)]],
        preemptions: Some(3),
    }
    a_worker_that_dies_answers_all_receipts {
        threads: &[&[Broadcast('a'), Send(0, 'b')], &[Send(0, 'c'), Broadcast('d')]],
        members: &[0],
        ends: [Ends::Dies(1); WORKERS],
    }
    what_comes_too_late_is_given_up {
        threads: &[&[Join(0), Broadcast('a')], &[Post(0, 'p'), Send(0, 'b'), Close(0)]],
        ends: [Ends::Dies(2); WORKERS],
    }
    a_receipt_can_be_waited_for_though_workers_die {
        threads: &[&[Broadcast('a')], &[Send(0, 'b')]],
        workers: 2,
        conns: 2,
        members: &[0, 1],
        ends: [Ends::Dies(1), Ends::Dies(1)],
        waits: true,
    }
    one_that_is_ended_by_a_broadcast_lets_none_overtake_others {
        threads: &[&[Broadcast('a')], &[Send(1, 'b'), Send(1, 'c')]],
        conns: 2,
        members: &[0],
        is_full: true,
        preemptions: Some(3),
    }
    who_joins_beside_one_that_is_ended_by_a_broadcast_is_a_member {
        threads: &[&[Broadcast('a')], &[Join(1), Broadcast('b')]],
        conns: 2,
        members: &[0],
        is_full: true,
        preemptions: Some(3),
    }
}
