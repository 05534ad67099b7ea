//! Operations and what they hold: buffers, descriptors, slots (R1-R7, R12).

use super::support::*;
use longshore::*;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Answers a number with that many bytes of its pattern.
struct Filler(Arc<Tally>);

const FILL_BYTES: usize = 300_000;

impl Handler for Filler {
    type Codec = LengthDelimited;

    fn on_message(&mut self, cx: &mut Ctx<'_, Self>, frame: &[u8]) -> Result {
        let seed = u32::from_be_bytes(frame.try_into()?);
        cx.send(&pattern(seed as usize, FILL_BYTES))
    }

    fn on_disconnect(self, closed: &Closed<'_>) {
        self.0.closed(closed);
    }
}

#[test]
fn r01_buffers_in_flight_keep_their_bytes_while_others_are_aborted() {
    on_each_driver(|driver| {
        let rounds = pick(8, 1_500);
        let running = Running::handled(driver, listener(), |builder| builder, Filler);
        let mut random = Random(1);
        let mut whole = 0;
        for round in 0..rounds {
            let mut streams: Vec<_> = (0..16).map(|_| connect(running.addr)).collect();
            for (number, stream) in streams.iter_mut().enumerate() {
                send(stream, &((round * 16 + number) as u32).to_be_bytes());
            }
            for (number, mut stream) in streams.into_iter().enumerate() {
                match random.below(4) {
                    0 => reset(stream),
                    1 => {
                        stream.read_exact(&mut [0; 1000]).unwrap();
                        reset(stream);
                    }
                    _ => {
                        whole += 1;
                        let got = recv(&mut stream);
                        assert!(got == pattern(round * 16 + number, FILL_BYTES), "changed bytes");
                    }
                }
            }
        }
        running.tally.wait("all are closed", |counts| counts.closed == rounds * 16);
        running.stop(Duration::ZERO);
        reached("R1", driver, format_args!("{} answers, {whole} read, 0 changed", rounds * 16));
    });
}

#[test]
fn r02_nobody_who_connects_is_lost_when_the_server_stops() {
    on_each_driver(|driver| {
        let (rounds, peers) = (pick(15, 600), 48);
        let round = |workers: usize| {
            let running = Running::echo(driver, |builder| builder.workers(workers));
            let addr = running.addr;
            let streams = std::thread::scope(|scope| {
                let connects = scope.spawn(move || {
                    let mut streams = Vec::new();
                    for _ in 0..peers {
                        match TcpStream::connect(addr) {
                            Ok(stream) => streams.push(stream),
                            Err(_) => break, // the listener is closed
                        }
                    }
                    streams
                });
                running.tally.wait("the first is there", |counts| counts.opened > workers);
                running.stop(Duration::from_millis(50 * (workers as u64 - 1)));
                connects.join().unwrap()
            });
            let count = streams.len();
            for mut stream in streams {
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                // Linux forgets a connection without a word that came to stand while its listener
                // was being closed; then only bytes make it say so.
                let _ = stream.write(&[0]);
                end_of(&mut stream);
            }
            let counts = running.tally.now();
            assert_eq!(counts.opened, counts.closed);
            assert_eq!(running.server.connection_count(), 0, "places given back");
            count
        };
        round(2);
        let before = descriptors();
        let met: usize = (0..rounds).map(|number| round(1 + number % 3)).sum();
        assert_eq!(descriptors(), before, "descriptors");
        reached("R2", driver, format_args!("{rounds} stops met {met} peers, each saw its end"));
    });
}

/// Each connection has a tag, with which all its frames begin.
struct Tagged {
    tag: Option<[u8; 16]>,
    foreign: Arc<AtomicUsize>,
    tally: Arc<Tally>,
}

impl Handler for Tagged {
    type Codec = LengthDelimited;

    fn on_connect(&mut self, _: &mut Ctx<'_, Self>) -> Result {
        self.tally.opened();
        Ok(())
    }

    fn on_message(&mut self, cx: &mut Ctx<'_, Self>, frame: &[u8]) -> Result {
        let tag = frame[..16].try_into()?;
        if *self.tag.get_or_insert(tag) != tag {
            self.foreign.fetch_add(1, Ordering::Relaxed);
        }
        cx.send(frame)
    }

    fn on_disconnect(self, closed: &Closed<'_>) {
        self.tally.closed(closed);
    }
}

