//! Listening, accepting, connecting.

use super::bench::Bench;
use super::rig::Rig;
use crate::{
    ConnectTo, End, ErrorKind, Op, OpKind, Port, RawSocket, SocketOptions, Unattached, What,
};
use longshore_base::Token;
use std::net::{Ipv4Addr, SocketAddr};

/// `Accepted` and `Connected` carry the addresses, and both sides can talk.
pub fn both_sides_learn_their_addresses_and_echo<B: Bench>(bench: &B) {
    let mut rig = Rig::new(bench);
    let (listener, addr) = rig.listen(0, SocketOptions::default());
    rig.submit(listener, Op::Accept { credit: u32::MAX });
    let out = rig.connect(1, addr, SocketOptions::default());
    let local = rig.connected(out);
    assert_eq!(local.ip(), Ipv4Addr::LOCALHOST);
    let socket = rig.accepted(listener);
    assert_eq!(socket.peer.socket_addr(), Some(local), "the peer, as it calls itself");
    assert_eq!(socket.local.socket_addr(), Some(addr), "where it came in");
    let inside = rig.attach(0, socket);
    rig.send_whole(out, b"are you there?");
    assert_eq!(rig.read(inside, 14), b"are you there?");
    rig.send_whole(inside, b"I am");
    assert_eq!(rig.read(out, 4), b"I am");
    rig.finish();
}

/// `ConnectFailed` (refused), then `Closed`, and nothing else.
pub fn a_refused_connect_fails_and_then_closes<B: Bench>(bench: &B) {
    let mut rig = Rig::new(bench);
    let (listener, addr) = rig.listen(0, SocketOptions::default());
    rig.submit(listener, Op::Close);
    rig.closed(listener);
    let out = rig.connect(1, addr, SocketOptions::default());
    let what = rig.next(out, "the refusal", |_| true);
    assert!(matches!(what, What::ConnectFailed(e) if e.kind == ErrorKind::Refused), "{what:?}");
    let what = rig.next(out, "`Closed` after the refusal", |_| true);
    assert!(matches!(what, What::Closed), "{what:?}");
    rig.finish();
}

/// An owner that closes what has failed meanwhile does no wrong: whether or not the failure was
/// returned to it already, `Closed` comes once.
pub fn a_close_of_a_failed_connect_is_harmless<B: Bench>(bench: &B) {
    let mut rig = Rig::new(bench);
    let (listener, addr) = rig.listen(0, SocketOptions::default());
    rig.submit(listener, Op::Close);
    rig.closed(listener);
    for told in [true, false] {
        let out = rig.connect(1, addr, SocketOptions::default());
        if told {
            rig.next(out, "the refusal", |what| matches!(what, What::ConnectFailed(_)));
        }
        rig.submit(out, Op::Close);
        rig.closed(out);
    }
    rig.finish();
}

/// The own address of a connection can be chosen, and one that is not of this machine is refused.
pub fn a_connection_comes_from_where_it_was_told_to<B: Bench>(bench: &B) {
    if bench.is_simulated() {
        return; // where every address is one of this machine
    }
    let mut rig = Rig::new(bench);
    let (_, addr) = rig.listen(0, SocketOptions::default());
    let foreign = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 0)); // for documents only
    let to = ConnectTo { addr, from: Some(foreign), options: SocketOptions::default() };
    let refused = rig.port(1).connect(&to, Token::new(0, 0));
    let error = refused.expect_err("it comes from somewhere else");
    assert_eq!(error.kind, ErrorKind::AddrNotAvailable);
    rig.finish();
}

/// A listener may be on every address of the machine: a connection says which one it came to.
pub fn a_listener_on_every_address_says_which_one_it_was<B: Bench>(bench: &B) {
    let mut rig = Rig::new(bench);
    let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let (listener, local) = rig.listen_on(0, any, SocketOptions::default());
    assert!(local.ip().is_unspecified());
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, local.port()));
    rig.submit(listener, Op::Accept { credit: 1 });
    let out = rig.connect(1, addr, SocketOptions::default());
    rig.connected(out);
    assert_eq!(rig.accepted(listener).local.socket_addr(), Some(addr));
    rig.finish();
}

/// An accept with a credit takes as many, says so, and leaves the others to the next one.
pub fn accept_ends_when_its_credit_is_used_up<B: Bench>(bench: &B) {
    let mut rig = Rig::new(bench);
    let (listener, addr) = rig.listen(0, SocketOptions::default());
    rig.submit(listener, Op::Accept { credit: 3 });
    let outs: Vec<_> = (0..5).map(|_| rig.connect(1, addr, SocketOptions::default())).collect();
    for out in outs {
        rig.connected(out);
    }
    let mut peers: Vec<_> = (0..3).map(|_| rig.accepted(listener).peer).collect();
    assert_eq!(rig.accept_ended(listener), End::Credit);
    rig.settle();
    assert!(rig.rest(listener).is_empty(), "more than the credit allows");
    rig.submit(listener, Op::Accept { credit: 2 });
    peers.extend((0..2).map(|_| rig.accepted(listener).peer));
    assert_eq!(rig.accept_ended(listener), End::Credit);
    peers.sort();
    peers.dedup();
    assert_eq!(peers.len(), 5, "each connection comes once");
    rig.finish();
}

