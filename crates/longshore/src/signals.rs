//! What a process is told from outside, and what it is allowed: the one file of this crate that
//! asks which system it is on.
//!
//! Signals belong to the process, so one thread waits for them, for all its servers. It stays when
//! they are gone: a handler once installed is not taken out again, and Ctrl-C has to end a program
//! whose servers have stopped.

use crate::{Result, Server};
use std::fmt;

/// A server is about to start that drains at the first signal. Made before anything starts, so
/// that no signal is missed.
pub(crate) struct Signals(());

impl fmt::Debug for Signals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signals")
    }
}

impl Server {
    /// Drains at the first SIGINT, SIGTERM or Ctrl-C from now on; a second signal ends the process
    /// at once, with code 128 + its number. What [`Builder::run`](crate::Builder::run) does, for those
    /// who want the server in hand meanwhile.
    ///
    /// # Errors
    /// When the system refuses to tell of signals.
    pub fn drain_on_signals(&self) -> Result {
        Signals::new()?.drain_on_first(self);
        Ok(())
    }
}

#[cfg(unix)]
mod unix {
    use super::Signals;
    use crate::server::Inner;
    use crate::server::threads::detach;
    use crate::{Result, Server};
    use longshore_base::event;
    use signal_hook::consts::{SIGINT, SIGTERM};
    use signal_hook::iterator::Signals as Incoming;
    use signal_hook::low_level;
    use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

    /// All that drain at a signal.
    struct Watch {
        has_thread: bool,
        /// Servers on their way, and whether a signal came for them.
        starting: usize,
        early: bool,
        servers: Vec<Watched>,
    }

    struct Watched {
        server: Weak<Inner>,
        asked: bool,
    }

    static WATCH: Mutex<Watch> =
        Mutex::new(Watch { has_thread: false, starting: 0, early: false, servers: Vec::new() });

    fn watch() -> MutexGuard<'static, Watch> {
        WATCH.lock().unwrap_or_else(PoisonError::into_inner)
    }

    impl Signals {
        pub(crate) fn new() -> Result<Self> {
            let mut watch = watch();
            if !watch.has_thread {
                start_thread(detach)?;
                watch.has_thread = true;
            }
            watch.starting += 1;
            Ok(Self(()))
        }

        /// Drains `server` at the first signal; the second one ends the process with 128 + its
        /// number.
        pub(crate) fn drain_on_first(self, server: &Server) {
            let mut watch = watch();
            let asked = watch.early;
            watch.servers.push(Watched { server: Arc::downgrade(&server.0), asked });
            drop(watch);
            drop(self); // it is on its way no more
            if asked {
                server.drain();
            }
        }
    }

    impl Drop for Signals {
        fn drop(&mut self) {
            let mut watch = watch();
            watch.starting -= 1;
            watch.early &= watch.starting > 0;
        }
    }

    /// Starts the thread before signals are taken away from the system: were there none to listen,
    /// nothing but SIGKILL would end the process.
    fn start_thread(detach: impl FnOnce(&str, Box<dyn FnOnce() + Send>) -> Result) -> Result {
        let (hand_over, signals) = std::sync::mpsc::channel();
        let listen = move || {
            let Ok(mut signals): Result<Incoming, _> = signals.recv() else { return };
            signals.forever().for_each(handle);
        };
        detach("longshore-signals", Box::new(listen))?;
        let refused = |error| {
            crate::Error::msg(format_args!(
                "cannot listen for signals: {error}; is the limit of open files too low \
                 (LimitNOFILE, ulimit -n)?"
            ))
        };
        let signals = Incoming::new([SIGINT, SIGTERM]).map_err(refused)?;
        let _ = hand_over.send(signals); // it waits for that
        Ok(())
    }

    fn handle(signal: i32) {
        let mut watch = watch();
        let is_over = |watched: &Watched| {
            watched.server.upgrade().is_none_or(|server| server.threads.are_over())
        };
        watch.servers.retain(|watched| !is_over(watched));
        if watch.servers.is_empty() && watch.starting == 0 {
            drop(watch);
            // As if nobody had asked for it. It fails only for signals that we do not ask for.
            let _ = low_level::emulate_default_handler(signal);
            return;
        }
        let (mut news, mut to_drain) = (false, Vec::new());
        if watch.starting > 0 {
            news |= !std::mem::replace(&mut watch.early, true);
        }
        for watched in watch.servers.iter_mut().filter(|watched| !watched.asked) {
            (watched.asked, news) = (true, true);
            to_drain.extend(watched.server.upgrade());
        }
        drop(watch);
        if !news {
            low_level::exit(128 + signal);
        }
        for server in to_drain {
            Server(server).drain();
        }
        // Not on this thread: who reads the log may be stuck, and the second signal comes here.
        let _ = detach("longshore-log", || {
            event!(info, "draining; a second signal stops at once");
        });
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn no_signal_is_taken_where_nobody_can_listen() {
            let nobody = |_: &str, _| Err(crate::Error::msg("no thread is to be had"));
            assert!(start_thread(nobody).is_err());
        }

        #[test]
        fn an_early_signal_is_for_those_on_their_way_and_for_nobody_later() {
            let (first, second) = (Signals::new().unwrap(), Signals::new().unwrap());
            handle(SIGTERM);
            drop(first); // it did not start
            assert!(watch().early, "the other one is still to be told");
            drop(second);
            assert!(!watch().early);
        }
    }
}

#[cfg(not(unix))]
impl Signals {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(()))
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
