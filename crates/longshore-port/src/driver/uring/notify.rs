//! Waking the port: an event counter with one read of the ring on it.
#![expect(unsafe_code, reason = "the kernel writes the count")]

use super::names::{Kind, user_data};
use super::ring::Ring;
use crate::Notify;
use io_uring::{opcode, types};
use longshore_base::Token;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Wakes a port of `io_uring`; cloneable, for any thread, harmless when the port is gone.
#[derive(Clone, Debug)]
pub struct UringNotifier {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    counter: OwnedFd,
    /// The counter was raised and the port has not seen it: raising it again changes nothing.
    raised: AtomicBool,
}

impl Notify for UringNotifier {
    fn notify(&self) {
        if !self.shared.raised.swap(true, Ordering::AcqRel) {
            // A counter that holds at most 1 is never full, so this neither waits nor fails.
            let _ = rustix::io::write(&self.shared.counter, &1u64.to_ne_bytes());
        }
    }
}

/// The port's side of its notifiers.
pub(super) struct Wake {
    notifier: UringNotifier,
    /// Where the kernel writes the count. In a box of its own: it must not move.
    count: Box<u64>,
    armed: bool,
}

impl Wake {
    pub(super) fn new() -> io::Result<Self> {
        let counter = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC)?;
        let shared = Arc::new(Shared { counter, raised: AtomicBool::new(false) });
        Ok(Self { notifier: UringNotifier { shared }, count: Box::new(0), armed: false })
    }

    pub(super) fn notifier(&self) -> &UringNotifier {
        &self.notifier
    }

    /// What the read is called in the ring.
    pub(super) const USER_DATA: u64 = user_data(Kind::Wake, Token::new(0, 0));

    /// Queues the read. Only when none is in flight.
    pub(super) fn arm(&mut self, ring: &mut Ring) {
        let fd = types::Fd(self.notifier.shared.counter.as_raw_fd());
        let entry = opcode::Read::new(fd, std::ptr::from_mut(&mut *self.count).cast(), 8);
        // SAFETY: the kernel writes 8 bytes to a box that stays until this read is over, and is
        // leaked if that never happens; the counter is open as long as `self`.
        unsafe { ring.push(entry.build().user_data(Self::USER_DATA)) };
        self.armed = true;
    }

    /// Whether the read is in flight.
    pub(super) fn is_armed(&self) -> bool {
        self.armed
    }

    /// The read is over. From here on a notifier raises the counter again; what was posted before
    /// it saw the flag up is visible now, since both sides swap.
    pub(super) fn seen(&mut self) {
        self.armed = false;
        self.notifier.shared.raised.swap(false, Ordering::AcqRel);
    }

    /// Keeps the memory for ever, since the kernel may still write to it.
    pub(super) fn leak(&mut self) {
        std::mem::forget(std::mem::take(&mut self.count));
    }
}
