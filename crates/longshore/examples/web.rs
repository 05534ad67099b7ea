//! Files of a folder for browsers and curl, sent as they are: GET, HEAD, and parts to go on with.
//!
//!     cargo run --release --example web -- DIR    # or at another address: -- DIR :8081
//!     curl -C - -O http://127.0.0.1:7480/film.bin
#![expect(clippy::print_stdout, reason = "a program for people")]

use longshore::{Builder, Codec, Ctx, Decoded, FileEvent, FileId, FileSource, FrameError, Handler};
use longshore::{Listener, Out, Result, Server};
use std::{collections::BTreeMap, fmt::Display, ops::Range, str, sync::Arc};

/// `GET /name HTTP/1.1\r\n header: value\r\n ... \r\n`, to be answered by a head, and bytes.
#[derive(Clone, Copy)]
pub(crate) struct Http;

impl Codec for Http {
    type Frame<'a> = &'a str;
    type Item<'a> = &'a dyn Display;
    type Decoder = usize; // how far the end was looked for

    fn frame_bytes_max(&self) -> usize {
        8 << 10
    }

    fn decode<'a>(
        &self,
        seen: &mut usize,
        input: &'a [u8],
    ) -> Result<Decoded<&'a str>, FrameError> {
        let from = seen.saturating_sub(3);
        let Some(end) = input[from..].windows(4).position(|four| four == b"\r\n\r\n") else {
            *seen = input.len();
            return Ok(Decoded::More { total: input.len() + 1 });
        };
        *seen = 0;
        let used = from + end + 4;
        let frame = str::from_utf8(&input[..used]).map_err(FrameError::invalid)?;
        Ok(Decoded::Frame { frame, used })
    }

    fn encode(&self, head: &dyn Display, out: &mut Out<'_>) -> Result<(), FrameError> {
        write!(out, "HTTP/1.1 {head}\r\n\r\n")
    }
}

/// What there is, by name, from the start on: a callback never waits for a disk.
pub(crate) type Files = BTreeMap<String, FileSource>;

pub(crate) struct Client {
    files: Arc<Files>,
    /// When that file is out, it is enough.
    until: Option<FileId>,
}

/// The part that `Range: bytes=FROM-TO` asks for, if it is one of so many bytes.
fn part(range: &str, bytes: u64) -> Option<Range<u64>> {
    let (from, to) = range.trim().strip_prefix("bytes=")?.split_once('-')?;
    let from = from.parse().ok()?;
    let to = if to.is_empty() { bytes } else { to.parse::<u64>().ok()?.checked_add(1)? };
    (from < to && to <= bytes).then_some(from..to)
}

impl Handler for Client {
    type Codec = Http;

    fn on_message(&mut self, cx: &mut Ctx<'_, Self>, request: &str) -> Result {
        let mut lines = request.lines();
        let mut words = lines.next().unwrap_or_default().split(' ');
        let (verb, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let header = |wanted: &str| {
            let mut headers = lines.clone().filter_map(|line| line.split_once(':'));
            headers.find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value)
        };
        let file = path.strip_prefix('/').and_then(|name| self.files.get(name));
        let mut sent = None;
        match (verb, file) {
            ("GET" | "HEAD", Some(file)) => {
                let all = file.bytes();
                let (status, range) = match header("Range").and_then(|range| part(range, all)) {
                    None => ("200 OK\r\nAccept-Ranges: bytes".into(), 0..all),
                    Some(part) => {
                        let (from, to) = (part.start, part.end - 1);
                        let status = "206 Partial Content\r\nContent-Range: bytes ";
                        (format!("{status}{from}-{to}/{all}"), part)
                    }
                };
                let bytes = range.end - range.start;
                cx.send(&format_args!("{status}\r\nContent-Length: {bytes}"))?;
                if verb == "GET" {
                    sent = Some(cx.send_file(file, range)?);
                }
            }
            ("GET" | "HEAD", None) => cx.send(&"404 Not Found\r\nContent-Length: 0")?,
            _ => {
                cx.send(&"405 Method Not Allowed\r\nAllow: GET, HEAD\r\nContent-Length: 0")?;
                cx.close(); // who knows what follows
            }
        }
        if header("Connection").is_some_and(|it| it.trim().eq_ignore_ascii_case("close")) {
            match sent {
                None => cx.close(),
                last => self.until = last, // a close gives what is queued so much time only
            }
        }
        Ok(())
    }

    fn on_file(&mut self, cx: &mut Ctx<'_, Self>, event: FileEvent) -> Result {
        if let FileEvent::Sent(sent) = event {
            // What was announced may not be what was sent.
            if sent.unchanged.is_err() || self.until == Some(sent.id) {
                cx.close();
            }
        }
        Ok(())
    }
}

pub(crate) fn server(listener: Listener<Http>, files: Files) -> Builder {
    let files = Arc::new(files);
    Server::builder().listen(listener, move |_| Ok(Client { files: files.clone(), until: None }))
}

fn main() -> Result {
    tracing_subscriber::fmt().with_writer(std::io::stderr).log_internal_errors(false).init();
    let mut args = std::env::args().skip(1);
    let folder = args.next().unwrap_or_else(|| ".".into());
    let mut files = Files::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        // What is no regular file, or has no such name, is none.
        if let (Ok(name), Ok(file)) =
            (entry.file_name().into_string(), FileSource::open(entry.path()))
        {
            println!("/{name}   {} bytes", file.bytes());
            files.insert(name, file);
        }
    }
    let addr = args.next().unwrap_or_else(|| "127.0.0.1:7480".into());
    server(Listener::tcp(&addr, Http), files).run()
}
