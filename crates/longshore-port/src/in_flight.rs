//! What a caller may do with a socket: one value for all drivers, so that they cannot disagree.

use crate::{ErrorKind, Op, OpKind, PortError, SendData, SendMode};
use longshore_base::{FILE_BYTES_MAX, SEGMENTS_MAX, SEND_BYTES_MAX, Segment};

/// The ops of one socket that were begun and not answered, and what may follow them.
///
/// A driver keeps one for each socket, shows it every op before anything else is done with it, and
/// tells it of every end. Whoever asks for what the contract does not allow has a bug that must not
/// depend on the driver to be seen: it panics.
///
/// An op is over for its owner when the `wait` that brings its end has returned, also when the system
/// was through with it long before. So begin and end are told the time in *waits*: how many of this
/// port have returned.
///
/// | op | may be begun |
/// | --- | --- |
/// | `Accept` | on a listener, one at a time, with a credit |
/// | `Recv` | on a connection, one at a time, with a credit |
/// | `Send` | on a connection, one at a time: 1 byte to `SEND_BYTES_MAX`, at most `SEGMENTS_MAX` segments, no lease in `Whole`; or a part of a file alone, 1 byte to `FILE_BYTES_MAX` |
/// | `Watch` | on a connection, one at a time |
/// | `Shutdown` | on a connection without an unanswered send |
/// | `Detach` | on a connection |
/// | `Close` | on whatever was not asked to leave |
/// | `Abort` | the same, and behind a `Detach` |
///
/// While a connect is under way only `Close` and `Abort` may be begun, and so after one that failed
/// and after a send that was cancelled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InFlight {
    /// When the last of `ended` did.
    ended_at: u64,
    /// A bit for each kind that was begun.
    begun: u8,
    /// Those of them that have ended since the last wait returned.
    ended: u8,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Listener,
    /// The attempt is under way.
    Connecting,
    Connection,
    /// Of no more use: its attempt failed, or a send was cut off, behind which nobody knows what the
    /// peer has.
    Spent,
    /// `Detach` was begun.
    Leaving,
    /// `Close` or `Abort` was begun.
    Closing,
}

const fn bit(kind: OpKind) -> u8 {
    1 << kind as u8
}

impl InFlight {
    const fn new(begun: u8, stage: Stage) -> Self {
        Self { ended_at: 0, begun, ended: 0, stage }
    }

    /// Of a listener.
    pub const fn listener() -> Self {
        Self::new(0, Stage::Listener)
    }

    /// Of a connection that stands.
    pub const fn connection() -> Self {
        Self::new(0, Stage::Connection)
    }

    /// Of one whose attempt was begun.
    pub const fn connecting() -> Self {
        Self::new(bit(OpKind::Connect), Stage::Connecting)
    }

    /// The owner has heard of what ended before `waits`.
    #[inline]
    fn hear(&mut self, waits: u64) {
        if self.ended_at != waits {
            self.begun &= !self.ended;
            self.ended = 0;
            self.ended_at = waits;
        }
    }

    /// An op is begun, after so many waits.
    ///
    /// # Panics
    /// When it is one that may not be: see the table above.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "its caller looks at the op in the same way")]
    pub fn begin(&mut self, op: &Op, waits: u64) {
        self.hear(waits);
        match op {
            Op::Send { data, mode, .. } => {
                check_send(data, *mode);
                self.start(OpKind::Send, Stage::Connection);
            }
            Op::Recv { credit } => {
                assert!(*credit > 0, "a Recv without credit");
                self.start(OpKind::Recv, Stage::Connection);
            }
            Op::Accept { credit } => {
                assert!(*credit > 0, "an Accept without credit");
                self.start(OpKind::Accept, Stage::Listener);
            }
            Op::Watch { .. } => self.start(OpKind::Watch, Stage::Connection),
            Op::Shutdown => {
                self.on("Shutdown", Stage::Connection);
                let sends = self.begun & bit(OpKind::Send) != 0;
                assert!(!sends, "Shutdown behind a Send that was not answered");
            }
            Op::Detach => {
                self.on("Detach", Stage::Connection);
                self.stage = Stage::Leaving;
            }
            Op::Close => {
                let leaves = matches!(self.stage, Stage::Leaving | Stage::Closing);
                assert!(!leaves, "Close of what was asked to leave");
                self.stage = Stage::Closing;
            }
            Op::Abort => {
                assert!(self.stage != Stage::Closing, "Abort of what was asked to close");
                self.stage = Stage::Closing;
            }
        }
    }

