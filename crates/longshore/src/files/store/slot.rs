//! One file that is being received.

use super::near::Near;
use super::place::{Held, Place, above, facts, fault, is_missing, named};
use super::quota::Claim;
use crate::files::error::FileError;
use crate::files::looked::look;
use blake3::Hasher;
use longshore_base::FileName;
use longshore_port::{FileFacts, FileHandle};
use longshore_proto::transfer::{Digest, FileErrorKind};
use std::fmt;
use std::io;
use std::sync::Arc;

/// One file that is being received: a temporary file beside its place, which nobody else touches as long
/// as this lives. What lies in it is always the first so many bytes, and their digest is known.
///
/// Dropped, it is kept for who comes back for it, unless the store keeps none; room that it did not use
/// goes back.
pub(crate) struct Slot {
    place: Arc<Place>,
    name: FileName,
    partial: FileName,
    /// Until it is stored or removed.
    handle: Option<FileHandle>,
    /// Bytes that lie there.
    have: u64,
    /// Of those.
    hasher: Box<Hasher>,
    /// How long it will be.
    bytes: u64,
    /// Given back before the names are free for others.
    claim: Claim,
    _held: Held,
    overwrite: bool,
    keeps: bool,
    /// When the sender's file was changed last, if it said so.
    modified: u64,
    /// Which file it is.
    identity: (u64, u128),
    /// The clock of the disk, and how often a sync of all of it had failed, when this began.
    began_at: i128,
    failed_syncs: u64,
}

/// What a slot is made of.
#[derive(Debug)]
pub(super) struct Begun<'a> {
    pub(super) place: Arc<Place>,
    pub(super) name: FileName,
    pub(super) partial: FileName,
    /// The partial, if there is one.
    pub(super) handle: Option<FileHandle>,
    pub(super) near: &'a mut Near,
    pub(super) bytes: u64,
    pub(super) claim: Claim,
    pub(super) held: Held,
    pub(super) overwrite: bool,
    pub(super) keeps: bool,
    pub(super) modified: u64,
}

impl Slot {
    /// Makes the partial, or looks what is in it.
    pub(super) fn new(begun: Begun<'_>) -> Result<Self, FileError> {
        let Begun { place, name, partial, handle, near, bytes, claim, held, .. } = begun;
        let (overwrite, keeps, modified) = (begun.overwrite, begun.keeps, begun.modified);
        let handle = match handle {
            Some(handle) => handle,
            None => create(near, &place, &name, &partial)?,
        };
        let mut slot = Self {
            place,
            name,
            partial,
            handle: Some(handle),
            have: 0,
            hasher: Box::new(Hasher::new()),
            bytes,
            claim,
            _held: held,
            overwrite,
            keeps,
            modified,
            identity: (0, 0),
            began_at: 0,
            failed_syncs: 0,
        };
        slot.failed_syncs = slot.place.failed_syncs();
        if let Err(error) = slot.look() {
            // What cannot be read is of no use to anybody.
            slot.remove();
            return Err(named(&slot.name, &error));
        }
        Ok(slot)
    }

    /// Takes in what lies there from before.
    fn look(&mut self) -> io::Result<()> {
        let handle = self.handle()?.clone();
        let facts = handle.facts()?;
        (self.identity, self.began_at) = (facts.identity, facts.modified);
        let there = facts.bytes;
        if there > self.bytes {
            handle.set_len(self.bytes)?;
        }
        let have = look(&mut self.hasher, &handle, 0, there.min(self.bytes))?;
        self.moved_to(have);
        Ok(())
    }

    fn handle(&self) -> io::Result<&FileHandle> {
        self.handle.as_ref().ok_or(io::ErrorKind::NotFound.into())
    }

    fn moved_to(&mut self, have: u64) {
        self.have = have;
        self.claim.lies(have);
    }

    /// When it was begun, by the clock of the disk; or what lies there from before was changed last.
    pub(super) fn began_at(&self) -> i128 {
        self.began_at
    }

    /// How often a sync of all of the disk had failed when this began.
    pub(super) fn failed_syncs(&self) -> u64 {
        self.failed_syncs
    }

    /// Bytes that lie there: at first those that were there from before.
    pub(crate) fn have(&self) -> u64 {
        self.have
    }

    /// The digest of those (BLAKE3).
    pub(crate) fn digest(&self) -> Digest {
        *self.hasher.finalize().as_bytes()
    }

    /// Writes all of these bytes behind those that lie there; `anew` forgets those first. May wait for
    /// the disk, and is not on it before it is stored.
    ///
    /// # Errors
    /// The disk is full or fails. What was written until then counts, in [`have`](Self::have) and for
    /// who comes back. Or they do not follow what lies there, or are more than was said.
    pub(crate) fn write(&mut self, offset: u64, bytes: &[u8], anew: bool) -> Result<(), FileError> {
        let failed = |name: &FileName, error: io::Error| named(name, &error);
        if anew && self.have > 0 {
            self.handle()
                .and_then(|handle| handle.set_len(0))
                .map_err(|error| failed(&self.name, error))?;
            self.hasher.reset();
            self.moved_to(0);
        }
        let end = offset.saturating_add(bytes.len() as u64);
        if offset != self.have || end > self.bytes {
            let text = format!("bytes {offset} to {end}, it has {} of {}", self.have, self.bytes);
            return Err(fault(FileErrorKind::BadRange, &self.name, &text));
        }
        // Another program may have cut it: what is missing would be zeros.
        let lies =
            self.handle().and_then(FileHandle::facts).map_err(|it| failed(&self.name, it))?;
        if lies.bytes != self.have {
            let text = "another program has changed it";
            return Err(fault(FileErrorKind::Disk, &self.name, text));
        }
        let mut left = bytes;
        while !left.is_empty() {
            let written = self.handle().and_then(|handle| handle.write_at(left, self.have));
            let count = match written {
                Ok(0) => Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => Ok(count.min(left.len())),
                Err(error) => Err(error),
            };
            let count = count.map_err(|error| failed(&self.name, error))?;
            self.hasher.update(&left[..count]);
            self.moved_to(self.have + count as u64);
            left = &left[count..];
        }
        Ok(())
    }

