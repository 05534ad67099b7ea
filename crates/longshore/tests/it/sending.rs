//! Sending: order, bounds, handles that outlive their connection.

use crate::net::{End, Event, Lab, Probe, echo, frame, is_long, on_every_port, on_real_ports};
use longshore::*;
use std::sync::mpsc::channel;
use std::time::Duration;

on_every_port! {
    a_frame_above_the_default_queue_is_sent,
    what_returned_before_is_first_on_the_wire,
    sends_to_others_keep_their_order,
    a_tracked_send_is_told_once_its_bytes_are_with_the_kernel,
    a_full_queue_disconnects_by_default,
    what_was_tracked_is_told_at_the_end_at_last,
    a_full_queue_refuses_and_tells_when_writable,
    the_queue_of_a_handle_is_empty_again_once_all_is_sent,
    after_close_every_send_answers_closed,
    handles_of_a_connection_that_is_gone_answer_closed,
    a_close_or_pause_by_handle_counts_before_the_next_frame,
    an_item_that_makes_no_frame_is_an_answer_and_not_the_end,
    messages_and_bytes_are_counted,
}

on_real_ports! {
    sends_of_many_threads_keep_the_order_of_each,
}

fn what_returned_before_is_first_on_the_wire(lab: &mut Lab) {
    let script = || {
        |cx: &mut Ctx<'_, Probe>, event: &Event| {
            if let Event::Message(_) = event {
                let conn = cx.conn();
                cx.send(b"1 cx")?;
                assert_eq!(conn.send(b"2 handle"), Sent::Queued);
                cx.send(b"3 cx")?;
                cx.send_encoded(Bytes::from(frame(b"4 encoded")))?;
                assert_eq!(conn.send(b"5 handle"), Sent::Queued);
                assert_eq!(cx.send_to(&conn, b"6 to itself"), Sent::Queued);
                let encoded = Bytes::from(frame(b"7 encoded handle"));
                assert_eq!(conn.send_encoded(encoded), Sent::Queued);
                cx.send_tracked(b"8 tracked", 8)?;
            }
            Ok(())
        }
    };
    let (server, events) = lab.serve(Limits::new(), script);
    let mut peer = lab.connect(&server);
    let conn = lab.next(&events).conn();
    assert_eq!(conn.send(b"0 before"), Sent::Queued);
    peer.say(b"go");
    for number in 0..=8 {
        let heard = lab.hear(&mut peer);
        assert!(heard.starts_with(number.to_string().as_bytes()), "{number}: {heard:?}");
    }
}

/// Every message goes to the connection that spoke first, large ones by `send_to` too.
fn sends_to_others_keep_their_order(lab: &mut Lab) {
    const MESSAGES: u32 = 200;
    let (first, firsts) = channel::<Conn<Probe>>();
    let firsts = std::sync::Arc::new(std::sync::Mutex::new(firsts));
    let script = move || {
        let (first, firsts) = (first.clone(), std::sync::Arc::clone(&firsts));
        let mut target: Option<Conn<Probe>> = None;
        move |cx: &mut Ctx<'_, Probe>, event: &Event| {
            match event {
                Event::Message(frame) if frame == b"first" => first.send(cx.conn())?,
                Event::Message(frame) => {
                    if target.is_none() {
                        target = Some(firsts.lock().unwrap().try_recv()?);
                    }
                    let target = target.as_ref().unwrap();
                    let by_context = frame[0] & 1 == 0;
                    let sent =
                        if by_context { cx.send_to(target, frame) } else { target.send(frame) };
                    assert_eq!(sent, Sent::Queued);
                }
                _ => {}
            }
            Ok(())
        }
    };
    let (server, events) = lab.serve(Limits::new(), script);
    let mut to = lab.connect(&server);
    to.say(b"first");
    lab.find(&events, |event| event.is_message(b"first").then_some(()));
    let mut from = lab.connect(&server);
    for number in 0..MESSAGES {
        let mut payload = number.to_le_bytes().to_vec();
        payload.resize(4 + (number as usize % 7) * 1_500, 3);
        from.say(&payload);
    }
    for number in 0..MESSAGES {
        let heard = lab.hear(&mut to);
        assert_eq!(heard[..4], number.to_le_bytes());
        assert_eq!(heard.len(), 4 + (number as usize % 7) * 1_500);
    }
}

