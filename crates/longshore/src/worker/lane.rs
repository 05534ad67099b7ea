//! The typed half: the handlers of one listener's connections, behind one virtual call a
//! completion.

use super::connection::Torn;
use super::core::Core;
use crate::config::{Limits, MakeFilter};
use crate::conn::{LaneShared, Posted};
use crate::handler::{Handler, Peer, Reject, Timer};
use crate::server::members::Members;
use crate::{Closed, Ctx, DisconnectReason, Error, FileEvent, Result};
use longshore_base::{BlockPool, Foreign, Slab, Token, caught, panic_text};
use longshore_port::RecvBuf;
#[cfg(feature = "files")]
use longshore_proto::Codec;
use longshore_proto::RecvHalf;
use longshore_proto::connection::{CutEnd, Event, Filter, Next, Place};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};

/// Makes handler values. `Fn` for a listener, whose lanes on all workers share it.
pub(crate) type Factory<H> = Foreign<Box<dyn FnMut(&Peer<'_>) -> Result<H, Reject> + Send>>;

/// One connection's typed part.
struct Seat<H: Handler> {
    handler: H,
    recv: RecvHalf<H::Codec>,
}

pub(crate) struct Lane<H: Handler> {
    shared: Arc<LaneShared<H>>,
    factory: Factory<H>,
    filter: Option<MakeFilter>,
    /// Which all its connections join.
    group: Option<Arc<Members>>,
    seats: Slab<Seat<H>>,
    /// Memory of torn frames.
    torn: BlockPool,
}

/// Free blocks for torn frames that a lane keeps.
const TORN_KEPT_MAX: usize = 64;

impl<H: Handler> Lane<H> {
    /// For the many connections of a listener.
    pub(crate) fn of_listener(
        shared: Arc<LaneShared<H>>,
        factory: Factory<H>,
        filter: Option<MakeFilter>,
        group: Option<Arc<Members>>,
    ) -> Self {
        let torn = BlockPool::new(TORN_KEPT_MAX);
        Self { shared, factory, filter, group, seats: Slab::new(), torn }
    }

    /// For the one connection of a connector.
    pub(crate) fn of_connector(
        shared: Arc<LaneShared<H>>,
        factory: Factory<H>,
        filter: Option<MakeFilter>,
    ) -> Self {
        let torn = BlockPool::new(1);
        Self { shared, factory, filter, group: None, seats: Slab::tiny(), torn }
    }
}

/// A callback without input.
#[derive(Debug)]
pub(crate) enum Callback {
    Connect,
    Writable,
    Idle,
    Timer(u32),
    Sent(u64),
    File(FileEvent),
    Shutdown,
    /// Of whatever type a lane's posts have.
    Post(Box<dyn Any + Send>),
}

impl Callback {
    /// Its method of [`Handler`].
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Connect => "on_connect",
            Self::Writable => "on_writable",
            Self::Idle => "on_idle",
            Self::Timer(_) => "on_timer",
            Self::Sent(_) => "on_sent",
            Self::File(_) => "on_file",
            Self::Shutdown => "on_shutdown",
            Self::Post(_) => "a post",
        }
    }
}

/// What became of bytes that a lane was given.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// How many it used. It stops at the end of a turn's share, and where the handler closes or
    /// pauses.
    pub(crate) used: usize,
    /// Frames handed to the handler.
    pub(crate) messages: u64,
    /// The frame that the bytes end within.
    pub(crate) torn: Torn,
    /// Why the connection has to end.
    pub(crate) failed: Option<DisconnectReason>,
}

/// A lane of whatever handler.
pub(crate) trait AnyLane {
    fn limits(&self) -> &Arc<Limits>;

    /// What its handlers are called in the source.
    fn handler(&self) -> &'static str;

    /// Its [`LaneShared`], for who looks up a connection by its name.
    fn shared(&self) -> Weak<dyn Any + Send + Sync>;

