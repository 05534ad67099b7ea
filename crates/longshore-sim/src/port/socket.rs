//! Sockets of a port, with what is in flight on them.

use crate::network::{Descriptor, VirtualSocket};
use longshore_base::{Segment, Time, Token};
use longshore_port::{
    Addr, Call, End, ErrorKind, InFlight, OpKind, PortError, SendData, SendMode, What, WorkDone,
};

/// A connect in flight.
#[derive(Debug)]
pub(super) struct Connect {
    pub(super) cancel_at: Option<Time>,
}

/// An accept or a receive in flight.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) credit: u32,
    pub(super) cancel_at: Option<Time>,
}

/// A send in flight.
#[derive(Debug)]
pub(super) struct Send {
    pub(super) data: SendData,
    /// What its leases said when it was begun.
    pub(super) lent: Vec<u8>,
    pub(super) mode: SendMode,
    pub(super) prompt: bool,
    pub(super) done: usize,
    pub(super) cancel_at: Option<Time>,
}

impl Send {
    pub(super) fn new(data: SendData, mode: SendMode, prompt: bool) -> Self {
        Self { lent: lent_bytes(&data), data, mode, prompt, done: 0, cancel_at: None }
    }
}

/// A watch in flight.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) half: bool,
    pub(super) cancel_at: Option<Time>,
}

/// How a socket goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Leaving {
    /// Of itself: its connect came to nothing.
    Failed,
    Detach,
    Close,
    Abort,
}

/// A socket of a port.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) token: Token,
    /// None when the socket has left and its last completion was not returned yet.
    pub(super) handle: Option<VirtualSocket>,
    pub(super) peer: Addr,
    pub(super) local: Addr,
    pub(super) connect: Option<Connect>,
    pub(super) accept: Option<Stream>,
    pub(super) recv: Option<Stream>,
    pub(super) send: Option<Send>,
    pub(super) watch: Option<Watch>,
    pub(super) leaving: Option<Leaving>,
    /// When a close has gone through.
    pub(super) close_at: Option<Time>,
    /// Its receive has no lease, and is in the queue of those.
    pub(super) starved: bool,
    /// What its owner has asked for and got no answer to.
    pub(super) ops: InFlight,
}

impl Socket {
    pub(super) fn new(
        token: Token,
        handle: VirtualSocket,
        (peer, local): (Addr, Addr),
        ops: InFlight,
    ) -> Self {
        Self {
            token,
            handle: Some(handle),
            peer,
            local,
            connect: None,
            accept: None,
            recv: None,
            send: None,
            watch: None,
            leaving: None,
            close_at: None,
            starved: false,
            ops,
        }
    }

    pub(super) fn descriptor(&self) -> Descriptor {
        self.handle.as_ref().expect("a socket that has not left").descriptor
    }

    /// The socket itself, if it has not left.
    pub(super) fn handle(&self) -> Option<&VirtualSocket> {
        self.handle.as_ref()
    }

    /// Half-closes it, if it is still there.
    pub(super) fn shutdown(&self) {
        if let Some(handle) = &self.handle {
            handle.network().shutdown(handle.descriptor);
        }
    }

    /// Asks it to leave. One that leaves of itself does so already.
    pub(super) fn leave(&mut self, how: Leaving) {
        if self.leaving != Some(Leaving::Failed) {
            self.leaving = Some(how);
        }
    }

    /// Whether it closes: every op ends as it is.
    pub(super) fn closes(&self) -> bool {
        self.leaving.is_some_and(|leaving| leaving != Leaving::Detach)
    }
}

/// The owner hears of this: an op may be over with it.
pub(super) fn answer(ops: &mut InFlight, what: &What, waits: u64) {
    match what {
        What::AcceptEnded(_) => ops.end(OpKind::Accept, waits),
        What::Connected { .. } => ops.end(OpKind::Connect, waits),
        What::ConnectFailed(_) => ops.connect_failed(waits),
        What::RecvEnded(_) => ops.end(OpKind::Recv, waits),
        What::WatchEnded(_) => ops.end(OpKind::Watch, waits),
        What::Sent { error, .. } => ops.sent(*error, waits),
        What::DetachFailed(_) => ops.stay(),
        _ => {}
    }
}

/// A completion as numbers, for the trace: its kind and how large it is.
pub(super) fn summary(what: &What) -> (u64, u64) {
    let of_end = |end: &End| match end {
        End::Eof => 0,
        End::Credit => 1,
        End::Cancelled => 2,
        End::Failed(error) => 3 + error.kind as u64,
    };
    match what {
        What::Accepted(_) => (0, 0),
        What::AcceptEnded(end) => (1, of_end(end)),
        What::Connected { .. } => (2, 0),
        What::ConnectFailed(error) => (3, error.kind as u64),
        What::Received(lease) => (4, lease.len() as u64),
        What::RecvEnded(end) => (5, of_end(end)),
        What::Sent { bytes, error, .. } => (6 + u64::from(error.is_some()), *bytes as u64),
        What::Detached(_) => (8, 0),
        What::Closed => (9, 0),
        What::Work(WorkDone::Job(done)) => (10, u64::from(done.is_ok())),
        What::DetachFailed(error) => (12, error.kind as u64),
        What::WatchEnded(end) => (13, of_end(end)),
        What::Work(WorkDone::HeapTrimmed) => (14, 0),
        What::Work(WorkDone::Read(read)) => (15, read.as_ref().map_or(0, |it| it.len() as u64)),
        What::Work(WorkDone::Resolved(addrs)) => (11, addrs.as_ref().map_or(0, Vec::len) as u64),
    }
}

/// The bytes of a send that lie in leases.
pub(super) fn lent_bytes(data: &SendData) -> Vec<u8> {
    let lent = data.segments().iter().filter(|it| matches!(it, Segment::Leased(_)));
    lent.flat_map(Segment::bytes).copied().collect()
}

/// The error of a file that cannot be read.
pub(super) fn unreadable() -> PortError {
    PortError::new(Call::File, ErrorKind::Other)
}
