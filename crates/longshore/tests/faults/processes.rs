//! Processes: what children inherit, signals, restarts (R49, R82, R83).

use super::child::{Child, Plan};
use super::support::*;
use std::net::SocketAddr;

/// Numbers of the descriptors that a child has.
#[cfg(target_os = "linux")]
fn inherited(_: Driver) -> String {
    use std::process::{Command, Stdio};
    let listed = Command::new("ls").arg("/proc/self/fd").stdin(Stdio::null()).output().unwrap();
    String::from_utf8(listed.stdout).unwrap()
}

/// How many handles a child has, its own included.
#[cfg(windows)]
fn inherited(driver: Driver) -> String {
    let child = Plan::new("handles", driver, &[]).start();
    let count = child.hear();
    child.stop();
    count
}

#[test]
fn r49_a_child_inherits_no_descriptor() {
    on_each_driver(|driver| {
        let without = inherited(driver); // what this program itself was started with
        let running = Running::echo(driver, |builder| builder);
        let mut streams: Vec<_> = (0..50).map(|_| connect(running.addr)).collect();
        let connector = longshore::Connector::addr(running.addr, codec());
        let tally = std::sync::Arc::clone(&running.tally);
        running.server.connect(connector, move |_| Ok(Echo(tally.clone()))).unwrap();
        running.tally.wait("all are there", |counts| counts.opened == 52);
        for _ in 0..pick(5, 200) {
            ping(&mut streams[0], b"alive");
            assert_eq!(inherited(driver), without);
        }
        drop(streams);
        running.stop(std::time::Duration::ZERO);
        reached("R49", driver, "a child of a server with 50 connections has what it had without");
    });
}

#[cfg(target_os = "linux")]
#[test]
fn r82_a_signal_loses_no_answer_to_what_was_received() {
    on_each_driver(|driver| {
        let (clients, runs) = (pick(200, 1_000), pick(6, 30));
        let mut answered = 0;
        for run in 0..runs {
            let server = Plan::new("run", driver, &[]).start();
            let addr = server.addr();
            let mut streams: Vec<_> = (0..clients).map(|_| connect(addr)).collect();
            for stream in &mut streams {
                ping(stream, b"connected");
            }
            let mut replies = clients;
            for _ in 0..run % 4 {
                for stream in &mut streams {
                    ping(stream, b"before");
                    replies += 1;
                }
            }
            for stream in &mut streams {
                send(stream, b"just in time");
            }
            server.signal(rustix::process::Signal::TERM);
            for stream in &mut streams {
                // It lies in the server's receive buffer since before the signal.
                assert_eq!(recv(stream), b"just in time", "run {run}");
                replies += 1;
            }
            for mut stream in streams {
                match try_recv(&mut stream) {
                    Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {}
                    other => panic!("{other:?} instead of the end"),
                }
            }
            assert_eq!(server.hear(), replies.to_string(), "requests handled, answers received");
            let status = server.wait();
            assert!(status.success(), "{status}");
            answered += replies;
        }
        reached("R82", driver, format_args!("{runs} runs, {answered} answers, 0 lost, exit 0"));
    });
}

/// More lies in its receive queues than its buffers hold at a time, and more than it reads at once;
/// some of its peers read late.
#[cfg(target_os = "linux")]
#[test]
fn r82_a_signal_loses_no_answer_however_much_was_received() {
    on_each_driver(|driver| {
        let (clients, len) = (pick(120, 400), 60_000);
        for run in 0..pick(2, 10) {
            let server = Plan::new("run", driver, &[]).start();
            let addr = server.addr();
            let mut streams: Vec<_> = (0..clients).map(|_| connect(addr)).collect();
            for stream in &mut streams {
                ping(stream, b"connected");
            }
            server.stand_still();
            for (client, stream) in streams.iter_mut().enumerate() {
                send(stream, &pattern(client, len));
            }
            server.signal(rustix::process::Signal::TERM);
            server.signal(rustix::process::Signal::CONT);
            for (client, stream) in streams.iter_mut().enumerate() {
                let got = try_recv(stream).unwrap_or_else(|error| {
                    panic!("run {run}: {error} instead of the answer to client {client}")
                });
                assert!(got == pattern(client, len), "run {run}, client {client}");
            }
            assert_eq!(server.hear(), (2 * clients).to_string());
            assert!(server.wait().success());
        }
        let text = format!("{clients} requests of {len} bytes in the queues, 0 answers lost");
        reached("R82", driver, text);
    });
}

/// The first signal's line may wait for who reads the log; the second signal may not.
#[cfg(target_os = "linux")]
#[test]
fn a_second_signal_ends_a_process_whose_log_is_stuck() {
    on_each_driver(|driver| {
        let server = Plan::new("run", driver, &[]).with("STUCK_LOG", 1).start();
        let mut stays = connect(server.addr());
        ping(&mut stays, b"and ends its side late");
        server.signal(rustix::process::Signal::TERM);
        assert_eq!(server.hear(), "the log is stuck");
        server.signal(rustix::process::Signal::TERM);
        assert_eq!(server.wait().code(), Some(143));
    });
}

#[test]
fn r83_a_server_that_was_killed_comes_back_at_its_address() {
    on_each_driver(|driver| {
        let times = pick(5, 100);
        let mut server = Plan::new("serve", driver, &[]).start();
        let addr = server.addr();
        let mut tries = 0;
        for _ in 0..times {
            let mut streams: Vec<_> = (0..20).map(|_| connect(addr)).collect();
            for stream in &mut streams {
                ping(stream, b"before");
            }
            server.process.kill().unwrap();
            drop(server);
            server = restart(driver, addr, &mut tries);
            for stream in &mut streams {
                end_of(stream);
            }
            ping(&mut connect(addr), b"after");
        }
        server.stop();
        let text = format!("killed and back {times} of {times} times, {tries} tries in all");
        reached("R83", driver, text);
    });
}

/// Starts a server at the address of one that was killed, as a supervisor does: again, if it does
/// not start. The kernel takes a ring of a dead process apart a little after its end, and the
/// listener with it.
fn restart(driver: Driver, addr: SocketAddr, tries: &mut usize) -> Child {
    for _ in 0..100 {
        *tries += 1;
        let server = Plan::new("serve", driver, &[]).with("ADDR", addr).start();
        if let Some(at) = server.starts() {
            assert_eq!(at, addr.to_string());
            return server;
        }
    }
    panic!("the address of a dead server stays in use")
}
