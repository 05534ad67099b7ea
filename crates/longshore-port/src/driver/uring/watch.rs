//! Watching: a poll for the end of a connection of which nothing is received.
#![expect(unsafe_code, reason = "entries name descriptors")]

use super::UringPort;
use super::names::{Kind, user_data};
use super::socket::Watch;
use crate::{Call, Completion, End, OpKind, PortError, What};
use io_uring::{cqueue, opcode};
use longshore_base::Token;

/// Nothing goes either way any more. Source: `poll(2)`.
const BROKEN: u32 = (libc::POLLERR | libc::POLLHUP).unsigned_abs() as u32;

impl UringPort {
    pub(super) fn start_watch(&mut self, token: Token, half: bool) {
        let socket = self.sockets.get_mut(token).expect("checked by submit");
        socket.watch = Some(Watch { half, over: false, cancelled: false });
        self.arm_watch(token);
    }

    fn arm_watch(&mut self, token: Token) {
        let socket = self.sockets.get(token).expect("armed only while open");
        let Some(watch) = socket.watch else { return };
        // The ring tells of the end of the peer's stream unasked. Of who has read that already only
        // news is wanted, which is what a poll of many shots brings after its first.
        let mask = BROKEN | u32::from(libc::POLLRDHUP.unsigned_abs());
        let entry = opcode::PollAdd::new(socket.fd(), mask).multi(!watch.half).build();
        self.in_flight += 1;
        // SAFETY: the entry points to nothing; the socket stays open until this op has returned.
        unsafe { self.ring.push(entry.user_data(user_data(Kind::Watch, token))) };
    }

    /// Makes the watch end soon; its completion says how.
    pub(super) fn stop_watch(&mut self, token: Token) {
        let Some(watch) = self.sockets.get_mut(token).and_then(|it| it.watch.as_mut()) else {
            return;
        };
        if !std::mem::replace(&mut watch.cancelled, true) {
            self.push_cancel(user_data(Kind::Watch, token));
        }
    }

    pub(super) fn watch_done(&mut self, token: Token, result: i32, flags: u32) {
        let socket = self.sockets.get_mut(token).expect("open until its watch has returned");
        let Some(watch) = &mut socket.watch else { return };
        let found = u32::try_from(result).unwrap_or(0);
        watch.over |= found & BROKEN != 0 || (watch.half && found != 0);
        let over = watch.over;
        if cqueue::more(flags) {
            if over {
                self.stop_watch(token);
            }
            return;
        }
        self.in_flight -= 1;
        let end = if socket.leaving.is_some() {
            End::Cancelled
        } else if over {
            match socket.system.take_error() {
                Ok(None) => End::Eof,
                Ok(Some(error)) | Err(error) => End::Failed(PortError::from_io(Call::Recv, &error)),
            }
        } else if watch.cancelled {
            End::Cancelled
        } else if result >= 0 || result == -libc::EINTR {
            return self.arm_watch(token);
        } else {
            End::Failed(PortError::from_code(Call::Recv, -result))
        };
        socket.watch = None;
        socket.ops.end(OpKind::Watch, self.waits);
        self.ready.push(Completion { token: socket.owner, what: What::WatchEnded(end) });
        self.settle(token);
    }
}