    /// Whether its connections send and receive files.
    #[cfg(feature = "files")]
    fn takes_files(&self) -> bool;

    /// The group that each of its connections joins.
    fn group(&self) -> Option<Arc<Members>>;

    /// Asks the factory. The seat it got, or why the connection is refused.
    fn admit(&mut self, peer: &Peer<'_>) -> Result<Token, Refusal>;

    /// The filter of a new connection, if there is one; an error is what making it panicked with.
    fn filter(&self) -> Result<Option<Box<dyn Filter>>, Refusal>;

    /// Bytes came; `lease` if they lie in one.
    fn received(
        &mut self,
        core: &mut Core,
        conn: Token,
        seat: Token,
        input: &[u8],
        lease: Option<&RecvBuf>,
        budget: &mut u32,
    ) -> Told;

    /// The stream ended. Says what is wrong with that, if anything.
    fn ended(&mut self, core: &mut Core, conn: Token, seat: Token) -> Told;

    /// Says why the connection has to end, if it has.
    fn call(
        &mut self,
        core: &mut Core,
        conn: Token,
        seat: Token,
        callback: Callback,
    ) -> Option<DisconnectReason>;

    /// The last callback. Says whether it went well.
    fn disconnected(&mut self, seat: Token, closed: &Closed<'_>) -> bool;

    /// Memory of a peak goes home.
    fn trim(&mut self);
}

/// A factory did not make a handler.
#[derive(Debug)]
pub(crate) enum Refusal {
    Rejected(Option<Box<str>>),
    Panicked(String),
}

/// How a callback that was caught makes its connection end.
fn outcome(result: Result<Result<()>, String>) -> Option<DisconnectReason> {
    match result {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(DisconnectReason::HandlerError(error)),
        Err(text) => Some(DisconnectReason::HandlerPanic(text)),
    }
}

impl<H: Handler> AnyLane for Lane<H> {
    fn limits(&self) -> &Arc<Limits> {
        &self.shared.limits
    }

    fn handler(&self) -> &'static str {
        std::any::type_name::<H>()
    }

    fn shared(&self) -> Weak<dyn Any + Send + Sync> {
        let shared: Weak<LaneShared<H>> = Arc::downgrade(&self.shared);
        shared
    }

    #[cfg(feature = "files")]
    fn takes_files(&self) -> bool {
        self.shared.codec.takes_files()
    }

    fn group(&self) -> Option<Arc<Members>> {
        self.group.clone()
    }

    fn admit(&mut self, peer: &Peer<'_>) -> Result<Token, Refusal> {
        let factory = &mut self.factory;
        match caught(|| factory(peer)) {
            Ok(Ok(handler)) => Ok(self.seats.insert(Seat { handler, recv: RecvHalf::default() })),
            Ok(Err(reject)) => Err(Refusal::Rejected(reject.why)),
            Err(text) => Err(Refusal::Panicked(text)),
        }
    }

    fn filter(&self) -> Result<Option<Box<dyn Filter>>, Refusal> {
        let Some(make) = &self.filter else { return Ok(None) };
        caught(|| make()).map(Some).map_err(Refusal::Panicked)
    }

    fn received(
        &mut self,
        core: &mut Core,
        conn: Token,
        seat: Token,
        input: &[u8],
        lease: Option<&RecvBuf>,
        budget: &mut u32,
    ) -> Told {
        let Self { shared, seats, torn, .. } = self;
        let Some(Seat { handler, recv }) = seats.get_mut(seat) else {
            return Told { used: input.len(), ..Told::default() };
        };
        let mut used = 0;
        let mut cx = Ctx { core, conn, lane: shared, lease, messages: 0 };
        let end = catch_unwind(AssertUnwindSafe(|| {
            recv.handle_input_at(&*shared.codec, input, &mut used, budget, torn, |event, place| {
                let lease = lease.filter(|_| place == Place::Input);
                tell(&mut cx, handler, event, lease)
            })
        }));
        let failed = end.map_or_else(|panic| Some(panicked(panic_text(panic))), failure);
        let torn = Torn { bytes: recv.torn_bytes(), memory: recv.memory_bytes() };
        Told { used, messages: cx.messages, torn, failed }
    }

    fn ended(&mut self, core: &mut Core, conn: Token, seat: Token) -> Told {
        let Self { shared, seats, .. } = self;
        let Some(Seat { handler, recv }) = seats.get_mut(seat) else {
            return Told::default();
        };
        let mut cx = Ctx { core, conn, lane: shared, lease: None, messages: 0 };
        let end = caught(|| {
            recv.handle_end(&*shared.codec, |event, _| tell(&mut cx, handler, event, None))
        });
        let failed = end.map_or_else(|text| Some(panicked(text)), failure);
        Told { messages: cx.messages, failed, ..Told::default() }
    }

    fn call(
        &mut self,
        core: &mut Core,
        conn: Token,
        seat: Token,
        callback: Callback,
    ) -> Option<DisconnectReason> {
        let Seat { handler, .. } = self.seats.get_mut(seat)?;
        let mut cx = Ctx { core, conn, lane: &self.shared, lease: None, messages: 0 };
        outcome(caught(|| match callback {
            Callback::Connect => handler.on_connect(&mut cx),
            Callback::Writable => handler.on_writable(&mut cx),
            Callback::Idle => handler.on_idle(&mut cx),
            Callback::Timer(key) => handler.on_timer(&mut cx, Timer(key)),
            Callback::Sent(id) => handler.on_sent(&mut cx, id),
            Callback::File(event) => handler.on_file(&mut cx, event),
            Callback::Shutdown => handler.on_shutdown(&mut cx),
            Callback::Post(work) => {
                let work = work.downcast::<Posted<H>>().expect("posts of a lane have its type");
                work.into_inner()(handler, &mut cx)
            }
        }))
    }

    fn disconnected(&mut self, seat: Token, closed: &Closed<'_>) -> bool {
        let Some(Seat { handler, recv }) = self.seats.remove(seat) else { return true };
        caught(move || {
            handler.on_disconnect(closed);
            drop(recv); // its decoder is the user's too
        })
        .is_ok()
    }

    fn trim(&mut self) {
        self.torn.trim();
        self.seats.trim();
    }
}

/// Hands one event to the handler.
#[inline]
fn tell<'a, H: Handler>(
    cx: &mut Ctx<'a, H>,
    handler: &mut H,
    event: Event<'_, crate::Frame<'_, H>>,
    lease: Option<&'a RecvBuf>,
) -> Result<Next> {
    match event {
        Event::Frame(frame) => {
            cx.lease = lease;
            cx.messages += 1;
            handler.on_message(cx, frame)?;
        }
        Event::Reply(bytes) => cx.core.reply(cx.conn, bytes)?,
        #[cfg(feature = "files")]
        Event::File(bytes) => cx.core.file_bytes(cx.conn, bytes),
        #[cfg(not(feature = "files"))]
        Event::File(_) => {} // no listener has a codec that finds such bytes
    }
    // A close or pause that it asked for through a handle counts before the next callback.
    cx.core.catch_up();
    Ok(if cx.core.interrupted { Next::Stop } else { Next::Go })
}

fn panicked(text: String) -> DisconnectReason {
    DisconnectReason::HandlerPanic(text)
}

/// Why the connection has to end whose bytes were cut, if it has.
fn failure(end: CutEnd<Error>) -> Option<DisconnectReason> {
    match end {
        CutEnd::Empty | CutEnd::Budget | CutEnd::Stopped => None,
        CutEnd::Frame(error) => Some(DisconnectReason::from_frame(error)),
        CutEnd::Sink(error) => Some(DisconnectReason::HandlerError(error)),
    }
}
