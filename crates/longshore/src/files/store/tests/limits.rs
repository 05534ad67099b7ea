//! How much may lie in a store, and of whom.

use super::*;
use std::sync::atomic::Ordering;

fn ip(last: u8) -> Option<IpAddr> {
    (last > 0).then(|| IpAddr::from([10, 0, 0, last]))
}

fn begin(store: &FileStore, peer: Option<IpAddr>, at: &str, len: u64) -> Result<Slot, FileError> {
    store.slot(peer, &name(at), &of_len(len))
}

#[test]
fn a_file_may_be_as_long_as_is_said() {
    let disk = SimDisk::new(1);
    let store = on(&disk).file_bytes_max(100);
    assert!(begin(&store, None, "a", 99).is_ok() && begin(&store, None, "b", 100).is_ok());
    let error = begin(&store, None, "c", 101).unwrap_err();
    assert_eq!(error.kind, FileErrorKind::TooLarge);
    assert_eq!(&*error.text, "c: 101 bytes, at most 100");
    assert!(begin(&store.file_bytes_max(0), None, "d", 0).is_ok());
}

#[test]
fn a_store_takes_as_much_as_is_said_to_the_byte() {
    let disk = SimDisk::new(1);
    disk.put(&name("d/there"), [0; 30]);
    disk.put(&name("x").temporary(5), [0; 20]);
    let store = on(&disk).store_bytes_max(100);
    assert_eq!(kind(begin(&store, None, "a", 51)), FileErrorKind::StoreFull);
    let error = begin(&store, None, "a", 51).unwrap_err();
    assert_eq!(&*error.text, "a: 51 bytes, the store has 50 of 100 without them");
    let fifty = begin(&store, None, "a", 50).unwrap();
    assert_eq!(kind(begin(&store, None, "b", 1)), FileErrorKind::StoreFull);
    assert!(begin(&store, None, "b", 0).is_ok(), "it is full, and takes what has nothing");
    fifty.give_up(true);
    receive(&store, "a", &[1; 49]).unwrap();
    assert_eq!(kind(begin(&store, None, "b", 2)), FileErrorKind::StoreFull);
    receive(&store, "b", &[1; 1]).unwrap();
    assert_eq!((taken(&store), kind(begin(&store, None, "c", 1))), (100, FileErrorKind::StoreFull));
    assert!(begin(&store.store_bytes_max(u64::MAX), None, "c", 1).is_ok());
}

#[test]
fn a_partial_counts_once() {
    let disk = SimDisk::new(1);
    let store = on(&disk).store_bytes_max(100);
    let bytes = content(1, 100);
    receive_some(&store, "f", &bytes, 60);
    assert_eq!(taken(&store), 60);
    assert_eq!(kind(begin(&store, None, "g", 41)), FileErrorKind::StoreFull);
    drop(begin(&store, None, "g", 40).unwrap());
    let store = on(&disk).store_bytes_max(100);
    assert_eq!(receive(&store, "f", &bytes), Ok(60));
    assert_eq!(taken(&store), 100);
}

#[test]
fn of_what_replaces_a_file_the_difference_counts() {
    let disk = SimDisk::new(1);
    disk.put(&name("f"), [0; 60]);
    let store = on(&disk).overwrite().store_bytes_max(100);
    receive(&store, "f", &[1; 100]).unwrap();
    assert_eq!(
        (taken(&store), kind(begin(&store, None, "f", 101))),
        (100, FileErrorKind::StoreFull)
    );
    receive(&store, "f", &[1; 70]).unwrap();
    assert_eq!((taken(&store), kind(begin(&store, None, "g", 31))), (70, FileErrorKind::StoreFull));
    // What is given up lies beside the old one: only as far as the limit permits.
    receive_some(&store, "f", &[2; 80], 30);
    assert_eq!((taken(&store), partials(&disk)), (100, 1));
    assert_eq!(kind(begin(&store, None, "f", 71)), FileErrorKind::StoreFull);
    assert_eq!(receive(&store, "f", &[2; 80]), Ok(30));
    assert_eq!((taken(&store), partials(&disk)), (80, 0));
    receive_some(&store, "f", &[3; 80], 21);
    assert_eq!((taken(&store), partials(&disk)), (80, 0));
}

