//! R55: anything may be asked for in any callback, and nothing waits for itself.

use crate::net::{Event, Events, Lab, Probe, codec, echo, frame, on_every_port, some_file};
use longshore::*;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

on_every_port! {
    anything_may_be_asked_for_in_any_callback,
    anything_that_a_handle_can_may_be_asked_for_where_there_is_no_context,
}

/// What there is to ask something of: another connection, groups, owners.
#[derive(Clone)]
struct Things {
    other: Conn<Probe>,
    group: Group<LengthDelimited>,
    groups: Groups<u32, LengthDelimited>,
    owners: Owners<u32, Probe>,
}

/// What a callback asks of its own connection.
type Call = fn(&mut Ctx<'_, Probe>, &Things);

#[rustfmt::skip]
const CALLS: &[(&str, Call)] = &[
    ("send", |cx, _| { let _ = cx.send(b"x"); }),
    ("send_tracked", |cx, _| { let _ = cx.send_tracked(b"x", 7); }),
    ("send_latest", |cx, _| { let _ = cx.send_latest(1, b"x"); }),
    ("send_encoded", |cx, _| { let _ = cx.send_encoded(frame(b"x").into()); }),
    ("send_file", |cx, _| { let _ = cx.send_file(&some_file(), ..); }),
    ("offer_file", |cx, _| { let _ = cx.offer_file(&some_file(), &some_name()); }),
    ("list_files", |cx, _| { let _ = cx.list_files(None); }),
    ("cancel_file, hold_file", |cx, _| {
        let id = cx.send_file(&some_file(), ..).ok();
        id.map(|id| (cx.cancel_file(id, "no"), cx.hold_file(id, true), cx.restart_file(id)));
    }),
    ("send_to another", |cx, it| { let _ = cx.send_to(&it.other, b"x"); }),
    ("send_to itself", |cx, _| { let _ = cx.send_to(&cx.conn(), b"x"); }),
    ("post to itself", |cx, _| { let _ = cx.conn().post(|_, cx| cx.send(b"x")); }),
    ("set_timer", |cx, _| { let _ = cx.set_timer(Timer(9), Duration::ZERO); }),
    ("set_idle", |cx, _| cx.set_idle(Duration::from_secs(100))),
    ("pause, resume", |cx, _| { cx.pause(); cx.resume(); }),
    ("measure_link", |cx, _| cx.measure_link()),
    ("admit", |cx, _| cx.admit()),
    ("info", |cx, _| { let _ = cx.info(); }),
    ("connect", |cx, _| {
        let nowhere = Connector::tcp("127.0.0.1:1", codec());
        drop(cx.connect(nowhere, |_| Ok(Probe::new(channel().0, echo()))));
    }),
    ("join", |cx, it| assert!(it.group.join(&cx.conn()) || cx.conn().is_closed())),
    ("leave", |cx, it| it.group.leave(&cx.conn())),
    ("join by key", |cx, it| { let _ = it.groups.join(1_u32, &cx.conn()); }),
    ("claim", |cx, it| { let _ = it.owners.claim(1_u32, &cx.conn()); }),
    ("release", |cx, it| { let _ = it.owners.release(&1, &cx.conn()); }),
    ("close", |cx, _| cx.close()),
    ("close_because", |cx, _| cx.close_because("said")),
    ("abort", |cx, _| cx.abort()),
    ("close by a handle", |cx, _| cx.conn().close()),
    ("close by name", |cx, _| { let _ = cx.server().close(cx.id()); }),
];

/// What anybody asks for, without a context.
type Ask = fn(&Server, &Things);

#[rustfmt::skip]
const ASKS: &[(&str, Ask)] = &[
    ("send", |_, it| { let _ = it.other.send(b"x"); }),
    ("send_latest", |_, it| { let _ = it.other.send_latest(1, b"x"); }),
    ("send without a type", |_, it| { let _ = it.other.any().send_encoded(frame(b"x").into()); }),
    ("post", |_, it| { let _ = it.other.post(|_, cx| cx.send(b"x")); }),
    ("pause, resume", |_, it| { it.other.pause(); it.other.resume(); }),
    ("measure_link, admit", |_, it| { it.other.measure_link(); it.other.admit(); }),
    ("info", |_, it| { let _ = it.other.info(); }),
    ("broadcast", |_, it| { let _ = it.group.broadcast(b"x").unwrap(); }),
    ("broadcast_latest", |_, it| { let _ = it.group.broadcast_latest(1, b"x").unwrap(); }),
    ("join and leave", |_, it| { it.group.join(&it.other); it.group.leave(&it.other); }),
    ("broadcast by key", |_, it| { let _ = it.groups.broadcast(&1, b"x").unwrap(); }),
    ("groups", |_, it| { drop(it.groups.list()); it.groups.leave(&2, &it.other); }),
    ("owners", |_, it| { drop(it.owners.send(&1, b"x")); drop(it.owners.keys()); }),
    ("claim for another", |_, it| { let _ = it.owners.claim(2_u32, &it.other); }),
    ("kick", |_, it| { let _ = it.owners.kick(&1, "matrix"); }),
    ("snapshot", |server, _| { let _ = (server.snapshot(), server.connections()); }),
    ("conn by name", |server, it| { let _ = server.conn::<Probe>(it.other.id()); }),
    ("wait", |server, _| { let _ = server.wait(); }), // it would wait for itself, and says so
];

fn some_name() -> FileName {
    FileName::parse("a").unwrap()
}

/// How a callback comes about: what the connection does first, and which event that brings.
fn is_it(what: &str, event: &Event) -> bool {
    match what {
        "on_connect" => matches!(event, Event::Connect(_)),
        "on_message" => event.is_message(b"message"),
        "on_idle" => matches!(event, Event::Idle),
        "on_timer" => matches!(event, Event::Timer(1)),
        "on_sent" => matches!(event, Event::Sent(1)),
        "on_file" => matches!(event, Event::File(_)),
        "on_writable" => matches!(event, Event::Writable),
        _ => unreachable!("{what}"),
    }
}

const CALLBACKS: [&str; 8] = [
    "on_connect",
    "on_message",
    "on_idle",
    "on_timer",
    "on_sent",
    "on_file",
    "on_writable",
    "a post",
];

/// Lets `what` come to be called, in a connection that has been told to.
fn begin(what: &str, cx: &mut Ctx<'_, Probe>, run: &Arc<Mutex<Option<Run>>>) -> Result {
    match what {
        "on_timer" => cx.set_timer(Timer(1), Duration::from_millis(1))?,
        "on_sent" => cx.send_tracked(b"tracked", 1)?,
        "on_file" => drop(cx.send_file(&some_file(), ..)?),
        "on_idle" => cx.set_idle(Duration::from_millis(20)),
        "on_writable" => while cx.try_send(&[0; 400]).is_ok() {},
        "a post" => {
            let run = Arc::clone(run);
            let _ = cx.conn().post(move |_, cx| {
                let run = run.lock().unwrap().take();
                if let Some(run) = run {
                    run(cx);
                }
                Ok(())
            });
        }
        _ => {}
    }
    Ok(())
}

type Run = Box<dyn FnOnce(&mut Ctx<'_, Probe>) + Send>;

/// A server that runs something once in the callback that it is for. Its first two connections only
/// echo.
fn serve(
    lab: &mut Lab,
    what: &'static str,
    run: &Arc<Mutex<Option<Run>>>,
) -> (Server, std::net::SocketAddr, Events) {
    let (told, events) = channel();
    let (run, count) = (Arc::clone(run), AtomicUsize::new(0));
    let factory = move |_: &longshore::Peer<'_>| {
        let only_echoes = count.fetch_add(1, Ordering::Relaxed) < 2;
        let (run, mut echo, mut first) = (Arc::clone(&run), echo(), true);
        Ok(Probe::new(told.clone(), move |cx, event| {
            let armed = !only_echoes && run.lock().unwrap().is_some();
            if armed && what != "a post" && is_it(what, event) {
                let run = run.lock().unwrap().take();
                if let Some(run) = run {
                    run(cx);
                }
                return Ok(());
            }
            if armed && std::mem::take(&mut first) {
                begin(what, cx, &run)?;
            }
            echo(cx, event)
        }))
    };
    let limits = Limits::new().first_byte(Duration::ZERO).slow_reader(SlowReader::Refuse);
    let limits = limits.send_queue_bytes(1024).linger(Linger::default().wait(Duration::ZERO));
    let listener = Listener::addr(lab.addr(), LengthDelimited::u32_be(500)).limits(limits);
    let server = lab.start(Server::builder().listen(listener, factory).workers(2));
    let Addr::Ip(addr) = server.local_addrs()[0] else { unreachable!("over IP") };
    (server, addr, Events(events))
}

/// Runs each of `count` things in the callback `what`, each in a connection of its own; after each the
/// others are served as before.
fn in_callback(
    lab: &mut Lab,
    what: &'static str,
    count: usize,
    thing: impl Fn(usize, &Things) -> (&'static str, Run),
) {
    let run: Arc<Mutex<Option<Run>>> = Arc::default();
    let (server, addr, events) = serve(lab, what, &run);
    let (mut one, mut two) = (lab.connect(&server), lab.connect(&server));
    let things = Things {
        other: lab.next(&events).conn(),
        group: Group::new(LengthDelimited::u32_be(500)),
        groups: Groups::new(LengthDelimited::u32_be(500)),
        owners: Owners::new(OnDuplicate::Allow(usize::MAX)),
    };
    assert!(things.group.join(&lab.next(&events).conn()));
    for at in 0..count {
        let (name, act) = thing(at, &things);
        let (ran, has_run) = channel();
        *run.lock().unwrap() = Some(Box::new(move |cx| {
            act(cx);
            ran.send(()).unwrap();
        }));
        let mut peer = lab.connect_to(addr);
        peer.send_perhaps(&frame(b"message"));
        lab.recv(&has_run);
        for peer in [&mut one, &mut two] {
            peer.say(b"and then");
            while lab.hear(peer) != b"and then" {} // what was sent to all comes before
        }
        assert_eq!(server.snapshot().panics, 0, "{name} in {what}");
        drop(peer);
    }
}

fn anything_may_be_asked_for_in_any_callback(lab: &mut Lab) {
    for what in CALLBACKS {
        in_callback(lab, what, CALLS.len(), |at, things| {
            let ((name, call), things) = (CALLS[at], things.clone());
            (name, Box::new(move |cx| call(cx, &things)))
        });
    }
}

fn anything_that_a_handle_can_may_be_asked_for_where_there_is_no_context(lab: &mut Lab) {
    for what in CALLBACKS {
        in_callback(lab, what, ASKS.len(), |at, things| {
            let ((name, ask), things) = (ASKS[at], things.clone());
            (name, Box::new(move |cx| ask(&cx.server().clone(), &things)))
        });
    }
}
