//! A server: how it is set up, and the handle on it while it runs.

use crate::config::{
    CONNECTIONS, ConnLimits, DRAIN_WITHIN, DURATION_MAX, Limits, MEMORY, MEMORY_PART, in_range,
};
use crate::conn::{Conn, ConnId, ConnInfo, Sent};
use crate::engine::{self, Threads};
use crate::listener::{Bound, Listener};
use crate::metrics::{LaneCounters, Snapshot};
use crate::worker::dial::DialStart;
use crate::worker::lane::{AnyLane, Factory, Lane, LaneShared};
use crate::worker::mailbox::{Cmd, Ending};
use crate::worker::switchboard::{Named, Switchboard};
use crate::{ConfigError, Connector, Handler, Peer, Reject, Result};
use longshore_base::{Foreign, Time};
use longshore_port::{Abilities, Addr, BindTo, DriverChoice, PortConfig, SystemWorld, World};
use longshore_proto::Codec;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

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
    /// Sets a server up.
    pub fn builder() -> Builder {
        Builder::default()
    }

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

    /// Stops accepting, asks each connection's `on_shutdown`, and aborts at the end of `within`
    /// what is left. Returns at once; [`wait`](Self::wait) returns when all is over. From any
    /// thread, callbacks included. A second call with a shorter time shortens it.
    pub fn shutdown(&self, within: Duration) {
        self.0.board.push_all(|| Cmd::Shutdown { within });
    }

    /// [`shutdown`](Self::shutdown) within the time that the builder was given.
    pub fn drain(&self) {
        self.shutdown(self.0.drain);
    }

    /// Drains at the first SIGINT, SIGTERM or Ctrl-C from now on; a second signal ends the process
    /// at once, with code 128 + its number. What [`Builder::run`] does, for those who want the
    /// server in hand meanwhile.
    ///
    /// # Errors
    /// When the system refuses to tell of signals.
    pub fn drain_on_signals(&self) -> Result {
        crate::signals::Signals::new()?.drain_on_first(self);
        Ok(())
    }

    /// Waits until the server has stopped.
    ///
    /// # Errors
    /// When a worker died: its port failed, or it panicked. On a thread of this server, in a
    /// callback for one, at once: it would wait for itself.
    pub fn wait(&self) -> Result {
        self.0.threads.join()
    }

    /// Connects to another server, on the least loaded worker. `factory` makes the handler when
    /// the connection stands, again after each reconnect.
    ///
    /// # Errors
    /// When the connector's settings cannot work. That it cannot connect is told to
    /// [`Connector::on_failure`].
    pub fn connect<H, F>(&self, connector: Connector<H::Codec>, factory: F) -> Result
    where
        H: Handler,
        F: FnMut(&Peer<'_>) -> Result<H, Reject> + Send + 'static,
    {
        connector.check()?;
        let start = Box::new(DialStart::new(connector, factory));
        self.0.board.push(self.0.board.assign(), Cmd::Dial(start));
        Ok(())
    }

    /// Connections that are open now.
    pub fn connection_count(&self) -> usize {
        self.0.board.open_connections()
    }

    /// All connections. A view that is a little old when it returns.
    pub fn connections(&self) -> Vec<ConnInfo> {
        self.0.board.all().iter().map(|shared| shared.info()).collect()
    }

    /// A handle on the connection of that name. `None` if it is gone, or if its handler is no `H`:
    /// where listeners have several, ask for one after the other.
    ///
    /// ```
    /// use longshore::{ConnId, Handler, Lines, Sent, Server};
    ///
    /// /// What a console does for `tell ID TEXT`.
    /// fn tell<H>(server: &Server, id: ConnId, text: &str) -> Sent
    /// where
    ///     H: Handler<Codec = Lines>,
    /// {
    ///     server.conn::<H>(id).map_or(Sent::Closed, |conn| conn.send(text))
    /// }
    /// # fn main() {}
    /// ```
    pub fn conn<H: Handler>(&self, id: ConnId) -> Option<Conn<H>> {
        let Named { shared, lane } = self.0.board.find(id)?;
        let lane = lane.upgrade()?.downcast::<LaneShared<H>>().ok()?;
        Some(Conn { shared, lane })
    }

    /// Closes the connection of that name, gracefully. [`Sent::Closed`] if it is gone already, else
    /// `Queued`: a name may be that of nobody, unlike a [`Conn`].
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
        snapshot.messages_refused +=
            self.0.board.messages_refused.load(std::sync::atomic::Ordering::Relaxed);
        snapshot.refused_by_shutdown +=
            self.0.board.refused_by_shutdown.load(std::sync::atomic::Ordering::Relaxed);
        snapshot
    }

    /// Sends of handles on any thread that were refused as full, for each listener.
    pub fn refused_sends(&self) -> Vec<u64> {
        self.0.lane_counters.iter().map(|counters| counters.read()).collect()
    }
}

