//! The callback contract, sentence by sentence, on every port: `docs/guide/callbacks.md`.
//!
//! Sentence 6 is about work off the worker's thread, which is planned. Sentence 8 asks something of
//! the user; its watchdog is planned as well.

use crate::net::{End, Ended, Event, Lab, Probe, codec, echo, frame, on_every_port, some_file};
use longshore::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::mpsc::channel;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

on_every_port! {
    c1_callbacks_of_one_connection_never_overlap,
    c2_one_disconnect_after_the_peers_end,
    c2_one_disconnect_after_the_peers_reset,
    c2_one_disconnect_after_a_protocol_error,
    c2_one_disconnect_after_an_end_within_a_frame,
    c2_one_disconnect_after_an_error_of_each_callback,
    c2_one_disconnect_after_a_panic_in_each_callback,
    c2_one_disconnect_after_a_panic_in_itself,
    c2_no_disconnect_without_a_value,
    c2_one_disconnect_after_close_and_abort_of_handler_and_handle,
    c2_one_disconnect_after_the_first_byte_timeout,
    c2_one_disconnect_after_the_idle_timeout,
    c2_one_disconnect_after_a_shutdown,
    c3_after_an_end_frames_already_received_are_dropped_and_counted,
    c3_what_was_sent_before_close_is_flushed,
    c3_after_abort_the_peer_sees_a_reset,
    c3_a_timer_or_idle_of_a_closed_connection_does_not_come,
    c4_after_pause_no_message_until_resume,
    c4_pausing_at_each_message_gives_one_message_at_a_time,
    c4_the_end_of_the_stream_waits_for_resume_too,
    c4_idle_time_stands_still_while_paused,
    c5_idle_is_asked_once_per_silence_and_returning_keeps_the_connection,
    c5_own_sending_does_not_break_the_silence,
    c7_shutdown_tells_each_sends_what_is_queued_and_ends,
    c7_shutdown_aborts_what_is_left_at_its_end,
    c7_shutdown_is_legal_in_any_callback_and_twice,
    c7_after_shutdown_nobody_gets_in,
}

/// The frames `0`, `1`, ... as payloads.
fn numbers(count: u32) -> Vec<Vec<u8>> {
    (0..count).map(|number| number.to_be_bytes().to_vec()).collect()
}

fn c1_callbacks_of_one_connection_never_overlap(lab: &mut Lab) {
    const MESSAGES: u32 = 300;
    let inside = Arc::new(AtomicBool::new(false));
    let calls = Arc::new(AtomicU64::new(0));
    let (inside_too, calls_too) = (Arc::clone(&inside), Arc::clone(&calls));
    let script = move || {
        let (inside, calls) = (Arc::clone(&inside_too), Arc::clone(&calls_too));
        move |cx: &mut Ctx<'_, Probe>, event: &Event| {
            assert!(!inside.swap(true, SeqCst), "a callback within another: {event:?}");
            calls.fetch_add(1, SeqCst);
            let done = match event {
                // Acting on itself through a handle must not call back from within.
                Event::Message(frame) => {
                    let conn = cx.conn();
                    conn.pause();
                    conn.resume();
                    cx.set_timer(Timer(1), MS)?;
                    cx.send_tracked(frame, 7)
                }
                Event::Timer(_) => cx.send(b"timer"),
                _ => Ok(()),
            };
            inside.store(false, SeqCst);
            done
        }
    };
    let (server, events) = lab.serve(Limits::new(), script);
    let mut peer = lab.connect(&server);
    let conn = lab.next(&events).conn();
    let others = (!lab.is_simulated()).then(|| {
        std::thread::spawn(move || {
            for _ in 0..MESSAGES {
                let _ = conn.send(b"from elsewhere");
                conn.pause();
                conn.resume();
            }
        })
    });
    for number in numbers(MESSAGES) {
        peer.say(&number);
    }
    let mut seen = 0;
    while seen < MESSAGES {
        if let Event::Message(frame) = lab.next(&events) {
            assert_eq!(frame, seen.to_be_bytes());
            seen += 1;
        }
    }
    if let Some(thread) = others {
        thread.join().unwrap();
    }
    peer.reset();
    assert_ne!(lab.end_of(&events).reason, "handler_panic");
    assert!(calls.load(SeqCst) > u64::from(MESSAGES));
}

