//! Folders of every Unix, and the files in them.
//!
//! All is done in two steps: the folder of a name is opened beneath the root, then one call is made in
//! it with the last part of the name alone, which follows no link. Nobody can put a link between them:
//! the folder that is held stays the one that was found.

use crate::file_facts::{Entry, FileAccess, FileFacts, FileKind, Listing, not_regular};
use longshore_base::FileName;
use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, Stat, fcntl_setfl, fstat, fstatvfs, linkat, mkdirat,
    openat, renameat, statat, unlinkat,
};
use rustix::io::{Errno, retry_on_intr};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// A folder to go through, which needs no right to list it.
#[cfg(target_os = "linux")]
const THROUGH: OFlags = FOLDER.union(OFlags::PATH);

/// The same where only an open folder can be gone through.
#[cfg(not(target_os = "linux"))]
const THROUGH: OFlags = FOLDER;

/// A folder to list or to sync. Also that its name is a link is an error.
const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A file: no link. With `O_NONBLOCK`, a pipe or a terminal that took its place is not waited for.
/// Source: `open(2)`, `O_NONBLOCK` and `O_NOCTTY`.
const FILE: OFlags = OFlags::NOFOLLOW.union(OFlags::CLOEXEC).union(OFlags::NOCTTY);

/// How often the kernel may ask to be asked again.
#[cfg(target_os = "linux")]
const TRIES_MAX: usize = 32;

/// A folder that is held open.
#[derive(Debug)]
pub(crate) struct SystemFolder {
    root: OwnedFd,
    /// Whether folders are walked to part by part: the kernel has no call that does it at once.
    walks: AtomicBool,
}

/// A folder in which a name lies.
enum Held<'a> {
    Root(BorrowedFd<'a>),
    Inner(OwnedFd),
}

impl AsFd for Held<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Root(fd) => *fd,
            Self::Inner(fd) => fd.as_fd(),
        }
    }
}

