//! The ring itself: set-up, the submission queue with its overflow, one system call for all.
#![expect(unsafe_code, reason = "the kernel reads and writes what entries point to")]

use io_uring::register::Restriction;
use io_uring::{
    CompletionQueue, IoUring, SubmissionQueue, Submitter, cqueue, opcode, squeue, types,
};
use std::collections::VecDeque;
use std::io;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::time::Duration;

/// Completion entries per submission entry: multishot receives answer more often than they ask.
/// A completion queue that is too small loses nothing, but costs system calls.
const COMPLETIONS_PER_SUBMISSION: u32 = 4;

/// Run what completed, besides submitting. Source: `io_uring_enter(2)`, `IORING_ENTER_GETEVENTS`.
const GETEVENTS: u32 = 1 << 0;

/// The argument is a timeout. Linux 5.11. Source: `io_uring_enter(2)`, `IORING_ENTER_EXT_ARG`.
const EXT_ARG: u32 = 1 << 3;

/// How long to wait when the kernel has no memory for an entry.
const NO_MEMORY_PAUSE: Duration = Duration::from_millis(1);

/// The ops of the ring that this driver uses, in words and numbers.
pub(super) const OPS: [(&str, u8); 8] = [
    ("accept", opcode::Accept::CODE),
    ("connect", opcode::Connect::CODE),
    ("receive", opcode::Recv::CODE),
    ("send", opcode::Send::CODE),
    ("gathered send", opcode::SendMsg::CODE),
    ("cancel", opcode::AsyncCancel::CODE),
    ("read", opcode::Read::CODE),
    ("poll", opcode::PollAdd::CODE),
];

/// Source: `io_uring_register(2)`, `IORING_REGISTER_ENABLE_RINGS`.
const REGISTER_ENABLE_RINGS: u8 = 12;

/// Source: `io_uring_register(2)`, `IORING_UNREGISTER_RING_FDS`.
const UNREGISTER_RING_FDS: u8 = 21;

/// How long one `enter` may sleep.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Patience {
    /// Not at all.
    None,
    /// At most so long.
    For(Duration),
    /// Until something completes.
    Endless,
}

/// A ring that belongs to the thread that opened it.
pub(super) struct Ring {
    parts: ManuallyDrop<Parts>,
    /// Where `parts` come from; freed after them.
    whole: NonNull<IoUring>,
    /// What did not fit the submission queue, in order.
    spill: VecDeque<squeue::Entry>,
    /// Whether `enter` names the ring by its registered index.
    registered: bool,
    /// The kernel is to have no memory.
    #[cfg(test)]
    pub(super) no_memory: bool,
    /// Where in the mapped ring the flags are that the kernel raises.
    #[cfg(test)]
    flags_at: usize,
}

struct Parts {
    submitter: Submitter<'static>,
    submissions: SubmissionQueue<'static>,
    completions: CompletionQueue<'static>,
}

impl Ring {
    /// A ring of `entries` submissions, as fast as this kernel has it. It works from
    /// [`start`](Self::start) on.
    pub(super) fn open(entries: u32, setup: Setup) -> io::Result<Self> {
        let ring = build(entries, setup)?;
        #[cfg(test)]
        let flags_at = hint::flags_at(ring.params());
        let ring = Box::into_raw(Box::new(ring));
        let ring = NonNull::new(ring).expect("a box is somewhere");
        // SAFETY: the box was made above and is freed only in `drop`, after all borrows from it.
        let borrowed: &'static mut IoUring = unsafe { &mut *ring.as_ptr() };
        let (mut submitter, submissions, completions) = borrowed.split();
        // Spares the kernel a look-up of the descriptor at each `enter`, since Linux 5.18. A thread
        // has room for 16 of them; beyond that the plain descriptor does.
        let registered = submitter.register_ring_fd().is_ok();
        let parts = ManuallyDrop::new(Parts { submitter, submissions, completions });
        Ok(Self {
            parts,
            whole: ring,
            spill: VecDeque::new(),
            registered,
            #[cfg(test)]
            no_memory: false,
            #[cfg(test)]
            flags_at,
        })
    }

