//! What nobody brings about from outside: a socket that the port does not take, peers from far away.

use super::*;
use crate::engine::Prepared;
use crate::worker::Worker;
use crate::{Ctx, Handler, Limits, Lines, Listener, Result, Server};
use longshore_port::RawSocket;
use longshore_sim::{SimPort, SimWorld};
use std::net::SocketAddr;
use std::sync::atomic::Ordering;

struct Mute;

impl Handler for Mute {
    type Codec = Lines;
    fn on_message(&mut self, _: &mut Ctx<'_, Self>, _: &str) -> Result {
        Ok(())
    }
}

/// A worker that is its own door, with room for so many connections and one of each source.
fn worker(connections: usize) -> (Server, Worker<SimPort>) {
    let limits = Limits::new().connections_per_source(1).count_loopback(true);
    let addr = SocketAddr::from(([10, 0, 0, 1], 7411));
    let listener = Listener::addr(addr, Lines::max(10)).limits(limits);
    let builder = Server::builder().workers(1).connections(connections);
    let builder = builder.listen(listener, |_| Ok(Mute));
    let prepared = Prepared::new(SimWorld::new(1), builder.setup).expect("settings that work");
    let (server, mut workers) = prepared.workers().expect("simulated ports open");
    (server, workers.remove(0))
}

/// The door hears of a connection from `peer`, whose socket is of no world. Says what it asks of
/// its worker, unless it refused it.
fn knock(worker: &mut Worker<SimPort>, peer: &str) -> Option<Cmd> {
    let peer: SocketAddr = peer.parse().expect("an address");
    let local = Addr::from(SocketAddr::from(([10, 0, 0, 1], 7411)));
    let raw = RawSocket::Virtual(Box::new(()));
    worker.door.accepted(&mut worker.core, 0, Unattached { peer: peer.into(), local, raw });
    worker.core.later.pop_back()
}

#[test]
fn a_socket_that_the_port_does_not_take_gives_back_all_that_the_door_took() {
    let (server, mut worker) = worker(1);
    for round in 0..3 {
        let Some(Cmd::Adopt { socket, lane, source }) = knock(&mut worker, "192.0.2.1:1000") else {
            panic!("no place was given back in round {round}")
        };
        worker.adopt(socket, lane, source);
        let load = worker.core.desk().load.load(Ordering::Relaxed);
        assert_eq!((load, server.connection_count()), (0, 0));
    }
}

#[test]
fn a_source_is_one_address_of_ipv4_and_a_slash_64_of_ipv6() {
    let (_server, mut worker) = worker(10);
    let mut is_let_in = |peer| knock(&mut worker, peer).is_some();
    assert!(is_let_in("192.0.2.1:1000") && is_let_in("192.0.2.2:1000"));
    assert!(!is_let_in("192.0.2.1:1001"));
    assert!(is_let_in("[2001:db8:0:1::1]:1000") && is_let_in("[2001:db8:0:2::1]:1000"));
    assert!(!is_let_in("[2001:db8:0:1:ffff::2]:1000"));
}

#[test]
fn who_is_accepted_after_a_stop_was_asked_for_is_counted() {
    let (server, mut worker) = worker(10);
    worker.door.shut = true;
    assert!(knock(&mut worker, "192.0.2.1:1000").is_none());
    let snapshot = server.snapshot();
    assert_eq!((snapshot.accepted, snapshot.refused_by_shutdown), (1, 1));
    assert_eq!(server.connection_count(), 0);
}
