//! Sentences of the documentation that did not hold once.

use crate::net::{
    Event, Lab, Probe, codec, connect, frame, on_every_port, on_real_ports, simulated, wait_until,
};
use longshore::testing::Net;
use longshore::*;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::channel;
use std::time::Duration;
use tracing::{Level, span};

const SECOND: Duration = Duration::from_secs(1);

on_every_port! {
    outgoing_connections_are_spread_over_the_workers,
    answers_of_a_codec_wait_for_room_where_a_full_queue_refuses,
    an_answer_as_long_as_the_queue_waits_for_an_empty_one,
    answers_that_a_filter_drops_stop_nobody,
    replies_of_a_filter_keep_to_the_bound_where_a_full_queue_refuses,
    replies_of_a_filter_past_the_bound_end_a_slow_reader,
}

on_real_ports! {
    a_close_reads_no_more_than_the_linger_says_while_it_flushes_too,
    failures_are_counted_from_the_last_connection_that_stood,
}

fn a_close_reads_no_more_than_the_linger_says_while_it_flushes_too(lab: &mut Lab) {
    const BYTES: u64 = 64 * 1024;
    let linger = Linger::default().wait(SECOND / 2).total(SECOND / 2).bytes(BYTES);
    let script = || {
        |cx: &mut Ctx<'_, Probe>, event: &Event| {
            if let Event::Message(_) = event {
                for _ in 0..30 {
                    cx.send(&vec![7; 1 << 20])?; // more than the system takes for who reads nothing
                }
                cx.close();
            }
            Ok(())
        }
    };
    let limits = Limits::new().linger(linger).send_queue_bytes(64 << 20);
    let (server, events) = lab.serve(limits, script);
    let mut peer = connect(server.local_addrs()[0].socket_addr().unwrap());
    peer.write_all(&frame(b"go")).unwrap();
    let flood = vec![1; 64 * 1024];
    while peer.write(&flood).is_ok() {} // until the server resets it
    let ended = lab.end_of(&events);
    assert_eq!(ended.why, "closed by this side");
    // What one receive brings goes over the bound.
    assert!(ended.bytes_discarded <= BYTES + 1024 * 1024, "{} bytes", ended.bytes_discarded);
}

/// Answers each byte but the last by itself, with its number and much behind it.
struct Pings;

/// Bytes of an answer.
const PONG: usize = 2_000;

impl Codec for Pings {
    type Frame<'a> = u8;
    type Item<'a> = u8;
    type Decoder = u32;

    fn frame_bytes_max(&self) -> usize {
        1
    }

    fn decode<'a>(
        &self,
        number: &'a mut u32,
        input: &'a [u8],
    ) -> core::result::Result<Decoded<u8>, FrameError> {
        if input[0] == b'.' {
            return Ok(Decoded::Frame { frame: b'.', used: 1 });
        }
        *number += 1;
        let reply = [&number.to_be_bytes()[..], &[7; PONG - 4]].concat().into();
        Ok(Decoded::Reply { used: 1, reply })
    }

    fn encode(&self, item: u8, out: &mut Out<'_>) -> core::result::Result<(), FrameError> {
        out.put_u8(item);
        Ok(())
    }
}

struct Dot;

impl Handler for Dot {
    type Codec = Pings;

    fn on_message(&mut self, cx: &mut Ctx<'_, Self>, dot: u8) -> Result {
        assert!(cx.queued_bytes() <= 3 * PONG as u64);
        let _ = cx.try_send(dot); // it may find no room
        cx.close();
        Ok(())
    }
}

fn answers_of_a_codec_wait_for_room_where_a_full_queue_refuses(lab: &mut Lab) {
    let pings: usize = if lab.is_simulated() { 300 } else { 10_000 };
    let limits = Limits::new().send_queue_bytes(3 * PONG as u64).slow_reader(SlowReader::Refuse);
    let listener = Listener::addr(lab.addr(), Pings).limits(limits);
    let server = lab.start(Server::builder().listen(listener, |_| Ok(Dot)).workers(1));
    let mut peer = lab.connect(&server);
    peer.send(&vec![b'p'; pings]);
    peer.send(b".");
    peer.finish();
    for number in 1..=pings {
        let pong = lab.read(&mut peer, PONG);
        assert_eq!(pong[..4], u32::try_from(number).unwrap().to_be_bytes());
    }
    lab.read_to_end(&mut peer);
    assert_eq!(server.snapshot().messages_in, 1);
}

