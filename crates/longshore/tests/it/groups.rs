//! Groups: one message for many connections.

use crate::net::{Event, Lab, Peer, Probe, codec, echo, frame, on_every_port};
use longshore::*;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

on_every_port! {
    members_hear_what_is_broadcast_and_others_do_not,
    broadcasts_and_sends_of_one_thread_keep_their_order,
    a_broadcast_of_a_callback_is_before_what_it_then_sends,
    who_joins_twice_hears_once_and_who_leaves_nothing,
    who_ends_is_no_member_any_more,
    a_place_in_the_list_is_taken_by_another_without_mixing_them_up,
    a_full_queue_refuses_its_member_and_no_other,
    a_slow_member_is_ended_where_that_is_the_policy,
    what_waits_for_a_busy_worker_has_a_bound,
    what_cannot_be_encoded_reaches_nobody,
    a_group_is_of_one_server,
    a_broadcast_to_a_server_that_has_stopped_adds_up,
    a_group_by_key_is_made_by_its_first_member_and_gone_with_its_last,
    there_are_no_more_groups_by_key_than_may_be,
    a_group_by_key_that_is_joined_while_its_last_member_leaves_stays,
    all_connections_of_a_listener_are_in_its_group,
    broadcasts_that_wait_together_reach_each_member_as_they_were_asked_for,
    of_broadcasts_that_wait_together_each_is_queued_that_fits,
    broadcasts_of_two_groups_that_wait_together_stay_apart,
    who_ends_before_its_join_has_come_is_no_member,
    who_joins_while_slow_members_are_ended_is_a_member,
    who_joins_again_and_again_is_one_member,
    who_joins_and_leaves_on_several_threads_is_one_member_at_most,
}

/// Virtual time that what is waited for may take.
const SOON: Duration = Duration::from_secs(30);

type Room = Group<LengthDelimited>;

/// Whoever connects is told of here.
type Connects = Receiver<Conn<Probe>>;

/// A server of that many workers, whose connections do what `script` does.
fn serve<F>(
    lab: &mut Lab,
    workers: usize,
    limits: Limits,
    script: impl Fn() -> F + Send + Sync + 'static,
) -> (Server, Connects)
where
    F: FnMut(&mut Ctx<'_, Probe>, &Event) -> Result + Send + 'static,
{
    let (told, connects) = channel();
    let factory = move |_: &longshore::Peer<'_>| {
        let (told, mut script) = (told.clone(), script());
        Ok(Probe::new(channel().0, move |cx, event| {
            if let Event::Connect(conn) = event {
                told.send(conn.clone()).unwrap();
            }
            script(cx, event)
        }))
    };
    let listener = Listener::addr(lab.addr(), codec()).limits(limits);
    (lab.start(Server::builder().listen(listener, factory).workers(workers)), connects)
}

/// Peers, each with the handle of its connection.
fn connect(
    lab: &mut Lab,
    server: &Server,
    connects: &Connects,
    count: usize,
) -> Vec<(Peer, Conn<Probe>)> {
    let pairs = (0..count).map(|_| {
        let peer = lab.connect(server);
        (peer, lab.recv(connects))
    });
    pairs.collect()
}

fn all_join(room: &Room, members: &[(Peer, Conn<Probe>)]) {
    for (_, conn) in members {
        assert!(room.join(conn));
    }
}

/// What became of a broadcast.
fn delivered(lab: &mut Lab, receipt: &Receipt) -> (u64, u64, u64) {
    if lab.is_simulated() {
        lab.pass(Duration::from_millis(200)); // no packet takes longer
    } else {
        receipt.wait();
    }
    let delivered = receipt.poll().expect("all workers have done their part");
    (delivered.queued, delivered.refused, delivered.gone)
}

