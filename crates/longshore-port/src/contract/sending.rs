//! `Op::Send`: what goes out, what is answered, and that the data comes back.

use super::bench::Bench;
use super::rig::{Rig, Side, bytes_of, must_panic, shared, size};
use crate::{ErrorKind, Op, Port, Segment, SendData, SendMode, Until, What};
use bytes::Bytes;
use longshore_base::{Block, Lease, SEND_BYTES_MAX};
use std::time::Duration;

/// `Try` to a peer that does not read is answered all the same, with how much went.
pub fn try_ends_short_when_there_is_no_room<B: Bench>(bench: &B) {
    let mut rig = Rig::new(bench);
    let (inside, out) = rig.narrow_pair();
    let bytes = rig.random.bytes(SEND_BYTES_MAX);
    let mut gone = Vec::new();
    let mut full = 0;
    for _ in 0..64 {
        rig.send(out, shared(&bytes), SendMode::Try);
        let sent = rig.sent(out);
        assert_eq!(sent.error, None, "no room is no error");
        assert!(bytes_of(&sent.data) == bytes, "the data came back changed");
        gone.extend_from_slice(&bytes[..sent.bytes]);
        full += u32::from(sent.bytes == 0);
    }
    assert!(full > 0, "64 times 256 KiB found room in a small window");
    assert!(rig.read(inside, gone.len()) == gone, "the stream is another one");
    rig.finish();
}

/// Many segments of all three kinds leave in one go, each in its place, and come back as they were.
pub fn try_sends_segments_of_every_kind_in_order<B: Bench>(bench: &B) {
    let mut rig = Rig::new(bench);
    let (inside, out) = rig.pair();
    rig.recv(inside, u32::MAX);
    rig.send_whole(out, b"<lent>");
    let Ok(lease) = rig.received(inside) else { panic!("no bytes") };
    let lent = lease.to_vec();
    let mut data = Vec::new();
    for n in 0..20u8 {
        let mut block = Block::new(vec![n; 30]);
        block.advance(10);
        data.push(Segment::Block(block));
        data.push(Segment::Shared(Bytes::from(vec![100 + n; 5])));
        data.push(Segment::Leased(lease.slice(usize::from(n) % lent.len()..lent.len())));
    }
    drop(lease);
    let data = SendData::Many(data);
    let want = bytes_of(&data);
    rig.send(inside, data, SendMode::Try);
    let sent = rig.sent(inside);
    assert_eq!(sent.error, None);
    assert_eq!(sent.data.segments().len(), 60);
    assert_eq!(bytes_of(&sent.data), want);
    assert_eq!(rig.read(out, sent.bytes), want[..sent.bytes]);
    drop(sent);
    rig.finish();
}

/// `Whole` is answered when all is out: with a window smaller than it, not before the peer reads.
pub fn whole_waits_until_the_peer_has_read<B: Bench>(bench: &B) {
    let mut rig = Rig::new(bench);
    let (inside, out) = rig.narrow_pair();
    let bytes = rig.random.bytes(SEND_BYTES_MAX);
    rig.send(out, shared(&bytes), SendMode::Whole);
    rig.settle();
    assert!(rig.rest(out).is_empty(), "256 KiB found room in a small window");
    assert!(rig.read(inside, bytes.len()) == bytes, "the stream is another one");
    let sent = rig.sent(out);
    assert_eq!((sent.bytes, sent.error), (bytes.len(), None));
    assert!(bytes_of(&sent.data) == bytes, "the data came back changed");
    rig.finish();
}

/// One direction of a stream under test.
struct Flow {
    from: Side,
    to: Side,
    bytes: Vec<u8>,
    sent: usize,
    got: Vec<u8>,
    sending: bool,
    receiving: bool,
}

/// Any sizes, modes and credits, both ways at once: every byte once, in order (R18, R19).
pub fn streams_are_equal_whatever_the_cuts<B: Bench>(bench: &B) {
    let mut rig = Rig::new(bench);
    let (inside, out) = rig.narrow_pair();
    let mut flows = [(inside, out), (out, inside)].map(|(from, to)| Flow {
        from,
        to,
        bytes: rig.random.bytes(300_000),
        sent: 0,
        got: Vec::new(),
        sending: false,
        receiving: false,
    });
    rig.until("the whole of both streams", |rig| {
        for flow in &mut flows {
            drive(rig, flow);
        }
        flows.iter().all(|flow| flow.got.len() == flow.bytes.len()).then_some(())
    });
    assert!(flows.iter().all(|flow| flow.got == flow.bytes), "a stream is another one");
    rig.finish();
}

