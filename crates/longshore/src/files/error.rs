//! What goes wrong with a file.

use longshore_port::{Call, ErrorKind, PortError};
use longshore_proto::transfer::{FileErrorKind, TransferError};
use std::fmt::{self, Display};
use std::io;

/// Why a file did not come or go: what kind of thing, and in words.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct FileError {
    /// What kind of thing.
    pub kind: FileErrorKind,
    /// Whether the peer said so.
    pub of_peer: bool,
    /// In words, for a person; empty if there is nothing to add.
    pub text: Box<str>,
}

impl FileError {
    pub(crate) fn new(kind: FileErrorKind, text: impl Display) -> Self {
        Self { kind, of_peer: false, text: text.to_string().into() }
    }

    /// What a peer says: without what steers a terminal, as it may be anybody.
    pub(crate) fn of_peer(kind: FileErrorKind, text: &str) -> Self {
        let steers = |char: char| {
            char.is_control() || matches!(char, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
        };
        let shown = |char| if steers(char) { char::REPLACEMENT_CHARACTER } else { char };
        let text: String = text.chars().map(shown).collect();
        Self { kind, of_peer: true, text: text.into() }
    }

    /// What a system says of a file.
    pub(crate) fn from_io(error: &io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => FileErrorKind::NotFound,
            io::ErrorKind::PermissionDenied => FileErrorKind::Denied,
            io::ErrorKind::AlreadyExists => FileErrorKind::Exists,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FileErrorKind::NoSpace,
            io::ErrorKind::FileTooLarge => FileErrorKind::TooLarge,
            io::ErrorKind::InvalidInput | io::ErrorKind::IsADirectory => FileErrorKind::NotAFile,
            _ => match PortError::from_io(Call::File, error).kind {
                ErrorKind::NoDescriptors | ErrorKind::NoMemory => FileErrorKind::Busy,
                _ => FileErrorKind::Disk,
            },
        };
        Self::new(kind, error)
    }
}

impl From<TransferError> for FileError {
    fn from(error: TransferError) -> Self {
        let TransferError { why, text, of_peer } = error;
        if of_peer { Self::of_peer(why, &text) } else { Self::new(why, text) }
    }
}

impl Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.of_peer {
            f.write_str("peer: ")?;
        }
        self.kind.fmt(f)?;
        if !self.text.is_empty() {
            write!(f, ": {}", self.text)?;
        }
        Ok(())
    }
}

impl std::error::Error for FileError {}

#[cfg(test)]
mod tests {
    use super::*;

    /// The peer may come back later, as nothing is wrong with the file.
    #[cfg(unix)]
    #[test]
    fn too_many_open_files_are_busy() {
        let error = io::Error::from(rustix::io::Errno::MFILE);
        assert_eq!(FileError::from_io(&error).kind, FileErrorKind::Busy);
        let error = io::Error::from(rustix::io::Errno::IO);
        assert_eq!(FileError::from_io(&error).kind, FileErrorKind::Disk);
    }

    #[test]
    fn words_of_a_peer_steer_no_terminal() {
        let error = FileError::of_peer(FileErrorKind::Refused, "a\u{1b}[2J\r\n\u{9b}m\u{202e}é");
        assert_eq!(&error.text[..], "a\u{fffd}[2J\u{fffd}\u{fffd}\u{fffd}m\u{fffd}é");
    }
}
