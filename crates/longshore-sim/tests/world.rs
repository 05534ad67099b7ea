//! What the simulated world offers beyond the contract: clients, names, limits, scheduling, traces.

use longshore_base::Token;
use longshore_port::{
    BindTo, Completion, ConnectTo, End, ErrorKind, Notify, Op, Port, PortConfig, SocketId,
    SocketOptions, Unattached, Until, What, Work, WorkDone, World,
};
use longshore_sim::{SimClient, SimPort, SimWorld};
use std::net::SocketAddr;
use std::time::Duration;

const SEEDS: u64 = 200;

fn addr() -> SocketAddr {
    "10.0.0.1:7000".parse().expect("an address")
}

fn listen(world: &SimWorld, port: &mut SimPort) -> SocketId {
    let options = SocketOptions::default();
    let to = BindTo { addr: addr(), dual_stack: false, backlog: 8, options };
    port.listen(world.bind(&to).expect("a free address"), Token::new(0, 0))
        .expect("a listener of this world")
}

/// The next completions, moving the clock as far as it takes.
fn next(world: &SimWorld, port: &mut SimPort) -> Vec<Completion> {
    let mut out = Vec::new();
    loop {
        port.wait(Until::Woken, &mut out).expect("the port lives");
        if !out.is_empty() {
            return out;
        }
        assert!(world.advance(), "nothing will ever happen");
    }
}