fn a_tracked_send_is_told_once_its_bytes_are_with_the_kernel(lab: &mut Lab) {
    const BYTES: usize = 700_000;
    let script = || {
        |cx: &mut Ctx<'_, Probe>, event: &Event| {
            if let Event::Message(_) = event {
                cx.send_tracked(&vec![1; BYTES], 1)?;
                cx.send(b"untracked")?;
                cx.send_tracked(b"small", 2)?;
            }
            Ok(())
        }
    };
    let (server, events) = lab.serve(Limits::new(), script);
    let mut peer = lab.connect(&server);
    peer.say(b"go");
    assert_eq!(lab.hear(&mut peer).len(), BYTES);
    assert_eq!(lab.hear(&mut peer), b"untracked");
    assert_eq!(lab.hear(&mut peer), b"small");
    for id in [1, 2] {
        let told = lab.find(&events, |event| match event {
            Event::Sent(told) => Some(told),
            _ => None,
        });
        assert_eq!(told, id);
    }
    drop(peer);
    lab.end_of(&events);
}

/// Each is told of once: by `on_sent` while it is open, at its end after that.
fn what_was_tracked_is_told_at_the_end_at_last(lab: &mut Lab) {
    let script = || {
        |cx: &mut Ctx<'_, Probe>, event: &Event| match event {
            Event::Connect(_) => cx.send_tracked(b"welcome", 1),
            Event::Message(word) if word == b"close" => {
                cx.send_tracked(b"so long", 2)?;
                cx.close();
                Ok(())
            }
            Event::Message(_) => {
                for id in 2..5 {
                    cx.send_tracked(&vec![7; 1_000_000], id)?;
                }
                cx.abort();
                Ok(())
            }
            _ => Ok(()),
        }
    };
    let (server, events) = lab.serve(Limits::new(), script);
    for word in [&b"close"[..], b"much"] {
        let mut peer = lab.connect(&server);
        let _ = lab.next(&events).conn();
        assert!(matches!(lab.next(&events), Event::Sent(1)));
        peer.stop_reading();
        peer.say(word);
        assert!(lab.next(&events).is_message(word));
        if word == b"close" {
            peer.finish();
        }
        let mut told = Vec::new();
        let ended = lab.find(&events, |event| match event {
            Event::Disconnect(ended) => Some(ended),
            Event::Sent(id) => {
                told.push(id);
                None
            }
            _ => None,
        });
        let ids: Vec<_> = told.into_iter().chain(ended.tracked.iter().map(|(id, _)| *id)).collect();
        if word == b"much" {
            assert_eq!(ids, [2, 3, 4]);
            assert_eq!(ended.tracked.last(), Some(&(4, false)), "it never fits");
        } else {
            assert_eq!((ids, ended.tracked), (vec![2], vec![(2, true)]), "flushed");
        }
    }
}

fn a_full_queue_disconnects_by_default(lab: &mut Lab) {
    for from in ["cx", "handle"] {
        let script = move || {
            move |cx: &mut Ctx<'_, Probe>, event: &Event| {
                if let (Event::Message(_), "cx") = (event, from) {
                    let large = vec![1; 100_000];
                    loop {
                        match cx.try_send(&large) {
                            Ok(()) => {}
                            Err(SendError::Full) => break,
                            Err(other) => panic!("{other}"),
                        }
                    }
                    assert_eq!(cx.try_send(b"late"), Err(SendError::Closed));
                }
                Ok(())
            }
        };
        let (server, events) = lab.serve(Limits::new().send_queue_bytes(2 << 20), script);
        let mut peer = lab.connect(&server);
        let conn = lab.next(&events).conn();
        peer.stop_reading();
        if from == "cx" {
            peer.say(b"go");
        } else {
            let large = vec![1; 1 << 19];
            let answer = loop {
                match conn.send(&large) {
                    Sent::Queued => lab.pass(Duration::from_millis(1)),
                    other => break other,
                }
            };
            assert_eq!(answer, Sent::Full);
            assert_eq!(conn.send(b"late"), Sent::Closed);
        }
        assert_eq!(lab.end_of(&events).reason, "slow_reader", "{from}");
        assert!(server.snapshot().messages_refused > 0);
        assert_eq!(server.refused_sends(), [u64::from(from == "handle")]);
    }
}

