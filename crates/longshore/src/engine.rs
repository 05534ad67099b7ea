//! All workers together: made, started, told to stop.

use crate::config::{
    CONNECTIONS, DRAIN_WITHIN, Limits, MEMORY, MEMORY_PART, SLOW_CALLBACK, SPIN_MICROS,
};
use crate::error::StartError;
use crate::listener::Bound;
use crate::metrics::LaneCounters;
#[cfg(feature = "files")]
use crate::server::open_files::{OPEN_FILES, OpenFiles};
use crate::server::switchboard::Switchboard;
use crate::server::{Inner, TickFn};
use crate::signals::open_files_max;
use crate::worker::Worker;
use crate::worker::core::Core;
use crate::worker::door::ListenerPlan;
use crate::worker::lane::AnyLane;
use crate::{ConfigError, DisconnectReason, Result, Server};
use longshore_base::{Foreign, caught, event};
use longshore_port::{Addr, BindTo, Listening, Notify, Port, PortConfig, SocketOptions, World};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

/// Cores that this process may use: affinity and container limits counted.
pub(crate) fn cores() -> usize {
    thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Descriptors that connections leave for files, the monitor and logging: that part of `most`, or this
/// many.
fn descriptors_reserved(most: usize) -> usize {
    (most / 4).max(64)
}

/// What all connections may take together unless said otherwise, of a process that may use `all`.
fn memory_default(all: Option<u64>) -> u64 {
    let least = *MEMORY.range.start();
    all.map_or(MEMORY.default, |all| (all / MEMORY_PART).clamp(least, MEMORY.default))
}

/// Most connections unless said otherwise: 10,000, or what the limit of open files leaves.
pub(crate) fn connections_default() -> usize {
    let files = open_files_max().unwrap_or(usize::MAX);
    files.saturating_sub(descriptors_reserved(files)).clamp(1, CONNECTIONS.default)
}

/// Descriptors for listeners, ports, logs, and folders on the way to a file.
#[cfg(feature = "files")]
const OTHER_DESCRIPTORS: usize = 32;

/// How many files peers may make a server open: most of what connections leave.
#[cfg(feature = "files")]
fn open_files_default() -> OpenFiles {
    let left = open_files_max().map(|most| descriptors_reserved(most) - OTHER_DESCRIPTORS);
    OpenFiles::new(left.map_or(OPEN_FILES, |left| left.min(OPEN_FILES)))
}

/// Fewer than these by the limit of open files is told: nobody would think of that.
const FEW_CONNECTIONS: usize = 256;

/// The same, when it is taken.
fn take_connections_default() -> usize {
    let count = connections_default();
    if count < FEW_CONNECTIONS {
        let files = open_files_max().unwrap_or(usize::MAX);
        event!(
            warn,
            "limits.connections = {count}: only {files} files may be open, of which \
             {} are kept for other things; raise that (LimitNOFILE, ulimit -n)",
            descriptors_reserved(files)
        );
    }
    count
}

type MakeLane = Box<dyn Fn(&Arc<Switchboard>) -> Box<dyn AnyLane> + Send + Sync>;

/// One listener, set up but not started.
pub(crate) struct Planned {
    pub(crate) at: Result<Bound, ConfigError>,
    pub(crate) backlog: u32,
    pub(crate) options: SocketOptions,
    pub(crate) limits: Arc<Limits>,
    pub(crate) make_lane: MakeLane,
    pub(crate) check: Result<(), ConfigError>,
    pub(crate) counters: Arc<LaneCounters>,
}

/// What a server is to be made of.
pub(crate) struct Setup {
    pub(crate) listeners: Vec<Planned>,
    pub(crate) ticks: Vec<(Duration, TickFn)>,
    pub(crate) workers: Option<usize>,
    pub(crate) connections: Option<usize>,
    pub(crate) memory: Option<u64>,
    pub(crate) drain: Duration,
    pub(crate) spin: Duration,
    pub(crate) port: PortConfig,
    pub(crate) on_thread_start: Option<ThreadHook>,
    pub(crate) slow_callback: Duration,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            listeners: Vec::new(),
            ticks: Vec::new(),
            workers: None,
            connections: None,
            memory: None,
            drain: DRAIN_WITHIN.default,
            spin: Duration::from_micros(SPIN_MICROS.default),
            port: PortConfig::default(),
            on_thread_start: None,
            slow_callback: SLOW_CALLBACK.default,
        }
    }
}

