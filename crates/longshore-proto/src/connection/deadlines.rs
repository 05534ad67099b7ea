//! When a connection is late: first byte, log-in, frames, silence, sending, and its own timers.
//!
//! Only *when* something is due; waiting for it is somebody else's. Activity is one store: nobody
//! re-arms anything.

use longshore_base::Time;
use std::time::Duration;

/// Most timers of one connection.
pub const TIMERS_MAX: usize = 64;

/// A connection has [`TIMERS_MAX`] timers already.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a connection has at most {TIMERS_MAX} timers")]
pub struct TooManyTimers;

/// What is due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Due {
    /// Connected, and sent nothing.
    FirstByte,
    /// Connected, and was not admitted.
    Login,
    /// Began a frame, and does not go on.
    Frame,
    /// Silence for the idle time.
    Idle,
    /// A send may be stuck: to be looked at, see [`Deadlines::is_stuck`].
    Write,
    /// It has been behind with what it is sent for too long.
    Behind,
    /// What the system was too short of memory for may be tried again.
    Retry,
    /// A timer of that key.
    Timer(u32),
}

/// Times between an op that the system had no memory for and the next try: doubled each time.
const RETRY_MIN: Duration = Duration::from_millis(10);
const RETRY_MAX: Duration = Duration::from_secs(1);

/// Whose bytes break the silence that `limits.idle` counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum IdleOf {
    /// The peer's: it is idle when nothing is received.
    #[default]
    Receiving,
    /// Ours: it is idle when the system takes none of what is sent.
    Sending,
    /// Both: it is idle when nothing goes either way.
    Both,
}

/// The deadlines of one connection.
#[derive(Debug)]
pub struct Deadlines {
    /// When silence began.
    heard: Time,
    idle_of: IdleOf,
    /// Silence after which it counts as idle; zero is never.
    idle: Duration,
    first_byte: Time,
    login: Time,
    /// When the frame that is torn has to be whole, and when its first byte came.
    frame: Time,
    frame_since: Time,
    /// When to look whether the peer takes anything; `NEVER` if nothing has to wait.
    write: Time,
    /// When it last did, as far as known, and what it had acknowledged then.
    taken: Time,
    acknowledged: Option<u64>,
    /// Since when the time of what the peer owes stands still; `NEVER` if it runs.
    paused: Time,
    /// When it has been behind for too long; `NEVER` if it keeps up.
    behind: Time,
    /// When to try again; `NEVER` if nothing was refused.
    retry: Time,
    /// When that was last so, and how long it had to wait then.
    retried: Time,
    retry_after: Duration,
    #[expect(clippy::box_collection, reason = "most connections have no timer")]
    timers: Option<Box<Vec<(Time, u32)>>>,
}

impl Deadlines {
    /// For a connection that begins `now`. A zero duration is no deadline.
    pub fn new(now: Time, first_byte: Duration, idle: Duration) -> Self {
        let first_byte = if first_byte.is_zero() { Time::NEVER } else { now + first_byte };
        Self {
            heard: now,
            idle_of: IdleOf::Receiving,
            idle,
            first_byte,
            login: Time::NEVER,
            frame: Time::NEVER,
            frame_since: now,
            write: Time::NEVER,
            taken: now,
            acknowledged: None,
            behind: Time::NEVER,
            paused: Time::NEVER,
            retry: Time::NEVER,
            retried: Time::ZERO,
            retry_after: Duration::ZERO,
            timers: None,
        }
    }

    /// Whose bytes break the silence. The peer's, if nobody says.
    pub fn set_idle_of(&mut self, idle_of: IdleOf) {
        self.idle_of = idle_of;
    }

    /// It has to be admitted within that time; zero is no deadline.
    pub fn set_login(&mut self, now: Time, within: Duration) {
        self.login = if within.is_zero() { Time::NEVER } else { now + within };
    }

    /// It is admitted.
    pub fn handle_admitted(&mut self) {
        self.login = Time::NEVER;
    }

    /// Bytes came.
    #[inline]
    pub fn handle_heard(&mut self, now: Time) {
        self.first_byte = Time::NEVER;
        if self.idle_of != IdleOf::Sending {
            self.heard = now;
        }
    }

    /// The system took bytes.
    #[inline]
    pub fn handle_said(&mut self, now: Time) {
        if self.idle_of != IdleOf::Receiving {
            self.heard = now;
        }
    }

