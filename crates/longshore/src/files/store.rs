//! Where received files are kept, and from where files are served.

mod clean;
mod finish;
mod near;
mod place;
mod quota;
mod slot;
mod there;

use super::error::FileError;
use super::source::FileSource;
use longshore_base::FileName;
use longshore_port::{FileFacts, FileHandle, FileKind, Folder};
use longshore_proto::transfer::{Digest, FileErrorKind, Listed};
pub(crate) use near::Near;
use place::{Place, facts, fault, is_missing, named};
use quota::{Claim, Taken, Wish};
use slot::Begun;
pub(crate) use slot::Slot;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
pub(crate) use there::There;

/// Most files and folders in one answer to a question for a list.
pub(crate) const LIST_MAX: usize = 10_000;

/// A folder where received files are kept and from where files are served. What peers name lies beneath
/// it, on every system alike: no name leaves it, and no symbolic link is followed.
///
/// A received file lies under its name only when it is whole, its digest is right, and both it and its
/// name are on the disk. Until then it is a *partial*: a temporary file beside its place, for its owner
/// alone, which peers cannot name and no list shows. Who sends the same file again goes on where it was
/// cut, also after a restart; the same is what has the same name, length and time of its last change. What
/// lies there whole already has arrived, if its digest is right, too: a received file gets the time of what
/// was sent. Only one process may receive into a folder at a time.
///
/// Nothing is received until [`receive`](Self::receive) says so. Cloning shares what is counted and what
/// is being received, from any thread. Settings are each clone's own: make them first.
///
/// ```
/// # let path = std::env::temp_dir().join(format!("longshore-store-doc-{}", std::process::id()));
/// # std::fs::create_dir(&path)?;
/// use longshore::FileStore;
/// use std::time::Duration;
///
/// let store = FileStore::open(&path)?
///     .receive()
///     .file_bytes_max(100 << 20)
///     .store_bytes_max(2 << 30)
///     .keep_partials(Duration::from_secs(3_600));
/// # drop(store);
/// # std::fs::remove_dir_all(&path)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct FileStore {
    place: Arc<Place>,
    settings: Settings,
}

#[derive(Clone, Copy, Debug)]
struct Settings {
    receive: bool,
    overwrite: bool,
    file_bytes_max: u64,
    peer_bytes_max: u64,
    store_bytes_max: u64,
    store_entries_max: u64,
    keep_partials: Duration,
}

/// What is known of a file that is offered, beside its name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Wanted {
    /// How long it is.
    pub bytes: u64,
    /// Where in the sender's file it begins.
    pub start: u64,
    /// How long the sender's file is.
    pub total: u64,
    /// When that was changed last: nanoseconds since 1970; 0 is not known.
    pub modified: u64,
}

/// What a file that is received is put into.
#[derive(Debug)]
pub(crate) enum Ready {
    /// A partial, with what is in it.
    Slot(Box<Slot>),
    /// Nothing: it seems to lie there already.
    There(Box<There>),
}

