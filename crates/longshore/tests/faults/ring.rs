//! Scarce rings, buffers and wake-ups, and no ring at all (R9-R11, R15).

#[cfg(target_os = "linux")]
use super::child::{Plan, has_strace};
use super::support::*;
use longshore::*;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

#[test]
fn r09_one_shared_buffer_serves_a_thousand_talking_connections() {
    on_each_driver(|driver| {
        let (count, rounds) = (1_000, pick(3, 100));
        let port = PortConfig::default().recv_blocks(1).recv_block_bytes(2048);
        let running = Running::echo(driver, |builder| builder.workers(1).port(port));
        let mut streams: Vec<_> = (0..count).map(|_| connect(running.addr)).collect();
        for round in 0..rounds {
            for (number, stream) in streams.iter_mut().enumerate() {
                send(stream, &pattern(number, 100 + 400 * (round + number) % 3_000));
            }
            for (number, stream) in streams.iter_mut().enumerate() {
                let want = pattern(number, 100 + 400 * (round + number) % 3_000);
                assert!(recv(stream) == want, "another answer than was sent");
            }
        }
        let completions = running.server.snapshot().completions;
        running.stop(Duration::ZERO);
        // Each message is a receive or two, a send, and an end of the receive's credit now and
        // then: far more would be an arming that spins.
        assert!(completions < (count * rounds) as u64 * 10, "{completions} completions");
        let messages = count * rounds;
        reached("R9", driver, format_args!("{messages} messages, {completions} completions"));
    });
}

#[test]
fn r10_eight_ring_entries_carry_thousands_of_connections() {
    on_each_driver(|driver| {
        let (count, rounds) = (pick(500, 5_000), pick(4, 60));
        let port = PortConfig::default().submissions_max(8).completions_max(16);
        let running = Running::echo(driver, |builder| builder.workers(1).port(port));
        let mut streams: Vec<_> = (0..count).map(|_| connect(running.addr)).collect();
        for round in 0..rounds {
            for stream in &mut streams {
                send(stream, &[round as u8; 200]);
            }
            for stream in &mut streams {
                assert_eq!(recv(stream), [round as u8; 200]);
            }
        }
        running.server.close_all();
        for stream in &mut streams {
            assert_eq!(end_of(stream), Ended::Fin);
        }
        drop(streams);
        running.tally.wait("all are closed", |counts| counts.closed == count);
        let completions = running.server.snapshot().completions;
        running.stop(Duration::ZERO);
        reached("R10", driver, format_args!("{count} connections, {completions} completions"));
    });
}

/// Hands its handle out.
struct Posted(Sender<Conn<Posted>>);

impl Handler for Posted {
    type Codec = LengthDelimited;

    fn on_connect(&mut self, cx: &mut Ctx<'_, Self>) -> Result {
        Ok(self.0.send(cx.conn())?)
    }

    fn on_message(&mut self, _: &mut Ctx<'_, Self>, _: &[u8]) -> Result {
        Ok(())
    }
}

#[test]
fn r11_what_another_thread_posts_wakes_a_worker_that_sleeps() {
    on_each_driver(|driver| {
        let posts = pick(1_000, 100_000);
        let (handles, fresh) = channel();
        let limits = Limits::new().first_byte(Duration::ZERO);
        let running = Running::handled(
            driver,
            listener().limits(limits),
            |builder| builder,
            move |_| Posted(handles.clone()),
        );
        std::thread::scope(|scope| {
            for thread in 0..4u8 {
                let mut stream = connect(running.addr);
                let conn = fresh.recv_timeout(PATIENCE).unwrap();
                scope.spawn(move || {
                    for post in 0..posts {
                        let message = [thread, post as u8];
                        assert!(conn.send(&message).is_queued());
                        assert_eq!(recv(&mut stream), message);
                    }
                });
            }
        });
        running.stop(Duration::ZERO);
        reached("R11", driver, format_args!("4 threads x {posts} posts, none waited for ever"));
    });
}

// There is no other driver to fall back to, and no strace.
#[cfg(target_os = "linux")]
#[test]
fn r15_without_a_ring_auto_falls_back_and_says_why() {
    let _alone = alone();
    if !has_strace() {
        return say("R15: SKIPPED, NOT TESTED AT ALL: no strace on this machine");
    }
    for error in ["EPERM", "ENOSYS", "ENOMEM"] {
        let inject = format!("inject=io_uring_setup:error={error}");
        let wrapper =
            ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=io_uring_setup", "-e", &inject];
        let child = Plan::new("without a ring", driver_named("readiness"), &wrapper).start();
        let addr = child.addr();
        assert_eq!(child.hear(), "epoll");
        let passed_over = child.hear();
        assert!(!passed_over.is_empty(), "{error}: it has to say why");
        let required = child.hear();
        let said = required.contains("driver io_uring was required") && required.len() > 60;
        assert!(said, "{error}: {required}");
        ping(&mut connect(addr), b"served all the same");
        child.stop();
        say(format_args!("R15 {error}: falls back, since {passed_over}"));
    }
}

/// Sends much, then waits until the system has it.
struct Burst {
    told: Sender<(Conn<Burst>, u64)>,
    tally: Arc<Tally>,
}

impl Handler for Burst {
    type Codec = LengthDelimited;

    fn on_message(&mut self, cx: &mut Ctx<'_, Self>, frame: &[u8]) -> Result {
        cx.send_tracked(&vec![7; u32::from_be_bytes(frame.try_into()?) as usize], 0)
    }

    fn on_sent(&mut self, cx: &mut Ctx<'_, Self>, _: u64) -> Result {
        Ok(self.told.send((cx.conn(), cx.conn().queued_bytes()))?)
    }

    fn on_disconnect(self, closed: &Closed<'_>) {
        self.tally.closed(closed);
    }
}

#[test]
fn r41_bytes_that_left_do_not_count_as_queued() {
    on_each_driver(|driver| {
        let (told, sent) = channel();
        let limits = Limits::new().send_queue_bytes(1 << 20);
        let listener = Listener::tcp("127.0.0.1:0", LengthDelimited::u32_be(1 << 19));
        let running = Running::handled(
            driver,
            listener.limits(limits),
            |builder| builder,
            move |tally| Burst { told: told.clone(), tally },
        );
        let mut stream = connect(running.addr);
        for round in 0..20u32 {
            let bytes: u32 = 500_000;
            send(&mut stream, &bytes.to_be_bytes());
            assert_eq!(recv(&mut stream).len(), 500_000);
            let (conn, queued) = sent.recv_timeout(PATIENCE).unwrap();
            assert_eq!(queued, 0, "round {round}");
            // Two of them are just within the bound: nothing else may be queued.
            for _ in 0..2 {
                assert_eq!(conn.send(&vec![1; 500_000]), Sent::Queued, "round {round}");
            }
            for _ in 0..2 {
                assert_eq!(recv(&mut stream).len(), 500_000);
            }
            ping_through(&conn, &mut stream);
        }
        running.stop(Duration::ZERO);
        reached("R41", driver, "20 bursts up to the bound, none refused");
    });
}

/// What was sent before has left when this returns: its turn is over.
fn ping_through(conn: &Conn<Burst>, stream: &mut std::net::TcpStream) {
    assert!(conn.send(b"small").is_queued());
    assert_eq!(recv(stream), b"small");
}
