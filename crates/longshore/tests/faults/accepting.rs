//! Accepting under pressure: no descriptors, passing errors, limits (R32-R35).

#[cfg(target_os = "linux")]
use super::child::{Child, Plan, has_strace};
use super::support::*;
use longshore::*;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

// The limit of files is the system's: Windows has none.
#[cfg(target_os = "linux")]
#[test]
fn r32_a_server_without_descriptors_serves_on_and_accepts_again() {
    on_each_driver(|driver| {
        for files in [64, 256] {
            let count = pick(300, 1_000);
            let mut server = Plan::new("serve", driver, &[]).with("FILES", files).start();
            let addr = server.addr();
            let mut streams: Vec<_> = (0..count).map(|_| connect(addr)).collect();
            ping(&mut streams[0], b"the first are served");
            let (failed, span) = failures_over_a_second(&mut server, streams.last_mut().unwrap());
            let rate = failed as f64 / span.as_secs_f64();
            assert!(rate <= 200.0, "{rate} failed accepts a second");
            assert!(server.counter("accept_backoffs") > 0, "there was room for all");
            ping(&mut streams[0], b"and go on to be served");
            // Whoever leaves makes room for the next: all get their turn.
            for mut stream in streams {
                ping(&mut stream, b"my turn");
            }
            ping(&mut connect(addr), b"all is well again");
            server.stop();
            let text =
                format!("{files} files, {count} clients served, {rate:.0} failures a second");
            reached("R32", driver, text);
        }
    });
}

/// How often accepting failed while a peer that is not accepted waited for a second in vain.
#[cfg(target_os = "linux")]
fn failures_over_a_second(server: &mut Child, waiting: &mut TcpStream) -> (u64, Duration) {
    let before = server.counter("accept_backoffs");
    let begin = std::time::Instant::now();
    stays_silent(waiting, Duration::from_secs(1));
    let failed = server.counter("accept_backoffs") - before;
    (failed, begin.elapsed())
}

// strace makes the errors.
#[cfg(target_os = "linux")]
#[test]
fn r33_errors_of_accept_pass_and_the_listener_lives() {
    let _alone = alone();
    if !has_strace() {
        return say("R33: SKIPPED, NOT TESTED AT ALL: no strace on this machine");
    }
    let errors = [
        "ECONNABORTED",
        "EPROTO",
        "EPERM",
        "ENETDOWN",
        "ENOPROTOOPT",
        "EHOSTDOWN",
        "ENONET",
        "EHOSTUNREACH",
        "EOPNOTSUPP",
        "ENETUNREACH",
        "EINTR",
        "EMFILE",
        "ENFILE",
        "ENOBUFS",
        "ENOMEM",
    ];
    for error in errors {
        // Errors that do not pass are waited out, up to a second each.
        let waits = ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"].contains(&error);
        let times = if waits { 3 } else { pick(50, 1_000) };
        let inject = format!("inject=accept4:error={error}:when=1..{times}");
        let wrapper =
            ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=accept4", "-e", &inject];
        let mut server = Plan::new("serve", driver_named("readiness"), &wrapper).start();
        let addr = server.addr();
        for _ in 0..10 {
            ping(&mut connect(addr), b"after so many errors");
        }
        let told = server.counter("accept_passing_errors") + server.counter("accept_backoffs");
        if error != "EINTR" {
            assert!(told >= times as u64, "{error}: {told}");
        }
        server.stop();
        say(format_args!("R33 readiness: {error} x {times}, still accepting"));
    }
}

#[test]
fn r34_the_limit_of_connections_is_never_passed() {
    on_each_driver(|driver| {
        let (most, attempts) = (pick(100, 4_000), pick(400, 9_000));
        for workers in [1, 2] {
            let running =
                Running::echo(driver, |builder| builder.connections(most).workers(workers));
            let mut streams: Vec<_> = (0..attempts).map(|_| connect(running.addr)).collect();
            let mut excess = streams.split_off(most);
            for stream in &mut excess {
                end_of(stream);
                assert!(running.server.connection_count() <= most);
            }
            for stream in &mut streams {
                ping(stream, b"untouched");
            }
            let seen = running.server.snapshot();
            assert_eq!(seen.refused_connections as usize, attempts - most);
            assert_eq!(running.tally.now().opened, most);
            drop(streams);
            running.tally.wait("all are closed", |counts| counts.closed == most);
            running.stop(Duration::ZERO);
            assert_eq!(running.server.connection_count(), 0);
        }
        reached("R34", driver, format_args!("{attempts} attempts, never more than {most}"));
    });
}

/// Ends in the way that its first byte says.
struct Dying(Arc<Tally>);

impl Handler for Dying {
    type Codec = LengthDelimited;

    fn on_connect(&mut self, _: &mut Ctx<'_, Self>) -> Result {
        self.0.opened();
        Ok(())
    }

    fn on_message(&mut self, cx: &mut Ctx<'_, Self>, frame: &[u8]) -> Result {
        match frame[0] {
            b'c' => cx.close(),
            b'a' => cx.abort(),
            b'e' => return Err(Error::msg("as it was asked to")),
            _ => return cx.send(frame),
        }
        Ok(())
    }

    fn on_disconnect(self, closed: &Closed<'_>) {
        self.0.closed(closed);
    }
}

#[test]
fn r35_counts_of_a_source_return_to_zero_on_every_way_to_close() {
    on_each_driver(|driver| {
        let (sources, per_source, rounds) = (pick(16, 200) as u32, 4, pick(2, 40));
        let limits = Limits::new().connections_per_source(per_source).count_loopback(true);
        // One worker: the place of a closed connection is given back before the next is accepted.
        let running = Running::handled(
            driver,
            listener().limits(limits),
            |builder| builder.workers(1),
            Dying,
        );
        let mut opened = 0;
        for round in 0..rounds {
            for way in 0..7 {
                let open = fill(running.addr, sources, per_source);
                opened += open.len();
                for stream in open {
                    end(stream, way, &running);
                }
                let closed = running.tally.wait("all are closed", |counts| counts.closed == opened);
                assert_eq!(closed.opened, opened, "round {round}");
            }
        }
        let refused = running.server.snapshot().refused_per_source;
        running.stop(Duration::ZERO);
        reached("R35", driver, format_args!("{opened} opens, {refused} refused, 7 ways to close"));
    });
}

/// Takes all places of each source, and sees that there are no more.
fn fill(addr: SocketAddr, sources: u32, per_source: u32) -> Vec<TcpStream> {
    let mut open = Vec::new();
    for source in 1..=sources {
        for _ in 0..per_source {
            let mut stream = connect_from(source, addr);
            ping(&mut stream, b"let in");
            open.push(stream);
        }
        end_of(&mut connect_from(source, addr));
    }
    open
}

/// Ends a connection in one of seven ways.
fn end(mut stream: TcpStream, way: usize, running: &Running) {
    match way {
        0 => drop(stream),
        1 => reset(stream),
        2 => send(&mut stream, b"close"),
        3 => send(&mut stream, b"abort"),
        4 => send(&mut stream, b"error"),
        5 => std::io::Write::write_all(&mut stream, &[255; 4]).unwrap(),
        _ => {
            let own = stream.local_addr().unwrap();
            let connections = running.server.connections();
            let its = connections.iter().find(|info| info.peer_addr.socket_addr() == Some(own));
            let _ = running.server.abort(its.unwrap().id);
        }
    }
}
