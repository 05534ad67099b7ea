//! Groups by key: rooms, channels, topics.

use super::group::{Group, Receipt};
use crate::config::GROUPS_MAX;
use crate::server::notice::Notice;
use crate::{Conn, ConnId, Handler, Sent};
use bytes::Bytes;
use longshore_base::Foreign;
use longshore_proto::{Codec, FrameError};
use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

/// Groups of connections by key: rooms, channels, topics. The first member makes one, with the last
/// it is gone.
///
/// Each is a [`Group`] and keeps its promises; a connection may be in any number of them. At most
/// 65,536 at a time, unless [`at_most`](Self::at_most) says otherwise: keys come from peers. Cloning
/// it is cheap, and it works from any thread, callbacks included. Keys are compared, cloned and
/// dropped under a lock of its own: a key must not ask anything of it.
///
/// ```
/// use longshore::{Ctx, Groups, Handler, Lines, Listener, Result, Server};
///
/// /// `NEWS` is a topic to listen to, `NEWS rain today` says something there.
/// struct Topics(Groups<String, Lines>);
///
/// impl Handler for Topics {
///     type Codec = Lines;
///
///     fn on_message(&mut self, cx: &mut Ctx<'_, Self>, line: &str) -> Result {
///         match line.split_once(' ') {
///             Some((topic, text)) => drop(self.0.broadcast(topic, text)?),
///             None if self.0.join(line, &cx.conn()).is_queued() => {}
///             None => cx.send("no room for another topic")?,
///         }
///         Ok(())
///     }
/// }
///
/// # fn main() -> Result {
/// let topics = Groups::new(Lines::max(1024));
/// let listener = Listener::tcp("127.0.0.1:0", Lines::max(1024));
/// let server = Server::builder().listen(listener, move |_| Ok(Topics(topics.clone()))).start()?;
/// # server.shutdown(std::time::Duration::ZERO);
/// # server.wait()
/// # }
/// ```
pub struct Groups<K, C: Codec>(Arc<Inner<K, C>>);

struct Inner<K, C: Codec> {
    codec: Arc<Foreign<C>>,
    most: usize,
    /// Groups of which a worker has no member any more, by their numbers.
    emptied: Notice,
    /// Under it: what keys do, and the lock of a connection's route.
    table: Mutex<Table<K, C>>,
}

/// All groups, by key and by number.
struct Table<K, C: Codec> {
    groups: BTreeMap<K, (u64, Group<C>)>,
    keys: BTreeMap<u64, K>,
    next: u64,
}

impl<K, C: Codec> Clone for Groups<K, C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K, C: Codec> fmt::Debug for Groups<K, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Groups").field("most", &self.0.most).finish_non_exhaustive()
    }
}

impl<K: Ord + Clone, C: Codec> Groups<K, C> {
    /// No groups yet, at most 65,536, whose messages are encoded by `codec`.
    pub fn new(codec: C) -> Self {
        Self::at_most(GROUPS_MAX, codec)
    }

    /// The same with at most that many groups at a time.
    pub fn at_most(groups: usize, codec: C) -> Self {
        let table = Table { groups: BTreeMap::new(), keys: BTreeMap::new(), next: 0 };
        Self(Arc::new(Inner {
            codec: Arc::new(Foreign::new(codec)),
            most: groups,
            emptied: Notice::default(),
            table: Mutex::new(table),
        }))
    }

