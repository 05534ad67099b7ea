//! Files: sent as they are to a peer that knows nothing of us.

mod error;
mod event;
mod sending;
mod source;
#[cfg(feature = "files")]
#[cfg_attr(not(test), expect(dead_code, reason = "the engine does not receive files yet"))]
mod store;

pub use error::FileError;
pub use event::{CutFile, FileEvent, FileId, FileSent};
pub use longshore_proto::transfer::FileErrorKind;
pub(crate) use sending::Files;
pub use source::FileSource;
#[cfg(feature = "files")]
pub use store::FileStore;
