//! What every [`Folder`] promises, of the system and simulated: one function per promise, each on a
//! folder of its own that is empty.
#![expect(clippy::unwrap_used, reason = "a test panics when a promise is broken")]

use crate::{FileHandle, FileKind, Folder};
use longshore_base::{FileName, SplitMix64};
use std::io::ErrorKind::{AlreadyExists, InvalidInput, NotFound, Unsupported};
use std::{fmt, io};

/// A promise and its test.
pub type FolderPromise = (&'static str, fn(&Folder));

/// Names each as its function.
macro_rules! promises {
    ($($name:ident)*) => {
        /// All of them.
        pub const FOLDER_PROMISES: &[FolderPromise] = &[$((stringify!($name), $name)),*];
    };
}

promises! {
    what_is_written_is_read
    a_file_is_made_once
    what_is_not_there_is_not_found
    a_folder_is_no_file_and_a_file_no_folder
    a_rename_is_at_once
    what_is_removed_stays_with_who_has_it_open
    a_listing_has_all_in_order
    a_file_is_known_by_its_facts
    a_folder_beneath_is_a_folder
    no_hostile_name_leaves_anything_behind
}

fn name(name: &str) -> FileName {
    FileName::parse(name).expect(name)
}

#[expect(clippy::needless_pass_by_value, reason = "so that calls are short")]
fn fails<T: fmt::Debug>(done: io::Result<T>, kind: io::ErrorKind) {
    let failed = done.as_ref().map_err(io::Error::kind);
    assert!(failed.is_err_and(|failed| failed == kind), "{done:?} should be {kind:?}");
}

fn write(file: &FileHandle, bytes: &[u8], offset: u64) {
    let mut done = 0;
    while done < bytes.len() {
        let count = file.write_at(&bytes[done..], offset + done as u64).expect("there is room");
        assert!(count > 0, "a write of nothing would never end");
        done += count;
    }
}

fn read(file: &FileHandle) -> Vec<u8> {
    let (mut bytes, mut piece) = (Vec::new(), [0; 100]);
    loop {
        match file.read_at(&mut piece, bytes.len() as u64).expect("it can be read") {
            0 => return bytes,
            count => bytes.extend_from_slice(&piece[..count]),
        }
    }
}

fn put(folder: &Folder, at: &str, bytes: &[u8]) {
    write(&folder.create(&name(at)).expect(at), bytes, 0);
}

fn bytes_of(folder: &Folder, at: &str) -> Vec<u8> {
    read(&folder.open_file(&name(at)).expect(at))
}

fn listed(folder: &Folder, at: Option<&FileName>, most: usize) -> Vec<String> {
    folder.list(at, "", most).expect("a folder").into_iter().map(|entry| entry.name).collect()
}

/// At any offset, and zeros where nothing was written.
pub fn what_is_written_is_read(folder: &Folder) {
    let file = folder.create(&name("a")).unwrap();
    assert_eq!(read(&file), b"");
    let bytes = SplitMix64::new(1).bytes(10_000);
    write(&file, &bytes, 0);
    write(&file, b"xyz", 5_000);
    write(&file, b"end", 12_000);
    let mut wanted = bytes;
    wanted[5_000..5_003].copy_from_slice(b"xyz");
    wanted.resize(12_000, 0);
    wanted.extend_from_slice(b"end");
    assert!(read(&file) == wanted && bytes_of(folder, "a") == wanted);
    assert_eq!(file.read_at(&mut [0; 9], 1 << 40).unwrap(), 0, "far behind its end");
    assert_eq!(file.write_at(b"", 3).unwrap(), 0);
    file.set_len(7).unwrap();
    file.set_len(9).unwrap();
    wanted.truncate(7);
    wanted.extend_from_slice(&[0, 0]);
    assert_eq!(read(&file), wanted);
    file.sync().unwrap();
    let again = folder.open_to_write(&name("a")).unwrap();
    write(&again, b"!", 8);
    assert_eq!(read(&file)[8], b'!', "both are the same file");
    let reader = folder.open_file(&name("a")).unwrap();
    assert!(reader.write_at(b"?", 0).is_err() && reader.set_len(0).is_err());
    assert_eq!(read(&reader).len(), 9);
    folder.sync_folder(None).unwrap();
    if let Err(error) = folder.sync_all() {
        assert_eq!(error.kind(), Unsupported);
    }
    assert!(folder.free_bytes().unwrap() > 0);
}

/// Whatever it is that has the name.
pub fn a_file_is_made_once(folder: &Folder) {
    put(folder, "a", b"first");
    fails(folder.create(&name("a")), AlreadyExists);
    assert_eq!(bytes_of(folder, "a"), b"first");
    folder.make_folders(&name("b")).unwrap();
    fails(folder.create(&name("b")), AlreadyExists);
    let temporary = name("a").temporary(1);
    folder.create(&temporary).unwrap();
    fails(folder.create(&temporary), AlreadyExists);
}

/// Nothing is made on the way.
pub fn what_is_not_there_is_not_found(folder: &Folder) {
    put(folder, "b", b"");
    for missing in ["a", "a/b", "a/b/c"] {
        let missing = name(missing);
        fails(folder.open_file(&missing), NotFound);
        fails(folder.open_to_write(&missing), NotFound);
        fails(folder.remove(&missing), NotFound);
        fails(folder.facts(&missing), NotFound);
        fails(folder.list(Some(&missing), "", 9), NotFound);
        fails(folder.sync_folder(Some(&missing)), NotFound);
        fails(folder.rename(&missing, &name("c"), true), NotFound);
        fails(folder.rename(&missing, &name("c"), false), NotFound);
    }
    fails(folder.create(&name("a/b")), NotFound);
    fails(folder.rename(&name("b"), &name("a/b"), true), NotFound);
    assert_eq!(listed(folder, None, 9), ["b"]);
}

/// Neither is taken for the other.
pub fn a_folder_is_no_file_and_a_file_no_folder(folder: &Folder) {
    folder.make_folders(&name("d/e/f")).unwrap();
    folder.make_folders(&name("d/e/f")).unwrap();
    folder.make_folders(&name("d/g")).unwrap();
    put(folder, "d/a", b"bytes");
    for is_folder in ["d", "d/e", "d/e/f"] {
        let is_folder = name(is_folder);
        fails(folder.open_file(&is_folder), InvalidInput);
        fails(folder.open_to_write(&is_folder), InvalidInput);
        assert!(folder.remove(&is_folder).is_err());
        assert_eq!(folder.facts(&is_folder).unwrap().kind, FileKind::Folder);
        folder.sync_folder(Some(&is_folder)).unwrap();
    }
    let (file, below) = (name("d/a"), name("d/a/b"));
    assert!(folder.open_file(&below).is_err() && folder.create(&below).is_err());
    assert!(folder.make_folders(&file).is_err() && folder.make_folders(&below).is_err());
    assert!(folder.list(Some(&file), "", 9).is_err() && folder.sync_folder(Some(&file)).is_err());
    assert!(folder.rename(&file, &below, true).is_err() && folder.facts(&below).is_err());
    assert!(folder.rename(&file, &name("d/e"), true).is_err(), "a folder is not replaced");
    assert_eq!(bytes_of(folder, "d/a"), b"bytes");
    assert_eq!(listed(folder, Some(&name("d")), 9), ["a", "e", "g"]);
    let deep = name(&["x"; 32].join("/"));
    folder.make_folders(&deep.parent().unwrap()).unwrap();
    folder.create(&deep).unwrap();
    let long = name(&"ü".repeat(127));
    folder.create(&long).unwrap();
    folder.remove(&long).unwrap();
}

/// Nothing is replaced unless it was wanted, and who has the old file open keeps it.
pub fn a_rename_is_at_once(folder: &Folder) {
    folder.make_folders(&name("d")).unwrap();
    put(folder, "a", b"new");
    put(folder, "d/b", b"old");
    let (a, b) = (name("a"), name("d/b"));
    fails(folder.rename(&a, &b, false), AlreadyExists);
    fails(folder.rename(&a, &name("d"), false), AlreadyExists);
    assert_eq!((bytes_of(folder, "a"), bytes_of(folder, "d/b")), (b"new".into(), b"old".into()));
    let (old, identity) = (folder.open_file(&b).unwrap(), folder.facts(&a).unwrap().identity);
    folder.rename(&a, &b, true).unwrap();
    assert_eq!((read(&old), bytes_of(folder, "d/b")), (b"old".into(), b"new".into()));
    assert_eq!(folder.facts(&b).unwrap().identity, identity);
    fails(folder.open_file(&a), NotFound);
    drop(old);
    folder.rename(&b, &a, false).unwrap();
    fails(folder.facts(&b), NotFound);
    assert_eq!(bytes_of(folder, "a"), b"new");
    let temporary = a.temporary(3);
    write(&folder.create(&temporary).unwrap(), b"whole", 0);
    folder.rename(&temporary, &a, true).unwrap();
    assert_eq!(bytes_of(folder, "a"), b"whole");
    assert_eq!(listed(folder, None, 9), ["a", "d"]);
}

/// And is gone when nobody has.
pub fn what_is_removed_stays_with_who_has_it_open(folder: &Folder) {
    put(folder, "a", b"bytes");
    let file = folder.open_file(&name("a")).unwrap();
    folder.remove(&name("a")).unwrap();
    assert_eq!(read(&file), b"bytes");
    drop(file);
    fails(folder.open_file(&name("a")), NotFound);
    assert_eq!(listed(folder, None, 9), [""; 0]);
    put(folder, "a", b"other");
    assert_eq!(bytes_of(folder, "a"), b"other");
}

/// And no more than was asked for.
pub fn a_listing_has_all_in_order(folder: &Folder) {
    assert_eq!(listed(folder, None, 9), [""; 0]);
    for file in ["b", "a", "c.txt", "Ü"] {
        put(folder, file, file.as_bytes());
    }
    folder.make_folders(&name("d/inner")).unwrap();
    put(folder, "d/z", b"");
    folder.create(&name("a").temporary(0xab)).unwrap();
    let temporary = ".longshore-00000000000000ab";
    assert_eq!(listed(folder, None, 99), [temporary, "a", "b", "c.txt", "d", "Ü"]);
    assert_eq!(listed(folder, None, 2), [temporary, "a"]);
    assert_eq!(listed(folder, None, 0), [""; 0]);
    assert_eq!(listed(folder, Some(&name("d")), 9), ["inner", "z"]);
    let entries = folder.list(None, "", 99).unwrap();
    for entry in &entries {
        let listed = FileName::listed(None, &entry.name).unwrap();
        assert_eq!(entry.facts, folder.facts(&listed).unwrap());
    }
    assert_eq!((entries[3].facts.kind, entries[3].facts.bytes), (FileKind::Regular, 5));
    assert_eq!(entries[4].facts.kind, FileKind::Folder);
    for file in 0..300 {
        put(folder, &format!("d/inner/{:03}", file * 7 % 300), b"");
    }
    let many = listed(folder, Some(&name("d/inner")), 250);
    assert!(many.len() == 250 && many.is_sorted() && many[249] == "249");
    let behind = |after: &str, most| {
        let at = name("d/inner");
        let entries = folder.list(Some(&at), after, most).expect("a folder").into_iter();
        entries.map(|entry| entry.name).collect::<Vec<_>>()
    };
    assert_eq!(behind("249", 3), ["250", "251", "252"]);
    assert_eq!(behind("2489", 1), ["249"], "what is not there has its place, too");
    assert_eq!(behind("297", 9), ["298", "299"]);
    assert_eq!(behind("299", 9), [""; 0]);
}

/// What is done in a folder that is held is done there, wherever that lies.
pub fn a_folder_beneath_is_a_folder(folder: &Folder) {
    folder.make_folders(&name("a/b")).unwrap();
    put(folder, "a/b/f", b"bytes");
    put(folder, "file", b"");
    let inner = folder.beneath(&name("a/b")).unwrap();
    assert_eq!(bytes_of(&inner, "f"), b"bytes");
    assert_eq!(inner.facts(&name("f")).unwrap(), folder.facts(&name("a/b/f")).unwrap());
    put(&inner, "g", b"more");
    inner.rename(&name("g"), &name("h"), false).unwrap();
    let temporary = name("x").temporary(1);
    inner.create(&temporary).unwrap();
    inner.make_folders(&name("c/d")).unwrap();
    inner.sync_folder(None).unwrap();
    inner.sync_folder(Some(&name("c"))).unwrap();
    assert_eq!(listed(&inner, None, 9), [temporary.as_str(), "c", "f", "h"]);
    assert_eq!(listed(&inner, Some(&name("c")), 9), ["d"]);
    inner.remove(&name("f")).unwrap();
    assert_eq!(bytes_of(folder, "a/b/h"), b"more");
    assert_eq!(listed(folder, Some(&name("a/b")), 9), [temporary.as_str(), "c", "h"]);
    assert!(inner.free_bytes().is_ok());
    fails(folder.beneath(&name("a/no")), io::ErrorKind::NotFound);
    assert!(folder.beneath(&name("file")).is_err(), "it is none");
}

/// By name and by handle alike.
pub fn a_file_is_known_by_its_facts(folder: &Folder) {
    put(folder, "a", b"bytes");
    put(folder, "b", b"bytes");
    let facts = |at: &str| folder.facts(&name(at)).unwrap();
    let (a, b) = (facts("a"), facts("b"));
    assert_eq!((a.kind, a.bytes), (FileKind::Regular, 5));
    assert!(a.identity != b.identity && a.identity.0 == b.identity.0);
    let file = folder.open_file(&name("a")).unwrap();
    assert_eq!(file.facts().unwrap(), a);
    folder.rename(&name("a"), &name("c"), false).unwrap();
    assert_eq!(facts("c").identity, a.identity);
    let writer = folder.open_to_write(&name("c")).unwrap();
    write(&writer, b"more", 5);
    writer.sync().unwrap();
    let now = file.facts().unwrap();
    assert_eq!((now.bytes, now.identity), (9, a.identity));
    assert!(now.changed >= a.changed && now.modified >= a.modified);
    let then = 1_234_567_890_123_456_700;
    writer.set_modified(then).unwrap();
    let told = file.facts().unwrap();
    assert_eq!(told.modified, then.into());
    assert!(told.changed >= now.changed, "nobody can set that");
}

/// What is no name does nothing, and what is one stays inside: afterwards nothing is there. Whoever
/// runs this looks whether anything outside has changed.
pub fn no_hostile_name_leaves_anything_behind(folder: &Folder) {
    let names = hostile_names();
    assert!(names.len() >= 2_000, "{}", names.len());
    let mut good = 0;
    for hostile in names {
        let listed = (!hostile.contains('/')).then(|| FileName::listed(None, &hostile).ok());
        for name in FileName::parse(&hostile).into_iter().chain(listed.flatten()) {
            good += 1;
            folder.make_folders(&name).expect(&hostile);
            let inner = name.join(&FileName::parse("probe").unwrap()).unwrap();
            let file = folder.create(&inner).expect(&hostile);
            file.write_at(b"evil", 0).expect(&hostile);
            let other = inner.temporary(1);
            folder.rename(&inner, &other, false).expect(&hostile);
            // Other hostile names may have left folders there, where case makes no difference.
            let there = self::listed(folder, Some(&name), 99);
            assert!(there.contains(&other.last().to_owned()), "{hostile}: {there:?}");
            folder.remove(&other).expect(&hostile);
        }
    }
    assert!(good > 10, "those that only look hostile: {good}");
}

/// What was ever used to leave a folder, or to be taken for something else.
const EVIL: &[&str] = &[
    "..",
    ".",
    "...",
    "....",
    ".. ",
    "..\t",
    "..\0",
    "\0",
    "~",
    "~root",
    "$HOME",
    "%TEMP%",
    "C:",
    "C:\\",
    "\\",
    "\\\\",
    "\\\\server\\share",
    "\\\\?\\C:\\",
    "\\\\.\\PhysicalDrive0",
    "..\\",
    "..\\..",
    "//",
    "///",
    "file://",
    "CON",
    "nul",
    "aux.txt",
    "COM1",
    "lpt9.x",
    "COM¹",
    "conin$",
    "PROGRA~1",
    "a:b",
    "a::$DATA",
    "a ",
    "a.",
    " ",
    "\n",
    "\r\n",
    "\u{1b}[2J",
    "\u{202e}gpj",
    "a\u{200b}",
    "\u{feff}",
    "\u{2066}",
    "*",
    "?",
    "<",
    ">",
    "|",
    "\"",
    ".longshore-",
    ".LONGSHORE-x",
    ".longshore-0000000000000001",
    "\u{ff0e}\u{ff0e}",
    "\u{2025}",
    "\u{2215}",
    "\u{ff0f}",
    "\u{29f8}",
    "\u{ff3c}",
    "%2e%2e",
    "%2e%2e%2f",
    "..%2f",
    "%00",
    "..%c0%af",
    "%252e%252e",
    "\\u002e\\u002e",
    "&#46;&#46;",
    "--",
    "-rf",
    ";rm",
    "`id`",
    "$(id)",
];

/// Names as an enemy would choose them: everything that was ever used to leave a folder, alone and in
/// every place of a name, as it is and encoded.
pub fn hostile_names() -> Vec<String> {
    let places = |evil: &str| {
        [
            evil.to_owned(),
            format!("/{evil}"),
            format!("{evil}/"),
            format!("{evil}/canary"),
            format!("{evil}/{evil}/canary"),
            format!("a/{evil}"),
            format!("a/{evil}/canary"),
            format!("a/{evil}/{evil}/{evil}/canary"),
            format!("/{evil}/canary"),
            format!("./{evil}"),
            format!("a//{evil}"),
            format!("{evil}\\canary"),
            format!("{evil}canary"),
            format!("canary{evil}"),
        ]
    };
    let encodings = |name: String| {
        // Overlong forms and halves of pairs are no UTF-8; this is what a lax reader makes of them.
        let overlong = name.replace('.', "\u{c0}\u{ae}").replace('/', "\u{c0}\u{af}");
        let lossy = name.replace(['.', '/'], "\u{fffd}");
        [name.clone(), name.replace('/', "\\"), overlong, lossy, name.to_uppercase()]
    };
    let mut names: Vec<_> = EVIL.iter().flat_map(|evil| places(evil)).flat_map(encodings).collect();
    names.extend([1, 2, 31, 32, 33, 100, 5_000].map(|deep| vec![".."; deep].join("/") + "/canary"));
    names.extend([254, 255, 256, 1_024, 70_000].map(|long| "x".repeat(long)));
    names.sort();
    names.dedup();
    names
}
