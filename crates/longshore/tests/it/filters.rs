//! Filters with a handshake and a good-bye of their own, on both sides of a connection.

use crate::net::{Event, Events, Lab, Probe, codec, echo, frame, on_every_port};
use longshore::*;
use std::sync::mpsc::channel;

on_every_port! {
    nothing_is_said_before_the_handshake_and_good_bye_is_the_last_word,
    the_peers_good_bye_is_the_end_of_the_stream,
    an_end_without_a_good_bye_is_an_error,
    a_close_waits_for_the_handshake,
    what_a_filter_keeps_counts_against_the_bound,
    a_connector_has_a_filter_too,
    each_word_of_a_filter_may_fail,
    half_a_record_has_the_time_of_a_frame,
    a_reply_of_what_was_dropped_is_told,
    what_a_filter_drops_makes_room_for_handles,
    a_handshake_goes_on_over_a_full_queue,
    a_refused_connection_drops_its_filter_with_care,
    an_alert_is_the_last_word_of_a_filter_that_failed,
    what_comes_behind_a_good_bye_is_not_looked_at,
}

/// Records: a kind, a length of two bytes, and that many bytes.
const HELLO: u8 = b'h';
const DATA: u8 = b'd';
const BYE: u8 = b'b';

fn record(kind: u8, bytes: &[u8]) -> Vec<u8> {
    let len = u16::try_from(bytes.len()).unwrap();
    [&[kind], &len.to_be_bytes()[..], bytes].concat()
}

/// Sends nothing before the other side's hello has come, and says good-bye.
#[derive(Default)]
struct Polite {
    /// It speaks first.
    client: bool,
    greeted: bool,
    ended: bool,
    torn: Vec<u8>,
    kept: Vec<u8>,
    fails: Option<&'static str>,
}

impl Polite {
    fn fail(&self, at: &str) -> core::result::Result<(), FrameError> {
        if self.fails == Some(at) { Err(FrameError::invalid(at)) } else { Ok(()) }
    }
}

fn data(plain: &[u8], wire: &mut Vec<u8>) {
    for piece in plain.chunks(60_000) {
        wire.extend(record(DATA, piece));
    }
}

impl Filter for Polite {
    fn handle_start(&mut self, wire: &mut Vec<u8>) -> core::result::Result<(), FrameError> {
        if self.client {
            wire.extend(record(HELLO, b"client"));
        }
        self.fail("start")
    }

    fn handle_input(
        &mut self,
        input: &[u8],
        plain: &mut Vec<u8>,
        reply: &mut Vec<u8>,
    ) -> core::result::Result<(), FrameError> {
        self.torn.extend_from_slice(input);
        while let [kind, high, low, rest @ ..] = &self.torn[..] {
            let len = usize::from(u16::from_be_bytes([*high, *low]));
            let Some(bytes) = rest.get(..len) else { break };
            match *kind {
                HELLO => {
                    self.greeted = true;
                    if !self.client {
                        reply.extend(record(HELLO, b"server"));
                    }
                    data(&std::mem::take(&mut self.kept), reply);
                }
                DATA => plain.extend_from_slice(bytes),
                _ => {
                    self.ended = true;
                    return Ok(());
                }
            }
            self.torn.drain(..3 + len);
        }
        Ok(())
    }

    fn handle_output(
        &mut self,
        plain: &[u8],
        wire: &mut Vec<u8>,
    ) -> core::result::Result<(), FrameError> {
        if self.greeted {
            data(plain, wire);
        } else {
            self.kept.extend_from_slice(plain);
        }
        self.fail("output")
    }

    fn held_bytes(&self) -> usize {
        self.kept.len()
    }

    fn is_torn(&self) -> bool {
        !self.torn.is_empty()
    }

    fn has_ended(&self) -> bool {
        self.ended
    }

    fn handle_close(&mut self, wire: &mut Vec<u8>) -> core::result::Result<(), FrameError> {
        if self.kept.is_empty() {
            wire.extend(record(BYE, b""));
        }
        self.fail("close")
    }

    fn handle_end(&mut self) -> core::result::Result<(), FrameError> {
        assert!(!self.ended, "nobody asks who has said it");
        Err(FrameError::invalid("no good-bye"))
    }
}

