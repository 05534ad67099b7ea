//! The worker's side of outgoing connections.

pub(super) mod dial;
mod start;

use super::Worker;
use super::connection::Connection;
use super::core::Alarm;
use super::core::ending::How;
use super::names::{Kind, name as named};
use crate::DisconnectReason;
use crate::connector::{ConnectError, Target};
use crate::server::mailbox::DialStart;
use crate::server::shared::Shared;
use dial::{Dial, Then};
use longshore_base::{Token, event};
use longshore_port::{Addr, ConnectTo, Port, PortError, Work, WorkDone};
use std::sync::Arc;
use std::time::Duration;

/// An attempt that fails at once and is tried again at once would keep the worker for itself.
const RETRY_AFTER_MIN: Duration = Duration::from_millis(1);

/// Most addresses of a name that are tried in one round: whoever answers for the name says how many
/// there are.
const ADDRS_MAX: usize = 32;

impl<P: Port> Worker<P> {
    /// Begins an outgoing connection, which counts as load of this worker already.
    pub(super) fn dial(&mut self, start: DialStart) {
        if self.drain.is_on() {
            self.core.desk().sub_load();
            return start.refuse();
        }
        let DialStart { plan, lane } = start;
        let lane = self.lanes.insert(start::make_lane(lane, Arc::clone(&self.core.board)));
        let dial = self.dials.insert(Dial::new(plan, lane));
        self.attempt(dial);
    }

    /// One more round: by address at once, by name after looking it up.
    pub(super) fn attempt(&mut self, token: Token) {
        let Some(dial) = self.dials.get_mut(token).filter(|dial| !dial.given_up) else { return };
        match dial.target().clone() {
            Target::Addr(addr) => self.attempt_addr(token, addr.into()),
            Target::Name(name) => self.port.start(named(Kind::Dial, token), Work::Resolve(name)),
        }
    }

    /// A name was looked up.
    pub(super) fn resolved(&mut self, token: Token, done: WorkDone) {
        let Some(dial) = self.dials.get_mut(token) else { return };
        if dial.given_up {
            return self.forget_dial(token);
        }
        match done {
            WorkDone::Resolved(Ok(mut addrs)) => {
                addrs.truncate(ADDRS_MAX);
                addrs.reverse();
                let first = addrs.pop();
                dial.addrs = addrs;
                match first {
                    Some(addr) => self.attempt_addr(token, addr),
                    None => self.name_failed(token, None),
                }
            }
            WorkDone::Resolved(Err(error)) => self.name_failed(token, Some(error)),
            other => debug_assert!(false, "{other:?}: a dial looks names up, nothing else"),
        }
    }

    fn name_failed(&mut self, token: Token, error: Option<PortError>) {
        let Some(dial) = self.dials.get(token) else { return };
        let failed = match error {
            Some(error) => ConnectError::from_port(dial.target(), error),
            None => ConnectError::UnknownName(dial.target().to_string()),
        };
        self.failed(token, &failed);
    }

    fn attempt_addr(&mut self, token: Token, addr: Addr) {
        let Some(dial) = self.dials.get_mut(token) else { return };
        let Some(socket_addr) = addr.socket_addr() else { return };
        let target = dial.target().to_string();
        if !self.core.board.reserve() {
            return self.failed(token, &ConnectError::TooMany(target));
        }
        let dial = self.dials.get_mut(token).expect("looked up above");
        dial.timed_out = false;
        let (timeout, lane) = (dial.plan.timeout, dial.lane);
        let (from, options) = (dial.plan.from, dial.plan.options);
        let limits = Arc::clone(self.lanes.get(lane).expect("it lives as long").limits());
        let shared = self.core.share(addr, addr, &limits);
        let now = self.core.now;
        let mut conn = Connection::new(shared, limits, lane, now);
        conn.dial = Some(token);
        conn.facts.connecting = true;
        conn.deadlines.handle_closing(); // they begin when it stands
        conn.deadlines.handle_connecting(now, timeout); // the answer to our first packet
        let conn = self.core.conns.insert(conn);
        let to = ConnectTo { addr: socket_addr, from, options };
        match self.port.connect(&to, named(Kind::Conn, conn)) {
            Ok(socket) => {
                self.core.conns.get_mut(conn).expect("just made").socket = Some(socket);
                self.dials.get_mut(token).expect("looked up above").conn = Some(conn);
                self.core.rearm(conn);
            }
            Err(error) => {
                self.forget(conn, None);
                let error = ConnectError::from_port(&Target::Name(target.into()), error);
                self.failed(token, &error);
            }
        }
    }

