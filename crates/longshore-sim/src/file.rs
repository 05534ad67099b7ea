//! Files of the simulated world: bytes with a name for nobody.

use longshore_port::{FileFacts, FileHandle, FileKind, VirtualFile};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A simulated file, which a test may change while it is sent.
#[derive(Clone, Debug)]
pub struct SimFile(Arc<Mutex<Content>>);

#[derive(Debug)]
struct Content {
    bytes: Vec<u8>,
    changes: u32,
}

impl SimFile {
    /// A file of these bytes.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Arc::new(Mutex::new(Content { bytes: bytes.into(), changes: 0 })))
    }

    /// As a port takes it.
    pub fn handle(&self) -> FileHandle {
        FileHandle::of_simulation(self.clone())
    }

    /// Makes it so long: cut off, or with zeros behind it.
    pub fn set_len(&self, len: usize) {
        let mut content = self.content();
        content.bytes.resize(len, 0);
        content.changes += 1;
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl VirtualFile for SimFile {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let Content { bytes, .. } = &*self.content();
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let count = into.len().min(bytes.len() - from);
        into[..count].copy_from_slice(&bytes[from..from + count]);
        Ok(count)
    }

    fn facts(&self) -> io::Result<FileFacts> {
        let content = self.content();
        let (bytes, changes) =
            (content.bytes.len() as u64, 1_000 * i128::from(content.changes + 1));
        let identity = (0, 0); // nobody has two names for it
        Ok(FileFacts {
            kind: FileKind::Regular,
            bytes,
            modified: changes,
            changed: changes,
            identity,
        })
    }
}
