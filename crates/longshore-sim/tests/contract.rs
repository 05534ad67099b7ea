//! The contract suite on the simulated port, each promise under many seeds.

use longshore_port::contract::Bench;
use longshore_sim::SimWorld;

/// Seeds that each promise is tested with.
const SEEDS: u64 = 200;

/// So many of them run twice, to see that a run depends on nothing but its seed.
const SEEDS_TWICE: u64 = 25;

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

fn on_every_seed(test: fn(&Simulated)) {
    for seed in 0..SEEDS {
        let trace = on_seed(seed, test);
        if seed < SEEDS_TWICE {
            assert_eq!(on_seed(seed, test), trace, "seed {seed} gave two different runs");
        }
    }
}

/// Runs one promise in one world; the trace of the run.
#[expect(clippy::print_stdout, reason = "the seed is how a failure is found again")]
fn on_seed(seed: u64, test: fn(&Simulated)) -> u64 {
    let bench = Simulated(SimWorld::new(seed));
    let run = std::panic::AssertUnwindSafe(|| test(&bench));
    if let Err(panic) = std::panic::catch_unwind(run) {
        println!("seed {seed} breaks the promise");
        std::panic::resume_unwind(panic);
    }
    bench.0.trace()
}

longshore_port::contract_tests!(on_every_seed);
