//! The system's ports: which drivers there are, and which one is taken.
//!
//! Beside `os/` and `poller/mod.rs`, the only place of this crate that asks which operating system
//! this is.

mod os;
mod poller;
mod readiness;
#[cfg(target_os = "linux")]
mod uring;
#[cfg(not(target_os = "linux"))]
#[path = "no_uring.rs"]
mod uring;

use crate::jobs::WorkDesk;
use crate::{
    Abilities, BindTo, Call, Completion, ConnectTo, ErrorKind, FileHandle, FileRange, JobPool,
    Link, Listening, Notify, Op, OpKind, Port, PortConfig, PortError, SocketId, Unattached, Until,
    Waited, Work, World,
};
use longshore_base::{Time, Token};
use readiness::ReadinessPort;
use std::time::{Duration, Instant};
use uring::UringPort;

/// Which driver to take.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum DriverChoice {
    /// The best one that this system permits: `io_uring` from Linux 6.17 on, epoll or kqueue
    /// elsewhere.
    #[default]
    Auto,
    /// `io_uring`, or an error that says why not.
    Uring,
    /// epoll or kqueue.
    Readiness,
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
    driver: Driver,
    passed_over: String,
    start: Instant,
    jobs: JobPool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Driver {
    Uring,
    Readiness,
}

/// Between two tries to bind an address that is in use.
const BIND_PAUSE: Duration = Duration::from_millis(20);

/// Threads of one world for names and jobs.
const JOB_THREADS_MAX: usize = 4;

impl SystemWorld {
    /// Probes what this system permits and takes a driver.
    ///
    /// # Errors
    /// When `choice` names a driver that is not to be had; the text says why.
    pub fn new(choice: DriverChoice) -> Result<Self, DriverRefused> {
        let probed = match choice {
            DriverChoice::Readiness => Err(String::new()),
            DriverChoice::Auto => uring::worth_it(),
            DriverChoice::Uring => uring::probe(),
        };
        let (driver, passed_over) = match (probed, choice) {
            (Ok(()), _) => (Driver::Uring, String::new()),
            (Err(why), DriverChoice::Uring) => {
                return Err(DriverRefused { driver: "io_uring", why });
            }
            (Err(why), _) => (Driver::Readiness, why),
        };
        let (start, jobs) = (Instant::now(), JobPool::new(JOB_THREADS_MAX));
        Ok(Self { choice, driver, passed_over, start, jobs })
    }

    fn clock(&self) -> Clock {
        Clock { start: self.start }
    }
}

/// The system's monotonic clock, from the beginning of its world.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    pub(crate) fn now(self) -> Time {
        Time::ZERO + self.start.elapsed()
    }
}

/// How often tables give back what they did not need.
const TRIM_EVERY: Duration = Duration::from_secs(20);

/// When that is next.
#[derive(Debug)]
struct TrimTime(Time);

impl TrimTime {
    /// Whether it is time now; the next one is then a while later.
    #[inline]
    fn is_due(&mut self, now: Time) -> bool {
        let due = now >= self.0;
        if due {
            self.0 = now + TRIM_EVERY;
        }
        due
    }
}

impl World for SystemWorld {
    type Port = SystemPort;

    fn bind(&self, to: &BindTo) -> Result<Listening, PortError> {
        let mut tries = match self.driver {
            Driver::Uring => uring::BIND_TRIES,
            Driver::Readiness => 1,
        };
        loop {
            tries -= 1;
            match crate::socket::bind(to) {
                Err(error) if error.kind == ErrorKind::AddrInUse && tries > 0 => {
                    std::thread::sleep(BIND_PAUSE);
                }
                bound => return bound,
            }
        }
    }

    fn listening_from(&self, listener: std::net::TcpListener) -> Result<Listening, PortError> {
        crate::socket::listening_from(listener)
    }

    fn open(&self, config: &PortConfig) -> Result<SystemPort, PortError> {
        keep_heap_small();
        let desk = WorkDesk::new(self.jobs.clone());
        Ok(match self.driver {
            Driver::Uring => SystemPort::Uring(UringPort::open(config, self.clock(), desk)?),
            Driver::Readiness => {
                let port = ReadinessPort::open(config, self.clock(), desk)?;
                SystemPort::Readiness(port)
            }
        })
    }

