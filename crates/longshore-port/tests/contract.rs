//! The contract suite on the ports of the operating system, each driver by itself.

use longshore_port::contract::Bench;
use longshore_port::contract::folders::{FOLDER_PROMISES, FolderPromise};
#[cfg(windows)]
use longshore_port::contract::wine::{NotUnderWine, run_unless_known};
use longshore_port::{DriverChoice, Folder, SystemWorld};

struct System(SystemWorld);

impl Bench for System {
    type World = SystemWorld;

    fn world(&self) -> SystemWorld {
        self.0.clone()
    }
}

#[cfg(windows)]
mod iocp {
    longshore_port::contract_tests!(super::on_iocp);
}

/// Whether this run is about that driver: about both, or the one in `LONGSHORE_DRIVER`.
#[cfg(not(windows))]
fn wants(driver: &str) -> bool {
    std::env::var("LONGSHORE_DRIVER").map_or(true, |only| only == driver)
}

#[cfg(target_os = "linux")]
#[expect(clippy::print_stdout, reason = "whoever runs this has to see what was not tested")]
fn on_uring(test: fn(&System)) {
    if !wants("uring") {
        return;
    }
    match SystemWorld::new(DriverChoice::Uring) {
        Ok(world) => test(&System(world)),
        Err(refused) => println!("SKIPPED, NOT TESTED AT ALL ON IO_URING: {refused}"),
    }
}

#[cfg(not(windows))]
fn on_readiness(test: fn(&System)) {
    if !wants("readiness") {
        return;
    }
    let world = SystemWorld::new(DriverChoice::Readiness).expect("readiness is everywhere");
    test(&System(world));
}

#[cfg(windows)]
const NOT_UNDER_WINE: [NotUnderWine; 2] = [
    NotUnderWine {
        test: "abort_ends_a_send_that_is_stuck",
        always: true,
        why: "a reset behind unread bytes is told as the end of the stream",
    },
    NotUnderWine {
        test: "the_end_of_a_stream_is_told_behind_unread_bytes",
        always: true,
        why: "an end is seen when all before it is read",
    },
];

#[cfg(windows)]
fn on_iocp(test: fn(&System)) {
    let world = SystemWorld::new(DriverChoice::Iocp).expect("completion ports are everywhere");
    run_unless_known(&NOT_UNDER_WINE, || test(&System(world)));
}

#[cfg(target_os = "linux")]
mod uring {
    longshore_port::contract_tests!(super::on_uring);
}

#[cfg(not(windows))]
mod readiness {
    longshore_port::contract_tests!(super::on_readiness);
}

/// A folder that is gone with its value, and one beside it that nobody may touch.
struct Scratch(std::path::PathBuf);

impl Scratch {
    fn new(number: usize) -> Self {
        let name = format!("longshore-folders-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(path.join("root")).expect("a folder for a test");
        std::fs::write(path.join("canary"), "canary").expect("a file for a test");
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// Each promise on a thread of its name, by which it is found again.
fn on_folders(promise: &FolderPromise, number: usize) {
    let scratch = Scratch::new(number);
    let folder = Folder::open(&scratch.0.join("root")).expect("just made");
    unless_known(|| (promise.1)(&folder));
    let outside = std::fs::read_dir(&scratch.0).expect("just made").count();
    let canary = std::fs::read(scratch.0.join("canary")).expect("just made");
    assert!(canary == b"canary" && outside == 2, "something outside was touched");
}

#[cfg(windows)]
fn unless_known(run: impl FnOnce()) {
    run_unless_known(&FOLDERS_NOT_UNDER_WINE, run);
}

#[cfg(not(windows))]
fn unless_known(run: impl FnOnce()) {
    run();
}

#[cfg(windows)]
const FOLDERS_NOT_UNDER_WINE: [NotUnderWine; 2] = [
    NotUnderWine {
        test: "a_rename_is_at_once",
        always: true,
        why: "what somebody has open is not replaced",
    },
    NotUnderWine {
        test: "a_file_is_known_by_its_facts",
        always: true,
        why: "a handle whose file was renamed does not know its volume any more",
    },
];

#[test]
fn folders_keep_their_promises() {
    for (number, promise) in FOLDER_PROMISES.iter().enumerate() {
        let named = std::thread::Builder::new().name(promise.0.into());
        let thread = named.spawn(move || on_folders(promise, number)).expect("a thread");
        assert!(thread.join().is_ok(), "{}", promise.0);
    }
}
