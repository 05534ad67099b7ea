//! A simulated disk: what is durable, what is not yet, and what a crash leaves of it.

mod changes;
mod state;

use longshore_base::FileName;
use longshore_port::{
    Entry, FileAccess, FileFacts, FileHandle, Folder, VirtualFile, VirtualFolder,
};
use state::State;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A simulated disk with one folder tree. Cloning shares it, from any thread.
///
/// It keeps what is durable apart from what is only in the cache of its system:
///
/// - The **bytes** of a file are durable when it was synced; its name is not meant.
/// - What was made, renamed and removed in a **folder** is durable when that folder was synced; of a
///   rename between two folders it is the new one. The bytes of its files are not meant.
///
/// After a [crash](SimDisk::crash) each write that was not durable is there, or lost, or torn, and each
/// change of a folder is there or lost, as chance has it. Only what was done under one name keeps its
/// order, and a rename is one change: there is the old name or the new one, never neither. A sync that
/// [fails](SimDisk::fail_sync) may have forgotten what was written before, so that a later one has
/// nothing of it to write.
///
/// Chance is that of its seed, and there is no clock: each change is a microsecond later than the last.
/// A file has at most 1 GiB.
///
/// ```
/// use longshore_base::FileName;
/// use longshore_sim::SimDisk;
///
/// let disk = SimDisk::new(7);
/// let name = FileName::parse("a").unwrap();
/// let (folder, temporary) = (disk.folder(), name.temporary(1));
/// let file = folder.create(&temporary)?;
/// file.write_at(b"whole", 0)?;
/// file.sync()?;
/// folder.rename(&temporary, &name, true)?;
/// folder.sync_folder(None)?;
/// disk.crash();
/// assert_eq!(disk.bytes(&name).unwrap(), b"whole");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct SimDisk(Arc<Mutex<State>>);

impl SimDisk {
    /// An empty disk, with the chance of `seed`.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State::new(seed))))
    }

    /// Its root. After a crash one needs a new one, as a process that starts again does.
    pub fn folder(&self) -> Folder {
        let crashes = self.lock().crashes;
        Folder::of_simulation(DiskFolder { disk: self.clone(), crashes })
    }

    /// From now on all files together have room for so many bytes. A write for which there is not
    /// enough ends short, the next one with `StorageFull`.
    pub fn capacity(&self, bytes: u64) {
        self.lock().capacity = Some(bytes);
    }

    /// Whether reads and writes end short, by chance. A first one does not.
    pub fn short(&self, short: bool) {
        self.lock().short = short;
    }

    /// The next `count` syncs fail, of files and folders alike.
    pub fn fail_sync(&self, count: u64) {
        self.lock().failing_syncs = count;
    }

    /// From now on all that writes to a file or makes one fails like that, until `None`.
    pub fn fail_writes(&self, kind: Option<io::ErrorKind>) {
        self.lock().failing_writes = kind;
    }

    /// How many operations there were: calls of folders and files, also those that failed.
    pub fn operations(&self) -> u64 {
        self.lock().operations
    }

    /// The power goes with the operation of this number, counted from 1 as
    /// [`operations`](Self::operations) does: by chance it happens or does not, it and all later ones
    /// fail, until [`restart`](Self::restart).
    pub fn crash_at(&self, operation: u64) {
        self.lock().crash_at = Some(operation);
    }

    /// The power has gone and comes back: what was not durable is kept, lost or torn. Folders and files
    /// of before fail from then on.
    pub fn crash(&self) {
        self.lock().crash();
    }

    /// A [crash](Self::crash), after which operations succeed again.
    pub fn restart(&self) {
        let mut state = self.lock();
        (state.crash_at, state.is_dead) = (None, false);
        state.crash();
    }

    /// A file with these bytes, durable at once, with the folders that it needs. If there is one, it is
    /// replaced. No operation.
    ///
    /// # Panics
    /// When a file is where a folder is needed, or a folder where the file is.
    pub fn put(&self, name: &FileName, bytes: impl Into<Vec<u8>>) {
        self.lock().put(name, bytes.into()).expect("nothing in the way");
    }

    /// The bytes of a file as who reads it gets them; `None` if there is none. No operation.
    pub fn bytes(&self, name: &FileName) -> Option<Vec<u8>> {
        let state = self.lock();
        state.bytes(state.find(name).ok()?).map(<[u8]>::to_vec)
    }

    /// The names of all files in order, temporary ones too. No operation.
    pub fn names(&self) -> Vec<FileName> {
        self.lock().all_names()
    }

    /// Makes a file so long, as somebody else may at any time: durable at once, no operation.
    ///
    /// # Panics
    /// When there is no such file.
    pub fn truncate(&self, name: &FileName, len: usize) {
        self.alter(name, |bytes| bytes.resize(len, 0));
    }

    /// Puts other bytes into a file that stays the same one: durable at once, no operation.
    ///
    /// # Panics
    /// When there is no such file.
    pub fn change(&self, name: &FileName, bytes: impl Into<Vec<u8>>) {
        let bytes = bytes.into();
        self.alter(name, |old| *old = bytes);
    }

    fn alter(&self, name: &FileName, alter: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.lock();
        let node = state.open(name).expect("such a file");
        state.alter(node, alter);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One operation of who opened something after so many crashes.
    fn act<T>(
        &self,
        crashes: u64,
        operation: impl FnOnce(&mut State) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut state = self.lock();
        if state.crashes != crashes {
            return Err(io::Error::other("it was opened before the disk crashed"));
        }
        state.operations += 1;
        if state.crash_at == Some(state.operations) {
            state.is_dead = true;
            if state.chance.one_in(2) {
                operation(&mut state).ok();
            }
        } else if !state.is_dead {
            return operation(&mut state);
        }
        Err(io::Error::other("the disk has no power"))
    }
}