/// Waits for the one end, and makes sure that nothing comes behind it.
#[track_caller]
fn only_end(lab: &mut Lab, server: &Server, events: &crate::net::Events) -> Ended {
    let ended = lab.end_of(events);
    // Whatever could still come has come when the server is gone.
    server.shutdown(Duration::ZERO);
    lab.wait(server);
    let rest = events.rest();
    assert!(rest.is_empty(), "after the end came {rest:?}");
    assert_eq!(server.snapshot().closed, 1);
    ended
}

fn c2_one_disconnect_after_the_peers_end(lab: &mut Lab) {
    let (server, events) = lab.serve(Limits::new(), echo);
    let mut peer = lab.connect(&server);
    peer.say(b"one");
    peer.finish();
    assert_eq!(lab.read_to_end(&mut peer), (frame(b"one"), End::Fin));
    let ended = only_end(lab, &server, &events);
    assert_eq!((ended.reason, ended.messages_in, ended.messages_out), ("peer_closed", 1, 1));
    assert_eq!((ended.bytes_in, ended.bytes_out, ended.bytes_discarded), (7, 7, 0));
}

fn c2_one_disconnect_after_the_peers_reset(lab: &mut Lab) {
    let (server, events) = lab.serve(Limits::new(), echo);
    let mut peer = lab.connect(&server);
    peer.say(b"one");
    assert_eq!(lab.hear(&mut peer), b"one");
    peer.reset();
    assert_eq!(only_end(lab, &server, &events).reason, "peer_reset");
}

fn c2_one_disconnect_after_a_protocol_error(lab: &mut Lab) {
    let (server, events) = lab.serve(Limits::new(), echo);
    let mut peer = lab.connect(&server);
    peer.say(b"one");
    peer.send(&[0xff; 40]);
    // What was answered before still goes out.
    assert_eq!(lab.hear(&mut peer), b"one");
    let (rest, end) = lab.read_to_end(&mut peer);
    assert_eq!((rest.len(), end), (0, End::Fin));
    drop(peer);
    let ended = only_end(lab, &server, &events);
    assert_eq!((ended.reason, ended.messages_in), ("frame_too_long", 1));
}

fn c2_one_disconnect_after_an_end_within_a_frame(lab: &mut Lab) {
    let (server, events) = lab.serve(Limits::new(), echo);
    let mut peer = lab.connect(&server);
    peer.send(&[0, 0, 0, 9, 1, 2]);
    peer.finish();
    assert_eq!(lab.read_to_end(&mut peer).1, End::Fin);
    assert_eq!(only_end(lab, &server, &events).reason, "truncated");
}

/// The callbacks other than the last one, each brought about by [`provoke`].
const CALLBACKS: [&str; 8] =
    ["connect", "message", "timer", "idle", "writable", "sent", "file", "shutdown"];

fn name_of(event: &Event) -> &'static str {
    match event {
        Event::Connect(_) => "connect",
        Event::Message(_) => "message",
        Event::Writable => "writable",
        Event::Idle => "idle",
        Event::Timer(_) => "timer",
        Event::Sent(_) => "sent",
        Event::File(_) => "file",
        Event::Shutdown => "shutdown",
        Event::Disconnect(_) => "disconnect",
    }
}

