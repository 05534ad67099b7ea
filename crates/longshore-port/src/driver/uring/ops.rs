//! Ops in flight, as values: what the kernel reads and writes, and what their answers need.

use crate::{SendData, SendMode};
use longshore_base::Token;
use socket2::SockAddrStorage;

/// One accept in flight: where the kernel writes the peer's address.
pub(super) struct AcceptOp {
    pub(super) listener: Token,
    pub(super) addr: SockAddrStorage,
    pub(super) len: libc::socklen_t,
}

impl AcceptOp {
    pub(super) fn new(listener: Token) -> Self {
        let addr = SockAddrStorage::zeroed();
        let len = addr.size_of();
        Self { listener, addr, len }
    }
}

/// A send in flight. Owns its bytes; they lie outside of this value and do not move with it.
pub(super) struct SendOp {
    pub(super) socket: Token,
    pub(super) data: SendData,
    pub(super) mode: SendMode,
    pub(super) len: usize,
    /// Bytes that earlier attempts of a send that waits have brought out.
    pub(super) done: usize,
    pub(super) cancelled: bool,
    /// The list of parts, when there are several.
    pub(super) gather: Option<Token>,
    /// What was read of a file that the system cannot send by itself, from where in the range on.
    pub(super) piece: Option<(usize, Box<[u8]>)>,
}

impl SendOp {
    /// Whether it does not wait for room.
    pub(super) fn is_try(&self) -> bool {
        self.mode == SendMode::Try
    }

    /// Whether it was asked to end.
    pub(super) fn is_cancelled(&self) -> bool {
        self.cancelled
    }
}

/// Tries that were submitted since the last `enter`.
#[derive(Default)]
pub(super) struct Tried {
    pub(super) slots: Vec<Token>,
    /// The owner of one of them waits for its answer.
    pub(super) prompt: bool,
}
