//! `longshore connect`: a client for people and pipes.
//!
//! One thread reads lines and sends them, the main thread receives; so a server that stops reading
//! until it is read from is no trouble.

use super::{get, ls, put};
use crate::args::{ConnectArgs, Protocol};
use crate::exit::{Exit, Failure};
use crate::files::{Found, Session};
use crate::out::{self, Output};
use crate::talk::{Reply, Talk, without_end};
use longshore::{
    Client, ClientError, Codec, FileName, FrameError, LengthDelimited, Lines, Longshore, Raw,
};
use serde_json::{Value, json};
use std::fmt::Display;
use std::io::{self, BufRead, IsTerminal, Read};
use std::net::Shutdown;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

/// Longest message, sent or received.
const MESSAGE_MAX: usize = 16 << 20;

/// How long to wait for the rest of the first line of a peer that is not ours.
const FOREIGN_WAIT: Duration = Duration::from_secs(1);

/// How often it is looked whether the input has ended, while nothing comes.
const END_LOOK: Duration = Duration::from_millis(50);

/// Least time to wait for an answer.
const WAIT_MIN: Duration = Duration::from_millis(10);

/// Bytes shown of what such a peer said.
const FOREIGN_SHOWN_MAX: usize = 80;

const HELP: &str = "a line is a message; /quit or Ctrl-D ends; //text sends /text; \
                    /put FILE [NAME], /get NAME, /ls [DIR] are for files";

pub(crate) fn run(args: &ConnectArgs, out: Output) -> Result<Exit, Failure> {
    match args.protocol {
        Protocol::Longshore => talk(args, out, Longshore::max(MESSAGE_MAX)),
        Protocol::Raw => talk(args, out, Raw::max(MESSAGE_MAX)),
        Protocol::Lines => talk(args, out, Lines::max(MESSAGE_MAX)),
        Protocol::Length => talk(args, out, LengthDelimited::u32_be(MESSAGE_MAX)),
    }
}

// ---- sending

/// How the input ended.
enum InputEnd {
    /// So many messages were sent, and there are no more.
    All(u64),
    /// One could not be sent.
    Unsendable(Failure),
}

/// Sends what comes on standard input, on a thread of its own.
fn send_lines<C: Talk>(mut client: Client<C>, addr: String, screen: Screen) -> Receiver<InputEnd> {
    let (teller, told) = channel();
    thread::spawn(move || {
        let end = match send_each(&mut client, &addr, screen) {
            Ok(sent) => InputEnd::All(sent),
            // The receiver finds out as well, and knows better why.
            Err(SendEnd::Broken) => return,
            Err(SendEnd::Unsendable(failure)) => InputEnd::Unsendable(failure),
        };
        let how = if let InputEnd::All(_) = end { Shutdown::Write } else { Shutdown::Both };
        // Told first: whoever sees the consequence finds the cause.
        let _ = teller.send(end);
        let _ = client.stream().shutdown(how);
    });
    told
}

/// Why sending ended early.
enum SendEnd {
    Broken,
    Unsendable(Failure),
}

fn send_each<C: Talk>(client: &mut Client<C>, addr: &str, screen: Screen) -> Result<u64, SendEnd> {
    let (mut input, mut line, mut sent) = (io::stdin().lock(), Vec::new(), 0);
    loop {
        line.clear();
        // No longer than the longest message and its end, or it cannot be sent anyway.
        let mut limited = input.by_ref().take(MESSAGE_MAX as u64 + 2);
        let unsendable = |what: &dyn Display| {
            let text = format!("message {} cannot be sent: {what}", sent + 1);
            SendEnd::Unsendable(Failure::new(Exit::Usage, text))
        };
        let unreadable = |error| {
            let text = format!("cannot read standard input: {error}");
            SendEnd::Unsendable(Failure::new(Exit::Usage, text))
        };
        if limited.read_until(b'\n', &mut line).map_err(unreadable)? == 0 {
            return Ok(sent);
        }
        let text = match typed(&line, screen) {
            Typed::Message(text) => text,
            Typed::Answer(answer) => {
                screen.answer(&answer);
                continue;
            }
            Typed::Files(words) => {
                if let Err(failure) = files(addr, &words, screen.out) {
                    out::line(failure.text);
                }
                screen.prompt();
                continue;
            }
            Typed::Quit => return Ok(sent),
        };
        let message = C::message(text).map_err(|what| unsendable(&what))?;
        match client.send(message) {
            Ok(()) => sent += 1,
            Err(ClientError::Broken(_)) => return Err(SendEnd::Broken),
            Err(error) => return Err(unsendable(&error)),
        }
        screen.prompt();
    }
}

/// What a line means.
enum Typed<'a> {
    Message(&'a [u8]),
    Answer(String),
    /// Something about files, in words.
    Files(Vec<String>),
    Quit,
}

