//! The contract suite on the ports of the operating system, each driver by itself.

use longshore_port::contract::Bench;
use longshore_port::contract::folders::FOLDER_PROMISES;
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

#[test]
fn folders_keep_their_promises() {
    for (number, (promise, test)) in FOLDER_PROMISES.into_iter().enumerate() {
        println!("{promise}");
        let scratch = Scratch::new(number);
        test(&Folder::open(&scratch.0.join("root")).unwrap());
        assert_eq!(std::fs::read(scratch.0.join("canary")).unwrap(), b"canary");
        assert_eq!(std::fs::read_dir(&scratch.0).unwrap().count(), 2, "something is new outside");
    }
}
