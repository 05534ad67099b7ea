//! Threads of a server: what runs first on them, and who keeps them from going on.

use crate::net::{Lab, codec, on_real_ports};
use longshore::testing::Net;
use longshore::*;
use std::collections::BTreeSet;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;
use tracing::field::{Field, Visit};
use tracing::span;

on_real_ports! {
    a_hook_runs_first_on_each_thread,
    a_hook_that_panics_lets_the_start_fail,
    a_slow_callback_is_counted_and_named,
    who_is_not_watched_is_not_named,
    who_was_waited_for_is_not_named,
    what_is_slow_beside_a_handler_is_named,
}

fn local() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

/// S152
fn a_hook_runs_first_on_each_thread(lab: &mut Lab) {
    let (tell, told) = channel();
    let made = Mutex::new(tell.clone());
    let hook = Mutex::new(tell);
    let listener = Listener::addr(local(), codec());
    let builder = Server::builder()
        .workers(2)
        .listen(listener, move |_| {
            let name = thread::current().name().unwrap_or_default().to_owned();
            made.lock().unwrap().send((name, None)).unwrap();
            Err::<Quick, _>(Reject::silent())
        })
        .on_thread_start(move |thread| {
            let name = thread::current().name().unwrap_or_default().to_owned();
            hook.lock().unwrap().send((name, Some(thread))).unwrap();
        });
    let server = lab.start(builder);
    let seen: Vec<_> = (0..3).map(|_| told.recv().unwrap()).collect();
    for (name, thread) in &seen {
        let thread = thread.expect("before anything else");
        assert_eq!(*name, format!("longshore-{}", thread.number));
        assert_eq!(thread.handles, thread.number < 2);
    }
    assert_eq!(seen.iter().map(|(name, _)| name).collect::<BTreeSet<_>>().len(), 3);
    let _peer = lab.connect(&server);
    let (name, thread) = told.recv().unwrap();
    assert_eq!(thread, None);
    assert!(seen.iter().any(|(seen, _)| *seen == name), "{name}: a thread without its hook");
}

fn a_hook_that_panics_lets_the_start_fail(lab: &mut Lab) {
    let builder = Server::builder().workers(2).on_thread_start(|thread| {
        assert_eq!(thread.number, 0, "planned");
    });
    let failed = lab.try_start(builder).unwrap_err();
    assert!(failed.to_string().contains("panicked"), "{failed}");
    lab.start(Server::builder().on_thread_start(|_| {})); // and nothing is in the way of the next
}

struct Quick;

impl Handler for Quick {
    type Codec = LengthDelimited;

    fn on_message(&mut self, _: &mut Ctx<'_, Self>, _: &[u8]) -> Result {
        Ok(())
    }
}

/// Tells of what is logged as a warning on the threads that it is set for.
struct Warnings(Mutex<Sender<String>>);

impl tracing::Subscriber for Warnings {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::WARN
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        struct Message(String);
        impl Visit for Message {
            fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
                if field.name() == "message" {
                    self.0 = format!("{value:?}");
                }
            }
        }
        let mut message = Message(String::new());
        event.record(&mut message);
        let _ = self.0.lock().unwrap().send(message.0);
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// Serves sleepers, which do so where they are told to; gives what is logged as a warning.
fn serve_sleepers(lab: &mut Lab, slow_callback: Duration) -> (Server, Receiver<String>) {
    let (tell, warnings) = channel();
    let tell = Mutex::new(tell);
    let builder = Server::builder()
        .workers(1)
        .slow_callback(slow_callback)
        .on_thread_start(move |_| {
            let warnings = Warnings(Mutex::new(tell.lock().unwrap().clone()));
            std::mem::forget(tracing::subscriber::set_default(warnings)); // for good
        })
        .listen(Listener::addr(local(), codec()), |_| Ok(Sleeper));
    (lab.start(builder), warnings)
}

const SLOW: Duration = Duration::from_millis(150);

/// Sleeps in the callback that it is told to sleep in.
struct Sleeper;

impl Handler for Sleeper {
    type Codec = LengthDelimited;

    fn on_message(&mut self, cx: &mut Ctx<'_, Self>, frame: &[u8]) -> Result {
        match frame {
            b"message" => thread::sleep(SLOW),
            b"timer" => return Ok(cx.set_timer(Timer(1), Duration::ZERO)?),
            b"sent" => return cx.send_tracked(b"done", 1),
            b"bye" => return Err(Error::msg("bye")),
            _ => {}
        }
        cx.send(b"done")
    }

    fn on_timer(&mut self, cx: &mut Ctx<'_, Self>, _: Timer) -> Result {
        thread::sleep(SLOW);
        cx.send(b"done")
    }

    fn on_sent(&mut self, _: &mut Ctx<'_, Self>, _: u64) -> Result {
        thread::sleep(SLOW);
        Ok(())
    }

    fn on_disconnect(self, _: &Closed<'_>) {
        thread::sleep(SLOW);
    }
}

