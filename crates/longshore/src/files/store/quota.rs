//! What may lie in a store, in all and of one source address: counted before it is written.

use crate::files::error::FileError;
use crate::server::source::source_of;
use longshore_proto::transfer::FileErrorKind;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Most source addresses that are counted at a time.
const SOURCES_MAX: usize = 65_536;

/// The counts of one store.
#[derive(Debug, Default)]
pub(super) struct Quota(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    /// What lies there, and what was claimed; none before somebody has looked what lies there.
    taken: Option<Taken>,
    /// Claims there are, and how many there were in all.
    claims: u64,
    claimed: u64,
    /// What each source has brought more than it has replaced, and what it has claimed. None that has
    /// nothing.
    sources: BTreeMap<IpAddr, u64>,
}

/// What lies in a store.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Taken {
    pub(super) bytes: u64,
    /// Files and folders.
    pub(super) entries: u64,
}

/// What is to be claimed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    pub(super) peer: Option<IpAddr>,
    /// How long the file will be.
    pub(super) bytes: u64,
    /// What of it lies there already.
    pub(super) had: u64,
    /// How long the file is that it replaces.
    pub(super) replaces: Option<u64>,
    /// Files and folders that are to be made: the partial, unless there is one, and those that it is to
    /// lie in.
    pub(super) entries: u64,
    /// The limits.
    pub(super) store_bytes_max: u64,
    pub(super) store_entries_max: u64,
    pub(super) peer_bytes_max: u64,
}

/// Room for one file. Dropped, it counts what lies there then, and no more.
#[derive(Debug)]
pub(super) struct Claim {
    quota: Arc<Quota>,
    source: Option<IpAddr>,
    /// What was counted for it in the store.
    charged: u64,
    /// What was counted for it of its source.
    missing: u64,
    had: u64,
    replaces: Option<u64>,
    store_bytes_max: u64,
    /// How much of the file lies there now.
    lies: u64,
    is_stored: bool,
}

impl Quota {
    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has `look` tell what lies there, if nobody knows. Others wait meanwhile.
    pub(super) fn count_once(
        &self,
        look: impl FnOnce() -> Result<Taken, FileError>,
    ) -> Result<(), FileError> {
        let mut counts = self.lock();
        if counts.taken.is_none() {
            counts.taken = Some(look()?);
        }
        Ok(())
    }

    /// The same again, for what others have done there: unless something is received meanwhile, as nobody
    /// could tell which of it was seen.
    pub(super) fn recount(
        &self,
        look: impl FnOnce() -> Result<Taken, FileError>,
    ) -> Result<(), FileError> {
        let still = |counts: &Counts| (counts.claims == 0).then_some(counts.claimed);
        let Some(before) = still(&self.lock()) else { return Ok(()) };
        let seen = look()?;
        let mut counts = self.lock();
        if still(&counts) == Some(before) {
            counts.taken = Some(seen);
        }
        Ok(())
    }

    /// A partial is gone, which nobody had a claim on.
    pub(super) fn forget(&self, bytes: u64) {
        let mut counts = self.lock();
        if let Some(taken) = &mut counts.taken {
            taken.bytes = taken.bytes.saturating_sub(bytes);
            taken.entries = taken.entries.saturating_sub(1);
        }
    }

    /// Whether there would be room for a file.
    pub(super) fn look(&self, wish: &Wish) -> Result<(), FileError> {
        self.lock().judge(wish).map(|_| ())
    }

    /// Room for a file: all that it will need, at once.
    pub(super) fn claim(self: &Arc<Self>, wish: &Wish) -> Result<Claim, FileError> {
        let mut counts = self.lock();
        let charge = counts.judge(wish)?;
        counts.taken = Some(charge.taken);
        counts.claims += 1;
        counts.claimed += 1;
        if let Some((source, brought)) = charge.source.filter(|_| charge.missing > 0) {
            counts.sources.insert(source, brought);
        }
        drop(counts);
        Ok(Claim {
            quota: self.clone(),
            source: charge.source.map(|(source, _)| source),
            charged: charge.charged,
            missing: charge.missing,
            had: wish.had,
            replaces: wish.replaces,
            store_bytes_max: wish.store_bytes_max,
            lies: wish.had,
            is_stored: false,
        })
    }
}

#[cfg(test)]
impl Quota {
    /// What is counted in the store.
    pub(super) fn taken(&self) -> u64 {
        self.lock().taken.unwrap_or_default().bytes
    }

    /// How many files and folders are.
    pub(super) fn entries(&self) -> u64 {
        self.lock().taken.unwrap_or_default().entries
    }