fn members_hear_what_is_broadcast_and_others_do_not(lab: &mut Lab) {
    let (server, connects) = serve(lab, 2, Limits::new(), echo);
    let mut members = connect(lab, &server, &connects, 5);
    let (mut other, _) = connect(lab, &server, &connects, 1).pop().unwrap();
    let room = Room::new(codec());
    assert!(room.is_empty());
    let receipt = room.broadcast(b"nobody").unwrap();
    assert_eq!(receipt.poll(), Some(Delivered::default()), "there is nobody");
    assert!(members.iter().all(|(_, conn)| room.join(conn)));
    assert_eq!(room.len(), 5);
    let receipt = room.broadcast(b"all").unwrap();
    assert_eq!(delivered(lab, &receipt), (5, 0, 0));
    let receipt = room.broadcast_except(members[2].1.id(), b"all but one").unwrap();
    assert_eq!(delivered(lab, &receipt), (4, 0, 0));
    let receipt = room.broadcast_encoded(None, frame(b"as it is").into());
    assert_eq!(delivered(lab, &receipt), (5, 0, 0));
    for (at, (peer, _)) in members.iter_mut().enumerate() {
        assert_eq!(lab.hear(peer), b"all");
        if at != 2 {
            assert_eq!(lab.hear(peer), b"all but one");
        }
        assert_eq!(lab.hear(peer), b"as it is");
    }
    other.say(b"mine");
    assert_eq!(lab.hear(&mut other), b"mine", "and nothing before it");
    assert_eq!(server.snapshot().messages_out, 15);
}

fn broadcasts_and_sends_of_one_thread_keep_their_order(lab: &mut Lab) {
    let (server, connects) = serve(lab, 2, Limits::new(), echo);
    let mut members = connect(lab, &server, &connects, 4);
    let room = Room::new(codec());
    all_join(&room, &members);
    for round in 0..50_u8 {
        room.broadcast(&[round, 0]).unwrap();
        for (_, conn) in &members {
            assert!(conn.send(&[round, 1]).is_queued());
        }
        room.broadcast(&[round, 2]).unwrap();
    }
    for (peer, _) in &mut members {
        for round in 0..50_u8 {
            for part in 0..3 {
                assert_eq!(lab.hear(peer), [round, part]);
            }
        }
    }
}

fn a_broadcast_of_a_callback_is_before_what_it_then_sends(lab: &mut Lab) {
    let room = Room::new(codec());
    let script = {
        let room = room.clone();
        move || {
            let room = room.clone();
            move |cx: &mut Ctx<'_, Probe>, event: &Event| match event {
                Event::Connect(conn) => {
                    assert!(room.join(conn));
                    // Who has joined hears what it broadcasts at once.
                    room.broadcast(b"hello")?;
                    cx.send(b"welcome")
                }
                Event::Message(_) => {
                    room.broadcast(b"first")?;
                    cx.send(b"second")
                }
                _ => Ok(()),
            }
        }
    };
    let (server, connects) = serve(lab, 1, Limits::new(), script);
    let (mut peer, _conn) = connect(lab, &server, &connects, 1).pop().unwrap();
    peer.say(b"go");
    for wanted in ["hello", "welcome", "first", "second"] {
        assert_eq!(lab.hear(&mut peer), wanted.as_bytes());
    }
}

fn who_joins_twice_hears_once_and_who_leaves_nothing(lab: &mut Lab) {
    let (server, connects) = serve(lab, 1, Limits::new(), echo);
    let (mut peer, conn) = connect(lab, &server, &connects, 1).pop().unwrap();
    let (one, other) = (Room::new(codec()), Room::new(codec()));
    for room in [&one, &one, &other] {
        assert!(room.join(&conn));
    }
    one.broadcast(b"once").unwrap();
    one.leave(&conn);
    one.leave(&conn);
    let receipt = one.broadcast(b"not any more").unwrap();
    assert_eq!(delivered(lab, &receipt), (0, 0, 0));
    other.broadcast(b"but this").unwrap();
    assert!(one.join(&conn));
    one.broadcast(b"and again").unwrap();
    for wanted in ["once", "but this", "and again"] {
        assert_eq!(lab.hear(&mut peer), wanted.as_bytes());
    }
    assert_eq!((one.len(), other.len()), (1, 1));
}

