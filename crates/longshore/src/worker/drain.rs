//! How a worker stops.

use super::core::Alarm;
use super::core::ending::How;
use super::lane::Callback;
use super::{Drain, Worker};
use crate::DisconnectReason;
use longshore_base::event;
use longshore_port::Port;
use std::time::Duration;

/// Turns after which the handlers are told of a shutdown though input is left: a peer that never
/// stops sending must not keep it from the others.
const ASKED_TURNS_MAX: u32 = 256;

impl<P: Port> Worker<P> {
    pub(super) fn shutdown(&mut self, within: Duration) {
        let until = self.core.now + within;
        if self.drain == Drain::No {
            self.drain = Drain::Asked { turn: self.turn };
            self.door.shut(&mut self.port);
        }
        if until < self.drained {
            self.drained = until; // a later, shorter one counts too
            self.core.set_alarm(until, Alarm::Drained);
        }
    }

    /// Tells the handlers, once all input that came before is handled.
    pub(super) fn tell_shutdown(&mut self) {
        let Drain::Asked { turn } = self.drain else { return };
        if self.turn == turn {
            return; // input that came before may have come since this turn looked for it (R82)
        }
        if self.is_runnable() && self.turn.wrapping_sub(turn) < ASKED_TURNS_MAX {
            return;
        }
        self.drain = Drain::Told;
        self.give_up_dials();
        for token in self.core.conns.tokens() {
            self.call(token, Callback::Shutdown);
        }
    }

    /// The time of a shutdown is up.
    pub(super) fn abort_all(&mut self) {
        self.drain = Drain::Told;
        let mut count = 0;
        self.give_up_dials();
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
