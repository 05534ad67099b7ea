//! Handles on connections, for any thread.

use crate::any_conn::Way;
use crate::config::Limits;
use crate::metrics::LaneCounters;
use crate::server::mailbox::{Cmd, Ending};
use crate::server::shared::{Asks, Shared};
use crate::server::switchboard::{Named, Switchboard};
use crate::{AnyConn, ConnId, ConnInfo, Ctx, Handler, Item, Result, Sent, Server};
use bytes::Bytes;
use longshore_base::Foreign;
use longshore_port::Addr;
use longshore_proto::Codec;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What a lane and the handles on its connections share.
pub(crate) struct LaneShared<H: Handler> {
    pub(crate) codec: Foreign<H::Codec>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) board: Arc<Switchboard>,
    pub(crate) counters: Arc<LaneCounters>,
}

impl<H: Handler> fmt::Debug for LaneShared<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LaneShared").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// What somebody wants to have run as a callback. Its drop may panic.
pub(crate) type Posted<H> = Foreign<Box<dyn FnOnce(&mut H, &mut Ctx<'_, H>) -> Result + Send>>;

/// A handle on a connection: small, cloneable, usable from any thread and after the connection is
/// gone, when everything answers that it is.
///
/// Typed by the handler, so that what is sent fits its codec.
///
/// ```
/// use longshore::{Conn, Ctx, Handler, Lines, Result};
/// use std::thread;
///
/// /// Looks things up on threads of their own: a callback may not wait.
/// struct Lookup;
///
/// impl Handler for Lookup {
///     type Codec = Lines;
///
///     fn on_message(&mut self, cx: &mut Ctx<'_, Self>, name: &str) -> Result {
///         let (conn, name): (Conn<Self>, _) = (cx.conn(), name.to_owned());
///         thread::spawn(move || {
///             let found = format!("{name} is a name of {} bytes", name.len()); // takes long
///             let _ = conn.send(&found); // the peer may be gone
///         });
///         Ok(())
///     }
/// }
/// ```
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

    /// Bytes that wait to be sent. A little behind what the worker knows: up to 4 KiB that the system has
    /// taken may count until the worker next wakes.
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
            Ok(bytes) => self.way().send(bytes, None),
            Err(error) => Sent::Invalid(error),
        }
    }

    /// As [`send`](Self::send), in the place of the message of that key if one waits, as
    /// [`Ctx::send_latest`] does.
    pub fn send_latest(&self, key: u64, item: Item<'_, H>) -> Sent {
        match self.lane.codec.to_bytes(item) {
            Ok(bytes) => self.way().send(bytes, Some(key)),
            Err(error) => Sent::Invalid(error),
        }
    }

    /// Queues bytes as they are: whole frames, encoded elsewhere, by [`Codec::to_bytes`] for one.
    /// Of no bytes nothing is heard. Never `Invalid`.
    pub fn send_encoded(&self, bytes: Bytes) -> Sent {
        self.way().send(bytes, None)
    }

    /// Has `work` run as a callback of this connection, with its handler: on its worker's thread, when no
    /// other callback of it runs, in the order in which posts were asked for, behind what was sent before.
    /// What is sent afterwards does not wait for it. As of any callback, an error or a panic ends the
    /// connection.
    ///
    /// `Full` if [`limits.posts`](Limits::posts) wait already. `Queued` is no promise: a post is skipped,
    /// and counted, if the connection closes before its turn. Never `Invalid`.
    ///
    /// So values come from one connection to another, and heavy work is cut into pieces between
    /// which others have their turn:
    ///
    /// ```
    /// use longshore::{Ctx, Handler, Lines, Result};
    ///
    /// /// Counts to a large number, in pieces.
    /// struct Counting {
    ///     left: u64,
    /// }
    ///
    /// impl Counting {
    ///     fn step(&mut self, cx: &mut Ctx<'_, Self>) -> Result {
    ///         self.left -= self.left.min(10_000);
    ///         if self.left == 0 {
    ///             return cx.send("done");
    ///         }
    ///         let _ = cx.conn().post(Self::step); // alone, so never full
    ///         Ok(())
    ///     }
    /// }
    ///
    /// impl Handler for Counting {
    ///     type Codec = Lines;
    ///
    ///     fn on_message(&mut self, cx: &mut Ctx<'_, Self>, number: &str) -> Result {
    ///         self.left = number.parse()?;
    ///         self.step(cx)
    ///     }
    /// }
    /// ```
    pub fn post<F>(&self, work: F) -> Sent
    where
        F: FnOnce(&mut H, &mut Ctx<'_, H>) -> Result + Send + 'static,
    {
        if self.is_closed() {
            return Sent::Closed;
        }
        let max = self.lane.limits.posts;
        let more = |posts: u32| posts.checked_add(1).filter(|sum| *sum <= max);
        if self.shared.posts.fetch_update(Ordering::AcqRel, Ordering::Relaxed, more).is_err() {
            self.lane.board.posts_refused.fetch_add(1, Ordering::Relaxed);
            return Sent::Full;
        }
        let work: Posted<H> = Foreign::new(Box::new(work));
        self.push(|shared| Cmd::Post { shared, work: Box::new(work) });
        Sent::Queued
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
        self.lane.board.ask(&self.shared, Asks::MEASURE);
    }

    /// The peer has logged in: `limits.login` has no more to say. For who looks that up on another
    /// thread.
    pub fn admit(&self) {
        self.lane.board.ask(&self.shared, Asks::ADMIT);
    }

    /// Stops reading from the peer. After the callback at hand there is no `on_message` until
    /// [`resume`](Self::resume), not even for frames already received.
    pub fn pause(&self) {
        self.lane.board.ask(&self.shared, Asks::PAUSE);
    }

    /// Goes on reading.
    pub fn resume(&self) {
        self.lane.board.ask(&self.shared, Asks::RESUME);
    }

    /// A handle without its type: for tables that mix connections of several listeners.
    pub fn any(&self) -> AnyConn {
        let LaneShared { limits, board, counters, .. } = &*self.lane;
        AnyConn {
            shared: Arc::clone(&self.shared),
            limits: Arc::clone(limits),
            board: Arc::clone(board),
            counters: Arc::clone(counters),
        }
    }

    fn way(&self) -> Way<'_> {
        let LaneShared { limits, board, counters, .. } = &*self.lane;
        Way { shared: &self.shared, limits, board, counters }
    }

    fn push(&self, cmd: impl FnOnce(Arc<Shared>) -> Cmd) {
        self.lane.board.push_to(&self.shared, cmd);
    }
}

impl Server {
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
}
