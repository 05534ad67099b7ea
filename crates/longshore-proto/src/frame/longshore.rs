//! The project's own protocol, described in `docs/protocol.md`.

use super::head::{
    DATA_HEAD_BYTES, FILE_CONTROL_BYTES_MAX, HEADER_BYTES, HELLO, HELLO_BYTES, LONGSHORE_VERSION,
    MAGIC, PING, PONG, file_payload_bytes, file_types, header,
};
use super::{Codec, Decoded, Out, PAYLOAD_BYTES_DEFAULT};
use crate::FrameError;
use bytes::Bytes;
use std::str;

/// Most bytes of a ping.
pub const PING_BYTES_MAX: usize = 64;

/// Bytes of the number before the payload of a binary message.
const KIND_BYTES: usize = 2;

const TEXT: u8 = 1;
const BINARY: u8 = 2;
/// From here on, types that a receiver does not know are skipped instead of refused.
const SKIPPED_FROM: u8 = 128;

/// Received bytes that an error shows at most (R25).
const SHOWN_BYTES_MAX: usize = 32;

/// The project's own protocol: text and binary messages, and pings that are answered without the
/// handler. `docs/protocol.md` describes it for those who write a peer in another language.
///
/// ```text
/// | 'L' | version | type | flags | payload length: u32, big-endian | payload |
///   0     1         2      3       4                                 8
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Longshore {
    payload_bytes_max: usize,
    files: bool,
}

/// What is remembered of one connection: of a chunk of a file, of which the handler sees nothing.
#[derive(Debug, Default)]
pub struct LongshoreDecoder {
    /// Bytes of the chunk that are still to come.
    chunk_left: usize,
}

/// What is sent and received in the project's own protocol.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Message<'a> {
    /// Text in UTF-8.
    Text(&'a str),
    /// Bytes, and a number that says what they are; the numbers are the user's.
    Binary(u16, &'a [u8]),
}

impl Longshore {
    /// Payloads of at most 1 MiB.
    pub const fn new() -> Self {
        Self::max(PAYLOAD_BYTES_DEFAULT)
    }

    /// Payloads of at most `payload_bytes_max` bytes, from 64 (a ping) to 4 GiB - 1. The number of
    /// a binary message takes two of them.
    pub const fn max(payload_bytes_max: usize) -> Self {
        Self { payload_bytes_max, files: false }
    }

    /// The same, and files go either way: the peer is told so, and frames of file transfer are taken. A
    /// handler then gets what there is to decide in `on_file`; files are refused by default.
    #[must_use]
    pub const fn with_files(self) -> Self {
        Self { files: true, ..self }
    }

    /// Bytes of the whole frame whose header this is.
    ///
    /// # Errors
    /// When such a frame may not be, so that nothing of it is buffered.
    fn frame_bytes(self, kind: u8, length: u32) -> Result<usize, FrameError> {
        let payload = usize::try_from(length).unwrap_or(usize::MAX);
        let fits = match kind {
            HELLO => length == HELLO_BYTES,
            BINARY => payload >= KIND_BYTES,
            PING | PONG => payload <= PING_BYTES_MAX,
            TEXT | SKIPPED_FROM.. => true,
            _ if self.files && file_payload_bytes(kind).is_some() => {
                let bytes = file_payload_bytes(kind).filter(|bytes| bytes.contains(&payload));
                return match bytes {
                    Some(_) => Ok(HEADER_BYTES + payload),
                    None => Err(wrong_length(kind, length)),
                };
            }
            _ => return Err(FrameError::invalid(format_args!("frame type {kind} is not known"))),
        };
        if !fits {
            return Err(wrong_length(kind, length));
        }
        if payload > self.payload_bytes_max {
            return Err(self.too_long(payload));
        }
        Ok(HEADER_BYTES + payload)
    }

    #[cold]
    fn too_long(self, payload_bytes: usize) -> FrameError {
        let len = (payload_bytes as u64).saturating_add(HEADER_BYTES as u64);
        let max = self.payload_bytes_max.saturating_add(HEADER_BYTES) as u64;
        FrameError::TooLong { len, max }
    }

    /// Frames of file transfer, whose chunks are not waited for as a whole.
    fn decode_file<F>(decoder: &mut LongshoreDecoder, input: &[u8], total: usize) -> Decoded<F> {
        let head = HEADER_BYTES + DATA_HEAD_BYTES;
        if input[2] != file_types::DATA {
            return match input.get(..total) {
                Some(_) => Decoded::File { used: total },
                None => Decoded::More { total },
            };
        }
        if input.len() < head {
            return Decoded::More { total: head };
        }
        let used = total.min(input.len());
        decoder.chunk_left = total - used;
        Decoded::File { used }
    }
}

#[cold]
fn wrong_length(kind: u8, length: u32) -> FrameError {
    let what = format_args!("a frame of type {kind} cannot have a payload of {length} bytes");
    FrameError::invalid(what)
}

impl Default for Longshore {
    fn default() -> Self {
        Self::new()
    }
}

impl Codec for Longshore {
    type Frame<'a> = Message<'a>;
    type Item<'a> = Message<'a>;
    type Decoder = LongshoreDecoder;

    fn frame_bytes_max(&self) -> usize {
        let least = if self.files { FILE_CONTROL_BYTES_MAX } else { 0 };
        self.payload_bytes_max.max(least).saturating_add(HEADER_BYTES)
    }

    fn takes_files(&self) -> bool {
        self.files
    }

    fn check(&self) -> Result<(), FrameError> {
        let max = self.payload_bytes_max;
        if max < PING_BYTES_MAX {
            return Err(FrameError::invalid(format_args!(
                "frame_bytes_max = {max} leaves no room for a ping of {PING_BYTES_MAX} bytes"
            )));
        }
        if u32::try_from(max).is_err() {
            return Err(FrameError::invalid(format_args!(
                "frame_bytes_max = {max} does not fit the 4-byte length (at most {})",
                u32::MAX
            )));
        }
        Ok(())
    }

    #[inline]
    fn decode<'a>(
        &self,
        decoder: &'a mut LongshoreDecoder,
        input: &'a [u8],
    ) -> Result<Decoded<Message<'a>>, FrameError> {
        if decoder.chunk_left > 0 {
            let used = decoder.chunk_left.min(input.len());
            decoder.chunk_left -= used;
            return Ok(Decoded::File { used });
        }
        check_start(input)?;
        let Some(&[_, _, kind, _, a, b, c, d]) = input.first_chunk() else {
            return Ok(Decoded::More { total: HEADER_BYTES });
        };
        let used = self.frame_bytes(kind, u32::from_be_bytes([a, b, c, d]))?;
        if file_payload_bytes(kind).is_some() || (self.files && matches!(kind, HELLO | PONG)) {
            return Ok(Self::decode_file(decoder, input, used));
        }
        let Some(payload) = input.get(HEADER_BYTES..used) else {
            return Ok(Decoded::More { total: used });
        };
        Ok(match (kind, payload) {
            (TEXT, text) => Decoded::Frame { frame: Message::Text(utf8(text)?), used },
            (BINARY, &[high, low, ref bytes @ ..]) => {
                let number = u16::from_be_bytes([high, low]);
                Decoded::Frame { frame: Message::Binary(number, bytes), used }
            }
            (PING, bytes) => Decoded::Reply { used, reply: pong(bytes) },
            _ => Decoded::Skip { used },
        })
    }

    #[inline]
    fn encode(&self, item: Message<'_>, out: &mut Out<'_>) -> Result<(), FrameError> {
        let (kind, payload) = match item {
            Message::Text(text) => (TEXT, text.len()),
            Message::Binary(_, bytes) => (BINARY, bytes.len() + KIND_BYTES),
        };
        let length = match u32::try_from(payload) {
            Ok(length) if payload <= self.payload_bytes_max => length,
            _ => return Err(self.too_long(payload)),
        };
        out.put_slice(&header(kind, length));
        match item {
            Message::Text(text) => out.put_payload(text.as_bytes()),
            Message::Binary(number, bytes) => {
                out.put_u16(number);
                out.put_payload(bytes);
            }
        }
        Ok(())
    }
}

