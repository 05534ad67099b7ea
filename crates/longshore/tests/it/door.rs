//! What the door counts and remembers: places of a source, the load of workers, how long to wait.

use crate::net::{Event, Events, Lab, Probe, codec, echo, on_every_port, seeds};
use longshore::*;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

on_every_port! {
    a_connection_that_its_factory_refused_gives_its_sources_place_back,
    a_closed_connection_makes_its_worker_the_least_loaded_again,
    an_attempt_that_fails_at_once_makes_its_worker_the_least_loaded_again,
}

const SECOND: Duration = Duration::from_secs(1);

/// The place is given back on the way to the door: a peer that was faster is refused, and tries
/// again.
fn a_connection_that_its_factory_refused_gives_its_sources_place_back(lab: &mut Lab) {
    for workers in [1, 3] {
        let (told, events) = channel();
        let asked = AtomicUsize::new(0);
        let factory = move |_: &longshore::Peer<'_>| {
            if asked.fetch_add(1, Ordering::SeqCst) < 3 {
                return Err(Reject::because("not yet"));
            }
            let script = |cx: &mut Ctx<'_, Probe>, event: &Event| {
                if let Event::Connect(_) = event {
                    cx.send(b"in")?;
                    cx.close();
                }
                Ok(())
            };
            Ok(Probe::new(told.clone(), script))
        };
        let limits = Limits::new().connections_per_source(1).count_loopback(true);
        let listener = Listener::addr(lab.addr(), codec()).limits(limits);
        let server = lab.start(Server::builder().workers(workers).listen(listener, factory));
        let got_in = (0..1_000).any(|_| {
            let mut peer = lab.connect(&server);
            let (bytes, _) = lab.read_to_end(&mut peer);
            lab.pass(SECOND);
            !bytes.is_empty()
        });
        assert!(got_in, "{workers} workers: {:?}", server.snapshot());
        assert_eq!(server.snapshot().refused_by_factory, 3);
        lab.end_of(&Events(events));
    }
}

/// The worker of a connection stands in its name.
fn worker_of(conn: &Conn<Probe>) -> u64 {
    conn.id().to_bits() >> 48
}

/// A server of two workers; what its connections are told.
fn serve_on_two(lab: &mut Lab) -> (Server, Events) {
    let (told, events) = channel();
    let listener = Listener::addr(lab.addr(), codec());
    let factory = move |_: &longshore::Peer<'_>| Ok(Probe::new(told.clone(), echo()));
    let server = lab.start(Server::builder().workers(2).listen(listener, factory));
    (server, Events(events))
}

fn a_closed_connection_makes_its_worker_the_least_loaded_again(lab: &mut Lab) {
    let (server, events) = serve_on_two(lab);
    let mut peers = [lab.connect(&server), lab.connect(&server)];
    let [stays, leaves] = [(); 2].map(|()| lab.next(&events).conn());
    assert_ne!(worker_of(&stays), worker_of(&leaves));
    let own = leaves.peer_addr().socket_addr().unwrap();
    let mut leaving = usize::from(peers[1].local_addr() == own);
    for _ in 0..4 {
        peers[leaving].finish();
        lab.read_to_end(&mut peers[leaving]);
        lab.end_of(&events);
        peers[leaving] = lab.connect(&server);
        let next = lab.next(&events).conn();
        assert_eq!(worker_of(&next), worker_of(&leaves), "the other has one already");
        leaving = usize::from(peers[1].local_addr() == next.peer_addr().socket_addr().unwrap());
    }
}

/// Goes with the factory that it is in.
struct TellsDrop(Sender<()>);

impl Drop for TellsDrop {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

/// It starts from an address that is not here, or in simulation from one that is in use.
fn an_attempt_that_fails_at_once_makes_its_worker_the_least_loaded_again(lab: &mut Lab) {
    let (server, events) = serve_on_two(lab);
    let _peer = lab.connect(&server);
    let first = lab.next(&events).conn();
    let elsewhere = if lab.is_simulated() {
        first.peer_addr().socket_addr().unwrap()
    } else {
        "192.0.2.1:0".parse().unwrap()
    };
    for _ in 0..3 {
        let (told, gone) = channel();
        let told = TellsDrop(told);
        let to = server.local_addrs()[0].socket_addr().unwrap();
        let connector =
            Connector::addr(to, codec()).from(elsewhere).on_failure(|_, _| Retry::GiveUp);
        let factory = move |_: &longshore::Peer<'_>| {
            let _ = &told;
            Err::<Probe, _>(Reject::silent())
        };
        server.connect(connector, factory).unwrap();
        lab.recv(&gone); // the failure itself is told before the load is given back
    }
    // Three more here would send the next ones to the other worker, which has one already.
    let mut peers = Vec::new();
    let mut workers = vec![worker_of(&first)];
    for _ in 0..3 {
        peers.push(lab.connect(&server));
        workers.push(worker_of(&lab.next(&events).conn()));
    }
    workers.sort_unstable();
    assert_eq!(workers, [0, 0, 1, 1]);
}

#[test]
fn after_an_accept_that_went_well_the_wait_for_the_next_is_short_again() {
    for seed in seeds() {
        let mut lab = Lab::simulated(seed);
        let limits = Limits::new().first_byte(Duration::ZERO).idle(Duration::ZERO);
        let (server, events) = lab.serve(limits, echo);
        let world = lab.net().unwrap().world().clone();
        world.limit_descriptors(1); // which the listener has
        let _first = lab.connect(&server);
        lab.pass(10 * SECOND);
        world.limit_descriptors(2);
        let _ = lab.next(&events).conn();
        let before = server.snapshot().accept_backoffs;
        assert!(before > 5, "it was to wait");
        let _second = lab.connect(&server);
        lab.pass(SECOND);
        // 10 ms, 20 ms, 40 ms: a wait that went on where the last ones ended would be one or two.
        let tries = server.snapshot().accept_backoffs - before;
        assert!(tries > 4, "seed {seed}: {tries} tries in a second");
    }
}
