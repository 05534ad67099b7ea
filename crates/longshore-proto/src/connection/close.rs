//! How a connection closes without its last answer being lost.
//!
//! Closing a socket with unread input makes the kernel send a reset, which discards what the peer
//! has not read yet (R28). So a graceful close is: flush, half-close, read and discard for a bounded
//! time, then close.
//!
//! ```text
//! Open ──close──► Flushing ──all sent──► Lingering ──end of stream, or a bound──► Ended
//!   └───────────── abort, error, or the end of the stream while flushing ─────────────┘
//! ```

use longshore_base::Time;
use std::time::Duration;

/// How long and how much a graceful close goes on reading.
///
/// ```
/// # use longshore_proto::connection::Linger;
/// use std::time::Duration;
///
/// let linger = Linger::default().wait(Duration::from_secs(1)).bytes(0);
/// assert_eq!(linger.total, Duration::from_secs(30));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "it does nothing until it is given to `Limits`"]
#[non_exhaustive]
pub struct Linger {
    /// Longest silence while waiting for the peer's end; zero does not wait. Default 5 s.
    pub wait: Duration,
    /// Longest time from the close to the end, flushing included; zero is no bound. Default 30 s.
    pub total: Duration,
    /// Most bytes that are read and discarded after the close. What a peer sends beyond that is left
    /// to TCP, which holds the peer. Default 1 MiB.
    pub bytes: u64,
}

impl Default for Linger {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl Linger {
    /// The default, for constants.
    pub const DEFAULT: Self =
        Self { wait: Duration::from_secs(5), total: Duration::from_secs(30), bytes: 1 << 20 };

    /// Longest silence while waiting for the peer's end; zero does not wait. Default 5 s.
    pub fn wait(mut self, most: Duration) -> Self {
        self.wait = most;
        self
    }

    /// Longest time from the close to the end, flushing included, at least [`wait`](Self::wait);
    /// zero is no bound. Default 30 s.
    pub fn total(mut self, most: Duration) -> Self {
        self.total = most;
        self
    }

    /// Most bytes that are read and discarded after the close. Default 1 MiB.
    pub fn bytes(mut self, most: u64) -> Self {
        self.bytes = most;
        self
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Open,
    Flushing,
    Lingering,
    Ended,
}

/// What has to be done now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CloseAct {
    /// Nothing yet.
    Wait,
    /// Shut the sending side down, go on reading.
    HalfClose,
    /// Close the socket.
    Close,
    /// Close it with a reset: time is up, and what is queued is lost anyway.
    Abort,
}

/// Where a connection stands between open and gone.
#[derive(Debug)]
pub struct Closing {
    phase: Phase,
    /// The peer will send no more.
    peer_ended: bool,
    /// What the peer says after the close gives it no more time.
    impatient: bool,
    discarded: u64,
    /// Latest end of the present phase, and of all.
    phase_end: Time,
    total_end: Time,
}

impl Default for Closing {
    fn default() -> Self {
        let never = Time::NEVER;
        let phase = Phase::Open;
        Self {
            phase,
            peer_ended: false,
            impatient: false,
            discarded: 0,
            phase_end: never,
            total_end: never,
        }
    }
}

impl Closing {
    /// Whether nothing has begun to close.
    #[inline]
    pub fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Whether the socket is closed, or about to be.
    pub fn is_ended(&self) -> bool {
        self.phase == Phase::Ended
    }

    /// Whether what comes in is to be discarded.
    pub fn discards(&self) -> bool {
        self.phase != Phase::Open
    }

    /// Whether the peer's end of stream was seen.
    pub fn peer_ended(&self) -> bool {
        self.peer_ended
    }

    /// Begins a graceful close. Says whether it was open. To be `impatient` is for peers that have
    /// broken a rule: what they go on saying does not keep their place.
    pub fn begin(&mut self, now: Time, linger: &Linger, impatient: bool) -> bool {
        if self.phase != Phase::Open {
            return false;
        }
        self.impatient = impatient;
        self.phase = Phase::Flushing;
        let total = if linger.total.is_zero() { Duration::MAX } else { linger.total };
        self.total_end = now + total;
        self.phase_end = self.total_end;
        true
    }

    /// Ends at once. Says whether it had not ended before.
    pub fn end(&mut self) -> bool {
        std::mem::replace(&mut self.phase, Phase::Ended) != Phase::Ended
    }

    /// The peer's stream ended.
    pub fn handle_peer_ended(&mut self) -> CloseAct {
        self.peer_ended = true;
        if self.phase == Phase::Lingering { self.finish(CloseAct::Close) } else { CloseAct::Wait }
    }

