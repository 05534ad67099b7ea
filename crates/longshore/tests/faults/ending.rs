//! Ends of connections: torn, halved, reset (R26-R28, R31).

use super::child::Plan;
use super::support::*;
use longshore::*;
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

#[test]
fn r26_an_end_inside_a_frame_is_truncated_at_every_offset() {
    on_each_driver(|driver| {
        let frame = framed(b"twelve bytes");
        let running = Running::echo(driver, |builder| builder.workers(1));
        for have in 0..=frame.len() {
            let mut stream = connect(running.addr);
            stream.write_all(&frame[..have]).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).unwrap();
            let counts = running.tally.wait("it is closed", |counts| counts.closed == have + 1);
            if have == 0 || have == frame.len() {
                assert_eq!(answer, frame[..have]);
                assert_eq!(counts.last, "peer closed");
            } else {
                let need = if have < 4 { 4 } else { frame.len() };
                let want = format!("peer closed after {have} of at least {need} bytes of a frame");
                assert_eq!((answer.len(), counts.last), (0, want));
            }
        }
        running.stop(Duration::ZERO);
        reached("R26", driver, format_args!("cut at {} offsets", frame.len() + 1));
    });
}

/// Answers much to anything, then perhaps closes or aborts.
struct Answer {
    frames: usize,
    then: Then,
    tally: Arc<Tally>,
}

#[derive(Clone, Copy, PartialEq)]
enum Then {
    Nothing,
    Close,
    Abort,
}

const MIB: usize = 1 << 20;

impl Handler for Answer {
    type Codec = LengthDelimited;

    fn on_message(&mut self, cx: &mut Ctx<'_, Self>, _: &[u8]) -> Result {
        for number in 0..self.frames {
            cx.send(&vec![number as u8; MIB])?;
        }
        match self.then {
            Then::Nothing => {}
            Then::Close => cx.close(),
            Then::Abort => cx.abort(),
        }
        Ok(())
    }

    fn on_disconnect(self, closed: &Closed<'_>) {
        self.tally.closed(closed);
    }
}

fn answering(driver: Driver, frames: usize, then: Then) -> Running {
    let linger = Linger::default().wait(Duration::from_secs(2));
    let limits = Limits::new().send_queue_bytes(80 << 20).linger(linger);
    let make = move |tally| Answer { frames, then, tally };
    Running::handled(driver, listener().limits(limits), |builder| builder, make)
}

fn read_answer(stream: &mut std::net::TcpStream, frames: usize) {
    for number in 0..frames {
        let frame = recv(stream);
        assert!(frame == vec![number as u8; MIB], "the answer changed");
    }
}

#[test]
fn r27_the_whole_answer_reaches_a_peer_that_ended_its_side() {
    on_each_driver(|driver| {
        let rounds = pick(2, 100);
        let running = answering(driver, 64, Then::Nothing);
        for round in 0..rounds {
            let mut stream = connect(running.addr);
            send(&mut stream, b"and no more");
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            read_answer(&mut stream, 64);
            assert_eq!(end_of(&mut stream), Ended::Fin);
            let counts = running.tally.wait("it is closed", |counts| counts.closed == round + 1);
            assert_eq!(counts.ended("peer_closed"), round + 1);
        }
        running.stop(Duration::ZERO);
        reached("R27", driver, format_args!("{rounds} of {rounds} answers of 64 MiB whole"));
    });
}

