//! Outgoing connections: attempts, their time, and when to try again.

use super::lane::{AnyLane, Factory, Lane, LaneShared};
use super::switchboard::Switchboard;
use crate::config::Role;
use crate::connector::{Attempt, ConnectError, Panicked, Plan, Reconnect, Retry, Target};
use crate::handler::{Handler, Peer, Reject};
use crate::metrics::LaneCounters;
use crate::{Connector, DisconnectReason};
use longshore_base::{Foreign, Token, event};
use longshore_port::Addr;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Rare things that are due at a time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Alarm {
    /// A listener may accept again.
    Accept(u32),
    /// An outgoing connection is tried again.
    Dial(Token),
    /// A tick of the server.
    Tick(u32),
    /// The time of a shutdown is up.
    Drained,
    /// Memory is short: somebody is held back.
    Memory,
    /// Memory of a peak goes home.
    Trim,
}

type MakeLane = Box<dyn FnOnce(Arc<Switchboard>) -> Box<dyn AnyLane> + Send>;

/// What is needed to begin an outgoing connection, on whatever worker.
pub(crate) struct DialStart {
    pub(crate) plan: Plan,
    make_lane: Foreign<MakeLane>,
}

impl DialStart {
    pub(crate) fn new<H, F>(connector: Connector<H::Codec>, factory: F) -> Self
    where
        H: Handler,
        F: FnMut(&Peer<'_>) -> Result<H, Reject> + Send + 'static,
    {
        let Connector { codec, plan, filter } = connector;
        // Who connects out may well be the one who speaks first.
        let limits = Arc::new(plan.limits.for_conns(Role::CALLS));
        let factory: Factory<H> = Foreign::new(Box::new(factory));
        let codec = Foreign::new(codec);
        let make_lane: MakeLane = Box::new(move |board| {
            let counters = Arc::new(LaneCounters::default());
            let shared = Arc::new(LaneShared { codec, limits, board, counters });
            Box::new(Lane::of_connector(shared, factory, filter)) as Box<dyn AnyLane>
        });
        Self { plan, make_lane: Foreign::new(make_lane) }
    }

    /// It will not be tried.
    pub(crate) fn refuse(mut self) {
        let error = ConnectError::GivenUp(self.plan.target.to_string());
        event!(debug, %error, "not connecting: the server is stopping");
        // Whatever the answer is, and though it panics: nobody asks again.
        let _ = self.plan.ask(&error, Attempt { number: 1 });
    }

    /// Its two parts, with the lane made.
    pub(crate) fn open(self, board: Arc<Switchboard>) -> (Plan, Box<dyn AnyLane>) {
        (self.plan, self.make_lane.into_inner()(board))
    }
}

impl fmt::Debug for DialStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DialStart").field("to", &self.plan.target).finish_non_exhaustive()
    }
}

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

    /// A connection that stood has ended.
    pub(crate) fn after_end(&mut self, reason: &DisconnectReason) -> Then {
        let ours = matches!(
            reason,
            DisconnectReason::Local
                | DisconnectReason::Said(_)
                | DisconnectReason::Aborted
                | DisconnectReason::Shutdown
        );
        if ours { Then::GiveUp } else { self.back_off() }
    }

    fn back_off(&self) -> Then {
        match self.plan.reconnect {
            Reconnect::Never => Then::GiveUp,
            Reconnect::Backoff { min, max } => {
                let doubled = min.saturating_mul(1 << (self.failures.saturating_sub(1)).min(20));
                Then::Wait { most: doubled.min(max), jitter: true }
            }
        }
    }

    /// Text for the log.
    pub(crate) fn target(&self) -> &Target {
        &self.plan.target
    }
}