#[test]
fn r03_bytes_never_cross_connections_over_churn() {
    on_each_driver(|driver| {
        let opens = pick(2_000, 200_000);
        let foreign = Arc::new(AtomicUsize::new(0));
        let for_handlers = Arc::clone(&foreign);
        warm_up(driver);
        let before = descriptors();
        let make = move |tally| Tagged { tag: None, foreign: Arc::clone(&for_handlers), tally };
        let running = Running::handled(driver, listener(), |builder| builder, make);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                scope.spawn(move || churn(running.addr, thread, opens / 4));
            }
        });
        running.tally.wait("all are closed", |counts| counts.closed == opens);
        running.stop(Duration::ZERO);
        assert_eq!(foreign.load(Ordering::Relaxed), 0, "tags of others");
        let counts = running.tally.now();
        assert_eq!((counts.opened, counts.closed), (opens, opens));
        drop(running);
        assert_eq!(descriptors(), before, "descriptors");
        reached("R3", driver, format_args!("{opens} opens and closes, 0 foreign tags"));
    });
}

/// Keeps 16 connections open, each closed in some way after some frames.
fn churn(addr: std::net::SocketAddr, thread: u32, opens: usize) {
    let mut random = Random(u64::from(thread) + 77);
    let mut open: Vec<(TcpStream, Vec<u8>)> = Vec::new();
    for number in 0..opens {
        let stream = connect_from(((thread + 1) << 16) + (number % 199) as u32 + 1, addr);
        let mut tag = pattern(number * 4 + thread as usize, 16);
        tag.resize(16 + random.below(3_000), tag[0]);
        open.push((stream, tag));
        let at = random.below(open.len());
        let (stream, tag) = &mut open[at];
        if random.below(2) == 0 {
            ping(stream, tag);
        } else {
            send(stream, tag);
            assert!(recv(stream) == *tag, "bytes of another connection");
        }
        if open.len() == 16 {
            let (mut stream, tag) = open.swap_remove(random.below(16));
            match random.below(4) {
                0 => drop(stream),
                1 => reset(stream),
                2 => {
                    send(&mut stream, &tag); // its answer meets a closed socket
                    reset(stream);
                }
                _ => {
                    send(&mut stream, &tag);
                    stream.shutdown(Shutdown::Write).unwrap();
                    assert!(recv(&mut stream) == tag, "bytes of another connection");
                }
            }
        }
    }
}

#[test]
fn r04_idle_peers_see_the_end_when_all_are_closed() {
    on_each_driver(|driver| {
        let count = pick(1_000, 5_000);
        let running = Running::echo(driver, |builder| builder);
        let mut streams: Vec<_> = (0..count).map(|_| connect(running.addr)).collect();
        running.tally.wait("all are there", |counts| counts.opened == count);
        running.server.close_all();
        for stream in &mut streams {
            assert_eq!(end_of(stream), Ended::Fin);
        }
        drop(streams);
        let counts = running.tally.wait("all are closed", |counts| counts.closed == count);
        assert_eq!(counts.ended("local"), count);
        running.stop(Duration::ZERO);
        reached("R4", driver, format_args!("{count} idle connections closed, {count} saw FIN"));
    });
}

#[test]
fn r05_each_open_has_one_close_when_peers_leave_at_once() {
    on_each_driver(|driver| {
        let (burst, rounds) = (pick(500, 2_000), pick(1, 12));
        warm_up(driver);
        let before = descriptors();
        let running = Running::echo(driver, |builder| builder);
        let mut sent = 0;
        for round in 0..rounds {
            for kind in 0..3 {
                let source = (round * 3 + kind + 1) as u32;
                for stream in (0..burst).map(|_| connect_from(source, running.addr)) {
                    sent += 1;
                    match kind {
                        0 => drop(stream),
                        1 => reset(stream),
                        _ => stream.shutdown(Shutdown::Write).unwrap(),
                    }
                }
            }
        }
        ping(&mut connect(running.addr), b"behind all of them");
        running.tally.wait("each open is closed", |counts| {
            counts.closed == counts.opened
                && counts.closed as u64 == running.server.snapshot().accepted
        });
        let accepted = running.server.snapshot().accepted as usize;
        running.stop(Duration::ZERO);
        let counts = running.tally.now();
        assert_eq!((counts.opened, counts.closed), (accepted, accepted));
        assert_eq!(running.server.connection_count(), 0);
        drop(running);
        assert_eq!(descriptors(), before, "descriptors");
        reached("R5", driver, format_args!("{sent} came, {accepted} opens = {accepted} closes"));
    });
}

/// Hands its handle out.
struct Reachable {
    tally: Arc<Tally>,
    handles: std::sync::mpsc::Sender<Conn<Reachable>>,
}

impl Handler for Reachable {
    type Codec = LengthDelimited;

    fn on_connect(&mut self, cx: &mut Ctx<'_, Self>) -> Result {
        Ok(self.handles.send(cx.conn())?)
    }

    fn on_message(&mut self, cx: &mut Ctx<'_, Self>, frame: &[u8]) -> Result {
        cx.send(frame)
    }

    fn on_disconnect(self, closed: &Closed<'_>) {
        self.tally.closed(closed);
    }
}

