//! A little of Redis, for `redis-cli` and `redis-benchmark`: PING, ECHO, SET, GET, INCR (RESP2).
//!
//!     cargo run --release --example redis    # or at another address: --example redis :6381
//!     redis-cli -p 6380 set ship longshore
//!     redis-benchmark -p 6380 -P 16 -q -t ping,set,get,incr

use longshore::{
    Builder, Codec, Ctx, Decoded, FrameError, Handler, Limits, Listener, Out, Result, Server,
};
use std::sync::{Arc, Mutex};
use std::{collections::BTreeMap, str};

/// `*2 $4 ECHO $2 hi` with `\r\n` behind each number and word, or a line of words: `ECHO hi`.
pub(crate) struct Resp;

const COMMAND_BYTES_MAX: usize = 1 << 20;
const WORDS_MAX: usize = 1 << 10;

/// The first words of a command, borrowed from the received bytes, and how many it has.
pub(crate) type Command<'a> = ([&'a [u8]; 4], usize);

pub(crate) enum Reply<'a> {
    Simple(&'static str),
    Error(String),
    Integer(i64),
    Value(Option<&'a [u8]>),
}

/// The first line of `input` without its end, and what is behind it.
fn line(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = input.iter().position(|byte| *byte == b'\n')?;
    let line = &input[..end];
    Some((line.strip_suffix(b"\r").unwrap_or(line), &input[end + 1..]))
}

/// The number in `line`, behind that mark.
fn number(mark: char, line: &[u8], max: usize) -> Result<usize, FrameError> {
    let number = str::from_utf8(line).ok().and_then(|line| line.strip_prefix(mark)?.parse().ok());
    let wrong = || FrameError::invalid(format_args!("no number up to {max} behind {mark}"));
    number.filter(|number| *number <= max).ok_or_else(wrong)
}

impl Codec for Resp {
    type Frame<'a> = Command<'a>;
    type Item<'a> = Reply<'a>;
    type Decoder = ();

    fn frame_bytes_max(&self) -> usize {
        COMMAND_BYTES_MAX // a longer command is refused as soon as a length in it says so
    }

    #[inline]
    fn decode<'a>(&self, (): &mut (), input: &'a [u8]) -> Result<Decoded<Command<'a>>, FrameError> {
        let more = |total| Ok(Decoded::More { total });
        let (mut words, mut count) = ([&b""[..]; 4], 0);
        let mut push = |word| {
            words.get_mut(count).into_iter().for_each(|place| *place = word);
            count += 1;
        };
        let Some((first, mut rest)) = line(input) else { return more(input.len() + 1) };
        if input[0] != b'*' {
            first.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).for_each(push);
            return Ok(Decoded::Frame { frame: (words, count), used: input.len() - rest.len() });
        }
        for _ in 0..number('*', first, WORDS_MAX)? {
            let Some((len, word)) = line(rest) else { return more(input.len() + 1) };
            let total = input.len() - word.len() + number('$', len, COMMAND_BYTES_MAX)? + 2;
            if total > input.len() {
                return more(total);
            }
            let (word, behind) = word.split_at(total + word.len() - input.len());
            let too_long = || FrameError::invalid("a word is longer than it says");
            push(word.strip_suffix(b"\r\n").ok_or_else(too_long)?);
            rest = behind;
        }
        Ok(Decoded::Frame { frame: (words, count), used: input.len() - rest.len() })
    }

    #[inline]
    fn encode(&self, reply: Reply<'_>, out: &mut Out<'_>) -> Result<(), FrameError> {
        match reply {
            Reply::Simple(text) => {
                out.put_u8(b'+');
                out.put_slice(text.as_bytes());
            }
            Reply::Error(text) => write!(out, "-ERR {text}")?,
            Reply::Integer(number) => write!(out, ":{number}")?,
            Reply::Value(None) => out.put_slice(b"$-1"),
            Reply::Value(Some(value)) => {
                write!(out, "${}\r\n", value.len())?;
                out.put_payload(value);
            }
        }
        out.put_slice(b"\r\n");
        Ok(())
    }
}

/// What was set, for all connections. Nothing bounds it, as in a Redis without `maxmemory`.
struct Client(Arc<Mutex<BTreeMap<Vec<u8>, Vec<u8>>>>);

fn next(value: &[u8]) -> Result<i64, &'static str> {
    let number = str::from_utf8(value).ok().and_then(|text| text.parse::<i64>().ok());
    let number = number.ok_or("value is not an integer or out of range")?;
    number.checked_add(1).ok_or("increment or decrement would overflow")
}

impl Handler for Client {
    type Codec = Resp;

    fn on_message(&mut self, cx: &mut Ctx<'_, Self>, (words, count): Command<'_>) -> Result {
        let (name, mut store) = (words[0].to_ascii_lowercase(), self.0.lock().expect("no panic"));
        cx.send(match (&name[..], &words[1..count.clamp(1, words.len())]) {
            _ if count == 0 => return Ok(()), // an empty line
            (b"ping", []) => Reply::Simple("PONG"),
            (b"ping" | b"echo", [text]) => Reply::Value(Some(text)),
            (b"get", [key]) => Reply::Value(store.get(*key).map(Vec::as_slice)),
            (b"set", [key, value]) => {
                store.insert(key.to_vec(), value.to_vec());
                Reply::Simple("OK")
            }
            (b"incr", [key]) => match next(store.get(*key).map_or(b"0", |value| value)) {
                Ok(number) => {
                    store.insert(key.to_vec(), number.to_string().into());
                    Reply::Integer(number)
                }
                Err(why) => Reply::Error(why.into()),
            },
            (b"ping" | b"echo" | b"get" | b"set" | b"incr", _) => {
                Reply::Error(format!("wrong number of arguments for '{}'", name.escape_ascii()))
            }
            _ => Reply::Error(format!("unknown command '{}'", words[0].escape_ascii())),
        })
    }
}

pub(crate) fn redis(listener: Listener<Resp>) -> Builder {
    let store = Arc::default();
    // Room for what a client may ask for at once, as Redis has its `client-output-buffer-limit`.
    let listener = listener.limits(Limits::new().send_queue_bytes(64 << 20));
    Server::builder().listen(listener, move |_| Ok(Client(Arc::clone(&store))))
}

fn main() -> Result {
    tracing_subscriber::fmt().with_writer(std::io::stderr).log_internal_errors(false).init();
    let addr = std::env::args().nth(1).unwrap_or("127.0.0.1:6380".into());
    redis(Listener::tcp(&addr, Resp)).run()
}
