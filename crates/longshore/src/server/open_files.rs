//! Files that peers make a server open, of all connections together: the descriptors are those that
//! connections leave, and no source has more than half of them.

use super::source::source_of;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many, where nobody tells how many descriptors there are.
pub(crate) const OPEN_FILES: usize = 4096;

#[derive(Debug)]
pub(crate) struct OpenFiles {
    max: usize,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    /// None that has none.
    sources: BTreeMap<IpAddr, usize>,
}

/// A file may be open. Dropped, it gives its place on.
#[derive(Debug)]
pub(crate) struct MayOpen {
    files: Arc<OpenFiles>,
    source: Option<IpAddr>,
}

impl OpenFiles {
    /// At most so many, and one at least.
    pub(crate) fn new(max: usize) -> Self {
        Self { max: max.max(1), counts: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for one more that a peer of that address wants open, if there is one.
    pub(crate) fn take(self: &Arc<Self>, peer: Option<IpAddr>) -> Option<MayOpen> {
        let source = peer.map(source_of);
        let mut counts = self.lock();
        let of_source = source.and_then(|source| counts.sources.get(&source).copied()).unwrap_or(0);
        let each = if source.is_some() { self.max.div_ceil(2) } else { self.max };
        if counts.all >= self.max || of_source >= each {
            return None;
        }
        counts.all += 1;
        if let Some(source) = source {
            counts.sources.insert(source, of_source + 1);
        }
        drop(counts);
        Some(MayOpen { files: Arc::clone(self), source })
    }
}

impl Drop for MayOpen {
    fn drop(&mut self) {
        let mut counts = self.files.lock();
        counts.all -= 1;
        let Some(source) = self.source else { return };
        if let Some(count) = counts.sources.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                counts.sources.remove(&source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_source_has_half_and_all_have_no_more_than_there_are() {
        let files = Arc::new(OpenFiles::new(5));
        let ip = |last| Some(IpAddr::from([10, 0, 0, last]));
        let mut first: Vec<_> = (0..3).map(|_| files.take(ip(1)).unwrap()).collect();
        assert!(files.take(ip(1)).is_none(), "the half of five is three");
        let second: Vec<_> = (0..2).map(|_| files.take(ip(2)).unwrap()).collect();
        assert!(files.take(ip(2)).is_none() && files.take(None).is_none(), "five are all");
        first.pop();
        assert!(files.take(ip(1)).is_some() && files.take(None).is_some());
        drop((first, second));
        let counts = files.lock();
        assert!(counts.all == 0 && counts.sources.is_empty());
    }
}
