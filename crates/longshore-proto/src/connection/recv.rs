//! The receive half: bytes in, frames out.

use crate::{Codec, FrameError};
use bytes::Bytes;
use longshore_base::BlockPool;

/// What the bytes of a connection hold for its owner.
#[derive(Debug)]
pub enum Event<F> {
    /// A frame for the handler.
    Frame(F),
    /// The codec answers by itself: these bytes go onto the wire.
    Reply(Bytes),
}

/// Where a frame lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// In the input at hand: a payload may be sent from there without a copy.
    Input,
    /// In what was kept of a torn frame.
    Torn,
}

/// What the sink wants next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// The next frame.
    Go,
    /// No more for now; the rest of the input counts as not used.
    Stop,
}

/// How far the cutting came.
#[derive(Debug)]
pub struct Cut<E> {
    /// Bytes of the input that are done with, or kept as a torn frame.
    pub used: usize,
    /// Why it ended.
    pub end: CutEnd<E>,
}

/// Why the cutting ended.
#[derive(Debug)]
pub enum CutEnd<E> {
    /// All input is used.
    Empty,
    /// The budget is used up, input may be left.
    Budget,
    /// The sink said so.
    Stopped,
    /// The bytes are no frames. Nothing more can be cut.
    Frame(FrameError),
    /// The sink failed.
    Sink(E),
}

/// What a connection has received of a frame that is not whole.
#[derive(Debug)]
pub struct RecvHalf<C: Codec> {
    decoder: C::Decoder,
    torn: Vec<u8>,
    need: usize,
}