/// What each worker's thread runs first.
pub(crate) type ThreadHook = Arc<Foreign<Box<dyn Fn(WorkerThread) + Send + Sync>>>;

/// A thread of a server, as [`Builder::on_thread_start`](crate::Builder::on_thread_start) sees it.
/// The system calls it `longshore-` and its number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct WorkerThread {
    /// From 0 on, in each server.
    pub number: usize,
    /// Whether it handles connections. The last of several threads only accepts them.
    pub handles: bool,
}

/// A server that is checked and bound.
pub(crate) struct Prepared<W: World> {
    world: W,
    listenings: Vec<Listening>,
    setup: Setup,
    // What it leaves open, settled.
    workers: usize,
    connections: usize,
    memory: u64,
}

impl<W: World> fmt::Debug for Prepared<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prepared").field("listenings", &self.listenings).finish_non_exhaustive()
    }
}

impl<W: World> Prepared<W> {
    /// Binds what a checked setup asks for.
    pub(crate) fn new(world: W, mut setup: Setup) -> Result<Self> {
        let planned = setup.listeners.iter_mut();
        let listenings = planned.map(|planned| bind(&world, planned)).collect::<Result<_>>()?;
        let workers = setup.workers.unwrap_or_else(cores);
        let memory = setup.memory.unwrap_or_else(|| memory_default(world.memory_bytes()));
        let connections = setup.connections.unwrap_or_else(take_connections_default);
        Ok(Self { world, listenings, setup, workers, connections, memory })
    }

    pub(crate) fn local_addrs(&self) -> Vec<Addr> {
        self.listenings.iter().map(|listening| listening.local).collect()
    }

    /// The handle, and what each worker is made of; the door's last.
    fn parts(self) -> (Server, W, Vec<Part>) {
        let board = Switchboard::new(self.workers, self.connections, self.memory);
        #[cfg(feature = "files")]
        let board = board.with_open_files(open_files_default());
        let board = Arc::new(board);
        let addrs = self.local_addrs();
        let Setup { listeners, ticks, port, on_thread_start, slow_callback, spin, drain, .. } =
            self.setup;
        let counters = listeners.iter().map(|planned| Arc::clone(&planned.counters)).collect();
        let listeners = Arc::new(listeners);
        let inner = Inner::new(Arc::clone(&board), addrs, counters, drain);
        let server = Server(Arc::new(inner));
        let door = board.door();
        let mut listenings = Some(self.listenings);
        let mut ticks = Some(ticks);
        let parts = (0..=door)
            .map(|me| Part {
                me,
                server: server.clone(),
                listeners: Arc::clone(&listeners),
                sockets: if me == door { listenings.take() } else { None }.unwrap_or_default(),
                ticks: ticks.take().unwrap_or_default(),
                config: port.clone(),
                on_start: on_thread_start.clone(),
                slow_callback,
                // Who only accepts may as well sleep.
                spin: if usize::from(me) < self.workers { spin } else { Duration::ZERO },
            })
            .collect();
        (server, self.world, parts)
    }

