//! What the tests stand on: ports of one world, pumped by one thread, and a judge of completions.

use super::bench::Bench;
use crate::{
    BindTo, Completion, ConnectTo, End, Op, OpKind, Port, PortConfig, PortError, RecvBuf, Segment,
    SendData, SendMode, SocketId, SocketOptions, Unattached, Until, What, Work, World,
};
use bytes::Bytes;
use longshore_base::{SplitMix64, Time, Token};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Rounds in a row in which nothing happened, after which what is waited for will not come. Each
/// lasts a millisecond per port at most.
const QUIET_ROUNDS_MAX: u32 = 5_000;

/// Quiet rounds in a row after which a world has settled.
const SETTLED_ROUNDS: u32 = 8;

/// How long a port sleeps in a quiet round.
const QUIET_ROUND: Duration = Duration::from_millis(1);

type PortOf<B> = <<B as Bench>::World as World>::Port;

/// A socket, or work, in the rig. Stays a name when the thing is gone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Side(Token);

/// What the judge knows of one side.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each kind of op is in flight or is not")]
struct State {
    port: usize,
    id: Option<SocketId>,
    accept: bool,
    connect: bool,
    recv: bool,
    watch: bool,
    /// Bytes of the send in flight.
    send: Option<usize>,
    work: bool,
    leaving: bool,
    gone: bool,
    log: VecDeque<What>,
}

/// A send's answer.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) bytes: usize,
    pub(super) data: SendData,
    pub(super) error: Option<PortError>,
}

/// Ports of one world and everything that came out of them and was not looked at yet.
pub(super) struct Rig<'b, B: Bench> {
    pub(super) bench: &'b B,
    pub(super) world: B::World,
    ports: Vec<Option<PortOf<B>>>,
    completions_max: Vec<usize>,
    sides: BTreeMap<Side, State>,
    /// Sides that something came for since the last [`drain`](Self::drain).
    news: BTreeSet<Side>,
    pub(super) random: SplitMix64,
}

impl<'b, B: Bench> Rig<'b, B> {
    /// Two ports as they come.
    pub(super) fn new(bench: &'b B) -> Self {
        Self::with(bench, &[PortConfig::default(), PortConfig::default()])
    }

    /// A port for each of `configs`.
    pub(super) fn with(bench: &'b B, configs: &[PortConfig]) -> Self {
        let world = bench.world();
        let ports = configs.iter().map(|config| Some(world.open(config).expect("a port opens")));
        Self {
            bench,
            ports: ports.collect(),
            world,
            completions_max: configs.iter().map(|config| config.completions_max).collect(),
            sides: BTreeMap::new(),
            news: BTreeSet::new(),
            random: SplitMix64::new(0x6c6f_6e67),
        }
    }

    pub(super) fn port(&mut self, at: usize) -> &mut PortOf<B> {
        self.ports[at].as_mut().expect("this port was not dropped")
    }

    /// Drops a port with all it holds.
    pub(super) fn drop_port(&mut self, at: usize) {
        self.sides.retain(|_, state| state.port != at);
        drop(self.ports[at].take());
    }

    fn state(&mut self, side: Side) -> &mut State {
        self.sides.get_mut(&side).expect("a side of a port that is still there")
    }

    fn add(&mut self, port: usize) -> Side {
        let count = self.sides.last_key_value().map_or(0, |(last, _)| last.0.index() + 1);
        let side = Side(Token::new(count, 7));
        self.sides.insert(side, State { port, ..State::default() });
        side
    }

    /// Which port a side is of.
    pub(super) fn port_of(&mut self, side: Side) -> usize {
        self.state(side).port
    }

    /// The id of a side's socket, also when that is stale.
    pub(super) fn id(&mut self, side: Side) -> SocketId {
        self.state(side).id.expect("a socket")
    }