fn drive<B: Bench>(rig: &mut Rig<'_, B>, flow: &mut Flow) {
    if let Some(what) = rig.take(flow.from, |what| matches!(what, What::Sent { .. })) {
        let What::Sent { bytes, error, .. } = what else { unreachable!("asked for") };
        assert_eq!(error, None);
        (flow.sent, flow.sending) = (flow.sent + bytes, false);
    }
    let wanted = |what: &What| matches!(what, What::Received(_) | What::RecvEnded(_));
    while let Some(what) = rig.take(flow.to, wanted) {
        match what {
            What::Received(lease) => flow.got.extend_from_slice(&lease),
            _ => flow.receiving = false,
        }
    }
    let left = &flow.bytes[flow.sent..];
    if !flow.sending && !left.is_empty() {
        let count = left.len().min(size(&mut rig.random));
        let cut = rig.random.below(count);
        let segments = [&left[..cut], &left[cut..count]]
            .map(|part| Segment::Shared(Bytes::copy_from_slice(part)));
        let mode = if rig.random.below(2) == 0 { SendMode::Try } else { SendMode::Whole };
        rig.send(flow.from, SendData::Many(segments.into()), mode);
        flow.sending = true;
    }
    if !flow.receiving && flow.got.len() < flow.bytes.len() {
        let credit = size(&mut rig.random);
        rig.recv(flow.to, u32::try_from(credit).expect("at most 128 KiB"));
        flow.receiving = true;
    }
}

/// The answer to a send with `prompt` ends a wait by itself.
pub fn a_prompt_answer_needs_no_other_event<B: Bench>(bench: &B) {
    let mut rig = Rig::new(bench);
    let (_inside, out) = rig.pair();
    rig.settle();
    for mode in [SendMode::Try, SendMode::Whole] {
        rig.submit(out, Op::Send { data: shared(b"quick"), mode, prompt: true });
        wait_for_one(&mut rig);
        assert_eq!(rig.sent(out).error, None);
    }
    rig.finish();
}

/// One wait of port 1 that has to find something.
fn wait_for_one<B: Bench>(rig: &mut Rig<'_, B>) {
    let deadline = rig.port(1).now() + Duration::from_secs(60);
    loop {
        let (count, _) = rig.wait(1, Until::Time(deadline));
        assert!(rig.port(1).now() < deadline, "the answer had to wait for something else");
        if count > 0 {
            return;
        }
        rig.bench.idle();
    }
}

/// Nor does that to a send that found no room, though nobody said to wait for it: what is left over
/// would wait as well.
pub fn a_short_answer_needs_no_other_event<B: Bench>(bench: &B) {
    let mut rig = Rig::new(bench);
    let (_inside, out) = rig.narrow_pair();
    let bytes = rig.random.bytes(SEND_BYTES_MAX);
    let mut full = 0;
    while full < 3 {
        rig.send(out, shared(&bytes), SendMode::Try);
        full = if rig.sent(out).bytes == 0 { full + 1 } else { 0 };
        rig.settle();
    }
    rig.submit(out, Op::Send { data: shared(&bytes), mode: SendMode::Try, prompt: false });
    wait_for_one(&mut rig);
    let sent = rig.sent(out);
    assert!(sent.error.is_none() && sent.bytes < bytes.len(), "{sent:?}");
    rig.finish();
}

/// A send that the peer's reset makes pointless: an error, what went before it, the data.
pub fn a_send_to_a_reset_peer_fails_with_its_data<B: Bench>(bench: &B) {
    let mut rig = Rig::new(bench);
    let (inside, out) = rig.narrow_pair();
    let bytes = rig.random.bytes(SEND_BYTES_MAX);
    rig.send(out, shared(&bytes), SendMode::Whole);
    rig.settle();
    rig.submit(inside, Op::Abort);
    let sent = rig.sent(out);
    assert!(sent.bytes < bytes.len());
    assert_eq!(sent.error.map(|error| error.kind), Some(ErrorKind::Reset));
    assert!(bytes_of(&sent.data) == bytes, "the data came back changed");
    rig.send(out, shared(b"still there?"), SendMode::Try);
    let sent = rig.sent(out);
    assert_eq!((sent.bytes, sent.error.map(|error| error.kind)), (0, Some(ErrorKind::Reset)));
    rig.finish();
}

/// At most one send is in flight per socket.
pub fn a_second_send_is_a_bug_and_panics<B: Bench>(bench: &B) {
    let mut rig = Rig::new(bench);
    let (_inside, out) = rig.narrow_pair();
    rig.send(out, shared(&vec![0; SEND_BYTES_MAX]), SendMode::Whole);
    let id = rig.id(out);
    must_panic("a second send", || {
        let op = Op::Send { data: shared(b"second"), mode: SendMode::Try, prompt: true };
        rig.port(1).submit(id, op);
    });
}
