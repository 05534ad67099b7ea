//! `Op::Watch` and `Port::link`: what is known of a peer that nothing is received from.

use super::bench::Bench;
use super::rig::{Rig, Side, shared};
use crate::{End, ErrorKind, Op, OpKind, Port, SendMode, Until, World};
use longshore_base::SEND_BYTES_MAX;
use std::time::Duration;

fn watch<B: Bench>(rig: &mut Rig<'_, B>, side: Side, half: bool) {
    rig.submit(side, Op::Watch { half });
}

fn is_reset(end: End) -> bool {
    matches!(end, End::Failed(error) if error.kind == ErrorKind::Reset)
}

/// Who does not read learns of a peer that is gone, whichever end was asked for.
pub fn a_reset_is_told_though_nothing_is_received<B: Bench>(bench: &B) {
    for half in [false, true] {
        let mut rig = Rig::new(bench);
        let (inside, out) = rig.pair();
        rig.send_whole(out, b"unread");
        watch(&mut rig, inside, half);
        rig.settle();
        assert!(rig.rest(inside).is_empty(), "bytes are no end");
        rig.submit(out, Op::Abort);
        let end = rig.watched(inside);
        assert!(is_reset(end), "{end:?}");
        rig.finish();
    }
}

/// The end of the stream is told though bytes lie in front of it, and those can still be read.
pub fn the_end_of_a_stream_is_told_behind_unread_bytes<B: Bench>(bench: &B) {
    let mut rig = Rig::new(bench);
    let (inside, out) = rig.pair();
    watch(&mut rig, inside, true);
    rig.send_whole(out, b"last words");
    rig.submit(out, Op::Shutdown);
    assert_eq!(rig.watched(inside), End::Eof);
    assert_eq!(rig.read_to_end(inside), b"last words");
    rig.finish();
}

/// A peer that has only ended its stream is still there: a watch for the break goes on, and sees it.
pub fn half_an_end_is_none_unless_asked_for<B: Bench>(bench: &B) {
    let mut rig = Rig::new(bench);
    let (inside, out) = rig.pair();
    rig.submit(out, Op::Shutdown);
    assert_eq!(rig.read_to_end(inside), b"");
    watch(&mut rig, inside, false);
    rig.settle();
    assert!(rig.rest(inside).is_empty(), "the peer still reads");
    rig.send_whole(inside, b"an answer");
    assert_eq!(rig.read(out, 9), b"an answer");
    rig.submit(out, Op::Abort);
    let end = rig.watched(inside);
    assert!(is_reset(end), "{end:?}");
    rig.finish();
}

/// When both streams have ended nothing is left to come.
pub fn two_ends_are_the_end<B: Bench>(bench: &B) {
    let mut rig = Rig::new(bench);
    let (inside, out) = rig.pair();
    watch(&mut rig, inside, false);
    rig.submit(inside, Op::Shutdown);
    rig.settle();
    assert!(rig.rest(inside).is_empty(), "the peer may still send");
    rig.submit(out, Op::Shutdown);
    assert_eq!(rig.watched(inside), End::Eof);
    rig.finish();
}

/// A watch that comes too late for the news tells it all the same.
pub fn what_came_before_the_watch_is_told<B: Bench>(bench: &B) {
    let mut rig = Rig::new(bench);
    let (ended, out) = rig.pair();
    let (broken, other) = rig.pair();
    rig.submit(out, Op::Shutdown);
    rig.submit(other, Op::Abort);
    rig.settle();
    watch(&mut rig, ended, true);
    watch(&mut rig, broken, false);
    assert_eq!(rig.watched(ended), End::Eof);
    let end = rig.watched(broken);
    assert!(is_reset(end), "{end:?}");
    rig.finish();
}

/// A watch over unread bytes, or over a stream that has ended, sleeps.
pub fn bytes_that_nobody_reads_keep_nobody_awake<B: Bench>(bench: &B) {
    let mut rig = Rig::new(bench);
    let (inside, out) = rig.pair();
    let (ended, other) = rig.pair();
    rig.submit(other, Op::Shutdown);
    assert_eq!(rig.read_to_end(ended), b"");
    rig.send_whole(out, b"unread");
    watch(&mut rig, inside, true);
    watch(&mut rig, ended, false);
    rig.settle();
    let until = rig.port(0).now() + Duration::from_millis(20);
    let (count, drained) = rig.wait(0, Until::Time(until));
    assert_eq!((count, drained), (0, true), "there is nothing to say");
    assert!(!bench.blocks() || rig.port(0).now() >= until, "woken by bytes that nobody wants");
    rig.finish();
}

