//! `Detach` and `attach`: a socket leaves one port whole and goes on in another.

use super::bench::Bench;
use super::rig::{Rig, Side, must_panic, shared};
use crate::{Call, End, ErrorKind, Op, OpKind, Port, PortConfig, SendMode, What, World};
use longshore_base::SEND_BYTES_MAX;

/// Three ports, the third one to move to; nothing if ports of this world cannot do that.
fn rig<B: Bench>(bench: &B) -> Option<Rig<'_, B>> {
    let moves = bench.world().abilities().moves_sockets;
    let configs = [const { None::<PortConfig> }; 3].map(Option::unwrap_or_default);
    moves.then(|| Rig::with(bench, &configs))
}

fn move_to<B: Bench>(rig: &mut Rig<'_, B>, to: usize, side: Side) -> Side {
    let socket = rig.detached(side);
    rig.attach(to, socket)
}

/// A receive in flight ends as cancelled; addresses stay; the other port goes on both ways.
pub fn a_socket_moves_while_it_receives<B: Bench>(bench: &B) {
    let Some(mut rig) = rig(bench) else { return };
    let (inside, out) = rig.pair();
    rig.recv(inside, u32::MAX);
    rig.settle();
    rig.submit(inside, Op::Detach);
    let id = rig.id(inside);
    must_panic("a receive after `Detach`", || rig.port(0).submit(id, Op::Recv { credit: 1 }));
    assert_eq!(rig.received_all(inside), (vec![], End::Cancelled));
    let socket = rig.detached(inside);
    assert_eq!(rig.port(0).sockets(), 0, "the socket has left");
    rig.port(0).cancel(id, OpKind::Recv);
    rig.port(0).submit(id, Op::Close);
    let moved = rig.attach(2, socket);
    rig.send_whole(out, b"still you?");
    assert_eq!(rig.read(moved, 10), b"still you?");
    rig.send_whole(moved, b"still me");
    assert_eq!(rig.read(out, 8), b"still me");
    rig.finish();
}

/// `Detached` comes after the answer of the send, and the stream goes on right behind it.
pub fn a_move_waits_for_the_send_in_flight<B: Bench>(bench: &B) {
    let Some(mut rig) = rig(bench) else { return };
    let (inside, out) = rig.narrow_pair();
    let bytes = rig.random.bytes(SEND_BYTES_MAX);
    rig.recv(inside, u32::MAX);
    rig.send(inside, shared(&bytes), SendMode::Whole);
    rig.settle();
    rig.submit(inside, Op::Detach);
    assert_eq!(rig.received_all(inside), (vec![], End::Cancelled));
    rig.settle();
    assert!(rig.rest(inside).is_empty(), "the send in flight is not answered yet");
    assert!(rig.read(out, bytes.len()) == bytes, "the stream is another one");
    let sent = rig.sent(inside);
    assert_eq!((sent.bytes, sent.error), (bytes.len(), None));
    let moved = move_to(&mut rig, 2, inside);
    rig.send_whole(moved, b"and on");
    assert_eq!(rig.read(out, 6), b"and on");
    rig.finish();
}

/// Bytes that race with a move are received before it or after it, in order.
pub fn a_move_with_bytes_under_way_loses_none<B: Bench>(bench: &B) {
    let Some(mut rig) = rig(bench) else { return };
    let (mut inside, out) = rig.pair();
    let bytes = rig.random.bytes(40_000);
    let mut got = Vec::new();
    let mut sent = 0;
    for to in [2, 0].into_iter().cycle().take(10) {
        rig.recv(inside, u32::MAX);
        let count = (bytes.len() - sent).min(4_000);
        rig.send(out, shared(&bytes[sent..sent + count]), SendMode::Try);
        if rig.random.below(2) == 0 {
            rig.round();
        }
        rig.submit(inside, Op::Detach);
        let (some, end) = rig.received_all(inside);
        assert_eq!(end, End::Cancelled);
        got.extend(some);
        sent += rig.sent(out).bytes;
        inside = move_to(&mut rig, to, inside);
    }
    let missing = sent - got.len();
    got.extend(rig.read(inside, missing));
    assert!(got == bytes[..sent], "the stream is another one");
    rig.finish();
}

