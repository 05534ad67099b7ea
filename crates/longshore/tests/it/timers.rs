//! Timers, idle times and ticks.

use crate::net::{Event, Lab, Probe, echo, on_every_port, seeds};
use longshore::testing::Net;
use longshore::*;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

on_every_port! {
    timers_come_in_the_order_of_their_times_and_never_early,
    a_timer_is_moved_by_setting_it_again_and_gone_by_clearing_it,
    sixty_four_timers_and_no_more,
    a_timer_of_zero_that_sets_itself_again_lets_others_live,
    a_timer_may_be_as_far_away_as_it_likes,
    ticks_are_numbered_and_end_with_the_server,
    a_tick_that_panics_goes_on,
}

fn timers_come_in_the_order_of_their_times_and_never_early(lab: &mut Lab) {
    let (told, times) = channel::<(u32, Time, Time)>();
    let script = move || {
        let told = told.clone();
        let mut set = Time::ZERO;
        move |cx: &mut Ctx<'_, Probe>, event: &Event| {
            match event {
                Event::Connect(_) => {
                    set = cx.now();
                    for key in [30, 10, 50, 20, 40] {
                        cx.set_timer(Timer(key), key * MS)?;
                    }
                }
                Event::Timer(key) => told.send((*key, set, cx.now()))?,
                _ => {}
            }
            Ok(())
        }
    };
    let (server, _events) = lab.serve(Limits::new(), script);
    let _peer = lab.connect(&server);
    for key in [10, 20, 30, 40, 50] {
        let (told, set, now) = lab.recv(&times);
        assert_eq!(told, key);
        assert!(now.since(set) >= key * MS, "timer {key} early: {:?}", now.since(set));
        if lab.is_simulated() {
            assert!(now.since(set) <= (key + 1) * MS, "timer {key} late: {:?}", now.since(set));
        }
    }
}

fn a_timer_is_moved_by_setting_it_again_and_gone_by_clearing_it(lab: &mut Lab) {
    let script = || {
        |cx: &mut Ctx<'_, Probe>, event: &Event| {
            match event {
                Event::Connect(_) => {
                    cx.set_timer(Timer(1), MS)?;
                    cx.set_timer(Timer(1), 15 * MS)?;
                    cx.set_timer(Timer(2), 1_000_000 * MS)?;
                    cx.set_timer(Timer(2), 5 * MS)?;
                    cx.set_timer(Timer(3), 3 * MS)?;
                    assert!(cx.clear_timer(Timer(3)));
                    assert!(!cx.clear_timer(Timer(3)));
                    cx.set_timer(Timer(4), 15 * MS)?;
                }
                Event::Timer(1) => {
                    // It is cleared already; another of the same time is cleared in the callback.
                    assert!(!cx.clear_timer(Timer(1)));
                    assert!(cx.clear_timer(Timer(4)));
                    cx.set_timer(Timer(5), 5 * MS)?;
                }
                Event::Timer(5) => cx.close(),
                _ => {}
            }
            Ok(())
        }
    };
    let (server, events) = lab.serve(Limits::new(), script);
    let mut peer = lab.connect(&server);
    lab.read_to_end(&mut peer);
    drop(peer);
    let mut keys = Vec::new();
    loop {
        match lab.next(&events) {
            Event::Timer(key) => keys.push(key),
            Event::Disconnect(_) => break,
            _ => {}
        }
    }
    assert_eq!(keys, [2, 1, 5]);
}

fn sixty_four_timers_and_no_more(lab: &mut Lab) {
    let script = || {
        |cx: &mut Ctx<'_, Probe>, event: &Event| {
            if let Event::Connect(_) = event {
                for key in 0..64 {
                    cx.set_timer(Timer(key), (1 + key % 9) * MS)?;
                }
                assert_eq!(cx.set_timer(Timer(64), MS), Err(TooManyTimers));
                cx.set_timer(Timer(63), 2 * MS)?;
                assert!(cx.clear_timer(Timer(0)));
                cx.set_timer(Timer(64), MS)?;
            }
            Ok(())
        }
    };
    let (server, events) = lab.serve(Limits::new(), script);
    let _peer = lab.connect(&server);
    let mut keys: Vec<_> = (0..64)
        .map(|_| {
            lab.find(&events, |event| match event {
                Event::Timer(key) => Some(key),
                _ => None,
            })
        })
        .collect();
    keys.sort_unstable();
    assert_eq!(keys, (1..=64).collect::<Vec<_>>());
}

fn a_timer_of_zero_that_sets_itself_again_lets_others_live(lab: &mut Lab) {
    let script = || {
        |cx: &mut Ctx<'_, Probe>, event: &Event| match event {
            Event::Message(frame) if frame == b"spin" => {
                Ok(cx.set_timer(Timer(0), Duration::ZERO)?)
            }
            Event::Message(frame) => cx.send(frame),
            Event::Timer(_) => Ok(cx.set_timer(Timer(0), Duration::ZERO)?),
            _ => Ok(()),
        }
    };
    let (server, events) = lab.serve(Limits::new(), script);
    let mut spinner = lab.connect(&server);
    spinner.say(b"spin");
    for _ in 0..3 {
        lab.find(&events, |event| matches!(event, Event::Timer(0)).then_some(()));
    }
    let mut other = lab.connect(&server);
    other.say(b"hello");
    assert_eq!(lab.hear(&mut other), b"hello");
}

