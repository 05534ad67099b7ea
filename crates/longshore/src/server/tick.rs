//! Ticks: what runs at a fixed rate.

use super::Server;
use longshore_base::Time;

/// What a tick is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Tick {
    /// Which one: 1, 2, 3 ... Those that were missed are counted.
    pub number: u64,
    /// How many were missed just before this one, because the worker was late.
    pub missed: u64,
    /// The time on the port's clock, the same as [`Ctx::now`](crate::Ctx::now).
    pub now: Time,
}

pub(crate) type TickFn = Box<dyn FnMut(&Server, Tick) + Send>;
