//! What all threads know of a connection.

use crate::config::Limits;
use crate::sync::{AtomicBool, Mutex, MutexGuard};
use longshore_base::Time;
use longshore_port::{Addr, Link};
use std::fmt;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

/// The name of a connection, never used twice by a server.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub(crate) u64);

impl ConnId {
    /// The name as one number, for logs and tables of one's own.
    pub const fn to_bits(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{}", self.0 & 0xffff_ffff_ffff, self.0 >> 48)
    }
}

impl fmt::Debug for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A connection as it is at one time: who, since when, and what it has carried.
///
/// In a callback, by [`Ctx::info`](crate::Ctx::info), it is what the worker knows. From outside, by
/// [`Conn::info`](crate::Conn::info) and [`Server::connections`](crate::Server::connections), it is at most a turn of
/// the worker old, and when the connection is gone what was last. What the kernel took counts when
/// the port tells of it, which for the last bytes before a silence may be at its next event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ConnInfo {
    /// Its name.
    pub id: ConnId,
    /// The other side.
    pub peer_addr: Addr,
    /// This side.
    pub local_addr: Addr,
    /// Since when it stands, on the clock of [`Ctx::now`](crate::Ctx::now) and
    /// [`Tick::now`](crate::Tick::now); `now.since(connected_at)` is its age.
    pub connected_at: Time,
    /// Bytes that wait to be sent.
    pub queued_bytes: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes that the kernel took.
    pub bytes_out: u64,
    /// Frames handed to `on_message`, the one at hand included.
    pub messages_in: u64,
    /// Messages queued by sends.
    pub messages_out: u64,
    /// Messages dropped because it reads too slowly, where its listener's policy is to.
    pub messages_dropped: u64,
    /// What the system knew of the way to the peer when it was last asked to be measured; nothing
    /// before that.
    pub link: Link,
}

/// What all threads know of a connection. One small allocation each.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) id: ConnId,
    pub(crate) peer_addr: Addr,
    pub(crate) local_addr: Addr,
    pub(crate) connected_at: Time,
    pub(crate) counts: Counts,
    /// Which worker it is on. Held while pushing to that worker, so that pushes keep their order.
    pub(crate) route: Mutex<u16>,
    /// The slot in its worker's table: only that worker looks at it.
    pub(crate) slot: AtomicU64,
    /// Bytes of handles that have not left yet, in a mailbox or in the send half: they count from
    /// the send to the kernel, so that there is no moment at which they count nowhere.
    pub(crate) remote_bytes: AtomicU64,
    /// All other bytes in the send half.
    pub(crate) local_bytes: AtomicU64,
    /// Most bytes of both together.
    pub(crate) queue_bytes_max: u64,
    /// Whether messages have a bound as well.
    pub(crate) counts_messages: bool,
    /// Messages of handles in a mailbox, and those that wait in the send half. Counted only where
    /// they have a bound.
    pub(crate) remote_messages: AtomicU32,
    pub(crate) local_messages: AtomicU32,
    /// Posts that wait for their turn.
    pub(crate) posts: AtomicU32,
    pub(crate) closed: AtomicBool,
    /// What else is asked of it.
    pub(crate) asks: Asks,
    /// A send was refused since the low mark was last reached.
    pub(crate) refused: AtomicBool,
    /// As last measured, if it ever was. A leaf lock.
    pub(crate) link: Mutex<Option<Box<Link>>>,
}

/// What other threads ask of a connection where only the last word counts: one command for all of it,
/// however often they ask.
#[derive(Debug, Default)]
pub(crate) struct Asks(AtomicU8);

impl Asks {
    pub(crate) const PAUSE: u8 = 1;
    pub(crate) const RESUME: u8 = 2;
    pub(crate) const MEASURE: u8 = 4;
    pub(crate) const ADMIT: u8 = 8;
    const WAITS: u8 = 16;
    const ABORT: u8 = 32;

    /// Asks for `what`. Says whether a command has to be sent.
    pub(crate) fn ask(&self, what: u8) -> bool {
        let opposite = match what {
            Self::PAUSE => Self::RESUME,
            Self::RESUME => Self::PAUSE,
            _ => 0,
        };
        let more = |asks: u8| Some((asks & !opposite) | what | Self::WAITS);
        let before = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, more);
        before.is_ok_and(|before| before & Self::WAITS == 0)
    }

    /// What was asked for until now.
    pub(crate) fn take(&self) -> u8 {
        self.0.fetch_and(Self::ABORT, Ordering::AcqRel) & !(Self::ABORT | Self::WAITS)
    }

    /// An abort is asked for. Says whether it is the first time.
    pub(crate) fn abort(&self) -> bool {
        self.0.fetch_or(Self::ABORT, Ordering::AcqRel) & Self::ABORT == 0
    }
}

/// Counters of a connection. Its worker keeps them to itself, and stores them here once a turn for
/// what it sent, with each receive for what came.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) bytes_in: AtomicU64,
    pub(crate) bytes_out: AtomicU64,
    pub(crate) messages_in: AtomicU64,
    pub(crate) messages_out: AtomicU64,
    /// Any thread adds to it.
    pub(crate) messages_dropped: AtomicU64,
}

impl Shared {
    /// Of a connection of worker `worker`, from `peer_addr` to `local_addr`, with these limits.
    pub(crate) fn new(
        id: ConnId,
        (peer_addr, local_addr): (Addr, Addr),
        connected_at: Time,
        worker: u16,
        limits: &Limits,
    ) -> Self {
        Self {
            id,
            peer_addr,
            local_addr,
            connected_at,
            counts: Counts::default(),
            link: Mutex::default(),
            route: Mutex::new(worker),
            slot: AtomicU64::new(u64::MAX),
            remote_bytes: AtomicU64::new(0),
            local_bytes: AtomicU64::new(0),
            queue_bytes_max: limits.send_queue_bytes,
            counts_messages: limits.counts_messages(),
            remote_messages: AtomicU32::new(0),
            local_messages: AtomicU32::new(0),
            posts: AtomicU32::new(0),
            closed: AtomicBool::new(false),
            asks: Asks::default(),
            refused: AtomicBool::new(false),
        }
    }

    /// Bytes in mailboxes and in the send half.
    pub(crate) fn queued_bytes(&self) -> u64 {
        self.remote_bytes.load(Ordering::Relaxed) + self.local_bytes.load(Ordering::Relaxed)
    }

    /// As any thread sees it.
    pub(crate) fn info(&self) -> ConnInfo {
        let Counts { bytes_in, bytes_out, messages_in, messages_out, messages_dropped } =
            &self.counts;
        ConnInfo {
            id: self.id,
            peer_addr: self.peer_addr,
            local_addr: self.local_addr,
            connected_at: self.connected_at,
            queued_bytes: self.queued_bytes(),
            bytes_in: bytes_in.load(Ordering::Relaxed),
            bytes_out: bytes_out.load(Ordering::Relaxed),
            messages_in: messages_in.load(Ordering::Relaxed),
            messages_out: messages_out.load(Ordering::Relaxed),
            messages_dropped: messages_dropped.load(Ordering::Relaxed),
            link: self.measured().as_deref().copied().unwrap_or_default(),
        }
    }

    /// What was last measured.
    pub(crate) fn measured(&self) -> MutexGuard<'_, Option<Box<Link>>> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
