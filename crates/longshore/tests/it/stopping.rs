//! What a shutdown waits for before it is told: input that came before it, within bounds (R82).

use crate::net::{End, Event, Events, Lab, Peer, Probe, codec, frame, seeds};
use longshore::*;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const FRAMES: usize = 40;
const LEN: usize = 100_000;
static PAYLOAD: [u8; LEN] = [7; LEN];

/// Room for a quarter of the answers, so that they wait for the peer.
fn narrow() -> Limits {
    let limits = Limits::new().send_queue_bytes((1 << 20) + 4).slow_reader(SlowReader::Refuse);
    limits.write(Duration::ZERO) // this peer is in no hurry
}

/// Echoes; what finds no room waits, and all input with it.
fn patient_echo() -> impl FnMut(&mut Ctx<'_, Probe>, &Event) -> Result + Send + 'static {
    let mut waiting: Option<Vec<u8>> = None;
    move |cx, event| {
        let payload = match event {
            Event::Message(payload) => payload.clone(),
            Event::Writable if waiting.is_some() => waiting.take().unwrap(),
            Event::Shutdown => {
                cx.close();
                return Ok(());
            }
            _ => return Ok(()),
        };
        match cx.try_send(&payload) {
            Ok(()) => cx.resume(),
            Err(SendError::Full) => {
                waiting = Some(payload);
                cx.pause();
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

/// A peer that has asked much and reads nothing yet, at a server that waits for it.
fn stopped_by_its_peer(lab: &mut Lab) -> (Server, Events, Peer) {
    let (server, events) = lab.serve(narrow(), patient_echo);
    let mut peer = lab.connect(&server);
    let _ = lab.next(&events).conn();
    peer.stop_reading();
    peer.say_all(vec![&PAYLOAD[..]; FRAMES]);
    lab.pass(30 * SECOND);
    assert_eq!(server.connection_count(), 1);
    (server, events, peer)
}

#[test]
fn answers_that_wait_for_their_peer_are_not_lost_by_a_shutdown() {
    for seed in seeds() {
        let mut lab = Lab::simulated(seed);
        let (server, _events, mut peer) = stopped_by_its_peer(&mut lab);
        let came = server.snapshot().bytes_in as usize / (4 + LEN);
        server.shutdown(4_000 * SECOND);
        let (bytes, end) = lab.read_to_end(&mut peer);
        let want = frame(&PAYLOAD).repeat(FRAMES);
        assert!(want.starts_with(&bytes), "seed {seed}");
        let answered = bytes.len() / (4 + LEN);
        assert!(answered >= came, "seed {seed}: {answered} of {came} messages that had come");
        assert_eq!(end, End::Fin, "seed {seed}");
        lab.wait(&server);
    }
}

/// Nobody waits for such a peer longer than for a quarter of the time; the rest is for goodbyes.
#[test]
fn a_quarter_of_its_time_has_passed_at_the_latest_when_a_shutdown_is_told() {
    for seed in seeds() {
        let mut lab = Lab::simulated(seed);
        let (server, events, peer) = stopped_by_its_peer(&mut lab);
        let asked = lab.net().unwrap().now();
        server.shutdown(40 * SECOND);
        lab.find(&events, |event| matches!(event, Event::Shutdown).then_some(()));
        let told = lab.net().unwrap().now().since(asked);
        assert!(told >= 10 * SECOND && told < 11 * SECOND, "seed {seed}: {told:?}");
        drop(peer);
    }
}

/// A shorter shutdown that is asked for later counts, for what comes before it is told as well.
#[test]
fn a_later_shutdown_tells_sooner() {
    for seed in seeds() {
        let mut lab = Lab::simulated(seed);
        let (server, events, peer) = stopped_by_its_peer(&mut lab);
        server.shutdown(400 * SECOND);
        lab.pass(SECOND);
        let asked = lab.net().unwrap().now();
        server.shutdown(8 * SECOND);
        lab.find(&events, |event| matches!(event, Event::Shutdown).then_some(()));
        let told = lab.net().unwrap().now().since(asked);
        assert!(told >= 2 * SECOND && told < 3 * SECOND, "seed {seed}: {told:?}");
        drop(peer);
    }
}

/// Who pauses for reasons of its own is told at once: what it waits for may be the shutdown.
#[test]
fn a_handler_that_reads_no_more_is_told_at_once() {
    for seed in seeds() {
        let mut lab = Lab::simulated(seed);
        let script = || {
            |cx: &mut Ctx<'_, Probe>, event: &Event| {
                match event {
                    Event::Message(_) => cx.pause(),
                    Event::Shutdown => cx.close(),
                    _ => {}
                }
                Ok(())
            }
        };
        let (server, events) = lab.serve(Limits::new(), script);
        let mut peer = lab.connect(&server);
        let _ = lab.next(&events).conn();
        peer.say_all(vec![&PAYLOAD[..]; FRAMES]);
        lab.pass(SECOND);
        let asked = lab.net().unwrap().now();
        server.shutdown(40 * SECOND);
        lab.find(&events, |event| matches!(event, Event::Shutdown).then_some(()));
        assert!(lab.net().unwrap().now().since(asked) < SECOND, "seed {seed}");
    }
}

/// What comes without an end is younger than the shutdown at some point: more than a receive queue
/// holds came meanwhile.
#[test]
fn a_peer_that_never_stops_sending_is_told_after_what_may_have_come_before() {
    let most = seeds().map(bytes_before_a_flood_is_told).max().unwrap();
    let late = most - (8 << 20);
    assert!(late < 2 * 8_004, "{late} bytes came after as much as a queue holds");
}

fn bytes_before_a_flood_is_told(seed: u64) -> u64 {
    let mut lab = Lab::simulated(seed);
    let (addr, world) = (lab.addr(), lab.net().unwrap().world().clone());
    let client = Arc::new(world.client(addr));
    let (told, events) = channel();
    let endless = Arc::clone(&client);
    let factory = move |_: &longshore::Peer<'_>| {
        let (world, client) = (world.clone(), Arc::clone(&endless));
        Ok(Probe::new(told.clone(), move |cx, event| {
            match event {
                Event::Message(payload) => {
                    client.write(&frame(payload)); // and the next one comes before this turn ends
                    world.pass(SECOND);
                }
                Event::Shutdown => cx.close(),
                _ => {}
            }
            Ok(())
        }))
    };
    let limits =
        Limits::new().idle(Duration::ZERO).frame(Duration::ZERO).first_byte(Duration::ZERO);
    let listener = Listener::addr(addr, codec()).limits(limits);
    let server = lab.start(Server::builder().workers(1).listen(listener, factory));
    let flood = frame(&[7; 8_000]);
    if client.write(&flood) < flood.len() {
        return 0; // its window is too small for that
    }
    let events = Events(events);
    let _ = lab.next(&events).conn();
    assert!(matches!(lab.next(&events), Event::Message(_)));
    let before = server.snapshot().bytes_in;
    server.shutdown(1_000_000 * SECOND);
    lab.find(&events, |event| matches!(event, Event::Shutdown).then_some(()));
    server.snapshot().bytes_in - before
}

/// One receive is not asked for while its last bytes wait for the handler: what lies behind them in the
/// receive queue came before the shutdown as well.
#[test]
fn all_that_lies_in_the_receive_queue_is_handled_before_a_shutdown_is_told() {
    let most = seeds().map(messages_in_the_queue).max().unwrap();
    assert!(most > 1_000, "at most {most} messages in a queue are no test");
}

fn messages_in_the_queue(seed: u64) -> u64 {
    let mut lab = Lab::simulated(seed);
    let (addr, world) = (lab.addr(), lab.net().unwrap().world().clone());
    let client = Arc::new(world.client(addr));
    let (told, events) = channel();
    let factory = move |_: &longshore::Peer<'_>| {
        let world = world.clone();
        let mut count = 0;
        Ok(Probe::new(told.clone(), move |cx, event| {
            match event {
                Event::Message(_) => {
                    count += 1;
                    if count == 1 {
                        world.pass(SECOND); // meanwhile the rest comes
                    } else if count == 70 {
                        cx.server().shutdown(1_000 * SECOND); // some have come, some wait
                    }
                }
                Event::Shutdown => cx.close(),
                _ => {}
            }
            Ok(())
        }))
    };
    let listener = Listener::addr(addr, codec()).limits(Limits::new().recv_credit_bytes(4096));
    let server = lab.start(Server::builder().workers(1).listen(listener, factory));
    lab.pass(SECOND);
    let sent = client.write(&frame(b"twenty bytes of text").repeat(5_000));
    let came = (sent / frame(b"twenty bytes of text").len()) as u64;
    let events = Events(events);
    if came < 70 {
        return 0;
    }
    lab.find(&events, |event| matches!(event, Event::Shutdown).then_some(()));
    let handled = server.snapshot().messages_in;
    assert!(handled >= came, "seed {seed}: told after {handled} of {came} messages");
    came
}