fn accept(world: &SimWorld, port: &mut SimPort, listener: SocketId) -> Unattached {
    port.submit(listener, Op::Accept { credit: 1 });
    let mut socket = None;
    loop {
        for completion in next(world, port) {
            match completion.what {
                What::Accepted(accepted) => socket = Some(accepted),
                What::AcceptEnded(end) => {
                    assert_eq!(end, End::Credit);
                    return socket.expect("a credit ends with a connection");
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

/// Receives to the end of the stream.
fn receive(world: &SimWorld, port: &mut SimPort, socket: SocketId) -> (Vec<u8>, End) {
    port.submit(socket, Op::Recv { credit: u32::MAX });
    let mut bytes = Vec::new();
    loop {
        for completion in next(world, port) {
            match completion.what {
                What::Received(lease) => bytes.extend_from_slice(&lease),
                What::RecvEnded(end) => return (bytes, end),
                other => panic!("{other:?}"),
            }
        }
    }
}

fn wait_for(world: &SimWorld, client: &SimClient, what: fn(&SimClient) -> bool) {
    while !what(client) {
        assert!(world.advance(), "the client waits for ever");
    }
}

#[test]
fn a_client_talks_to_a_port_and_hears_its_end() {
    for seed in 0..SEEDS {
        let world = SimWorld::new(seed);
        let mut port = world.open(&PortConfig::default()).unwrap();
        let listener = listen(&world, &mut port);
        let client = world.client(addr());
        assert_eq!(client.write(b"hello"), 5);
        client.finish();
        let socket = accept(&world, &mut port, listener);
        assert_eq!(socket.peer.socket_addr(), Some(client.local_addr()));
        let socket = port.attach(socket, Token::new(1, 0)).unwrap();
        assert_eq!(receive(&world, &mut port, socket), (b"hello".to_vec(), End::Eof));
        port.submit(socket, Op::Close);
        assert!(matches!(next(&world, &mut port)[0].what, What::Closed));
        wait_for(&world, &client, SimClient::is_closed);
        assert!(client.is_connected() && !client.is_reset());
        drop((client, port));
        assert_eq!(world.descriptors(), 0);
    }
}

#[test]
fn a_reset_of_a_client_and_a_refusal_are_told() {
    let world = SimWorld::new(1);
    let mut port = world.open(&PortConfig::default()).unwrap();
    let refused = world.client(addr());
    wait_for(&world, &refused, SimClient::is_reset);
    assert!(!refused.is_connected());
    let listener = listen(&world, &mut port);
    let client = world.client(addr());
    let socket = accept(&world, &mut port, listener);
    let socket = port.attach(socket, Token::new(1, 0)).unwrap();
    client.reset();
    let (_, end) = receive(&world, &mut port, socket);
    assert!(matches!(end, End::Failed(error) if error.kind == ErrorKind::Reset), "{end:?}");
}

#[test]
fn a_full_backlog_lets_a_connect_wait_and_then_time_out() {
    let world = SimWorld::new(3);
    let mut port = world.open(&PortConfig::default()).unwrap();
    listen(&world, &mut port);
    let clients: Vec<_> = (0..9).map(|_| world.client(addr())).collect();
    while world.advance() {}
    assert_eq!(clients.iter().filter(|client| client.is_connected()).count(), 8);
    assert!(world.now().as_nanos() >= 5_000_000_000, "it knocked for seconds");
}

#[test]
fn descriptors_run_out_where_they_are_limited() {
    let world = SimWorld::new(4);
    let mut port = world.open(&PortConfig::default()).unwrap();
    let listener = listen(&world, &mut port);
    let client = world.client(addr());
    while world.advance() {}
    world.limit_descriptors(1);
    port.submit(listener, Op::Accept { credit: 1 });
    let out = next(&world, &mut port);
    let no_descriptors = |kind| kind == ErrorKind::NoDescriptors;
    assert!(
        matches!(out[0].what, What::AcceptEnded(End::Failed(e)) if no_descriptors(e.kind)),
        "{out:?}"
    );
    let to = ConnectTo { addr: addr(), from: None, options: SocketOptions::default() };
    assert!(no_descriptors(port.connect(&to, Token::new(2, 0)).unwrap_err().kind));
    world.limit_descriptors(2);
    let peer = accept(&world, &mut port, listener).peer;
    assert_eq!(peer.socket_addr(), Some(client.local_addr()), "it was not lost");
}

#[test]
fn names_are_those_that_the_test_gave() {
    let world = SimWorld::new(5);
    world.name("play.example", &["10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap()]);
    let mut port = world.open(&PortConfig::default()).unwrap();
    for (name, count) in [("play.example:80", Some(2)), ("localhost:1", Some(2)), ("gone:1", None)]
    {
        port.start(Token::new(9, 0), Work::Resolve(name.into()));
        let out = next(&world, &mut port);
        let What::Work(WorkDone::Resolved(addrs)) = &out[0].what else { panic!("{out:?}") };
        assert_eq!(addrs.as_ref().ok().map(Vec::len), count, "{name}");
    }
}

#[test]
fn a_port_is_due_when_it_has_reason_to_run_and_at_no_other_time() {
    let world = SimWorld::new(6);
    let mut port = world.open(&PortConfig::default()).unwrap();
    let mut out = Vec::new();
    assert!(world.is_due(port.index()), "it has never waited");
    port.wait(Until::Woken, &mut out).unwrap();
    assert!(!world.is_due(port.index()));
    assert!(!world.advance(), "nothing is under way");

    port.notifier().notify();
    while !world.is_due(port.index()) {
        assert!(world.advance());
    }
    let until = world.now() + Duration::from_secs(60);
    port.wait(Until::Time(until), &mut out).unwrap();
    assert!(!world.is_due(port.index()));
    assert!(world.advance());
    assert_eq!(world.now(), until, "the clock jumps to the one thing that will happen");
    assert!(world.is_due(port.index()));
    world.pass(Duration::from_secs(1));
    assert_eq!(world.now(), until + Duration::from_secs(1));
}

#[test]
fn different_seeds_give_different_runs() {
    let run = |seed| {
        let world = SimWorld::new(seed);
        let mut port = world.open(&PortConfig::default()).unwrap();
        let listener = listen(&world, &mut port);
        let client = world.client(addr());
        client.write(&[7; 500]);
        client.finish();
        let socket = accept(&world, &mut port, listener);
        let socket = port.attach(socket, Token::new(1, 0)).unwrap();
        assert_eq!(receive(&world, &mut port, socket).0, [7; 500]);
        world.trace()
    };
    let traces: std::collections::BTreeSet<_> = (0..SEEDS).map(run).collect();
    assert!(traces.len() > 150, "{} of {SEEDS} runs differ", traces.len());
    assert_eq!(run(11), run(11));
}

/// Also when it goes off while it connects.
#[test]
fn a_peer_that_vanishes_while_it_connects_is_found_out_by_probing() {
    for seed in 0..SEEDS {
        let world = SimWorld::new(seed);
        let mut port = world.open(&PortConfig::default()).expect("a port opens");
        let listener = listen(&world, &mut port);
        world.client(addr()).vanish();
        let socket = accept(&world, &mut port, listener);
        let socket = port.attach(socket, Token::new(1, 0)).expect("a socket of this world");
        let (_, end) = receive(&world, &mut port, socket);
        assert!(matches!(end, End::Failed(error) if error.kind == ErrorKind::TimedOut), "{end:?}");
    }
}

/// A machine that goes off says nothing: who probes finds out, who does not waits for ever.
#[test]
fn a_peer_that_vanishes_is_found_out_by_probing() {
    for seed in 0..SEEDS {
        for keepalive in [Some(longshore_port::Keepalive::default()), None] {
            let world = SimWorld::new(seed);
            let mut port = world.open(&PortConfig::default()).expect("a port opens");
            let options = SocketOptions::default().keepalive(keepalive);
            let to = BindTo { addr: addr(), dual_stack: false, backlog: 8, options };
            let listening = world.bind(&to).expect("a free address");
            let listener = port.listen(listening, Token::new(0, 0)).expect("a listener");
            let client = world.client(addr());
            let socket = accept(&world, &mut port, listener);
            let id = port.attach(socket, Token::new(1, 0)).expect("a socket of this world");
            port.submit(id, Op::Watch { half: true });
            client.vanish();
            assert!(client.write(b"nobody hears this") > 0);
            let gone = world.now();
            drop(client);
            if keepalive.is_some() {
                let what = next(&world, &mut port).remove(0).what;
                let What::WatchEnded(End::Failed(error)) = what else { panic!("{what:?}") };
                assert_eq!(error.kind, ErrorKind::TimedOut);
                assert_eq!(port.now().since(gone), Duration::from_secs(120));
            } else {
                world.pass(Duration::from_secs(3600));
                let mut out = Vec::new();
                port.wait(Until::Now, &mut out).expect("the port lives");
                assert!(out.is_empty(), "{out:?}");
            }
        }
    }
}
