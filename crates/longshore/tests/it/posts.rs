//! Callbacks that somebody else asks for: `Conn::post`.

use crate::net::{Event, Lab, Probe, codec, echo, frame, on_every_port};
use longshore::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

on_every_port! {
    a_post_is_a_callback_with_the_handler_of_its_connection,
    posts_keep_their_order_and_come_behind_what_was_sent_before,
    a_post_goes_to_a_connection_on_another_worker,
    more_posts_than_may_wait_are_refused_and_counted,
    a_post_whose_connection_closes_first_is_skipped_and_counted,
    posts_of_a_server_that_stops_are_run_or_counted,
    a_post_that_fails_ends_its_connection_and_no_other,
    a_paused_connection_has_its_posts,
    heavy_work_in_pieces_lets_others_have_their_turn,
}

/// Says that it was dropped, and panics.
struct Bomb(Sender<()>);

impl Drop for Bomb {
    fn drop(&mut self) {
        self.0.send(()).unwrap();
        panic!("a drop that panics");
    }
}

fn a_post_is_a_callback_with_the_handler_of_its_connection(lab: &mut Lab) {
    let count = || {
        let mut heard = 0_u8;
        move |cx: &mut Ctx<'_, Probe>, event: &Event| match event {
            Event::Message(_) => {
                heard += 1;
                cx.send(&[heard])
            }
            _ => Ok(()),
        }
    };
    let (server, events) = lab.serve(Limits::new(), count);
    let mut peer = lab.connect(&server);
    let conn = lab.next(&events).conn();
    peer.say(b"one");
    assert_eq!(lab.hear(&mut peer), [1]);
    let id = conn.id();
    // It plays a message, as if one had come: the count is the handler's own.
    let posted = conn.post(move |probe: &mut Probe, cx| {
        assert_eq!(cx.id(), id);
        probe.on_message(cx, b"two")
    });
    assert_eq!(posted, Sent::Queued);
    assert_eq!(lab.hear(&mut peer), [2]);
}

fn posts_keep_their_order_and_come_behind_what_was_sent_before(lab: &mut Lab) {
    let (server, events) = lab.serve(Limits::new(), echo);
    let mut peer = lab.connect(&server);
    let conn = lab.next(&events).conn();
    let mut wanted = Vec::new();
    for round in 0..100_u8 {
        assert!(conn.send(&[round, 0]).is_queued());
        let first = conn.post(move |_, cx| cx.send(&[round, 1]));
        let second = conn.post(move |_, cx| cx.send(&[round, 2]));
        assert!(first.is_queued() && second.is_queued());
        wanted.extend([[round, 1], [round, 2]]);
    }
    let (mut sent, mut posted) = (Vec::new(), Vec::new());
    for _ in 0..300 {
        let heard: [u8; 2] = lab.hear(&mut peer).try_into().unwrap();
        let of = if heard[1] == 0 { &mut sent } else { &mut posted };
        of.push(heard);
        // Not a post before what was sent before it.
        assert!(posted.len() <= 2 * sent.len(), "{posted:?} behind {sent:?}");
    }
    assert_eq!(posted, wanted);
    assert_eq!(sent, (0..100).map(|round| [round, 0]).collect::<Vec<_>>());
}

fn a_post_goes_to_a_connection_on_another_worker(lab: &mut Lab) {
    let (told, events) = channel();
    let factory = move |_: &longshore::Peer<'_>| Ok(Probe::new(told.clone(), echo()));
    let listener = Listener::addr(lab.addr(), codec());
    let server = lab.start(Server::builder().listen(listener, factory).workers(2));
    let mut peers = [(); 2].map(|()| lab.connect(&server));
    let conns = [(); 2].map(|()| lab.recv(&events).conn());
    let [one, other] = conns.clone();
    let from_one = other.clone();
    // From callback to callback, and back: neither waits for the other.
    let posted = one.post(move |_, cx| {
        let back = cx.conn();
        let posted = from_one.post(move |_, cx| {
            cx.send(b"there")?;
            assert!(back.post(|_, cx| cx.send(b"back")).is_queued());
            Ok(())
        });
        assert!(posted.is_queued());
        Ok(())
    });
    assert!(posted.is_queued());
    let mut heard: Vec<_> = Vec::new();
    for peer in &mut peers {
        heard.push(lab.hear(peer));
    }
    heard.sort();
    assert_eq!(heard, [b"back".to_vec(), b"there".to_vec()]);
    assert_ne!(one.id().to_bits() >> 48, other.id().to_bits() >> 48, "two workers");
}

