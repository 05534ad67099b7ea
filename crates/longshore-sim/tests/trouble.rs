//! What the simulated system refuses, and what it is late with.

use bytes::Bytes;
use longshore_base::Token;
use longshore_port::{
    BindTo, Call, Completion, ConnectTo, End, ErrorKind, FileRange, Listening, Op, OpKind, Port,
    PortConfig, PortError, Segment, SendData, SendMode, SocketId, SocketOptions, Unattached, Until,
    What, Work, WorkDone, World,
};
use longshore_sim::{SimClient, SimFile, SimPort, SimWorld, Trouble};
use std::collections::BTreeSet;
use std::net::SocketAddr;

const SEEDS: u64 = 200;

const SOCKET: Token = Token::new(1, 0);

fn addr() -> SocketAddr {
    "10.0.0.1:7000".parse().expect("an address")
}

fn refused(call: Call) -> PortError {
    PortError::new(call, ErrorKind::NoMemory)
}

/// A world with a port, which listens.
struct Rig {
    world: SimWorld,
    port: SimPort,
    listener: SocketId,
}

impl Rig {
    fn new(seed: u64) -> Self {
        Self::with(seed, &PortConfig::default())
    }

    fn with(seed: u64, config: &PortConfig) -> Self {
        let world = SimWorld::new(seed);
        let mut port = world.open(config).expect("no trouble yet");
        let listening = bind(&world).expect("no trouble yet");
        let listener = port.listen(listening, Token::new(0, 0)).expect("no trouble yet");
        Self { world, port, listener }
    }

    /// The next completions, moving the clock as far as it takes.
    fn next(&mut self) -> Vec<Completion> {
        let mut out = Vec::new();
        loop {
            let waited = self.port.wait(Until::Woken, &mut out).expect("the port lives");
            if !out.is_empty() {
                return out;
            }
            assert!(!waited.drained || self.world.advance(), "nothing will ever happen");
        }
    }

    fn next_one(&mut self) -> What {
        let mut out = self.next();
        assert_eq!(out.len(), 1, "{out:?}");
        out.remove(0).what
    }

