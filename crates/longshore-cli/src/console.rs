//! The operator's console: commands on standard input, a line each.
//!
//! A thread of its own reads them and answers. It keeps nothing alive and nobody waits for it; it
//! waits for the reader of its answers, as a command of a pipe does.

use crate::echo::Speak;
use crate::input::{self, Line};
use crate::log;
use crate::out::{Output, counted, grouped};
use crate::system::{self, Terminal};
use crate::talk::without_end;
use longshore::{ConnId, ConnInfo, Delivered, FileName, FileSource, FrameError, Sent, Server};
use serde_json::{Value, json};
use std::io::{self, IsTerminal};
use std::path::Path;
use std::sync::Arc;
use std::thread::Builder;

/// Characters shown of what is no command.
const SHOWN_MAX: usize = 40;

/// Names shown of those that an abbreviation may stand for.
const NAMES_SHOWN_MAX: usize = 4;

const COMMANDS: [(&str, &str); 6] = [
    ("list", "who is connected: id, peer, age, messages, bytes that wait to be sent"),
    (
        "send ID TEXT",
        "sends a message to one of them; the start of an ID is enough if no other has it",
    ),
    ("all TEXT", "sends a message to all of them"),
    ("send-file ID FILE", "offers a file of this machine to one of them, which may take it"),
    ("kick ID", "closes one, when it has got what was sent before"),
    ("help", "this"),
];

/// For the banner.
pub(crate) const WORDS: &str = "list, send ID TEXT, all TEXT, send-file ID FILE, kick ID, help";

/// Where commands come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Source {
    /// A person types.
    Terminal,
    /// A pipe, a file.
    Stream,
    /// There are none.
    Nothing,
}

impl Source {
    pub(crate) fn find() -> Self {
        if io::stdin().is_terminal() {
            // Of one that is not ours, nor ever will be, nobody knows who else reads it.
            if system::terminal() == Terminal::None { Self::Nothing } else { Self::Terminal }
        } else if system::input_is_null() {
            Self::Nothing
        } else {
            Self::Stream
        }
    }
}

/// Reads commands from now on, on a thread of its own. Without one there are none.
pub(crate) fn start(source: Source, server: Server, speaker: Arc<dyn Speak>, out: Output) {
    if source == Source::Nothing {
        return;
    }
    let console = Console { server, speaker, out };
    let _ = Builder::new().name("longshore-console".into()).spawn(move || console.run(source));
}

struct Console {
    server: Server,
    speaker: Arc<dyn Speak>,
    out: Output,
}