    /// Lets the ring work, on nothing but the ops of this driver: should somebody get hold of it,
    /// it opens and runs nothing (R17). Since Linux 5.10; costs one look at a bitmap for each entry.
    /// What else is registered is registered before.
    pub(super) fn start(&self) -> io::Result<()> {
        #[cfg(test)]
        if gone::start_fails() {
            return Err(io::ErrorKind::Other.into());
        }
        let flags = squeue::Flags::BUFFER_SELECT | squeue::Flags::SKIP_SUCCESS;
        let mut allowed = vec![
            Restriction::sqe_flags_allowed(flags.bits()),
            Restriction::register_op(REGISTER_ENABLE_RINGS),
            Restriction::register_op(UNREGISTER_RING_FDS),
        ];
        allowed.extend(OPS.iter().map(|&(_, code)| Restriction::sqe_op(code)));
        self.parts.submitter.register_restrictions(&mut allowed)?;
        self.parts.submitter.register_enable_rings()
    }

    /// For registrations.
    pub(super) fn submitter(&self) -> &Submitter<'static> {
        &self.parts.submitter
    }

    /// Whether `enter` names the ring by its registered index.
    pub(super) fn is_registered(&self) -> bool {
        self.registered
    }

    /// Queues an entry behind all others. It reaches the kernel with a later [`enter`](Self::enter).
    ///
    /// # Safety
    ///
    /// What the entry points to stays where it is, and is left alone, until its last completion
    /// has been seen; the descriptor stays open as long.
    #[inline]
    pub(super) unsafe fn push(&mut self, entry: squeue::Entry) {
        // SAFETY: handed on to the caller.
        if !self.spill.is_empty() || unsafe { self.parts.submissions.push(&entry) }.is_err() {
            self.spill.push_back(entry);
        }
    }

    /// Moves what was spilled to the submission queue as far as it has room. Whether all of it did.
    #[inline]
    pub(super) fn unspill(&mut self) -> bool {
        while let Some(entry) = self.spill.front() {
            // SAFETY: `push` had the same promise for this entry.
            if unsafe { self.parts.submissions.push(entry) }.is_err() {
                return false;
            }
            self.spill.pop_front();
        }
        true
    }

    /// Submits what is queued and runs what has completed; sleeps up to `patience` for the first
    /// completion if there is none. An interrupted attempt is no error: see
    /// [`all_submitted`](Self::all_submitted). Says whether the kernel had memory for it.
    pub(super) fn enter(&mut self, patience: Patience) -> io::Result<bool> {
        #[cfg(test)]
        if self.no_memory {
            return Ok(false);
        }
        let Parts { submitter, submissions, completions } = &mut *self.parts;
        submissions.sync();
        completions.sync();
        let count = u32::try_from(submissions.len()).expect("a queue has at most 32,768 entries");
        let done = match patience {
            Patience::For(time) => {
                let timeout = types::Timespec::from(time);
                let args = types::SubmitArgs::new().timespec(&timeout);
                // SAFETY: `args` and the timeout it names outlive the call.
                unsafe { submitter.enter(count, 1, GETEVENTS | EXT_ARG, Some(&args)) }
            }
            Patience::None | Patience::Endless => {
                let least = u32::from(patience == Patience::Endless);
                // SAFETY: the plain form, without an argument.
                unsafe { submitter.enter::<libc::sigset_t>(count, least, GETEVENTS, None) }
            }
        };
        submissions.sync();
        completions.sync();
        match done.map_err(|error| error.raw_os_error()) {
            Ok(_) | Err(Some(libc::ETIME | libc::EINTR | libc::EBUSY)) => Ok(true),
            Err(Some(libc::EAGAIN | libc::ENOMEM)) => {
                std::thread::sleep(NO_MEMORY_PAUSE); // others have to give some back
                Ok(false)
            }
            Err(code) => {
                Err(code.map_or(io::ErrorKind::Other.into(), io::Error::from_raw_os_error))
            }
        }
    }

    /// Whether the kernel has taken every entry.
    #[inline]
    pub(super) fn all_submitted(&self) -> bool {
        self.spill.is_empty() && self.parts.submissions.is_empty()
    }

    /// Whether the kernel holds completions back until the next `enter`, for want of room in the
    /// queue.
    #[inline]
    pub(super) fn overflown(&self) -> bool {
        self.parts.submissions.cq_overflow()
    }

    /// Whether there are completions.
    #[inline]
    pub(super) fn has_completions(&mut self) -> bool {
        let Parts { submissions, completions, .. } = &mut *self.parts;
        completions.sync();
        !CompletionQueue::is_empty(completions) || submissions.cq_overflow()
    }

    /// Whether an `enter` may have something to run.
    ///
    /// A hint, not a proof: the flag may have been left behind.
    #[inline]
    pub(super) fn may_run(&self) -> bool {
        self.parts.submissions.taskrun()
    }

    /// The next completion.
    #[inline]
    pub(super) fn next(&mut self) -> Option<cqueue::Entry> {
        self.parts.completions.next()
    }

    /// Tells the kernel that the completions taken with [`next`](Self::next) are free again.
    #[inline]
    pub(super) fn free_completions(&mut self) {
        self.parts.completions.sync();
    }
}

