//! What is wrong with what a peer sent, or with what a handler wants to send.

use std::fmt::Display;

/// The bytes at hand are no frame of this protocol, or the item makes none.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// A frame is longer than this side allows. On receipt the stream is unusable: close it.
    #[error("frame of {len} bytes, limit is {max}")]
    TooLong {
        /// Bytes of the frame on the wire, as announced or as known so far.
        len: u64,
        /// `frame_bytes_max` of the codec.
        max: u64,
    },
    /// The stream ended within a frame.
    #[error("stream ended after {have} bytes of a frame that needs at least {need}")]
    Truncated {
        /// Bytes of the frame that came.
        have: u64,
        /// Bytes it needs at least.
        need: u64,
    },
    /// The bytes break the rules of the protocol.
    #[error("{0}")]
    Invalid(Box<str>),
}

impl FrameError {
    /// The bytes break a rule, in the codec author's words: lower case, no full stop.
    pub fn invalid(what: impl Display) -> Self {
        Self::Invalid(what.to_string().into())
    }
}
