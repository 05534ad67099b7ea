//! What a process is told from outside, and what it is allowed: the one file of this crate that
//! asks which system it is on.

use crate::{Result, Server};
#[cfg(unix)]
use signal_hook::consts::{SIGINT, SIGTERM};
use std::fmt;

/// Signals that ask for an end, registered before anything starts so that none is missed.
pub(crate) struct Signals {
    #[cfg(unix)]
    signals: signal_hook::iterator::Signals,
}

impl fmt::Debug for Signals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signals")
    }
}

#[cfg(unix)]
impl Signals {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self { signals: signal_hook::iterator::Signals::new([SIGINT, SIGTERM])? })
    }

    /// Drains `server` at the first signal; the second one ends the process with 128 + its number.
    pub(crate) fn drain_on_first(mut self, server: &Server) {
        let server = server.clone();
        crate::engine::detach("longshore-signals", move || {
            let mut asked = false;
            for signal in self.signals.forever() {
                if asked {
                    signal_hook::low_level::exit(128 + signal);
                }
                asked = true;
                tracing::info!("draining; a second signal stops at once");
                server.drain();
            }
        });
    }
}

#[cfg(not(unix))]
impl Signals {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {})
    }

    pub(crate) fn drain_on_first(self, _server: &Server) {}
}

/// How many files this process may have open, if there is a limit. Source: `getrlimit(2)`.
#[cfg(unix)]
pub(crate) fn open_files_max() -> Option<usize> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current?;
    usize::try_from(limit).ok()
}

/// Sockets are not files here.
#[cfg(not(unix))]
pub(crate) fn open_files_max() -> Option<usize> {
    None
}
