//! Frames behind a length field.

use super::{Codec, Decoded, Out};
use crate::FrameError;

/// Which byte of a number comes first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ByteOrder {
    /// The most significant one: network byte order.
    Big,
    /// The least significant one.
    Little,
}

/// Frames behind a length field of 1 to 8 bytes. The handler gets the payload only.
///
/// ```text
/// | offset bytes | length field | payload: length + adjustment bytes |
///   0 to 255       width bytes    0 to max bytes
/// ```
///
/// The usual ones have a name, such as [`u32_be`](Self::u32_be); the others are made of
/// [`new`](Self::new) and the two settings:
///
/// ```
/// # use longshore_proto::frame::{ByteOrder, Codec, LengthDelimited};
///
/// // Two bytes of magic number, then three of length that count themselves too.
/// let codec = LengthDelimited::new(3, ByteOrder::Little, 65_536).offset(2).adjustment(-3);
/// assert_eq!(codec.check(), Ok(()));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LengthDelimited {
    width: u8,
    order: ByteOrder,
    offset: u8,
    adjustment: i64,
    payload_bytes_max: usize,
}

impl LengthDelimited {
    /// A length field of `width` bytes, 1 to 8, and payloads of at most `payload_bytes_max` bytes.
    ///
    /// What does not go together is stored all the same, and refused by
    /// [`check`](Codec::check) when the server is built.
    pub const fn new(width: u8, order: ByteOrder, payload_bytes_max: usize) -> Self {
        Self { width, order, offset: 0, adjustment: 0, payload_bytes_max }
    }

    /// A length of one byte, and payloads of at most `payload_bytes_max` bytes, 255 or less.
    pub const fn u8(payload_bytes_max: usize) -> Self {
        Self::new(1, ByteOrder::Big, payload_bytes_max)
    }

    /// A length of two bytes, big-endian, and payloads of at most `payload_bytes_max` bytes,
    /// 65,535 or less.
    pub const fn u16_be(payload_bytes_max: usize) -> Self {
        Self::new(2, ByteOrder::Big, payload_bytes_max)
    }

    /// A length of two bytes, little-endian, and payloads of at most `payload_bytes_max` bytes,
    /// 65,535 or less.
    pub const fn u16_le(payload_bytes_max: usize) -> Self {
        Self::new(2, ByteOrder::Little, payload_bytes_max)
    }

    /// A length of three bytes, big-endian, and payloads of at most `payload_bytes_max` bytes,
    /// 16 MiB - 1 or less.
    pub const fn u24_be(payload_bytes_max: usize) -> Self {
        Self::new(3, ByteOrder::Big, payload_bytes_max)
    }

    /// A length of four bytes, big-endian, and payloads of at most `payload_bytes_max` bytes,
    /// 4 GiB - 1 or less.
    pub const fn u32_be(payload_bytes_max: usize) -> Self {
        Self::new(4, ByteOrder::Big, payload_bytes_max)
    }

    /// A length of four bytes, little-endian, and payloads of at most `payload_bytes_max` bytes,
    /// 4 GiB - 1 or less.
    pub const fn u32_le(payload_bytes_max: usize) -> Self {
        Self::new(4, ByteOrder::Little, payload_bytes_max)
    }

    /// A length of eight bytes, big-endian, and payloads of at most `payload_bytes_max` bytes.
    pub const fn u64_be(payload_bytes_max: usize) -> Self {
        Self::new(8, ByteOrder::Big, payload_bytes_max)
    }

    /// Bytes before the length field, 0 to 255, by default none. They are written as zeros, and
    /// not looked at when they come.
    #[must_use]
    pub const fn offset(mut self, bytes: u8) -> Self {
        self.offset = bytes;
        self
    }

    /// What is added to the length to get the bytes of the payload, by default 0. Negative when
    /// the length counts more than the payload: -4 if it counts itself and has four bytes. Positive
    /// when it counts less: 2 if a checksum of two bytes, which is then the end of the payload,
    /// follows what it counts.
    #[must_use]
    pub const fn adjustment(mut self, bytes: i64) -> Self {
        self.adjustment = bytes;
        self
    }

