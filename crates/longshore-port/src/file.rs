//! Files as values: what a port sends from.

use crate::{Call, ErrorKind, PortError};
use bytes::Bytes;
use longshore_base::FILE_BYTES_MAX;
use std::fmt;
use std::fs::File;
use std::io;
use std::sync::Arc;

/// A file that ports of one world can send from. Cloning shares it, from any thread; the last one
/// closes it. Nobody's position in the file is moved.
///
/// ```
/// # use longshore_port::{FileHandle, FileRange};
///
/// let manifest = std::fs::File::open("Cargo.toml")?;
/// let len = manifest.metadata()?.len();
/// let whole = FileRange { file: FileHandle::from(manifest), offset: 0, len };
/// # assert!(whole.len > 0);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct FileHandle(Arc<RawFile>);

/// A part of a file.
pub type FileRange = longshore_base::FileRange<FileHandle>;

/// The system's file, or a simulated one.
#[derive(Debug)]
pub enum RawFile {
    /// Of the operating system.
    System(File),
    /// Of a simulation.
    Virtual(Box<dyn VirtualFile>),
}

/// A file of a simulation.
pub trait VirtualFile: Send + Sync + fmt::Debug {
    /// Reads at `offset`: how much there was, at most `into.len()`; 0 at the end and behind it.
    ///
    /// # Errors
    /// What a disk might answer.
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Whether those bytes can be had without waiting. The default is that they can.
    fn is_cached(&self, offset: u64, len: u64) -> bool {
        let _ = (offset, len);
        true
    }
}

impl FileHandle {
    /// A file of a simulation.
    pub fn of_simulation(file: impl VirtualFile + 'static) -> Self {
        Self(Arc::new(RawFile::Virtual(Box::new(file))))
    }

    /// What it is: for the author of a port.
    pub fn raw(&self) -> &RawFile {
        &self.0
    }

    /// Whether `len` bytes at `offset` can be had without waiting for a disk, as far as the system
    /// tells: it is asked at each 128 KiB. What lies behind the end can. Does not wait.
    pub fn is_cached(&self, offset: u64, len: u64) -> bool {
        match self.raw() {
            RawFile::System(file) => crate::driver::os::is_cached(file, offset, len),
            RawFile::Virtual(file) => file.is_cached(offset, len),
        }
    }

    /// Has the system read `len` bytes at `offset` ahead, where it can be told to.
    pub(crate) fn prefetch(&self, offset: u64, len: u64) {
        if let RawFile::System(file) = self.raw() {
            crate::driver::os::prefetch(file, offset, len);
        }
    }

    /// Reads at `offset`: how much there was, at most `into.len()`; 0 at the end and behind it. May
    /// wait for the disk.
    ///
    /// # Errors
    /// What the system says of the file.
    pub fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            let read = match self.raw() {
                RawFile::System(file) => crate::driver::os::read_at(file, into, offset),
                RawFile::Virtual(file) => file.read_at(into, offset),
            };
            match read {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }
}

impl From<File> for FileHandle {
    fn from(file: File) -> Self {
        Self(Arc::new(RawFile::System(file)))
    }
}

impl PartialEq for FileHandle {
    /// Whether both share one handle.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for FileHandle {}

impl fmt::Debug for FileHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Bytes of a file that a send would have had to wait for.
pub(crate) const NOT_CACHED: PortError = PortError::new(Call::File, ErrorKind::NotCached);

/// A file that ended before its range did.
pub(crate) const SHORTENED: PortError = PortError::new(Call::File, ErrorKind::Shortened);

/// Reads all of a range: at most `FILE_BYTES_MAX` bytes at a time.
pub(crate) fn read(range: &FileRange) -> Result<Bytes, PortError> {
    let failed = |error: &io::Error| PortError::from_io(Call::File, error);
    let len = usize::try_from(range.len).ok().filter(|len| *len <= FILE_BYTES_MAX);
    let len = len.ok_or(PortError::new(Call::File, ErrorKind::OutOfRange))?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(len).map_err(|_| PortError::new(Call::File, ErrorKind::NoMemory))?;
    bytes.resize(len, 0);
    let mut done = 0;
    while done < len {
        match range.file.read_at(&mut bytes[done..], range.offset + done as u64) {
            Ok(0) => return Err(SHORTENED),
            Ok(count) => done += count,
            Err(error) => return Err(failed(&error)),
        }
    }
    range.file.prefetch(range.offset + range.len, FILE_BYTES_MAX as u64);
    Ok(bytes.into())
}
