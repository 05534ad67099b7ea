//! Folders as values: where files are opened by names that somebody else has chosen.

use crate::driver::os;
use crate::{Entry, FileAccess, FileFacts, FileHandle, FileKind};
use longshore_base::FileName;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// A folder, of the system or of a simulation. All that is done in it is done **beneath** it: no name
/// leaves it, no symbolic link is followed, not even one that stays inside, and nothing but a regular
/// file is ever opened. That holds also while somebody else moves folders and links about. Mounts in
/// it are part of it.
///
/// Cloning shares it, from any thread. Every call may wait for the disk, so what must not wait makes
/// them within a [`Work::Job`](crate::Work::Job). None waits for anything else: a pipe without a
/// writer is refused.
///
/// ```
/// # let path = std::env::temp_dir().join(format!("longshore-doc-{}", std::process::id()));
/// # std::fs::create_dir(&path)?;
/// use longshore_base::FileName;
/// use longshore_port::Folder;
///
/// let folder = Folder::open(&path)?;
/// let name = FileName::parse("in/report.txt").unwrap();
/// folder.make_folders(&name.parent().unwrap())?;
/// let file = folder.create(&name)?;
/// assert_eq!(file.write_at(b"all is well", 0)?, 11);
/// file.sync()?;
/// folder.sync_folder(name.parent().as_ref())?; // now its name is on the disk, too
/// assert_eq!(folder.facts(&name)?.bytes, 11);
/// # drop((file, folder));
/// # std::fs::remove_dir_all(&path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct Folder(Arc<Raw>);

/// The system's folder, or a simulated one.
#[derive(Debug)]
enum Raw {
    System(os::SystemFolder),
    Virtual(Box<dyn VirtualFolder>),
}

/// A folder of a simulation. Each call promises what that of [`Folder`] does.
#[expect(clippy::missing_errors_doc, reason = "what a disk might answer, as stands at `Folder`")]
pub trait VirtualFolder: Send + Sync + fmt::Debug {
    /// See [`Folder::open_file`], [`Folder::open_to_write`] and [`Folder::create`].
    fn open(&self, name: &FileName, access: FileAccess) -> io::Result<FileHandle>;

    /// See [`Folder::make_folders`].
    fn make_folders(&self, name: &FileName) -> io::Result<()>;

    /// See [`Folder::rename`].
    fn rename(&self, from: &FileName, to: &FileName, replace: bool) -> io::Result<()>;

    /// See [`Folder::remove`].
    fn remove(&self, name: &FileName) -> io::Result<()>;

    /// See [`Folder::sync_folder`].
    fn sync_folder(&self, folder: Option<&FileName>) -> io::Result<()>;

    /// See [`Folder::sync_all`].
    fn sync_all(&self) -> io::Result<bool>;

    /// See [`Folder::list`].
    fn list(&self, folder: Option<&FileName>, after: &str, most: usize) -> io::Result<Vec<Entry>>;

    /// See [`Folder::facts`].
    fn facts(&self, name: &FileName) -> io::Result<FileFacts>;

    /// See [`Folder::free_bytes`].
    fn free_bytes(&self) -> io::Result<u64>;
}

/// Does the same with either.
macro_rules! either {
    ($self:ident, $folder:ident => $call:expr) => {
        match &*$self.0 {
            Raw::System($folder) => $call,
            Raw::Virtual($folder) => $call,
        }
    };
}