impl FileStore {
    /// A folder of this machine, which has to be there. It is opened once and stays the same one,
    /// whatever happens to `path`. Waits for the disk, so it is for the start of a program.
    ///
    /// # Errors
    /// There is none, or it may not be opened.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, FileError> {
        let folder = Folder::open(path.as_ref()).map_err(|error| FileError::from_io(&error))?;
        Self::of(folder)
    }

    /// A folder that is open already: one of a simulation, above all.
    ///
    /// # Errors
    /// It cannot be looked into.
    pub fn of(folder: Folder) -> Result<Self, FileError> {
        match folder.list(None, "", 1) {
            // What may not be listed may be gone through.
            Err(error) if error.kind() != io::ErrorKind::PermissionDenied => {
                return Err(FileError::from_io(&error));
            }
            _ => {}
        }
        let settings = Settings {
            receive: false,
            overwrite: false,
            file_bytes_max: 1 << 30,
            peer_bytes_max: 5 << 30,
            store_bytes_max: 10 << 30,
            store_entries_max: 100_000,
            keep_partials: Duration::from_secs(24 * 3_600),
        };
        Ok(Self { place: Place::new(folder), settings })
    }

    /// Files may be put there. The default is that they may not.
    #[must_use]
    pub fn receive(mut self) -> Self {
        self.settings.receive = true;
        self
    }

    /// A received file may replace one of its name, at once and whole: who opens it gets the old one or
    /// the new one. The default is that it may not.
    #[must_use]
    pub fn overwrite(mut self) -> Self {
        self.settings.overwrite = true;
        self
    }

    /// Most bytes of a file that is received: any number, 0 takes empty files only. The default is 1 GiB.
    #[must_use]
    pub fn file_bytes_max(mut self, bytes: u64) -> Self {
        self.settings.file_bytes_max = bytes;
        self
    }

    /// Most bytes that one source address may bring while this process runs, those on their way too: any
    /// number. The /64 of an IPv6 address is one source. What replaces a file counts by how much it is
    /// longer, or shorter; what was removed because it was not finished does not count. What is on its way
    /// counts with its whole length, so nobody can keep others out for longer by sending slowly. The
    /// default is 5 GiB, half of the store.
    #[must_use]
    pub fn peer_bytes_max(mut self, bytes: u64) -> Self {
        self.settings.peer_bytes_max = bytes;
        self
    }

    /// Most bytes that lie in the store, partials and what is on its way too: any number. What lies there
    /// is counted before the first file is received, and again where it seems full and nothing is being
    /// received, once a minute at most: so what others do there is seen then. Of a
    /// file that replaces another only the difference counts, so while it comes both may lie there.
    /// The default is 10 GiB.
    #[must_use]
    pub fn store_bytes_max(mut self, bytes: u64) -> Self {
        self.settings.store_bytes_max = bytes;
        self
    }

    /// Most files and folders that lie in the store, partials and what is on its way too, counted as
    /// [`store_bytes_max`](Self::store_bytes_max): any number. Folders are made as files need them, and
    /// never removed. The default is 100,000.
    #[must_use]
    pub fn store_entries_max(mut self, count: u64) -> Self {
        self.settings.store_entries_max = count;
        self
    }

    /// How long a partial is kept for who comes back for it, from the last byte on; older ones
    /// are not gone on with, and are removed by and by, as other files come. Zero keeps none. The
    /// default is 24 hours.
    #[must_use]
    pub fn keep_partials(mut self, time: Duration) -> Self {
        self.settings.keep_partials = time;
        self
    }
}

