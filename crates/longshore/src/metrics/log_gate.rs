//! Bounds the log: a peer must not be able to fill a disk (R25).

use longshore_base::Time;
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
    /// Whether a line may be written now; if so, how many were held back since the last one.
    pub(crate) fn open(&mut self, now: Time) -> Option<u64> {
        if now.since(self.second) >= Duration::from_secs(1) {
            self.second = now;
            self.lines = 0;
        }
        if self.lines == LINES_PER_SECOND {
            self.held_back += 1;
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.held_back))
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
        assert_eq!(gate.open(now + Duration::from_secs(1)), Some(15));
    }
}
