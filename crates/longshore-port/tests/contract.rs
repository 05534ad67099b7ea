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

#[expect(clippy::print_stdout, reason = "whoever runs this has to see what was not tested")]
fn on_uring(test: fn(&System)) {
    match SystemWorld::new(DriverChoice::Uring) {
        Ok(world) => test(&System(world)),
        Err(refused) => println!("SKIPPED, NOT TESTED AT ALL ON IO_URING: {refused}"),
    }
}

fn on_readiness(test: fn(&System)) {
    let world = SystemWorld::new(DriverChoice::Readiness).expect("readiness is everywhere");
    test(&System(world));
}

mod uring {
    longshore_port::contract_tests!(super::on_uring);
}

mod readiness {
    longshore_port::contract_tests!(super::on_readiness);
}
