//! One step of one socket: what its ops come to, now.

use super::socket::{Leaving, Send, lent_bytes, unreadable};
use super::{SimPort, packets};
use crate::Trouble;
use crate::network::{Network, Owner, Progress, VirtualSocket};
use crate::random::piece;
use longshore_base::{Time, Token};
use longshore_port::{
    Call, Completion, End, ErrorKind, PortError, RawSocket, SendData, SendMode, Unattached, What,
};
use std::convert::Infallible;

/// Leases and connections of one socket that one step gives at most.
const PIECES_MAX: usize = 4;

impl SimPort {
    /// Whether a cancel that was asked for has come through.
    fn cancelled(&self, cancel_at: Option<Time>) -> bool {
        cancel_at.is_some_and(|at| at <= self.world.network().now)
    }

    fn push(&mut self, id: Token, what: What) {
        let token = self.sockets.get(id).expect("a socket in the middle of a step").token;
        self.complete(id, Completion { token, what });
    }

    /// Tells of something, with this wait or a later one.
    fn complete(&mut self, id: Token, completion: Completion) {
        let mut network = self.world.network();
        let late = packets::may_be_late(&completion.what)
            && (self.packets.has(id) || network.suffers(Trouble::LatePacket));
        if late {
            let at = network.later();
            let at = self.packets.send(at, id, completion);
            network.work_at(at, self.index);
        } else {
            self.ready.push_back((Some(id), completion));
        }
    }

    /// Does what can be done for a socket now; says whether there is more to do at once.
    pub(super) fn step(&mut self, id: Token) -> bool {
        if self.sockets.get(id).is_none_or(|socket| socket.handle.is_none()) {
            return false;
        }
        self.step_connect(id);
        let mut again = self.step_accept(id);
        again |= self.step_send(id);
        again |= self.step_recv(id);
        self.step_watch(id);
        self.step_leave(id);
        again
    }

    fn step_connect(&mut self, id: Token) {
        let socket = self.sockets.get_mut(id).expect("checked in step");
        let Some(connect) = &socket.connect else { return };
        let (cancel_at, closes) = (connect.cancel_at, socket.closes());
        let failed = |kind| What::ConnectFailed(PortError::new(Call::Connect, kind));
        let progress = self.world.network().progress(socket.descriptor());
        let what = match progress {
            _ if closes => failed(ErrorKind::Cancelled),
            Progress::Connected => What::Connected { local: socket.local },
            Progress::Failed(kind) => failed(kind),
            Progress::UnderWay if self.cancelled(cancel_at) => failed(ErrorKind::Cancelled),
            Progress::UnderWay if self.world.network().suffers(Trouble::Connect) => {
                failed(ErrorKind::NoMemory)
            }
            Progress::UnderWay => return,
        };
        let socket = self.sockets.get_mut(id).expect("checked in step");
        socket.connect = None;
        if matches!(what, What::ConnectFailed(_)) && !closes {
            socket.leaving = Some(Leaving::Failed);
        }
        self.push(id, what);
    }

    fn step_accept(&mut self, id: Token) -> bool {
        for _ in 0..PIECES_MAX {
            let socket = self.sockets.get(id).expect("checked in step");
            let Some(accept) = &socket.accept else { return false };
            let ended = if socket.leaving.is_some() || self.cancelled(accept.cancel_at) {
                Some(End::Cancelled)
            } else {
                (accept.credit == 0).then_some(End::Credit)
            };
            let taken = match ended {
                Some(end) => Err(end),
                None => self.world.network().accept(socket.descriptor()).map_err(failed_accept),
            };
            let socket = self.sockets.get_mut(id).expect("checked in step");
            match taken {
                Ok(None) => return false,
                Ok(Some(taken)) => {
                    let accept = socket.accept.as_mut().expect("checked above");
                    accept.credit =
                        accept.credit.saturating_sub(u32::from(accept.credit < u32::MAX));
                    let handle = VirtualSocket::new(&self.world, taken.descriptor);
                    let raw = RawSocket::Virtual(Box::new(handle));
                    let (peer, local) = (taken.peer.into(), taken.local.into());
                    self.push(id, What::Accepted(Unattached { peer, local, raw }));
                }
                Err(end) => {
                    socket.accept = None;
                    self.push(id, What::AcceptEnded(end));
                    return false;
                }
            }
        }
        true
    }

