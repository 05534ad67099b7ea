//! The contract: what a world and a port do.

use crate::{
    BindTo, Call, Completion, ConnectTo, ErrorKind, Link, Listening, Op, OpKind, PortError,
    SocketId, Unattached, Work,
};
use longshore_base::{Time, Token, event};
use std::fmt::Debug;
use std::time::Duration;

/// Where ports come from: the operating system, or a simulated world. One per engine.
pub trait World: Clone + Send + 'static {
    /// The ports of this world.
    type Port: Port;

    /// Binds and listens. On the starting thread, so that starting can report the error.
    ///
    /// # Errors
    /// What the system refuses: the address is in use, not of this machine, or not permitted.
    fn bind(&self, to: &BindTo) -> Result<Listening, PortError>;

    /// Takes in a listener that somebody else bound.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) in a world without system sockets.
    fn listening_from(&self, listener: std::net::TcpListener) -> Result<Listening, PortError>;

    /// Opens one port. Called on the thread that will drive it: a ring has a single issuer, and
    /// leases are not `Send`.
    ///
    /// # Errors
    /// What the system refuses: no descriptors, no memory, not permitted.
    fn open(&self, config: &PortConfig) -> Result<Self::Port, PortError>;

    /// Another world to take when ports of this one do not all open, with `error` for one of them.
    /// The default is none.
    fn fallback(&self, error: &PortError) -> Option<Self> {
        let _ = error;
        None
    }

    /// Bytes of memory that this process may use, as far as its world says.
    fn memory_bytes(&self) -> Option<u64> {
        None
    }

    /// Time of this world, for threads that drive no port.
    fn now(&self) -> Time;

    /// What ports of this world can do.
    fn abilities(&self) -> Abilities;
}

/// How large a port is.
///
/// ```
/// # use longshore_port::PortConfig;
///
/// let config = PortConfig::default().recv_blocks(16).recv_block_bytes(64 * 1024);
/// assert_eq!(config.check(), Ok(()));
/// assert!(config.recv_blocks(12).check().is_err(), "no power of two");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "sizes do nothing until they are given to a server"]
#[non_exhaustive]
pub struct PortConfig {
    /// Most completions of one `wait`, 1 to 65,536. Default 1,024.
    pub completions_max: usize,
    /// Blocks of the receive pool, 1 to 32,768, a power of two. Default 8.
    pub recv_blocks: u16,
    /// Bytes of one block, 64 to 16 MiB. Default 128 KiB: the whole pool has to stay in the cache.
    pub recv_block_bytes: u32,
    /// Entries of a submission queue, 8 to 32,768, where the driver has one. Default 4,096.
    /// A smaller one costs system calls, nothing else.
    pub submissions_max: u32,
    /// How long dropping a port waits for its ops before it leaks them. Default 2 s.
    pub drop_deadline: Duration,
}

/// A setting is out of its range.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{option} = {value}: must be {range}")]
pub struct OutOfRange {
    /// Which one, by its real name.
    pub option: &'static str,
    /// What was given.
    pub value: String,
    /// What may be given, and the default.
    pub range: &'static str,
}

impl OutOfRange {
    /// As the error of a port that was opened with it; which setting it was, the log says.
    pub fn of_open(&self) -> PortError {
        event!(error, "{self}");
        PortError::new(Call::Open, ErrorKind::OutOfRange)
    }
}

impl PortConfig {
    /// Most completions of one `wait`, 1 to 65,536. Default 1,024.
    pub fn completions_max(mut self, count: usize) -> Self {
        self.completions_max = count;
        self
    }

    /// Blocks of the receive pool, 1 to 32,768, a power of two. Default 8.
    pub fn recv_blocks(mut self, count: u16) -> Self {
        self.recv_blocks = count;
        self
    }

    /// Bytes of one of these blocks, 64 to 16 MiB. Default 128 KiB.
    pub fn recv_block_bytes(mut self, bytes: u32) -> Self {
        self.recv_block_bytes = bytes;
        self
    }

    /// Entries of a submission queue, 8 to 32,768, where the driver has one. Default 4,096.
    pub fn submissions_max(mut self, count: u32) -> Self {
        self.submissions_max = count;
        self
    }

    /// How long dropping a port waits for its ops before it leaks them, at most 366 days. Default
    /// 2 s.
    pub fn drop_deadline(mut self, within: Duration) -> Self {
        self.drop_deadline = within;
        self
    }

    /// Whether all settings are in their ranges.
    ///
    /// # Errors
    /// Names the first one that is not.
    pub fn check(&self) -> Result<(), OutOfRange> {
        let Self { completions_max, recv_blocks, recv_block_bytes, submissions_max, .. } = *self;
        let deadline = self.drop_deadline;
        let blocks = (1..=32_768).contains(&recv_blocks) && recv_blocks.is_power_of_two();
        let refuse = |option, value: &dyn Debug, range| {
            Err(OutOfRange { option, value: format!("{value:?}"), range })
        };
        if !(1..=65_536).contains(&completions_max) {
            refuse("port.completions_max", &completions_max, "1 to 65536 (default: 1024)")
        } else if !blocks {
            refuse("port.recv_blocks", &recv_blocks, "1 to 32768, a power of two (default: 8)")
        } else if !(64..=16 << 20).contains(&recv_block_bytes) {
            refuse("port.recv_block_bytes", &recv_block_bytes, "64 to 16777216 (default: 131072)")
        } else if !(8..=32_768).contains(&submissions_max) {
            refuse("port.submissions_max", &submissions_max, "8 to 32768 (default: 4096)")
        } else if deadline > DROP_DEADLINE_MAX {
            refuse("port.drop_deadline", &deadline, "at most 366 days (default: 2s)")
        } else {
            Ok(())
        }
    }
}

