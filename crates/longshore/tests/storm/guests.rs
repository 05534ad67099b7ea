//! Guests after a storm: as many as a server lets in, each on the worker whose turn it is.
//!
//! That shows what no counter tells: whether the counts per source and the loads of the workers,
//! by which it decides, are back to zero.

use crate::peers::Probe;
use longshore::Server;
use longshore::testing::Net;
use std::net::SocketAddr;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const WITHIN: Duration = Duration::from_secs(100);

/// A listener that is to be filled: where it is for peers of each source, and how many it takes of
/// one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Inn {
    pub(crate) at: [SocketAddr; 2],
    pub(crate) masked: bool,
    pub(crate) per_source: u32,
}

/// One who was let in: the place of its address in `Inn::at`, and its worker.
struct Guest {
    source: usize,
    worker: usize,
    _probe: Probe,
}

/// Fills an empty server, at one listener, and empties it.
pub(crate) fn visit(net: &mut Net, server: &Server, inn: Inn) {
    assert_eq!(server.connection_count(), 0, "it is empty: {:#?}", server.connections());
    let workers = server.workers();
    let sources = (0..2).flat_map(|source| (0..inn.per_source).map(move |_| source));
    let all: Vec<_> = sources.map(|source| enter(net, server, inn, source)).collect();
    // Among workers with as many connections the first one gets the next.
    let turns: Vec<_> = all.iter().map(|guest| guest.worker).collect();
    assert_eq!(turns, (0..turns.len()).map(|at| at % workers).collect::<Vec<_>>(), "loads");
    (0..2).for_each(|source| turned_away(net, server, inn, source));

    let (gone, mut guests): (Vec<_>, Vec<_>) = all.into_iter().partition(|it| it.worker == 0);
    let sources: Vec<_> = gone.iter().map(|guest| guest.source).collect();
    drop(gone);
    assert!(net.run_until(WITHIN, |_| server.connection_count() == guests.len()), "they leave");
    net.run_for(SECOND); // who counts them hears of it
    for source in sources {
        let guest = enter(net, server, inn, source);
        assert_eq!(guest.worker, 0, "the worker with the fewest connections");
        guests.push(guest);
    }
    (0..2).for_each(|source| turned_away(net, server, inn, source));
    drop(guests);
    assert!(net.run_until(WITHIN, |_| server.connection_count() == 0), "all leave");
    net.run_for(SECOND);
}

fn enter(net: &mut Net, server: &Server, inn: Inn, source: usize) -> Guest {
    let mut probe = Probe::new(net, inn.at[source], inn.masked);
    let answered = net.run_until(WITHIN, |_| probe.answered());
    let conns = server.connections();
    let refused = server.snapshot().refused_per_source;
    assert!(answered, "{inn:?} serves nobody any more: {conns:#?}, refused {refused}");
    let addr = probe.addr().into();
    let conn = conns.iter().find(|conn| conn.peer_addr == addr).expect("it is in the directory");
    Guest { source, worker: (conn.id.to_bits() >> 48) as usize, _probe: probe }
}

/// One more than there may be of a source.
fn turned_away(net: &mut Net, server: &Server, inn: Inn, source: usize) {
    let before = server.snapshot().refused_per_source;
    let mut probe = Probe::new(net, inn.at[source], inn.masked);
    let refused = net.run_until(WITHIN, |_| server.snapshot().refused_per_source > before);
    assert!(refused && !probe.answered(), "{inn:?} takes more than it may");
}
