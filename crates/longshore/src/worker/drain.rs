//! How far a shutdown is, and who is not told of it yet.

use super::connection::Connection;
use longshore_base::{Time, Token};

/// Bytes of one connection after which it is told of a shutdown though more is coming: what lay in
/// its receive queue came before them. Linux gives a queue 6 MiB at most, unless it is told to.
/// Source: `tcp(7)`, `tcp_rmem`.
const INPUT_BEFORE_MAX: u64 = 8 * 1024 * 1024;

/// How far a shutdown is.
#[derive(Debug)]
pub(super) enum Drain {
    No,
    /// Asked for; each handler is told once all its input that came before is handled.
    Asked(Asked),
    /// They were told.
    Told,
}

impl Drain {
    pub(super) fn is_on(&self) -> bool {
        !matches!(self, Self::No)
    }
}

/// A shutdown was asked for, and some connections are not told yet.
#[derive(Debug)]
pub(super) struct Asked {
    /// The turn that was told so. Input that came before may have come since it looked for it.
    pub(super) turn: u32,
    /// When all are told.
    pub(super) until: Time,
    pub(super) waiting: Vec<Waiting>,
    /// Another turn may tell more, at once.
    pub(super) again: bool,
}

/// A connection that is not told yet.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) token: Token,
    /// Its bytes that had come when the shutdown was asked for, and at the last look.
    first: u64,
    lately: u64,
}

/// What is left of the input that came before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Left {
    Nothing,
    /// There may be more, which the next turn shows.
    Perhaps,
    /// It waits for something that the port tells of, or a thread.
    Waits,
}

impl Waiting {
    pub(super) fn new(token: Token, conn: &Connection) -> Self {
        Self { token, first: conn.bytes_in, lately: conn.bytes_in }
    }

    /// What is left of it, after a wait that was drained or not.
    pub(super) fn look(&mut self, conn: Option<&Connection>, drained: bool) -> Left {
        let Some(conn) = conn.filter(|conn| conn.is_open()) else {
            return Left::Nothing; // and nobody to be told
        };
        let came = conn.bytes_in;
        if came - self.first > INPUT_BEFORE_MAX {
            return Left::Nothing; // what comes now is younger
        }
        if conn.facts.paused {
            // Reads on, if at all, when its answers have found room.
            return if conn.send.is_idle() { Left::Nothing } else { Left::Waits };
        }
        if conn.facts.waits_for_room || conn.facts.held_back || conn.backlog.is_some() {
            return Left::Waits;
        }
        let more = std::mem::replace(&mut self.lately, came) != came || !drained;
        // What was not asked for cannot have come in the last wait. It is at the end of this turn, or,
        // where the system had no memory for it, at its time.
        let asked_for = conn.facts.receiving || !conn.wants_input();
        if more || !asked_for && conn.facts.dirty {
            return Left::Perhaps;
        }
        if asked_for { Left::Nothing } else { Left::Waits }
    }
}
