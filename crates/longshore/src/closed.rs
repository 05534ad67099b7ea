//! How a connection ended.

use crate::{ConnId, CutFile, DisconnectReason, Server};
use longshore_port::Addr;

/// What became of a tracked send whose connection closed before it was told of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct TrackedSend {
    /// As it was tracked.
    pub id: u64,
    /// Whether the kernel took all of its bytes, flushed while the connection closed. If not, the peer
    /// has at most a part.
    pub sent: bool,
}

/// A connection that is over: the last thing a handler sees.
#[derive(Debug)]
#[non_exhaustive]
pub struct Closed<'a> {
    /// Which one.
    pub id: ConnId,
    /// The other side, as known when it was accepted.
    pub peer_addr: Addr,
    /// This side.
    pub local_addr: Addr,
    /// Why it ended.
    pub reason: &'a DisconnectReason,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes that the kernel took.
    pub bytes_out: u64,
    /// Frames handed to `on_message`.
    pub messages_in: u64,
    /// Messages queued by sends.
    pub messages_out: u64,
    /// Bytes received that no callback saw, because the connection was closing.
    pub bytes_discarded: u64,
    /// Sends that were made with [`Ctx::send_tracked`](crate::Ctx::send_tracked) and that no `on_sent`
    /// told of, in their order. So each is told of once, here or there.
    pub tracked: &'a [TrackedSend],
    /// Files whose end no `on_file` told of, in their order. So each is told of once, here or there.
    pub files: &'a [CutFile],
    /// The server it belonged to.
    pub server: &'a Server,
}