    /// Takes a connection into the group of that key, which is made if there is none. `Full` if there are
    /// as many groups already as may be, counted in `groups_refused`, or 65,536 commands wait for its worker,
    /// counted in `joins_refused`; `Closed` if the connection is
    /// closing or gone, or of another server than the group. Never `Invalid`.
    pub fn join<H: Handler<Codec = C>>(&self, key: impl Into<K>, conn: &Conn<H>) -> Sent {
        let key = key.into();
        let joins = self.with(|table| {
            if let Some((_, group)) = table.groups.get(&key) {
                // Counted under this lock, a group that has a member is not taken out.
                return group.expect(conn).ok_or(Sent::Closed);
            }
            if conn.is_closed() {
                return Err(Sent::Closed);
            }
            if table.groups.len() >= self.0.most {
                return Err(Sent::Full);
            }
            let group = Group::one_of(&self.0.codec, Some(self.0.emptied.of(table.next)));
            let joins = group.expect(conn).ok_or(Sent::Closed)?;
            table.keys.insert(table.next, key.clone());
            table.groups.insert(key, (table.next, group));
            table.next += 1;
            Ok(joins)
        });
        match joins {
            Ok(joins) if joins.go(conn) => Sent::Queued,
            Ok(_) if conn.is_closed() => Sent::Closed,
            Ok(_) => Sent::Full,
            Err(no) => {
                if no == Sent::Full {
                    conn.lane.board.groups_refused.fetch_add(1, Ordering::Relaxed);
                }
                no
            }
        }
    }

    /// Lets a connection go from the group of that key: what is broadcast there after this it does not
    /// hear.
    pub fn leave<Q, H>(&self, key: &Q, conn: &Conn<H>)
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
        H: Handler<Codec = C>,
    {
        if let Some(group) = self.find(key) {
            group.leave(conn);
        }
    }

    /// Sends to every member of the group of that key, as [`Group::broadcast`]; to nobody if there is none.
    ///
    /// # Errors
    /// The codec cannot make a frame of it; nobody is sent anything.
    pub fn broadcast<Q>(&self, key: &Q, item: C::Item<'_>) -> Result<Receipt, FrameError>
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        Ok(self.broadcast_encoded(key, None, self.0.codec.to_bytes(item)?))
    }

    /// The same to every member but one: mostly the one that it comes from.
    ///
    /// # Errors
    /// As [`broadcast`](Self::broadcast).
    pub fn broadcast_except<Q>(
        &self,
        key: &Q,
        id: ConnId,
        item: C::Item<'_>,
    ) -> Result<Receipt, FrameError>
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        Ok(self.broadcast_encoded(key, Some(id), self.0.codec.to_bytes(item)?))
    }

    /// Sends whole frames, encoded elsewhere, to every member of that group but `except`.
    pub fn broadcast_encoded<Q>(&self, key: &Q, except: Option<ConnId>, bytes: Bytes) -> Receipt
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        match self.find(key) {
            Some(group) => group.broadcast_encoded(except, bytes),
            None => Receipt::of_nobody(),
        }
    }

    /// Members of the group of that key now; none if there is no such group.
    pub fn members<Q>(&self, key: &Q) -> usize
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        self.find(key).map_or(0, |group| group.len())
    }

    /// All keys in their order, each with its members. A view that is a little old when it returns.
    pub fn list(&self) -> Vec<(K, usize)> {
        self.with(|table| {
            let all = table.groups.iter().map(|(key, (_, group))| (key.clone(), group.len()));
            all.filter(|(_, members)| *members > 0).collect()
        })
    }

    /// Groups now.
    pub fn len(&self) -> usize {
        self.with(|table| table.groups.len())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn find<Q>(&self, key: &Q) -> Option<Group<C>>
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        self.with(|table| table.groups.get(key).map(|(_, group)| group.clone()))
    }

    /// Something with the table, from which the groups go first that have lost their last member.
    fn with<T>(&self, run: impl FnOnce(&mut Table<K, C>) -> T) -> T {
        let emptied = self.0.emptied.take();
        let mut table = self.0.table.lock().unwrap_or_else(PoisonError::into_inner);
        for number in emptied {
            table.take_out(number);
        }
        run(&mut table)
    }
}

impl<K: Ord + Clone, C: Codec> Table<K, C> {
    /// Takes out the group of that number, if it has no member.
    fn take_out(&mut self, number: u64) {
        let Some(key) = self.keys.get(&number) else { return };
        if self.groups.get(key).is_some_and(|(_, group)| group.is_empty()) {
            self.groups.remove(key);
            self.keys.remove(&number);
        } // else somebody came meanwhile
    }
}