/// What a tick is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Tick {
    /// Which one: 1, 2, 3 ... Those that were missed are counted.
    pub number: u64,
    /// How many were missed just before this one, because the worker was late.
    pub missed: u64,
    /// The time on the port's clock, the same as [`Ctx::now`](crate::Ctx::now).
    pub now: Time,
}

pub(crate) type TickFn = Box<dyn FnMut(&Server, Tick) + Send>;

/// A listener as the worker that accepts for it sees it.
#[derive(Debug)]
pub(crate) struct ListenerPlan {
    pub(crate) addr: Addr,
    pub(crate) limits: Limits,
}

type MakeLane = Box<dyn Fn(&Arc<Switchboard>) -> Box<dyn AnyLane> + Send + Sync>;

/// One listener, set up but not started.
pub(crate) struct Planned {
    pub(crate) at: Result<Bound, ConfigError>,
    pub(crate) backlog: u32,
    pub(crate) options: longshore_port::SocketOptions,
    pub(crate) limits: Limits,
    pub(crate) make_lane: MakeLane,
    check: Result<(), ConfigError>,
    counters: Arc<LaneCounters>,
}

/// Sets a server up. Nothing is started, and nothing refused, before [`build`](Self::build),
/// [`start`](Self::start) or [`run`](Self::run).
#[must_use = "a builder does nothing until `run` or `start`"]
pub struct Builder {
    pub(crate) listeners: Vec<Planned>,
    pub(crate) ticks: Vec<(Duration, TickFn)>,
    pub(crate) workers: Option<usize>,
    pub(crate) connections: Option<usize>,
    pub(crate) memory: Option<u64>,
    pub(crate) driver: DriverChoice,
    pub(crate) drain: Duration,
    pub(crate) spin: Duration,
    pub(crate) port: PortConfig,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            listeners: Vec::new(),
            ticks: Vec::new(),
            workers: None,
            connections: None,
            memory: None,
            driver: DriverChoice::Auto,
            drain: DRAIN_WITHIN.default,
            spin: Duration::from_micros(10),
            port: PortConfig::default(),
        }
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("listeners", &self.listeners.len()).finish_non_exhaustive()
    }
}

/// Most workers of a server.
const WORKERS_MAX: usize = 1024;

/// Most connections of a server: what the names of slots can tell apart.
pub(crate) const CONNECTIONS_MAX: usize = *CONNECTIONS.range.end();

