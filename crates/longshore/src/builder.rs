//! How a server is set up.

use crate::config::{
    CONNECTIONS, DRAIN_WITHIN, DURATION_MAX, MEMORY, MEMORY_PART, SLOW_CALLBACK, SPIN_MICROS,
    in_range,
};
use crate::conn::LaneShared;
use crate::engine::{self, Planned, Setup, WorkerThread};
use crate::listener::Listener;
use crate::metrics::LaneCounters;
use crate::server::Tick;
use crate::server::switchboard::Switchboard;
use crate::signals::Signals;
use crate::worker::lane::{AnyLane, Factory, Lane};
use crate::{ConfigError, Handler, Peer, Reject, Result, Server};
use longshore_base::{Foreign, event};
use longshore_port::{Addr, DriverChoice, PortConfig, SystemWorld};
use longshore_proto::Codec;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

impl Server {
    /// Sets a server up.
    pub fn builder() -> Builder {
        Builder::default()
    }
}

/// Sets a server up.
///
/// ```no_run
/// use longshore::{Ctx, Handler, Lines, Listener, Result, Server};
/// use std::time::Duration;
/// # struct Echo;
/// # impl Handler for Echo {
/// #     type Codec = Lines;
/// #     fn on_message(&mut self, cx: &mut Ctx<'_, Self>, line: &str) -> Result {
/// #         cx.send(line)
/// #     }
/// # }
///
/// # fn main() -> Result {
/// Server::builder()
///     .workers(2)
///     .connections(50_000)
///     .drain_within(Duration::from_secs(10))
///     .every(Duration::from_secs(60), |server, _| println!("{:?}", server.connection_count()))
///     .listen(Listener::tcp(":7411", Lines::max(1024)), |_| Ok(Echo))
///     .run()
/// # }
/// ```
///
/// Nothing is started, and nothing refused, before [`build`](Self::build),
/// [`start`](Self::start) or [`run`](Self::run).
#[must_use = "a builder does nothing until `run` or `start`"]
#[derive(Default)]
pub struct Builder {
    pub(crate) setup: Setup,
    driver: DriverChoice,
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("listeners", &self.setup.listeners.len())
            .finish_non_exhaustive()
    }
}

