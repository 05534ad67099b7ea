//! What was done to files and folders and is not durable yet.

use longshore_base::SplitMix64;

/// What was done to the bytes of a file.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// These bytes at this place.
    Write { at: usize, bytes: Vec<u8> },
    /// It is so long.
    Len(usize),
}

/// What was done to folders, as one: a name was taken away, or put somewhere, or both.
#[derive(Debug)]
pub(super) struct Step {
    /// Folder and name.
    pub(super) takes: Option<(u64, String)>,
    /// Folder, name, and what it is the name of.
    pub(super) puts: Option<(u64, String, u64)>,
}

impl Step {
    /// The names that it is about.
    pub(super) fn names(&self) -> impl Iterator<Item = (u64, String)> {
        let put = self.puts.as_ref().map(|(folder, name, _)| (*folder, name.clone()));
        self.takes.iter().cloned().chain(put)
    }

    /// The folder with which it is synced.
    pub(super) fn folder(&self) -> u64 {
        let taken = self.takes.as_ref().map(|(folder, _)| *folder);
        self.puts.as_ref().map(|(folder, ..)| *folder).or(taken).unwrap_or_default()
    }
}

impl Change {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Self::Write { at, bytes } => {
                let end = at + bytes.len();
                to.resize(to.len().max(end), 0);
                to[*at..end].copy_from_slice(bytes);
            }
            Self::Len(len) => to.resize(*len, 0),
        }
    }

    /// A part of it, in pieces of one size. Where bytes are lost, the file may be as long all the same.
    fn tear(&self, to: &mut Vec<u8>, chance: &mut SplitMix64) {
        let Self::Write { at, bytes } = self else { return };
        let piece = [1, 16, 512, 4_096][chance.below(4)];
        if chance.one_in(2) {
            to.resize(to.len().max(at + bytes.len()), 0);
        }
        for (number, bytes) in bytes.chunks(piece).enumerate() {
            if chance.one_in(2) {
                Self::Write { at: at + number * piece, bytes: bytes.to_vec() }.apply(to);
            }
        }
    }
}

/// The bytes of a file.
#[derive(Debug, Default)]
pub(super) struct Bytes {
    /// As who reads it gets them.
    pub(super) cache: Vec<u8>,
    /// Those that are durable.
    pub(super) disk: Vec<u8>,
    /// Changes that are not durable, in order.
    pub(super) changes: Vec<Change>,
}

impl Bytes {
    pub(super) fn change(&mut self, change: Change) {
        change.apply(&mut self.cache);
        self.changes.push(change);
    }

    pub(super) fn sync(&mut self) {
        for change in self.changes.drain(..) {
            change.apply(&mut self.disk);
        }
    }

    /// A sync fails: what it had to write counts as written, as the systems do, and may not be.
    pub(super) fn sync_in_vain(&mut self, chance: &mut SplitMix64) {
        self.changes.retain(|_| !chance.one_in(2));
    }

    pub(super) fn crash(&mut self, chance: &mut SplitMix64) {
        for change in self.changes.drain(..) {
            match chance.below(3) {
                0 => change.apply(&mut self.disk),
                1 => change.tear(&mut self.disk, chance),
                _ => {}
            }
        }
        self.cache.clone_from(&self.disk);
    }
}