/// What tests see of the end of a ring and its buffers.
#[cfg(test)]
pub(super) mod gone {
    use std::cell::{Cell, RefCell};

    thread_local! {
        static GONE: RefCell<Vec<&'static str>> = const { RefCell::new(Vec::new()) };
        static START_FAILS: Cell<bool> = const { Cell::new(false) };
    }

    pub(in super::super) fn note(what: &'static str) {
        GONE.with_borrow_mut(|gone| gone.push(what));
    }

    pub(in super::super) fn take() -> Vec<&'static str> {
        GONE.take()
    }

    pub(in super::super) fn fail_start(yes: bool) {
        START_FAILS.set(yes);
    }

    pub(super) fn start_fails() -> bool {
        START_FAILS.get()
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        #[cfg(test)]
        gone::note("ring");
        if self.registered {
            // Else the ring lives on until its thread ends. Fails only if it is not registered.
            let _ = self.parts.submitter.unregister_ring_fd();
        }
        // SAFETY: dropped here and never looked at again.
        unsafe { ManuallyDrop::drop(&mut self.parts) };
        // SAFETY: made from a box in `open`; the borrows from it ended on the line above.
        drop(unsafe { Box::from_raw(self.whole.as_ptr()) });
    }
}

/// Which flags a ring is set up with; each kernel takes those of its time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Setup {
    /// Linux 6.0.
    Cooperative,
    /// Linux 6.1.
    Deferred,
    /// Linux 6.6.
    DeferredPlain,
}

impl Setup {
    /// From the best to the oldest.
    pub(super) const ALL: [Self; 3] = [Self::DeferredPlain, Self::Deferred, Self::Cooperative];
}

fn build(entries: u32, setup: Setup) -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    builder
        .setup_clamp()
        .setup_cqsize(entries.saturating_mul(COMPLETIONS_PER_SUBMISSION))
        .setup_submit_all() // one bad entry does not hold the others up; Linux 5.18
        .setup_taskrun_flag() // says without a system call whether there is more; 5.19
        .setup_r_disabled() // until it is known what it may do; 5.10
        .setup_single_issuer(); // less locking; 6.0
    match setup {
        Setup::Cooperative => builder.setup_coop_taskrun(), // no interrupt for a completion; 5.19
        Setup::Deferred => builder.setup_defer_taskrun(),   // completions run in `enter` alone; 6.1
        Setup::DeferredPlain => {
            builder.setup_defer_taskrun().setup_no_sqarray() // no index array beside the entries; 6.6
        }
    };
    builder.build(entries)
}

