//! Threads: started and joined. Nobody else in this crate starts one.

use crate::error::StartError;
use crate::{Error, Result};
use std::io;
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle, ThreadId};

/// Starts a thread that nobody joins: it ends with the process.
pub(crate) fn detach(name: &str, run: impl FnOnce() + Send + 'static) -> Result {
    let started = thread::Builder::new().name(name.into()).spawn(run);
    let failed = |error| Error::msg(format_args!("cannot start the thread {name}: {error}"));
    started.map(drop).map_err(failed)
}

type Running = (u16, JoinHandle<Result<(), StartError>>);

/// The threads of a server, until somebody waits for them.
#[derive(Debug, Default)]
pub(crate) struct Threads {
    running: Mutex<Vec<Running>>,
    /// All that ever ran. Only looked at, so that nobody holds it while waiting.
    ids: Mutex<Vec<ThreadId>>,
}

impl Threads {
    /// Starts the thread of a worker.
    ///
    /// # Errors
    /// When the system has none.
    pub(crate) fn start(
        &self,
        worker: u16,
        run: impl FnOnce() -> Result<(), StartError> + Send + 'static,
    ) -> io::Result<()> {
        let thread = thread::Builder::new().name(format!("longshore-{worker}")).spawn(run)?;
        self.ids.lock().unwrap_or_else(PoisonError::into_inner).push(thread.thread().id());
        self.running.lock().unwrap_or_else(PoisonError::into_inner).push((worker, thread));
        Ok(())
    }

    /// Whether all have ended, as far as can be told without waiting.
    pub(crate) fn are_over(&self) -> bool {
        let running = self.running.try_lock();
        running.is_ok_and(|running| running.iter().all(|(_, thread)| thread.is_finished()))
    }

    /// Waits for all of them (S103). Several may wait; the first gets the error.
    pub(crate) fn join(&self) -> Result {
        let me = thread::current().id();
        if self.ids.lock().unwrap_or_else(PoisonError::into_inner).contains(&me) {
            return Err(Error::msg(
                "Server::wait was called on a thread of that server, which would wait for itself; \
                 call shutdown() there, and wait() on the thread that started it",
            ));
        }
        // Held while waiting, so that a second caller returns no earlier than the first.
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let mut result = Ok(());
        for (worker, thread) in running.drain(..) {
            let worker = usize::from(worker);
            let ended = thread.join().unwrap_or(Err(StartError::Panicked { worker }));
            result = result.and(ended);
        }
        Ok(result?)
    }
}