/// Lines of a pipe are messages, whatever they say; a person may also want something of us.
fn typed(line: &[u8], screen: Screen) -> Typed<'_> {
    if !screen.prompts {
        return Typed::Message(line);
    }
    match without_end(line) {
        b"/quit" => Typed::Quit,
        b"/help" => Typed::Answer(HELP.into()),
        [b'/', b'/', ..] => Typed::Message(&line[1..]),
        text if [&b"/put"[..], b"/get", b"/ls"].iter().any(|word| is_word(text, word)) => {
            let text = String::from_utf8_lossy(text);
            Typed::Files(text.split_whitespace().map(Into::into).collect())
        }
        [b'/', ..] => Typed::Answer(format!("no such command; {HELP}")),
        _ => Typed::Message(line),
    }
}

/// Whether a line begins with that word.
fn is_word(line: &[u8], word: &[u8]) -> bool {
    line.strip_prefix(word).is_some_and(|rest| rest.first().is_none_or(u8::is_ascii_whitespace))
}

/// Files go over a connection of their own, so that messages go on meanwhile.
fn files(addr: &str, words: &[String], out: Output) -> Result<Exit, Failure> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let name = |name: &str| {
        FileName::parse(name.trim_end_matches('/'))
            .map_err(|bad| Failure::new(Exit::Usage, format!("{name}: {bad}")))
    };
    match words[..] {
        ["/put", path] => {
            let mut found = Found::default();
            found.add(Path::new(path), None)?;
            put::put(&Session::open(addr)?, found, false, out)
        }
        ["/put", path, to] => {
            let files = vec![(path.into(), name(to)?)];
            let found = Found { files, ..Found::default() };
            put::put(&Session::open(addr)?, found, false, out)
        }
        ["/get", from] => {
            let store = get::store(Path::new("."), false)?;
            get::get(&Session::open(addr)?, &name(from)?, &store, true, out)
        }
        ["/ls"] => ls::list_and_show(addr, None, out),
        ["/ls", folder] => ls::list_and_show(addr, Some(&name(folder)?), out),
        _ => Err(Failure::new(Exit::Usage, HELP)),
    }
}

// ---- receiving

fn talk<C: Talk>(args: &ConnectArgs, out: Output, codec: C) -> Result<Exit, Failure> {
    let client = Client::connect(&args.addr, codec).map_err(|error| not_connected(&error))?;
    let broken = |error| Failure::new(Exit::Broken, format!("connection broke: {error}"));
    let peer = client.stream().peer_addr().map_err(broken)?.to_string();
    let to = Client::over(client.stream().try_clone().map_err(broken)?, codec);
    let screen = Screen { out, prompts: io::stdin().is_terminal() && !out.is_json() };
    if screen.prompts {
        out::line(format_args!("connected to {peer}   {HELP}"));
        screen.prompt();
    }
    let input_end = send_lines(to, args.addr.clone(), screen);
    let wait = args.wait.max(WAIT_MIN);
    Receiving { client, peer, screen, input_end, sent: None, replies: 0, wait, silent_since: None }
        .run()
}

/// The receiving side of a talk.
struct Receiving<C: Codec> {
    client: Client<C>,
    peer: String,
    screen: Screen,
    input_end: Receiver<InputEnd>,
    /// Messages sent, when the input has ended.
    sent: Option<u64>,
    replies: u64,
    wait: Duration,
    /// Since when nothing has come, once the input has ended.
    silent_since: Option<Instant>,
}

impl<C: Talk> Receiving<C> {
    fn run(mut self) -> Result<Exit, Failure> {
        loop {
            self.look_for_end()?;
            let silence = self.silent_since.map_or(Duration::ZERO, |since| since.elapsed());
            match self.sent {
                Some(sent) if silence >= self.wait => return self.silent(sent),
                Some(_) => self.client.set_timeout(Some(self.wait.saturating_sub(silence))),
                None => self.client.set_timeout(Some(END_LOOK)),
            }
            let screen = self.screen;
            match self.client.recv_with(|frame| screen.reply(&C::reply(frame))) {
                Ok(()) => {
                    self.replies += 1;
                    self.silent_since = self.silent_since.map(|_| Instant::now());
                }
                Err(ClientError::TimedOut(_)) => {}
                Err(error) => {
                    self.look_for_end()?;
                    return self.over(error);
                }
            }
        }
    }

    /// Whether the input has ended.
    fn look_for_end(&mut self) -> Result<(), Failure> {
        match self.input_end.try_recv() {
            Ok(InputEnd::All(sent)) => {
                (self.sent, self.silent_since) = (Some(sent), Some(Instant::now()));
            }
            Ok(InputEnd::Unsendable(failure)) => return Err(failure),
            Err(_) => {}
        }
        Ok(())
    }

    /// Nothing came for a while after the last message.
    fn silent(&self, sent: u64) -> Result<Exit, Failure> {
        if sent == 0 || self.replies > 0 {
            return Ok(Exit::Done);
        }
        let text = format!("{} did not answer within {:?} (--wait)", self.peer, self.wait);
        Err(Failure::new(Exit::TimedOut, text))
    }