#[test]
fn a_source_brings_as_much_as_is_said_to_the_byte() {
    let disk = SimDisk::new(1);
    let store = on(&disk).peer_bytes_max(100);
    let first = begin(&store, ip(1), "a", 60).unwrap();
    let error = begin(&store, ip(1), "b", 41).unwrap_err();
    assert_eq!(error.kind, FileErrorKind::StoreFull);
    assert_eq!(&*error.text, "b: 41 bytes, 10.0.0.1 has brought 60 of 100");
    let second = begin(&store, ip(1), "b", 40).unwrap();
    assert_eq!(kind(begin(&store, ip(1), "c", 1)), FileErrorKind::StoreFull);
    assert!(begin(&store, ip(2), "c", 100).is_ok() && begin(&store, None, "c", 101).is_ok());
    let mapped = IpAddr::V6("::ffff:10.0.0.1".parse().unwrap());
    assert_eq!(kind(begin(&store, Some(mapped), "c", 1)), FileErrorKind::StoreFull);
    drop(second);
    assert!(begin(&store, ip(1), "c", 39).is_ok() && begin(&store, ip(1), "c", 40).is_ok());
    first.give_up(false);
    assert!(begin(&store, ip(1), "c", 100).is_ok());
    assert_eq!(store.place.quota.sources(), 0);
}

#[test]
fn what_a_source_has_brought_counts_as_long_as_the_process_runs() {
    let disk = SimDisk::new(1);
    let store = on(&disk).peer_bytes_max(10);
    let mut slot = begin(&store, ip(1), "a", 6).unwrap();
    slot.write(0, b"abcdef", false).unwrap();
    store_one(slot, b"abcdef").unwrap();
    let mut slot = begin(&store, ip(1), "b", 4).unwrap();
    slot.write(0, b"abc", false).unwrap();
    drop(slot);
    assert_eq!(store.place.quota.brought(ip(1)), 9);
    assert_eq!(kind(begin(&store, ip(1), "c", 2)), FileErrorKind::StoreFull);
    // Another goes on with it, and answers for what is missing.
    let slot = begin(&store, ip(2), "b", 4).unwrap();
    assert_eq!(store.place.quota.brought(ip(2)), 1);
    drop(slot);
    assert_eq!(on(&disk).peer_bytes_max(10).place.quota.brought(ip(1)), 0);
    // One that replaces its file every night brings what that has grown by.
    let store = store.overwrite();
    for (text, brought) in [(&b"abcdef"[..], 9), (b"ABCDEF", 9), (b"1234567", 10), (b"1", 4)] {
        let mut slot = begin(&store, ip(1), "a", text.len() as u64).unwrap();
        slot.write(0, text, false).unwrap();
        store_one(slot, text).unwrap();
        assert_eq!(store.place.quota.brought(ip(1)), brought);
    }
    assert_eq!(kind(begin(&store, ip(1), "a", 8)), FileErrorKind::StoreFull);
}

#[test]
fn a_network_of_one_host_is_one_source() {
    let disk = SimDisk::new(1);
    let store = on(&disk).peer_bytes_max(100);
    let v6 = |ip: &str| Some(IpAddr::V6(ip.parse().unwrap()));
    let _slot = begin(&store, v6("2001:db8:0:1::1"), "a", 100).unwrap();
    assert_eq!(kind(begin(&store, v6("2001:db8:0:1:ff::9"), "b", 1)), FileErrorKind::StoreFull);
    assert!(begin(&store, v6("2001:db8:0:2::1"), "b", 1).is_ok());
}

