//! What a crash, a full disk or a failing one leaves.

use super::*;
use longshore_port::{Entry, FileAccess, FileFacts, VirtualFolder};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// A folder of a disk of which syncs of folders alone fail: the next so many, after so many that do not.
/// Nobody may look into one of the name `denied`.
#[derive(Debug)]
struct Unsure {
    folder: Folder,
    fails: Arc<Fails>,
}

#[derive(Debug, Default)]
struct Fails {
    after: AtomicU64,
    count: AtomicU64,
    /// What a sync of all says.
    all: Mutex<All>,
    /// How many syncs of folders there were.
    folders: AtomicU64,
    /// What was removed of this store, and whether it was held then.
    removed_of: Mutex<Option<FileStore>>,
    removed: Mutex<Vec<(FileName, bool)>>,
}

#[derive(Clone, Copy, Default, Debug)]
enum All {
    /// It is done, and nobody can be sure of it.
    #[default]
    Unsure,
    Fails,
    /// All is well, of which nothing is true: somebody was told before what had failed.
    Lies,
}

impl Fails {
    fn set(&self, after: u64, count: u64) {
        self.after.store(after, Ordering::Relaxed);
        self.count.store(count, Ordering::Relaxed);
    }

    fn is_one(&self) -> bool {
        let less = |count: u64| count.checked_sub(1);
        let counted = |of: &AtomicU64| of.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        counted(&self.after).is_err() && counted(&self.count).is_ok()
    }
}

impl VirtualFolder for Unsure {
    fn open(&self, name: &FileName, access: FileAccess) -> io::Result<FileHandle> {
        match access {
            FileAccess::Read => self.folder.open_file(name),
            FileAccess::Write => self.folder.open_to_write(name),
            FileAccess::Create => self.folder.create(name),
        }
    }

    fn make_folders(&self, name: &FileName) -> io::Result<()> {
        self.folder.make_folders(name)
    }

    fn rename(&self, from: &FileName, to: &FileName, replace: bool) -> io::Result<()> {
        self.folder.rename(from, to, replace)
    }

    fn remove(&self, name: &FileName) -> io::Result<()> {
        if let Some(store) = &*self.fails.removed_of.lock().unwrap() {
            let is_held = store.place.active_names().contains(name);
            self.fails.removed.lock().unwrap().push((name.clone(), is_held));
        }
        self.folder.remove(name)
    }

    fn sync_folder(&self, folder: Option<&FileName>) -> io::Result<()> {
        self.fails.folders.fetch_add(1, Ordering::Relaxed);
        if self.fails.is_one() {
            return Err(io::Error::other("the disk did not take the folder"));
        }
        self.folder.sync_folder(folder)
    }

    fn sync_all(&self) -> io::Result<bool> {
        match *self.fails.all.lock().unwrap() {
            All::Unsure => self.folder.sync_all().map(|_| false),
            All::Fails => Err(io::Error::other("the disk did not take all of it")),
            All::Lies => Ok(true),
        }
    }

