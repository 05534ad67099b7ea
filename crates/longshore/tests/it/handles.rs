//! What handles and names tell of a connection, and the way from its name to a handle.

use crate::net::{Event, Lab, Peer, Probe, codec, echo, frame, on_every_port, wait_until};
use longshore::*;
use std::sync::mpsc::channel;
use std::time::Duration;

on_every_port! {
    a_callback_sees_its_own_counters_as_they_are,
    counters_are_seen_from_outside_and_stay_when_it_is_over,
    what_is_received_and_not_answered_is_counted_at_once,
    what_was_queued_is_told_at_the_end_of_the_turn,
    what_waits_to_be_sent_is_told_to_all,
    a_connection_stands_since_its_connect,
    a_name_leads_to_a_handle_of_its_handler_only,
    the_way_to_a_peer_is_measured_when_asked,
    what_never_fits_owes_nothing,
    what_an_abort_drops_counts_nowhere,
    what_was_out_before_an_abort_is_counted,
    a_handle_without_its_type_does_what_needs_none,
}

const SECOND: Duration = Duration::from_secs(1);

/// What was carried: bytes and messages in, bytes and messages out.
fn carried(info: &ConnInfo) -> [u64; 4] {
    [info.bytes_in, info.messages_in, info.bytes_out, info.messages_out]
}

/// Waits until it is so. A port may keep to itself that bytes are out until something else wakes its
/// worker; a `resume` that changes nothing does.
#[track_caller]
pub(crate) fn settle(lab: &mut Lab, conn: &Conn<Probe>, is_so: impl Fn(&ConnInfo) -> bool) {
    let mut seconds = 0..100;
    while !is_so(&conn.info()) {
        conn.resume();
        if lab.is_simulated() {
            assert!(seconds.next().is_some(), "it does not come that far: {:?}", conn.info());
            lab.pass(SECOND);
        } else {
            wait_until(|| {
                conn.resume();
                is_so(&conn.info())
            });
        }
    }
}

fn a_callback_sees_its_own_counters_as_they_are(lab: &mut Lab) {
    let (told, infos) = channel();
    let script = move || {
        let told = told.clone();
        move |cx: &mut Ctx<'_, Probe>, event: &Event| {
            told.send(cx.info()).unwrap();
            if let Event::Message(frame) = event {
                cx.send(frame)?;
                told.send(cx.info()).unwrap();
            }
            Ok(())
        }
    };
    let (server, _events) = lab.serve(Limits::new(), script);
    let mut peer = lab.connect(&server);
    let first = lab.recv(&infos);
    assert_eq!(carried(&first), [0; 4], "on_connect");
    assert_eq!(first.peer_addr, peer.local_addr().into());
    assert_eq!(first.local_addr, server.local_addrs()[0]);
    peer.say_all([&b"one"[..], b"two", b"three"]);
    for number in 1..=3 {
        let (before, after) = (lab.recv(&infos), lab.recv(&infos));
        assert_eq!((before.messages_in, before.messages_out), (number, number - 1));
        assert_eq!((after.messages_in, after.messages_out), (number, number));
        let sent = |info: &ConnInfo| info.bytes_out + info.queued_bytes;
        let bytes = if number == 3 { 9 } else { 7 };
        assert_eq!(sent(&after) - sent(&before), bytes, "message {number}");
        assert!(after.bytes_in >= sent(&after), "each came before its answer");
        assert_eq!((after.id, after.connected_at), (first.id, first.connected_at));
    }
    for said in [&b"one"[..], b"two", b"three"] {
        assert_eq!(lab.hear(&mut peer), said);
    }
}

fn counters_are_seen_from_outside_and_stay_when_it_is_over(lab: &mut Lab) {
    let (server, events) = lab.serve(Limits::new(), echo);
    let mut peer = lab.connect(&server);
    let conn = lab.next(&events).conn();
    for _ in 0..3 {
        peer.say(b"12345");
        assert_eq!(lab.hear(&mut peer), b"12345");
    }
    assert_eq!(conn.send(b"6"), Sent::Queued);
    assert_eq!(lab.hear(&mut peer), b"6");
    let all = [27, 3, 32, 4];
    settle(lab, &conn, |info| carried(info) == all && info.queued_bytes == 0);
    assert_eq!(server.connections(), [conn.info()]);
    peer.finish();
    lab.read_to_end(&mut peer);
    let ended = lab.end_of(&events);
    let told = [ended.bytes_in, ended.messages_in, ended.bytes_out, ended.messages_out];
    assert_eq!((told, carried(&conn.info())), (all, all), "told, and kept");
    assert_eq!(conn.info().id, ended.id);
}