#[test]
fn there_are_only_so_many_sources() {
    let disk = SimDisk::new(1);
    let store = on(&disk);
    let ip = |number: u32| Some(IpAddr::V4(number.into()));
    let claim = |number| {
        let wish = Wish {
            peer: ip(number),
            bytes: 1,
            had: 0,
            replaces: None,
            entries: 0,
            store_bytes_max: u64::MAX,
            store_entries_max: u64::MAX,
            peer_bytes_max: u64::MAX,
        };
        store.place.quota.claim(&wish).unwrap()
    };
    let mut claims: Vec<_> = (0..65_536).map(claim).collect();
    let error = begin(&store, ip(70_000), "f", 1).unwrap_err();
    assert_eq!(
        error.to_string(),
        "too many transfers at once: f: 65536 addresses have brought files"
    );
    assert!(begin(&store, ip(70_000), "f", 0).is_ok() && begin(&store, ip(3), "f", 1).is_ok());
    claims.pop();
    assert!(begin(&store, ip(70_000), "f", 1).is_ok());
}

#[test]
fn a_file_for_which_the_disk_has_no_room_is_not_begun() {
    let disk = SimDisk::new(1);
    disk.put(&name("there"), [0; 40]);
    disk.capacity(100);
    let store = on(&disk);
    let error = begin(&store, None, "f", 61).unwrap_err();
    assert_eq!(error.kind, FileErrorKind::NoSpace);
    assert_eq!(&*error.text, "f: 61 bytes, the disk has room for 60");
    assert_eq!((taken(&store), disk.names().len()), (40, 1));
    receive_some(&store, "f", &[1; 60], 50);
    assert_eq!(kind(begin(&store, None, "g", 11)), FileErrorKind::NoSpace);
    assert_eq!(receive(&store, "f", &[1; 60]), Ok(50));
}

#[test]
fn reasons_have_an_order() {
    let disk = SimDisk::new(1);
    let store = on(&disk);
    let _busy = begin(&store, None, "f", 50).unwrap();
    let strict = store.clone().file_bytes_max(9).store_bytes_max(55);
    disk.capacity(5);
    let reading =
        FileStore { settings: Settings { receive: false, ..strict.settings }, ..strict.clone() };
    assert_eq!(kind(begin(&reading, None, "f", 10)), FileErrorKind::Refused);
    assert_eq!(kind(begin(&strict, None, "f", 10)), FileErrorKind::TooLarge);
    disk.put(&name("f"), "");
    assert_eq!(kind(begin(&strict, None, "f", 9)), FileErrorKind::Exists);
    let strict = strict.overwrite();
    assert_eq!(kind(begin(&strict, None, "f", 9)), FileErrorKind::StoreFull);
    assert_eq!(kind(begin(&store.clone().overwrite(), None, "f", 9)), FileErrorKind::NoSpace);
    disk.capacity(100);
    assert_eq!(kind(begin(&store.overwrite(), None, "f", 9)), FileErrorKind::Busy);
}

fn entries(store: &FileStore) -> u64 {
    store.place.quota.entries()
}

