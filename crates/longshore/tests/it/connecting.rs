//! Outgoing connections, and the blocking client.

use crate::net::{
    Event, Events, Lab, PATIENCE, Probe, codec, connect, echo, frame, on_every_port, on_real_ports,
    seeds,
};
use longshore::testing::Net;
use longshore::*;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, channel};
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

on_every_port! {
    a_connector_speaks_with_a_server,
    a_refused_attempt_is_told_and_numbered,
    a_name_is_looked_up,
    a_connection_that_the_other_side_ends_is_made_again,
    a_connection_that_this_side_ends_is_not_made_again,
    a_factory_that_refuses_gives_the_attempt_up,
    no_more_connections_than_the_limit_are_made,
    a_callback_connects_on_its_worker,
    on_failure_that_panics_gives_up_and_harms_nobody,
    connecting_on_a_server_that_stopped_is_told,
    a_shutdown_ends_reconnecting,
}

on_real_ports! {
    an_attempt_without_an_answer_times_out,
    the_client_tells_what_went_wrong,
    the_client_sends_receives_and_sees_the_end,
}

/// A place where nobody listens.
fn nowhere(lab: &mut Lab) -> SocketAddr {
    if lab.is_simulated() {
        return lab.addr();
    }
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn addr_of(server: &Server) -> SocketAddr {
    server.local_addrs()[0].socket_addr().unwrap()
}

/// Connects with a probe of the script; what becomes of its attempts comes as text.
fn dial<F>(
    server: &Server,
    connector: Connector<LengthDelimited>,
    retry: Retry,
    script: impl Fn() -> F + Send + 'static,
) -> (Events, Receiver<(u32, ConnectError)>)
where
    F: FnMut(&mut Ctx<'_, Probe>, &Event) -> Result + Send + 'static,
{
    let ((told, events), (failed, failures)) = (channel(), channel());
    let connector = connector.on_failure(move |error, attempt| {
        let _ = failed.send((attempt.number, error.clone()));
        if attempt.number < 3 { retry } else { Retry::GiveUp }
    });
    server.connect(connector, move |_| Ok(Probe::new(told.clone(), script()))).unwrap();
    (Events(events), failures)
}

/// A server without listeners, for what goes out.
fn outgoing(lab: &mut Lab) -> Server {
    lab.start(Server::builder().workers(1))
}

fn a_connector_speaks_with_a_server(lab: &mut Lab) {
    let (server, served) = lab.serve(Limits::new(), echo);
    let connector = Connector::addr(addr_of(&server), codec());
    let script = || {
        |cx: &mut Ctx<'_, Probe>, event: &Event| match event {
            Event::Connect(_) => cx.send(b"hello"),
            Event::Message(_) => {
                cx.close();
                Ok(())
            }
            _ => Ok(()),
        }
    };
    let clients = outgoing(lab);
    let (events, failures) = dial(&clients, connector, Retry::GiveUp, script);
    let conn = lab.next(&events).conn();
    assert_eq!(conn.peer_addr().socket_addr(), Some(addr_of(&server)));
    assert!(lab.next(&events).is_message(b"hello"));
    assert_eq!(lab.end_of(&events).reason, "local");
    let accepted = lab.next(&served).conn();
    assert_eq!(accepted.peer_addr(), conn.local_addr());
    assert_eq!(lab.end_of(&served).reason, "peer_closed");
    assert!(failures.try_recv().is_err());
    assert_eq!((clients.snapshot().connected, clients.snapshot().connect_failed), (1, 0));
}

fn a_refused_attempt_is_told_and_numbered(lab: &mut Lab) {
    let server = outgoing(lab);
    let at = nowhere(lab);
    let connector = Connector::addr(at, codec());
    let (events, failures) = dial(&server, connector, Retry::After(2 * MS), echo);
    for number in 1..=3 {
        let want = (number, ConnectError::Refused(at.to_string()));
        assert_eq!(lab.recv(&failures), want);
    }
    server.shutdown(Duration::ZERO);
    lab.wait(&server);
    assert!(failures.try_recv().is_err() && events.rest().is_empty());
    assert_eq!(server.snapshot().connect_failed, 3);
}

fn a_name_is_looked_up(lab: &mut Lab) {
    let (server, _served) = lab.serve(Limits::new(), echo);
    let addr = addr_of(&server);
    if let Some(net) = lab.net() {
        net.world().name("localhost", &[addr.ip()]);
    }
    let connector = Connector::tcp(&format!("localhost:{}", addr.port()), codec());
    let clients = outgoing(lab);
    let (events, _failures) = dial(&clients, connector, Retry::GiveUp, echo);
    assert_eq!(lab.next(&events).conn().peer_addr().socket_addr(), Some(addr));
}

/// A server that closes at the first message.
fn serve_closing(lab: &mut Lab) -> (Server, Events) {
    lab.serve(Limits::new(), || {
        |cx: &mut Ctx<'_, Probe>, event: &Event| {
            if let Event::Message(_) = event {
                cx.close();
            }
            Ok(())
        }
    })
}