    #[inline]
    fn start(&mut self, kind: OpKind, stage: Stage) {
        if self.stage != stage || self.begun & bit(kind) != 0 {
            self.refuse(kind);
        }
        self.begun |= bit(kind);
    }

    #[cold]
    fn refuse(self, kind: OpKind) -> ! {
        assert!(self.begun & bit(kind) == 0, "a second {kind:?} while the first is not answered");
        panic!("{kind:?} on what is {:?}", self.stage);
    }

    fn on(self, op: &str, stage: Stage) {
        assert!(self.stage == stage, "{op} on what is {:?}", self.stage);
    }

    /// An op has ended otherwise than by [`sent`](Self::sent) and
    /// [`connect_failed`](Self::connect_failed).
    #[inline]
    pub fn end(&mut self, kind: OpKind, waits: u64) {
        self.hear(waits);
        debug_assert!(self.begun & bit(kind) != 0, "the end of a {kind:?} that nobody began");
        self.ended |= bit(kind);
        if kind == OpKind::Connect && self.stage == Stage::Connecting {
            self.stage = Stage::Connection;
        }
    }

    /// A send has ended.
    #[inline]
    pub fn sent(&mut self, error: Option<PortError>, waits: u64) {
        self.end(OpKind::Send, waits);
        let cancelled = error.is_some_and(|error| error.kind == ErrorKind::Cancelled);
        if cancelled && self.stage == Stage::Connection {
            self.stage = Stage::Spent;
        }
    }

    /// The attempt to connect has failed.
    pub fn connect_failed(&mut self, waits: u64) {
        self.end(OpKind::Connect, waits);
        if self.stage == Stage::Connection {
            self.stage = Stage::Spent;
        }
    }

    /// A detach has failed: the socket stays.
    pub fn stay(&mut self) {
        debug_assert!(self.stage == Stage::Leaving, "nobody asked it to leave");
        self.stage = Stage::Connection;
    }
}

#[inline]
fn check_send(data: &SendData, mode: SendMode) {
    match data {
        SendData::One(Segment::Block(block)) if (1..=SEND_BYTES_MAX).contains(&block.len()) => {}
        data => check_any_send(data, mode),
    }
}

#[inline(never)]
fn check_any_send(data: &SendData, mode: SendMode) {
    let bytes = data.byte_count();
    let most = if data.file().is_some() { FILE_BYTES_MAX } else { SEND_BYTES_MAX };
    assert!(bytes > 0, "a Send of nothing");
    assert!(bytes <= most, "a Send of {bytes} bytes, at most {most} go");
    let segments = data.segments();
    assert!(segments.len() <= SEGMENTS_MAX, "a Send of {} segments", segments.len());
    if mode == SendMode::Whole {
        let leased = segments.iter().any(|segment| matches!(segment, Segment::Leased(_)));
        assert!(!leased, "a Send that may wait for ever, of a lease");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::catch_unwind;

    #[test]
    fn of_an_attempt_that_failed_nothing_is_asked_but_its_end() {
        let mut failed = InFlight::connecting();
        failed.connect_failed(0);
        let ops = || [Op::Recv { credit: 1 }, Op::Watch { half: true }, Op::Shutdown, Op::Detach];
        for at in 0..ops().len() {
            let mut failed = failed;
            let begun = catch_unwind(move || failed.begin(&ops()[at], 1));
            assert!(begun.is_err(), "{:?}", ops()[at]);
        }
        failed.begin(&Op::Close, 1);
    }

    #[test]
    fn an_op_is_over_when_the_wait_with_its_end_has_returned() {
        let mut ops = InFlight::connection();
        ops.begin(&Op::Recv { credit: 1 }, 5);
        ops.end(OpKind::Recv, 5); // at once
        let second = catch_unwind(move || ops.begin(&Op::Recv { credit: 1 }, 5));
        assert!(second.is_err(), "its owner has not heard of it");
        ops.begin(&Op::Recv { credit: 1 }, 6);
    }
}
