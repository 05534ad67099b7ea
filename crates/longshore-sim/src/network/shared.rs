//! The network behind its lock, and the sockets that are handles of it.

use super::{Descriptor, Network};
use crate::Trouble;
use longshore_base::Time;
use longshore_port::{Abilities, Call, ErrorKind, PortError};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The network of a world, for all that is in it. Cloning gives another handle of the same.
#[derive(Clone)]
pub(crate) struct Shared(Arc<Mutex<Network>>);

impl Shared {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Network::new(seed))))
    }

    /// Never hold it while a socket is dropped: that locks as well.
    pub(crate) fn network(&self) -> MutexGuard<'_, Network> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// By chance the system has no memory for this.
    pub(crate) fn perhaps_refuse(&self, trouble: Trouble, call: Call) -> Result<(), PortError> {
        let refused = self.network().suffers(trouble);
        if refused { Err(PortError::new(call, ErrorKind::NoMemory)) } else { Ok(()) }
    }

    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(crate) fn now(&self) -> Time {
        self.network().now
    }

    /// What ports can do.
    pub(crate) fn abilities(&self) -> Abilities {
        Abilities {
            driver: "simulated",
            moves_sockets: !self.network().keeps_sockets,
            passed_over: String::new(),
            features: vec![],
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimWorld").field("now", &self.now()).finish_non_exhaustive()
    }
}

/// The handle of an open descriptor: what is in a `RawSocket::Virtual`. Dropping it closes it.
#[derive(Debug)]
pub(crate) struct VirtualSocket {
    pub(crate) world: Shared,
    pub(crate) descriptor: Descriptor,
}

impl VirtualSocket {
    pub(crate) fn new(world: &Shared, descriptor: Descriptor) -> Self {
        Self { world: world.clone(), descriptor }
    }

    pub(crate) fn network(&self) -> MutexGuard<'_, Network> {
        self.world.network()
    }
}

impl Drop for VirtualSocket {
    fn drop(&mut self) {
        self.network().close(self.descriptor);
    }
}
