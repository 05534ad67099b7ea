//! The contract suite on this driver as kernels of other ages, and tiny rings, would have it.

use super::ring::Setup;
use super::tests::features_here;
use super::{Features, UringPort};
use crate::contract::Bench;
use crate::driver::{DriverChoice, SystemWorld};
use crate::jobs::WorkDesk;
use crate::{Abilities, BindTo, JobPool, Listening, PortConfig, PortError, World};
use longshore_base::Time;

/// This driver as kernels of another age would have it.
#[derive(Clone)]
struct OtherAge {
    system: SystemWorld,
    features: Features,
    submissions_max: Option<u32>,
}

impl World for OtherAge {
    type Port = UringPort;

    fn bind(&self, to: &BindTo) -> Result<Listening, PortError> {
        self.system.bind(to)
    }

    fn listening_from(&self, listener: std::net::TcpListener) -> Result<Listening, PortError> {
        self.system.listening_from(listener)
    }

    fn open(&self, config: &PortConfig) -> Result<UringPort, PortError> {
        let submissions_max = self.submissions_max.unwrap_or(config.submissions_max);
        let config = PortConfig { submissions_max, ..config.clone() };
        let desk = WorkDesk::new(JobPool::new(2));
        UringPort::open_with(self.features, &config, self.system.clock(), desk)
    }

    fn now(&self) -> Time {
        self.system.now()
    }

    fn abilities(&self) -> Abilities {
        super::abilities()
    }
}

impl Bench for OtherAge {
    type World = Self;

    fn world(&self) -> Self {
        self.clone()
    }
}

fn on(test: fn(&OtherAge), submissions_max: Option<u32>, age: impl FnOnce(Features) -> Features) {
    let Some(features) = features_here().map(age) else { return };
    let system = SystemWorld::new(DriverChoice::Readiness).expect("readiness is everywhere");
    test(&OtherAge { system, features, submissions_max });
}

mod without_incremental_buffers {
    use super::{Features, OtherAge, on};

    fn run(test: fn(&OtherAge)) {
        on(test, None, |now| Features { incremental: false, ..now });
    }
    crate::contract_tests!(run);
}

mod as_old_as_it_may_be {
    use super::{Features, OtherAge, Setup, on};

    fn run(test: fn(&OtherAge)) {
        let setup = Setup::Cooperative;
        on(test, None, |_| Features {
            setup,
            recv_credit: false,
            incremental: false,
            nonblocking: false,
        });
    }
    crate::contract_tests!(run);
}

mod with_eight_entries {
    use super::{Features, OtherAge, Setup, on};

    fn run(test: fn(&OtherAge)) {
        on(test, Some(8), |now| Features { setup: Setup::Deferred.min(now.setup), ..now });
    }
    crate::contract_tests!(run);
}
