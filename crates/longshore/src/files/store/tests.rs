//! A store on a simulated disk, and the main ways on a real one.

mod crashes;
mod limits;
mod real;

use super::*;
use longshore_base::SplitMix64;
use longshore_sim::SimDisk;

fn name(name: &str) -> FileName {
    FileName::parse(name).unwrap()
}

fn wanted(bytes: &[u8]) -> Wanted {
    of_len(bytes.len() as u64)
}

fn of_len(bytes: u64) -> Wanted {
    Wanted { bytes, start: 0, total: bytes, modified: 7 }
}

fn digest(bytes: &[u8]) -> Digest {
    *blake3::hash(bytes).as_bytes()
}

fn content(seed: u64, len: usize) -> Vec<u8> {
    SplitMix64::new(seed).bytes(len)
}

fn on(disk: &SimDisk) -> FileStore {
    FileStore::of(disk.folder()).unwrap().receive()
}

impl FileStore {
    /// What a file is put into that does not lie there.
    fn slot(
        &self,
        peer: Option<IpAddr>,
        name: &FileName,
        offered: &Wanted,
    ) -> Result<Slot, FileError> {
        match self.begin(peer, name, offered, &mut Near::default())? {
            Ready::Slot(slot) => Ok(*slot),
            Ready::There(there) => Err(there.is_another()),
        }
    }
}

/// Writes what is missing as a sender does that was told what lies there. What lay there and was right.
fn write_rest(slot: &mut Slot, bytes: &[u8], piece: usize) -> Result<usize, FileError> {
    let have = usize::try_from(slot.have()).unwrap();
    let is_right = slot.digest() == digest(&bytes[..have]);
    let mut at = if is_right { have } else { 0 };
    for piece in bytes[at..].chunks(piece) {
        slot.write(at as u64, piece, !is_right && at == 0)?;
        at += piece.len();
    }
    Ok(if is_right { have } else { 0 })
}

fn store_one(slot: Slot, bytes: &[u8]) -> Result<FileName, FileError> {
    let mut stored = FileStore::store_all(vec![(slot, digest(bytes))]);
    assert_eq!(stored.len(), 1);
    stored.remove(0)
}

/// All of it. How much of it lay there before.
fn receive(store: &FileStore, at: &str, bytes: &[u8]) -> Result<usize, FileError> {
    let mut slot = store.slot(None, &name(at), &wanted(bytes))?;
    let had = write_rest(&mut slot, bytes, 1_000)?;
    assert_eq!(store_one(slot, bytes)?, name(at));
    Ok(had)
}

/// The first bytes of it, and then its sender is gone.
fn receive_some(store: &FileStore, at: &str, bytes: &[u8], len: usize) {
    let mut slot = store.slot(None, &name(at), &wanted(bytes)).unwrap();
    slot.write(slot.have(), &bytes[..len], false).unwrap();
    slot.give_up(true);
}

fn kind<T: std::fmt::Debug>(result: Result<T, FileError>) -> FileErrorKind {
    result.unwrap_err().kind
}

fn partials(disk: &SimDisk) -> usize {
    disk.names().iter().filter(|name| name.is_temporary()).count()
}

/// What is counted in the store.
fn taken(store: &FileStore) -> u64 {
    store.place.quota.taken()
}

#[test]
fn a_file_is_there_when_it_is_whole_and_stays_after_a_crash() {
    let disk = SimDisk::new(1);
    let store = on(&disk);
    let bytes = content(1, 5_000);
    let mut slot = store.slot(None, &name("a/b/c"), &wanted(&bytes)).unwrap();
    assert_eq!((slot.have(), slot.digest()), (0, digest(b"")));
    slot.write(0, &bytes[..4_000], false).unwrap();
    assert_eq!((slot.have(), slot.digest()), (4_000, digest(&bytes[..4_000])));
    slot.write(4_000, &bytes[4_000..], false).unwrap();
    assert_eq!(disk.bytes(&name("a/b/c")), None);
    store_one(slot, &bytes).unwrap();
    disk.crash();
    assert_eq!(disk.bytes(&name("a/b/c")), Some(bytes));
    assert_eq!(disk.names().len(), 1);
    receive(&on(&disk), "empty", b"").unwrap();
    disk.crash();
    assert_eq!(disk.bytes(&name("empty")), Some(vec![]));
}

