//! `Op::Recv`: a stream with a credit.

use super::bench::Bench;
use super::rig::{Rig, must_panic, shared};
use crate::{End, ErrorKind, Op, Port, PortConfig, SendMode};

/// At most credit and one lease come, then `End::Credit`; the next receive gets the rest, in order.
pub fn credit_bounds_what_comes_and_a_new_one_goes_on<B: Bench>(bench: &B) {
    let small = PortConfig { recv_blocks: 16, recv_block_bytes: 4096, ..PortConfig::default() };
    let lease_bytes_max = small.recv_block_bytes as usize;
    let mut rig = Rig::with(bench, &[small, PortConfig::default()]);
    let (inside, out) = rig.pair();
    let bytes = rig.random.bytes(40_000);
    rig.send(out, shared(&bytes), SendMode::Whole);
    rig.settle();
    let mut got = Vec::new();
    for credit in [1, 100, 5_000, 10_000] {
        rig.recv(inside, credit);
        let (some, end) = rig.received_all(inside);
        assert_eq!(end, End::Credit);
        let credit = credit as usize;
        assert!(some.len() >= credit, "{} bytes of a credit of {credit}", some.len());
        assert!(some.len() < credit + lease_bytes_max, "{} for a credit of {credit}", some.len());
        got.extend(some);
        rig.settle();
        assert!(rig.rest(inside).is_empty(), "bytes after the credit was used up");
    }
    let missing = bytes.len().saturating_sub(got.len());
    got.extend(rig.read(inside, missing));
    assert!(got == bytes, "the stream is another one");
    assert_eq!(rig.sent(out).error, None);
    rig.finish();
}

/// `RecvEnded(Eof)` once, after the last byte; no receive gives an empty lease.
pub fn the_end_of_the_stream_comes_once_and_never_as_bytes<B: Bench>(bench: &B) {
    let mut rig = Rig::new(bench);
    let (inside, out) = rig.pair();
    rig.recv(inside, u32::MAX);
    rig.send_whole(out, b"last words");
    rig.submit(out, Op::Shutdown);
    assert_eq!(rig.received_all(inside), (b"last words".to_vec(), End::Eof));
    rig.settle();
    assert!(rig.rest(inside).is_empty(), "the stream had ended");
    rig.finish();
}

/// After `Shutdown` the peer sees the end, while bytes still flow the other way (R27).
pub fn a_half_closed_side_still_receives<B: Bench>(bench: &B) {
    let mut rig = Rig::new(bench);
    let (inside, out) = rig.pair();
    rig.recv(out, u32::MAX);
    rig.send_whole(out, b"a question");
    rig.submit(out, Op::Shutdown);
    assert_eq!(rig.read_to_end(inside), b"a question");
    let answer = rig.random.bytes(100_000);
    rig.send_whole(inside, &answer);
    rig.submit(inside, Op::Shutdown);
    let (bytes, end) = rig.received_all(out);
    assert_eq!(end, End::Eof);
    assert!(bytes == answer, "the answer is another one");
    rig.finish();
}

/// A reset is told as such, not as an end of stream.
pub fn a_reset_ends_the_receive_with_that_reason<B: Bench>(bench: &B) {
    let mut rig = Rig::new(bench);
    let (inside, out) = rig.pair();
    rig.recv(inside, u32::MAX);
    rig.settle();
    rig.submit(out, Op::Abort);
    let (bytes, end) = rig.received_all(inside);
    assert!(bytes.is_empty());
    assert!(matches!(end, End::Failed(error) if error.kind == ErrorKind::Reset), "{end:?}");
    rig.finish();
}

/// At most one receive is in flight per socket.
pub fn a_second_receive_is_a_bug_and_panics<B: Bench>(bench: &B) {
    let mut rig = Rig::new(bench);
    let (inside, _out) = rig.pair();
    rig.recv(inside, 10);
    let id = rig.id(inside);
    must_panic("a second receive", || rig.port(0).submit(id, Op::Recv { credit: 10 }));
}
