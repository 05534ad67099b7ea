//! A kernel that is late: memory it has taken for a receive, until the receive is known to be over.
//!
//! A receive that was asked to end may still be filled. So its memory is nobody else's until its last
//! completion was handed out, and that is checked here: who lent it to somebody else, or wrote to it,
//! did so too early.

use longshore_base::{Time, Token};
use longshore_port::{RecvBuf, RecvPool};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ops::Range;
use std::rc::Rc;

/// What lies in memory that the kernel has taken and not filled.
const CANARY: u8 = 0xdb;

/// Most bytes that it takes for one receive.
const TAKEN_BYTES_MAX: usize = 512;

/// What the kernel has of a port's memory, by socket.
#[derive(Debug, Default)]
pub(super) struct LateKernel {
    /// What keeps the memory for it.
    leases: BTreeMap<Token, RecvBuf>,
    /// Where that lies, and until when it may be filled. Not by the lease: that is what is checked.
    places: BTreeMap<Token, (Range<usize>, Time)>,
}

fn place(lease: &RecvBuf) -> Range<usize> {
    let range = lease.as_ptr_range();
    range.start as usize..range.end as usize
}

impl LateKernel {
    /// Takes memory for a receive that was asked to end; says whether there was some.
    pub(super) fn take(&mut self, socket: Token, pool: &Rc<RecvPool>, until: Time) -> bool {
        let filled = pool.fill::<Infallible>(TAKEN_BYTES_MAX, |room| {
            room.fill(CANARY);
            Ok(room.len())
        });
        let Ok(lease) = filled;
        let Some(lease) = lease else { return false };
        self.check(&lease);
        self.places.insert(socket, (place(&lease), until));
        self.leases.insert(socket, lease);
        true
    }

    /// Until when the receive may still be filled, and with how much, if it may.
    pub(super) fn may_fill(&self, socket: Token, now: Time) -> Option<usize> {
        let (place, until) = self.places.get(&socket)?;
        (*until > now).then_some(place.len())
    }

    pub(super) fn has(&self, socket: Token) -> bool {
        self.places.contains_key(&socket)
    }

    /// The kernel is through with the memory, for the receive is over, or fills it now.
    pub(super) fn give_back(&mut self, socket: Token) {
        self.places.remove(&socket);
        if let Some(lease) = self.leases.remove(&socket) {
            let kept = lease.iter().all(|byte| *byte == CANARY);
            assert!(kept, "memory that the kernel had taken was written by somebody else");
        }
    }

    /// Holds a new lease against what the kernel has.
    pub(super) fn check(&self, lease: &RecvBuf) {
        let lent = place(lease);
        for (taken, _) in self.places.values() {
            let apart = lent.end <= taken.start || taken.end <= lent.start;
            assert!(apart, "memory was lent that the kernel may still write to");
        }
    }

    /// Leases of the pool that are the kernel's.
    pub(super) fn leases(&self) -> usize {
        self.leases.len()
    }
}