    /// What came ends within a frame, of which there are `bytes`, and which begins there if `begins`.
    /// It has to be whole within `within` of its first byte, and each byte gives it the time that it
    /// takes at `rate` bytes a second (R39). Zero is no deadline.
    pub fn handle_torn(
        &mut self,
        now: Time,
        begins: bool,
        bytes: usize,
        within: Duration,
        rate: u32,
    ) {
        if within.is_zero() {
            return;
        }
        if begins || self.frame == Time::NEVER {
            self.frame_since = self.paused.min(now); // time may stand still
        }
        let earned = Duration::from_secs(bytes as u64) / rate.max(1);
        self.frame = self.frame_since + within + earned;
    }

    /// What came ends with a frame.
    #[inline]
    pub fn handle_whole(&mut self) {
        self.frame = Time::NEVER;
    }

    /// Sets the idle time; zero is none. Silence counts from now.
    pub fn set_idle(&mut self, now: Time, after: Duration) {
        self.heard = now;
        self.idle = after;
    }

    /// Bytes wait to be taken by the kernel, which has to take one within `within` of `now`, or the
    /// peer has to acknowledge one. Each progress is told by calling this again. A zero duration is
    /// no deadline.
    ///
    /// The kernel tells of a large send when it is out as a whole, which takes a slow peer long. So
    /// each quarter of that time is looked what the peer has acknowledged.
    #[inline]
    pub fn handle_sending(&mut self, now: Time, within: Duration) {
        self.write = if within.is_zero() { Time::NEVER } else { now + within / 4 };
        self.taken = now;
        self.acknowledged = None;
    }

    /// A connection is asked for, which has to stand within that time, or [`Due::Write`] comes.
    pub fn handle_connecting(&mut self, now: Time, within: Duration) {
        self.write = now + within;
    }

    /// At [`Due::Write`], with what the peer has acknowledged so far, if the system tells: whether it
    /// has taken nothing for that long. At most a quarter of it later.
    pub fn is_stuck(&mut self, now: Time, within: Duration, acknowledged: Option<u64>) -> bool {
        if acknowledged != self.acknowledged {
            (self.acknowledged, self.taken) = (acknowledged, now);
        }
        let end = self.taken + within;
        let stuck = end <= now;
        self.write = if stuck { Time::NEVER } else { end.min(now + within / 4) };
        stuck
    }

    /// The same, unless that time runs already.
    pub fn handle_held_up(&mut self, now: Time, within: Duration) {
        if self.write == Time::NEVER {
            self.handle_sending(now, within);
        }
    }

    /// Nothing waits to be sent.
    #[inline]
    pub fn handle_all_sent(&mut self) {
        self.write = Time::NEVER;
    }

    /// Whether more waits for it than may for long; `within` that time it has to catch up.
    #[inline]
    pub fn handle_queue(&mut self, now: Time, is_behind: bool, within: Duration) {
        if !is_behind {
            self.behind = Time::NEVER;
        } else if self.behind == Time::NEVER && !within.is_zero() {
            self.behind = now + within;
        }
    }

    /// The system had no memory for an op. Nothing is to be asked of it until [`Due::Retry`] (R14).
    pub fn handle_refused(&mut self, now: Time) {
        // A while without trouble, and it is a new one.
        let again = now.since(self.retried) <= 2 * RETRY_MAX;
        let doubled = if again { self.retry_after * 2 } else { RETRY_MIN };
        self.retry_after = doubled.clamp(RETRY_MIN, RETRY_MAX);
        self.retry = now + self.retry_after;
        self.retried = self.retry;
    }

    /// Whether nothing is to be asked of the system for now.
    #[inline]
    pub fn is_backing_off(&self) -> bool {
        self.retry != Time::NEVER
    }

    /// The time of what the peer owes stands still from now on: we do not listen.
    pub fn pause(&mut self, now: Time) {
        self.paused = self.paused.min(now);
    }

    /// It goes on.
    pub fn resume(&mut self, now: Time) {
        if self.paused == Time::NEVER {
            return;
        }
        let stood_still = now.since(self.paused);
        // What came meanwhile ended the silence as well; from then on it stood still.
        self.heard = self.heard.min(self.paused) + stood_still;
        self.first_byte = self.first_byte + stood_still;
        self.login = self.login + stood_still;
        self.frame = self.frame + stood_still;
        self.frame_since = self.frame_since + stood_still;
        self.paused = Time::NEVER;
    }

