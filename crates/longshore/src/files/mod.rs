//! Files: sent as they are to a peer that knows nothing of us; and offered, asked for and received between
//! peers of the project's own protocol, which the feature `files` is for.

#[cfg(feature = "files")]
mod answer;
mod error;
mod event;
mod id;
#[cfg(feature = "files")]
mod looked;
#[cfg(feature = "files")]
mod offer;
#[cfg(feature = "files")]
mod pieces;
mod sending;
mod source;
#[cfg(feature = "files")]
mod store;
#[cfg(feature = "files")]
mod task;
#[cfg(feature = "files")]
mod transfers;

#[cfg(feature = "files")]
pub(crate) use answer::Answer;
pub use error::FileError;
pub use event::{
    CutFile, FileDone, FileEvent, FileFailed, FileList, FileProgress, FileSent, FileWay,
};
pub use id::FileId;
#[cfg(feature = "files")]
pub use offer::{FileOffer, FileRequest, ListRequest};
pub(crate) use sending::Files;
pub use source::FileSource;
#[cfg(feature = "files")]
pub(crate) use source::bounds;
#[cfg(feature = "files")]
pub use store::FileStore;
#[cfg(feature = "files")]
pub(crate) use task::{Batch, Outcomes};
#[cfg(feature = "files")]
pub(crate) use transfers::Transfers;

pub use longshore_base::{BadName, FileName};
pub use longshore_port::Folder;
pub use longshore_proto::transfer::{Digest, FileErrorKind, Listed};
