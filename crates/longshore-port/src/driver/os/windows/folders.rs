//! Folders of Windows, and the files in them.
//!
//! Names are walked part by part, each opened from the handle of the folder before it, which stays the
//! one that was found. What is a reparse point (a symbolic link, a junction, a mount, a file that lies
//! in a cloud) is opened itself, and refused: nothing is ever followed.
//! Source: `NtCreateFile`, `RootDirectory` and `FILE_OPEN_REPARSE_POINT`.
//!
//! The system writes what is done to folders in order by itself (NTFS and `ReFS` keep a log of it), and
//! has no call for a user to wait for that, so there is nothing to sync.

use crate::file_facts::{Entry, FileAccess, FileFacts, FileKind, Listing, not_regular};
use longshore_base::FileName;
use std::fs::{File, OpenOptions};
use std::io;
use std::mem::{offset_of, size_of};
use std::os::windows::fs::{FileExt, OpenOptionsExt};
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::path::Path;
use std::ptr;
use windows_sys::Wdk::Foundation::OBJECT_ATTRIBUTES;
use windows_sys::Wdk::Storage::FileSystem::{
    FILE_CREATE, FILE_DIRECTORY_FILE, FILE_NON_DIRECTORY_FILE, FILE_OPEN, FILE_OPEN_IF,
    FILE_OPEN_REPARSE_POINT, FILE_RENAME_POSIX_SEMANTICS, FILE_RENAME_REPLACE_IF_EXISTS,
    FILE_SYNCHRONOUS_IO_NONALERT, FileFsFullSizeInformation, FileRenameInformation,
    FileRenameInformationEx, NtCreateFile, NtQueryVolumeInformationFile, NtSetInformationFile,
};
use windows_sys::Wdk::System::SystemServices::FILE_FS_FULL_SIZE_INFORMATION;
use windows_sys::Win32::Foundation::{
    ERROR_NO_MORE_FILES, HANDLE, NTSTATUS, OBJ_CASE_INSENSITIVE, RtlNtStatusToDosError,
    STATUS_DELETE_PENDING, STATUS_FILE_IS_A_DIRECTORY, STATUS_INVALID_INFO_CLASS,
    STATUS_INVALID_PARAMETER, STATUS_NOT_IMPLEMENTED, STATUS_NOT_SUPPORTED,
    STATUS_OBJECT_NAME_NOT_FOUND, UNICODE_STRING,
};
use windows_sys::Win32::Storage::FileSystem::{
    BY_HANDLE_FILE_INFORMATION, DELETE, FILE_ATTRIBUTE_DIRECTORY, FILE_ATTRIBUTE_NORMAL,
    FILE_ATTRIBUTE_REPARSE_POINT, FILE_BASIC_INFO, FILE_DISPOSITION_FLAG_DELETE,
    FILE_DISPOSITION_FLAG_POSIX_SEMANTICS, FILE_DISPOSITION_INFO, FILE_DISPOSITION_INFO_EX,
    FILE_FLAG_BACKUP_SEMANTICS, FILE_FULL_DIR_INFO, FILE_GENERIC_READ, FILE_GENERIC_WRITE,
    FILE_ID_INFO, FILE_INFO_BY_HANDLE_CLASS, FILE_LIST_DIRECTORY, FILE_READ_ATTRIBUTES,
    FILE_SHARE_DELETE, FILE_SHARE_READ, FILE_SHARE_WRITE, FILE_STANDARD_INFO, FILE_TRAVERSE,
    FILE_TYPE_DISK, FileBasicInfo, FileDispositionInfo, FileDispositionInfoEx,
    FileFullDirectoryInfo, FileIdInfo, FileStandardInfo, GetFileInformationByHandle,
    GetFileInformationByHandleEx, GetFileType, SECURITY_IDENTIFICATION, SYNCHRONIZE,
    SetFileInformationByHandle,
};
use windows_sys::Win32::System::IO::IO_STATUS_BLOCK;

