//! What the order within a turn promises, where time or other connections come in between.

use crate::net::{End, Event, Events, Lab, Probe, codec, frame, on_every_port, seeds};
use longshore::*;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

on_every_port! {
    what_a_handle_sent_before_its_callback_failed_is_flushed,
    the_end_of_a_stream_waits_while_paused,
}

const SECOND: Duration = Duration::from_secs(1);

fn what_a_handle_sent_before_its_callback_failed_is_flushed(lab: &mut Lab) {
    let script = || {
        |cx: &mut Ctx<'_, Probe>, event: &Event| {
            if let Event::Message(_) = event {
                assert_eq!(cx.conn().send(b"by handle"), Sent::Queued);
                return Err(Error::msg("on purpose"));
            }
            Ok(())
        }
    };
    let (server, events) = lab.serve(Limits::new(), script);
    let mut peer = lab.connect(&server);
    peer.say(b"fail");
    assert_eq!(lab.read_to_end(&mut peer), (frame(b"by handle"), End::Fin));
    peer.finish();
    assert_eq!(lab.end_of(&events).reason, "handler_error");
}

/// The receive is still out when the handler pauses, and hears of the end.
fn the_end_of_a_stream_waits_while_paused(lab: &mut Lab) {
    let wait = if lab.is_simulated() { 10 * SECOND } else { SECOND / 10 };
    let script = move || {
        move |cx: &mut Ctx<'_, Probe>, event: &Event| {
            match event {
                Event::Message(_) => {
                    cx.pause();
                    cx.set_timer(Timer(1), wait)?;
                }
                Event::Timer(1) => cx.resume(),
                _ => {}
            }
            Ok(())
        }
    };
    let (server, events) = lab.serve(Limits::new(), script);
    let mut peer = lab.connect(&server);
    let _ = lab.next(&events).conn();
    peer.say(b"pause");
    peer.finish();
    assert!(lab.next(&events).is_message(b"pause"));
    assert!(matches!(lab.next(&events), Event::Timer(1)), "the end came during the pause");
    assert_eq!(lab.end_of(&events).reason, "peer_closed");
}

/// A paused connection takes what its last receive may bring, and asks for no more.
#[test]
fn a_paused_connection_takes_no_more_than_one_credit() {
    for seed in seeds() {
        let mut lab = Lab::simulated(seed);
        let script = || {
            |cx: &mut Ctx<'_, Probe>, event: &Event| {
                if let Event::Message(_) = event {
                    cx.pause();
                }
                Ok(())
            }
        };
        let (server, events) = lab.serve(Limits::new(), script);
        let mut peer = lab.connect(&server);
        let conn = lab.next(&events).conn();
        peer.say_all(vec![&[0; 1_000][..]; 2_000]);
        lab.pass(1_000 * SECOND);
        let bytes_in = server.snapshot().bytes_in;
        conn.abort();
        lab.end_of(&events);
        // 256 KiB, and in simulation as much as a window more: far from all.
        assert!(bytes_in < 1_000_000, "seed {seed}: {bytes_in} of 2,008,000 bytes");
    }
}

/// A handler that takes its time makes nobody silent: who sends behind what waits is heard.
#[test]
fn bytes_behind_a_backlog_break_the_silence() {
    for seed in seeds() {
        let mut lab = Lab::simulated(seed);
        let world = lab.net().unwrap().world().clone();
        let script = move || {
            let (world, mut count) = (world.clone(), 0);
            move |_: &mut Ctx<'_, Probe>, event: &Event| {
                if let Event::Message(_) = event {
                    count += 1;
                    // At the end of what two turns may do.
                    if count == 64 || count == 128 {
                        world.pass(6 * SECOND);
                    }
                }
                Ok(())
            }
        };
        let (server, events) = lab.serve(Limits::new().idle(10 * SECOND), script);
        let mut peer = lab.connect(&server);
        let _ = lab.next(&events).conn();
        peer.say_all([&b""[..]; 256]);
        for _ in 0..64 {
            assert!(matches!(lab.next(&events), Event::Message(_)), "seed {seed}");
        }
        peer.say_all([&b""[..]; 100]);
        for number in 64..356 {
            let event = lab.next(&events);
            assert!(matches!(event, Event::Message(_)), "seed {seed}, {number}: {event:?}");
        }
    }
}

/// Input that came before a shutdown was asked for is handled before the handlers are told, also
/// when it came after the worker had looked for it, while it was busy with what others had queued
/// before the shutdown (R82).
#[test]
fn input_that_came_before_a_shutdown_is_handled_before_it_is_told() {
    for seed in seeds() {
        let mut lab = Lab::simulated(seed);
        let (addr, world) = (lab.addr(), lab.net().unwrap().world().clone());
        let client = Arc::new(world.client(addr));
        let talk = {
            let client = Arc::clone(&client);
            move || {
                client.write(&frame(b"before"));
                world.pass(SECOND);
            }
        };
        let ((told, events), (ask, asked)) = (channel(), channel());
        let factory = move |_: &longshore::Peer<'_>| {
            let (talk, ask, mut heard) = (talk.clone(), ask.clone(), false);
            let script = move |cx: &mut Ctx<'_, Probe>, event: &Event| {
                match event {
                    Event::Connect(_) if cx.server().connection_count() == 3 => talk(),
                    Event::Message(_) => heard = true,
                    Event::Shutdown => {
                        ask.send((cx.peer_addr(), heard))?;
                        cx.close();
                    }
                    _ => {}
                }
                Ok(())
            };
            Ok(Probe::new(told.clone(), script))
        };
        let listener = Listener::addr(addr, codec());
        let server = lab.start(Server::builder().workers(2).listen(listener, factory));
        let events = Events(events);
        let _ = lab.next(&events).conn();
        let _second = lab.connect_to(addr);
        let _ = lab.next(&events).conn();
        // The third goes to the worker of the first, whose queue then has it and the shutdown.
        let _third = lab.connect_to(addr);
        let is_given = lab.net().unwrap().run_until(SECOND, |_| server.snapshot().accepted == 3);
        assert!(is_given, "seed {seed}");
        server.shutdown(10 * SECOND);
        let of_first = (0..3)
            .map(|_| lab.recv(&asked))
            .find(|(peer, _)| peer.socket_addr() == Some(client.local_addr()));
        assert!(of_first.unwrap().1, "seed {seed}: told of the shutdown first");
        client.finish();
    }
}