/// Brings about one callback of `name` whose script then fails in the way of `fail`.
fn provoke(lab: &mut Lab, name: &'static str, fail: fn() -> Result) -> Ended {
    let script = move || {
        move |cx: &mut Ctx<'_, Probe>, event: &Event| {
            if name_of(event) == name {
                return fail();
            }
            match (name, event) {
                ("timer", Event::Connect(_)) => cx.set_timer(Timer(3), MS)?,
                ("idle", Event::Connect(_)) => cx.set_idle(MS),
                ("sent", Event::Message(frame)) => cx.send_tracked(frame, 1)?,
                ("file", Event::Message(_)) => drop(cx.send_file(&some_file(), ..)?),
                ("writable", Event::Message(_)) => {
                    let large = vec![7; 4_000];
                    while cx.try_send(&large).is_ok() {}
                }
                _ => {}
            }
            Ok(())
        }
    };
    let limits = Limits::new()
        .send_queue_bytes(2 << 20)
        .send_queue_low_bytes(1 << 20)
        .slow_reader(SlowReader::Refuse);
    let (server, events) = lab.serve(limits, script);
    let mut peer = lab.connect(&server);
    peer.say(b"go");
    if name == "shutdown" {
        lab.find(&events, |event| event.is_message(b"go").then_some(()));
        server.shutdown(Duration::from_secs(60));
    }
    let (_, end) = lab.read_to_end(&mut peer);
    assert_eq!(end, End::Fin, "what was queued before a failure still goes out");
    drop(peer);
    let ended = only_end(lab, &server, &events);
    let panics = u64::from(ended.reason == "handler_panic");
    assert_eq!(server.snapshot().panics, panics, "{name}");
    ended
}

fn c2_one_disconnect_after_an_error_of_each_callback(lab: &mut Lab) {
    for name in CALLBACKS {
        let ended = provoke(lab, name, || Err(Error::msg("enough")));
        assert_eq!((ended.reason, ended.why.as_str()), ("handler_error", "handler: enough"));
    }
}

fn c2_one_disconnect_after_a_panic_in_each_callback(lab: &mut Lab) {
    for name in CALLBACKS {
        let ended = provoke(lab, name, || panic!("on purpose"));
        assert_eq!(ended.reason, "handler_panic", "{name}");
        assert_eq!(ended.why, "handler panicked: on purpose");
    }
}

/// Panics in its last callback.
struct SoreLoser(Arc<AtomicU64>);

impl Handler for SoreLoser {
    type Codec = LengthDelimited;
    fn on_message(&mut self, cx: &mut Ctx<'_, Self>, frame: &[u8]) -> Result {
        cx.send(frame)
    }
    fn on_disconnect(self, _: &Closed<'_>) {
        self.0.fetch_add(1, SeqCst);
        panic!("on purpose");
    }
}

fn c2_one_disconnect_after_a_panic_in_itself(lab: &mut Lab) {
    let ends = Arc::new(AtomicU64::new(0));
    let ends_too = Arc::clone(&ends);
    let listener = Listener::addr(lab.addr(), codec());
    let factory = move |_: &longshore::Peer<'_>| Ok(SoreLoser(Arc::clone(&ends_too)));
    let server = lab.start(Server::builder().listen(listener, factory).workers(1));
    for _ in 0..3 {
        let mut peer = lab.connect(&server);
        peer.say(b"one");
        peer.finish();
        assert_eq!(lab.read_to_end(&mut peer), (frame(b"one"), End::Fin));
    }
    server.shutdown(Duration::ZERO);
    lab.wait(&server);
    assert_eq!(ends.load(SeqCst), 3);
    assert_eq!((server.snapshot().closed, server.snapshot().panics), (3, 3));
}

