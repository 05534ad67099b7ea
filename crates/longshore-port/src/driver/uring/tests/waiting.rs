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