fn a_full_queue_refuses_and_tells_when_writable(lab: &mut Lab) {
    const ALL: u32 = 130;
    let script = || {
        let mut next = 0u32;
        move |cx: &mut Ctx<'_, Probe>, event: &Event| {
            if !matches!(event, Event::Message(_) | Event::Writable) {
                return Ok(());
            }
            if let Event::Writable = event {
                assert!(cx.queued_bytes() <= 500_000, "above the low mark");
            }
            while next < ALL {
                let mut payload = vec![0; 20_000];
                payload[..4].copy_from_slice(&next.to_be_bytes());
                match cx.try_send(&payload) {
                    Ok(()) => next += 1,
                    Err(SendError::Full) => return Ok(()),
                    Err(other) => panic!("{other}"),
                }
            }
            Ok(())
        }
    };
    let limits = Limits::new()
        .send_queue_bytes(2 << 20)
        .send_queue_low_bytes(500_000)
        .slow_reader(SlowReader::Refuse);
    let (server, events) = lab.serve(limits, script);
    let mut peer = lab.connect(&server);
    peer.say(b"go");
    for number in 0..ALL {
        assert_eq!(lab.hear(&mut peer)[..4], number.to_be_bytes());
    }
    let writable = events.rest().iter().filter(|event| matches!(event, Event::Writable)).count();
    assert!(writable > 0, "2.6 MB never met the bound of 2 MiB");
}

fn the_queue_of_a_handle_is_empty_again_once_all_is_sent(lab: &mut Lab) {
    // Nearly the bound each time: what the last one left behind would make the next one too much.
    let large = vec![6; 1_000_000];
    let limits = Limits::new().send_queue_bytes(1_100_000).slow_reader(SlowReader::Refuse);
    let script = || {
        |cx: &mut Ctx<'_, Probe>, event: &Event| match event {
            Event::Message(_) => cx.send_tracked(&vec![6; 1_000_000], 1),
            _ => Ok(()),
        }
    };
    let (server, events) = lab.serve(limits.clone(), script);
    let mut peer = lab.connect(&server);
    let conn = lab.next(&events).conn();
    for _ in 0..if lab.is_simulated() { 1 } else { 5 } {
        peer.say(b"go");
        assert_eq!(lab.hear(&mut peer), large);
        lab.find(&events, |event| matches!(event, Event::Sent(1)).then_some(()));
        assert_eq!(conn.queued_bytes(), 0);
        assert_eq!(server.connections()[0].queued_bytes, 0);
        assert_eq!(conn.send(&large), Sent::Queued);
        assert_eq!(lab.hear(&mut peer), large);
        // An answer behind it tells that the worker has seen the end of the send before.
        peer.say(b"go");
        assert_eq!(lab.hear(&mut peer), large);
        lab.find(&events, |event| matches!(event, Event::Sent(1)).then_some(()));
    }
}

