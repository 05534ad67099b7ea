//! The system's ports: which drivers there are, and which one is taken.
//!
//! Beside `os/` and `poller/mod.rs`, the only place of this crate that asks which operating system
//! this is.

mod clock;
mod files;
#[cfg(windows)]
mod iocp;
pub(crate) mod os;
#[cfg(not(windows))]
mod poller;
#[cfg(not(windows))]
mod readiness;
mod sockets;
mod turns;
#[cfg(target_os = "linux")]
mod uring;

pub use os::ConsoleEvent;

use crate::jobs::WorkDesk;
use crate::{
    Abilities, BindTo, Completion, ConnectTo, ErrorKind, JobPool, Link, Listening, Notify, Op,
    OpKind, Port, PortConfig, PortError, SocketId, Unattached, Until, Waited, Work, World,
};
use clock::Clock;
#[cfg(windows)]
use iocp::{IocpNotifier, IocpPort};
use longshore_base::{Time, Token};
#[cfg(not(windows))]
use readiness::{ReadinessNotifier, ReadinessPort};
use std::time::{Duration, Instant};
#[cfg(target_os = "linux")]
use uring::{UringNotifier, UringPort};

/// Has `handler` told what the user of the console wants, on a thread of its own each time, from now
/// on and for good; the first one of a process. It says whether that is taken care of: else the
/// system ends the process. On Windows only. Source: `SetConsoleCtrlHandler`.
///
/// # Errors
/// What the system refuses; where there are signals instead, [`std::io::ErrorKind::Unsupported`].
pub fn on_console_event(handler: fn(ConsoleEvent) -> bool) -> std::io::Result<()> {
    os::on_console_event(handler)
}

/// Which version of the system this is, in words for a person: `kernel 6.18`, `Windows 10.0.19045`.
/// Nothing where the system is not asked.
pub fn system_version() -> Option<String> {
    os::system_version()
}

/// Which driver to take.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum DriverChoice {
    /// The best one that this system permits: `io_uring` from Linux 6.17 on, completion ports on
    /// Windows, epoll or kqueue elsewhere.
    #[default]
    Auto,
    /// `io_uring`, or an error that says why not.
    Uring,
    /// epoll or kqueue.
    Readiness,
    /// Completion ports of Windows.
    Iocp,
}

impl DriverChoice {
    /// What messages call it.
    const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Uring => "io_uring",
            Self::Readiness => "readiness",
            Self::Iocp => "iocp",
        }
    }
}

/// A driver was required that is not to be had.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("driver {driver} was required and is not to be had: {why}")]
pub struct DriverRefused {
    /// Which one.
    pub driver: &'static str,
    /// Why, with the remedy, in words for a person.
    pub why: String,
}

/// The operating system as a world of ports. The driver is chosen once, for all ports alike.
#[derive(Clone, Debug)]
pub struct SystemWorld {
    choice: DriverChoice,
    driver: &'static Driver,
    passed_over: String,
    start: Instant,
    jobs: JobPool,
}

/// A driver, for a world that has no port of it yet.
#[derive(Debug)]
struct Driver {
    /// What asks for it.
    choice: DriverChoice,
    /// Whether it is to be had; if not, why, in words for a person.
    probe: fn() -> Result<(), String>,
    /// Whether it is worth taking unasked; if not, why.
    worth_it: fn() -> Result<(), String>,
    /// How often to bind while the address is in use.
    bind_tries: u32,
    abilities: fn() -> Abilities,
    open: fn(&PortConfig, Clock, WorkDesk) -> Result<SystemPort, PortError>,
    /// Why not every worker could have a port, when ports of the last driver are to take over.
    why_not_all: Option<fn(PortError) -> String>,
}

