//! What a simulated disk holds: files and folders, and how they become durable or are lost.

use super::changes::{Bytes, Change, Step};
use longshore_base::{FileName, SplitMix64};
use longshore_port::{Entry, FileFacts, FileKind};
use std::collections::{BTreeMap, BTreeSet};
use std::io;

/// Most bytes of a file.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// Bytes that are told as free where nobody has set a capacity.
const FREE_BYTES: u64 = 1 << 40;

/// The root, which is always there.
pub(super) const ROOT: u64 = 0;

#[derive(Debug)]
pub(super) struct State {
    pub(super) chance: SplitMix64,
    pub(super) nodes: BTreeMap<u64, Node>,
    pub(super) next_node: u64,
    /// Changes of folders that are not durable, in order.
    pub(super) steps: Vec<Step>,
    /// Nanoseconds.
    pub(super) now: i128,
    /// How often it has crashed: what was opened before is of no use.
    pub(super) crashes: u64,
    pub(super) operations: u64,
    pub(super) crash_at: Option<u64>,
    pub(super) is_dead: bool,
    pub(super) capacity: Option<u64>,
    pub(super) short: bool,
    pub(super) failing_syncs: u64,
    pub(super) failing_writes: Option<io::ErrorKind>,
}

/// A file or a folder.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) modified: i128,
    pub(super) changed: i128,
    /// Whether it has a name, as far as the cache knows.
    pub(super) has_name: bool,
    /// Handles to it.
    pub(super) handles: usize,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    File(Bytes),
    Folder(Names),
}

#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) cache: BTreeMap<String, u64>,
    pub(super) disk: BTreeMap<String, u64>,
}

impl State {
    pub(super) fn new(seed: u64) -> Self {
        let root = What::Folder(Names::default());
        let root = Node { modified: 0, changed: 0, has_name: true, handles: 0, what: root };
        Self {
            chance: SplitMix64::new(seed),
            nodes: BTreeMap::from([(ROOT, root)]),
            next_node: ROOT + 1,
            steps: Vec::new(),
            now: 0,
            crashes: 0,
            operations: 0,
            crash_at: None,
            is_dead: false,
            capacity: None,
            short: false,
            failing_syncs: 0,
            failing_writes: None,
        }
    }

    /// A file with these bytes and all that leads to it, durable.
    pub(super) fn put(&mut self, name: &FileName, bytes: Vec<u8>) -> io::Result<()> {
        if let Some(folder) = name.parent() {
            self.make_folders(&folder)?;
        }
        if self.find(name).is_ok() {
            self.remove(name)?;
        }
        let folder = self.within(name)?;
        let disk = bytes.clone();
        let bytes = Bytes { cache: bytes, disk, changes: Vec::new() };
        let mut needed = BTreeSet::from([self.add(folder, name.last(), What::File(bytes))?]);
        let mut above = name.parent();
        while let Some(folder) = above {
            needed.insert(self.find(&folder)?);
            above = folder.parent();
        }
        self.settle(|step| step.puts.as_ref().is_some_and(|(.., node)| needed.contains(node)));
        Ok(())
    }

    /// Changes the bytes of a file, cache and disk.
    pub(super) fn alter(&mut self, node: u64, alter: impl FnOnce(&mut Vec<u8>)) {
        let file = self.file(node);
        alter(&mut file.cache);
        file.disk.clone_from(&file.cache);
        file.changes.clear();
        self.touch(node);
    }

    /// The bytes of a file that is one.
    pub(super) fn bytes(&self, node: u64) -> Option<&[u8]> {
        match &self.nodes.get(&node)?.what {
            What::File(file) => Some(&file.cache),
            What::Folder(_) => None,
        }
    }

    /// The names of all files, in order.
    pub(super) fn all_names(&self) -> Vec<FileName> {
        let (mut names, mut folders) = (Vec::new(), vec![(None, ROOT)]);
        while let Some((folder, node)) = folders.pop() {
            let Some(Node { what: What::Folder(entries), .. }) = self.nodes.get(&node) else {
                continue;
            };
            for (last, node) in &entries.cache {
                // It was made by such a name.
                let Ok(name) = FileName::listed(folder.as_ref(), last) else { continue };
                if self.is_folder(*node) {
                    folders.push((Some(name), *node));
                } else {
                    names.push(name);
                }
            }
        }
        names.sort();
        names
    }

