//! Who receives when, how much, and what a wait then returns: the same for each driver that learns
//! from the system that something is there, and takes it itself.
//!
//! - A socket receives at most [`TURN_BYTES`] a wait, so that none keeps the others waiting; then it
//!   is at the end of the line.
//! - A socket that finds no lease stands in a line of its own, served before all others (R9).
//! - A receive never takes more than its credit.

use crate::driver::clock::Clock;
use crate::{
    Call, Completion, End, InFlight, OpKind, PortError, RecvBuf, RecvPool, Until, Waited, What,
};
use longshore_base::{Time, Token};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::time::Duration;

/// Most bytes of one socket in one wait: one such helping is more than one fair share of a
/// cache, and small enough that a flooding peer costs the others microseconds.
pub(super) const TURN_BYTES: usize = 64 * 1024;

/// Bytes of all sockets together from which on one wait receives no more: what is answered at once
/// is sent while it still lies in the nearest cache, and in memory that is used again and again.
const WAIT_BYTES: usize = 128 * 1024;

/// What one receive came to.
#[derive(Debug)]
pub(super) enum Received {
    Bytes(RecvBuf),
    /// Nothing more is there for now.
    Nothing,
    Eof,
    /// The pool has no room.
    NoLease,
    Failed(PortError),
}

/// Receives once into the pool, at most `most` bytes. Says as well whether there may be more: not
/// if there was less than room for it.
#[inline]
pub(super) fn receive_once(
    pool: &Rc<RecvPool>,
    most: usize,
    read: impl FnOnce(&mut [u8]) -> io::Result<usize>,
) -> (Received, bool) {
    let mut asked = 0;
    let filled = pool.fill(most, |room| {
        asked = room.len();
        read(room)
    });
    match filled {
        Ok(Some(lease)) => {
            let more = lease.len() == asked;
            (Received::Bytes(lease), more)
        }
        Ok(None) if asked == 0 => (Received::NoLease, true),
        Ok(None) => (Received::Eof, true),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => (Received::Nothing, false),
        Err(error) => (Received::Failed(PortError::from_io(Call::Recv, &error)), true),
    }
}

/// A socket that receives.
pub(super) trait Receiver {
    /// What its owner calls it.
    fn owner(&self) -> Token;

    /// What its owner has asked for and got no answer to.
    fn ops(&mut self) -> &mut InFlight;

    /// What the receive in flight may still take.
    fn credit(&mut self) -> &mut u32;

    /// Whether there is both a receive and a chance that something is there.
    fn can_go_on(&self) -> bool;

    /// Receives once, at most `most` bytes.
    fn receive(&mut self, pool: &Rc<RecvPool>, most: usize) -> Received;

    /// It stands in one of the lines, or does so no more.
    fn set_queued(&mut self, queued: bool);
}

/// The lines of a port, and its answers.
#[derive(Debug)]
pub(super) struct Turns {
    pool: Rc<RecvPool>,
    /// What the next wait returns, in order.
    answers: Vec<Completion>,
    /// Some answer must not wait for anything else to happen.
    urgent: bool,
    /// Sockets that can go on.
    ready: VecDeque<Token>,
    /// Sockets that could go on if there was a lease; first come, first served.
    pub(super) starved: VecDeque<Token>,
    /// Waits that have returned.
    waits: u64,
    completions_max: usize,
    /// Bytes received in this wait.
    received: usize,
}

/// Who is still to go on in this wait.
#[derive(Debug)]
pub(super) struct Round {
    starved: usize,
    ready: usize,
}

impl Turns {
    pub(super) fn new(pool: Rc<RecvPool>, completions_max: usize) -> Self {
        Self {
            pool,
            answers: Vec::new(),
            urgent: false,
            ready: VecDeque::new(),
            starved: VecDeque::new(),
            waits: 0,
            completions_max,
            received: 0,
        }
    }

    pub(super) fn leases(&self) -> usize {
        self.pool.leases()
    }

    pub(super) fn waits(&self) -> u64 {
        self.waits
    }

    /// What the next wait returns; none is so quiet that it may sleep over it.
    pub(super) fn answer(&mut self, token: Token, what: What) {
        self.answers.push(Completion { token, what });
        self.urgent = true;
    }

    /// The same of what nobody may wait for: until there are so many of them that there would be no
    /// room for what the port wakes for.
    #[inline]
    pub(super) fn answer_some_time(&mut self, token: Token, what: What, soon: bool) {
        self.answers.push(Completion { token, what });
        self.urgent |= soon || self.answers.len() >= self.completions_max;
    }

