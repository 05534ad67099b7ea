//! Owners: connections by who is behind them.

use crate::config::OWNERS_MAX;
use crate::server::mailbox::{Cmd, Ending};
use crate::server::notice::Notice;
use crate::server::shared::Asks;
use crate::server::switchboard::Switchboard;
use crate::{Conn, ConnId, Handler, Item, Sent};
use longshore_proto::Codec;
use std::borrow::{Borrow, Cow};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

/// What happens when a key is claimed that somebody has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum OnDuplicate {
    /// The older connection is closed, as [`Replaced`](crate::DisconnectReason::Replaced); what it was
    /// sent before still goes out. What one expects who lost the line and comes again.
    #[default]
    KickOld,
    /// The newer one gets nothing.
    RefuseNew,
    /// So many connections may have the key at a time; one more gets nothing.
    Allow(usize),
}

/// What became of a claim.
#[must_use = "somebody else may have the key"]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Claim {
    /// The connection has the key.
    Made,
    /// As many as may have it already: [`OnDuplicate`].
    Taken,
    /// There are as many keys as may be: [`Owners::at_most`].
    Full,
    /// The connection is closing or gone, or of another server than those before it.
    Closed,
}

/// Connections by who is behind them: users by name, devices by serial number.
///
/// After log-in a handler claims the key of its peer. From then on anybody can send to the key, and
/// what was claimed is free again when the connection ends: by itself, and never instead of who
/// came after it. A connection may claim several keys. Cloning it is cheap, and it works from any
/// thread, callbacks included. Keys are compared, cloned and dropped under a lock of its own: a key must
/// not ask anything of it.
///
/// ```
/// use longshore::{Claim, Ctx, Handler, Lines, Listener, OnDuplicate, Owners, Result, Sent, Server};
///
/// /// `I ada`, then `bob hello`.
/// struct Letters {
///     users: Owners<String, Letters>,
/// }
///
/// impl Handler for Letters {
///     type Codec = Lines;
///
///     fn on_message(&mut self, cx: &mut Ctx<'_, Self>, line: &str) -> Result {
///         match line.split_once(' ') {
///             Some(("I", name)) if self.users.claim(name, &cx.conn()) != Claim::Made => {
///                 cx.send("somebody else has that name")
///             }
///             Some(("I", _)) => Ok(()),
///             Some((to, text)) if self.users.send(to, text) == Sent::Queued => Ok(()),
///             _ => cx.send("nobody of that name is here"),
///         }
///     }
/// }
///
/// # fn main() -> Result {
/// let users = Owners::new(OnDuplicate::RefuseNew);
/// let listener = Listener::tcp("127.0.0.1:0", Lines::max(1024));
/// let server = Server::builder()
///     .listen(listener, move |_| Ok(Letters { users: users.clone() }))
///     .start()?;
/// # server.shutdown(std::time::Duration::ZERO);
/// # server.wait()
/// # }
/// ```
pub struct Owners<K, H: Handler>(Arc<Inner<K, H>>);

struct Inner<K, H: Handler> {
    on_duplicate: OnDuplicate,
    most: usize,
    /// Connections that have ended, by their ids.
    ended: Notice,
    /// Under it: what keys do.
    table: Mutex<Table<K, H>>,
}

/// Connections of each key, the newest last, and keys of each connection.
struct Table<K, H: Handler> {
    /// Of which server they are. Ids of connections are its own.
    home: Option<Arc<Switchboard>>,
    owners: BTreeMap<K, Vec<Conn<H>>>,
    /// From the first claim of a connection until it ends, though it has released all of them.
    keys: BTreeMap<ConnId, BTreeSet<K>>,
}

impl<K, H: Handler> Clone for Owners<K, H> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K, H: Handler> fmt::Debug for Owners<K, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Owners").field("on_duplicate", &self.0.on_duplicate).finish_non_exhaustive()
    }
}

