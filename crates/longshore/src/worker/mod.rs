//! A worker: one thread, one port, its connections. Here ports and protocols meet, nowhere else.

pub(crate) mod budget;
pub(crate) mod connection;
pub(crate) mod core;
pub(crate) mod dial;
mod dialing;
pub(crate) mod door;
mod filter;
mod input;
pub(crate) mod lane;
pub(crate) mod mailbox;
mod memory;
mod names;
mod output;
pub(crate) mod spin;
pub(crate) mod switchboard;
mod time;
mod timer_wheel;

use self::connection::{Connection, InputEnd};
use self::core::{Core, TRIM_EVERY};
use self::dial::{Alarm, Dial};
use self::door::{Door, Source};
use self::lane::{AnyLane, Callback, Refusal};
use self::mailbox::Cmd;
use self::names::{Kind, name, parse};
use self::spin::Spin;
use crate::metrics::Refused;
use crate::server::{ListenerPlan, TickFn};
use crate::{DisconnectReason, Peer, TrackedSend};
use longshore_base::{Foreign, Slab, Time, Token, caught, event};
use longshore_port::{
    Completion, Listening, Port, PortError, Unattached, Until, Waited, What, Work,
};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Most frames of one connection in one turn; the rest waits until the others had theirs (S4).
pub(crate) const TURN_FRAMES_MAX: u32 = 64;

/// Most accepted connections that one turn takes in, with their `on_connect`: a flood of connects
/// must not keep a worker from those it has.
const TURN_ADOPTS_MAX: u32 = 16;

/// Turns in a row that may leave completions behind before timers fire all the same.
const FULL_TURNS_MAX: u32 = 16;

/// One worker. [`turn`](Self::turn) is its loop's body; a thread calls it until it says that it is
/// done, a simulation when it likes.
///
/// The order of a turn is a promise: the outside world, then other threads' commands, then
/// completions (each dispatched whole: lease, frames, handler), then what was over last turn's
/// budget, then time, never before older input, then what callbacks asked for, then ops: one send
/// for each connection with something to send. `now` never goes back.
pub(crate) struct Worker<P: Port> {
    port: P,
    core: Core,
    lanes: Slab<Box<dyn AnyLane>>,
    dials: Slab<Dial>,
    door: Door,
    ticks: Vec<TickState>,
    completions: Vec<Completion>,
    /// Plain bytes and replies of a filter, used again and again.
    plain: (Vec<u8>, Vec<u8>),
    due: Vec<u32>,
    /// Waits in a row that left something in the queue.
    full_turns: u32,
    spin: Spin,
    turn: u32,
    /// Connections taken in this turn.
    adopted: u32,
    /// A shutdown was asked for, and when it has to be over.
    drain: Drain,
    drained: Time,
}

/// How far a shutdown is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Drain {
    No,
    /// Asked for in that turn; the handlers are told once all input that came before is handled.
    Asked {
        turn: u32,
    },
    /// They were told.
    Told,
}

/// Turns after which the handlers are told of a shutdown though input is left: a peer that never
/// stops sending must not keep it from the others.
const ASKED_TURNS_MAX: u32 = 256;

struct TickState {
    run: Foreign<TickFn>,
    period: Duration,
    number: u64,
    due: Time,
}

impl<P: Port> Worker<P> {
    /// A worker with one lane for each listener, in their order, which looks for `spin` before it
    /// sleeps.
    pub(crate) fn new(port: P, core: Core, lanes: Vec<Box<dyn AnyLane>>, spin: Duration) -> Self {
        let mut slab = Slab::new();
        for lane in lanes {
            slab.insert(lane);
        }
        let mut worker = Self {
            port,
            core,
            lanes: slab,
            dials: Slab::new(),
            door: Door::default(),
            ticks: Vec::new(),
            completions: Vec::new(),
            plain: (Vec::new(), Vec::new()),
            due: Vec::new(),
            full_turns: 0,
            spin: Spin::new(spin),
            turn: 0,
            adopted: 0,
            drain: Drain::No,
            drained: Time::NEVER,
        };
        worker.core.set_alarm(worker.core.now + TRIM_EVERY, Alarm::Trim);
        worker
    }