fn c2_no_disconnect_without_a_value(lab: &mut Lab) {
    let (told, events) = channel();
    let count = AtomicU64::new(0);
    let factory = move |_: &longshore::Peer<'_>| match count.fetch_add(1, SeqCst) {
        0 => Err(Reject::because("not today")),
        1 => panic!("on purpose"),
        2 => Err(Reject::silent()),
        _ => Ok(Probe::new(told.clone(), echo())),
    };
    let listener = Listener::addr(lab.addr(), codec());
    let server = lab.start(Server::builder().listen(listener, factory).workers(1));
    for _ in 0..3 {
        let mut peer = lab.connect(&server);
        let (bytes, _) = lab.read_to_end(&mut peer);
        assert!(bytes.is_empty());
    }
    let mut peer = lab.connect(&server);
    peer.say(b"one");
    peer.finish();
    assert_eq!(lab.read_to_end(&mut peer), (frame(b"one"), End::Fin));
    let ended = only_end(lab, &server, &crate::net::Events(events));
    assert_eq!(ended.reason, "peer_closed");
    let snapshot = server.snapshot();
    let refused = (snapshot.accepted, snapshot.refused_by_factory, snapshot.panics);
    assert_eq!(refused, (4, 3, 1));
}

fn c2_one_disconnect_after_close_and_abort_of_handler_and_handle(lab: &mut Lab) {
    for how in ["close", "because", "abort", "handle close", "handle because", "handle abort"] {
        let script = move || {
            move |cx: &mut Ctx<'_, Probe>, event: &Event| {
                if let Event::Message(_) = event {
                    match how {
                        "close" => cx.close(),
                        "because" => cx.close_because("enough"),
                        "abort" => cx.abort(),
                        _ => {}
                    }
                }
                Ok(())
            }
        };
        let (server, events) = lab.serve(Limits::new(), script);
        let mut peer = lab.connect(&server);
        let conn = lab.next(&events).conn();
        match how {
            "handle close" => conn.close(),
            "handle because" => conn.close_because("enough"),
            "handle abort" => conn.abort(),
            _ => peer.say(b"go"),
        }
        let (bytes, end) = lab.read_to_end(&mut peer);
        let want = if how.ends_with("abort") { End::Reset } else { End::Fin };
        assert_eq!((bytes.len(), end), (0, want), "{how}");
        drop(peer);
        let ended = only_end(lab, &server, &events);
        let reason = match how.rsplit(' ').next() {
            Some("abort") => "aborted",
            Some("because") => "said",
            _ => "local",
        };
        assert_eq!(ended.reason, reason, "{how}");
        assert!(conn.is_closed());
    }
}

fn c2_one_disconnect_after_the_first_byte_timeout(lab: &mut Lab) {
    let limits = Limits::new().first_byte(20 * MS);
    let (server, events) = lab.serve(limits, echo);
    let mut peer = lab.connect(&server);
    let (bytes, end) = lab.read_to_end(&mut peer);
    assert_eq!((bytes.len(), end), (0, End::Fin));
    drop(peer);
    assert_eq!(only_end(lab, &server, &events).reason, "first_byte_timeout");
}

/// A handler with nothing but defaults.
struct Plain(std::sync::mpsc::Sender<Event>);

impl Handler for Plain {
    type Codec = LengthDelimited;
    fn on_message(&mut self, cx: &mut Ctx<'_, Self>, frame: &[u8]) -> Result {
        cx.send(frame)
    }
    fn on_disconnect(self, closed: &Closed<'_>) {
        let _ = self.0.send(Event::Disconnect(Ended::of(closed)));
    }
}

fn serve_plain(lab: &mut Lab, limits: Limits) -> (Server, crate::net::Events) {
    let (told, events) = channel();
    let listener = Listener::addr(lab.addr(), codec()).limits(limits);
    let factory = move |_: &longshore::Peer<'_>| Ok(Plain(told.clone()));
    let server = lab.start(Server::builder().listen(listener, factory).workers(1));
    (server, crate::net::Events(events))
}

fn c2_one_disconnect_after_the_idle_timeout(lab: &mut Lab) {
    let (server, events) = serve_plain(lab, Limits::new().idle(20 * MS));
    let mut peer = lab.connect(&server);
    peer.say(b"one");
    assert_eq!(lab.read_to_end(&mut peer), (frame(b"one"), End::Fin));
    drop(peer);
    assert_eq!(only_end(lab, &server, &events).reason, "idle_timeout");
}

