//! What all connections of a server may hold together (R43).

use crate::bounds::turns;
use crate::net::{
    Event, Events, Lab, Peer, Probe, codec, echo, frame, on_every_port, seeds, wait_until,
};
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
    let limits = Limits::new().frame(Duration::ZERO).first_byte(Duration::ZERO);
    let limits = limits.send_queue_bytes(64 << 20);
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
        // What comes in one turn is looked at when it ends: a MiB for each worker, and vectors that grow
        // take twice that. Without a limit it would be 20 MiB.
        assert!(server.snapshot().memory_bytes <= 10 * MIB, "{:?}", server.snapshot());
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
    for _ in 0..100 {
        assert_eq!(conn.send(&vec![7; 1 << 20]), Sent::Full, "with its header it is more");
    }
    assert_eq!(server.snapshot().messages_refused, 100);
    assert_eq!(conn.queued_bytes(), 0, "what is refused takes no room");
    assert_eq!(conn.send(b"small"), Sent::Queued, "and nobody is to blame");
    assert_eq!(lab.hear(&mut peer), b"small");
}

/// Who was refused for the sake of all hears when there is room again, and not before.
#[test]
fn who_was_refused_for_memory_hears_when_there_is_some() {
    for seed in seeds() {
        let mut lab = Lab::simulated(seed);
        let (told, events) = channel();
        let limits = Limits::new().send_queue_bytes(64 << 20).slow_reader(SlowReader::Refuse);
        let limits = limits.write(Duration::ZERO).first_byte(Duration::ZERO);
        let listener = Listener::addr(lab.addr(), codec()).limits(limits);
        let others: std::sync::Arc<std::sync::Mutex<Vec<Conn<Probe>>>> = std::sync::Arc::default();
        let script = {
            let others = std::sync::Arc::clone(&others);
            move || {
                let others = std::sync::Arc::clone(&others);
                move |cx: &mut Ctx<'_, Probe>, event: &Event| {
                    match event {
                        Event::Connect(conn) => others.lock().unwrap().push(conn.clone()),
                        Event::Message(_) => {
                            // Others take all there is, in this very turn.
                            let first = others.lock().unwrap()[0].clone();
                            while cx.send_to(&first, &vec![7; 100_000]).is_queued() {}
                            let refused = cx.try_send(&vec![7; 100_000]);
                            assert_eq!(refused, Err(SendError::Full));
                        }
                        _ => {}
                    }
                    Ok(())
                }
            }
        };
        let factory = move |_: &longshore::Peer<'_>| Ok(Probe::new(told.clone(), script()));
        let builder = Server::builder().workers(1).memory(4 * MIB).listen(listener, factory);
        let (server, events) = (lab.start(builder), Events(events));
        let mut first = lab.connect(&server);
        first.stop_reading();
        lab.find(&events, |event| matches!(event, Event::Connect(_)).then_some(()));
        let mut asks = lab.connect(&server);
        lab.find(&events, |event| matches!(event, Event::Connect(_)).then_some(()));
        asks.say(b"go");
        lab.find(&events, |event| matches!(event, Event::Message(_)).then_some(()));
        let turns = server.snapshot().turns;
        let heard = lab.net().unwrap().run_until(Duration::from_secs(60), |_| {
            events.rest().iter().any(|event| matches!(event, Event::Writable))
        });
        assert!(heard, "seed {seed}: nobody hears that there is room");
        let spun = server.snapshot().turns - turns;
        assert!(spun < 10_000, "seed {seed}: {spun} turns while there was none");
    }
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

/// Who is not read because it holds most, and goes, is not kept until its time is up.
#[test]
fn who_is_held_back_and_goes_frees_what_it_held() {
    for seed in seeds() {
        let mut lab = Lab::simulated(seed);
        let (server, events) = serve(&mut lab, 8 * MIB, 1);
        let mut deaf = Vec::new();
        for _ in 0..30 {
            let mut peer = lab.connect(&server);
            peer.stop_reading();
            deaf.push((lab.next(&events).conn(), peer));
        }
        let mut torn: Vec<_> = (0..5).map(|_| lab.connect(&server)).collect();
        for peer in &mut torn {
            peer.offer(&frame(&vec![7; 1_000_000])[..530_000]);
        }
        let all = 5 * 530_000;
        let read = |_: &mut longshore::testing::Net| server.snapshot().bytes_in == all;
        assert!(lab.net().unwrap().run_until(Duration::from_secs(1_000), read), "seed {seed}");
        // Then others fill the rest, with less each.
        for (conn, _) in deaf.iter().cycle().take(300) {
            if server.snapshot().memory_held_back == 0 {
                let _ = conn.send(&vec![7; 100_000]);
                lab.pass(Duration::from_millis(20));
            }
        }
        assert!(server.snapshot().memory_held_back > 0, "seed {seed}: {:?}", server.snapshot());
        for peer in &mut torn {
            peer.finish();
        }
        let gone = |_: &mut longshore::testing::Net| ended(&server, "truncated") > 0;
        let gone = lab.net().unwrap().run_until(Duration::from_secs(9), gone);
        assert!(gone, "seed {seed}: {:?}", server.snapshot());
    }
}

