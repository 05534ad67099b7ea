//! Groups: many connections that are sent the same.

use crate::config::GROUP_PENDING_BYTES;
use crate::server::mailbox::{Broadcast, COMMAND_BYTES};
use crate::server::members::{Members, Tally};
use crate::server::notice::Notice;
use crate::server::switchboard::Switchboard;
use crate::{Conn, ConnId, Delivered, Handler};
use bytes::Bytes;
use longshore_base::Foreign;
use longshore_proto::{Codec, FrameError};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Connections of one server that are sent the same: a room, a channel, everybody.
///
/// A message is encoded once, its bytes are shared, and each worker is asked once, whatever the
/// number of members. Nobody waits for a slow member: its own send queue has its own bound, and its
/// listener's [`SlowReader`](crate::SlowReader) says what becomes of it.
///
/// Cloning it is cheap, and it works from any thread, callbacks included. Who ends leaves by itself.
///
/// ```
/// use longshore::{Ctx, Group, Handler, Lines, Listener, Result, Server};
///
/// /// Everybody hears what anybody says.
/// struct Chat {
///     room: Group<Lines>,
/// }
///
/// impl Handler for Chat {
///     type Codec = Lines;
///
///     fn on_connect(&mut self, cx: &mut Ctx<'_, Self>) -> Result {
///         self.room.join(&cx.conn());
///         Ok(())
///     }
///
///     fn on_message(&mut self, cx: &mut Ctx<'_, Self>, line: &str) -> Result {
///         self.room.broadcast_except(cx.id(), line)?;
///         Ok(())
///     }
/// }
///
/// # fn main() -> Result {
/// let room = Group::new(Lines::max(4096));
/// let listener = Listener::tcp("127.0.0.1:0", Lines::max(4096));
/// let server = Server::builder().listen(listener, move |_| Ok(Chat { room: room.clone() })).start()?;
/// # server.shutdown(std::time::Duration::ZERO);
/// # server.wait()
/// # }
/// ```
pub struct Group<C: Codec>(Arc<Inner<C>>);

struct Inner<C: Codec> {
    codec: Arc<Foreign<C>>,
    /// Where its members are: known when the first one joins, or when a listener has it. A lock that is
    /// held for a look; under it that of a connection's route.
    home: Mutex<Option<Home>>,
    /// Who hears when a worker has no member any more.
    emptied: Option<Notice>,
}

#[derive(Clone)]
struct Home {
    board: Arc<Switchboard>,
    members: Arc<Members>,
}

impl Home {
    /// Whether anybody but the group itself has to do with its members.
    fn is_used(&self) -> bool {
        Arc::strong_count(&self.members) > 1
    }
}

impl<C: Codec> Clone for Group<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C: Codec> fmt::Debug for Group<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl<C: Codec> Group<C> {
    /// A group without members, whose messages are encoded by `codec`.
    pub fn new(codec: C) -> Self {
        Self::one_of(&Arc::new(Foreign::new(codec)), None)
    }

    /// The same with a codec that others use, too.
    pub(super) fn one_of(codec: &Arc<Foreign<C>>, emptied: Option<Notice>) -> Self {
        Self(Arc::new(Inner { codec: Arc::clone(codec), home: Mutex::default(), emptied }))
    }

    /// The bytes of the longest frame must always find room.
    fn pending_max(&self) -> u64 {
        let frame = self.0.codec.frame_bytes_max() as u64;
        GROUP_PENDING_BYTES.max(frame.saturating_add(COMMAND_BYTES))
    }

    /// Takes a connection in: what is broadcast after this, by whoever asked for it, it hears. Says
    /// no if it is closing or gone, or of another server than those that are members; or if 65,536 commands
    /// wait for its worker, counted in `joins_refused`. Who is a member already stays one.
    pub fn join<H: Handler<Codec = C>>(&self, conn: &Conn<H>) -> bool {
        self.expect(conn).is_some_and(|joins| joins.go(conn))
    }

    /// Counts a connection that is to join, if it may. That it does has to follow.
    pub(super) fn expect<H: Handler<Codec = C>>(&self, conn: &Conn<H>) -> Option<Joins> {
        let members = self.members_at(&conn.lane.board)?;
        let (may, is_new) = members.expect(&conn.shared);
        may.then_some(Joins { members, is_new })
    }

