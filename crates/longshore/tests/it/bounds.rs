//! What a peer can make a connection hold, and for how long.

use crate::net::{Event, Events, Lab, Probe, codec, echo, frame, on_every_port, seeds, wait_until};
use longshore::testing::Trouble;
use longshore::*;
use std::sync::mpsc::channel;
use std::time::Duration;

on_every_port! {
    a_paused_connection_receives_no_byte,
    a_peer_that_dies_while_nobody_reads_is_told,
    a_peer_that_dies_after_the_last_byte_that_is_read_is_told,
    a_frame_that_never_ends_is_cut,
    who_does_not_log_in_is_cut,
    clients_of_a_push_only_listener_may_be_silent,
    what_a_role_does_without_may_be_asked_for,
}

const SECOND: Duration = Duration::from_secs(1);

/// Longer than a test waits on real ports.
const LONG: Duration = Duration::from_secs(300);

/// Lets the worker of real ports have some turns; virtual time passes.
pub(crate) fn turns(lab: &mut Lab, server: &Server) {
    lab.pass(Duration::from_secs(1));
    let before = server.snapshot().turns;
    let names: Vec<_> = server.connections().iter().map(|conn| conn.id).collect();
    wait_until(|| {
        let handles = names.iter().filter_map(|name| server.conn::<Probe>(*name));
        handles.for_each(|conn| conn.measure_link()); // something to do
        lab.is_simulated() || server.snapshot().turns > before + 8
    });
}

fn pauses_at_the_first_message()
-> impl FnMut(&mut Ctx<'_, Probe>, &Event) -> Result + Send + 'static {
    let mut first = true;
    move |cx, event| {
        if matches!(event, Event::Message(_)) && std::mem::take(&mut first) {
            cx.pause();
        }
        Ok(())
    }
}

fn a_paused_connection_receives_no_byte(lab: &mut Lab) {
    let (server, events) = lab.serve(Limits::new(), pauses_at_the_first_message);
    let mut peer = lab.connect(&server);
    let conn = lab.next(&events).conn();
    peer.say(b"pause");
    assert!(lab.next(&events).is_message(b"pause"));
    turns(lab, &server);
    for _ in 0..100 {
        peer.say(&[7; 1_000]);
    }
    turns(lab, &server);
    assert_eq!(conn.info().bytes_in, 9, "nobody asked for these");
    conn.resume();
    for _ in 0..100 {
        assert!(lab.next(&events).is_message(&[7; 1_000]), "and none is lost");
    }
    // And once more.
    conn.pause();
    turns(lab, &server);
    let before = conn.info().bytes_in;
    peer.say(&[8; 1_000]);
    turns(lab, &server);
    assert_eq!(conn.info().bytes_in, before);
    conn.resume();
    assert!(lab.next(&events).is_message(&[8; 1_000]));
}

fn a_peer_that_dies_while_nobody_reads_is_told(lab: &mut Lab) {
    let (server, events) = lab.serve(Limits::new(), pauses_at_the_first_message);
    let mut peer = lab.connect(&server);
    let _ = lab.next(&events).conn();
    peer.say(b"pause");
    assert!(lab.next(&events).is_message(b"pause"));
    turns(lab, &server);
    peer.say(b"nobody hears this");
    turns(lab, &server);
    peer.reset();
    assert_eq!(lab.end_of(&events).reason, "peer_reset");
}

/// Past the bound of the linger nothing is read, so no receive tells.
fn a_peer_that_dies_after_the_last_byte_that_is_read_is_told(lab: &mut Lab) {
    let linger = Linger::default().wait(LONG).total(LONG).bytes(0);
    let script = || {
        |cx: &mut Ctx<'_, Probe>, event: &Event| {
            if let Event::Message(_) = event {
                cx.close();
            }
            Ok(())
        }
    };
    let (server, events) = lab.serve(Limits::new().linger(linger), script);
    let mut peer = lab.connect(&server);
    let _ = lab.next(&events).conn();
    peer.say(b"close");
    assert!(lab.next(&events).is_message(b"close"));
    peer.say(b"one byte too many");
    turns(lab, &server);
    let now = lab.net().map(|net| net.now());
    peer.reset();
    lab.end_of(&events);
    if let Some(net) = lab.net() {
        assert!(net.now().since(now.unwrap()) < LONG, "not before the wait was over");
    }
}

/// R14, S144
#[test]
fn a_system_that_is_short_of_memory_loses_no_byte() {
    for seed in seeds() {
        let mut lab = Lab::simulated(seed);
        let (server, events) = lab.serve(Limits::new(), echo);
        let mut peer = lab.connect(&server);
        let _ = lab.next(&events).conn();
        let world = lab.net().unwrap().world().clone();
        for trouble in [Trouble::Recv, Trouble::Send, Trouble::Watch] {
            world.make_trouble(trouble, 3);
        }
        for number in 0..50_u32 {
            peer.say(&number.to_be_bytes().repeat(1_000));
        }
        for number in 0..50_u32 {
            assert_eq!(lab.hear(&mut peer), number.to_be_bytes().repeat(1_000), "seed {seed}");
        }
        let refused = world.troubles(Trouble::Recv) + world.troubles(Trouble::Send);
        let counted = server.snapshot().memory_backoffs;
        assert!((1..=refused).contains(&counted), "seed {seed}: {counted} of {refused}");
    }
}

