//! A worker: one thread, one port, its connections. Here ports and protocols meet, nowhere else.

pub(crate) mod connection;
pub(crate) mod core;
mod dialing;
pub(crate) mod door;
mod drain;
mod files;
mod filter;
mod input;
pub(crate) mod lane;
mod life;
mod names;
mod output;
mod slow;
pub(crate) mod spin;
mod stop;
mod stopwatch;
mod time;
mod timer_wheel;
#[cfg(feature = "files")]
mod transfers;
mod turn;

use self::core::{Alarm, Core, TRIM_EVERY};
use self::dialing::dial::Dial;
use self::door::{Door, ListenerPlan};
use self::drain::Drain;
use self::lane::AnyLane;
use self::names::{Kind, name};
use self::spin::Spin;
use self::stopwatch::Stopwatch;
use crate::server::TickFn;
use longshore_base::{Foreign, Slab, Time, Token};
use longshore_port::{Completion, Listening, Port, PortError};
use std::sync::Arc;
use std::time::Duration;

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
    watch: Stopwatch,
    turn: u32,
    /// Connections taken in this turn.
    adopted: u32,
    /// A shutdown was asked for, and when it has to be over.
    drain: Drain,
    drained: Time,
}

struct TickState {
    run: Foreign<TickFn>,
    period: Duration,
    number: u64,
    due: Time,
}

impl<P: Port> Worker<P> {
    /// A worker with one lane for each listener, in their order, which looks for `spin` before it
    /// sleeps, and tells of callbacks that take longer than `slow_callback`.
    pub(crate) fn new(
        port: P,
        core: Core,
        lanes: Vec<Box<dyn AnyLane>>,
        spin: Duration,
        slow_callback: Duration,
    ) -> Self {
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
            watch: Stopwatch::new(slow_callback),
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
        self.door.add(&mut self.port, socket, plan, lane);
        Ok(())
    }

    /// Calls `run` every `period`, at a fixed rate.
    pub(crate) fn every(&mut self, period: Duration, run: TickFn) {
        let due = self.core.now + period;
        let number = u32::try_from(self.ticks.len()).expect("a handful of ticks");
        self.ticks.push(TickState { run: Foreign::new(run), period, number: 0, due });
        self.core.set_alarm(due, Alarm::Tick(number));
    }
}

impl<P: Port> std::fmt::Debug for Worker<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").field("me", &self.core.me).finish_non_exhaustive()
    }
}