fn polite<F>(
    lab: &mut Lab,
    limits: Limits,
    fails: Option<&'static str>,
    script: impl Fn() -> F + Send + Sync + 'static,
) -> (Server, Events)
where
    F: FnMut(&mut Ctx<'_, Probe>, &Event) -> Result + Send + 'static,
{
    let (told, events) = channel();
    let listener = Listener::addr(lab.addr(), codec()).limits(limits);
    let listener = listener.filter(move || Box::new(Polite { fails, ..Polite::default() }));
    let factory = move |_: &Peer<'_>| Ok(Probe::new(told.clone(), script()));
    let server = lab.start(Server::builder().workers(1).listen(listener, factory));
    (server, Events(events))
}

/// Sends at once, answers messages, and closes at a word.
fn welcome() -> impl FnMut(&mut Ctx<'_, Probe>, &Event) -> Result + Send + 'static {
    |cx, event| match event {
        Event::Connect(_) => cx.send_tracked(b"welcome", 7),
        Event::Message(frame) if frame == b"quit" => {
            cx.send(b"so long")?;
            cx.close();
            Ok(())
        }
        Event::Message(frame) => cx.send(frame),
        _ => Ok(()),
    }
}

fn hello_from_the_server() -> Vec<u8> {
    record(HELLO, b"server")
}

fn nothing_is_said_before_the_handshake_and_good_bye_is_the_last_word(lab: &mut Lab) {
    let (server, events) = polite(lab, Limits::new(), None, welcome);
    let mut peer = lab.connect(&server);
    let conn = lab.next(&events).conn();
    peer.send(&record(HELLO, b"client")[..4]); // in two parts
    peer.send(&record(HELLO, b"client")[4..]);
    let greeting = [hello_from_the_server(), record(DATA, &frame(b"welcome"))].concat();
    assert_eq!(lab.read(&mut peer, greeting.len()), greeting);
    assert!(matches!(lab.next(&events), Event::Sent(7)));
    peer.send(&record(DATA, &frame(b"echo")));
    let answer = record(DATA, &frame(b"echo"));
    assert_eq!(lab.read(&mut peer, answer.len()), answer);
    peer.send(&record(DATA, &frame(b"quit")));
    let last = [record(DATA, &frame(b"so long")), record(BYE, b"")].concat();
    let (bytes, end) = lab.read_to_end(&mut peer);
    assert_eq!((bytes, end), (last, crate::net::End::Fin));
    peer.send(&record(BYE, b""));
    peer.finish();
    assert_eq!(lab.end_of(&events).reason, "local");
    assert_eq!(conn.queued_bytes(), 0);
}

fn the_peers_good_bye_is_the_end_of_the_stream(lab: &mut Lab) {
    let (server, events) = polite(lab, Limits::new(), None, echo);
    let mut peer = lab.connect(&server);
    let all = [
        record(HELLO, b"client"),
        record(DATA, &frame(b"last words")),
        record(BYE, b""),
        record(DATA, &frame(b"nobody hears this")),
    ];
    peer.send(&all.concat());
    let want =
        [hello_from_the_server(), record(DATA, &frame(b"last words")), record(BYE, b"")].concat();
    assert_eq!(lab.read_to_end(&mut peer), (want, crate::net::End::Fin), "what it said is lost");
    peer.finish();
    let ended = lab.end_of(&events);
    assert_eq!((ended.reason, ended.messages_in), ("peer_closed", 1));
}

fn an_end_without_a_good_bye_is_an_error(lab: &mut Lab) {
    let (server, events) = polite(lab, Limits::new(), None, echo);
    let mut peer = lab.connect(&server);
    peer.send(&record(HELLO, b"client"));
    peer.finish();
    let ended = lab.end_of(&events);
    assert_eq!(
        (ended.reason, ended.why.as_str()),
        ("protocol_error", "protocol error: no good-bye")
    );
}

fn a_close_waits_for_the_handshake(lab: &mut Lab) {
    let script = || {
        |cx: &mut Ctx<'_, Probe>, event: &Event| {
            if let Event::Connect(_) = event {
                cx.send(b"too early to say more")?;
                cx.close();
            }
            Ok(())
        }
    };
    let (server, events) = polite(lab, Limits::new(), None, script);
    let mut peer = lab.connect(&server);
    let _ = lab.next(&events).conn();
    peer.send(&[record(HELLO, b"client"), record(DATA, &frame(b"not heard"))].concat());
    let (bytes, end) = lab.read_to_end(&mut peer);
    let said = record(DATA, &frame(b"too early to say more"));
    let want = [hello_from_the_server(), said, record(BYE, b"")].concat();
    assert_eq!((bytes, end), (want, crate::net::End::Fin));
    peer.finish();
    let ended = lab.end_of(&events);
    assert_eq!((ended.reason, ended.messages_in), ("local", 0));
}

fn what_a_filter_keeps_counts_against_the_bound(lab: &mut Lab) {
    let script = || {
        |cx: &mut Ctx<'_, Probe>, event: &Event| {
            if let Event::Connect(_) | Event::Timer(_) = event {
                while cx.queued_bytes() < 2048 {
                    cx.send(&[7; 96])?;
                }
                cx.set_timer(Timer(1), std::time::Duration::from_millis(1))?;
            }
            if let Event::Timer(_) = event {
                // The filter has had all of it by now.
                assert!(cx.try_send(&[7; 2048]).is_err_and(|error| error == SendError::Full));
                cx.clear_timer(Timer(1));
            }
            Ok(())
        }
    };
    let limits = Limits::new().send_queue_bytes(4096).slow_reader(SlowReader::Refuse);
    let listener_codec = LengthDelimited::u32_be(2048);
    let (told, events) = channel();
    let listener = Listener::addr(lab.addr(), listener_codec).limits(limits);
    let listener = listener.filter(|| Box::new(Polite::default()));
    let factory = move |_: &Peer<'_>| Ok(Probe::new(told.clone(), script()));
    let server = lab.start(Server::builder().workers(1).listen(listener, factory));
    let events = Events(events);
    let mut peer = lab.connect(&server);
    lab.find(&events, |event| matches!(event, Event::Timer(_)).then_some(()));
    assert!((2048..4096).contains(&server.connections()[0].queued_bytes));
    peer.send(&record(HELLO, b"client"));
    lab.find(&events, |event| matches!(event, Event::Writable).then_some(()));
}