#[test]
fn r06_r30_a_handle_of_the_dead_reaches_no_successor() {
    on_each_driver(|driver| {
        let reuses = pick(300, 30_000);
        let (handles, fresh) = std::sync::mpsc::channel();
        let make = move |tally| Reachable { tally, handles: handles.clone() };
        let running = Running::handled(driver, listener(), |builder| builder.workers(1), make);
        let mut old: Vec<Conn<Reachable>> = Vec::new();
        for number in 0..reuses {
            let mut stream = connect_from((number % 999) as u32 + 1, running.addr);
            let conn = fresh.recv_timeout(PATIENCE).unwrap();
            for dead in &old {
                assert_eq!(dead.send(b"for somebody else"), Sent::Closed);
                assert_eq!(running.server.abort(dead.id()), Sent::Closed);
                dead.abort();
                dead.close();
                dead.pause();
            }
            ping(&mut stream, b"alive");
            reset(stream);
            running.tally.wait("it is gone", |counts| counts.closed == number + 1);
            old.push(conn);
            old.truncate(4);
        }
        running.stop(Duration::ZERO);
        reached("R6", driver, format_args!("{reuses} reuses of a slot, 0 acts on a successor"));
    });
}

#[test]
fn r07_starting_and_stopping_under_load_leaves_nothing() {
    on_each_driver(|driver| {
        let cycles = pick(20, 1_000);
        let cycle = || {
            let running = Running::echo(driver, |builder| builder);
            let mut streams: Vec<_> = (0..8).map(|_| connect(running.addr)).collect();
            for stream in &mut streams {
                ping(stream, &[1; 100]);
            }
            for stream in &mut streams {
                send(stream, &[2; 10_000]); // under way when it stops
            }
            running.stop(Duration::ZERO);
            for stream in &mut streams {
                end_of(stream);
            }
        };
        for _ in 0..10 {
            cycle();
        }
        let (descriptors_before, before) = (descriptors(), resident_kib());
        for _ in 0..cycles {
            cycle();
        }
        let grown = resident_kib().saturating_sub(before);
        assert_eq!(descriptors(), descriptors_before, "descriptors");
        assert!(grown <= 4 * 1024, "{grown} KiB more after {cycles} cycles");
        reached(
            "R7",
            driver,
            format_args!("{cycles} cycles, {grown} KiB more, 0 descriptors more"),
        );
    });
}

/// Panics when asked to.
struct Fragile(Arc<Tally>);

impl Handler for Fragile {
    type Codec = LengthDelimited;

    fn on_connect(&mut self, _: &mut Ctx<'_, Self>) -> Result {
        self.0.opened();
        Ok(())
    }

    fn on_message(&mut self, cx: &mut Ctx<'_, Self>, frame: &[u8]) -> Result {
        cx.send(frame)?;
        assert!(frame[0] != 0, "{PLANNED}");
        Ok(())
    }

    fn on_disconnect(self, closed: &Closed<'_>) {
        let dies = matches!(closed.reason, DisconnectReason::HandlerPanic(_));
        self.0.closed(closed);
        // The last callback may panic too, and only this connection's.
        assert!(!dies, "{PLANNED}");
    }
}

const PLANNED: &str = "this panic is planned";

/// Keeps planned panics out of the output.
fn hush_planned_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let planned = info.payload().downcast_ref::<String>().is_some_and(|text| text == PLANNED)
            || info.payload().downcast_ref::<&str>().is_some_and(|text| *text == PLANNED);
        if !planned {
            usual(info);
        }
    }));
}

#[test]
fn r12_a_panic_closes_its_connection_and_no_other() {
    hush_planned_panics();
    on_each_driver(|driver| {
        let messages = pick(5_000, 100_000);
        let running = Running::handled(driver, listener(), |builder| builder, Fragile);
        let mut random = Random(12);
        let mut streams: Vec<_> = (0..32).map(|_| connect(running.addr)).collect();
        let mut panics = 0;
        for number in 0..messages {
            let at = number % 32;
            if random.below(100) == 0 {
                panics += 1;
                ping(&mut streams[at], &[0, 1, 2]); // what was sent before the panic comes
                assert_eq!(end_of(&mut streams[at]), Ended::Fin);
                streams[at] = connect(running.addr);
            } else {
                ping(&mut streams[at], &[1 + random.below(200) as u8; 40]);
            }
        }
        drop(streams);
        let counts = running.tally.wait("all are closed", |counts| counts.closed == 32 + panics);
        assert_eq!((counts.opened, counts.ended("handler_panic")), (32 + panics, panics));
        running.stop(Duration::ZERO);
        assert_eq!(running.server.snapshot().panics as usize, panics * 2, "callback and last one");
        reached("R12", driver, format_args!("{messages} messages, {panics} panics, 0 bytes lost"));
    });
}