    /// Starts a thread for each worker; returns when all are ready.
    ///
    /// All ports are open before any of them is used: if they do not all open, the world may have
    /// another kind of port, and all workers have the same.
    pub(crate) fn start(self) -> Result<Server> {
        let (server, mut world, parts) = self.parts();
        let (report, reports) = channel();
        let mut verdicts = Vec::new();
        for part in parts {
            let (port_world, report) = (world.clone(), report.clone());
            let (verdict, decided) = channel();
            let me = part.me;
            let run = move || run(port_world, part, &report, &decided);
            if let Err(source) = server.0.threads.start(me, run) {
                server.0.board.leave_desk(me, []);
                drop(verdicts);
                let worker = usize::from(me);
                return stop(&server, StartError::Thread { worker, source });
            }
            verdicts.push(verdict);
        }
        drop(report);
        while let Err(error) = all(&reports, verdicts.len()) {
            let next = match &error {
                StartError::Open { source, .. } => world.fallback(source),
                _ => None,
            };
            let Some(next) = next else {
                drop(verdicts);
                return stop(&server, error);
            };
            world = next;
            send_all(&verdicts, || Verdict::Again(world.clone()));
        }
        let _ = server.0.abilities.set(world.abilities()); // set once, here
        send_all(&verdicts, || Verdict::Go);
        match all(&reports, verdicts.len()) {
            Ok(()) => Ok(server),
            Err(error) => stop(&server, error),
        }
    }

    /// The same workers without threads, for a world that is stepped.
    #[cfg(feature = "testing")]
    pub(crate) fn workers(mut self) -> Result<(Server, Vec<Worker<W::Port>>)> {
        self.setup.spin = Duration::ZERO; // virtual time does not pass while somebody looks
        let (server, world, parts) = self.parts();
        let _ = server.0.abilities.set(world.abilities());
        let workers = parts.into_iter().map(|part| {
            let port = open_port(&world, &part)?;
            Ok(ready(port, part)?)
        });
        Ok((server, workers.collect::<Result<_>>()?))
    }
}

/// Binds one listener in a world.
fn bind<W: World>(world: &W, planned: &mut Planned) -> Result<Listening> {
    let unspecified = SocketAddr::from(([0, 0, 0, 0], 0));
    let at =
        std::mem::replace(&mut planned.at, Ok(Bound::To { addr: unspecified, dual_stack: false }));
    match at? {
        Bound::To { addr, dual_stack } => {
            let (backlog, options) = (planned.backlog, planned.options);
            let to = BindTo { addr, dual_stack, backlog, options };
            world.bind(&to).map_err(|error| StartError::Listen { addr, error }.into())
        }
        Bound::Already(listener) => {
            let addr = listener.local_addr().unwrap_or(unspecified);
            let taken = world.listening_from(listener);
            taken.map_err(|error| StartError::Listen { addr, error }.into())
        }
    }
}

/// How far a worker came, told to the thread that starts the server.
type Report = Result<(), StartError>;

/// What that thread says to a worker that has tried to open its port.
enum Verdict<W> {
    /// All are open.
    Go,
    /// Not all are: another world is taken.
    Again(W),
}

/// Hears one report of each of `count` workers; the first error is the one that counts.
fn all(reports: &Receiver<Report>, count: usize) -> Report {
    let report = |_| reports.recv().unwrap_or(Err(StartError::Panicked { worker: 0 }));
    let reports: Vec<Report> = (0..count).map(report).collect();
    reports.into_iter().collect()
}

fn send_all<W>(verdicts: &[Sender<Verdict<W>>], verdict: impl Fn() -> Verdict<W>) {
    for to in verdicts {
        let _ = to.send(verdict()); // who is gone has reported that
    }
}

/// Stops what was started already.
fn stop(server: &Server, error: StartError) -> Result<Server> {
    server.shutdown(Duration::ZERO);
    let _ = server.wait();
    Err(error.into())
}

/// What one worker is made of.
struct Part {
    me: u16,
    server: Server,
    listeners: Arc<Vec<Planned>>,
    sockets: Vec<Listening>,
    ticks: Vec<(Duration, TickFn)>,
    config: PortConfig,
    on_start: Option<ThreadHook>,
    slow_callback: Duration,
    spin: Duration,
}

/// Opens a worker's port, on the thread that will drive it.
fn open_port<W: World>(world: &W, made_of: &Part) -> Result<W::Port, StartError> {
    let worker = usize::from(made_of.me);
    let opened = caught(|| world.open(&made_of.config));
    let opened = opened.map_err(|_| StartError::Panicked { worker })?;
    opened.map_err(|source| StartError::Open { worker, source })
}

