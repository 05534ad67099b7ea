//! When the port may sleep, and when it may say that nothing is left.

use super::*;

/// Who waits for memory is armed a few at a time; the port must not sleep after the first of them,
/// who have nothing to say.
#[test]
fn with_one_block_the_last_in_the_line_is_armed_before_the_port_sleeps() {
    let config = PortConfig { recv_blocks: 1, recv_block_bytes: 64, ..PortConfig::default() };
    let Some(mut hub) = open(&config) else { return };
    let (holder, mut holding) = hub.pair();
    let mut peers: Vec<_> = (0..40).map(|_| hub.pair()).collect();
    hub.port.submit(holder, Op::Recv { credit: 64 });
    holding.write_all(&[1; 64]).unwrap();
    let mut held = Vec::new();
    while held.iter().map(|lease: &crate::RecvBuf| lease.len()).sum::<usize>() < 64 {
        for Completion { what, .. } in hub.wait() {
            if let What::Received(lease) = what {
                held.push(lease);
            }
        }
    }
    for &(id, _) in &peers {
        hub.port.submit(id, Op::Recv { credit: 64 });
    }
    assert_eq!(hub.port.parked.len(), 40);
    drop(held);
    let (last, speaking) = peers.last_mut().unwrap();
    speaking.write_all(b"me").unwrap();
    let last = hub.ids.iter().position(|id| id == last).unwrap();
    let what = loop {
        let mut all = hub.wait();
        all.retain(|completion| !matches!(completion.what, What::RecvEnded(End::Credit)));
        if let Some(first) = all.pop() {
            break first;
        }
    };
    assert_eq!(what.token.index() as usize, last);
    assert!(matches!(&what.what, What::Received(lease) if **lease == *b"me"), "{what:?}");
}

/// The kernel has not looked at it again yet. Who took the port for drained would let a timer
/// overtake input.
#[test]
fn a_receive_that_was_armed_again_may_have_more() {
    let Some(features) = features_here() else { return };
    // Where the kernel counts, it goes on by itself.
    let mut hub = open_as(Features { recv_credit: false, ..features }, &PortConfig::default());
    let (id, mut stream) = hub.pair();
    hub.port.submit(id, Op::Recv { credit: 1_000 });
    stream.write_all(b"first").unwrap();
    let mut out = Vec::new();
    let guard = hub.port.precise_now() + Duration::from_secs(30);
    let waited = hub.port.wait(Until::Time(guard), &mut out).unwrap();
    assert!(matches!(&out[0].what, What::Received(lease) if **lease == *b"first"), "{out:?}");
    assert!(!waited.drained);
    out.clear();
    assert!(hub.port.wait(Until::Now, &mut out).unwrap().drained, "looked at, and empty");
}
/// Between two looks at the ring only the ring itself knows.
#[test]
fn what_came_since_the_last_look_is_not_drained() {
    let Some(mut hub) = open(&PortConfig::default()) else { return };
    let (id, mut stream) = hub.pair();
    hub.port.submit(id, Op::Recv { credit: 1_000 });
    while !hub.port.wait(Until::Now, &mut hub.out).unwrap().drained {}
    assert!(hub.out.is_empty() && hub.port.is_drained(0));
    stream.write_all(b"late").unwrap();
    let guard = hub.port.precise_now() + Duration::from_secs(30);
    while hub.port.is_drained(0) {
        assert!(hub.port.precise_now() < guard, "the ring says nothing");
        std::thread::yield_now(); // a busy system is late with it
    }
    let what = hub.wait();
    assert!(matches!(&what[0].what, What::Received(lease) if **lease == *b"late"), "{what:?}");
}

/// Who was served goes behind all that wait, also within one op: else one flood starves the others.
#[test]
fn two_floods_take_turns_at_one_block() {
    let config = PortConfig { recv_blocks: 1, recv_block_bytes: 64, ..PortConfig::default() };
    let Some(mut hub) = open(&config) else { return };
    let mut peers = [hub.pair(), hub.pair()];
    for (id, stream) in &mut peers {
        stream.write_all(&[1; 64 * 64]).unwrap();
        hub.port.submit(*id, Op::Recv { credit: 64 * 64 });
    }
    let (mut bytes, mut most_in_a_row) = ([0; 2], 0);
    let (mut last, mut in_a_row) = (usize::MAX, 0);
    while bytes.iter().all(|bytes| *bytes < 64 * 64) {
        for Completion { token, what } in hub.wait() {
            let What::Received(lease) = what else { continue };
            let who = token.index() as usize;
            bytes[who] += lease.len();
            in_a_row = if who == last { in_a_row + 1 } else { 1 };
            most_in_a_row = most_in_a_row.max(in_a_row);
            last = who;
        }
    }
    assert!(most_in_a_row < 8, "{most_in_a_row} times one and the same: {bytes:?}");
}

/// A receive that the kernel refused a block is in no table of it: only the port asks again.
#[test]
fn a_refused_receive_is_tried_again_though_nobody_wakes_the_port() {
    in_time(|| {
        let config = PortConfig { recv_blocks: 1, recv_block_bytes: 64, ..PortConfig::default() };
        let Some(mut hub) = open(&config) else { return };
        let ((first, mut talks), (second, mut waits)) = (hub.pair(), hub.pair());
        let held = hub.lend(first, &mut talks);
        hub.port.buffers.believe(1); // it has none
        waits.write_all(b"late").unwrap();
        hub.port.submit(second, Op::Recv { credit: 64 });
        while hub.port.parked.is_empty() {
            hub.port.wait(Until::Now, &mut hub.out).unwrap();
        }
        hub.port.buffers.believe(0);
        drop(held);
        hub.port.wait(Until::Woken, &mut hub.out).unwrap();
        let out = std::mem::take(&mut hub.out);
        assert!(matches!(&out[0].what, What::Received(lease) if lease[..] == *b"late"), "{out:?}");
    });
}
