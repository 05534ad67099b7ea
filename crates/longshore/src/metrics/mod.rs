//! What is counted, and how it is read.

mod counters;
#[cfg(test)]
pub(crate) mod doc_table;
mod log_gate;

pub use counters::Snapshot;
pub(crate) use counters::{Counters, LaneCounters, Refused};
pub(crate) use log_gate::LogGates;