/// Opens ports until there is one that every worker has.
fn agree<W: World>(
    mut world: W,
    made_of: &Part,
    report: &Sender<Report>,
    decided: &Receiver<Verdict<W>>,
) -> Option<W::Port> {
    loop {
        let (told, port) = match open_port(&world, made_of) {
            Ok(port) => (Ok(()), Some(port)),
            Err(error) => (Err(error), None),
        };
        let _ = report.send(told); // whoever starts us waits for it
        match decided.recv() {
            Ok(Verdict::Go) => return port,
            Ok(Verdict::Again(other)) => world = other,
            Err(_) => return None,
        }
    }
}

/// Makes the worker, with its listeners and ticks.
fn ready<P: Port>(mut port: P, made_of: Part) -> Result<Worker<P>, StartError> {
    let Part { me, server, listeners, sockets, ticks, spin, slow_callback, .. } = made_of;
    let number = usize::from(me);
    let board = Arc::clone(&server.0.board);
    let notifier = port.notifier();
    let woken = board.desks[number].wake.set(Box::new(move || notifier.notify()));
    debug_assert!(woken.is_ok(), "a worker opens one port");
    let lanes = listeners.iter().map(|planned| (planned.make_lane)(&board)).collect();
    let core = Core::new(me, board, server, port.now(), port.seed());
    let mut worker = Worker::new(port, core, lanes, spin, slow_callback);
    for (lane, (listening, planned)) in sockets.into_iter().zip(listeners.iter()).enumerate() {
        let addr = listening.local;
        let plan = Arc::new(ListenerPlan { addr, limits: Arc::clone(&planned.limits) });
        let lane = u16::try_from(lane).expect("checked when it was built");
        worker.listen(listening, plan, lane).map_err(|error| match addr.socket_addr() {
            Some(addr) => StartError::Listen { addr, error },
            None => StartError::Open { worker: number, source: error },
        })?;
    }
    for (period, tick) in ticks {
        worker.every(period, tick);
    }
    Ok(worker)
}

