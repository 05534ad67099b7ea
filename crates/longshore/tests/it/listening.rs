//! Listeners, filters, and what a server knows of its connections.

use crate::net::{
    End, Event, Events, Lab, Probe, codec, echo, frame, is_long, on_every_port, on_real_ports,
};
use longshore::*;
use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::channel;
use std::time::Duration;

on_every_port! {
    each_listener_has_its_own_codec_and_handler,
    a_filter_changes_every_byte_both_ways,
    a_filter_that_fails_ends_its_connection_only,
    connections_are_listed_and_closed_by_name,
    close_all_closes_all_and_the_server_goes_on,
    no_more_connections_than_the_limit_get_in,
    sources_are_counted_where_loopback_counts,
    a_shutdown_while_connections_come_leaves_none_behind,
}

on_real_ports! {
    listeners_of_every_family,
    a_socket_that_somebody_else_bound,
    an_address_in_use_is_named,
}

struct Shout;

impl Handler for Shout {
    type Codec = Lines;
    fn on_message(&mut self, cx: &mut Ctx<'_, Self>, line: &str) -> Result {
        cx.send(&line.to_uppercase())
    }
}

struct Count(u64);

impl Handler for Count {
    type Codec = Fixed;
    fn on_message(&mut self, cx: &mut Ctx<'_, Self>, frame: &[u8]) -> Result {
        self.0 += u64::from(frame[0]);
        cx.send(&[frame[0], u8::try_from(self.0)?])
    }
}