    fn accept(&mut self) -> Result<Unattached, End> {
        self.port.submit(self.listener, Op::Accept { credit: 1 });
        let mut socket = None;
        loop {
            for completion in self.next() {
                match completion.what {
                    What::Accepted(accepted) => socket = Some(accepted),
                    What::AcceptEnded(end) => return socket.ok_or(end),
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    /// A connection: its socket, and its other side.
    fn pair(&mut self) -> (SocketId, SimClient) {
        let client = self.world.client(addr());
        let socket = self.accept().expect("no trouble yet");
        (self.port.attach(socket, SOCKET).expect("no trouble yet"), client)
    }

    /// Lets all happen that is under way.
    fn settle(&self) {
        while self.world.advance() {}
    }

    fn receive(&mut self, socket: SocketId, credit: u32) -> (Vec<u8>, End) {
        self.port.submit(socket, Op::Recv { credit });
        let mut bytes = Vec::new();
        loop {
            for completion in self.next() {
                match completion.what {
                    What::Received(lease) => bytes.extend_from_slice(&lease),
                    What::RecvEnded(end) => return (bytes, end),
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    /// How a send ended: how much went, and why not more.
    fn send(&mut self, socket: SocketId, data: SendData, mode: SendMode) -> (usize, PortError) {
        let count = data.byte_count();
        self.port.submit(socket, Op::Send { data, mode, prompt: true });
        let What::Sent { bytes, data, error } = self.next_one() else { panic!("no answer") };
        assert_eq!(data.byte_count(), count, "it comes back unadvanced");
        (bytes, error.expect("trouble"))
    }
}

fn bind(world: &SimWorld) -> Result<Listening, PortError> {
    let options = SocketOptions::default();
    world.bind(&BindTo { addr: addr(), dual_stack: false, backlog: 8, options })
}

fn connect_to() -> ConnectTo {
    ConnectTo { addr: addr(), from: None, options: SocketOptions::default() }
}

#[test]
fn what_is_refused_at_once_is_refused_and_counted() {
    let mut rig = Rig::new(1);
    let Rig { world, port, .. } = &mut rig;
    world.make_trouble(Trouble::Open, 1);
    assert_eq!(world.open(&PortConfig::default()).unwrap_err(), refused(Call::Open));
    world.make_trouble(Trouble::ConnectAtOnce, 1);
    assert_eq!(port.connect(&connect_to(), SOCKET).unwrap_err(), refused(Call::Connect));
    for trouble in [Trouble::Open, Trouble::ConnectAtOnce] {
        assert_eq!(world.troubles(trouble), 1, "{trouble:?}");
    }
    let world = SimWorld::new(2);
    world.make_trouble(Trouble::Bind, 1);
    assert_eq!(bind(&world).unwrap_err(), refused(Call::Bind));
    world.make_trouble(Trouble::Bind, 0);
    let listening = bind(&world).expect("the address is still free");
    world.make_trouble(Trouble::Listen, 1);
    let mut port = world.open(&PortConfig::default()).expect("a port opens");
    assert_eq!(port.listen(listening, SOCKET).unwrap_err(), refused(Call::Attach));
    assert_eq!((world.troubles(Trouble::Bind), world.troubles(Trouble::Listen)), (1, 1));
    assert_eq!((port.sockets(), world.descriptors()), (0, 0), "it is closed");
}

#[test]
fn a_socket_that_is_not_taken_in_is_handed_back_whole() {
    let mut rig = Rig::new(3);
    let client = rig.world.client(addr());
    client.write(b"hello");
    let socket = rig.accept().expect("a connection");
    rig.world.make_trouble(Trouble::Attach, 1);
    let (error, socket) = rig.port.attach(socket, SOCKET).unwrap_err();
    assert_eq!((error, rig.world.troubles(Trouble::Attach)), (refused(Call::Attach), 1));
    rig.world.make_trouble(Trouble::Attach, 0);
    let socket = rig.port.attach(socket, SOCKET).expect("it is as it was");
    assert_eq!(rig.receive(socket, 5), (b"hello".to_vec(), End::Credit));
}

#[test]
fn an_accept_that_fails_leaves_who_waits_unless_it_took_him() {
    for seed in 0..SEEDS {
        for (trouble, kind) in [
            (Trouble::Accept, ErrorKind::NoMemory),
            (Trouble::AcceptNoDescriptors, ErrorKind::NoDescriptors),
            (Trouble::AcceptPassing, ErrorKind::Passing),
        ] {
            let mut rig = Rig::new(seed);
            let client = rig.world.client(addr());
            rig.world.make_trouble(trouble, 1);
            let end = rig.accept().expect_err("trouble");
            assert_eq!(end, End::Failed(PortError::new(Call::Accept, kind)));
            assert_eq!(rig.world.troubles(trouble), 1);
            rig.world.make_trouble(trouble, 0);
            if trouble == Trouble::AcceptPassing {
                rig.settle();
                assert!(client.is_reset(), "it is lost");
            } else {
                let socket = rig.accept().expect("it is still there");
                assert_eq!(socket.peer.socket_addr(), Some(client.local_addr()));
            }
            drop((client, rig.port));
            assert_eq!(rig.world.descriptors(), 0);
        }
    }
}

#[test]
fn a_connect_under_way_fails_and_then_closes() {
    let mut at_once = 0;
    for seed in 0..SEEDS {
        let mut rig = Rig::new(seed);
        rig.world.make_trouble(Trouble::Connect, 1);
        rig.port.connect(&connect_to(), SOCKET).expect("it begins");
        let mut whats: Vec<_> = Vec::new();
        while !matches!(whats.last(), Some(What::Closed | What::Connected { .. })) {
            whats.extend(rig.next().into_iter().map(|completion| completion.what));
        }
        let [What::ConnectFailed(error), What::Closed] = whats[..] else {
            at_once += 1; // where nothing takes any time it stood before the port looked
            continue;
        };
        assert_eq!(error, refused(Call::Connect));
        assert_eq!(rig.world.troubles(Trouble::Connect), 1);
    }
    assert!(at_once < SEEDS / 2, "{at_once}");
}

#[test]
fn a_receive_that_fails_takes_nothing() {
    for seed in 0..SEEDS {
        let mut rig = Rig::new(seed);
        let (socket, client) = rig.pair();
        client.write(b"hello");
        rig.world.make_trouble(Trouble::Recv, 2);
        let mut bytes = Vec::new();
        while bytes.len() < 5 {
            let credit = u32::try_from(5 - bytes.len()).expect("a small test");
            let (more, end) = rig.receive(socket, credit);
            bytes.extend(more);
            assert!(end == End::Credit || end == End::Failed(refused(Call::Recv)), "{end:?}");
        }
        assert_eq!(bytes, b"hello");
    }
}

/// Some fail behind a part of it, and the peer has that part.
#[test]
fn a_send_that_fails_says_what_went_before() {
    let mut parts = BTreeSet::new();
    for seed in 0..SEEDS {
        for mode in [SendMode::Try, SendMode::Whole] {
            let mut rig = Rig::new(seed);
            let (socket, client) = rig.pair();
            let all: Vec<u8> = (0..200).collect();
            rig.world.make_trouble(Trouble::Send, 1);
            let data = SendData::One(Segment::Shared(Bytes::from(all.clone())));
            let (count, error) = rig.send(socket, data, mode);
            assert_eq!((error, rig.world.troubles(Trouble::Send)), (refused(Call::Send), 1));
            rig.settle();
            assert_eq!(client.read(usize::MAX), all[..count]);
            parts.insert(count);
        }
    }
    assert!(parts.len() > 50 && parts.contains(&0), "{parts:?}");
}

#[test]
fn a_watch_fails_and_the_connection_stays() {
    let mut rig = Rig::new(4);
    let (socket, client) = rig.pair();
    rig.world.make_trouble(Trouble::Watch, 1);
    rig.port.submit(socket, Op::Watch { half: true });
    assert!(matches!(rig.next_one(), What::WatchEnded(End::Failed(e)) if e == refused(Call::Recv)));
    client.write(b"x");
    assert_eq!(rig.receive(socket, 1), (b"x".to_vec(), End::Credit));
}

#[test]
fn a_file_that_cannot_be_read_says_so() {
    let mut rig = Rig::new(5);
    let (socket, _client) = rig.pair();
    rig.world.make_trouble(Trouble::File, 1);
    let part = FileRange { file: SimFile::new(vec![7; 100]).handle(), offset: 0, len: 100 };
    let data = SendData::One(Segment::File(part.clone()));
    let (count, error) = rig.send(socket, data, SendMode::Whole);
    assert_eq!((count, error.call, error.kind), (0, Call::File, ErrorKind::Other));
    rig.port.start(Token::new(9, 0), Work::Read(part));
    let What::Work(WorkDone::Read(Err(error))) = rig.next_one() else { panic!("it was read") };
    assert_eq!((error.call, rig.world.troubles(Trouble::File)), (Call::File, 2));
}

/// As often as a system likes, but not for ever; and what was there comes, all of it.
#[test]
fn what_a_wait_does_not_give_comes_with_a_later_one() {
    for seed in 0..SEEDS {
        let mut rig = Rig::new(seed);
        let (socket, client) = rig.pair();
        client.write(&[7; 300]);
        client.finish();
        rig.settle();
        rig.world.make_trouble(Trouble::Wait, 1);
        rig.port.submit(socket, Op::Recv { credit: u32::MAX });
        let (mut bytes, mut empty, mut out) = (0, 0, Vec::new());
        let end = loop {
            let waited = rig.port.wait(Until::Woken, &mut out).expect("the port lives");
            assert!(rig.world.is_due(rig.port.index()), "who waits for it is called again");
            empty = if out.is_empty() { empty + 1 } else { 0 };
            assert!(!(out.is_empty() && waited.drained), "there is something, and timers fire");
            assert!(empty <= Trouble::WAITS_MAX, "it never comes");
            let whats = out.drain(..).map(|completion| completion.what);
            let last = whats.filter_map(|what| match what {
                What::Received(lease) => {
                    bytes += lease.len();
                    None
                }
                other => Some(other),
            });
            if let Some(what) = last.last() {
                break what;
            }
        };
        assert!(matches!(end, What::RecvEnded(End::Eof)), "{end:?}");
        assert_eq!(bytes, 300);
        assert!(rig.world.troubles(Trouble::Wait) >= u64::from(Trouble::WAITS_MAX));
    }
}

/// Two receive into a pool that is hardly large enough, one is asked to end, by a cancel or with its
/// socket: what the kernel has taken for it is lent to nobody until it has ended.
#[test]
fn memory_of_a_receive_is_nobody_elses_until_it_has_ended() {
    let (mut late, mut after_close) = (0, 0);
    for seed in 0..5 * SEEDS {
        let config = PortConfig::default().recv_blocks(2).recv_block_bytes(64);
        let mut rig = Rig::with(seed, &config);
        let (first, one) = rig.pair();
        let (second, other) = rig.pair();
        rig.world.make_trouble(Trouble::LateKernel, 1);
        for socket in [first, second] {
            rig.port.submit(socket, Op::Recv { credit: u32::MAX });
        }
        let closes = seed % 2 == 0;
        if closes {
            rig.port.submit(first, Op::Close);
        } else {
            rig.port.cancel(first, OpKind::Recv);
        }
        one.write(&[1; 200]);
        other.write(&[2; 200]);
        other.finish();
        let (mut ended, mut got) = (0, [0, 0]);
        let mut held = Vec::new();
        while ended < 2 {
            for completion in rig.next() {
                match completion.what {
                    What::Received(lease) => {
                        got[usize::from(lease[0]) - 1] += lease.len();
                        held.push(lease);
                    }
                    What::RecvEnded(_) => ended += 1,
                    What::Closed => {}
                    other => panic!("{other:?}"),
                }
            }
            for lease in held.drain(..) {
                assert!(lease.iter().all(|byte| *byte == lease[0]), "a lease has changed");
            }
        }
        assert_eq!(got[1], 200, "who stays gets all");
        late += rig.world.troubles(Trouble::LateKernel);
        after_close += u64::from(closes && got[0] > 0);
        assert_eq!(rig.port.leases(), 0, "seed {seed}");
    }
    assert!(late > SEEDS && after_close > SEEDS / 10, "{late}, {after_close}");
}

/// A send that is cancelled, as on Windows: whether nobody had heard of it when it was, what had been
/// taken by then, and what was told.
fn cut_off(seed: u64, bytes: usize) -> (bool, u64, u64, Option<ErrorKind>) {
    let mut rig = Rig::new(seed);
    let (socket, _client) = rig.pair();
    rig.world.act_as_completion_port();
    let data = SendData::One(Segment::Shared(Bytes::from(vec![7; bytes])));
    rig.port.submit(socket, Op::Send { data, mode: SendMode::Whole, prompt: true });
    let mut out = Vec::new();
    rig.port.wait(Until::Now, &mut out).expect("the port lives");
    let link = rig.port.link(socket);
    let taken = link.unacknowledged_bytes.zip(link.acknowledged_bytes).expect("it is a stream");
    rig.port.cancel(socket, OpKind::Send);
    let unheard = out.is_empty();
    if unheard {
        out = rig.next();
    }
    let [Completion { what: What::Sent { bytes, error, .. }, .. }] = &out[..] else {
        panic!("{out:?}");
    };
    (unheard, taken.0 + taken.1, *bytes as u64, error.map(|error| error.kind))
}

/// All is taken, the packet that says so is on its way, and a cancel finds nothing.
#[test]
fn what_is_over_is_told_later_and_not_cancelled() {
    let mut over = 0;
    for seed in 0..SEEDS {
        let (unheard, taken, told, error) = cut_off(seed, 400);
        if taken == 400 {
            assert_eq!((told, error), (400, None), "seed {seed}");
            over += u64::from(unheard);
        }
    }
    assert!(over > SEEDS / 4, "{over}");
}

#[test]
fn a_send_that_was_cut_off_tells_less_than_was_taken() {
    let mut less = 0;
    for seed in 0..SEEDS {
        let (_, taken, told, error) = cut_off(seed, 250_000);
        assert_eq!(error, Some(ErrorKind::Cancelled), "seed {seed}: more than any window");
        less += u64::from(told < taken);
    }
    assert!(less > SEEDS / 2, "{less}");
}

#[test]
fn a_world_of_trouble_is_the_same_from_the_same_seed() {
    let run = |seed| {
        let mut rig = Rig::new(seed);
        let (socket, client) = rig.pair();
        for trouble in Trouble::ALL {
            rig.world.make_trouble(trouble, 3);
        }
        client.write(&[7; 300]);
        for _ in 0..20 {
            rig.receive(socket, 10);
            client.write(&[7; 30]);
        }
        let counts = Trouble::ALL.map(|trouble| rig.world.troubles(trouble));
        assert!(counts.iter().sum::<u64>() > 0);
        (counts, rig.world.trace())
    };
    for seed in 0..SEEDS / 10 {
        assert_eq!(run(seed), run(seed));
    }
}
