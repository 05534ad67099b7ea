//! The contract suite on the simulated port, each promise under many seeds.

mod patient;

use longshore_port::World;
use longshore_port::contract::{Bench, TestFile};
use longshore_sim::{SimFile, SimWorld};
use std::marker::PhantomData;

/// Seeds that each promise is tested with.
const SEEDS: u64 = 200;

/// So many of them run twice, to see that a run depends on nothing but its seed.
const SEEDS_TWICE: u64 = 25;

/// The simulated world, perhaps behind another one.
struct Simulated<W = SimWorld>(SimWorld, PhantomData<W>);

impl<W: World + From<SimWorld>> Bench for Simulated<W> {
    type World = W;

    fn world(&self) -> W {
        self.0.clone().into()
    }

    fn idle(&self) -> bool {
        self.0.advance()
    }

    fn blocks(&self) -> bool {
        false
    }

    fn file(&self, bytes: &[u8]) -> TestFile {
        let file = SimFile::new(bytes);
        let handle = file.handle();
        (handle, Box::new(move |len| file.set_len(usize::try_from(len).expect("a small test"))))
    }

    fn is_simulated(&self) -> bool {
        true
    }

    fn meanwhile(&self, task: Box<dyn FnOnce() + Send>) {
        task();
    }
}

fn on_every_seed(test: fn(&Simulated)) {
    in_worlds(SEEDS, &SimWorld::new, test);
}

fn in_worlds<W: World + From<SimWorld>>(
    seeds: u64,
    world: &dyn Fn(u64) -> SimWorld,
    test: fn(&Simulated<W>),
) {
    for seed in 0..seeds {
        let trace = on_seed(seed, world(seed), test);
        if seed < SEEDS_TWICE {
            assert_eq!(
                on_seed(seed, world(seed), test),
                trace,
                "seed {seed} gave two different runs"
            );
        }
    }
}

/// Runs one promise in one world; the trace of the run.
#[expect(clippy::print_stdout, reason = "the seed is how a failure is found again")]
fn on_seed<W>(seed: u64, world: SimWorld, test: fn(&Simulated<W>)) -> u64 {
    let bench = Simulated(world, PhantomData);
    let run = std::panic::AssertUnwindSafe(|| test(&bench));
    if let Err(panic) = std::panic::catch_unwind(run) {
        println!("seed {seed} breaks the promise");
        std::panic::resume_unwind(panic);
    }
    bench.0.trace()
}

longshore_port::contract_tests!(on_every_seed);

/// As on a system whose ports keep what they have once taken in.
mod where_sockets_stay {
    use super::{SEEDS_TWICE, SimWorld, Simulated, in_worlds};

    fn run(test: fn(&Simulated)) {
        let world = |seed| {
            let world = SimWorld::new(seed);
            world.keep_sockets();
            world
        };
        in_worlds(SEEDS_TWICE, &world, test);
    }
    longshore_port::contract_tests!(run);
}

/// As on Windows: each end is told by a packet, and a cancel may find nothing.
mod where_ends_come_as_packets {
    use super::{SEEDS_TWICE, SimWorld, Simulated, in_worlds};

    fn run(test: fn(&Simulated)) {
        let world = |seed| {
            let world = SimWorld::new(seed);
            world.act_as_completion_port();
            world
        };
        in_worlds(SEEDS_TWICE, &world, test);
    }
    longshore_port::contract_tests!(run);
}

/// Where waits give nothing now and then, and the kernel is late with its memory: who keeps to the
/// contract does not notice.
mod where_the_kernel_is_short_of_memory {
    use super::patient::PatientWorld;
    use super::{SEEDS_TWICE, SimWorld, Simulated, in_worlds};
    use longshore_sim::Trouble;

    fn run(test: fn(&Simulated<PatientWorld>)) {
        let world = |seed| {
            let world = SimWorld::new(seed);
            world.make_trouble(Trouble::Wait, 3);
            world.make_trouble(Trouble::LateKernel, 2);
            world
        };
        in_worlds(SEEDS_TWICE, &world, test);
    }
    longshore_port::contract_tests!(run);
}