fn a_connector_has_a_filter_too(lab: &mut Lab) {
    let (server, served) = polite(lab, Limits::new(), None, echo);
    let addr = server.local_addrs()[0].socket_addr().unwrap();
    let client = || Box::new(Polite { client: true, ..Polite::default() }) as Box<dyn Filter>;
    let connector = Connector::addr(addr, codec()).filter(client);
    let (told, events) = channel();
    let script = || {
        let mut heard = 0;
        move |cx: &mut Ctx<'_, Probe>, event: &Event| match event {
            Event::Connect(_) => cx.send(&vec![3; 300_000]),
            Event::Message(frame) => {
                heard += frame.len();
                if heard == 600_000 {
                    cx.close();
                    return Ok(());
                }
                cx.send(frame)
            }
            _ => Ok(()),
        }
    };
    let clients = lab.start(Server::builder().workers(1));
    clients.connect(connector, move |_| Ok(Probe::new(told.clone(), script()))).unwrap();
    let events = Events(events);
    assert_eq!(lab.end_of(&events).reason, "local");
    let ended = lab.end_of(&served);
    assert_eq!((ended.reason, ended.messages_in), ("peer_closed", 2), "it heard the good-bye");
}

fn each_word_of_a_filter_may_fail(lab: &mut Lab) {
    for word in ["start", "output", "close"] {
        let (server, events) = polite(lab, Limits::new(), Some(word), welcome);
        let mut peer = lab.connect(&server);
        peer.send_perhaps(&[record(HELLO, b"client"), record(DATA, &frame(b"quit"))].concat());
        lab.read_to_end(&mut peer);
        let ended = lab.end_of(&events);
        let (reason, why) = match word {
            "close" => ("local", "closed by this side"), // the first reason counts
            _ => ("protocol_error", "protocol error: "),
        };
        assert!(ended.reason == reason && ended.why.starts_with(why), "{word}: {ended:?}");
        assert_eq!(server.snapshot().panics, 0);
    }
}

/// Half a hello, which would hold a place for ever; and not a whole one, after which nothing is owed.
fn half_a_record_has_the_time_of_a_frame(lab: &mut Lab) {
    let second = std::time::Duration::from_secs(1);
    let (server, events) = polite(lab, Limits::new().frame(3 * second), None, welcome);
    let mut whole = lab.connect(&server);
    whole.send(&record(HELLO, b"client"));
    let stays = lab.next(&events).conn();
    let mut half = lab.connect(&server);
    half.send(&record(HELLO, b"client")[..4]);
    let ended = lab.end_of(&events);
    assert_eq!(ended.reason, "frame_timeout");
    assert_ne!(ended.id, stays.id());
    // One that is torn, and then whole, is not late for ever.
    whole.send(&record(DATA, &frame(b"echo"))[..4]);
    crate::bounds::turns(lab, &server);
    whole.send(&record(DATA, &frame(b"echo"))[4..]);
    lab.find(&events, |event| event.is_message(b"echo").then_some(()));
    lab.pass(10 * second);
    assert!(!stays.is_closed());
}

