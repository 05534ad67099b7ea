//! Where an encoder writes.

use crate::FrameError;
use std::ops::Range;
use std::{fmt, io};

/// Payloads from here on, 8 KiB, are not copied when they lie in the received bytes at hand: below
/// it a copy costs less than another segment.
pub const PAYLOAD_KEPT_MIN: usize = 8 * 1024;

/// A payload that stays in the received bytes, and where in the written bytes it belongs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kept {
    /// Offset in the written bytes before which the payload goes out.
    pub at: usize,
    /// Where it lies in the received bytes.
    pub range: Range<usize>,
}

/// Where an encoder writes. Bounded by `frame_bytes_max`: beyond it nothing is written any more and
/// the send fails. Rolled back when encoding fails or panics, so that half a frame never stays on
/// the wire. [`In`](super::In) reads what it writes.
///
/// Text goes into it by `write!`. For libraries that want one, it is an [`io::Write`] and a
/// [`fmt::Write`] as well.
///
/// ```
/// # use longshore_proto::{FrameError, Out};
/// fn put_price(cents: u32, out: &mut Out<'_>) -> Result<(), FrameError> {
///     write!(out, "{}.{:02}\n", cents / 100, cents % 100)
/// }
/// # let (mut bytes, mut kept) = (Vec::new(), Vec::new());
/// # put_price(705, &mut Out::new(&mut bytes, &[], &mut kept, 100)).unwrap();
/// # assert_eq!(bytes, b"7.05\n");
/// ```
#[derive(Debug)]
pub struct Out<'a> {
    bytes: &'a mut Vec<u8>,
    /// Where this frame begins in `bytes`.
    start: usize,
    /// The received bytes at hand, if payloads may stay in them.
    received: &'a [u8],
    kept: &'a mut Vec<Kept>,
    kept_bytes: usize,
    max: usize,
    /// What of it is left; nothing once something found no room.
    room: usize,
    /// Bytes that found no room. From the first one on nothing is written.
    lost: usize,
    /// Since there was no memory for them.
    no_memory: bool,
}

impl<'a> Out<'a> {
    /// Writes behind what `bytes` holds, at most `max` bytes. Payloads may be kept in `received`,
    /// and are then noted in `kept`, which is empty.
    pub fn new(
        bytes: &'a mut Vec<u8>,
        received: &'a [u8],
        kept: &'a mut Vec<Kept>,
        max: usize,
    ) -> Self {
        let start = bytes.len();
        Self {
            bytes,
            start,
            received,
            kept,
            kept_bytes: 0,
            max,
            room: max,
            lost: 0,
            no_memory: false,
        }
    }

    /// Bytes of the frame so far.
    pub fn len(&self) -> usize {
        self.bytes.len() - self.start + self.kept_bytes
    }

    /// Whether nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Makes sure that there is memory for `more` bytes, which a peer may have chosen (R13).
    #[inline]
    fn reserve(&mut self, more: usize) -> bool {
        self.bytes.capacity() - self.bytes.len() >= more || self.grow(more)
    }

    #[cold]
    fn grow(&mut self, more: usize) -> bool {
        let grown = self.bytes.try_reserve(more).is_ok();
        if !grown {
            (self.room, self.lost, self.no_memory) = (0, more, true);
        }
        grown
    }

    /// Makes sure that `more` bytes fit; says so for good if they do not.
    #[inline]
    fn fits(&mut self, more: usize) -> bool {
        if let Some(room) = self.room.checked_sub(more) {
            self.room = room;
            return true;
        }
        self.room = 0;
        self.lost = self.lost.saturating_add(more);
        false
    }

    /// Writes bytes.
    #[inline]
    pub fn put_slice(&mut self, bytes: &[u8]) {
        if !self.fits(bytes.len()) {
            return;
        }
        if self.bytes.capacity() - self.bytes.len() < bytes.len() {
            return self.put_grown(bytes); // apart, so that it is looked at once
        }
        self.bytes.extend_from_slice(bytes);
    }

