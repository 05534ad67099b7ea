//! The readiness driver: a completion port made of epoll or kqueue.
//!
//! ```text
//! submit ──┬─► a send that fits is done at once ───────────────────────► answers ──► wait
//!          ├─► noted in its entry ─┐                                        ▲
//!          │                       ├─► ready ───► receive, accept ──────────┤
//! poller ──┼─► noted in its entry ─┘      └─► starved ─► the same, with a lease
//!          └─► goes on: a connect, the rest of a send ──────────────────────┘
//! ```
//!
//! The system says when an op may be tried, and it is the same op that is tried again. Sockets are
//! watched from `attach` to the end, for both directions and edge-triggered: the system tells once
//! that something came, and [`Entry`] remembers it until a call has found nothing more. So a
//! message that is answered costs three system calls: the wait, a receive and a send.
//!
//! Where the contract leaves a choice:
//! - Who receives when, and how much, is the affair of [`Turns`]; a socket accepts at most
//!   [`TURN_ACCEPTS`] a wait.
//! - The kernel holds no memory of ours: dropping the port just closes its sockets.
//!
//! Costs beside `io_uring`: a system call per receive and send, where that hands over many in one.

mod socket;
mod steps;
#[cfg(test)]
mod tests;

use crate::driver::clock::{Clock, TrimTime};
use crate::driver::os;
use crate::driver::poller::{self, Poller, Waker};
use crate::driver::turns::Turns;
use crate::jobs::WorkDesk;
use crate::{
    Abilities, Call, Completion, ConnectTo, End, ErrorKind, Link, Listening, Notify, Op, OpKind,
    Port, PortConfig, PortError, RawSocket, RecvPool, SocketId, Unattached, Until, Waited, What,
    Work,
};
use longshore_base::{Slab, Time, Token};
use socket::{Ending, Entry, Role, Sending};
use socket2::Socket;
use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Most connections that one listener accepts in one wait.
const TURN_ACCEPTS: usize = 64;

/// Most events taken out of the system at once.
const EVENTS_MAX: usize = 1024;

/// How much later than expected a look may end without another one.
const LATE: Duration = Duration::from_millis(1);

/// A port of epoll or kqueue.
#[derive(Debug)]
pub struct ReadinessPort {
    /// Dropped first: while it watches a socket, that must not be closed.
    poller: Poller,
    sockets: Slab<Entry>,
    turns: Turns,
    desk: WorkDesk,
    notifier: ReadinessNotifier,
    clock: Clock,
    now: Time,
    trim: TrimTime,
    /// Sockets that are to leave the port.
    endings: VecDeque<Token>,
}

/// Wakes a [`ReadinessPort`].
#[derive(Clone, Debug)]
pub struct ReadinessNotifier {
    /// Up from the first call until the port has seen it; then calls cost no system call.
    raised: Arc<AtomicBool>,
    waker: Waker,
}

impl Notify for ReadinessNotifier {
    fn notify(&self) {
        // The flag goes up before the wake-up goes out, and the port lowers it before its owner
        // looks at what was posted: whoever finds it up was there in time (R11).
        if !self.raised.swap(true, Ordering::AcqRel) {
            self.waker.wake();
        }
    }
}

impl ReadinessNotifier {
    fn take(&self) -> bool {
        self.raised.load(Ordering::Relaxed) && self.raised.swap(false, Ordering::AcqRel)
    }
}

pub(crate) fn abilities() -> Abilities {
    Abilities {
        driver: poller::NAME,
        moves_sockets: true,
        passed_over: String::new(),
        features: poller::FEATURES.to_vec(),
    }
}

impl ReadinessPort {
    pub(crate) fn open(
        config: &PortConfig,
        clock: Clock,
        desk: WorkDesk,
    ) -> Result<Self, PortError> {
        config.check().map_err(|refused| refused.of_open())?;
        let completions_max = config.completions_max;
        let poller = Poller::new(completions_max.min(EVENTS_MAX))
            .map_err(|error| PortError::from_io(Call::Open, &error))?;
        let pool = RecvPool::new(config.recv_blocks, config.recv_block_bytes)
            .ok_or(PortError::new(Call::Open, ErrorKind::NoMemory))?;
        let notifier = ReadinessNotifier { raised: Arc::default(), waker: poller.waker() };
        Ok(Self {
            poller,
            sockets: Slab::new(),
            turns: Turns::new(pool, completions_max),
            desk,
            notifier,
            clock,
            now: clock.now(),
            trim: TrimTime::NOW,
            endings: VecDeque::new(),
        })
    }

