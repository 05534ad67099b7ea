//! One socket of the port: what is in flight on it, and the system calls that take it further.

use crate::driver::files::send_file;
use crate::driver::os::SEND_FLAGS;
use crate::driver::turns::{Received, Receiver, receive_once};
use crate::driver::{poller, sockets};
use crate::{
    Addr, Call, End, ErrorKind, InFlight, PortError, RawSocket, RecvPool, SendData, SendMode,
    Unattached,
};
use longshore_base::{SEGMENTS_MAX, Token};
use socket2::Socket;
use std::io::{self, ErrorKind as IoErrorKind, IoSlice, Read};
use std::mem::MaybeUninit;
use std::rc::Rc;

/// A socket that the port holds.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, not a state machine")]
pub(super) struct Entry {
    /// What its owner calls it.
    pub(super) token: Token,
    pub(super) socket: Socket,
    /// Of a listener the same as `local`.
    pub(super) peer: Addr,
    pub(super) local: Addr,
    /// What its owner has asked for and got no answer to.
    pub(super) ops: InFlight,
    pub(super) role: Role,
    /// What the receive or the accept in flight may still take; 0 if there is none.
    pub(super) credit: u32,
    /// The watch in flight, and whether the end of the peer's stream ends it.
    pub(super) watch: Option<bool>,
    /// The send that waits for room.
    pub(super) send: Option<Sending>,
    /// The last op of all, if it was submitted.
    pub(super) ending: Option<Ending>,
    /// A receive or an accept may find something; the edge was not yet followed to its end.
    pub(super) readable: bool,
    /// The stream may have ended behind what there is to read.
    pub(super) hangup: bool,
    /// The connection may be over both ways.
    pub(super) broken: bool,
    /// It stands in the list of those to go on with, or of those without a lease.
    pub(super) queued: bool,
}

const _: () = assert!(size_of::<Entry>() <= 160, "an idle socket is cheap: two and a half lines");

/// What kind of socket it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    Listener,
    /// Its attempt to connect is in flight.
    Connecting,
    Connection,
}

/// How a socket leaves the port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ending {
    Close,
    Abort,
    Detach,
}

impl Entry {
    pub(super) fn new(
        socket: Socket,
        token: Token,
        role: Role,
        (peer, local): (Addr, Addr),
    ) -> Self {
        Self {
            token,
            socket,
            peer,
            local,
            ops: match role {
                Role::Listener => InFlight::listener(),
                Role::Connecting => InFlight::connecting(),
                Role::Connection => InFlight::connection(),
            },
            role,
            credit: 0,
            watch: None,
            send: None,
            ending: None,
            readable: false,
            hangup: false,
            broken: false,
            queued: false,
        }
    }

    /// Whether what is watched for has come.
    pub(super) fn watched_end(&self) -> Option<End> {
        let half = self.watch?;
        if !(self.broken || half && self.hangup) {
            return None;
        }
        let failed = |error: &io::Error| Some(End::Failed(PortError::from_io(Call::Recv, error)));
        match self.socket.take_error() {
            Ok(Some(error)) | Err(error) => return failed(&error),
            Ok(None) if poller::TELLS_END => return Some(End::Eof),
            Ok(None) => {}
        }
        // A look costs nothing of the stream. An end behind bytes stays unseen until they are read.
        match retried(|| self.socket.peek(&mut [MaybeUninit::uninit()])) {
            Ok(0) if half => Some(End::Eof),
            Err(error) if error.kind() != IoErrorKind::WouldBlock => failed(&error),
            _ => None,
        }
    }

    /// Takes the next waiting connection: `None` if there is none for now.
    pub(super) fn accept(&mut self) -> Result<Option<Unattached>, PortError> {
        let (socket, peer) = match retried(|| poller::accept(&self.socket)) {
            Ok(accepted) => accepted,
            Err(error) if error.kind() == IoErrorKind::WouldBlock => {
                self.readable = false;
                return Ok(None);
            }
            Err(error) => return Err(PortError::from_io(Call::Accept, &error)),
        };
        let gone = PortError::new(Call::Accept, ErrorKind::Passing);
        let peer = Addr::from(peer.ok_or(gone)?);
        let wildcard = self.local.ip().is_none_or(|ip| ip.is_unspecified());
        let local =
            if wildcard { sockets::local_addr(&socket).map_err(|_| gone)? } else { self.local };
        Ok(Some(Unattached { peer, local, raw: RawSocket::System(socket) }))
    }