    /// Accepts on `listening`, for lane number `lane` of all workers.
    pub(crate) fn listen(
        &mut self,
        listening: Listening,
        plan: Arc<ListenerPlan>,
        lane: u16,
    ) -> Result<(), PortError> {
        let number = Token::new(u32::from(lane), 0);
        let socket = self.port.listen(listening, name(Kind::Listener, number))?;
        self.door.add(&mut self.core, socket, plan, lane);
        self.submit();
        Ok(())
    }

    /// Calls `run` every `period`, at a fixed rate.
    pub(crate) fn every(&mut self, period: Duration, run: TickFn) {
        let due = self.core.now + period;
        let number = u32::try_from(self.ticks.len()).expect("a handful of ticks");
        self.ticks.push(TickState { run: Foreign::new(run), period, number: 0, due });
        self.core.set_alarm(due, Alarm::Tick(number));
    }

    /// One turn. Says whether there is another one to come: not after a shutdown that is over.
    pub(crate) fn turn(&mut self, may_sleep: bool) -> Result<bool, PortError> {
        // 1. The outside world. Also hands the system what the last turn submitted.
        let waited = self.wait(may_sleep && !self.has_left())?;
        self.core.desk().mailbox.woke();
        self.core.now = waited.now;
        self.turn = self.turn.wrapping_add(1);
        self.adopted = 0;
        let counters = self.core.counters();
        counters.turns.add(1);
        counters.completions.add(self.completions.len() as u64);
        // 2. Other threads' commands, in the order they came.
        self.commands();
        // 3. Bytes to frames to handler, at once, while the lease is hot.
        let mut completions = std::mem::take(&mut self.completions);
        for completion in completions.drain(..) {
            self.dispatch(completion);
        }
        self.completions = completions;
        // 4. Connections that had more input than their share of a turn.
        self.go_on();
        // 5. Time, when no input can be older than it (R45), or after enough full turns.
        self.full_turns = if waited.drained { 0 } else { self.full_turns + 1 };
        if waited.drained || self.full_turns > FULL_TURNS_MAX {
            self.tell_shutdown();
            self.fire_timers();
        }
        // 6. What callbacks of this or other workers asked for meanwhile goes out with this turn.
        self.commands();
        // 7. One send a connection, receives, closings.
        self.settle();
        if self.core.watch_memory() {
            self.settle();
        }
        if std::mem::take(&mut self.core.memory.trim_now) {
            self.port.start(name(Kind::Heap, Token::new(0, 0)), Work::TrimHeap);
        }
        self.submit();
        Ok(!self.is_over())
    }

    /// Waits for something to do: not at all if something is left, else with a look, if that pays,
    /// before the sleep.
    fn wait(&mut self, idle: bool) -> Result<Waited, PortError> {
        if idle && !self.core.desk().mailbox.has_some() {
            if let Some(waited) = self.look()? {
                return Ok(waited);
            }
            if self.core.desk().mailbox.prepare_sleep() {
                return self.port.wait(self.core.sleep_until(), &mut self.completions);
            }
        }
        self.port.wait(Until::Now, &mut self.completions)
    }

    /// Looks for something for a short while, without sleeping.
    fn look(&mut self) -> Result<Option<Waited>, PortError> {
        let Some(most) = self.spin.budget() else { return Ok(None) };
        let mut end = self.port.precise_now() + most;
        if let Until::Time(due) = self.core.sleep_until() {
            end = end.min(due);
        }
        loop {
            let waited = self.port.wait(Until::Now, &mut self.completions)?;
            if !self.completions.is_empty() || self.core.desk().mailbox.has_some() {
                self.spin.hit();
                return Ok(Some(waited));
            }
            if waited.now >= end {
                self.spin.miss();
                return Ok(None);
            }
            std::hint::spin_loop();
        }
    }

    fn is_over(&self) -> bool {
        self.drain == Drain::Told && self.core.conns.is_empty() && self.door.open == 0
    }

    /// Leases that are out: zero whenever nothing is runnable.
    #[cfg(feature = "testing")]
    pub(crate) fn leases(&self) -> usize {
        self.port.leases()
    }

    /// Whether some connection has input left.
    fn is_runnable(&self) -> bool {
        !self.core.runnable.is_empty()
    }