    /// Takes a socket in and watches it.
    fn take_in(&mut self, entry: Entry) -> Result<SocketId, (io::Error, Socket)> {
        let mut watched = Ok(());
        let id = self.sockets.insert_with(|id| {
            watched = self.poller.add(&entry.socket, id);
            entry
        });
        match watched {
            Ok(()) => Ok(SocketId(id)),
            Err(error) => {
                let entry = self.sockets.remove(id).expect("it was inserted just now");
                Err((error, entry.socket))
            }
        }
    }

    /// Takes down what the last look at the system has found.
    fn note_all(&mut self) {
        for index in 0..self.poller.len() {
            let event = self.poller.event(index);
            self.note(event);
        }
    }

    /// One look at the system, and all that follows from it. Says whether the port was notified.
    fn turn(&mut self, until: Until) -> Result<bool, PortError> {
        self.end_sockets();
        match self.poller.wait(self.turns.timeout(until, self.clock)) {
            // A signal, or the process was stopped and goes on: what is there was not looked at,
            // and input must not be overtaken by its timeout (R45).
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                self.poller.wait(Some(Duration::ZERO))
            }
            waited => waited,
        }
        .map_err(|error| PortError::from_io(Call::Wait, &error))?;
        #[cfg(test)]
        tests::stand_still();
        let expected = match until {
            Until::Now => self.now,
            Until::Time(time) => self.now.max(time),
            Until::Woken => Time::NEVER,
        };
        self.now = self.now.max(self.clock.now());
        self.note_all();
        if self.now.since(expected) > LATE {
            // The process may have stood still between the two: what came meanwhile is older than
            // this time, and must not be overtaken by its timeout either (R45).
            self.poller
                .wait(Some(Duration::ZERO))
                .map_err(|error| PortError::from_io(Call::Wait, &error))?;
            self.note_all();
        }
        let notified = self.notifier.take();
        if notified {
            for (token, done) in self.desk.take(usize::MAX) {
                self.turns.answer(token, What::Work(done));
            }
        }
        self.go_on();
        Ok(notified)
    }
}

impl Port for ReadinessPort {
    type Notifier = ReadinessNotifier;

    fn now(&self) -> Time {
        self.now
    }

    fn precise_now(&self) -> Time {
        self.clock.now()
    }

    fn seed(&mut self) -> u64 {
        RandomState::new().hash_one(0)
    }

    fn notifier(&self) -> ReadinessNotifier {
        self.notifier.clone()
    }

    fn abilities(&self) -> Abilities {
        abilities()
    }

    fn attach(
        &mut self,
        socket: Unattached,
        token: Token,
    ) -> Result<SocketId, (PortError, Unattached)> {
        let Unattached { peer, local, raw } = socket;
        let RawSocket::System(socket) = raw else {
            let error = PortError::new(Call::Attach, ErrorKind::Unsupported);
            return Err((error, Unattached { peer, local, raw }));
        };
        let result = match socket.set_nonblocking(true) {
            Ok(()) => self.take_in(Entry::new(socket, token, Role::Connection, (peer, local))),
            Err(error) => Err((error, socket)),
        };
        result.map_err(|(error, socket)| {
            let raw = RawSocket::System(socket);
            (PortError::from_io(Call::Attach, &error), Unattached { peer, local, raw })
        })
    }

    fn listen(&mut self, listening: Listening, token: Token) -> Result<SocketId, PortError> {
        let Listening { local, raw: RawSocket::System(socket), .. } = listening else {
            return Err(PortError::new(Call::Attach, ErrorKind::Unsupported));
        };
        let failed = |error: &io::Error| PortError::from_io(Call::Attach, error);
        socket.set_nonblocking(true).map_err(|error| failed(&error))?;
        let entry = Entry::new(socket, token, Role::Listener, (local, local));
        self.take_in(entry).map_err(|(error, _)| failed(&error))
    }