/// Most workers of a server.
const WORKERS_MAX: usize = 1024;

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
        let Listener { at, codec, limits, role, backlog, options, filter, group } = listener;
        let counters = Arc::new(LaneCounters::default());
        let for_lane = Arc::clone(&counters);
        let limits = Arc::new(limits.settled(role, &codec));
        let of_lane = Arc::clone(&limits);
        let (codec, factory) = (Mutex::new(Some(codec)), Arc::new(factory));
        let shared: Mutex<Option<Arc<LaneShared<H>>>> = Mutex::new(None);
        let make_lane = Box::new(move |board: &Arc<Switchboard>| {
            let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
            let shared = shared.get_or_insert_with(|| {
                let codec = codec.lock().unwrap_or_else(PoisonError::into_inner).take();
                Arc::new(LaneShared {
                    codec: Foreign::new(codec.expect("made once")),
                    limits: Arc::clone(&of_lane),
                    board: Arc::clone(board),
                    counters: Arc::clone(&for_lane),
                })
            });
            let factory = Arc::clone(&factory);
            let factory: Factory<H> = Foreign::new(Box::new(move |peer| factory(peer)));
            let members = group.as_ref().and_then(|group| group.members_at(board));
            if group.is_some() && members.is_none() {
                event!(error, "the group of a listener is of another server: nobody joins it");
            }
            Box::new(Lane::of_listener(Arc::clone(shared), factory, filter.clone(), members))
                as Box<dyn AnyLane>
        });
        self.setup.listeners.push(Planned {
            at,
            backlog,
            options,
            limits,
            make_lane,
            check,
            counters,
        });
        self
    }

    /// Threads that handle connections, 1 to 1,024. Default one for each core that the process may
    /// use. With more than one, another thread accepts.
    pub fn workers(mut self, count: usize) -> Self {
        self.setup.workers = Some(count);
        self
    }

    /// Most connections at a time, 1 to 67,108,864. Default 10,000, or 3/4 of the limit of open
    /// files if that is lower, which leaves 64 at least for other things.
    pub fn connections(mut self, count: usize) -> Self {
        self.setup.connections = Some(count);
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
        self.setup.memory = Some(bytes);
        self
    }

    /// Which driver to take. Default the best that this system permits.
    pub fn driver(mut self, choice: DriverChoice) -> Self {
        self.driver = choice;
        self
    }

    /// How long [`run`](Self::run) drains when it is told to stop. Default 30 s.
    pub fn drain_within(mut self, within: Duration) -> Self {
        self.setup.drain = within;
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
        self.setup.spin = most;
        self
    }

    /// Callbacks that take longer are counted, and named in the log with how many connections waited:
    /// all of their worker. Up to 366 days, at a grain of about 10 ms. Default 100 ms; zero is never.
    pub fn slow_callback(mut self, most: Duration) -> Self {
        self.setup.slow_callback = most;
        self
    }

    /// Sizes of each worker's port. The defaults suit nearly everybody.
    pub fn port(mut self, config: PortConfig) -> Self {
        self.setup.port = config;
        self
    }

    /// Calls `run` on each thread of the server as the first thing there, before its port is open:
    /// where a thread is pinned to a core, or given its priority. Those of look-ups and other work
    /// that blocks are not told of, nor are workers in a simulation, which have no threads.
    ///
    /// A panic of it lets the start fail.
    ///
    /// ```
    /// use longshore::Server;
    /// use std::thread;
    ///
    /// let builder = Server::builder().workers(2).on_thread_start(|thread| {
    ///     // Here one would call `sched_setaffinity` or `setpriority`, by whichever crate.
    ///     let name = thread::current().name().map(str::to_owned);
    ///     assert_eq!(name, Some(format!("longshore-{}", thread.number)));
    /// });
    /// # builder.start()?.shutdown(std::time::Duration::ZERO);
    /// # Ok::<_, longshore::Error>(())
    /// ```
    pub fn on_thread_start(mut self, run: impl Fn(WorkerThread) + Send + Sync + 'static) -> Self {
        self.setup.on_thread_start = Some(Arc::new(Foreign::new(Box::new(run))));
        self
    }

    /// Calls `run` every `period` (1 ms to 366 days), at a fixed rate, on a worker, on the port's
    /// clock. It never overlaps itself and ends with the server.
    pub fn every(
        mut self,
        period: Duration,
        run: impl FnMut(&Server, Tick) + Send + 'static,
    ) -> Self {
        self.setup.ticks.push((period, Box::new(run)));
        self
    }

    /// Whether these settings can work.
    ///
    /// # Errors
    /// Names option, value and range.
    pub fn check(&self) -> Result<(), ConfigError> {
        if let Some(count) = self.setup.workers {
            let default = format!("one per core, {} here", engine::cores());
            in_range("workers", count, 1..=WORKERS_MAX, &default)?;
        }
        if let Some(count) = self.setup.connections {
            let default = format!("{} here", engine::connections_default());
            in_range(CONNECTIONS.name, count, CONNECTIONS.range, &default)?;
        }
        if let Some(bytes) = self.setup.memory {
            let (most, part) = (MEMORY.default, MEMORY_PART);
            let default = format!("{most}, or 1/{part} of what the process may use if less");
            in_range(MEMORY.name, bytes, MEMORY.range, &default)?;
        }
        DRAIN_WITHIN.check(self.setup.drain)?;
        SLOW_CALLBACK.check(self.setup.slow_callback)?;
        SPIN_MICROS.check(u64::try_from(self.setup.spin.as_micros()).unwrap_or(u64::MAX))?;
        self.setup.port.check().map_err(ConfigError::from)?;
        for (period, _) in &self.setup.ticks {
            if !(Duration::from_millis(1)..=DURATION_MAX).contains(period) {
                return Err(ConfigError::OutOfRange {
                    option: "every",
                    value: format!("{period:?}"),
                    range: "1 ms to 366 days".into(),
                });
            }
        }
        let most = usize::from(u16::MAX);
        in_range("listeners", self.setup.listeners.len(), 0..=most, "none")?;
        for listener in &self.setup.listeners {
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
        Ok(Ready(engine::Prepared::new(world, self.setup)?))
    }

    /// Starts and returns; signals are the caller's.
    ///
    /// # Errors
    /// As [`build`](Self::build), and when a thread or its port cannot be had.
    pub fn start(self) -> Result<Server> {
        let server = self.build()?.start()?;
        tell_start(&server);
        Ok(server)
    }

    /// Starts, drains at SIGINT, SIGTERM or Ctrl-C, and returns when that is over. A second signal
    /// ends the process at once, with code 128 + its number.
    ///
    /// # Errors
    /// As [`start`](Self::start), and when a worker died.
    pub fn run(self) -> Result {
        let ready = self.build()?;
        let signals = Signals::new()?;
        let server = ready.start()?;
        signals.drain_on_first(&server);
        tell_start(&server);
        server.wait()
    }
}

/// The first line of a log. Who builds and starts in two steps says it in words of its own.
fn tell_start(server: &Server) {
    let (workers, driver) = (server.workers(), server.abilities().driver);
    for addr in server.local_addrs() {
        event!(info, driver, workers, "listening on {addr}");
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