    /// Whether there is something to do without the outside world: for who steps it.
    #[cfg(feature = "testing")]
    pub(crate) fn has_work(&self) -> bool {
        self.has_left() || self.core.desk().mailbox.has_some()
    }

    /// Whether another turn has to follow at once.
    fn has_left(&self) -> bool {
        self.core.has_left() || matches!(self.drain, Drain::Asked { .. })
    }

    fn commands(&mut self) {
        self.core.catch_up();
        // What comes while these are applied has the next turn: others are to have their input.
        for _ in 0..self.core.later.len() {
            let full = self.adopted == TURN_ADOPTS_MAX;
            if full && matches!(self.core.later.front(), Some(Cmd::Adopt { .. })) {
                break; // those behind keep their place
            }
            let Some(cmd) = self.core.later.pop_front() else { break };
            match cmd {
                Cmd::Adopt { socket, lane, source } => {
                    self.adopted += 1;
                    self.adopt(socket, lane, source);
                }
                Cmd::Dial(start) => self.dial(*start),
                Cmd::Left { source } => self.door.left(source),
                Cmd::Shutdown { within } => self.shutdown(within),
                quiet => debug_assert!(false, "{quiet:?} was to be applied at once"),
            }
        }
        while let Some(start) = self.core.dials.pop_front() {
            self.core.desk().add_load();
            self.dial(*start);
        }
        for _ in 0..self.core.owed.len() {
            let Some(token) = self.core.owed.pop_front() else { break };
            if self.core.has_to_wait_for_memory(token) {
                continue; // who asks again at once would find none
            }
            // While something is queued its answer pays; and it is not asked for too often.
            let Some(conn) = self.core.conns.get(token).filter(|conn| conn.send.is_idle()) else {
                continue;
            };
            if conn.facts.waits_for_room {
                self.core.room_again(token);
            }
            self.tell_sent(token);
        }
    }

    fn dispatch(&mut self, completion: Completion) {
        let (kind, token) = parse(completion.token);
        match (kind, completion.what) {
            (Some(Kind::Conn), What::Received(lease)) => self.received(token, lease),
            (Some(Kind::Conn), What::Sent { bytes, data, error }) => {
                self.sent(token, bytes, data, error);
            }
            (Some(Kind::Conn), What::RecvEnded(end)) => self.recv_ended(token, end),
            (Some(Kind::Conn), What::WatchEnded(end)) => self.watch_ended(token, end),
            (Some(Kind::Conn), What::Connected { local }) => self.connected(token, local),
            (Some(Kind::Conn), What::ConnectFailed(error)) => self.connect_failed(token, error),
            (Some(Kind::Conn), What::Closed) => self.closed(token),
            (Some(Kind::Listener), What::Accepted(socket)) => {
                self.door.accepted(&mut self.core, token.index(), socket);
            }
            (Some(Kind::Listener), What::AcceptEnded(end)) => {
                self.door.accept_ended(&mut self.core, token.index(), end);
            }
            (Some(Kind::Listener), What::Closed) => self.door.open -= 1,
            (Some(Kind::Dial), What::Work(done)) => self.resolved(token, done),
            (Some(Kind::Heap), What::Work(_)) => self.core.counters().heap_trims.add(1),
            (kind, what) => debug_assert!(false, "{what:?} for {token:?} of kind {kind:?}"),
        }
    }

    // ---- connections begin and end

