//! Where a decoder reads the fields of a frame.

use crate::FrameError;

/// Reads typed values from the front of some bytes, those that [`Out`](super::Out) writes.
///
/// It never panics: what is not there is a [`FrameError::Missing`], which says what was to be read,
/// where, and how much is left. A read that fails takes nothing. Numbers are big-endian, those of
/// the functions that end in `_le` little-endian; what is read by length borrows from the bytes.
///
/// ```
/// # use longshore_proto::{FrameError, In};
///
/// /// `| kind: u8 | name: u16 length, bytes | port: u16 |`
/// fn parse(frame: &[u8]) -> Result<(u8, &[u8], u16), FrameError> {
///     let mut fields = In::new(frame);
///     let parsed = (fields.get_u8()?, fields.get_with_len_u16_be()?.rest(), fields.get_u16()?);
///     fields.finish()?;
///     Ok(parsed)
/// }
///
/// assert_eq!(parse(b"\x01\0\x03tom\x1c\xf3"), Ok((1, &b"tom"[..], 7411)));
/// let text = parse(b"\x01\0\x03tom\x1c").unwrap_err().to_string();
/// assert_eq!(text, "u16 at byte 6 needs 2 bytes, 1 are left");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct In<'a> {
    /// From the first byte that was to be read, so that places in errors count from there.
    bytes: &'a [u8],
    at: usize,
}

impl<'a> In<'a> {
    /// Reads `bytes` from their start: a whole frame, or what is known to be one field.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bytes that are left.
    pub const fn len(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// Whether nothing is left.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        let rest = &self.bytes[self.at..];
        self.at = self.bytes.len();
        rest
    }

    /// Says that the last field was read.
    ///
    /// # Errors
    /// [`FrameError::Invalid`] when there is more.
    pub fn finish(self) -> Result<(), FrameError> {
        match self.len() {
            0 => Ok(()),
            more => {
                let at = self.at;
                Err(FrameError::invalid(format_args!("{more} bytes too many from byte {at} on")))
            }
        }
    }

    #[inline]
    fn take(&mut self, what: &'static str, count: usize) -> Result<&'a [u8], FrameError> {
        match self.bytes[self.at..].get(..count) {
            Some(taken) => {
                self.at += count;
                Ok(taken)
            }
            None => Err(self.missing(what, count)),
        }
    }

    #[cold]
    fn missing(&self, what: &'static str, need: usize) -> FrameError {
        let (at, have) = (self.at as u64, self.len() as u64);
        FrameError::Missing { what, at, need: need as u64, have }
    }

    #[inline]
    fn take_array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], FrameError> {
        match self.bytes[self.at..].first_chunk() {
            Some(taken) => {
                self.at += N;
                Ok(*taken)
            }
            None => Err(self.missing(what, N)),
        }
    }

    /// What lies behind a length. Where that is cut off, the length is not taken either.
    fn take_field(
        &mut self,
        count: impl FnOnce(&mut Self) -> Result<usize, FrameError>,
    ) -> Result<Self, FrameError> {
        let mut ahead = *self;
        let count = count(&mut ahead)?;
        let at = ahead.at;
        ahead.take("bytes", count)?;
        let field = Self { bytes: &self.bytes[..ahead.at], at };
        *self = ahead;
        Ok(field)
    }

    /// The next `count` bytes.
    ///
    /// # Errors
    /// [`FrameError::Missing`] when fewer are left.
    #[inline]
    pub fn get_slice(&mut self, count: usize) -> Result<&'a [u8], FrameError> {
        self.take("bytes", count)
    }

    /// A field behind its length of two bytes, big-endian, as
    /// [`with_len_u16_be`](super::with_len_u16_be) writes it: to be read by itself, or as bytes with
    /// [`rest`](Self::rest). What is left unread of it is passed over.
    ///
    /// # Errors
    /// [`FrameError::Missing`] when the length or some of the field is not there.
    pub fn get_with_len_u16_be(&mut self) -> Result<Self, FrameError> {
        self.take_field(|ahead| ahead.get_u16().map(usize::from))
    }

    /// As [`get_with_len_u16_be`](Self::get_with_len_u16_be), little-endian.
    ///
    /// # Errors
    /// As [`get_with_len_u16_be`](Self::get_with_len_u16_be).
    pub fn get_with_len_u16_le(&mut self) -> Result<Self, FrameError> {
        self.take_field(|ahead| ahead.get_u16_le().map(usize::from))
    }

    /// As [`get_with_len_u16_be`](Self::get_with_len_u16_be), with a length of four bytes.
    ///
    /// # Errors
    /// As [`get_with_len_u16_be`](Self::get_with_len_u16_be).
    pub fn get_with_len_u32_be(&mut self) -> Result<Self, FrameError> {
        self.take_field(|ahead| ahead.get_u32().map(to_usize))
    }

    /// As [`get_with_len_u32_be`](Self::get_with_len_u32_be), little-endian.
    ///
    /// # Errors
    /// As [`get_with_len_u16_be`](Self::get_with_len_u16_be).
    pub fn get_with_len_u32_le(&mut self) -> Result<Self, FrameError> {
        self.take_field(|ahead| ahead.get_u32_le().map(to_usize))
    }
}