fn c2_one_disconnect_after_a_shutdown(lab: &mut Lab) {
    let (server, events) = serve_plain(lab, Limits::new());
    let mut peer = lab.connect(&server);
    peer.say(b"one");
    assert_eq!(lab.hear(&mut peer), b"one");
    server.shutdown(Duration::from_secs(60));
    assert_eq!(lab.read_to_end(&mut peer), (vec![], End::Fin));
    drop(peer);
    assert_eq!(only_end(lab, &server, &events).reason, "shutdown");
}

fn c3_after_an_end_frames_already_received_are_dropped_and_counted(lab: &mut Lab) {
    const BEHIND: u64 = 5;
    for how in ["close", "abort", "error", "panic"] {
        let script = move || {
            move |cx: &mut Ctx<'_, Probe>, event: &Event| {
                if !event.is_message(b"end") {
                    return Ok(());
                }
                match how {
                    "close" => cx.close(),
                    "abort" => cx.abort(),
                    "error" => return Err(Error::msg("on purpose")),
                    _ => panic!("on purpose"),
                }
                assert!(matches!(cx.try_send(b"late"), Err(SendError::Closed)));
                Ok(())
            }
        };
        let (server, events) = lab.serve(Limits::new(), script);
        let mut peer = lab.connect(&server);
        peer.say_all([&b"first"[..], b"end", b"1", b"2", b"3", b"4", b"5"]);
        peer.finish();
        let (bytes, _) = lab.read_to_end(&mut peer);
        assert!(bytes.is_empty(), "{how}");
        drop(peer);
        let ended = lab.end_of(&events);
        assert_eq!(ended.messages_in, 2, "{how}");
        // Where the wire cut the stream, what was behind the cut may never have been read when it
        // was aborted; nothing else may be missing.
        let all = BEHIND * 5;
        if how == "abort" {
            assert_eq!(ended.bytes_discarded, ended.bytes_in - 9 - 7, "{how}");
        } else {
            assert_eq!((ended.bytes_discarded, ended.bytes_in), (all, all + 9 + 7), "{how}");
        }
        assert_eq!(server.snapshot().bytes_discarded, ended.bytes_discarded, "{how}");
        assert_eq!(server.snapshot().messages_in, 2, "{how}");
    }
}

fn c3_what_was_sent_before_close_is_flushed(lab: &mut Lab) {
    const BYTES: usize = 900_000;
    for how in ["close", "error", "panic"] {
        let script = move || {
            move |cx: &mut Ctx<'_, Probe>, event: &Event| {
                if let Event::Message(_) = event {
                    cx.send(&vec![5; BYTES])?;
                    match how {
                        "close" => cx.close(),
                        "error" => return Err(Error::msg("on purpose")),
                        _ => panic!("on purpose"),
                    }
                }
                Ok(())
            }
        };
        let (server, events) = lab.serve(Limits::new(), script);
        let mut peer = lab.connect(&server);
        peer.say(b"go");
        lab.find(&events, |event| event.is_message(b"go").then_some(()));
        peer.say(b"more that nobody reads");
        assert_eq!(lab.hear(&mut peer), vec![5; BYTES], "{how}");
        assert_eq!(lab.read_to_end(&mut peer), (vec![], End::Fin), "{how}");
        drop(peer);
        assert_eq!(lab.end_of(&events).bytes_out, BYTES as u64 + 4, "{how}");
    }
}

fn c3_after_abort_the_peer_sees_a_reset(lab: &mut Lab) {
    const BYTES: usize = 1_000_000;
    let script = || {
        |cx: &mut Ctx<'_, Probe>, event: &Event| {
            if let Event::Message(_) = event {
                for _ in 0..3 {
                    cx.send(&vec![5; BYTES])?;
                }
                cx.abort();
            }
            Ok(())
        }
    };
    let (server, events) = lab.serve(Limits::new(), script);
    let mut peer = lab.connect(&server);
    peer.say(b"go");
    let (bytes, end) = lab.read_to_end(&mut peer);
    assert_eq!((bytes.len(), end), (0, End::Reset));
    assert_eq!(lab.end_of(&events).bytes_out, 0);
}

