//! A file that is offered and lies there already, whole.

use super::place::{Place, above, fault, named};
use crate::files::error::FileError;
use crate::files::looked::look;
use blake3::Hasher;
use longshore_base::FileName;
use longshore_port::{FileFacts, FileKind};
use longshore_proto::transfer::{Digest, FileErrorKind};
use std::sync::Arc;

/// Systems tell times as fine as this, and finer ones are cut off: nanoseconds.
const TIME_STEP: i128 = 100;

/// A file that has the name, the length and the time of one that is offered: the same, unless its bytes
/// are others, which only its sender can tell. It is never written to.
#[derive(Debug)]
pub(crate) struct There {
    place: Arc<Place>,
    name: FileName,
    facts: FileFacts,
    digest: Digest,
}

impl There {
    /// Whether what lies there looks like a file that is offered, of that length and time. Without a time
    /// nothing does.
    pub(super) fn is_like(facts: &FileFacts, bytes: u64, modified: u64) -> bool {
        let same_time = facts.modified / TIME_STEP == i128::from(modified) / TIME_STEP;
        let is_file = facts.kind == FileKind::Regular;
        is_file && facts.bytes == bytes && same_time && modified > 0
    }

    /// Reads all of it.
    pub(super) fn look(
        place: Arc<Place>,
        name: FileName,
        facts: FileFacts,
    ) -> Result<Self, FileError> {
        let file = place.folder.open_file(&name).map_err(|error| named(&name, &error))?;
        let mut hasher = Hasher::new();
        look(&mut hasher, &file, 0, facts.bytes).map_err(|error| named(&name, &error))?;
        let digest = *hasher.finalize().as_bytes();
        Ok(Self { place, name, facts, digest })
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.facts.bytes
    }

    /// Of all of it (BLAKE3).
    pub(crate) fn digest(&self) -> Digest {
        self.digest
    }

    /// It is another one than what is offered.
    pub(crate) fn is_another(&self) -> FileError {
        exists(&self.name, &self.facts)
    }

    /// It is what was sent, if that has this digest: makes sure that it and its name are on the disk, as of
    /// a file that was received.
    ///
    /// # Errors
    /// `Exists` if it is another one, `SourceChanged` if it was touched since it was looked at, or what the
    /// system says.
    pub(crate) fn confirm(self, digest: &Digest) -> Result<FileName, FileError> {
        if self.digest != *digest {
            return Err(self.is_another());
        }
        let Self { place, name, facts, .. } = self;
        let file = place.folder.open_to_write(&name);
        let file = file.or_else(|_| place.folder.open_file(&name));
        let file = file.map_err(|error| named(&name, &error))?;
        if file.facts().map_err(|error| named(&name, &error))? != facts {
            let text = "it was changed meanwhile";
            return Err(fault(FileErrorKind::SourceChanged, &name, text));
        }
        file.sync().map_err(|error| named(&name, &error))?;
        for folder in above(&name) {
            place.folder.sync_folder(folder.as_ref()).map_err(|error| named(&name, &error))?;
        }
        Ok(name)
    }
}

/// There is something of that name, and it is not replaced.
pub(super) fn exists(name: &FileName, there: &FileFacts) -> FileError {
    let text = match there.kind {
        FileKind::Regular => format!("one of {} bytes is not replaced", there.bytes),
        FileKind::Folder => "a folder has that name".into(),
        FileKind::Other => "what has that name is no file".into(),
    };
    fault(FileErrorKind::Exists, name, &text)
}
