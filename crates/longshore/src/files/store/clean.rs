//! Partials that nobody came back for.

use super::place::{Place, is_missing, named};
use crate::files::error::FileError;
use longshore_base::FileName;
use longshore_port::{FileFacts, FileKind};
use longshore_proto::transfer::FileErrorKind;
use std::io;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// Names the file whose time is read. Partials have numbers out of a hash.
const CLOCK_NUMBER: u64 = 0;

/// Removes partials that are older than `keep` and not at work; all if it is zero. How many.
pub(super) fn clean(place: &Arc<Place>, keep: Duration) -> Result<usize, FileError> {
    let mut partials = Vec::new();
    place.walk(|name, facts| {
        if name.is_temporary() && facts.kind == FileKind::Regular {
            partials.push(name.clone());
        }
        Ok(())
    })?;
    if partials.is_empty() {
        return Ok(0);
    }
    let now = now(place)?;
    let mut removed = 0;
    for name in partials {
        // Held before it is looked at again: nobody goes on with it between the look and the end.
        let Some(_held) = place.hold([&name]) else { continue };
        let Some(facts) = place.facts(&name)? else { continue };
        if facts.kind == FileKind::Regular && is_older(&facts, keep, now) {
            removed += usize::from(remove(place, &name, facts.bytes)?);
        }
    }
    Ok(removed)
}

/// Whether a partial was changed last longer ago than that.
pub(super) fn is_older(facts: &FileFacts, keep: Duration, now: i128) -> bool {
    let keep = i128::try_from(keep.as_nanos()).unwrap_or(i128::MAX);
    keep == 0 || now.saturating_sub(facts.modified) > keep
}

/// Removes a partial that is held; whether it was there.
pub(super) fn remove(place: &Place, name: &FileName, bytes: u64) -> Result<bool, FileError> {
    match place.folder.remove(name) {
        Ok(()) => {
            place.quota.forget(bytes);
            Ok(true)
        }
        Err(error) if is_missing(&error) => Ok(false),
        Err(error) => Err(named(name, &error)),
    }
}

/// The time of the file system, as a file that is made now has it.
pub(super) fn now(place: &Place) -> Result<i128, FileError> {
    let _alone = place.looking.lock().unwrap_or_else(PoisonError::into_inner);
    let clock = FileName::listed(None, "clock");
    let clock = clock.map_err(|bad| FileError::new(FileErrorKind::BadName, bad))?;
    let clock = clock.temporary(CLOCK_NUMBER);
    let failed = |error: io::Error| named(&clock, &error);
    // A crash may have left one.
    match place.folder.remove(&clock) {
        Err(error) if !is_missing(&error) => return Err(failed(error)),
        _ => {}
    }
    let file = place.folder.create(&clock).map_err(failed)?;
    let facts = file.facts();
    drop(file);
    place.folder.remove(&clock).map_err(failed)?;
    Ok(facts.map_err(failed)?.modified)
}
