//! Bounds the log: a peer must not be able to fill a disk (R25).

use super::Refused;
use crate::DisconnectReason;
use longshore_base::Time;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Lines of one kind of one server in one second.
const LINES_PER_SECOND: u32 = 10;

/// The gates of one server, for all its workers. A leaf lock each.
#[derive(Debug, Default)]
pub(crate) struct LogGates {
    refused: [LogGate; Refused::ALL.len()],
    closed: [LogGate; DisconnectReason::NAMES.len()],
    out_of_memory: LogGate,
    memory: LogGate,
    slow: LogGate,
}

impl LogGates {
    /// Whether a line on a refusal may be written now.
    pub(crate) fn refused(&self, why: Refused, now: Time) -> Option<HeldBack> {
        self.refused[why as usize].open(now)
    }

    /// Whether a line on `limits.memory` may be written now.
    pub(crate) fn memory(&self, now: Time) -> Option<HeldBack> {
        self.memory.open(now)
    }

    /// Whether a line on a system that is out of memory may be written now.
    pub(crate) fn out_of_memory(&self, now: Time) -> Option<HeldBack> {
        self.out_of_memory.open(now)
    }

    /// Whether a line on a slow callback may be written now.
    pub(crate) fn slow(&self, now: Time) -> Option<HeldBack> {
        self.slow.open(now)
    }

    /// Whether a line on the end of a connection may be written now.
    pub(crate) fn closed(&self, reason: &DisconnectReason, now: Time) -> Option<HeldBack> {
        self.closed[reason.place()].open(now)
    }
}

/// One kind of log line.
#[derive(Debug, Default)]
struct LogGate(Mutex<Gate>);

#[derive(Debug, Default)]
struct Gate {
    second: Time,
    lines: u32,
    held_back: u64,
}

impl LogGate {
    /// Whether a line may be written now; if so, how many were held back since the last one, in
    /// words for its end. Clocks of workers differ by a turn: time that goes back stands still.
    fn open(&self, now: Time) -> Option<HeldBack> {
        let mut gate = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if now.since(gate.second) >= Duration::from_secs(1) {
            gate.second = now;
            gate.lines = 0;
        }
        if gate.lines == LINES_PER_SECOND {
            gate.held_back += 1;
            return None;
        }
        gate.lines += 1;
        Some(HeldBack(std::mem::take(&mut gate.held_back)))
    }
}

/// How many lines were held back. Says nothing if there were none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct HeldBack(u64);

impl fmt::Display for HeldBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            count => write!(f, "; {count} more lines like this held back"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_lines_a_second_of_each_kind_and_the_rest_is_counted() {
        let gates = LogGates::default();
        let now = Time::ZERO + Duration::from_secs(5);
        let refused = |now| gates.refused(Refused::PerSource, now);
        assert_eq!((0..25).filter(|_| refused(now).is_some()).count(), 10);
        assert!(gates.refused(Refused::ByFactory, now).is_some(), "of another kind");
        let held_back = refused(now + Duration::from_secs(1)).unwrap();
        assert_eq!(held_back.to_string(), "; 15 more lines like this held back");
        assert_eq!(
            refused(now).unwrap().to_string(),
            "",
            "another worker's clock, a little behind"
        );
        assert_eq!(
            (0..25).filter(|_| gates.closed(&DisconnectReason::Local, now).is_some()).count(),
            10
        );
        assert!(gates.closed(&DisconnectReason::Aborted, now).is_some(), "for another reason");
    }
}
