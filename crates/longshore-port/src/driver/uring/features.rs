//! What differs between kernels, and what depends on it.

use super::buffers::GROUP;
use super::ring::{Setup, set_recv_credit};
use io_uring::{opcode, squeue, types};

/// What differs between kernels that this driver runs on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Features {
    pub(super) setup: Setup,
    /// Multishot receives, which end by themselves when their credit is used up. Linux 6.17.
    pub(super) recv_credit: bool,
    /// Buffers are used up piece by piece. Linux 6.12; taken only together with the credit, since
    /// some kernels before could report two receives into one buffer in the wrong order.
    pub(super) incremental: bool,
    /// Ops wait on sockets that do not block, which the system's own sending of files needs. Found
    /// on Linux 6.18.
    pub(super) nonblocking: bool,
}

/// Most bytes that one receive of the ring is asked for: the kernel counts in signed integers.
const SHOT_BYTES_MAX: u32 = 1 << 30;

impl Features {
    /// As a list of words, of those in use.
    pub(super) fn in_words(self, registered: bool) -> Vec<&'static str> {
        let all = [
            ("deferred completions", self.setup > Setup::Cooperative),
            ("multishot receive", self.recv_credit),
            ("incremental buffer ring", self.incremental),
            ("buffer ring", !self.incremental),
            ("files without a copy", self.nonblocking),
            ("registered ring", registered),
            ("restricted ops", true),
        ];
        all.into_iter().filter(|&(_, used)| used).map(|(word, _)| word).collect()
    }

    /// A receive into a buffer that the kernel picks when bytes are there.
    ///
    /// It goes on by itself until `credit` bytes came, where the kernel can count; else it ends after
    /// the first ones and is armed again, for without a limit a flooding peer fills every buffer before
    /// its neighbour is looked at.
    #[inline]
    pub(super) fn recv_entry(self, fd: types::Fd, credit: u32) -> squeue::Entry {
        let credit = credit.min(SHOT_BYTES_MAX);
        if self.recv_credit {
            let mut entry = opcode::RecvMulti::new(fd, GROUP).build();
            set_recv_credit(&mut entry, credit);
            return entry;
        }
        // The length caps what is taken from the buffer; there is no more room than that anyway.
        opcode::Recv::new(fd, std::ptr::null_mut(), credit)
            .buf_group(GROUP)
            .build()
            .flags(squeue::Flags::BUFFER_SELECT)
    }
}