/// Whatever a cancel races with: each connection is accepted before the end or after it (R2).
pub fn a_cancelled_accept_loses_no_connection<B: Bench>(bench: &B) {
    let mut rig = Rig::new(bench);
    let (listener, addr) = rig.listen(0, SocketOptions::default());
    rig.submit(listener, Op::Accept { credit: u32::MAX });
    let mut outs = Vec::new();
    let mut peers = Vec::new();
    for _ in 0..20 {
        outs.push(rig.connect(1, addr, SocketOptions::default()));
        for _ in 0..rig.random.below(3) {
            rig.round();
        }
        rig.cancel(listener, OpKind::Accept);
        loop {
            let what = rig.next(listener, "the end of a cancelled accept", |_| true);
            match what {
                What::Accepted(socket) => peers.push(socket.peer),
                What::AcceptEnded(end) => break assert_eq!(end, End::Cancelled),
                other => panic!("{other:?}"),
            }
        }
        rig.submit(listener, Op::Accept { credit: u32::MAX });
    }
    while peers.len() < outs.len() {
        peers.push(rig.accepted(listener).peer);
    }
    let mut locals: Vec<_> = outs.iter().map(|&out| Some(rig.connected(out))).collect();
    let mut peers: Vec<_> = peers.into_iter().map(crate::Addr::socket_addr).collect();
    peers.sort();
    locals.sort();
    assert_eq!(peers, locals);
    rig.finish();
}

/// `Close` on a listener: the accept is cancelled, `Closed` comes last, nobody listens any more.
pub fn closing_a_listener_ends_its_accept_and_frees_its_address<B: Bench>(bench: &B) {
    let mut rig = Rig::new(bench);
    let (listener, addr) = rig.listen(0, SocketOptions::default());
    rig.submit(listener, Op::Accept { credit: u32::MAX });
    rig.settle();
    rig.submit(listener, Op::Close);
    assert_eq!(rig.accept_ended(listener), End::Cancelled);
    rig.closed(listener);
    let out = rig.connect(1, addr, SocketOptions::default());
    let what = rig.next(out, "the refusal", |_| true);
    assert!(matches!(what, What::ConnectFailed(e) if e.kind == ErrorKind::Refused), "{what:?}");
    rig.finish();
}

/// A result that is a resource owns it: dropping an `Unattached` closes the connection.
pub fn an_accepted_socket_that_nobody_wants_closes<B: Bench>(bench: &B) {
    let mut rig = Rig::new(bench);
    let (listener, addr) = rig.listen(0, SocketOptions::default());
    rig.submit(listener, Op::Accept { credit: 1 });
    let out = rig.connect(1, addr, SocketOptions::default());
    rig.connected(out);
    drop(rig.accepted(listener));
    rig.recv(out, u32::MAX);
    let (bytes, end) = rig.received_all(out);
    assert!(bytes.is_empty());
    assert!(
        matches!(end, End::Eof) || matches!(end, End::Failed(e) if e.kind == ErrorKind::Reset),
        "{end:?}"
    );
    rig.finish();
}

/// `Close` right after `connect`: the attempt fails as cancelled, unless it stood already; `Closed`
/// comes last either way.
pub fn a_connect_closed_at_once_ends_with_closed<B: Bench>(bench: &B) {
    let mut rig = Rig::new(bench);
    let (_, addr) = rig.listen(0, SocketOptions::default());
    for rounds in 0..8 {
        let out = rig.connect(1, addr, SocketOptions::default());
        if rounds % 2 == 1 {
            rig.round();
        }
        rig.submit(out, Op::Close);
        match rig.next(out, "how the attempt ended", |_| true) {
            What::Connected { .. } => {}
            What::ConnectFailed(error) => assert_eq!(error.kind, ErrorKind::Cancelled),
            other => panic!("{other:?}"),
        }
        let what = rig.next(out, "`Closed`", |_| true);
        assert!(matches!(what, What::Closed), "{what:?}");
    }
    rig.finish();
}

/// `cancel(Connect)`: as failed and closed as any other attempt, or the connection stands.
pub fn a_cancelled_connect_fails_or_stands<B: Bench>(bench: &B) {
    let mut rig = Rig::new(bench);
    let (_, addr) = rig.listen(0, SocketOptions::default());
    for _ in 0..8 {
        let out = rig.connect(1, addr, SocketOptions::default());
        rig.cancel(out, OpKind::Connect);
        match rig.next(out, "how the attempt ended", |_| true) {
            What::Connected { .. } => rig.submit(out, Op::Close),
            What::ConnectFailed(error) => assert_eq!(error.kind, ErrorKind::Cancelled),
            other => panic!("{other:?}"),
        }
        rig.closed(out);
    }
    rig.finish();
}

/// `attach` of what this world cannot use fails, and gives the socket back.
pub fn a_socket_of_another_world_is_handed_back<B: Bench>(bench: &B) {
    let mut rig = Rig::new(bench);
    let addr = std::net::SocketAddr::from((Ipv4Addr::LOCALHOST, 9)).into();
    let foreign = RawSocket::Virtual(Box::new("of no world"));
    let socket = Unattached { peer: addr, local: addr, raw: foreign };
    let refused = rig.port(0).attach(socket, Token::new(0, 0));
    let (error, socket) = refused.expect_err("this socket is of no use");
    assert_eq!(error.kind, ErrorKind::Unsupported);
    let RawSocket::Virtual(inside) = socket.raw else { panic!("another socket came back") };
    assert!(inside.is::<&str>(), "another socket came back");
    rig.finish();
}
