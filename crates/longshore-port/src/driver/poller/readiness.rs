//! What a poller tells of a socket.

use longshore_base::Token;

/// What is known of a socket since it was last heard of.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, not a state machine")]
pub(crate) struct Readiness {
    /// Whose.
    pub(crate) token: Token,
    /// There may be something to receive or accept.
    pub(crate) readable: bool,
    /// There may be room to send, or the connection stands or failed.
    pub(crate) writable: bool,
    /// The stream may have ended: a short receive is not the last one.
    pub(crate) hangup: bool,
    /// Nothing may go either way any more.
    pub(crate) broken: bool,
}