/// The drivers of this system, the best one first. The last one is always to be had.
static DRIVERS: &[Driver] = &[
    #[cfg(target_os = "linux")]
    Driver {
        choice: DriverChoice::Uring,
        probe: uring::probe,
        worth_it: uring::worth_it,
        bind_tries: uring::BIND_TRIES,
        abilities: uring::abilities,
        open: |config, clock, desk| UringPort::open(config, clock, desk).map(SystemPort::Uring),
        why_not_all: Some(uring::why_not_all),
    },
    #[cfg(windows)]
    Driver {
        choice: DriverChoice::Iocp,
        probe: || Ok(()),
        worth_it: || Ok(()),
        bind_tries: 1,
        abilities: iocp::abilities,
        open: |config, clock, desk| IocpPort::open(config, clock, desk).map(SystemPort::Iocp),
        why_not_all: None,
    },
    #[cfg(not(windows))]
    Driver {
        choice: DriverChoice::Readiness,
        probe: || Ok(()),
        worth_it: || Ok(()),
        bind_tries: 1,
        abilities: readiness::abilities,
        open: |config, clock, desk| {
            ReadinessPort::open(config, clock, desk).map(SystemPort::Readiness)
        },
        why_not_all: None,
    },
];

/// Between two tries to bind an address that is in use.
const BIND_PAUSE: Duration = Duration::from_millis(20);

/// Threads of one world for names and jobs.
const JOB_THREADS_MAX: usize = 16;

impl SystemWorld {
    /// Probes what this system permits and takes a driver.
    ///
    /// # Errors
    /// When `choice` names a driver that is not to be had; the text says why.
    pub fn new(choice: DriverChoice) -> Result<Self, DriverRefused> {
        let mut passed_over = String::new();
        for driver in DRIVERS {
            let probed = match choice {
                DriverChoice::Auto => (driver.worth_it)(),
                named if named == driver.choice => (driver.probe)(),
                _ => continue,
            };
            match probed {
                Ok(()) => {
                    let (start, jobs) = (Instant::now(), JobPool::new(JOB_THREADS_MAX));
                    return Ok(Self { choice, driver, passed_over, start, jobs });
                }
                Err(why) => passed_over = why,
            }
        }
        if passed_over.is_empty() {
            passed_over.push_str("this system has none");
        }
        Err(DriverRefused { driver: choice.name(), why: passed_over })
    }

    fn clock(&self) -> Clock {
        Clock::since(self.start)
    }
}

impl World for SystemWorld {
    type Port = SystemPort;

    fn bind(&self, to: &BindTo) -> Result<Listening, PortError> {
        let mut tries = self.driver.bind_tries;
        loop {
            tries -= 1;
            match sockets::bind(to) {
                Err(error) if error.kind == ErrorKind::AddrInUse && tries > 0 => {
                    std::thread::sleep(BIND_PAUSE);
                }
                bound => return bound,
            }
        }
    }

    fn listening_from(&self, listener: std::net::TcpListener) -> Result<Listening, PortError> {
        sockets::listening_from(listener)
    }

    fn open(&self, config: &PortConfig) -> Result<SystemPort, PortError> {
        os::keep_heap_small();
        let desk = WorkDesk::new(self.jobs.clone());
        (self.driver.open)(config, self.clock(), desk)
    }

    /// A probe opens one small ring; limits of memory may not have room for one of each worker.
    fn fallback(&self, error: &PortError) -> Option<Self> {
        if self.choice != DriverChoice::Auto {
            return None;
        }
        let passed_over = self.driver.why_not_all?(*error);
        Some(Self { driver: DRIVERS.last()?, passed_over, ..self.clone() })
    }

    fn memory_bytes(&self) -> Option<u64> {
        os::memory_bytes()
    }

    fn now(&self) -> Time {
        self.clock().now()
    }

    fn abilities(&self) -> Abilities {
        Abilities { passed_over: self.passed_over.clone(), ..(self.driver.abilities)() }
    }
}

