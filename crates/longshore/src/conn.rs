//! Handles on connections, for any thread.

use crate::worker::lane::LaneShared;
use crate::worker::mailbox::{Cmd, Ending};
use crate::{Handler, Item, SendError};
use bytes::Bytes;
use longshore_base::Time;
use longshore_port::{Addr, Link};
use longshore_proto::{Codec, FrameError};
use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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

/// What became of what was asked of another connection: of a message for it, or of the end of the
/// one of some name.
///
/// No error type, on purpose: that somebody else is slow or gone must not end *this* connection by
/// a `?` written in passing. What a callback sends on its own connection answers with a `Result`.
///
/// [`Conn::close`], [`abort`](Conn::abort), [`pause`](Conn::pause) and [`resume`](Conn::resume)
/// answer nothing: of a connection that is gone, what they ask for is true already.
#[must_use = "the peer may be slow or gone; write `let _ =` where that does not matter"]
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Sent {
    /// It is on its way, behind everything that was sent before.
    Queued,
    /// The queue is at its bound; the message is dropped.
    Full,
    /// The connection is closing or gone.
    Closed,
    /// The codec cannot make a frame of it, for this reason; nothing was sent.
    Invalid(FrameError),
}

impl Sent {
    /// Whether it is on its way.
    pub fn is_queued(&self) -> bool {
        *self == Self::Queued
    }

    /// The same answer in the words for others.
    pub(crate) fn of(result: Result<(), SendError>) -> Self {
        match result {
            Ok(()) => Self::Queued,
            Err(SendError::Full) => Self::Full,
            Err(SendError::Closed) => Self::Closed,
            Err(SendError::Encode(error)) => Self::Invalid(error),
        }
    }
}

/// A connection as it is at one time: who, since when, and what it has carried.
///
/// In a callback, by [`Ctx::info`](crate::Ctx::info), it is what the worker knows. From outside, by
/// [`Conn::info`] and [`Server::connections`](crate::Server::connections), it is at most a turn of
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
    pub(crate) closed: AtomicBool,
    /// A send was refused since the low mark was last reached.
    pub(crate) refused: AtomicBool,
    /// As last measured, if it ever was. A leaf lock.
    pub(crate) link: Mutex<Option<Box<Link>>>,
}

/// Counters of a connection. Its worker keeps them to itself, and stores them here once a turn for
/// what it sent, with each receive for what came.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) bytes_in: AtomicU64,
    pub(crate) bytes_out: AtomicU64,
    pub(crate) messages_in: AtomicU64,
    pub(crate) messages_out: AtomicU64,
}

impl Shared {
    /// Bytes in mailboxes and in the send half.
    pub(crate) fn queued_bytes(&self) -> u64 {
        self.remote_bytes.load(Ordering::Relaxed) + self.local_bytes.load(Ordering::Relaxed)
    }

    /// As any thread sees it.
    pub(crate) fn info(&self) -> ConnInfo {
        let Counts { bytes_in, bytes_out, messages_in, messages_out } = &self.counts;
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
            link: self.measured().as_deref().copied().unwrap_or_default(),
        }
    }

    /// What was last measured.
    pub(crate) fn measured(&self) -> MutexGuard<'_, Option<Box<Link>>> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A handle on a connection: small, cloneable, usable from any thread and after the connection is
/// gone, when everything answers that it is.
///
/// Typed by the handler, so that what is sent fits its codec.
pub struct Conn<H: Handler> {
    pub(crate) shared: Arc<Shared>,
    pub(crate) lane: Arc<LaneShared<H>>,
}

impl<H: Handler> Clone for Conn<H> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), lane: Arc::clone(&self.lane) }
    }
}

impl<H: Handler> fmt::Debug for Conn<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Conn").field(&self.shared.id).finish()
    }
}

impl<H: Handler> Conn<H> {
    /// Its name.
    pub fn id(&self) -> ConnId {
        self.shared.id
    }

    /// The other side.
    pub fn peer_addr(&self) -> Addr {
        self.shared.peer_addr
    }

    /// This side.
    pub fn local_addr(&self) -> Addr {
        self.shared.local_addr
    }

    /// Whether it is closing or gone.
    pub fn is_closed(&self) -> bool {
        self.shared.closed.load(Ordering::Acquire)
    }

    /// Bytes that wait to be sent. A little behind what the worker knows.
    pub fn queued_bytes(&self) -> u64 {
        self.shared.queued_bytes()
    }

    /// What it has carried, and since when it stands. At most a turn of its worker old; when the
    /// connection is gone, what was last.
    ///
    /// ```
    /// # use longshore::{Conn, Handler, Time};
    /// use std::time::Duration;
    ///
    /// /// Whether a peer has said nothing at all for a minute.
    /// fn is_mute<H: Handler>(conn: &Conn<H>, now: Time) -> bool {
    ///     let info = conn.info();
    ///     info.messages_in == 0 && now.since(info.connected_at) > Duration::from_secs(60)
    /// }
    /// # fn main() {}
    /// ```
    pub fn info(&self) -> ConnInfo {
        self.shared.info()
    }