fn a_connection_that_the_other_side_ends_is_made_again(lab: &mut Lab) {
    let (server, served) = serve_closing(lab);
    let backoff = Reconnect::Backoff { min: MS, max: 4 * MS };
    let connector = Connector::addr(addr_of(&server), codec()).reconnect(backoff);
    let script = || {
        |cx: &mut Ctx<'_, Probe>, event: &Event| match event {
            Event::Connect(_) => cx.send(b"close me"),
            _ => Ok(()),
        }
    };
    let clients = outgoing(lab);
    let (events, failures) = dial(&clients, connector, Retry::GiveUp, script);
    for _ in 0..5 {
        assert_eq!(lab.end_of(&events).reason, "peer_closed");
        lab.end_of(&served);
    }
    assert!(clients.snapshot().connected >= 5);
    assert!(failures.try_recv().is_err());
}

fn a_connection_that_this_side_ends_is_not_made_again(lab: &mut Lab) {
    for how in ["close", "because", "abort"] {
        let (server, _served) = lab.serve(Limits::new(), echo);
        let backoff = Reconnect::Backoff { min: MS, max: MS };
        let connector = Connector::addr(addr_of(&server), codec()).reconnect(backoff);
        let clients = outgoing(lab);
        let (events, _failures) = dial(&clients, connector, Retry::GiveUp, move || {
            move |cx: &mut Ctx<'_, Probe>, event: &Event| {
                if let Event::Connect(_) = event {
                    match how {
                        "close" => cx.close(),
                        "because" => cx.close_because("done"),
                        _ => cx.abort(),
                    }
                }
                Ok(())
            }
        });
        lab.end_of(&events);
        // The factory is dropped when the dial is forgotten: then nobody connects again.
        let gone = if lab.is_simulated() {
            lab.pass(Duration::from_secs(60));
            matches!(events.0.try_recv(), Err(TryRecvError::Disconnected))
        } else {
            matches!(events.0.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected))
        };
        assert!(gone, "{how}: the dial lives on");
        assert_eq!(clients.snapshot().connected, 1, "{how}");
    }
}

fn a_factory_that_refuses_gives_the_attempt_up(lab: &mut Lab) {
    let (server, _served) = lab.serve(Limits::new(), echo);
    let (failed, failures) = channel();
    let connector = Connector::addr(addr_of(&server), codec()).on_failure(move |error, _| {
        let _ = failed.send(error.clone());
        Retry::GiveUp
    });
    let clients = outgoing(lab);
    let refuse = |_: &longshore::Peer<'_>| Err::<Probe, _>(Reject::because("not now"));
    clients.connect(connector, refuse).unwrap();
    let want = ConnectError::GivenUp(addr_of(&server).to_string());
    assert_eq!(lab.recv(&failures), want);
    assert_eq!(clients.connection_count(), 0);
}

fn no_more_connections_than_the_limit_are_made(lab: &mut Lab) {
    let (server, _served) = lab.serve(Limits::new(), echo);
    let clients = lab.start(Server::builder().workers(1).connections(1));
    let connector = || Connector::addr(addr_of(&server), codec());
    let (events, _failures) = dial(&clients, connector(), Retry::GiveUp, echo);
    let conn = lab.next(&events).conn();
    let (_events, failures) = dial(&clients, connector(), Retry::GiveUp, echo);
    let want = ConnectError::TooMany(addr_of(&server).to_string());
    assert_eq!(lab.recv(&failures), (1, want));
    conn.close();
    lab.end_of(&events);
}

/// What it receives goes to the connection that it makes, and back.
fn a_callback_connects_on_its_worker(lab: &mut Lab) {
    let (backend, _served) = lab.serve(Limits::new(), echo);
    let to = addr_of(&backend);
    let script = move || {
        move |cx: &mut Ctx<'_, Probe>, event: &Event| {
            let Event::Message(frame) = event else { return Ok(()) };
            let (back, frame) = (cx.conn(), frame.clone());
            let wrong = Connector::addr(to, LengthDelimited::u32_be(usize::MAX));
            assert!(cx.connect(wrong, |_| Ok(Probe::new(channel().0, echo()))).is_err());
            cx.connect(Connector::addr(to, codec()), move |_| {
                let (back, frame) = (back.clone(), frame.clone());
                let script = move |cx: &mut Ctx<'_, Probe>, event: &Event| match event {
                    Event::Connect(_) => cx.send(&frame),
                    Event::Message(frame) => {
                        assert_eq!(cx.send_to(&back, frame), Sent::Queued);
                        cx.close();
                        Ok(())
                    }
                    _ => Ok(()),
                };
                Ok(Probe::new(channel().0, script))
            })
        }
    };
    let (relay, _events) = lab.serve(Limits::new(), script);
    let mut peer = lab.connect(&relay);
    for _ in 0..3 {
        peer.say(b"round trip");
        assert_eq!(lab.hear(&mut peer), b"round trip");
    }
    assert_eq!(relay.snapshot().connected, 3);
}