fn a_timer_may_be_as_far_away_as_it_likes(lab: &mut Lab) {
    let script = || {
        |cx: &mut Ctx<'_, Probe>, event: &Event| {
            if let Event::Connect(_) = event {
                cx.set_timer(Timer(1), Duration::MAX)?;
                cx.set_timer(Timer(2), Duration::from_secs(400 * 24 * 3600 * 3))?;
                cx.set_timer(Timer(3), MS)?;
                cx.set_idle(Duration::MAX);
            }
            Ok(())
        }
    };
    let (server, events) = lab.serve(Limits::new().first_byte(Duration::ZERO), script);
    let peer = lab.connect(&server);
    lab.find(&events, |event| matches!(event, Event::Timer(3)).then_some(()));
    lab.pass(Duration::from_secs(24 * 3600));
    drop(peer);
    assert!(matches!(lab.next(&events), Event::Disconnect(_)));
}

fn tick_server(
    lab: &mut Lab,
    period: Duration,
    mut fail: impl FnMut(Tick) + Send + 'static,
) -> (Server, Receiver<Tick>) {
    let (told, ticks) = channel();
    let builder = Server::builder().workers(2).every(period, move |server, tick| {
        assert_eq!(server.connection_count(), 0);
        let _ = told.send(tick);
        fail(tick);
    });
    (lab.start(builder), ticks)
}

fn ticks_are_numbered_and_end_with_the_server(lab: &mut Lab) {
    let (server, ticks) = tick_server(lab, 5 * MS, |_| {});
    let mut last = 0;
    while last < 5 {
        let tick = lab.recv(&ticks);
        assert_eq!(tick.number, last + 1 + tick.missed);
        assert!(!lab.is_simulated() || tick.missed == 0);
        last = tick.number;
    }
    server.shutdown(Duration::from_secs(60));
    lab.wait(&server);
    while ticks.try_recv().is_ok() {}
    assert!(ticks.recv().is_err(), "a tick after the end");
}

fn a_tick_that_panics_goes_on(lab: &mut Lab) {
    let (server, ticks) = tick_server(lab, 2 * MS, |tick| assert!(tick.number != 1, "on purpose"));
    for _ in 0..3 {
        let _ = lab.recv(&ticks);
    }
    assert!(server.snapshot().panics <= 1);
}

#[test]
fn ticks_keep_their_rate_in_virtual_time() {
    for seed in seeds() {
        let mut net = Net::seed(seed);
        let (told, ticks) = channel();
        let builder = Server::builder().workers(2).every(100 * MS, move |_, tick| {
            told.send(tick).unwrap();
        });
        let begin = net.now();
        net.start(builder).unwrap();
        net.run_for(Duration::from_secs(60) + 50 * MS);
        let ticks: Vec<Tick> = ticks.try_iter().collect();
        assert_eq!(ticks.last().map(|tick| tick.number), Some(600), "seed {seed}");
        for Tick { number, now, .. } in ticks {
            let due = 100 * MS * u32::try_from(number).unwrap();
            assert!((due..due + 100 * MS).contains(&now.since(begin)), "{number} at {now:?}");
        }
    }
}

#[test]
fn idle_time_that_passed_before_a_pause_counts_and_that_during_it_does_not() {
    let second = Duration::from_secs(1);
    for seed in seeds() {
        let mut lab = Lab::simulated(seed);
        let script = move || {
            move |cx: &mut Ctx<'_, Probe>, event: &Event| {
                match event {
                    Event::Message(frame) if frame == b"pause" => {
                        cx.set_timer(Timer(1), 4 * second)?;
                    }
                    Event::Timer(1) => {
                        cx.pause();
                        cx.set_timer(Timer(2), 100 * second)?;
                    }
                    Event::Timer(2) => {
                        cx.resume();
                        cx.set_timer(Timer(3), 5 * second)?;
                        cx.set_timer(Timer(4), 7 * second)?;
                    }
                    _ => {}
                }
                Ok(())
            }
        };
        let (server, events) = lab.serve(Limits::new().idle(10 * second), script);
        let mut peer = lab.connect(&server);
        peer.say(b"pause");
        let order: Vec<_> = (0..6).map(|_| format!("{:?}", lab.next(&events))).collect();
        let want = ["Timer(1)", "Timer(2)", "Timer(3)", "Idle"];
        assert_eq!(order[2..], want, "seed {seed}");
    }
}

#[test]
fn a_day_of_silence_costs_no_turns() {
    let mut lab = Lab::simulated(1);
    let (server, events) = lab.serve(Limits::new().idle(Duration::ZERO), echo);
    let mut peer = lab.connect(&server);
    peer.say(b"one");
    lab.hear(&mut peer);
    let before = server.snapshot().turns;
    lab.pass(Duration::from_secs(3600));
    // The alarm that gives memory back is all that wakes a worker, three times a minute.
    assert!(server.snapshot().turns - before < 400);
    assert!(!matches!(events.rest().last(), Some(Event::Disconnect(_))));
}