    /// The connection is over.
    fn over(&mut self, error: ClientError) -> Result<Exit, Failure> {
        let peer = &self.peer;
        let answered = self.replies > 0 || self.sent == Some(0);
        let text = match error {
            ClientError::Closed if self.sent.is_some() && answered => return Ok(Exit::Done),
            ClientError::Closed if answered => format!("{peer} closed the connection"),
            ClientError::Closed => format!(
                "{peer} closed the connection without an answer; are port and --protocol right?"
            ),
            ClientError::Frame(error) if self.replies == 0 => {
                return Err(Failure::new(Exit::Unreachable, self.foreign(&error)));
            }
            error => format!("{peer}: {error}"),
        };
        Err(Failure::new(Exit::Broken, text))
    }

    /// What somebody says who speaks another protocol.
    fn foreign(&self, error: &FrameError) -> String {
        let said = self.first_line();
        let peer = &self.peer;
        if said.starts_with(b"HTTP/") {
            return format!(
                "{peer} answered \"{}\": that is a web server, not a longshore one; is the port right?",
                said.escape_ascii()
            );
        }
        format!("{peer}: {error}; are port and --protocol right?")
    }

    /// The first line that came, or what came of it in time, without its end.
    fn first_line(&self) -> Vec<u8> {
        let mut said = self.client.unread().to_vec();
        let mut stream = self.client.stream();
        let until = Instant::now() + FOREIGN_WAIT;
        let mut piece = [0; FOREIGN_SHOWN_MAX];
        while said.len() < FOREIGN_SHOWN_MAX && !said.contains(&b'\n') {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || stream.set_read_timeout(Some(left)).is_err() {
                break;
            }
            match stream.read(&mut piece) {
                Ok(0) | Err(_) => break,
                Ok(count) => said.extend_from_slice(&piece[..count]),
            }
        }
        let end = said.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
        said.truncate(end.unwrap_or(said.len()).min(FOREIGN_SHOWN_MAX));
        said
    }
}

fn not_connected(error: &ClientError) -> Failure {
    let exit = match error {
        ClientError::Connect { error, .. } if error.kind() == io::ErrorKind::TimedOut => {
            Exit::TimedOut
        }
        _ => Exit::Unreachable,
    };
    Failure::new(exit, error.to_string())
}

// ---- showing

/// What is seen of the talk.
#[derive(Clone, Copy)]
struct Screen {
    out: Output,
    /// Whether a person types.
    prompts: bool,
}

impl Screen {
    fn prompt(self) {
        if self.prompts {
            out::raw(b"> ");
        }
    }

    /// An answer to a person, of ourselves.
    fn answer(self, text: &str) {
        out::line(text);
        self.prompt();
    }

    fn reply(self, reply: &Reply<'_>) {
        let (Reply::Piece(bytes) | Reply::Whole(bytes) | Reply::Numbered(_, bytes)) = *reply;
        if self.out.is_json() {
            return out::object(reply_object(reply));
        }
        if self.prompts {
            let text = String::from_utf8_lossy(bytes);
            let text: String = text.trim_end_matches('\n').chars().map(harmless).collect();
            let number = match reply {
                Reply::Numbered(number, _) => format!("{number}: "),
                _ => String::new(),
            };
            // Over the prompt that stands there already.
            out::line(format_args!("\r< {number}{text}"));
            return self.prompt();
        }
        match reply {
            Reply::Piece(bytes) => out::raw(bytes),
            Reply::Whole(bytes) => out::raw(&[bytes, &b"\n"[..]].concat()),
            Reply::Numbered(number, bytes) => {
                out::line(format_args!("{number}: {}", bytes.escape_ascii()));
            }
        }
    }
}

/// A peer must not steer a person's terminal.
fn harmless(char: char) -> char {
    if char.is_control() && char != '\t' { char::REPLACEMENT_CHARACTER } else { char }
}

fn reply_object(reply: &Reply<'_>) -> Value {
    let (Reply::Piece(bytes) | Reply::Whole(bytes) | Reply::Numbered(_, bytes)) = *reply;
    let mut object = json!({ "event": "reply", "bytes_total": bytes.len() });
    if let Ok(text) = std::str::from_utf8(bytes) {
        object["text"] = text.into();
    } else {
        object["hex"] = out::hex(bytes).into();
    }
    if let Reply::Numbered(number, _) = reply {
        object["number"] = (*number).into();
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_text_are_shown_as_hex() {
        let of = |reply| reply_object(&reply).to_string();
        let text = r#"{"bytes_total":2,"event":"reply","text":"hi"}"#;
        assert_eq!(of(Reply::Whole(b"hi")), text);
        let hex = r#"{"bytes_total":2,"event":"reply","hex":"ff00","number":7}"#;
        assert_eq!(of(Reply::Numbered(7, b"\xff\0")), hex);
    }

    #[test]
    fn a_peer_cannot_steer_the_terminal() {
        assert_eq!("a\x1b[2Jb\t".chars().map(harmless).collect::<String>(), "a\u{fffd}[2Jb\t");
    }
}
