//! What the network is made of.

use longshore_base::{Time, Token};
use longshore_port::ErrorKind;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

/// The number of an open virtual socket; the lowest free one is used again at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Descriptor(pub(super) usize);

/// One end of one connection. The number of a connection is never used twice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct EndId {
    pub(super) connection: u64,
    pub(super) side: usize,
}

impl EndId {
    pub(super) const fn other(self) -> Self {
        Self { connection: self.connection, side: 1 - self.side }
    }
}

/// What a descriptor stands for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Open {
    End(EndId),
    Listener(SocketAddr),
}

/// A port and its socket, told when something happens there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owner {
    pub(crate) port: usize,
    pub(crate) socket: Token,
}

/// What will happen at its time.
#[derive(Debug)]
pub(super) enum Event {
    /// A packet comes in at an end.
    Arrival(EndId, Packet),
    /// A socket has to be looked at again: a late cancel, a late close.
    Look(Owner),
    /// Work of a port is done.
    Work(usize),
    /// A notify reaches a port.
    Wake(usize),
}

/// What travels between two ends.
#[derive(Debug)]
pub(super) enum Packet {
    Syn {
        knocks: u32,
    },
    Established,
    Refused(ErrorKind),
    Bytes(Vec<u8>),
    /// The reader took so many bytes: there is room for as many again.
    Room(usize),
    Fin,
    Reset,
    /// Nothing was heard of the peer for too long.
    Silence,
}

/// Two ends; which is which see [`EndId`].
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) ends: [End; 2],
}

/// One end.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "a TCP end is that many independent facts")]
pub(super) struct End {
    pub(super) local: SocketAddr,
    pub(super) owner: Option<Owner>,
    /// It belongs to a peer of the test's own.
    pub(super) client: bool,
    pub(super) connected: bool,
    pub(super) refused: Option<ErrorKind>,
    /// What this end may still send, and what it sent that nobody has read.
    pub(super) room: usize,
    pub(super) unread: usize,
    /// What the other end has read of it.
    pub(super) taken: u64,
    /// After how much silence of the peer it gives up; never without.
    pub(super) silence_max: Option<Duration>,
    pub(super) inbox: Vec<u8>,
    /// When the last packet comes in that is under way to this end: none overtakes it.
    pub(super) last_arrival: Time,
    pub(super) fin_sent: bool,
    pub(super) fin: bool,
    /// Nothing goes any more, and why.
    pub(super) broken: Option<ErrorKind>,
    /// Its machine is off: nothing comes in, nothing goes out.
    pub(super) vanished: bool,
    pub(super) closed: bool,
}

impl End {
    pub(super) fn new(local: SocketAddr, room: usize) -> Self {
        Self {
            local,
            owner: None,
            client: false,
            connected: false,
            refused: None,
            room,
            unread: 0,
            taken: 0,
            silence_max: None,
            inbox: Vec::new(),
            last_arrival: Time::ZERO,
            fin_sent: false,
            fin: false,
            broken: None,
            vanished: false,
            closed: false,
        }
    }
}

/// Who takes connections in at an address.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) owner: Option<Owner>,
    pub(super) dual_stack: bool,
    pub(super) backlog: VecDeque<u64>,
    pub(super) backlog_max: usize,
    pub(super) window_bytes: usize,
    pub(super) silence_max: Option<Duration>,
}