    fn header_bytes(&self) -> usize {
        usize::from(self.offset) + usize::from(self.width)
    }

    /// The largest number that the length field can hold.
    fn length_max(&self) -> u64 {
        1_u64.checked_shl(8 * u32::from(self.width)).map_or(u64::MAX, |end| end - 1)
    }

    /// What is written for a payload of so many bytes; any integer.
    fn length_of(&self, payload_bytes: usize) -> i128 {
        payload_bytes as i128 - i128::from(self.adjustment)
    }

    /// Bytes of the whole frame whose length field says `length`.
    fn frame_bytes(&self, length: u64) -> Result<usize, FrameError> {
        let payload = length.checked_add_signed(self.adjustment);
        match payload.map(usize::try_from) {
            Some(Ok(payload)) if payload <= self.payload_bytes_max => {
                Ok(self.header_bytes().saturating_add(payload))
            }
            None if self.adjustment < 0 => Err(FrameError::invalid(format_args!(
                "length {length} is below the least possible, {}",
                self.adjustment.unsigned_abs()
            ))),
            _ => Err(self.too_long(payload.unwrap_or(u64::MAX))),
        }
    }

    /// Four bytes, big-endian, then the payload: what most protocols use, and worth a short way.
    #[inline]
    fn is_plain(&self) -> bool {
        let Self { width, order, offset, adjustment, .. } = *self;
        (width, order, offset, adjustment) == (4, ByteOrder::Big, 0, 0)
    }

    #[cold]
    fn too_long(&self, payload_bytes: u64) -> FrameError {
        let len = payload_bytes.saturating_add(self.header_bytes() as u64);
        FrameError::TooLong { len, max: self.frame_bytes_max() as u64 }
    }
}

impl Codec for LengthDelimited {
    type Frame<'a> = &'a [u8];
    type Item<'a> = &'a [u8];
    type Decoder = ();

    fn frame_bytes_max(&self) -> usize {
        self.payload_bytes_max.saturating_add(self.header_bytes())
    }

    fn check(&self) -> Result<(), FrameError> {
        let Self { width, adjustment, payload_bytes_max: max, .. } = *self;
        if !(1..=8).contains(&width) {
            let what = format_args!("a length of {width} bytes cannot be: 1 to 8 can");
            return Err(FrameError::invalid(what));
        }
        let longest = self.length_of(max);
        if longest < 0 {
            return Err(FrameError::invalid(format_args!(
                "frame_bytes_max = {max} does not go with an adjustment of {adjustment}: the length \
                 would be negative"
            )));
        }
        let length_max = i128::from(self.length_max());
        if longest > length_max {
            return Err(FrameError::invalid(format_args!(
                "frame_bytes_max = {max} does not fit the {width}-byte length (at most {})",
                length_max + i128::from(adjustment)
            )));
        }
        // No allocation is larger, and below it no sum of lengths wraps.
        if self.frame_bytes_max() > isize::MAX as usize {
            let what = format_args!("frame_bytes_max = {max} is more than memory can be");
            return Err(FrameError::invalid(what));
        }
        Ok(())
    }

    #[inline]
    fn decode<'a>(&self, (): &'a mut (), input: &'a [u8]) -> Result<Decoded<&'a [u8]>, FrameError> {
        let header = self.header_bytes();
        let Some(field) = input.get(usize::from(self.offset)..header) else {
            return Ok(Decoded::More { total: header });
        };
        let total = self.frame_bytes(read_length(field, self.order))?;
        Ok(match input.get(header..total) {
            Some(frame) => Decoded::Frame { frame, used: total },
            None => Decoded::More { total },
        })
    }

    #[inline]
    fn encode(&self, item: &[u8], out: &mut Out<'_>) -> Result<(), FrameError> {
        if item.len() > self.payload_bytes_max {
            return Err(self.too_long(item.len() as u64));
        }
        if self.is_plain() {
            let length = u32::try_from(item.len()).map_err(FrameError::invalid)?;
            out.put_u32(length);
            out.put_payload(item);
            return Ok(());
        }
        let length = self.length_of(item.len());
        let Some(length) = u64::try_from(length).ok().filter(|&it| it <= self.length_max()) else {
            return Err(FrameError::invalid(format_args!(
                "a payload of {} bytes makes a length of {length}, which does not fit {} bytes",
                item.len(),
                self.width
            )));
        };
        out.put_slice(&[0; u8::MAX as usize][..usize::from(self.offset)]);
        put_length(length, self.width, self.order, out);
        out.put_payload(item);
        Ok(())
    }
}

