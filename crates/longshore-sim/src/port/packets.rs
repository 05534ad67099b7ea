//! Completions that are on their way: what they tell of is over, and nobody has heard of it.

use longshore_base::{Segment, Time, Token};
use longshore_port::{Completion, End, What};
use std::collections::VecDeque;

/// What is on its way to one port, in the order in which it comes.
#[derive(Debug, Default)]
pub(super) struct Packets(VecDeque<(Time, Token, Completion)>);

/// Whether it may be on its way for a while. What holds a lease may not: a worker that sleeps has
/// none out, and that is checked.
pub(super) fn may_be_late(what: &What) -> bool {
    match what {
        What::Received(_) => false,
        // What has come is told with it.
        What::RecvEnded(end) => *end == End::Cancelled,
        What::Sent { data, .. } => {
            !data.segments().iter().any(|it| matches!(it, Segment::Leased(_)))
        }
        _ => true,
    }
}

impl Packets {
    /// Whether there is one of that socket, which has to come first.
    pub(super) fn has(&self, socket: Token) -> bool {
        self.0.iter().any(|(_, other, _)| *other == socket)
    }

    /// Sends one off, to come at `at` or behind those before it. Says when it will come.
    pub(super) fn send(&mut self, at: Time, socket: Token, completion: Completion) -> Time {
        let at = self.0.back().map_or(at, |(last, ..)| at.max(*last));
        self.0.push_back((at, socket, completion));
        at
    }

    /// Takes the next one that has come by `now`.
    pub(super) fn take(&mut self, now: Time) -> Option<(Token, Completion)> {
        self.0.front().filter(|(at, ..)| *at <= now)?;
        self.0.pop_front().map(|(_, socket, completion)| (socket, completion))
    }
}