/// The one that waits goes when nothing else is left, and not later.
fn an_answer_as_long_as_the_queue_waits_for_an_empty_one(lab: &mut Lab) {
    let limits = Limits::new().send_queue_bytes(PONG as u64).slow_reader(SlowReader::Refuse);
    let listener = Listener::addr(lab.addr(), Pings).limits(limits);
    let server = lab.start(Server::builder().listen(listener, |_| Ok(Dot)).workers(1));
    let mut peer = lab.connect(&server);
    peer.send(b"ppp");
    for number in 1..=3u32 {
        assert_eq!(lab.read(&mut peer, PONG)[..4], number.to_be_bytes());
    }
}

/// Answers each byte with itself, and hands nothing on.
struct Mirror;

impl Filter for Mirror {
    fn handle_input(
        &mut self,
        input: &[u8],
        _: &mut Vec<u8>,
        reply: &mut Vec<u8>,
    ) -> core::result::Result<(), FrameError> {
        reply.extend_from_slice(input);
        Ok(())
    }

    fn handle_output(
        &mut self,
        plain: &[u8],
        wire: &mut Vec<u8>,
    ) -> core::result::Result<(), FrameError> {
        wire.extend_from_slice(plain);
        Ok(())
    }
}

/// A server of which the filter alone answers.
fn mirror(lab: &mut Lab, policy: SlowReader) -> Server {
    let limits = Limits::new().send_queue_bytes(4096).slow_reader(policy);
    let listener = Listener::addr(lab.addr(), Fixed::bytes(8)).limits(limits);
    let listener = listener.filter(|| Box::new(Mirror));
    lab.start(Server::builder().listen(listener, |_| Ok(Deaf)).workers(1))
}

/// Never hears anything.
struct Deaf;

impl Handler for Deaf {
    type Codec = Fixed;

    fn on_message(&mut self, _: &mut Ctx<'_, Self>, _: &[u8]) -> Result {
        Ok(())
    }
}

/// What one receive may bring beyond the bound: its credit, and one lease more.
const CREDIT: u64 = (256 + 128) * 1024;

fn replies_of_a_filter_keep_to_the_bound_where_a_full_queue_refuses(lab: &mut Lab) {
    let server = mirror(lab, SlowReader::Refuse);
    let addr = server.local_addrs()[0].socket_addr().unwrap();
    let bytes: Vec<u8> = (0..8u32 << 20).map(|number| (number % 251) as u8).collect();
    let most = || server.connections().iter().map(|conn| conn.queued_bytes).max().unwrap_or(0);
    if let Some(net) = lab.net() {
        let mut peer = net.connect(addr, Raw::new());
        peer.set_reading(false);
        peer.send_bytes(&bytes[..1 << 20]);
        net.run_for(5 * SECOND);
        assert!((1..=4096 + CREDIT).contains(&most()), "{} bytes", most());
        peer.set_reading(true);
        let mut came = Vec::new();
        net.run_until(1_000 * SECOND, |_| {
            came.extend(peer.received_bytes());
            came.len() == 1 << 20
        });
        assert!(came == bytes[..1 << 20], "{} bytes came", came.len());
        return;
    }
    let mut peer = connect(addr);
    let mut reader = peer.try_clone().unwrap();
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| peer.write_all(&bytes).unwrap());
        // Nobody reads until the server has had as much as it takes.
        let mut last = (0, 0);
        while last.1 < 1_000 {
            let now = server.snapshot().bytes_in;
            last = if now == last.0 && now > 0 { (now, last.1 + 1) } else { (now, 0) };
            assert!(most() <= 4096 + CREDIT, "{} bytes", most());
            std::thread::yield_now();
        }
        let mut came = vec![0; bytes.len()];
        reader.read_exact(&mut came).unwrap();
        assert!(came == bytes, "other bytes came");
        writing.join().unwrap();
    });
}

fn replies_of_a_filter_past_the_bound_end_a_slow_reader(lab: &mut Lab) {
    let server = mirror(lab, SlowReader::Disconnect);
    let mut peer = lab.connect(&server);
    peer.stop_reading();
    let bytes = vec![7; 16 << 20];
    if lab.is_simulated() {
        peer.send(&bytes[..1 << 20]);
        lab.pass(10 * SECOND);
    } else {
        let addr = server.local_addrs()[0].socket_addr().unwrap();
        let mut peer = connect(addr);
        assert!(peer.write_all(&bytes).is_err(), "it reads without an end");
    }
    let slow = || server.snapshot().disconnected("slow_reader");
    wait_until(|| slow() == Some(1));
}

