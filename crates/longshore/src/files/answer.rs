//! What somebody says to what a peer wants.

use super::store::FileStore;
use longshore_base::FileName;
use longshore_proto::transfer::FileErrorKind;

/// How something that a peer wants is answered.
#[derive(Debug)]
pub(crate) enum Answer {
    /// An offer: it goes there.
    Accept { number: u32, store: FileStore, name: FileName },
    /// An offer is refused.
    Refuse { number: u32, why: FileErrorKind, text: Box<str> },
    /// A request for a file: it lies there.
    Serve { request: u32, store: FileStore, name: FileName, start: u64, bytes: u64 },
    /// A request for a list.
    List { request: u32, store: FileStore, name: Option<FileName>, after: String },
    /// A request is refused.
    No { request: u32, why: FileErrorKind, text: Box<str> },
}