/// A port of the operating system.
#[derive(Debug)]
#[cfg_attr(
    target_os = "linux",
    expect(clippy::large_enum_variant, reason = "one a thread, and a box would cost every call")
)]
pub enum SystemPort {
    /// Linux `io_uring`.
    #[cfg(target_os = "linux")]
    Uring(UringPort),
    /// Completion ports of Windows.
    #[cfg(windows)]
    Iocp(IocpPort),
    /// epoll or kqueue.
    #[cfg(not(windows))]
    Readiness(ReadinessPort),
}

/// Wakes a [`SystemPort`].
#[derive(Clone, Debug)]
pub enum SystemNotifier {
    /// Of `io_uring`.
    #[cfg(target_os = "linux")]
    Uring(UringNotifier),
    /// Of a completion port of Windows.
    #[cfg(windows)]
    Iocp(IocpNotifier),
    /// Of epoll or kqueue.
    #[cfg(not(windows))]
    Readiness(ReadinessNotifier),
}

/// The same call on whichever driver it is.
macro_rules! on_driver {
    ($self:ident, $port:ident => $call:expr) => {
        match $self {
            #[cfg(target_os = "linux")]
            Self::Uring($port) => $call,
            #[cfg(windows)]
            Self::Iocp($port) => $call,
            #[cfg(not(windows))]
            Self::Readiness($port) => $call,
        }
    };
}

impl Notify for SystemNotifier {
    fn notify(&self) {
        on_driver!(self, notifier => notifier.notify());
    }
}

impl Port for SystemPort {
    type Notifier = SystemNotifier;

    fn now(&self) -> Time {
        on_driver!(self, port => port.now())
    }

    fn precise_now(&self) -> Time {
        on_driver!(self, port => port.precise_now())
    }

    #[inline]
    fn coarse_now(&self) -> Time {
        os::coarse_clock().unwrap_or_else(|| self.precise_now())
    }

    fn seed(&mut self) -> u64 {
        on_driver!(self, port => port.seed())
    }

    fn notifier(&self) -> SystemNotifier {
        match self {
            #[cfg(target_os = "linux")]
            Self::Uring(port) => SystemNotifier::Uring(port.notifier()),
            #[cfg(windows)]
            Self::Iocp(port) => SystemNotifier::Iocp(port.notifier()),
            #[cfg(not(windows))]
            Self::Readiness(port) => SystemNotifier::Readiness(port.notifier()),
        }
    }

    fn abilities(&self) -> Abilities {
        on_driver!(self, port => port.abilities())
    }

    fn attach(
        &mut self,
        socket: Unattached,
        token: Token,
    ) -> Result<SocketId, (PortError, Unattached)> {
        on_driver!(self, port => port.attach(socket, token))
    }

    fn listen(&mut self, listening: Listening, token: Token) -> Result<SocketId, PortError> {
        on_driver!(self, port => port.listen(listening, token))
    }

    fn connect(&mut self, to: &ConnectTo, token: Token) -> Result<SocketId, PortError> {
        on_driver!(self, port => port.connect(to, token))
    }

    #[inline]
    fn submit(&mut self, socket: SocketId, op: Op) {
        on_driver!(self, port => port.submit(socket, op));
    }

    fn cancel(&mut self, socket: SocketId, kind: OpKind) {
        on_driver!(self, port => port.cancel(socket, kind));
    }

    fn link(&self, socket: SocketId) -> Link {
        on_driver!(self, port => port.link(socket))
    }

    fn start(&mut self, token: Token, work: Work) {
        on_driver!(self, port => port.start(token, work));
    }

    #[inline]
    fn wait(&mut self, until: Until, out: &mut Vec<Completion>) -> Result<Waited, PortError> {
        on_driver!(self, port => port.wait(until, out))
    }

    fn leases(&self) -> usize {
        on_driver!(self, port => port.leases())
    }

    fn sockets(&self) -> usize {
        on_driver!(self, port => port.sockets())
    }
}