fn who_ends_is_no_member_any_more(lab: &mut Lab) {
    let (server, connects) = serve(lab, 2, Limits::new().first_byte(Duration::ZERO), echo);
    let mut members = connect(lab, &server, &connects, 6);
    let room = Room::new(codec());
    all_join(&room, &members);
    let (peer, conn) = members.pop().unwrap();
    drop(peer);
    lab.until(SOON, || room.len() == 5);
    assert!(conn.is_closed() && !room.join(&conn));
    // Who closes stays until it is gone, and hears nothing more.
    members[0].1.close();
    let receipt = room.broadcast(b"still here").unwrap();
    let (queued, refused, gone) = delivered(lab, &receipt);
    assert_eq!((queued, refused), (4, 0));
    assert!(gone <= 1);
    for (peer, _) in &mut members[1..] {
        assert_eq!(lab.hear(peer), b"still here");
    }
    members.clear();
    lab.until(SOON, || room.is_empty());
}

/// The list of a worker is filled up from its end.
fn a_place_in_the_list_is_taken_by_another_without_mixing_them_up(lab: &mut Lab) {
    let (server, connects) = serve(lab, 1, Limits::new(), echo);
    let mut members = connect(lab, &server, &connects, 8);
    let rooms = [(); 2].map(|()| Room::new(codec()));
    for room in &rooms {
        all_join(room, &members);
    }
    // Out of the one in this order, out of the other in that: each has its own places.
    let mut there = [vec![true; 8], vec![true; 8]];
    for (out, order) in [[3, 0, 7, 1], [0, 7, 2, 6]].iter().enumerate() {
        for &at in order {
            rooms[out].leave(&members[at].1);
            there[out][at] = false;
        }
    }
    for (at, room) in rooms.iter().enumerate() {
        let receipt = room.broadcast(&[at as u8]).unwrap();
        assert_eq!(delivered(lab, &receipt), (4, 0, 0));
    }
    for (at, (peer, conn)) in members.iter_mut().enumerate() {
        assert!(conn.send(b"end").is_queued());
        for room in 0..2_u8 {
            if there[usize::from(room)][at] {
                assert_eq!(lab.hear(peer), [room]);
            }
        }
        assert_eq!(lab.hear(peer), b"end");
    }
}

/// Broadcasts to members of whom the first reads nothing, until it is refused.
fn until_refused(lab: &mut Lab, policy: SlowReader) -> (Vec<(Peer, Conn<Probe>)>, Server, usize) {
    let limits = Limits::new().send_queue_bytes(2 << 20).slow_reader(policy);
    let limits = limits.first_byte(Duration::ZERO).write(Duration::ZERO);
    let (server, connects) = serve(lab, 1, limits, echo);
    let mut members = connect(lab, &server, &connects, 3);
    let room = Room::new(codec());
    all_join(&room, &members);
    members[0].0.stop_reading();
    let part = vec![7; 60_000];
    for round in 1.. {
        let receipt = room.broadcast(&part).unwrap();
        for (peer, _) in &mut members[1..] {
            assert_eq!(lab.hear(peer).len(), part.len(), "others get every message");
        }
        match delivered(lab, &receipt) {
            (3, 0, 0) => assert!(round < 10_000, "it reads without an end"),
            (2, 1, 0) => return (members, server, round),
            other => panic!("{other:?}"),
        }
    }
    unreachable!("rounds have no end")
}

fn a_full_queue_refuses_its_member_and_no_other(lab: &mut Lab) {
    let (mut members, server, rounds) = until_refused(lab, SlowReader::Refuse);
    assert_eq!(server.snapshot().messages_refused, 1);
    assert_eq!(server.connection_count(), 3);
    // It has all but what was refused.
    let slow = &mut members[0];
    slow.0.go_on_reading();
    for _ in 1..rounds {
        assert_eq!(lab.hear(&mut slow.0).len(), 60_000);
    }
    assert!(slow.1.send(b"in order").is_queued());
    assert_eq!(lab.hear(&mut slow.0), b"in order");
}

fn a_slow_member_is_ended_where_that_is_the_policy(lab: &mut Lab) {
    let (_members, server, _) = until_refused(lab, SlowReader::Disconnect);
    lab.until(SOON, || server.snapshot().disconnected("slow_reader") == Some(1));
    assert_eq!(server.connection_count(), 2);
}

