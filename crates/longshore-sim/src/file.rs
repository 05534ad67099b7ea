//! Files of the simulated world: bytes with a name for nobody.

use longshore_port::{FileHandle, VirtualFile};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

/// A simulated file, which a test may change while it is sent.
#[derive(Clone, Debug)]
pub struct SimFile(Arc<Mutex<Vec<u8>>>);

impl SimFile {
    /// A file of these bytes.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Arc::new(Mutex::new(bytes.into())))
    }

    /// As a port takes it.
    pub fn handle(&self) -> FileHandle {
        FileHandle::of_simulation(self.clone())
    }

    /// Makes it so long: cut off, or with zeros behind it.
    pub fn set_len(&self, len: usize) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).resize(len, 0);
    }
}

impl VirtualFile for SimFile {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let count = into.len().min(bytes.len() - from);
        into[..count].copy_from_slice(&bytes[from..from + count]);
        Ok(count)
    }
}