    fn step_send(&mut self, id: Token) -> bool {
        let socket = self.sockets.get_mut(id).expect("checked in step");
        let (descriptor, closes) = (socket.descriptor(), socket.closes());
        let Some(send) = &mut socket.send else { return false };
        let left = send.data.byte_count() - send.done;
        let mut network = self.world.network();
        // What does not wait is tried also in front of a close.
        let cut_off = closes && send.mode == SendMode::Whole;
        let cancelled = cut_off || send.cancel_at.is_some_and(|at| at <= network.now);
        let mut error = None;
        let mut more_room = false;
        match network.send_room(descriptor) {
            _ if cancelled => error = Some(PortError::new(Call::Send, ErrorKind::Cancelled)),
            Err(kind) => error = Some(PortError::new(Call::Send, kind)),
            Ok(room) if network.suffers(Trouble::Send) => {
                // Of a file nobody looks at what there was: that is `Trouble::File`.
                let none = send.data.file().is_some() || network.random.one_in(2);
                let most = if none { 0 } else { room.min(left - 1) };
                let count = network.random.below(most + 1);
                let bytes = bytes_from(&send.data, send.done, count).expect("bytes of memory");
                send.done += bytes.len();
                network.send(descriptor, bytes);
                error = Some(PortError::new(Call::Send, ErrorKind::NoMemory));
            }
            Ok(0) => {}
            Ok(_) if send.data.file().is_some() && network.suffers(Trouble::File) => {
                error = Some(unreadable());
            }
            Ok(_) if !is_at_hand(send, &mut network) => {
                error = Some(PortError::new(Call::File, ErrorKind::NotCached));
            }
            Ok(room) => {
                let mut count = piece(&mut network.random, room.min(left));
                if send.mode == SendMode::Try && network.random.one_in(8) {
                    count = 0;
                }
                match bytes_from(&send.data, send.done, count) {
                    Ok(bytes) if bytes.is_empty() && count > 0 => {
                        error = Some(PortError::new(Call::File, ErrorKind::Shortened));
                    }
                    Ok(bytes) => {
                        send.done += bytes.len();
                        network.send(descriptor, bytes);
                    }
                    Err(failed) => error = Some(failed),
                }
                more_room = count < room;
            }
        }
        drop(network);
        let out = send.done == send.data.byte_count();
        if !out && error.is_none() && send.mode == SendMode::Whole {
            return more_room;
        }
        self.answer(id, error);
        false
    }

    /// Ends a send. An answer that is not wanted at once may be kept for a while, but not one that
    /// holds a lease: a worker that sleeps has none out, and that is checked.
    fn answer(&mut self, id: Token, error: Option<PortError>) {
        let socket = self.sockets.get_mut(id).expect("checked in step");
        let token = socket.token;
        let send = socket.send.take().expect("a send that is over");
        let Send { data, lent, mut done, prompt, .. } = send;
        assert!(lent_bytes(&data) == lent, "a lease has changed while it was sent");
        if error.is_some_and(|error| error.kind == ErrorKind::Cancelled) {
            let mut network = self.world.network();
            if network.random.one_in(4) || network.suffers(Trouble::UnknownCut) {
                done = network.random.below(done + 1);
            }
        }
        let late = done == data.byte_count() && !prompt && lent.is_empty();
        let completion = Completion { token, what: What::Sent { bytes: done, data, error } };
        if late && self.world.network().random.one_in(2) {
            self.kept.push((Some(id), completion));
        } else {
            self.complete(id, completion);
        }
    }

    fn step_recv(&mut self, id: Token) -> bool {
        for _ in 0..PIECES_MAX {
            let socket = self.sockets.get(id).expect("checked in step");
            let Some(recv) = &socket.recv else { return false };
            let arrived = self.world.network().arrived(socket.descriptor());
            let asked = socket.leaving.is_some() || self.cancelled(recv.cancel_at);
            let late = self.late.may_fill(id, self.world.network().now);
            let ended = if asked && late.is_none() {
                Some(End::Cancelled)
            } else if recv.credit == 0 {
                Some(End::Credit)
            } else if self.world.network().suffers(Trouble::Recv) {
                Some(End::Failed(PortError::new(Call::Recv, ErrorKind::NoMemory)))
            } else if arrived.bytes > 0 {
                None
            } else if let Some(kind) = arrived.broken {
                Some(End::Failed(PortError::new(Call::Recv, kind)))
            } else if arrived.fin {
                Some(End::Eof)
            } else {
                return false;
            };
            match ended {
                Some(end) => {
                    self.sockets.get_mut(id).expect("checked in step").recv = None;
                    self.push(id, What::RecvEnded(end));
                    return false;
                }
                None if late.is_some() => {
                    if !self.world.network().random.one_in(2) {
                        return false; // not yet
                    }
                    self.late.give_back(id); // filled as the lease that is lent now
                    let bytes = arrived.bytes.min(late.expect("just seen"));
                    self.lend(id, bytes);
                }
                None if self.lend(id, arrived.bytes) => {}
                None => return false,
            }
        }
        true
    }