#[test]
fn what_lies_there_of_the_same_file_is_gone_on_with() {
    let disk = SimDisk::new(1);
    let bytes = content(2, 600_000);
    receive_some(&on(&disk), "d/f", &bytes, 500_000);
    assert_eq!(disk.names().len(), 1, "kept over a restart");
    disk.short(true);
    assert_eq!(receive(&on(&disk), "d/f", &bytes), Ok(500_000));
    assert_eq!((disk.bytes(&name("d/f")), partials(&disk)), (Some(bytes), 0));
}

#[test]
fn another_version_of_a_file_is_another_partial() {
    let disk = SimDisk::new(1);
    let store = on(&disk);
    let (old, new) = (content(3, 3_000), content(4, 3_000));
    receive_some(&store, "f", &old, 2_000);
    let whole = wanted(&new);
    for other in [
        Wanted { bytes: 2_999, ..whole },
        Wanted { start: 1, ..whole },
        Wanted { total: 3_001, ..whole },
        Wanted { modified: 8, ..whole },
    ] {
        let slot = store.slot(None, &name("f"), &other).unwrap();
        assert_eq!(slot.have(), 0, "{other:?}");
    }
    for other in ["g", "d/f", "ff"] {
        assert_eq!(store.slot(None, &name(other), &whole).unwrap().have(), 0, "{other}");
    }
    assert_eq!(partials(&disk), 1, "what has nothing in it is not kept");
    // As far as anybody knows the same one, but it has other bytes.
    assert_eq!(receive(&store, "f", &new), Ok(0));
    assert_eq!(disk.bytes(&name("f")), Some(new));
    assert_eq!((partials(&disk), taken(&store)), (0, 3_000));
}

#[test]
fn a_partial_that_is_longer_than_the_file_is_cut() {
    let disk = SimDisk::new(1);
    let store = on(&disk);
    let bytes = content(5, 1_000);
    receive_some(&store, "f", &bytes, 1_000);
    let partial = disk.names().remove(0);
    disk.truncate(&partial, 1_500);
    let slot = store.slot(None, &name("f"), &wanted(&bytes)).unwrap();
    assert_eq!((slot.have(), slot.digest()), (1_000, digest(&bytes)));
    store_one(slot, &bytes).unwrap();
    assert_eq!(disk.bytes(&name("f")), Some(bytes));
}

#[test]
fn what_is_not_what_was_sent_is_removed() {
    let disk = SimDisk::new(1);
    let store = on(&disk);
    let bytes = content(6, 1_000);
    let mut slot = store.slot(None, &name("f"), &wanted(&bytes)).unwrap();
    slot.write(0, &bytes, false).unwrap();
    let error = store_one(slot, b"something else").unwrap_err();
    assert_eq!(error.kind, FileErrorKind::DigestMismatch);
    assert_eq!(&*error.text, "f: 1000 bytes with another digest");
    assert!(disk.names().is_empty());
    let mut slot = store.slot(None, &name("f"), &wanted(&bytes)).unwrap();
    slot.write(0, &bytes[..999], false).unwrap();
    let error = store_one(slot, &bytes[..999]).unwrap_err();
    assert_eq!(&*error.text, "f: 999 of 1000 bytes");
    assert!(disk.names().is_empty());
    assert_eq!(taken(&store), 0);
}

#[test]
fn bytes_follow_what_lies_there_and_are_no_more_than_was_said() {
    let disk = SimDisk::new(1);
    let mut slot = on(&disk).slot(None, &name("f"), &of_len(10)).unwrap();
    slot.write(0, b"01234", false).unwrap();
    for (offset, bytes, anew) in
        [(4, "4", false), (6, "6", false), (0, "0", false), (5, "567890", false), (1, "1", true)]
    {
        let error = slot.write(offset, bytes.as_bytes(), anew).unwrap_err();
        assert_eq!(error.kind, FileErrorKind::BadRange, "{offset} {bytes}: {error}");
    }
    assert_eq!(slot.have(), 0, "forgotten at the last one");
    slot.write(0, b"0123456789", true).unwrap();
    store_one(slot, b"0123456789").unwrap();
    assert_eq!(disk.bytes(&name("f")).unwrap(), b"0123456789");
}

