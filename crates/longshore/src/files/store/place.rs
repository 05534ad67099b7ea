//! The folder of a store, and who is at work in it.

use super::quota::Quota;
use crate::files::error::FileError;
use longshore_base::FileName;
use longshore_port::{FileFacts, FileKind, Folder};
use longshore_proto::transfer::FileErrorKind;
use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often partials are looked at for their age, at most. Those that are kept for a shorter time, four
/// times as often as that.
const LOOK_EVERY_SECONDS: i64 = 3_600;

/// How often a store that is full looks whether it is, at most.
const RECOUNT_EVERY_SECONDS: i64 = 60;

/// A folder with what is counted and held in it: one for all clones of a store.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) folder: Folder,
    pub(super) quota: Arc<Quota>,
    /// Names that somebody is at work on, temporary ones too.
    active: Mutex<BTreeSet<FileName>>,
    /// When partials were looked at last, in seconds of the clock of the disk.
    looked: AtomicI64,
    /// And when it was looked last what lies there.
    pub(super) recounted: AtomicI64,
    /// One at a time has all of the disk synced; how often that failed.
    syncing: Mutex<u64>,
    /// Whoever makes a file to read the clock from it.
    pub(super) looking: Mutex<()>,
}

/// Names that nobody else may touch until this is dropped.
#[derive(Debug)]
pub(super) struct Held {
    place: Arc<Place>,
    names: Vec<FileName>,
}

impl Place {
    pub(super) fn new(folder: Folder) -> Arc<Self> {
        let (active, looking) = (Mutex::default(), Mutex::default());
        let (quota, syncing) = (Arc::default(), Mutex::new(0));
        let [looked, recounted] = [(); 2].map(|()| AtomicI64::new(i64::MIN));
        Arc::new(Self { folder, quota, active, looked, recounted, syncing, looking })
    }

    /// Whether partials that are kept for `keep` are to be looked at, now that the clock of the disk says
    /// `nanos`.
    pub(super) fn is_due(&self, nanos: i128, keep: Duration) -> bool {
        let keep = i64::try_from(keep.as_secs()).unwrap_or(i64::MAX);
        is_due(&self.looked, nanos, (keep / 4).clamp(1, LOOK_EVERY_SECONDS))
    }

    /// Whether it is to be looked what lies there, likewise.
    pub(super) fn is_recount_due(&self, nanos: i128) -> bool {
        is_due(&self.recounted, nanos, RECOUNT_EVERY_SECONDS)
    }

    /// Folders that are to be made for a file of that name.
    pub(super) fn missing_folders(&self, name: &FileName) -> Result<u64, FileError> {
        let (mut missing, mut folder) = (0, name.parent());
        while let Some(name) = folder {
            if self.facts(&name)?.is_some() {
                break;
            }
            (missing, folder) = (missing + 1, name.parent());
        }
        Ok(missing)
    }

    /// How often a sync of all has failed until now.
    pub(super) fn failed_syncs(&self) -> u64 {
        *self.syncing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Syncs all of the disk at once. Says whether all is on it that was written since `before` syncs had
    /// failed; if not, or if nobody knows, each has to be synced by itself: a system tells of an error
    /// once, perhaps to another one who asked.
    pub(super) fn sync_all(&self, before: u64) -> bool {
        let mut failed = self.syncing.lock().unwrap_or_else(PoisonError::into_inner);
        match self.folder.sync_all() {
            Ok(is_sure) => is_sure && *failed == before,
            Err(error) => {
                *failed += u64::from(error.kind() != io::ErrorKind::Unsupported);
                false
            }
        }
    }

    /// All of these names, if nobody has one of them.
    pub(super) fn hold<const N: usize>(self: &Arc<Self>, names: [&FileName; N]) -> Option<Held> {
        let mut active = self.active();
        if names.iter().any(|name| active.contains(*name)) {
            return None;
        }
        active.extend(names.iter().copied().cloned());
        drop(active);
        Some(Held { place: self.clone(), names: names.map(FileName::clone).into() })
    }

    fn active(&self) -> MutexGuard<'_, BTreeSet<FileName>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is told of a name; nothing if there is nothing.
    pub(super) fn facts(&self, name: &FileName) -> Result<Option<FileFacts>, FileError> {
        facts(&self.folder, name).map_err(|error| named(name, &error))
    }

    /// Goes to each file and folder that there is, temporary ones too. What has no name of ours is left out, and
    /// so are folders that are gone meanwhile or that may not be looked into.
    pub(super) fn walk(
        &self,
        mut visit: impl FnMut(&FileName, &FileFacts) -> Result<(), FileError>,
    ) -> Result<(), FileError> {
        let mut folders = vec![None];
        while let Some(folder) = folders.pop() {
            let entries = match self.folder.list(folder.as_ref(), "", usize::MAX) {
                Ok(entries) => entries,
                Err(error) if is_missing(&error) || is_denied(&error) => continue,
                Err(error) => return Err(FileError::from_io(&error)),
            };
            for entry in entries {
                let Ok(name) = FileName::listed(folder.as_ref(), &entry.name) else { continue };
                match entry.facts.kind {
                    FileKind::Folder => {
                        visit(&name, &entry.facts)?;
                        folders.push(Some(name));
                    }
                    FileKind::Regular => visit(&name, &entry.facts)?,
                    FileKind::Other => {}
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
impl Place {
    pub(super) fn active_names(&self) -> Vec<FileName> {
        self.active().iter().cloned().collect()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut active = self.place.active();
        for name in &self.names {
            active.remove(name);
        }
    }
}

/// The folders that have to be on the disk, so that a file is found: its own and all above.
pub(super) fn above(name: &FileName) -> Vec<Option<FileName>> {
    let mut folders = vec![name.parent()];
    while let Some(Some(folder)) = folders.last() {
        let above = folder.parent();
        folders.push(above);
    }
    folders
}

/// What is told of a name in a folder; nothing if there is nothing.
pub(super) fn facts(folder: &Folder, name: &FileName) -> io::Result<Option<FileFacts>> {
    match folder.facts(name) {
        Ok(facts) => Ok(Some(facts)),
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether it is so many seconds since that was `last`, by a clock that says `nanos`: to one of those who
/// ask.
fn is_due(last: &AtomicI64, nanos: i128, seconds: i64) -> bool {
    let now = i64::try_from(nanos / 1_000_000_000).unwrap_or(i64::MAX);
    let before = last.load(Ordering::Relaxed);
    let due = before == i64::MIN || now.saturating_sub(before) >= seconds;
    due && last.compare_exchange(before, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
}

/// Whether there is nothing of that name.
pub(super) fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn is_denied(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}

/// What a system says of a file, with its name.
pub(super) fn named(name: &FileName, error: &io::Error) -> FileError {
    let FileError { kind, text, .. } = FileError::from_io(error);
    fault(kind, name, &text)
}

/// What is wrong with a file, with its name.
pub(super) fn fault(kind: FileErrorKind, name: &FileName, text: &str) -> FileError {
    FileError::new(kind, format_args!("{name}: {text}"))
}
