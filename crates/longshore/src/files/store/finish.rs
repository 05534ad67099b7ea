//! Files that have come whole are put in their places, so that they are still there after a crash.

use super::near::Near;
use super::place::Place;
use super::slot::Slot;
use crate::files::error::FileError;
use longshore_base::FileName;
use longshore_proto::transfer::Digest;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

/// So many files of one store, or more, have their disk synced at once.
const MANY: usize = 9;

/// A file on its way, or what became of it.
type Step = Result<Slot, FileError>;

/// Puts each file in its place, if it has that digest: all are synced, then renamed, then their folders are
/// synced. What became of each, in the order of `slots`.
pub(super) fn store_all(slots: Vec<(Slot, Digest)>) -> Vec<Result<FileName, FileError>> {
    let checked = slots.into_iter().map(|(mut slot, digest)| {
        slot.check(&digest)?;
        Ok(slot)
    });
    let checked: Vec<Step> = checked.collect();
    let at_once = sync_many(&checked);
    let synced = checked.into_iter().map(|step| {
        let mut slot = step?;
        if !at_once.contains(&key(slot.place())) {
            slot.sync()?;
        }
        Ok(slot)
    });
    // All are synced before the first one has its name.
    let synced: Vec<Step> = synced.collect();
    let mut near = Near::default();
    let renamed = synced.into_iter().map(|step| {
        let mut slot = step?;
        slot.rename(&mut near)?;
        Ok(slot)
    });
    let renamed: Vec<Step> = renamed.collect();
    let named = sync_many(&renamed);
    let folders = sync_folders(&renamed, &named);
    let told = renamed.into_iter().map(|step| {
        let slot = step?;
        let place = key(slot.place());
        let of = slot.folders().into_iter();
        let mut errors = of.filter_map(|folder| folders.get(&(place, folder))?.as_ref().err());
        match errors.next() {
            Some(error) => Err(slot.unnamed(error)),
            None => Ok(slot.stored()),
        }
    });
    told.collect()
}

/// Syncs the disks of places with many files of these at once, where a system can do that and is sure of
/// it: those places. A disk that is waited for once for each file takes seconds for what it could do in
/// one go.
fn sync_many(steps: &[Step]) -> BTreeSet<usize> {
    let mut places: BTreeMap<usize, (&Arc<Place>, usize, u64)> = BTreeMap::new();
    for slot in steps.iter().flatten() {
        let place = slot.place();
        let (_, count, before) = places.entry(key(place)).or_insert((place, 0, u64::MAX));
        *count += 1;
        *before = slot.failed_syncs().min(*before);
    }
    let many = places.into_iter().filter(|(_, (_, count, _))| *count >= MANY);
    many.filter(|(_, (place, _, before))| place.sync_all(*before)).map(|(key, _)| key).collect()
}

/// Syncs each folder of these files once, and those above, but of places that are synced. How that went.
fn sync_folders(
    steps: &[Step],
    synced: &BTreeSet<usize>,
) -> BTreeMap<(usize, Option<FileName>), io::Result<()>> {
    let mut folders = BTreeMap::new();
    let slots = steps.iter().flatten();
    for slot in slots.filter(|slot| !synced.contains(&key(slot.place()))) {
        let place = slot.place();
        for folder in slot.folders() {
            folders
                .entry((key(place), folder.clone()))
                .or_insert_with(|| place.folder.sync_folder(folder.as_ref()));
        }
    }
    folders
}

/// Tells one place from another as long as both are there.
fn key(place: &Arc<Place>) -> usize {
    Arc::as_ptr(place) as usize
}