#[test]
fn nothing_is_received_until_it_is_said() {
    let disk = SimDisk::new(1);
    let store = FileStore::of(disk.folder()).unwrap();
    let error = store.slot(None, &name("d/f"), &of_len(1)).unwrap_err();
    assert_eq!(error.to_string(), "refused: d/f: nothing is received here");
    receive_some(&on(&disk), "f", b"ab", 1);
    assert_eq!(store.keep_partials(Duration::ZERO).clean(), Ok(0), "it is only read");
    assert_eq!(partials(&disk), 1);
}

#[test]
fn a_file_that_is_there_is_replaced_only_where_that_is_allowed() {
    let disk = SimDisk::new(1);
    disk.put(&name("f"), "old");
    disk.put(&name("d/g"), "old");
    let store = on(&disk);
    let error = receive(&store, "f", b"newer").unwrap_err();
    assert_eq!(error.kind, FileErrorKind::Exists);
    assert_eq!(&*error.text, "f: one of 3 bytes is not replaced");
    let store = store.overwrite();
    receive(&store, "f", b"newer").unwrap();
    assert_eq!(disk.bytes(&name("f")).unwrap(), b"newer");
    assert_eq!(taken(&store), 8);
    assert_eq!(kind(receive(&store, "d", b"")), FileErrorKind::Exists, "a folder");
    assert_eq!(kind(receive(&store, "f/below", b"")), FileErrorKind::Exists, "no folder");
    assert_eq!(disk.names(), [name("d/g"), name("f")]);
}

#[test]
fn a_file_that_comes_up_meanwhile_is_not_replaced() {
    let disk = SimDisk::new(1);
    let store = on(&disk);
    let mut slot = store.slot(None, &name("f"), &of_len(3)).unwrap();
    slot.write(0, b"new", false).unwrap();
    disk.put(&name("f"), "other");
    assert_eq!(kind(store_one(slot, b"new")), FileErrorKind::Exists);
    assert_eq!((disk.bytes(&name("f")).unwrap(), partials(&disk)), (b"other".to_vec(), 0));
    assert_eq!(taken(&store), 0);
}

#[test]
fn a_name_is_received_once_at_a_time() {
    let disk = SimDisk::new(1);
    let store = on(&disk);
    let first = store.slot(None, &name("f"), &of_len(3)).unwrap();
    let again = || store.slot(None, &name("f"), &of_len(3));
    let other = || store.clone().slot(None, &name("f"), &of_len(4));
    assert_eq!(&*again().unwrap_err().text, "f: it is being received");
    assert_eq!((kind(again()), kind(other())), (FileErrorKind::Busy, FileErrorKind::Busy));
    assert!(store.slot(None, &name("d/f"), &of_len(3)).is_ok());
    assert_eq!(taken(&store), 3);
    first.give_up(true);
    assert!(again().is_ok() && other().is_ok());
    assert_eq!(taken(&store), 0);
}

/// Two stores of one folder, as two processes have them.
#[test]
fn what_another_process_has_taken_gets_no_name() {
    let bytes = content(7, 1_000);
    for removes in [true, false] {
        let disk = SimDisk::new(1);
        let (old, new) = (on(&disk), on(&disk).keep_partials(Duration::ZERO));
        let mut first = old.slot(None, &name("f"), &wanted(&bytes)).unwrap();
        first.write(0, &bytes, false).unwrap();
        if removes {
            assert_eq!(new.clean(), Ok(1));
        }
        let mut second = new.slot(None, &name("f"), &wanted(&bytes)).unwrap();
        second.write(0, &bytes[..500], !removes).unwrap();
        let error = store_one(first, &bytes).unwrap_err();
        assert_eq!(error.kind, FileErrorKind::Disk);
        assert_eq!((disk.bytes(&name("f")), taken(&old)), (None, 0));
        second.write(500, &bytes[500..], false).unwrap();
        store_one(second, &bytes).unwrap();
        assert_eq!(disk.bytes(&name("f")).as_ref(), Some(&bytes));
        // Taken away, and nobody goes on with it.
        let mut third = old.slot(None, &name("g"), &wanted(&bytes)).unwrap();
        third.write(0, &bytes, false).unwrap();
        assert_eq!(new.clean(), Ok(1));
        assert_eq!(kind(store_one(third, &bytes)), FileErrorKind::Disk);
    }
}

