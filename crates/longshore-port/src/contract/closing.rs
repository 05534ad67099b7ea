//! `Close`, `Abort`, stale ids, slots used again, and dropping a port.

use super::bench::Bench;
use super::rig::{Rig, Sent, Side, bytes_of, must_panic, shared};
use crate::{
    End, ErrorKind, Link, Op, OpKind, Port, Segment, SendData, SendMode, SocketOptions, What, Work,
};
use longshore_base::SEND_BYTES_MAX;
use std::collections::BTreeMap;

/// Ends a connection with a receive in flight and a send to a peer that does not read: both end, and
/// the data comes back. The peer's side, the one that ended, what was to be sent, and its answer.
fn end_while_stuck<B: Bench>(rig: &mut Rig<'_, B>, end: Op) -> (Side, Side, Vec<u8>, Sent) {
    let (inside, out) = rig.narrow_pair();
    let bytes = rig.random.bytes(SEND_BYTES_MAX);
    rig.recv(out, u32::MAX);
    rig.send(out, shared(&bytes), SendMode::Whole);
    rig.settle();
    rig.submit(out, end);
    assert_eq!(rig.received_all(out), (vec![], End::Cancelled));
    let sent = rig.sent(out);
    assert!(sent.error.is_some() && sent.bytes < bytes.len(), "a send that was cut off: {sent:?}");
    assert!(bytes_of(&sent.data) == bytes, "the data came back changed");
    (inside, out, bytes, sent)
}

/// `Close` with a receive and a send in flight: both end, the data comes back, `Closed` is last,
/// and the peer gets what was said to be out, then the end of the stream.
pub fn close_ends_everything_and_says_closed_last<B: Bench>(bench: &B) {
    let mut rig = Rig::new(bench);
    let (inside, out, bytes, sent) = end_while_stuck(&mut rig, Op::Close);
    let what = rig.next(out, "`Closed`", |_| true);
    assert!(matches!(what, What::Closed), "{what:?}");
    let got = rig.read_to_end(inside);
    assert!(got.len() >= sent.bytes, "{} bytes came, {} were out", got.len(), sent.bytes);
    assert!(got == bytes[..got.len()], "the stream is another one");
    rig.finish();
}

/// The peer of a socket that closes while it receives sees the end of the stream (R4).
pub fn close_with_a_receive_in_flight_reaches_the_peer<B: Bench>(bench: &B) {
    let mut rig = Rig::new(bench);
    let pairs: Vec<_> = (0..16).map(|_| rig.pair()).collect();
    for &(inside, out) in &pairs {
        rig.recv(inside, u32::MAX);
        rig.recv(out, u32::MAX);
    }
    rig.settle();
    for &(inside, _) in &pairs {
        rig.submit(inside, Op::Close);
    }
    for &(inside, out) in &pairs {
        assert_eq!(rig.received_all(out), (vec![], End::Eof));
        assert_eq!(rig.received_all(inside), (vec![], End::Cancelled));
        rig.closed(inside);
    }
    rig.finish();
}

/// A close takes nothing back: what was sent arrives, then the end of the stream.
pub fn close_delivers_what_was_sent_before<B: Bench>(bench: &B) {
    let mut rig = Rig::new(bench);
    let (inside, out) = rig.pair();
    let bytes = rig.random.bytes(50_000);
    rig.send(out, shared(&bytes), SendMode::Try);
    let sent = rig.sent(out);
    rig.submit(out, Op::Close);
    rig.closed(out);
    assert!(rig.read_to_end(inside) == bytes[..sent.bytes], "the stream is another one");
    rig.finish();
}

/// `Abort` ends what is in flight like `Close`, and the peer sees a reset.
pub fn abort_resets_the_peer<B: Bench>(bench: &B) {
    let mut rig = Rig::new(bench);
    let (inside, out) = rig.pair();
    rig.recv(inside, u32::MAX);
    rig.recv(out, u32::MAX);
    rig.settle();
    rig.submit(inside, Op::Abort);
    assert_eq!(rig.received_all(inside), (vec![], End::Cancelled));
    rig.closed(inside);
    let (_, end) = rig.received_all(out);
    assert!(matches!(end, End::Failed(error) if error.kind == ErrorKind::Reset), "{end:?}");
    rig.finish();
}

