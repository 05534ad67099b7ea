//! The contract suite on the ports of the operating system, each driver by itself.

use longshore_port::contract::Bench;
#[cfg(windows)]
use longshore_port::contract::wine::{NotUnderWine, run_unless_known};
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