/// Writes the credit of a multishot receive into its entry: after so many bytes it ends by itself.
/// Linux 6.17; earlier ones refuse an entry with it.
/// Source: `io_uring_enter(2)`, `struct io_uring_sqe`, `optlen`.
pub(super) fn set_recv_credit(entry: &mut squeue::Entry, credit: u32) {
    /// Where `optlen` lies in an entry, in words of four bytes.
    const OPTLEN_WORD: usize = 44 / 4;
    const WORDS: usize = size_of::<squeue::Entry>() / 4;
    const _: () = assert!(size_of::<squeue::Entry>() == 64 && align_of::<squeue::Entry>() >= 4);
    // SAFETY: an entry is `repr(C)` plain data of the kernel's interface, 64 bytes of which every
    // pattern is valid, and borrowed exclusively here.
    let words = unsafe { &mut *std::ptr::from_mut(entry).cast::<[u32; WORDS]>() };
    words[OPTLEN_WORD] = credit;
}

/// The kernel's hint that there is work, as the kernel raises it.
#[cfg(test)]
mod hint {
    use super::Ring;
    use io_uring::Parameters;
    use std::os::fd::AsRawFd;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// Source: `io_uring_setup(2)`, `IORING_SQ_TASKRUN`.
    const TASKRUN: u32 = 1 << 2;

    /// Words of `struct io_uring_params`, and the place of `sq_off.flags` among them.
    /// Source: `io_uring_setup(2)`.
    const WORDS: usize = 30;
    const FLAGS_WORD: usize = 14;

    pub(super) fn flags_at(params: &Parameters) -> usize {
        const _: () = assert!(size_of::<Parameters>() == 4 * WORDS);
        // SAFETY: transparent over plain data of the kernel's interface, of exactly this size.
        let words = unsafe { &*std::ptr::from_ref(params).cast::<[u32; WORDS]>() };
        words[FLAGS_WORD] as usize
    }

    impl Ring {
        /// Raises the hint with nothing behind it.
        pub(in super::super) fn raise_hint(&self) {
            // SAFETY: all parts of the ring name its one descriptor.
            let fd = unsafe { self.whole.as_ref() }.as_raw_fd();
            let len = self.flags_at + 4;
            let access = libc::PROT_READ | libc::PROT_WRITE;
            // SAFETY: a new mapping of the ring's own memory (offset 0), at a place of the kernel's
            // choice.
            let at =
                unsafe { libc::mmap(std::ptr::null_mut(), len, access, libc::MAP_SHARED, fd, 0) };
            assert_ne!(at, libc::MAP_FAILED, "{}", std::io::Error::last_os_error());
            // SAFETY: the flags lie within what was mapped.
            let flags = unsafe { at.byte_add(self.flags_at) };
            // SAFETY: an aligned word that everybody accesses atomically.
            let flags = unsafe { AtomicU32::from_ptr(flags.cast()) };
            flags.fetch_or(TASKRUN, Ordering::Release);
            // SAFETY: mapped above, and not looked at any more.
            unsafe { libc::munmap(at, len) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_op_that_the_driver_does_not_use_is_refused() {
        let Ok(mut ring) = Ring::open(8, Setup::Deferred) else {
            println!("SKIPPED, NOT TESTED AT ALL: no ring");
            return;
        };
        ring.start().unwrap();
        // SAFETY: the entry points to nothing.
        unsafe { ring.push(opcode::Nop::new().build().user_data(3)) };
        ring.enter(Patience::Endless).unwrap();
        let done = ring.next().unwrap();
        assert_eq!((done.user_data(), done.result()), (3, -libc::EACCES));
    }
}
