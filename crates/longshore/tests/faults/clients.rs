//! Going out: attempts that fail, and those who come back (R51, R52).

use super::support::*;
use longshore::*;
use socket2::{Domain, Socket, Type};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Tries to connect; what the failure is called.
fn failure(running: &Running, connector: Connector<LengthDelimited>) -> ConnectError {
    let (told, failures) = channel();
    let connector = connector.on_failure(move |error, _| {
        let _ = told.send(error.clone());
        Retry::GiveUp
    });
    let tally = Arc::clone(&running.tally);
    running.server.connect(connector, move |_| Ok(Echo(Arc::clone(&tally)))).unwrap();
    failures.recv_timeout(PATIENCE).unwrap()
}

/// A listener that accepts nothing and whose queue is full: whoever knocks is not answered.
fn black_hole() -> (Socket, SocketAddr, Vec<TcpStream>) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    socket.listen(0).unwrap();
    let addr = socket.local_addr().unwrap().as_socket().unwrap();
    let mut waiting = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&addr, Duration::from_millis(200)) {
        waiting.push(stream);
        assert!(waiting.len() < 100, "its queue has no end");
    }
    (socket, addr, waiting)
}

#[test]
fn r51_each_way_not_to_connect_has_its_own_error() {
    on_each_driver(|driver| {
        let running = Running::echo(driver, |builder| builder);
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = failure(&running, Connector::addr(closed, codec()));
        assert!(matches!(error, ConnectError::Refused(_)), "{error}");

        let (_hole, addr, _waiting) = black_hole();
        let within = Duration::from_millis(200);
        let error = failure(&running, Connector::addr(addr, codec()).timeout(within));
        assert!(matches!(error, ConnectError::TimedOut(_)), "{error}");

        // The only local port that it may use is in use, to the same place.
        let target = Running::echo(driver, |builder| builder);
        let taken = connect_from(7, target.addr);
        let from = taken.local_addr().unwrap();
        let error = failure(&running, Connector::addr(target.addr, codec()).from(from));
        assert!(matches!(error, ConnectError::NoLocalPort(_)), "{error}");
        let foreign = SocketAddr::from(([192, 0, 2, 1], 0));
        let error = failure(&running, Connector::addr(target.addr, codec()).from(foreign));
        assert!(matches!(error, ConnectError::NoLocalPort(_)), "{error}");

        let error = failure(&running, Connector::tcp("no such name:1", codec()));
        assert!(matches!(error, ConnectError::UnknownName(_)), "{error}");

        assert_eq!(running.server.snapshot().connect_failed, 5);
        assert_eq!(running.server.connection_count(), 0, "places given back");
        target.stop(Duration::ZERO);
        running.stop(Duration::ZERO);
        reached("R51", driver, "refused, timed out, no local port (2), unknown name: told apart");
    });
}

#[test]
fn r52_clients_come_back_to_a_server_that_restarts_and_not_all_at_once() {
    on_each_driver(|driver| {
        let count = pick(300, 2_000);
        let (min, max) = (Duration::from_secs(1), Duration::from_secs(8));
        let first = Running::echo(driver, |builder| builder);
        let attempts = Arc::new(Mutex::new(Vec::new()));
        let dialer = Running::echo(driver, |builder| builder);
        for _ in 0..count {
            let tally = Arc::clone(&dialer.tally);
            let connector =
                Connector::addr(first.addr, codec()).reconnect(Reconnect::Backoff { min, max });
            dialer.server.connect(connector, move |_| Ok(Echo(Arc::clone(&tally)))).unwrap();
        }
        first.tally.wait("all are there", |counts| counts.opened == count);
        first.stop(Duration::from_secs(10));
        let begin = Instant::now();
        let seen = Arc::clone(&attempts);
        let second = Running::handled(
            driver,
            Listener::addr(first.addr, codec()),
            |builder| builder,
            move |tally| {
                seen.lock().unwrap().push(begin.elapsed());
                Echo(tally)
            },
        );
        second.tally.wait("all are back", |counts| counts.opened == count);
        let failed = dialer.server.snapshot().connect_failed as usize;
        // They wait longer each time: while nobody listened, few attempts were in vain.
        assert!(failed <= 4 * count, "{failed} attempts in vain");
        dialer.stop(Duration::from_secs(10));
        second.stop(Duration::ZERO);
        let times = attempts.lock().unwrap();
        let peak = (0..100)
            .map(|tenth| times.iter().filter(|time| time.as_millis() / 100 == tenth).count())
            .max();
        let text =
            format!("{count} clients back, {failed} in vain, peak {} in 0.1 s", peak.unwrap());
        reached("R52", driver, text);
    });
}
