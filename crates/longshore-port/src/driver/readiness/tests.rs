//! What is this driver's own: edges that must not be lost, fair shares, quiet answers. What every
//! driver promises is in the contract suite.

use super::*;
use crate::driver::turns::TURN_BYTES;
use crate::{JobPool, Segment, SendData, SendMode};
use bytes::Bytes;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Instant;

type Act = Box<dyn FnOnce()>;

thread_local! {
    static STANDS_STILL: std::cell::RefCell<Option<Act>> = const { std::cell::RefCell::new(None) };
}

/// Between a look at the system and one at the clock, as if the process was stopped there.
pub(super) fn stand_still() {
    if let Some(act) = STANDS_STILL.take() {
        act();
    }
}

/// Long enough that reaching it is a failure on any machine.
const NEVER: Duration = Duration::from_secs(60);

fn open(config: &PortConfig) -> ReadinessPort {
    let desk = WorkDesk::new(JobPool::new(1));
    ReadinessPort::open(config, Clock::since(Instant::now()), desk).unwrap()
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

fn token(n: u32) -> Token {
    Token::new(n, 0)
}

/// A connection between the port, there called `n`, and a plain socket.
fn attached(port: &mut ReadinessPort, n: u32) -> (SocketId, TcpStream) {
    let (listener, addr) = listener();
    let peer = TcpStream::connect(addr).unwrap();
    let (stream, from) = listener.accept().unwrap();
    let raw = RawSocket::System(stream.into());
    let socket = Unattached { peer: from.into(), local: addr.into(), raw };
    (port.attach(socket, token(n)).unwrap(), peer)
}

/// One wait that must find something.
fn wait(port: &mut ReadinessPort) -> (Vec<Completion>, bool) {
    let mut out = Vec::new();
    let deadline = port.precise_now() + NEVER;
    let waited = port.wait(Until::Time(deadline), &mut out).unwrap();
    assert!(waited.now < deadline, "nothing came");
    (out, waited.drained)
}

/// The next `count` completions.
fn completions(port: &mut ReadinessPort, count: usize) -> Vec<Completion> {
    let mut all = Vec::new();
    while all.len() < count {
        all.extend(wait(port).0);
    }
    assert_eq!(all.len(), count, "{all:?}");
    all
}

/// The next completion, alone.
fn next(port: &mut ReadinessPort) -> What {
    completions(port, 1).remove(0).what
}

/// What is there now.
fn at_once(port: &mut ReadinessPort) -> Vec<Completion> {
    let mut out = Vec::new();
    port.wait(Until::Now, &mut out).unwrap();
    out
}

/// Lets the edges of earlier system calls arrive while nobody wants them.
fn settle(port: &mut ReadinessPort) {
    while port.poller.len() == 0 {
        assert!(at_once(port).is_empty());
    }
}

fn send(bytes: Vec<u8>, mode: SendMode, prompt: bool) -> Op {
    Op::Send { data: SendData::One(Segment::Shared(Bytes::from(bytes))), mode, prompt }
}

/// Sends until nothing more fits and a send waits for room. Says how much went before that one.
fn stall(port: &mut ReadinessPort, id: SocketId) -> usize {
    let mut gone = 0;
    loop {
        port.submit(id, send(vec![0; 256 * 1024], SendMode::Try, true));
        let What::Sent { bytes, error: None, .. } = next(port) else { panic!("not sent") };
        gone += bytes;
        if bytes == 0 {
            port.submit(id, send(vec![1; 1000], SendMode::Whole, true));
            assert!(at_once(port).is_empty(), "a send without room was answered");
            return gone;
        }
    }
}

#[test]
fn an_edge_that_nobody_wanted_is_remembered() {
    let mut port = open(&PortConfig::default());
    let (id, mut peer) = attached(&mut port, 1);
    peer.write_all(b"early").unwrap();
    while !port.sockets.get(id.0).unwrap().readable {
        assert!(at_once(&mut port).is_empty(), "bytes that nobody asked for");
    }
    port.submit(id, Op::Recv { credit: 100 });
    assert!(matches!(next(&mut port), What::Received(lease) if *lease == *b"early"));
}

#[test]
fn an_end_of_stream_behind_a_short_receive_is_not_missed() {
    let mut port = open(&PortConfig::default());
    let (id, mut peer) = attached(&mut port, 1);
    peer.write_all(b"bye").unwrap();
    drop(peer);
    while !port.sockets.get(id.0).unwrap().hangup {
        assert!(at_once(&mut port).is_empty());
    }
    port.submit(id, Op::Recv { credit: 100 });
    let all = completions(&mut port, 2);
    assert!(matches!(&all[0].what, What::Received(lease) if **lease == *b"bye"));
    assert!(matches!(all[1].what, What::RecvEnded(End::Eof)));
}

#[test]
fn a_flooding_peer_gets_its_share_and_no_more() {
    let mut port = open(&PortConfig::default());
    let (flood, mut flooder) = attached(&mut port, 1);
    let (other, mut talker) = attached(&mut port, 2);
    flooder.set_nonblocking(true).unwrap();
    let some = vec![0; 64 * 1024];
    let there = std::iter::from_fn(|| flooder.write(&some).ok()).sum::<usize>();
    assert!(there > 2 * TURN_BYTES, "{there} bytes are no flood");
    talker.write_all(b"me too").unwrap();
    while !port.sockets.get(other.0).unwrap().readable {
        assert!(at_once(&mut port).is_empty());
    }
    port.submit(flood, Op::Recv { credit: u32::MAX });
    port.submit(other, Op::Recv { credit: u32::MAX });
    let (all, drained) = wait(&mut port);
    let lens = |n| {
        let of = all.iter().filter(move |completion| completion.token == token(n));
        of.map(|completion| match &completion.what {
            What::Received(lease) => lease.len(),
            other => panic!("{other:?}"),
        })
    };
    assert_eq!(lens(2).sum::<usize>(), 6);
    assert!((1..=TURN_BYTES).contains(&lens(1).sum::<usize>()));
    assert!(!drained, "the flood has more");
}

#[test]
fn a_port_of_one_small_block_serves_in_the_order_of_arrival() {
    let poor = PortConfig { recv_blocks: 1, recv_block_bytes: 64, ..PortConfig::default() };
    let mut port = open(&poor);
    let mut peers = Vec::new();
    for n in 0..20 {
        let (id, mut peer) = attached(&mut port, n);
        peer.write_all(&[0; 64]).unwrap();
        while !port.sockets.get(id.0).unwrap().readable {
            assert!(at_once(&mut port).is_empty());
        }
        peers.push((id, peer));
    }
    for &(id, _) in &peers {
        port.submit(id, Op::Recv { credit: 64 });
    }
    for n in 0..20 {
        let (all, drained) = wait(&mut port);
        assert_eq!((all[0].token, all.len()), (token(n), 2), "out of order: {all:?}");
        assert_eq!(drained, n == 19, "those without a lease are behind it");
        let out = at_once(&mut port);
        assert!(out.is_empty(), "there is no lease for {out:?}");
    }
    assert_eq!((port.leases(), port.turns.starved.len()), (0, 0));
}

#[test]
fn leases_that_the_owner_keeps_do_not_keep_the_port_awake() {
    let poor = PortConfig { recv_blocks: 1, recv_block_bytes: 64, ..PortConfig::default() };
    let mut port = open(&poor);
    let (id, mut peer) = attached(&mut port, 1);
    peer.write_all(&[7; 100]).unwrap();
    port.submit(id, Op::Recv { credit: u32::MAX });
    let mut kept = Vec::new();
    while port.turns.starved.is_empty() {
        kept.extend(wait(&mut port).0);
    }
    let mut out = Vec::new();
    let soon = port.precise_now() + Duration::from_millis(1);
    let waited = port.wait(Until::Time(soon), &mut out).unwrap();
    assert!(waited.now >= soon && waited.drained && out.is_empty());
    assert_eq!(port.turns.timeout(Until::Woken, port.clock), None, "it sleeps");
    drop(kept);
    assert_eq!(
        port.turns.timeout(Until::Woken, port.clock),
        Some(Duration::ZERO),
        "it goes on at once"
    );
    assert!(matches!(next(&mut port), What::Received(_)));
}

#[test]
fn a_quiet_answer_comes_with_whatever_ends_the_wait() {
    let mut port = open(&PortConfig::default());
    let (id, mut peer) = attached(&mut port, 1);
    settle(&mut port);
    port.submit(id, send(b"ping".to_vec(), SendMode::Try, false));
    assert_eq!(port.turns.timeout(Until::Woken, port.clock), None, "it sleeps over a quiet answer");
    let notifier = port.notifier();
    let thread = std::thread::spawn(move || notifier.notify());
    let mut out = Vec::new();
    port.wait(Until::Woken, &mut out).unwrap();
    thread.join().unwrap();
    assert!(matches!(out[..], [Completion { what: What::Sent { bytes: 4, .. }, .. }]));
    let mut bytes = [0; 4];
    peer.read_exact(&mut bytes).unwrap();
    port.submit(id, send(b"pong".to_vec(), SendMode::Try, false));
    assert_eq!(at_once(&mut port).len(), 1, "nobody slept");
}

#[test]
fn quiet_answers_never_take_the_room_of_what_the_port_wakes_for() {
    let mut port = open(&PortConfig { completions_max: 1, ..PortConfig::default() });
    let (id, mut peer) = attached(&mut port, 1);
    port.submit(id, Op::Recv { credit: 100 });
    let others = [2, 3, 4].map(|n| attached(&mut port, n));
    for &(other, _) in &others {
        port.submit(other, send(b"quiet".to_vec(), SendMode::Try, false));
    }
    peer.write_all(b"loud").unwrap();
    let all = completions(&mut port, 4);
    assert!(all[..3].iter().all(|completion| matches!(completion.what, What::Sent { .. })));
    assert!(matches!(&all[3].what, What::Received(lease) if **lease == *b"loud"));
}

#[test]
fn an_accept_after_an_end_tries_at_once() {
    let mut port = open(&PortConfig::default());
    let (std, addr) = listener();
    let id = port.listen(crate::driver::sockets::listening_from(std).unwrap(), token(9)).unwrap();
    let _peers = [(); 3].map(|()| TcpStream::connect(addr).unwrap());
    for _ in 0..3 {
        port.submit(id, Op::Accept { credit: 1 });
        let all = completions(&mut port, 2);
        let What::Accepted(socket) = &all[0].what else { panic!("{all:?}") };
        assert_eq!(socket.local, addr.into());
        assert!(matches!(all[1].what, What::AcceptEnded(End::Credit)));
    }
}

#[test]
fn a_failed_accept_ends_and_the_next_one_tries_again() {
    let mut port = open(&PortConfig::default());
    // A socket that does not listen: each accept of it fails.
    let socket = crate::driver::sockets::open((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 1)).into();
    let id = port
        .listen(Listening { local, options: None, raw: RawSocket::System(socket) }, token(9))
        .unwrap();
    for _ in 0..3 {
        port.submit(id, Op::Accept { credit: 5 });
        let What::AcceptEnded(End::Failed(error)) = next(&mut port) else { panic!("it listens") };
        assert_eq!(error.call, Call::Accept);
        assert!(at_once(&mut port).is_empty(), "it is not tried again by itself");
    }
}

#[test]
fn a_wildcard_listener_says_where_a_connection_came_in() {
    let mut port = open(&PortConfig::default());
    let std = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, std.local_addr().unwrap().port()));
    let id = port.listen(crate::driver::sockets::listening_from(std).unwrap(), token(9)).unwrap();
    port.submit(id, Op::Accept { credit: u32::MAX });
    let peer = TcpStream::connect(addr).unwrap();
    let What::Accepted(socket) = next(&mut port) else { panic!("no connection") };
    assert_eq!((socket.local, socket.peer), (addr.into(), peer.local_addr().unwrap().into()));
}