#[test]
fn a_slot_that_is_dropped_leaves_its_partial_and_gives_back_its_room() {
    let disk = SimDisk::new(1);
    let store = on(&disk);
    let ip = Some(IpAddr::from([10, 0, 0, 1]));
    let lost = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let mut slot = store.slot(ip, &name("f"), &of_len(100)).unwrap();
        slot.write(0, b"abc", false).unwrap();
        assert_eq!(taken(&store), 100);
        panic!("with {slot:?}");
    }));
    let what = *lost.unwrap_err().downcast::<String>().unwrap();
    assert_eq!(what, "with Slot(f, 3 of 100)");
    assert_eq!((partials(&disk), taken(&store), store.place.quota.brought(ip)), (1, 3, 3));
    let slot = store.slot(ip, &name("f"), &of_len(100)).unwrap();
    assert_eq!((slot.have(), taken(&store), store.place.quota.brought(ip)), (3, 100, 100));
    slot.give_up(false);
    assert_eq!((partials(&disk), taken(&store), store.place.quota.brought(ip)), (0, 0, 3));
}

#[test]
fn a_store_that_keeps_no_partials_keeps_none() {
    let disk = SimDisk::new(1);
    let store = on(&disk).keep_partials(Duration::ZERO);
    receive_some(&store, "f", b"abcd", 2);
    assert_eq!((disk.names().len(), taken(&store)), (0, 0));
    receive_some(&on(&disk), "f", b"abcd", 2);
    assert_eq!((store.clean(), partials(&disk)), (Ok(1), 0));
}

#[test]
fn partials_that_are_too_old_are_removed_and_nothing_else() {
    let disk = SimDisk::new(1);
    // A change of this disk is a microsecond later than the last.
    let store = on(&disk).keep_partials(Duration::from_micros(100));
    disk.put(&name("d/e/whole"), "old");
    assert_eq!(store.clean(), Ok(0));
    for at in ["d/old", "old", "d/e/busy"] {
        receive_some(&store, at, b"abcd", 2);
    }
    let busy = store.slot(None, &name("d/e/busy"), &of_len(4)).unwrap();
    disk.put(&name("x").temporary(0), "left by a crash while the time was read");
    for _ in 0..100 {
        disk.put(&name("time goes by"), "");
    }
    receive_some(&store, "d/new", b"abcd", 3);
    assert_eq!(store.clean(), Ok(2));
    assert_eq!(partials(&disk), 2);
    assert_eq!(receive(&store, "d/new", b"abcd"), Ok(3));
    assert_eq!((busy.have(), receive(&store, "old", b"abcd")), (2, Ok(0)));
    busy.give_up(true);
    assert_eq!(taken(&store), 3 + 2 + 4 + 4);
    assert_eq!(store.clean(), Ok(1));
    assert_eq!((partials(&disk), store.clean()), (0, Ok(0)));
    assert!(disk.bytes(&name("d/e/whole")).is_some());
}

/// Who comes back too late begins anew, whether or not somebody has looked meanwhile.
#[test]
fn a_partial_that_is_too_old_is_not_gone_on_with() {
    let disk = SimDisk::new(1);
    let store = on(&disk).keep_partials(Duration::from_micros(100));
    receive_some(&store, "f", b"abcd", 2);
    for _ in 0..100 {
        disk.put(&name("time goes by"), "");
    }
    let slot = store.slot(None, &name("f"), &wanted(b"abcd")).unwrap();
    assert_eq!((slot.have(), taken(&store)), (0, 4));
    drop(slot);
    assert_eq!((taken(&store), partials(&disk)), (0, 0));
    receive_some(&store, "f", b"abcd", 2);
    let kept = on(&disk).keep_partials(Duration::MAX).slot(None, &name("f"), &wanted(b"abcd"));
    assert_eq!(kept.unwrap().have(), 2);
}

/// What is kept for a short time is looked at more often.
#[test]
fn partials_are_looked_for_as_often_as_they_are_kept() {
    let second = |seconds: i128| seconds * 1_000_000_000;
    for (keep, every) in [(0, 1), (40, 10), (86_400, 3_600)] {
        let place = on(&SimDisk::new(1)).place;
        let keep = Duration::from_secs(keep);
        assert!(place.is_due(second(5), keep), "never before");
        assert!(!place.is_due(second(5 + every - 1), keep), "{keep:?}");
        assert!(place.is_due(second(5 + every), keep) && !place.is_due(second(5 + every), keep));
    }
}