    /// Takes in a connection that the door accepted.
    fn adopt(&mut self, socket: Unattached, lane: u16, source: Option<Source>) {
        let lane = Token::new(u32::from(lane), 0);
        let limits = Arc::clone(self.lanes.get(lane).expect("a lane per listener").limits());
        let shared = self.core.share(socket.peer, socket.local, &limits);
        let now = self.core.now;
        let token = self.core.conns.insert(Connection::new(shared, limits, lane, now));
        if self.drain != Drain::No {
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
    fn forget(&mut self, token: Token, source: Option<Source>) {
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
    fn begin(&mut self, token: Token) {
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
        match admitted {
            Ok((filter, seat)) => {
                (conn.filter, conn.seat) = (filter, Some(seat));
                self.core.board.enter(&shared, lane.shared());
                self.start_filter(token);
                self.call(token, Callback::Connect);
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
                counters.panics.add(1);
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
        self.core.drop_dead(token, reason);
    }

    /// Runs a callback of an open connection. Its failure ends the connection.
    fn call(&mut self, token: Token, callback: Callback) {
        self.core.catch_up(); // a handle may have closed it in the callback of another
        let Some(conn) = self.core.conns.get(token).filter(|conn| conn.is_open()) else { return };
        let (Some(seat), Some(lane)) = (conn.seat, self.lanes.get_mut(conn.lane)) else { return };
        self.core.current = Some(token);
        let failed = lane.call(&mut self.core, token, seat, callback);
        self.core.current = None;
        self.core.catch_up(); // what it asked for through handles counts before the next callback
        if let Some(reason) = failed {
            self.fail(token, reason);
        }
    }

    /// A callback failed. What was queued before still goes out.
    fn fail(&mut self, token: Token, reason: DisconnectReason) {
        if matches!(reason, DisconnectReason::HandlerPanic(_)) {
            self.core.counters().panics.add(1);
        }
        self.close(token, reason);
    }

    /// Closes gracefully, behind what handles have sent before now.
    fn close(&mut self, token: Token, reason: DisconnectReason) {
        self.core.catch_up();
        self.core.close(token, reason);
    }

    /// The last completion of a connection.
    fn closed(&mut self, token: Token) {
        let Some(mut conn) = self.core.conns.remove(token) else { return };
        self.core.wheel.clear(token.index());
        self.core.memory.count(conn.counted, 0, &self.core.board, self.core.me);
        self.core.memory.ended += 1;
        conn.shared.closed.store(true, Ordering::Release);
        conn.send.clear(&mut self.core.pool);
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
            let tracked = conn.send.take_tracked().into_iter();
            let tracked: Vec<_> = tracked.map(|(id, sent)| TrackedSend { id, sent }).collect();
            let closed = conn.closed(&reason, &tracked, &self.core.server);
            let lane = self.lanes.get_mut(conn.lane).expect("lanes outlive their connections");
            if !lane.disconnected(seat, &closed) {
                self.core.counters().panics.add(1);
            }
            self.core.catch_up();
        }
        if let Some(dial) = conn.dial {
            self.dial_ended(dial, conn.seat.is_some(), &reason);
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

    // ---- stopping

    fn shutdown(&mut self, within: Duration) {
        let until = self.core.now + within;
        if self.drain == Drain::No {
            self.drain = Drain::Asked { turn: self.turn };
            self.door.shut(&mut self.core);
        }
        if until < self.drained {
            self.drained = until; // a later, shorter one counts too
            self.core.set_alarm(until, Alarm::Drained);
        }
    }

    /// Tells the handlers, once all input that came before is handled.
    fn tell_shutdown(&mut self) {
        let Drain::Asked { turn } = self.drain else { return };
        if self.turn == turn {
            return; // input that came before may have come since this turn looked for it (R82)
        }
        if self.is_runnable() && self.turn.wrapping_sub(turn) < ASKED_TURNS_MAX {
            return;
        }
        self.drain = Drain::Told;
        self.give_up_dials();
        for token in self.core.conns.tokens() {
            self.call(token, Callback::Shutdown);
        }
    }

    /// The time of a shutdown is up.
    fn abort_all(&mut self) {
        self.drain = Drain::Told;
        let mut count = 0;
        self.give_up_dials();
        for token in self.core.conns.tokens() {
            if self.core.conns.get(token).is_some_and(|conn| !conn.facts.ending) {
                count += 1;
                self.core.abort_at_last(token, DisconnectReason::Shutdown);
            }
        }
        if count > 0 {
            self.core.counters().shutdown_aborted.add(count);
            event!(warn, "time to stop is up (drain_within): {count} connections aborted");
        }
    }
}

impl<P: Port> Worker<P> {
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

impl<P: Port> std::fmt::Debug for Worker<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").field("me", &self.core.me).finish_non_exhaustive()
    }
}

/// How a connection's input ended, for `input.rs`.
pub(crate) fn end_reason(end: InputEnd) -> DisconnectReason {
    match end {
        InputEnd::Eof | InputEnd::GoodBye => DisconnectReason::PeerClosed,
        InputEnd::Failed(error) => DisconnectReason::from_port(error),
    }
}