    /// Sets timer `key` to `at`, moving it if it is set.
    ///
    /// # Errors
    /// With [`TIMERS_MAX`] others set.
    pub fn set_timer(&mut self, key: u32, at: Time) -> Result<(), TooManyTimers> {
        let timers = self.timers.get_or_insert_default();
        if let Some(timer) = timers.iter_mut().find(|(_, k)| *k == key) {
            timer.0 = at;
        } else if timers.len() == TIMERS_MAX {
            return Err(TooManyTimers);
        } else {
            timers.push((at, key));
        }
        Ok(())
    }

    /// Clears timer `key`; says whether it was set.
    pub fn clear_timer(&mut self, key: u32) -> bool {
        let Some(timers) = &mut self.timers else { return false };
        let before = timers.len();
        timers.retain(|(_, k)| *k != key);
        let cleared = timers.len() < before;
        if timers.is_empty() {
            self.timers = None;
        }
        cleared
    }

    /// Only the deadline on sending is left: the connection is closing.
    pub fn handle_closing(&mut self) {
        self.first_byte = Time::NEVER;
        self.login = Time::NEVER;
        self.frame = Time::NEVER;
        self.idle = Duration::ZERO;
        self.behind = Time::NEVER;
        self.timers = None;
    }

    fn idle_at(&self) -> Time {
        if self.idle.is_zero() || self.paused != Time::NEVER {
            return Time::NEVER;
        }
        self.heard + self.idle
    }

    /// The first of what the peer owes.
    fn owed_at(&self) -> (Time, Due) {
        if self.paused != Time::NEVER {
            return (Time::NEVER, Due::FirstByte);
        }
        let all =
            [(self.first_byte, Due::FirstByte), (self.login, Due::Login), (self.frame, Due::Frame)];
        let [first, rest @ ..] = all;
        rest.into_iter().fold(first, |least, next| if next.0 < least.0 { next } else { least })
    }

    fn next_timer(&self) -> Option<(Time, u32)> {
        self.timers.as_ref()?.iter().min().copied()
    }

    /// When something is due at the earliest; `NEVER` if nothing is.
    pub fn next(&self) -> Time {
        let timer = self.next_timer().map_or(Time::NEVER, |(at, _)| at);
        let ours = self.write.min(self.behind).min(self.retry);
        self.idle_at().min(self.owed_at().0).min(ours).min(timer)
    }

