//! How outgoing connections are asked for.

use crate::config::Role;
use crate::conn::LaneShared;
use crate::metrics::LaneCounters;
use crate::server::mailbox::{Cmd, DialStart};
use crate::server::switchboard::Switchboard;
use crate::worker::lane::{AnyLane, Factory, Lane};
use crate::{Connector, Ctx, Handler, Peer, Reject, Result, Server};
use longshore_base::Foreign;
use std::any::Any;
use std::sync::Arc;

type MakeLane = Foreign<Box<dyn FnOnce(Arc<Switchboard>) -> Box<dyn AnyLane> + Send>>;

/// An outgoing connection whose handlers `factory` makes.
fn start<H, F>(connector: Connector<H::Codec>, factory: F) -> Box<DialStart>
where
    H: Handler,
    F: FnMut(&Peer<'_>) -> Result<H, Reject> + Send + 'static,
{
    let Connector { codec, mut plan, filter } = connector;
    // Who connects out may well be the one who speaks first.
    let limits = Arc::new(std::mem::take(&mut plan.limits).settled(Role::CALLS, &codec));
    let factory: Factory<H> = Foreign::new(Box::new(factory));
    let codec = Foreign::new(codec);
    let make: MakeLane = Foreign::new(Box::new(move |board| {
        let counters = Arc::new(LaneCounters::default());
        let shared = Arc::new(LaneShared { codec, limits, board, counters });
        Box::new(Lane::of_connector(shared, factory, filter)) as Box<dyn AnyLane>
    }));
    Box::new(DialStart { plan, lane: Box::new(make) })
}

/// Its lane.
pub(super) fn make_lane(lane: Box<dyn Any + Send>, board: Arc<Switchboard>) -> Box<dyn AnyLane> {
    let make = lane.downcast::<MakeLane>().expect("made by `start`");
    make.into_inner()(board)
}

impl Server {
    /// Connects to another server, on the least loaded worker. `factory` makes the handler when
    /// the connection stands, again after each reconnect.
    ///
    /// # Errors
    /// When the connector's settings cannot work. That it cannot connect is told to
    /// [`Connector::on_failure`].
    pub fn connect<H, F>(&self, connector: Connector<H::Codec>, factory: F) -> Result
    where
        H: Handler,
        F: FnMut(&Peer<'_>) -> Result<H, Reject> + Send + 'static,
    {
        connector.check()?;
        self.0.board.push(self.0.board.assign(), Cmd::Dial(start(connector, factory)));
        Ok(())
    }
}

impl<H: Handler> Ctx<'_, H> {
    /// Connects to another server, on this worker. `factory` makes the handler of the connection
    /// when it stands, again after each reconnect.
    ///
    /// # Errors
    /// When the connector's settings cannot work. That it cannot connect is told to
    /// [`Connector::on_failure`].
    pub fn connect<G, F>(&mut self, connector: Connector<G::Codec>, factory: F) -> Result
    where
        G: Handler,
        F: FnMut(&Peer<'_>) -> Result<G, Reject> + Send + 'static,
    {
        connector.check()?;
        self.core.dials.push_back(start(connector, factory));
        Ok(())
    }
}
