//! What the contract cannot see from outside.

use super::*;
use crate::driver::sockets;
use crate::{Addr, BindTo, JobPool, SocketOptions};
use std::io::Read;
use std::net::{Ipv4Addr, TcpStream};
use std::time::Instant;

fn open(config: &PortConfig) -> IocpPort {
    let desk = WorkDesk::new(JobPool::new(1));
    IocpPort::open(config, Clock::since(Instant::now()), desk).unwrap()
}

/// Listens with these options.
fn listen(port: &mut IocpPort, options: SocketOptions) -> (SocketId, std::net::SocketAddr) {
    let addr = (Ipv4Addr::LOCALHOST, 0).into();
    let to = BindTo { addr, dual_stack: false, backlog: 128, options };
    let listening = sockets::bind(&to).unwrap();
    let local = listening.local.socket_addr().unwrap();
    (port.listen(listening, Token::new(1, 0)).unwrap(), local)
}

/// Waits until `found` makes something of a completion.
fn until<T>(port: &mut IocpPort, mut found: impl FnMut(What) -> Option<T>) -> T {
    loop {
        let mut out = Vec::new();
        port.wait(Until::Woken, &mut out).unwrap();
        if let Some(found) = out.into_iter().find_map(|completion| found(completion.what)) {
            return found;
        }
    }
}

/// Windows hands no option of a listener on by itself.
#[test]
fn an_accepted_socket_has_the_options_of_its_listener() {
    for nodelay in [true, false] {
        let mut port = open(&PortConfig::default());
        let options = SocketOptions::default().nodelay(nodelay).send_buf_bytes(20_000);
        let (listener, addr) = listen(&mut port, options);
        port.submit(listener, Op::Accept { credit: 1 });
        let peer = TcpStream::connect(addr).unwrap();
        let accepted = until(&mut port, |what| match what {
            What::Accepted(socket) => Some(socket),
            _ => None,
        });
        let RawSocket::System(socket) = &accepted.raw else { unreachable!("of the system") };
        assert_eq!(socket.tcp_nodelay().unwrap(), nodelay);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.send_buffer_size().unwrap(), 20_000);
        assert_eq!(accepted.peer, Addr::from(peer.local_addr().unwrap()));
    }
}

/// As many accepts as there is credit for, and no more sockets for them than that.
#[test]
fn accepts_wait_in_advance_within_their_credit() {
    let mut port = open(&PortConfig::default());
    let (listener, _) = listen(&mut port, SocketOptions::default());
    port.submit(listener, Op::Accept { credit: 5 });
    assert_eq!(port.slots.len(), 5);
    port.cancel(listener, OpKind::Accept);
    until(&mut port, |what| matches!(what, What::AcceptEnded(_)).then_some(()));
    assert_eq!(port.slots.len(), 0);
    port.submit(listener, Op::Accept { credit: u32::MAX });
    assert_eq!(port.slots.len(), 64);
}

/// An idle connection has one op of the system, which pins no buffer, also when its receive was
/// cancelled and begun again (S7).
#[test]
fn an_idle_connection_holds_one_op_and_no_lease() {
    let mut port = open(&PortConfig::default());
    let (listener, addr) = listen(&mut port, SocketOptions::default());
    port.submit(listener, Op::Accept { credit: 1 });
    let peer = TcpStream::connect(addr).unwrap();
    let accepted = until(&mut port, |what| match what {
        What::Accepted(socket) => Some(socket),
        _ => None,
    });
    let id = port.attach(accepted, Token::new(2, 0)).unwrap();
    for _ in 0..3 {
        port.submit(id, Op::Recv { credit: 100 });
        port.wait(Until::Now, &mut Vec::new()).unwrap();
        assert_eq!((port.slots.len(), port.leases()), (1, 0));
        port.cancel(id, OpKind::Recv);
        until(&mut port, |what| matches!(what, What::RecvEnded(_)).then_some(()));
    }
    drop(peer);
}

/// What is in flight when a port is dropped is waited for, and then leaked, not freed.
#[test]
fn a_dropped_port_waits_for_what_the_system_has() {
    let mut port = open(&PortConfig::default());
    let (listener, addr) = listen(&mut port, SocketOptions::default());
    port.submit(listener, Op::Accept { credit: u32::MAX });
    let begun = Instant::now();
    drop(port);
    assert!(begun.elapsed() < PortConfig::default().drop_deadline, "all came back before");
    assert!(TcpStream::connect(addr).is_err());
}

/// Ones, as many as are asked for.
#[derive(Debug)]
struct Ones;

impl crate::VirtualFile for Ones {
    fn read_at(&self, into: &mut [u8], _: u64) -> io::Result<usize> {
        into.fill(1);
        Ok(into.len())
    }
}