    /// Whether the attempt to connect came to an end: `None` if not yet.
    pub(super) fn connected(&mut self) -> Option<Result<Addr, PortError>> {
        let failed = |error: io::Error| Some(Err(PortError::from_io(Call::Connect, &error)));
        match self.socket.take_error() {
            Ok(Some(error)) | Err(error) => return failed(error),
            Ok(None) => {}
        }
        match self.socket.peer_addr() {
            Ok(_) => {}
            // Some systems tell a new socket ready that has not connected yet.
            Err(error) if error.kind() == IoErrorKind::NotConnected => return None,
            Err(error) => return failed(error),
        }
        match sockets::local_addr(&self.socket) {
            Ok(local) => {
                self.role = Role::Connection;
                self.local = local;
                Some(Ok(local))
            }
            Err(error) => failed(error),
        }
    }
}

impl Receiver for Entry {
    fn owner(&self) -> Token {
        self.token
    }

    fn ops(&mut self) -> &mut InFlight {
        &mut self.ops
    }

    fn credit(&mut self) -> &mut u32 {
        &mut self.credit
    }

    fn set_queued(&mut self, queued: bool) {
        self.queued = queued;
    }

    #[inline]
    fn can_go_on(&self) -> bool {
        self.readable && self.credit > 0 && self.role != Role::Connecting
    }

    /// Fewer bytes than there was room for are all there were, unless the stream ends behind them:
    /// what comes later is a new edge (`epoll(7)`, «edge-triggered»). That saves the second call.
    #[inline]
    fn receive(&mut self, pool: &Rc<RecvPool>, most: usize) -> Received {
        let (received, more) =
            receive_once(pool, most, |room| retried(|| (&self.socket).read(room)));
        // Behind a hangup no other edge tells of the end.
        self.readable = more || self.hangup && matches!(received, Received::Bytes(_));
        received
    }
}

/// A send, and how much of it is out.
///
/// ```text
/// data:  | segment | segment | segment |
///        0             bytes          left = 0
/// ```
#[derive(Debug)]
pub(super) struct Sending {
    pub(super) data: SendData,
    /// Bytes that the system took.
    pub(super) bytes: usize,
    /// Bytes still to go.
    pub(super) left: usize,
}

impl Sending {
    /// Nothing of it is out yet.
    pub(super) fn new(data: SendData) -> Self {
        let left = data.byte_count();
        Self { data, bytes: 0, left }
    }

    /// Gives the system what it takes now. In mode `Whole` that is until it says that it takes no
    /// more: only then it will tell when there is room again.
    pub(super) fn go_on(&mut self, socket: &Socket, mode: SendMode) -> Result<(), PortError> {
        if let Some(range) = self.data.file() {
            let before = self.bytes;
            let result = send_file(socket, range, &mut self.bytes);
            self.left -= self.bytes - before;
            return result;
        }
        while self.left > 0 {
            match retried(|| self.send_once(socket)) {
                Ok(count) => {
                    self.bytes += count;
                    self.left -= count;
                }
                Err(error) if error.kind() == IoErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(PortError::from_io(Call::Send, &error)),
            }
            if mode == SendMode::Try {
                break;
            }
        }
        Ok(())
    }

    #[inline]
    fn send_once(&self, socket: &Socket) -> io::Result<usize> {
        match &self.data {
            SendData::One(segment) => {
                socket.send_with_flags(&segment.bytes()[self.bytes..], SEND_FLAGS)
            }
            SendData::Many(_) => self.send_gathered(socket),
        }
    }

    fn send_gathered(&self, socket: &Socket) -> io::Result<usize> {
        let mut slices = [IoSlice::new(&[]); SEGMENTS_MAX];
        let mut count = 0;
        let mut skip = self.bytes;
        for segment in self.data.segments() {
            let bytes = segment.bytes();
            if skip < bytes.len() {
                slices[count] = IoSlice::new(&bytes[skip..]);
                count += 1;
            }
            skip = skip.saturating_sub(bytes.len());
        }
        socket.send_vectored_with_flags(&slices[..count], SEND_FLAGS)
    }
}

/// Calls again as long as a signal came in between.
#[inline]
fn retried<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == IoErrorKind::Interrupted => {}
            done => return done,
        }
    }
}
