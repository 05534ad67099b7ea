//! What is counted, and how it is read.

mod counters;
mod log_gate;

pub use counters::Snapshot;
pub(crate) use counters::{Counters, LaneCounters};
pub(crate) use log_gate::{LogGates, Refused};