fn what_is_received_and_not_answered_is_counted_at_once(lab: &mut Lab) {
    let script = || |_: &mut Ctx<'_, Probe>, _: &Event| Ok(());
    let (server, events) = lab.serve(Limits::new(), script);
    let mut peer = lab.connect(&server);
    let conn = lab.next(&events).conn();
    peer.say(b"hello");
    settle(lab, &conn, |info| carried(info) == [9, 1, 0, 0]);
    peer.send(&frame(b"torn")[..6]);
    settle(lab, &conn, |info| carried(info) == [15, 1, 0, 0]);
    conn.pause();
    peer.say(b"");
    peer.say(b"");
    conn.resume();
    peer.send(b"rn");
    lab.pass(SECOND);
    peer.finish();
    let ended = lab.end_of(&events);
    assert_eq!(conn.info().messages_in, ended.messages_in);
    assert_eq!(conn.info().bytes_in, ended.bytes_in);
}

/// Messages of no bytes: nothing comes back of which one could learn of them later.
fn what_was_queued_is_told_at_the_end_of_the_turn(lab: &mut Lab) {
    let script = || {
        |cx: &mut Ctx<'_, Probe>, event: &Event| {
            if let Event::Message(_) = event {
                cx.send_encoded(Bytes::new())?;
                cx.send_encoded(Bytes::new())?;
            }
            Ok(())
        }
    };
    let (server, events) = lab.serve(Limits::new(), script);
    let mut peer = lab.connect(&server);
    let conn = lab.next(&events).conn();
    peer.say(b"go");
    settle(lab, &conn, |info| carried(info) == [6, 1, 0, 2]);
}

fn what_waits_to_be_sent_is_told_to_all(lab: &mut Lab) {
    const MANY: usize = 16 << 20;
    let limits = Limits::new().send_queue_bytes(2 * MANY as u64).write(Duration::ZERO);
    let script = || {
        |cx: &mut Ctx<'_, Probe>, event: &Event| {
            if let Event::Message(_) = event {
                cx.send_encoded(vec![7; MANY].into())?;
                assert_eq!(cx.info().queued_bytes, MANY as u64);
                assert_eq!((cx.info().messages_out, cx.info().bytes_out), (1, 0));
            }
            Ok(())
        }
    };
    let (server, events) = lab.serve(limits, script);
    let mut peer = lab.connect(&server);
    let conn = lab.next(&events).conn();
    peer.stop_reading();
    peer.say(b"go");
    settle(lab, &conn, |info| info.messages_out == 1);
    let all = |info: &ConnInfo| info.queued_bytes + info.bytes_out == MANY as u64;
    settle(lab, &conn, |info| all(info) && info.queued_bytes > 0 && info.messages_in == 1);
    assert_eq!(lab.read(&mut peer, MANY).len(), MANY);
    settle(lab, &conn, |info| info.queued_bytes == 0 && info.bytes_out == MANY as u64);
}

fn a_connection_stands_since_its_connect(lab: &mut Lab) {
    let (told, times) = channel();
    let for_accepted = told.clone();
    let script = move || {
        let told = for_accepted.clone();
        move |cx: &mut Ctx<'_, Probe>, event: &Event| {
            if let Event::Connect(conn) = event {
                told.send((cx.now(), cx.info().connected_at, conn.info().connected_at)).unwrap();
            }
            Ok(())
        }
    };
    let (server, _events) = lab.serve(Limits::new(), script);
    lab.pass(5 * SECOND);
    let _peer = lab.connect(&server);
    let (now, by_context, by_handle) = lab.recv(&times);
    assert_eq!((by_context, by_handle), (now, now));
    if lab.is_simulated() {
        assert!(now.since(Time::ZERO) >= 5 * SECOND, "{now:?}");
    }
    // An outgoing one: not since its first attempt.
    let target = server.local_addrs()[0].socket_addr().unwrap();
    let from = lab.start(Server::builder().workers(1));
    let connector = Connector::addr(target, codec());
    let factory = move |_: &longshore::Peer<'_>| {
        let told = told.clone();
        Ok(Probe::new(channel().0, move |cx, event| {
            if let Event::Connect(conn) = event {
                told.send((cx.now(), cx.info().connected_at, conn.info().connected_at)).unwrap();
            }
            Ok(())
        }))
    };
    from.connect(connector, factory).unwrap();
    for _ in 0..2 {
        let (now, by_context, by_handle) = lab.recv(&times);
        assert_eq!((by_context, by_handle), (now, now), "of both sides");
    }
}