    /// Its members, if they are of that server, or there are none.
    pub(crate) fn members_at(&self, board: &Arc<Switchboard>) -> Option<Arc<Members>> {
        let mut home = self.home();
        let is_away = |home: &Home| home.is_used() && !Arc::ptr_eq(&home.board, board);
        if home.as_ref().is_some_and(is_away) {
            return None;
        }
        if !home.as_ref().is_some_and(|home| Arc::ptr_eq(&home.board, board)) {
            let members = Members::new(board.workers, self.pending_max(), self.0.emptied.clone());
            *home = Some(Home { board: Arc::clone(board), members: Arc::new(members) });
        }
        home.as_ref().map(|home| Arc::clone(&home.members))
    }

    fn home(&self) -> MutexGuard<'_, Option<Home>> {
        self.0.home.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether some server has it: there are members, or a listener that lets them in.
    pub(crate) fn is_used(&self) -> bool {
        self.home().as_ref().is_some_and(Home::is_used)
    }

    /// Lets a connection go: what is broadcast after this it does not hear.
    pub fn leave<H: Handler<Codec = C>>(&self, conn: &Conn<H>) {
        let board = &conn.lane.board;
        let home = self.home();
        let ours = home.as_ref().filter(|home| Arc::ptr_eq(&home.board, board));
        let Some(members) = ours.map(|home| Arc::clone(&home.members)) else { return };
        drop(home);
        board.push_leave(&conn.shared, &members);
    }

    /// Members now. Who joins counts at once; who leaves, or ends, when its worker has seen to it.
    pub fn len(&self) -> usize {
        self.home().as_ref().map_or(0, |home| home.members.total())
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sends to every member. A worker for which 4 MiB of this group wait already (or the longest frame
    /// of the codec, if that is more), or for which `limits.memory` leaves no room, refuses it to all
    /// members that it has. Among what one thread asks for, broadcasts and sends of handles, each
    /// member has its part in that order.
    ///
    /// # Errors
    /// The codec cannot make a frame of it; nobody is sent anything.
    pub fn broadcast(&self, item: C::Item<'_>) -> Result<Receipt, FrameError> {
        Ok(self.broadcast_encoded(None, self.0.codec.to_bytes(item)?))
    }

    /// The same to every member but one: mostly the one that it comes from.
    ///
    /// # Errors
    /// As [`broadcast`](Self::broadcast).
    pub fn broadcast_except(&self, id: ConnId, item: C::Item<'_>) -> Result<Receipt, FrameError> {
        Ok(self.broadcast_encoded(Some(id), self.0.codec.to_bytes(item)?))
    }

    /// Sends to every member something of which only the latest counts: see
    /// [`Ctx::send_latest`](crate::Ctx::send_latest).
    ///
    /// # Errors
    /// As [`broadcast`](Self::broadcast).
    pub fn broadcast_latest(&self, key: u64, item: C::Item<'_>) -> Result<Receipt, FrameError> {
        Ok(self.push(Some(key), None, self.0.codec.to_bytes(item)?))
    }

    /// Sends whole frames, encoded elsewhere, to every member but `except`.
    pub fn broadcast_encoded(&self, except: Option<ConnId>, bytes: Bytes) -> Receipt {
        self.push(None, except, bytes)
    }

    fn push(&self, key: Option<u64>, except: Option<ConnId>, bytes: Bytes) -> Receipt {
        let home = self.home().as_ref().filter(|_| !bytes.is_empty()).cloned();
        let Some(Home { board, members }) = home else { return Receipt::of_nobody() };
        let tally = Arc::new(Tally::new());
        let of_tally = Arc::clone(&tally);
        board.broadcast(Broadcast { members, bytes, key, except, tally: of_tally });
        Receipt(tally)
    }
}

/// A connection is counted as a member, and is to become one.
pub(super) struct Joins {
    members: Arc<Members>,
    is_new: bool,
}

impl Joins {
    /// Says whether it still may.
    pub(super) fn go<H: Handler>(&self, conn: &Conn<H>) -> bool {
        !self.is_new || conn.lane.board.push_join(&conn.shared, &self.members)
    }
}

/// What becomes of a broadcast. Who does not care drops it.
#[derive(Debug)]
pub struct Receipt(Arc<Tally>);

impl Receipt {
    /// Of what was meant for nobody.
    pub(super) fn of_nobody() -> Self {
        let tally = Tally::new();
        tally.end(Delivered::default());
        Self(Arc::new(tally))
    }

    /// For how many members it is queued, and for how many it is not; `None` while workers are still
    /// about it.
    pub fn poll(&self) -> Option<Delivered> {
        self.0.poll()
    }

    /// The same when all workers have done their part, which is at most a turn of theirs. Not in a
    /// callback, whose own worker would have to do its part meanwhile.
    #[expect(clippy::missing_panics_doc, reason = "it is there when it was waited for")]
    pub fn wait(&self) -> Delivered {
        self.0.wait();
        self.0.poll().expect("all parts are done")
    }
}
