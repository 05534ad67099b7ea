//! The simulated disk: the promises of folders, and what a crash may do.
#![expect(clippy::unwrap_used, reason = "tests and what they share")]

use longshore_base::{FileName, SplitMix64};
use longshore_port::contract::folders::FOLDER_PROMISES;
use longshore_port::{FileHandle, Folder};
use longshore_sim::SimDisk;
use std::collections::BTreeSet;
use std::io;

/// Seeds that most is tested with.
const SEEDS: u64 = 3_000;

fn name(name: &str) -> FileName {
    FileName::parse(name).unwrap()
}

/// All bytes, in as many writes as it takes.
fn write(file: &FileHandle, bytes: &[u8], offset: u64) -> io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        done += file.write_at(&bytes[done..], offset + done as u64)?;
    }
    Ok(())
}

/// What a careful program does to put a file in place.
fn replace(folder: &Folder, name: &FileName, bytes: &[u8]) -> io::Result<()> {
    let temporary = name.temporary(1);
    let file = folder.create(&temporary)?;
    let (first, second) = bytes.split_at(bytes.len() / 2);
    write(&file, second, first.len() as u64)?;
    write(&file, first, 0)?;
    file.sync()?;
    folder.rename(&temporary, name, true)?;
    folder.sync_folder(name.parent().as_ref())
}

#[test]
fn a_disk_keeps_the_promises_of_folders() {
    for (promise, test) in FOLDER_PROMISES {
        let seeds = if promise.contains("hostile") { 2 } else { 100 };
        for seed in 0..seeds {
            let disk = SimDisk::new(seed);
            disk.short(seed % 2 == 1);
            test(&disk.folder());
        }
    }
}

/// Each outcome is there in some world: kept, lost, torn, and empty under its name.
#[test]
fn what_was_not_synced_may_be_lost() {
    let bytes = SplitMix64::new(1).bytes(2_000);
    let mut outcomes = BTreeSet::new();
    for seed in 0..SEEDS {
        let disk = SimDisk::new(seed);
        let file = disk.folder().create(&name("a")).unwrap();
        write(&file, &bytes, 0).unwrap();
        assert!(disk.bytes(&name("a")).unwrap() == bytes, "before a crash all is there");
        disk.crash();
        outcomes.insert(match disk.bytes(&name("a")) {
            None => "lost",
            Some(left) if left == bytes => "kept",
            Some(left) if left.is_empty() => "empty",
            Some(left) if left.len() < bytes.len() => "short",
            Some(_) => "torn",
        });
    }
    assert_eq!(outcomes, BTreeSet::from(["empty", "kept", "lost", "short", "torn"]));
}

#[test]
fn bytes_and_names_are_synced_apart() {
    let (mut lost, mut torn) = (0, 0);
    for seed in 0..SEEDS {
        let disk = SimDisk::new(seed);
        let folder = disk.folder();
        let (a, b) = (folder.create(&name("a")).unwrap(), folder.create(&name("b")).unwrap());
        a.write_at(b"bytes", 0).unwrap();
        a.sync().unwrap();
        disk.crash();
        lost += u64::from(disk.bytes(&name("a")).is_none());
        assert!(disk.bytes(&name("a")).is_none_or(|bytes| bytes == b"bytes"));
        drop(b);
        let folder = disk.folder();
        let c = folder.create(&name("c")).unwrap();
        c.write_at(b"bytes", 0).unwrap();
        folder.sync_folder(None).unwrap();
        disk.crash();
        torn += u64::from(disk.bytes(&name("c")).unwrap() != b"bytes");
    }
    assert!(lost > SEEDS / 4 && torn > SEEDS / 4, "{lost} {torn}");
}

#[test]
fn what_was_synced_with_its_name_is_never_lost() {
    for seed in 0..SEEDS {
        let disk = SimDisk::new(seed);
        disk.short(seed % 3 == 0);
        let folder = disk.folder();
        folder.make_folders(&name("d/e")).unwrap();
        folder.sync_folder(None).unwrap();
        folder.sync_folder(Some(&name("d"))).unwrap();
        let (a, bytes) = (name("d/e/a"), SplitMix64::new(seed).bytes(3_000));
        replace(&folder, &a, b"old").unwrap();
        replace(&folder, &a, &bytes).unwrap();
        disk.crash();
        assert!(disk.bytes(&a).unwrap() == bytes, "seed {seed}");
        let folder = disk.folder();
        folder.create(&name("b")).unwrap().write_at(b"b", 0).unwrap();
        folder.sync_all().unwrap();
        folder.remove(&a).unwrap();
        folder.sync_folder(a.parent().as_ref()).unwrap();
        disk.crash();
        assert_eq!((disk.bytes(&a), disk.bytes(&name("b"))), (None, Some(b"b".to_vec())));
    }
}

