//! Folders of Windows, and the files in them.

use crate::file_facts::{Entry, FileAccess, FileFacts, not_regular};
use longshore_base::FileName;
use std::fs::File;
use std::io;
use std::os::windows::fs::FileExt;
use std::path::Path;

/// A folder that is held open.
#[derive(Debug)]
pub(crate) struct SystemFolder(());

fn not_yet<T>() -> io::Result<T> {
    Err(io::ErrorKind::Unsupported.into())
}

#[expect(clippy::unused_self, reason = "it cannot be had yet")]
impl SystemFolder {
    pub(crate) fn open(_: &Path) -> io::Result<Self> {
        not_yet()
    }

    pub(crate) fn open_file(&self, _: &FileName, _: FileAccess) -> io::Result<File> {
        not_yet()
    }

    pub(crate) fn make_folders(&self, _: &FileName) -> io::Result<()> {
        not_yet()
    }

    pub(crate) fn rename(&self, _: &FileName, _: &FileName, _: bool) -> io::Result<()> {
        not_yet()
    }

    pub(crate) fn remove(&self, _: &FileName) -> io::Result<()> {
        not_yet()
    }

    pub(crate) fn sync_folder(&self, _: Option<&FileName>) -> io::Result<()> {
        not_yet()
    }

    pub(crate) fn sync_all(&self) -> io::Result<()> {
        not_yet()
    }

    pub(crate) fn list(&self, _: Option<&FileName>, _: usize) -> io::Result<Vec<Entry>> {
        not_yet()
    }

    pub(crate) fn facts(&self, _: &FileName) -> io::Result<FileFacts> {
        not_yet()
    }

    pub(crate) fn free_bytes(&self) -> io::Result<u64> {
        not_yet()
    }
}

/// What is told of an open file.
pub(crate) fn facts_of(_: &File) -> io::Result<FileFacts> {
    not_yet()
}

/// Opens a file that its user has named, over links.
pub(crate) fn open_source(path: &Path) -> io::Result<File> {
    let file = File::open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(not_regular()) }
}

/// Writes at a place of a file. It moves the file's position, which nobody here uses.
pub(crate) fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
    file.seek_write(bytes, offset)
}
