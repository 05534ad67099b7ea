//! What a handler is told of files.

use super::error::FileError;
use super::id::FileId;
#[cfg(feature = "files")]
use super::offer::{FileOffer, FileRequest, ListRequest};
use longshore_proto::transfer::{Digest, Listed};

/// What happened to a file of a connection: see [`Handler::on_file`](crate::Handler::on_file).
///
/// Each file has one last event: `Sent`, `Done` or `Failed`; or it is in [`Closed::files`](crate::Closed::files).
#[derive(Debug)]
#[non_exhaustive]
pub enum FileEvent {
    /// A file of [`Ctx::send_file`](crate::Ctx::send_file) is with the kernel.
    Sent(FileSent),
    /// The peer offers a file: it is for the handler to accept. Dropped, it is refused.
    #[cfg(feature = "files")]
    Offered(FileOffer),
    /// The peer asks for a file: it is for the handler to give it. Dropped, it is refused.
    #[cfg(feature = "files")]
    Asked(FileRequest),
    /// The peer asks what there is: it is for the handler to tell. Dropped, it is refused.
    #[cfg(feature = "files")]
    ListAsked(ListRequest),
    /// A file gets on; told ten times in a second at most.
    Progress(FileProgress),
    /// A file has arrived whole, here or there, and its digest was right.
    Done(FileDone),
    /// A file, or a list, did not come about.
    Failed(FileFailed),
    /// A part of the answer to [`Ctx::list_files`](crate::Ctx::list_files).
    Listed(FileList),
}

/// Which way a file goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileWay {
    /// To the peer.
    Out,
    /// From the peer.
    In,
}

/// How far a file has got.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct FileProgress {
    /// Which one.
    pub id: FileId,
    /// Which way.
    pub way: FileWay,
    /// Bytes that the receiver has written, those included that it had before.
    pub bytes: u64,
    /// Bytes that it will have.
    pub total: u64,
    /// Bytes of those that it had before: they were not sent again.
    pub resumed: u64,
}

/// A file that has arrived.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct FileDone {
    /// Which one.
    pub id: FileId,
    /// Which way.
    pub way: FileWay,
    /// What it is called where it was received.
    pub name: String,
    /// Its length, or that of its part.
    pub bytes: u64,
    /// Bytes of those that were there before.
    pub resumed: u64,
    /// BLAKE3 of all its bytes, as they were sent and as they were written.
    pub digest: Digest,
}

/// A file that did not arrive, or a list that did not come.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct FileFailed {
    /// Which one.
    pub id: FileId,
    /// Which way.
    pub way: FileWay,
    /// What it was to be called.
    pub name: String,
    /// Why.
    pub error: FileError,
    /// Bytes that were written before.
    pub bytes: u64,
}

/// What there is in a folder of the peer.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct FileList {
    /// Of which question.
    pub id: FileId,
    /// Files and folders, in the order of their names.
    pub entries: Vec<Listed>,
    /// Whether that is all.
    pub last: bool,
}

/// A file whose connection closed before anybody was told what became of it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct CutFile {
    /// Which one.
    pub id: FileId,
    /// Whether the kernel took all bytes of a file of [`Ctx::send_file`](crate::Ctx::send_file). If not, the
    /// peer has at most a part. Of other files this is not known, and false.
    pub sent: bool,
}

/// A file that was sent as it is.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct FileSent {
    /// What [`Ctx::send_file`](crate::Ctx::send_file) gave.
    pub id: FileId,
    /// Bytes that the system sent by itself, without a copy.
    pub bytes_direct: u64,
    /// Bytes that were read and sent like others, because they were not in the system's cache, or
    /// because a filter changes what is sent.
    pub bytes_copied: u64,
    /// Whether the file is what it was when it was opened. If not, nobody knows which of its bytes the
    /// peer has got.
    pub unchanged: Result<(), FileError>,
}

#[cfg(feature = "files")]
impl FileEvent {
    /// What a server of files does: takes what is offered and gives what is asked for, with the names
    /// that the peer says. What the store does not allow is refused, with its words. Other events are
    /// left alone.
    ///
    /// ```
    /// # use longshore::{Ctx, FileEvent, FileStore, Handler, Longshore, Message, Result};
    /// struct Session {
    ///     store: FileStore,
    /// }
    ///
    /// impl Handler for Session {
    ///     type Codec = Longshore; // `Longshore::new().with_files()` at the listener
    ///
    ///     fn on_message(&mut self, cx: &mut Ctx<'_, Self>, message: Message<'_>) -> Result {
    ///         cx.send(message)
    ///     }
    ///
    ///     fn on_file(&mut self, _: &mut Ctx<'_, Self>, event: FileEvent) -> Result {
    ///         event.serve(&self.store);
    ///         Ok(())
    ///     }
    /// }
    /// # fn main() {}
    /// ```
    pub fn serve(self, store: &super::FileStore) {
        match self {
            Self::Offered(offer) => offer.accept(store),
            Self::Asked(request) => request.serve(store),
            Self::ListAsked(request) => request.serve(store),
            _ => {}
        }
    }
}