    /// Queues a message. What returned before this was called goes onto the wire before it, from
    /// whatever threads.
    ///
    /// ```
    /// use longshore::{Conn, Handler, Lines, Sent};
    ///
    /// /// Says which of them were told.
    /// fn tell_all<H>(who: &[Conn<H>], line: &str) -> Vec<bool>
    /// where
    ///     H: Handler<Codec = Lines>,
    /// {
    ///     let tell = |conn: &Conn<H>| match conn.send(line) {
    ///         Sent::Queued => true,
    ///         Sent::Full | Sent::Closed => false,
    ///         Sent::Invalid(error) => panic!("{line}: {error}"),
    ///     };
    ///     who.iter().map(tell).collect()
    /// }
    /// # fn main() {}
    /// ```
    pub fn send(&self, item: Item<'_, H>) -> Sent {
        if self.is_closed() {
            return Sent::Closed;
        }
        match self.lane.codec.to_bytes(item) {
            Ok(bytes) => self.send_encoded(bytes),
            Err(error) => Sent::Invalid(error),
        }
    }

    /// Queues bytes as they are: whole frames, encoded elsewhere, by [`Codec::to_bytes`] for one.
    /// Of no bytes nothing is heard. Never `Invalid`.
    pub fn send_encoded(&self, bytes: Bytes) -> Sent {
        let shared = &self.shared;
        if self.is_closed() {
            return Sent::Closed;
        }
        let len = bytes.len() as u64;
        if len == 0 {
            return Sent::Queued; // nothing to bring over, and nothing that a bound would count
        }
        let local = shared.local_bytes.load(Ordering::Relaxed);
        let max = shared.queue_bytes_max.saturating_sub(local);
        let more = |bytes: u64| bytes.checked_add(len).filter(|sum| *sum <= max);
        if shared.remote_bytes.fetch_update(Ordering::AcqRel, Ordering::Relaxed, more).is_err() {
            self.refuse(len, self.lane.limits.slow_reader.disconnects());
            return Sent::Full;
        }
        let budget = &self.lane.board.budget;
        if !budget.post(len, shared.queued_bytes().saturating_sub(len)) {
            shared.remote_bytes.fetch_sub(len, Ordering::AcqRel);
            self.refuse(len, false);
            return Sent::Full;
        }
        if self.lane.board.push_send(shared, bytes) {
            return Sent::Queued;
        }
        budget.take_post(len);
        shared.remote_bytes.fetch_sub(len, Ordering::AcqRel);
        Sent::Closed
    }

    /// Closes it: what was sent before is flushed within the linger time, then half-closed.
    pub fn close(&self) {
        self.lane.board.push_end(&self.shared, Ending::Close(None));
    }

    /// The same with a reason for the log, the metrics and `on_disconnect`.
    pub fn close_because(&self, why: impl Into<Cow<'static, str>>) {
        let why = Some(why.into());
        self.lane.board.push_end(&self.shared, Ending::Close(why));
    }

    /// Ends it at once with a reset; what is queued is lost.
    pub fn abort(&self) {
        self.lane.board.push_end(&self.shared, Ending::Abort);
    }

    /// Has the system asked what it knows of the way to the peer: round trips, resends, what is not
    /// acknowledged. [`info`](Self::info) has it in `link` a turn of the worker later. Costs two
    /// system calls on Linux; other systems tell nothing.
    pub fn measure_link(&self) {
        self.push(|shared| Cmd::Measure { shared });
    }

    /// The peer has logged in: `limits.login` has no more to say. For who looks that up on another
    /// thread.
    pub fn admit(&self) {
        self.push(|shared| Cmd::Admit { shared });
    }

    /// Stops reading from the peer. After the callback at hand there is no `on_message` until
    /// [`resume`](Self::resume), not even for frames already received.
    pub fn pause(&self) {
        self.push(|shared| Cmd::Pause { shared, on: true });
    }

    /// Goes on reading.
    pub fn resume(&self) {
        self.push(|shared| Cmd::Pause { shared, on: false });
    }

    /// The queue is at its bound, or all queues together are. The worker hears of the first refusal
    /// only: who sends on and on to a worker that is busy must not fill its mailbox with the others.
    #[cold]
    fn refuse(&self, len: u64, disconnects: bool) {
        let shared = &self.shared;
        self.lane.counters.sends_refused();
        self.lane.board.messages_refused.fetch_add(1, Ordering::Relaxed);
        let owed = disconnects || len <= shared.queue_bytes_max;
        if owed && !shared.refused.swap(true, Ordering::AcqRel) {
            if disconnects {
                self.lane.board.push_end(shared, Ending::SlowReader);
            } else {
                self.push(|shared| Cmd::Refused { shared });
            }
        }
    }

    fn push(&self, cmd: impl FnOnce(Arc<Shared>) -> Cmd) {
        self.lane.board.push_to(&self.shared, cmd);
    }
}