    /// All that was queued is with the kernel.
    pub fn handle_flushed(&mut self, now: Time, linger: &Linger) -> CloseAct {
        match self.phase {
            Phase::Flushing if self.peer_ended || linger.wait.is_zero() => {
                self.finish(CloseAct::Close)
            }
            Phase::Flushing => {
                self.phase = Phase::Lingering;
                self.phase_end = self.total_end.min(now + linger.wait);
                CloseAct::HalfClose
            }
            _ => CloseAct::Wait,
        }
    }

    /// Bytes came that nobody wants any more.
    pub fn handle_discarded(&mut self, bytes: usize, now: Time, linger: &Linger) {
        self.discarded += bytes as u64;
        if self.phase == Phase::Lingering && self.reads(linger) && !self.impatient {
            self.phase_end = self.total_end.min(now + linger.wait);
        }
    }

    /// Whether input is still to be read. Past the bound of the linger it is not: the peer is
    /// held by TCP itself, while what it was sent can still reach it.
    pub fn reads(&self, linger: &Linger) -> bool {
        self.phase != Phase::Ended && self.discarded <= linger.bytes
    }

    /// When time is up; `NEVER` while open.
    pub fn next(&self) -> Time {
        if self.phase == Phase::Ended { Time::NEVER } else { self.phase_end }
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Time) -> CloseAct {
        match self.phase {
            Phase::Flushing if self.phase_end <= now => self.finish(CloseAct::Abort),
            Phase::Lingering if self.phase_end <= now => self.finish(CloseAct::Close),
            _ => CloseAct::Wait,
        }
    }

    fn finish(&mut self, act: CloseAct) -> CloseAct {
        self.phase = Phase::Ended;
        act
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn a_graceful_close_flushes_half_closes_and_waits_for_the_peer() {
        let (mut closing, linger) = (Closing::default(), Linger::default());
        assert!(closing.begin(at(0), &linger, false));
        assert!(!closing.begin(at(1), &linger, false), "closing twice is closing once");
        assert_eq!(closing.handle_flushed(at(2), &linger), CloseAct::HalfClose);
        closing.handle_discarded(100, at(3), &linger);
        assert_eq!(closing.next(), at(8));
        assert_eq!(closing.handle_peer_ended(), CloseAct::Close);
        assert!(closing.is_ended() && !closing.end());
    }

    #[test]
    fn every_bound_of_the_linger_ends_it() {
        let linger = Linger::default();
        let lingering = || {
            let mut closing = Closing::default();
            closing.begin(at(0), &linger, false);
            closing.handle_flushed(at(0), &linger);
            closing
        };
        assert_eq!(lingering().handle_timeout(at(5)), CloseAct::Close);
        let mut late = Closing::default();
        late.begin(at(0), &linger, true);
        late.handle_flushed(at(9), &linger);
        late.handle_discarded(1, at(12), &linger);
        assert_eq!(late.next(), at(14), "what it says gives it no more time");
        let mut flooded = lingering();
        flooded.handle_discarded((1 << 20) + 1, at(3), &linger);
        assert!(!flooded.reads(&linger));
        assert_eq!(flooded.handle_timeout(at(5)), CloseAct::Close);
        let mut flushing = Closing::default();
        flushing.begin(at(0), &linger, false);
        flushing.handle_discarded((1 << 20) + 1, at(3), &linger);
        assert!(!flushing.reads(&linger), "also before all is sent");
        assert_eq!(flushing.next(), at(30), "and that gives it no more time");
        let mut talkative = lingering();
        for second in 1..30 {
            talkative.handle_discarded(1, at(second), &linger);
            assert_eq!(talkative.handle_timeout(at(second)), CloseAct::Wait);
        }
        assert_eq!(talkative.handle_timeout(at(30)), CloseAct::Close);
    }

    #[test]
    fn a_flush_that_never_ends_is_aborted_and_a_finished_peer_is_not_waited_for() {
        let (mut stuck, linger) = (Closing::default(), Linger::default());
        stuck.begin(at(0), &linger, false);
        assert_eq!(stuck.handle_timeout(at(30)), CloseAct::Abort);
        let (mut patient, total) = (Closing::default(), Duration::ZERO);
        patient.begin(at(0), &Linger { total, ..linger }, false);
        assert_eq!(patient.handle_timeout(at(1 << 30)), CloseAct::Wait);
        let mut ended = Closing::default();
        assert_eq!(ended.handle_peer_ended(), CloseAct::Wait);
        ended.begin(at(0), &linger, false);
        assert_eq!(ended.handle_flushed(at(1), &linger), CloseAct::Close);
    }
}