/// A worker's thread.
fn run<W: World>(
    world: W,
    made_of: Part,
    report: &Sender<Report>,
    decided: &Receiver<Verdict<W>>,
) -> Result<(), StartError> {
    let me = made_of.me;
    let number = usize::from(me);
    let server = made_of.server.clone();
    if let Some(hook) = &made_of.on_start {
        let thread = WorkerThread { number, handles: number < server.workers() };
        if caught(|| hook(thread)).is_err() {
            server.0.board.leave_desk(me, []);
            let _ = report.send(Err(StartError::Panicked { worker: number }));
            return Ok(());
        }
    }
    let Some(port) = agree(world, &made_of, report, decided) else {
        server.0.board.leave_desk(me, []); // nobody will look at it
        return Ok(());
    };
    let made = caught(|| ready(port, made_of));
    let mut worker = match made.unwrap_or(Err(StartError::Panicked { worker: number })) {
        Ok(worker) => worker,
        Err(error) => {
            server.0.board.leave_desk(me, []);
            let _ = report.send(Err(error));
            return Ok(());
        }
    };
    let _ = report.send(Ok(()));
    let ended = caught(|| {
        while worker.turn(true)? {}
        Ok(())
    });
    let error = match ended {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(source)) => StartError::PortDied { worker: number, source },
        Err(_) => StartError::Panicked { worker: number },
    };
    server.0.board.leave_desk(me, []); // nobody is sent there any more
    server.drain(); // the others finish what they have
    event!(error, %error, "the server stops");
    // Whatever state it is in: each handler is owed its end.
    drop(caught(|| {
        worker.bury(|| match &error {
            StartError::PortDied { source, .. } => DisconnectReason::Io(*source),
            other => DisconnectReason::Said(other.to_string().into()),
        });
    }));
    Err(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::mailbox::Cmd;
    use crate::{Closed, Ctx, Handler, LengthDelimited, Listener};
    use longshore_base::{Time, Token};
    use longshore_port::{
        Abilities, BindTo, Call, Completion, ConnectTo, DriverChoice, ErrorKind, Link, Op, OpKind,
        PortError, SocketId, SystemNotifier, SystemPort, SystemWorld, Unattached, Until, Waited,
        Work,
    };
    use std::net::{Ipv4Addr, SocketAddr, TcpStream};
    use std::sync::atomic::{AtomicBool, Ordering};

    /// A world of which the ports do not open, or die.
    #[derive(Clone)]
    struct Mortal {
        world: SystemWorld,
        opens: bool,
        /// The port of the first worker dies in its next wait.
        dies: Arc<AtomicBool>,
    }

    impl Mortal {
        fn new(opens: bool) -> Self {
            let world = SystemWorld::new(DriverChoice::Auto).unwrap();
            Self { world, opens, dies: Arc::default() }
        }
    }

    impl World for Mortal {
        type Port = MortalPort;

        fn bind(&self, to: &BindTo) -> Result<Listening, PortError> {
            self.world.bind(to)
        }

        fn listening_from(&self, socket: std::net::TcpListener) -> Result<Listening, PortError> {
            self.world.listening_from(socket)
        }

        fn open(&self, config: &PortConfig) -> Result<MortalPort, PortError> {
            if !self.opens {
                return Err(PortError::new(Call::Open, ErrorKind::NoMemory));
            }
            let first = thread::current().name() == Some("longshore-0");
            let dies = if first { Arc::clone(&self.dies) } else { Arc::default() };
            Ok(MortalPort { port: self.world.open(config)?, dies })
        }

        fn now(&self) -> Time {
            self.world.now()
        }

        fn abilities(&self) -> Abilities {
            self.world.abilities()
        }
    }

    struct MortalPort {
        port: SystemPort,
        dies: Arc<AtomicBool>,
    }

    impl Port for MortalPort {
        type Notifier = SystemNotifier;

        fn now(&self) -> Time {
            self.port.now()
        }
        fn precise_now(&self) -> Time {
            self.port.precise_now()
        }
        fn coarse_now(&self) -> Time {
            self.port.coarse_now()
        }
        fn seed(&mut self) -> u64 {
            self.port.seed()
        }
        fn notifier(&self) -> SystemNotifier {
            self.port.notifier()
        }
        fn abilities(&self) -> Abilities {
            self.port.abilities()
        }
        fn attach(
            &mut self,
            socket: Unattached,
            token: Token,
        ) -> Result<SocketId, (PortError, Unattached)> {
            self.port.attach(socket, token)
        }
        fn listen(&mut self, listening: Listening, token: Token) -> Result<SocketId, PortError> {
            self.port.listen(listening, token)
        }
        fn connect(&mut self, to: &ConnectTo, token: Token) -> Result<SocketId, PortError> {
            self.port.connect(to, token)
        }
        fn submit(&mut self, socket: SocketId, op: Op) {
            self.port.submit(socket, op);
        }
        fn cancel(&mut self, socket: SocketId, kind: OpKind) {
            self.port.cancel(socket, kind);
        }
        fn link(&self, socket: SocketId) -> Link {
            self.port.link(socket)
        }
        fn start(&mut self, token: Token, work: Work) {
            self.port.start(token, work);
        }
        fn wait(&mut self, until: Until, out: &mut Vec<Completion>) -> Result<Waited, PortError> {
            if self.dies.load(Ordering::Relaxed) {
                return Err(PortError::new(Call::Wait, ErrorKind::NoMemory));
            }
            self.port.wait(until, out)
        }
        fn leases(&self) -> usize {
            self.port.leases()
        }
        fn sockets(&self) -> usize {
            self.port.sockets()
        }
    }

    /// Tells of its end.
    struct Told(Sender<(u64, String)>);

    impl Handler for Told {
        type Codec = LengthDelimited;

        fn on_message(&mut self, cx: &mut Ctx<'_, Self>, frame: &[u8]) -> Result {
            cx.send(frame)
        }

        fn on_disconnect(self, closed: &Closed<'_>) {
            self.0.send((closed.id.to_bits() >> 48, closed.reason.to_string())).unwrap();
        }
    }

    #[test]
    fn a_worker_that_dies_ends_its_connections_and_the_server_with_its_error() {
        let world = Mortal::new(true);
        let dies = Arc::clone(&world.dies);
        let (told, ends) = channel();
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = Listener::addr(at, LengthDelimited::u32_be(64));
        let builder =
            Server::builder().workers(2).listen(listener, move |_| Ok(Told(told.clone())));
        let server = Prepared::new(world, builder.setup).unwrap().start().unwrap();
        let addr = server.local_addrs()[0].socket_addr().unwrap();
        let mut peers: Vec<_> = (0..4).map(|_| TcpStream::connect(addr).unwrap()).collect();
        for peer in &mut peers {
            use std::io::{Read, Write};
            peer.write_all(&[0, 0, 0, 1, 7]).unwrap();
            peer.read_exact(&mut [0; 5]).unwrap();
        }
        let handles = server.connections();
        assert_eq!(handles.iter().filter(|conn| conn.id.to_bits() >> 48 == 0).count(), 2);
        dies.store(true, Ordering::Relaxed);
        let woken = server.0.board.desks[0].wake.get();
        woken.inspect(|wake| wake());
        let mut ended: Vec<_> = (0..2).map(|_| ends.recv().unwrap()).collect();
        drop(peers); // the other worker's leave
        ended.extend((0..2).map(|_| ends.recv().unwrap()));
        for (worker, reason) in ended {
            assert_eq!(reason.contains("memory"), worker == 0, "{worker}: {reason}");
        }
        let error = server.wait().unwrap_err().to_string();
        assert!(error.starts_with("the completion port of worker 0 died: "), "{error}");
        assert_eq!((server.connection_count(), server.connections().len()), (0, 0));
        assert_eq!(server.close(handles[0].id), crate::Sent::Closed);
    }

    #[test]
    fn nobody_is_sent_to_a_worker_that_is_gone() {
        let board = Switchboard::new(3, 10, u64::MAX);
        assert_eq!((board.assign(), board.assign()), (0, 1));
        board.leave_desk(0, []);
        board.leave_desk(2, []);
        assert_eq!((board.assign(), board.assign()), (1, 1));
    }

    #[test]
    fn nothing_is_left_at_the_desk_of_a_worker_whose_hook_panicked() {
        let builder = Server::builder().workers(1).on_thread_start(|_| panic!("on purpose"));
        let (server, world, mut parts) =
            Prepared::new(Mortal::new(true), builder.setup).unwrap().parts();
        let ((report, told), (_verdict, decided)) = (channel(), channel());
        run(world, parts.remove(0), &report, &decided).unwrap();
        assert!(matches!(told.recv(), Ok(Err(StartError::Panicked { worker: 0 }))));
        let late = Cmd::Shutdown { within: Duration::ZERO };
        assert!(server.0.board.desks[0].mailbox.push(late).is_err());
    }

    #[test]
    fn nothing_is_left_at_the_desk_of_a_worker_that_never_opened() {
        let builder = Server::builder().workers(1);
        let (server, world, mut parts) =
            Prepared::new(Mortal::new(false), builder.setup).unwrap().parts();
        let ((report, told), (verdict, decided)) = (channel(), channel());
        drop(verdict);
        run(world, parts.remove(0), &report, &decided).unwrap();
        assert!(matches!(told.recv(), Ok(Err(StartError::Open { worker: 0, .. }))));
        let late = Cmd::Shutdown { within: Duration::ZERO };
        assert!(server.0.board.desks[0].mailbox.push(late).is_err());
    }

    #[test]
    fn a_port_that_does_not_open_names_its_worker_and_a_remedy() {
        let builder = Server::builder().workers(3);
        let error = Prepared::new(Mortal::new(false), builder.setup).unwrap().start().unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("cannot open the completion port of worker "), "{text}");
        assert!(text.contains("ulimit -l") && text.contains("out of memory"), "{text}");
    }
}
