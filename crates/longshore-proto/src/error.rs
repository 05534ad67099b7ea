//! What is wrong with what a peer sent, or with what a handler wants to send.

use longshore_base::OutOfMemory;
use std::fmt::Display;
use std::io;

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
    /// The system has no memory for a frame (R13). On receipt the stream is unusable: close it.
    #[error("no memory for {bytes} bytes of a frame")]
    OutOfMemory {
        /// Bytes that were asked for.
        bytes: u64,
    },
    /// The stream ended within a frame.
    #[error("stream ended after {have} bytes of a frame that needs at least {need}")]
    Truncated {
        /// Bytes of the frame that came.
        have: u64,
        /// Bytes it needs at least.
        need: u64,
    },
    /// A field of a frame reaches beyond the frame's end: [`In`](crate::In) says so.
    #[error("{what} at byte {at} needs {need} bytes, {have} are left")]
    Missing {
        /// What was to be read: `"u32"`, `"bytes"`.
        what: &'static str,
        /// Where it begins, counted from the first byte that was to be read.
        at: u64,
        /// Bytes that it has.
        need: u64,
        /// Bytes that are left from there on.
        have: u64,
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

impl From<OutOfMemory> for FrameError {
    fn from(OutOfMemory(bytes): OutOfMemory) -> Self {
        Self::OutOfMemory { bytes: bytes as u64 }
    }
}

/// So that `write!(out, …)?` in an encoder fails with what [`Out`](crate::Out) said, which is
/// [`TooLong`](FrameError::TooLong). An error of another writer is `Invalid`, with its text.
impl From<io::Error> for FrameError {
    fn from(error: io::Error) -> Self {
        error.downcast().unwrap_or_else(Self::invalid)
    }
}