/// What others may do meanwhile: everything, as on every other system.
const SHARE: u32 = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE;

/// To go through a folder, or to look at whatever has a name.
const THROUGH: u32 = FILE_TRAVERSE | FILE_READ_ATTRIBUTES | SYNCHRONIZE;
const LOOK: u32 = FILE_READ_ATTRIBUTES | SYNCHRONIZE;

/// Units of a part of a name at most: it has at most 255 bytes, and no more units.
const PART_UNITS_MAX: usize = 256;

/// A folder that is held open.
#[derive(Debug)]
pub(crate) struct SystemFolder {
    root: File,
}

/// A folder in which a name lies.
enum Held<'a> {
    Root(&'a File),
    Inner(File),
}

impl Held<'_> {
    fn file(&self) -> &File {
        match self {
            Self::Root(file) => file,
            Self::Inner(file) => file,
        }
    }
}

impl SystemFolder {
    /// Opens the root, which may be reached over links.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let root = OpenOptions::new()
            .access_mode(THROUGH | FILE_LIST_DIRECTORY)
            .share_mode(SHARE)
            .custom_flags(FILE_FLAG_BACKUP_SEMANTICS)
            .open(path)?;
        let basic = told::<FILE_BASIC_INFO>(&root)?;
        if basic.FileAttributes & FILE_ATTRIBUTE_DIRECTORY == 0 {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(Self { root })
    }

    /// A folder beneath the root, held open.
    pub(crate) fn folder(&self, name: &FileName) -> io::Result<Self> {
        Ok(Self { root: self.beneath(name, THROUGH)? })
    }

    /// Opens a file.
    pub(crate) fn open_file(&self, name: &FileName, access: FileAccess) -> io::Result<File> {
        let (rights, disposition) = match access {
            FileAccess::Read => (FILE_GENERIC_READ, FILE_OPEN),
            FileAccess::Write => (FILE_GENERIC_READ | FILE_GENERIC_WRITE, FILE_OPEN),
            FileAccess::Create => (FILE_GENERIC_READ | FILE_GENERIC_WRITE, FILE_CREATE),
        };
        let folder = self.within(name)?;
        let opened = open(folder.file(), name.last(), rights, disposition, FILE_NON_DIRECTORY_FILE);
        let file = opened.map_err(|status| match status {
            STATUS_FILE_IS_A_DIRECTORY if access != FileAccess::Create => not_regular(),
            status => error(status),
        })?;
        check_regular(&file)?;
        Ok(file)
    }

    /// Goes down part by part, and makes what is not there.
    pub(crate) fn make_folders(&self, name: &FileName) -> io::Result<()> {
        let mut at = Held::Root(&self.root);
        for part in name.parts() {
            at = Held::Inner(step(at.file(), part, THROUGH, FILE_OPEN_IF)?);
        }
        Ok(())
    }

    /// Gives a name another one. Where the file system is not NTFS, or the system is older than Windows
    /// 10 version 1607, what somebody has open is not replaced. Wine does not either.
    /// Source: `FILE_RENAME_INFORMATION`.
    pub(crate) fn rename(&self, from: &FileName, to: &FileName, replace: bool) -> io::Result<()> {
        let (old, new) = (self.within(from)?, self.within(to)?);
        let file = open(old.file(), from.last(), DELETE | LOOK, FILE_OPEN, 0).map_err(error)?;
        let replaces = if replace { FILE_RENAME_REPLACE_IF_EXISTS } else { 0 };
        let mut rename = Rename::new(new.file(), to.last())?;
        rename.flags = replaces | FILE_RENAME_POSIX_SEMANTICS;
        match rename.apply(&file, FileRenameInformationEx) {
            0 => return Ok(()),
            status if is_unknown(status) => {}
            status => return Err(error(status)),
        }
        // The older structure has a byte there, which is this one: 1 or 0.
        rename.flags = replaces;
        match rename.apply(&file, FileRenameInformation) {
            0 => Ok(()),
            status => Err(error(status)),
        }
    }