/// A callback that broadcasts to its own worker, which can do its part only afterwards.
fn what_waits_for_a_busy_worker_has_a_bound(lab: &mut Lab) {
    let room = Room::new(codec());
    let (told, counts) = channel();
    let script = {
        let room = room.clone();
        move || {
            let (room, told) = (room.clone(), told.clone());
            move |_: &mut Ctx<'_, Probe>, event: &Event| {
                if let Event::Message(_) = event {
                    let broadcasts = (0_u64..).map(|_| room.broadcast(&vec![7; 60_000]).unwrap());
                    let waiting = broadcasts.take_while(|it| it.poll().is_none()).count();
                    told.send(waiting).unwrap();
                }
                Ok(())
            }
        }
    };
    let (server, connects) = serve(lab, 1, Limits::new(), script);
    let (mut peer, conn) = connect(lab, &server, &connects, 1).pop().unwrap();
    assert!(room.join(&conn));
    peer.say(b"go");
    let waiting = lab.recv(&counts);
    assert_eq!(waiting, (4 << 20) / (4 + 60_000 + 128));
    for _ in 0..waiting {
        assert_eq!(lab.hear(&mut peer).len(), 60_000);
    }
    assert_eq!(server.snapshot().messages_refused, 1);
    // All of it has arrived, so there is room again.
    room.broadcast(b"again").unwrap();
    assert_eq!(lab.hear(&mut peer), b"again");
}

fn what_cannot_be_encoded_reaches_nobody(lab: &mut Lab) {
    let (server, connects) = serve(lab, 1, Limits::new(), echo);
    let (mut peer, conn) = connect(lab, &server, &connects, 1).pop().unwrap();
    let room = Room::new(LengthDelimited::u32_be(8));
    assert!(room.join(&conn));
    assert!(room.broadcast(&[0; 9]).is_err());
    room.broadcast(b"fits").unwrap();
    assert_eq!(lab.hear(&mut peer), b"fits");
}

fn a_group_is_of_one_server(lab: &mut Lab) {
    let limits = Limits::new().first_byte(Duration::ZERO);
    let (first, connects) = serve(lab, 1, limits.clone(), echo);
    let (_peer, conn) = connect(lab, &first, &connects, 1).pop().unwrap();
    let (second, others) = serve(lab, 1, limits.clone(), echo);
    let (_other_peer, other) = connect(lab, &second, &others, 1).pop().unwrap();
    let room = Room::new(codec());
    assert!(room.join(&conn) && !room.join(&other));
    room.leave(&other); // it is no member
    assert_eq!(room.len(), 1);
    room.leave(&conn);
    lab.until(SOON, || room.is_empty());
    lab.until(SOON, || room.join(&other));
    assert!(!room.join(&conn), "now it is of that one");
}

fn a_broadcast_to_a_server_that_has_stopped_adds_up(lab: &mut Lab) {
    let (server, connects) = serve(lab, 2, Limits::new(), echo);
    let members = connect(lab, &server, &connects, 4);
    let room = Room::new(codec());
    all_join(&room, &members);
    server.shutdown(Duration::ZERO);
    let receipts: Vec<_> = (0..20).map(|_| room.broadcast(b"late").unwrap()).collect();
    lab.wait(&server);
    for receipt in &receipts {
        let (queued, refused, gone) = delivered(lab, receipt);
        assert!(queued + gone <= 4 && refused == 0, "{queued} {refused} {gone}");
    }
    let receipt = room.broadcast(b"nobody").unwrap();
    assert_eq!(delivered(lab, &receipt), (0, 0, 0));
}

type Rooms = Groups<String, LengthDelimited>;