    /// Whether a wait has something to return, or to do, at once.
    pub(super) fn is_urgent(&self) -> bool {
        self.urgent
    }

    /// How long the system may sleep.
    pub(super) fn timeout(&self, until: Until, clock: Clock) -> Option<Duration> {
        let fed = !self.starved.is_empty() && self.pool.room() > 0;
        if self.urgent || fed || !self.ready.is_empty() {
            return Some(Duration::ZERO);
        }
        match until {
            Until::Now => Some(Duration::ZERO),
            Until::Woken => None,
            Until::Time(time) => Some(time.since(clock.now())),
        }
    }

    /// Puts a socket that can go on at the end of the line. It was not in it.
    #[inline]
    pub(super) fn line_up(&mut self, id: Token) {
        self.ready.push_back(id);
    }

    /// Begins to let every socket that can go on do so once, those first that starved before.
    #[inline]
    pub(super) fn begin(&mut self) -> Round {
        self.received = 0;
        Round { starved: self.starved.len(), ready: self.ready.len() }
    }

    /// The next one, unless this wait has brought as much as one may.
    #[inline]
    pub(super) fn next(&mut self, round: &mut Round) -> Option<Token> {
        if self.answers.len() >= self.completions_max || self.received >= WAIT_BYTES {
            return None;
        }
        if round.starved > 0 {
            if self.pool.room() > 0 {
                round.starved -= 1;
                return self.starved.pop_front();
            }
            round.starved = 0;
        }
        round.ready = round.ready.checked_sub(1)?;
        self.ready.pop_front()
    }

    /// Whether there is room for another answer.
    pub(super) fn has_room(&self) -> bool {
        self.answers.len() < self.completions_max
    }

    /// Receives what one socket may in one wait.
    #[inline]
    pub(super) fn receive(&mut self, id: Token, socket: &mut impl Receiver) {
        let mut left = TURN_BYTES;
        while left > 0 && socket.can_go_on() && self.has_room() {
            let most = left.min(*socket.credit() as usize);
            let what = match socket.receive(&self.pool, most) {
                Received::Bytes(lease) => {
                    left -= lease.len();
                    self.received += lease.len();
                    *socket.credit() -= u32::try_from(lease.len()).expect("no more than was asked");
                    What::Received(lease)
                }
                Received::Nothing => return,
                Received::NoLease => {
                    socket.set_queued(true);
                    self.starved.push_back(id);
                    return;
                }
                Received::Eof => {
                    *socket.credit() = 0;
                    What::RecvEnded(End::Eof)
                }
                Received::Failed(error) => {
                    *socket.credit() = 0;
                    What::RecvEnded(End::Failed(error))
                }
            };
            let over = *socket.credit() == 0;
            let used_up = over && matches!(what, What::Received(_));
            let token = socket.owner();
            self.answer(token, what);
            if used_up {
                self.answer(token, What::RecvEnded(End::Credit));
            }
            if over {
                socket.ops().end(OpKind::Recv, self.waits);
            }
        }
    }

    /// Ends the receive of a socket, if one is in flight.
    pub(super) fn end_receive(&mut self, socket: &mut impl Receiver, end: End) {
        if std::mem::take(socket.credit()) > 0 {
            socket.ops().end(OpKind::Recv, self.waits);
            self.answer(socket.owner(), What::RecvEnded(end));
        }
    }

    /// What the wait returns, at most as much as one may. `more` is whether the driver knows of more
    /// that lies ready.
    #[inline]
    pub(super) fn hand_out(&mut self, now: Time, more: bool, out: &mut Vec<Completion>) -> Waited {
        if out.is_empty() && self.answers.len() <= self.completions_max {
            std::mem::swap(out, &mut self.answers); // the two vectors take turns
        } else {
            let count = self.answers.len().min(self.completions_max);
            out.extend(self.answers.drain(..count));
        }
        self.urgent = !self.answers.is_empty();
        self.waits += 1;
        // What is returned may hold the leases that others wait for. Who starves though nothing is
        // returned waits for what the owner keeps: that input is out of reach, not behind this.
        let starving = !self.starved.is_empty() && !out.is_empty();
        let more = more || self.urgent || starving || !self.ready.is_empty();
        Waited { now, drained: !more }
    }
}