    /// Takes a file away. On NTFS since Windows 10 version 1607 its name is free at once; elsewhere when
    /// the last who has it open has closed it. Source: `FILE_DISPOSITION_INFORMATION_EX`.
    pub(crate) fn remove(&self, name: &FileName) -> io::Result<()> {
        let folder = self.within(name)?;
        let opened =
            open(folder.file(), name.last(), DELETE | LOOK, FILE_OPEN, FILE_NON_DIRECTORY_FILE);
        let file = opened.map_err(error)?;
        let flags = FILE_DISPOSITION_FLAG_DELETE | FILE_DISPOSITION_FLAG_POSIX_SEMANTICS;
        if tell(&file, FileDispositionInfoEx, &FILE_DISPOSITION_INFO_EX { Flags: flags }).is_ok() {
            return Ok(());
        }
        tell(&file, FileDispositionInfo, &FILE_DISPOSITION_INFO { DeleteFile: true })
    }

    /// There is nothing to do but to see that there is such a folder.
    pub(crate) fn sync_folder(&self, folder: Option<&FileName>) -> io::Result<()> {
        folder.map_or(Ok(()), |folder| self.beneath(folder, THROUGH).map(drop))
    }

    /// Only who administers the machine can have a volume written.
    #[expect(clippy::unused_self, reason = "other systems can")]
    pub(crate) fn sync_all(&self) -> io::Result<bool> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// What is in a folder.
    pub(crate) fn list(
        &self,
        folder: Option<&FileName>,
        after: &str,
        most: usize,
    ) -> io::Result<Vec<Entry>> {
        let rights = THROUGH | FILE_LIST_DIRECTORY;
        let held = match folder {
            // Of one's own: a handle knows how far it has been listed.
            None => step(&self.root, "", rights, FILE_OPEN)?,
            Some(folder) => self.beneath(folder, rights)?,
        };
        let mut listing = Listing::new(folder, after, most);
        let mut buffer = Box::new(DirBuffer([0; DIR_BYTES]));
        while buffer.fill(&held)? {
            for last in buffer.names() {
                if !listing.wants(&last) {
                    continue;
                }
                match open(&held, &last, LOOK, FILE_OPEN, 0) {
                    Ok(file) => listing.add(&last, facts_of(&file)?),
                    Err(STATUS_OBJECT_NAME_NOT_FOUND | STATUS_DELETE_PENDING) => {} // meanwhile
                    Err(status) => return Err(error(status)),
                }
            }
        }
        Ok(listing.into_entries())
    }

    /// What is told of a name; of a link itself.
    pub(crate) fn facts(&self, name: &FileName) -> io::Result<FileFacts> {
        let folder = self.within(name)?;
        facts_of(&open(folder.file(), name.last(), LOOK, FILE_OPEN, 0).map_err(error)?)
    }

    /// What is free for this user. Source: `FILE_FS_FULL_SIZE_INFORMATION`.
    pub(crate) fn free_bytes(&self) -> io::Result<u64> {
        let mut size = FILE_FS_FULL_SIZE_INFORMATION::default();
        let mut block = IO_STATUS_BLOCK::default();
        // SAFETY: the call writes that structure, which is as long as it is told, and remembers nothing:
        // the handle was opened to wait.
        let status = unsafe {
            NtQueryVolumeInformationFile(
                raw(&self.root),
                &raw mut block,
                (&raw mut size).cast(),
                bytes_of::<FILE_FS_FULL_SIZE_INFORMATION>(),
                FileFsFullSizeInformation,
            )
        };
        if status != 0 {
            return Err(error(status));
        }
        let unit = u64::from(size.SectorsPerAllocationUnit) * u64::from(size.BytesPerSector);
        Ok(u64::try_from(size.CallerAvailableAllocationUnits).unwrap_or(0).saturating_mul(unit))
    }