impl<K: Ord + Clone, H: Handler> Owners<K, H> {
    /// Nobody yet; at most 1,048,576 keys at a time.
    pub fn new(on_duplicate: OnDuplicate) -> Self {
        Self::at_most(OWNERS_MAX, on_duplicate)
    }

    /// The same with at most that many keys at a time.
    pub fn at_most(keys: usize, on_duplicate: OnDuplicate) -> Self {
        let table = Table { home: None, owners: BTreeMap::new(), keys: BTreeMap::new() };
        Self(Arc::new(Inner {
            on_duplicate,
            most: keys,
            ended: Notice::default(),
            table: Mutex::new(table),
        }))
    }

    /// Gives the key to a connection, whose log-in that is: `limits.login` has no more to say. Who has it
    /// already keeps it. What is `Taken` or `Full` counts in `claims_refused`.
    ///
    /// What is sent to the key from now on goes to that connection. With
    /// [`KickOld`](OnDuplicate::KickOld) the older one is closed at once for all who send to it; its
    /// handler may be within a callback on another worker, and only hears of its end after that.
    pub fn claim(&self, key: impl Into<K>, conn: &Conn<H>) -> Claim {
        let board = &conn.lane.board;
        if conn.is_closed() {
            return Claim::Closed;
        }
        let (key, id) = (key.into(), conn.id());
        let (claim, first, out) = self.with(|table| {
            if !table.is_of(board) {
                return (Claim::Closed, false, Vec::new());
            }
            let first = !table.keys.contains_key(&id);
            let (claim, out) = table.claim(key, conn, self.0.on_duplicate, self.0.most);
            (claim, first, out)
        });
        if matches!(claim, Claim::Taken | Claim::Full) {
            board.claims_refused.fetch_add(1, Ordering::Relaxed);
        }
        for old in &out {
            board.push_end(&old.shared, Ending::Replaced);
        }
        if claim == Claim::Made {
            let ended = self.0.ended.of(id.to_bits());
            if first {
                board.push_to(&conn.shared, |shared| Cmd::Claimed { shared, ended });
            } else {
                board.ask(&conn.shared, Asks::ADMIT);
            }
        }
        claim
    }

    /// Takes the key from a connection, which stays open. Says whether it had it.
    pub fn release<Q>(&self, key: &Q, conn: &Conn<H>) -> bool
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        self.with(|table| table.release(key, conn.id()))
    }

    /// Sends to the connections of that key: encoded once, by the codec of the newest one. `Queued` if it is
    /// for any of them; else `Full` if any is full; else `Closed`, there is nobody.
    pub fn send<Q>(&self, key: &Q, item: Item<'_, H>) -> Sent
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        send_to(item, || self.all(key))
    }

    /// The same to all of them but one: mostly the one that it comes from.
    pub fn send_except<Q>(&self, key: &Q, id: ConnId, item: Item<'_, H>) -> Sent
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        send_to(item, || {
            let mut others = self.all(key);
            others.retain(|conn| conn.id() != id);
            others
        })
    }

    /// Closes the connections of that key, for that reason in the log, the metrics and `on_disconnect`;
    /// what they were sent before still goes out. Says how many it asked to.
    pub fn kick<Q>(&self, key: &Q, why: impl Into<Cow<'static, str>>) -> usize
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        let (all, why) = (self.all(key), why.into());
        for conn in &all {
            conn.close_because(why.clone());
        }
        all.len()
    }

    /// The newest connection of that key.
    pub fn get<Q>(&self, key: &Q) -> Option<Conn<H>>
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        self.all(key).pop()
    }

    /// All connections of that key, the newest last.
    pub fn all<Q>(&self, key: &Q) -> Vec<Conn<H>>
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        self.with(|table| {
            let all = table.owners.get(key).into_iter().flatten();
            all.filter(|conn| !conn.is_closed()).cloned().collect()
        })
    }

    /// All keys in their order. A view that is a little old when it returns.
    pub fn keys(&self) -> Vec<K> {
        self.with(|table| table.owners.keys().cloned().collect())
    }

    /// Keys that somebody has now.
    pub fn len(&self) -> usize {
        self.with(|table| table.owners.len())
    }

    /// Whether nobody has any.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Something with the table, from which the connections go first that have ended.
    fn with<T>(&self, run: impl FnOnce(&mut Table<K, H>) -> T) -> T {
        let ended = self.0.ended.take();
        let mut table = self.0.table.lock().unwrap_or_else(PoisonError::into_inner);
        for id in ended {
            table.take_out(ConnId(id));
        }
        run(&mut table)
    }
}