/// It is not tried for ever.
#[test]
fn a_system_that_never_has_memory_to_send_is_a_stalled_write() {
    for seed in seeds() {
        let mut lab = Lab::simulated(seed);
        let limits = Limits::new().write(Duration::from_secs(7));
        let (server, events) = lab.serve(limits, echo);
        let mut peer = lab.connect(&server);
        let _ = lab.next(&events).conn();
        lab.net().unwrap().world().make_trouble(Trouble::Send, 1);
        peer.say(b"nobody answers");
        assert!(lab.next(&events).is_message(b"nobody answers"));
        let before = lab.net().unwrap().now();
        assert_eq!(lab.end_of(&events).reason, "write_stalled", "seed {seed}");
        let took = lab.net().unwrap().now().since(before);
        // Some bytes may leave before the trouble is seen, each of which is progress.
        let most = Duration::from_secs(200);
        assert!(took >= Duration::from_secs(6) && took < most, "seed {seed}: {took:?}");
        assert!(server.snapshot().memory_backoffs < 400, "and not without a pause");
    }
}

/// "Everything was answered" is what an end of the stream means.
#[test]
fn a_peer_that_ends_its_stream_and_then_reads_nothing_is_a_stalled_write() {
    for seed in seeds() {
        let mut lab = Lab::simulated(seed);
        let limits = Limits::new().write(Duration::from_secs(7)).half_close(HalfClose::Flush);
        let (server, events) = lab.serve(limits, echo);
        let mut peer = lab.connect(&server);
        let _ = lab.next(&events).conn();
        peer.stop_reading();
        for _ in 0..10 {
            peer.say(&vec![7; 100_000]);
        }
        peer.finish();
        let ended = lab.end_of(&events);
        assert_eq!(ended.reason, "write_stalled", "seed {seed}");
        assert!(ended.bytes_out < 1_000_000, "seed {seed}");
    }
}

fn slow_frames() -> Limits {
    Limits::new().frame(2 * SECOND).frame_rate(1000).idle(Duration::ZERO)
}

/// R39. Real ports see that it ends, the simulated one when.
fn a_frame_that_never_ends_is_cut(lab: &mut Lab) {
    let (server, events) = lab.serve(slow_frames(), echo);
    let mut peer = lab.connect(&server);
    let _ = lab.next(&events).conn();
    peer.say(b"whole");
    assert!(lab.next(&events).is_message(b"whole"));
    peer.send(&frame(b"torn")[..5]);
    let ended = lab.end_of(&events);
    assert_eq!(ended.reason, "frame_timeout");
    assert_eq!(server.snapshot().disconnected("frame_timeout"), Some(1));
}

/// A byte now and then, which is never silence, for a frame that takes hours.
#[test]
fn r39_no_byte_buys_time() {
    for seed in seeds() {
        let mut lab = Lab::simulated(seed);
        let (server, events) = lab.serve(slow_frames(), echo);
        let mut peer = lab.connect(&server);
        let _ = lab.next(&events).conn();
        let long = frame(&vec![7; 1_000_000]);
        peer.send(&long[..1]);
        crate::bounds::turns(&mut lab, &server);
        let before = lab.net().unwrap().now();
        let mut sent = 1;
        while server.connection_count() > 0 {
            peer.send_perhaps(&long[sent..=sent]);
            sent += 1;
            lab.pass(SECOND / 2);
            assert!(sent < 1_000, "seed {seed}: it keeps its place");
        }
        let took = lab.net().unwrap().now().since(before);
        assert_eq!(lab.end_of(&events).reason, "frame_timeout");
        // 2 s for the frame and 5 s for its close.
        assert!(took < 20 * SECOND, "seed {seed}: {took:?}");
    }
}

/// What comes at the rate may take as long as that takes.
#[test]
fn a_long_frame_at_the_rate_is_not_cut() {
    for seed in seeds() {
        let mut lab = Lab::simulated(seed);
        let (server, events) = lab.serve(slow_frames(), echo);
        let mut peer = lab.connect(&server);
        let _ = lab.next(&events).conn();
        // The second begins in the middle of a piece.
        for piece in frame(&vec![7; 60_000]).repeat(2).chunks(1100) {
            peer.send(piece);
            lab.pass(SECOND);
        }
        for _ in 0..2 {
            assert!(lab.next(&events).is_message(&vec![7; 60_000]), "seed {seed}");
        }
        peer.finish();
        assert_eq!(lab.end_of(&events).reason, "peer_closed");
    }
}