fn outgoing_connections_are_spread_over_the_workers(lab: &mut Lab) {
    const EACH: usize = 10;
    let (target, _events) = lab.serve(Limits::new(), || |_: &mut Ctx<'_, Probe>, _: &Event| Ok(()));
    let to = target.local_addrs()[0].socket_addr().unwrap();
    let server = lab.start(Server::builder().workers(4));
    let (told, stand) = channel();
    for _ in 0..4 * EACH {
        let (told, events) = (told.clone(), channel().0);
        let factory = move |_: &longshore::Peer<'_>| {
            let told = told.clone();
            let script = move |cx: &mut Ctx<'_, Probe>, event: &Event| {
                if let Event::Connect(_) = event {
                    told.send(usize::try_from(cx.id().to_bits() >> 48).unwrap()).unwrap();
                }
                Ok(())
            };
            Ok(Probe::new(events.clone(), script))
        };
        server.connect(Connector::addr(to, codec()), factory).unwrap();
    }
    let mut on = [0; 4];
    for _ in 0..4 * EACH {
        on[lab.recv(&stand)] += 1;
    }
    assert_eq!(on, [EACH; 4]);
    // Those that are gone count no more, and those that stand do.
    server.close_all();
    target.close_all();
}

fn failures_are_counted_from_the_last_connection_that_stood(lab: &mut Lab) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = lab.start(Server::builder().workers(1));
    let (told, failed) = channel();
    let connector = Connector::addr(listener.local_addr().unwrap(), codec())
        .reconnect(Reconnect::Backoff { min: SECOND / 1000, max: SECOND / 1000 })
        .on_failure(move |_, attempt| {
            told.send(attempt.number).unwrap();
            if attempt.number < 3 { Retry::After(Duration::ZERO) } else { Retry::GiveUp }
        });
    server.connect(connector, |_| Ok(Probe::new(channel().0, |_, _| Ok(())))).unwrap();
    let (mut peer, _) = listener.accept().unwrap();
    drop(listener);
    peer.shutdown(std::net::Shutdown::Write).unwrap();
    let _ = peer.read(&mut [0]); // its end
    for number in 1..=3 {
        assert_eq!(lab.recv(&failed), number);
    }
}

#[test]
fn limits_of_a_connector_bring_no_deadline_for_the_first_byte() {
    simulated(|lab| {
        let (target, _) = lab.serve(Limits::new().first_byte(Duration::ZERO), || {
            |_: &mut Ctx<'_, Probe>, _: &Event| Ok(())
        });
        let to = target.local_addrs()[0].socket_addr().unwrap();
        let server = lab.start(Server::builder().workers(1));
        let connector = Connector::addr(to, codec()).limits(Limits::new().idle(Duration::ZERO));
        server.connect(connector, |_| Ok(Probe::new(channel().0, |_, _| Ok(())))).unwrap();
        lab.pass(100 * SECOND);
        assert_eq!(server.connection_count(), 1);
    });
}

/// Counts warnings.
struct Warnings(Arc<AtomicUsize>);

impl tracing::Subscriber for Warnings {
    fn enabled(&self, meta: &tracing::Metadata<'_>) -> bool {
        *meta.level() <= Level::WARN && meta.target().starts_with("longshore")
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {
        self.0.fetch_add(1, SeqCst);
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

#[test]
fn a_server_of_many_workers_logs_ten_lines_of_a_kind_a_second() {
    let lines = Arc::new(AtomicUsize::new(0));
    tracing::subscriber::with_default(Warnings(Arc::clone(&lines)), || {
        let mut net = Net::seed(5);
        let addr = net.addr();
        let factory = |_: &longshore::Peer<'_>| Ok(Probe::new(channel().0, |_, _| Ok(())));
        let builder = Server::builder().listen(Listener::addr(addr, codec()), factory).workers(4);
        let server = net.start(builder).unwrap();
        let mut peers: Vec<_> = (0..60).map(|_| net.connect(addr, Raw::new())).collect();
        net.run_for(SECOND);
        for peer in &mut peers {
            peer.send_bytes(&[255; 4]);
        }
        net.run_for(20 * SECOND);
        assert_eq!(server.snapshot().disconnects().map(|(_, count)| count).sum::<u64>(), 60);
        server.drain();
        net.run_for(SECOND);
    });
    // The second of the log is not that of the test: it may begin in between.
    let lines = lines.load(SeqCst);
    assert!((10..=20).contains(&lines), "{lines} lines");
}

fn answers_that_a_filter_drops_stop_nobody(lab: &mut Lab) {
    let limits = Limits::new().send_queue_bytes(3 * PONG as u64).slow_reader(SlowReader::Refuse);
    let listener = Listener::addr(lab.addr(), Pings).limits(limits);
    let listener = listener.filter(|| Box::new(crate::filters::Mute));
    let server = lab.start(Server::builder().listen(listener, |_| Ok(Dot)).workers(1));
    let mut peer = lab.connect(&server);
    peer.send(&[b'p'; 30]);
    peer.send(b".");
    lab.read_to_end(&mut peer);
    assert_eq!(server.snapshot().messages_in, 1);
}