    /// The folder that a name lies in.
    fn within(&self, name: &FileName) -> io::Result<Held<'_>> {
        Ok(match name.parent() {
            None => Held::Root(&self.root),
            Some(folder) => Held::Inner(self.beneath(&folder, THROUGH)?),
        })
    }

    /// Opens a folder beneath the root, each part from the one before.
    fn beneath(&self, folder: &FileName, rights: u32) -> io::Result<File> {
        let mut at = Held::Root(&self.root);
        let mut parts = folder.parts().peekable();
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                return step(at.file(), part, rights, FILE_OPEN);
            }
            at = Held::Inner(step(at.file(), part, THROUGH, FILE_OPEN)?);
        }
        Err(io::ErrorKind::NotFound.into()) // a name has a part
    }
}

/// Opens a folder by one part of a name; none that leads somewhere else.
fn step(at: &File, part: &str, rights: u32, disposition: u32) -> io::Result<File> {
    let folder = open(at, part, rights, disposition, FILE_DIRECTORY_FILE).map_err(error)?;
    if kind(&folder)? == FileKind::Folder {
        Ok(folder)
    } else {
        Err(io::ErrorKind::NotADirectory.into())
    }
}

/// Opens what has this name in a folder; itself, if it leads somewhere else.
fn open(
    at: &File,
    part: &str,
    rights: u32,
    disposition: u32,
    options: u32,
) -> Result<File, NTSTATUS> {
    let units: Vec<u16> = part.encode_utf16().collect();
    let bytes = u16::try_from(2 * units.len()).map_err(|_| STATUS_INVALID_PARAMETER)?;
    let name =
        UNICODE_STRING { Length: bytes, MaximumLength: bytes, Buffer: units.as_ptr().cast_mut() };
    let attributes = OBJECT_ATTRIBUTES {
        Length: bytes_of::<OBJECT_ATTRIBUTES>(),
        RootDirectory: raw(at),
        ObjectName: &raw const name,
        Attributes: OBJ_CASE_INSENSITIVE,
        SecurityDescriptor: ptr::null(),
        SecurityQualityOfService: ptr::null(),
    };
    let (mut handle, mut block) = (ptr::null_mut(), IO_STATUS_BLOCK::default());
    // SAFETY: all that is pointed to outlives the call, which remembers nothing of it; the folder is open.
    let status = unsafe {
        NtCreateFile(
            &raw mut handle,
            rights | SYNCHRONIZE,
            &raw const attributes,
            &raw mut block,
            ptr::null(),
            FILE_ATTRIBUTE_NORMAL,
            SHARE,
            disposition,
            options | FILE_OPEN_REPARSE_POINT | FILE_SYNCHRONOUS_IO_NONALERT,
            ptr::null(),
            0,
        )
    };
    if status != 0 {
        return Err(status);
    }
    // SAFETY: just opened, and nobody else's.
    Ok(unsafe { OwnedHandle::from_raw_handle(handle) }.into())
}

/// A new name: `FILE_RENAME_INFORMATION` with room for it.
#[repr(C)]
struct Rename {
    flags: u32,
    root: HANDLE,
    name_bytes: u32,
    name: [u16; PART_UNITS_MAX],
}

impl Rename {
    fn new(folder: &File, last: &str) -> io::Result<Self> {
        let mut rename =
            Self { flags: 0, root: raw(folder), name_bytes: 0, name: [0; PART_UNITS_MAX] };
        for (to, unit) in rename.name.iter_mut().zip(last.encode_utf16()) {
            *to = unit;
            rename.name_bytes += 2;
        }
        let is_whole = last.encode_utf16().count() <= PART_UNITS_MAX;
        if is_whole { Ok(rename) } else { Err(io::ErrorKind::InvalidInput.into()) }
    }