#[test]
fn closing_a_listener_leaves_its_duplicate_alone() {
    let mut port = open(&PortConfig::default());
    let (std, addr) = listener();
    let duplicate = std.try_clone().unwrap();
    let id = port.listen(crate::driver::sockets::listening_from(std).unwrap(), token(9)).unwrap();
    port.submit(id, Op::Close);
    assert!(matches!(next(&mut port), What::Closed));
    let _peer = TcpStream::connect(addr).unwrap();
    duplicate.set_nonblocking(false).unwrap();
    duplicate.accept().unwrap();
    at_once(&mut port);
    assert_eq!(port.poller.len(), 0, "the port still hears of it");
}

#[test]
fn closing_a_socket_ends_the_stream_though_a_duplicate_is_open() {
    let mut port = open(&PortConfig::default());
    let (id, mut peer) = attached(&mut port, 1);
    let duplicate = port.sockets.get(id.0).unwrap().socket.try_clone().unwrap();
    port.submit(id, Op::Close);
    assert!(matches!(next(&mut port), What::Closed));
    assert_eq!(peer.read(&mut [0; 10]).unwrap(), 0);
    drop(duplicate);
}

#[test]
fn a_detach_that_waits_for_room_goes_on_when_the_send_is_cancelled() {
    let mut port = open(&PortConfig::default());
    let (id, mut peer) = attached(&mut port, 1);
    let gone = stall(&mut port, id);
    port.submit(id, Op::Recv { credit: 1 });
    port.submit(id, Op::Detach);
    assert!(matches!(next(&mut port), What::RecvEnded(End::Cancelled)));
    port.cancel(id, OpKind::Send);
    let mut all = completions(&mut port, 2);
    assert!(matches!(
        &all[0].what,
        What::Sent { bytes: 0, error: Some(PortError { kind: ErrorKind::Cancelled, .. }), .. }
    ));
    let What::Detached(socket) = all.remove(1).what else { panic!("{all:?}") };
    assert_eq!((port.sockets(), socket.peer), (0, peer.local_addr().unwrap().into()));
    drop(socket);
    assert_eq!(peer.read_to_end(&mut Vec::new()).unwrap(), gone);
}

