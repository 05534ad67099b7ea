//! Streams between two ends: windows, cuts, half-closes, resets.

use super::Network;
use super::parts::{Descriptor, End, EndId, Event, Packet};
use crate::random::piece;
use longshore_port::ErrorKind;

/// What there is for a receive.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrived {
    pub(crate) bytes: usize,
    pub(crate) fin: bool,
    /// The own end of the stream is out.
    pub(crate) fin_sent: bool,
    pub(crate) broken: Option<ErrorKind>,
}

impl Network {
    pub(super) fn end(&self, id: EndId) -> Option<&End> {
        Some(&self.connections.get(&id.connection)?.ends[id.side])
    }

    pub(super) fn end_mut(&mut self, id: EndId) -> Option<&mut End> {
        Some(&mut self.connections.get_mut(&id.connection)?.ends[id.side])
    }

    /// Puts a packet of `from` on the wire, behind those before it.
    pub(super) fn transmit(&mut self, from: EndId, packet: Packet) {
        if self.end(from).is_some_and(|end| end.vanished) {
            return;
        }
        let at = self.later();
        let to = from.other();
        let Some(end) = self.end_mut(to) else { return };
        end.last_arrival = end.last_arrival.max(at);
        let at = end.last_arrival;
        self.schedule(at, Event::Arrival(to, packet));
    }

    pub(super) fn arrive(&mut self, id: EndId, packet: Packet) {
        let chance = self.random.one_in(2);
        let Some(end) = self.end_mut(id).filter(|end| !end.vanished) else { return };
        match packet {
            Packet::Syn { knocks } => return self.knock(id, knocks),
            Packet::Bytes(_) if end.closed => return self.transmit(id, Packet::Reset),
            Packet::Bytes(bytes) if end.broken.is_none() => end.inbox.extend_from_slice(&bytes),
            Packet::Bytes(_) => {}
            Packet::Established => end.connected = true,
            Packet::Refused(kind) => (end.refused, end.broken) = (Some(kind), Some(kind)),
            Packet::Room(bytes) => {
                end.room += bytes;
                end.unread -= bytes;
                end.taken += bytes as u64;
            }
            Packet::Fin => end.fin = true,
            Packet::Silence => end.broken = end.broken.or(Some(ErrorKind::TimedOut)),
            Packet::Reset => {
                end.broken = end.broken.or(Some(ErrorKind::Reset));
                if chance {
                    end.inbox.clear(); // systems differ on what a reset does to unread bytes
                }
            }
        }
        if let Some(owner) = end.owner {
            self.touch(owner);
        }
    }

    pub(crate) fn arrived(&self, descriptor: Descriptor) -> Arrived {
        let end = self.end_of(descriptor).and_then(|end| self.end(end)).expect("an open end");
        let &End { fin, fin_sent, broken, .. } = end;
        Arrived { bytes: end.inbox.len(), fin, fin_sent, broken }
    }

    /// Takes bytes that have arrived, as many as `into` is long, and tells the sender.
    pub(crate) fn read(&mut self, descriptor: Descriptor, into: &mut [u8]) {
        let Some(id) = self.end_of(descriptor) else { return };
        let end = self.end_mut(id).expect("an open end");
        into.copy_from_slice(&end.inbox[..into.len()]);
        end.inbox.drain(..into.len());
        self.trace.note([3, id.connection, id.side as u64, into.len() as u64]);
        if !into.is_empty() {
            self.transmit(id, Packet::Room(into.len()));
        }
    }

    /// How many bytes find room now; an error if none ever will.
    pub(crate) fn send_room(&self, descriptor: Descriptor) -> Result<usize, ErrorKind> {
        let end = self.end_of(descriptor).and_then(|end| self.end(end)).expect("an open end");
        match end.broken {
            Some(kind) => Err(kind),
            None if end.fin_sent => Err(ErrorKind::Reset),
            None => Ok(end.room),
        }
    }

    /// Bytes that were sent and not read, and those that were.
    pub(crate) fn acknowledged(&self, descriptor: Descriptor) -> Option<(u64, u64)> {
        let end = self.end_of(descriptor).and_then(|end| self.end(end))?;
        Some((end.unread as u64, end.taken))
    }

    /// The machine of this end goes off. The other one hears nothing more, and gives up when its
    /// probes were not answered.
    pub(crate) fn vanish(&mut self, descriptor: Descriptor) {
        let Some(id) = self.end_of(descriptor) else { return };
        self.end_mut(id).expect("an open end").vanished = true;
        self.probe(id.other());
    }

    /// An end gives up at its time, if its peer has vanished.
    pub(super) fn probe(&mut self, id: EndId) {
        let vanished = self.end(id.other()).is_some_and(|other| other.vanished);
        let silence = self.end(id).and_then(|end| end.silence_max).filter(|_| vanished);
        if let Some(silence) = silence {
            self.schedule(self.now + silence, Event::Arrival(id, Packet::Silence));
        }
    }

    /// Sends bytes for which there is room, in pieces of chance.
    pub(crate) fn send(&mut self, descriptor: Descriptor, mut bytes: Vec<u8>) {
        let Some(id) = self.end_of(descriptor) else { return };
        let end = self.end_mut(id).expect("an open end");
        end.room = end.room.checked_sub(bytes.len()).expect("the caller asked how much fits");
        end.unread += bytes.len();
        self.trace.note([4, id.connection, id.side as u64, bytes.len() as u64]);
        while !bytes.is_empty() {
            let rest = bytes.split_off(piece(&mut self.random, bytes.len()));
            self.transmit(id, Packet::Bytes(bytes));
            bytes = rest;
        }
    }

    /// Half-close.
    pub(crate) fn shutdown(&mut self, descriptor: Descriptor) {
        let Some(id) = self.end_of(descriptor) else { return };
        self.shutdown_end(id);
    }

    fn shutdown_end(&mut self, id: EndId) {
        let end = self.end_mut(id).expect("an open end");
        if !std::mem::replace(&mut end.fin_sent, true) {
            self.transmit(id, Packet::Fin);
        }
    }

    pub(crate) fn reset(&mut self, descriptor: Descriptor) {
        if let Some(id) = self.end_of(descriptor) {
            self.reset_end(id);
        }
    }

    pub(super) fn reset_end(&mut self, id: EndId) {
        let end = self.end_mut(id).expect("an open end");
        end.fin_sent = true;
        if end.broken.is_none() {
            end.broken = Some(ErrorKind::Reset);
            self.transmit(id, Packet::Reset);
        }
    }

    /// Nobody looks at this end any more: the end of the stream, or a reset over unread bytes.
    pub(super) fn close_end(&mut self, id: EndId) {
        self.shutdown_end(id);
        let end = self.end_mut(id).expect("an open end");
        let (unread, client) = (!end.inbox.is_empty(), end.client);
        if unread {
            self.reset_end(id);
        }
        self.clients -= usize::from(client);
        self.abandon(id);
    }

    /// Nobody holds this end. The connection is gone when that is so of both: one that was given up
    /// while it was made may still be in a backlog.
    pub(super) fn abandon(&mut self, id: EndId) {
        let end = self.end_mut(id).expect("an end that was held");
        (end.closed, end.owner) = (true, None);
        if self.end(id.other()).is_some_and(|other| other.closed) {
            let over = self.connections.remove(&id.connection).expect("its end was just there");
            self.locals.remove(&over.ends[0].local);
        }
    }
}