    fn is_folder(&self, node: u64) -> bool {
        matches!(self.nodes.get(&node), Some(Node { what: What::Folder(_), .. }))
    }

    /// The bytes of a file that is there.
    pub(super) fn file(&mut self, node: u64) -> &mut Bytes {
        match self.nodes.get_mut(&node).map(|node| &mut node.what) {
            Some(What::File(bytes)) => bytes,
            _ => unreachable!("nodes that have a handle are kept"),
        }
    }

    /// The names in a folder.
    fn names(&mut self, node: u64) -> io::Result<&mut Names> {
        match self.nodes.get_mut(&node).map(|node| &mut node.what) {
            Some(What::Folder(names)) => Ok(names),
            Some(What::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn find(&self, name: &FileName) -> io::Result<u64> {
        name.parts().try_fold(ROOT, |at, part| match &self.nodes[&at].what {
            What::Folder(names) => {
                names.cache.get(part).copied().ok_or(io::ErrorKind::NotFound.into())
            }
            What::File(_) => Err(io::ErrorKind::NotADirectory.into()),
        })
    }

    /// The folder of a name.
    fn within(&self, name: &FileName) -> io::Result<u64> {
        let folder = name.parent().map_or(Ok(ROOT), |folder| self.find(&folder))?;
        if self.is_folder(folder) { Ok(folder) } else { Err(io::ErrorKind::NotADirectory.into()) }
    }

    /// A folder, or the root.
    pub(super) fn folder(&self, name: Option<&FileName>) -> io::Result<u64> {
        let node = name.map_or(Ok(ROOT), |name| self.find(name))?;
        if self.is_folder(node) { Ok(node) } else { Err(io::ErrorKind::NotADirectory.into()) }
    }

    /// Something has changed.
    fn touch(&mut self, node: u64) {
        self.now += 1_000;
        if let Some(node) = self.nodes.get_mut(&node) {
            (node.modified, node.changed) = (self.now, self.now);
        }
    }

    /// It is told to have been changed then.
    pub(super) fn set_modified(&mut self, node: u64, nanos: u64) {
        self.touch(node);
        if let Some(node) = self.nodes.get_mut(&node) {
            node.modified = nanos.into();
        }
    }

    /// A new file or folder under a name that is free.
    fn add(&mut self, folder: u64, last: &str, what: What) -> io::Result<u64> {
        let node = self.next_node;
        let names = self.names(folder)?;
        if names.cache.contains_key(last) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        names.cache.insert(last.to_owned(), node);
        self.next_node += 1;
        let made = Node { modified: 0, changed: 0, has_name: true, handles: 0, what };
        self.nodes.insert(node, made);
        self.steps.push(Step { takes: None, puts: Some((folder, last.to_owned(), node)) });
        self.touch(folder);
        self.touch(node);
        Ok(node)
    }

    pub(super) fn create(&mut self, name: &FileName) -> io::Result<u64> {
        if let Some(kind) = self.failing_writes {
            return Err(kind.into());
        }
        let folder = self.within(name)?;
        self.add(folder, name.last(), What::File(Bytes::default()))
    }

    /// A file that is there.
    pub(super) fn open(&self, name: &FileName) -> io::Result<u64> {
        let node = self.find(name)?;
        if self.is_folder(node) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        Ok(node)
    }

    pub(super) fn make_folders(&mut self, name: &FileName) -> io::Result<()> {
        let mut at = ROOT;
        for part in name.parts() {
            at = match self.names(at)?.cache.get(part) {
                Some(there) => *there,
                None => self.add(at, part, What::Folder(Names::default()))?,
            };
        }
        self.names(at).map(|_| ())
    }

    pub(super) fn rename(
        &mut self,
        from: &FileName,
        to: &FileName,
        replace: bool,
    ) -> io::Result<()> {
        let (node, old, new) = (self.find(from)?, self.within(from)?, self.within(to)?);
        let replaced = self.names(new)?.cache.get(to.last()).copied();
        if replaced.is_some() && !replace {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if replaced == Some(node) {
            return Ok(());
        }
        match replaced.map(|replaced| self.is_folder(replaced)) {
            Some(true) => return Err(io::ErrorKind::IsADirectory.into()),
            Some(false) if self.is_folder(node) => return Err(io::ErrorKind::NotADirectory.into()),
            _ => {}
        }
        if to.as_str().strip_prefix(from.as_str()).is_some_and(|rest| rest.starts_with('/')) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "into itself"));
        }
        self.names(old)?.cache.remove(from.last());
        self.names(new)?.cache.insert(to.last().to_owned(), node);
        self.steps.push(Step {
            takes: Some((old, from.last().to_owned())),
            puts: Some((new, to.last().to_owned(), node)),
        });
        self.touch(old);
        self.touch(new);
        if let Some(replaced) = replaced.and_then(|replaced| self.nodes.get_mut(&replaced)) {
            replaced.has_name = false;
        }
        if let Some(node) = self.nodes.get_mut(&node) {
            node.changed = self.now;
        }
        Ok(())
    }

    pub(super) fn remove(&mut self, name: &FileName) -> io::Result<()> {
        let (node, folder) = (self.find(name)?, self.within(name)?);
        if self.is_folder(node) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        self.names(folder)?.cache.remove(name.last());
        self.steps.push(Step { takes: Some((folder, name.last().to_owned())), puts: None });
        self.touch(folder);
        if let Some(node) = self.nodes.get_mut(&node) {
            node.has_name = false;
        }
        Ok(())
    }

    pub(super) fn list(
        &self,
        folder: Option<&FileName>,
        after: &str,
        most: usize,
    ) -> io::Result<Vec<Entry>> {
        let node = self.folder(folder)?;
        let What::Folder(names) = &self.nodes[&node].what else { return Ok(Vec::new()) };
        let entry =
            |(name, node): (&String, &u64)| Entry { name: name.clone(), facts: self.facts(*node) };
        let behind = names.cache.iter().filter(|(name, _)| name.as_str() > after);
        Ok(behind.take(most).map(entry).collect())
    }

    pub(super) fn facts(&self, number: u64) -> FileFacts {
        let node = &self.nodes[&number];
        let (kind, bytes) = match &node.what {
            What::File(bytes) => (FileKind::Regular, bytes.cache.len() as u64),
            What::Folder(_) => (FileKind::Folder, 0),
        };
        let (modified, changed) = (node.modified, node.changed);
        FileFacts { kind, bytes, modified, changed, identity: (0, number.into()) }
    }

    /// Bytes that may still be written.
    pub(super) fn free_bytes(&self) -> u64 {
        let Some(capacity) = self.capacity else { return FREE_BYTES };
        let is_kept = |node: &&Node| node.has_name || node.handles > 0;
        let taken = self.nodes.values().filter(is_kept).map(|node| match &node.what {
            What::File(bytes) => bytes.cache.len() as u64,
            What::Folder(_) => 0,
        });
        capacity.saturating_sub(taken.sum())
    }

    /// How many of so many bytes are read or written by one call.
    fn some_of(&mut self, len: usize) -> usize {
        let is_short = self.short && len > 1 && self.chance.one_in(3);
        if is_short { 1 + self.chance.below(len - 1) } else { len }
    }

    pub(super) fn read(&mut self, node: u64, into: &mut [u8], offset: u64) -> usize {
        let len = self.file(node).cache.len();
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(len);
        let count = self.some_of(into.len().min(len - from));
        into[..count].copy_from_slice(&self.file(node).cache[from..from + count]);
        count
    }

    pub(super) fn write(&mut self, node: u64, bytes: &[u8], offset: u64) -> io::Result<usize> {
        if let Some(kind) = self.failing_writes {
            return Err(kind.into());
        }
        if bytes.is_empty() {
            return Ok(0);
        }
        let len = self.file(node).cache.len() as u64;
        let room = self.free_bytes();
        let end = len.saturating_add(room).min(FILE_BYTES_MAX).saturating_sub(offset);
        let most = bytes.len().min(usize::try_from(end).unwrap_or(usize::MAX));
        if most == 0 {
            let is_large = offset >= FILE_BYTES_MAX;
            let why =
                if is_large { io::ErrorKind::FileTooLarge } else { io::ErrorKind::StorageFull };
            return Err(why.into());
        }
        let count = self.some_of(most);
        let at = usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge)?;
        self.file(node).change(Change::Write { at, bytes: bytes[..count].to_vec() });
        self.touch(node);
        Ok(count)
    }