/// The edge: what is exactly so old stays.
#[test]
fn a_partial_stays_for_the_whole_time() {
    for (micros, removed) in [(2, 1), (3, 1), (4, 0), (5, 0)] {
        let disk = SimDisk::new(1);
        receive_some(&on(&disk), "f", b"abcd", 2);
        // Two changes each, of the folder and of the file: this one, and the clock's.
        disk.put(&name("g"), "");
        let store = on(&disk).keep_partials(Duration::from_micros(micros));
        assert_eq!(store.clean(), Ok(removed), "{micros}");
    }
}

#[test]
fn what_is_served_is_a_whole_file() {
    let disk = SimDisk::new(1);
    disk.put(&name("d/f"), "bytes");
    let store = on(&disk);
    assert_eq!(store.source(&name("d/f")).unwrap().bytes(), 5);
    receive_some(&store, "d/g", b"abcd", 2);
    let partial = disk.names().into_iter().find(FileName::is_temporary).unwrap();
    for (at, why) in [
        (name("d"), FileErrorKind::NotAFile),
        (name("d/nothing"), FileErrorKind::NotFound),
        (name("d/f/below"), FileErrorKind::NotFound),
        (partial, FileErrorKind::NotFound),
    ] {
        let error = store.source(&at).unwrap_err();
        assert_eq!(error.kind, why, "{at}");
        assert!(error.text.starts_with(at.as_str()), "{error}");
    }
}

#[test]
fn a_list_has_what_is_whole() {
    let disk = SimDisk::new(1);
    let store = on(&disk);
    assert_eq!(store.list(None, ""), Ok((vec![], false)));
    disk.put(&name("d/f"), "bytes");
    disk.put(&name("a"), "b");
    receive_some(&store, "d/g", b"abcd", 2);
    let (listed, _) = store.list(None, "").unwrap();
    let of = |it: &Listed| (it.name.clone(), it.folder, it.bytes);
    let listed: Vec<_> = listed.iter().map(of).collect();
    assert_eq!(listed, [("a".into(), false, 1), ("d".into(), true, 0)]);
    let (listed, _) = store.list(Some(&name("d")), "").unwrap();
    assert_eq!((listed.len(), of(&listed[0])), (1, ("f".into(), false, 5)));
    assert!(listed[0].modified > 0 && listed[0].modified % 1_000 == 0);
    assert_eq!(kind(store.list(Some(&name("e")), "")), FileErrorKind::NotFound);
    assert_eq!(kind(store.list(Some(&name("a")), "")), FileErrorKind::NotFound);
}

#[test]
fn a_list_has_ten_thousand_at_a_time() {
    let disk = SimDisk::new(1);
    for number in 0..9_999 {
        disk.put(&name(&format!("f{number:05}")), "");
    }
    for number in 0..3 {
        disk.put(&name("x").temporary(number), "");
    }
    let store = on(&disk);
    let list = |after| {
        let (listed, more) = store.list(None, after).unwrap();
        (listed.len(), listed.last().map(|it| it.name.clone()).unwrap_or_default(), more)
    };
    assert_eq!(list(""), (9_999, "f09998".into(), false));
    disk.put(&name("g"), "");
    assert_eq!(list(""), (10_000, "g".into(), false));
    disk.put(&name("h"), "");
    assert_eq!(list(""), (10_000, "g".into(), true));
    assert_eq!(list("g"), (1, "h".into(), false));
    assert_eq!(list("f00000"), (10_000, "h".into(), false));
    assert_eq!(list("h"), (0, String::new(), false));
}