fn after_close_every_send_answers_closed(lab: &mut Lab) {
    let script = || {
        |cx: &mut Ctx<'_, Probe>, event: &Event| {
            if let Event::Message(_) = event {
                let conn = cx.conn();
                cx.send(b"bye")?;
                conn.close();
                assert!(conn.is_closed());
                assert_eq!(conn.send(b"late"), Sent::Closed);
                assert_eq!(cx.try_send(b"late"), Err(SendError::Closed));
                assert_eq!(cx.send_encoded(Bytes::new()), Err(SendError::Closed));
                assert_eq!(cx.send_to(&conn, b"late"), Sent::Closed);
                assert_eq!(conn.send_encoded(Bytes::new()), Sent::Closed);
                assert!(cx.send_tracked(b"late", 1).is_err());
                conn.pause();
                cx.resume();
            }
            Ok(())
        }
    };
    let (server, events) = lab.serve(Limits::new(), script);
    let mut peer = lab.connect(&server);
    let conn = lab.next(&events).conn();
    peer.say(b"go");
    assert_eq!(lab.read_to_end(&mut peer), (frame(b"bye"), End::Fin));
    assert_eq!(conn.send(b"late"), Sent::Closed);
    drop(peer);
    assert_eq!(lab.end_of(&events).messages_out, 1);
    // From another thread: what was queued before `close` goes out, what comes after is told.
    let mut peer = lab.connect(&server);
    let conn = lab.next(&events).conn();
    assert_eq!(conn.send(b"one"), Sent::Queued);
    conn.close();
    assert_eq!(conn.send(b"late"), Sent::Closed);
    assert_eq!(lab.read_to_end(&mut peer), (frame(b"one"), End::Fin));
}

fn handles_of_a_connection_that_is_gone_answer_closed(lab: &mut Lab) {
    const ROUNDS: usize = 20;
    let (server, events) = lab.serve(Limits::new(), echo);
    let mut stale: Vec<Conn<Probe>> = Vec::new();
    for round in 0..ROUNDS {
        let mut peer = lab.connect(&server);
        let conn = lab.next(&events).conn();
        // None of these may reach the successor, whose slot and descriptor may be the same.
        for (number, old) in stale.iter().enumerate() {
            assert_eq!(old.send(b"stray"), Sent::Closed);
            old.pause();
            match number % 3 {
                0 => old.close(),
                1 => old.abort(),
                _ => old.close_because("stale"),
            }
            assert_eq!(server.close(old.id()), Sent::Closed);
            assert_eq!(server.abort(old.id()), Sent::Closed);
            assert!(old.is_closed() && old.queued_bytes() == 0);
        }
        peer.say(&[7; 10]);
        assert_eq!(lab.hear(&mut peer), [7; 10], "round {round}");
        peer.finish();
        assert_eq!(lab.read_to_end(&mut peer), (vec![], End::Fin));
        drop(peer);
        assert_eq!(lab.end_of(&events).reason, "peer_closed");
        stale.push(conn);
    }
}

fn a_close_or_pause_by_handle_counts_before_the_next_frame(lab: &mut Lab) {
    for how in ["close", "abort", "pause"] {
        let script = move || {
            move |cx: &mut Ctx<'_, Probe>, event: &Event| {
                if let Event::Message(_) = event {
                    match how {
                        "close" => cx.conn().close(),
                        "abort" => cx.conn().abort(),
                        _ => {
                            cx.conn().pause();
                            cx.set_timer(Timer(1), Duration::from_millis(5))?;
                        }
                    }
                }
                if let Event::Timer(_) = event {
                    cx.close();
                }
                Ok(())
            }
        };
        let (server, events) = lab.serve(Limits::new(), script);
        let mut peer = lab.connect(&server);
        peer.say_all([&b"1"[..], b"2", b"3"]);
        lab.read_to_end(&mut peer);
        drop(peer);
        assert_eq!(lab.end_of(&events).messages_in, 1, "{how}");
    }
}

