//! Code of the user's that runs outside of callbacks: log subscribers, texts of errors, drops.

use crate::net::{Event, Lab, Probe, codec, on_every_port, on_real_ports};
use longshore::testing::Net;
use longshore::*;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::channel;
use std::time::Duration;
use tracing::span;

const SECOND: Duration = Duration::from_secs(1);

/// Panics at every event.
struct Broken(Arc<AtomicUsize>);

impl tracing::Subscriber for Broken {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        if event.metadata().target().starts_with("longshore") {
            self.0.fetch_add(1, SeqCst);
            panic!("a subscriber");
        }
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

#[test]
fn a_subscriber_that_panics_costs_its_lines_and_nothing_else() {
    let told = Arc::new(AtomicUsize::new(0));
    tracing::subscriber::with_default(Broken(Arc::clone(&told)), || {
        let mut net = Net::seed(3);
        let addr = net.addr();
        let builder = Server::builder()
            .listen(Listener::addr(addr, Lines::max(10)), |_| Ok(Shout))
            .workers(2)
            .connections(2);
        let server = net.start(builder).unwrap();
        let mut bad = net.connect(addr, Raw::max(100));
        bad.send(&[b'x'; 100]);
        let _too_many = [(); 2].map(|()| net.connect(addr, Lines::max(10)));
        net.run_for(SECOND);
        assert!(bad.is_closed());
        let mut good = net.connect(addr, Lines::max(10));
        good.send("served");
        net.run_for(20 * SECOND);
        assert_eq!(good.received(), Vec::<String>::new(), "no place for it");
        let mut good = net.connect(addr, Lines::max(10));
        good.send("served");
        net.run_for(SECOND);
        assert_eq!(good.received(), ["SERVED"]);
        server.drain();
        assert!(net.run_until(100 * SECOND, |net| net.running_workers() == 0));
    });
    assert!(told.load(SeqCst) >= 3, "{told:?}");
}

struct Shout;

impl Handler for Shout {
    type Codec = Lines;

    fn on_message(&mut self, cx: &mut Ctx<'_, Self>, line: &str) -> Result {
        cx.send(&line.to_uppercase())
    }
}

/// Panics when it is shown, and when it is dropped.
#[derive(Debug)]
struct Bomb;

impl fmt::Display for Bomb {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("a text");
    }
}

impl std::error::Error for Bomb {}

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "a drop");
    }
}

on_every_port! {
    an_error_that_panics_when_it_is_shown_or_dropped_ends_its_connection_only,
    what_closures_hold_may_panic_when_it_is_dropped,
}

on_real_ports! {
    waiting_for_the_own_server_is_an_error,
}

fn an_error_that_panics_when_it_is_shown_or_dropped_ends_its_connection_only(lab: &mut Lab) {
    let script = || {
        |cx: &mut Ctx<'_, Probe>, event: &Event| match event {
            Event::Message(frame) if frame == b"fail" => Err(Bomb.into()),
            Event::Message(frame) if frame == b"panic" => std::panic::panic_any(Bomb),
            // The second reason is not told: it is dropped at once.
            Event::Message(frame) if frame == b"twice" => {
                cx.close();
                Err(Bomb.into())
            }
            Event::Message(frame) => cx.send(frame),
            _ => Ok(()),
        }
    };
    let (server, events) = lab.serve(Limits::new().first_byte(Duration::ZERO), script);
    let mut other = lab.connect(&server);
    lab.next(&events).conn();
    for word in [&b"fail"[..], b"panic", b"twice"] {
        let mut peer = lab.connect(&server);
        lab.next(&events).conn();
        peer.say(word);
        peer.finish();
        lab.read_to_end(&mut peer);
        let ended = lab.end_of(&events);
        let wanted = match word {
            b"fail" => "handler: an error that panics when it is to be shown: a text",
            b"panic" => "handler panicked: (no text)",
            _ => "closed by this side",
        };
        assert_eq!(ended.why, wanted);
    }
    other.say(b"still here");
    assert_eq!(lab.hear(&mut other), b"still here");
}

fn what_closures_hold_may_panic_when_it_is_dropped(lab: &mut Lab) {
    let (told, failed) = channel();
    let (factory, tick, filter) = (Bomb, Bomb, Bomb);
    let listener = Listener::addr(lab.addr(), codec()).filter(move || {
        let _held = &filter;
        Box::new(Plain(Bomb))
    });
    let builder = Server::builder()
        .workers(1)
        .listen(listener, move |_| {
            let _held = &factory;
            Ok(Probe::new(channel().0, |_, _| Ok(())))
        })
        .every(SECOND, move |_, _| {
            let _held = &tick;
        });
    let server = lab.start(builder);
    let (make, ask) = (Bomb, Bomb);
    let nowhere = Connector::tcp("nowhere.invalid:1", codec()).on_failure(move |_, _| {
        let _held = &ask;
        let _ = told.send(());
        Retry::GiveUp
    });
    let factory = move |_: &longshore::Peer<'_>| -> Result<Probe, Reject> {
        let _held = &make;
        Err(Reject::silent())
    };
    server.connect(nowhere, factory).unwrap();
    lab.recv(&failed);
    let mut peer = lab.connect(&server);
    peer.finish();
    lab.read_to_end(&mut peer);
    // The lab stops the server, and looks how it ended.
}

/// Changes nothing.
struct Plain(Bomb);

impl Filter for Plain {
    fn handle_input(
        &mut self,
        input: &[u8],
        plain: &mut Vec<u8>,
        _: &mut Vec<u8>,
    ) -> Result<(), FrameError> {
        let Bomb = self.0;
        plain.extend_from_slice(input);
        Ok(())
    }

    fn handle_output(&mut self, plain: &[u8], wire: &mut Vec<u8>) -> Result<(), FrameError> {
        wire.extend_from_slice(plain);
        Ok(())
    }
}

fn waiting_for_the_own_server_is_an_error(lab: &mut Lab) {
    let script = || {
        |cx: &mut Ctx<'_, Probe>, event: &Event| match event {
            Event::Message(_) => {
                let error = cx.server().wait().unwrap_err().to_string();
                cx.send(error.as_bytes())
            }
            _ => Ok(()),
        }
    };
    let (server, _events) = lab.serve(Limits::new(), script);
    let mut peer = lab.connect(&server);
    peer.say(b"wait");
    let answer = lab.hear(&mut peer);
    let text = String::from_utf8_lossy(&answer);
    assert!(text.starts_with("Server::wait was called on a thread of that server"), "{text}");
}
