//! Loud peers, stopped clocks, many timers (R44-R46).

#[cfg(target_os = "linux")]
use super::child::Plan;
use super::support::*;
use longshore::*;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

/// Echoes what is small and swallows what is large.
struct Swallow(Arc<Tally>);

impl Handler for Swallow {
    type Codec = LengthDelimited;

    fn on_message(&mut self, cx: &mut Ctx<'_, Self>, frame: &[u8]) -> Result {
        if frame.len() > 100 { Ok(()) } else { cx.send(frame) }
    }

    fn on_disconnect(self, closed: &Closed<'_>) {
        self.0.closed(closed);
    }
}

#[test]
fn r44_a_firehose_does_not_keep_a_thousand_others_from_their_answers() {
    on_each_driver(|driver| {
        let rounds = pick(3, 200);
        let running = Running::handled(driver, listener(), |builder| builder.workers(1), Swallow);
        let (done, begun) = (AtomicBool::new(false), Barrier::new(2));
        let hose = std::thread::scope(|scope| {
            let firehose = scope.spawn(|| {
                let mut stream = connect(running.addr);
                let wire: Vec<u8> = (0..64).flat_map(|_| framed(&[3; 4_000])).collect();
                let mut bytes = 0;
                while !done.load(Ordering::Acquire) {
                    stream.write_all(&wire).unwrap();
                    bytes += wire.len();
                    if bytes == wire.len() {
                        begun.wait();
                    }
                }
                bytes
            });
            let mut streams: Vec<_> = (0..1_000).map(|_| connect(running.addr)).collect();
            begun.wait();
            for round in 0..rounds {
                for stream in &mut streams {
                    send(stream, &[round as u8; 30]);
                }
                for stream in &mut streams {
                    assert_eq!(recv(stream), [round as u8; 30]);
                }
            }
            done.store(true, Ordering::Release);
            firehose.join().unwrap()
        });
        running.stop(Duration::ZERO);
        let text = format!("{} pings answered beside {} MiB", rounds * 1_000, hose >> 20);
        reached("R44", driver, text);
    });
}

// A signal makes it stand still.
#[cfg(target_os = "linux")]
#[test]
fn r45_a_process_that_stood_still_closes_nobody_who_spoke() {
    on_each_driver(|driver| {
        let peers = pick(100, 1_000);
        let mut server = Plan::new("serve", driver, &[]).with("IDLE_MS", 1_000).start();
        let addr = server.addr();
        let mut streams: Vec<_> = (0..peers).map(|_| connect(addr)).collect();
        for stream in &mut streams {
            ping(stream, b"here");
        }
        server.stand_still();
        for stream in &mut streams {
            send(stream, b"still here");
        }
        // Twice the idle time passes, and nobody answers.
        stays_silent(&mut streams[0], Duration::from_secs(2));
        server.signal(rustix::process::Signal::CONT);
        for stream in &mut streams {
            assert_eq!(recv(stream), b"still here");
        }
        assert_eq!(server.counter("closed"), 0, "spurious closes");
        drop(streams);
        server.stop();
        reached("R45", driver, format_args!("{peers} peers, stopped for 2 s, 0 spurious closes"));
    });
    say("R45: SKIPPED, NOT TESTED: steps of the wall clock need libfaketime");
}

/// Sets many timers, and sees that each comes, once and not early.
struct Timed {
    due: Vec<Option<Time>>,
    spins: u32,
    tally: Arc<Tally>,
}

const TIMERS: u32 = 60;
const CLEARED: Timer = Timer(60);
const NEVER: Timer = Timer(61);
const SPINNING: Timer = Timer(62);

impl Handler for Timed {
    type Codec = LengthDelimited;

    fn on_message(&mut self, cx: &mut Ctx<'_, Self>, frame: &[u8]) -> Result {
        let mut random = Random(u64::from(frame[0]) + 1);
        for timer in 0..TIMERS {
            let after = Duration::from_millis(random.below(200) as u64);
            cx.set_timer(Timer(timer), after)?;
            self.due.push(Some(cx.now() + after));
        }
        cx.set_timer(CLEARED, Duration::from_millis(100))?;
        cx.set_timer(NEVER, Duration::MAX)?;
        Ok(cx.set_timer(SPINNING, Duration::ZERO)?)
    }

    fn on_timer(&mut self, cx: &mut Ctx<'_, Self>, timer: Timer) -> Result {
        cx.clear_timer(CLEARED);
        assert!(timer != CLEARED && timer != NEVER, "{timer:?} came");
        if timer == SPINNING {
            self.spins += 1;
            return Ok(cx.set_timer(SPINNING, Duration::ZERO)?);
        }
        let due = self.due[timer.0 as usize].take().expect("once");
        assert!(due <= cx.now(), "{timer:?} came early");
        self.tally.change(|counts| counts.extra += 1);
        if self.due.iter().all(Option::is_none) {
            cx.clear_timer(SPINNING);
            cx.send(b"all came")?;
        }
        Ok(())
    }

    fn on_disconnect(self, closed: &Closed<'_>) {
        self.tally.closed(closed);
    }
}

#[test]
fn r46_timers_come_once_and_not_early_whatever_their_time() {
    on_each_driver(|driver| {
        let count = pick(20, 1_600);
        let running = Running::handled(
            driver,
            listener(),
            |builder| builder,
            |tally| Timed { due: Vec::new(), spins: 0, tally },
        );
        let mut streams: Vec<_> = (0..count).map(|_| connect(running.addr)).collect();
        for (number, stream) in streams.iter_mut().enumerate() {
            stream.write_all(&framed(&[number as u8])).unwrap();
        }
        for stream in &mut streams {
            assert_eq!(recv(stream), b"all came", "{}", running.tally.now().last);
        }
        assert_eq!(running.tally.now().extra, count * TIMERS as usize);
        running.stop(Duration::ZERO);
        let timers = count * TIMERS as usize;
        reached("R46", driver, format_args!("{timers} timers came once, none early"));
    });
}