fn probes() -> (impl Fn(&longshore::Peer<'_>) -> Result<Probe, Reject> + Send + Sync, Events) {
    let (told, events) = channel();
    (move |_: &longshore::Peer<'_>| Ok(Probe::new(told.clone(), echo())), Events(events))
}

fn each_listener_has_its_own_codec_and_handler(lab: &mut Lab) {
    let (factory, _events) = probes();
    let builder = Server::builder()
        .workers(2)
        .listen(Listener::addr(lab.addr(), codec()), factory)
        .listen(Listener::addr(lab.addr(), Lines::max(100)), |_| Ok(Shout))
        .listen(Listener::addr(lab.addr(), Fixed::bytes(2)), |_| Ok(Count(0)));
    let server = lab.start(builder);
    let addrs: Vec<_> =
        server.local_addrs().iter().map(|addr| addr.socket_addr().unwrap()).collect();
    assert_eq!(addrs.iter().collect::<BTreeSet<_>>().len(), 3);
    let mut peers: Vec<_> = addrs.iter().map(|addr| lab.connect_to(*addr)).collect();
    peers[0].say(b"bytes");
    peers[1].send(b"line\nnext\n");
    peers[2].send(&[3, 0, 4, 0]);
    assert_eq!(lab.hear(&mut peers[0]), b"bytes");
    assert_eq!(lab.read(&mut peers[1], 10), b"LINE\nNEXT\n");
    assert_eq!(lab.read(&mut peers[2], 4), [3, 3, 4, 7]);
}

/// The smallest filter: each byte is changed by a key.
struct Xor(u8);

impl Filter for Xor {
    fn handle_input(
        &mut self,
        input: &[u8],
        plain: &mut Vec<u8>,
        _: &mut Vec<u8>,
    ) -> Result<(), FrameError> {
        plain.extend(input.iter().map(|byte| byte ^ self.0));
        Ok(())
    }

    fn handle_output(&mut self, plain: &[u8], wire: &mut Vec<u8>) -> Result<(), FrameError> {
        wire.extend(plain.iter().map(|byte| byte ^ self.0));
        Ok(())
    }
}

fn a_filter_changes_every_byte_both_ways(lab: &mut Lab) {
    const KEY: u8 = 0x5a;
    let (factory, events) = probes();
    let listener = Listener::addr(lab.addr(), codec()).filter(|| Box::new(Xor(KEY)));
    let server = lab.start(Server::builder().workers(1).listen(listener, factory));
    let mut peer = lab.connect(&server);
    let mut all = Vec::new();
    for number in 0..60usize {
        all.extend(frame(&vec![number as u8; number * number]));
    }
    all.extend(frame(&vec![1; 700_000]));
    let changed: Vec<u8> = all.iter().map(|byte| byte ^ KEY).collect();
    // In parts, so that both sides of a real port have room.
    for (number, part) in changed.chunks(50_000).enumerate() {
        peer.send(part);
        if number == 0 {
            lab.find(&events, |event| matches!(event, Event::Message(_)).then_some(()));
        }
    }
    assert!(lab.read(&mut peer, changed.len()) == changed, "what comes back is filtered too");
    peer.finish();
    assert_eq!(lab.read_to_end(&mut peer), (vec![], End::Fin));
    assert_eq!(lab.end_of(&events).reason, "peer_closed");
}

/// Fails at a byte, in one of its three ways.
struct Brittle;

impl Filter for Brittle {
    fn handle_input(
        &mut self,
        input: &[u8],
        plain: &mut Vec<u8>,
        _: &mut Vec<u8>,
    ) -> Result<(), FrameError> {
        assert!(!input.contains(&b'I'), "on purpose");
        if input.contains(&b'E') {
            return Err(FrameError::invalid("on purpose"));
        }
        plain.extend_from_slice(input);
        Ok(())
    }

    fn handle_output(&mut self, plain: &[u8], wire: &mut Vec<u8>) -> Result<(), FrameError> {
        assert!(!plain.contains(&b'O'), "on purpose");
        wire.extend_from_slice(plain);
        Ok(())
    }

    fn handle_end(&mut self) -> Result<(), FrameError> {
        panic!("on purpose")
    }
}

fn a_filter_that_fails_ends_its_connection_only(lab: &mut Lab) {
    let (factory, events) = probes();
    let count = std::sync::atomic::AtomicU64::new(0);
    let listener = Listener::addr(lab.addr(), codec()).filter(move || {
        assert!(count.fetch_add(1, std::sync::atomic::Ordering::SeqCst) != 1, "on purpose");
        Box::new(Brittle)
    });
    let server = lab.start(Server::builder().workers(1).listen(listener, factory));
    let mut witness = lab.connect(&server);
    let _ = lab.next(&events).conn();
    let mut refused = lab.connect(&server);
    assert!(lab.read_to_end(&mut refused).0.is_empty());
    for (sent, reason) in
        [(&b"I"[..], "handler_panic"), (b"E", "protocol_error"), (b"O", "handler_panic")]
    {
        let mut peer = lab.connect(&server);
        peer.say(sent);
        lab.read_to_end(&mut peer);
        drop(peer);
        assert_eq!(lab.end_of(&events).reason, reason);
    }
    let mut peer = lab.connect(&server);
    peer.finish();
    lab.read_to_end(&mut peer);
    assert_eq!(lab.end_of(&events).reason, "handler_panic");
    witness.say(b"alive");
    assert_eq!(lab.hear(&mut witness), b"alive");
    assert_eq!(server.snapshot().panics, 4);
}

fn connections_are_listed_and_closed_by_name(lab: &mut Lab) {
    let (server, events) = lab.serve(Limits::new(), echo);
    let mut peers: Vec<_> = (0..4).map(|_| lab.connect(&server)).collect();
    for _ in 0..4 {
        let _ = lab.next(&events).conn();
    }
    assert_eq!(server.connection_count(), 4);
    let of = |peer: &crate::net::Peer| {
        let addr = peer.local_addr().into();
        let infos = server.connections();
        *infos.iter().find(|info| info.peer_addr == addr).expect("it is listed")
    };
    let (first, second) = (of(&peers[0]), of(&peers[1]));
    assert_eq!(first.local_addr, server.local_addrs()[0]);
    assert_ne!(first.id, second.id);
    assert_eq!(server.close(first.id), Sent::Queued);
    assert_eq!(lab.read_to_end(&mut peers[0]), (vec![], End::Fin));
    peers[0].finish();
    assert_eq!(lab.end_of(&events).id, first.id);
    assert_eq!(server.abort(second.id), Sent::Queued);
    assert_eq!(lab.read_to_end(&mut peers[1]), (vec![], End::Reset));
    assert_eq!(lab.end_of(&events).id, second.id);
    assert_eq!((server.close(first.id), server.abort(second.id)), (Sent::Closed, Sent::Closed));
    assert_eq!(server.connections().len(), 2);
    peers[3].say(b"still there");
    assert_eq!(lab.hear(&mut peers[3]), b"still there");
}

/// S110: out of memory when disconnecting everybody.
fn close_all_closes_all_and_the_server_goes_on(lab: &mut Lab) {
    let count = match (is_long(), lab.is_simulated()) {
        (true, false) => 2_000,
        (false, false) => 200,
        (_, true) => 30,
    };
    close_all(lab, count);
}

fn close_all(lab: &mut Lab, count: usize) {
    let (factory, events) = probes();
    let listener = Listener::addr(lab.addr(), codec());
    let builder = Server::builder().workers(2).connections(20_000).listen(listener, factory);
    let server = lab.start(builder);
    let mut peers: Vec<_> = (0..count).map(|_| lab.connect(&server)).collect();
    for _ in 0..count {
        let _ = lab.next(&events).conn();
    }
    assert_eq!(server.connections().len(), count);
    assert_eq!(server.close_all(), count);
    for peer in &mut peers {
        assert_eq!(lab.read_to_end(peer), (vec![], End::Fin));
    }
    drop(peers);
    let ended: BTreeSet<_> = (0..count).map(|_| lab.end_of(&events).id).collect();
    assert_eq!(ended.len(), count, "each once");
    let mut late = lab.connect(&server);
    late.say(b"hello");
    assert_eq!(lab.hear(&mut late), b"hello");
}

#[test]
fn close_all_of_a_thousand() {
    close_all(&mut Lab::simulated(7), if is_long() { 10_000 } else { 1_000 });
}

fn no_more_connections_than_the_limit_get_in(lab: &mut Lab) {
    let (factory, events) = probes();
    let listener = Listener::addr(lab.addr(), codec());
    let server = lab.start(Server::builder().workers(2).connections(2).listen(listener, factory));
    let mut first = lab.connect(&server);
    let _second = lab.connect(&server);
    for _ in 0..2 {
        let _ = lab.next(&events).conn();
    }
    let mut third = lab.connect(&server);
    let (bytes, _) = lab.read_to_end(&mut third);
    assert!(bytes.is_empty());
    assert_eq!(server.snapshot().refused_connections, 1);
    first.finish();
    lab.read_to_end(&mut first);
    lab.end_of(&events);
    let mut late = lab.connect(&server);
    late.say(b"room");
    assert_eq!(lab.hear(&mut late), b"room");
}

fn sources_are_counted_where_loopback_counts(lab: &mut Lab) {
    let (factory, events) = probes();
    let limits = Limits::new().connections_per_source(1).count_loopback(true);
    let listener = Listener::addr(lab.addr(), codec()).limits(limits);
    let server = lab.start(Server::builder().workers(1).listen(listener, factory));
    let mut first = lab.connect(&server);
    let _ = lab.next(&events).conn();
    if lab.is_simulated() {
        return; // whether peers of the simulated network share an address is the seed's choice
    }
    let mut second = lab.connect(&server);
    assert!(lab.read_to_end(&mut second).0.is_empty());
    assert_eq!(server.snapshot().refused_per_source, 1);
    first.finish();
    lab.read_to_end(&mut first);
    lab.end_of(&events);
    let mut third = lab.connect(&server);
    third.say(b"room");
    assert_eq!(lab.hear(&mut third), b"room");
}

/// Accepted by the door, given to a worker that has stopped already: nobody may keep it open.
fn a_shutdown_while_connections_come_leaves_none_behind(lab: &mut Lab) {
    for round in 0..if lab.is_simulated() { 1 } else { 20 } {
        let (factory, _events) = probes();
        let listener = Listener::addr(lab.addr(), codec());
        let server = lab.start(Server::builder().workers(2).listen(listener, factory));
        let mut peers: Vec<_> = (0..8).map(|_| lab.connect(&server)).collect();
        if round % 2 == 0 {
            lab.pass(Duration::from_millis(round / 2));
        }
        server.shutdown(Duration::ZERO);
        for peer in &mut peers {
            lab.read_to_end(peer);
        }
        lab.wait(&server);
        assert_eq!(server.connection_count(), 0);
    }
}

fn listeners_of_every_family(lab: &mut Lab) {
    let here = |addr: &str, port: u16| -> SocketAddr { format!("{addr}:{port}").parse().unwrap() };
    let (factory, events) = probes();
    let builder = Server::builder()
        .workers(1)
        .listen(Listener::tcp("127.0.0.1:0", codec()), factory)
        .listen(Listener::port(0, Lines::max(10)), |_| Ok(Shout));
    let server = lab.start(builder);
    let port = |at: usize| server.local_addrs()[at].port().unwrap();
    let mut peer = lab.connect_to(here("127.0.0.1", port(0)));
    peer.say(b"v4");
    assert_eq!(lab.hear(&mut peer), b"v4");
    let seen = lab.next(&events).conn().peer_addr();
    assert_eq!(seen.socket_addr(), Some(peer.local_addr()));
    // An IPv4 peer of a dual-stack listener.
    let mut peer = lab.connect_to(here("127.0.0.1", port(1)));
    peer.send(b"four\n");
    assert_eq!(lab.read(&mut peer, 5), b"FOUR\n");
    let infos = server.connections();
    assert!(infos.iter().any(|info| info.peer_addr == peer.local_addr().into()));
    if TcpListener::bind("[::1]:0").is_err() {
        println!("SKIPPED, NOT TESTED ON IPV6: this system has none");
        return;
    }
    let mut peer = lab.connect_to(here("[::1]", port(1)));
    peer.send(b"six\n");
    assert_eq!(lab.read(&mut peer, 4), b"SIX\n");
    let (factory, _events) = probes();
    let only_six = Listener::tcp("[::1]:0", codec());
    let server = lab.start(Server::builder().workers(1).listen(only_six, factory));
    let mut peer = lab.connect(&server);
    peer.say(b"v6");
    assert_eq!(lab.hear(&mut peer), b"v6");
}

fn a_socket_that_somebody_else_bound(lab: &mut Lab) {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = socket.local_addr().unwrap();
    let (factory, _events) = probes();
    let listener = Listener::from_std(socket, codec());
    let server = lab.start(Server::builder().workers(1).listen(listener, factory));
    assert_eq!(server.local_addrs()[0].socket_addr(), Some(addr));
    let mut peer = lab.connect(&server);
    peer.say(b"hello");
    assert_eq!(lab.hear(&mut peer), b"hello");
}

fn an_address_in_use_is_named(_: &mut Lab) {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap();
    let (factory, _events) = probes();
    let builder = Server::builder().listen(Listener::addr(addr, codec()), factory);
    let text = builder.start().unwrap_err().to_string();
    let want = format!("cannot listen on {addr}: address in use");
    assert!(text.starts_with(&want), "{text}");
}