impl SystemFolder {
    /// Opens the root, which may be reached over links.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = retry_on_intr(|| rustix::fs::open(path, flags, Mode::empty()))?;
        Ok(Self { root, walks: AtomicBool::new(cfg!(not(target_os = "linux"))) })
    }

    /// A folder beneath the root, held open.
    pub(crate) fn folder(&self, name: &FileName) -> io::Result<Self> {
        let walks = AtomicBool::new(self.walks.load(Ordering::Relaxed));
        Ok(Self { root: self.beneath(name, THROUGH)?, walks })
    }

    /// From now on it is as on a kernel without `openat2(2)`.
    #[cfg(all(test, target_os = "linux"))]
    pub(crate) fn walk_always(&self) {
        self.walks.store(true, Ordering::Relaxed);
    }

    /// Opens a file. What is there is looked at first: opening a device can have effects.
    pub(crate) fn open_file(&self, name: &FileName, access: FileAccess) -> io::Result<File> {
        let (folder, last) = (self.within(name)?, name.last());
        let flags = match access {
            FileAccess::Read => OFlags::RDONLY,
            FileAccess::Write => OFlags::RDWR,
            FileAccess::Create => OFlags::RDWR | OFlags::CREATE | OFlags::EXCL,
        };
        let mode = Mode::RUSR | Mode::WUSR;
        let open = |flags| retry_on_intr(|| openat(&folder, last, FILE | flags, mode));
        if access == FileAccess::Create {
            return Ok(File::from(open(flags)?)); // it is new, so it is a regular one
        }
        check_regular(&statat(&folder, last, AtFlags::SYMLINK_NOFOLLOW)?)?;
        checked(File::from(open(flags | OFlags::NONBLOCK)?))
    }

    /// Goes down part by part, and makes what is not there.
    pub(crate) fn make_folders(&self, name: &FileName) -> io::Result<()> {
        let mut at = Held::Root(self.root.as_fd());
        for part in name.parts() {
            let mut next = step(&at, part, THROUGH);
            if next.as_ref().is_err_and(|error| *error == Errno::NOENT) {
                match mkdirat(&at, part, Mode::RWXU) {
                    Ok(()) | Err(Errno::EXIST) => next = step(&at, part, THROUGH),
                    Err(error) => return Err(error.into()),
                }
            }
            at = Held::Inner(next?);
        }
        Ok(())
    }

    /// Gives a name another one.
    pub(crate) fn rename(&self, from: &FileName, to: &FileName, replace: bool) -> io::Result<()> {
        let (old, new) = (self.within(from)?, self.within(to)?);
        if replace {
            return Ok(renameat(&old, from.last(), &new, to.last())?);
        }
        match rename_new(old.as_fd(), from.last(), new.as_fd(), to.last()) {
            // The kernel or the file system has no such rename. Source: `rename(2)`, "ERRORS".
            Err(Errno::NOSYS | Errno::INVAL | Errno::OPNOTSUPP) => link_new(&old, from, &new, to),
            done => Ok(done?),
        }
    }

    /// Takes a file away.
    pub(crate) fn remove(&self, name: &FileName) -> io::Result<()> {
        Ok(unlinkat(self.within(name)?, name.last(), AtFlags::empty())?)
    }

    /// Has the entries of a folder written. Some file systems of programs cannot, and say that the
    /// descriptor is none to be synced: there is nothing that one could do. Source: `fsync(2)`, `EINVAL`.
    pub(crate) fn sync_folder(&self, folder: Option<&FileName>) -> io::Result<()> {
        // By the standard library, which knows how to ask systems of Apple.
        match File::from(self.readable(folder)?).sync_all() {
            Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => Ok(()),
            done => done,
        }
    }

    /// Has all of the volume written.
    #[cfg(target_os = "linux")]
    pub(crate) fn sync_all(&self) -> io::Result<bool> {
        rustix::fs::syncfs(&self.root)?;
        Ok(super::linux::syncs_with_errors())
    }

    /// Has all be written, at some time; the root at once.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn sync_all(&self) -> io::Result<bool> {
        rustix::fs::sync();
        self.sync_folder(None)?;
        Ok(false)
    }

    /// What is in a folder.
    pub(crate) fn list(
        &self,
        folder: Option<&FileName>,
        after: &str,
        most: usize,
    ) -> io::Result<Vec<Entry>> {
        let mut dir = Dir::new(self.readable(folder)?)?;
        let mut listing = Listing::new(folder, after, most);
        while let Some(entry) = dir.read() {
            let entry = entry?;
            let Ok(last) = entry.file_name().to_str() else { continue };
            if !listing.wants(last) {
                continue;
            }
            match statat(dir.fd()?, last, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => listing.add(last, facts(&stat)),
                Err(Errno::NOENT) => {} // gone meanwhile
                Err(error) => return Err(error.into()),
            }
        }
        Ok(listing.into_entries())
    }

    /// What is told of a name; of a link itself.
    pub(crate) fn facts(&self, name: &FileName) -> io::Result<FileFacts> {
        let stat = statat(self.within(name)?, name.last(), AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(facts(&stat))
    }

    /// What is free for this user. Source: `statvfs(3)`, `f_bavail` in units of `f_frsize`.
    pub(crate) fn free_bytes(&self) -> io::Result<u64> {
        let volume = fstatvfs(&self.root)?;
        Ok(volume.f_bavail.saturating_mul(volume.f_frsize))
    }

    /// The folder that a name lies in.
    fn within(&self, name: &FileName) -> io::Result<Held<'_>> {
        Ok(match name.parent() {
            None => Held::Root(self.root.as_fd()),
            Some(folder) => Held::Inner(self.beneath(&folder, THROUGH)?),
        })
    }

    /// A folder of one's own, to be listed or synced.
    fn readable(&self, folder: Option<&FileName>) -> io::Result<OwnedFd> {
        match folder {
            None => Ok(step(&self.root, ".", FOLDER)?),
            Some(folder) => self.beneath(folder, FOLDER),
        }
    }

    /// Opens a folder beneath the root.
    fn beneath(&self, folder: &FileName, flags: OFlags) -> io::Result<OwnedFd> {
        if !self.walks.load(Ordering::Relaxed) {
            if let Some(opened) = self.beneath_at_once(folder, flags) {
                return Ok(opened?);
            }
        }
        Ok(self.walk(folder, flags)?)
    }

    /// By one call of the kernel, or None when it has to be walked. A filter of a container that does
    /// not know the call may answer `EPERM`. Source: `openat2(2)`.
    #[cfg(target_os = "linux")]
    fn beneath_at_once(&self, folder: &FileName, flags: OFlags) -> Option<Result<OwnedFd, Errno>> {
        use rustix::fs::{ResolveFlags, openat2};
        let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        for _ in 0..TRIES_MAX {
            match openat2(&self.root, folder.as_str(), flags, Mode::empty(), how) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(Errno::NOSYS) => {
                    self.walks.store(true, Ordering::Relaxed);
                    return None;
                }
                Err(Errno::PERM) => return None,
                opened => return Some(opened),
            }
        }
        None
    }

    /// There is no such call.
    #[cfg(not(target_os = "linux"))]
    #[expect(clippy::unused_self, reason = "Linux asks its kernel")]
    fn beneath_at_once(&self, _: &FileName, _: OFlags) -> Option<Result<OwnedFd, Errno>> {
        None
    }

    /// Part by part, each from the folder that is held.
    fn walk(&self, folder: &FileName, flags: OFlags) -> Result<OwnedFd, Errno> {
        let mut at = Held::Root(self.root.as_fd());
        let mut parts = folder.parts().peekable();
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                return step(&at, part, flags);
            }
            at = Held::Inner(step(&at, part, THROUGH)?);
        }
        Err(Errno::NOENT) // a name has a part
    }
}

