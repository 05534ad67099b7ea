//! What all connections of a server may hold together (R43).

use crate::bounds::turns;
use crate::net::{Events, Lab, Peer, Probe, codec, echo, frame, on_every_port, seeds, wait_until};
use longshore::*;
use std::sync::mpsc::channel;
use std::time::Duration;

on_every_port! {
    torn_frames_fill_no_more_than_the_limit,
    nobody_new_is_taken_in_when_memory_is_full,
    a_handle_finds_no_room_when_memory_is_full,
    slow_readers_fill_no_more_than_the_limit,
}

const MIB: u64 = 1 << 20;

fn serve(lab: &mut Lab, memory: u64, workers: usize) -> (Server, Events) {
    let (told, events) = channel();
    // Frames have all the time of the world, so that only memory ends anybody.
    let limits = Limits::new().frame(Duration::ZERO).send_queue_bytes(64 << 20);
    let limits = limits.write(Duration::ZERO).recv_credit_bytes(16 << 10);
    let listener = Listener::addr(lab.addr(), codec()).limits(limits);
    let factory = move |_: &longshore::Peer<'_>| Ok(Probe::new(told.clone(), echo()));
    let builder = Server::builder().workers(workers).memory(memory).listen(listener, factory);
    (lab.start(builder), Events(events))
}

fn ping(lab: &mut Lab, peer: &mut Peer) {
    peer.say(b"ping");
    assert_eq!(lab.hear(peer), b"ping");
}

fn ended(server: &Server, reason: &str) -> u64 {
    server.snapshot().disconnected(reason).unwrap()
}

/// Most of a frame of 1 MiB, and nothing more.
fn torn() -> Vec<u8> {
    let mut bytes = frame(&vec![7; 1_000_000]);
    bytes.truncate(900_000);
    bytes
}

fn torn_frames_fill_no_more_than_the_limit(lab: &mut Lab) {
    let (server, _events) = serve(lab, 4 * MIB, 2);
    let mut good = lab.connect(&server);
    ping(lab, &mut good);
    let torn = torn();
    let mut peers = Vec::new();
    for _ in 0..20 {
        let mut peer = lab.connect(&server);
        peer.offer(&torn);
        peers.push(peer);
        lab.pass(Duration::from_secs(1));
        // What comes in one turn is counted at its end.
        assert!(server.snapshot().memory_bytes <= 6 * MIB, "{:?}", server.snapshot());
    }
    if !lab.is_simulated() {
        wait_until(|| server.snapshot().memory_held_back > 0);
    }
    let snapshot = server.snapshot();
    assert!(snapshot.memory_held_back > 0, "{snapshot:?}");
    ping(lab, &mut good);
    drop(peers);
    lab.pass(Duration::from_secs(60));
    ping(lab, &mut good);
}

/// Nothing becomes free by itself: one after the other is ended until there is enough.
#[test]
fn who_is_held_back_for_long_is_ended_at_last() {
    for seed in seeds() {
        let mut lab = Lab::simulated(seed);
        let (server, _events) = serve(&mut lab, 4 * MIB, 2);
        let mut good = lab.connect(&server);
        ping(&mut lab, &mut good);
        let mut peers: Vec<_> = (0..6).map(|_| lab.connect(&server)).collect();
        for peer in &mut peers {
            peer.offer(&torn());
        }
        lab.pass(Duration::from_secs(100));
        let snapshot = server.snapshot();
        assert!(snapshot.memory_bytes < 4 * MIB * 8 / 10 + (64 << 10), "seed {seed}: {snapshot:?}");
        assert!(ended(&server, "overload") > 0, "seed {seed}");
        lab.pass(Duration::from_secs(100));
        // Torn frames take a MiB each: two of them are below 70 %.
        assert!(server.connection_count() >= 3, "seed {seed}: no more than has to be");
        ping(&mut lab, &mut good);
    }
}

fn nobody_new_is_taken_in_when_memory_is_full(lab: &mut Lab) {
    let (server, events) = serve(lab, 16 * MIB, 1);
    let mut good = lab.connect(&server);
    ping(lab, &mut good);
    let conn = lab.next(&events).conn();
    // 95 % would end somebody, 92 % refuse.
    good.stop_reading();
    let part = vec![7; 1_000_000];
    while server.snapshot().memory_bytes < 16 * MIB * 93 / 100 {
        let left = 16 * MIB * 935 / 1000 - server.snapshot().memory_bytes;
        let bytes = usize::try_from(left).unwrap().min(part.len());
        let _ = conn.send(&part[..bytes.max(1)]);
        // The system takes some of it.
        if lab.is_simulated() {
            lab.pass(Duration::from_millis(1));
        } else {
            turns(lab, &server);
        }
    }
    let mut late = lab.connect(&server);
    late.send_perhaps(&frame(b"hello?"));
    lab.read_to_end(&mut late);
    assert_eq!(server.snapshot().refused_memory, 1);
    conn.abort();
    lab.end_of(&events);
    let mut next = lab.connect(&server);
    ping(lab, &mut next);
}

fn a_handle_finds_no_room_when_memory_is_full(lab: &mut Lab) {
    let (server, events) = serve(lab, MIB, 1);
    let mut peer = lab.connect(&server);
    let conn = lab.next(&events).conn();
    peer.stop_reading();
    assert_eq!(conn.send(&vec![7; 1 << 20]), Sent::Full, "with its header it is more");
    assert_eq!(server.snapshot().messages_refused, 1);
    assert_eq!(conn.send(b"small"), Sent::Queued, "and nobody is to blame");
    assert_eq!(lab.hear(&mut peer), b"small");
}

fn slow_readers_fill_no_more_than_the_limit(lab: &mut Lab) {
    let (server, events) = serve(lab, 8 * MIB, 2);
    let mut good = lab.connect(&server);
    ping(lab, &mut good);
    let mut peers = Vec::new();
    for _ in 0..4 {
        let mut peer = lab.connect(&server);
        peer.stop_reading();
        peers.push(peer);
    }
    let mut handles = Vec::new();
    while handles.len() < 5 {
        if let crate::net::Event::Connect(conn) = lab.next(&events) {
            handles.push(conn);
        }
    }
    let part = vec![7; 100_000];
    for _ in 0..400 {
        for conn in
            handles.iter().filter(|conn| conn.peer_addr().socket_addr() != Some(good.local_addr()))
        {
            let _ = conn.send(&part);
        }
        let snapshot = server.snapshot();
        // Each worker may be a step behind with what it has told.
        assert!(snapshot.memory_bytes <= 8 * MIB + 4 * (64 << 10), "{snapshot:?}");
    }
    turns(lab, &server);
    turns(lab, &server);
    let snapshot = server.snapshot();
    assert!(snapshot.memory_held_back > 0, "{snapshot:?}");
    assert!(ended(&server, "overload") + snapshot.messages_refused > 0, "{snapshot:?}");
    ping(lab, &mut good);
}

/// What an allocator keeps of a burst goes back to the system; who is quiet does not ask for it.
#[test]
fn memory_of_a_burst_goes_back_to_the_system() {
    let mut lab = Lab::simulated(0);
    let (server, _events) = serve(&mut lab, 256 * MIB, 1);
    lab.pass(Duration::from_secs(100));
    assert_eq!(server.snapshot().heap_trims, 0);
    for _ in 0..300 {
        let mut peer = lab.connect(&server);
        ping(&mut lab, &mut peer);
        peer.finish();
        lab.read_to_end(&mut peer);
    }
    lab.pass(Duration::from_secs(1_000));
    assert_eq!(server.snapshot().heap_trims, 3);
}