/// R57, the part that names it. How long it took is at least what it slept, whatever the machine.
fn a_slow_callback_is_counted_and_named(lab: &mut Lab) {
    let (server, warnings) = serve_sleepers(lab, Duration::from_millis(100));
    let mut others: Vec<_> = (0..3).map(|_| lab.connect(&server)).collect();
    for peer in &mut others {
        peer.say(b"quick");
        assert_eq!(lab.hear(peer), b"done");
    }
    let mut peer = lab.connect(&server);
    for callback in ["message", "timer", "sent"] {
        peer.say(callback.as_bytes());
        assert_eq!(lab.hear(&mut peer), b"done");
        let line = lab.recv(&warnings);
        let named = format!("threads::Sleeper::on_{callback} took ");
        assert!(line.contains(&named), "{line}");
        assert!(line.contains("all 4 connections of worker 0 waited (slow_callback = 100ms"));
    }
    peer.say(b"bye");
    let lines: Vec<_> = (0..2).map(|_| lab.recv(&warnings)).collect();
    assert!(lines.iter().any(|line| line.contains("Sleeper::on_disconnect took ")), "{lines:?}");
    assert!(server.snapshot().slow_callbacks >= 4);
}

fn who_is_not_watched_is_not_named(lab: &mut Lab) {
    let (server, warnings) = serve_sleepers(lab, Duration::ZERO);
    let mut peer = lab.connect(&server);
    peer.say(b"message");
    assert_eq!(lab.hear(&mut peer), b"done");
    assert_eq!(server.snapshot().slow_callbacks, 0);
    assert!(warnings.try_recv().is_err());
}

fn who_was_waited_for_is_not_named(lab: &mut Lab) {
    let (server, warnings) = serve_sleepers(lab, Duration::from_millis(100));
    let mut peer = lab.connect(&server);
    for _ in 0..3 {
        peer.say(b"quick");
        assert_eq!(lab.hear(&mut peer), b"done");
        thread::sleep(SLOW); // the worker does so too, in its port
    }
    assert_eq!(warnings.try_recv().ok(), None);
}

/// Sends more than fits on the way, and closes.
struct Generous;

impl Handler for Generous {
    type Codec = LengthDelimited;

    fn on_message(&mut self, cx: &mut Ctx<'_, Self>, _: &[u8]) -> Result {
        cx.send(&vec![0; 1 << 20])?;
        cx.close();
        Ok(())
    }
}

#[test]
fn what_a_limit_cuts_short_of_a_close_is_told() {
    let (tell, warnings) = channel();
    tracing::subscriber::with_default(Warnings(Mutex::new(tell)), || {
        let mut net = Net::seed(1);
        let addr = net.addr();
        let limits = Limits::new().write(Duration::from_secs(2));
        let listener = Listener::addr(addr, LengthDelimited::u32_be(1 << 20)).limits(limits);
        net.start(Server::builder().workers(1).listen(listener, |_| Ok(Generous))).unwrap();
        let mut peer = net.connect(addr, LengthDelimited::u32_be(1 << 20));
        peer.set_reading(false);
        peer.send(b"go");
        net.run_for(Duration::from_secs(10));
    });
    let line = warnings.recv().unwrap();
    assert!(line.contains("is cut short, and what was queued is lost: "), "{line}");
    assert!(line.contains("(limits.write = 2s"), "{line}");
}

/// What else of the user's runs on a worker: a tick, a factory, what is asked after a failure.
fn what_is_slow_beside_a_handler_is_named(lab: &mut Lab) {
    let (tell, warnings) = channel();
    let tell = Mutex::new(tell);
    let mut slept = false;
    let builder = Server::builder()
        .workers(1)
        .on_thread_start(move |_| {
            let warnings = Warnings(Mutex::new(tell.lock().unwrap().clone()));
            std::mem::forget(tracing::subscriber::set_default(warnings)); // for good
        })
        .every(Duration::from_millis(1), move |_, _| {
            if !std::mem::replace(&mut slept, true) {
                thread::sleep(SLOW);
            }
        })
        .listen(Listener::addr(local(), codec()), |_| {
            thread::sleep(SLOW);
            Ok(Quick)
        });
    let server = lab.start(builder);
    let line = lab.recv(&warnings);
    assert!(line.contains("Builder::every took "), "{line}");
    let _peer = lab.connect(&server);
    let line = lab.recv(&warnings);
    assert!(line.contains("threads::Quick::factory took "), "{line}");
    let nowhere = std::net::TcpListener::bind(local()).unwrap().local_addr().unwrap();
    let connector = Connector::addr(nowhere, codec()).on_failure(|_, _| {
        thread::sleep(SLOW);
        Retry::GiveUp
    });
    server.connect(connector, |_| Ok(Quick)).unwrap();
    let line = lab.recv(&warnings);
    assert!(line.contains("Connector::on_failure took "), "{line}");
    assert!(server.snapshot().slow_callbacks >= 3);
}