/// The root, as of one start.
#[derive(Debug)]
struct DiskFolder {
    disk: SimDisk,
    crashes: u64,
}

/// A file that is open.
#[derive(Debug)]
struct DiskFile {
    disk: SimDisk,
    crashes: u64,
    node: u64,
    writes: bool,
}

impl DiskFolder {
    fn act<T>(&self, operation: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        self.disk.act(self.crashes, operation)
    }
}

impl VirtualFolder for DiskFolder {
    fn open(&self, name: &FileName, access: FileAccess) -> io::Result<FileHandle> {
        let node = self.act(|state| {
            let node = match access {
                FileAccess::Create => state.create(name)?,
                FileAccess::Read | FileAccess::Write => state.open(name)?,
            };
            if let Some(node) = state.nodes.get_mut(&node) {
                node.handles += 1;
            }
            Ok(node)
        })?;
        let (disk, crashes, writes) = (self.disk.clone(), self.crashes, access != FileAccess::Read);
        Ok(FileHandle::of_simulation(DiskFile { disk, crashes, node, writes }))
    }

    fn make_folders(&self, name: &FileName) -> io::Result<()> {
        self.act(|state| state.make_folders(name))
    }

    fn rename(&self, from: &FileName, to: &FileName, replace: bool) -> io::Result<()> {
        self.act(|state| state.rename(from, to, replace))
    }

    fn remove(&self, name: &FileName) -> io::Result<()> {
        self.act(|state| state.remove(name))
    }

    fn sync_folder(&self, folder: Option<&FileName>) -> io::Result<()> {
        self.act(|state| {
            let folder = state.folder(folder)?;
            state.sync_folder(folder)
        })
    }

    fn sync_all(&self) -> io::Result<bool> {
        self.act(State::sync_all).map(|()| true)
    }

    fn list(&self, folder: Option<&FileName>, after: &str, most: usize) -> io::Result<Vec<Entry>> {
        self.act(|state| state.list(folder, after, most))
    }

    fn facts(&self, name: &FileName) -> io::Result<FileFacts> {
        self.act(|state| Ok(state.facts(state.find(name)?)))
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.act(|state| Ok(state.free_bytes()))
    }
}

impl DiskFile {
    fn act<T>(&self, operation: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        self.disk.act(self.crashes, operation)
    }

    fn to_write<T>(&self, operation: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let may = self.writes;
        let refused = || Err(io::ErrorKind::PermissionDenied.into());
        self.act(|state| if may { operation(state) } else { refused() })
    }
}

impl VirtualFile for DiskFile {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        self.act(|state| Ok(state.read(self.node, into, offset)))
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.to_write(|state| state.write(self.node, bytes, offset))
    }

    fn sync(&self) -> io::Result<()> {
        self.act(|state| state.sync_file(self.node))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.to_write(|state| state.set_len(self.node, len))
    }

    fn set_modified(&self, nanos: u64) -> io::Result<()> {
        self.to_write(|state| {
            state.set_modified(self.node, nanos);
            Ok(())
        })
    }

    fn facts(&self) -> io::Result<FileFacts> {
        self.act(|state| Ok(state.facts(self.node)))
    }
}

impl Drop for DiskFile {
    fn drop(&mut self) {
        let mut state = self.disk.lock();
        if state.crashes == self.crashes {
            if let Some(node) = state.nodes.get_mut(&self.node) {
                node.handles -= 1;
            }
        }
    }
}