/// What the engine does with it. All of it may wait for the disk.
impl FileStore {
    /// Makes ready to receive a file, or finds that it seems to lie there.
    ///
    /// # Errors
    /// `Refused`, `TooLarge`, `Exists`, `StoreFull`, `NoSpace`, `Busy`, in this order, or what the system
    /// says.
    pub(crate) fn begin(
        &self,
        peer: Option<IpAddr>,
        name: &FileName,
        offered: &Wanted,
        near: &mut Near,
    ) -> Result<Ready, FileError> {
        let (place, settings, bytes) = (&self.place, &self.settings, offered.bytes);
        let refused = |kind, text: &str| Err(fault(kind, name, text));
        if !settings.receive {
            return refused(FileErrorKind::Refused, "nothing is received here");
        }
        if bytes > settings.file_bytes_max {
            let text = format!("{bytes} bytes, at most {}", settings.file_bytes_max);
            return refused(FileErrorKind::TooLarge, &text);
        }
        let partial = name.temporary(number(name, offered));
        // Held before anything is looked at: what is seen is what will be.
        let held = place.hold([name, &partial]);
        let failed = |error: io::Error| named(name, &error);
        let folder = near.folder_of(place, name).map_err(failed)?;
        let facts = folder.as_ref().map(|folder| facts(folder, &name.base()));
        let there = facts.transpose().map_err(failed)?.flatten();
        let is_like = |it: &FileFacts| There::is_like(it, bytes, offered.modified);
        if let Some(there) = there.filter(|it| !settings.overwrite && is_like(it)) {
            drop(held);
            let there = There::look(place.clone(), name.clone(), there)?;
            return Ok(Ready::There(Box::new(there)));
        }
        let replaces = there.map(|it| self.replaced(name, &it)).transpose()?;
        self.count()?;
        let partial_there = match &folder {
            Some(folder) => self.partial(folder, name, &partial, held.is_some())?,
            None => None,
        };
        let had = partial_there.as_ref().map_or(0, |(_, bytes)| *bytes);
        let handle = partial_there.map(|(handle, _)| handle);
        let missing = if folder.is_some() { 0 } else { place.missing_folders(name)? };
        let made = u64::from(handle.is_none()) + missing;
        let wish = Wish {
            peer,
            bytes,
            had,
            replaces,
            entries: made,
            store_bytes_max: settings.store_bytes_max,
            store_entries_max: settings.store_entries_max,
            peer_bytes_max: settings.peer_bytes_max,
        };
        // Who is at work on it has counted what lies there.
        let claim = match held {
            Some(held) => Some((held, self.claim(&wish, name)?)),
            None => place.quota.look(&wish).map(|()| None).map_err(|error| of(name, &error))?,
        };
        let missing = bytes.saturating_sub(had);
        let free = place.folder.free_bytes().map_err(failed)?;
        if free < missing {
            let text = format!("{missing} bytes, the disk has room for {free}");
            return refused(FileErrorKind::NoSpace, &text);
        }
        let Some((held, claim)) = claim else {
            return refused(FileErrorKind::Busy, "it is being received");
        };
        let slot = Slot::new(Begun {
            place: place.clone(),
            name: name.clone(),
            partial,
            handle,
            near,
            bytes,
            claim,
            held,
            overwrite: settings.overwrite,
            keeps: !settings.keep_partials.is_zero(),
            modified: offered.modified,
        })?;
        Ok(Ready::Slot(Box::new(slot)))
    }

    /// How long the file is that is replaced.
    fn replaced(&self, name: &FileName, there: &FileFacts) -> Result<u64, FileError> {
        if self.settings.overwrite && there.kind == FileKind::Regular {
            return Ok(there.bytes);
        }
        Err(there::exists(name, there))
    }

