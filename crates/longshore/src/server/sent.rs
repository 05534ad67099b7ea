//! What became of what was asked of another connection.

use crate::SendError;
use longshore_proto::FrameError;

/// What became of what was asked of another connection: of a message for it, or of the end of the
/// one of some name.
///
/// No error type, on purpose: that somebody else is slow or gone must not end *this* connection by
/// a `?` written in passing. What a callback sends on its own connection answers with a `Result`.
///
/// [`Conn::close`](crate::Conn::close), [`abort`](crate::Conn::abort),
/// [`pause`](crate::Conn::pause) and [`resume`](crate::Conn::resume)
/// answer nothing: of a connection that is gone, what they ask for is true already.
#[must_use = "the peer may be slow or gone; write `let _ =` where that does not matter"]
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Sent {
    /// It is on its way, behind everything that was sent before.
    Queued,
    /// The queue is at its bound; the message is dropped.
    Full,
    /// The connection is closing or gone.
    Closed,
    /// The codec cannot make a frame of it, for this reason; nothing was sent.
    Invalid(FrameError),
}

impl Sent {
    /// Whether it is on its way.
    pub fn is_queued(&self) -> bool {
        *self == Self::Queued
    }

    /// The same answer in the words for others.
    pub(crate) fn of(result: Result<(), SendError>) -> Self {
        match result {
            Ok(()) => Self::Queued,
            Err(SendError::Full) => Self::Full,
            Err(SendError::Closed) => Self::Closed,
            Err(SendError::Encode(error)) => Self::Invalid(error),
        }
    }
}
