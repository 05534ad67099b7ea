//! One outgoing connection: attempts, their time, and when to try again.

use crate::DisconnectReason;
use crate::connector::{Attempt, ConnectError, Panicked, Plan, Reconnect, Retry, Target};
use longshore_base::Token;
use longshore_port::Addr;
use std::time::Duration;

/// One outgoing connection: from the first attempt until it is given up.
pub(crate) struct Dial {
    pub(crate) plan: Plan,
    pub(crate) lane: Token,
    /// The connection of the attempt at hand, or that stands.
    pub(crate) conn: Option<Token>,
    /// Addresses of the name that are yet to be tried, last first.
    pub(crate) addrs: Vec<Addr>,
    /// Failed rounds since the last success.
    pub(crate) failures: u32,
    /// Connections in a row that stood for a moment only: they wait like failures.
    pub(crate) short_lived: u32,
    /// Why the attempt at hand failed, until its socket is closed.
    pub(crate) failed: Option<ConnectError>,
    pub(crate) timed_out: bool,
    /// Nobody wants it any more.
    pub(crate) given_up: bool,
}

/// What to do after a failure or an end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Then {
    /// At once, with the next address of the name.
    NextAddr(Addr),
    /// After this long, not counting jitter.
    Wait { most: Duration, jitter: bool },
    /// Never.
    GiveUp,
    /// Never: whom we asked panicked.
    Panicked,
}

impl Dial {
    pub(crate) fn new(plan: Plan, lane: Token) -> Self {
        Self {
            plan,
            lane,
            conn: None,
            addrs: Vec::new(),
            failures: 0,
            short_lived: 0,
            failed: None,
            timed_out: false,
            given_up: false,
        }
    }

    /// An attempt failed.
    pub(crate) fn after_failure(&mut self, error: &ConnectError) -> Then {
        if let Some(addr) = self.addrs.pop() {
            return Then::NextAddr(addr);
        }
        self.failures = self.failures.saturating_add(1);
        let attempt = Attempt { number: self.failures };
        match self.plan.ask(error, attempt) {
            Some(Ok(Retry::GiveUp)) => Then::GiveUp,
            Some(Ok(Retry::After(most))) => Then::Wait { most, jitter: false },
            Some(Err(Panicked)) => Then::Panicked,
            None => self.back_off(),
        }
    }

    /// A connection that stood has ended; it was `useful` if it brought messages, or lasted.
    pub(crate) fn after_end(&mut self, reason: &DisconnectReason, useful: bool) -> Then {
        self.short_lived = if useful { 0 } else { self.short_lived.saturating_add(1) };
        let ours = matches!(
            reason,
            DisconnectReason::Local
                | DisconnectReason::Said(_)
                | DisconnectReason::Aborted
                | DisconnectReason::Shutdown
        );
        if ours { Then::GiveUp } else { self.back_off() }
    }

    /// How long a connection has to stand that brings no message, to be none of a peer that is full.
    pub(crate) fn lasting(&self) -> Duration {
        match self.plan.reconnect {
            Reconnect::Never => Duration::ZERO,
            Reconnect::Backoff { max, .. } => max,
        }
    }

    fn back_off(&self) -> Then {
        match self.plan.reconnect {
            Reconnect::Never => Then::GiveUp,
            Reconnect::Backoff { min, max } => {
                let in_a_row = self.failures.saturating_add(self.short_lived);
                let doubled = min.saturating_mul(1 << in_a_row.saturating_sub(1).min(20));
                Then::Wait { most: doubled.min(max), jitter: true }
            }
        }
    }

    /// Text for the log.
    pub(crate) fn target(&self) -> &Target {
        &self.plan.target
    }
}
