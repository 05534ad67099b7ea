//! Files that have come whole are put in their places, so that they are still there after a crash.

use super::place::Place;
use super::slot::Slot;
use crate::files::error::FileError;
use longshore_base::FileName;
use longshore_proto::transfer::Digest;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

/// So many files of one store, or more, have their disk write all at once first.
const MANY: usize = 9;

/// A file on its way, or what became of it.
type Step = Result<Slot, FileError>;

/// Puts each file in its place, if it has that digest: all are synced, then renamed, then each folder is
/// synced once. What became of each, in the order of `slots`.
pub(super) fn store_all(slots: Vec<(Slot, Digest)>) -> Vec<Result<FileName, FileError>> {
    let checked = slots.into_iter().map(|(mut slot, digest)| {
        slot.check(&digest)?;
        Ok(slot)
    });
    let checked: Vec<Step> = checked.collect();
    write_many(&checked);
    let renamed = checked.into_iter().map(|step| {
        let mut slot = step?;
        slot.sync()?;
        Ok(slot)
    });
    // All are synced before the first one has its name.
    let synced: Vec<Step> = renamed.collect();
    let renamed = synced.into_iter().map(|step| {
        let mut slot = step?;
        slot.rename()?;
        Ok(slot)
    });
    let renamed: Vec<Step> = renamed.collect();
    let folders = sync_folders(&renamed);
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

/// Has the disk write many files in one go, where there is a call for that, so that it does not have to
/// be waited for each. A head start and no more: not every system tells whether that went well, and who
/// else asks may be told instead. So each file is asked for all the same.
fn write_many(steps: &[Step]) {
    let mut places: BTreeMap<usize, (&Arc<Place>, usize)> = BTreeMap::new();
    for slot in steps.iter().flatten() {
        let place = slot.place();
        places.entry(key(place)).or_insert((place, 0)).1 += 1;
    }
    for (place, count) in places.values() {
        if *count >= MANY {
            place.folder.sync_all().ok();
        }
    }
}

/// Syncs each folder of these files once, and those above. How that went.
fn sync_folders(steps: &[Step]) -> BTreeMap<(usize, Option<FileName>), io::Result<()>> {
    let mut synced = BTreeMap::new();
    for slot in steps.iter().flatten() {
        let place = slot.place();
        for folder in slot.folders() {
            synced
                .entry((key(place), folder.clone()))
                .or_insert_with(|| place.folder.sync_folder(folder.as_ref()));
        }
    }
    synced
}

/// Tells one place from another as long as both are there.
fn key(place: &Arc<Place>) -> usize {
    Arc::as_ptr(place) as usize
}