#[test]
fn r28_closing_over_unread_input_does_not_eat_the_answer() {
    on_each_driver(|driver| {
        let rounds = pick(8, 500);
        let running = answering(driver, 3, Then::Close);
        for _ in 0..rounds {
            let mut stream = connect(running.addr);
            let mut upload = stream.try_clone().unwrap();
            let writer = std::thread::spawn(move || {
                // Ten times what the server discards. It may get stuck, and is cut off then.
                let _ = upload.write_all(&framed(&[9; 100]));
                for _ in 0..10 {
                    if upload.write_all(&framed(&vec![9; MIB])).is_err() {
                        return;
                    }
                }
            });
            read_answer(&mut stream, 3);
            assert_eq!(end_of(&mut stream), Ended::Fin);
            reset(stream.try_clone().unwrap());
            let _ = stream.shutdown(std::net::Shutdown::Both);
            writer.join().unwrap();
        }
        let counts = running.tally.wait("all are closed", |counts| counts.closed == rounds);
        assert_eq!(counts.ended("local"), rounds);
        running.stop(Duration::ZERO);
        let running = answering(driver, 0, Then::Abort);
        for _ in 0..rounds {
            let mut stream = connect(running.addr);
            send(&mut stream, b"be gone");
            assert_eq!(end_of(&mut stream), Ended::Reset);
        }
        running.stop(Duration::ZERO);
        reached("R28", driver, format_args!("{rounds} answers whole, {rounds} aborts reset"));
    });
}

#[test]
fn r31_writing_to_a_peer_that_reset_is_told_once() {
    on_each_driver(|driver| {
        let resets = pick(200, 10_000);
        let running = answering(driver, 4, Then::Nothing);
        let mut random = Random(31);
        for _ in 0..resets {
            let mut stream = connect(running.addr);
            send(&mut stream, b"much");
            if random.below(2) == 0 {
                stream.read_exact(&mut [0; 4096]).unwrap();
            }
            reset(stream);
        }
        let counts = running.tally.wait("all are closed", |counts| counts.closed == resets);
        assert_eq!(counts.ended("peer_reset"), resets, "{counts:?}");
        running.stop(Duration::ZERO);
        reached("R31", driver, format_args!("{resets} resets, each told once"));
    });
}

/// Rust programs ignore the signal, which hides it. Who traces the process sees it all the same.
// Windows knows no such signal, and no strace.
#[cfg(target_os = "linux")]
#[test]
fn r31_no_write_to_a_peer_that_reset_raises_a_signal() {
    if !super::child::has_strace() {
        return say("R31: SKIPPED, NOT TESTED: no strace on this machine");
    }
    on_each_driver(|driver| {
        let resets = pick(30, 1_000);
        let file = std::env::temp_dir().join(format!("longshore-signals-{}", std::process::id()));
        let path = file.to_str().unwrap();
        let wrapper = ["strace", "-f", "-qq", "-e", "trace=none", "-o", path];
        let mut server = Plan::new("serve", driver, &wrapper).start();
        let addr = server.addr();
        for _ in 0..resets {
            let mut stream = connect(addr);
            for _ in 0..4 {
                send(&mut stream, &vec![1; 100_000]); // its answers meet the reset
            }
            reset(stream);
        }
        while server.counter("closed") < resets as u64 {
            ping(&mut connect(addr), b"alive"); // and closed soon, too
        }
        server.stop();
        let signals = std::fs::read_to_string(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        assert!(!signals.contains("SIGPIPE"), "{signals}");
        reached("R31", driver, format_args!("{resets} resets over answers, no signal"));
    });
}

/// More at once than any queue on the way holds (S110). The server is another process: so many
/// descriptors are not permitted to one.
#[test]
fn s110_ten_thousand_connections_are_closed_at_once() {
    on_each_driver(|driver| {
        let count = fewer(10_000) as u64;
        #[cfg(target_os = "linux")]
        {
            let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
            if files.is_some_and(|files| files < count + 200) {
                return say(format_args!("S110: SKIPPED, NOT TESTED AT ALL: {files:?} open files"));
            }
        }
        let mut child = Plan::new("serve", driver, &[]).start();
        let addr = child.addr();
        let sources = (0..count as u32).map(|number| 1 + number / 200);
        let mut streams: Vec<_> = sources.map(|source| connect_from(source, addr)).collect();
        for stream in &mut streams {
            ping(stream, b"in");
        }
        assert_eq!(child.counter("connections"), count);
        assert_eq!(child.ask("close all"), "closed");
        for stream in &mut streams {
            assert_eq!(end_of(stream), Ended::Fin);
        }
        drop(streams);
        while child.counter("connections") > 0 {} // it answers at its own pace
        assert_eq!(child.counter("closed"), count);
        child.stop();
        reached("S110", driver, format_args!("{count} closed at once"));
    });
}