/// What a line asks for.
#[derive(PartialEq, Eq, Debug)]
enum Command<'a> {
    Nothing,
    List,
    /// The text with its end, as the protocol wants it.
    Send(&'a str, &'a [u8]),
    All(&'a [u8]),
    SendFile(&'a str, &'a str),
    Kick(&'a str),
    Help,
}

impl Console {
    fn run(&self, source: Source) {
        let is_terminal = source == Source::Terminal;
        let ready = || !is_terminal || input::wait_for_terminal();
        let ended = input::each_line(io::stdin().lock(), ready, |line| match line {
            Line::Whole(line) => self.obey(line),
            Line::TooLong => self
                .refuse(&format!("a line has at most {} bytes", grouped(input::LINE_MAX as u64))),
        });
        match ended {
            // A terminal that went away.
            Err(_) if is_terminal => {}
            Err(error) => {
                let text = format!("cannot read commands: {error}; the server goes on without");
                if self.out.is_json() {
                    self.refuse(&text);
                } else {
                    log::say(text);
                }
            }
            Ok(()) if self.out.is_for_person() && is_terminal => {
                let text = "no more commands; the server goes on, Ctrl-C stops it";
                self.out.answer(text, Value::Null);
            }
            Ok(()) => {}
        }
    }

    /// Does what a line says and answers. Says whether more lines are wanted.
    fn obey(&self, line: &[u8]) -> bool {
        match parse(line) {
            Ok(Command::Nothing) => true,
            Ok(Command::List) => self.list(),
            Ok(Command::Send(name, text)) => self.with(name, |id| self.send(id, text)),
            Ok(Command::All(text)) => self.all(text),
            Ok(Command::SendFile(name, path)) => self.with(name, |id| self.send_file(id, path)),
            Ok(Command::Kick(name)) => self.with(name, |id| self.kick(id)),
            Ok(Command::Help) => self.help(),
            Err(why) => self.refuse(&why),
        }
    }

    fn refuse(&self, why: &str) -> bool {
        self.out.answer(why, json!({ "event": "error", "error": why }))
    }

    fn with(&self, name: &str, work: impl FnOnce(ConnId) -> bool) -> bool {
        let all = self.server.connections();
        let names = all.iter().map(|info| (info.id, info.id.to_string()));
        match find(name, names) {
            Ok(id) => work(id),
            Err(why) => self.refuse(&why),
        }
    }

    /// The eldest first.
    fn list(&self) -> bool {
        let mut all = self.server.connections();
        all.sort_unstable_by_key(|info| (info.connected_at, info.id));
        let count = all.len() as u64;
        let end =
            if count == 0 { "nobody is connected".into() } else { counted(count, "connection") };
        all.iter().all(|info| self.list_one(info))
            && self.out.answer(end, json!({ "event": "list", "connections_total": count }))
    }

    fn list_one(&self, info: &ConnInfo) -> bool {
        let age = self.speaker.age(info.connected_at);
        let ConnInfo { id, peer_addr, queued_bytes, messages_in, messages_out, .. } = info;
        let words = format!(
            "{:<9}  {peer_addr}   {:.1} s   {} in, {} out   {} queued",
            id.to_string(),
            age.as_secs_f64(),
            counted(*messages_in, "message"),
            grouped(*messages_out),
            counted(*queued_bytes, "byte"),
        );
        let object = json!({
            "event": "connection",
            "id": id.to_string(),
            "peer": peer_addr.to_string(),
            "age_ms": u64::try_from(age.as_millis()).unwrap_or(u64::MAX),
            "messages_in_total": messages_in,
            "messages_out_total": messages_out,
            "queued_bytes": queued_bytes,
        });
        self.out.answer(words, object)
    }

    fn send(&self, id: ConnId, text: &[u8]) -> bool {
        let sent = match self.speaker.send(&self.server, id, text) {
            Ok(sent) => sent,
            Err(why) => return self.refuse(&format!("{id}: cannot be sent: {why}")),
        };
        let (result, words) = match &sent {
            Sent::Queued => ("queued", "queued".into()),
            Sent::Full => ("full", "full: too much waits to be sent already (--send-queue)".into()),
            Sent::Closed => ("closed", "closed: it is gone, or about to go".into()),
            Sent::Invalid(error @ FrameError::TooLong { .. }) => {
                ("too_long", format!("too long: {error}"))
            }
            Sent::Invalid(error) => ("invalid", format!("cannot be sent: {error}")),
        };
        let object = json!({ "event": "send", "id": id.to_string(), "result": result });
        self.out.answer(format_args!("{id}: {words}"), object)
    }

    fn all(&self, text: &[u8]) -> bool {
        let Delivered { queued, refused, gone, .. } = match self.speaker.send_all(text) {
            Ok(delivered) => delivered,
            Err(why) => return self.refuse(&format!("all: cannot be sent: {why}")),
        };
        let numbers = [queued, refused, gone].map(grouped);
        let [sent_to, not_to, gone_words] = &numbers;
        let words = format!("sent to {sent_to}, refused {not_to}, gone {gone_words}");
        let object = json!({
            "event": "all",
            "queued_total": queued,
            "refused_total": refused,
            "gone_total": gone,
        });
        self.out.answer(words, object)
    }

    /// S142
    fn send_file(&self, id: ConnId, path: &str) -> bool {
        let path = Path::new(path);
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let offered = FileSource::open(path).map_err(|error| error.to_string()).and_then(|file| {
            let name = FileName::parse(name).map_err(|bad| bad.to_string())?;
            self.speaker.send_file(&self.server, id, file, name)
        });
        let (result, words) = match offered {
            Ok(true) => ("offered", format!("{name} is offered")),
            Ok(false) => ("closed", "closed: it is gone, or about to go".into()),
            Err(why) => return self.refuse(&format!("{id}: cannot be offered: {why}")),
        };
        let object = json!({ "event": "send_file", "id": id.to_string(), "result": result });
        self.out.answer(format_args!("{id}: {words}"), object)
    }

    fn kick(&self, id: ConnId) -> bool {
        let (result, words) = match self.server.close(id) {
            Sent::Closed => ("closed", "closed already"),
            _ => ("closing", "closing"),
        };
        let object = json!({ "event": "kick", "id": id.to_string(), "result": result });
        self.out.answer(format_args!("{id}: {words}"), object)
    }

    fn help(&self) -> bool {
        let words: Vec<_> =
            COMMANDS.iter().map(|(command, what)| format!("{command:<17}  {what}")).collect();
        let commands: Vec<_> = COMMANDS.iter().map(|(command, _)| *command).collect();
        self.out.answer(words.join("\n"), json!({ "event": "help", "commands": commands }))
    }
}

/// The command of a line. Its words stand apart by spaces or tabs; a text begins behind one of them.
fn parse(line: &[u8]) -> Result<Command<'_>, String> {
    let (word, rest) = first_word(line);
    let nothing_behind = |command| match without_end(rest).trim_ascii() {
        [] => Ok(command),
        _ => Err(format!("{} takes nothing behind it", shown(word))),
    };
    match word {
        b"" => Ok(Command::Nothing),
        b"list" => nothing_behind(Command::List),
        b"help" => nothing_behind(Command::Help),
        b"all" if has_text(rest) => Ok(Command::All(rest)),
        b"all" => Err("all needs a text: all TEXT".into()),
        b"send" => match id_of(rest) {
            Some((id, text)) if has_text(text) => Ok(Command::Send(id, text)),
            _ => Err("send needs an id, as list shows it, and a text: send ID TEXT".into()),
        },
        b"send-file" => match id_of(rest) {
            Some((id, path)) if has_text(path.trim_ascii()) => {
                let path = std::str::from_utf8(without_end(path).trim_ascii());
                path.map(|path| Command::SendFile(id, path))
                    .map_err(|_| "the name of a file is UTF-8 here".into())
            }
            _ => {
                Err("send-file needs an id, as list shows it, and a file: send-file ID FILE".into())
            }
        },
        b"kick" => match id_of(rest) {
            Some((id, rest)) if !has_text(rest) => Ok(Command::Kick(id)),
            _ => Err("kick needs an id, as list shows it, and no more: kick ID".into()),
        },
        other => Err(format!("no command {}; help lists what there is", shown(other))),
    }
}