impl<K: Ord + Clone, H: Handler> Table<K, H> {
    /// Whether it is of that server, which it is if it is of none.
    fn is_of(&mut self, board: &Arc<Switchboard>) -> bool {
        if self.keys.is_empty() {
            self.home = Some(Arc::clone(board));
        }
        self.home.as_ref().is_some_and(|home| Arc::ptr_eq(home, board))
    }

    /// The claim, and whose it was before.
    fn claim(
        &mut self,
        key: K,
        conn: &Conn<H>,
        on_duplicate: OnDuplicate,
        most: usize,
    ) -> (Claim, Vec<Conn<H>>) {
        let id = conn.id();
        let full = self.owners.len() >= most;
        let mut out = Vec::new();
        let Some(conns) = self.owners.get_mut(&key) else {
            if full {
                return (Claim::Full, out);
            }
            self.owners.insert(key.clone(), vec![conn.clone()]);
            self.keys.entry(id).or_default().insert(key);
            return (Claim::Made, out);
        };
        if conns.iter().any(|conn| conn.id() == id) {
            return (Claim::Made, out);
        }
        let open = conns.iter().filter(|conn| !conn.is_closed()).count();
        match on_duplicate {
            OnDuplicate::KickOld => out.append(conns),
            OnDuplicate::RefuseNew if open > 0 => return (Claim::Taken, out),
            OnDuplicate::Allow(most) if open >= most => return (Claim::Taken, out),
            OnDuplicate::RefuseNew | OnDuplicate::Allow(_) => {}
        }
        conns.push(conn.clone());
        for old in &out {
            if let Some(keys) = self.keys.get_mut(&old.id()) {
                keys.remove(&key);
            }
        }
        self.keys.entry(id).or_default().insert(key);
        (Claim::Made, out)
    }

    /// Says whether the connection had the key.
    fn release<Q>(&mut self, key: &Q, id: ConnId) -> bool
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        let Some(conns) = self.owners.get_mut(key) else { return false };
        let Some(at) = conns.iter().position(|conn| conn.id() == id) else { return false };
        conns.remove(at);
        if conns.is_empty() {
            self.owners.remove(key);
        }
        if let Some(keys) = self.keys.get_mut(&id) {
            keys.remove(key);
        }
        true
    }

    /// A connection has ended.
    fn take_out(&mut self, id: ConnId) {
        for key in self.keys.remove(&id).unwrap_or_default() {
            self.release(&key, id);
        }
    }
}

/// Sends to what `all` finds, of which there is somebody: encoded once.
fn send_to<H: Handler>(item: Item<'_, H>, all: impl Fn() -> Vec<Conn<H>>) -> Sent {
    let mut conns = all();
    let Some(newest) = conns.last() else { return Sent::Closed };
    let bytes = match newest.lane.codec.to_bytes(item) {
        Ok(bytes) => bytes,
        Err(error) => return Sent::Invalid(error),
    };
    for _ in 0..TAKEOVERS_MAX {
        let mut answer = Sent::Closed;
        for conn in &conns {
            match conn.send_encoded(bytes.clone()) {
                Sent::Queued => answer = Sent::Queued,
                Sent::Full if answer == Sent::Closed => answer = Sent::Full,
                _ => {}
            }
        }
        conns = if answer == Sent::Closed { all() } else { Vec::new() };
        if conns.is_empty() {
            return answer;
        }
    }
    Sent::Closed
}

/// How often the one that a key leads to may have been closed for another meanwhile.
const TAKEOVERS_MAX: usize = 8;
