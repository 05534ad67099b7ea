//! Cutting a stream of bytes into frames, and making bytes of items.
//!
//! A [`Codec`] is a value that a listener shares among its connections; what it must remember of
//! one connection is its `Decoder`.

mod delimiter;
mod fixed;
pub(crate) mod head;
mod input;
mod length;
mod lines;
mod longshore;
mod out;
mod raw;
mod tagged;
#[cfg(test)]
pub(crate) mod testing;

use crate::FrameError;
use bytes::Bytes;

pub use delimiter::{DELIMITER_BYTES_MAX, Delimiter, DelimiterDecoder};
pub use fixed::Fixed;
pub use head::{DIGEST_BYTES, FILE_CHUNK_BYTES_MAX, FILE_CONTROL_BYTES_MAX, LONGSHORE_VERSION};
pub use input::In;
pub use length::{ByteOrder, LengthDelimited};
pub use lines::{Lines, LinesDecoder};
pub use longshore::{Longshore, LongshoreDecoder, Message, PING_BYTES_MAX};
pub use out::{
    Kept, Out, PAYLOAD_KEPT_MIN, with_len_u16_be, with_len_u16_le, with_len_u32_be, with_len_u32_le,
};
pub use raw::Raw;
pub use tagged::{Tagged, TypeTagged};

/// Payload bytes that a frame may have when nothing else is said: 1 MiB.
pub const PAYLOAD_BYTES_DEFAULT: usize = 1024 * 1024;

/// What a decoder found at the start of its input.
#[derive(Debug, PartialEq, Eq)]
pub enum Decoded<F> {
    /// A whole frame; `used` bytes of the input are done with. At least 1.
    Frame {
        /// The frame; it may borrow from the input.
        frame: F,
        /// Bytes of the input, from its start.
        used: usize,
    },
    /// Nothing for the handler in the first `used` bytes: padding, noise before a sync byte.
    /// At least 1.
    Skip {
        /// Bytes of the input, from its start.
        used: usize,
    },
    /// The codec answers by itself (a pong, an upgrade); nothing for the handler.
    Reply {
        /// Bytes of the input, from its start. At least 1.
        used: usize,
        /// Goes onto the wire as it is, in order with what was sent before.
        reply: Bytes,
    },
    /// The first `used` bytes belong to files, which are none of the handler's business: only the
    /// project's own codec says so.
    #[doc(hidden)]
    File {
        /// Bytes of the input, from its start. At least 1.
        used: usize,
    },
    /// At least `total` bytes are needed, counted from the start of the input.
    More {
        /// More than the input has.
        total: usize,
    },
}

/// How a stream is cut into frames, and items are made bytes.
///
/// ```
/// # use longshore_proto::frame::{Codec, Decoded, Out};
/// # use longshore_proto::FrameError;
///
/// /// Numbers of four bytes, most significant first.
/// struct Numbers;
///
/// impl Codec for Numbers {
///     type Frame<'a> = u32;
///     type Item<'a> = u32;
///     type Decoder = ();
///
///     fn frame_bytes_max(&self) -> usize {
///         4
///     }
///
///     fn decode(&self, (): &mut (), input: &[u8]) -> Result<Decoded<u32>, FrameError> {
///         let Some(bytes) = input.first_chunk() else { return Ok(Decoded::More { total: 4 }) };
///         Ok(Decoded::Frame { frame: u32::from_be_bytes(*bytes), used: 4 })
///     }
///
///     fn encode(&self, number: u32, out: &mut Out<'_>) -> Result<(), FrameError> {
///         out.put_u32(number);
///         Ok(())
///     }
/// }
///
/// assert_eq!(Numbers.to_bytes(7).unwrap(), [0, 0, 0, 7].as_slice());
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a codec",
    note = "pass one of Raw, Lines, LengthDelimited, TypeTagged, Delimiter, Fixed, Longshore, or your own type that implements Codec"
)]
pub trait Codec: Send + Sync + 'static {
    /// What a handler gets: anything, with borrows from the received bytes or without.
    type Frame<'a>;
    /// What a handler sends.
    type Item<'a>;
    /// What is remembered of one connection between calls; `()` if nothing.
    type Decoder: Default + Send;

    /// Most bytes one frame may take on the wire, at least 1. The engine holds every codec to it
    /// in both directions, before anything is buffered.
    fn frame_bytes_max(&self) -> usize;

    /// Whether the settings go together; asked once, before the first connection. The default has
    /// nothing to object to.
    ///
    /// # Errors
    /// When they contradict each other, such as a maximum that does not fit the length field. The
    /// text names both.
    fn check(&self) -> Result<(), FrameError> {
        Ok(())
    }

    /// Whether peers of this codec send files to each other: see
    /// [`Longshore::with_files`](crate::Longshore::with_files).
    #[doc(hidden)]
    fn takes_files(&self) -> bool {
        false
    }

    /// Looks for a frame at the start of `input`, which is never empty. The frame may borrow from
    /// the decoder's scratch as well (to un-escape, to inflate).
    ///
    /// Is called again with the same bytes and more behind them after `More`.
    ///
    /// # Errors
    /// When the bytes cannot be the start of a frame. The connection ends then.
    fn decode<'a>(
        &self,
        decoder: &'a mut Self::Decoder,
        input: &'a [u8],
    ) -> Result<Decoded<Self::Frame<'a>>, FrameError>;

    /// Writes `item` as a frame. On error nothing of it is sent.
    ///
    /// # Errors
    /// When the item makes no frame, for example because it does not fit the length field.
    fn encode(&self, item: Self::Item<'_>, out: &mut Out<'_>) -> Result<(), FrameError>;

    /// `item` as a frame of its own, in the bytes that go onto the wire: for a message that is sent
    /// to many, or kept for later. What sends one item at once needs it not.
    ///
    /// It holds `encode` to [`frame_bytes_max`](Self::frame_bytes_max), as the engine does; there
    /// is nothing to gain from another implementation.
    ///
    /// ```
    /// # use longshore_proto::{Codec, LengthDelimited};
    ///
    /// let codec = LengthDelimited::u16_be(5);
    /// assert_eq!(codec.to_bytes(b"hello").unwrap(), &b"\0\x05hello"[..]);
    /// assert!(codec.to_bytes(b"good morning").is_err());
    /// ```
    ///
    /// # Errors
    /// Those of `encode`, and [`FrameError::TooLong`] when it wrote too much.
    fn to_bytes(&self, item: Self::Item<'_>) -> Result<Bytes, FrameError> {
        let (mut bytes, mut kept) = (Vec::new(), Vec::new());
        let mut out = Out::new(&mut bytes, &[], &mut kept, self.frame_bytes_max());
        self.encode(item, &mut out)?;
        out.finish()?;
        Ok(bytes.into())
    }

    /// The stream ended with `input` left over, which is not empty. A last frame may be made of
    /// it (a line without its end); the default says that it was truncated.
    ///
    /// # Errors
    /// When the rest is no frame.
    fn decode_end<'a>(
        &self,
        decoder: &'a mut Self::Decoder,
        input: &'a [u8],
    ) -> Result<Option<Self::Frame<'a>>, FrameError> {
        let have = input.len() as u64;
        let need = match self.decode(decoder, input)? {
            Decoded::More { total } => total as u64,
            _ => have + 1,
        };
        Err(FrameError::Truncated { have, need })
    }
}
