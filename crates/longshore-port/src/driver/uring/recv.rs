//! Receiving: one receive of the ring per op, its credit, and the queue for buffers.
#![expect(unsafe_code, reason = "entries name descriptors and buffers")]

use super::UringPort;
use super::names::{Kind, user_data};
use super::socket::{Recv, RecvState};
use crate::{Call, Completion, End, OpKind, PortError, What};
use io_uring::cqueue;
use longshore_base::Token;

/// Receives that are tried again for each block in the kernel's hands: those without bytes use
/// none, so one block may serve several; those that fail keep their place (R9).
const RESUMED_PER_BLOCK: usize = 8;

impl UringPort {
    pub(super) fn start_recv(&mut self, token: Token, credit: u32) {
        let socket = self.sockets.get_mut(token).expect("checked by submit");
        socket.recv = Recv { credit, ..Recv::default() };
        if self.parked.is_empty() && self.buffers.in_kernel() > 0 {
            self.arm_recv(token);
        } else {
            self.park(token); // behind those that wait already, and not to fail at once
        }
    }

    #[inline]
    fn arm_recv(&mut self, token: Token) {
        let socket = self.sockets.get_mut(token).expect("armed only while open");
        socket.recv.state = RecvState::Armed;
        let entry = self.features.recv_entry(socket.fd(), socket.recv.credit);
        self.in_flight += 1;
        // SAFETY: the memory is that of the buffer group, which outlives the ring or is leaked;
        // the socket stays open until this op has returned.
        unsafe { self.ring.push(entry.user_data(user_data(Kind::Recv, token))) };
    }

    /// Lets the socket wait for a buffer, at its place.
    fn park(&mut self, token: Token) {
        let socket = self.sockets.get_mut(token).expect("parked only while open");
        if socket.recv.ticket == 0 {
            self.ticket_last += 1;
            socket.recv.ticket = self.ticket_last;
        }
        socket.recv.state = RecvState::Parked;
        self.parked.insert(socket.recv.ticket, token);
    }

    /// Arms those that waited longest, as far as there are buffers.
    pub(super) fn resume_parked(&mut self) {
        let most = RESUMED_PER_BLOCK * usize::from(self.buffers.in_kernel());
        for _ in 0..most {
            let Some((_, token)) = self.parked.pop_first() else { return };
            self.arm_recv(token);
        }
    }

    /// Whether another round of [`resume_parked`](Self::resume_parked) would arm somebody.
    #[inline]
    pub(super) fn can_resume(&self) -> bool {
        !self.parked.is_empty() && self.buffers.in_kernel() > 0 && !self.refused
    }

    /// Makes the receive end soon; its completion says how.
    pub(super) fn stop_recv(&mut self, token: Token) {
        let Some(socket) = self.sockets.get_mut(token) else { return };
        match socket.recv.state {
            RecvState::Idle => {}
            RecvState::Parked => {
                self.parked.remove(&socket.recv.ticket);
                self.end_recv(token, End::Cancelled);
            }
            RecvState::Armed => {
                if !std::mem::replace(&mut socket.recv.cancelled, true) {
                    self.push_cancel(user_data(Kind::Recv, token));
                }
            }
        }
    }

    fn end_recv(&mut self, token: Token, end: End) {
        let Some(socket) = self.sockets.get_mut(token) else { return };
        socket.recv.state = RecvState::Idle;
        socket.ops.end(OpKind::Recv, self.waits);
        self.ready.push(Completion { token: socket.owner, what: What::RecvEnded(end) });
    }

    #[inline]
    pub(super) fn recv_done(&mut self, token: Token, result: i32, flags: u32) {
        let socket = self.sockets.get_mut(token).expect("open until its receive has returned");
        if let Some(block) = cqueue::buffer_select(flags) {
            let count = u32::try_from(result).unwrap_or(0); // negative: nothing was written
            let goes_on = cqueue::buffer_more(flags);
            if let Some(lease) = self.buffers.take(block, count, goes_on) {
                socket.recv.credit = socket.recv.credit.saturating_sub(count);
                socket.recv.ticket = 0;
                let what = What::Received(lease);
                self.ready.push(Completion { token: socket.owner, what });
            }
        }
        if !cqueue::more(flags) {
            self.in_flight -= 1;
            self.recv_returned(token, result);
        }
    }

    /// The kernel has let go of the receive: ends it, or arms it again.
    fn recv_returned(&mut self, token: Token, result: i32) {
        let socket = self.sockets.get_mut(token).expect("open until its receive has returned");
        let refused = match -result {
            0 if socket.leaving.is_none() => return self.finish_recv(token, End::Eof),
            code if code <= 0 => None,
            libc::ENOBUFS | libc::EINTR => None,
            libc::ECANCELED if socket.recv.cancelled => None,
            code => Some(PortError::from_code(Call::Recv, code)),
        };
        let end = match refused {
            Some(error) if !socket.is_closing() => End::Failed(error),
            _ if socket.recv.cancelled => End::Cancelled,
            _ if socket.recv.credit == 0 => End::Credit,
            _ if result == -libc::ENOBUFS => {
                // Not for want of a block of ours: to ask again at once would be a spin.
                self.refused |= self.buffers.in_kernel() > 0;
                return self.park(token);
            }
            _ => {
                self.rearmed = true;
                return self.arm_recv(token);
            }
        };
        self.finish_recv(token, end);
    }

    fn finish_recv(&mut self, token: Token, end: End) {
        self.end_recv(token, end);
        self.settle(token);
    }
}
