//! Floods: who has a connection is served while others come, send and push.

use crate::net::{Event, Lab, Peer, Probe, codec, on_every_port, on_real_ports, wait_until};
use longshore::{Conn, Ctx, Limits, Listener, Sent, Server, SlowReader, Timer};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::channel;
use std::thread::ScopedJoinHandle;

on_every_port! {
    handles_of_all_threads_together_keep_to_the_bound_of_the_queue,
}

on_real_ports! {
    a_flood_of_connects_leaves_room_for_those_who_are_in,
}

fn a_flood_of_connects_leaves_room_for_those_who_are_in(lab: &mut Lab) {
    const FLOOD: usize = 200;
    let connects = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
    let (blocked, counted) = (Arc::new(AtomicBool::new(false)), Arc::clone(&connects));
    let blocks = Arc::clone(&blocked);
    let (told, _events) = channel();
    let factory = move |_: &longshore::Peer<'_>| {
        let (connects, blocked) = (Arc::clone(&counted), Arc::clone(&blocks));
        let script = move |cx: &mut Ctx<'_, Probe>, event: &Event| {
            let worker = usize::try_from(cx.id().to_bits() >> 48).unwrap();
            let count = || connects[worker].load(SeqCst).to_string();
            match event {
                Event::Connect(_) => drop(connects[worker].fetch_add(1, SeqCst)),
                Event::Message(frame) if frame == b"where" => cx.send(&[worker as u8])?,
                Event::Message(frame) if frame == b"block" => {
                    // Until all are accepted, and wait for this worker and the other one.
                    blocked.store(true, SeqCst);
                    let server = cx.server().clone();
                    wait_until(|| server.snapshot().accepted == (3 + FLOOD) as u64);
                    cx.send(count().as_bytes())?;
                }
                Event::Message(_) => cx.send(count().as_bytes())?,
                _ => {}
            }
            Ok(())
        };
        Ok(Probe::new(told.clone(), script))
    };
    let addr = lab.addr();
    let listener = Listener::addr(addr, codec());
    let server = lab.start(Server::builder().listen(listener, factory).workers(2));
    let mut peers: Vec<_> = (0..3).map(|_| lab.connect(&server)).collect();
    let workers: Vec<_> = peers.iter_mut().map(|peer| ask(lab, peer, b"where")).collect();
    let same = usize::from(workers[0] != workers[2]); // of three, two are of one worker
    let asks = if workers[same] == workers[2] { 2 } else { 1 - same };
    peers[same].say(b"block");
    wait_until(|| blocked.load(SeqCst));
    peers[asks].say(b"question");
    let _flood: Vec<_> = (0..FLOOD).map(|_| lab.connect(&server)).collect();
    let number = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().parse::<usize>().unwrap();
    let before = number(lab.hear(&mut peers[same]));
    let after = number(lab.hear(&mut peers[asks]));
    assert!(after - before <= FLOOD / 4, "{} went before who waited longer", after - before);
}

/// Says something and hears the answer.
fn ask(lab: &mut Lab, peer: &mut Peer, question: &[u8]) -> Vec<u8> {
    peer.say(question);
    lab.hear(peer)
}

/// What is in the mailbox, and what the worker takes out of it in the middle of a callback, counts
/// all the time.
fn handles_of_all_threads_together_keep_to_the_bound_of_the_queue(lab: &mut Lab) {
    const BOUND: u64 = 2 << 20;
    const MESSAGE: usize = 50_000;
    let spam = |conn: &Conn<Probe>| {
        let message = vec![7; MESSAGE];
        let sends = (0..100).map(|_| conn.send(&message));
        sends.filter(|sent| *sent == Sent::Queued).count()
    };
    let script = move || {
        move |cx: &mut Ctx<'_, Probe>, event: &Event| {
            if let Event::Message(_) = event {
                let conn = cx.conn();
                let queued = std::thread::scope(|scope| {
                    let threads = [(); 2].map(|()| scope.spawn(|| spam(&conn)));
                    while !threads.iter().all(ScopedJoinHandle::is_finished) {
                        cx.clear_timer(Timer(1));
                        cx.resume(); // looks into the mailbox
                    }
                    threads.map(|thread| thread.join().unwrap()).iter().sum::<usize>()
                });
                let (own, bytes) = (cx.try_send(&[0; 4]).is_ok(), queued * (MESSAGE + 4));
                assert!(bytes as u64 <= BOUND, "{bytes} bytes were queued");
                assert!(bytes as u64 > BOUND - 2 * MESSAGE as u64, "only {bytes} were");
                assert!(own && cx.queued_bytes() <= BOUND, "{own}: {}", cx.queued_bytes());
                assert_eq!(cx.queued_bytes(), conn.queued_bytes());
                conn.close();
            }
            Ok(())
        }
    };
    let limits = Limits::new().send_queue_bytes(BOUND).slow_reader(SlowReader::Refuse);
    let (server, events) = lab.serve(limits, script);
    let mut peer = lab.connect(&server);
    peer.say(b"go");
    peer.finish();
    lab.read_to_end(&mut peer);
    assert_eq!(lab.end_of(&events).why, "closed by this side");
}
