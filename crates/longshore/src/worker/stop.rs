//! How a worker stops.

use super::Worker;
use super::core::Alarm;
use super::core::ending::How;
use super::drain::{Asked, Drain, Left, Waiting};
use super::lane::Callback;
use crate::DisconnectReason;
use longshore_base::{Time, Token, event};
use longshore_port::Port;
use std::time::Duration;

/// The part of a shutdown's time after which all are told, whatever is left of their input: the
/// rest is for what they have to say.
const ASKED_PART: u32 = 4;

impl<P: Port> Worker<P> {
    pub(super) fn shutdown(&mut self, within: Duration) {
        let now = self.core.now;
        let (told, until) = (now + within / ASKED_PART, now + within);
        if !self.drain.is_on() {
            self.door.shut(&mut self.port);
            self.give_up_dials();
            let waiting = self.core.conns.iter().map(|(token, conn)| Waiting::new(token, conn));
            let (turn, waiting) = (self.turn, waiting.collect());
            self.drain = Drain::Asked(Asked { turn, until: Time::NEVER, waiting, again: true });
        }
        // A later, shorter one counts too.
        if until < self.drained {
            self.drained = until;
            self.core.set_alarm(until, Alarm::Drained);
        }
        if let Drain::Asked(asked) = &mut self.drain {
            if told < asked.until {
                asked.until = told;
                self.core.set_alarm(told, Alarm::Asked);
            }
        }
    }

    /// A connection that stands since a shutdown was asked for is to be told as well.
    pub(super) fn tell_too(&mut self, token: Token) {
        let conn = self.core.conns.get(token);
        if let (Drain::Asked(asked), Some(conn)) = (&mut self.drain, conn) {
            asked.waiting.push(Waiting::new(token, conn));
        }
    }

    /// Tells the handlers, each once all input of its connection that came before is handled (R82).
    pub(super) fn tell_shutdown(&mut self, drained: bool) {
        let Drain::Asked(asked) = &mut self.drain else { return };
        if asked.turn == self.turn {
            return;
        }
        let is_late = self.core.now >= asked.until;
        let mut waiting = std::mem::take(&mut asked.waiting);
        let mut again = false;
        waiting.retain_mut(|waiting| {
            let left = waiting.look(self.core.conns.get(waiting.token), drained);
            let tells = is_late || left == Left::Nothing;
            if tells {
                self.call(waiting.token, Callback::Shutdown);
            }
            again |= left == Left::Perhaps;
            !tells
        });
        let Drain::Asked(asked) = &mut self.drain else { return };
        asked.again = again;
        asked.waiting.append(&mut waiting);
        if asked.waiting.is_empty() {
            self.drain = Drain::Told;
        }
    }

    /// The time of a shutdown is up.
    pub(super) fn abort_all(&mut self) {
        self.drain = Drain::Told;
        let mut count = 0;
        for token in self.core.conns.tokens() {
            if self.core.conns.get(token).is_some_and(|conn| !conn.is_leaving()) {
                count += 1;
                self.core.end(token, DisconnectReason::Shutdown, How::Reset);
            }
        }
        if count > 0 {
            self.core.counters().shutdown_aborted.add(count);
            event!(warn, "time to stop is up (drain_within): {count} connections aborted");
        }
    }
}
