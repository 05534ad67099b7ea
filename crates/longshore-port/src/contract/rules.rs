//! What may be asked of a socket, and what is the caller's bug: the same on every driver.

use super::bench::Bench;
use super::rig::{Rig, Side, must_panic, shared};
use crate::{Op, OpKind, Port, Segment, SendData, SendMode, SocketOptions, What};
use bytes::Bytes;
use longshore_base::{Block, Lease, SEGMENTS_MAX, SEND_BYTES_MAX};

/// Asks for what may not be asked for. Nothing comes of it, so the judge is not told.
fn refused<B: Bench>(rig: &mut Rig<'_, B>, side: Side, op: Op) {
    let (at, id) = (rig.port_of(side), rig.id(side));
    let what = format!("{op:?}");
    must_panic(&what, || rig.port(at).submit(id, op));
}

fn send(data: SendData, mode: SendMode) -> Op {
    Op::Send { data, mode, prompt: true }
}

fn shared_of(bytes: usize) -> Segment {
    Segment::Shared(Bytes::from(vec![7; bytes]))
}

/// Connections do not accept, listeners do nothing else.
pub fn each_op_has_its_kind_of_socket<B: Bench>(bench: &B) {
    let mut rig = Rig::new(bench);
    let (listener, _) = rig.listen(0, SocketOptions::default());
    let (inside, _out) = rig.pair();
    refused(&mut rig, inside, Op::Accept { credit: 1 });
    refused(&mut rig, listener, Op::Recv { credit: 1 });
    refused(&mut rig, listener, Op::Watch { half: true });
    refused(&mut rig, listener, send(shared(b"to nobody"), SendMode::Try));
    refused(&mut rig, listener, Op::Shutdown);
    refused(&mut rig, listener, Op::Detach);
    rig.finish();
}

/// At most one accept is in flight per listener.
pub fn a_second_accept_is_a_bug_and_panics<B: Bench>(bench: &B) {
    let mut rig = Rig::new(bench);
    let (listener, _) = rig.listen(0, SocketOptions::default());
    rig.submit(listener, Op::Accept { credit: 1 });
    refused(&mut rig, listener, Op::Accept { credit: 1 });
    rig.finish();
}

/// At most one watch is in flight per connection.
pub fn a_second_watch_is_a_bug_and_panics<B: Bench>(bench: &B) {
    let mut rig = Rig::new(bench);
    let (inside, _out) = rig.pair();
    rig.submit(inside, Op::Watch { half: true });
    refused(&mut rig, inside, Op::Watch { half: false });
    rig.finish();
}

/// A receive or an accept of nothing would never end.
pub fn a_stream_op_has_a_credit<B: Bench>(bench: &B) {
    let mut rig = Rig::new(bench);
    let (listener, _) = rig.listen(0, SocketOptions::default());
    let (inside, _out) = rig.pair();
    refused(&mut rig, listener, Op::Accept { credit: 0 });
    refused(&mut rig, inside, Op::Recv { credit: 0 });
    rig.finish();
}

/// A send has at least one byte: the answer to one of none could not be told from no room.
pub fn a_send_has_something_to_send<B: Bench>(bench: &B) {
    let mut rig = Rig::new(bench);
    let (inside, _out) = rig.pair();
    for mode in [SendMode::Try, SendMode::Whole] {
        refused(&mut rig, inside, send(shared(b""), mode));
        let block = Segment::Block(Block::new(vec![]));
        refused(&mut rig, inside, send(SendData::One(block), mode));
        refused(&mut rig, inside, send(SendData::Many(vec![]), mode));
        refused(&mut rig, inside, send(SendData::Many(vec![shared_of(0)]), mode));
    }
    rig.finish();
}

/// At most `SEND_BYTES_MAX` bytes in at most `SEGMENTS_MAX` segments; exactly so many go.
pub fn a_send_has_a_greatest_size<B: Bench>(bench: &B) {
    let mut rig = Rig::new(bench);
    let (inside, out) = rig.pair();
    let many = |count| SendData::Many((0..count).map(|_| shared_of(1)).collect());
    for mode in [SendMode::Try, SendMode::Whole] {
        let halves = vec![shared_of(SEND_BYTES_MAX / 2), shared_of(SEND_BYTES_MAX / 2 + 1)];
        refused(&mut rig, inside, send(SendData::One(shared_of(SEND_BYTES_MAX + 1)), mode));
        refused(&mut rig, inside, send(SendData::Many(halves), mode));
        refused(&mut rig, inside, send(many(SEGMENTS_MAX + 1), mode));
    }
    rig.send(inside, many(SEGMENTS_MAX), SendMode::Whole);
    assert_eq!(rig.read(out, SEGMENTS_MAX).len(), SEGMENTS_MAX);
    assert_eq!(rig.sent(inside).error, None);
    rig.send(inside, SendData::One(shared_of(SEND_BYTES_MAX)), SendMode::Whole);
    assert_eq!(rig.read(out, SEND_BYTES_MAX).len(), SEND_BYTES_MAX);
    assert_eq!(rig.sent(inside).error, None);
    rig.finish();
}