/// The power goes with each operation in turn: there is the old file or the new one, whole.
#[test]
fn a_file_is_replaced_whole_wherever_the_power_goes() {
    let a = name("a");
    let (old, new) = (SplitMix64::new(1).bytes(1_000), SplitMix64::new(2).bytes(5_000));
    let (mut olds, mut news) = (0, 0);
    for seed in 0..SEEDS {
        let disk = SimDisk::new(seed);
        disk.put(&a, &*old);
        assert_eq!(disk.operations(), 0);
        let at = 1 + seed % 8;
        disk.crash_at(at);
        let done = replace(&disk.folder(), &a, &new);
        assert_eq!(done.is_ok(), at > 6, "it takes 6 operations: {}", disk.operations());
        disk.restart();
        let left = disk.bytes(&a).expect("the one or the other");
        assert!(left == old || left == new, "seed {seed}, operation {at}");
        assert!(done.is_err() || left == new, "seed {seed}: what was told as done is done");
        (olds, news) = (olds + u64::from(left == old), news + u64::from(left == new));
        // A second try finds at most a temporary file, and succeeds.
        disk.folder().remove(&a.temporary(1)).ok();
        replace(&disk.folder(), &a, &new).unwrap();
        assert!(disk.bytes(&a).unwrap() == new && disk.names() == [a.clone()]);
    }
    assert!(olds > SEEDS / 4 && news > SEEDS / 4, "{olds} {news}");
}

/// Who leaves a sync out is found out: that is what the disk is for.
#[test]
fn a_rename_of_what_was_not_synced_loses_both() {
    let a = name("a");
    let lost = |seed: &u64| {
        let disk = SimDisk::new(*seed);
        disk.put(&a, "old");
        let folder = disk.folder();
        folder.create(&a.temporary(1)).unwrap().write_at(b"new", 0).unwrap();
        folder.rename(&a.temporary(1), &a, true).unwrap();
        folder.sync_folder(None).unwrap();
        disk.crash();
        !["old", "new"].map(|whole| Some(whole.into())).contains(&disk.bytes(&a))
    };
    assert!((0..100).filter(lost).count() > 30);
}

/// Whatever is done to names, in any order and wherever the power goes: a file that was durable once is
/// under one of the names that it had since, until it was removed or replaced.
#[test]
fn renames_never_lose_what_was_durable() {
    for seed in 0..SEEDS {
        let disk = SimDisk::new(seed);
        let mut chance = SplitMix64::new(seed);
        let folders = ["", "x/", "y/"];
        disk.put(&name("x/other"), "");
        disk.put(&name("y/other"), "");
        disk.put(&name("a"), "the file");
        let mut at = name("a");
        let folder = disk.folder();
        for step in 0..chance.below(12) {
            let place = folders[chance.below(3)];
            match chance.below(4) {
                // The name that it had is used again by others.
                0 => drop(folder.create(&name(&format!("{place}b{step}"))).unwrap()),
                1 => {
                    let target = name(place.trim_end_matches('/').get(..1).unwrap_or("x"));
                    folder.sync_folder((!place.is_empty()).then_some(&target)).unwrap();
                }
                _ => {
                    let to = name(&format!("{place}c{step}"));
                    folder.rename(&at, &to, chance.one_in(2)).unwrap();
                    if chance.one_in(2) {
                        drop(folder.create(&at).unwrap());
                    }
                    at = to;
                }
            }
        }
        disk.crash();
        let whole = |name: &FileName| disk.bytes(name).is_some_and(|bytes| bytes == b"the file");
        assert_eq!(disk.names().iter().filter(|name| whole(name)).count(), 1, "seed {seed}");
    }
}

#[test]
fn what_was_open_before_a_crash_is_of_no_use() {
    let disk = SimDisk::new(1);
    disk.put(&name("a"), "bytes");
    let folder = disk.folder();
    let (read, written) = (folder.open_file(&name("a")).unwrap(), folder.open_to_write(&name("a")));
    let written = written.unwrap();
    disk.crash();
    assert!(read.read_at(&mut [0], 0).is_err() && read.facts().is_err());
    assert!(written.write_at(b"x", 0).is_err() && written.sync().is_err());
    assert!(written.set_len(0).is_err() && folder.list(None, "", 9).is_err());
    let again = disk.folder().open_file(&name("a")).unwrap();
    drop((read, written));
    assert_eq!(again.read_at(&mut [0; 9], 0).unwrap(), 5);
}