    /// What is counted of a source.
    pub(super) fn brought(&self, peer: Option<IpAddr>) -> u64 {
        let source = source_of(peer.expect("a source"));
        self.lock().sources.get(&source).copied().unwrap_or(0)
    }

    /// How many sources are counted.
    pub(super) fn sources(&self) -> usize {
        self.lock().sources.len()
    }
}

/// What a claim would come to.
struct Charge {
    charged: u64,
    missing: u64,
    /// What would be taken then.
    taken: Taken,
    /// Who would have brought how much then.
    source: Option<(IpAddr, u64)>,
}

impl Counts {
    fn judge(&self, wish: &Wish) -> Result<Charge, FileError> {
        let Wish { bytes, had, replaces, store_bytes_max, peer_bytes_max, .. } = *wish;
        let charged = bytes.saturating_sub(replaces.unwrap_or(0));
        let missing = charged.saturating_sub(had);
        let source = wish.peer.map(source_of);
        let before = self.taken.unwrap_or_default();
        let others = before.bytes.saturating_sub(had);
        let taken = Taken {
            bytes: others.saturating_add(charged),
            entries: before.entries.saturating_add(wish.entries),
        };
        if taken.bytes > store_bytes_max {
            let text = format_args!(
                "{bytes} bytes, the store has {others} of {store_bytes_max} without them"
            );
            return Err(FileError::new(FileErrorKind::StoreFull, text));
        }
        if wish.entries > 0 && taken.entries > wish.store_entries_max {
            let (has, most) = (before.entries, wish.store_entries_max);
            let text = format_args!("the store has {has} files and folders, at most {most}");
            return Err(FileError::new(FileErrorKind::StoreFull, text));
        }
        let source = source.map(|source| self.judge_source(source, missing, peer_bytes_max));
        Ok(Charge { charged, missing, taken, source: source.transpose()? })
    }

    fn judge_source(
        &self,
        source: IpAddr,
        missing: u64,
        most: u64,
    ) -> Result<(IpAddr, u64), FileError> {
        let has = self.sources.get(&source).copied();
        let brought = has.unwrap_or(0).saturating_add(missing);
        if brought > most {
            let has = has.unwrap_or(0);
            let text = format_args!("{missing} bytes, {source} has brought {has} of {most}");
            return Err(FileError::new(FileErrorKind::StoreFull, text));
        }
        if has.is_none() && missing > 0 && self.sources.len() >= SOURCES_MAX {
            let text = format_args!("{SOURCES_MAX} addresses have brought files");
            return Err(FileError::new(FileErrorKind::Busy, text));
        }
        Ok((source, brought))
    }
}

impl Claim {
    /// So much of the file lies there now.
    pub(super) fn lies(&mut self, bytes: u64) {
        self.lies = bytes;
    }

    /// It lies there whole, in place of the one that it replaces.
    pub(super) fn stored(&mut self) {
        self.is_stored = true;
    }

    /// What lies there stays, if the store keeps to its limit then. Only of what was to replace a file
    /// there may be more than was claimed.
    pub(super) fn keep(&mut self) -> bool {
        let mut counts = self.quota.lock();
        let after = self.after(counts.taken.unwrap_or_default().bytes);
        if after > self.store_bytes_max {
            return false;
        }
        if let Some(taken) = &mut counts.taken {
            taken.bytes = after;
        }
        drop(counts);
        self.charged = self.lies;
        true
    }

    /// What is taken when this is over.
    fn after(&self, taken: u64) -> u64 {
        let replaced = self.replaces.filter(|_| self.is_stored).unwrap_or(0);
        taken.saturating_sub(self.charged).saturating_add(self.lies).saturating_sub(replaced)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut counts = self.quota.lock();
        counts.claims -= 1;
        let stays = self.is_stored || self.lies > 0;
        let gone = u64::from(!stays) + u64::from(self.is_stored && self.replaces.is_some());
        if let Some(taken) = &mut counts.taken {
            taken.bytes = self.after(taken.bytes);
            taken.entries = taken.entries.saturating_sub(gone);
        }
        let Some(source) = self.source else { return };
        let brought = self.lies.saturating_sub(self.had);
        let replaced = self.replaces.filter(|_| self.is_stored).unwrap_or(0);
        let shorter = replaced.saturating_sub(self.lies);
        let back = self.missing.saturating_sub(brought).saturating_add(shorter);
        if let Entry::Occupied(mut entry) = counts.sources.entry(source) {
            *entry.get_mut() -= back.min(*entry.get());
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}