fn c3_a_timer_or_idle_of_a_closed_connection_does_not_come(lab: &mut Lab) {
    let script = || {
        |cx: &mut Ctx<'_, Probe>, event: &Event| {
            if let Event::Message(_) = event {
                cx.set_timer(Timer(1), MS)?;
                cx.set_idle(MS);
                cx.close();
                cx.set_timer(Timer(2), MS)?;
                cx.set_idle(MS);
            }
            Ok(())
        }
    };
    let linger = Linger::default().wait(30 * MS);
    let (server, events) = lab.serve(Limits::new().linger(linger), script);
    let mut peer = lab.connect(&server);
    peer.say(b"go");
    assert_eq!(lab.read_to_end(&mut peer), (vec![], End::Fin));
    // The peer stays, so that the connection lingers for longer than its timers would take.
    let mut names = Vec::new();
    while names.last() != Some(&"disconnect") {
        names.push(name_of(&lab.next(&events)));
    }
    assert_eq!(names, ["connect", "message", "disconnect"]);
}

fn c4_after_pause_no_message_until_resume(lab: &mut Lab) {
    let script = || {
        |cx: &mut Ctx<'_, Probe>, event: &Event| {
            match event {
                Event::Message(frame) if frame == b"pause" => {
                    cx.pause();
                    cx.set_timer(Timer(1), 15 * MS)?;
                }
                Event::Timer(_) => cx.resume(),
                _ => {}
            }
            Ok(())
        }
    };
    let (server, events) = lab.serve(Limits::new(), script);
    let mut peer = lab.connect(&server);
    // Some in the same read, some later.
    peer.say_all([&b"0"[..], b"pause", b"1", b"pause", b"2"]);
    lab.find(&events, |event| event.is_message(b"0").then_some(()));
    for number in [b"3", b"4", b"5"] {
        peer.say(number);
    }
    let mut told = Vec::new();
    while told.last() != Some(&b"5".to_vec()) {
        match lab.next(&events) {
            Event::Message(frame) => told.push(frame),
            Event::Timer(_) => told.push(b"resume".to_vec()),
            other => panic!("{other:?}"),
        }
    }
    let want: [&[u8]; 9] = [b"pause", b"resume", b"1", b"pause", b"resume", b"2", b"3", b"4", b"5"];
    assert_eq!(told, want);
}

fn c4_pausing_at_each_message_gives_one_message_at_a_time(lab: &mut Lab) {
    const MESSAGES: u32 = 200;
    let script = || {
        let mut paused = false;
        move |cx: &mut Ctx<'_, Probe>, event: &Event| {
            match event {
                Event::Message(_) => {
                    assert!(!paused, "a message after pause");
                    paused = true;
                    cx.pause();
                    cx.set_timer(Timer(1), MS)?;
                }
                Event::Timer(_) => {
                    paused = false;
                    cx.resume();
                }
                _ => {}
            }
            Ok(())
        }
    };
    let (server, events) = lab.serve(Limits::new(), script);
    let mut peer = lab.connect(&server);
    for number in numbers(MESSAGES) {
        peer.say(&number);
    }
    peer.finish();
    for number in numbers(MESSAGES) {
        lab.find(&events, |event| event.is_message(&number).then_some(()));
    }
    let ended = lab.end_of(&events);
    assert_eq!((ended.reason, ended.messages_in), ("peer_closed", u64::from(MESSAGES)));
}

/// A line without its end is a message at the end of the stream: that waits as well.
struct Halting {
    told: std::sync::mpsc::Sender<String>,
    paused: bool,
}

