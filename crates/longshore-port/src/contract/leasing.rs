//! Leases: what holds one, what happens without any, that they come home.

use super::bench::Bench;
use super::rig::{Rig, bytes_of, shared};
use crate::{End, Op, Port, PortConfig, Segment, SendData, SendMode, Until, What};
use longshore_base::Lease;
use std::collections::{BTreeMap, BTreeSet};

/// One block, fifty talking sockets, leases that are held for long: nothing ends, and everybody is
/// served as leases return (R9).
pub fn starved_sockets_all_go_on_when_leases_return<B: Bench>(bench: &B) {
    const BYTES: usize = 3_000;
    let poor = PortConfig { recv_blocks: 1, recv_block_bytes: 4096, ..PortConfig::default() };
    let mut rig = Rig::with(bench, &[poor, PortConfig::default()]);
    let pairs: Vec<_> = (0..50).map(|_| rig.pair()).collect();
    let mut got = BTreeMap::new();
    let mut want = BTreeMap::new();
    for &(inside, out) in &pairs {
        let bytes = rig.random.bytes(BYTES);
        rig.recv(inside, u32::MAX);
        rig.send(out, shared(&bytes), SendMode::Whole);
        want.insert(inside, bytes);
        got.insert(inside, Vec::new());
    }
    rig.until("the bytes of all sockets", |rig| {
        rig.settle(); // until all is lent that can be
        for (side, what) in rig.drain() {
            match what {
                What::Received(lease) => {
                    got.get_mut(&side).expect("a receiving side").extend_from_slice(&lease);
                }
                What::Sent { error, .. } => assert_eq!(error, None),
                other => panic!("{other:?} of a talking socket"),
            }
        }
        got.values().all(|bytes| bytes.len() == BYTES).then_some(())
    });
    assert!(got == want, "a stream is another one");
    assert_eq!(rig.port(0).leases(), 0);
    rig.settle(); // the last answers to the sends
    for &(_, out) in &pairs {
        rig.submit(out, Op::Shutdown);
    }
    for (inside, _) in pairs {
        assert_eq!(rig.received_all(inside), (vec![], End::Eof));
    }
    rig.finish();
}

/// Input that waits for a lease lies behind what is returned, which holds the leases or answers the
/// sends that do: no such wait is drained, or a timeout would overtake that input (R45), and a
/// shutdown an answer (R82).
pub fn no_wait_is_drained_while_somebody_waits_for_a_lease<B: Bench>(bench: &B) {
    const BYTES: usize = 500;
    let poor = PortConfig { recv_blocks: 2, recv_block_bytes: 4096, ..PortConfig::default() };
    let mut rig = Rig::with(bench, &[poor, PortConfig::default()]);
    let pairs: Vec<_> = (0..40).map(|_| rig.pair()).collect();
    for &(_, out) in &pairs {
        rig.send_whole(out, &[3; BYTES]);
    }
    rig.settle(); // now all of it has come
    for &(inside, _) in &pairs {
        rig.recv(inside, u32::MAX);
    }
    let (mut got, mut sending) = (0, BTreeSet::new());
    while got < pairs.len() * BYTES {
        let (_, drained) = rig.wait(0, Until::Now);
        for (side, what) in rig.drain() {
            match what {
                What::Received(lease) => {
                    got += lease.len();
                    if sending.insert(side) {
                        rig.send(side, SendData::One(Segment::Leased(lease)), SendMode::Try);
                    }
                }
                What::Sent { error, .. } => {
                    assert_eq!(error, None);
                    sending.remove(&side);
                }
                other => panic!("{other:?} of a talking socket"),
            }
        }
        assert!(!drained || got == pairs.len() * BYTES, "drained after {got} bytes");
    }
    rig.settle();
    rig.drain();
    assert_eq!(rig.port(0).leases(), 0);
    rig.finish();
}

/// What is lent is not written again, whatever else comes; a part outlives the whole.
pub fn a_lease_stays_as_it_is_while_others_come<B: Bench>(bench: &B) {
    let small = PortConfig { recv_blocks: 4, recv_block_bytes: 4096, ..PortConfig::default() };
    let mut rig = Rig::with(bench, &[small, PortConfig::default()]);
    let (inside, out) = rig.pair();
    rig.recv(inside, u32::MAX);
    rig.send_whole(out, b"keep this");
    let Ok(lease) = rig.received(inside) else { panic!("no bytes") };
    let kept = lease.to_vec();
    let leases = rig.port(0).leases();
    let part = lease.slice(kept.len() / 2..kept.len());
    assert_eq!(rig.port(0).leases(), leases + 1);
    let mut left = 40_000 + 9 - kept.len();
    rig.send(out, shared(&vec![b'x'; 40_000]), SendMode::Whole);
    while left > 0 {
        let Ok(other) = rig.received(inside) else { panic!("{left} bytes are missing") };
        left -= other.len();
        assert_eq!(*lease, kept);
    }
    drop(lease);
    assert_eq!(*part, kept[kept.len() / 2..]);
    drop(part);
    assert_eq!(rig.sent(out).error, None);
    assert_eq!(rig.port(0).leases(), 0);
    rig.finish();
}

/// A send holds the leases of its data until it is answered, and no longer.
pub fn leases_of_a_send_come_home<B: Bench>(bench: &B) {
    let mut rig = Rig::new(bench);
    let (inside, out) = rig.pair();
    rig.recv(inside, u32::MAX);
    rig.recv(out, 10_000);
    let mut echoed = 0;
    rig.send_whole(out, &[7; 10_000]);
    while echoed < 10_000 {
        let Ok(lease) = rig.received(inside) else { panic!("no bytes") };
        rig.send(inside, SendData::One(Segment::Leased(lease)), SendMode::Try);
        let sent = rig.sent(inside);
        assert_eq!(sent.error, None);
        let bytes = bytes_of(&sent.data);
        drop(sent.data); // the lease; what did not find room is copied, as the rules ask
        if sent.bytes < bytes.len() {
            rig.send_whole(inside, &bytes[sent.bytes..]);
        }
        echoed += bytes.len();
    }
    assert_eq!(rig.port(0).leases(), 0);
    let (bytes, end) = rig.received_all(out);
    assert_eq!((bytes.as_slice(), end), (&[7; 10_000][..], End::Credit));
    rig.finish();
}
