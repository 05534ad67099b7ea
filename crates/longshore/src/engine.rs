//! Threads: started, told to stop, joined. Nobody else in this crate starts one.

use crate::error::StartError;
use crate::server::{Builder, Inner, ListenerPlan, Planned, TickFn, bind};
use crate::worker::Worker;
use crate::worker::core::Core;
use crate::worker::switchboard::Switchboard;
use crate::{Result, Server};
use longshore_port::{Addr, Listening, Notify, Port, PortConfig, PortError, World};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Cores that this process may use: affinity and container limits counted.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Descriptors that are kept for files, the monitor and logging.
const DESCRIPTOR_RESERVE: usize = 64;

/// Most connections unless said otherwise: 10,000, or what the limit of open files permits.
pub(crate) fn connections_default() -> usize {
    let files = crate::signals::open_files_max().unwrap_or(usize::MAX);
    files.saturating_sub(DESCRIPTOR_RESERVE).clamp(1, 10_000)
}

/// A server that is checked and bound.
pub(crate) struct Prepared<W: World> {
    world: W,
    workers: usize,
    listenings: Vec<Listening>,
    listeners: Arc<Vec<Planned>>,
    ticks: Vec<(Duration, TickFn)>,
    config: PortConfig,
    connections: usize,
    drain: Duration,
    spin: Duration,
}

impl<W: World> fmt::Debug for Prepared<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prepared").field("listenings", &self.listenings).finish_non_exhaustive()
    }
}

impl<W: World> Prepared<W> {
    /// Binds what a checked builder asks for.
    pub(crate) fn new(world: W, builder: Builder) -> Result<Self> {
        let Builder { mut listeners, ticks, workers, connections, drain, spin, port, .. } = builder;
        let listenings =
            listeners.iter_mut().map(|planned| bind(&world, planned)).collect::<Result<_>>()?;
        Ok(Self {
            world,
            workers: workers.unwrap_or_else(cores),
            listenings,
            listeners: Arc::new(listeners),
            ticks,
            config: port,
            connections: connections.unwrap_or_else(connections_default),
            drain,
            spin,
        })
    }

    pub(crate) fn local_addrs(&self) -> Vec<Addr> {
        self.listenings.iter().map(|listening| listening.local).collect()
    }

    /// The handle, and what each worker is made of; the door's last.
    fn parts(self) -> (Server, W, Vec<Part>) {
        let board = Arc::new(Switchboard::new(self.workers, self.connections));
        let addrs = self.local_addrs();
        let abilities = self.world.abilities();
        let inner = Inner::new(Arc::clone(&board), addrs, abilities, &self.listeners, self.drain);
        let server = Server(Arc::new(inner));
        let door = board.door();
        let mut listenings = Some(self.listenings);
        let mut ticks = Some(self.ticks);
        let parts = (0..=door)
            .map(|me| Part {
                me,
                server: server.clone(),
                listeners: Arc::clone(&self.listeners),
                sockets: if me == door { listenings.take() } else { None }.unwrap_or_default(),
                ticks: ticks.take().unwrap_or_default(),
                config: self.config.clone(),
                // Who only accepts may as well sleep.
                spin: if usize::from(me) < self.workers { self.spin } else { Duration::ZERO },
            })
            .collect();
        (server, self.world, parts)
    }

    /// Starts a thread for each worker; returns when all their ports are open.
    pub(crate) fn start(self) -> Result<Server> {
        let (server, world, parts) = self.parts();
        let (opened, all_opened) = channel();
        let count = parts.len();
        for part in parts {
            let (port_world, opened) = (world.clone(), opened.clone());
            let me = part.me;
            let name = format!("longshore-{me}");
            let run = move || run(&port_world, part, opened);
            match std::thread::Builder::new().name(name).spawn(run) {
                Ok(thread) => server.0.threads.add(me, thread),
                Err(source) => {
                    server.0.board.leave_desk(me, []);
                    let worker = usize::from(me);
                    return stop(&server, StartError::Thread { worker, source });
                }
            }
        }
        drop(opened);
        for _ in 0..count {
            match all_opened.recv() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return stop(&server, error),
                Err(_) => return stop(&server, StartError::Panicked { worker: 0 }),
            }
        }
        Ok(server)
    }

    /// The same workers without threads, for a world that is stepped.
    #[cfg(feature = "testing")]
    pub(crate) fn workers(mut self) -> Result<(Server, Vec<Worker<W::Port>>)> {
        self.spin = Duration::ZERO; // virtual time does not pass while somebody looks
        let (server, world, parts) = self.parts();
        let workers = parts.into_iter().map(|part| open(&world, part).map_err(Into::into));
        Ok((server, workers.collect::<Result<_>>()?))
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
    spin: Duration,
}