    /// The next thing that is due at `now`; each is told once. To be called until `None`.
    pub fn handle_timeout(&mut self, now: Time) -> Option<Due> {
        if self.next() > now {
            return None;
        }
        if self.write <= now {
            self.write = Time::NEVER;
            return Some(Due::Write);
        }
        if self.behind <= now {
            self.behind = Time::NEVER;
            return Some(Due::Behind);
        }
        if self.retry <= now {
            self.retry = Time::NEVER;
            return Some(Due::Retry);
        }
        let (at, due) = self.owed_at();
        if at <= now {
            match due {
                Due::FirstByte => self.first_byte = Time::NEVER,
                Due::Login => self.login = Time::NEVER,
                _ => self.frame = Time::NEVER,
            }
            return Some(due);
        }
        if let Some((at, key)) = self.next_timer().filter(|(at, _)| *at <= now) {
            debug_assert!(at <= now);
            self.clear_timer(key);
            return Some(Due::Timer(key));
        }
        self.heard = now; // the next silence begins here
        Some(Due::Idle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: u64) -> Time {
        Time::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn idle_is_due_once_per_silence() {
        let mut deadlines = Deadlines::new(at(0), Duration::ZERO, 10 * SECOND);
        assert_eq!(deadlines.handle_timeout(at(9)), None);
        deadlines.handle_heard(at(9));
        assert_eq!(deadlines.next(), at(19));
        assert_eq!(deadlines.handle_timeout(at(19)), Some(Due::Idle));
        assert_eq!(deadlines.handle_timeout(at(19)), None);
        assert_eq!(deadlines.next(), at(29));
    }

    #[test]
    fn the_first_byte_is_due_only_until_it_came() {
        let mut deadlines = Deadlines::new(at(0), 10 * SECOND, Duration::ZERO);
        assert_eq!(deadlines.handle_timeout(at(10)), Some(Due::FirstByte));
        assert_eq!(deadlines.next(), Time::NEVER);
        let mut deadlines = Deadlines::new(at(0), 10 * SECOND, Duration::ZERO);
        deadlines.handle_heard(at(3));
        assert_eq!(deadlines.handle_timeout(at(100)), None);
    }

    #[test]
    fn who_is_behind_has_to_catch_up_in_time() {
        let mut deadlines = Deadlines::new(at(0), Duration::ZERO, Duration::ZERO);
        deadlines.handle_queue(at(1), true, 5 * SECOND);
        deadlines.handle_queue(at(4), true, 5 * SECOND);
        assert_eq!(deadlines.next(), at(6), "since it fell behind");
        deadlines.handle_queue(at(5), false, 5 * SECOND);
        assert_eq!(deadlines.next(), Time::NEVER);
        deadlines.handle_queue(at(7), true, 5 * SECOND);
        assert_eq!(deadlines.handle_timeout(at(12)), Some(Due::Behind));
        assert_eq!(deadlines.handle_timeout(at(12)), None);
        deadlines.handle_queue(at(13), true, Duration::ZERO);
        assert_eq!(deadlines.next(), Time::NEVER, "zero is no deadline");
        deadlines.handle_queue(at(13), true, SECOND);
        deadlines.handle_closing();
        assert_eq!(deadlines.next(), Time::NEVER);
    }

    #[test]
    fn a_login_is_due_unless_it_was_admitted() {
        let mut deadlines = Deadlines::new(at(0), Duration::ZERO, Duration::ZERO);
        deadlines.set_login(at(0), 5 * SECOND);
        deadlines.handle_heard(at(1));
        deadlines.pause(at(2));
        deadlines.resume(at(12));
        assert_eq!(deadlines.next(), at(15));
        assert_eq!(deadlines.handle_timeout(at(15)), Some(Due::Login));
        assert_eq!(deadlines.next(), Time::NEVER);
        deadlines.set_login(at(20), 5 * SECOND);
        deadlines.handle_admitted();
        assert_eq!(deadlines.next(), Time::NEVER);
    }

    /// R39
    #[test]
    fn a_frame_is_late_unless_its_bytes_come_at_the_rate() {
        let mut deadlines = Deadlines::new(at(0), Duration::ZERO, Duration::ZERO);
        let mut torn = |now, begins, bytes| {
            deadlines.handle_torn(at(now), begins, bytes, 20 * SECOND, 1000);
            deadlines.next()
        };
        assert_eq!(torn(0, false, 1), at(20) + Duration::from_millis(1));
        assert_eq!(torn(10, false, 2), at(20) + Duration::from_millis(2), "no byte gives it more");
        assert_eq!(torn(19, false, 15_000), at(35), "than its own time");
        assert_eq!(torn(30, true, 1000), at(51), "the next one has its own");
        assert_eq!(deadlines.handle_timeout(at(51)), Some(Due::Frame));
        deadlines.handle_torn(at(60), false, 0, 20 * SECOND, 1000);
        deadlines.pause(at(70));
        deadlines.handle_torn(at(75), true, 0, 20 * SECOND, 1000);
        deadlines.resume(at(80));
        assert_eq!(deadlines.next(), at(100), "time stood still");
        deadlines.handle_whole();
        assert_eq!(deadlines.next(), Time::NEVER);
        deadlines.handle_torn(at(90), true, 0, Duration::ZERO, 1000);
        assert_eq!(deadlines.next(), Time::NEVER, "zero is no deadline");
    }

    #[test]
    fn silence_is_broken_by_whose_bytes_it_is_of() {
        for (of, by_heard, by_said) in
            [(IdleOf::Receiving, 15, 10), (IdleOf::Sending, 10, 15), (IdleOf::Both, 15, 15)]
        {
            let mut deadlines = Deadlines::new(at(0), Duration::ZERO, 10 * SECOND);
            deadlines.set_idle_of(of);
            deadlines.handle_heard(at(5));
            assert_eq!(deadlines.next(), at(by_heard), "{of:?}");
            let mut deadlines = Deadlines::new(at(0), Duration::ZERO, 10 * SECOND);
            deadlines.set_idle_of(of);
            deadlines.handle_said(at(5));
            assert_eq!(deadlines.next(), at(by_said), "{of:?}");
        }
    }

    #[test]
    fn a_pause_stops_first_byte_and_idle_but_not_the_write_deadline() {
        let mut deadlines = Deadlines::new(at(0), 10 * SECOND, 20 * SECOND);
        deadlines.pause(at(4));
        deadlines.pause(at(6));
        deadlines.handle_sending(at(4), 100 * SECOND);
        assert_eq!(deadlines.handle_timeout(at(29)), Some(Due::Write));
        assert!(!deadlines.is_stuck(at(29), 100 * SECOND, None));
        assert_eq!(deadlines.handle_timeout(at(50)), None);
        deadlines.handle_all_sent();
        deadlines.resume(at(54));
        deadlines.resume(at(60));
        assert_eq!(deadlines.next(), at(60));
        assert_eq!(deadlines.handle_timeout(at(60)), Some(Due::FirstByte));
        assert_eq!(deadlines.handle_timeout(at(70)), Some(Due::Idle));
    }

    #[test]
    fn who_acknowledges_anything_is_not_stuck_and_who_does_not_is_soon() {
        let of = |acknowledged: fn(u64) -> Option<u64>| {
            let mut deadlines = Deadlines::new(at(0), Duration::ZERO, Duration::ZERO);
            deadlines.handle_sending(at(1), 8 * SECOND);
            for second in 1..100 {
                while deadlines.handle_timeout(at(second)) == Some(Due::Write) {
                    if deadlines.is_stuck(at(second), 8 * SECOND, acknowledged(second)) {
                        assert_eq!(deadlines.next(), Time::NEVER, "told once");
                        return second;
                    }
                }
            }
            100
        };
        assert_eq!(of(|_| None), 9, "the system tells nothing");
        assert_eq!(of(|_| Some(7)), 11, "a quarter more, for the first look");
        assert_eq!(of(|second| Some(second / 7)), 100, "a little at a time");
        assert_eq!(of(|second| Some(second.min(50))), 59, "until it stops");
    }

    /// R14
    #[test]
    fn what_there_was_no_memory_for_is_tried_again_later_and_later() {
        let mut deadlines = Deadlines::new(at(0), Duration::ZERO, Duration::ZERO);
        let mut now = at(100);
        let mut waits = Vec::new();
        for _ in 0..9 {
            deadlines.handle_refused(now);
            assert!(deadlines.is_backing_off());
            waits.push(deadlines.next().since(now).as_millis());
            now = deadlines.next();
            assert_eq!(deadlines.handle_timeout(now), Some(Due::Retry));
            assert!(!deadlines.is_backing_off());
        }
        assert_eq!(waits, [10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
        now = now + 3 * SECOND;
        deadlines.handle_refused(now);
        assert_eq!(deadlines.next(), now + RETRY_MIN, "the next trouble is a new one");
    }

    #[test]
    fn silence_begins_at_resume_when_bytes_came_during_the_pause() {
        let mut deadlines = Deadlines::new(at(0), Duration::ZERO, 20 * SECOND);
        deadlines.pause(at(4));
        deadlines.handle_heard(at(50));
        deadlines.resume(at(54));
        assert_eq!(deadlines.next(), at(74));
    }

    #[test]
    fn the_timer_too_many_is_refused_and_moving_one_is_not() {
        let mut deadlines = Deadlines::new(at(0), Duration::ZERO, Duration::ZERO);
        for key in 0..64 {
            deadlines.set_timer(key, at(5)).unwrap();
        }
        assert_eq!(deadlines.set_timer(1_000, at(1)), Err(TooManyTimers));
        deadlines.set_timer(3, at(1)).unwrap();
        assert_eq!(deadlines.handle_timeout(at(1)), Some(Due::Timer(3)));
        deadlines.set_timer(1_000, Time::NEVER).unwrap();
    }

    proptest! {
        /// R46: never early, none forgotten, told in the order of their times.
        #[test]
        fn timers_behave_like_a_sorted_map(steps in prop::collection::vec((0u8..4, 0u32..40, 0u64..50), 1..400)) {
            let mut deadlines = Deadlines::new(at(0), Duration::ZERO, Duration::ZERO);
            let mut model = BTreeMap::new();
            let mut now = 0;
            for (step, key, seconds) in steps {
                match step {
                    0 | 1 => {
                        deadlines.set_timer(key, at(now + seconds)).unwrap();
                        model.insert(key, now + seconds);
                    }
                    2 => prop_assert_eq!(deadlines.clear_timer(key), model.remove(&key).is_some()),
                    _ => {
                        now += seconds / 4;
                        let mut due: Vec<_> = model.iter().filter(|(_, t)| **t <= now).map(|(k, t)| (*t, *k)).collect();
                        due.sort_unstable();
                        for (_, key) in due {
                            prop_assert_eq!(deadlines.handle_timeout(at(now)), Some(Due::Timer(key)));
                            model.remove(&key);
                        }
                        prop_assert_eq!(deadlines.handle_timeout(at(now)), None);
                    }
                }
            }
        }
    }
}