/// Another handler with the codec of the probes.
struct Other;

impl Handler for Other {
    type Codec = LengthDelimited;
    fn on_message(&mut self, cx: &mut Ctx<'_, Self>, frame: &[u8]) -> Result {
        cx.send(frame)
    }
}

fn a_name_leads_to_a_handle_of_its_handler_only(lab: &mut Lab) {
    let (told, events) = channel();
    let probe = move |_: &longshore::Peer<'_>| Ok(Probe::new(told.clone(), echo()));
    let addrs = [lab.addr(), lab.addr()];
    let builder = Server::builder()
        .listen(Listener::addr(addrs[0], codec()), probe)
        .listen(Listener::addr(addrs[1], codec()), |_| Ok(Other))
        .workers(2);
    let server = lab.start(builder);
    let at = |listener: usize| server.local_addrs()[listener].socket_addr().unwrap();
    let (mut first, mut second) = (lab.connect_to(at(0)), lab.connect_to(at(1)));
    for peer in [&mut first, &mut second] {
        peer.say(b"here");
        assert_eq!(lab.hear(peer), b"here");
    }
    let id_of = |peer: &Peer| {
        let addr = peer.local_addr().into();
        let infos = server.connections();
        infos.iter().find(|info| info.peer_addr == addr).expect("it is listed").id
    };
    let ids = [id_of(&first), id_of(&second)];
    let (probe, other) = (server.conn::<Probe>(ids[0]), server.conn::<Other>(ids[1]));
    let (probe, other) = (probe.expect("a probe"), other.expect("the other one"));
    assert!(server.conn::<Other>(ids[0]).is_none() && server.conn::<Probe>(ids[1]).is_none());
    assert_eq!((probe.id(), other.id()), (ids[0], ids[1]));
    assert_eq!(probe.send(b"by name"), Sent::Queued);
    assert_eq!(lab.hear(&mut first), b"by name");
    assert_eq!(other.send(b"by another"), Sent::Queued);
    assert_eq!(lab.hear(&mut second), b"by another");
    probe.close();
    lab.read_to_end(&mut first);
    drop(first);
    lab.end_of(&crate::net::Events(events));
    assert!(server.conn::<Probe>(ids[0]).is_none(), "it is gone");
    assert_eq!(probe.send(b"late"), Sent::Closed);
    assert!(server.conn::<Other>(ids[1]).is_some());
}

fn the_way_to_a_peer_is_measured_when_asked(lab: &mut Lab) {
    let script = || {
        |cx: &mut Ctx<'_, Probe>, event: &Event| {
            if let Event::Message(frame) = event {
                if frame == b"measure" {
                    cx.measure_link();
                }
                cx.send(format!("{:?}", cx.info().link).as_bytes())?;
            }
            Ok(())
        }
    };
    let (server, events) = lab.serve(Limits::new(), script);
    let mut peer = lab.connect(&server);
    let conn = lab.next(&events).conn();
    let nothing = format!("{:?}", Link::default());
    peer.say(b"measure");
    assert_eq!(lab.hear(&mut peer), nothing.as_bytes(), "not in the same turn");
    peer.say(b"and now?");
    let told = String::from_utf8(lab.hear(&mut peer)).unwrap();
    assert!(told.contains("unacknowledged_bytes: Some("), "{told}");
    assert!(lab.is_simulated() || told.contains("retransmits: Some("), "{told}");
    let before = conn.info().link;
    assert!(lab.is_simulated() || before.round_trip.is_some_and(|span| span > Duration::ZERO));
    // Once is once: what is carried after it is measured by nobody.
    for _ in 0..20 {
        peer.say(b"and now?");
        lab.hear(&mut peer);
    }
    assert_eq!(conn.info().link, before);
    // From outside, when all is acknowledged.
    settle(lab, &conn, |info| {
        conn.measure_link();
        info.link.unacknowledged_bytes == Some(0)
    });
}

