//! What the readiness driver asks of Linux: epoll, an eventfd, `accept4`.
//!
//! Straight epoll rather than a portable crate, because that is one system call a wait; a portable
//! one arms a timer and its own wake-up as well. `polling.rs` offers the same functions elsewhere.

use super::readiness::Readiness;
use longshore_base::{Token, event};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use rustix::fd::OwnedFd;
use rustix::net::{SocketFlags, acceptfrom_with};
use socket2::Socket;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

/// What `Abilities::driver` says.
pub(crate) const NAME: &str = "epoll";
/// An event says for certain that a stream has ended, also behind bytes that were not read.
pub(crate) const TELLS_END: bool = true;
/// What `Abilities::features` says.
pub(crate) const FEATURES: &[&str] = &["edge-triggered readiness", "wake-up by eventfd"];

/// The name of the eventfd; a slab never hands it out.
const WAKER: Token = Token::from_bits(u64::MAX);

/// Both directions, told once each time something new comes, so that no wait needs another call to
/// arm a socket. RDHUP tells an end of stream behind the data apart from no more data (`epoll(7)`).
const INTEREST: EventFlags =
    EventFlags::IN.union(EventFlags::OUT).union(EventFlags::RDHUP).union(EventFlags::ET);

/// The longest sleep of one system call: whole milliseconds in an `int`, with much to spare.
const SLEEP_MAX: Duration = Duration::from_secs(3600);

/// An epoll instance with its events.
pub(crate) struct Poller {
    epoll: OwnedFd,
    waker: Arc<OwnedFd>,
    events: Vec<epoll::Event>,
}

impl fmt::Debug for Poller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Poller").field("epoll", &self.epoll).finish_non_exhaustive()
    }
}

/// Wakes a [`Poller`]; cloning shares it.
#[derive(Clone, Debug)]
pub(crate) struct Waker(Arc<OwnedFd>);

impl Poller {
    /// A poller that takes up to `events_max` events out of one wait.
    pub(crate) fn new(events_max: usize) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let waker = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let data = epoll::EventData::new_u64(WAKER.to_bits());
        epoll::add(&epoll, &waker, data, EventFlags::IN | EventFlags::ET)?;
        Ok(Self { epoll, waker: Arc::new(waker), events: Vec::with_capacity(events_max) })
    }

    pub(crate) fn waker(&self) -> Waker {
        Waker(Arc::clone(&self.waker))
    }

    /// Watches `socket` for both directions until it is deleted. What it is ready for already is
    /// told by the next wait.
    pub(crate) fn add(&self, socket: &Socket, token: Token) -> io::Result<()> {
        let data = epoll::EventData::new_u64(token.to_bits());
        Ok(epoll::add(&self.epoll, socket, data, INTEREST)?)
    }

    /// Watches `socket` no more. Closing it would not do while a duplicate of it is open.
    pub(crate) fn delete(&self, socket: &Socket) -> io::Result<()> {
        Ok(epoll::delete(&self.epoll, socket)?)
    }

    /// Waits for something, at most `timeout`, rounded up to milliseconds.
    pub(crate) fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let timeout = timeout.map(|timeout| {
            Timespec::try_from(timeout.min(SLEEP_MAX)).expect("an hour fits every clock")
        });
        self.events.clear();
        epoll::wait(&self.epoll, spare_capacity(&mut self.events), timeout.as_ref())?;
        Ok(())
    }

    /// How many events the last wait found.
    pub(crate) fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether it may have found more than there was room for.
    pub(crate) fn is_full(&self) -> bool {
        self.events.len() == self.events.capacity()
    }

    /// Event `index` of the last wait.
    ///
    /// # Panics
    /// When there were fewer.
    #[inline]
    pub(crate) fn event(&self, index: usize) -> Readiness {
        let event = self.events[index];
        let flags = event.flags;
        let broken = flags.intersects(EventFlags::HUP | EventFlags::ERR);
        let hangup = broken || flags.contains(EventFlags::RDHUP);
        Readiness {
            token: Token::from_bits(event.data.u64()),
            readable: hangup || flags.contains(EventFlags::IN),
            writable: broken || flags.contains(EventFlags::OUT),
            hangup,
            broken,
        }
    }
}

impl Waker {
    /// Ends the current or the next wait.
    ///
    /// Nobody reads the eventfd: each write is an edge of its own, and 2^64 of them do not come.
    pub(crate) fn wake(&self) {
        if let Err(error) = rustix::io::write(&*self.0, &1u64.to_ne_bytes()) {
            event!(error, %error, "cannot wake a port");
        }
    }
}

/// Takes a waiting connection: non-blocking and close-on-exec within the one call. The address is
/// missing where the peer is already gone.
pub(crate) fn accept(listener: &Socket) -> io::Result<(Socket, Option<SocketAddr>)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (socket, addr) = acceptfrom_with(listener, flags)?;
    Ok((Socket::from(socket), addr.and_then(|addr| addr.try_into().ok())))
}
