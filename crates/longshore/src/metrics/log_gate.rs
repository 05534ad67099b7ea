//! Bounds the log: a peer must not be able to fill a disk (R25).

use longshore_base::Time;
use std::fmt;
use std::time::Duration;

/// Lines of one kind in one second.
const LINES_PER_SECOND: u32 = 10;

/// One kind of log line of one worker.
#[derive(Debug, Default)]
pub(crate) struct LogGate {
    second: Time,
    lines: u32,
    held_back: u64,
}

impl LogGate {
    /// Whether a line may be written now; if so, how many were held back since the last one, in
    /// words for its end.
    pub(crate) fn open(&mut self, now: Time) -> Option<HeldBack> {
        if now.since(self.second) >= Duration::from_secs(1) {
            self.second = now;
            self.lines = 0;
        }
        if self.lines == LINES_PER_SECOND {
            self.held_back += 1;
            return None;
        }
        self.lines += 1;
        Some(HeldBack(std::mem::take(&mut self.held_back)))
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
    fn ten_lines_a_second_and_the_rest_is_counted() {
        let mut gate = LogGate::default();
        let now = Time::ZERO + Duration::from_secs(5);
        assert_eq!((0..25).filter(|_| gate.open(now).is_some()).count(), 10);
        let held_back = gate.open(now + Duration::from_secs(1)).unwrap();
        assert_eq!(held_back.to_string(), "; 15 more lines like this held back");
        assert_eq!(gate.open(now + Duration::from_secs(1)).unwrap().to_string(), "");
    }
}
