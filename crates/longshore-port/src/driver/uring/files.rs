//! Sending files. The system does it by itself, in one call from its cache to the socket, where the
//! ring's ops wait on sockets that do not block; else pieces are read and sent like other bytes.
//!
//! ```text
//! start ─► call ─┬─ all, or no room and `Try` ──► answer
//!            ▲   └─ no room and `Whole` ─► poll ─┐
//!            └───────────────────────────────────┘
//! ```
#![expect(unsafe_code, reason = "entries name descriptors")]

use super::UringPort;
use super::names::{Kind, user_data};
use crate::driver::files::send_file;
use crate::file::{NOT_CACHED, SHORTENED};
use crate::{Call, ErrorKind, PortError, SendMode};
use io_uring::opcode;
use longshore_base::{SEND_BYTES_MAX, Token};

impl UringPort {
    /// Starts a send whose bytes are in a file.
    pub(super) fn start_file(&mut self, slot: Token, prompt: bool) {
        if self.features.nonblocking {
            let op = self.sends.get(slot).expect("just put in");
            let socket = self.sockets.get(op.socket).expect("checked by submit");
            // One look at its flags where it does so already; to note that would cost each socket.
            return match socket.system.set_nonblocking(true) {
                Ok(()) => self.go_on_with_file(slot),
                Err(error) => {
                    let error = PortError::from_io(Call::Send, &error);
                    self.answer_send(slot, 0, Some(error));
                }
            };
        }
        match self.next_piece(slot) {
            Ok(()) => {
                let op = self.sends.get_mut(slot).expect("just put in");
                let mode = op.mode;
                if let (SendMode::Try, Some((_, piece))) = (mode, &op.piece) {
                    op.len = piece.len(); // more is not tried
                }
                self.start_op(slot, mode, prompt);
            }
            Err(error) => self.answer_send(slot, 0, Some(error)),
        }
    }

    /// Gives the socket as much as it takes.
    fn go_on_with_file(&mut self, slot: Token) {
        let op = self.sends.get_mut(slot).expect("in flight");
        let socket = self.sockets.get(op.socket).expect("open until its send has returned");
        let Some(range) = op.data.file() else { unreachable!("its data is a file") };
        let result = send_file(&socket.system, range, &mut op.done);
        let done = op.done;
        match result {
            Ok(()) if done < op.len && op.mode == SendMode::Whole => self.wait_for_room(slot),
            result => self.answer_send(slot, done, result.err()),
        }
    }

    fn wait_for_room(&mut self, slot: Token) {
        let op = self.sends.get(slot).expect("in flight");
        let socket = self.sockets.get(op.socket).expect("open until its send has returned");
        let room = u32::from(libc::POLLOUT.unsigned_abs());
        let entry = opcode::PollAdd::new(socket.fd(), room).build();
        self.in_flight += 1;
        // SAFETY: the entry points to nothing; the socket stays open until this op has returned.
        unsafe { self.ring.push(entry.user_data(user_data(Kind::Room, slot))) };
    }

    /// There is room, or the connection broke, or the poll was cancelled.
    pub(super) fn room_done(&mut self, slot: Token) {
        self.in_flight -= 1;
        let op = self.sends.get(slot).expect("in flight");
        if op.is_cancelled() {
            let cancelled = PortError::new(Call::Send, ErrorKind::Cancelled);
            return self.answer_send(slot, op.done, Some(cancelled));
        }
        self.go_on_with_file(slot);
    }

    /// Reads what comes behind the bytes that are out, unless they are at hand.
    pub(super) fn next_piece(&mut self, slot: Token) -> Result<(), PortError> {
        let op = self.sends.get_mut(slot).expect("in flight");
        let Some(range) = op.data.file() else { return Ok(()) };
        if op.piece.as_ref().is_some_and(|(from, piece)| op.done < from + piece.len()) {
            return Ok(());
        }
        let most = (op.len - op.done).min(SEND_BYTES_MAX);
        let offset = range.offset + op.done as u64;
        if !range.file.is_cached(offset, most as u64) {
            return Err(NOT_CACHED);
        }
        let mut piece = vec![0; most];
        match range.file.read_at(&mut piece, offset) {
            Ok(0) => return Err(SHORTENED),
            Ok(count) => piece.truncate(count),
            Err(error) => return Err(PortError::from_io(Call::File, &error)),
        }
        op.piece = Some((op.done, piece.into()));
        Ok(())
    }
}