    fn apply(&self, file: &File, class: i32) -> NTSTATUS {
        let mut block = IO_STATUS_BLOCK::default();
        // SAFETY: the structure is laid out as the class has it and as long as it is told; the call
        // remembers nothing: the handle was opened to wait.
        unsafe {
            NtSetInformationFile(
                raw(file),
                &raw mut block,
                ptr::from_ref(self).cast(),
                bytes_of::<Self>(),
                class,
            )
        }
    }
}

/// Bytes of entries that are listed by one call.
const DIR_BYTES: usize = 16 * 1024;

/// Entries of a folder: `FILE_FULL_DIR_INFO`, one behind the other.
#[repr(C, align(8))]
struct DirBuffer([u8; DIR_BYTES]);

impl DirBuffer {
    /// The next entries; whether there are any.
    fn fill(&mut self, folder: &File) -> io::Result<bool> {
        // SAFETY: the call writes at most as many bytes as there are, aligned as its structure.
        let done = unsafe {
            GetFileInformationByHandleEx(
                raw(folder),
                FileFullDirectoryInfo,
                (&raw mut self.0).cast(),
                bytes_of::<Self>(),
            )
        };
        if done != 0 {
            return Ok(true);
        }
        let error = io::Error::last_os_error();
        let end = i32::try_from(ERROR_NO_MORE_FILES).ok();
        if error.raw_os_error() == end { Ok(false) } else { Err(error) }
    }

    /// The names of the entries that are there, but those that are no text.
    fn names(&self) -> Vec<String> {
        let (mut names, mut at) = (Vec::new(), 0);
        while let Some(entry) = self.0.get(at..) {
            let number = |field: usize| {
                let bytes = entry.get(field..field + 4)?.try_into().ok()?;
                usize::try_from(u32::from_ne_bytes(bytes)).ok()
            };
            let from = offset_of!(FILE_FULL_DIR_INFO, FileName);
            let len = number(offset_of!(FILE_FULL_DIR_INFO, FileNameLength)).unwrap_or(0);
            let units = entry.get(from..from.saturating_add(len)).unwrap_or_default();
            let units = units.chunks_exact(2).map(|unit| u16::from_ne_bytes([unit[0], unit[1]]));
            names.extend(char::decode_utf16(units).collect::<Result<String, _>>());
            match number(offset_of!(FILE_FULL_DIR_INFO, NextEntryOffset)) {
                None | Some(0) => break,
                Some(next) => at += next,
            }
        }
        names
    }
}

/// What is told of an open file by the class of the same name.
trait Told: Default {
    const CLASS: FILE_INFO_BY_HANDLE_CLASS;
}

impl Told for FILE_BASIC_INFO {
    const CLASS: FILE_INFO_BY_HANDLE_CLASS = FileBasicInfo;
}

impl Told for FILE_STANDARD_INFO {
    const CLASS: FILE_INFO_BY_HANDLE_CLASS = FileStandardInfo;
}

impl Told for FILE_ID_INFO {
    const CLASS: FILE_INFO_BY_HANDLE_CLASS = FileIdInfo;
}

fn told<T: Told>(file: &File) -> io::Result<T> {
    let mut told = T::default();
    let at = (&raw mut told).cast();
    // SAFETY: the call writes the structure of its class, which is `T`, and remembers nothing.
    let done = unsafe { GetFileInformationByHandleEx(raw(file), T::CLASS, at, bytes_of::<T>()) };
    if done == 0 { Err(io::Error::last_os_error()) } else { Ok(told) }
}

