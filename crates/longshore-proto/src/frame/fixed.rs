//! Frames that all have the same length.

use super::{Codec, Decoded, Out};
use crate::FrameError;

/// Frames that all have the same length, and nothing between them.
///
/// ```text
/// | frame_bytes | frame_bytes | ...
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fixed {
    frame_bytes: usize,
}

impl Fixed {
    /// Frames of `frame_bytes` bytes each, 1 or more.
    pub const fn bytes(frame_bytes: usize) -> Self {
        Self { frame_bytes }
    }
}

impl Codec for Fixed {
    type Frame<'a> = &'a [u8];
    type Item<'a> = &'a [u8];
    type Decoder = ();

    fn frame_bytes_max(&self) -> usize {
        self.frame_bytes
    }

    fn check(&self) -> Result<(), FrameError> {
        if self.frame_bytes == 0 {
            return Err(FrameError::invalid("frames of 0 bytes cannot be told apart"));
        }
        Ok(())
    }

    #[inline]
    fn decode<'a>(&self, (): &'a mut (), input: &'a [u8]) -> Result<Decoded<&'a [u8]>, FrameError> {
        Ok(match input.get(..self.frame_bytes) {
            Some(frame) => Decoded::Frame { frame, used: self.frame_bytes },
            None => Decoded::More { total: self.frame_bytes },
        })
    }

    #[inline]
    fn encode(&self, item: &[u8], out: &mut Out<'_>) -> Result<(), FrameError> {
        if item.len() != self.frame_bytes {
            return Err(FrameError::invalid(format_args!(
                "item of {} bytes, where every frame has {}",
                item.len(),
                self.frame_bytes
            )));
        }
        out.put_payload(item);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::testing::{decode_all, encode};

    #[test]
    fn the_stream_is_cut_at_every_nth_byte() {
        let (frames, end) = decode_all::<_, Vec<u8>>(&Fixed::bytes(3), b"abcdef");
        assert_eq!((frames, end), (vec![b"abc".to_vec(), b"def".to_vec()], Ok(())));
        let (frames, end) = decode_all::<_, Vec<u8>>(&Fixed::bytes(3), b"abcd");
        assert_eq!(frames, [b"abc"]);
        assert_eq!(end, Err(FrameError::Truncated { have: 1, need: 3 }));
    }

    #[test]
    fn an_item_of_another_length_is_refused() {
        assert_eq!(encode(&Fixed::bytes(3), b"abc").unwrap(), b"abc");
        for item in [&b""[..], b"ab", b"abcd"] {
            let text = encode(&Fixed::bytes(3), item).unwrap_err().to_string();
            assert!(text.contains(&format!("{} bytes", item.len())), "{text}");
        }
    }

    #[test]
    fn frames_of_nothing_are_refused() {
        assert!(Fixed::bytes(0).check().is_err());
        assert!(Fixed::bytes(1).check().is_ok());
    }
}
