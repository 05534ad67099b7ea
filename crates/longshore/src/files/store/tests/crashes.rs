//! What a crash, a full disk or a failing one leaves.

use super::*;
use std::collections::BTreeMap;

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
        let mut slot = store.begin(None, &name("d/f"), &wanted(&bytes)).unwrap();
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

/// Some files come, one batch after the other: begun, gone on with, cut, stored.
fn some_transfers(store: &FileStore, chance: &mut SplitMix64, known: &mut Known, disk: &SimDisk) {
    for _ in 0..1 + chance.below(3) {
        let mut slots = Vec::new();
        let mut sent = Vec::new();
        for _ in 0..if chance.one_in(4) { 14 } else { 1 + chance.below(4) } {
            let folder = ["", "d/", "d/e/", "g/h/i/"][chance.below(4)];
            let at = name(&format!("{folder}{}", chance.below(6)));
            let version = chance.next_u64() % 3;
            let len = 1 + (version as usize + at.as_str().len()) * 90;
            let bytes = content(version, len);
            let modified = version;
            let wanted = Wanted { modified, ..wanted(&bytes) };
            let Ok(mut slot) = store.begin(None, &at, &wanted) else { continue };
            let piece = 1 + chance.below(400);
            if chance.one_in(4) {
                let some = chance.below(len - usize::try_from(slot.have()).unwrap() + 1);
                let from = usize::try_from(slot.have()).unwrap();
                slot.write(from as u64, &bytes[from..from + some], false).ok();
                slot.give_up(!chance.one_in(4));
            } else if write_rest(&mut slot, &bytes, piece).is_ok() {
                known.may_be(&at, &bytes);
                let is_right = !chance.one_in(10);
                slots.push((slot, if is_right { digest(&bytes) } else { [1; 32] }));
                sent.push((at, bytes, is_right));
            }
        }
        if chance.one_in(4) {
            disk.fail_sync(chance.below(6) as u64);
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
    }
}

/// The store as it was, with chance of the seed.
fn a_store(seed: u64) -> (SimDisk, FileStore, SplitMix64, Known) {
    let mut chance = SplitMix64::new(seed);
    let disk = SimDisk::new(seed);
    let mut known = Known::default();
    known.put(&disk, "3", b"it was there before");
    known.put(&disk, "d/4", b"this one, too");
    disk.short(chance.one_in(2));
    let store = if chance.one_in(2) { on(&disk) } else { on(&disk).overwrite() };
    (disk, store, chance, known)
}

#[test]
fn what_is_counted_is_what_lies_there() {
    for seed in seeds() {
        let (disk, store, mut chance, mut known) = a_store(seed);
        for _ in 0..3 {
            some_transfers(&store, &mut chance, &mut known, &disk);
            known.check(&disk, seed);
            assert!(taken(&store) == lying(&disk) || taken(&store) == 0, "seed {seed}");
        }
        assert!(store.place.active_names().is_empty());
        disk.crash();
        known.check(&disk, seed);
    }
}

/// The power goes at some operation. Then everything is sent again, and all of it is there.
fn crash_once(seed: u64, operation: Option<u64>) -> u64 {
    let (disk, store, mut chance, mut known) = a_store(seed);
    let before = disk.operations();
    if let Some(operation) = operation {
        disk.crash_at(before + operation);
    }
    some_transfers(&store, &mut chance, &mut known, &disk);
    let operations = disk.operations() - before;
    drop(store);
    disk.restart();
    known.check(&disk, seed);
    let store = on(&disk).overwrite();
    let bytes = content(2, 1_000);
    let mut all: Vec<_> = known.0.keys().cloned().collect();
    all.push(name("new"));
    for at in all {
        for version in 0..3 {
            let len = 1 + (version as usize + at.as_str().len()) * 90;
            let bytes = if version == 2 { bytes.clone() } else { content(version, len) };
            let wanted = Wanted { modified: version, ..wanted(&bytes) };
            let mut slot = store.begin(None, &at, &wanted).unwrap();
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
        assert_eq!(disk.bytes(at), Some(bytes.clone()), "seed {seed}");
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
                let mut slot = store.begin(None, &at, &wanted(&bytes(number))).unwrap();
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
    let disk = SimDisk::new(1);
    disk.put(&name("d/there"), "before");
    let store = on(&disk);
    let bytes = content(1, 900);
    let mut slot = store.begin(None, &name("d/f"), &wanted(&bytes)).unwrap();
    slot.write(0, &bytes, false).unwrap();
    slot.sync().unwrap();
    slot.rename().unwrap();
    let error = slot.unnamed(&io::Error::other("no"));
    assert_eq!(error.to_string(), "the disk failed: d/f: no");
    assert_eq!((disk.bytes(&name("d/f")), taken(&store)), (None, 906));
    assert_eq!(receive(&store, "d/f", &bytes), Ok(900));
    // What has replaced another one stays.
    let store = store.overwrite();
    let mut slot = store.begin(None, &name("d/there"), &wanted(&bytes)).unwrap();
    slot.write(0, &bytes, false).unwrap();
    slot.rename().unwrap();
    slot.unnamed(&io::Error::other("no"));
    assert_eq!((disk.bytes(&name("d/there")), taken(&store)), (Some(bytes), 1_800));
    assert_eq!(partials(&disk), 0);
}