fn tell<T>(file: &File, class: FILE_INFO_BY_HANDLE_CLASS, what: &T) -> io::Result<()> {
    let at = ptr::from_ref(what).cast();
    // SAFETY: the call reads as many bytes as there are, and remembers nothing.
    let done = unsafe { SetFileInformationByHandle(raw(file), class, at, bytes_of::<T>()) };
    if done == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// What is told of an open file.
pub(crate) fn facts_of(file: &File) -> io::Result<FileFacts> {
    let (basic, standard) = (told::<FILE_BASIC_INFO>(file)?, told::<FILE_STANDARD_INFO>(file)?);
    Ok(FileFacts {
        kind: kind_of(basic.FileAttributes),
        bytes: u64::try_from(standard.EndOfFile).unwrap_or(0),
        modified: nanos(basic.LastWriteTime),
        changed: nanos(basic.ChangeTime),
        identity: identity(file)?,
    })
}

/// Volume and number. File systems as FAT have no numbers of 128 bits, but shorter ones.
/// Source: `FILE_ID_INFO`, `BY_HANDLE_FILE_INFORMATION`.
fn identity(file: &File) -> io::Result<(u64, u128)> {
    if let Ok(id) = told::<FILE_ID_INFO>(file) {
        return Ok((id.VolumeSerialNumber, u128::from_le_bytes(id.FileId.Identifier)));
    }
    let mut told = BY_HANDLE_FILE_INFORMATION::default();
    // SAFETY: the call writes that structure, and remembers nothing.
    let done = unsafe { GetFileInformationByHandle(raw(file), &raw mut told) };
    if done == 0 {
        return Err(io::Error::last_os_error());
    }
    let number = u128::from(told.nFileIndexHigh) << 32 | u128::from(told.nFileIndexLow);
    Ok((told.dwVolumeSerialNumber.into(), number))
}

fn kind(file: &File) -> io::Result<FileKind> {
    Ok(kind_of(told::<FILE_BASIC_INFO>(file)?.FileAttributes))
}

fn kind_of(attributes: u32) -> FileKind {
    if attributes & FILE_ATTRIBUTE_REPARSE_POINT != 0 {
        FileKind::Other
    } else if attributes & FILE_ATTRIBUTE_DIRECTORY != 0 {
        FileKind::Folder
    } else {
        FileKind::Regular
    }
}

fn check_regular(file: &File) -> io::Result<()> {
    if kind(file)? == FileKind::Regular { Ok(()) } else { Err(not_regular()) }
}

/// Nanoseconds since 1970, of those of a hundred since 1601. Source: `FILETIME`.
fn nanos(hundreds: i64) -> i128 {
    (i128::from(hundreds) - 116_444_736_000_000_000) * 100
}

/// Opens a file that its user has named, over links. A pipe is opened, for the shortest time and so that
/// its server can do nothing in our name, and refused.
pub(crate) fn open_source(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .share_mode(SHARE)
        .custom_flags(FILE_FLAG_BACKUP_SEMANTICS)
        .security_qos_flags(SECURITY_IDENTIFICATION)
        .open(path)?;
    // SAFETY: the handle is open.
    let on_disk = unsafe { GetFileType(raw(&file)) } == FILE_TYPE_DISK;
    let is_folder = || Ok::<_, io::Error>(kind(&file)? == FileKind::Folder);
    if on_disk && !is_folder()? { Ok(file) } else { Err(not_regular()) }
}

/// Writes at a place of a file. It moves the file's position, which nobody here uses.
pub(crate) fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
    file.seek_write(bytes, offset)
}

fn raw(file: &File) -> HANDLE {
    file.as_raw_handle()
}

/// The size of a structure of the system, as the system counts.
fn bytes_of<T>() -> u32 {
    u32::try_from(size_of::<T>()).unwrap_or(u32::MAX)
}

/// Whether the system or the file system has no such call.
fn is_unknown(status: NTSTATUS) -> bool {
    [
        STATUS_INVALID_INFO_CLASS,
        STATUS_INVALID_PARAMETER,
        STATUS_NOT_IMPLEMENTED,
        STATUS_NOT_SUPPORTED,
    ]
    .contains(&status)
}

/// What is about to be gone is not there.
fn error(status: NTSTATUS) -> io::Error {
    if status == STATUS_DELETE_PENDING {
        return io::ErrorKind::NotFound.into();
    }
    // SAFETY: the call reads a number.
    let code = unsafe { RtlNtStatusToDosError(status) };
    io::Error::from_raw_os_error(i32::from_le_bytes(code.to_le_bytes()))
}
