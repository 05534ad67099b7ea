//! Run handlers on a simulated network, in one thread, from one seed.
//!
//! The engine, workers and handlers are the real ones; only the port is simulated. Windows,
//! latencies and where a stream is cut are the seed's choice, so a handler meets in a second of
//! test what takes months in the field, and the same seed shows it again.
//!
//! ```
//! use longshore::testing::Net;
//! use longshore::{Ctx, Handler, Lines, Result};
//! use std::time::Duration;
//!
//! struct Shout;
//! impl Handler for Shout {
//!     type Codec = Lines;
//!     fn on_message(&mut self, cx: &mut Ctx<'_, Self>, line: &str) -> Result {
//!         cx.send(&line.to_uppercase())
//!     }
//! }
//!
//! let mut net = Net::seed(7);
//! let addr = net.serve(Lines::max(100), |_| Ok(Shout));
//! let mut peer = net.connect(addr, Lines::max(100));
//! peer.send("hello");
//! net.run_for(Duration::from_secs(1));
//! assert_eq!(peer.received(), ["HELLO"]);
//! ```

mod pieces;

use crate::builder::Builder;
use crate::engine::Prepared;
use crate::worker::Worker;
use crate::{Codec, Decoded, Handler, Listener, Peer as Who, Reject, Result, Server};
use longshore_base::Time;
use longshore_port::World;
use longshore_sim::{SimClient, SimPort, SimWorld};
pub use longshore_sim::{SimDisk, SimFile, Trouble};
pub use pieces::{InPieces, in_pieces};
use std::cell::RefCell;
use std::fmt;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::time::Duration;

/// A simulated network with servers and peers, all driven by this value.
pub struct Net {
    world: SimWorld,
    /// Workers in the order of their ports; `None` once they are done.
    workers: Vec<Option<Worker<SimPort>>>,
    peers: Vec<Weak<RefCell<Wire>>>,
    next_port: u16,
}

impl fmt::Debug for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Net").field("now", &self.now()).finish_non_exhaustive()
    }
}

impl Net {
    /// The network of that seed.
    pub fn seed(seed: u64) -> Self {
        Self { world: SimWorld::new(seed), workers: Vec::new(), peers: Vec::new(), next_port: 7411 }
    }

    /// The world beneath, for names, descriptor limits, trouble and its trace.
    pub fn world(&self) -> &SimWorld {
        &self.world
    }

    /// The virtual time.
    pub fn now(&self) -> Time {
        self.world.now()
    }

    /// A free address to listen on.
    pub fn addr(&mut self) -> SocketAddr {
        self.next_port += 1;
        SocketAddr::from(([10, 0, 0, 1], self.next_port))
    }