    fn connect(&mut self, to: &ConnectTo, token: Token) -> Result<SocketId, PortError> {
        let failed = |error: &io::Error| PortError::from_io(Call::Connect, error);
        let socket = begin_to_connect(to).map_err(|error| failed(&error))?;
        let started = match socket.connect(&to.addr.into()) {
            Err(error) if !os::is_in_progress(&error) => Err(failed(&error)),
            // Also a connection that stands already is told by an edge.
            _ => Ok(()),
        };
        // The own address is known, and asked for, when the connection stands.
        let entry = Entry::new(socket, token, Role::Connecting, (to.addr.into(), to.addr.into()));
        let id = self.take_in(entry).map_err(|(error, _)| failed(&error))?;
        if let Err(error) = started {
            self.connect_failed(id.0, error);
        }
        Ok(id)
    }

    #[inline]
    fn submit(&mut self, socket: SocketId, op: Op) {
        let Some(entry) = self.sockets.get_mut(socket.0) else { return };
        entry.ops.begin(&op, self.turns.waits());
        match op {
            Op::Accept { credit } | Op::Recv { credit } => self.want(socket.0, credit),
            Op::Send { data, mode, prompt } => {
                self.send(socket.0, Sending::new(data), mode, prompt);
            }
            Op::Watch { half } => {
                entry.watch = Some(half);
                self.look_at_end(socket.0);
            }
            Op::Shutdown => {
                // What may fail here, the receive tells.
                let _ = entry.socket.shutdown(Shutdown::Write);
            }
            Op::Detach => self.end(socket.0, Ending::Detach),
            Op::Close => self.end(socket.0, Ending::Close),
            Op::Abort => self.end(socket.0, Ending::Abort),
        }
    }

    fn cancel(&mut self, socket: SocketId, kind: OpKind) {
        let Some(entry) = self.sockets.get_mut(socket.0) else { return };
        match (kind, entry.role) {
            (OpKind::Accept, Role::Listener)
            | (OpKind::Recv, Role::Connecting | Role::Connection) => {
                self.end_input(socket.0, End::Cancelled);
            }
            (OpKind::Send, _) => self.cancel_send(socket.0),
            (OpKind::Watch, _) => self.end_watch(socket.0, End::Cancelled),
            (OpKind::Connect, Role::Connecting) => {
                let error = PortError::new(Call::Connect, ErrorKind::Cancelled);
                self.connect_failed(socket.0, error);
            }
            _ => {}
        }
    }

    fn link(&self, socket: SocketId) -> Link {
        self.sockets.get(socket.0).map_or_else(Link::default, |entry| os::link(&entry.socket))
    }

    fn start(&mut self, token: Token, work: Work) {
        self.desk.start(token, work, self.notifier.clone());
    }

    fn wait(&mut self, until: Until, out: &mut Vec<Completion>) -> Result<Waited, PortError> {
        loop {
            let notified = self.turn(until)?;
            let over = match until {
                Until::Now => true,
                Until::Time(time) => self.now >= time,
                Until::Woken => false,
            };
            if notified || over || self.turns.is_urgent() {
                break;
            }
        }
        if self.trim.is_due(self.now) {
            self.sockets.trim();
        }
        let more = self.poller.is_full() || !self.endings.is_empty();
        Ok(self.turns.hand_out(self.now, more, out))
    }

    fn leases(&self) -> usize {
        self.turns.leases()
    }

    fn sockets(&self) -> usize {
        self.sockets.len()
    }
}

/// A socket that is about to connect.
fn begin_to_connect(to: &ConnectTo) -> io::Result<Socket> {
    let socket = crate::driver::sockets::open(to.addr)?;
    socket.set_nonblocking(true)?;
    crate::driver::sockets::set_options(&socket, &to.options)?;
    if let Some(from) = to.from {
        socket.bind(&from.into())?;
    }
    Ok(socket)
}
