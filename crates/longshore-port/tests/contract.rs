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

/// Whether this run is about that driver: about both, or the one in `LONGSHORE_DRIVER`.
fn wants(driver: &str) -> bool {
    std::env::var("LONGSHORE_DRIVER").map_or(true, |only| only == driver)
}

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

fn on_readiness(test: fn(&System)) {
    if !wants("readiness") {
        return;
    }
    let world = SystemWorld::new(DriverChoice::Readiness).expect("readiness is everywhere");
    test(&System(world));
}

mod uring {
    longshore_port::contract_tests!(super::on_uring);
}

mod readiness {
    longshore_port::contract_tests!(super::on_readiness);
}
