//! The untyped side of handles: how bytes come from any thread to a connection.

use crate::config::Limits;
use crate::metrics::LaneCounters;
use crate::server::mailbox::{Cmd, Ending, mail_bytes};
use crate::server::shared::Shared;
use crate::server::switchboard::Switchboard;
use crate::{ConnId, ConnInfo, Sent, SlowReader};
use bytes::Bytes;
use longshore_port::Addr;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A handle on a connection of whatever listener: what does not depend on its handler and codec, as
/// [`Conn`](crate::Conn) has it. For tables that mix them; [`Conn::any`](crate::Conn::any) makes one.
///
/// ```
/// use longshore::{AnyConn, Bytes, Conn, Handler, Sent};
///
/// /// Connections of all listeners, whose frames are the same on the wire.
/// #[derive(Default)]
/// struct Everybody(Vec<AnyConn>);
///
/// impl Everybody {
///     fn add<H: Handler>(&mut self, conn: &Conn<H>) {
///         self.0.retain(|conn| !conn.is_closed());
///         self.0.push(conn.any());
///     }
///
///     fn tell(&self, frame: &Bytes) -> usize {
///         let told = self.0.iter().map(|conn| conn.send_encoded(frame.clone()));
///         told.filter(Sent::is_queued).count()
///     }
/// }
/// # fn main() {}
/// ```
#[derive(Clone)]
pub struct AnyConn {
    pub(crate) shared: Arc<Shared>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) board: Arc<Switchboard>,
    pub(crate) counters: Arc<LaneCounters>,
}

impl fmt::Debug for AnyConn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AnyConn").field(&self.shared.id).finish()
    }
}

impl AnyConn {
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

    /// What it has carried, and since when it stands: [`Conn::info`](crate::Conn::info).
    pub fn info(&self) -> ConnInfo {
        self.shared.info()
    }

    /// Queues bytes as they are: whole frames of its codec, encoded elsewhere, as
    /// [`Conn::send_encoded`](crate::Conn::send_encoded).
    pub fn send_encoded(&self, bytes: Bytes) -> Sent {
        let Self { shared, limits, board, counters } = self;
        Way { shared, limits, board, counters }.send(bytes, None)
    }

    /// Closes it: what was sent before is flushed within the linger time, then half-closed.
    pub fn close(&self) {
        self.board.push_end(&self.shared, Ending::Close(None));
    }

    /// The same with a reason for the log, the metrics and `on_disconnect`.
    pub fn close_because(&self, why: impl Into<Cow<'static, str>>) {
        self.board.push_end(&self.shared, Ending::Close(Some(why.into())));
    }

    /// Ends it at once with a reset; what is queued is lost.
    pub fn abort(&self) {
        self.board.push_end(&self.shared, Ending::Abort);
    }
}

/// The way of bytes from any thread to a connection.
pub(crate) struct Way<'a> {
    pub(crate) shared: &'a Arc<Shared>,
    pub(crate) limits: &'a Limits,
    pub(crate) board: &'a Switchboard,
    pub(crate) counters: &'a LaneCounters,
}

impl Way<'_> {
    /// Takes room for a message on its way, and sends it on it.
    pub(crate) fn send(&self, bytes: Bytes, key: Option<u64>) -> Sent {
        let shared = self.shared;
        if self.shared.closed.load(Ordering::Acquire) {
            return Sent::Closed;
        }
        let len = bytes.len() as u64;
        if len == 0 {
            return Sent::Queued; // nothing to bring over, and nothing that a bound would count
        }
        let (limits, mail) = (self.limits, mail_bytes(&bytes));
        // Where another may go for it, only what is on its way has its bound here.
        let replaces = limits.slow_reader == SlowReader::DropOldest || key.is_some();
        let local = |count: u64| if replaces { 0 } else { count };
        let left = shared.queue_bytes_max;
        let left = left.saturating_sub(local(shared.local_bytes.load(Ordering::Relaxed)));
        let more = |bytes: u64| bytes.checked_add(mail).filter(|sum| *sum <= left);
        if shared.remote_bytes.fetch_update(Ordering::AcqRel, Ordering::Relaxed, more).is_err() {
            return self.at_bound(len, limits.slow_reader.disconnects());
        }
        if shared.counts_messages {
            let waiting = local(shared.local_messages.load(Ordering::Relaxed).into());
            let before = shared.remote_messages.fetch_add(1, Ordering::AcqRel);
            if u64::from(before) + waiting >= limits.send_queue_messages.into() {
                self.give_back(mail);
                return self.at_bound(len, limits.slow_reader.disconnects());
            }
        }
        let budget = &self.board.budget;
        if !budget.post(mail, shared.queued_bytes().saturating_sub(mail)) {
            self.give_back(mail);
            return self.at_bound(len, false);
        }
        if self.board.push_send(shared, bytes, key) {
            return Sent::Queued;
        }
        budget.take_post(mail);
        self.give_back(mail);
        Sent::Closed
    }

    /// A message does not go on its way.
    fn give_back(&self, mail: u64) {
        self.shared.remote_bytes.fetch_sub(mail, Ordering::AcqRel);
        if self.shared.counts_messages {
            self.shared.remote_messages.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// There is no room: what the policy of the listener says.
    #[cold]
    fn at_bound(&self, len: u64, disconnects: bool) -> Sent {
        if self.limits.slow_reader.drops() && len <= self.shared.queue_bytes_max {
            self.board.messages_dropped.fetch_add(1, Ordering::Relaxed);
            self.shared.counts.messages_dropped.fetch_add(1, Ordering::Relaxed);
            return Sent::Queued;
        }
        self.refuse(len, disconnects);
        Sent::Full
    }

    /// The queue is at its bound, or all queues together are. The worker hears of the first refusal
    /// only: who sends on and on to a worker that is busy must not fill its mailbox with the others.
    #[cold]
    fn refuse(&self, len: u64, disconnects: bool) {
        let shared = self.shared;
        self.counters.sends_refused();
        self.board.messages_refused.fetch_add(1, Ordering::Relaxed);
        let owed = disconnects || len <= shared.queue_bytes_max;
        if owed && !shared.refused.swap(true, Ordering::AcqRel) {
            if disconnects {
                self.board.push_end(shared, Ending::SlowReader);
            } else {
                self.board.push_to(shared, |shared| Cmd::Refused { shared });
            }
        }
    }
}