/// A move that waits for a send to a peer that does not read can be given up: `Abort` ends the send,
/// and the socket closes instead of leaving.
pub fn abort_overtakes_a_move<B: Bench>(bench: &B) {
    let Some(mut rig) = rig(bench) else { return };
    let (inside, out) = rig.narrow_pair();
    let bytes = rig.random.bytes(SEND_BYTES_MAX);
    rig.send(out, shared(&bytes), SendMode::Whole);
    rig.settle();
    rig.submit(out, Op::Detach);
    rig.settle();
    rig.submit(out, Op::Abort);
    let sent = rig.sent(out);
    assert!(sent.error.is_some() && sent.bytes < bytes.len(), "a send that was cut off: {sent:?}");
    let what = rig.next(out, "`Closed`", |_| true);
    assert!(matches!(what, What::Closed), "{what:?}");
    rig.settle();
    rig.recv(inside, u32::MAX);
    let (_, end) = rig.received_all(inside);
    assert!(matches!(end, End::Failed(error) if error.kind == ErrorKind::Reset), "{end:?}");
    rig.finish();
}

/// Where sockets cannot leave, `Detach` says so behind the end of the receive, and the connection
/// goes on as it was.
pub fn a_socket_that_cannot_move_stays<B: Bench>(bench: &B) {
    if bench.world().abilities().moves_sockets {
        return;
    }
    let mut rig = Rig::new(bench);
    let (inside, out) = rig.pair();
    rig.recv(inside, u32::MAX);
    rig.submit(inside, Op::Detach);
    assert_eq!(rig.received_all(inside), (vec![], End::Cancelled));
    let what = rig.next(inside, "`DetachFailed`", |_| true);
    let What::DetachFailed(error) = what else { panic!("{what:?}") };
    assert_eq!((error.call, error.kind), (Call::Detach, ErrorKind::Unsupported));
    rig.send_whole(out, b"still there?");
    assert_eq!(rig.read(inside, 12), b"still there?");
    rig.send_whole(inside, b"still here");
    assert_eq!(rig.read(out, 10), b"still here");
    rig.finish();
}

/// A `Detach` that is to fail ends the watch as well, and waits for the send in flight; it can be
/// given up meanwhile.
pub fn a_socket_that_cannot_move_sends_first<B: Bench>(bench: &B) {
    if bench.world().abilities().moves_sockets {
        return;
    }
    for gives_up in [false, true] {
        let mut rig = Rig::new(bench);
        let (inside, out) = rig.narrow_pair();
        let bytes = rig.random.bytes(SEND_BYTES_MAX);
        rig.submit(inside, Op::Watch { half: true });
        rig.send(inside, shared(&bytes), SendMode::Whole);
        rig.settle();
        rig.submit(inside, Op::Detach);
        assert_eq!(rig.watched(inside), End::Cancelled);
        rig.settle();
        assert!(rig.rest(inside).is_empty(), "the send in flight is not answered yet");
        if gives_up {
            rig.submit(inside, Op::Abort);
            let sent = rig.sent(inside);
            assert!(sent.error.is_some() && sent.bytes < bytes.len(), "it was cut off: {sent:?}");
            let what = rig.next(inside, "`Closed`", |_| true);
            assert!(matches!(what, What::Closed), "{what:?}");
        } else {
            assert!(rig.read(out, bytes.len()) == bytes, "the stream is another one");
            let sent = rig.sent(inside);
            assert_eq!((sent.bytes, sent.error), (bytes.len(), None));
            let what = rig.next(inside, "`DetachFailed`", |_| true);
            assert!(matches!(what, What::DetachFailed(_)), "{what:?}");
            rig.submit(inside, Op::Watch { half: true });
            rig.send_whole(inside, b"still here");
            assert_eq!(rig.read(out, 10), b"still here");
            rig.submit(out, Op::Shutdown);
            assert_eq!(rig.watched(inside), End::Eof);
        }
        rig.finish();
    }
}