    fn step_watch(&mut self, id: Token) {
        let socket = self.sockets.get(id).expect("checked in step");
        let Some(watch) = &socket.watch else { return };
        let arrived = self.world.network().arrived(socket.descriptor());
        let end = match arrived.broken {
            _ if socket.leaving.is_some() || self.cancelled(watch.cancel_at) => End::Cancelled,
            _ if self.world.network().suffers(Trouble::Watch) => {
                End::Failed(PortError::new(Call::Recv, ErrorKind::NoMemory))
            }
            Some(kind) => End::Failed(PortError::new(Call::Recv, kind)),
            None if arrived.fin && (watch.half || arrived.fin_sent) => End::Eof,
            None => return,
        };
        self.sockets.get_mut(id).expect("checked in step").watch = None;
        self.push(id, What::WatchEnded(end));
    }

    /// Lends a piece of what has arrived; without room for it the socket queues up.
    fn lend(&mut self, id: Token, arrived: usize) -> bool {
        let socket = self.sockets.get_mut(id).expect("checked in step");
        let descriptor = socket.descriptor();
        let recv = socket.recv.as_mut().expect("a receive in flight");
        let most = {
            let random = &mut self.world.network().random;
            // One lease more than the credit is within the promise, and drivers do it.
            let credit = if random.one_in(4) { usize::MAX } else { recv.credit as usize };
            piece(random, arrived.min(credit))
        };
        let filled = self.pool.fill::<Infallible>(most, |room| {
            self.world.network().read(descriptor, room);
            Ok(room.len())
        });
        let Ok(lease) = filled;
        if let Some(lease) = lease {
            let len = u32::try_from(lease.len()).expect("a block is smaller than 4 GiB");
            recv.credit = recv.credit.saturating_sub(len);
            self.late.check(&lease);
            self.push(id, What::Received(lease));
            return true;
        }
        if !std::mem::replace(&mut socket.starved, true) {
            self.starved.push_back(id);
        }
        false
    }

    /// Lets a socket go whose ops are all over.
    fn step_leave(&mut self, id: Token) {
        let socket = self.sockets.get_mut(id).expect("checked in step");
        let Some(leaving) = socket.leaving else { return };
        let accepts = socket.accept.is_some() || socket.connect.is_some();
        let input = socket.recv.is_some() || socket.watch.is_some();
        if accepts || input || socket.send.is_some() {
            return;
        }
        let descriptor = socket.descriptor();
        if leaving == Leaving::Detach && self.world.network().keeps_sockets {
            socket.leaving = None;
            let error = PortError::new(Call::Detach, ErrorKind::Unsupported);
            return self.push(id, What::DetachFailed(error));
        }
        if leaving == Leaving::Detach {
            self.world.network().set_owner(descriptor, None);
            let handle = socket.handle.take().expect("a socket that has not left");
            let raw = RawSocket::Virtual(Box::new(handle));
            let (peer, local) = (socket.peer, socket.local);
            self.push(id, What::Detached(Unattached { peer, local, raw }));
            return;
        }
        let mut network = self.world.network();
        if leaving == Leaving::Close {
            network.shutdown(descriptor);
        }
        if let Some(at) = socket.close_at.filter(|&at| at > network.now) {
            let owner = Owner { port: self.index, socket: id };
            network.touch_at(at, owner);
            return;
        }
        if leaving == Leaving::Abort {
            network.reset(descriptor);
        }
        drop(network);
        drop(socket.handle.take());
        self.push(id, What::Closed);
    }
}

fn failed_accept(kind: ErrorKind) -> End {
    End::Failed(PortError::new(Call::Accept, kind))
}

/// Whether what is sent is at hand: bytes of a file may have to be read first.
fn is_at_hand(send: &Send, network: &mut Network) -> bool {
    let Some(range) = send.data.file() else { return true };
    let done = send.done as u64;
    range.file.is_cached(range.offset + done, range.len - done)
        && !network.suffers(Trouble::NotCached)
}

/// `count` bytes of a send, from byte `start` on; fewer where a file has no more.
fn bytes_from(data: &SendData, start: usize, count: usize) -> Result<Vec<u8>, PortError> {
    if let Some(range) = data.file() {
        let mut bytes = vec![0; count];
        let read = range.file.read_at(&mut bytes, range.offset + start as u64);
        let count = read.map_err(|error| PortError::from_io(Call::File, &error))?;
        bytes.truncate(count);
        return Ok(bytes);
    }
    let mut skip = start;
    let mut bytes = Vec::with_capacity(count);
    for segment in data.segments() {
        let rest = segment.bytes().get(skip..).unwrap_or_default();
        skip = skip.saturating_sub(segment.bytes().len());
        bytes.extend_from_slice(&rest[..rest.len().min(count - bytes.len())]);
    }
    Ok(bytes)
}