#[test]
fn a_store_takes_as_many_files_and_folders_as_is_said() {
    let disk = SimDisk::new(1);
    disk.put(&name("d/there"), "");
    disk.put(&name("x").temporary(5), "");
    let store = on(&disk).store_entries_max(6);
    assert_eq!(kind(begin(&store, None, "a/b/c/f", 0)), FileErrorKind::StoreFull);
    let error = begin(&store, None, "a/b/c/f", 0).unwrap_err();
    assert_eq!(&*error.text, "a/b/c/f: the store has 3 files and folders, at most 6");
    let first = begin(&store, None, "a/b/f", 1).unwrap();
    assert_eq!(entries(&store), 6);
    assert_eq!(kind(begin(&store, None, "g", 0)), FileErrorKind::StoreFull);
    drop(first);
    assert_eq!(entries(&store), 5, "its folders are there");
    assert_eq!(kind(begin(&store, None, "a/e/g", 0)), FileErrorKind::StoreFull);
    receive(&store, "a/b/f", b"").unwrap();
    assert_eq!((entries(&store), kind(begin(&store, None, "g", 0))), (6, FileErrorKind::StoreFull));
    // What is replaced, or gone on with, is no more than before.
    let store = store.overwrite();
    receive(&store.clone().store_entries_max(7), "a/b/f", b"new").unwrap();
    assert_eq!(entries(&store), 6);
    receive_some(&store.clone().store_entries_max(7), "d/g", b"abcd", 2);
    assert_eq!(entries(&store), 7);
    assert_eq!(receive(&store.clone().store_entries_max(7), "d/g", b"abcd"), Ok(2));
    assert_eq!(entries(&store), 7);
    let again = on(&disk);
    again.count().unwrap();
    assert_eq!(entries(&again), 7, "so it is");
}

/// What its owner removes is room, without a restart.
#[test]
fn a_store_that_seems_full_is_looked_at_again() {
    let disk = SimDisk::new(1);
    let file = name("f");
    disk.put(&file, [0; 60]);
    let store = on(&disk).store_bytes_max(100);
    assert_eq!(kind(begin(&store, None, "g", 41)), FileErrorKind::StoreFull);
    disk.folder().remove(&file).unwrap();
    assert_eq!(kind(begin(&store, None, "g", 41)), FileErrorKind::StoreFull, "within a minute");
    store.place.recounted.store(i64::MIN, Ordering::Relaxed);
    let busy = begin(&store, None, "h", 40).unwrap();
    assert_eq!(kind(begin(&store, None, "g", 41)), FileErrorKind::StoreFull, "something comes");
    drop(busy);
    store.place.recounted.store(i64::MIN, Ordering::Relaxed);
    assert!(begin(&store, None, "g", 100).is_ok());
    assert_eq!((taken(&store), entries(&store)), (0, 0));
    // What came and went while it was looked may have been seen, or not.
    store
        .place
        .quota
        .recount(|| {
            drop(begin(&store, None, "g", 1).unwrap());
            Ok(Taken { bytes: 7, entries: 7 })
        })
        .unwrap();
    assert_eq!(taken(&store), 0);
}

/// What is removed leaves its room, and what lies there already is gone on with in a store that is too full.
#[test]
fn partials_take_their_place_in_a_store_and_no_second_one() {
    let disk = SimDisk::new(1);
    let store = on(&disk);
    for at in ["f", "g", "h"] {
        receive_some(&store, at, b"abcd", 2);
    }
    let full = store.clone().store_entries_max(1);
    assert_eq!(kind(begin(&full, None, "i", 0)), FileErrorKind::StoreFull);
    assert_eq!(receive(&full, "f", b"abcd"), Ok(2));
    assert_eq!((entries(&store), store.clone().keep_partials(Duration::ZERO).clean()), (3, Ok(2)));
    assert_eq!((entries(&store), taken(&store)), (1, 4));
}

/// Nobody else looks for what others have left.
#[test]
fn what_is_too_old_goes_when_another_file_comes() {
    use crate::files::task::{Batch, Outcome, Task};
    let disk = SimDisk::new(1);
    let store = on(&disk).keep_partials(Duration::from_micros(100));
    receive_some(&store, "old", b"abcd", 2);
    for _ in 0..100 {
        disk.put(&name("time goes by"), "");
    }
    let (new, wanted) = (name("new"), of_len(1));
    let begin = Task::Begin { number: 1, store, peer: None, name: new, wanted };
    let done = Batch { small: true, tasks: vec![begin] }.run();
    assert!(matches!(done.outcomes[..], [Outcome::Begun { begun: Ok(Ready::Slot(_)), .. }]));
    assert_eq!(partials(&disk), 1, "the new one");
}