/// The answer to a ping: the same bytes.
fn pong(bytes: &[u8]) -> Bytes {
    let length = u32::try_from(bytes.len()).expect("a ping is short");
    let mut reply = Vec::with_capacity(HEADER_BYTES + bytes.len());
    reply.extend_from_slice(&header(PONG, length));
    reply.extend_from_slice(bytes);
    reply.into()
}

fn utf8(bytes: &[u8]) -> Result<&str, FrameError> {
    str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        FrameError::invalid(format_args!("text is not UTF-8: byte {:#04x} at {at}", bytes[at]))
    })
}

/// Refuses what cannot be a frame as soon as its bytes prove it, however few have come.
#[inline]
fn check_start(input: &[u8]) -> Result<(), FrameError> {
    match *input {
        [magic, ..] if magic != MAGIC => Err(foreign(input)),
        [_, version, ..] if version != LONGSHORE_VERSION => Err(FrameError::invalid(format_args!(
            "peer speaks longshore protocol {version}, this program knows {LONGSHORE_VERSION}"
        ))),
        [_, _, kind, flags, ..] if flags != 0 && kind < SKIPPED_FROM => {
            Err(FrameError::invalid(format_args!("flags {flags:#04x} are not known")))
        }
        _ => Ok(()),
    }
}