#[test]
fn a_stalled_send_goes_on_where_it_stopped() {
    let mut port = open(&PortConfig::default());
    let (id, mut peer) = attached(&mut port, 1);
    let gone = stall(&mut port, id);
    let reader = std::thread::spawn(move || {
        let mut all = Vec::new();
        peer.read_to_end(&mut all).unwrap();
        all
    });
    assert!(matches!(next(&mut port), What::Sent { bytes: 1000, error: None, .. }));
    port.submit(id, Op::Shutdown);
    let all = reader.join().unwrap();
    assert_eq!((all.len(), &all[gone..]), (gone + 1000, &[1; 1000][..]));
}

#[test]
fn a_gathered_send_resumes_within_any_segment() {
    let mut port = open(&PortConfig::default());
    let (id, mut peer) = attached(&mut port, 1);
    let parts = [&b"abc"[..], b"", b"defg", b"h"];
    let data = || {
        SendData::Many(parts.iter().map(|part| Segment::Shared(Bytes::from_static(part))).collect())
    };
    for start in 0..8 {
        let mut send = Sending::new(data());
        (send.bytes, send.left) = (start, 8 - start);
        send.go_on(&port.sockets.get(id.0).unwrap().socket, SendMode::Whole).unwrap();
        let mut got = vec![0; 8 - start];
        peer.read_exact(&mut got).unwrap();
        assert_eq!(got, b"abcdefgh"[start..]);
        assert_eq!((send.bytes, send.left), (8, 0));
    }
}

