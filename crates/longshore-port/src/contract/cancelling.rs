//! `Port::cancel`: a wish, answered by the op's own completion.

use super::bench::Bench;
use super::rig::{Rig, bytes_of, shared};
use crate::{End, ErrorKind, Op, OpKind, SendMode, What};
use longshore_base::SEND_BYTES_MAX;

/// Bytes that race with a cancel come before `Cancelled`, or out of the next receive (R2).
pub fn no_byte_is_lost_between_a_cancel_and_the_next_receive<B: Bench>(bench: &B) {
    let mut rig = Rig::new(bench);
    let (inside, out) = rig.pair();
    let bytes = rig.random.bytes(60_000);
    let mut sent = 0;
    let mut got = Vec::new();
    while sent < bytes.len() {
        rig.recv(inside, u32::MAX);
        let count = (bytes.len() - sent).min(1 + rig.random.below(3_000));
        rig.send(out, shared(&bytes[sent..sent + count]), SendMode::Try);
        for _ in 0..rig.random.below(3) {
            rig.round();
        }
        rig.cancel(inside, OpKind::Recv);
        sent += rig.sent(out).bytes;
        let (some, end) = rig.received_all(inside);
        assert_eq!(end, End::Cancelled);
        got.extend(some);
    }
    let missing = bytes.len() - got.len();
    got.extend(rig.read(inside, missing));
    assert!(got == bytes, "the stream is another one");
    rig.finish();
}

/// A receive on a silent socket ends when it is cancelled, and can be asked for again.
pub fn a_cancelled_receive_ends_even_when_nothing_comes<B: Bench>(bench: &B) {
    let mut rig = Rig::new(bench);
    let (inside, out) = rig.pair();
    for settled in [false, true] {
        rig.recv(inside, 10);
        if settled {
            rig.settle();
        }
        rig.cancel(inside, OpKind::Recv);
        assert_eq!(rig.received_all(inside), (vec![], End::Cancelled));
    }
    rig.send_whole(out, b"afterwards");
    assert_eq!(rig.read(inside, 10), b"afterwards");
    rig.finish();
}

/// A cancelled `Whole`: the data, how much of it went at least, and that it was cancelled.
pub fn a_cancelled_whole_send_says_what_went_at_least<B: Bench>(bench: &B) {
    let mut rig = Rig::new(bench);
    let (inside, out) = rig.narrow_pair();
    let bytes = rig.random.bytes(SEND_BYTES_MAX);
    rig.send(out, shared(&bytes), SendMode::Whole);
    rig.settle();
    rig.cancel(out, OpKind::Send);
    let sent = rig.sent(out);
    assert_eq!(sent.error.map(|error| error.kind), Some(ErrorKind::Cancelled));
    assert!(sent.bytes < bytes.len());
    assert!(bytes_of(&sent.data) == bytes, "the data came back changed");
    rig.submit(out, Op::Close);
    let got = rig.read_to_end(inside);
    assert!(got.len() >= sent.bytes, "{} bytes came, {} were out", got.len(), sent.bytes);
    assert!(got == bytes[..got.len()], "the stream is another one");
    rig.closed(out);
    rig.finish();
}

/// A cancel is about one op: a receive goes on though the send beside it was cancelled.
pub fn a_cancelled_send_leaves_the_receive_alone<B: Bench>(bench: &B) {
    let mut rig = Rig::new(bench);
    let (inside, out) = rig.narrow_pair();
    let bytes = rig.random.bytes(SEND_BYTES_MAX);
    rig.recv(out, 11);
    rig.send(out, shared(&bytes), SendMode::Whole);
    rig.settle();
    rig.cancel(out, OpKind::Send);
    let sent = rig.sent(out);
    assert_eq!(sent.error.map(|error| error.kind), Some(ErrorKind::Cancelled));
    rig.settle();
    assert!(rig.rest(out).is_empty(), "nobody cancelled the receive");
    rig.send_whole(inside, b"and this is");
    assert_eq!(rig.received_all(out), (b"and this is".to_vec(), End::Credit));
    rig.finish();
}

/// Nothing in flight, nothing to end: neither a completion now nor an effect on the next op.
pub fn cancel_without_an_op_does_nothing<B: Bench>(bench: &B) {
    let mut rig = Rig::new(bench);
    let (inside, out) = rig.pair();
    let all = [OpKind::Accept, OpKind::Connect, OpKind::Recv, OpKind::Send, OpKind::Watch];
    for kind in all {
        rig.cancel(inside, kind);
    }
    rig.settle();
    assert!(rig.rest(inside).is_empty());
    rig.recv(inside, 5);
    rig.cancel(inside, OpKind::Send);
    rig.send_whole(out, b"there");
    let (bytes, end) = rig.received_all(inside);
    assert_eq!((bytes.as_slice(), end), (&b"there"[..], End::Credit));
    rig.cancel(inside, OpKind::Recv);
    rig.recv(inside, 5);
    rig.settle();
    assert!(rig.take(inside, |what| matches!(what, What::RecvEnded(_))).is_none());
    rig.finish();
}