/// A peer that does not read must not pin receive memory.
pub fn a_send_that_waits_has_no_lease<B: Bench>(bench: &B) {
    let mut rig = Rig::new(bench);
    let (inside, out) = rig.pair();
    rig.recv(inside, u32::MAX);
    rig.send_whole(out, b"lent");
    let Ok(lease) = rig.received(inside) else { panic!("no bytes") };
    let data = SendData::Many(vec![shared_of(1), Segment::Leased(lease.slice(0..1))]);
    refused(&mut rig, inside, send(data, SendMode::Whole));
    refused(&mut rig, inside, send(SendData::One(Segment::Leased(lease)), SendMode::Whole));
    rig.finish();
}

/// Behind a send whose answer is not out, nobody knows whether all of it would go before the end.
pub fn shutdown_is_not_behind_an_unanswered_send<B: Bench>(bench: &B) {
    for (mode, size) in [(SendMode::Try, 10), (SendMode::Whole, SEND_BYTES_MAX)] {
        let mut rig = Rig::new(bench);
        let (inside, out) = rig.narrow_pair();
        rig.send(out, SendData::One(shared_of(size)), mode);
        refused(&mut rig, out, Op::Shutdown);
        let got = if mode == SendMode::Whole { rig.read(inside, size).len() } else { 0 };
        let sent = rig.sent(out);
        rig.submit(out, Op::Shutdown);
        assert_eq!(got + rig.read_to_end(inside).len(), sent.bytes, "the end overtook bytes");
        rig.finish();
    }
}

/// Also an op that ends at once is in flight until a wait has told of its end.
pub fn a_try_is_in_flight_until_it_is_answered<B: Bench>(bench: &B) {
    let mut rig = Rig::new(bench);
    let (_inside, out) = rig.pair();
    rig.send(out, shared(b"first"), SendMode::Try);
    refused(&mut rig, out, send(shared(b"second"), SendMode::Try));
    rig.sent(out);
    rig.recv(out, 5);
    rig.cancel(out, OpKind::Recv);
    refused(&mut rig, out, Op::Recv { credit: 5 });
    rig.received_all(out);
    rig.finish();
}

/// Until `Connected` is out a connection can only be given up.
pub fn nothing_but_an_end_before_a_connection_stands<B: Bench>(bench: &B) {
    let mut rig = Rig::new(bench);
    let (_, addr) = rig.listen(0, SocketOptions::default());
    for end in [Op::Close, Op::Abort] {
        let out = rig.connect(1, addr, SocketOptions::default());
        refused(&mut rig, out, Op::Recv { credit: 1 });
        refused(&mut rig, out, Op::Watch { half: true });
        refused(&mut rig, out, send(shared(b"hello"), SendMode::Try));
        refused(&mut rig, out, Op::Shutdown);
        refused(&mut rig, out, Op::Detach);
        rig.submit(out, end);
        rig.closed(out);
    }
    rig.finish();
}

/// After a send that was cancelled nobody knows what the peer has: the connection can only end.
pub fn nothing_but_an_end_behind_a_cancelled_send<B: Bench>(bench: &B) {
    for end in [Op::Close, Op::Abort] {
        let mut rig = Rig::new(bench);
        let (_inside, out) = rig.narrow_pair();
        rig.send(out, SendData::One(shared_of(SEND_BYTES_MAX)), SendMode::Whole);
        rig.settle();
        rig.cancel(out, OpKind::Send);
        assert!(rig.sent(out).error.is_some());
        refused(&mut rig, out, send(shared(b"and on"), SendMode::Try));
        refused(&mut rig, out, Op::Recv { credit: 1 });
        refused(&mut rig, out, Op::Shutdown);
        refused(&mut rig, out, Op::Detach);
        rig.submit(out, end);
        let what = rig.next(out, "`Closed`", |_| true);
        assert!(matches!(what, What::Closed), "{what:?}");
        rig.finish();
    }
}
