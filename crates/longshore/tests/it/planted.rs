//! Edges at which bugs were planted that no other test found.

use crate::net::{Event, Events, Lab, Probe, codec, echo, on_every_port, on_real_ports, seeds};
use longshore::*;
use std::net::TcpStream;
use std::sync::mpsc::channel;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

on_every_port! {
    a_later_shutdown_may_be_shorter,
}

on_real_ports! {
    an_idle_time_that_is_set_for_the_first_time_is_waited_for,
    what_an_empty_message_brings_about_waits_for_nothing_else,
    an_attempt_after_one_that_timed_out_has_its_own_error,
}

fn a_later_shutdown_may_be_shorter(lab: &mut Lab) {
    let stays = || |_: &mut Ctx<'_, Probe>, _: &Event| Ok(());
    let (server, events) = lab.serve(Limits::new(), stays);
    let _peer = lab.connect(&server);
    let _ = lab.next(&events).conn();
    server.shutdown(Duration::from_secs(100_000));
    assert!(matches!(lab.next(&events), Event::Shutdown));
    server.shutdown(Duration::ZERO);
    assert_eq!(lab.end_of(&events).reason, "shutdown");
    lab.wait(&server);
}

/// No other deadline of the connection wakes the worker.
fn an_idle_time_that_is_set_for_the_first_time_is_waited_for(lab: &mut Lab) {
    let script = || {
        |cx: &mut Ctx<'_, Probe>, event: &Event| {
            if let Event::Message(_) = event {
                cx.set_idle(5 * MS);
            }
            Ok(())
        }
    };
    let (server, events) = lab.serve(Limits::new().idle(Duration::ZERO), script);
    let mut peer = lab.connect(&server);
    let _ = lab.next(&events).conn();
    peer.say(b"from now on");
    assert!(lab.next(&events).is_message(b"from now on"));
    assert!(matches!(lab.next(&events), Event::Idle));
}

/// It is told of without a send that comes back, when the turn has looked for all else. No deadline
/// wakes the worker.
fn what_an_empty_message_brings_about_waits_for_nothing_else(lab: &mut Lab) {
    struct Relay(std::net::SocketAddr, std::sync::mpsc::Sender<Event>);

    impl Handler for Relay {
        type Codec = Raw;

        fn on_message(&mut self, cx: &mut Ctx<'_, Self>, _: &[u8]) -> Result {
            cx.send_tracked(b"", 1)
        }

        fn on_sent(&mut self, cx: &mut Ctx<'_, Self>, _: u64) -> Result {
            let told = self.1.clone();
            let factory = move |_: &longshore::Peer<'_>| Ok(Probe::new(told.clone(), echo()));
            cx.connect(Connector::addr(self.0, codec()), factory)
        }
    }

    let (backend, _served) = lab.serve(Limits::new(), echo);
    let to = backend.local_addrs()[0].socket_addr().unwrap();
    let (told, events) = channel();
    let limits = Limits::new().first_byte(Duration::ZERO).idle(Duration::ZERO);
    let listener = Listener::addr(lab.addr(), Raw::new()).limits(limits);
    let factory = move |_: &longshore::Peer<'_>| Ok(Relay(to, told.clone()));
    let relay = lab.start(Server::builder().listen(listener, factory).workers(1));
    let mut peer = lab.connect(&relay);
    peer.send(b"x");
    let conn = lab.next(&Events(events)).conn();
    assert_eq!(conn.peer_addr().socket_addr(), Some(to));
}

/// Nobody answers at first: the queue of those who wait to be accepted is full. Then nobody is
/// there.
fn an_attempt_after_one_that_timed_out_has_its_own_error(lab: &mut Lab) {
    let deaf = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    deaf.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    deaf.listen(0).unwrap();
    let at = deaf.local_addr().unwrap().as_socket().unwrap();
    let mut waiting = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&at, 100 * MS) {
        waiting.push(stream);
        assert!(waiting.len() < 100, "the queue never fills");
    }
    let mut deaf = Some((deaf, waiting));
    let (failed, failures) = channel();
    let connector = Connector::addr(at, codec()).timeout(30 * MS).on_failure(move |error, _| {
        let _ = failed.send(error.clone());
        if deaf.take().is_some() { Retry::After(MS) } else { Retry::GiveUp }
    });
    let server = lab.start(Server::builder().workers(1));
    server.connect(connector, |_| Ok(Probe::new(channel().0, echo()))).unwrap();
    assert_eq!(lab.recv(&failures), ConnectError::TimedOut(at.to_string()));
    assert_eq!(lab.recv(&failures), ConnectError::Refused(at.to_string()));
}

#[test]
fn a_shutdown_whose_time_is_up_tries_no_further_address() {
    for seed in seeds() {
        let mut lab = Lab::simulated(seed);
        let at = lab.addr();
        let dead = [1, 2, 3].map(|last| std::net::IpAddr::from([10, 0, 0, last]));
        let net = lab.net().unwrap();
        net.world().name("dead", &dead);
        let clients = lab.start(Server::builder().workers(1));
        let (failed, failures) = channel();
        let to = Connector::tcp(&format!("dead:{}", at.port()), codec());
        let to = to.on_failure(move |error, _| {
            let _ = failed.send(error.clone());
            Retry::GiveUp
        });
        clients.connect(to, |_| Ok(Probe::new(channel().0, echo()))).unwrap();
        let net = lab.net().unwrap();
        let begun = net.run_until(Duration::from_secs(100), |_| clients.connection_count() == 1);
        assert!(begun, "seed {seed}");
        clients.shutdown(Duration::ZERO);
        lab.wait(&clients);
        assert!(failures.try_recv().is_err(), "seed {seed}: another was tried");
    }
}
