//! Locks and flags on the way into a worker: those of the standard library, and in the model of its order
//! (`server/tests/order_model.rs`) those of loom, which tries each order that threads may take.
//!
//! Counters that are only added to and taken from stay the standard library's: whichever comes first,
//! the sum is the same.

#[cfg(longshore_loom)]
pub(crate) use modelled::{AtomicBool, AtomicUsize, Condvar, Mutex, MutexGuard};
#[cfg(not(longshore_loom))]
pub(crate) use std::sync::atomic::{AtomicBool, AtomicUsize};
#[cfg(not(longshore_loom))]
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard};

#[cfg(longshore_loom)]
mod modelled {
    use loom::sync::atomic;
    pub(crate) use loom::sync::atomic::AtomicUsize;
    pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard};
    use std::sync::atomic::Ordering;

    /// Loom takes `SeqCst` for `AcqRel`, which is less, but knows fences: with one on either side it
    /// is what it should be. And to loom two writes of which neither knows the other are both the last
    /// one, so that a swap may find either, which no machine does: so each write is a swap.
    #[derive(Debug, Default)]
    pub(crate) struct AtomicBool(atomic::AtomicBool);

    impl AtomicBool {
        pub(crate) fn new(value: bool) -> Self {
            Self(atomic::AtomicBool::new(value))
        }

        pub(crate) fn load(&self, order: Ordering) -> bool {
            fenced(order, || self.0.load(order))
        }

        pub(crate) fn store(&self, value: bool, order: Ordering) {
            self.swap(value, order);
        }

        pub(crate) fn swap(&self, value: bool, order: Ordering) -> bool {
            fenced(order, || self.0.swap(value, order))
        }
    }

    fn fenced<T>(order: Ordering, run: impl FnOnce() -> T) -> T {
        let fence = || {
            if order == Ordering::SeqCst {
                atomic::fence(order);
            }
        };
        fence();
        let result = run();
        fence();
        result
    }
}