impl Handler for Halting {
    type Codec = Lines;
    fn on_message(&mut self, cx: &mut Ctx<'_, Self>, line: &str) -> Result {
        assert!(!self.paused, "{line} after pause");
        self.paused = true;
        cx.pause();
        self.told.send(line.into())?;
        Ok(cx.set_timer(Timer(0), MS)?)
    }
    fn on_timer(&mut self, cx: &mut Ctx<'_, Self>, _: Timer) -> Result {
        self.paused = false;
        cx.resume();
        Ok(())
    }
    fn on_disconnect(self, closed: &Closed<'_>) {
        assert!(!self.paused, "the end was told while paused");
        let _ = self.told.send(closed.reason.name().into());
    }
}

fn c4_the_end_of_the_stream_waits_for_resume_too(lab: &mut Lab) {
    let (told, lines) = channel();
    let listener = Listener::addr(lab.addr(), Lines::max(100));
    let factory = move |_: &longshore::Peer<'_>| Ok(Halting { told: told.clone(), paused: false });
    let server = lab.start(Server::builder().listen(listener, factory).workers(1));
    let mut peer = lab.connect(&server);
    peer.send(b"one\ntwo\nthree");
    peer.finish();
    for want in ["one", "two", "three"] {
        assert_eq!(lab.recv(&lines), want);
    }
    // The last line came with the end of the stream, which no pause holds up any more.
    assert_eq!(lab.read_to_end(&mut peer), (vec![], End::Fin));
}

fn c4_idle_time_stands_still_while_paused(lab: &mut Lab) {
    let script = || {
        |cx: &mut Ctx<'_, Probe>, event: &Event| {
            match event {
                Event::Connect(_) => {
                    cx.pause();
                    cx.set_timer(Timer(1), 60 * MS)?;
                }
                Event::Timer(1) => {
                    cx.resume();
                    cx.set_timer(Timer(2), 5 * MS)?;
                }
                Event::Idle => cx.close(),
                _ => {}
            }
            Ok(())
        }
    };
    let (server, events) = lab.serve(Limits::new().idle(20 * MS).first_byte(20 * MS), script);
    let peer = lab.connect(&server);
    let _ = lab.next(&events).conn();
    // On a real port a busy machine may be late by any time, so only the order counts.
    assert!(matches!(lab.next(&events), Event::Timer(1)), "idle or first byte during the pause");
    drop(peer);
    lab.end_of(&events);
}

fn c5_idle_is_asked_once_per_silence_and_returning_keeps_the_connection(lab: &mut Lab) {
    let script = || {
        let mut asked = 0;
        move |cx: &mut Ctx<'_, Probe>, event: &Event| {
            if let Event::Idle = event {
                asked += 1;
                if asked == 3 {
                    cx.close();
                }
            }
            Ok(())
        }
    };
    let (server, events) =
        lab.serve(Limits::new().idle(15 * MS).first_byte(Duration::ZERO), script);
    let mut peer = lab.connect(&server);
    assert_eq!(lab.read_to_end(&mut peer), (vec![], End::Fin));
    drop(peer);
    let mut names = Vec::new();
    while names.last() != Some(&"disconnect") {
        names.push(name_of(&lab.next(&events)));
    }
    assert_eq!(names, ["connect", "idle", "idle", "idle", "disconnect"]);
}

fn c5_own_sending_does_not_break_the_silence(lab: &mut Lab) {
    let script = || {
        |cx: &mut Ctx<'_, Probe>, event: &Event| {
            match event {
                Event::Connect(_) | Event::Timer(_) => {
                    cx.send(b"tick")?;
                    cx.set_timer(Timer(0), 2 * MS)?;
                }
                Event::Idle => cx.close(),
                _ => {}
            }
            Ok(())
        }
    };
    let (server, events) = lab.serve(Limits::new().idle(20 * MS), script);
    let mut peer = lab.connect(&server);
    assert_eq!(lab.read_to_end(&mut peer).1, End::Fin);
    drop(peer);
    assert_eq!(lab.end_of(&events).reason, "local");
}

