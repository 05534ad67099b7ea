//! Ops in flight: what the system knows by address, and all that it may touch meanwhile.
#![expect(unsafe_code, reason = "a packet names its op by address")]

use super::sys::{self, AcceptAddrs, AfdPoll, Packet};
use crate::SendData;
use bytes::Bytes;
use longshore_base::{Slab, Token};
use socket2::Socket;
use std::mem::offset_of;
use std::ptr;
use windows_sys::Win32::System::IO::OVERLAPPED;

/// One op in flight. It does not move until its packet has come.
#[repr(C)]
pub(super) struct Slot {
    overlapped: OVERLAPPED,
    name: Token,
    pub(super) socket: Token,
    pub(super) held: Held,
}

const _: () = assert!(offset_of!(Slot, overlapped) == 0, "a packet's address is that of its slot");

/// Which op it is, with what belongs to it.
#[derive(Debug)]
pub(super) enum Held {
    /// A wait for something to receive.
    Readable,
    Connect,
    Accept(Box<Accepting>),
    Send(Sending),
    Poll(Box<AfdPoll>),
}

/// A send that the system has.
#[derive(Debug)]
pub(super) struct Sending {
    pub(super) data: SendData,
    /// Bytes that were out before this op.
    pub(super) bytes: usize,
    /// What is sent instead of a file that the system cannot read.
    pub(super) piece: Option<Bytes>,
}

impl Sending {
    pub(super) fn new(data: SendData) -> Self {
        Self { data, bytes: 0, piece: None }
    }

    /// Where in its file the op begins.
    pub(super) fn offset(&self) -> u64 {
        self.data.file().map_or(0, |range| range.offset + self.bytes as u64)
    }
}

/// The socket that a connection is to be taken into.
#[derive(Debug)]
pub(super) struct Accepting {
    pub(super) socket: Socket,
    pub(super) addrs: AcceptAddrs,
}

/// All ops in flight of a port.
#[derive(Default)]
pub(super) struct Slots(Slab<Slot>);

impl Slots {
    /// Makes room for an op. The address stays as it is until [`end`](Self::end).
    pub(super) fn begin(&mut self, socket: Token, held: Held) -> Token {
        let overlapped = match &held {
            Held::Send(sending) => sys::at_offset(sending.offset()),
            _ => OVERLAPPED::default(),
        };
        self.0.insert_with(|name| Slot { overlapped, name, socket, held })
    }

    pub(super) fn get_mut(&mut self, name: Token) -> Option<&mut Slot> {
        self.0.get_mut(name)
    }

    /// Where the system finds the op.
    pub(super) fn overlapped(&mut self, name: Token) -> *mut OVERLAPPED {
        self.0.get_mut(name).map_or(ptr::null_mut(), |slot| &raw mut slot.overlapped)
    }

    /// The op is over: what belongs to it comes back.
    pub(super) fn end(&mut self, name: Token) -> Slot {
        self.0.remove(name).expect("an op ends once")
    }

    /// Whose packet that is, and how its op ended; none of an op, if somebody posted it.
    pub(super) fn of_packet(packet: &Packet) -> Option<(Token, Result<u32, i32>)> {
        let overlapped = packet.overlapped();
        if overlapped.is_null() {
            return None;
        }
        let slot = overlapped.cast::<Slot>();
        // SAFETY: only ops of slots are started, and a slot stays until its packet is taken, which
        // happens here, once.
        let name = unsafe { (*slot).name };
        // SAFETY: the same.
        let status = unsafe { sys::status(overlapped) };
        Some((name, status.map(|()| packet.bytes())))
    }

    /// Whether the op is one of the device below Winsock.
    pub(super) fn is_poll(&self, name: Token) -> bool {
        self.0.get(name).is_some_and(|slot| matches!(slot.held, Held::Poll(_)))
    }

    /// How many are in flight.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn trim(&mut self) {
        self.0.trim();
    }
}