impl Folder {
    /// A folder of the system. It is opened once and held: it stays the same one whatever happens to
    /// `path`, which the user has chosen and which may lead over symbolic links.
    ///
    /// # Errors
    /// There is none, or it is not to be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(Arc::new(Raw::System(os::SystemFolder::open(path)?))))
    }

    /// A folder of a simulation.
    pub fn of_simulation(folder: impl VirtualFolder + 'static) -> Self {
        Self(Arc::new(Raw::Virtual(Box::new(folder))))
    }

    /// A folder beneath this one, held open: it stays the same one though somebody renames it, and what is
    /// done in it needs no way to it any more. For a few calls in a row; held for longer, it may lie
    /// elsewhere by then.
    ///
    /// # Errors
    /// `NotFound`; a file, or a symbolic link, is in the way; what the system says of it.
    pub fn beneath(&self, name: &FileName) -> io::Result<Self> {
        let raw = match &*self.0 {
            Raw::System(folder) => Raw::System(folder.folder(name)?),
            Raw::Virtual(folder) => {
                if folder.facts(name)?.kind != FileKind::Folder {
                    return Err(io::ErrorKind::NotADirectory.into());
                }
                Raw::Virtual(Box::new(Beneath { folder: self.clone(), at: name.clone() }))
            }
        };
        Ok(Self(Arc::new(raw)))
    }

    /// Opens a file to be read. On Windows others may write to it, rename it and remove it meanwhile,
    /// as they may on every other system.
    ///
    /// # Errors
    /// `NotFound`; `InvalidInput` where something else than a regular file has that name; what the
    /// system says of it.
    pub fn open_file(&self, name: &FileName) -> io::Result<FileHandle> {
        self.open_as(name, FileAccess::Read)
    }

    /// Opens a file that is there, to be read and written.
    ///
    /// # Errors
    /// As [`Folder::open_file`].
    pub fn open_to_write(&self, name: &FileName) -> io::Result<FileHandle> {
        self.open_as(name, FileAccess::Write)
    }

    /// Makes a file, to be read and written, that its owner alone may read and write (on Windows: who
    /// may in its folder). Its name is on the disk when its folder was [synced](Self::sync_folder).
    ///
    /// # Errors
    /// `AlreadyExists` where anything has that name; what the system says of it.
    pub fn create(&self, name: &FileName) -> io::Result<FileHandle> {
        self.open_as(name, FileAccess::Create)
    }

    fn open_as(&self, name: &FileName, access: FileAccess) -> io::Result<FileHandle> {
        match &*self.0 {
            Raw::System(folder) => folder.open_file(name, access).map(FileHandle::from),
            Raw::Virtual(folder) => folder.open(name, access),
        }
    }

    /// Makes a folder and those that it lies in, as far as they are not there, for their owner alone.
    /// They are on the disk when the folder of each was [synced](Self::sync_folder).
    ///
    /// # Errors
    /// Something that is no folder is in the way, a symbolic link too; what the system says of it.
    pub fn make_folders(&self, name: &FileName) -> io::Result<()> {
        either!(self, folder => folder.make_folders(name))
    }

    /// Gives a file another name, perhaps in another folder: at no time is it under neither, and after
    /// a crash it is under one of them (or both, where the system has no call for it and makes a
    /// second name first). What had the name `to` is replaced if `replace`, at once, so that who opens
    /// it gets the one or the other. On Windows what somebody has open is replaced on NTFS only, since
    /// Windows 10 version 1607.
    ///
    /// # Errors
    /// `NotFound`; `AlreadyExists` without `replace`, when anything has the name `to`; `CrossesDevices`
    /// between two mounts; what the system says of it.
    pub fn rename(&self, from: &FileName, to: &FileName, replace: bool) -> io::Result<()> {
        either!(self, folder => folder.rename(from, to, replace))
    }

    /// Takes a file away. Who has it open keeps it; on older Windows, or not on NTFS, its name is taken
    /// until then. A folder is not removed.
    ///
    /// # Errors
    /// `NotFound`; what the system says of it.
    pub fn remove(&self, name: &FileName) -> io::Result<()> {
        either!(self, folder => folder.remove(name))
    }

    /// Waits until all that was made, renamed and removed in this folder (`None`: the root) is on the
    /// disk. What is in its files is not meant, see [`FileHandle::sync`], nor what is in folders below.
    ///
    /// # Errors
    /// It may not be on the disk; what the system says of it.
    pub fn sync_folder(&self, folder: Option<&FileName>) -> io::Result<()> {
        either!(self, raw => raw.sync_folder(folder))
    }

    /// Waits until all that was done on the volume of the folder is on the disk, as far as the system
    /// has a call for that: cheaper for very many files than to sync each. Says whether that is sure: where
    /// it is, an error of the volume since the folder was opened is told, once, to whoever asks first.
    /// Source: `syncfs(2)` of Linux, which tells errors since 5.8. Elsewhere it is `sync(2)`, which
    /// tells none and may return early, and the root alone is sure; on Windows it is `Unsupported`.
    ///
    /// # Errors
    /// It may not be on the disk; what the system says of it.
    pub fn sync_all(&self) -> io::Result<bool> {
        either!(self, folder => folder.sync_all())
    }

    /// What is in a folder (`None`: the root), by name: regular files and folders. What has a name that
    /// is no [`FileName`] is left out, but temporary files are not. Those behind `after`, which is any
    /// text: all, if it is empty. If these are more than `most`, the first ones.
    ///
    /// # Errors
    /// `NotFound`; what the system says of it.
    pub fn list(
        &self,
        folder: Option<&FileName>,
        after: &str,
        most: usize,
    ) -> io::Result<Vec<Entry>> {
        either!(self, raw => raw.list(folder, after, most))
    }

    /// What is told of a file or folder, of whatever kind, without opening it.
    ///
    /// # Errors
    /// `NotFound`; what the system says of it.
    pub fn facts(&self, name: &FileName) -> io::Result<FileFacts> {
        either!(self, folder => folder.facts(name))
    }

    /// Bytes that this user may still write on the volume of the root. Others write, too.
    ///
    /// # Errors
    /// What the system says of it.
    pub fn free_bytes(&self) -> io::Result<u64> {
        either!(self, folder => folder.free_bytes())
    }
}

/// A folder beneath one of a simulation: what is done in it is done in that one, by the longer name.
#[derive(Debug)]
struct Beneath {
    folder: Folder,
    at: FileName,
}

impl Beneath {
    fn full(&self, name: &FileName) -> io::Result<FileName> {
        self.at.join(name).map_err(|bad| io::Error::new(io::ErrorKind::InvalidInput, bad))
    }

    fn full_or_self(&self, name: Option<&FileName>) -> io::Result<FileName> {
        name.map_or_else(|| Ok(self.at.clone()), |name| self.full(name))
    }
}

impl VirtualFolder for Beneath {
    fn open(&self, name: &FileName, access: FileAccess) -> io::Result<FileHandle> {
        self.folder.open_as(&self.full(name)?, access)
    }

    fn make_folders(&self, name: &FileName) -> io::Result<()> {
        self.folder.make_folders(&self.full(name)?)
    }

    fn rename(&self, from: &FileName, to: &FileName, replace: bool) -> io::Result<()> {
        self.folder.rename(&self.full(from)?, &self.full(to)?, replace)
    }

    fn remove(&self, name: &FileName) -> io::Result<()> {
        self.folder.remove(&self.full(name)?)
    }

    fn sync_folder(&self, folder: Option<&FileName>) -> io::Result<()> {
        self.folder.sync_folder(Some(&self.full_or_self(folder)?))
    }

    fn sync_all(&self) -> io::Result<bool> {
        self.folder.sync_all()
    }

    fn list(&self, folder: Option<&FileName>, after: &str, most: usize) -> io::Result<Vec<Entry>> {
        self.folder.list(Some(&self.full_or_self(folder)?), after, most)
    }

    fn facts(&self, name: &FileName) -> io::Result<FileFacts> {
        self.folder.facts(&self.full(name)?)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.folder.free_bytes()
    }
}

impl fmt::Debug for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests;
