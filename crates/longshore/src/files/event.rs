//! What a handler is told of files.

use super::error::FileError;
use std::fmt;

/// Names a file that a connection sends or receives; unique within the connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FileId(pub(crate) u64);

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What happened to a file of a connection: see [`Handler::on_file`](crate::Handler::on_file).
#[derive(Debug)]
#[non_exhaustive]
pub enum FileEvent {
    /// A file of [`Ctx::send_file`](crate::Ctx::send_file) is with the kernel.
    Sent(FileSent),
}

/// A file whose connection closed before anybody was told what became of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct CutFile {
    /// Which one.
    pub id: FileId,
    /// Whether the kernel took all of its bytes. If not, the peer has at most a part.
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