fn on_failure_that_panics_gives_up_and_harms_nobody(lab: &mut Lab) {
    let (server, _served) = lab.serve(Limits::new(), echo);
    let at = nowhere(lab);
    let (told, asked) = channel();
    let connector = Connector::addr(at, codec()).on_failure(move |_, _| {
        let _ = told.send(());
        panic!("on purpose")
    });
    server.connect(connector, |_| Ok(Probe::new(channel().0, echo()))).unwrap();
    lab.recv(&asked);
    let mut peer = lab.connect(&server);
    peer.say(b"alive");
    assert_eq!(lab.hear(&mut peer), b"alive");
    assert!(asked.try_recv().is_err());
}

fn connecting_on_a_server_that_stopped_is_told(lab: &mut Lab) {
    let server = outgoing(lab);
    server.shutdown(Duration::ZERO);
    lab.wait(&server);
    let at = nowhere(lab);
    let (_events, failures) = dial(&server, Connector::addr(at, codec()), Retry::After(MS), echo);
    assert_eq!(lab.recv(&failures), (1, ConnectError::GivenUp(at.to_string())));
    assert!(failures.try_recv().is_err());
}

fn a_shutdown_ends_reconnecting(lab: &mut Lab) {
    let (server, _served) = lab.serve(Limits::new(), echo);
    let backoff = Reconnect::Backoff { min: MS, max: MS };
    let connector = Connector::addr(addr_of(&server), codec()).reconnect(backoff);
    let clients = outgoing(lab);
    let script = || {
        |cx: &mut Ctx<'_, Probe>, event: &Event| {
            if let Event::Shutdown = event {
                cx.close();
            }
            Ok(())
        }
    };
    let (events, _failures) = dial(&clients, connector, Retry::After(MS), script);
    let _ = lab.next(&events).conn();
    let at = nowhere(lab);
    let forever = Connector::addr(at, codec()).on_failure(|_, _| Retry::After(MS));
    clients.connect(forever, |_| Ok(Probe::new(channel().0, echo()))).unwrap();
    clients.shutdown(Duration::from_secs(5));
    lab.end_of(&events);
    if !lab.is_simulated() {
        lab.wait(&clients);
    }
}

#[test]
fn each_address_of_a_name_is_tried_in_turn() {
    for seed in seeds() {
        let mut lab = Lab::simulated(seed);
        let (server, _served) = lab.serve(Limits::new(), echo);
        let addr = addr_of(&server);
        let dead = |last| std::net::IpAddr::from([10, 0, 0, last]);
        let net = lab.net().unwrap();
        net.world().name("three", &[dead(8), dead(9), addr.ip()]);
        net.world().name("none", &[dead(8), dead(9)]);
        let clients = outgoing(&mut lab);
        let to = |name: &str| Connector::tcp(&format!("{name}:{}", addr.port()), codec());
        let (events, failures) = dial(&clients, to("three"), Retry::GiveUp, echo);
        assert_eq!(lab.next(&events).conn().peer_addr().socket_addr(), Some(addr));
        assert!(failures.try_recv().is_err(), "only a round that failed is told");
        let (_events, failures) = dial(&clients, to("none"), Retry::GiveUp, echo);
        let want = ConnectError::Refused(format!("none:{}", addr.port()));
        assert_eq!(lab.recv(&failures), (1, want));
        let (_events, failures) = dial(&clients, to("unheard-of"), Retry::GiveUp, echo);
        let want = ConnectError::UnknownName(format!("unheard-of:{}", addr.port()));
        assert_eq!(lab.recv(&failures), (1, want));
    }
}

#[test]
fn back_off_doubles_up_to_its_last_bound() {
    for seed in seeds() {
        let mut net = Net::seed(seed);
        let at = net.addr();
        let server = net.start(Server::builder().workers(1)).unwrap();
        let second = Duration::from_secs(1);
        let backoff = Reconnect::Backoff { min: second, max: 8 * second };
        let connector = Connector::addr(at, codec()).reconnect(backoff);
        server.connect(connector, |_| Ok(Probe::new(channel().0, echo()))).unwrap();
        net.run_for(Duration::from_secs(1_000));
        // With full jitter the mean is half of each bound: 1, 2, 4, then 8 s for ever.
        let failed = server.snapshot().connect_failed;
        assert!((180..350).contains(&failed), "seed {seed}: {failed} attempts in 1,000 s");
    }
}

