//! Frames that end in certain bytes.

use super::{Codec, Decoded, Out};
use crate::FrameError;
use memchr::memmem::Finder;

/// Most bytes of a delimiter.
pub const DELIMITER_BYTES_MAX: usize = 16;

/// Frames that end in certain bytes, which no frame holds. The handler gets the frame without them.
///
/// ```text
/// | frame | delimiter: 1 to 16 bytes | frame | delimiter | ...
///   max bytes with the delimiter
/// ```
#[derive(Clone, Debug)]
pub struct Delimiter {
    delimiter: Finder<'static>,
    frame_bytes_max: usize,
}

/// How far the frame at hand was searched for its end, so that no byte is looked at twice but the
/// few in which a delimiter may have begun.
#[derive(Default, Debug)]
pub struct DelimiterDecoder {
    searched: usize,
}

impl Delimiter {
    /// Frames that end in `delimiter`, 1 to 16 bytes, and have at most `frame_bytes_max` bytes with
    /// it.
    pub fn new(delimiter: &[u8], frame_bytes_max: usize) -> Self {
        Self { delimiter: Finder::new(delimiter).into_owned(), frame_bytes_max }
    }

    /// Whether `item` and the delimiter behind it are read as `item`. They are not if a delimiter
    /// is in it, and neither if one begins in its end: with "--", "a-" would be read as "a".
    fn is_frame(&self, item: &[u8]) -> bool {
        let delimiter = self.delimiter.needle();
        let begins_in_the_end = |count: usize| {
            let (begin, rest) = delimiter.split_at(count);
            item.ends_with(begin) && delimiter.starts_with(rest)
        };
        self.delimiter.find(item).is_none() && !(1..delimiter.len()).any(begins_in_the_end)
    }
}

impl Codec for Delimiter {
    type Frame<'a> = &'a [u8];
    type Item<'a> = &'a [u8];
    type Decoder = DelimiterDecoder;

    fn frame_bytes_max(&self) -> usize {
        self.frame_bytes_max
    }

    fn check(&self) -> Result<(), FrameError> {
        let len = self.delimiter.needle().len();
        if !(1..=DELIMITER_BYTES_MAX).contains(&len) {
            return Err(FrameError::invalid(format_args!(
                "a delimiter of {len} bytes cannot be: 1 to {DELIMITER_BYTES_MAX} can"
            )));
        }
        if self.frame_bytes_max < len {
            return Err(FrameError::invalid(format_args!(
                "frame_bytes_max = {} leaves no room for the delimiter of {len} bytes",
                self.frame_bytes_max
            )));
        }
        Ok(())
    }

    #[inline]
    fn decode<'a>(
        &self,
        decoder: &'a mut DelimiterDecoder,
        input: &'a [u8],
    ) -> Result<Decoded<&'a [u8]>, FrameError> {
        let len = self.delimiter.needle().len();
        let end = input.len().min(self.frame_bytes_max);
        let from = decoder.searched.saturating_sub(len.saturating_sub(1)).min(end);
        let Some(found) = self.delimiter.find(&input[from..end]) else {
            if end == self.frame_bytes_max {
                let max = self.frame_bytes_max as u64;
                return Err(FrameError::TooLong { len: max.saturating_add(1), max });
            }
            decoder.searched = end;
            return Ok(Decoded::More { total: end + 1 });
        };
        decoder.searched = 0;
        let frame_end = from + found;
        Ok(Decoded::Frame { frame: &input[..frame_end], used: frame_end + len })
    }

    #[inline]
    fn encode(&self, item: &[u8], out: &mut Out<'_>) -> Result<(), FrameError> {
        if !self.is_frame(item) {
            let what = "the item holds the delimiter, or ends in the start of one: it would be \
                        read as another";
            return Err(FrameError::invalid(what));
        }
        out.put_payload(item);
        out.put_slice(self.delimiter.needle());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::testing::{decode_all, encode};

    fn frames(delimiter: &[u8], input: &[u8]) -> (Vec<Vec<u8>>, Result<(), FrameError>) {
        decode_all(&Delimiter::new(delimiter, 8), input)
    }

    #[test]
    fn frames_end_where_the_delimiter_begins() {
        assert_eq!(frames(b"\0", b"a\0\0bc\0").0, [&b"a"[..], b"", b"bc"]);
        assert_eq!(frames(b"--", b"a-b--c--").0, [b"a-b", &b"c"[..]]);
        let truncated = Err(FrameError::Truncated { have: 2, need: 3 });
        assert_eq!(frames(b"--", b"a-"), (vec![], truncated));
    }

    #[test]
    fn a_delimiter_torn_at_any_byte_is_found() {
        let delimiter = *b"<0123456789abcd>";
        let codec = Delimiter::new(&delimiter, 100);
        let input = [b"frame", &delimiter[..]].concat();
        for cut in 1..input.len() {
            let mut decoder = DelimiterDecoder::default();
            let more = codec.decode(&mut decoder, &input[..cut]);
            assert_eq!(more, Ok(Decoded::More { total: cut + 1 }));
            let frame = Decoded::Frame { frame: &b"frame"[..], used: input.len() };
            assert_eq!(codec.decode(&mut decoder, &input), Ok(frame));
        }
    }

    #[test]
    fn a_frame_of_the_maximum_passes_and_one_byte_more_does_not() {
        assert_eq!(frames(b"--", b"123456--").0, [b"123456"]);
        let error = FrameError::TooLong { len: 9, max: 8 };
        for input in [&b"1234567--"[..], b"12345678", b"1234567-"] {
            assert_eq!(frames(b"--", input), (vec![], Err(error.clone())));
        }
    }

    #[test]
    fn an_item_that_would_be_read_as_another_is_refused() {
        let codec = Delimiter::new(b"\r\n\r\n", 100);
        assert_eq!(encode(&codec, b"a\r\nb").unwrap(), b"a\r\nb\r\n\r\n");
        assert_eq!(encode(&codec, b"a\r").unwrap(), b"a\r\r\n\r\n");
        for item in [&b"a\r\n"[..], b"a\r\n\r\nb", b"\r\n\r\n"] {
            assert!(matches!(encode(&codec, item), Err(FrameError::Invalid(_))), "{item:?}");
        }
        let dashes = Delimiter::new(b"--", 100);
        assert!(matches!(encode(&dashes, b"a-"), Err(FrameError::Invalid(_))));
        assert!(matches!(encode(&codec, &[b'a'; 97]), Err(FrameError::TooLong { .. })));
    }

    #[test]
    fn a_delimiter_of_nothing_or_too_much_is_refused() {
        assert!(Delimiter::new(b"", 100).check().is_err());
        assert!(Delimiter::new(&[1; 17], 100).check().is_err());
        assert!(Delimiter::new(&[1; 16], 15).check().is_err());
        assert!(Delimiter::new(&[1; 16], 16).check().is_ok());
    }
}