    /// A probe opens one small ring; limits of memory may not have room for one of each worker.
    fn fallback(&self, error: &PortError) -> Option<Self> {
        if (self.choice, self.driver) != (DriverChoice::Auto, Driver::Uring) {
            return None;
        }
        let passed_over = uring::why_not_all(*error);
        Some(Self { driver: Driver::Readiness, passed_over, ..self.clone() })
    }

    fn memory_bytes(&self) -> Option<u64> {
        os::memory_bytes()
    }

    fn now(&self) -> Time {
        self.clock().now()
    }

    fn abilities(&self) -> Abilities {
        let abilities = match self.driver {
            Driver::Uring => uring::abilities(),
            Driver::Readiness => readiness::abilities(),
        };
        Abilities { passed_over: self.passed_over.clone(), ..abilities }
    }
}

/// A port of the operating system.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one a thread, and a box would cost every call")]
pub enum SystemPort {
    /// Linux `io_uring`.
    Uring(UringPort),
    /// epoll or kqueue.
    Readiness(ReadinessPort),
}

/// Wakes a [`SystemPort`].
#[derive(Clone, Debug)]
pub enum SystemNotifier {
    /// Of `io_uring`.
    Uring(uring::UringNotifier),
    /// Of epoll or kqueue.
    Readiness(readiness::ReadinessNotifier),
}

impl Notify for SystemNotifier {
    fn notify(&self) {
        match self {
            Self::Uring(notifier) => notifier.notify(),
            Self::Readiness(notifier) => notifier.notify(),
        }
    }
}

/// The same call on whichever driver it is.
macro_rules! on_driver {
    ($self:ident, $port:ident => $call:expr) => {
        match $self {
            Self::Uring($port) => $call,
            Self::Readiness($port) => $call,
        }
    };
}

impl Port for SystemPort {
    type Notifier = SystemNotifier;

    fn now(&self) -> Time {
        on_driver!(self, port => port.now())
    }

    fn precise_now(&self) -> Time {
        on_driver!(self, port => port.precise_now())
    }

    fn seed(&mut self) -> u64 {
        on_driver!(self, port => port.seed())
    }

