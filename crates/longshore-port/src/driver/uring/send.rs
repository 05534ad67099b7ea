//! Sending: tries that cost no completion when they succeed, and sends that wait for room.
//!
//! A try is `MSG_DONTWAIT | MSG_WAITALL` with `CQE_SKIP_SUCCESS`: it runs while `enter` submits it.
//! If it went out whole nothing is heard of it, and its answer is made up after that `enter`; else
//! a completion with what was sent, or why not, is there by then.
#![expect(unsafe_code, reason = "entries name descriptors and memory")]

use super::UringPort;
use super::names::{Kind, user_data};
use super::ops::SendOp;
use crate::{Call, Completion, ErrorKind, PortError, Segment, SendData, SendMode, What};
use io_uring::{opcode, squeue};
use longshore_base::{Token, event};

impl UringPort {
    #[inline]
    pub(super) fn start_send(
        &mut self,
        token: Token,
        data: SendData,
        mode: SendMode,
        prompt: bool,
    ) {
        let socket = self.sockets.get_mut(token).expect("checked by submit");
        let len = data.byte_count();
        let several = matches!(data, SendData::Many(_));
        let gather = several.then(|| self.gathers.take());
        let (done, cancelled, piece) = (0, false, None);
        let op = SendOp { socket: token, data, mode, len, done, cancelled, gather, piece };
        let file = op.data.file().is_some();
        let slot = self.sends.insert(op);
        socket.send = Some(slot);
        if file {
            return self.start_file(slot, prompt);
        }
        self.start_op(slot, mode, prompt);
    }

    /// The bytes are at hand: they go with the next `enter`.
    #[inline]
    pub(super) fn start_op(&mut self, slot: Token, mode: SendMode, prompt: bool) {
        match mode {
            SendMode::Try => {
                self.tried.slots.push(slot);
                self.tried.prompt |= prompt;
            }
            SendMode::Whole => self.in_flight += 1,
        }
        self.push_send(slot);
    }

    #[inline]
    pub(super) fn push_send(&mut self, slot: Token) {
        let op = self.sends.get(slot).expect("in flight");
        let fd = self.sockets.get(op.socket).expect("open until its send has returned").fd();
        let flags = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;
        let (flags, kind, quiet) = match op.mode {
            SendMode::Try => {
                (flags | libc::MSG_DONTWAIT, Kind::TrySend, squeue::Flags::SKIP_SUCCESS)
            }
            SendMode::Whole => (flags, Kind::WholeSend, squeue::Flags::empty()),
        };
        let entry = match (&op.data, op.gather) {
            (SendData::One(Segment::File(_)), _) => {
                let (from, piece) = op.piece.as_ref().expect("read before it is sent");
                let rest = &piece[op.done - from..];
                let len = u32::try_from(rest.len()).expect("at most SEND_BYTES_MAX");
                opcode::Send::new(fd, rest.as_ptr(), len).flags(flags).build()
            }
            (SendData::One(segment), _) => {
                let rest = &segment.bytes()[op.done..];
                let len = u32::try_from(rest.len()).expect("at most SEND_BYTES_MAX");
                opcode::Send::new(fd, rest.as_ptr(), len).flags(flags).build()
            }
            (data @ SendData::Many(_), Some(gather)) => {
                let header = self.gathers.list(gather, data, op.done);
                let flags = u32::try_from(flags).expect("flags are below the sign");
                opcode::SendMsg::new(fd, header).flags(flags).build()
            }
            (SendData::Many(_), None) => unreachable!("several parts have a list"),
        };
        let entry = entry.flags(quiet).user_data(user_data(kind, slot));
        // SAFETY: the bytes belong to the op in `sends`, the list to `gathers`, which never move
        // what they hold; both stay, unchanged, until the op is taken out in `answer_send`, which
        // its completion, or for a try the end of the `enter` that ran it, brings about. The
        // socket stays open as long.
        unsafe { self.ring.push(entry) };
    }

    /// Makes a send that waits for room end soon. One that does not wait ends by itself.
    pub(super) fn stop_send(&mut self, token: Token) {
        let Some(slot) = self.sockets.get(token).and_then(|socket| socket.send) else { return };
        let op = self.sends.get_mut(slot).expect("in flight");
        if op.mode == SendMode::Whole && !std::mem::replace(&mut op.cancelled, true) {
            let by_itself = op.data.file().is_some() && op.piece.is_none();
            let kind = if by_itself { Kind::Room } else { Kind::WholeSend };
            self.push_cancel(user_data(kind, slot));
        }
    }

    /// A try that did not go out whole.
    pub(super) fn try_done(&mut self, slot: Token, result: i32) {
        if self.sends.get(slot).is_none() {
            // No kernel known answers a try after the `enter` that ran it.
            event!(error, ?slot, result, "a send that does not wait was answered late");
            return;
        }
        match result {
            count @ 0.. => self.answer_send(slot, count.unsigned_abs() as usize, None),
            code if [-libc::EAGAIN, -libc::EINTR].contains(&code) => {
                self.answer_send(slot, 0, None);
            }
            code => self.answer_send(slot, 0, Some(PortError::from_code(Call::Send, -code))),
        }
    }

    /// Answers the tries of which nothing was heard: they went out whole.
    #[inline]
    pub(super) fn answer_tried(&mut self) {
        let mut tried = std::mem::take(&mut self.tried);
        for slot in tried.slots.drain(..) {
            // Those that had a completion are gone, and their names stale.
            if let Some(len) = self.sends.get(slot).map(|op| op.len) {
                self.answer_send(slot, len, None);
            }
        }
        tried.prompt = false;
        self.tried = tried; // with its capacity
    }

    pub(super) fn whole_done(&mut self, slot: Token, result: i32) {
        let op = self.sends.get_mut(slot).expect("in flight");
        let cancelled = || Some(PortError::new(Call::Send, ErrorKind::Cancelled));
        let error = match result {
            count @ 1.. => {
                op.done += count.unsigned_abs() as usize;
                if op.done < op.len && op.cancelled { cancelled() } else { None }
            }
            code if code == -libc::ECANCELED => cancelled(),
            code if code == -libc::EINTR && op.cancelled => cancelled(),
            code if code == -libc::EINTR => None,
            0 => Some(PortError::new(Call::Send, ErrorKind::Other)),
            code => Some(PortError::from_code(Call::Send, -code)),
        };
        let done = op.done;
        if error.is_none() && done < op.len {
            // A connection that broke reports what had gone out first. The next attempt says why.
            match self.next_piece(slot) {
                Ok(()) => return self.push_send(slot),
                Err(failed) => {
                    self.in_flight -= 1;
                    return self.answer_send(slot, done, Some(failed));
                }
            }
        }
        self.in_flight -= 1;
        self.answer_send(slot, done, error);
    }

    /// The one place where a send's memory leaves the ring's hands.
    pub(super) fn answer_send(&mut self, slot: Token, bytes: usize, error: Option<PortError>) {
        let op = self.sends.remove(slot).expect("in flight");
        if let Some(gather) = op.gather {
            self.gathers.give(gather);
        }
        let socket = self.sockets.get_mut(op.socket).expect("open until its send has returned");
        socket.send = None;
        socket.ops.sent(error, self.waits);
        let what = What::Sent { bytes, data: op.data, error };
        self.ready.push(Completion { token: socket.owner, what });
        if socket.leaving.is_some() {
            if op.mode == SendMode::Try {
                socket.end_stream(); // which waited for it
            }
            self.settle(op.socket);
        }
    }
}
