//! Lines of text.

use super::{Codec, Decoded, Out};
use crate::FrameError;
use std::str;

/// Lines of UTF-8 text. A line feed ends one, with or without a carriage return before it; a line
/// feed is what is written. The handler gets the line without its end.
///
/// ```text
/// | text | \n |    or    | text | \r | \n |
///   max bytes with the end
/// ```
///
/// When the stream ends, what came behind the last line feed is the last line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lines {
    line_bytes_max: usize,
}

/// How far the line at hand was searched for its end, so that no byte is looked at twice.
#[derive(Default, Debug)]
pub struct LinesDecoder {
    searched: usize,
}

impl Lines {
    /// Lines of at most `line_bytes_max` bytes on the wire, their end included; 1 or more.
    pub const fn max(line_bytes_max: usize) -> Self {
        Self { line_bytes_max }
    }
}

impl Codec for Lines {
    type Frame<'a> = &'a str;
    type Item<'a> = &'a str;
    type Decoder = LinesDecoder;

    fn frame_bytes_max(&self) -> usize {
        self.line_bytes_max
    }

    fn check(&self) -> Result<(), FrameError> {
        if self.line_bytes_max == 0 {
            return Err(FrameError::invalid("frame_bytes_max = 0 leaves no room for a line end"));
        }
        Ok(())
    }

    #[inline]
    fn decode<'a>(
        &self,
        decoder: &'a mut LinesDecoder,
        input: &'a [u8],
    ) -> Result<Decoded<&'a str>, FrameError> {
        let end = input.len().min(self.line_bytes_max);
        let searched = decoder.searched.min(end);
        let Some(found) = memchr::memchr(b'\n', &input[searched..end]) else {
            if end == self.line_bytes_max {
                let max = self.line_bytes_max as u64;
                return Err(FrameError::TooLong { len: max.saturating_add(1), max });
            }
            decoder.searched = end;
            return Ok(Decoded::More { total: end + 1 });
        };
        decoder.searched = 0;
        let line_end = searched + found;
        Ok(Decoded::Frame { frame: text(&input[..line_end])?, used: line_end + 1 })
    }

    #[inline]
    fn encode(&self, item: &str, out: &mut Out<'_>) -> Result<(), FrameError> {
        if memchr::memchr(b'\n', item.as_bytes()).is_some() || item.ends_with('\r') {
            let what = "a line holds a line feed, or ends in a carriage return: it would be read \
                        as another";
            return Err(FrameError::invalid(what));
        }
        out.put_payload(item.as_bytes());
        out.put_u8(b'\n');
        Ok(())
    }

    fn decode_end<'a>(
        &self,
        _: &'a mut LinesDecoder,
        input: &'a [u8],
    ) -> Result<Option<&'a str>, FrameError> {
        text(input).map(Some)
    }
}

/// The line in bytes that came before a line feed.
#[inline]
fn text(bytes: &[u8]) -> Result<&str, FrameError> {
    let line = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    str::from_utf8(line).map_err(|error| {
        let at = error.valid_up_to();
        FrameError::invalid(format_args!("line is not UTF-8: byte {:#04x} at {at}", line[at]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::testing::{decode_all, encode};

    fn lines(input: &[u8]) -> (Vec<String>, Result<(), FrameError>) {
        decode_all(&Lines::max(8), input)
    }

    #[test]
    fn both_line_ends_are_read_and_a_lone_return_is_text() {
        assert_eq!(lines(b"a\nb\r\n\n\r\nc\rd\n").0, ["a", "b", "", "", "c\rd"]);
    }

    #[test]
    fn the_last_line_may_lack_its_end() {
        assert_eq!(lines(b"a\nbc"), (vec!["a".into(), "bc".into()], Ok(())));
        assert_eq!(lines(b"bc\r"), (vec!["bc".into()], Ok(())));
    }

    #[test]
    fn a_line_of_the_maximum_passes_and_one_byte_more_does_not() {
        assert_eq!(lines(b"1234567\n").0, ["1234567"]);
        assert_eq!(lines(b"123456\r\n").0, ["123456"]);
        let error = FrameError::TooLong { len: 9, max: 8 };
        for input in [&b"12345678\n"[..], b"12345678", b"1234567\r\n", b"123456789012"] {
            assert_eq!(lines(input), (vec![], Err(error.clone())), "{input:?}");
        }
    }

    #[test]
    fn what_is_not_utf8_is_refused_and_named() {
        let (frames, end) = lines(b"ok\na\xffb\n");
        assert_eq!(frames, ["ok"]);
        assert_eq!(end.unwrap_err().to_string(), "line is not UTF-8: byte 0xff at 1");
    }

    #[test]
    fn an_item_that_would_be_read_as_another_is_refused() {
        let codec = Lines::max(8);
        assert_eq!(encode(&codec, "a\rb").unwrap(), b"a\rb\n");
        assert_eq!(encode(&codec, "").unwrap(), b"\n");
        for item in ["a\nb", "\n", "a\r"] {
            assert!(matches!(encode(&codec, item), Err(FrameError::Invalid(_))), "{item:?}");
        }
        assert!(matches!(encode(&codec, "12345678"), Err(FrameError::TooLong { .. })));
    }

    #[test]
    fn no_byte_is_searched_twice() {
        let codec = Lines::max(100);
        let mut decoder = LinesDecoder::default();
        assert_eq!(codec.decode(&mut decoder, b"abc"), Ok(Decoded::More { total: 4 }));
        // A line feed among what was searched already would be found otherwise.
        assert_eq!(codec.decode(&mut decoder, b"a\ncd"), Ok(Decoded::More { total: 5 }));
        let frame = Decoded::Frame { frame: "abcd", used: 5 };
        assert_eq!(codec.decode(&mut decoder, b"abcd\n"), Ok(frame));
        assert_eq!(codec.decode(&mut decoder, b"\n"), Ok(Decoded::Frame { frame: "", used: 1 }));
    }
}