    /// The peer took no byte in time: says whether that ended an attempt to connect.
    pub(super) fn attempt_timed_out(&mut self, token: Token) -> bool {
        let Some(conn) = self.core.conns.get(token).filter(|conn| conn.facts.connecting) else {
            return false;
        };
        if let Some(dial) = conn.dial.and_then(|dial| self.dials.get_mut(dial)) {
            dial.timed_out = true;
        }
        self.core.end(token, DisconnectReason::Local, How::Drop);
        true
    }

    /// The connection stands.
    pub(super) fn connected(&mut self, token: Token, local: Addr) {
        let now = self.core.now;
        let Some(conn) = self.core.conns.get(token) else { return };
        if conn.is_leaving() {
            return; // it was given up meanwhile
        }
        let (limits, peer, dial) = (Arc::clone(&conn.limits), conn.shared.peer_addr, conn.dial);
        let shared: Arc<Shared> = self.core.share(peer, local, &limits);
        let conn = self.core.conns.get_mut(token).expect("looked up above");
        let (lane, socket) = (conn.lane, conn.socket);
        *conn = Connection::new(shared, limits, lane, now);
        (conn.socket, conn.dial) = (socket, dial);
        if let Some(dial) = dial.and_then(|dial| self.dials.get_mut(dial)) {
            dial.addrs.clear();
        }
        self.core.counters().connected.add(1);
        self.begin(token);
        // One that its own factory refuses is a failure like others.
        let stands = self.core.conns.get(token).is_some_and(|conn| conn.seat.is_some());
        if let Some(dial) = dial.filter(|_| stands).and_then(|dial| self.dials.get_mut(dial)) {
            dial.failures = 0;
        }
    }

    /// It does not; `Closed` follows.
    pub(super) fn connect_failed(&mut self, token: Token, error: PortError) {
        let Some(dial) = self.core.conns.get(token).and_then(|conn| conn.dial) else { return };
        if let Some(dial) = self.dials.get_mut(dial) {
            let failed = if dial.timed_out {
                ConnectError::TimedOut(dial.target().to_string())
            } else {
                ConnectError::from_port(dial.target(), error)
            };
            dial.failed = Some(failed);
        }
    }

    /// The connection of a dial is gone, whether it ever stood or not.
    pub(super) fn dial_ended(&mut self, token: Token, conn: &Connection, why: &DisconnectReason) {
        let now = self.core.now;
        let Some(dial) = self.dials.get_mut(token) else { return };
        dial.conn = None;
        if dial.given_up {
            return self.forget_dial(token);
        }
        if conn.seat.is_some() {
            let lasted = now.since(conn.shared.connected_at) >= dial.lasting();
            let then = dial.after_end(why, lasted || conn.messages_in > 0);
            return self.then(token, then);
        }
        let (failed, to) = (dial.failed.take(), dial.plan.target.to_string());
        let error = match failed {
            Some(error) => error,
            None if dial.timed_out => ConnectError::TimedOut(to), // it stood just then
            None => ConnectError::GivenUp(to),
        };
        self.failed(token, &error);
    }

    fn failed(&mut self, token: Token, error: &ConnectError) {
        self.core.counters().connect_failed.add(1);
        let Some(dial) = self.dials.get_mut(token) else { return };
        event!(debug, %error, "cannot connect");
        let then = dial.after_failure(error);
        self.look_at_other("Connector", "on_failure");
        self.then(token, then);
    }

    fn then(&mut self, token: Token, then: Then) {
        match then {
            Then::NextAddr(addr) => self.attempt_addr(token, addr),
            Then::GiveUp => self.forget_dial(token),
            Then::Panicked => {
                self.core.counters().panics.add(1);
                event!(error, "on_failure panicked; its connection is given up");
                self.forget_dial(token);
            }
            Then::Wait { most, jitter } => {
                let nanos = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX);
                let after = if jitter { self.core.random_below(nanos) } else { nanos };
                let after = Duration::from_nanos(after).max(RETRY_AFTER_MIN);
                let at = self.core.now + after;
                self.core.set_alarm(at, Alarm::Dial(token));
            }
        }
    }

    fn forget_dial(&mut self, token: Token) {
        if let Some(dial) = self.dials.remove(token) {
            self.core.desk().sub_load();
            self.lanes.remove(dial.lane);
        }
    }

    /// The server stops: attempts end, and nobody tries again.
    pub(super) fn give_up_dials(&mut self) {
        for token in self.dials.tokens() {
            let dial = self.dials.get_mut(token).expect("just listed");
            dial.given_up = true;
            let Some(conn) = dial.conn else { continue };
            if self.core.conns.get(conn).is_some_and(|conn| conn.facts.connecting) {
                self.core.end(conn, DisconnectReason::Shutdown, How::Drop);
            }
        }
    }
}