/// A word, and what stands behind the one space or tab after it.
fn first_word(line: &[u8]) -> (&[u8], &[u8]) {
    let line = line.trim_ascii_start();
    let end = line.iter().position(u8::is_ascii_whitespace).unwrap_or(line.len());
    let (word, rest) = line.split_at(end);
    (word, rest.strip_prefix(b" ").or(rest.strip_prefix(b"\t")).unwrap_or(rest))
}

fn has_text(rest: &[u8]) -> bool {
    !without_end(rest).is_empty()
}

/// An id, and what stands behind it.
fn id_of(rest: &[u8]) -> Option<(&str, &[u8])> {
    let (id, rest) = first_word(rest);
    let id = std::str::from_utf8(id).ok().filter(|id| !id.is_empty())?;
    Some((id, rest))
}

/// Between quotation marks, without anything that could steer a terminal, and not too much of it.
fn shown(word: &[u8]) -> String {
    let text = String::from_utf8_lossy(word);
    let start: String = text.chars().take(SHOWN_MAX).collect();
    let more = if start.len() < text.len() { "..." } else { "" };
    format!("{start:?}{more}")
}

/// The one whose name that is, or begins so if there is no other.
fn find<T: Copy>(name: &str, all: impl Iterator<Item = (T, String)>) -> Result<T, String> {
    let mut meant = Vec::new();
    for (id, full) in all {
        if full == name {
            return Ok(id);
        }
        if full.starts_with(name) {
            meant.push((id, full));
        }
    }
    match &meant[..] {
        [(id, _)] => Ok(*id),
        [] => Err(format!("no connection {}; list shows who is there", shown(name.as_bytes()))),
        several => {
            let mut names: Vec<_> =
                several.iter().take(NAMES_SHOWN_MAX).map(|(_, name)| name.as_str()).collect();
            if several.len() > NAMES_SHOWN_MAX {
                names.push("...");
            }
            Err(format!("{} may be {}; give more of it", shown(name.as_bytes()), names.join(", ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_apart_and_a_text_is_as_it_was_typed() {
        let of = |line: &'static str| parse(line.as_bytes());
        assert_eq!(of("\n"), Ok(Command::Nothing));
        assert_eq!(of("  list \r\n"), Ok(Command::List));
        assert_eq!(of("help"), Ok(Command::Help));
        assert_eq!(of("send 1f-0  two  words \n"), Ok(Command::Send("1f-0", b" two  words \n")));
        assert_eq!(of("send\t1f-0\tx"), Ok(Command::Send("1f-0", b"x")));
        assert_eq!(of("all \tx\r\n"), Ok(Command::All(b"\tx\r\n")));
        assert_eq!(of("kick 1f-0 \n"), Ok(Command::Kick("1f-0")));
        assert_eq!(of("send-file 1 a b.txt \r\n"), Ok(Command::SendFile("1", "a b.txt")));
    }

    #[test]
    fn what_is_no_command_is_told_in_one_line_that_is_harmless() {
        for line in ["send", "send 1-0", "send 1-0 \n", "send  \n"] {
            assert!(parse(line.as_bytes()).unwrap_err().contains("send ID TEXT"), "{line:?}");
        }
        for line in ["send-file", "send-file 1-0", "send-file 1-0 \n"] {
            assert!(parse(line.as_bytes()).unwrap_err().contains("send-file ID FILE"), "{line:?}");
        }
        for line in ["kick", "kick \n", "kick 1-0 2-0"] {
            assert!(parse(line.as_bytes()).unwrap_err().contains("kick ID"), "{line:?}");
        }
        assert_eq!(parse(b"all\n").unwrap_err(), "all needs a text: all TEXT");
        assert_eq!(parse(b"list all").unwrap_err(), "\"list\" takes nothing behind it");
        let told = parse("\x1b[2J\u{9b}\u{202e}".as_bytes()).unwrap_err();
        assert_eq!(told, r#"no command "\u{1b}[2J\u{9b}\u{202e}"; help lists what there is"#);
        assert!(parse(&vec![b'x'; 1 << 20]).unwrap_err().len() < 100);
    }

    #[test]
    fn a_whole_name_is_that_one_and_a_start_the_only_one() {
        let of = |name| {
            find(
                name,
                [(1, "1-1"), (2, "1-12"), (3, "2-1")]
                    .map(|(id, full)| (id, full.into()))
                    .into_iter(),
            )
        };
        assert_eq!([of("1-1"), of("1-12"), of("2")], [Ok(1), Ok(2), Ok(3)]);
        assert_eq!(of("1").unwrap_err(), "\"1\" may be 1-1, 1-12; give more of it");
        assert_eq!(of("3-1").unwrap_err(), "no connection \"3-1\"; list shows who is there");
        let many = (0..9).map(|number| (number, format!("1-{number}")));
        assert_eq!(
            find("1", many).unwrap_err(),
            "\"1\" may be 1-0, 1-1, 1-2, 1-3, ...; give more of it"
        );
    }

    #[test]
    fn the_words_of_the_banner_are_the_commands() {
        assert_eq!(COMMANDS.map(|(command, _)| command).join(", "), WORDS);
    }
}