/// Who sends the same file again is told so, and nothing is written.
#[test]
fn what_lies_there_already_is_known_by_its_time_and_its_digest() {
    let disk = SimDisk::new(1);
    let (store, bytes) = (on(&disk), content(1, 300_000));
    receive(&store, "d/f", &bytes).unwrap();
    let there =
        |wanted: &Wanted| match store.begin(None, &name("d/f"), wanted, &mut Near::default()) {
            Ok(Ready::There(there)) => Ok(there),
            Ok(Ready::Slot(slot)) => panic!("{slot:?}"),
            Err(error) => Err(error.kind),
        };
    let same = wanted(&bytes);
    let found = there(&same).unwrap();
    assert_eq!((found.bytes(), found.digest()), (300_000, digest(&bytes)));
    assert_eq!(found.confirm(&digest(&bytes)).unwrap(), name("d/f"));
    assert_eq!(kind(there(&same).unwrap().confirm(&digest(b"another"))), FileErrorKind::Exists);
    for other in [
        Wanted { modified: 1_007, ..same },
        Wanted { modified: 0, ..same },
        Wanted { bytes: 299_999, ..same },
    ] {
        assert_eq!(there(&other).unwrap_err(), FileErrorKind::Exists, "{other:?}");
    }
    let found = there(&same).unwrap();
    disk.change(&name("d/f"), content(2, 300_000));
    assert_eq!(kind(found.confirm(&digest(&bytes))), FileErrorKind::SourceChanged);
    assert_eq!(partials(&disk), 0);
    assert_eq!(taken(&store), 300_000);
}

/// Its name may not be on the disk yet: the process that gave it that may have died.
#[test]
fn what_lies_there_already_is_on_the_disk_when_that_is_told() {
    for fails in [false, true] {
        let disk = SimDisk::new(2);
        let (folder, bytes) = (disk.folder(), content(1, 10_000));
        folder.make_folders(&name("d")).unwrap();
        let file = folder.create(&name("d/f")).unwrap();
        let mut done = 0;
        while done < bytes.len() {
            done += file.write_at(&bytes[done..], done as u64).unwrap();
        }
        file.set_modified(7).unwrap();
        drop(file);
        let begun = on(&disk).begin(None, &name("d/f"), &wanted(&bytes), &mut Near::default());
        let Ready::There(there) = begun.unwrap() else {
            panic!("it lies there");
        };
        disk.fail_sync(u64::from(fails));
        assert_eq!(there.confirm(&digest(&bytes)).is_err(), fails);
        if !fails {
            disk.crash();
            disk.restart();
            assert!(disk.bytes(&name("d/f")) == Some(bytes));
        }
    }
}

/// Several are begun, and put in their places, at once.
#[test]
fn files_of_several_folders_come_together() {
    let disks = [SimDisk::new(1), SimDisk::new(2)];
    let stores = disks.each_ref().map(on);
    let mut near = Near::default();
    let mut slots = Vec::new();
    for at in ["a/f", "a/g", "b/f", "f", "a/h", "a/b/f"] {
        for store in &stores {
            let begun = store.begin(None, &name(at), &wanted(at.as_bytes()), &mut near);
            let Ready::Slot(mut slot) = begun.unwrap() else { panic!("{at} is there") };
            slot.write(0, at.as_bytes(), false).unwrap();
            slots.push((*slot, digest(at.as_bytes())));
        }
    }
    assert!(FileStore::store_all(slots).iter().all(Result::is_ok));
    for disk in disks {
        let names = ["a/b/f", "a/f", "a/g", "a/h", "b/f", "f"];
        assert_eq!(disk.names(), names.map(name));
        assert!(names.iter().all(|at| disk.bytes(&name(at)).unwrap() == at.as_bytes()));
    }
}

#[test]
fn a_part_that_was_cut_is_not_written_on() {
    let disk = SimDisk::new(1);
    let (store, bytes) = (on(&disk), content(1, 3_000));
    let mut slot = store.slot(None, &name("f"), &wanted(&bytes)).unwrap();
    slot.write(0, &bytes[..2_000], false).unwrap();
    let partial = disk.names().into_iter().find(FileName::is_temporary).unwrap();
    disk.truncate(&partial, 100);
    assert_eq!(kind(slot.write(2_000, &bytes[2_000..], false)), FileErrorKind::Disk);
    drop(slot);
    // What is there is what it begins with, and is gone on with.
    assert_eq!(receive(&store, "f", &bytes), Ok(100));
}

#[test]
fn a_source_may_take_half_of_a_store_unless_it_is_said_otherwise() {
    let store = on(&SimDisk::new(1)).file_bytes_max(u64::MAX);
    let ip = Some(IpAddr::from([10, 0, 0, 1]));
    let half = 5 << 30;
    assert_eq!(kind(store.slot(ip, &name("f"), &of_len(half + 1))), FileErrorKind::StoreFull);
    assert!(store.slot(ip, &name("f"), &of_len(half)).is_ok());
}