    fn notifier(&self) -> SystemNotifier {
        match self {
            Self::Uring(port) => SystemNotifier::Uring(port.notifier()),
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

/// What an error number means where the standard library has no word for it.
#[cfg(unix)]
pub(crate) fn kind_of_code(code: i32) -> Option<ErrorKind> {
    Some(match code {
        libc::EMFILE | libc::ENFILE => ErrorKind::NoDescriptors,
        libc::ENOBUFS | libc::ENOMEM => ErrorKind::NoMemory,
        libc::ECANCELED => ErrorKind::Cancelled,
        libc::ENETRESET => ErrorKind::NetworkReset,
        libc::EHOSTDOWN | libc::ENETUNREACH | libc::EHOSTUNREACH | libc::ENETDOWN => {
            ErrorKind::Unreachable
        }
        _ => return None,
    })
}

/// What an error number means where the standard library has no word for it.
#[cfg(not(unix))]
pub(crate) fn kind_of_code(_code: i32) -> Option<ErrorKind> {
    None
}

/// Whether an accept failed for the one connection only; the listener is well (R33).
/// Source: `accept(2)`, "Error handling": errors that were pending on the new socket, and `EPERM`
/// of a firewall.
#[cfg(unix)]
pub(crate) fn is_passing(code: i32) -> bool {
    match code {
        #[cfg(target_os = "linux")]
        libc::ENONET => true,
        libc::ECONNABORTED
        | libc::EPROTO
        | libc::EPERM
        | libc::ENETDOWN
        | libc::ENETUNREACH
        | libc::EHOSTDOWN
        | libc::EHOSTUNREACH
        | libc::ENOPROTOOPT
        | libc::EOPNOTSUPP => true,
        _ => false,
    }
}

/// Whether an accept failed for the one connection only.
#[cfg(not(unix))]
pub(crate) fn is_passing(_code: i32) -> bool {
    false
}

/// Lets a server that was killed come back while its old connections linger (R83). On Windows the
/// option of that name lets two servers share an address, so it stays off there.
pub(crate) fn allow_rebind(socket: &socket2::Socket) -> std::io::Result<()> {
    #[cfg(unix)]
    return socket.set_reuse_address(true);
    #[cfg(not(unix))]
    return Ok(());
}

/// How long sent bytes may stay unacknowledged. Elsewhere than on Linux TCP has no such option.
/// Source: `tcp(7)`, `TCP_USER_TIMEOUT`.
pub(crate) fn set_user_timeout(
    socket: &socket2::Socket,
    timeout: Option<Duration>,
) -> std::io::Result<()> {
    #[cfg(target_os = "linux")]
    return socket.set_tcp_user_timeout(timeout);
    #[cfg(not(target_os = "linux"))]
    return Ok(());
}

/// Reads at a place of a file, without moving its position where the system can do so.
pub(crate) fn read_at(
    file: &std::fs::File,
    into: &mut [u8],
    offset: u64,
) -> std::io::Result<usize> {
    #[cfg(unix)]
    return std::os::unix::fs::FileExt::read_at(file, into, offset);
    #[cfg(windows)]
    return std::os::windows::fs::FileExt::seek_read(file, into, offset);
}

/// Gives a socket that does not block what it has room for, of the range behind its first `done`
/// bytes. None if it has no room; an error as well at the end of a file that is too short.
pub(crate) fn send_file(
    socket: &socket2::Socket,
    range: &FileRange,
    done: usize,
) -> Result<Option<usize>, PortError> {
    let left = usize::try_from(range.len).unwrap_or(usize::MAX) - done;
    let offset = range.offset + done as u64;
    loop {
        let sent = os::send_file(socket, &range.file, offset, left);
        return match sent {
            Ok(0) => Err(crate::file::SHORTENED),
            Ok(count) => Ok(Some(count)),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(match PortError::from_io(Call::Send, &error) {
                // What says nothing of a connection is the file's.
                other if other.kind == ErrorKind::Other => PortError { call: Call::File, ..other },
                of_connection => of_connection,
            }),
        };
    }
}

/// Bytes of a file that are read for one call, where the system does not send it by itself.
const PIECE_BYTES: usize = 64 * 1024;

/// The same by way of our own memory.
pub(crate) fn send_file_read(
    socket: &socket2::Socket,
    file: &FileHandle,
    offset: u64,
    most: usize,
) -> std::io::Result<usize> {
    let mut piece = vec![0; most.min(PIECE_BYTES)];
    match file.read_at(&mut piece, offset)? {
        0 => Ok(0),
        count => socket.send_with_flags(&piece[..count], SEND_FLAGS),
    }
}

/// Asks the allocator to give back what it keeps. Source: `malloc_trim(3)`.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "no crate has it safe")]
pub(crate) fn trim_heap() {
    // SAFETY: may be called at any time, from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Has the allocator of the C library keep to its documented threshold, 128 KiB, from which on memory
/// is the system's own: it can grow without a copy, and goes back when it is freed. Without this the
/// first large block that is freed raises the threshold, up to 32 MiB, and what large frames leave
/// behind stays with the process, which a container then ends. Who has said otherwise in the
/// environment is left alone. Source: `mallopt(3)`, `M_MMAP_THRESHOLD`.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "no crate has it safe")]
fn keep_heap_small() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let said = ["MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"];
        if said.iter().all(|name| std::env::var_os(name).is_none()) {
            // SAFETY: may be called at any time, from any thread.
            unsafe {
                libc::mallopt(libc::M_MMAP_THRESHOLD, 128 * 1024);
            }
        }
    });
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn keep_heap_small() {}

/// Asks the allocator to give back what it keeps: this one cannot be asked.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn trim_heap() {}

/// Flags of every send. A peer that is gone must be an error, not a signal that ends the process
/// (R31); where there is no such flag, socket2 and std set an option on each socket instead.
#[cfg(all(unix, not(target_vendor = "apple")))]
pub(crate) const SEND_FLAGS: i32 = libc::MSG_NOSIGNAL;

/// Flags of every send.
#[cfg(not(all(unix, not(target_vendor = "apple"))))]
pub(crate) const SEND_FLAGS: i32 = 0;

/// Whether a non-blocking connect goes on, as it should. A signal does not stop it either.
/// Source: `connect(2)`, `EINPROGRESS` and `EINTR`.
pub(crate) fn is_in_progress(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{Interrupted, WouldBlock};
    #[cfg(unix)]
    if error.raw_os_error() == Some(libc::EINPROGRESS) {
        return true;
    }
    matches!(error.kind(), Interrupted | WouldBlock)
}
