//! No frames at all: the bytes as they come.

use super::{Codec, Decoded, Out, PAYLOAD_BYTES_DEFAULT};
use crate::FrameError;

/// The bytes as they come, in the pieces they come in (S53).
///
/// Where one piece ends and the next begins means nothing: what the peer sent at once may arrive in
/// many pieces, and many sends in one.
///
/// ```text
/// | any bytes | any bytes | ...
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Raw {
    piece_bytes_max: usize,
}

impl Raw {
    /// Pieces of at most 1 MiB.
    pub const fn new() -> Self {
        Self::max(PAYLOAD_BYTES_DEFAULT)
    }

    /// Pieces of at most `piece_bytes_max` bytes, 1 or more, in both directions: a longer read
    /// comes in several, a longer item is refused.
    pub const fn max(piece_bytes_max: usize) -> Self {
        Self { piece_bytes_max }
    }
}

impl Default for Raw {
    fn default() -> Self {
        Self::new()
    }
}

impl Codec for Raw {
    type Frame<'a> = &'a [u8];
    type Item<'a> = &'a [u8];
    type Decoder = ();

    fn frame_bytes_max(&self) -> usize {
        self.piece_bytes_max
    }

    fn check(&self) -> Result<(), FrameError> {
        if self.piece_bytes_max == 0 {
            return Err(FrameError::invalid("frame_bytes_max = 0 leaves no room for a byte"));
        }
        Ok(())
    }

    #[inline]
    fn decode<'a>(&self, (): &'a mut (), input: &'a [u8]) -> Result<Decoded<&'a [u8]>, FrameError> {
        let used = input.len().min(self.piece_bytes_max);
        Ok(Decoded::Frame { frame: &input[..used], used })
    }

    #[inline]
    fn encode(&self, item: &[u8], out: &mut Out<'_>) -> Result<(), FrameError> {
        out.put_payload(item);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::testing::{decode_all, encode};

    #[test]
    fn every_byte_comes_out_in_pieces_of_at_most_the_maximum() {
        let (frames, end) = decode_all::<_, Vec<u8>>(&Raw::max(4), b"123456789");
        assert_eq!(frames, [&b"1234"[..], b"5678", b"9"]);
        assert_eq!(end, Ok(()));
    }

    #[test]
    fn an_item_goes_out_as_it_is_up_to_the_maximum() {
        assert_eq!(encode(&Raw::max(4), b"1234").unwrap(), b"1234");
        assert_eq!(encode(&Raw::max(4), b"12345"), Err(FrameError::TooLong { len: 5, max: 4 }));
        assert_eq!(encode(&Raw::new(), b"").unwrap(), b"");
    }

    #[test]
    fn a_maximum_of_nothing_is_refused() {
        assert!(Raw::max(0).check().is_err());
        assert!(Raw::default().check().is_ok());
    }
}