/// A listener that never accepts, with its queue full, answers nothing to a handshake.
fn an_attempt_without_an_answer_times_out(lab: &mut Lab) {
    let deaf = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    deaf.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    deaf.listen(0).unwrap();
    let at = deaf.local_addr().unwrap().as_socket().unwrap();
    let mut waiting = Vec::new();
    while let Ok(stream) = std::net::TcpStream::connect_timeout(&at, 100 * MS) {
        waiting.push(stream);
        assert!(waiting.len() < 100, "the queue never fills");
    }
    let server = outgoing(lab);
    let connector = Connector::addr(at, codec()).timeout(30 * MS);
    let (_events, failures) = dial(&server, connector, Retry::After(MS), echo);
    for number in 1..=3 {
        let want = ConnectError::TimedOut(at.to_string());
        assert_eq!(lab.recv(&failures), (number, want));
    }
}

fn the_client_sends_receives_and_sees_the_end(lab: &mut Lab) {
    let (server, events) = lab.serve(Limits::new(), || {
        |cx: &mut Ctx<'_, Probe>, event: &Event| match event {
            Event::Message(frame) if frame == b"abort" => {
                cx.abort();
                Ok(())
            }
            Event::Message(frame) => cx.send(frame),
            _ => Ok(()),
        }
    });
    let addr = addr_of(&server).to_string();
    let mut client = Client::connect(&addr, codec()).unwrap();
    client.set_timeout(Some(PATIENCE));
    for len in [0, 1, 1_000, 1 << 20] {
        assert_eq!(client.call(&vec![3; len]).unwrap(), vec![3; len]);
    }
    assert!(matches!(client.send(&vec![0; (1 << 20) + 1]), Err(ClientError::Frame(_))));
    client.set_timeout(Some(MS));
    assert!(matches!(client.recv(), Err(ClientError::TimedOut(_))));
    client.set_timeout(Some(PATIENCE));
    assert_eq!(client.call(b"still there").unwrap(), b"still there");
    client.finish().unwrap();
    assert!(matches!(client.recv(), Err(ClientError::Closed)));
    assert_eq!(lab.end_of(&events).reason, "peer_closed");
    let mut client = Client::connect(&addr, codec()).unwrap();
    client.set_timeout(Some(PATIENCE));
    assert!(matches!(client.call(b"abort"), Err(ClientError::Broken(_))));
    let mut client = Client::over(connect(&addr), Raw::new());
    client.set_timeout(Some(PATIENCE));
    client.send(&frame(b"raw")).unwrap();
    let mut heard = Vec::new();
    while heard.len() < 7 {
        heard.extend(client.recv().unwrap());
    }
    assert_eq!(heard, frame(b"raw"));
}

fn the_client_tells_what_went_wrong(lab: &mut Lab) {
    let at = nowhere(lab).to_string();
    let text = Client::connect(&at, codec()).unwrap_err().to_string();
    assert!(text.contains(&at) && text.contains("nobody listens there"), "{text}");
    let text = Client::connect("127.0.0.1", codec()).unwrap_err().to_string();
    assert!(text.contains("cannot connect to 127.0.0.1"), "{text}");
    let wrong = LengthDelimited::u32_be(usize::MAX);
    assert!(matches!(Client::connect(&at, wrong), Err(ClientError::Config(_))));
}

/// R52: a server that is full accepts and ends at once.
#[test]
fn who_is_turned_away_waits_longer_each_time() {
    const SECOND: Duration = Duration::from_secs(1);
    crate::net::simulated(|lab| {
        for (greets, most, least) in [(false, 20, 5), (true, 5_000, 200)] {
            let (target, _events) = lab.serve(Limits::new(), move || {
                move |cx: &mut Ctx<'_, Probe>, event: &Event| {
                    if let Event::Connect(_) = event {
                        if greets {
                            cx.send(b"hello")?;
                        }
                        cx.close();
                    }
                    Ok(())
                }
            });
            let to = target.local_addrs()[0].socket_addr().unwrap();
            let client = lab.start(Server::builder().workers(1));
            let backoff = Reconnect::Backoff { min: SECOND / 10, max: 30 * SECOND };
            let connector = Connector::addr(to, codec()).reconnect(backoff);
            client.connect(connector, |_| Ok(Probe::new(channel().0, |_, _| Ok(())))).unwrap();
            lab.pass(60 * SECOND);
            let count = client.snapshot().connected;
            assert!((least..=most).contains(&count), "greets {greets}: {count} connections");
            client.shutdown(Duration::ZERO);
        }
    });
}
