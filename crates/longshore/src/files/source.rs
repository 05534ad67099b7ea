//! Files that are sent.

use super::error::FileError;
use longshore_port::{FileFacts, FileHandle};
use longshore_proto::transfer::FileErrorKind;
use std::ops::{Bound, Range, RangeBounds};
use std::path::Path;

/// A regular file, opened to be sent. Cloning shares it; the last one closes it. It may be sent to
/// any number of connections at the same time, and others may read, rename or remove it meanwhile:
/// what was opened is sent.
///
/// ```
/// use longshore::FileSource;
///
/// let manifest = FileSource::open("Cargo.toml")?;
/// assert!(manifest.bytes() > 0);
/// assert!(FileSource::open("src").is_err(), "a folder");
/// # Ok::<(), longshore::FileError>(())
/// ```
#[derive(Clone, Debug)]
pub struct FileSource {
    pub(crate) handle: FileHandle,
    facts: FileFacts,
}

impl FileSource {
    /// Opens a file. Waits for the disk, so it is for the start of a program or a thread of its own,
    /// not for a callback.
    ///
    /// # Errors
    /// There is none, it is not a regular one (a folder, pipe or device is never waited for), or it may
    /// not be read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, FileError> {
        let handle = FileHandle::open(path.as_ref()).map_err(|error| FileError::from_io(&error))?;
        Self::of(handle)
    }

    /// A file that is open already: one of a simulation, above all.
    ///
    /// # Errors
    /// What the system says of it.
    pub fn of(handle: FileHandle) -> Result<Self, FileError> {
        let facts = handle.facts().map_err(|error| FileError::from_io(&error))?;
        Ok(Self { handle, facts })
    }

    /// Its length when it was opened.
    pub fn bytes(&self) -> u64 {
        self.facts.bytes
    }

    /// When its bytes changed last before it was opened: nanoseconds since 1970, as the system tells.
    pub fn modified_nanos(&self) -> i128 {
        self.facts.modified
    }

    /// A part of it, as numbers.
    pub(crate) fn range(&self, range: impl RangeBounds<u64>) -> Result<Range<u64>, FileError> {
        let bytes = self.bytes();
        let (start, end) = bounds(&range);
        let end = end.unwrap_or(bytes);
        if start <= end && end <= bytes {
            return Ok(start..end);
        }
        let text = format_args!("bytes {start} to {end} of {bytes}");
        Err(FileError::new(FileErrorKind::BadRange, text))
    }

    /// Whether it is still what it was when it was opened, as far as its length and the times of its
    /// changes tell. Waits for the disk.
    pub(crate) fn check(&self) -> Result<(), FileError> {
        let facts = self.handle.facts().map_err(|error| FileError::from_io(&error))?;
        let (was, is) = (&self.facts, &facts);
        if was.bytes != is.bytes {
            let text = format_args!("it had {} bytes and has {}", was.bytes, is.bytes);
            return Err(FileError::new(FileErrorKind::SourceChanged, text));
        }
        if (was.modified, was.identity) != (is.modified, is.identity) {
            return Err(FileError::new(FileErrorKind::SourceChanged, "it was written to"));
        }
        Ok(())
    }
}

/// Where a range of bytes starts, and where it ends if it says so.
pub(crate) fn bounds(range: &impl RangeBounds<u64>) -> (u64, Option<u64>) {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(last) => Some(last.saturating_add(1)),
        Bound::Excluded(end) => Some(*end),
        Bound::Unbounded => None,
    };
    (start, end)
}