    fn list(&self, folder: Option<&FileName>, after: &str, most: usize) -> io::Result<Vec<Entry>> {
        if folder.is_some_and(|folder| folder.as_str() == "denied") {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        self.folder.list(folder, after, most)
    }

    fn facts(&self, name: &FileName) -> io::Result<FileFacts> {
        self.folder.facts(name)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.folder.free_bytes()
    }
}

fn on_unsure(disk: &SimDisk) -> (FileStore, Arc<Fails>) {
    let fails = Arc::<Fails>::default();
    let folder = Unsure { folder: disk.folder(), fails: fails.clone() };
    (FileStore::of(Folder::of_simulation(folder)).unwrap().receive(), fails)
}

/// Runs of the simulation.
fn seeds() -> std::ops::Range<u64> {
    if let Ok(seed) = std::env::var("LONGSHORE_SEED") {
        let seed = seed.parse().expect("a number in LONGSHORE_SEED");
        return seed..seed + 1;
    }
    0..if std::env::var_os("LONGSHORE_LONG").is_some_and(|value| value == "1") {
        10_000
    } else {
        2_000
    }
}

/// What there is, in bytes, as the disk has it.
fn lying(disk: &SimDisk) -> u64 {
    disk.names().iter().map(|at| disk.bytes(at).unwrap().len() as u64).sum()
}

#[test]
fn a_disk_that_is_full_or_fails_at_any_byte_leaves_what_can_be_gone_on_with() {
    for seed in 0..200 {
        let mut chance = SplitMix64::new(seed);
        let disk = SimDisk::new(seed);
        disk.short(chance.one_in(2));
        disk.put(&name("other"), content(seed, 500));
        let store = on(&disk);
        let len = 1 + chance.below(20_000);
        let (bytes, room) = (content(seed + 1, len), chance.below(len));
        let mut slot = store.slot(None, &name("d/f"), &wanted(&bytes)).unwrap();
        disk.capacity(500 + room as u64);
        let error = write_rest(&mut slot, &bytes, 1 + chance.below(9_000)).unwrap_err();
        assert_eq!(error.kind, FileErrorKind::NoSpace, "seed {seed}");
        assert!(error.text.starts_with("d/f: "), "{error}");
        assert_eq!((slot.have(), slot.digest()), (room as u64, digest(&bytes[..room])));
        if chance.one_in(2) {
            // There is room again at once.
            disk.capacity(u64::MAX);
            slot.write(room as u64, &bytes[room..], false).unwrap();
            store_one(slot, &bytes).unwrap();
        } else {
            slot.give_up(true);
            assert_eq!(taken(&store), lying(&disk), "seed {seed}");
            assert_eq!(kind(receive(&store, "d/f", &bytes)), FileErrorKind::NoSpace);
            disk.capacity(u64::MAX);
            disk.fail_writes(Some(io::ErrorKind::FileTooLarge));
            assert_eq!(kind(receive(&store, "d/f", &bytes)), FileErrorKind::TooLarge);
            assert_eq!(kind(receive(&store, "d/g", &bytes)), FileErrorKind::TooLarge);
            disk.fail_writes(None);
            assert!(disk.bytes(&name("d/f")).is_none());
            assert_eq!(receive(&store, "d/f", &bytes), Ok(room), "seed {seed}");
        }
        assert_eq!(disk.bytes(&name("d/f")), Some(bytes));
        assert_eq!(disk.bytes(&name("other")), Some(content(seed, 500)));
        assert_eq!(taken(&store), lying(&disk));
    }
}

/// What may lie under each name, as those know it who have sent it.
#[derive(Debug, Default)]
struct Known(BTreeMap<FileName, (Vec<Vec<u8>>, bool)>);

impl Known {
    fn put(&mut self, disk: &SimDisk, at: &str, bytes: &[u8]) {
        disk.put(&name(at), bytes);
        self.is(&name(at), bytes);
    }

    /// It was told that it lies there.
    fn is(&mut self, at: &FileName, bytes: &[u8]) {
        self.0.insert(at.clone(), (vec![bytes.to_vec()], true));
    }

    /// It may come to lie there.
    fn may_be(&mut self, at: &FileName, bytes: &[u8]) {
        self.0.entry(at.clone()).or_default().0.push(bytes.to_vec());
    }

