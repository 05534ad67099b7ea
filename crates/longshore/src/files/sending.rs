//! What a connection sends of files.

use super::error::FileError;
use super::event::{CutFile, FileSent};
use super::id::FileId;
use super::source::FileSource;
#[cfg(feature = "files")]
use super::transfers::Transfers;
use std::collections::VecDeque;

/// The files that one connection sends.
#[derive(Debug, Default)]
pub(crate) struct Files {
    last: u64,
    /// Those that go out as they are, in order. The first ones are out and being looked at.
    raw: VecDeque<RawFile>,
    /// How many of those are out.
    out: usize,
    #[cfg(feature = "files")]
    /// Files that are offered, asked for, and received.
    pub(crate) transfers: Option<Box<Transfers>>,
}

/// A file that goes out as it is.
#[derive(Debug)]
pub(crate) struct RawFile {
    id: FileId,
    pub(crate) source: FileSource,
    bytes_direct: u64,
    bytes_copied: u64,
    /// What a look at it after it was out has shown.
    unchanged: Option<Result<(), FileError>>,
}

impl Files {
    /// Files that wait to be sent, or are.
    pub(crate) fn waiting(&self) -> usize {
        self.raw.len() - self.out
    }

    /// One more, behind the others.
    pub(crate) fn add(&mut self, source: FileSource) -> FileId {
        self.last += 1;
        let id = FileId(2 * self.last); // transfers have the odd ones
        self.raw.push_back(RawFile {
            id,
            source,
            bytes_direct: 0,
            bytes_copied: 0,
            unchanged: None,
        });
        id
    }

    /// Bytes of the one whose turn it is have left: by the system itself, or as a copy.
    pub(crate) fn count(&mut self, direct: u64, copied: u64) {
        if let Some(file) = self.raw.get_mut(self.out) {
            file.bytes_direct += direct;
            file.bytes_copied += copied;
        }
    }

    /// The one whose turn it is is out. It is still to be looked at.
    pub(crate) fn is_out(&mut self, id: u64) -> Option<&RawFile> {
        let file = self.raw.get(self.out).filter(|file| file.id.0 == id)?;
        self.out += 1;
        Some(file)
    }

    /// That one was looked at.
    pub(crate) fn looked_at(&mut self, id: FileId, unchanged: Result<(), FileError>) {
        if let Some(file) = self.raw.iter_mut().find(|file| file.id == id) {
            file.unchanged = Some(unchanged);
        }
    }

    /// The next one to be told of: in their order, however long the disk took for each.
    pub(crate) fn next_told(&mut self) -> Option<FileSent> {
        let unchanged = self.raw.front_mut()?.unchanged.take()?;
        let RawFile { id, bytes_direct, bytes_copied, .. } = self.raw.pop_front()?;
        self.out -= 1;
        Some(FileSent { id, bytes_direct, bytes_copied, unchanged })
    }

    /// Those that nobody was told of, at the end of their connection: `sent` says which are out that are
    /// not counted so.
    pub(crate) fn cut(&self, sent: &[u64]) -> Vec<CutFile> {
        let cut = self.raw.iter().enumerate().map(|(at, file)| CutFile {
            id: file.id,
            sent: at < self.out || sent.contains(&file.id.0),
        });
        cut.collect()
    }
}

impl RawFile {
    pub(crate) fn id(&self) -> FileId {
        self.id
    }
}