fn more_posts_than_may_wait_are_refused_and_counted(lab: &mut Lab) {
    let (told, answers) = channel();
    let script = move || {
        let told = told.clone();
        move |cx: &mut Ctx<'_, Probe>, event: &Event| {
            if let Event::Message(_) = event {
                let conn = cx.conn();
                for _ in 0..3 {
                    told.send(conn.post(|_, cx| cx.send(b"ran"))).unwrap();
                }
            }
            Ok(())
        }
    };
    let (server, _events) = lab.serve(Limits::new().posts(2), script);
    let mut peer = lab.connect(&server);
    // What has run makes room again.
    for round in 1..=3 {
        peer.say(b"go");
        for answer in [Sent::Queued, Sent::Queued, Sent::Full] {
            assert_eq!(lab.recv(&answers), answer);
        }
        for _ in 0..2 {
            assert_eq!(lab.hear(&mut peer), b"ran");
        }
        assert_eq!(server.snapshot().posts_refused, round);
    }
    assert_eq!(server.snapshot().posts_skipped, 0);
}

fn a_post_whose_connection_closes_first_is_skipped_and_counted(lab: &mut Lab) {
    let (dropped, drops) = channel();
    let script = move || {
        let dropped = dropped.clone();
        move |cx: &mut Ctx<'_, Probe>, event: &Event| {
            if let Event::Message(_) = event {
                let bomb = Bomb(dropped.clone());
                let posted = cx.conn().post(move |_, _| {
                    std::mem::forget(bomb);
                    unreachable!("it is closed before this has its turn")
                });
                assert_eq!(posted, Sent::Queued);
                cx.close();
            }
            Ok(())
        }
    };
    let (server, events) = lab.serve(Limits::new(), script);
    let mut peer = lab.connect(&server);
    let conn = lab.next(&events).conn();
    peer.say(b"go");
    peer.finish();
    lab.recv(&drops);
    assert_eq!(lab.end_of(&events).reason, "local");
    assert_eq!(conn.post(|_, _| unreachable!("it is gone")), Sent::Closed);
    let snapshot = server.snapshot();
    assert_eq!((snapshot.posts_skipped, snapshot.panics), (1, 0));
}

fn posts_of_a_server_that_stops_are_run_or_counted(lab: &mut Lab) {
    let (server, events) = lab.serve(Limits::new(), echo);
    let _peer = lab.connect(&server);
    let conn = lab.next(&events).conn();
    let ran = Arc::new(AtomicU64::new(0));
    server.shutdown(Duration::ZERO);
    let mut queued = 0;
    for _ in 0..100 {
        let ran = Arc::clone(&ran);
        let posted = conn.post(move |_, _| {
            ran.fetch_add(1, SeqCst);
            Ok(())
        });
        queued += u64::from(posted.is_queued());
    }
    lab.wait(&server);
    assert_eq!(ran.load(SeqCst) + server.snapshot().posts_skipped, queued);
}

fn a_post_that_fails_ends_its_connection_and_no_other(lab: &mut Lab) {
    // Their peers do not end their streams, and are not waited for.
    let linger = Linger::default().wait(Duration::from_millis(10));
    let (server, events) = lab.serve(Limits::new().linger(linger), echo);
    let mut stays = lab.connect(&server);
    lab.next(&events);
    for (reason, panics) in [("handler_error", false), ("handler_panic", true)] {
        let _peer = lab.connect(&server);
        let conn = lab.next(&events).conn();
        let posted = conn.post(move |_, _| {
            assert!(!panics, "as it should");
            Err(std::io::Error::other("no").into())
        });
        assert!(posted.is_queued());
        assert_eq!(lab.end_of(&events).reason, reason);
    }
    stays.say(b"still here");
    assert_eq!(lab.hear(&mut stays), b"still here");
}

fn a_paused_connection_has_its_posts(lab: &mut Lab) {
    let (server, events) = lab.serve(Limits::new(), echo);
    let mut peer = lab.connect(&server);
    let conn = lab.next(&events).conn();
    conn.pause();
    peer.say(b"later");
    assert!(conn.post(|_, cx| cx.send(b"now")).is_queued());
    assert_eq!(lab.hear(&mut peer), b"now");
    conn.resume();
    assert_eq!(lab.hear(&mut peer), b"later");
}

/// A piece of work, and the next one behind it.
fn work(conn: &Conn<Probe>, left: u64, enough: &Arc<AtomicBool>) -> Sent {
    let enough = Arc::clone(enough);
    conn.post(move |_, cx| {
        if left > 0 && !enough.load(SeqCst) {
            assert!(work(&cx.conn(), left - 1, &enough).is_queued());
        }
        Ok(())
    })
}

fn heavy_work_in_pieces_lets_others_have_their_turn(lab: &mut Lab) {
    let (server, events) = lab.serve(Limits::new(), echo);
    let mut works = lab.connect(&server);
    let conn = lab.next(&events).conn();
    let mut other = lab.connect(&server);
    // No virtual time passes while a worker has something to do; real time always does.
    let left = if lab.is_simulated() { 1_000 } else { u64::MAX };
    let enough = Arc::new(AtomicBool::new(false));
    assert!(work(&conn, left, &enough).is_queued());
    for peer in [&mut other, &mut works] {
        peer.send(&frame(b"and me?"));
        assert_eq!(lab.hear(peer), b"and me?");
    }
    enough.store(true, SeqCst);
}
