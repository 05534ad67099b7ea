//! The contract suite on the ports of the operating system, each driver by itself.

use longshore_port::contract::Bench;
use longshore_port::{DriverChoice, SystemWorld};

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

/// What Wine 8 does otherwise than Windows, by the promise that it breaks. Such a test has to fail
/// under Wine, or it stands here for nothing; on Windows it has to pass.
#[cfg(windows)]
const WINE: [(&str, &str); 2] = [
    (
        "abort_ends_a_send_that_is_stuck",
        "a reset behind unread bytes is told as the end of the stream",
    ),
    (
        "the_end_of_a_stream_is_told_behind_unread_bytes",
        "an end is seen when all before it is read",
    ),
];

#[cfg(windows)]
#[expect(clippy::print_stdout, reason = "whoever runs this has to see what was not shown")]
fn on_iocp(test: fn(&System)) {
    let world = SystemWorld::new(DriverChoice::Iocp).expect("completion ports are everywhere");
    let run = move || test(&System(world));
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    let other = WINE.iter().find(|(other, _)| name.ends_with(&format!("::{other}")));
    match other.filter(|_| std::env::var_os("WINEPREFIX").is_some()) {
        None => run(),
        Some((name, why)) => {
            let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err();
            assert!(failed, "{name} passes under Wine: take it off the list");
            println!("NOT SHOWN UNDER WINE, {name}: {why}");
        }
    }
}

#[cfg(target_os = "linux")]
mod uring {
    longshore_port::contract_tests!(super::on_uring);
}

#[cfg(not(windows))]
mod readiness {
    longshore_port::contract_tests!(super::on_readiness);
}
