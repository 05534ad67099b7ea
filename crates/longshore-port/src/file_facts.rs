//! What is told of files and folders, as values.

use longshore_base::FileName;
use std::collections::BTreeMap;
use std::io;

/// What is told of a file or folder.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FileFacts {
    /// What it is.
    pub kind: FileKind,
    /// Its length in bytes; without a meaning if it is no regular file.
    pub bytes: u64,
    /// When its bytes changed last: nanoseconds since 1970, as exact as its file system has it. Its
    /// owner can set it to anything.
    pub modified: i128,
    /// When anything of it changed last, by the clock of the system: nanoseconds since 1970. Nobody can
    /// set it alone. Source: `st_ctime` of `inode(7)`; `ChangeTime` of `FILE_BASIC_INFO`.
    pub changed: i128,
    /// Its volume and its number there: alike as long as it is the same file, whatever it is called.
    /// A number may be used again once its file is gone.
    pub identity: (u64, u128),
}

/// What there may be under a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileKind {
    /// A file with bytes.
    Regular,
    /// A folder.
    Folder,
    /// A symbolic link, a device, a pipe, a socket: nothing that is opened here.
    Other,
}

/// What a file is opened for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileAccess {
    /// To be read. There must be one.
    Read,
    /// To be read and written. There must be one.
    Write,
    /// To be read and written. There must be none, of any kind, and there is one from then on.
    Create,
}

/// One file or folder of a listing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The last part of its name.
    pub name: String,
    /// What is told of it.
    pub facts: FileFacts,
}

/// What is opened here is a regular file.
pub(crate) fn not_regular() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")
}

/// The entries of a folder as they are found; of those that are wanted the first so many.
#[derive(Debug)]
pub(crate) struct Listing<'a> {
    folder: Option<&'a FileName>,
    after: &'a str,
    most: usize,
    found: BTreeMap<String, FileFacts>,
}

impl<'a> Listing<'a> {
    /// Of `folder` (`None`: the root), behind the name `after`, at most so many.
    pub(crate) fn new(folder: Option<&'a FileName>, after: &'a str, most: usize) -> Self {
        Self { folder, after, most, found: BTreeMap::new() }
    }

    /// Whether it matters what is under this name.
    pub(crate) fn wants(&self, last: &str) -> bool {
        let is_full = self.found.len() >= self.most;
        let is_behind = || self.found.last_key_value().is_none_or(|(seen, _)| last > seen.as_str());
        last > self.after
            && !(is_full && is_behind())
            && FileName::listed(self.folder, last).is_ok()
    }

    /// Takes in what is under a name that is wanted.
    pub(crate) fn add(&mut self, last: &str, facts: FileFacts) {
        if facts.kind == FileKind::Other {
            return;
        }
        self.found.insert(last.to_owned(), facts);
        if self.found.len() > self.most {
            self.found.pop_last();
        }
    }

    /// All that were found, by name.
    pub(crate) fn into_entries(self) -> Vec<Entry> {
        self.found.into_iter().map(|(name, facts)| Entry { name, facts }).collect()
    }
}