    /// Listens on a port of loopback that the system chooses.
    pub(super) fn listen(&mut self, at: usize, options: SocketOptions) -> (Side, SocketAddr) {
        self.listen_on(at, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), options)
    }

    /// Listens on an address of this machine.
    pub(super) fn listen_on(
        &mut self,
        at: usize,
        addr: SocketAddr,
        options: SocketOptions,
    ) -> (Side, SocketAddr) {
        let to = BindTo { addr, dual_stack: false, backlog: 1024, options };
        let listening = self.world.bind(&to).expect("an address of this machine can be bound");
        let local = listening.local.socket_addr().expect("an IP address");
        assert_ne!(local.port(), 0, "the listener says the port that the system chose");
        let side = self.add(at);
        let id = self.port(at).listen(listening, side.0).expect("a listener is taken in");
        self.state(side).id = Some(id);
        (side, local)
    }

    /// Starts to connect.
    pub(super) fn connect(&mut self, at: usize, addr: SocketAddr, options: SocketOptions) -> Side {
        let side = self.add(at);
        let to = ConnectTo { addr, from: None, options };
        let id = self.port(at).connect(&to, side.0).expect("a connect starts");
        let state = self.state(side);
        (state.id, state.connect) = (Some(id), true);
        side
    }

    /// Takes a socket in.
    pub(super) fn attach(&mut self, at: usize, socket: Unattached) -> Side {
        let side = self.add(at);
        let id = self.port(at).attach(socket, side.0).expect("a socket is taken in");
        self.state(side).id = Some(id);
        side
    }

    /// The next connection of a listener.
    pub(super) fn accepted(&mut self, listener: Side) -> Unattached {
        let what = self.next(listener, "an accepted connection", |what| {
            matches!(what, What::Accepted(_) | What::AcceptEnded(_))
        });
        let What::Accepted(socket) = what else { panic!("{what:?} instead of a connection") };
        socket
    }

    /// How a listener's accept ended; connections before that are an error.
    pub(super) fn accept_ended(&mut self, listener: Side) -> End {
        let what = self.next(listener, "the end of the accept", |what| {
            matches!(what, What::Accepted(_) | What::AcceptEnded(_))
        });
        let What::AcceptEnded(end) = what else { panic!("{what:?} instead of an end") };
        end
    }

    pub(super) fn connected(&mut self, side: Side) -> SocketAddr {
        let what = self.next(side, "a connection", |_| true);
        let What::Connected { local } = what else { panic!("{what:?} instead of Connected") };
        local.socket_addr().expect("an IP address")
    }

    /// A connection: its side on port 0, which accepted it, and that on port 1.
    pub(super) fn pair(&mut self) -> (Side, Side) {
        self.pair_with(SocketOptions::default())
    }

    /// A connection that little fits into.
    pub(super) fn narrow_pair(&mut self) -> (Side, Side) {
        self.pair_with(SocketOptions {
            send_buf_bytes: Some(16 * 1024),
            recv_buf_bytes: Some(16 * 1024),
            ..SocketOptions::default()
        })
    }

    fn pair_with(&mut self, options: SocketOptions) -> (Side, Side) {
        let (listener, addr) = self.listen(0, options);
        self.submit(listener, Op::Accept { credit: 1 });
        let out = self.connect(1, addr, options);
        self.connected(out);
        let socket = self.accepted(listener);
        assert_eq!(self.accept_ended(listener), End::Credit);
        self.submit(listener, Op::Close);
        self.closed(listener);
        (self.attach(0, socket), out)
    }

    /// Submits, and remembers what must come of it.
    pub(super) fn submit(&mut self, side: Side, op: Op) {
        let state = self.state(side);
        match &op {
            Op::Accept { .. } => state.accept = true,
            Op::Recv { .. } => state.recv = true,
            Op::Send { data, .. } => state.send = Some(data.byte_count()),
            Op::Watch { .. } => state.watch = true,
            Op::Shutdown => {}
            Op::Detach | Op::Close | Op::Abort => state.leaving = true,
        }
        let (at, id) = (state.port, state.id.expect("a socket"));
        self.port(at).submit(id, op);
    }

    pub(super) fn recv(&mut self, side: Side, credit: u32) {
        self.submit(side, Op::Recv { credit });
    }

    pub(super) fn send(&mut self, side: Side, data: SendData, mode: SendMode) {
        let prompt = self.random.below(2) == 0;
        self.submit(side, Op::Send { data, mode, prompt });
    }

    pub(super) fn cancel(&mut self, side: Side, kind: OpKind) {
        let (at, id) = (self.state(side).port, self.id(side));
        self.port(at).cancel(id, kind);
    }

    pub(super) fn start(&mut self, at: usize, work: Work) -> Side {
        let side = self.add(at);
        self.state(side).work = true;
        self.port(at).start(side.0, work);
        side
    }

    /// One `wait` of one port, judged. Says how many completions came and whether it was drained.
    pub(super) fn wait(&mut self, at: usize, until: Until) -> (usize, bool) {
        let most = self.completions_max[at];
        let port = self.port(at);
        let before = port.now();
        let mut out = Vec::new();
        let waited = port.wait(until, &mut out).expect("the port lives");
        assert!(waited.now >= before, "time went back");
        assert_eq!(port.now(), waited.now, "`now` is that of the last wait");
        assert!(out.len() <= most, "{} completions, {most} were asked for", out.len());
        assert!(
            waited.drained || !out.is_empty(),
            "nothing came, and yet more is said to lie ready"
        );
        let count = out.len();
        for completion in out {
            self.judge(at, completion);
        }
        (count, waited.drained)
    }

    fn judge(&mut self, at: usize, Completion { token, what }: Completion) {
        let Some(state) = self.sides.get_mut(&Side(token)) else {
            panic!("{what:?} under {token:?}, a token that nobody gave");
        };
        assert_eq!(state.port, at, "{what:?} came out of a foreign port");
        assert!(!state.gone, "{what:?} after the last completion of its socket");
        match &what {
            What::Accepted(_) => assert!(state.accept, "accepted, but nobody asked"),
            What::AcceptEnded(_) => assert!(take(&mut state.accept), "an end without an accept"),
            What::Connected { .. } | What::ConnectFailed(_) => {
                assert!(take(&mut state.connect), "{what:?}, but nobody asked");
            }
            What::Received(bytes) => {
                assert!(state.recv, "bytes came, but nobody asked");
                assert!(!bytes.is_empty(), "an empty lease");
            }
            What::RecvEnded(_) => assert!(take(&mut state.recv), "an end without a receive"),
            What::WatchEnded(end) => {
                assert!(take(&mut state.watch), "an end without a watch");
                assert!(*end != End::Credit, "a watch has no credit");
            }
            What::Sent { bytes, data, error } => {
                let total = state.send.take().expect("an answer to no send");
                assert_eq!(data.byte_count(), total, "a send's data comes back unadvanced");
                assert!(*bytes <= total, "more sent than there was");
                assert!(error.is_none() || *bytes < total, "all is out, and yet {error:?}");
            }
            What::Detached(_) | What::Closed => {
                let streams = state.accept || state.recv || state.watch;
                let busy = streams || state.connect || state.send.is_some();
                assert!(!busy, "{what:?} with ops in flight: {state:?}");
                state.gone = true;
            }
            What::DetachFailed(_) => {
                let busy = state.recv || state.watch || state.send.is_some();
                assert!(!busy, "{what:?} with ops in flight: {state:?}");
                assert!(take(&mut state.leaving), "it was not asked to leave");
            }
            What::Work(_) => {
                assert!(take(&mut state.work), "done, but nobody asked");
                state.gone = true;
            }
        }
        state.log.push_back(what);
        self.news.insert(Side(token));
    }

    /// Asks every port what there is. Whether anything came.
    pub(super) fn round(&mut self) -> bool {
        self.round_until(|_| Until::Now)
    }

    fn round_until(&mut self, until: impl Fn(Time) -> Until) -> bool {
        let mut any = false;
        for at in 0..self.ports.len() {
            if let Some(port) = &self.ports[at] {
                let until = until(port.now());
                any |= self.wait(at, until).0 > 0;
            }
        }
        any
    }

    /// A round that found nothing lets a little time pass. Whether the world is still busy.
    fn quiet_round(&mut self) -> bool {
        let busy = self.bench.idle();
        self.round_until(|now| Until::Time(now + QUIET_ROUND)) || busy
    }

    /// Goes on until `look` finds what it looks for.
    pub(super) fn until<T>(
        &mut self,
        missing: &str,
        mut look: impl FnMut(&mut Self) -> Option<T>,
    ) -> T {
        let mut quiet = 0;
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            if self.round() || self.quiet_round() {
                quiet = 0;
                continue;
            }
            quiet += 1;
            assert!(quiet < QUIET_ROUNDS_MAX, "missing: {missing}; there is {:#?}", self.sides);
        }
    }

    /// Goes on until nothing happens any more.
    pub(super) fn settle(&mut self) {
        let mut quiet = 0;
        while quiet < SETTLED_ROUNDS {
            quiet = if self.round() || self.quiet_round() { 0 } else { quiet + 1 };
        }
    }

    /// What came for this side and fits, if it did, and out of order with what does not fit.
    pub(super) fn take(&mut self, side: Side, fits: impl Fn(&What) -> bool) -> Option<What> {
        let log = &mut self.state(side).log;
        let at = log.iter().position(fits)?;
        log.remove(at)
    }

    /// The next completion of this side that fits.
    pub(super) fn next(&mut self, side: Side, missing: &str, fits: impl Fn(&What) -> bool) -> What {
        self.until(missing, |rig| rig.take(side, &fits))
    }

    /// Everything that came for this side and was not looked at.
    pub(super) fn rest(&mut self, side: Side) -> Vec<What> {
        self.state(side).log.drain(..).collect()
    }

    /// Everything that came, of all sides.
    pub(super) fn drain(&mut self) -> Vec<(Side, What)> {
        let mut all = Vec::new();
        for side in std::mem::take(&mut self.news) {
            if let Some(state) = self.sides.get_mut(&side) {
                all.extend(state.log.drain(..).map(|what| (side, what)));
            }
        }
        all
    }

    /// The next bytes of the receive in flight, or its end.
    pub(super) fn received(&mut self, side: Side) -> Result<RecvBuf, End> {
        let what = self.next(side, "bytes or the end of a receive", |what| {
            matches!(what, What::Received(_) | What::RecvEnded(_))
        });
        match what {
            What::Received(bytes) => Ok(bytes),
            What::RecvEnded(end) => Err(end),
            other => unreachable!("{other:?} was not asked for"),
        }
    }

    /// Bytes of the receive in flight up to its end, and that.
    pub(super) fn received_all(&mut self, side: Side) -> (Vec<u8>, End) {
        let mut bytes = Vec::new();
        loop {
            match self.received(side) {
                Ok(lease) => bytes.extend_from_slice(&lease),
                Err(end) => return (bytes, end),
            }
        }
    }

    /// Receives `count` bytes, which are all that the peer has sent.
    pub(super) fn read(&mut self, side: Side, count: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < count {
            self.recv(side, u32::try_from(count - bytes.len()).expect("a small test"));
            let (more, end) = self.received_all(side);
            assert_eq!(end, End::Credit, "after {} of {count} bytes", bytes.len() + more.len());
            bytes.extend(more);
        }
        bytes
    }

    /// Receives to the end of the stream.
    pub(super) fn read_to_end(&mut self, side: Side) -> Vec<u8> {
        self.recv(side, u32::MAX);
        let (bytes, end) = self.received_all(side);
        assert_eq!(end, End::Eof, "after {} bytes", bytes.len());
        bytes
    }

    /// The answer to the send in flight.
    pub(super) fn sent(&mut self, side: Side) -> Sent {
        let what =
            self.next(side, "the answer to a send", |what| matches!(what, What::Sent { .. }));
        let What::Sent { bytes, data, error } = what else { unreachable!("asked for") };
        Sent { bytes, data, error }
    }

    /// How the watch in flight ended.
    pub(super) fn watched(&mut self, side: Side) -> End {
        let what =
            self.next(side, "the end of a watch", |what| matches!(what, What::WatchEnded(_)));
        let What::WatchEnded(end) = what else { unreachable!("asked for") };
        end
    }

    /// Sends all of it, which has to find room.
    pub(super) fn send_whole(&mut self, side: Side, bytes: &[u8]) {
        self.send(side, shared(bytes), SendMode::Whole);
        let sent = self.sent(side);
        assert_eq!((sent.bytes, sent.error), (bytes.len(), None));
    }

    /// Waits for `Closed`. What came before it and was not looked at is dropped.
    pub(super) fn closed(&mut self, side: Side) {
        self.next(side, "`Closed`", |what| matches!(what, What::Closed));
        self.rest(side);
    }

    /// Waits for the socket that was asked to leave.
    pub(super) fn detached(&mut self, side: Side) -> Unattached {
        let what = self.next(side, "`Detached`", |what| matches!(what, What::Detached(_)));
        let What::Detached(socket) = what else { unreachable!("asked for") };
        socket
    }

    /// Closes what is open and checks that nothing is left: no socket, no lease.
    pub(super) fn finish(mut self) {
        let all: Vec<Side> = self.sides.keys().copied().collect();
        for &side in &all {
            let state = self.state(side);
            if state.id.is_some() && !state.leaving && !state.gone {
                self.submit(side, Op::Close);
            }
        }
        for side in all {
            self.until("the last completion of a side", |rig| rig.state(side).gone.then_some(()));
        }
        drop(self.drain());
        for port in self.ports.iter().flatten() {
            assert_eq!(port.leases(), 0, "leases are out");
            assert_eq!(port.sockets(), 0, "sockets are left");
        }
    }
}

fn take(flag: &mut bool) -> bool {
    std::mem::take(flag)
}

/// One segment that somebody else may hold as well.
pub(super) fn shared(bytes: &[u8]) -> SendData {
    SendData::One(Segment::Shared(Bytes::copy_from_slice(bytes)))
}

/// All bytes of a send, in order.
pub(super) fn bytes_of(data: &SendData) -> Vec<u8> {
    let parts: Vec<&[u8]> = data.segments().iter().map(Segment::bytes).collect();
    parts.concat()
}

/// Panics unless `act` does.
pub(super) fn must_panic(what: &str, act: impl FnOnce()) {
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(act));
    assert!(outcome.is_err(), "{what} did not panic");
}

/// 1 byte to 128 KiB, small ones as often as large ones.
pub(super) fn size(chance: &mut SplitMix64) -> usize {
    let bits = chance.below(18);
    1 + chance.below(1 << bits)
}
