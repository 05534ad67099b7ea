//! Protocols without I/O: bytes and time in, events and bytes out.
//!
//! - [`frame`]: the [`Codec`] trait and the codecs in the box.
//! - [`connection`]: the two halves of a connection ([`RecvHalf`] cuts bytes into frames,
//!   [`SendHalf`] keeps what is to be sent in order), its deadlines, and how it closes.
//! - [`transfer`]: files between two peers of the project's own protocol.
//!
//! Nothing here knows a socket, a clock or a thread. Whoever drives it hands bytes and the time in.
#![forbid(unsafe_code)]

pub mod connection;
mod error;
pub mod frame;
#[doc(hidden)]
pub mod fuzzing;
pub mod transfer;

pub use connection::{RecvHalf, SendHalf};
pub use error::FrameError;
pub use frame::{
    ByteOrder, Codec, Decoded, Delimiter, Fixed, In, LengthDelimited, Lines, Longshore, Message,
    Out, Raw, Tagged, TypeTagged, with_len_u16_be, with_len_u16_le, with_len_u32_be,
    with_len_u32_le,
};