fn what_never_fits_owes_nothing(lab: &mut Lab) {
    let limits = Limits::new().send_queue_bytes(1024).slow_reader(SlowReader::Refuse);
    let (told, events) = channel();
    let listener = Listener::addr(lab.addr(), LengthDelimited::u32_be(512)).limits(limits);
    let script = || |_: &mut Ctx<'_, Probe>, _: &Event| Ok(());
    let factory = move |_: &longshore::Peer<'_>| Ok(Probe::new(told.clone(), script()));
    let server = lab.start(Server::builder().workers(1).listen(listener, factory));
    let events = crate::net::Events(events);
    let mut peer = lab.connect(&server);
    let conn = lab.next(&events).conn();
    assert_eq!(conn.send_encoded(vec![0; 2000].into()), Sent::Full);
    assert_eq!(conn.send(b"x"), Sent::Queued);
    assert_eq!(lab.hear(&mut peer), b"x");
    peer.finish();
    let next = lab.next(&events);
    assert!(matches!(next, Event::Disconnect(_)), "{next:?}");
}

fn what_an_abort_drops_counts_nowhere(lab: &mut Lab) {
    let script = || {
        |cx: &mut Ctx<'_, Probe>, event: &Event| {
            if let Event::Connect(_) = event {
                cx.send(b"never")?;
                cx.abort();
            }
            Ok(())
        }
    };
    let (server, events) = lab.serve(Limits::new(), script);
    let _peer = lab.connect(&server);
    let conn = lab.next(&events).conn();
    lab.end_of(&events);
    assert_eq!(conn.queued_bytes(), 0);
}

fn what_was_out_before_an_abort_is_counted(lab: &mut Lab) {
    let script = || {
        |cx: &mut Ctx<'_, Probe>, event: &Event| {
            if let Event::Connect(_) = event {
                for _ in 0..8 {
                    cx.send(&vec![1; 100_000])?;
                }
            }
            if let Event::Message(_) = event {
                cx.send(&vec![1; 100_000])?;
                cx.abort();
            }
            Ok(())
        }
    };
    for _ in 0..5 {
        let (server, events) = lab.serve(Limits::new().send_queue_bytes(64 << 20), script);
        let mut peer = lab.connect(&server);
        let conn = lab.next(&events).conn();
        peer.say(b"go");
        let ended = lab.end_of(&events);
        assert_eq!(conn.info().bytes_out, ended.bytes_out);
    }
}

fn a_handle_without_its_type_does_what_needs_none(lab: &mut Lab) {
    let linger = Linger::default().wait(Duration::from_millis(200));
    let (server, events) = lab.serve(Limits::new().linger(linger), echo);
    let mut peers = [(); 3].map(|()| lab.connect(&server));
    let conns: Vec<_> = (0..3).map(|_| lab.next(&events).conn()).collect();
    let all: Vec<AnyConn> = conns.iter().map(Conn::any).collect();
    for (conn, any) in conns.iter().zip(&all) {
        assert_eq!((any.id(), any.peer_addr()), (conn.id(), conn.peer_addr()));
        assert_eq!(any.local_addr(), conn.local_addr());
        assert_eq!(any.send_encoded(frame(b"hello").into()), Sent::Queued);
    }
    for peer in &mut peers {
        assert_eq!(lab.hear(peer), b"hello");
    }
    all[0].close();
    assert_eq!(lab.end_of(&events).reason, "local");
    all[1].close_because("enough");
    assert_eq!(lab.end_of(&events).why, "enough");
    all[2].abort();
    assert_eq!(lab.end_of(&events).reason, "aborted");
    assert!(all.iter().all(AnyConn::is_closed));
    assert_eq!(all[0].send_encoded(frame(b"late").into()), Sent::Closed);
    assert_eq!(all[0].info().messages_out, 1);
}
