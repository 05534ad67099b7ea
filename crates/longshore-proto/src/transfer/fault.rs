//! Why a transfer did not come about, or did not end well.

use std::fmt;

/// Makes [`FileErrorKind`] from one entry each: its doc comment, which is its row in
/// `docs/protocol.md`, its number on the wire, its name, and its words.
macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $kind:ident = $code:literal, $name:literal, $words:literal;)+) => {
        /// Why a file did not come or go, the same on both sides and in every language: each has a
        /// number on the wire.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[non_exhaustive]
        pub enum FileErrorKind {
            $($(#[doc = $doc])+ $kind,)+
        }

        impl FileErrorKind {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$kind),+];

            /// Its number on the wire.
            pub const fn code(self) -> u16 {
                match self { $(Self::$kind => $code,)+ }
            }

            /// The one of that number; [`Refused`](Self::Refused) for a number that is not known.
            pub const fn of_code(code: u16) -> Self {
                match code { $($code => Self::$kind,)+ _ => Self::Refused }
            }

            /// Its name, as counters and JSON have it: `"no_space"`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)+ }
            }
        }

        impl fmt::Display for FileErrorKind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$kind => $words,)+ })
            }
        }

        #[cfg(test)]
        const DOCS: &[&str] = &[$(concat!($($doc),+)),+];
    };
}

kinds! {
    /// Not wanted.
    Refused = 1, "refused", "refused";
    /// Too many at once; later perhaps.
    Busy = 2, "busy", "too many transfers at once";
    /// Not a name that a file can have there.
    BadName = 3, "bad_name", "not a name that a file can have";
    /// There is no such file.
    NotFound = 4, "not_found", "no such file";
    /// There is a file of that name, and it is not overwritten.
    Exists = 5, "exists", "there is such a file already";
    /// It is no regular file.
    NotAFile = 6, "not_a_file", "not a regular file";
    /// It is longer than one file may be.
    TooLarge = 7, "too_large", "larger than a file may be";
    /// The peer, or the store, has as many bytes as it may.
    StoreFull = 8, "store_full", "the store has as much as it may";
    /// The disk is full.
    NoSpace = 9, "no_space", "no room on the disk";
    /// The system does not allow it.
    Denied = 10, "denied", "not permitted";
    /// The disk failed.
    Disk = 11, "disk", "the disk failed";
    /// The file was changed while it was sent.
    SourceChanged = 12, "source_changed", "the file was changed while it was sent";
    /// What was written is not what was sent.
    DigestMismatch = 13, "digest_mismatch", "what arrived is not what was sent";
    /// Nothing came, or went, for too long.
    TimedOut = 14, "timed_out", "nothing came for too long";
    /// Somebody did not want it any more.
    Cancelled = 15, "cancelled", "cancelled";
    /// A range that the file does not have.
    BadRange = 16, "bad_range", "the file has no such part";
    /// The peer knows nothing of files, or has them off.
    Unsupported = 17, "unsupported", "the peer does not take or give files";
    /// The connection ended before.
    ConnectionLost = 18, "connection_lost", "the connection ended";
}

impl std::error::Error for FileErrorKind {}

/// Why a transfer did not end well.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TransferError {
    /// What kind of thing.
    pub why: FileErrorKind,
    /// In words; empty if there is nothing to add.
    pub text: String,
    /// Whether the peer said so.
    pub of_peer: bool,
}

impl TransferError {
    /// Of this side.
    pub fn here(why: FileErrorKind, text: &str) -> Self {
        Self { why, text: text.into(), of_peer: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_the_protocol_has_each_as_it_is() {
        let page = include_str!("../../../../docs/protocol.md");
        let head = "| reason | number | what it means |\n| --- | --- | --- |\n";
        let rows = FileErrorKind::ALL.iter().zip(DOCS).map(|(kind, doc)| {
            format!("| `{}` | {} | {} |\n", kind.name(), kind.code(), doc.trim())
        });
        let table = format!("{head}{}\n", rows.collect::<String>());
        assert!(page.contains(&table), "the table of protocol.md is to be\n\n{table}");
    }

    #[test]
    fn each_has_a_number_and_a_name_of_its_own() {
        for (at, kind) in FileErrorKind::ALL.iter().enumerate() {
            assert_eq!(usize::from(kind.code()), at + 1);
            assert_eq!(FileErrorKind::of_code(kind.code()), *kind);
            assert!(!DOCS[at].is_empty() && !kind.to_string().is_empty());
            assert!(FileErrorKind::ALL[..at].iter().all(|other| other.name() != kind.name()));
        }
        assert_eq!(FileErrorKind::of_code(999), FileErrorKind::Refused);
    }
}