fn an_item_that_makes_no_frame_is_an_answer_and_not_the_end(lab: &mut Lab) {
    let script = || {
        |cx: &mut Ctx<'_, Probe>, event: &Event| {
            if let Event::Message(_) = event {
                let huge = vec![0; (1 << 20) + 1];
                cx.send(b"before")?;
                assert!(matches!(cx.try_send(&huge), Err(SendError::Encode(_))));
                let (len, max) = (huge.len() as u64 + 4, (1 << 20) + 4);
                let too_long = Sent::Invalid(FrameError::TooLong { len, max });
                let conn = cx.conn();
                assert_eq!(conn.send(&huge), too_long, "by a handle");
                assert_eq!(cx.send_to(&conn, &huge), too_long, "on its own worker");
                cx.send(b"after")?;
            }
            Ok(())
        }
    };
    let (server, _events) = lab.serve(Limits::new(), script);
    let mut peer = lab.connect(&server);
    peer.say(b"go");
    assert_eq!(lab.hear(&mut peer), b"before");
    assert_eq!(lab.hear(&mut peer), b"after");
}

fn messages_and_bytes_are_counted(lab: &mut Lab) {
    let (server, events) = lab.serve(Limits::new(), echo);
    let mut peer = lab.connect(&server);
    let conn = lab.next(&events).conn();
    for _ in 0..3 {
        peer.say(b"12345");
        assert_eq!(lab.hear(&mut peer), b"12345");
    }
    assert_eq!(conn.send(b"6"), Sent::Queued);
    assert_eq!(lab.hear(&mut peer), b"6");
    peer.finish();
    assert_eq!(lab.read_to_end(&mut peer), (vec![], End::Fin));
    let ended = lab.end_of(&events);
    assert_eq!((ended.messages_in, ended.messages_out), (3, 4));
    assert_eq!((ended.bytes_in, ended.bytes_out), (27, 32));
    let snapshot = server.snapshot();
    assert_eq!((snapshot.messages_in, snapshot.messages_out), (3, 4));
    assert_eq!((snapshot.bytes_in, snapshot.bytes_out), (27, 32));
    assert_eq!((snapshot.accepted, snapshot.closed), (1, 1));
    assert_eq!(snapshot.disconnected("peer_closed"), Some(1));
    assert!(snapshot.turns > 0 && snapshot.completions > 0);
    assert!(snapshot.named().any(|named| named == ("messages_out", 4)));
}

fn sends_of_many_threads_keep_the_order_of_each(lab: &mut Lab) {
    const THREADS: u8 = 4;
    let messages: u32 = if is_long() { 100_000 } else { 2_000 };
    let limits = Limits::new().slow_reader(SlowReader::Refuse).send_queue_bytes(2 << 20);
    let (server, events) = lab.serve(limits, echo);
    let mut peer = lab.connect(&server);
    let conn = lab.next(&events).conn();
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let conn = conn.clone();
            std::thread::spawn(move || {
                for number in 0..messages {
                    let mut payload = vec![thread];
                    payload.extend(number.to_be_bytes());
                    while conn.send(&payload) == Sent::Full {
                        std::thread::yield_now();
                    }
                }
            })
        })
        .collect();
    let mut next = [0; THREADS as usize];
    for _ in 0..u32::from(THREADS) * messages {
        let heard = lab.hear(&mut peer);
        let next = &mut next[usize::from(heard[0])];
        assert_eq!(heard[1..], u32::to_be_bytes(*next));
        *next += 1;
    }
    for thread in threads {
        thread.join().unwrap();
    }
}

fn a_frame_above_the_default_queue_is_sent(lab: &mut Lab) {
    const LEN: usize = 5 << 20;
    struct Large;
    impl Handler for Large {
        type Codec = LengthDelimited;
        fn on_message(&mut self, cx: &mut Ctx<'_, Self>, _: &[u8]) -> Result {
            cx.send(&vec![7; LEN])
        }
    }
    let listener = Listener::addr(lab.addr(), LengthDelimited::u32_be(LEN));
    let server = lab.start(Server::builder().workers(1).listen(listener, |_| Ok(Large)));
    let mut peer = lab.connect(&server);
    peer.say(b"large");
    assert_eq!(lab.read(&mut peer, 4 + LEN)[4..], vec![7; LEN]);
}