impl Builder {
    /// Listens with `listener`; `factory` makes the handler value of each connection, or refuses
    /// it. It runs on the connection's worker, so it may be called by several threads at once.
    #[expect(clippy::missing_panics_doc, reason = "the codec is taken out once, by the first lane")]
    pub fn listen<C, H, F>(mut self, listener: Listener<C>, factory: F) -> Self
    where
        C: Codec,
        H: Handler<Codec = C>,
        F: Fn(&Peer<'_>) -> Result<H, Reject> + Send + Sync + 'static,
    {
        let check = listener.check();
        let Listener { at, codec, limits, role, backlog, options, filter } = listener;
        let counters = Arc::new(LaneCounters::default());
        let for_lane = Arc::clone(&counters);
        let conn_limits = Arc::new(limits.for_conns(role));
        let (codec, factory) = (Mutex::new(Some(codec)), Arc::new(factory));
        let shared: Mutex<Option<Arc<LaneShared<H>>>> = Mutex::new(None);
        let make_lane = Box::new(move |board: &Arc<Switchboard>| {
            let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
            let shared = shared.get_or_insert_with(|| {
                let codec = codec.lock().unwrap_or_else(PoisonError::into_inner).take();
                lane_shared(codec.expect("made once"), &conn_limits, board, &for_lane)
            });
            let factory = Arc::clone(&factory);
            let factory: Factory<H> = Foreign::new(Box::new(move |peer| factory(peer)));
            Box::new(Lane::of_listener(Arc::clone(shared), factory, filter.clone()))
                as Box<dyn AnyLane>
        });
        self.listeners.push(Planned { at, backlog, options, limits, make_lane, check, counters });
        self
    }

    /// Threads that handle connections, 1 to 1,024. Default one for each core that the process may
    /// use. With more than one, another thread accepts.
    pub fn workers(mut self, count: usize) -> Self {
        self.workers = Some(count);
        self
    }

    /// Most connections at a time, 1 to 67,108,864. Default 10,000, or 64 less than the limit of
    /// open files if that is lower.
    pub fn connections(mut self, count: usize) -> Self {
        self.connections = Some(count);
        self
    }

    /// Bytes that all connections together may take: what is queued for them, received and not looked
    /// at, frames that are torn, and what filters keep. 1 MiB or more; `u64::MAX` for unlimited.
    /// Default the smaller of 256 MiB and a quarter of what the process may use, which a container
    /// may bound.
    ///
    /// From 80 % on nothing is read from those that hold most, from 92 % on nobody new is taken in,
    /// and from 95 % on, or if it does not become less in 10 s, those that hold most are ended
    /// ([`Overload`](crate::DisconnectReason::Overload)). What would go over the whole is refused as
    /// full, but for the first 16 KiB of each connection. Not counted are a worker's own buffers (see
    /// [`port`](Self::port)), the kernel's, and what handlers keep.
    pub fn memory(mut self, bytes: u64) -> Self {
        self.memory = Some(bytes);
        self
    }

    /// Which driver to take. Default the best that this system permits.
    pub fn driver(mut self, choice: DriverChoice) -> Self {
        self.driver = choice;
        self
    }

    /// How long [`run`](Self::run) drains when it is told to stop. Default 30 s.
    pub fn drain_within(mut self, within: Duration) -> Self {
        self.drain = within;
        self
    }

    /// The most that a look for more may take before a worker sleeps, 0 to 1 ms. Default 10 µs, about
    /// what sleeping and being woken cost; zero is never.
    ///
    /// A worker looks only while nearly all of its recent looks brought something: with one
    /// connection that talks back and forth that doubles the messages per second. More than the
    /// default finds more, and answers sooner at a moderate load, at the price of a core that is
    /// busy all the time then. With many connections nobody sleeps anyway.
    pub fn spin(mut self, most: Duration) -> Self {
        self.spin = most;
        self
    }

    /// Sizes of each worker's port. The defaults suit nearly everybody.
    pub fn port(mut self, config: PortConfig) -> Self {
        self.port = config;
        self
    }

    /// Calls `run` every `period` (1 ms to 366 days), at a fixed rate, on a worker, on the port's
    /// clock. It never overlaps itself and ends with the server.
    pub fn every(
        mut self,
        period: Duration,
        run: impl FnMut(&Server, Tick) + Send + 'static,
    ) -> Self {
        self.ticks.push((period, Box::new(run)));
        self
    }

    /// Whether these settings can work.
    ///
    /// # Errors
    /// Names option, value and range.
    pub fn check(&self) -> Result<(), ConfigError> {
        if let Some(count) = self.workers {
            let default = format!("one per core, {} here", engine::cores());
            in_range("workers", count, 1..=WORKERS_MAX, &default)?;
        }
        if let Some(count) = self.connections {
            let default = format!("{} here", engine::connections_default());
            in_range(CONNECTIONS.name, count, CONNECTIONS.range, &default)?;
        }
        if let Some(bytes) = self.memory {
            let (most, part) = (MEMORY.default, MEMORY_PART);
            let default = format!("{most}, or 1/{part} of what the process may use if less");
            in_range(MEMORY.name, bytes, MEMORY.range, &default)?;
        }
        DRAIN_WITHIN.check(self.drain)?;
        in_range("spin (in µs)", self.spin.as_micros(), 0..=1_000, "10")?;
        self.port.check().map_err(ConfigError::from)?;
        for (period, _) in &self.ticks {
            if !(Duration::from_millis(1)..=DURATION_MAX).contains(period) {
                return Err(ConfigError::OutOfRange {
                    option: "every",
                    value: format!("{period:?}"),
                    range: "1 ms to 366 days".into(),
                });
            }
        }
        let most = usize::from(u16::MAX);
        in_range("listeners", self.listeners.len(), 0..=most, "none")?;
        for listener in &self.listeners {
            listener.at.as_ref().map_err(Clone::clone)?;
            listener.check.clone()?;
        }
        Ok(())
    }

    /// Checks and binds. Connections may wait already; [`Ready::start`] begins to accept them.
    ///
    /// # Errors
    /// Settings that cannot work, addresses that cannot be listened on.
    pub fn build(self) -> Result<Ready> {
        self.check()?;
        let world = SystemWorld::new(self.driver).map_err(ConfigError::from)?;
        Ok(Ready(engine::Prepared::new(world, self)?))
    }

    /// Starts and returns; signals are the caller's.
    ///
    /// # Errors
    /// As [`build`](Self::build), and when a thread or its port cannot be had.
    pub fn start(self) -> Result<Server> {
        self.build()?.start()
    }

    /// Starts, drains at SIGINT, SIGTERM or Ctrl-C, and returns when that is over. A second signal
    /// ends the process at once, with code 128 + its number.
    ///
    /// # Errors
    /// As [`start`](Self::start), and when a worker died.
    pub fn run(self) -> Result {
        let ready = self.build()?;
        let signals = crate::signals::Signals::new()?;
        let server = ready.start()?;
        signals.drain_on_first(&server);
        server.wait()
    }
}

/// A server that is bound and ready to start.
#[derive(Debug)]
pub struct Ready(engine::Prepared<SystemWorld>);

impl Ready {
    /// Where each listener is, in their order.
    pub fn local_addrs(&self) -> Vec<Addr> {
        self.0.local_addrs()
    }