/// Who was held back is read again as soon as there is room, and finishes what it has begun.
#[test]
fn who_was_held_back_is_read_again() {
    for seed in seeds() {
        let mut lab = Lab::simulated(seed);
        let (server, events) = serve(&mut lab, 4 * MIB, 1);
        let mut peers: Vec<_> = (0..4).map(|_| lab.connect(&server)).collect();
        for peer in &mut peers {
            peer.offer(&torn());
        }
        let net = lab.net().unwrap();
        let held = |_: &mut longshore::testing::Net| server.snapshot().memory_held_back > 0;
        assert!(net.run_until(Duration::from_secs(100), held), "seed {seed}");
        let mut stays = peers.swap_remove(usize::try_from(seed).unwrap() % 4);
        stays.send_perhaps(&frame(&vec![7; 1_000_000])[900_000..]);
        stays.finish();
        peers.into_iter().for_each(Peer::reset);
        let done = lab.net().unwrap().run_until(Duration::from_secs(60), |_| {
            server.snapshot().messages_in > 0 || ended(&server, "overload") > 0
        });
        assert!(done, "seed {seed}: {:?}", server.snapshot());
        drop(events);
    }
}

/// What takes the level down again is enough.
#[test]
fn no_more_are_ended_than_has_to_be() {
    for seed in seeds() {
        let mut lab = Lab::simulated(seed);
        let (told, events) = channel();
        let limits = Limits::new().first_byte(Duration::ZERO).write(Duration::ZERO);
        let listener = Listener::addr(lab.addr(), codec()).limits(limits);
        let all: std::sync::Arc<std::sync::Mutex<Vec<Conn<Probe>>>> = std::sync::Arc::default();
        let script = move || {
            let all = std::sync::Arc::clone(&all);
            move |cx: &mut Ctx<'_, Probe>, event: &Event| {
                match event {
                    Event::Connect(conn) => all.lock().unwrap().push(conn.clone()),
                    Event::Message(_) => {
                        for conn in all.lock().unwrap().iter() {
                            assert!(cx.send_to(conn, &vec![7; 1_000_000]).is_queued());
                        }
                    }
                    _ => {}
                }
                Ok(())
            }
        };
        let factory = move |_: &longshore::Peer<'_>| Ok(Probe::new(told.clone(), script()));
        let builder = Server::builder().workers(1).memory(6 * MIB).listen(listener, factory);
        let (server, events) = (lab.start(builder), Events(events));
        let mut peers: Vec<_> = (0..6).map(|_| lab.connect(&server)).collect();
        for peer in &mut peers {
            peer.stop_reading();
            lab.find(&events, |event| matches!(event, Event::Connect(_)).then_some(()));
        }
        peers[0].say(b"go"); // 95 % and a little more
        lab.find(&events, |event| matches!(event, Event::Message(_)).then_some(()));
        lab.pass(Duration::from_millis(100));
        assert_eq!(ended(&server, "overload"), 1, "seed {seed}: {:?}", server.snapshot());
    }
}

/// A few connections that held much are a burst as well.
#[test]
fn memory_of_a_long_queue_goes_back_to_the_system() {
    let mut lab = Lab::simulated(0);
    let (server, events) = serve(&mut lab, 256 * MIB, 1);
    let mut peer = lab.connect(&server);
    let conn = lab.next(&events).conn();
    peer.stop_reading();
    for _ in 0..16 {
        assert!(conn.send(&vec![7; 1_000_000]).is_queued());
    }
    lab.pass(Duration::from_secs(5));
    assert_eq!(lab.read(&mut peer, 16 * 1_000_004).len(), 16 * 1_000_004);
    lab.pass(Duration::from_secs(1_000));
    assert_eq!(server.snapshot().heap_trims, 3);
}
