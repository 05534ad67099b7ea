//! Files: sent as they are to a peer that knows nothing of us.

mod error;
mod event;
mod sending;
mod source;

pub use error::FileError;
pub use event::{CutFile, FileEvent, FileId, FileSent};
pub use longshore_proto::transfer::FileErrorKind;
pub(crate) use sending::Files;
pub use source::FileSource;
