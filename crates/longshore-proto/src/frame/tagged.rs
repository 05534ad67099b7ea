//! Frames with a type byte behind their length.

use super::{Codec, Decoded, LengthDelimited, Out, PAYLOAD_BYTES_DEFAULT};
use crate::FrameError;

/// Frames with a type byte behind their length (S50), which counts the type byte and the payload.
///
/// ```text
/// | length: u32, big-endian | kind: u8 | payload: length - 1 bytes |
///   4 bytes                   0 to 255   0 to max bytes
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TypeTagged {
    payload_bytes_max: usize,
}

/// A payload and its type.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Tagged<'a> {
    /// What the payload is; the numbers are the user's.
    pub kind: u8,
    /// The bytes behind the type byte.
    pub payload: &'a [u8],
}

impl TypeTagged {
    /// Payloads of at most 1 MiB.
    pub const fn new() -> Self {
        Self::max(PAYLOAD_BYTES_DEFAULT)
    }

    /// Payloads of at most `payload_bytes_max` bytes, 4 GiB - 2 or less; the type byte is not
    /// counted.
    pub const fn max(payload_bytes_max: usize) -> Self {
        Self { payload_bytes_max }
    }

    /// The frames without their types.
    const fn whole(self) -> LengthDelimited {
        LengthDelimited::u32_be(self.payload_bytes_max.saturating_add(1))
    }
}

impl Default for TypeTagged {
    fn default() -> Self {
        Self::new()
    }
}

impl Codec for TypeTagged {
    type Frame<'a> = Tagged<'a>;
    type Item<'a> = Tagged<'a>;
    type Decoder = ();

    fn frame_bytes_max(&self) -> usize {
        self.whole().frame_bytes_max()
    }

    fn check(&self) -> Result<(), FrameError> {
        self.whole().check().map_err(|_| {
            FrameError::invalid(format_args!(
                "frame_bytes_max = {} and a type byte do not fit the 4-byte length (at most {})",
                self.payload_bytes_max,
                u32::MAX - 1
            ))
        })
    }

    #[inline]
    fn decode<'a>(
        &self,
        decoder: &'a mut (),
        input: &'a [u8],
    ) -> Result<Decoded<Tagged<'a>>, FrameError> {
        Ok(match self.whole().decode(decoder, input)? {
            Decoded::Frame { frame: [], .. } => {
                return Err(FrameError::invalid("length 0 has no room for the type byte"));
            }
            Decoded::Frame { frame: &[kind, ref payload @ ..], used } => {
                Decoded::Frame { frame: Tagged { kind, payload }, used }
            }
            Decoded::Skip { used } => Decoded::Skip { used },
            Decoded::Reply { used, reply } => Decoded::Reply { used, reply },
            Decoded::File { used } => Decoded::File { used },
            Decoded::More { total } => Decoded::More { total },
        })
    }

    #[inline]
    fn encode(&self, item: Tagged<'_>, out: &mut Out<'_>) -> Result<(), FrameError> {
        let counted = item.payload.len() as u64 + 1;
        match u32::try_from(counted) {
            Ok(length) if item.payload.len() <= self.payload_bytes_max => {
                out.put_u32(length);
                out.put_u8(item.kind);
                out.put_payload(item.payload);
                Ok(())
            }
            _ => Err(FrameError::TooLong { len: counted + 4, max: self.frame_bytes_max() as u64 }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::testing::encode;

    #[test]
    fn the_length_counts_the_type_byte() {
        let item = Tagged { kind: 7, payload: b"abc" };
        let wire = encode(&TypeTagged::max(3), item).unwrap();
        assert_eq!(wire, b"\0\0\0\x04\x07abc");
        let found = Decoded::Frame { frame: item, used: 8 };
        assert_eq!(TypeTagged::max(3).decode(&mut (), &wire), Ok(found));
        let item = Tagged { kind: 0, payload: b"" };
        assert_eq!(encode(&TypeTagged::max(0), item).unwrap(), b"\0\0\0\x01\0");
    }

    #[test]
    fn a_length_without_a_type_byte_is_refused() {
        let mut decoder = ();
        let result = TypeTagged::new().decode(&mut decoder, b"\0\0\0\0");
        assert!(matches!(result, Err(FrameError::Invalid(_))), "{result:?}");
    }

    /// R23
    #[test]
    fn the_maximum_holds_in_both_directions() {
        let codec = TypeTagged::max(3);
        assert_eq!(codec.frame_bytes_max(), 8);
        let too_long = FrameError::TooLong { len: 9, max: 8 };
        assert_eq!(encode(&codec, Tagged { kind: 1, payload: b"abcd" }), Err(too_long.clone()));
        assert_eq!(codec.decode(&mut (), b"\0\0\0\x05"), Err(too_long));
        for length in [6, (1 << 31) - 1, 1 << 31, (1 << 31) + 1, u32::MAX] {
            let error = FrameError::TooLong { len: u64::from(length) + 4, max: 8 };
            assert_eq!(codec.decode(&mut (), &length.to_be_bytes()), Err(error));
        }
    }

    #[test]
    fn a_maximum_over_four_bytes_is_refused() {
        let max = u32::MAX as usize;
        assert_eq!(TypeTagged::max(max - 1).check(), Ok(()));
        let text = TypeTagged::max(max).check().unwrap_err().to_string();
        assert!(text.contains("4294967295") && text.contains("4294967294"), "{text}");
        assert!(TypeTagged::max(usize::MAX).check().is_err());
    }
}
