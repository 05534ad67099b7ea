//! Leases: what holds one, what happens without any, that they come home.

use super::Bench;
use super::rig::{Rig, shared};
use crate::{Op, Port, PortConfig, Segment, SendData, SendMode, What};
use longshore_base::Lease;
use std::collections::BTreeMap;

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
        rig.send_whole(out, &bytes);
        want.insert(inside, bytes);
        got.insert(inside, Vec::new());
    }
    rig.until("the bytes of all sockets", |rig| {
        rig.settle(); // until all is lent that can be
        for (side, what) in rig.drain() {
            let What::Received(lease) = what else { panic!("{what:?} of a talking socket") };
            got.get_mut(&side).expect("a socket of this test").extend_from_slice(&lease);
        }
        got.values().all(|bytes| bytes.len() == BYTES).then_some(())
    });
    assert!(got == want, "a stream is another one");
    assert_eq!(rig.port(0).leases(), 0);
    for &(_, out) in &pairs {
        rig.submit(out, Op::Shutdown);
    }
    for (inside, _) in pairs {
        assert_eq!(rig.received_all(inside), (vec![], crate::End::Eof));
    }
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
    let part = lease.slice(kept.len() / 2..kept.len());
    assert_eq!(rig.port(0).leases(), 2);
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
    let mut echoed = 0;
    rig.send_whole(out, &[7; 10_000]);
    while echoed < 10_000 {
        let Ok(lease) = rig.received(inside) else { panic!("no bytes") };
        let count = lease.len();
        rig.send(inside, SendData::One(Segment::Leased(lease)), SendMode::Try);
        let sent = rig.sent(inside);
        assert_eq!((sent.bytes, sent.error), (count, None), "10,000 bytes find room");
        echoed += count;
        assert_eq!(sent.data.byte_count(), count);
    }
    assert_eq!(rig.port(0).leases(), 0);
    assert_eq!(rig.read(out, 10_000), [7; 10_000]);
    rig.finish();
}
