//! What a process is told from outside, and what it is allowed: the one file of this crate that
//! asks which system it is on.
//!
//! Signals belong to the process, so one thread waits for them, for all its servers. It stays when
//! they are gone: a handler once installed is not taken out again, and Ctrl-C has to end a program
//! whose servers have stopped.

use crate::server::Inner;
use crate::server::threads::detach;
use crate::{Result, Server};
use longshore_base::event;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

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

/// All that drain at a signal.
struct Watch {
    /// Whether somebody listens for signals.
    listens: bool,
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
    Mutex::new(Watch { listens: false, starting: 0, early: false, servers: Vec::new() });

fn watch() -> MutexGuard<'static, Watch> {
    WATCH.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Signals {
    pub(crate) fn new() -> Result<Self> {
        let mut watch = watch();
        if !watch.listens {
            system::listen()?;
            watch.listens = true;
        }
        watch.starting += 1;
        Ok(Self(()))
    }

    /// Drains `server` at the first signal; the second one ends the process with 128 + its number.
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

/// Whom a signal was for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum For {
    /// No server runs, or is about to.
    Nobody,
    /// They were told for the first time.
    News,
    /// All know already.
    Known,
}

/// Tells all servers, which drain for as long as each was built to, and at most `most`.
fn tell(most: Option<Duration>) -> For {
    let mut watch = watch();
    let is_over =
        |watched: &Watched| watched.server.upgrade().is_none_or(|server| server.threads.are_over());
    watch.servers.retain(|watched| !is_over(watched));
    if watch.servers.is_empty() && watch.starting == 0 {
        return For::Nobody;
    }
    let (mut news, mut to_drain) = (false, Vec::new());
    if watch.starting > 0 {
        news |= !std::mem::replace(&mut watch.early, true);
    }
    for watched in &mut watch.servers {
        let first = !std::mem::replace(&mut watched.asked, true);
        news |= first;
        if first || most.is_some() {
            to_drain.extend(watched.server.upgrade());
        }
    }
    drop(watch);
    for server in to_drain.into_iter().map(Server) {
        server.drain();
        if let Some(most) = most {
            server.shutdown(most); // the shorter one counts
        }
    }
    if !news {
        return For::Known;
    }
    // Not on this thread: who reads the log may be stuck, and the second signal comes here.
    let _ = detach("longshore-log", || {
        event!(info, "draining; a second signal stops at once");
    });
    For::News
}

#[cfg(unix)]
mod system {
    use super::{For, tell};
    use crate::Result;
    use crate::server::threads::detach;
    use signal_hook::consts::{SIGINT, SIGTERM};
    use signal_hook::iterator::Signals as Incoming;
    use signal_hook::low_level;

    pub(super) fn listen() -> Result {
        start_thread(detach)
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
        match tell(None) {
            // As if nobody had asked for it. It fails only for signals that we do not ask for.
            For::Nobody => drop(low_level::emulate_default_handler(signal)),
            For::News => {}
            For::Known => low_level::exit(128 + signal),
        }
    }

    #[cfg(test)]
    mod tests {
        use super::super::{Signals, watch};
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

#[cfg(windows)]
mod system {
    use super::{For, tell, watch};
    use crate::Result;
    use longshore_port::{ConsoleEvent, on_console_event};
    use std::time::Duration;

    /// How long servers drain when the console is closed. Windows kills the process 5 s later, or
    /// when its handler returns. Source: `HandlerRoutine`, "Timeouts".
    const CLOSE_DRAIN: Duration = Duration::from_secs(4);

    /// 128 and the number of SIGINT, as elsewhere.
    const INTERRUPTED: i32 = 130;

    pub(super) fn listen() -> Result {
        on_console_event(handle)
            .map_err(|error| crate::Error::msg(format_args!("cannot listen for Ctrl-C: {error}")))
    }

    /// Whether it was taken care of; else Windows ends the process. Each runs on a thread of its own.
    fn handle(event: ConsoleEvent) -> bool {
        match event {
            ConsoleEvent::Interrupt => match tell(None) {
                For::Nobody => false,
                For::News => true,
                For::Known => std::process::exit(INTERRUPTED),
            },
            ConsoleEvent::Close => {
                let told = tell(Some(CLOSE_DRAIN));
                if told != For::Nobody {
                    wait_for_all();
                }
                told != For::Nobody
            }
        }
    }

    /// Returns when no server runs any more, or the time to drain is up.
    fn wait_for_all() {
        const LOOK_EVERY: Duration = Duration::from_millis(10);
        let runs = || {
            let watch = watch();
            let mut servers = watch.servers.iter().filter_map(|watched| watched.server.upgrade());
            servers.any(|server| !server.threads.are_over())
        };
        let mut left = CLOSE_DRAIN;
        while runs() && !left.is_zero() {
            std::thread::sleep(LOOK_EVERY);
            left = left.saturating_sub(LOOK_EVERY);
        }
    }

    #[cfg(test)]
    mod tests {
        use super::super::Signals;
        use super::*;
        use crate::server::threads::detach;
        use crate::{Ctx, Handler, Lines, Listener, Server};

        struct Stays;

        impl Handler for Stays {
            type Codec = Lines;
            fn on_message(&mut self, _: &mut Ctx<'_, Self>, _: &str) -> Result {
                Ok(())
            }
            fn on_shutdown(&mut self, _: &mut Ctx<'_, Self>) -> Result {
                Ok(())
            }
        }

        /// Wine closes no console: this is the only place that shows it.
        #[test]
        fn closing_the_console_blocks_until_all_is_drained_and_no_longer() {
            assert!(!handle(ConsoleEvent::Close), "with no server it is the system's affair");
            let signals = Signals::new().unwrap();
            let listener = Listener::tcp("127.0.0.1:0", Lines::max(100));
            let server = Server::builder().workers(1).listen(listener, |_| Ok(Stays));
            let server = server.start().unwrap();
            signals.drain_on_first(&server);
            let addr = server.local_addrs()[0].socket_addr().unwrap();
            let peer = std::net::TcpStream::connect(addr).unwrap();
            while server.connection_count() == 0 {
                std::thread::yield_now();
            }
            let (told, ended) = std::sync::mpsc::channel();
            detach("closes", move || told.send(handle(ConsoleEvent::Close)).unwrap()).unwrap();
            assert_eq!(ended.recv_timeout(CLOSE_DRAIN * 2), Ok(true));
            assert_eq!(server.connection_count(), 0, "who stays is aborted");
            drop(peer);
            server.wait().unwrap();
            assert!(!handle(ConsoleEvent::Interrupt), "it is over");
        }
    }
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
