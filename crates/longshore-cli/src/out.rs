//! What people and programs get to see.

use crate::args::Common;
use crate::exit::{Exit, Failure};
use crate::log;
use serde_json::{Map, Value, json};
use std::fmt::{Display, Write as _};
use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;
use tracing_subscriber::filter::{FilterFn, LevelFilter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Version of the shape of `--json` lines.
const JSON_VERSION: u32 = 1;

/// Width of the word at the start of a line.
const LABEL_WIDTH: usize = 9;

/// Where the log has the ends of connections from.
const LIFE: &str = "longshore::worker::life";

/// How to speak: in words or JSON, with colour or without.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    common: Common,
    /// A person reads the answers.
    person: bool,
    colour: bool,
}

impl Output {
    /// As the command line asks; the log goes to stderr.
    pub(crate) fn new(common: Common) -> Self {
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let level = match (common.quiet, common.verbose) {
            (true, _) => LevelFilter::ERROR,
            (false, 0) => LevelFilter::INFO,
            (false, 1) => LevelFilter::DEBUG,
            (false, _) => LevelFilter::TRACE,
        };
        let terminal = io::stdout().is_terminal();
        let person = terminal && !common.json && !common.quiet;
        // Both are seen side by side.
        let told_twice = person && io::stderr().is_terminal();
        log::start();
        if common.json {
            log::tell_dropped_answers(dropped_object);
        }
        tracing_subscriber::fmt()
            .with_max_level(level)
            .with_target(false)
            .with_ansi(!no_colour && io::stderr().is_terminal())
            .with_writer(|| log::Line)
            .log_internal_errors(false)
            .finish()
            .with(FilterFn::new(move |line| {
                // The end of a connection that is nobody's fault: `feed` tells it too.
                let level = LevelFilter::from_level(*line.level());
                !(told_twice && level == LevelFilter::DEBUG && line.target() == LIFE)
            }))
            .init();
        let colour = !no_colour && terminal;
        Self { common, person, colour }
    }

    /// Says nothing but errors: for what is only a step of something else.
    pub(crate) fn silent() -> Self {
        let common = Common { json: false, quiet: true, verbose: 0 };
        Self { common, person: false, colour: false }
    }

    /// Whether the answer is to be JSON.
    pub(crate) fn is_json(self) -> bool {
        self.common.json
    }

    /// Whether only what was asked for is to be said.
    pub(crate) fn is_quiet(self) -> bool {
        self.common.quiet
    }

    /// Whether more is to be said.
    pub(crate) fn is_verbose(self) -> bool {
        self.common.verbose > 0
    }

    /// Whether a person sees what happens: words, on a terminal.
    pub(crate) fn is_for_person(self) -> bool {
        self.person
    }

    /// The answer to something asked: words or an object. It waits for who reads it, unlike others.
    /// Says whether answers are still wanted.
    pub(crate) fn answer(self, words: impl Display, fields: Value) -> bool {
        let line = if self.common.json {
            format!("{}\n", versioned(fields))
        } else {
            format!("{words}\n")
        };
        log::patient_answer(line.as_bytes())
    }

    /// A line behind a word that says what it is about.
    pub(crate) fn labelled(self, label: &str, text: impl Display) {
        let padding = LABEL_WIDTH.saturating_sub(label.len());
        line(format_args!("{}{:padding$}  {text}", self.bold(label), ""));
    }

    /// Why the program ends, on stderr.
    pub(crate) fn failure(self, failure: &Failure) {
        if self.common.json {
            object(json!({ "error": failure.text, "exit_code": failure.exit as u8 }));
        } else {
            log::say(&failure.text);
        }
    }

    /// Stands out in a terminal.
    pub(crate) fn bold(self, text: &str) -> String {
        self.styled("1", text)
    }

    /// `text` in a style of ECMA-48, section 8.3.117, where that is wanted.
    pub(crate) fn styled(self, style: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{style}m{text}\x1b[0m") } else { text.into() }
    }
}

/// Why an answer could not be written, the first time.
static LOST: OnceLock<io::Error> = OnceLock::new();

/// A line of an answer.
pub(crate) fn line(text: impl Display) {
    let line = format!("{text}\n");
    if !log::answer(line.as_bytes()) {
        raw(line.as_bytes());
    }
}

/// Waits for no reader of answers from now on: for a server, which has to stop without one.
pub(crate) fn wait_for_nobody() {
    log::start_answers(raw);
}

fn dropped_object(count: u64) -> String {
    format!("{}\n", versioned(json!({ "event": "dropped", "lines_total": count })))
}

/// Bytes as they are.
pub(crate) fn raw(bytes: &[u8]) {
    let mut stdout = io::stdout().lock();
    note(stdout.write_all(bytes).and_then(|()| stdout.flush()));
}

/// All bytes of a file, as they are.
pub(crate) fn copy(from: &mut impl io::Read) {
    let mut stdout = io::stdout().lock();
    note(io::copy(from, &mut stdout).and_then(|_| stdout.flush()));
}

/// That nobody reads an answer is no error of ours; that there is no room for it is one.
fn note(written: io::Result<()>) {
    if let Err(error) = written {
        if error.kind() != io::ErrorKind::BrokenPipe {
            let _ = LOST.set(error); // the first one is told
        }
    }
}

/// Whether all answers were written.
pub(crate) fn all_written() -> Result<(), Failure> {
    match LOST.get() {
        None => Ok(()),
        Some(error) => Err(Failure::new(Exit::No, format!("cannot write the answer: {error}"))),
    }
}

/// An object on a line of its own, with the version of its shape first.
pub(crate) fn object(fields: Value) {
    line(versioned(fields));
}

fn versioned(fields: Value) -> Value {
    let mut object = Map::from_iter([("v".into(), JSON_VERSION.into())]);
    if let Value::Object(fields) = fields {
        object.extend(fields);
    }
    Value::Object(object)
}

/// Two digits a byte.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}"); // a String takes everything
        hex
    })
}

/// `1234567` as `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 worker`, `2 workers`.
pub(crate) fn counted(number: u64, word: &str) -> String {
    format!("{} {word}{}", grouped(number), if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_numbers_are_grouped_by_thousands() {
        let of = [0, 999, 1000, 1_234_567].map(grouped);
        assert_eq!(of, ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([counted(1, "worker"), counted(2, "worker")], ["1 worker", "2 workers"]);
    }

    #[test]
    fn every_object_has_a_version() {
        assert_eq!(
            versioned(json!({ "bytes_total": 3 })).to_string(),
            r#"{"bytes_total":3,"v":1}"#
        );
    }
}
