//! Who came, who went, and what was said, a line each, for whoever runs the server.
//!
//! Workers wait for nobody: what they tell goes into a queue with a bound, and one thread makes
//! lines of it. In each second so many lines are said of comings and goings, and so many of
//! messages; of the rest only the number is told, at the end of the second.

use crate::out::{self, Output, counted, grouped};
use crate::talk::Reply;
use longshore::{Addr, Closed, ConnId, FileEvent, FileWay};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Builder;
use std::time::{Duration, Instant};

/// Lines of one sort in a second.
const LINES_PER_SECOND: u32 = 20;

/// Comings and goings, messages.
const SORTS: usize = 2;

/// Events that may wait: those of a second, and the end.
const EVENTS_MAX: usize = 2 * SORTS * LINES_PER_SECOND as usize;

const SECOND: Duration = Duration::from_secs(1);

/// How long the end of the program waits for the last lines.
const END_PATIENCE: Duration = Duration::from_millis(500);

/// Bytes shown of a message.
const SHOWN_MAX: usize = 60;

/// As many as [`Kind`] has.
const KINDS: usize = 4;

/// What is told of.
#[derive(Clone, Copy)]
enum Kind {
    Connected,
    Left,
    Message,
    File,
}

impl Kind {
    fn sort(self) -> usize {
        usize::from(matches!(self, Self::Message))
    }
}

enum Event {
    Line(Line),
    /// Whoever waits for it hears of it when all that was told before is said.
    End(SyncSender<()>),
}

enum Line {
    Connected {
        id: ConnId,
        peer: Addr,
    },
    Left(Box<Left>),
    Message {
        id: ConnId,
        number: Option<u16>,
        len: usize,
        start: Vec<u8>,
    },
    File(Box<File>),
    /// So many of each kind.
    LeftOut([u64; KINDS]),
}

struct Left {
    id: ConnId,
    peer: Addr,
    after: Duration,
    messages_in: u64,
    messages_out: u64,
    reason: &'static str,
    /// The reason for a person.
    why: String,
}

/// A file that came or went, or did not.
struct File {
    id: ConnId,
    way: FileWay,
    name: String,
    bytes: u64,
    /// Its digest in hex, or why it is not there.
    ended: Result<String, String>,
}

/// The side of the workers.
pub(crate) struct Feed {
    has_messages: bool,
    /// Lines of each sort that may still be said in this second.
    room: [AtomicU32; SORTS],
    /// What was left out, by kind.
    left_out: [AtomicU64; KINDS],
    events: SyncSender<Event>,
}

/// The side of the thread that makes lines.
pub(crate) struct Lines {
    events: Receiver<Event>,
}

/// Both sides.
pub(crate) fn new(has_messages: bool) -> (Feed, Lines) {
    let (sender, events) = sync_channel(EVENTS_MAX);
    let room = [(); SORTS].map(|()| AtomicU32::new(LINES_PER_SECOND));
    let left_out = [(); KINDS].map(|()| AtomicU64::new(0));
    (Feed { has_messages, room, left_out, events: sender }, Lines { events })
}

impl Feed {
    /// Whether messages are told of as well.
    pub(crate) fn has_messages(&self) -> bool {
        self.has_messages
    }

    pub(crate) fn connected(&self, id: ConnId, peer: Addr) {
        self.tell(Kind::Connected, || Line::Connected { id, peer });
    }

    /// It came at `came`.
    pub(crate) fn left(&self, closed: &Closed<'_>, came: Instant) {
        self.tell(Kind::Left, || {
            let reason = closed.reason;
            // The log has a fault in all its words.
            let why = if reason.is_fault() { reason.name().into() } else { reason.to_string() };
            Line::Left(Box::new(Left {
                id: closed.id,
                peer: closed.peer_addr,
                after: came.elapsed(),
                messages_in: closed.messages_in,
                messages_out: closed.messages_out,
                reason: reason.name(),
                why,
            }))
        });
    }