    /// Starts the workers.
    ///
    /// # Errors
    /// When a thread or its port cannot be had.
    pub fn start(self) -> Result<Server> {
        self.0.start()
    }
}

fn lane_shared<H: Handler>(
    codec: H::Codec,
    limits: &Arc<ConnLimits>,
    board: &Arc<Switchboard>,
    counters: &Arc<LaneCounters>,
) -> Arc<LaneShared<H>> {
    Arc::new(LaneShared {
        codec: Foreign::new(codec),
        limits: Arc::clone(limits),
        board: Arc::clone(board),
        counters: Arc::clone(counters),
    })
}

impl Inner {
    pub(crate) fn new(
        board: Arc<Switchboard>,
        local_addrs: Vec<Addr>,
        listeners: &[Planned],
        drain: Duration,
    ) -> Self {
        let lane_counters = listeners.iter().map(|planned| Arc::clone(&planned.counters)).collect();
        let threads = Threads::default();
        let abilities = OnceLock::new();
        Self { board, local_addrs, abilities, lane_counters, threads, drain }
    }
}

/// Binds one listener in a world.
pub(crate) fn bind<W: World>(
    world: &W,
    planned: &mut Planned,
) -> Result<longshore_port::Listening> {
    let unspecified = SocketAddr::from(([0, 0, 0, 0], 0));
    let at =
        std::mem::replace(&mut planned.at, Ok(Bound::To { addr: unspecified, dual_stack: false }));
    match at? {
        Bound::To { addr, dual_stack } => {
            let (backlog, options) = (planned.backlog, planned.options);
            let to = BindTo { addr, dual_stack, backlog, options };
            world.bind(&to).map_err(|error| crate::StartError::Listen { addr, error }.into())
        }
        Bound::Already(listener) => {
            let addr = listener.local_addr().unwrap_or(unspecified);
            let taken = world.listening_from(listener);
            taken.map_err(|error| crate::StartError::Listen { addr, error }.into())
        }
    }
}