/// A file that goes out by pieces ends with the one that is out when its socket is to close.
#[test]
fn a_close_between_two_pieces_of_a_file_ends_it() {
    let mut port = open(&PortConfig::default());
    let options = SocketOptions::default().send_buf_bytes(16_000);
    let (listener, addr) = listen(&mut port, options);
    port.submit(listener, Op::Accept { credit: 1 });
    let mut peer = TcpStream::connect(addr).unwrap();
    let accepted = until(&mut port, |what| match what {
        What::Accepted(socket) => Some(socket),
        _ => None,
    });
    let id = port.attach(accepted, Token::new(2, 0)).unwrap();
    let file = crate::FileHandle::of_simulation(Ones);
    let range = crate::FileRange { file, offset: 0, len: longshore_base::FILE_BYTES_MAX as u64 };
    let data = crate::SendData::One(crate::Segment::File(range));
    port.submit(id, Op::Send { data, mode: crate::SendMode::Whole, prompt: true });
    let name = port.sockets.get(id.0).unwrap().send.expect("it does not fit");
    let Held::Send(sending) = &port.slots.get_mut(name).unwrap().held else { unreachable!() };
    let begun = sending.bytes + sending.piece.as_ref().unwrap().len();
    peer.read_exact(&mut vec![0; begun]).unwrap(); // so that piece is out
    port.submit(id, Op::Close);
    let deadline = port.precise_now() + Duration::from_secs(10);
    let mut out = Vec::new();
    while !out.iter().any(|completion: &Completion| matches!(completion.what, What::Closed)) {
        port.wait(Until::Time(deadline), &mut out).unwrap();
        assert!(port.now() < deadline, "it goes on though its socket is to close: {out:?}");
    }
    let sent = out.into_iter().find_map(|completion| match completion.what {
        What::Sent { error, .. } => Some(error.map(|error| error.kind)),
        _ => None,
    });
    assert_eq!(sent, Some(Some(ErrorKind::Cancelled)));
}

/// As many packets as ops were cancelled, before anybody looks at them.
fn packets(port: &IocpPort, count: usize) -> Vec<Packet> {
    let mut taken = vec![];
    while taken.len() < count {
        let mut some = vec![Packet::EMPTY; count - taken.len()];
        let more = port.port.take(&mut some, Some(Duration::from_secs(10))).unwrap();
        assert!(more > 0, "{} of {count} packets came", taken.len());
        taken.extend_from_slice(&some[..more]);
    }
    taken
}

/// A connection that is gone before it is taken costs its accept, which is begun again; only many of
/// them in a row, with none that stands between them, end it.
#[test]
fn connections_that_are_gone_end_no_accept() {
    let mut port = open(&PortConfig::default());
    let (listener, addr) = listen(&mut port, SocketOptions::default());
    port.submit(listener, Op::Accept { credit: u32::MAX });
    // What the system cancels here stands for what it lost: 64 is the number of such a reset.
    let lose_all = |port: &mut IocpPort| {
        port.cancel_all(listener.0);
        for packet in packets(port, 64) {
            let (name, _) = Slots::of_packet(&packet).unwrap();
            port.done(name, Err(64));
        }
    };
    for _ in 0..2 {
        lose_all(&mut port);
        assert_eq!(port.slots.len(), 64, "each was begun again");
        let peer = TcpStream::connect(addr).unwrap();
        let accepted = until(&mut port, |what| match what {
            What::Accepted(socket) => Some(socket),
            What::AcceptEnded(end) => panic!("{end:?}"),
            _ => None,
        });
        assert_eq!(accepted.peer, Addr::from(peer.local_addr().unwrap()));
    }
    lose_all(&mut port);
    lose_all(&mut port);
    let end = until(&mut port, |what| match what {
        What::AcceptEnded(end) => Some(end),
        _ => None,
    });
    assert!(
        matches!(end, crate::End::Failed(error) if error.kind == ErrorKind::Passing),
        "{end:?}"
    );
    assert_eq!(port.slots.len(), 0);
}

/// A look that brought as much as one may says nothing of what lies behind.
#[test]
fn a_full_look_is_not_drained() {
    let mut port = open(&PortConfig { completions_max: 1, ..PortConfig::default() });
    let (listener, addr) = listen(&mut port, SocketOptions::default());
    port.submit(listener, Op::Accept { credit: u32::MAX });
    let _peer = TcpStream::connect(addr).unwrap();
    let mut out = Vec::new();
    let waited = port.wait(Until::Woken, &mut out).unwrap();
    assert!(matches!(out[..], [Completion { what: What::Accepted(_), .. }]), "{out:?}");
    assert!(!waited.drained, "another packet may lie behind this one");
    let waited = port.wait(Until::Now, &mut out).unwrap();
    assert!(waited.drained && out.len() == 1, "{out:?}");
}

/// What nobody waits for may fill a look: a wait that has nothing to return has seen all the same
/// that there is nothing else.
#[test]
fn a_wait_with_nothing_is_drained() {
    let mut port = open(&PortConfig { completions_max: 2, ..PortConfig::default() });
    let mut out = Vec::new();
    for count in [2, 3, 4] {
        for _ in 0..count {
            port.port.post().unwrap();
        }
        port.notifier().notify();
        let waited = port.wait(Until::Woken, &mut out).unwrap();
        assert!(waited.drained && out.is_empty());
    }
    for _ in 0..2 {
        port.port.post().unwrap();
    }
    assert!(port.wait(Until::Now, &mut out).unwrap().drained);
}

/// Both halves of a place in a file, which may be a large one.
#[test]
#[expect(unsafe_code, reason = "half of it is a number or an address")]
fn a_file_may_begin_behind_four_gigabytes() {
    let overlapped = sys::at_offset((5 << 32) + 7);
    // SAFETY: made of numbers.
    let place = unsafe { overlapped.Anonymous.Anonymous };
    assert_eq!((place.OffsetHigh, place.Offset), (5, 7));
}