/// `Abort` ends a send that waits for a peer that does not read: its data comes back, the peer sees
/// a reset, and the receive at its side ends so as well.
pub fn abort_ends_a_send_that_is_stuck<B: Bench>(bench: &B) {
    let mut rig = Rig::new(bench);
    let (inside, out, bytes, _) = end_while_stuck(&mut rig, Op::Abort);
    rig.closed(out);
    rig.settle();
    rig.recv(inside, u32::MAX);
    let (got, end) = rig.received_all(inside);
    assert!(got == bytes[..got.len()], "the stream is another one");
    assert!(matches!(end, End::Failed(error) if error.kind == ErrorKind::Reset), "{end:?}");
    rig.finish();
}

/// A `Close` right behind a send that does not wait: what that took arrives, then the end.
pub fn a_close_behind_a_try_lets_it_go_first<B: Bench>(bench: &B) {
    for receiving in [false, true] {
        let mut rig = Rig::new(bench);
        let (inside, out) = rig.pair();
        let bytes = rig.random.bytes(1_000);
        if receiving {
            rig.recv(out, u32::MAX);
            rig.settle();
        }
        rig.send(out, shared(&bytes), SendMode::Try);
        rig.submit(out, Op::Close);
        let sent = rig.sent(out);
        assert_eq!(sent.error, None, "it was tried");
        assert!(bench.is_simulated() || sent.bytes == bytes.len(), "there was room for all of it");
        rig.closed(out);
        assert!(rig.read_to_end(inside) == bytes[..sent.bytes], "the stream is another one");
        rig.finish();
    }
}

/// After `Closed` an id names nothing, also when its slot has a new tenant: ops are dropped with
/// what they hold, cancels are ignored (R6).
pub fn a_stale_id_finds_nothing<B: Bench>(bench: &B) {
    let mut rig = Rig::new(bench);
    let (inside, out) = rig.pair();
    let stale = rig.id(out);
    rig.submit(out, Op::Close);
    rig.closed(out);
    let (_, tenant) = rig.pair();
    assert_ne!(rig.id(tenant), stale);
    rig.recv(tenant, 10);
    let segment = bytes::Bytes::from(vec![1; 10]);
    let data = SendData::One(Segment::Shared(segment.clone()));
    let port = rig.port(1);
    port.submit(stale, Op::Recv { credit: 10 });
    port.submit(stale, Op::Send { data, mode: SendMode::Try, prompt: true });
    port.submit(stale, Op::Shutdown);
    port.submit(stale, Op::Close);
    for kind in [OpKind::Accept, OpKind::Connect, OpKind::Recv, OpKind::Send, OpKind::Watch] {
        port.cancel(stale, kind);
    }
    assert_eq!(port.link(stale), Link::default());
    rig.settle();
    assert!(segment.is_unique(), "the op of nobody kept its data");
    assert!(rig.rest(tenant).is_empty(), "an act on a stale id reached the next tenant");
    assert_eq!(rig.read_to_end(inside), b"");
    rig.finish();
}

/// Nothing follows `Close`.
pub fn an_op_after_close_is_a_bug_and_panics<B: Bench>(bench: &B) {
    let mut rig = Rig::new(bench);
    let (_inside, out) = rig.pair();
    rig.recv(out, 10);
    rig.submit(out, Op::Close);
    let id = rig.id(out);
    must_panic("a receive after `Close`", || rig.port(1).submit(id, Op::Recv { credit: 10 }));
}

/// Connections of one round of churn; the slots and descriptors of the last round are used again.
const LANES: usize = 64;

/// One side of a tagged connection.
struct Tagged {
    /// Every 8 bytes of the stream; an accepted side learns it from the first ones.
    tag: Option<[u8; 8]>,
    torn: Vec<u8>,
    got: usize,
    closing: bool,
}

/// Connections come and go 64 at a time with ops in flight: no byte reaches a foreign one (R3).
pub fn a_reused_slot_never_gets_foreign_bytes<B: Bench>(bench: &B) {
    let mut rig = Rig::new(bench);
    let (listener, addr) = rig.listen(0, SocketOptions::default());
    rig.submit(listener, Op::Accept { credit: u32::MAX });
    let mut sides = BTreeMap::new();
    for round in 0..6u64 {
        let outs: Vec<_> = (0..LANES as u64)
            .map(|lane| {
                let out = rig.connect(1, addr, SocketOptions::default());
                let tag = Some((round << 32 | lane).to_be_bytes());
                sides.insert(out, Tagged { tag, torn: vec![], got: 0, closing: false });
                out
            })
            .collect();
        rig.until("the echoes of a round", |rig| {
            churn(rig, &mut sides);
            let lives = |out| sides.get(out).is_some_and(|side| !side.closing && side.got < 48);
            (!outs.iter().any(lives)).then_some(())
        });
        // The rest closes while the next round connects: their slots are used again at once.
        for out in outs {
            if sides.get(&out).is_some_and(|side| !side.closing) {
                leave(&mut rig, out, &mut sides);
            }
        }
    }
    rig.until("the end of all connections", |rig| {
        churn(rig, &mut sides);
        sides.is_empty().then_some(())
    });
    rig.finish();
}

