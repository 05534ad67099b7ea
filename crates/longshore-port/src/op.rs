//! What can be asked of a socket, and how it ends.

use crate::{Addr, PortError, RecvBuf, Unattached, WorkDone};
use longshore_base::Token;

/// A run of bytes to send.
pub type Segment = longshore_base::Segment<RecvBuf>;
/// The segments of one send.
pub type SendData = longshore_base::SendData<RecvBuf>;

/// The kinds of ops of which a socket has at most one in flight each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpKind {
    /// `Op::Accept`.
    Accept,
    /// The attempt that `Port::connect` started.
    Connect,
    /// `Op::Recv`.
    Recv,
    /// `Op::Send`.
    Send,
    /// `Op::Watch`.
    Watch,
}

/// What is asked of a socket. Closed, owns every byte, names no raw handle.
#[derive(Debug)]
pub enum Op {
    /// Takes connections: `Accepted` each, until `credit` of them, a cancel or an error; then
    /// `AcceptEnded`.
    Accept {
        /// Most connections, at least 1. `u32::MAX` is without end.
        credit: u32,
    },
    /// Takes bytes: `Received` each, until about `credit` bytes came (at most one lease more),
    /// end of stream, a cancel or an error; then `RecvEnded`. Idle it pins no memory. Running out
    /// of leases ends nothing: the port goes on, first come first served, as they return.
    Recv {
        /// Most bytes, at least 1.
        credit: u32,
    },
    /// Gives bytes, at most `SEND_BYTES_MAX` and at least 1: `Sent`, with `data` back. Or a part of
    /// a file, at most `FILE_BYTES_MAX`. Where that would have to wait for a disk, it ends with the
    /// error `NotCached` behind what is out: `Work::Read` waits. A file that ends early is the error
    /// `Shortened`, behind what there was.
    Send {
        /// What to send.
        data: SendData,
        /// Whether to wait for room.
        mode: SendMode,
        /// The owner waits for the answer. Without this a driver may keep the answer of a send
        /// that went out whole until something else ends a `wait`; which saves a system call.
        prompt: bool,
    },
    /// Tells when the connection is over though nothing is received: `WatchEnded`. Holds no memory,
    /// and takes nothing: what there is to read can still be read. For who does not read for a while.
    Watch {
        /// The end of the peer's stream is one already, also behind bytes that nobody has read. Else
        /// only when nothing can go either way: the peer is gone, or both streams have ended.
        half: bool,
    },
    /// Half-close: no more bytes from us. Done at once, no completion; errors are ignored, since
    /// the receive says how the stream ended. Not behind a send that is not answered.
    Shutdown,
    /// Leaves this port whole: ends receive and watch, waits for a send in flight, then `Detached`; or
    /// `DetachFailed`, and the socket stays.
    Detach,
    /// Ends what is in flight, then closes. `Closed` is the last completion of the socket. A send
    /// that does not wait is tried before.
    Close,
    /// The same with a reset to the peer. May also follow a `Detach`, which it overtakes.
    Abort,
}

/// Whether a send waits for room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SendMode {
    /// What fits now; back with how much that was, zero included. Leases allowed.
    Try,
    /// Waits for room until all is out, an error or a cancel. No leases: a peer that does not
    /// read must not pin them.
    Whole,
}

/// How an op ended, and whose.
#[derive(Debug)]
pub struct Completion {
    /// What the owner called the socket or the work.
    pub token: Token,
    /// What happened.
    pub what: What,
}

/// What happened.
#[derive(Debug)]
pub enum What {
    /// A connection came.
    Accepted(Unattached),
    /// The accept is over.
    AcceptEnded(End),
    /// The connection stands.
    Connected {
        /// The own address of the connection.
        local: Addr,
    },
    /// It does not; `Closed` follows.
    ConnectFailed(PortError),
    /// Bytes came. Never empty: the end of the stream is `RecvEnded(End::Eof)`.
    Received(RecvBuf),
    /// The receive is over.
    RecvEnded(End),
    /// The watch is over: `Eof`, `Cancelled`, or `Failed` with what a receive would say, which it
    /// then may not say again.
    WatchEnded(End),
    /// The send is over.
    Sent {
        /// How many bytes the system took; with an error, those before it. Of a send that was
        /// cancelled at least so many: only `Close` and `Abort` may follow that.
        bytes: usize,
        /// What was to be sent, unadvanced, in every outcome.
        data: SendData,
        /// Why not more, if that is not a matter of room.
        error: Option<PortError>,
    },
    /// The socket has left the port; it may be attached to another one.
    Detached(Unattached),
    /// The socket cannot leave: it stays as it is, without a receive in flight.
    DetachFailed(PortError),
    /// The socket is closed and its id stale. The last completion of a socket.
    Closed,
    /// Work is done.
    Work(WorkDone),
}

/// How a stream op ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// The peer sends no more.
    Eof,
    /// The credit is used up.
    Credit,
    /// It was cancelled, or the socket was closed or detached.
    Cancelled,
    /// The system refused.
    Failed(PortError),
}

const _: () = assert!(size_of::<Op>() <= 64, "an op fits a cache line");
const _: () = assert!(size_of::<Completion>() <= 96, "a completion fits one and a half");
