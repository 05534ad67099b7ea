//! Whether a transfer gets on: when it has to have begun, and how slow it may be.

use longshore_base::Time;
use std::time::Duration;

/// How long a transfer may take to begin, and how slow it may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pace {
    /// From an offer to its answer, and from the end of a file to the word that it is there; zero is
    /// for ever.
    pub start: Duration,
    /// In each such time there has to be progress of [`rate`](Self::rate) at least; zero is for ever.
    pub stall: Duration,
    /// Bytes in a second.
    pub rate: u64,
    /// How long in all the other side may hold a file; zero is for ever.
    pub hold: Duration,
}

/// Bytes of what is there already that are looked at in a second at least, on both sides.
const PROOF_RATE: u64 = 32 << 20;

/// When something has to have happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Clock {
    due: Time,
    /// When this time began, and how far it was then.
    since: Time,
    from: u64,
}

impl Clock {
    /// It has to begin, or to be answered, and the first `proof` bytes have to be looked at, or to be
    /// made safe, before.
    pub(super) fn start(pace: &Pace, now: Time, proof: u64) -> Self {
        if pace.start.is_zero() {
            return Self::NEVER;
        }
        let time = Duration::from_secs(proof / PROOF_RATE);
        Self { due: now + pace.start + time, since: now, from: proof }
    }

    /// It has got so far, and has to get on.
    pub(super) fn stall(pace: &Pace, now: Time, at: u64) -> Self {
        if pace.stall.is_zero() {
            Self::NEVER
        } else {
            Self { due: now + pace.stall, since: now, from: at }
        }
    }

    /// What it had got to is of no use: it begins at nothing, in the same time.
    pub(super) fn restarted(self) -> Self {
        Self { from: 0, ..self }
    }

    /// It stood still for so long.
    pub(super) fn later(self, by: Duration) -> Self {
        Self { due: self.due + by, since: self.since + by, ..self }
    }

    pub(super) const NEVER: Self = Self { due: Time::NEVER, since: Time::ZERO, from: 0 };

    pub(super) fn due(self) -> Time {
        self.due
    }

    /// At the end of a time in which it has got to `at`, with `left` bytes to go, as one of `share` that
    /// have the line together and so the more time: the next one, or nothing if it is too slow.
    pub(super) fn next(
        self,
        pace: &Pace,
        now: Time,
        at: u64,
        left: u64,
        share: usize,
    ) -> Option<Self> {
        let most = u128::from(pace.rate) * pace.stall.as_millis() / 1_000;
        let most = u64::try_from(most).unwrap_or(u64::MAX);
        if at - self.from >= most.max(1).min(left.max(1)) {
            return Some(Self::stall(pace, now, at));
        }
        let share = u32::try_from(share).unwrap_or(u32::MAX).max(1);
        let due = self.since + pace.stall.saturating_mul(share);
        (due > now).then_some(Self { due, ..self })
    }
}

/// How long the other side has held a file. Time that it holds is taken from a time of its own, so that
/// nothing is won by holding again and again.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Hold {
    /// If it does now.
    since: Option<Time>,
    spent: Duration,
}

impl Hold {
    pub(super) fn is_on(&self) -> bool {
        self.since.is_some()
    }

    /// It holds, or lets go: how long it has held until now.
    pub(super) fn set(&mut self, now: Time, on: bool) -> Duration {
        let held = self.since.map_or(Duration::ZERO, |since| now.since(since));
        self.spent = self.spent.saturating_add(held);
        self.since = on.then_some(now);
        held
    }

    /// When its time is up.
    pub(super) fn due(&self, pace: &Pace) -> Time {
        let left = pace.hold.saturating_sub(self.spent);
        self.since.filter(|_| !pace.hold.is_zero()).map_or(Time::NEVER, |since| since + left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const PACE: Pace =
        Pace { start: SECOND, stall: Duration::from_secs(10), rate: 1_000, hold: SECOND };

    #[test]
    fn who_is_too_slow_is_found_at_the_end_of_a_time() {
        let clock = Clock::stall(&PACE, Time::ZERO, 500);
        assert_eq!(clock.due(), Time::ZERO + 10 * SECOND);
        assert_eq!(clock.next(&PACE, clock.due(), 10_499, 1 << 30, 1), None);
        let next = clock.next(&PACE, clock.due(), 10_500, 1 << 30, 1).unwrap();
        assert_eq!((next.due(), next.from), (Time::ZERO + 20 * SECOND, 10_500));
        let shared = clock.next(&PACE, clock.due(), 500, 1 << 30, 4).expect("others go, too");
        assert_eq!((shared.due(), shared.from), (Time::ZERO + 40 * SECOND, 500));
        assert_eq!(shared.next(&PACE, shared.due(), 500, 1 << 30, 4), None);
        assert!(clock.next(&PACE, clock.due(), 600, 100, 1).is_some(), "there was no more");
        assert!(clock.next(&PACE, clock.due(), 500, 0, 1).is_none(), "nothing is no progress");
    }

    #[test]
    fn what_is_looked_at_has_its_time() {
        let clock = Clock::start(&PACE, Time::ZERO, 64 << 20);
        assert_eq!(clock.due(), Time::ZERO + 3 * SECOND);
        let never = Duration::ZERO;
        let patient = Pace { start: never, stall: never, rate: 0, hold: never };
        assert_eq!(Clock::start(&patient, Time::ZERO, 0).due(), Time::NEVER);
        assert_eq!(Clock::stall(&patient, Time::ZERO, 0).due(), Time::NEVER);
        assert_eq!(Clock::NEVER.later(SECOND).due(), Time::NEVER);
    }

    #[test]
    fn a_hold_uses_its_time_up_however_often_it_is_said() {
        let at = |millis| Time::ZERO + Duration::from_millis(millis);
        let mut hold = Hold::default();
        assert_eq!((hold.is_on(), hold.due(&PACE)), (false, Time::NEVER));
        assert_eq!(hold.set(at(500), true), Duration::ZERO);
        assert_eq!((hold.is_on(), hold.due(&PACE)), (true, at(1_500)));
        assert_eq!(hold.set(at(900), true), Duration::from_millis(400));
        assert_eq!(hold.due(&PACE), at(1_500));
        assert_eq!(hold.set(at(1_000), false), Duration::from_millis(100));
        assert_eq!((hold.is_on(), hold.due(&PACE)), (false, Time::NEVER));
        hold.set(at(9_000), true);
        assert_eq!(hold.due(&PACE), at(9_500));
        let patient = Pace { hold: Duration::ZERO, ..PACE };
        assert_eq!(hold.due(&patient), Time::NEVER);
    }
}