fn a_group_by_key_is_made_by_its_first_member_and_gone_with_its_last(lab: &mut Lab) {
    let limits = Limits::new().first_byte(Duration::ZERO);
    let (server, connects) = serve(lab, 2, limits, echo);
    let mut members = connect(lab, &server, &connects, 4);
    let rooms = Rooms::new(codec());
    let receipt = rooms.broadcast("red", b"nobody").unwrap();
    assert_eq!(receipt.poll(), Some(Delivered::default()), "there is no such room");
    assert!(rooms.broadcast("red", &vec![0; (1 << 20) + 1]).is_err(), "though nobody hears it");
    for (at, (_, conn)) in members.iter().enumerate() {
        assert_eq!(rooms.join(if at < 3 { "red" } else { "blue" }, conn), Sent::Queued);
    }
    assert_eq!(rooms.join("blue", &members[0].1), Sent::Queued, "one may be in several");
    assert_eq!(rooms.list(), [("blue".to_owned(), 2), ("red".to_owned(), 3)]);
    let receipt = rooms.broadcast("red", b"to the red ones").unwrap();
    assert_eq!(delivered(lab, &receipt), (3, 0, 0));
    let receipt = rooms.broadcast_except("blue", members[0].1.id(), b"to the other").unwrap();
    assert_eq!(delivered(lab, &receipt), (1, 0, 0));
    for (at, (peer, _)) in members.iter_mut().enumerate() {
        let wanted = if at < 3 { "to the red ones" } else { "to the other" };
        assert_eq!(lab.hear(peer), wanted.as_bytes());
    }
    rooms.leave("blue", &members[0].1);
    rooms.leave("green", &members[0].1);
    members.truncate(3); // the last of blue is gone
    lab.until(SOON, || rooms.list() == [("red".to_owned(), 3)]);
    lab.until(SOON, || rooms.len() == 1 && rooms.members("blue") == 0);
    members.clear();
    lab.until(SOON, || rooms.is_empty());
}

fn there_are_no_more_groups_by_key_than_may_be(lab: &mut Lab) {
    let (server, connects) = serve(lab, 1, Limits::new().first_byte(Duration::ZERO), echo);
    let (_peer, conn) = connect(lab, &server, &connects, 1).pop().unwrap();
    let rooms: Groups<u32, _> = Groups::at_most(3, codec());
    for (room, wanted) in [Sent::Queued, Sent::Queued, Sent::Queued, Sent::Full].iter().enumerate()
    {
        assert_eq!(rooms.join(u32::try_from(room).unwrap(), &conn), *wanted);
    }
    assert_eq!(rooms.join(1_u32, &conn), Sent::Queued, "it is there already");
    assert_eq!(server.snapshot().groups_refused, 1);
    rooms.leave(&1, &conn);
    lab.until(SOON, || rooms.members(&1) == 0);
    assert_eq!(rooms.join(3_u32, &conn), Sent::Queued, "there is room again");
    assert_eq!(rooms.list(), [(0, 1), (2, 1), (3, 1)]);
    conn.abort();
    assert_eq!(rooms.join(0_u32, &conn), Sent::Closed);
    assert_eq!(rooms.join(7_u32, &conn), Sent::Closed);
    lab.until(SOON, || rooms.is_empty());
    let (other, others) = serve(lab, 1, Limits::new(), echo);
    let (_peer, conn) = connect(lab, &server, &connects, 1).pop().unwrap();
    let (_other_peer, stranger) = connect(lab, &other, &others, 1).pop().unwrap();
    assert_eq!(rooms.join(0_u32, &conn), Sent::Queued);
    assert_eq!(rooms.join(0_u32, &stranger), Sent::Closed, "of another server");
    assert_eq!(rooms.len(), 1);
}

fn a_group_by_key_that_is_joined_while_its_last_member_leaves_stays(lab: &mut Lab) {
    let (server, connects) = serve(lab, 2, Limits::new(), echo);
    let mut members = connect(lab, &server, &connects, 2);
    let rooms = Rooms::new(codec());
    for round in 0..20_u8 {
        // Two are never out at the same time, each is out in turn.
        for (goes, stays) in [(0, 1), (1, 0)] {
            assert_eq!(rooms.join("room", &members[stays].1), Sent::Queued);
            rooms.leave("room", &members[goes].1);
            let receipt = rooms.broadcast("room", &[round]).unwrap();
            assert_eq!(delivered(lab, &receipt), (1, 0, 0));
            assert_eq!(lab.hear(&mut members[stays].0), [round]);
        }
    }
    assert_eq!(rooms.list(), [("room".to_owned(), 1)]);
}

