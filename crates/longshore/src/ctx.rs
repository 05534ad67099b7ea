//! What a callback can do.

use crate::conn::LaneShared;
use crate::server::shared::Shared;
use crate::worker::connection::Connection;
use crate::worker::core::Core;
use crate::worker::core::ending::How;
use crate::{
    Conn, ConnId, ConnInfo, DisconnectReason, FileId, FileSource, Handler, Item, Result, SendError,
    Sent, Server, Timer,
};
use bytes::Bytes;
use longshore_base::{Time, Token};
use longshore_port::{Addr, RecvBuf};
use longshore_proto::Codec;
use longshore_proto::connection::{Mark, Message, TooManyTimers};
use std::borrow::Cow;
use std::fmt;
use std::ops::RangeBounds;
use std::sync::Arc;
use std::time::Duration;

/// What a callback can do with its own connection, and with others.
///
/// It lives for one callback, on the worker's thread. All calls return at once; what they ask for
/// happens when the callback has returned.
///
/// ```
/// use longshore::{Ctx, Handler, Lines, Result, Timer};
/// use std::time::Duration;
///
/// const LATER: Timer = Timer(1);
///
/// struct Reminder;
///
/// impl Handler for Reminder {
///     type Codec = Lines;
///
///     fn on_message(&mut self, cx: &mut Ctx<'_, Self>, line: &str) -> Result {
///         match line {
///             "quit" => cx.close(), // what was sent before still goes out
///             "who" => cx.send(&format!("you are {}", cx.peer_addr()))?,
///             _ => cx.set_timer(LATER, Duration::from_secs(60))?,
///         }
///         Ok(())
///     }
///
///     fn on_timer(&mut self, cx: &mut Ctx<'_, Self>, _: Timer) -> Result {
///         cx.send("a minute has passed")
///     }
/// }
/// ```
pub struct Ctx<'a, H: Handler> {
    pub(crate) core: &'a mut Core,
    pub(crate) conn: Token,
    pub(crate) lane: &'a Arc<LaneShared<H>>,
    /// The received bytes that the frame at hand lies in.
    pub(crate) lease: Option<&'a RecvBuf>,
    /// Frames handed to the handler that its connection does not count yet.
    pub(crate) messages: u64,
}

impl<H: Handler> fmt::Debug for Ctx<'_, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ctx").field("conn", &self.conn).finish_non_exhaustive()
    }
}