    #[cold]
    fn put_grown(&mut self, bytes: &[u8]) {
        if self.grow(bytes.len()) {
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// Writes text: what `write!(out, ...)` calls, with no trait to import.
    ///
    /// # Errors
    /// At once, that with which the send fails: [`FrameError::TooLong`] when there is no room for it,
    /// [`FrameError::OutOfMemory`] when there is no memory; [`FrameError::Invalid`] when a value could
    /// not say itself.
    #[inline]
    pub fn write_fmt(&mut self, text: fmt::Arguments<'_>) -> Result<(), FrameError> {
        let written = fmt::write(self, text);
        if self.lost > 0 {
            return Err(self.lost());
        }
        written.map_err(|_| FrameError::invalid("a value could not be written as text"))
    }

    /// Writes one byte.
    #[inline]
    pub fn put_u8(&mut self, value: u8) {
        self.put_slice(&[value]);
    }

    /// Writes a number of two bytes, big-endian.
    #[inline]
    pub fn put_u16(&mut self, value: u16) {
        self.put_slice(&value.to_be_bytes());
    }

    /// Writes a number of two bytes, little-endian.
    #[inline]
    pub fn put_u16_le(&mut self, value: u16) {
        self.put_slice(&value.to_le_bytes());
    }

    /// Writes a number of four bytes, big-endian.
    #[inline]
    pub fn put_u32(&mut self, value: u32) {
        self.put_slice(&value.to_be_bytes());
    }

    /// Writes a number of four bytes, little-endian.
    #[inline]
    pub fn put_u32_le(&mut self, value: u32) {
        self.put_slice(&value.to_le_bytes());
    }

    /// Writes a number of eight bytes, big-endian.
    #[inline]
    pub fn put_u64(&mut self, value: u64) {
        self.put_slice(&value.to_be_bytes());
    }

    /// Writes a number of eight bytes, little-endian.
    #[inline]
    pub fn put_u64_le(&mut self, value: u64) {
        self.put_slice(&value.to_le_bytes());
    }

    /// As [`put_slice`](Self::put_slice), but a large payload that still lies in the received bytes
    /// is kept there instead of copied.
    #[inline]
    pub fn put_payload(&mut self, bytes: &[u8]) {
        if bytes.len() < PAYLOAD_KEPT_MIN {
            return self.put_slice(bytes);
        }
        let Some(range) = range_of(self.received, bytes) else { return self.put_slice(bytes) };
        if self.fits(bytes.len()) {
            self.kept_bytes += bytes.len();
            self.kept.push(Kept { at: self.bytes.len(), range });
        }
    }

    /// Writes what `body` writes, behind a place of `width` bytes that `fill` fills in afterwards
    /// with the number of bytes that `body` wrote.
    ///
    /// # Errors
    /// Those of `body` and `fill`.
    pub fn put_behind(
        &mut self,
        width: usize,
        body: impl FnOnce(&mut Self) -> Result<(), FrameError>,
        fill: impl FnOnce(&mut [u8], u64) -> Result<(), FrameError>,
    ) -> Result<(), FrameError> {
        let at = self.bytes.len();
        if self.fits(width) && self.reserve(width) {
            self.bytes.resize(at + width, 0);
        }
        let before = self.len();
        body(self)?;
        if self.lost > 0 {
            return Ok(()); // the send fails with what is too long
        }
        let count = (self.len() - before) as u64;
        fill(&mut self.bytes[at..at + width], count)
    }

    /// What was written, in bytes of the frame.
    ///
    /// # Errors
    /// [`FrameError::TooLong`] when it was too much, [`FrameError::OutOfMemory`] when there was no
    /// memory for it; the caller rolls back.
    pub fn finish(self) -> Result<usize, FrameError> {
        if self.lost > 0 {
            return Err(self.lost());
        }
        Ok(self.len())
    }

    #[cold]
    fn lost(&self) -> FrameError {
        if self.no_memory {
            return FrameError::OutOfMemory { bytes: self.lost as u64 };
        }
        let len = self.len().saturating_add(self.lost);
        FrameError::TooLong { len: len as u64, max: self.max as u64 }
    }
}

/// As [`put_slice`](Out::put_slice), with an error at once when there is no room: it holds the
/// [`FrameError::TooLong`] that the send fails with, whatever becomes of the error.
impl io::Write for Out<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.put_slice(bytes);
        if self.lost > 0 { Err(io::Error::other(self.lost())) } else { Ok(bytes.len()) }
    }

    /// A write takes all, or fails.
    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write(bytes).map(drop)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// As [`put_slice`](Out::put_slice), with an error at once when there is no room.
impl fmt::Write for Out<'_> {
    #[inline]
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.put_slice(text.as_bytes());
        if self.lost > 0 { Err(fmt::Error) } else { Ok(()) }
    }
}