#[test]
fn a_full_disk_writes_what_it_can_and_then_nothing() {
    let disk = SimDisk::new(1);
    disk.capacity(100);
    disk.put(&name("a"), vec![0; 30]);
    let folder = disk.folder();
    assert_eq!(folder.free_bytes().unwrap(), 70);
    let file = folder.create(&name("b")).unwrap();
    assert_eq!(file.write_at(&[1; 100], 0).unwrap(), 70);
    let full = Some(io::ErrorKind::StorageFull);
    assert_eq!(file.write_at(&[1], 70).err().map(|error| error.kind()), full);
    assert_eq!(file.set_len(71).err().map(|error| error.kind()), full);
    assert_eq!(file.write_at(&[2; 70], 0).unwrap(), 70, "what is there is written over");
    let error = longshore_port::PortError::from_io(
        longshore_port::Call::File,
        &file.write_at(&[1], 70).unwrap_err(),
    );
    assert_eq!(error.kind, longshore_port::ErrorKind::NoSpace);
    folder.remove(&name("b")).unwrap();
    assert_eq!(folder.free_bytes().unwrap(), 0, "somebody has it open");
    drop(file);
    assert_eq!(folder.free_bytes().unwrap(), 70);
    let large = folder.create(&name("c")).unwrap().write_at(b"x", 1 << 40).unwrap_err();
    assert_eq!(large.kind(), io::ErrorKind::FileTooLarge);
}

/// What a sync that failed had to write may never be written, though a later one succeeds.
#[test]
fn a_sync_that_failed_is_not_made_good_by_the_next() {
    let lost = |seed: &u64| {
        let disk = SimDisk::new(*seed);
        disk.put(&name("a"), "old");
        let file = disk.folder().open_to_write(&name("a")).unwrap();
        file.write_at(b"new", 0).unwrap();
        disk.fail_sync(1);
        assert!(file.sync().is_err());
        file.sync().unwrap();
        assert_eq!(disk.bytes(&name("a")).unwrap(), b"new");
        disk.crash();
        disk.bytes(&name("a")).unwrap() == b"old"
    };
    let lost = (0..100).filter(lost).count();
    assert!((30..70).contains(&lost), "{lost}");
}

#[test]
fn writes_fail_as_they_are_told_to() {
    let disk = SimDisk::new(1);
    let folder = disk.folder();
    let file = folder.create(&name("a")).unwrap();
    disk.fail_writes(Some(io::ErrorKind::QuotaExceeded));
    for failed in
        [file.write_at(b"x", 0).err(), file.set_len(9).err(), folder.create(&name("b")).err()]
    {
        assert_eq!(failed.unwrap().kind(), io::ErrorKind::QuotaExceeded);
    }
    disk.fail_writes(None);
    file.write_at(b"x", 0).unwrap();
}

#[test]
fn somebody_else_may_alter_a_file() {
    let disk = SimDisk::new(1);
    let a = name("d/a");
    disk.put(&a, "some bytes");
    let file = disk.folder().open_file(&a).unwrap();
    let before = file.facts().unwrap();
    disk.truncate(&a, 4);
    assert_eq!(file.read_at(&mut [0; 99], 0).unwrap(), 4);
    disk.change(&a, "other");
    let now = file.facts().unwrap();
    assert!(now.identity == before.identity && now.changed > before.changed);
    disk.put(&a, "a new file");
    assert_ne!(disk.folder().facts(&a).unwrap().identity, before.identity);
    disk.crash();
    assert_eq!(disk.bytes(&a).unwrap(), b"a new file");
}

#[test]
fn one_seed_is_one_run() {
    let run = |seed| {
        let disk = SimDisk::new(seed);
        disk.short(true);
        let folder = disk.folder();
        for file in 0..20 {
            let file = folder.create(&name(&format!("f{file}"))).unwrap();
            write(&file, &[7; 999], 0).unwrap();
        }
        disk.crash();
        let names = disk.names();
        let bytes: Vec<_> = names.iter().map(|name| disk.bytes(name)).collect();
        (names, bytes, disk.operations())
    };
    assert!(run(1) == run(1) && run(1) != run(2));
}