impl<H: Handler> Ctx<'_, H> {
    /// Queues a message for the peer. What one turn of the worker sends leaves as one gathered
    /// write at its end.
    ///
    /// # Errors
    /// [`SendError`]: the queue is full, the connection is closing, or the item makes no frame.
    /// Handed on with `?` it ends the connection.
    #[inline]
    pub fn send(&mut self, item: Item<'_, H>) -> Result {
        Ok(self.try_send(item)?)
    }

    /// As [`send`](Self::send), with the refusal as a value to look at.
    ///
    /// # Errors
    /// See [`SendError`].
    #[inline]
    pub fn try_send(&mut self, item: Item<'_, H>) -> Result<(), SendError> {
        self.core.send_item(self.conn, &*self.lane.codec, item, self.lease, true).map(|_| ())
    }

    /// As [`send`](Self::send), and `on_sent(id)` tells when its last byte is with the kernel. It is not
    /// dropped, whatever the policy: where others would be, it is refused.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_tracked(&mut self, item: Item<'_, H>, id: u64) -> Result {
        self.core.send_item(self.conn, &*self.lane.codec, item, self.lease, false)?;
        if let Some(conn) = self.core.conns.get_mut(self.conn) {
            conn.send.track(Mark::Send(id));
            if conn.send.is_idle() {
                self.core.owed.push_back(self.conn); // it made no bytes: no answer will come
            }
        }
        Ok(())
    }

    /// Queues bytes as they are: whole frames, encoded elsewhere. They are not copied.
    ///
    /// # Errors
    /// `Full` and `Closed`.
    pub fn send_encoded(&mut self, frames: Bytes) -> Result<(), SendError> {
        self.core.send_message(self.conn, Message::new(frames)).map(|_| ())
    }

    /// As [`send`](Self::send), of something of which only the latest counts: it takes the place of the
    /// message of that key, if one waits that has not begun to leave, and else its own at the end.
    /// So a peer that reads slowly gets fewer and newer messages, under any policy, and never waits
    /// for the same key twice. Keys are those of this connection.
    ///
    /// ```
    /// # use longshore::{Ctx, Handler, Lines, Result};
    /// # struct Player { number: u64 }
    /// # impl Handler for Player {
    /// # type Codec = Lines;
    /// fn on_message(&mut self, cx: &mut Ctx<'_, Self>, place: &str) -> Result {
    ///     cx.send_latest(self.number, place)
    /// }
    /// # }
    /// # fn main() {}
    /// ```
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_latest(&mut self, key: u64, item: Item<'_, H>) -> Result {
        let bytes = self.lane.codec.to_bytes(item).map_err(SendError::Encode)?;
        let message = Message { key: Some(key), ..Message::new(bytes) };
        self.core.send_message(self.conn, message)?;
        Ok(())
    }

    /// Queues a file, or a part of one, to be sent as it is, in order with what is sent before and
    /// after: to a peer that knows nothing of us, behind a header of its own protocol. It takes no memory
    /// of the send queue, whatever its length; where the system can, it goes from its cache to the
    /// network without a copy, and no worker ever waits for a disk.
    ///
    /// [`on_file`](Handler::on_file) tells when its last byte is with the kernel, and whether the file was
    /// changed meanwhile. One that becomes shorter than what was asked for ends the connection with a
    /// reset, as [`SourceChanged`](crate::DisconnectReason::SourceChanged): what was promised cannot
    /// follow.
    ///
    /// ```
    /// # use longshore::{Ctx, FileSource, Handler, Lines, Result};
    /// # struct Session { film: FileSource }
    /// # impl Handler for Session {
    /// # type Codec = Lines;
    /// fn on_message(&mut self, cx: &mut Ctx<'_, Self>, _: &str) -> Result {
    ///     cx.send(&format!("here are {} bytes", self.film.bytes()))?;
    ///     cx.send_file(&self.film, ..)?;
    ///     cx.send("that was it")
    /// }
    /// # }
    /// # fn main() {}
    /// ```
    ///
    /// # Errors
    /// A range that the file does not have ([`BadRange`](crate::FileErrorKind::BadRange));
    /// [`Busy`](crate::FileErrorKind::Busy) with `limits.send_queue_files` waiting; [`SendError::Closed`].
    pub fn send_file(&mut self, file: &FileSource, range: impl RangeBounds<u64>) -> Result<FileId> {
        let range = file.range(range)?;
        self.core.send_file(self.conn, file, range)
    }

    /// Sends to another connection. On the same worker a large payload of the frame at hand is
    /// handed on without a copy; else it is as [`Conn::send`], whose answer it has as well.
    pub fn send_to<G: Handler>(&mut self, to: &Conn<G>, item: Item<'_, G>) -> Sent {
        match self.core.token_of(&to.shared) {
            Some(token) => {
                let sent = self.core.send_item(token, &*to.lane.codec, item, self.lease, true);
                Sent::of(sent.map(|_| ()))
            }
            None => to.send(item),
        }
    }

    /// The connection's name.
    pub fn id(&self) -> ConnId {
        self.shared().id
    }

    /// The other side, as known when it was accepted.
    pub fn peer_addr(&self) -> Addr {
        self.shared().peer_addr
    }

    /// This side.
    pub fn local_addr(&self) -> Addr {
        self.shared().local_addr
    }

    /// A handle on this connection, for other threads and other connections.
    pub fn conn(&self) -> Conn<H> {
        Conn { shared: Arc::clone(self.shared()), lane: Arc::clone(self.lane) }
    }

    /// The server.
    pub fn server(&self) -> &Server {
        &self.core.server
    }

    /// The worker's clock, the same that timers use; constant during a callback, virtual in a
    /// simulation.
    pub fn now(&self) -> Time {
        self.core.now
    }

    /// Bytes that wait to be sent on this connection.
    pub fn queued_bytes(&self) -> u64 {
        self.core.conns.get(self.conn).map_or(0, Connection::queued)
    }

    /// What this connection has carried until now, and since when it stands.
    ///
    /// ```
    /// # use longshore::{Ctx, Handler, Lines, Result};
    /// # struct Session;
    /// # impl Handler for Session {
    /// # type Codec = Lines;
    /// fn on_message(&mut self, cx: &mut Ctx<'_, Self>, line: &str) -> Result {
    ///     let info = cx.info();
    ///     let age = cx.now().since(info.connected_at);
    ///     cx.send(&format!("message {} after {age:?}: {line}", info.messages_in))
    /// }
    /// # }
    /// # fn main() {}
    /// ```
    pub fn info(&self) -> ConnInfo {
        let conn = self.own();
        ConnInfo {
            queued_bytes: conn.queued(),
            bytes_in: conn.bytes_in,
            bytes_out: conn.send.sent(),
            messages_in: conn.messages_in + self.messages,
            messages_out: conn.messages_out,
            ..conn.shared.info()
        }
    }

    /// Calls `on_timer` after `after`: never early, at most one tick (1 ms) and the turn at hand
    /// late. Setting a timer again moves it. One of zero comes with the next tick.
    ///
    /// # Errors
    /// With 64 other timers set.
    pub fn set_timer(&mut self, timer: Timer, after: Duration) -> Result<(), TooManyTimers> {
        let at = self.core.now + after.max(Duration::from_nanos(1)); // not again in this turn
        if let Some(conn) = self.core.conns.get_mut(self.conn).filter(|conn| conn.is_open()) {
            conn.deadlines.set_timer(timer.0, at)?;
            self.core.rearm(self.conn);
        }
        Ok(())
    }

    /// Clears a timer; says whether it was set.
    pub fn clear_timer(&mut self, timer: Timer) -> bool {
        let conn = self.core.conns.get_mut(self.conn);
        conn.is_some_and(|conn| conn.deadlines.clear_timer(timer.0))
    }

    /// This connection's own idle time; silence counts from now. Zero is none.
    pub fn set_idle(&mut self, after: Duration) {
        let now = self.core.now;
        if let Some(conn) = self.core.conns.get_mut(self.conn).filter(|conn| conn.is_open()) {
            conn.deadlines.set_idle(now, after);
            self.core.rearm(self.conn);
        }
    }

    /// Closes: what was sent before is flushed within the linger time, then half-closed. After
    /// this callback only `on_disconnect` comes; frames already received are dropped and counted.
    pub fn close(&mut self) {
        self.close_for(DisconnectReason::Local);
    }

    /// The same with a reason for the log, the metrics and `on_disconnect`.
    pub fn close_because(&mut self, why: impl Into<Cow<'static, str>>) {
        self.close_for(DisconnectReason::Said(why.into()));
    }

    /// Ends the connection at once with a reset; what is queued is lost.
    pub fn abort(&mut self) {
        self.core.end(self.conn, DisconnectReason::Aborted, How::Reset);
    }

    /// Has the system asked what it knows of the way to the peer: round trips, resends, what is not
    /// acknowledged. From the next callback on [`info`](Self::info) has it in `link`. Costs two
    /// system calls on Linux; other systems tell nothing.
    pub fn measure_link(&mut self) {
        self.core.measure(self.conn);
    }

    /// The peer has logged in: `limits.login` has no more to say. Without such a limit it does
    /// nothing.
    ///
    /// ```
    /// # use longshore::{Ctx, Handler, Lines, Result};
    /// # struct Session;
    /// # impl Handler for Session {
    /// # type Codec = Lines;
    /// fn on_message(&mut self, cx: &mut Ctx<'_, Self>, line: &str) -> Result {
    ///     if line == "login sesame" {
    ///         cx.admit();
    ///     }
    ///     Ok(())
    /// }
    /// # }
    /// # fn main() {}
    /// ```
    pub fn admit(&mut self) {
        self.core.admit(self.conn);
    }

    /// Stops reading. After this callback there is no `on_message` until
    /// [`resume`](Self::resume), not even for frames already received. The time that the peer has for
    /// its first byte, its log-in and its frames, and idle time, stand still meanwhile.
    pub fn pause(&mut self) {
        self.core.catch_up();
        self.core.pause(self.conn);
    }

    /// Goes on reading.
    pub fn resume(&mut self) {
        self.core.catch_up();
        self.core.resume(self.conn);
    }

    pub(crate) fn close_idle(&mut self) {
        self.close_for(DisconnectReason::IdleTimeout);
    }

    pub(crate) fn close_shutdown(&mut self) {
        self.close_for(DisconnectReason::Shutdown);
    }

    fn close_for(&mut self, reason: DisconnectReason) {
        self.core.end(self.conn, reason, How::Flush);
    }

    fn own(&self) -> &Connection {
        let conn = self.core.conns.get(self.conn);
        conn.expect("a connection stays while its callback runs")
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.own().shared
    }
}
