//! What the readiness driver asks of systems other than Linux: kqueue and its relatives, through
//! the `polling` crate. The same functions as `epoll.rs`.
#![expect(unsafe_code, reason = "a watched socket must be deleted before it is closed")]

use super::readiness::Readiness;
use longshore_base::{Token, event};
use polling::{Event, Events, PollMode};
use socket2::Socket;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

/// What `Abilities::driver` says.
pub(crate) const NAME: &str = "kqueue";
/// An event may be the end of a stream, or not.
pub(crate) const TELLS_END: bool = false;
/// What `Abilities::features` says.
pub(crate) const FEATURES: &[&str] = &["edge-triggered readiness"];

/// The system's poller with its events.
pub(crate) struct Poller {
    poller: Arc<polling::Poller>,
    events: Events,
    found: Vec<Event>,
}

impl fmt::Debug for Poller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Poller").field("poller", &self.poller).finish_non_exhaustive()
    }
}

/// Wakes a [`Poller`]; cloning shares it.
#[derive(Clone, Debug)]
pub(crate) struct Waker(Arc<polling::Poller>);

impl Poller {
    /// A poller that takes up to `events_max` events out of one wait.
    pub(crate) fn new(events_max: usize) -> io::Result<Self> {
        let poller = polling::Poller::new()?;
        if !poller.supports_edge() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let room = NonZeroUsize::new(events_max).unwrap_or(NonZeroUsize::MIN);
        let events = Events::with_capacity(room);
        Ok(Self { poller: Arc::new(poller), events, found: Vec::with_capacity(room.get()) })
    }

    pub(crate) fn waker(&self) -> Waker {
        Waker(Arc::clone(&self.poller))
    }

    /// Watches `socket` for both directions until it is deleted. What it is ready for already is
    /// told by the next wait.
    pub(crate) fn add(&self, socket: &Socket, token: Token) -> io::Result<()> {
        let key = usize::try_from(token.to_bits()).map_err(|_| io::ErrorKind::Unsupported)?;
        // SAFETY: the port deletes every socket that it added before it closes it or hands it
        // out, and drops its poller before the sockets that are left. The notifiers that may
        // outlive the port keep the poller alive, but none of them waits with it.
        unsafe { self.poller.add_with_mode(socket, Event::all(key), PollMode::Edge) }
    }

    /// Watches `socket` no more. Closing it would not do while a duplicate of it is open.
    pub(crate) fn delete(&self, socket: &Socket) -> io::Result<()> {
        self.poller.delete(socket)
    }

    /// Waits for something, at most `timeout`.
    pub(crate) fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.events.clear();
        self.found.clear();
        self.poller.wait(&mut self.events, timeout)?;
        self.found.extend(self.events.iter());
        Ok(())
    }

    /// How many events the last wait found.
    pub(crate) fn len(&self) -> usize {
        self.found.len()
    }

    /// Whether it may have found more than there was room for.
    pub(crate) fn is_full(&self) -> bool {
        self.found.len() >= self.events.capacity().get()
    }

    /// Event `index` of the last wait.
    ///
    /// # Panics
    /// When there were fewer.
    pub(crate) fn event(&self, index: usize) -> Readiness {
        let event = self.found[index];
        // An end of stream is not told apart from data on every system, so each one may be it:
        // that costs a second receive and is never wrong.
        let (readable, hangup, broken) = (event.readable, event.readable, event.readable);
        let token = Token::from_bits(event.key as u64);
        Readiness { token, readable, writable: event.writable, hangup, broken }
    }
}

impl Waker {
    /// Ends the current or the next wait.
    pub(crate) fn wake(&self) {
        if let Err(error) = self.0.notify() {
            event!(error, %error, "cannot wake a port");
        }
    }
}

/// Takes a waiting connection, non-blocking and close-on-exec. The address is missing where the
/// peer is already gone.
pub(crate) fn accept(listener: &Socket) -> io::Result<(Socket, Option<SocketAddr>)> {
    let (socket, addr) = listener.accept()?;
    socket.set_nonblocking(true)?;
    Ok((socket, addr.as_socket()))
}
