//! What the system does to a storm: nothing, a little or a lot.

use crate::rng::Rng;
use longshore::testing::{Net, Trouble};
use longshore::{Builder, Server, Snapshot};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What a server that starts may meet.
const OF_START: [Trouble; 3] = [Trouble::Open, Trouble::Bind, Trouble::Listen];

/// What a program that keeps to the contract of ports does not even notice.
const HARMLESS: [Trouble; 2] = [Trouble::Wait, Trouble::LateKernel];

/// How some systems always are.
const OF_COMPLETION_PORTS: [Trouble; 2] = [Trouble::LatePacket, Trouble::UnknownCut];

/// What costs a connection that has done nothing wrong.
const OF_CONNECTIONS: [Trouble; 3] = [Trouble::AcceptPassing, Trouble::Attach, Trouble::File];

/// How often there was which, in all storms.
static COUNTS: [AtomicU64; Trouble::ALL.len()] = [const { AtomicU64::new(0) }; Trouble::ALL.len()];

fn make(net: &Net, all: &[Trouble], one_in: usize) {
    for &trouble in all {
        net.world().make_trouble(trouble, one_in);
    }
}

/// Perhaps starts a server in trouble. If it does not start, nothing is left of it.
pub(crate) fn start_perhaps(
    net: &mut Net,
    rng: &mut Rng,
    builder: impl Fn(&mut Rng) -> Builder,
) -> Option<Server> {
    if !rng.one_in(4) {
        return None;
    }
    make(net, &OF_START, 6);
    let started = net.start(builder(rng));
    make(net, &OF_START, 0);
    let troubles: u64 = OF_START.iter().map(|&trouble| net.world().troubles(trouble)).sum();
    match started {
        Ok(server) => {
            assert_eq!(troubles, 0, "a refusal was overlooked");
            Some(server)
        }
        Err(error) => {
            let words = error.to_string();
            assert!(troubles == 1 && words.contains("out of memory"), "{troubles}: {words}");
            assert_eq!(net.world().descriptors(), 0, "sockets of a server that did not start");
            None
        }
    }
}

/// Chooses the troubles of a storm. Says whether the system may refuse something.
pub(crate) fn begin(net: &Net, rng: &mut Rng) -> bool {
    let often = rng.of(&[0, 0, 2_000, 200, 20]);
    for trouble in Trouble::ALL {
        let elsewhere = OF_START.contains(&trouble) || OF_COMPLETION_PORTS.contains(&trouble);
        if HARMLESS.contains(&trouble) {
            make(net, &[trouble], rng.of(&[0, 0, 30, 2]));
        } else if !elsewhere && rng.one_in(2) {
            make(net, &[trouble], often);
        }
    }
    often > 0
}

/// The system is as it should be, from now on.
pub(crate) fn cease(net: &Net) {
    for trouble in Trouble::ALL {
        if !OF_COMPLETION_PORTS.contains(&trouble) {
            make(net, &[trouble], 0);
        }
    }
}

/// How many connections at most have suffered.
pub(crate) fn of_connections(net: &Net) -> u64 {
    OF_CONNECTIONS.iter().map(|&trouble| net.world().troubles(trouble)).sum()
}

/// Holds what the server counted against what there was, when all of that is over and nobody has
/// asked the server to stop.
pub(crate) fn check(net: &Net, snapshot: &Snapshot) {
    let troubles = |trouble| net.world().troubles(trouble);
    assert_eq!(snapshot.refused_by_system, troubles(Trouble::Attach), "not taken in");
    assert_eq!(snapshot.accept_passing_errors, troubles(Trouble::AcceptPassing), "passing");
    let failed = troubles(Trouble::ConnectAtOnce) + troubles(Trouble::Connect);
    assert!(snapshot.connect_failed >= failed, "connects: {failed} of {snapshot:?}");
    let ops = [Trouble::Recv, Trouble::Send, Trouble::Watch].map(troubles);
    let refused = ops.iter().sum::<u64>();
    assert!(snapshot.memory_backoffs <= refused, "{refused} of {snapshot:?}");
    assert_eq!(snapshot.disconnected("io_error"), Some(0), "it was no end: {snapshot:?}");
}

/// Adds up what there was in a storm.
pub(crate) fn count(net: &Net) {
    for (count, trouble) in COUNTS.iter().zip(Trouble::ALL) {
        count.fetch_add(net.world().troubles(trouble), Relaxed);
    }
}

/// What no storm has met.
pub(crate) fn never_met() -> Vec<Trouble> {
    let all = Trouble::ALL.into_iter().zip(&COUNTS);
    all.filter(|(_, count)| count.load(Relaxed) == 0).map(|(trouble, _)| trouble).collect()
}