fn leave<B: Bench>(rig: &mut Rig<'_, B>, side: Side, sides: &mut BTreeMap<Side, Tagged>) {
    let op = if rig.random.below(4) == 0 { Op::Abort } else { Op::Close };
    rig.submit(side, op);
    sides.get_mut(&side).expect("a side of this test").closing = true;
}

fn churn<B: Bench>(rig: &mut Rig<'_, B>, sides: &mut BTreeMap<Side, Tagged>) {
    for (side, what) in rig.drain() {
        match what {
            What::Accepted(socket) => {
                let side = rig.attach(0, socket);
                sides.insert(side, Tagged { tag: None, torn: vec![], got: 0, closing: false });
                rig.recv(side, u32::MAX);
            }
            What::Connected { .. } => {
                let tag = sides[&side].tag.expect("the side that connected has one");
                rig.recv(side, u32::MAX);
                rig.send(side, shared(&tag.repeat(6)), SendMode::Whole);
                if rig.random.below(3) == 0 {
                    leave(rig, side, sides); // with everything in flight
                }
            }
            What::Received(lease) => {
                let tagged = sides.get_mut(&side).expect("a side of this test");
                check(tagged, &lease);
                let echo = rig.port_of(side) == 0 && !tagged.closing;
                if echo && tagged.got == 48 {
                    let tag = tagged.tag.expect("48 bytes have one");
                    rig.send(side, shared(&tag.repeat(6)), SendMode::Whole);
                }
            }
            What::RecvEnded(_) if !sides[&side].closing => leave(rig, side, sides),
            What::Closed => drop(sides.remove(&side)),
            _ => {}
        }
    }
}

fn check(tagged: &mut Tagged, bytes: &[u8]) {
    tagged.got += bytes.len();
    tagged.torn.extend_from_slice(bytes);
    while let Some((first, rest)) = tagged.torn.split_first_chunk::<8>() {
        let tag = *tagged.tag.get_or_insert(*first);
        assert_eq!(*first, tag, "bytes of another connection");
        tagged.torn = rest.to_vec();
    }
}

/// Dropping a port with everything in flight returns, and its peers see their connections end.
pub fn dropping_a_port_ends_its_connections<B: Bench>(bench: &B) {
    let mut rig = Rig::new(bench);
    let (listener, addr) = rig.listen(0, SocketOptions::default());
    rig.submit(listener, Op::Accept { credit: u32::MAX });
    let outs: Vec<_> = (0..8)
        .map(|n| {
            let (inside, out) = rig.narrow_pair();
            rig.recv(out, u32::MAX);
            rig.recv(inside, u32::MAX);
            if n % 2 == 0 {
                rig.send(inside, shared(&vec![n; SEND_BYTES_MAX]), SendMode::Whole);
            }
            out
        })
        .collect();
    let never_accepted = rig.connect(1, addr, SocketOptions::default());
    rig.start(0, Work::Job(Box::new(|| Box::new(()))));
    rig.connect(0, addr, SocketOptions::default());
    rig.drop_port(0);
    for out in outs {
        let (_, end) = rig.received_all(out);
        let reset = matches!(end, End::Failed(error) if error.kind == ErrorKind::Reset);
        assert!(reset || end == End::Eof, "{end:?}");
    }
    rig.next(never_accepted, "an end of the attempt", |_| true);
    rig.finish();
}

/// A dropped port has the system let go of what it was to send, and lets go of it too.
pub fn a_dropped_port_keeps_nothing_of_its_sends<B: Bench>(bench: &B) {
    let mut rig = Rig::new(bench);
    let bytes = bytes::Bytes::from(vec![5; SEND_BYTES_MAX]);
    for _ in 0..4 {
        let (inside, _out) = rig.narrow_pair();
        let data = SendData::One(Segment::Shared(bytes.clone()));
        rig.send(inside, data, SendMode::Whole);
    }
    rig.settle();
    rig.drop_port(0);
    assert!(bytes.is_unique(), "somebody still has what was to be sent");
    rig.finish();
}