fn all_connections_of_a_listener_are_in_its_group(lab: &mut Lab) {
    let all = Room::new(codec());
    let of_callback = all.clone();
    let factory = move |_: &longshore::Peer<'_>| {
        let all = of_callback.clone();
        Ok(Probe::new(channel().0, move |_, event| {
            if let Event::Connect(_) = event {
                all.broadcast(b"somebody came")?; // who came is one of them
            }
            Ok(())
        }))
    };
    let [one, other] =
        [(); 2].map(|()| Listener::addr(lab.addr(), codec()).push_only().group(&all));
    let builder = Server::builder().workers(2).listen(one, factory.clone()).listen(other, factory);
    let server = lab.start(builder);
    let mut peers = Vec::new();
    for at in [0, 1] {
        let Addr::Ip(addr) = server.local_addrs()[at] else { unreachable!("over IP") };
        let mut peer = lab.connect_to(addr);
        assert_eq!(lab.hear(&mut peer), b"somebody came");
        peers.push(peer);
    }
    assert_eq!(lab.hear(&mut peers[0]), b"somebody came");
    assert_eq!(all.len(), 2);
    peers.pop();
    lab.until(SOON, || all.len() == 1);
    let again = Listener::addr(lab.addr(), codec()).group(&all);
    let builder = Server::builder().listen(again, |_| Ok(Probe::new(channel().0, echo())));
    let text = builder.check().unwrap_err().to_string();
    assert!(text.contains("group of a listener"), "{text}");
}

/// What a member does.
type Script = Box<dyn FnMut(&mut Ctx<'_, Probe>, &Event) -> Result + Send>;

/// A member whose messages make it broadcast so many at once, each told of by its receipt.
fn broadcaster(
    room: &Room,
    receipts: &Sender<Receipt>,
    count: u8,
    len: usize,
) -> impl Fn() -> Script + Send + Sync + 'static {
    let (room, receipts) = (room.clone(), receipts.clone());
    move || {
        let (room, receipts) = (room.clone(), receipts.clone());
        Box::new(move |cx, event| {
            for at in 0..if let Event::Message(_) = event { count } else { 0 } {
                let bytes = vec![at; len];
                let receipt = match at {
                    3 => room.broadcast_except(cx.id(), &bytes)?,
                    _ => room.broadcast(&bytes)?,
                };
                receipts.send(receipt).unwrap();
            }
            Ok(())
        })
    }
}

fn broadcasts_that_wait_together_reach_each_member_as_they_were_asked_for(lab: &mut Lab) {
    let (room, (told, receipts)) = (Room::new(codec()), channel());
    let script = broadcaster(&room, &told, 6, 3);
    let (server, connects) = serve(lab, 1, Limits::new().first_byte(Duration::ZERO), script);
    let mut members = connect(lab, &server, &connects, 4);
    all_join(&room, &members);
    members[0].0.say(b"go");
    for (at, (peer, _)) in members.iter_mut().enumerate() {
        for number in (0..6_u8).filter(|number| at != 0 || *number != 3) {
            assert_eq!(lab.hear(peer), [number; 3]);
        }
    }
    for at in 0..6 {
        let receipt = lab.recv(&receipts);
        assert_eq!(delivered(lab, &receipt), (if at == 3 { 3 } else { 4 }, 0, 0));
    }
    assert_eq!(server.snapshot().messages_out, 6 * 4 - 1);
    assert_eq!(members[0].1.info().messages_out, 5);
}

fn of_broadcasts_that_wait_together_each_is_queued_that_fits(lab: &mut Lab) {
    let (room, (told, receipts)) = (Room::new(codec()), channel());
    let script = broadcaster(&room, &told, 3, 400);
    let limits = Limits::new().send_queue_bytes(1_024).slow_reader(SlowReader::Refuse);
    let limits = limits.first_byte(Duration::ZERO);
    let factory = {
        let (told, _) = channel();
        move |_: &longshore::Peer<'_>| Ok(Probe::new(told.clone(), script()))
    };
    let listener = Listener::addr(lab.addr(), LengthDelimited::u32_be(500)).limits(limits);
    let server = lab.start(Server::builder().listen(listener.group(&room), factory).workers(1));
    let mut peers = [(); 2].map(|()| lab.connect(&server));
    lab.until(SOON, || room.len() == 2);
    peers[0].say(b"go");
    for peer in &mut peers {
        assert_eq!(lab.hear(peer), [0; 400]);
        assert_eq!(lab.hear(peer), [1; 400]);
    }
    let said: Vec<_> = (0..3).map(|_| lab.recv(&receipts)).collect();
    let said: Vec<_> = said.iter().map(|receipt| delivered(lab, receipt)).collect();
    assert_eq!(said, [(2, 0, 0), (2, 0, 0), (0, 2, 0)]);
}