    pub(crate) fn message(&self, id: ConnId, message: &Reply<'_>) {
        self.tell(Kind::Message, || {
            let (number, bytes) = match *message {
                Reply::Numbered(number, bytes) => (Some(number), bytes),
                Reply::Piece(bytes) | Reply::Whole(bytes) => (None, bytes),
            };
            let start = bytes[..bytes.len().min(SHOWN_MAX)].to_vec();
            Line::Message { id, number, len: bytes.len(), start }
        });
    }

    /// A file of a connection has come or gone, or will not; of other events nothing is told.
    pub(crate) fn file(&self, id: ConnId, event: &FileEvent) {
        let file = match event {
            FileEvent::Done(done) => {
                let ended = Ok(out::hex(&done.digest));
                File { id, way: done.way, name: done.name.clone(), bytes: done.bytes, ended }
            }
            FileEvent::Failed(failed) => {
                let (way, name, bytes) = (failed.way, failed.name.clone(), failed.bytes);
                File { id, way, name, bytes, ended: Err(failed.error.to_string()) }
            }
            _ => return,
        };
        self.tell(Kind::File, || Line::File(Box::new(file)));
    }

    fn tell(&self, kind: Kind, line: impl FnOnce() -> Line) {
        let less = |room: u32| room.checked_sub(1);
        let room = &self.room[kind.sort()];
        let has_room = room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok();
        if !(has_room && self.events.try_send(Event::Line(line())).is_ok()) {
            self.left_out[kind as usize].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// When all connections are over: waits until what was told is said, at most for a moment.
    pub(crate) fn finish(&self) {
        let (ends, ended) = sync_channel(1);
        if self.events.try_send(Event::End(ends)).is_ok() {
            let _ = ended.recv_timeout(END_PATIENCE); // else without it
        }
    }

    /// A second is over: what was left out in it, and room again.
    fn refill(&self) -> Option<[u64; KINDS]> {
        let counts = [0, 1, 2, 3].map(|kind| self.left_out[kind].swap(0, Ordering::Relaxed));
        for room in &self.room {
            room.store(LINES_PER_SECOND, Ordering::Release);
        }
        (counts != [0; KINDS]).then_some(counts)
    }
}

impl Lines {
    /// Makes lines on a thread of its own. Without one, none are made, and none are waited for.
    pub(crate) fn start(self, feed: Arc<Feed>, out: Output) {
        let work = move || self.run(&feed, &mut |line| say(out, line));
        let _ = Builder::new().name("longshore-feed".into()).spawn(work);
    }

    /// Waits without a clock while nothing happens.
    fn run(&self, feed: &Feed, say: &mut impl FnMut(&Line)) {
        while let Ok(event) = self.events.recv() {
            let mut next = Some(event);
            // Each turn is a second, and the last one is silent: whoever found no room at the end of
            // the one before it was counted when that was over.
            while self.run_second(feed, next.take(), say) {}
        }
    }

    /// Says whether it had anything.
    fn run_second(&self, feed: &Feed, first: Option<Event>, say: &mut impl FnMut(&Line)) -> bool {
        let until = Instant::now() + SECOND;
        let wait = || {
            let left = until.saturating_duration_since(Instant::now());
            self.events.recv_timeout(left).ok()
        };
        let (mut had_any, mut waiting) = (false, None);
        let mut next = first.or_else(wait);
        while let Some(event) = next {
            had_any = true;
            match event {
                Event::Line(line) => say(&line),
                Event::End(who) => {
                    waiting = Some(who);
                    break;
                }
            }
            next = wait();
        }
        let left_out = feed.refill();
        if let Some(counts) = left_out {
            say(&Line::LeftOut(counts));
        }
        if let Some(who) = waiting {
            let _ = who.try_send(()); // it may have been tired of waiting
        }
        had_any || left_out.is_some()
    }
}

fn say(out: Output, line: &Line) {
    if out.is_json() {
        return out::object(object(line));
    }
    let (label, text) = words(line);
    out.labelled(label, text);
}

fn words(line: &Line) -> (&'static str, String) {
    match line {
        Line::Connected { id, peer } => ("connected", format!("{id}   {peer}")),
        Line::Left(left) => {
            let Left { id, peer, after, messages_in, messages_out, reason: _, why } = &**left;
            let messages = counted(*messages_in, "message");
            let out = grouped(*messages_out);
            let after = after.as_secs_f64();
            (
                "left",
                format!("{id}   {peer}   after {after:.1} s   {messages} in, {out} out   {why}"),
            )
        }
        Line::Message { id, number, len, start } => {
            let number = number.map_or_else(String::new, |number| format!("binary {number}, "));
            let more = if *len > start.len() { "..." } else { "" };
            let text = quoted(start, *len > start.len());
            let len = counted(*len as u64, "byte");
            ("message", format!("{id}   {number}{len}   {text}{more}"))
        }
        Line::File(file) => {
            let File { id, way, name, bytes, ended } = &**file;
            let (way, name) = (way_in_words(*way), quoted(name.as_bytes(), false));
            let ended = match ended {
                Ok(digest) => format!("blake3 {digest}"),
                Err(why) => quoted(why.as_bytes(), false),
            };
            ("file", format!("{id}   {way} {name}   {}   {ended}", counted(*bytes, "byte")))
        }
        Line::LeftOut([connected, left, messages, files]) => {
            let counts = [(connected, "connected"), (left, "left")];
            let mut parts: Vec<_> = counts
                .iter()
                .filter(|(count, _)| **count > 0)
                .map(|(count, word)| format!("{} {word}", grouped(**count)))
                .collect();
            if *messages > 0 {
                parts.push(counted(*messages, "message"));
            }
            if *files > 0 {
                parts.push(counted(*files, "file"));
            }
            (
                "left out",
                format!("{}   more than {LINES_PER_SECOND} lines a second", parts.join(", ")),
            )
        }
    }
}

fn object(line: &Line) -> Value {
    match line {
        Line::Connected { id, peer } => {
            json!({ "event": "connected", "id": id.to_string(), "peer": peer.to_string() })
        }
        Line::Left(left) => json!({
            "event": "left",
            "id": left.id.to_string(),
            "peer": left.peer.to_string(),
            "after_ms": u64::try_from(left.after.as_millis()).unwrap_or(u64::MAX),
            "messages_in_total": left.messages_in,
            "messages_out_total": left.messages_out,
            "reason": left.reason,
        }),
        Line::Message { id, number, len, start } => {
            let mut object =
                json!({ "event": "message", "id": id.to_string(), "bytes_total": len });
            if let Some(number) = number {
                object["number"] = (*number).into();
            }
            match text_of(start, *len > start.len()) {
                Some(text) if !text.chars().any(char::is_control) => object["start"] = text.into(),
                _ => object["start_hex"] = out::hex(start).into(),
            }
            object
        }
        Line::File(file) => {
            let File { id, way, name, bytes, ended } = &**file;
            let mut object = json!({
                "event": "file",
                "id": id.to_string(),
                "way": way_in_words(*way),
                "name": name,
                "bytes_total": bytes,
            });
            match ended {
                Ok(digest) => object["blake3"] = digest.as_str().into(),
                Err(why) => object["error"] = why.as_str().into(),
            }
            object
        }
        Line::LeftOut([connected, left, messages, files]) => json!({
            "event": "left_out",
            "connected_total": connected,
            "left_total": left,
            "messages_total": messages,
            "files_total": files,
        }),
    }
}

fn way_in_words(way: FileWay) -> &'static str {
    match way {
        FileWay::In => "in",
        FileWay::Out => "out",
    }
}

/// Text between quotation marks, with escapes for all that could steer a terminal; bytes that are no
/// text in escapes of their own.
fn quoted(start: &[u8], is_cut: bool) -> String {
    match text_of(start, is_cut) {
        Some(text) => format!("{text:?}"),
        None => format!("\"{}\"", start.escape_ascii()),
    }
}

/// The bytes as text, if they are; without the last character where it was cut.
fn text_of(start: &[u8], is_cut: bool) -> Option<&str> {
    match std::str::from_utf8(start) {
        Ok(text) => Some(text),
        Err(error) if is_cut && error.error_len().is_none() => {
            std::str::from_utf8(&start[..error.valid_up_to()]).ok()
        }
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words_of(line: &Line) -> String {
        let (label, text) = words(line);
        format!("{label} {text}")
    }

    #[test]
    fn a_flood_is_lines_for_a_second_and_then_a_number() {
        let (feed, lines) = new(true);
        let flood = 1_000;
        for _ in 0..flood {
            feed.tell(Kind::Left, || Line::LeftOut([0; KINDS]));
            feed.tell(Kind::Message, || Line::LeftOut([1; KINDS]));
        }
        let (mut said, mut told) = ([0; 2], Vec::new());
        feed.events.try_send(Event::End(sync_channel(1).0)).unwrap();
        lines.run_second(&feed, None, &mut |line| match line {
            Line::LeftOut([0, 0, 0, 0]) => said[0] += 1,
            Line::LeftOut([1, 1, 1, 1]) => said[1] += 1,
            line => told.push(words_of(line)),
        });
        assert_eq!(said, [20, 20]);
        assert_eq!(told, ["left out 980 left, 980 messages   more than 20 lines a second"]);
        // And in the next second there is room again.
        feed.tell(Kind::Connected, || Line::LeftOut([0; KINDS]));
        feed.events.try_send(Event::End(sync_channel(1).0)).unwrap();
        told.clear();
        assert!(lines.run_second(&feed, None, &mut |line| told.push(words_of(line))));
        assert_eq!(told.len(), 1);
    }

    #[test]
    fn a_second_without_anything_is_the_last() {
        let (feed, lines) = new(false);
        assert!(!lines.run_second(&feed, None, &mut |_| ()));
        feed.left_out[0].fetch_add(1, Ordering::Relaxed); // it found no room at the very end
        assert!(lines.run_second(&feed, None, &mut |_| ()));
    }

    /// It found no room at the end of a second, and was counted when that was over; nothing follows.
    #[test]
    fn the_last_one_of_a_flood_is_told_of() {
        let (feed, lines) = new(false);
        let feed = Arc::new(feed);
        let (said, hears) = sync_channel(8);
        let teller = Arc::clone(&feed);
        std::thread::spawn(move || {
            lines.run(&teller, &mut |line| said.send(words_of(line)).unwrap());
        });
        feed.tell(Kind::Connected, || Line::LeftOut([1; KINDS]));
        let patience = Duration::from_secs(30);
        hears.recv_timeout(patience).unwrap();
        while feed.room[0].load(Ordering::Acquire) < LINES_PER_SECOND {
            std::thread::yield_now();
        }
        feed.left_out[0].fetch_add(1, Ordering::Relaxed);
        let told = hears.recv_timeout(patience).unwrap();
        assert_eq!(told, "left out 1 connected   more than 20 lines a second");
    }

    #[test]
    fn what_a_peer_says_cannot_steer_the_terminal() {
        assert_eq!(quoted(b"hi \"you\"\t\x1b[2J\n", false), r#""hi \"you\"\t\u{1b}[2J\n""#);
        assert_eq!(
            quoted("\u{9b}\u{202e}gr\u{fc}n".as_bytes(), false),
            "\"\\u{9b}\\u{202e}gr\u{fc}n\""
        );
        assert_eq!(quoted(b"\xff\x1b\0", false), r#""\xff\x1b\x00""#);
        let cut_within = &"gr\u{fc}n".as_bytes()[..3];
        assert_eq!(quoted(cut_within, true), "\"gr\"");
        assert_eq!(quoted(cut_within, false), r#""gr\xc3""#, "all of it is there, and no text");
    }
}
