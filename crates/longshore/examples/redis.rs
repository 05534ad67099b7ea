//! As much of Redis as `redis-cli` and `redis-benchmark` need: PING, ECHO, SET, GET, INCR (RESP2).
//!
//!     cargo run --release --example redis    # or at another address: --example redis :6381
//!     redis-cli -p 6380 set ship longshore
//!     OK
//!     redis-benchmark -p 6380 -P 16 -q -t ping,set,get,incr

use longshore::{Builder, Codec, Ctx, Decoded, FrameError, Handler, Listener, Out, Result, Server};
use std::sync::{Arc, Mutex};
use std::{collections::BTreeMap, fmt, io::Write, str};

/// `*2 $4 ECHO $2 hi` with `\r\n` behind each number and word, or a line of words: `ECHO hi`.
pub(crate) struct Resp;

const COMMAND_BYTES_MAX: usize = 1 << 20;
const WORDS_MAX: usize = 1 << 10;

/// The first words of a command, borrowed from the received bytes, and how many it has.
#[derive(Default)]
pub(crate) struct Command<'a>([&'a [u8]; 4], usize);

impl<'a> Command<'a> {
    fn push(&mut self, word: &'a [u8]) {
        self.0.get_mut(self.1).into_iter().for_each(|place| *place = word);
        self.1 += 1;
    }
}

/// The number behind `mark`, and what is behind its `\r\n`; `None` until that is there.
fn number(mark: u8, max: usize, input: &[u8]) -> Result<Option<(usize, &[u8])>, FrameError> {
    let [first, rest @ ..] = input else { return Ok(None) };
    let (digits, rest) = rest.split_at(rest.iter().take_while(|c| c.is_ascii_digit()).count());
    let add = |sum: usize, c: &u8| sum.saturating_mul(10).saturating_add((c - b'0').into());
    let number = digits.iter().fold(0, add);
    match rest {
        _ if *first != mark || number > max => {}
        [b'\r', b'\n', rest @ ..] if !digits.is_empty() => return Ok(Some((number, rest))),
        [] | [b'\r'] => return Ok(None),
        _ => {}
    }
    Err(FrameError::invalid(format_args!("no number up to {max} behind {}", char::from(mark))))
}

/// A line to answer, without its end, or a value.
pub(crate) enum Reply<'a> {
    Line(fmt::Arguments<'a>),
    Value(&'a [u8]),
}

impl Codec for Resp {
    type Frame<'a> = Command<'a>;
    type Item<'a> = Reply<'a>;
    type Decoder = ();

    fn frame_bytes_max(&self) -> usize {
        COMMAND_BYTES_MAX // a longer command is refused as soon as a length in it says so
    }

    fn decode<'a>(&self, (): &mut (), input: &'a [u8]) -> Result<Decoded<Command<'a>>, FrameError> {
        let more = |total: usize| Ok(Decoded::More { total: total.max(input.len() + 1) });
        let mut frame = Command::default();
        if input[0] != b'*' {
            let Some(end) = input.iter().position(|byte| *byte == b'\n') else { return more(0) };
            let words = input[..end].split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
            words.for_each(|word| frame.push(word));
            return Ok(Decoded::Frame { frame, used: end + 1 });
        }
        let Some((count, mut rest)) = number(b'*', WORDS_MAX, input)? else { return more(0) };
        for _ in 0..count {
            let Some((len, word)) = number(b'$', COMMAND_BYTES_MAX, rest)? else { return more(0) };
            let Some((word, behind)) = word.split_at_checked(len + 2) else {
                return more(input.len() - word.len() + len + 2);
            };
            let Some(word) = word.strip_suffix(b"\r\n") else {
                return Err(FrameError::invalid("a word longer than it said"));
            };
            frame.push(word);
            rest = behind;
        }
        Ok(Decoded::Frame { frame, used: input.len() - rest.len() })
    }

    fn encode(&self, reply: Reply<'_>, out: &mut Out<'_>) -> Result<(), FrameError> {
        match reply {
            Reply::Line(text) => write!(out, "{text}\r\n")?,
            Reply::Value(value) => {
                write!(out, "${}\r\n", value.len())?;
                out.put_payload(value);
                out.put_slice(b"\r\n");
            }
        }
        Ok(())
    }
}

/// What was set, for all connections. Nothing bounds it, as in a Redis without `maxmemory`.
type Store = Arc<Mutex<BTreeMap<Vec<u8>, Vec<u8>>>>;

struct Client(Store);

fn next(value: &[u8]) -> Result<i64, &'static str> {
    let number = str::from_utf8(value).ok().and_then(|text| text.parse::<i64>().ok());
    let number = number.filter(|number| number.to_string().as_bytes() == value); // not "+07"
    let number = number.ok_or("value is not an integer or out of range")?;
    number.checked_add(1).ok_or("increment or decrement would overflow")
}

impl Handler for Client {
    type Codec = Resp;

    fn on_message(&mut self, cx: &mut Ctx<'_, Self>, Command(words, count): Command<'_>) -> Result {
        let name = words[0].to_ascii_lowercase();
        let mut line = |text: fmt::Arguments<'_>| cx.send(Reply::Line(text));
        let mut store = self.0.lock().expect("no panic inside");
        match (&name[..], &words[1..count.clamp(1, words.len())]) {
            _ if count == 0 => Ok(()), // an empty line
            (b"ping", []) => line(format_args!("+PONG")),
            (b"ping" | b"echo", [text]) => cx.send(Reply::Value(text)),
            (b"get", [key]) => match store.get(*key) {
                Some(value) => cx.send(Reply::Value(value)),
                None => line(format_args!("$-1")),
            },
            (b"set", [key, value]) => {
                store.insert(key.to_vec(), value.to_vec());
                line(format_args!("+OK"))
            }
            (b"incr", [key]) => match next(store.get(*key).map_or(b"0", |value| value)) {
                Ok(number) => {
                    store.insert(key.to_vec(), number.to_string().into());
                    line(format_args!(":{number}"))
                }
                Err(why) => line(format_args!("-ERR {why}")),
            },
            (b"ping" | b"echo" | b"get" | b"set" | b"incr", _) => {
                let name = name.escape_ascii();
                line(format_args!("-ERR wrong number of arguments for '{name}' command"))
            }
            _ => {
                let name = words[0][..words[0].len().min(128)].escape_ascii();
                line(format_args!("-ERR unknown command '{name}'"))
            }
        }
    }
}

pub(crate) fn redis(listener: Listener<Resp>) -> Builder {
    let store = Store::default();
    Server::builder().listen(listener, move |_| Ok(Client(store.clone())))
}

fn main() -> Result {
    tracing_subscriber::fmt().with_writer(std::io::stderr).log_internal_errors(false).init();
    let addr = std::env::args().nth(1).unwrap_or("127.0.0.1:6380".into());
    redis(Listener::tcp(&addr, Resp)).run()
}