/// Time stands still: the peer cannot be blamed for what we do not read.
#[test]
fn a_frame_that_waits_for_us_is_not_late() {
    for seed in seeds() {
        let mut lab = Lab::simulated(seed);
        let (server, events) = lab.serve(slow_frames(), echo);
        let mut peer = lab.connect(&server);
        let conn = lab.next(&events).conn();
        peer.send(&frame(b"torn")[..5]);
        turns(&mut lab, &server);
        conn.pause();
        lab.pass(100 * SECOND);
        conn.resume();
        peer.send(&frame(b"torn")[5..]);
        assert!(lab.next(&events).is_message(b"torn"), "seed {seed}");
    }
}

fn who_does_not_log_in_is_cut(lab: &mut Lab) {
    let limits = Limits::new().login(SECOND / 2);
    let script = || {
        |cx: &mut Ctx<'_, Probe>, event: &Event| {
            match event {
                Event::Message(word) if word == b"open" => cx.admit(),
                Event::Message(word) if word == b"by handle" => cx.conn().admit(),
                _ => {}
            }
            Ok(())
        }
    };
    let (server, events) = lab.serve(limits, script);
    let mut peers = Vec::new();
    for word in [&b"open"[..], b"wrong", b"by handle"] {
        let mut peer = lab.connect(&server);
        peer.say(word);
        let id = lab.find(&events, |event| match event {
            Event::Connect(conn) => Some(conn.id()),
            _ => None,
        });
        peers.push((id, peer));
    }
    let ended = lab.end_of(&events);
    assert_eq!((ended.id, ended.reason), (peers[1].0, "login_timeout"));
    lab.pass(100 * SECOND);
    assert_eq!(server.connection_count(), 2, "the others stay");
}

fn clients_of_a_push_only_listener_may_be_silent(lab: &mut Lab) {
    let (told, events) = channel();
    let limits = Limits::new().idle(SECOND);
    let listener = Listener::addr(lab.addr(), codec()).limits(limits).push_only();
    let script = || {
        let mut left = 15;
        move |cx: &mut Ctx<'_, Probe>, event: &Event| {
            if let (Event::Connect(_) | Event::Timer(_), 1..) = (event, left) {
                left -= 1;
                cx.send(b"news")?;
                cx.set_timer(Timer(1), SECOND / 10)?;
            }
            Ok(())
        }
    };
    let factory = move |_: &Peer<'_>| Ok(Probe::new(told.clone(), script()));
    let server = lab.start(Server::builder().workers(1).listen(listener, factory));
    let events = Events(events);
    let mut peer = lab.connect(&server);
    let mut timers = 0;
    let idle = |event| {
        timers += u32::from(matches!(event, Event::Timer(_)));
        matches!(event, Event::Idle).then_some(())
    };
    lab.find(&events, idle);
    assert_eq!(timers, 15, "what goes out breaks the silence");
    for _ in 0..15 {
        assert_eq!(lab.hear(&mut peer), b"news");
    }
}

/// R40, S141: a cable is pulled. Keep-alive finds it, and it is no reset.
#[test]
fn a_peer_that_vanishes_has_timed_out() {
    for seed in seeds() {
        let mut lab = Lab::simulated(seed);
        let (server, events) = lab.serve(Limits::new().idle(Duration::ZERO), echo);
        let mut peer = lab.connect(&server);
        let _ = lab.next(&events).conn();
        peer.say(b"here");
        assert_eq!(lab.hear(&mut peer), b"here");
        let before = lab.net().unwrap().now();
        peer.vanish();
        assert_eq!(lab.end_of(&events).reason, "timed_out", "seed {seed}");
        let took = lab.net().unwrap().now().since(before);
        assert!(
            took <= Duration::from_secs(125),
            "seed {seed}: {took:?}, 60 s and 4 × 15 s at most"
        );
    }
}

/// What is sent breaks the silence when it goes out, not when somebody looks at its answer.
#[test]
fn what_is_sent_counts_from_when_it_went_out() {
    for seed in seeds() {
        let mut lab = Lab::simulated(seed);
        let limits = Limits::new().idle(SECOND).idle_of(IdleOf::Both);
        let script = || {
            |cx: &mut Ctx<'_, Probe>, event: &Event| match event {
                Event::Connect(_) => cx.send(b"news"),
                _ => Ok(()),
            }
        };
        let (server, events) = lab.serve(limits, script);
        let _peer = lab.connect(&server);
        let _ = lab.next(&events).conn();
        lab.pass(SECOND * 3 / 2);
        assert!(events.rest().iter().any(|event| matches!(event, Event::Idle)), "seed {seed}");
    }
}

/// A `push_only` listener has no such deadline unless somebody asks for one.
fn what_a_role_does_without_may_be_asked_for(lab: &mut Lab) {
    let (told, events) = channel();
    let limits = Limits::new().first_byte(SECOND / 10);
    let listener = Listener::addr(lab.addr(), codec()).limits(limits).push_only();
    let factory = move |_: &Peer<'_>| Ok(Probe::new(told.clone(), echo()));
    let server = lab.start(Server::builder().workers(1).listen(listener, factory));
    let _peer = lab.connect(&server);
    assert_eq!(lab.end_of(&Events(events)).reason, "first_byte_timeout");
}