    /// It will not be finished. `keep` leaves what lies there for who comes back for it; else it is
    /// removed. Room that is not used goes back.
    pub(crate) fn give_up(mut self, keep: bool) {
        if !keep {
            self.remove();
        }
    }

    /// Takes what lies there away.
    fn remove(&mut self) {
        // Closed first: some systems keep the name of what is open.
        if self.handle.take().is_some() && self.place.folder.remove(&self.partial).is_ok() {
            self.claim.lies(0);
        }
    }
}

/// The steps of putting files in their places, in order. After an error the slot is over.
impl Slot {
    pub(super) fn place(&self) -> &Arc<Place> {
        &self.place
    }

    /// Whether it is what was sent: whole, and with that digest. If not, it is removed.
    pub(super) fn check(&mut self, digest: &Digest) -> Result<(), FileError> {
        let text = if self.have != self.bytes {
            format!("{} of {} bytes", self.have, self.bytes)
        } else if self.digest() != *digest {
            format!("{} bytes with another digest", self.bytes)
        } else {
            return Ok(());
        };
        self.remove();
        Err(fault(FileErrorKind::DigestMismatch, &self.name, &text))
    }

    /// Waits until its bytes are on the disk. If they are not, it is removed: systems forget what they
    /// could not write, and a second sync would say that all is well.
    pub(super) fn sync(&mut self) -> Result<(), FileError> {
        let Err(error) = self.handle().and_then(FileHandle::sync) else { return Ok(()) };
        self.remove();
        Err(named(&self.name, &error))
    }

    /// Gives it its time and its name, in place of what has it if that is allowed.
    pub(super) fn rename(&mut self, near: &mut Near) -> Result<(), FileError> {
        let folder = near.folder_of(&self.place, &self.name);
        let folder = folder.map_err(|error| named(&self.name, &error))?;
        let (partial, name) = (self.partial.base(), self.name.base());
        let there = folder.as_ref().map(|folder| facts(folder, &partial));
        let there = there.transpose().map_err(|error| named(&self.name, &error))?.flatten();
        // As far as can be seen: a second process may have taken it for one that nobody is at work on.
        let is_ours = |it: &FileFacts| it.identity == self.identity && it.bytes == self.bytes;
        let Some(folder) = folder.filter(|_| there.as_ref().is_some_and(is_ours)) else {
            (self.handle, self.have) = (None, 0);
            self.claim.lies(0);
            let text = "another program has taken it away, or is writing to it";
            return Err(fault(FileErrorKind::Disk, &self.name, text));
        };
        if self.modified > 0 {
            // Where that cannot be, it has the time at which it came.
            let _ = self.handle().and_then(|handle| handle.set_modified(self.modified));
        }
        let Err(error) = folder.rename(&partial, &name, self.overwrite) else { return Ok(()) };
        if error.kind() == io::ErrorKind::AlreadyExists {
            self.remove();
        }
        Err(named(&self.name, &error))
    }

    /// The folders that have to be on the disk, so that it is found: its own and all above.
    pub(super) fn folders(&self) -> Vec<Option<FileName>> {
        above(&self.name)
    }

    /// It has its name, and that is on the disk.
    pub(super) fn stored(mut self) -> FileName {
        self.handle = None;
        self.claim.stored();
        self.name.clone()
    }

    /// It has its name, and that may not be on the disk: the name is taken back, so that who comes back
    /// finds the partial. Where it has replaced a file, it stays: that one is gone.
    pub(super) fn unnamed(mut self, error: &io::Error) -> FileError {
        let folder = &self.place.folder;
        if self.overwrite || folder.rename(&self.name, &self.partial, false).is_err() {
            self.handle = None;
            self.claim.stored();
        }
        named(&self.name, error)
    }
}

/// Makes a partial, and the folders that it is to lie in, if they are not there.
fn create(
    near: &mut Near,
    place: &Arc<Place>,
    name: &FileName,
    partial: &FileName,
) -> Result<FileHandle, FileError> {
    let failed = |error: io::Error| named(name, &error);
    if let Some(folder) = near.folder_of(place, name).map_err(failed)? {
        match folder.create(&partial.base()) {
            Err(error) if is_missing(&error) => near.forget(), // it was removed meanwhile
            done => return done.map_err(failed),
        }
    }
    if let Some(folder) = name.parent() {
        place.folder.make_folders(&folder).map_err(|error| match error.kind() {
            io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
                fault(FileErrorKind::Exists, name, &format!("{folder} is no folder"))
            }
            _ => failed(error),
        })?;
    }
    place.folder.create(partial).map_err(failed)
}

impl Drop for Slot {
    fn drop(&mut self) {
        if self.handle.is_some() && !(self.keeps && self.have > 0 && self.claim.keep()) {
            self.remove();
        }
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Slot({}, {} of {})", self.name, self.have, self.bytes)
    }
}