    pub(super) fn set_len(&mut self, node: u64, len: u64) -> io::Result<()> {
        if let Some(kind) = self.failing_writes {
            return Err(kind.into());
        }
        if len > FILE_BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let more = len.saturating_sub(self.file(node).cache.len() as u64);
        if more > self.free_bytes() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let len = usize::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?;
        self.file(node).change(Change::Len(len));
        self.touch(node);
        Ok(())
    }
}

/// What becomes durable, and what does not.
impl State {
    /// Whether a sync fails.
    fn fails(&mut self) -> bool {
        let fails = self.failing_syncs > 0;
        self.failing_syncs -= u64::from(fails);
        fails
    }

    pub(super) fn sync_file(&mut self, node: u64) -> io::Result<()> {
        if self.fails() {
            let mut chance = SplitMix64::new(self.chance.next_u64());
            self.file(node).sync_in_vain(&mut chance);
            return Err(io::Error::other("the disk did not take it"));
        }
        self.file(node).sync();
        Ok(())
    }

    pub(super) fn sync_folder(&mut self, folder: u64) -> io::Result<()> {
        if self.fails() {
            return Err(io::Error::other("the disk did not take it"));
        }
        self.settle(|step| step.folder() == folder);
        Ok(())
    }

    pub(super) fn sync_all(&mut self) -> io::Result<()> {
        if self.fails() {
            return Err(io::Error::other("the disk did not take it"));
        }
        for node in self.nodes.values_mut() {
            if let What::File(bytes) = &mut node.what {
                bytes.sync();
            }
        }
        self.settle(|_| true);
        Ok(())
    }

