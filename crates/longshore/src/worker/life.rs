//! How connections begin and end.

use super::Worker;
use super::connection::Connection;
use super::core::ending::How;
use super::lane::{Callback, Refusal};
use super::names::{Kind, name};
use crate::metrics::Refused;
use crate::server::mailbox::Cmd;
use crate::server::notice::Notice;
use crate::server::shared::Shared;
use crate::server::source::Source;
use crate::{DisconnectReason, Peer, TrackedSend};
use longshore_base::{Token, caught, event};
use longshore_port::{Port, Unattached};
use longshore_proto::connection::Mark;
use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl<P: Port> Worker<P> {
    /// Takes in a connection that the door accepted.
    pub(super) fn adopt(&mut self, socket: Unattached, lane: u16, source: Option<Source>) {
        let lane = Token::new(u32::from(lane), 0);
        let limits = Arc::clone(self.lanes.get(lane).expect("a lane per listener").limits());
        let shared = self.core.share(socket.peer, socket.local, &limits);
        let now = self.core.now;
        let token = self.core.conns.insert(Connection::new(shared, limits, lane, now));
        if self.drain.is_on() {
            drop(socket);
            self.core.board.refused_by_shutdown.fetch_add(1, Ordering::Relaxed);
            return self.forget(token, source);
        }
        match self.port.attach(socket, name(Kind::Conn, token)) {
            Ok(socket) => {
                let conn = self.core.conns.get_mut(token).expect("just made");
                conn.socket = Some(socket);
                conn.source = source;
                self.begin(token);
            }
            Err((error, socket)) => {
                self.core.counters().refused(Refused::BySystem).add(1);
                let gate = self.core.board.log.refused(Refused::BySystem, self.core.now);
                if let Some(held_back) = gate {
                    event!(error, "refused {}: {error}{held_back}", socket.peer);
                }
                self.forget(token, source);
            }
        }
    }

    /// A connection that never began is given up.
    pub(super) fn forget(&mut self, token: Token, source: Option<Source>) {
        let conn = self.core.conns.remove(token);
        self.core.board.release();
        if conn.is_some_and(|conn| conn.dial.is_none()) {
            self.core.desk().sub_load();
        }
        self.tell_door(source);
    }

    fn tell_door(&mut self, source: Option<Source>) {
        let Some(source) = source else { return };
        match self.core.board.door() {
            door if door == self.core.me => self.door.left(source),
            door => self.core.board.push(door, Cmd::Left { source }),
        }
    }

    /// The connection stands: its factory, its `on_connect`, its first receive.
    pub(super) fn begin(&mut self, token: Token) {
        let conn = self.core.conns.get_mut(token).expect("it stands");
        conn.shared.slot.store(token.to_bits(), Ordering::Relaxed);
        let lane = self.lanes.get_mut(conn.lane).expect("lanes outlive their connections");
        let shared = Arc::clone(&conn.shared);
        let (remote, local) = (shared.peer_addr, shared.local_addr);
        let peer = Peer { remote, local, server: &self.core.server };
        let admitted = match lane.filter() {
            Ok(filter) => match lane.admit(&peer) {
                Ok(seat) => Ok((filter, seat)),
                Err(refusal) => Err((refusal, filter)),
            },
            Err(refusal) => Err((refusal, None)),
        };
        #[cfg(feature = "files")]
        let takes_files = lane.takes_files();
        let admitted = admitted.map(|(filter, seat)| (filter, seat, lane.shared(), lane.group()));
        let of = conn.lane;
        self.look_at_callback(of, "factory");
        let conn = self.core.conns.get_mut(token).expect("it stands");
        match admitted {
            Ok((filter, seat, lane, group)) => {
                (conn.filter, conn.seat) = (filter, Some(seat));
                // Before anybody can find it by its name, and let it join as well.
                if let Some(group) = group {
                    self.core.take_into_group(&shared, &group);
                }
                self.core.board.enter(&shared, lane);
                self.start_filter(token);
                #[cfg(feature = "files")]
                if takes_files {
                    self.core.begin_files(token);
                }
                self.call(token, Callback::Connect);
                self.tell_too(token);
            }
            Err((refusal, filter)) => {
                conn.filter = filter; // dropped with it, as what may panic is
                self.refuse(token, refusal);
            }
        }
        self.core.mark(token); // arms the first receive
        self.core.rearm(token);
    }

    fn refuse(&mut self, token: Token, refusal: Refusal) {
        let counters = self.core.counters();
        let (reason, silent) = match refusal {
            Refusal::Rejected(why) => {
                counters.refused(Refused::ByFactory).add(1);
                let silent = why.is_none();
                let why = why.map_or("refused".into(), |why| why.into_string().into());
                (DisconnectReason::Said(why), silent)
            }
            Refusal::Panicked(text) => {
                counters.refused(Refused::ByFactory).add(1);
                (DisconnectReason::HandlerPanic(text), false)
            }
        };
        if let Some(peer) = self.core.conns.get(token).map(|conn| conn.shared.peer_addr) {
            if silent {
                event!(debug, "refused {peer} by its factory");
            } else if let Some(held_back) =
                self.core.board.log.refused(Refused::ByFactory, self.core.now)
            {
                event!(warn, "refused {peer} by its factory: {reason}{held_back}");
            }
        }
        self.core.end(token, reason, How::Drop);
    }

    /// Runs what somebody posted to a connection, if it is still open.
    pub(super) fn post(&mut self, shared: &Arc<Shared>, work: Box<dyn Any + Send>) {
        shared.posts.fetch_sub(1, Ordering::AcqRel);
        let token = self.core.token_of(shared);
        if !token.is_some_and(|token| self.call(token, Callback::Post(work))) {
            self.core.board.posts_skipped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Runs a callback of an open connection; says whether it was still open. Its failure ends the
    /// connection.
    pub(super) fn call(&mut self, token: Token, callback: Callback) -> bool {
        self.core.catch_up(); // a handle may have closed it in the callback of another
        let Some(conn) = self.core.conns.get(token).filter(|conn| conn.is_open()) else {
            return false;
        };
        let (Some(seat), Some(lane)) = (conn.seat, self.lanes.get_mut(conn.lane)) else {
            return false;
        };
        let (of, what) = (conn.lane, callback.name());
        self.core.current = Some(token);
        let failed = lane.call(&mut self.core, token, seat, callback);
        self.core.current = None;
        self.look_at_callback(of, what);
        self.core.catch_up(); // what it asked for through handles counts before the next callback
        if let Some(reason) = failed {
            self.core.end(token, reason, How::Flush);
        }
        true
    }

    /// The last completion of a connection.
    pub(super) fn closed(&mut self, token: Token) {
        let Some(mut conn) = self.core.conns.remove(token) else { return };
        self.core.wheel.clear(token.index());
        self.core.memory.count(conn.counted, 0, &self.core.board);
        self.core.memory.ended += 1;
        conn.shared.closed.store(true, Ordering::Release);
        conn.send.clear(&mut self.core.pool);
        if let Some(listed) = conn.listed.take() {
            listed.owners.iter().for_each(Notice::tell);
            self.core.leave_groups(conn.shared.id, &listed.groups);
        }
        if caught(|| drop(conn.filter.take())).is_err() {
            self.core.counters().panics.add(1);
        }
        let reason = conn.reason.take().map_or(DisconnectReason::Local, |reason| *reason);
        // Its place is free before anybody hears of the end, who may fill it at once.
        self.core.board.release();
        if conn.dial.is_none() {
            self.core.desk().sub_load(); // else its dial counts until it is given up
        }
        self.tell_door(conn.source);
        if let Some(seat) = conn.seat {
            self.core.board.leave(conn.shared.id);
            self.count_closed(&conn, &reason);
            let (mut tracked, mut files) = (Vec::new(), Vec::new());
            for (mark, sent) in conn.send.take_tracked() {
                match mark {
                    Mark::Send(id) => tracked.push(TrackedSend { id, sent }),
                    Mark::File(id) if sent => files.push(id),
                    Mark::File(_) => {}
                }
            }
            #[cfg(feature = "files")]
            let (token, sent) = (token, files);
            #[cfg(feature = "files")]
            let files = self.close_files(token, &mut conn, &sent);
            #[cfg(not(feature = "files"))]
            let files = conn.files.take().map_or_else(Vec::new, |all| all.cut(&files));
            let closed = conn.closed(&reason, &tracked, &files, &self.core.server);
            let lane = self.lanes.get_mut(conn.lane).expect("lanes outlive their connections");
            if !lane.disconnected(seat, &closed) {
                self.core.counters().panics.add(1);
            }
            self.look_at_callback(conn.lane, "on_disconnect");
            self.core.catch_up();
        }
        if let Some(dial) = conn.dial {
            self.dial_ended(dial, &conn, &reason);
        }
    }

    fn count_closed(&mut self, conn: &Connection, reason: &DisconnectReason) {
        let counters = self.core.counters();
        counters.closed.add(1);
        counters.disconnected(reason).add(1);
        counters.bytes_discarded.add(conn.bytes_discarded);
        let peer = conn.shared.peer_addr;
        if !reason.is_fault() {
            event!(debug, conn = %conn.shared.id, "closed {peer}: {reason}");
        } else if let Some(held_back) = self.core.board.log.closed(reason, self.core.now) {
            let why = reason.with_limit(&conn.limits);
            event!(warn, conn = %conn.shared.id, "closed {peer}: {why}{held_back}");
        }
    }

    /// It died, or its port did: tells each handler, and all who hold a handle.
    pub(crate) fn bury(mut self, reason: impl Fn() -> DisconnectReason) {
        for token in self.core.conns.tokens() {
            if let Some(conn) = self.core.conns.get_mut(token) {
                conn.reason.get_or_insert_with(|| Box::new(reason()));
                conn.dial = None; // nobody tries again
                self.closed(token);
            }
        }
    }
}

impl<P: Port> Drop for Worker<P> {
    /// Whatever comes too late, a socket above all, must not lie in a mailbox that nobody empties.
    fn drop(&mut self) {
        let later = std::mem::take(&mut self.core.later);
        self.core.board.leave_desk(self.core.me, later);
    }
}