/// A cancelled watch ends, also when there is nothing to tell, and can be asked for again.
pub fn a_cancelled_watch_ends<B: Bench>(bench: &B) {
    let mut rig = Rig::new(bench);
    let (inside, out) = rig.pair();
    for settled in [false, true] {
        watch(&mut rig, inside, true);
        if settled {
            rig.settle();
        }
        rig.cancel(inside, OpKind::Watch);
        assert_eq!(rig.watched(inside), End::Cancelled);
    }
    watch(&mut rig, inside, true);
    rig.submit(out, Op::Close);
    assert_eq!(rig.watched(inside), End::Eof);
    rig.finish();
}

/// Closed, aborted or moved away: its watch ends before it.
pub fn a_watch_ends_with_its_socket<B: Bench>(bench: &B) {
    for op in [Op::Close, Op::Abort, Op::Detach] {
        let mut rig = Rig::new(bench);
        let (inside, out) = rig.pair();
        let moves = matches!(op, Op::Detach);
        if moves && !bench.world().abilities().moves_sockets {
            continue;
        }
        watch(&mut rig, inside, true);
        rig.recv(out, u32::MAX);
        rig.settle();
        rig.submit(inside, op);
        assert_eq!(rig.watched(inside), End::Cancelled);
        if moves {
            let socket = rig.detached(inside);
            let there = rig.attach(1, socket);
            watch(&mut rig, there, true);
            rig.submit(out, Op::Abort);
            let end = rig.watched(there);
            assert!(is_reset(end), "{end:?}");
        } else {
            rig.closed(inside);
        }
        rig.finish();
    }
}

/// Both at once: the receive gets every byte and the end, and the watch the end.
pub fn a_watch_takes_nothing_from_a_receive<B: Bench>(bench: &B) {
    let mut rig = Rig::new(bench);
    let (inside, out) = rig.pair();
    let bytes = rig.random.bytes(30_000);
    watch(&mut rig, inside, true);
    rig.recv(inside, u32::MAX);
    rig.send(out, shared(&bytes), SendMode::Whole);
    assert_eq!(rig.sent(out).error, None);
    rig.submit(out, Op::Shutdown);
    let (got, end) = rig.received_all(inside);
    assert!(got == bytes && end == End::Eof, "{} bytes, {end:?}", got.len());
    assert_eq!(rig.watched(inside), End::Eof);
    rig.finish();
}

/// While a peer does not read, bytes are unacknowledged; when it has read all, none are, and it has
/// acknowledged as many as were sent.
pub fn what_the_peer_has_not_taken_can_be_asked<B: Bench>(bench: &B) {
    let mut rig = Rig::new(bench);
    let (inside, out) = rig.narrow_pair();
    let id = rig.id(out);
    let unacknowledged = move |rig: &mut Rig<'_, B>| rig.port(1).link(id).unacknowledged_bytes;
    let acknowledged = move |rig: &mut Rig<'_, B>| rig.port(1).link(id).acknowledged_bytes;
    let Some(none) = unacknowledged(&mut rig) else { return }; // not told here
    assert_eq!(none, 0, "nothing was sent");
    let before = acknowledged(&mut rig).expect("told with the others");
    let bytes = rig.random.bytes(SEND_BYTES_MAX);
    rig.send(out, shared(&bytes), SendMode::Whole);
    rig.settle();
    let stuck = unacknowledged(&mut rig).expect("told before");
    assert!(stuck > 0 && stuck <= SEND_BYTES_MAX as u64, "{stuck} bytes");
    let taken = acknowledged(&mut rig).expect("told before") - before;
    assert!(taken < bytes.len() as u64, "{taken} bytes");
    assert!(rig.read(inside, bytes.len()) == bytes, "the stream is another one");
    assert_eq!(rig.sent(out).error, None);
    rig.until("the last acknowledgement", |rig| (unacknowledged(rig) == Some(0)).then_some(()));
    assert_eq!(acknowledged(&mut rig), Some(before + bytes.len() as u64));
    rig.finish();
}
