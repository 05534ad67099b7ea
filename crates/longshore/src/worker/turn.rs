//! One turn of a worker, step by step.

use super::Worker;
use super::drain::Drain;
use super::names::{Kind, name, parse};
use crate::server::mailbox::Cmd;
use longshore_base::Token;
use longshore_port::{Completion, Port, PortError, Until, Waited, What, Work};

/// Most accepted connections that one turn takes in, with their `on_connect`: a flood of connects
/// must not keep a worker from those it has.
const TURN_ADOPTS_MAX: u32 = 16;

/// Turns in a row that may leave completions behind before timers fire all the same.
const FULL_TURNS_MAX: u32 = 16;

impl<P: Port> Worker<P> {
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
        self.watch_callbacks();
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
        self.tell_shutdown(waited.drained);
        self.full_turns = if waited.drained { 0 } else { self.full_turns + 1 };
        if waited.drained || self.full_turns > FULL_TURNS_MAX {
            self.fire_timers();
        }
        // 6. What callbacks of this or other workers asked for meanwhile goes out with this turn.
        self.commands();
        #[cfg(feature = "files")]
        self.files_turn();
        // 7. One send a connection, receives, closings.
        self.settle();
        if self.core.watch_memory() {
            self.settle();
        }
        if std::mem::take(&mut self.core.memory.trim_now) {
            self.port.start(name(Kind::Heap, Token::new(0, 0)), Work::TrimHeap);
        }
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
        matches!(self.drain, Drain::Told) && self.core.conns.is_empty() && self.door.open == 0
    }

    /// Leases that are out: zero whenever nothing is runnable.
    #[cfg(feature = "testing")]
    pub(crate) fn leases(&self) -> usize {
        self.port.leases()
    }

    /// Whether there is something to do without the outside world: for who steps it.
    #[cfg(feature = "testing")]
    pub(crate) fn has_work(&self) -> bool {
        self.has_left() || self.core.desk().mailbox.has_some()
    }

    /// Whether another turn has to follow at once.
    fn has_left(&self) -> bool {
        self.core.has_left() || matches!(&self.drain, Drain::Asked(asked) if asked.again)
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
                Cmd::Post { shared, work } => self.post(&shared, work),
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
                self.door.accept_ended(&mut self.core, &mut self.port, token.index(), end);
            }
            (Some(Kind::Listener), What::Closed) => self.door.open -= 1,
            (Some(Kind::Dial), What::Work(done)) => self.resolved(token, done),
            (Some(Kind::Read), What::Work(done)) => self.file_read(token, done),
            (Some(Kind::File), What::Work(done)) => self.file_work_done(token, done),
            (Some(Kind::Heap), What::Work(_)) => self.core.counters().heap_trims.add(1),
            (kind, what) => debug_assert!(false, "{what:?} for {token:?} of kind {kind:?}"),
        }
    }
}