#[test]
fn repeated_notifies_cost_one_wake_up_and_none_is_lost() {
    let mut port = open(&PortConfig::default());
    let notifier = port.notifier();
    for _ in 0..1000 {
        let threads = [(); 2].map(|()| {
            let notifier = notifier.clone();
            std::thread::spawn(move || (0..10).for_each(|_| notifier.notify()))
        });
        let waited = port.wait(Until::Woken, &mut Vec::new()).unwrap();
        assert!(waited.drained);
        for thread in threads {
            thread.join().unwrap();
        }
        notifier.notify();
        port.wait(Until::Woken, &mut Vec::new()).unwrap();
        assert!(!port.notifier.take());
    }
}

#[test]
fn a_reset_peer_is_an_error_and_no_signal() {
    let mut port = open(&PortConfig::default());
    let (id, peer) = attached(&mut port, 1);
    socket2::SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
    drop(peer);
    port.submit(id, Op::Recv { credit: 1 });
    let What::RecvEnded(End::Failed(error)) = next(&mut port) else { panic!("no reset") };
    assert_eq!((error.kind, error.call), (ErrorKind::Reset, Call::Recv));
    port.submit(id, send(b"hello?".to_vec(), SendMode::Whole, false));
    let What::Sent { bytes: 0, error: Some(error), .. } = next(&mut port) else { panic!("sent") };
    assert_eq!((error.kind, error.call), (ErrorKind::Reset, Call::Send));
}

#[test]
fn dropping_the_port_ends_its_connections_and_its_notifiers_do_no_harm() {
    let mut port = open(&PortConfig::default());
    let (id, mut peer) = attached(&mut port, 1);
    port.submit(id, Op::Recv { credit: 1 });
    let notifier = port.notifier();
    drop(port);
    assert_eq!(peer.read(&mut [0; 1]).unwrap(), 0);
    notifier.notify();
}

#[test]
fn what_concerns_one_connection_only_is_passing_at_accept() {
    for code in [libc::ECONNABORTED, libc::EPROTO, libc::EPERM, libc::ENETDOWN] {
        assert_eq!(PortError::from_code(Call::Accept, code).kind, ErrorKind::Passing);
    }
    for code in [libc::EMFILE, libc::ENFILE] {
        assert_eq!(PortError::from_code(Call::Accept, code).kind, ErrorKind::NoDescriptors);
    }
    assert_eq!(PortError::from_code(Call::Bind, libc::EPERM).kind, ErrorKind::Denied);
}

#[test]
fn what_came_while_the_process_stood_still_is_not_overtaken_by_time() {
    let mut port = open(&PortConfig::default());
    let (id, mut peer) = attached(&mut port, 1);
    port.submit(id, Op::Recv { credit: 100 });
    let mut out = Vec::new();
    port.wait(Until::Now, &mut out).unwrap();
    assert!(out.is_empty());
    let start = port.now();
    STANDS_STILL.set(Some(Box::new(move || {
        peer.write_all(b"in time").unwrap();
        std::thread::sleep(20 * LATE);
        std::mem::forget(peer);
    })));
    let waited = port.wait(Until::Now, &mut out).unwrap();
    assert!(waited.now.since(start) >= 20 * LATE);
    assert!(!out.is_empty() || !waited.drained, "a timeout of 20 ms would come before it");
}