    fn check(&self, disk: &SimDisk, seed: u64) {
        for at in disk.names().iter().filter(|at| !at.is_temporary()) {
            let (may, _) = self.0.get(at).unwrap_or_else(|| panic!("seed {seed}: {at}"));
            assert!(may.contains(&disk.bytes(at).unwrap()), "seed {seed}: other bytes in {at}");
        }
        for (at, (_, must)) in &self.0 {
            assert!(!must || disk.bytes(at).is_some(), "seed {seed}: {at} is lost");
        }
    }
}

/// A file as somebody sends it.
fn a_version(at: &FileName, version: u64) -> (Wanted, Vec<u8>) {
    let len = 1 + at.as_str().len() * 90;
    let bytes = content(version, len + usize::try_from(version).unwrap() * 90);
    (Wanted { modified: version, ..wanted(&bytes) }, bytes)
}

/// A store, who sends to it, and what they know.
struct Run {
    disk: SimDisk,
    store: FileStore,
    fails: Arc<Fails>,
    chance: SplitMix64,
    known: Known,
}

/// Some files come, one batch after the other: begun, gone on with, cut, stored.
fn some_transfers(run: &mut Run) {
    let Run { disk, store, fails, chance, known } = run;
    for _ in 0..=chance.below(3) {
        let mut slots = Vec::new();
        let mut sent = Vec::new();
        for _ in 0..if chance.one_in(4) { 14 } else { 1 + chance.below(4) } {
            let folder = ["", "d/", "d/e/", "g/h/i/"][chance.below(4)];
            let at = name(&format!("{folder}{}", chance.below(6)));
            let (wanted, bytes) = a_version(&at, chance.below(3) as u64);
            let Ok(mut slot) = store.slot(None, &at, &wanted) else { continue };
            let piece = 1 + chance.below(400);
            if chance.one_in(4) {
                let from = usize::try_from(slot.have()).unwrap();
                let some = chance.below(bytes.len() - from + 1);
                slot.write(from as u64, &bytes[from..from + some], false).ok();
                slot.give_up(!chance.one_in(4));
            } else if write_rest(&mut slot, &bytes, piece).is_ok() {
                known.may_be(&at, &bytes);
                let is_right = !chance.one_in(10);
                slots.push((slot, if is_right { digest(&bytes) } else { [1; 32] }));
                sent.push((at, bytes, is_right));
            }
        }
        match chance.below(16) {
            0..4 => disk.fail_sync(chance.below(6) as u64),
            4..7 => fails.set(chance.below(4) as u64, 1 + chance.below(3) as u64),
            _ => {}
        }
        let stored = FileStore::store_all(slots);
        assert_eq!(stored.len(), sent.len());
        for (stored, (at, bytes, is_right)) in stored.into_iter().zip(sent) {
            if let Ok(stored) = stored {
                assert!(stored == at && is_right);
                known.is(&at, &bytes);
            }
        }
        disk.fail_sync(0);
        fails.set(0, 0);
    }
}

/// The store as it was, with chance of the seed.
fn a_store(seed: u64) -> Run {
    let mut chance = SplitMix64::new(seed);
    let disk = SimDisk::new(seed);
    let mut known = Known::default();
    known.put(&disk, "3", b"it was there before");
    known.put(&disk, "d/4", b"this one, too");
    disk.short(chance.one_in(2));
    let (store, fails) = on_unsure(&disk);
    let store = if chance.one_in(2) { store } else { store.overwrite() };
    Run { disk, store, fails, chance, known }
}

#[test]
fn what_is_counted_is_what_lies_there() {
    for seed in seeds() {
        let mut run = a_store(seed);
        run.store.count().unwrap();
        for _ in 0..3 {
            some_transfers(&mut run);
            run.known.check(&run.disk, seed);
            assert_eq!(taken(&run.store), lying(&run.disk), "seed {seed}");
        }
        assert!(run.store.place.active_names().is_empty());
        run.disk.crash();
        run.known.check(&run.disk, seed);
    }
}

/// The power goes at some operation. Then everything is sent again, and all of it is there.
fn crash_once(seed: u64, operation: Option<u64>) -> u64 {
    let mut run = a_store(seed);
    let disk = run.disk.clone();
    let before = disk.operations();
    if let Some(operation) = operation {
        disk.crash_at(before + operation);
    }
    some_transfers(&mut run);
    let operations = disk.operations() - before;
    let Run { store, known, .. } = run;
    drop(store);
    disk.restart();
    known.check(&disk, seed);
    let store = on(&disk).overwrite();
    let mut all: Vec<_> = known.0.keys().cloned().collect();
    all.push(name("new"));
    for at in all {
        for version in 0..3 {
            let (wanted, bytes) = a_version(&at, version);
            let mut slot = store.slot(None, &at, &wanted).unwrap();
            write_rest(&mut slot, &bytes, 500).unwrap();
            store_one(slot, &bytes).unwrap();
            assert_eq!(disk.bytes(&at), Some(bytes), "seed {seed}");
        }
    }
    assert_eq!(taken(&store), lying(&disk), "seed {seed}");
    disk.crash();
    let store = on(&disk).keep_partials(Duration::ZERO);
    store.clean().unwrap();
    assert_eq!(partials(&disk), 0);
    for at in known.0.keys() {
        assert_eq!(disk.bytes(at), Some(a_version(at, 2).1), "seed {seed}");
    }
    operations
}

#[test]
fn no_crash_leaves_a_name_with_other_bytes() {
    for seed in seeds() {
        let operations = crash_once(seed, None).max(1);
        let mut chance = SplitMix64::new(seed + 1);
        for _ in 0..3 {
            crash_once(seed, Some(1 + chance.next_u64() % operations));
        }
    }
}

#[test]
fn no_crash_at_any_operation_leaves_a_name_with_other_bytes() {
    for seed in 0..15 {
        for operation in 1..=crash_once(seed, None) {
            crash_once(seed, Some(operation));
        }
    }
}

#[test]
fn what_a_disk_did_not_take_is_not_told_to_be_there() {
    for count in [1, 9] {
        for failing in 1..=count + 2 {
            let disk = SimDisk::new(failing);
            let store = on(&disk);
            let bytes = |number| content(number, 900);
            let slots = (0..count).map(|number| {
                let at = name(&format!("d/{number}"));
                let mut slot = store.slot(None, &at, &wanted(&bytes(number))).unwrap();
                slot.write(0, &bytes(number), false).unwrap();
                (slot, digest(&bytes(number)))
            });
            let slots = slots.collect();
            disk.fail_sync(failing);
            let stored = FileStore::store_all(slots);
            disk.crash();
            for (number, stored) in (0..).zip(&stored) {
                let there = disk.bytes(&name(&format!("d/{number}")));
                match stored {
                    Ok(_) => assert_eq!(there, Some(bytes(number)), "{failing} of {count}"),
                    Err(error) => {
                        assert_eq!(error.kind, FileErrorKind::Disk);
                        assert!(there.is_none_or(|there| there == bytes(number)));
                    }
                }
            }
            let failed = stored.iter().filter(|stored| stored.is_err()).count() as u64;
            // Many are told to be written first; that fails for nobody alone.
            let expected = if count == 9 { failing - 1 } else { failing.min(1) };
            assert_eq!(failed, expected.min(count), "{failing} of {count}");
        }
    }
}

#[test]
fn a_file_whose_name_the_disk_did_not_take_can_be_sent_again() {
    for failing in 0..2 {
        let disk = SimDisk::new(1);
        disk.put(&name("d/there"), "before");
        let (store, fails) = on_unsure(&disk);
        let bytes = content(1, 900);
        fails.set(failing, 1);
        let error = receive(&store, "d/f", &bytes).unwrap_err();
        assert_eq!(error.to_string(), "the disk failed: d/f: the disk did not take the folder");
        assert_eq!((disk.bytes(&name("d/f")), taken(&store)), (None, 906));
        assert_eq!(receive(&store, "d/f", &bytes), Ok(900));
        // What has replaced another one stays.
        let store = store.overwrite();
        fails.set(failing, 1);
        assert_eq!(kind(receive(&store, "d/there", &bytes)), FileErrorKind::Disk);
        assert_eq!((disk.bytes(&name("d/there")), taken(&store)), (Some(bytes), 1_800));
        assert_eq!(partials(&disk), 0);
    }
}

/// A system tells once what it could not write: perhaps to another one who asked.
#[test]
fn a_sync_of_all_is_not_believed_of_what_was_begun_before_one_failed() {
    let disk = SimDisk::new(1);
    let (store, fails) = on_unsure(&disk);
    let begin = |of: &str, numbers: std::ops::Range<u64>| {
        let slots = numbers.map(|number| {
            let (at, bytes) = (name(&format!("{of}/{number}")), content(number, 900));
            let mut slot = store.slot(None, &at, &wanted(&bytes)).unwrap();
            slot.write(0, &bytes, false).unwrap();
            (slot, digest(&bytes))
        });
        slots.collect::<Vec<_>>()
    };
    let is_stored = |slots| FileStore::store_all(slots).iter().all(Result::is_ok);
    let mut before = begin("before", 0..5);
    *fails.all.lock().unwrap() = All::Fails;
    assert!(is_stored(begin("failed", 0..9)), "each by itself");
    before.extend(begin("before", 5..9));
    *fails.all.lock().unwrap() = All::Lies;
    assert!(is_stored(before));
    // Of what is begun from then on it tells, so that the next ones are as fast as the first.
    let folders = fails.folders.load(Ordering::Relaxed);
    assert!(is_stored(begin("behind", 0..9)));
    assert_eq!(fails.folders.load(Ordering::Relaxed), folders);
    disk.crash();
    for number in 0..9 {
        let there = disk.bytes(&name(&format!("before/{number}")));
        assert!(there == Some(content(number, 900)), "{number}");
    }
}

/// Somebody may go on with it in the same moment.
#[test]
fn a_partial_is_held_while_it_is_removed() {
    let disk = SimDisk::new(1);
    let (store, fails) = on_unsure(&disk);
    receive_some(&store, "f", b"abcd", 2);
    let partial = disk.names().remove(0);
    *fails.removed_of.lock().unwrap() = Some(store.clone());
    assert_eq!(store.keep_partials(Duration::ZERO).clean(), Ok(1));
    *fails.removed_of.lock().unwrap() = None;
    assert!(fails.removed.lock().unwrap().contains(&(partial, true)));
}

/// Its owner may have something in it that is nobody's business.
#[test]
fn a_folder_that_may_not_be_looked_into_is_in_nobodys_way() {
    let disk = SimDisk::new(1);
    disk.put(&name("denied/f"), "secret");
    disk.put(&name("f"), "abc");
    let (store, _) = on_unsure(&disk);
    receive(&store, "g", b"abcd").unwrap();
    assert_eq!(taken(&store), 3 + 4, "of what can be seen");
    assert_eq!(store.clean(), Ok(0));
}

/// Two stores of one folder, as two processes have them: the second goes on with what the first has.
#[test]
fn what_another_process_writes_to_gets_no_name() {
    let (disk, bytes) = (SimDisk::new(1), content(7, 1_000));
    let (old, new) = (on(&disk), on(&disk));
    let mut first = old.slot(None, &name("f"), &wanted(&bytes)).unwrap();
    first.write(0, &bytes, false).unwrap();
    let mut second = new.slot(None, &name("f"), &wanted(&bytes)).unwrap();
    second.write(0, &bytes[..500], true).unwrap();
    assert_eq!(kind(store_one(first, &bytes)), FileErrorKind::Disk);
    assert_eq!((disk.bytes(&name("f")), taken(&old)), (None, 0));
    second.write(500, &bytes[500..], false).unwrap();
    store_one(second, &bytes).unwrap();
    assert_eq!(disk.bytes(&name("f")), Some(bytes));
}