fn broadcasts_of_two_groups_that_wait_together_stay_apart(lab: &mut Lab) {
    let rooms = [(); 2].map(|()| Room::new(codec()));
    let script = {
        let rooms = rooms.clone();
        move || {
            let rooms = rooms.clone();
            move |_: &mut Ctx<'_, Probe>, event: &Event| {
                let Event::Message(_) = event else { return Ok(()) };
                for at in 0..4_u8 {
                    rooms[usize::from(at % 2)].broadcast(&[at])?;
                }
                Ok(())
            }
        }
    };
    let (server, connects) = serve(lab, 1, Limits::new(), script);
    let mut members = connect(lab, &server, &connects, 2);
    for (room, (_, conn)) in rooms.iter().zip(&members) {
        assert!(room.join(conn));
    }
    members[0].0.say(b"go");
    for (at, (peer, _)) in (0..).zip(&mut members) {
        assert_eq!((lab.hear(peer), lab.hear(peer)), (vec![at], vec![at + 2]));
    }
}

fn who_ends_before_its_join_has_come_is_no_member(lab: &mut Lab) {
    let limits = Limits::new().send_queue_bytes((1 << 20) + 4).first_byte(Duration::ZERO);
    let rooms = [(); 2].map(|()| Room::new(codec()));
    let slow: Arc<Mutex<Option<Conn<Probe>>>> = Arc::default();
    let (told, done) = channel();
    let script = {
        let (rooms, slow) = (rooms.clone(), Arc::clone(&slow));
        move || {
            let (rooms, slow, told) = (rooms.clone(), Arc::clone(&slow), told.clone());
            move |_: &mut Ctx<'_, Probe>, event: &Event| {
                let Event::Message(_) = event else { return Ok(()) };
                let conn = slow.lock().unwrap().clone().unwrap();
                // The broadcast finds no room for it, which is known when its turn is.
                assert!(conn.send(&vec![7; 600_000]).is_queued());
                for message in [&vec![7; 600_000][..], b"next"] {
                    told.send(rooms[0].broadcast(message)?).unwrap();
                }
                assert!(rooms[1].join(&conn));
                Ok(())
            }
        }
    };
    let (server, connects) = serve(lab, 1, limits, script);
    let mut conns = connect(lab, &server, &connects, 2);
    all_join(&rooms[0], &conns);
    *slow.lock().unwrap() = Some(conns[0].1.clone());
    conns[1].0.say(b"go");
    for wanted in [(1, 1, 0), (1, 0, 1)] {
        let receipt = lab.recv(&done);
        assert_eq!(delivered(lab, &receipt), wanted);
    }
    lab.until(SOON, || rooms[0].len() == 1);
    assert!(rooms[1].is_empty(), "{}", rooms[1].len());
}

/// Bytes that let a connection join when nobody has them any more.
struct Joins(Room, Conn<Probe>, Vec<u8>);

impl AsRef<[u8]> for Joins {
    fn as_ref(&self) -> &[u8] {
        &self.2
    }
}

impl Drop for Joins {
    fn drop(&mut self) {
        assert!(self.0.join(&self.1));
    }
}