/// Writes what `body` writes behind its length, a number of two bytes, big-endian. For fields within
/// a frame; a length that is known before is better written as it is.
///
/// # Errors
/// Those of `body`, and [`FrameError::Invalid`] when it wrote more than 65,535 bytes.
pub fn with_len_u16_be(
    out: &mut Out<'_>,
    body: impl FnOnce(&mut Out<'_>) -> Result<(), FrameError>,
) -> Result<(), FrameError> {
    out.put_behind(2, body, |place, count| match u16::try_from(count) {
        Ok(count) => {
            place.copy_from_slice(&count.to_be_bytes());
            Ok(())
        }
        Err(_) => Err(no_length(count, place)),
    })
}

/// As [`with_len_u16_be`], little-endian.
///
/// # Errors
/// As [`with_len_u16_be`].
pub fn with_len_u16_le(
    out: &mut Out<'_>,
    body: impl FnOnce(&mut Out<'_>) -> Result<(), FrameError>,
) -> Result<(), FrameError> {
    out.put_behind(2, body, |place, count| match u16::try_from(count) {
        Ok(count) => {
            place.copy_from_slice(&count.to_le_bytes());
            Ok(())
        }
        Err(_) => Err(no_length(count, place)),
    })
}

/// As [`with_len_u16_be`], with a length of four bytes.
///
/// # Errors
/// Those of `body`, and [`FrameError::Invalid`] when it wrote 4 GiB or more.
pub fn with_len_u32_be(
    out: &mut Out<'_>,
    body: impl FnOnce(&mut Out<'_>) -> Result<(), FrameError>,
) -> Result<(), FrameError> {
    out.put_behind(4, body, |place, count| match u32::try_from(count) {
        Ok(count) => {
            place.copy_from_slice(&count.to_be_bytes());
            Ok(())
        }
        Err(_) => Err(no_length(count, place)),
    })
}

/// As [`with_len_u32_be`], little-endian.
///
/// # Errors
/// As [`with_len_u32_be`].
pub fn with_len_u32_le(
    out: &mut Out<'_>,
    body: impl FnOnce(&mut Out<'_>) -> Result<(), FrameError>,
) -> Result<(), FrameError> {
    out.put_behind(4, body, |place, count| match u32::try_from(count) {
        Ok(count) => {
            place.copy_from_slice(&count.to_le_bytes());
            Ok(())
        }
        Err(_) => Err(no_length(count, place)),
    })
}

#[cold]
fn no_length(count: u64, place: &[u8]) -> FrameError {
    let width = place.len();
    FrameError::invalid(format_args!("{count} bytes do not fit a {width}-byte length"))
}

/// Where in `whole` the slice `part` lies, if it does: by address, nothing is read.
fn range_of(whole: &[u8], part: &[u8]) -> Option<Range<usize>> {
    let start = (part.as_ptr() as usize).checked_sub(whole.as_ptr() as usize)?;
    let end = start.checked_add(part.len())?;
    (end <= whole.len()).then_some(start..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(
        received: &[u8],
        max: usize,
        body: impl FnOnce(&mut Out<'_>),
    ) -> (Result<usize, FrameError>, Vec<u8>, Vec<Kept>) {
        let (mut bytes, mut kept) = (b"before".to_vec(), Vec::new());
        let mut out = Out::new(&mut bytes, received, &mut kept, max);
        body(&mut out);
        (out.finish(), bytes, kept)
    }

    #[test]
    fn writing_past_the_limit_fails_and_writes_no_more() {
        let (result, bytes, _) = write(b"", 4, |out| {
            out.put_u32(1);
            out.put_u8(2);
            out.put_slice(b"");
        });
        assert_eq!(result, Err(FrameError::TooLong { len: 5, max: 4 }));
        assert_eq!(bytes, b"before\0\0\0\x01");
        assert_eq!(write(b"", 4, |out| out.put_u32(1)).0, Ok(4));
        let (result, ..) = write(b"", 100, |out| {
            out.put_u8(1);
            out.put_payload(&[0; 200]);
            out.put_u8(2);
        });
        assert_eq!(result, Err(FrameError::TooLong { len: 202, max: 100 }));
        let received = vec![7; PAYLOAD_KEPT_MIN];
        let (result, ..) = write(&received, 100, |out| out.put_payload(&received));
        assert_eq!(result, Err(FrameError::TooLong { len: PAYLOAD_KEPT_MIN as u64, max: 100 }));
    }

    #[test]
    fn a_write_past_the_limit_is_an_error_and_the_frame_is_too_long() {
        use std::io::Write;
        let (result, bytes, _) = write(b"", 8, |out| {
            out.write_all(b"1234").unwrap();
            io::Write::write_fmt(out, format_args!("{}", 56_789)).unwrap_err();
            let told: FrameError = out.write(b"x").unwrap_err().into();
            assert_eq!(told, FrameError::TooLong { len: 10, max: 8 });
            assert_eq!(out.write(b"").map_err(FrameError::from), Err(told), "once is for good");
            out.flush().unwrap();
        });
        assert_eq!(result, Err(FrameError::TooLong { len: 10, max: 8 }), "with the error dropped");
        assert_eq!(bytes, b"before1234");
        let (result, bytes, _) =
            write(b"", 5, |out| io::Write::write_fmt(out, format_args!("{}", 56_789)).unwrap());
        assert_eq!((result, &bytes[..]), (Ok(5), &b"before56789"[..]));
        let other = io::Error::other("a disk is full");
        assert_eq!(FrameError::from(other), FrameError::invalid("a disk is full"));
    }

    #[test]
    fn text_is_written_whole_or_is_an_error_at_once() {
        struct Mute;
        impl fmt::Display for Mute {
            fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
                Err(fmt::Error)
            }
        }
        let (number, word) = (12, String::from("four"));
        let (result, bytes, _) = write(b"", 7, |out| write!(out, "{number}-{word}").unwrap());
        assert_eq!((result, &bytes[..]), (Ok(7), &b"before12-four"[..]));
        let (result, bytes, _) = write(b"", 3, |out| {
            let told = write!(out, "{number}-{word}").unwrap_err();
            assert_eq!(told, FrameError::TooLong { len: 7, max: 3 });
        });
        assert_eq!(result, Err(FrameError::TooLong { len: 7, max: 3 }), "with the error dropped");
        assert_eq!(bytes, b"before12-");
        let (result, ..) = write(b"", 9, |out| {
            let told = write!(out, "{Mute}").unwrap_err();
            assert_eq!(told, FrameError::invalid("a value could not be written as text"));
        });
        assert_eq!(result, Ok(0));
    }

    #[test]
    fn little_endian_numbers_begin_with_their_small_end() {
        let (result, bytes, _) = write(b"", 100, |out| {
            out.put_u16_le(0x0102);
            out.put_u32_le(3);
            out.put_u64_le(4);
            let body = |out: &mut Out<'_>| {
                with_len_u16_le(out, |out| {
                    out.put_u8(9);
                    Ok(())
                })
            };
            with_len_u32_le(out, body).unwrap();
        });
        let wanted = b"\x02\x01\x03\0\0\0\x04\0\0\0\0\0\0\0\x03\0\0\0\x01\0\x09";
        assert_eq!((result, &bytes[6..]), (Ok(21), &wanted[..]));
    }

    #[test]
    fn only_a_large_payload_of_the_received_bytes_is_kept() {
        let received = vec![7; 2 * PAYLOAD_KEPT_MIN];
        let large = &received[1..=PAYLOAD_KEPT_MIN];
        let (result, bytes, kept) = write(&received, 1 << 20, |out| {
            out.put_u8(1);
            out.put_payload(large);
            out.put_payload(&received[..5]);
            out.put_payload(&vec![8; PAYLOAD_KEPT_MIN]);
        });
        assert_eq!(result, Ok(1 + PAYLOAD_KEPT_MIN + 5 + PAYLOAD_KEPT_MIN));
        assert_eq!(bytes.len(), 6 + 1 + 5 + PAYLOAD_KEPT_MIN);
        assert_eq!(kept, [Kept { at: 7, range: 1..PAYLOAD_KEPT_MIN + 1 }]);
    }

    #[test]
    fn a_length_is_filled_in_behind_its_body() {
        let body = |out: &mut Out<'_>| {
            out.put_slice(b"abc");
            Ok(())
        };
        let fill = |place: &mut [u8], count: u64| {
            place
                .copy_from_slice(&u16::try_from(count).map_err(FrameError::invalid)?.to_be_bytes());
            Ok(())
        };
        let (result, bytes, _) = write(b"", 100, |out| {
            out.put_behind(2, body, fill).unwrap();
        });
        assert_eq!((result, &bytes[6..]), (Ok(5), &b"\0\x03abc"[..]));
        let (result, _, _) = write(b"", 1, |out| {
            out.put_behind(2, body, fill).unwrap();
        });
        assert!(result.is_err());
    }

    #[test]
    fn lengths_may_be_nested_and_must_fit() {
        let abc = |out: &mut Out<'_>| {
            out.put_slice(b"abc");
            Ok(())
        };
        let zeros = |out: &mut Out<'_>| {
            out.put_slice(&vec![0; 65_536]);
            Ok(())
        };
        let (result, bytes, _) = write(b"", 100, |out| {
            with_len_u32_be(out, |out| {
                out.put_u8(7);
                with_len_u16_be(out, abc)
            })
            .unwrap();
        });
        assert_eq!((result, &bytes[6..]), (Ok(10), &b"\0\0\0\x06\x07\0\x03abc"[..]));
        let (result, _, _) = write(b"", 1 << 20, |out| {
            let error = with_len_u16_be(out, zeros).unwrap_err();
            assert_eq!(error.to_string(), "65536 bytes do not fit a 2-byte length");
        });
        assert_eq!(result, Ok(2 + 65_536));
    }
}