/// Opens the port and makes the worker, on the thread that will drive it.
fn open<W: World>(world: &W, made_of: Part) -> Result<Worker<W::Port>, StartError> {
    let Part { me, server, listeners, sockets, ticks, config, spin } = made_of;
    let number = usize::from(me);
    let failed = |source: PortError| StartError::Open { worker: number, source };
    let mut port = world.open(&config).map_err(failed)?;
    let board = Arc::clone(&server.0.board);
    let notifier = port.notifier();
    let woken = board.desks[number].wake.set(Box::new(move || notifier.notify()));
    debug_assert!(woken.is_ok(), "a worker opens one port");
    let lanes = listeners.iter().map(|planned| (planned.make_lane)(&board)).collect();
    let core = Core::new(me, board, server, port.now(), port.seed());
    let mut worker = Worker::new(port, core, lanes, spin);
    for (lane, (listening, planned)) in sockets.into_iter().zip(listeners.iter()).enumerate() {
        let addr = listening.local;
        let plan = Arc::new(ListenerPlan { addr, limits: planned.limits.clone() });
        let lane = u16::try_from(lane).expect("checked when it was built");
        worker.listen(listening, plan, lane).map_err(failed)?;
    }
    for (period, tick) in ticks {
        worker.every(period, tick);
    }
    Ok(worker)
}

/// A worker's thread.
fn run<W: World>(
    world: &W,
    part: Part,
    report: Sender<Result<(), StartError>>,
) -> Result<(), StartError> {
    let me = part.me;
    let number = usize::from(me);
    let server = part.server.clone();
    let mut worker = match open(world, part) {
        Ok(worker) => worker,
        Err(error) => {
            server.0.board.leave_desk(me, []); // nobody will look at it
            let _ = report.send(Err(error)); // whoever starts us waits for it
            return Ok(());
        }
    };
    let _ = report.send(Ok(()));
    drop(report); // so that a thread that dies unheard ends the wait for its report
    let ended = catch_unwind(AssertUnwindSafe(|| {
        while worker.turn(true)? {}
        Ok(())
    }));
    let error = match ended {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(source)) => StartError::PortDied { worker: number, source },
        Err(_) => StartError::Panicked { worker: number },
    };
    tracing::error!(%error, "the server stops");
    server.drain(); // the others finish what they have
    Err(error)
}

/// Starts a thread that nobody joins: it ends with the process.
pub(crate) fn detach(name: &str, run: impl FnOnce() + Send + 'static) {
    if let Err(error) = std::thread::Builder::new().name(name.into()).spawn(run) {
        tracing::error!(%error, "cannot start the thread {name}");
    }
}

type Running = (u16, JoinHandle<Result<(), StartError>>);

/// The threads of a server, until somebody waits for them.
#[derive(Debug, Default)]
pub(crate) struct Threads(Mutex<Vec<Running>>);

impl Threads {
    fn add(&self, worker: u16, thread: JoinHandle<Result<(), StartError>>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((worker, thread));
    }

    /// Waits for all of them (S103). Several may wait; the first gets the error.
    pub(crate) fn join(&self) -> Result {
        // Held while waiting, so that a second caller returns no earlier than the first.
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut result = Ok(());
        for (worker, thread) in running.drain(..) {
            let worker = usize::from(worker);
            let ended = thread.join().unwrap_or(Err(StartError::Panicked { worker }));
            result = result.and(ended);
        }
        Ok(result?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::mailbox::Cmd;
    use longshore_port::{
        Abilities, BindTo, Call, DriverChoice, ErrorKind, SystemPort, SystemWorld,
    };

    /// A world whose ports do not open.
    #[derive(Clone)]
    struct Portless(SystemWorld);

    impl World for Portless {
        type Port = SystemPort;

        fn bind(&self, to: &BindTo) -> Result<Listening, PortError> {
            self.0.bind(to)
        }

        fn listening_from(&self, socket: std::net::TcpListener) -> Result<Listening, PortError> {
            self.0.listening_from(socket)
        }

        fn open(&self, _config: &PortConfig) -> Result<SystemPort, PortError> {
            Err(PortError::new(Call::Open, ErrorKind::NoMemory))
        }

        fn now(&self) -> longshore_base::Time {
            self.0.now()
        }

        fn abilities(&self) -> Abilities {
            self.0.abilities()
        }
    }

    #[test]
    fn nothing_is_left_at_the_desk_of_a_worker_that_never_opened() {
        let world = Portless(SystemWorld::new(DriverChoice::Readiness).unwrap());
        let builder = Server::builder().workers(1).spin(Duration::ZERO);
        let (server, world, mut parts) = Prepared::new(world, builder).unwrap().parts();
        let (report, told) = channel();
        run(&world, parts.remove(0), report).unwrap();
        assert!(matches!(told.recv(), Ok(Err(StartError::Open { worker: 0, .. }))));
        let late = Cmd::Shutdown { within: Duration::ZERO };
        assert!(server.0.board.desks[0].mailbox.push(late).is_err());
    }
}