    /// Makes steps durable: those that are wanted, and earlier ones about the same names.
    pub(super) fn settle(&mut self, wanted: impl Fn(&Step) -> bool) {
        let mut names = BTreeSet::new();
        let mut settled = Vec::new();
        for at in (0..self.steps.len()).rev() {
            let step = &self.steps[at];
            if wanted(step) || step.names().any(|name| names.contains(&name)) {
                names.extend(step.names());
                settled.push(self.steps.remove(at));
            }
        }
        settled.into_iter().rev().for_each(|step| self.apply(step));
    }

    fn apply(&mut self, step: Step) {
        let mut unnamed = None;
        if let Some((folder, name)) = step.takes {
            unnamed = self.names(folder).ok().and_then(|names| names.disk.remove(&name));
        }
        if let Some((folder, name, node)) = step.puts {
            let replaced = self.names(folder).ok().and_then(|names| names.disk.insert(name, node));
            unnamed = replaced.or(unnamed.filter(|unnamed| *unnamed != node));
        }
        let waits = |node| {
            let mut put = self.steps.iter().filter_map(|step| step.puts.as_ref());
            put.any(|(.., of)| *of == node)
        };
        let Some(unnamed) = unnamed.filter(|node| !waits(*node)) else { return };
        let is_gone = |node: &Node| !node.has_name && node.handles == 0;
        if self.nodes.get(&unnamed).is_some_and(is_gone) {
            self.nodes.remove(&unnamed);
        }
    }

    /// The power goes and comes back.
    pub(super) fn crash(&mut self) {
        self.crashes += 1;
        let mut chance = SplitMix64::new(self.chance.next_u64());
        let mut lost = BTreeSet::new();
        for step in std::mem::take(&mut self.steps) {
            // What was done later under a name is lost with what was done before.
            let follows = step.names().any(|name| lost.contains(&name));
            if follows || chance.one_in(2) {
                lost.extend(step.names());
            } else {
                self.apply(step);
            }
        }
        let (mut found, mut folders) = (BTreeSet::from([ROOT]), vec![ROOT]);
        while let Some(folder) = folders.pop() {
            let Ok(names) = self.names(folder) else { continue };
            names.cache = names.disk.clone();
            let there: Vec<_> = names.disk.values().copied().collect();
            found.extend(&there);
            folders.extend(there.into_iter().filter(|node| self.is_folder(*node)));
        }
        self.nodes.retain(|node, _| found.contains(node));
        for node in self.nodes.values_mut() {
            (node.has_name, node.handles) = (true, 0);
            if let What::File(bytes) = &mut node.what {
                bytes.crash(&mut chance);
            }
        }
    }
}