/// Lets nothing out.
pub(crate) struct Mute;

impl Filter for Mute {
    fn handle_input(
        &mut self,
        input: &[u8],
        plain: &mut Vec<u8>,
        _: &mut Vec<u8>,
    ) -> core::result::Result<(), FrameError> {
        plain.extend_from_slice(input);
        Ok(())
    }

    fn handle_output(&mut self, _: &[u8], _: &mut Vec<u8>) -> core::result::Result<(), FrameError> {
        Ok(())
    }
}

fn a_reply_of_what_was_dropped_is_told(lab: &mut Lab) {
    let script = || {
        |cx: &mut Ctx<'_, Probe>, event: &Event| {
            if let Event::Connect(_) = event {
                cx.send_tracked(b"into the void", 5)?;
                while cx.try_send(b"and more").is_ok() {}
            }
            Ok(())
        }
    };
    let limits = Limits::new().send_queue_bytes(1024).slow_reader(SlowReader::Refuse);
    let (told, events) = channel();
    let listener = Listener::addr(lab.addr(), LengthDelimited::u32_be(64)).limits(limits);
    let listener = listener.filter(|| Box::new(Mute));
    let factory = move |_: &Peer<'_>| Ok(Probe::new(told.clone(), script()));
    let server = lab.start(Server::builder().workers(1).listen(listener, factory));
    let events = Events(events);
    let _peer = lab.connect(&server);
    let _ = lab.next(&events).conn();
    assert!(matches!(lab.next(&events), Event::Sent(5)));
    assert!(matches!(lab.next(&events), Event::Writable));
}

/// Keeps all until the second hello has come; answers the first.
#[derive(Default)]
struct TwoSteps {
    done: bool,
    kept: Vec<u8>,
}

impl Filter for TwoSteps {
    fn handle_input(
        &mut self,
        input: &[u8],
        _: &mut Vec<u8>,
        reply: &mut Vec<u8>,
    ) -> core::result::Result<(), FrameError> {
        for byte in input {
            match byte {
                b'1' => reply.extend_from_slice(&[b'H'; 100]),
                b'2' => {
                    self.done = true;
                    reply.append(&mut self.kept);
                }
                _ => {} // a long certificate
            }
        }
        Ok(())
    }

    fn handle_output(
        &mut self,
        plain: &[u8],
        wire: &mut Vec<u8>,
    ) -> core::result::Result<(), FrameError> {
        let to = if self.done { wire } else { &mut self.kept };
        to.extend_from_slice(plain);
        Ok(())
    }

    fn held_bytes(&self) -> usize {
        self.kept.len()
    }
}

fn a_handshake_goes_on_over_a_full_queue(lab: &mut Lab) {
    for policy in [SlowReader::Refuse, SlowReader::Disconnect] {
        goes_on_over_a_full_queue(lab, policy);
    }
}

fn goes_on_over_a_full_queue(lab: &mut Lab, policy: SlowReader) {
    let script = || {
        |cx: &mut Ctx<'_, Probe>, event: &Event| {
            if let Event::Connect(_) = event {
                for _ in 0..4096 / 64 {
                    cx.send(&[7; 60])?;
                }
            }
            Ok(())
        }
    };
    let limits = Limits::new().send_queue_bytes(4096).slow_reader(policy);
    let (told, events) = channel();
    let listener = Listener::addr(lab.addr(), LengthDelimited::u32_be(2048)).limits(limits);
    let listener = listener.filter(|| Box::new(TwoSteps::default()));
    let factory = move |_: &Peer<'_>| Ok(Probe::new(told.clone(), script()));
    let server = lab.start(Server::builder().workers(1).listen(listener, factory));
    let events = Events(events);
    let mut peer = lab.connect(&server);
    let _ = lab.next(&events).conn();
    peer.send(b"1");
    assert_eq!(lab.read(&mut peer, 100), [b'H'; 100]);
    for _ in 0..10 {
        peer.send(&vec![b'.'; 50_000]); // more than one receive brings
    }
    peer.send(b"2");
    assert_eq!(lab.read(&mut peer, 64)[4..], [7; 60]);
}

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("on purpose");
    }
}

impl Filter for Bomb {
    fn handle_input(
        &mut self,
        _: &[u8],
        _: &mut Vec<u8>,
        _: &mut Vec<u8>,
    ) -> core::result::Result<(), FrameError> {
        Ok(())
    }

    fn handle_output(&mut self, _: &[u8], _: &mut Vec<u8>) -> core::result::Result<(), FrameError> {
        Ok(())
    }
}