/// Says what came instead, for somebody who pointed a browser at the port.
#[cold]
fn foreign(input: &[u8]) -> FrameError {
    const HTTP: [&[u8]; 8] =
        [b"GET ", b"HEAD ", b"POST ", b"PUT ", b"DELETE ", b"OPTIONS ", b"CONNECT ", b"HTTP/"];
    let shown = input[..input.len().min(SHOWN_BYTES_MAX)].escape_ascii();
    let guess = if HTTP.iter().any(|start| input.starts_with(start)) {
        " (looks like HTTP)"
    } else if input.starts_with(&[0x16, 3]) {
        " (looks like TLS)"
    } else {
        ""
    };
    FrameError::invalid(format_args!("not the longshore protocol: \"{shown}\"{guess}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::testing::encode;

    #[test]
    fn each_type_has_its_lengths() {
        let codec = Longshore::max(100);
        for (kind, good, bad) in [
            (HELLO, &[8][..], &[0, 7, 9, u32::MAX][..]),
            (TEXT, &[0, 100], &[101, 1 << 31, u32::MAX]),
            (BINARY, &[2, 100], &[0, 1, 101, u32::MAX]),
            (PING, &[0, 64], &[65, 100, u32::MAX]),
            (PONG, &[0, 64], &[65, u32::MAX]),
            (5, &[], &[0, 1]),
            (16, &[], &[0, 1]),
            (127, &[], &[0]),
            (128, &[0, 100], &[101]),
            (255, &[0, 100], &[101, u32::MAX]),
        ] {
            for &length in good {
                assert_eq!(codec.frame_bytes(kind, length), Ok(8 + length as usize), "{kind}");
            }
            for &length in bad {
                let decoder = &mut LongshoreDecoder::default();
                assert!(codec.decode(decoder, &header(kind, length)).is_err(), "{kind} {length}");
            }
        }
    }

    #[test]
    fn frames_of_files_are_taken_where_files_are() {
        let (without, with) = (Longshore::max(64), Longshore::max(64).with_files());
        assert!(with.frame_bytes_max() == FILE_CONTROL_BYTES_MAX + 8 && with.takes_files());
        assert!(without.frame_bytes_max() == 72 && !without.takes_files());
        for kind in 0..=255 {
            let frame = |length: usize| header(kind, u32::try_from(length).unwrap());
            let Some(lengths) = file_payload_bytes(kind) else { continue };
            for length in [*lengths.start(), *lengths.end()] {
                let mut decoder = LongshoreDecoder::default();
                let head = frame(length);
                let said = with.decode(&mut decoder, &head).unwrap();
                let total = if kind == file_types::DATA { 20 } else { 8 + length };
                assert_eq!(said, Decoded::More { total }, "{kind}");
                let whole = [&frame(length)[..], &vec![0; length]].concat();
                let said = with.decode(&mut decoder, &whole).unwrap();
                assert_eq!(said, Decoded::File { used: 8 + length }, "{kind}");
                assert!(without.decode(&mut decoder, &whole).is_err(), "{kind}");
            }
            for length in [*lengths.start() - 1, *lengths.end() + 1] {
                let mut decoder = LongshoreDecoder::default();
                assert!(with.decode(&mut decoder, &frame(length)).is_err(), "{kind} {length}");
            }
        }
    }

    #[test]
    fn a_chunk_of_a_file_comes_in_pieces_and_holds_no_memory() {
        let codec = Longshore::new().with_files();
        let mut decoder = LongshoreDecoder::default();
        let wire = [&header(file_types::DATA, 12 + 50_000)[..], &[1; 13]].concat();
        for (input, said) in [
            (&wire[..19], Decoded::More { total: 20 }),
            (&wire, Decoded::File { used: 21 }),
            (b"GET /", Decoded::File { used: 5 }), // whatever the file has
            (&vec![0; 60_000], Decoded::File { used: 50_000 - 6 }),
            (b"L", Decoded::More { total: 8 }),
        ] {
            assert_eq!(codec.decode(&mut decoder, input).unwrap(), said);
        }
    }

    #[test]
    fn foreign_bytes_are_refused_at_the_first_one_and_shown() {
        let text = |input: &[u8]| {
            let decoder = &mut LongshoreDecoder::default();
            Longshore::new().decode(decoder, input).unwrap_err().to_string()
        };
        assert_eq!(text(b"\xff"), r#"not the longshore protocol: "\xff""#);
        assert_eq!(
            text(b"GET / HTTP/1.1\r\nHost: example.org\r\n"),
            r#"not the longshore protocol: "GET / HTTP/1.1\r\nHost: example.or" (looks like HTTP)"#
        );
        assert!(text(b"\x16\x03\x01\x02\0\x01").ends_with("(looks like TLS)"));
        assert!(text(b"L\x02").contains("peer speaks longshore protocol 2"));
    }

    #[test]
    fn the_maximum_holds_when_sending_and_is_checked() {
        let codec = Longshore::max(64);
        let text = "x".repeat(65);
        let error = FrameError::TooLong { len: 73, max: 72 };
        assert_eq!(encode(&codec, Message::Text(&text)), Err(error.clone()));
        assert_eq!(encode(&codec, Message::Text(&text[1..])).unwrap().len(), 72);
        assert_eq!(encode(&codec, Message::Binary(0, &text.as_bytes()[2..])), Err(error));
        assert_eq!(codec.check(), Ok(()));
        assert!(Longshore::max(63).check().is_err());
        assert!(Longshore::max(1 << 32).check().is_err());
        assert!(Longshore::max((1 << 32) - 1).check().is_ok());
    }
}