    /// What lies there of the same file, if anything, and how much. What is held and too old is removed.
    fn partial(
        &self,
        folder: &Folder,
        name: &FileName,
        partial: &FileName,
        is_held: bool,
    ) -> Result<Option<(FileHandle, u64)>, FileError> {
        let failed = |error: io::Error| named(name, &error);
        let handle = match folder.open_to_write(&partial.base()) {
            Ok(handle) => handle,
            Err(error) if is_missing(&error) => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let (facts, keep) = (handle.facts().map_err(failed)?, self.settings.keep_partials);
        let has_end = keep != Duration::MAX;
        if is_held && has_end && clean::is_older(&facts, keep, clean::now(&self.place)?) {
            drop(handle);
            clean::remove(&self.place, partial, facts.bytes)?;
            return Ok(None);
        }
        Ok(Some((handle, facts.bytes)))
    }

    /// Room for a file. Where there seems to be none, it is looked again what lies there.
    fn claim(&self, wish: &Wish, name: &FileName) -> Result<Claim, FileError> {
        let quota = &self.place.quota;
        let error = match quota.claim(wish) {
            Ok(claim) => return Ok(claim),
            Err(error) => error,
        };
        let is_due = || clean::now(&self.place).is_ok_and(|now| self.place.is_recount_due(now));
        if error.kind == FileErrorKind::StoreFull && self.counts() && is_due() {
            quota.recount(|| self.look())?;
            return quota.claim(wish).map_err(|error| of(name, &error));
        }
        Err(of(name, &error))
    }

    /// Whether anybody wants to know what lies there.
    fn counts(&self) -> bool {
        let Settings { store_bytes_max, store_entries_max, .. } = self.settings;
        (store_bytes_max, store_entries_max) != (u64::MAX, u64::MAX)
    }

    /// Counts what lies there, once.
    fn count(&self) -> Result<(), FileError> {
        let look = || if self.counts() { self.look() } else { Ok(Taken::default()) };
        self.place.quota.count_once(look)
    }

    /// What lies there.
    fn look(&self) -> Result<Taken, FileError> {
        let mut taken = Taken::default();
        self.place.walk(|_, facts| {
            let bytes = if facts.kind == FileKind::Regular { facts.bytes } else { 0 };
            taken.bytes = taken.bytes.saturating_add(bytes);
            taken.entries += 1;
            Ok(())
        })?;
        Ok(taken)
    }

    /// A file, to be sent.
    ///
    /// # Errors
    /// There is none, it is no regular one, or it may not be read.
    pub(crate) fn source(&self, name: &FileName) -> Result<FileSource, FileError> {
        if name.is_temporary() {
            return Err(fault(FileErrorKind::NotFound, name, "not whole yet"));
        }
        let file = self.place.folder.open_file(name).map_err(|error| named(name, &error))?;
        FileSource::of(file).map_err(|error| fault(error.kind, name, &error.text))
    }

    /// What is in a folder (`None`: the root) behind that name, by name, without partials: 10,000 at
    /// most. Whether there is more.
    ///
    /// # Errors
    /// There is none, or it may not be looked into.
    pub(crate) fn list(
        &self,
        folder: Option<&FileName>,
        after: &str,
    ) -> Result<(Vec<Listed>, bool), FileError> {
        let is_whole =
            |last: &str| FileName::listed(folder, last).is_ok_and(|name| !name.is_temporary());
        let mut most = LIST_MAX + 1;
        loop {
            let entries =
                self.place.folder.list(folder, after, most).map_err(|error| match folder {
                    Some(folder) => named(folder, &error),
                    None => FileError::from_io(&error),
                })?;
            let is_all = entries.len() < most;
            let listed = entries.into_iter().filter(|entry| is_whole(&entry.name));
            let mut listed: Vec<_> = listed
                .map(|entry| Listed {
                    folder: entry.facts.kind == FileKind::Folder,
                    bytes: if entry.facts.kind == FileKind::Folder { 0 } else { entry.facts.bytes },
                    modified: u64::try_from(entry.facts.modified.max(0)).unwrap_or(u64::MAX),
                    name: entry.name,
                })
                .collect();
            if listed.len() > LIST_MAX {
                listed.truncate(LIST_MAX);
                return Ok((listed, true));
            }
            if is_all {
                return Ok((listed, false));
            }
            // Some of them were partials.
            most = most.saturating_mul(2);
        }
    }

    /// Removes partials that are older than they are kept, everywhere below. How many. Nothing where
    /// nothing is received.
    ///
    /// # Errors
    /// What the system says. What was removed until then is gone.
    pub(crate) fn clean(&self) -> Result<usize, FileError> {
        if !self.settings.receive || self.settings.keep_partials == Duration::MAX {
            return Ok(0);
        }
        self.count()?;
        clean::clean(&self.place, self.settings.keep_partials)
    }

    /// The same once an hour, or more often for what is not kept as long, when a file is received: what that fails with is found out again.
    pub(crate) fn clean_sometimes(&self, slot: &Slot) {
        if self.place.is_due(slot.began_at(), self.settings.keep_partials) {
            let _ = self.clean();
        }
    }

    /// Puts files in their places, if they have these digests. Each that is told to be there has its
    /// bytes and its name on the disk. In the order of `slots`, whichever stores they are of.
    pub(crate) fn store_all(slots: Vec<(Slot, Digest)>) -> Vec<Result<FileName, FileError>> {
        finish::store_all(slots)
    }
}

/// What is wrong with a file, with its name.
fn of(name: &FileName, error: &FileError) -> FileError {
    fault(error.kind, name, &error.text)
}

/// The number of a partial: the same for the same file, another one for another version of it.
fn number(name: &FileName, offered: &Wanted) -> u64 {
    let Wanted { bytes, start, total, modified } = *offered;
    let mut hasher = blake3::Hasher::new();
    for part in [bytes, start, total, modified] {
        hasher.update(&part.to_le_bytes());
    }
    hasher.update(name.as_str().as_bytes());
    let mut number = [0; 8];
    hasher.finalize_xof().fill(&mut number);
    u64::from_le_bytes(number)
}

#[cfg(test)]
mod tests;