fn who_joins_while_slow_members_are_ended_is_a_member(lab: &mut Lab) {
    let limits = Limits::new().send_queue_bytes((1 << 20) + 4).first_byte(Duration::ZERO);
    let room = Room::new(codec());
    let slow: Arc<Mutex<Vec<Conn<Probe>>>> = Arc::default();
    let (told, done) = channel();
    let script = {
        let (room, slow) = (room.clone(), Arc::clone(&slow));
        move || {
            let (room, slow, told) = (room.clone(), Arc::clone(&slow), told.clone());
            move |cx: &mut Ctx<'_, Probe>, event: &Event| {
                let Event::Message(_) = event else { return Ok(()) };
                // All in one go: nothing leaves in between, and the broadcast finds no room.
                for conn in slow.lock().unwrap().iter() {
                    let joins = Bytes::from_owner(Joins(room.clone(), cx.conn(), vec![0; 600_000]));
                    assert!(conn.send_encoded(joins).is_queued());
                }
                told.send(room.broadcast(&vec![7; 600_000])?).unwrap();
                Ok(())
            }
        }
    };
    let (server, connects) = serve(lab, 1, limits, script);
    let mut conns = connect(lab, &server, &connects, 4);
    let (mut late, _) = conns.pop().unwrap();
    all_join(&room, &conns);
    slow.lock().unwrap().extend(conns[..2].iter().map(|(_, conn)| conn.clone()));
    late.say(b"go");
    let receipt = lab.recv(&done);
    assert_eq!(delivered(lab, &receipt), (1, 2, 0));
    slow.lock().unwrap().clear();
    lab.until(SOON, || room.len() == 2);
    room.broadcast(b"all").unwrap();
    assert_eq!(lab.hear(&mut late), b"all");
}

/// Before its worker has seen to any of it, too.
fn who_joins_again_and_again_is_one_member(lab: &mut Lab) {
    let room = Room::new(codec());
    let (told, lens) = channel();
    let script = {
        let room = room.clone();
        move || {
            let (room, told) = (room.clone(), told.clone());
            move |cx: &mut Ctx<'_, Probe>, event: &Event| {
                if let Event::Message(_) = event {
                    assert!((0..1_000).all(|_| room.join(&cx.conn())));
                    let receipts: Vec<_> =
                        (0..100).map(|_| room.broadcast(&vec![7; 60_000]).unwrap()).collect();
                    told.send((room.len(), receipts)).unwrap();
                    room.leave(&cx.conn());
                    room.leave(&cx.conn());
                    told.send((room.len(), Vec::new())).unwrap();
                }
                Ok(())
            }
        }
    };
    let limits = Limits::new().first_byte(Duration::ZERO).slow_reader(SlowReader::Refuse);
    let (server, connects) = serve(lab, 2, limits.send_queue_bytes(8 << 20), script);
    let (mut peer, _) = connect(lab, &server, &connects, 1).pop().unwrap();
    peer.say(b"go");
    let (len, receipts) = lab.recv(&lens);
    assert_eq!((len, lab.recv(&lens).0), (1, 0));
    let mut queued = 0;
    for receipt in &receipts {
        let (yes, no, gone) = delivered(lab, receipt);
        assert_eq!((yes + no, gone), (1, 0), "there is one member");
        queued += yes;
    }
    assert_eq!(queued, (4 << 20) / (4 + 60_000 + 128), "what was on its way, it got");
    for _ in 0..queued {
        assert_eq!(lab.hear(&mut peer).len(), 60_000);
    }
    let receipt = room.broadcast(b"nobody").unwrap();
    assert_eq!(delivered(lab, &receipt), (0, 0, 0));
}

fn who_joins_and_leaves_on_several_threads_is_one_member_at_most(lab: &mut Lab) {
    let limits = Limits::new().first_byte(Duration::ZERO);
    let (server, connects) = serve(lab, 1, limits, echo);
    let (mut peer, conn) = connect(lab, &server, &connects, 1).pop().unwrap();
    let room = Room::new(codec());
    for round in 0..20_u8 {
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        room.join(&conn);
                        room.leave(&conn);
                    }
                });
            }
        });
        assert!(room.join(&conn));
        assert_eq!(room.len(), 1);
        let receipt = room.broadcast(&[round]).unwrap();
        assert_eq!(delivered(lab, &receipt), (1, 0, 0), "round {round}");
        assert_eq!(lab.hear(&mut peer), [round]);
        room.leave(&conn);
        assert!(room.is_empty());
    }
}