fn c7_shutdown_tells_each_sends_what_is_queued_and_ends(lab: &mut Lab) {
    const PEERS: usize = 5;
    let script = || {
        |cx: &mut Ctx<'_, Probe>, event: &Event| {
            if let Event::Shutdown = event {
                cx.send(&vec![9; 300_000])?;
                cx.send(b"bye")?;
                cx.close();
            }
            Ok(())
        }
    };
    let (server, events) = lab.serve(Limits::new(), script);
    let mut peers: Vec<_> = (0..PEERS).map(|_| lab.connect(&server)).collect();
    for _ in 0..PEERS {
        let _ = lab.next(&events).conn();
    }
    server.shutdown(Duration::from_secs(60));
    for mut peer in peers.drain(..) {
        assert_eq!(lab.hear(&mut peer), vec![9; 300_000]);
        assert_eq!(lab.hear(&mut peer), b"bye");
        assert_eq!(lab.read_to_end(&mut peer), (vec![], End::Fin));
    }
    lab.wait(&server);
    let names: Vec<_> = events.rest().iter().map(name_of).collect();
    assert_eq!(names.iter().filter(|name| **name == "shutdown").count(), PEERS);
    assert_eq!(names.iter().filter(|name| **name == "disconnect").count(), PEERS);
    assert_eq!(server.snapshot().shutdown_aborted, 0);
}

fn c7_shutdown_aborts_what_is_left_at_its_end(lab: &mut Lab) {
    let (server, events) = lab.serve(Limits::new(), || |_: &mut Ctx<'_, Probe>, _: &Event| Ok(()));
    let mut peer = lab.connect(&server);
    let conn = lab.next(&events).conn();
    server.shutdown(30 * MS);
    assert_eq!(lab.read_to_end(&mut peer), (vec![], End::Reset));
    lab.wait(&server);
    let names: Vec<_> = events.rest().iter().map(name_of).collect();
    assert_eq!(names, ["shutdown", "disconnect"]);
    assert_eq!(server.snapshot().shutdown_aborted, 1);
    assert_eq!(conn.send(b"late"), Sent::Closed);
}

fn c7_shutdown_is_legal_in_any_callback_and_twice(lab: &mut Lab) {
    for name in ["connect", "message", "timer", "idle"] {
        let script = move || {
            move |cx: &mut Ctx<'_, Probe>, event: &Event| {
                if name_of(event) == name {
                    cx.server().shutdown(Duration::from_secs(60));
                    cx.server().shutdown(Duration::from_secs(30));
                }
                match (name, event) {
                    ("timer", Event::Connect(_)) => cx.set_timer(Timer(3), MS)?,
                    ("idle", Event::Connect(_)) => cx.set_idle(5 * MS),
                    (_, Event::Shutdown) => cx.close(),
                    _ => {}
                }
                Ok(())
            }
        };
        let (server, events) = lab.serve(Limits::new(), script);
        let mut peer = lab.connect(&server);
        peer.say(b"go");
        assert_eq!(lab.read_to_end(&mut peer), (vec![], End::Fin), "{name}");
        drop(peer);
        lab.wait(&server);
        let names: Vec<_> = events.rest().iter().map(name_of).collect();
        assert_eq!(names.iter().filter(|told| **told == "shutdown").count(), 1, "{name}");
        assert_eq!(names.last(), Some(&"disconnect"), "{name}");
    }
}

fn c7_after_shutdown_nobody_gets_in(lab: &mut Lab) {
    let (server, events) = lab.serve(Limits::new(), echo);
    let peer = lab.connect(&server);
    let _ = lab.next(&events).conn();
    drop(peer);
    lab.end_of(&events);
    let addr = server.local_addrs()[0].socket_addr().unwrap();
    server.shutdown(Duration::from_secs(1));
    lab.wait(&server);
    if lab.is_simulated() {
        let mut late = lab.connect_to(addr);
        assert_eq!(lab.read_to_end(&mut late), (vec![], End::Reset));
    } else {
        assert!(std::net::TcpStream::connect(addr).is_err());
    }
    assert_eq!(server.snapshot().accepted, 1);
}