/// No more bytes than can be in memory, which is more than there are.
fn to_usize(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

macro_rules! numbers {
    ($($(#[doc = $doc:literal])+ $get:ident: $number:ident, $from:ident;)+) => {
        impl In<'_> {
            $(
                $(#[doc = $doc])+
                ///
                /// # Errors
                /// [`FrameError::Missing`] when not all of it is there.
                #[inline]
                pub fn $get(&mut self) -> Result<$number, FrameError> {
                    self.take_array(stringify!($number)).map($number::$from)
                }
            )+
        }
    };
}

numbers! {
    /// One byte.
    get_u8: u8, from_be_bytes;
    /// A number of two bytes, big-endian.
    get_u16: u16, from_be_bytes;
    /// A number of two bytes, little-endian.
    get_u16_le: u16, from_le_bytes;
    /// A number of four bytes, big-endian.
    get_u32: u32, from_be_bytes;
    /// A number of four bytes, little-endian.
    get_u32_le: u32, from_le_bytes;
    /// A number of eight bytes, big-endian.
    get_u64: u64, from_be_bytes;
    /// A number of eight bytes, little-endian.
    get_u64_le: u64, from_le_bytes;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(what: &'static str, at: u64, need: u64, have: u64) -> FrameError {
        FrameError::Missing { what, at, need, have }
    }

    #[test]
    fn numbers_are_read_in_their_byte_order() {
        let mut fields = In::new(b"\x01\0\x02\x03\0\0\0\0\x04\x05\0\0\0");
        assert_eq!(fields.get_u8(), Ok(1));
        assert_eq!((fields.get_u16(), fields.get_u16_le()), (Ok(2), Ok(3)));
        assert_eq!((fields.get_u32(), fields.get_u32_le()), (Ok(4), Ok(5)));
        assert!(fields.is_empty());
        let eight = [1, 2, 3, 4, 5, 6, 7, 8];
        assert_eq!(In::new(&eight).get_u64(), Ok(0x0102_0304_0506_0708));
        assert_eq!(In::new(&eight).get_u64_le(), Ok(0x0807_0605_0403_0201));
    }

    #[test]
    fn what_is_missing_is_told_and_nothing_is_taken() {
        let mut fields = In::new(b"abcde");
        assert_eq!(fields.get_slice(2), Ok(&b"ab"[..]));
        assert_eq!(fields.get_u32(), Err(missing("u32", 2, 4, 3)));
        assert_eq!(fields.get_slice(usize::MAX), Err(missing("bytes", 2, usize::MAX as u64, 3)));
        assert_eq!((fields.len(), fields.rest()), (3, &b"cde"[..]));
        assert_eq!(fields.get_u8(), Err(missing("u8", 5, 1, 0)));
        let text = fields.get_u16_le().unwrap_err().to_string();
        assert_eq!(text, "u16 at byte 5 needs 2 bytes, 0 are left");
    }

    #[test]
    fn a_field_behind_its_length_ends_where_it_ends() {
        let mut fields = In::new(b"\0\x03\x07abz");
        let mut field = fields.get_with_len_u16_be().unwrap();
        assert_eq!((field.get_u8(), field.len()), (Ok(7), 2));
        assert_eq!(field.get_u32(), Err(missing("u32", 3, 4, 2)), "not beyond its own end");
        assert_eq!((field.rest(), fields.rest()), (&b"ab"[..], &b"z"[..]));
        let mut torn = In::new(b"\0\0\0\x04abc");
        assert_eq!(torn.get_with_len_u32_be().unwrap_err(), missing("bytes", 4, 4, 3));
        assert_eq!(torn.len(), 7, "its length is not taken");
        let mut huge = In::new(&[0xff; 9]);
        assert!(huge.get_with_len_u32_le().is_err() && huge.get_with_len_u16_le().is_err());
    }

    #[test]
    fn what_is_left_over_is_an_error_of_who_wants_none() {
        let mut fields = In::new(b"abc");
        assert_eq!(fields.get_u8(), Ok(b'a'));
        let text = fields.finish().unwrap_err().to_string();
        assert_eq!(text, "2 bytes too many from byte 1 on");
        assert_eq!(In::new(b"").finish(), Ok(()));
    }
}
