//! Accepting: several single-shot accepts at once, each with an address of its own. The multishot
//! form has one address for all, of which only the last peer's is left.
#![expect(unsafe_code, reason = "entries name descriptors and memory")]

use super::names::{Kind, user_data};
use super::ops::AcceptOp;
use super::socket::{Accepting, Role, unattached};
use super::{Socket, UringPort};
use crate::{Addr, Call, Completion, End, OpKind, PortError, What};
use io_uring::opcode;
use longshore_base::Token;
use socket2::{SockAddr, Socket as SystemSocket};
use std::os::fd::FromRawFd;

/// Most accepts of one listener in the ring at once: a burst is taken in one turn.
const ACCEPTS_MAX: u32 = 16;

/// The credit that is never used up.
const ENDLESS: u32 = u32::MAX;

fn accepting(socket: &mut Socket) -> Option<&mut Box<Accepting>> {
    match &mut socket.role {
        Role::Listener { accepting, .. } => accepting.as_mut(),
        _ => None,
    }
}

impl UringPort {
    pub(super) fn start_accept(&mut self, token: Token, credit: u32) {
        let socket = self.sockets.get_mut(token).expect("checked by submit");
        let Role::Listener { accepting, .. } = &mut socket.role else { return };
        let count = credit.min(ACCEPTS_MAX);
        let slots: Vec<_> = (0..count).map(|_| self.accepts.insert(AcceptOp::new(token))).collect();
        let op = Accepting {
            slots: slots.clone(),
            credit: if credit == ENDLESS { ENDLESS } else { credit - count },
            cancelled: false,
            error: None,
        };
        *accepting = Some(Box::new(op));
        for slot in slots {
            self.push_accept(slot);
        }
    }

    fn push_accept(&mut self, slot: Token) {
        let op = self.accepts.get_mut(slot).expect("in flight");
        let addr = (&raw mut op.addr).cast();
        let len = &raw mut op.len;
        let fd = self.sockets.get(op.listener).expect("open until its accepts have returned").fd();
        // Blocking, unlike what one would give a readiness driver: see `make_fit`.
        let entry = opcode::Accept::new(fd, addr, len).flags(libc::SOCK_CLOEXEC).build();
        self.in_flight += 1;
        // SAFETY: the kernel writes address and length to a slot of `accepts`, which never moves
        // what it holds; nobody looks at it until `accept_done` has this op's completion. The
        // listener stays open as long.
        unsafe { self.ring.push(entry.user_data(user_data(Kind::Accept, slot))) };
    }

    pub(super) fn stop_accept(&mut self, token: Token) {
        let Some(accepting) = self.sockets.get_mut(token).and_then(accepting) else { return };
        if !std::mem::replace(&mut accepting.cancelled, true) {
            self.stop_accepts(token);
        }
    }

    fn stop_accepts(&mut self, token: Token) {
        let Some(accepting) = self.sockets.get_mut(token).and_then(accepting) else { return };
        let slots = accepting.slots.clone();
        for slot in slots {
            self.push_cancel(user_data(Kind::Accept, slot));
        }
    }

    pub(super) fn accept_done(&mut self, slot: Token, result: i32) {
        self.in_flight -= 1;
        let op = self.accepts.get_mut(slot).expect("in flight");
        let listener = op.listener;
        if result >= 0 {
            let fresh = AcceptOp::new(listener);
            let taken = std::mem::replace(op, fresh);
            // SAFETY: the kernel's answer is a new descriptor that nobody else has.
            let system = unsafe { SystemSocket::from_raw_fd(result) };
            self.deliver_accepted(taken, system);
        }
        let socket = self.sockets.get_mut(listener).expect("open until its accepts have returned");
        let accepting = accepting(socket).expect("an accept is in flight");
        let over = accepting.cancelled || accepting.error.is_some();
        let interrupted = result == -libc::EINTR;
        if !over && (interrupted || (result >= 0 && accepting.credit > 0)) {
            if !interrupted && accepting.credit != ENDLESS {
                accepting.credit -= 1;
            }
            self.push_accept(slot);
            return;
        }
        accepting.slots.retain(|&other| other != slot);
        let failed = result < 0 && !over;
        if failed {
            accepting.error = Some(PortError::from_code(Call::Accept, -result));
        }
        let last = accepting.slots.is_empty();
        self.accepts.remove(slot);
        if last {
            self.end_accept(listener);
        } else if failed {
            self.stop_accepts(listener);
        }
    }

    fn deliver_accepted(&mut self, op: AcceptOp, system: SystemSocket) {
        let listener = self.sockets.get(op.listener).expect("open until its accepts have returned");
        // SAFETY: the kernel wrote an address of `len` bytes there, or left the zeros.
        let peer = unsafe { SockAddr::new(op.addr, op.len) }.as_socket();
        let Role::Listener { local, .. } = listener.role else { return };
        let wildcard = local.ip().is_none_or(|ip| ip.is_unspecified());
        let own = if wildcard {
            crate::driver::sockets::local_addr(&system).unwrap_or(local)
        } else {
            local
        };
        // TCP always says who it is; were it not so, the connection would still be served.
        let peer = peer.map_or(own, Addr::from);
        let what = What::Accepted(unattached(system, peer, own));
        self.ready.push(Completion { token: listener.owner, what });
    }

    fn end_accept(&mut self, token: Token) {
        let socket = self.sockets.get_mut(token).expect("open until its accepts have returned");
        let closing = socket.is_closing();
        let owner = socket.owner;
        let Role::Listener { accepting, .. } = &mut socket.role else { return };
        let Some(op) = accepting.take() else { return };
        socket.ops.end(OpKind::Accept, self.waits);
        let end = match op.error {
            Some(error) if !closing => End::Failed(error),
            _ if op.cancelled => End::Cancelled,
            _ => End::Credit,
        };
        self.ready.push(Completion { token: owner, what: What::AcceptEnded(end) });
        self.settle(token);
    }
}
