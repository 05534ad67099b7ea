//! The contract suite on the simulated port, each promise under many seeds.

use longshore_port::contract::Bench;
use longshore_sim::SimWorld;

/// Seeds that each promise is tested with.
const SEEDS: u64 = 200;

struct Simulated(SimWorld);

impl Bench for Simulated {
    type World = SimWorld;

    fn world(&self) -> SimWorld {
        self.0.clone()
    }

    fn idle(&self) -> bool {
        self.0.advance()
    }

    fn blocks(&self) -> bool {
        false
    }

    fn meanwhile(&self, task: Box<dyn FnOnce() + Send>) {
        task();
    }
}

/// Each seed twice: the promise holds, and the run is the same.
fn on_every_seed(test: fn(&Simulated)) {
    for seed in 0..SEEDS {
        let traces = [(); 2].map(|()| {
            let bench = Simulated(SimWorld::new(seed));
            let run = std::panic::AssertUnwindSafe(|| test(&bench));
            if let Err(panic) = std::panic::catch_unwind(run) {
                println!("seed {seed} breaks the promise");
                std::panic::resume_unwind(panic);
            }
            bench.0.trace()
        });
        assert_eq!(traces[0], traces[1], "seed {seed} gave two different runs");
    }
}

longshore_port::contract_tests!(on_every_seed);
