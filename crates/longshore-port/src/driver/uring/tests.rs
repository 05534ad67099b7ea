//! What the contract suite cannot see: thousands of sockets, starved pools, races.

mod leaving;
mod waiting;

use super::{Features, UringNotifier, UringPort, probe};
use crate::driver::clock::Clock;
use crate::jobs::WorkDesk;
use crate::{
    BindTo, Completion, End, ErrorKind, JobPool, Notify, Op, OpKind, Port, PortConfig, Segment,
    SendData, SendMode, SocketId, SocketOptions, Unattached, Until, What,
};
use bytes::Bytes;
use longshore_base::{Lease, SEND_BYTES_MAX, Token};
use std::collections::BTreeMap;
use std::io::{ErrorKind as IoErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// The features of this kernel, unless there is no ring here: then the test says so and is over.
pub(super) fn features_here() -> Option<Features> {
    match probe::features() {
        Ok(features) => Some(features),
        Err(why) => {
            println!("SKIPPED, NOT TESTED AT ALL: {why}");
            None
        }
    }
}

/// A port with a listener, and what its sockets did.
struct Hub {
    port: UringPort,
    listener: SocketId,
    addr: SocketAddr,
    out: Vec<Completion>,
    /// By the index of their token.
    ids: Vec<SocketId>,
}

const LISTENER: Token = Token::new(u32::MAX, 0);

fn open(config: &PortConfig) -> Option<Hub> {
    Some(open_as(features_here()?, config))
}

/// The same as a kernel of these features would have it.
fn open_as(features: Features, config: &PortConfig) -> Hub {
    let (clock, desk) = (Clock::since(Instant::now()), WorkDesk::new(JobPool::new(1)));
    let mut port = UringPort::open_with(features, config, clock, desk).unwrap();
    let to = BindTo {
        addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        dual_stack: false,
        backlog: 4096,
        options: SocketOptions::default(),
    };
    let listening = crate::driver::sockets::bind(&to).unwrap();
    let addr = listening.local.socket_addr().unwrap();
    let listener = port.listen(listening, LISTENER).unwrap();
    Hub { port, listener, addr, out: Vec::new(), ids: Vec::new() }
}

impl Hub {
    /// Waits for something and hands it out.
    fn wait(&mut self) -> Vec<Completion> {
        assert!(self.out.is_empty());
        let guard = self.port.precise_now() + Duration::from_secs(30);
        self.port.wait(Until::Time(guard), &mut self.out).unwrap();
        assert!(self.port.now() < guard, "nothing more comes: {:?}", self.port);
        std::mem::take(&mut self.out)
    }

    fn attach(&mut self, socket: Unattached) -> SocketId {
        let token = Token::new(u32::try_from(self.ids.len()).unwrap(), 0);
        let id = self.port.attach(socket, token).unwrap();
        self.ids.push(id);
        id
    }

    /// A connection: our side, and the peer's as a plain stream.
    fn pair(&mut self) -> (SocketId, TcpStream) {
        let stream = TcpStream::connect(self.addr).unwrap();
        self.port.submit(self.listener, Op::Accept { credit: 1 });
        let mut id = None;
        loop {
            for Completion { what, .. } in self.wait() {
                match what {
                    What::Accepted(socket) => id = Some(self.attach(socket)),
                    What::AcceptEnded(End::Credit) => return (id.unwrap(), stream),
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    fn send(&mut self, id: SocketId, data: SendData, mode: SendMode, prompt: bool) {
        self.port.submit(id, Op::Send { data, mode, prompt });
    }

    /// Receives 64 bytes of a peer, and keeps them: a whole block of a small pool.
    fn lend(&mut self, id: SocketId, peer: &mut TcpStream) -> Vec<crate::RecvBuf> {
        self.port.submit(id, Op::Recv { credit: 64 });
        peer.write_all(&[1; 64]).unwrap();
        let mut held: Vec<crate::RecvBuf> = Vec::new();
        while held.iter().map(|lease| lease.len()).sum::<usize>() < 64 {
            let received = |completion: Completion| match completion.what {
                What::Received(lease) => Some(lease),
                _ => None,
            };
            held.extend(self.wait().into_iter().filter_map(received));
        }
        held
    }

    /// Echoes everything until `count` bytes went through.
    fn echo(&mut self, count: usize) {
        let mut left = count;
        while left > 0 {
            for Completion { token, what } in self.wait() {
                let id = self.ids[token.index() as usize];
                match what {
                    What::Received(lease) => {
                        let data = SendData::One(Segment::Leased(lease));
                        self.send(id, data, SendMode::Try, true);
                    }
                    What::Sent { bytes, data, error } => {
                        assert_eq!((bytes, error), (data.byte_count(), None));
                        left -= bytes;
                    }
                    What::RecvEnded(End::Credit) => {
                        self.port.submit(id, Op::Recv { credit: 64 });
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
    }
}

fn shared(bytes: Vec<u8>) -> SendData {
    SendData::One(Segment::Shared(Bytes::from(bytes)))
}

/// A ring far too small for its sockets: the overflow of both queues loses nothing (R10).
#[test]
fn eight_entries_serve_a_thousand_sockets() {
    let config = PortConfig { submissions_max: 8, ..PortConfig::default() };
    let Some(mut hub) = open(&config) else { return };
    let mut peers: Vec<_> = (0..1_000).map(|_| hub.pair()).collect();
    for &(id, _) in &peers {
        hub.port.submit(id, Op::Recv { credit: 64 });
    }
    for round in 0..3u8 {
        for (at, (_, stream)) in peers.iter_mut().enumerate() {
            stream.write_all(&[round, u8::try_from(at % 251).unwrap(), 7]).unwrap();
        }
        hub.echo(3_000);
        for (at, (_, stream)) in peers.iter_mut().enumerate() {
            let mut bytes = [0; 3];
            stream.read_exact(&mut bytes).unwrap();
            assert_eq!(bytes, [round, u8::try_from(at % 251).unwrap(), 7]);
        }
    }
    assert_eq!((hub.port.leases(), hub.port.sends.len()), (0, 0));
}

/// One block for everybody: idle receives are armed again as well, in bounded tries (R9).
#[test]
fn one_block_serves_talking_and_silent_sockets() {
    let config = PortConfig { recv_blocks: 1, recv_block_bytes: 64, ..PortConfig::default() };
    let Some(mut hub) = open(&config) else { return };
    let mut peers: Vec<_> = (0..200).map(|_| hub.pair()).collect();
    // The block is lent out while all ask: nobody can be armed.
    let held = hub.lend(peers[0].0, &mut peers[0].1);
    for &(id, _) in &peers[1..] {
        hub.port.submit(id, Op::Recv { credit: 1_000 });
    }
    hub.port.wait(Until::Now, &mut hub.out).unwrap();
    hub.out.clear();
    assert_eq!(hub.port.parked.len(), 199);
    drop(held);
    // Half of them talk; the silent ones must not stand in their way, and are armed all the same.
    for (_, stream) in peers[1..].iter_mut().step_by(2) {
        stream.write_all(&[9; 200]).unwrap();
    }
    hub.echo(100 * 200);
    while !hub.port.parked.is_empty() {
        hub.port.wait(Until::Now, &mut hub.out).unwrap();
    }
    for (_, stream) in peers[2..].iter_mut().step_by(2) {
        stream.write_all(&[8; 10]).unwrap();
    }
    hub.echo(99 * 10);
    assert_eq!(hub.port.leases(), 0);
}

/// A cancelled accept delivers what it had taken; every peer is served or sees an end (R2).
#[test]
fn an_accept_that_is_cancelled_all_the_time_loses_nobody() {
    let Some(mut hub) = open(&PortConfig::default()) else { return };
    let mut streams = Vec::new();
    let mut accepted = 0;
    for round in 0..300u32 {
        hub.port.submit(hub.listener, Op::Accept { credit: 1 + round % 20 });
        if round % 3 == 0 {
            hub.port.wait(Until::Now, &mut hub.out).unwrap();
        }
        streams.push(TcpStream::connect(hub.addr).unwrap());
        let mut early: Vec<_> = hub.out.drain(..).collect();
        hub.port.cancel(hub.listener, OpKind::Accept);
        'ended: loop {
            early.extend(hub.wait());
            for Completion { what, .. } in early.drain(..) {
                match what {
                    What::Accepted(socket) => {
                        accepted += 1;
                        hub.attach(socket);
                    }
                    What::AcceptEnded(End::Cancelled | End::Credit) => break 'ended,
                    other => panic!("{other:?}"),
                }
            }
        }
        assert_eq!((hub.port.accepts.len(), hub.port.in_flight), (0, 1));
    }
    while accepted < streams.len() {
        hub.pair();
        accepted += 1;
        streams.push(TcpStream::connect(hub.addr).unwrap());
        if streams.len() > 700 {
            break;
        }
    }
    drop(hub);
    for mut stream in streams {
        // Nobody hangs: an end or a reset for all, the accepted and those in the backlog.
        let end = stream.read(&mut [0; 1]);
        assert!(
            end.as_ref().is_ok_and(|&count| count == 0)
                || end.as_ref().is_err_and(|error| error.kind() == IoErrorKind::ConnectionReset),
            "{end:?}"
        );
    }
}

/// A peer that resets in the middle of a send: what had gone out, the reason, and the data.
#[test]
fn a_send_cut_by_a_reset_says_how_much_and_why() {
    let Some(mut hub) = open(&PortConfig::default()) else { return };
    let (id, stream) = hub.pair();
    hub.send(id, shared(vec![5; SEND_BYTES_MAX]), SendMode::Whole, true);
    // Until the peer's window is full, whole sends go out.
    let mut rounds = 0;
    loop {
        let mut out = Vec::new();
        let soon = hub.port.precise_now() + Duration::from_millis(20);
        hub.port.wait(Until::Time(soon), &mut out).unwrap();
        match out.pop() {
            Some(Completion { what: What::Sent { bytes, error, data }, .. }) => {
                assert_eq!((bytes, error), (SEND_BYTES_MAX, None));
                hub.send(id, data, SendMode::Whole, true);
            }
            Some(other) => panic!("{other:?}"),
            None => break,
        }
        rounds += 1;
        assert!(rounds < 10_000, "a window without end");
    }
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
    let done = hub.wait();
    let [Completion { what: What::Sent { bytes, data, error }, .. }] = &done[..] else {
        panic!("{done:?}")
    };
    assert!(*bytes < SEND_BYTES_MAX);
    assert_eq!(data.byte_count(), SEND_BYTES_MAX);
    assert_eq!(error.map(|error| error.kind), Some(ErrorKind::Reset));
}

/// A try that nobody waits for costs no system call of its own: its answer comes with the next
/// completion, and before that.
#[test]
fn an_answer_that_is_not_urgent_comes_with_the_next_completion() {
    let Some(mut hub) = open(&PortConfig::default()) else { return };
    let (id, mut stream) = hub.pair();
    hub.port.submit(id, Op::Recv { credit: u32::MAX });
    hub.send(id, shared(b"question".to_vec()), SendMode::Try, false);
    let peer = std::thread::spawn(move || {
        let mut bytes = [0; 8];
        stream.read_exact(&mut bytes).unwrap();
        stream.write_all(b"answer").unwrap();
        stream
    });
    let what: Vec<_> = hub.wait().into_iter().map(|completion| completion.what).collect();
    let [What::Sent { bytes: 8, error: None, .. }, What::Received(lease)] = &what[..] else {
        panic!("{what:?}")
    };
    assert_eq!(&**lease, b"answer");
    drop(peer.join().unwrap());
}

/// When leases are short, a send that holds one is answered at once.
#[test]
fn a_send_that_holds_the_last_lease_is_answered_at_once() {
    let config = PortConfig { recv_blocks: 1, recv_block_bytes: 64, ..PortConfig::default() };
    let Some(mut hub) = open(&config) else { return };
    let (id, mut stream) = hub.pair();
    hub.port.submit(id, Op::Recv { credit: u32::MAX });
    stream.write_all(&[3; 64]).unwrap();
    let mut got = Vec::new();
    while got.len() < 64 {
        for Completion { what, .. } in hub.wait() {
            let What::Received(lease) = what else { continue };
            got.extend_from_slice(&lease);
            let part = lease.slice(0..lease.len());
            drop(lease);
            hub.send(id, SendData::One(Segment::Leased(part)), SendMode::Try, false);
        }
        if got.len() < 64 {
            hub.wait();
        }
    }
    let what = hub.wait();
    assert!(matches!(what[0].what, What::Sent { error: None, .. }), "{what:?}");
}

/// Dropping a port with everything in flight takes its sockets and its memory along (R7).
#[test]
fn a_dropped_port_waits_for_its_ops() {
    for deadline in [Duration::from_secs(10), Duration::ZERO] {
        let config = PortConfig { drop_deadline: deadline, ..PortConfig::default() };
        let Some(mut hub) = open(&config) else { return };
        let shared_bytes = Bytes::from(vec![1; SEND_BYTES_MAX]);
        let mut streams = Vec::new();
        let pairs: Vec<_> = (0..20).map(|_| hub.pair()).collect();
        for (id, stream) in pairs {
            hub.port.submit(id, Op::Recv { credit: 100 });
            let data = SendData::Many(vec![
                Segment::Shared(shared_bytes.slice(..1000)),
                Segment::Shared(shared_bytes.slice(1000..)),
            ]);
            hub.send(id, data, SendMode::Whole, true);
            streams.push(stream);
        }
        hub.port.submit(hub.listener, Op::Accept { credit: u32::MAX });
        let to = crate::ConnectTo { addr: hub.addr, from: None, options: SocketOptions::default() };
        hub.port.connect(&to, Token::new(9, 9)).unwrap();
        hub.port.wait(Until::Now, &mut hub.out).unwrap();
        hub.out.clear();
        drop(hub);
        if deadline > Duration::ZERO {
            assert!(shared_bytes.is_unique(), "the ring's memory was not freed");
            for mut stream in streams {
                let mut bytes = Vec::new();
                let end = stream.read_to_end(&mut bytes); // an end, whichever
                assert!(end.is_ok() || bytes.len() < SEND_BYTES_MAX);
            }
        }
    }
}

/// Posts from several threads, no periodic tick: a lost wake-up would hang (R11).
#[test]
fn no_post_is_lost_between_two_waits() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    let Some(mut hub) = open(&PortConfig::default()) else { return };
    let notifier: UringNotifier = hub.port.notifier();
    let posted = Arc::new(AtomicU64::new(0));
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let (posted, notifier) = (Arc::clone(&posted), notifier.clone());
            std::thread::spawn(move || {
                for _ in 0..5_000 {
                    posted.fetch_add(1, Ordering::Release);
                    notifier.notify();
                }
            })
        })
        .collect();
    while posted.load(Ordering::Acquire) < 15_000 {
        let guard = hub.port.precise_now() + Duration::from_secs(30);
        hub.port.wait(Until::Time(guard), &mut hub.out).unwrap();
        assert!(hub.port.now() < guard, "a post was not seen");
    }
    for thread in threads {
        thread.join().unwrap();
    }
}

/// Sockets that somebody made non-blocking work all the same.
#[test]
fn a_socket_that_came_non_blocking_waits_in_the_ring() {
    let Some(mut hub) = open(&PortConfig::default()) else { return };
    let mut stream = TcpStream::connect(hub.addr).unwrap();
    hub.port.submit(hub.listener, Op::Accept { credit: 1 });
    let mut id = None;
    while id.is_none() {
        for Completion { what, .. } in hub.wait() {
            if let What::Accepted(socket) = what {
                let crate::RawSocket::System(system) = &socket.raw else { unreachable!() };
                system.set_nonblocking(true).unwrap();
                id = Some(hub.attach(socket));
            }
        }
    }
    hub.port.submit(id.unwrap(), Op::Recv { credit: 100 });
    hub.port.wait(Until::Now, &mut hub.out).unwrap();
    hub.out.retain(|completion| !matches!(completion.what, What::AcceptEnded(_)));
    assert!(hub.out.is_empty(), "{:?}", hub.out);
    stream.write_all(b"late").unwrap();
    let mut got = BTreeMap::new();
    while got.is_empty() {
        for Completion { token, what } in hub.wait() {
            if let What::Received(lease) = what {
                got.insert(token, lease.to_vec());
            }
        }
    }
    assert_eq!(got.into_values().next().unwrap(), b"late");
}

/// A thread has few places for rings that are named by index; a dropped port gives its one back.
/// Else the ring itself would live on until its thread ends.
#[test]
fn a_dropped_port_gives_its_place_back() {
    for _ in 0..40 {
        let Some(hub) = open(&PortConfig::default()) else { return };
        assert!(hub.port.ring.is_registered());
    }
}

#[test]
fn an_accept_without_end_does_not_count_down() {
    use super::socket::Role;
    let Some(mut hub) = open(&PortConfig::default()) else { return };
    hub.port.submit(hub.listener, Op::Accept { credit: u32::MAX });
    let _streams: Vec<_> = (0..40).map(|_| TcpStream::connect(hub.addr).unwrap()).collect();
    let mut accepted = 0;
    while accepted < 40 {
        accepted += hub.wait().len();
    }
    let socket = hub.port.sockets.get(hub.listener.token()).unwrap();
    let Role::Listener { accepting: Some(accepting), .. } = &socket.role else {
        panic!("the accept is over")
    };
    assert_eq!(accepting.credit, u32::MAX);
}

/// Runs what may never come back.
fn in_time(run: impl FnOnce() + Send + 'static) {
    let (done, ended) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        run();
        let _ = done.send(());
    });
    match ended.recv_timeout(Duration::from_secs(30)) {
        Err(std::sync::mpsc::RecvTimeoutError::Timeout) => panic!("it does not come back"),
        _ => thread.join().unwrap(),
    }
}

/// The kernel queues work first and says so after that; who takes the work in between is left with
/// a hint that nothing takes down. A port that believed it never came back.
#[test]
fn a_hint_that_the_kernel_left_behind_keeps_no_wait() {
    in_time(|| {
        let Some(mut hub) = open(&PortConfig::default()) else { return };
        hub.port.wait(Until::Now, &mut hub.out).unwrap();
        hub.port.ring.raise_hint();
        assert!(hub.port.ring.may_run());
        assert!(hub.port.wait(Until::Now, &mut hub.out).unwrap().drained);
        let soon = hub.port.precise_now() + Duration::from_millis(5);
        let waited = hub.port.wait(Until::Time(soon), &mut hub.out).unwrap();
        assert!(waited.drained && waited.now >= soon);
        hub.port.notifier().notify();
        hub.port.wait(Until::Woken, &mut hub.out).unwrap();
        assert!(hub.out.is_empty());
        // What comes is seen, and takes the hint down.
        let (id, mut stream) = hub.pair();
        hub.port.submit(id, Op::Recv { credit: 64 });
        stream.write_all(b"there").unwrap();
        hub.echo(5);
    });
}

/// Without memory for new ops what has completed is handed out, and no answer is made up.
#[test]
fn without_memory_for_new_ops_the_finished_ones_come_out() {
    in_time(|| {
        let Some(mut hub) = open(&PortConfig::default()) else { return };
        let (id, mut stream) = hub.pair();
        hub.port.submit(id, Op::Recv { credit: u32::MAX });
        hub.port.wait(Until::Now, &mut hub.out).unwrap();
        stream.write_all(b"finished").unwrap();
        hub.port.ring.enter(super::Patience::Endless).unwrap();
        hub.port.ring.no_memory = true;
        hub.send(id, shared(b"not sent".to_vec()), SendMode::Try, true);
        let waited = hub.port.wait(Until::Woken, &mut hub.out).unwrap();
        let out: Vec<_> = hub.out.drain(..).map(|completion| completion.what).collect();
        assert!(
            matches!(&out[..], [What::Received(lease)] if lease[..] == *b"finished"),
            "{out:?}"
        );
        assert!(!waited.drained);
        hub.port.wait(Until::Now, &mut hub.out).unwrap();
        assert!(hub.out.is_empty(), "{:?}", hub.out);
        hub.port.ring.no_memory = false;
        let out = hub.wait();
        assert!(matches!(out[0].what, What::Sent { bytes: 8, error: None, .. }), "{out:?}");
    });
}

/// A kernel that has blocks and gives none away is asked again, and not all the time.
#[test]
fn a_receive_without_a_block_is_tried_again_without_a_spin() {
    in_time(|| {
        let config = PortConfig { recv_blocks: 1, recv_block_bytes: 64, ..PortConfig::default() };
        let Some(mut hub) = open(&config) else { return };
        let ((first, mut talks), (second, mut waits)) = (hub.pair(), hub.pair());
        let held = hub.lend(first, &mut talks);
        // The only block is lent, and the port believes that the kernel has one more.
        hub.port.buffers.believe(1);
        waits.write_all(b"late").unwrap();
        hub.port.submit(second, Op::Recv { credit: 64 });
        hub.port.wait(Until::Now, &mut hub.out).unwrap();
        let soon = hub.port.precise_now() + Duration::from_millis(20);
        let waited = hub.port.wait(Until::Time(soon), &mut hub.out).unwrap();
        assert!(waited.now >= soon && hub.out.is_empty(), "{:?}", hub.out);
        hub.port.notifier().notify();
        hub.port.wait(Until::Woken, &mut hub.out).unwrap();
        hub.port.buffers.believe(0);
        drop(held);
        let out = hub.wait();
        assert!(matches!(&out[0].what, What::Received(lease) if lease[..] == *b"late"), "{out:?}");
    });
}

/// The kernel looks at the buffers as long as there is a ring.
#[test]
fn a_port_that_does_not_open_lets_go_of_the_ring_before_the_buffers() {
    use super::ring::gone;
    let Some(features) = features_here() else { return };
    gone::take();
    let open = |start_fails| {
        gone::fail_start(start_fails);
        let clock = Clock::since(Instant::now());
        let desk = WorkDesk::new(JobPool::new(1));
        UringPort::open_with(features, &PortConfig::default(), clock, desk).is_ok()
    };
    assert!(!open(true));
    assert_eq!(gone::take(), ["ring", "buffers"]);
    assert!(open(false));
    assert_eq!(gone::take(), ["ring", "buffers"]);
}
