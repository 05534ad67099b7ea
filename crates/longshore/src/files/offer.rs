//! What a peer wants, as something to answer: once, or by dropping it.

use super::answer::Answer;
use super::id::FileId;
use super::{FileError, FileStore};
use crate::server::mailbox::Cmd;
use crate::server::shared::Shared;
use crate::server::switchboard::Switchboard;
use longshore_base::FileName;
use longshore_proto::transfer::{FileErrorKind, Offered};
use std::fmt;
use std::sync::Arc;

/// The way of an answer to the connection whose peer wants something. An answer that is not given is no.
struct Reply {
    shared: Arc<Shared>,
    board: Arc<Switchboard>,
    /// What is said if nothing is.
    no: Option<Answer>,
}

impl Reply {
    fn say(mut self, answer: Answer) {
        self.no = Some(answer); // said when this is dropped
    }

    fn refuse(mut self, kind: FileErrorKind, words: &str) {
        if let Some(Answer::Refuse { why, text, .. } | Answer::No { why, text, .. }) = &mut self.no
        {
            (*why, *text) = (kind, words.into());
        }
    }

    fn fail(self, error: &FileError) {
        self.refuse(error.kind, &error.text);
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if let Some(answer) = self.no.take() {
            let answer = Box::new(answer);
            self.board.push_to(&self.shared, |shared| Cmd::File { shared, answer });
        }
    }
}

/// A file that the peer offers. It is a token: it may be kept, and answered from any thread; dropped, it
/// is refused. An offer that is not answered in time (`limits.file_start`) is refused, too.
pub struct FileOffer {
    id: FileId,
    number: u32,
    offered: Offered,
    reply: Reply,
}

impl FileOffer {
    pub(crate) fn new(
        (shared, board): (Arc<Shared>, Arc<Switchboard>),
        id: FileId,
        number: u32,
        offered: Offered,
    ) -> Self {
        let (why, text) = (FileErrorKind::Refused, "".into());
        let no = Some(Answer::Refuse { number, why, text });
        Self { id, number, offered, reply: Reply { shared, board, no } }
    }

    /// Its name among the files of the connection.
    pub fn id(&self) -> FileId {
        self.id
    }

    /// What the peer calls it: any text.
    pub fn name(&self) -> &str {
        &self.offered.name
    }

    /// The same, if it is a name that a file can have.
    ///
    /// # Errors
    /// [`FileErrorKind::BadName`], with what is wrong with it.
    pub fn file_name(&self) -> Result<FileName, FileError> {
        name_of(&self.offered.name)
    }

    /// How long it is.
    pub fn bytes(&self) -> u64 {
        self.offered.bytes
    }

    /// When it was changed last, as the peer says: nanoseconds since 1970; 0 if it does not say.
    pub fn modified_nanos(&self) -> u64 {
        self.offered.modified
    }

    /// Has it received into `store`, under the name that the peer says.
    pub fn accept(self, store: &FileStore) {
        match self.file_name() {
            Ok(name) => self.accept_as(store, name),
            Err(error) => self.reply.fail(&error),
        }
    }

    /// Has it received into `store`, under that name.
    pub fn accept_as(self, store: &FileStore, name: FileName) {
        let (number, store) = (self.number, store.clone());
        self.reply.say(Answer::Accept { number, store, name });
    }

    /// Refuses it, in words for the peer.
    pub fn refuse(self, why: &str) {
        self.reply.refuse(FileErrorKind::Refused, why);
    }
}

impl fmt::Debug for FileOffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FileOffer").field(&self.id).field(&self.offered).finish()
    }
}

/// A file, or a part of one, that the peer asks for. It is a token, as [`FileOffer`] is one.
pub struct FileRequest {
    id: FileId,
    request: u32,
    name: String,
    start: u64,
    bytes: u64,
    reply: Reply,
}

impl FileRequest {
    pub(crate) fn new(
        (shared, board): (Arc<Shared>, Arc<Switchboard>),
        id: FileId,
        request: u32,
        name: String,
        (start, bytes): (u64, u64),
    ) -> Self {
        let (why, text) = (FileErrorKind::Refused, "".into());
        let no = Some(Answer::No { request, why, text });
        Self { id, request, name, start, bytes, reply: Reply { shared, board, no } }
    }

    /// What it is called among the files of the connection once it is sent.
    pub fn id(&self) -> FileId {
        self.id
    }

    /// What the peer calls it: any text.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same, if it is a name that a file can have.
    ///
    /// # Errors
    /// [`FileErrorKind::BadName`], with what is wrong with it.
    pub fn file_name(&self) -> Result<FileName, FileError> {
        name_of(&self.name)
    }

    /// Sends it from `store`, under the name that the peer says.
    pub fn serve(self, store: &FileStore) {
        match self.file_name() {
            Ok(name) => self.serve_as(store, name),
            Err(error) => self.reply.fail(&error),
        }
    }

    /// Sends what `store` has under that name.
    pub fn serve_as(self, store: &FileStore, name: FileName) {
        let Self { request, start, bytes, reply, .. } = self;
        reply.say(Answer::Serve { request, store: store.clone(), name, start, bytes });
    }

    /// Refuses it, in words for the peer.
    pub fn refuse(self, why: &str) {
        self.reply.refuse(FileErrorKind::Refused, why);
    }
}

impl fmt::Debug for FileRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FileRequest").field(&self.name).finish()
    }
}

/// A folder whose files the peer asks for. It is a token, as [`FileOffer`] is one.
pub struct ListRequest {
    request: u32,
    name: String,
    /// Only what stands behind that; empty for all.
    after: String,
    reply: Reply,
}

impl ListRequest {
    pub(crate) fn new(
        (shared, board): (Arc<Shared>, Arc<Switchboard>),
        request: u32,
        (name, after): (String, String),
    ) -> Self {
        let (why, text) = (FileErrorKind::Refused, "".into());
        let no = Some(Answer::No { request, why, text });
        Self { request, name, after, reply: Reply { shared, board, no } }
    }

    /// What the peer calls the folder: any text; nothing is the root.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Tells what `store` has there.
    pub fn serve(self, store: &FileStore) {
        let Self { request, name, after, reply } = self;
        let store = store.clone();
        if name.is_empty() {
            return reply.say(Answer::List { request, store, name: None, after });
        }
        match name_of(&name) {
            Ok(name) => reply.say(Answer::List { request, store, name: Some(name), after }),
            Err(error) => reply.fail(&error),
        }
    }

    /// Refuses it, in words for the peer.
    pub fn refuse(self, why: &str) {
        self.reply.refuse(FileErrorKind::Refused, why);
    }
}

impl fmt::Debug for ListRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ListRequest").field(&self.name).finish()
    }
}

/// A name that a peer says, if it is one.
fn name_of(text: &str) -> Result<FileName, FileError> {
    FileName::parse(text).map_err(|bad| FileError::new(FileErrorKind::BadName, bad))
}