/// A year: longer deadlines are typing errors.
const DROP_DEADLINE_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

impl Default for PortConfig {
    fn default() -> Self {
        Self {
            completions_max: 1024,
            recv_blocks: 8,
            recv_block_bytes: 128 * 1024,
            submissions_max: 4096,
            drop_deadline: Duration::from_secs(2),
        }
    }
}

/// The only door to the outside world: sockets, names, time and jobs.
///
/// `submit` never fails and never blocks: what the system refuses ends with that error, out of
/// `wait` like everything else. A second op of a kind that is in flight is the caller's bug, and
/// panics. A stale [`SocketId`] is ignored by `cancel`; to `submit` on one is the caller's bug,
/// but harmless: the op is dropped.
pub trait Port {
    /// What wakes this port from other threads.
    type Notifier: Notify;

    /// Time; constant from one `wait` to the next, never goes back.
    fn now(&self) -> Time;

    /// Time at this instant.
    fn precise_now(&self) -> Time;

    /// The same at less cost, from an epoch of its own and up to 10 ms late: for measuring, with
    /// another of its kind, what takes much longer.
    fn coarse_now(&self) -> Time {
        self.precise_now()
    }

    /// A seed for what is random above the port: hashers, jitter. Another one at each call.
    fn seed(&mut self) -> u64;

    /// Wakes this port; cloneable, for any thread.
    fn notifier(&self) -> Self::Notifier;

    /// What this driver can do.
    fn abilities(&self) -> Abilities;

    /// Takes in a socket that belongs to no port. No completion; ops may be submitted at once.
    ///
    /// # Errors
    /// What the system refuses, with the socket.
    fn attach(
        &mut self,
        socket: Unattached,
        token: Token,
    ) -> Result<SocketId, (PortError, Unattached)>;

    /// Takes in a listener; `Op::Accept` and `Op::Close` may be submitted on it.
    ///
    /// # Errors
    /// What the system refuses.
    fn listen(&mut self, listening: Listening, token: Token) -> Result<SocketId, PortError>;

    /// Starts to connect. Ends with `Connected`, or with `ConnectFailed` and then `Closed`.
    /// `Op::Close` before that ends the attempt: `ConnectFailed` (cancelled), then `Closed`.
    ///
    /// # Errors
    /// What the system refuses at once: no descriptors, no such local address.
    fn connect(&mut self, to: &ConnectTo, token: Token) -> Result<SocketId, PortError>;

    /// Starts an op. It may run at once or in the next `wait`.
    ///
    /// # Panics
    /// When the op may not be begun: see [`InFlight`](crate::InFlight). A connect that fails closes of itself; a
    /// `Close` of it, before `Closed` is out, does nothing.
    fn submit(&mut self, socket: SocketId, op: Op);

    /// Asks that an op end soon. Its own last completion says how it ended; this has none.
    /// Without such an op, or on a stale socket, nothing happens.
    fn cancel(&mut self, socket: SocketId, kind: OpKind);

    /// What the system knows of the way to a socket's peer: a question to the system, not for every
    /// message. Of a stale id, and where nothing is told, nothing.
    fn link(&self, socket: SocketId) -> Link;

    /// Starts work off this thread: names and jobs. Never refused; bounding it is the caller's
    /// affair. Ends with `What::Work` under this token.
    fn start(&mut self, token: Token, work: Work);

    /// Hands the system what was submitted, waits until `until` for the first completion, and
    /// appends at most `completions_max` of them. Returns early when notified.
    ///
    /// # Errors
    /// Only when the port is dead; all its completions are lost then.
    fn wait(&mut self, until: Until, out: &mut Vec<Completion>) -> Result<Waited, PortError>;

    /// Leases that are out. Zero whenever nothing is runnable: an invariant of the worker.
    fn leases(&self) -> usize;

    /// Sockets this port holds.
    fn sockets(&self) -> usize;
}

/// How long a `wait` may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Until {
    /// Not at all.
    Now,
    /// Until that time, never shorter unless there is something.
    Time(Time),
    /// Until something happens.
    Woken,
}

/// How a `wait` ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Waited {
    /// The port's new time.
    pub now: Time,
    /// The queue was empty behind what was returned. Timers fire only after such a wait, so that
    /// input that was there in time is never overtaken by its timeout (R45).
    pub drained: bool,
}

/// Wakes a port out of its wait. From any thread; calls between two waits are one.
pub trait Notify: Clone + Send + Sync + Debug + 'static {
    /// Ends the current or the next `wait`.
    fn notify(&self);
}

/// What a driver can do: for `doctor`, the banner, and the few places that ask.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Abilities {
    /// `io_uring`, `epoll`, `kqueue`, `iocp`, `simulated`.
    pub driver: &'static str,
    /// `Op::Detach` works; where not, it ends with `DetachFailed`.
    pub moves_sockets: bool,
    /// Why a better driver was not taken, in words for a person; empty if none is better.
    pub passed_over: String,
    /// Features of the kernel in use, in words for a person.
    pub features: Vec<&'static str>,
}