fn a_refused_connection_drops_its_filter_with_care(lab: &mut Lab) {
    let (told, events) = channel();
    let first = std::sync::atomic::AtomicBool::new(true);
    let listener = Listener::addr(lab.addr(), codec());
    let listener = listener.filter(|| Box::new(Bomb));
    let factory = move |_: &Peer<'_>| {
        if first.swap(false, std::sync::atomic::Ordering::SeqCst) {
            return Err(Reject::because("no"));
        }
        Ok(Probe::new(told.clone(), echo()))
    };
    let server = lab.start(Server::builder().workers(1).listen(listener, factory));
    let events = Events(events);
    let mut peer = lab.connect(&server);
    lab.read_to_end(&mut peer);
    assert_eq!(server.snapshot().refused_by_factory, 1);
    let other = lab.connect(&server);
    let _ = lab.next(&events).conn();
    drop(other);
    lab.end_of(&events);
}

/// Answers an `x` with an alert and an error; says good-bye.
#[derive(Default)]
struct Alerts {
    ended: bool,
}

impl Filter for Alerts {
    fn handle_input(
        &mut self,
        input: &[u8],
        plain: &mut Vec<u8>,
        reply: &mut Vec<u8>,
    ) -> core::result::Result<(), FrameError> {
        assert!(!self.ended, "it was not to be asked again");
        if input == b"x" {
            reply.extend_from_slice(b"alert");
            return Err(FrameError::invalid("x"));
        }
        let end = input.iter().position(|byte| *byte == b'b');
        self.ended = end.is_some();
        plain.extend_from_slice(&input[..end.unwrap_or(input.len())]);
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

    fn has_ended(&self) -> bool {
        self.ended
    }

    fn handle_close(&mut self, wire: &mut Vec<u8>) -> core::result::Result<(), FrameError> {
        wire.extend_from_slice(b"bye");
        Ok(())
    }
}

fn alerts(lab: &mut Lab, pauses: bool) -> (Server, Events) {
    let script = move || {
        move |cx: &mut Ctx<'_, Probe>, event: &Event| {
            if let (true, Event::Message(_)) = (pauses, event) {
                cx.pause();
            }
            Ok(())
        }
    };
    let (told, events) = channel();
    let listener = Listener::addr(lab.addr(), LengthDelimited::u32_be(64));
    let listener = listener.filter(|| Box::new(Alerts::default()));
    let factory = move |_: &Peer<'_>| Ok(Probe::new(told.clone(), script()));
    let server = lab.start(Server::builder().workers(1).listen(listener, factory));
    (server, Events(events))
}

fn an_alert_is_the_last_word_of_a_filter_that_failed(lab: &mut Lab) {
    let (server, events) = alerts(lab, false);
    let mut peer = lab.connect(&server);
    let _ = lab.next(&events).conn();
    peer.send(b"x");
    let (bytes, _) = lab.read_to_end(&mut peer);
    assert_eq!(bytes, b"alert");
    assert_eq!(lab.end_of(&events).reason, "protocol_error");
}

/// Torn apart by the network, it comes in several pieces within one turn.
fn what_comes_behind_a_good_bye_is_not_looked_at(lab: &mut Lab) {
    let (server, events) = alerts(lab, true);
    let mut peer = lab.connect(&server);
    let conn = lab.next(&events).conn();
    peer.send(&[&frame(b"go")[..], b"b", &frame(b"more")].concat());
    assert!(lab.next(&events).is_message(b"go"));
    crate::bounds::turns(lab, &server);
    conn.resume();
    let ended = lab.end_of(&events);
    assert_eq!((ended.reason, ended.messages_in), ("peer_closed", 1));
}

fn what_a_filter_drops_makes_room_for_handles(lab: &mut Lab) {
    let limits = Limits::new().send_queue_bytes(1024).slow_reader(SlowReader::Refuse);
    let (told, events) = channel();
    let listener = Listener::addr(lab.addr(), LengthDelimited::u32_be(512)).limits(limits);
    let listener = listener.filter(|| Box::new(Mute));
    let factory = move |_: &Peer<'_>| Ok(Probe::new(told.clone(), echo()));
    let server = lab.start(Server::builder().workers(1).listen(listener, factory));
    let _peer = lab.connect(&server);
    let conn = lab.next(&Events(events)).conn();
    for _ in 0..5 {
        assert_eq!(conn.send(&[7; 500]), Sent::Queued);
        crate::handles::settle(lab, &conn, |info| info.queued_bytes == 0);
    }
}
