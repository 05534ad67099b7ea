//! Files as values: what a port sends from, and what is written.

use crate::driver::os;
use crate::{Call, ErrorKind, FileFacts, PortError};
use bytes::Bytes;
use longshore_base::FILE_BYTES_MAX;
use std::fmt;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

/// A file that ports of one world can send from, and that can be read and written. Cloning shares it, from any thread; the last one
/// closes it. Nobody's position in the file is moved. What reads,
/// writes or tells of it may wait for the disk.
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

    /// Writes at `offset`: how much was written. What is between the end and `offset` is zeros then.
    ///
    /// # Errors
    /// What a disk might answer: it is full, or the file is only read, as it is without this.
    fn write_at(&self, _bytes: &[u8], _offset: u64) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// See [`FileHandle::sync`].
    ///
    /// # Errors
    /// What a disk might answer.
    fn sync(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// See [`FileHandle::set_len`].
    ///
    /// # Errors
    /// What a disk might answer.
    fn set_len(&self, _len: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// See [`FileHandle::set_modified`].
    ///
    /// # Errors
    /// What a disk might answer.
    fn set_modified(&self, _nanos: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// See [`FileHandle::facts`].
    ///
    /// # Errors
    /// What a disk might answer.
    fn facts(&self) -> io::Result<FileFacts> {
        Err(io::ErrorKind::Unsupported.into())
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
            RawFile::System(file) => os::is_cached(file, offset, len),
            RawFile::Virtual(file) => file.is_cached(offset, len),
        }
    }

    /// Has the system read `len` bytes at `offset` ahead, where it can be told to.
    pub(crate) fn prefetch(&self, offset: u64, len: u64) {
        if let RawFile::System(file) = self.raw() {
            os::prefetch(file, offset, len);
        }
    }

    /// Opens a file of this machine that its user has named, to be read. Symbolic links are followed.
    /// A pipe is refused and not waited for.
    ///
    /// # Errors
    /// `NotFound`; `InvalidInput` where it is no regular file; what the system says of it.
    pub fn open(path: &Path) -> io::Result<Self> {
        os::open_source(path).map(Self::from)
    }

    /// Reads at `offset`: how much there was, at most `into.len()`; 0 at the end and behind it. May
    /// wait for the disk.
    ///
    /// # Errors
    /// What the system says of the file.
    pub fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        uninterrupted(|| match self.raw() {
            RawFile::System(file) => os::read_at(file, into, offset),
            RawFile::Virtual(file) => file.read_at(into, offset),
        })
    }

    /// Writes at `offset`: how much was written, which may be less than all. A file that is shorter
    /// gets zeros in between. May wait for the disk, and is on it only after [`FileHandle::sync`].
    ///
    /// # Errors
    /// `StorageFull`, `QuotaExceeded`, `FileTooLarge`; what the system says of the file, above all that
    /// it was not opened to be written.
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        uninterrupted(|| match self.raw() {
            RawFile::System(file) => os::write_at(file, bytes, offset),
            RawFile::Virtual(file) => file.write_at(bytes, offset),
        })
    }

    /// Waits until all bytes that were written are on the disk, and as many as they are. Times may not
    /// be: what tells how long a file is and where it lies is synced with its bytes, and nothing else of
    /// it is needed to read them again. Its name is not meant, see
    /// [`Folder::sync_folder`](crate::Folder::sync_folder).
    /// Source: `fdatasync(2)`; `F_FULLFSYNC` on Apple's systems; `FlushFileBuffers` on Windows.
    ///
    /// # Errors
    /// What was written may be lost, also when a later call succeeds: write it again.
    pub fn sync(&self) -> io::Result<()> {
        uninterrupted(|| match self.raw() {
            RawFile::System(file) => file.sync_data(),
            RawFile::Virtual(file) => file.sync(),
        })
    }

    /// Makes it so many bytes long: cut off, or with zeros behind it, which may take no room yet.
    ///
    /// # Errors
    /// As [`FileHandle::write_at`].
    pub fn set_len(&self, len: u64) -> io::Result<()> {
        uninterrupted(|| match self.raw() {
            RawFile::System(file) => file.set_len(len),
            RawFile::Virtual(file) => file.set_len(len),
        })
    }

    /// Has it told that it was changed last then: nanoseconds since 1970, as fine as the system has them.
    /// A sync does not wait for that.
    /// Source: `futimens(3)`; `SetFileTime` on Windows.
    ///
    /// # Errors
    /// What the system says of the file.
    pub fn set_modified(&self, nanos: u64) -> io::Result<()> {
        match self.raw() {
            RawFile::System(file) => file.set_modified(UNIX_EPOCH + Duration::from_nanos(nanos)),
            RawFile::Virtual(file) => file.set_modified(nanos),
        }
    }

    /// What is told of it now.
    ///
    /// # Errors
    /// What the system says of the file.
    pub fn facts(&self) -> io::Result<FileFacts> {
        match self.raw() {
            RawFile::System(file) => os::facts_of(file),
            RawFile::Virtual(file) => file.facts(),
        }
    }
}

/// Does it until no signal comes in between.
fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
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