    /// Serves with one listener, default limits and two workers.
    ///
    /// # Panics
    /// When the codec's settings cannot work.
    pub fn serve<C, H, F>(&mut self, codec: C, factory: F) -> SocketAddr
    where
        C: Codec,
        H: Handler<Codec = C>,
        F: Fn(&Who<'_>) -> Result<H, Reject> + Send + Sync + 'static,
    {
        let addr = self.addr();
        let builder = Server::builder().listen(Listener::addr(addr, codec), factory).workers(2);
        self.start(builder).expect("settings that work");
        addr
    }

    /// Starts a server that was set up in full. Give its listeners addresses of
    /// [`addr`](Self::addr).
    ///
    /// # Errors
    /// As [`Builder::start`].
    pub fn start(&mut self, builder: Builder) -> Result<Server> {
        builder.check()?;
        // Ports of a server that did not start have had their numbers.
        self.workers.resize_with(self.world.ports(), || None);
        let (server, workers) = Prepared::new(self.world.clone(), builder.setup)?.workers()?;
        self.workers.extend(workers.into_iter().map(Some));
        debug_assert_eq!(self.workers.len(), self.world.ports(), "each port has its worker");
        Ok(server)
    }

    /// A peer that connects to `addr` and speaks `codec`.
    pub fn connect<C: Codec>(&mut self, addr: SocketAddr, codec: C) -> Peer<C> {
        let wire = Wire {
            client: self.world.client(addr),
            unsent: Vec::new(),
            input: Vec::new(),
            finishing: false,
            reads: true,
        };
        let wire = Rc::new(RefCell::new(wire));
        self.peers.push(Rc::downgrade(&wire));
        Peer { wire, codec, decoder: C::Decoder::default() }
    }

    /// Runs everything for `span` of virtual time.
    pub fn run_for(&mut self, span: Duration) {
        let end = self.now() + span;
        self.run(end, |_| false);
    }

    /// Runs until `done` says so, at most for `within` of virtual time. Says whether it did.
    pub fn run_until(&mut self, within: Duration, done: impl FnMut(&mut Self) -> bool) -> bool {
        let end = self.now() + within;
        self.run(end, done)
    }

    /// Workers that are not done.
    pub fn running_workers(&self) -> usize {
        self.workers.iter().flatten().count()
    }

    fn run(&mut self, end: Time, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        loop {
            self.pump_peers();
            if done(self) {
                return true;
            }
            let due: Vec<usize> = (0..self.workers.len()).filter(|&at| self.is_due(at)).collect();
            if due.is_empty() {
                if !self.world.advance_until(end) && self.now() >= end {
                    self.pump_peers();
                    return done(self);
                }
                continue;
            }
            let at = due[self.world.pick(due.len())];
            self.turn(at);
        }
    }

    fn is_due(&self, at: usize) -> bool {
        let worker = self.workers[at].as_ref();
        worker.is_some_and(|worker| worker.has_work() || self.world.is_due(at))
    }

    fn turn(&mut self, at: usize) {
        let Some(worker) = &mut self.workers[at] else { return };
        let more = worker.turn(true).expect("a simulated port does not die");
        if !worker.has_work() && !self.world.is_due(at) {
            assert_eq!(worker.leases(), 0, "worker {at} sleeps with leases out");
        }
        if !more {
            self.workers[at] = None;
        }
    }

    fn pump_peers(&mut self) {
        self.peers.retain(|peer| peer.strong_count() > 0);
        for peer in self.peers.iter().filter_map(Weak::upgrade) {
            peer.borrow_mut().pump();
        }
    }
}

/// A peer's side of the wire.
#[derive(Debug)]
struct Wire {
    client: SimClient,
    unsent: Vec<u8>,
    input: Vec<u8>,
    finishing: bool,
    reads: bool,
}

impl Wire {
    fn pump(&mut self) {
        if !self.unsent.is_empty() {
            let count = self.client.write(&self.unsent);
            self.unsent.drain(..count);
        }
        if self.unsent.is_empty() && std::mem::take(&mut self.finishing) {
            self.client.finish();
        }
        if self.reads {
            self.input.extend(self.client.read(usize::MAX >> 1));
        }
    }
}

/// A peer of a simulated server. Dropping it closes its connection.
#[derive(Debug)]
pub struct Peer<C: Codec> {
    wire: Rc<RefCell<Wire>>,
    codec: C,
    decoder: C::Decoder,
}

impl<C: Codec> Peer<C> {
    /// Sends an item, as fast as the wire takes it while the net runs.
    ///
    /// # Panics
    /// When the codec cannot make a frame of it.
    pub fn send(&mut self, item: C::Item<'_>) {
        let bytes = self.codec.to_bytes(item).expect("an item that makes a frame");
        self.send_bytes(&bytes);
    }

    /// Sends bytes as they are: half a frame, nonsense.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.wire.borrow_mut().unsent.extend_from_slice(bytes);
    }

    /// Ends its stream, behind what it has sent.
    pub fn finish(&mut self) {
        self.wire.borrow_mut().finishing = true;
    }

    /// Resets the connection.
    pub fn reset(&mut self) {
        self.wire.borrow_mut().client.reset();
    }

    /// Its machine goes off: nothing is heard of it any more, not even that. The server finds out
    /// when its probes stay unanswered.
    pub fn vanish(&mut self) {
        self.wire.borrow().client.vanish();
    }

    /// Stops or starts reading from the wire: a slow reader.
    pub fn set_reading(&mut self, yes: bool) {
        self.wire.borrow_mut().reads = yes;
    }

    /// Whether the server has ended the stream or reset the connection, and all was read.
    pub fn is_closed(&self) -> bool {
        self.wire.borrow().client.is_closed()
    }

    /// Whether the connection was reset or refused.
    pub fn is_reset(&self) -> bool {
        self.wire.borrow().client.is_reset()
    }

    /// How the server sees it.
    pub fn local_addr(&self) -> SocketAddr {
        self.wire.borrow().client.local_addr()
    }

    /// Bytes that came and were not taken yet, as they came.
    pub fn received_bytes(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.wire.borrow_mut().input)
    }

    /// Hands each frame that came since the last call to `look`.
    ///
    /// # Panics
    /// When what came is no frame.
    pub fn received_with<T>(&mut self, mut look: impl FnMut(C::Frame<'_>) -> T) -> Vec<T> {
        let mut wire = self.wire.borrow_mut();
        let (mut frames, mut at) = (Vec::new(), 0);
        while at < wire.input.len() {
            let found = self.codec.decode(&mut self.decoder, &wire.input[at..]);
            match found.expect("the server sends frames") {
                Decoded::Frame { frame, used } => {
                    frames.push(look(frame));
                    at += used;
                }
                Decoded::Skip { used } | Decoded::File { used } | Decoded::Reply { used, .. } => {
                    at += used;
                }
                Decoded::More { .. } => break,
            }
        }
        wire.input.drain(..at);
        frames
    }

    /// The frames that came since the last call, of a codec whose frames are plain references:
    /// `Vec<u8>` for bytes, `String` for text.
    ///
    /// # Panics
    /// When what came is no frame.
    pub fn received<T>(&mut self) -> Vec<T::Owned>
    where
        T: ToOwned + ?Sized + 'static,
        C: for<'a> Codec<Frame<'a> = &'a T>,
    {
        self.received_with(|frame: &T| frame.to_owned())
    }
}