/// Opens a folder by one part of a name.
fn step(at: &impl AsFd, part: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    retry_on_intr(|| openat(at, part, flags, Mode::empty()))
}

/// Renames where there is nothing. Source: `renameat2(2)`, `RENAME_NOREPLACE`; `RENAME_EXCL` of
/// `renameatx_np` on Apple's systems.
#[cfg(any(target_os = "linux", target_vendor = "apple"))]
fn rename_new(old: BorrowedFd, from: &str, new: BorrowedFd, to: &str) -> Result<(), Errno> {
    rustix::fs::renameat_with(old, from, new, to, rustix::fs::RenameFlags::NOREPLACE)
}

/// There is no such call.
#[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
fn rename_new(_: BorrowedFd, _: &str, _: BorrowedFd, _: &str) -> Result<(), Errno> {
    Err(Errno::NOSYS)
}

/// The same in two steps: a second name, which is refused when it is taken, and the first one away.
fn link_new(old: &Held, from: &FileName, new: &Held, to: &FileName) -> io::Result<()> {
    linkat(old, from.last(), new, to.last(), AtFlags::empty())?;
    Ok(unlinkat(old, from.last(), AtFlags::empty())?)
}

/// A file that was opened without waiting is a regular one, and waits as usual from now on: what has
/// the flag is treated otherwise by `io_uring`.
fn checked(file: File) -> io::Result<File> {
    check_regular(&fstat(&file)?)?;
    fcntl_setfl(&file, OFlags::empty())?;
    Ok(file)
}

fn check_regular(stat: &Stat) -> io::Result<()> {
    if kind(stat) == FileKind::Regular { Ok(()) } else { Err(not_regular()) }
}

fn kind(stat: &Stat) -> FileKind {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => FileKind::Regular,
        FileType::Directory => FileKind::Folder,
        _ => FileKind::Other,
    }
}

fn facts(stat: &Stat) -> FileFacts {
    FileFacts {
        kind: kind(stat),
        bytes: unsigned(stat.st_size),
        modified: nanos(stat.st_mtime, stat.st_mtime_nsec),
        changed: nanos(stat.st_ctime, stat.st_ctime_nsec),
        identity: (unsigned(stat.st_dev), unsigned(stat.st_ino).into()),
    }
}

/// Nanoseconds since 1970. The types are not the same on every system.
fn nanos(seconds: impl Into<i128>, nanos: impl Into<i128>) -> i128 {
    seconds.into() * 1_000_000_000 + nanos.into()
}

/// A number that is never negative.
fn unsigned(number: impl TryInto<u64>) -> u64 {
    number.try_into().unwrap_or(0)
}

/// What is told of an open file.
pub(crate) fn facts_of(file: &File) -> io::Result<FileFacts> {
    Ok(facts(&fstat(file)?))
}

/// Opens a file that its user has named, over links.
pub(crate) fn open_source(path: &Path) -> io::Result<File> {
    check_regular(&rustix::fs::stat(path)?)?;
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    checked(OpenOptions::new().read(true).custom_flags(flags).open(path)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As on a file system that has no rename of that kind.
    #[test]
    fn a_rename_in_two_steps_replaces_nothing() {
        let path = std::env::temp_dir().join(format!("longshore-two-steps-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        let folder = SystemFolder::open(&path).unwrap();
        let name = |name| FileName::parse(name).unwrap();
        let (a, b) = (name("a"), name("b"));
        folder.open_file(&a, FileAccess::Create).unwrap();
        folder.open_file(&b, FileAccess::Create).unwrap();
        let root = Held::Root(folder.root.as_fd());
        let taken = link_new(&root, &a, &root, &b).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AlreadyExists);
        folder.remove(&b).unwrap();
        let identity = folder.facts(&a).unwrap().identity;
        link_new(&root, &a, &root, &b).unwrap();
        assert_eq!(folder.facts(&b).unwrap().identity, identity);
        assert_eq!(folder.facts(&a).unwrap_err().kind(), io::ErrorKind::NotFound);
        std::fs::remove_dir_all(&path).unwrap();
    }
}
