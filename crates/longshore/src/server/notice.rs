//! Words from workers to tables that are kept elsewhere.

use crate::sync::Mutex;
use std::sync::{Arc, PoisonError};

/// A number for a list: told by workers, taken out by whoever has the table that it is about, when
/// that is next looked at. So no worker waits for the lock of a table, nor runs what its keys do.
///
/// There is no bound of its own: each number is told as often at most as something was put into the
/// table under it, and who puts something in takes all numbers out first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notice {
    list: Arc<Mutex<Vec<u64>>>,
    number: u64,
}

impl Notice {
    /// Of another number, to the same list.
    pub(crate) fn of(&self, number: u64) -> Self {
        Self { list: Arc::clone(&self.list), number }
    }

    pub(crate) fn tell(&self) {
        self.list.lock().unwrap_or_else(PoisonError::into_inner).push(self.number);
    }

    /// What was told since.
    pub(crate) fn take(&self) -> Vec<u64> {
        std::mem::take(&mut *self.list.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