/// The number in a length field of any width.
#[inline]
fn read_length(field: &[u8], order: ByteOrder) -> u64 {
    let shift_in = |number: u64, &byte: &u8| number << 8 | u64::from(byte);
    match (order, field) {
        (ByteOrder::Big, &[a, b, c, d]) => u32::from_be_bytes([a, b, c, d]).into(),
        (ByteOrder::Big, _) => field.iter().fold(0, shift_in),
        (ByteOrder::Little, _) => field.iter().rev().fold(0, shift_in),
    }
}

/// Writes a number, which fits, as a length field.
#[inline]
fn put_length(number: u64, width: u8, order: ByteOrder, out: &mut Out<'_>) {
    let width = usize::from(width).min(8);
    match order {
        ByteOrder::Big => out.put_slice(&number.to_be_bytes()[8 - width..]),
        ByteOrder::Little => out.put_slice(&number.to_le_bytes()[..width]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::testing::{decode_all, encode};
    use ByteOrder::{Big, Little};

    /// The length field alone, without `check` in the way.
    fn field(number: u64, width: u8, order: ByteOrder) -> Vec<u8> {
        let (mut bytes, mut kept) = (Vec::new(), Vec::new());
        put_length(number, width, order, &mut Out::new(&mut bytes, &[], &mut kept, 8));
        bytes
    }

    #[test]
    fn each_shape_has_its_bytes_on_the_wire() {
        let table: [(LengthDelimited, &[u8]); 10] = [
            (LengthDelimited::u8(9), b"\x03abc"),
            (LengthDelimited::u16_be(9), b"\0\x03abc"),
            (LengthDelimited::u16_le(9), b"\x03\0abc"),
            (LengthDelimited::u24_be(9), b"\0\0\x03abc"),
            (LengthDelimited::u32_be(9), b"\0\0\0\x03abc"),
            (LengthDelimited::u32_le(9), b"\x03\0\0\0abc"),
            (LengthDelimited::u64_be(9), b"\0\0\0\0\0\0\0\x03abc"),
            (LengthDelimited::new(5, Little, 9), b"\x03\0\0\0\0abc"),
            (LengthDelimited::u16_be(9).offset(2).adjustment(-4), b"\0\0\0\x07abc"),
            (LengthDelimited::u16_be(9).adjustment(2), b"\0\x01abc"),
        ];
        for (codec, wire) in table {
            assert_eq!(codec.check(), Ok(()), "{codec:?}");
            assert_eq!(encode(&codec, b"abc").unwrap(), wire, "{codec:?}");
            assert_eq!(decode_all(&codec, wire), (vec![b"abc".to_vec()], Ok(())), "{codec:?}");
        }
    }

    #[test]
    fn a_maximum_that_the_length_cannot_say_is_refused_with_both_numbers() {
        let text = |codec: LengthDelimited| codec.check().unwrap_err().to_string();
        assert_eq!(
            text(LengthDelimited::u16_be(65_536)),
            "frame_bytes_max = 65536 does not fit the 2-byte length (at most 65535)"
        );
        assert_eq!(
            text(LengthDelimited::u8(256).adjustment(-1)),
            "frame_bytes_max = 256 does not fit the 1-byte length (at most 254)"
        );
        assert!(text(LengthDelimited::u8(4).adjustment(5)).contains("would be negative"));
        assert!(text(LengthDelimited::new(9, Big, 1)).contains("9 bytes"));
        assert!(text(LengthDelimited::new(0, Big, 1)).contains("0 bytes"));
        assert!(text(LengthDelimited::u64_be(usize::MAX)).contains("memory"));
        assert_eq!(LengthDelimited::u16_be(65_535).check(), Ok(()));
        assert_eq!(LengthDelimited::u8(256).adjustment(1).check(), Ok(()));
    }

    /// Lengths near the border of any integer, or of `max`.
    fn border_lengths(max: u64) -> Vec<u64> {
        let borders = [0, max, 1 << 31, 1 << 32, 1 << 63];
        borders.iter().flat_map(|&at: &u64| [at.wrapping_sub(1), at, at.wrapping_add(1)]).collect()
    }

    /// Decodes a header that says `length`, and compares with arithmetic that has room for all.
    fn check_length(codec: LengthDelimited, length: u64) {
        let mut input = vec![0; codec.offset.into()];
        input.extend(field(length, codec.width, codec.order));
        input.resize(codec.header_bytes() + 1, 0);
        let payload = i128::from(length) + i128::from(codec.adjustment);
        let total = match codec.decode(&mut (), &input) {
            Ok(Decoded::Frame { used, .. }) => Ok(used),
            Ok(Decoded::More { total }) => Ok(total),
            Ok(found) => panic!("{found:?}"),
            Err(error) => Err(error),
        };
        if codec.check().is_err() {
            return; // it did not panic, and that is all it owes
        }
        match total {
            Ok(total) => {
                assert_eq!((total - codec.header_bytes()) as i128, payload, "{codec:?}");
                assert!(total <= codec.frame_bytes_max());
            }
            Err(FrameError::TooLong { len, max }) => {
                assert!(payload > codec.payload_bytes_max as i128, "{codec:?} {length}");
                assert!(len > max);
            }
            Err(_) => assert!(payload < 0, "{codec:?} {length}"),
        }
    }

    /// R23: every length that is near a border of an integer, in every shape.
    #[test]
    fn no_length_wraps_or_panics() {
        let adjustments =
            [0, 1, -1, 4, -4, i64::from(i32::MAX), i64::from(i32::MIN), i64::MAX, i64::MIN];
        for max in [1, 100, 65_535, isize::MAX as usize, usize::MAX] {
            for (width, order) in (0..=10).flat_map(|width| [(width, Big), (width, Little)]) {
                for (offset, adjustment) in
                    [0, 3, 255].into_iter().flat_map(|it| adjustments.map(|by| (it, by)))
                {
                    let codec = LengthDelimited::new(width, order, max)
                        .offset(offset)
                        .adjustment(adjustment);
                    let lengths = border_lengths(max as u64).into_iter();
                    for length in lengths.filter(|&it| it <= codec.length_max()) {
                        check_length(codec, length);
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_written_is_read_in_every_shape() {
        for (width, order) in (1..=8).flat_map(|width| [(width, Big), (width, Little)]) {
            for adjustment in [-8, -1, 0, 1, 3] {
                let codec =
                    LengthDelimited::new(width, order, 200).offset(width).adjustment(adjustment);
                for len in [3, 4, 199, 200] {
                    let item = vec![7; len];
                    let wire = encode(&codec, &item).unwrap();
                    assert_eq!(decode_all(&codec, &wire), (vec![item], Ok(())));
                }
                assert!(encode(&codec, &[0; 201]).is_err());
            }
        }
    }

    #[test]
    fn an_item_that_makes_no_length_is_refused() {
        let codec = LengthDelimited::u8(1000);
        assert_eq!(encode(&codec, &[0; 255]).unwrap().len(), 256);
        assert!(matches!(encode(&codec, &[0; 256]), Err(FrameError::Invalid(_))));
        let trailer = LengthDelimited::u8(100).adjustment(4);
        assert!(matches!(encode(&trailer, b"abc"), Err(FrameError::Invalid(_))));
        let max = LengthDelimited::u16_be(4);
        assert_eq!(encode(&max, b"12345"), Err(FrameError::TooLong { len: 7, max: 6 }));
    }

    #[test]
    fn an_announced_length_over_the_maximum_is_refused_at_the_header() {
        let codec = LengthDelimited::u32_be(1 << 20);
        let error = FrameError::TooLong { len: 4 + u64::from(u32::MAX), max: (1 << 20) + 4 };
        assert_eq!(codec.decode(&mut (), &[255; 4]), Err(error));
        assert_eq!(codec.decode(&mut (), &[255; 3]), Ok(Decoded::More { total: 4 }));
    }
}
