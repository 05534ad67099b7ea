//! The IOCP driver: completion ports of Windows.
//!
//! ```text
//! submit ──┬─► a send that fits is done at once ───────────────► answers ──► wait
//!          └─► an op of the system, in a slot                      ▲
//!                     │                                            │
//! the system's port ──┴─► a packet ──► its slot ──┬────────────────┤
//!                                                 └─► ready ───► receive
//!                                                   └─► starved ─► the same, with a lease
//! ```
//!
//! An op that the system has lives in a slot, with all that it may touch, until its packet has come;
//! also one that was cancelled, which may still have done its work. A socket closes when the system
//! has nothing more of it. An op that is over at once puts no packet, where the system can do that.
//!
//! Where the contract leaves a choice:
//! - A receive begins with a wait that takes no byte and pins no memory; what comes is then taken at
//!   once into the pool (S9). A cancelled receive is over at once: that wait loses nothing.
//! - Who receives when, and how much, is the affair of [`Turns`].
//! - A send that does not wait is a call that does not; one that waits is an op of the system, which
//!   keeps what is sent. A part of a file goes out by `TransmitFile`.
//! - Sockets are tied to their port for good: they do not move. An accepted one belongs to no port
//!   until it is attached.
//! - A watch asks the device below Winsock, as wepoll and libuv do.

mod accept;
mod leave;
mod recv;
mod send;
mod slots;
mod socket;
mod sys;
#[cfg(test)]
mod tests;
mod watch;

use crate::driver::clock::{Clock, TrimTime};
use crate::driver::os;
use crate::driver::turns::Turns;
use crate::jobs::WorkDesk;
use crate::{
    Abilities, Call, Completion, ConnectTo, ErrorKind, Link, Listening, Notify, Op, OpKind, Port,
    PortConfig, PortError, RawSocket, RecvPool, SocketId, Unattached, Until, Waited, What, Work,
};
use longshore_base::{Slab, Time, Token, event};
use slots::{Held, Slot, Slots};
use socket::{Ending, Entry, Role};
use socket2::Socket;
use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use sys::{Afd, Begun, CompletionPort, Packet};

/// Most packets taken out of the system at once.
const PACKETS_MAX: usize = 1024;

/// How much later than expected a look may end without another one.
const LATE: Duration = Duration::from_millis(20);

/// A port of Windows.
pub struct IocpPort {
    port: Arc<CompletionPort>,
    /// What watches ask, once there was one.
    afd: Option<Afd>,
    sockets: Slab<Entry>,
    /// Ops that the system has.
    slots: Slots,
    turns: Turns,
    desk: WorkDesk,
    notifier: IocpNotifier,
    clock: Clock,
    now: Time,
    trim: TrimTime,
    packets: Box<[Packet]>,
    /// The last look filled `packets`: there may be more.
    is_full: bool,
    /// Sockets that are to leave the port.
    endings: VecDeque<Token>,
    drop_deadline: Duration,
}

/// Wakes an [`IocpPort`].
#[derive(Clone, Debug)]
pub struct IocpNotifier {
    /// Up from the first call until the port has seen it; then calls cost no system call.
    raised: Arc<AtomicBool>,
    port: Arc<CompletionPort>,
}

impl Notify for IocpNotifier {
    fn notify(&self) {
        // The flag goes up before the packet goes out, and the port lowers it before its owner
        // looks at what was posted: whoever finds it up was there in time (R11).
        if !self.raised.swap(true, Ordering::AcqRel) {
            if let Err(error) = self.port.post() {
                event!(error, %error, "cannot wake a port");
            }
        }
    }
}

impl IocpNotifier {
    fn take(&self) -> bool {
        self.raised.load(Ordering::Relaxed) && self.raised.swap(false, Ordering::AcqRel)
    }
}

pub(crate) fn abilities() -> Abilities {
    Abilities {
        driver: "iocp",
        moves_sockets: false,
        passed_over: String::new(),
        features: vec![
            "AcceptEx",
            "ConnectEx",
            "TransmitFile",
            "no packet for what is done at once",
        ],
    }
}

impl IocpPort {
    pub(crate) fn open(
        config: &PortConfig,
        clock: Clock,
        desk: WorkDesk,
    ) -> Result<Self, PortError> {
        config.check().map_err(|refused| refused.of_open())?;
        let completions_max = config.completions_max;
        let port = CompletionPort::new().map_err(|error| PortError::from_io(Call::Open, &error))?;
        let port = Arc::new(port);
        let pool = RecvPool::new(config.recv_blocks, config.recv_block_bytes)
            .ok_or(PortError::new(Call::Open, ErrorKind::NoMemory))?;
        let notifier = IocpNotifier { raised: Arc::default(), port: Arc::clone(&port) };
        Ok(Self {
            port,
            afd: None,
            sockets: Slab::new(),
            slots: Slots::default(),
            turns: Turns::new(pool, completions_max),
            desk,
            notifier,
            clock,
            now: clock.now(),
            trim: TrimTime::NOW,
            packets: vec![Packet::EMPTY; completions_max.min(PACKETS_MAX)].into(),
            is_full: false,
            endings: VecDeque::new(),
            drop_deadline: config.drop_deadline,
        })
    }

    /// Takes a socket in, for good.
    fn take_in(&mut self, mut entry: Entry) -> Result<Token, (io::Error, Socket)> {
        match self.port.associate_socket(&entry.socket) {
            Ok(skips) => {
                entry.skips = skips;
                Ok(self.sockets.insert(entry))
            }
            Err(error) => Err((error, entry.socket)),
        }
    }

    /// An op of a socket was given to the system, which has it, is through with it, or refused it.
    fn begun(&mut self, id: Token, name: Token, begun: io::Result<Begun>) {
        let Some(entry) = self.sockets.get_mut(id) else { return };
        entry.pending += 1;
        match begun {
            // Questions about a socket are not put to the socket.
            Ok(Begun::Done(bytes)) if entry.skips || self.slots.is_poll(name) => {
                self.done(name, Ok(bytes));
            }
            Ok(_) => {} // its packet comes
            Err(error) => self.done(name, Err(error.raw_os_error().unwrap_or(0))),
        }
    }

    /// The system is through with an op.
    fn done(&mut self, name: Token, result: Result<u32, i32>) {
        let Slot { socket: id, held, .. } = self.slots.end(name);
        if let Some(entry) = self.sockets.get_mut(id) {
            entry.pending -= 1;
        }
        match held {
            Held::Readable => self.readable(id, result),
            Held::Connect => self.connect_done(id, result),
            Held::Accept(accepting) => self.accept_done(id, *accepting, result),
            Held::Send(sending) => self.send_done(id, sending, result),
            Held::Poll(poll) => self.polled(id, name, &poll, result),
        }
        self.close_if_idle(id);
    }

    /// What went wrong with an op. Whatever ends one of a socket that closes was our doing.
    fn error_of(&self, id: Token, call: Call, code: i32) -> PortError {
        let error = PortError::from_code(call, code);
        let closing = self.sockets.get(id).is_some_and(|entry| entry.closing);
        if closing { PortError { kind: ErrorKind::Cancelled, ..error } } else { error }
    }

    /// Takes packets out of the system, and goes on with what they are about.
    fn take_packets(&mut self, timeout: Option<Duration>) -> Result<(), PortError> {
        let taken = self.port.take(&mut self.packets, timeout);
        let count = taken.map_err(|error| PortError::from_io(Call::Wait, &error))?;
        self.is_full = count == self.packets.len();
        for at in 0..count {
            let packet = self.packets[at];
            if let Some((name, result)) = Slots::of_packet(&packet) {
                self.done(name, result);
            }
        }
        Ok(())
    }

    /// One look at the system, and all that follows from it. Says whether the port was notified.
    fn turn(&mut self, until: Until) -> Result<bool, PortError> {
        self.end_sockets();
        let expected = match until {
            Until::Now => self.now,
            Until::Time(time) => self.now.max(time),
            Until::Woken => Time::NEVER,
        };
        self.take_packets(self.turns.timeout(until, self.clock))?;
        self.now = self.now.max(self.clock.now());
        let late = self.now.since(expected);
        if late > LATE {
            // The process may have stood still behind the look: what came meanwhile is older than
            // this time, and must not be overtaken by its timeout (R45).
            self.take_packets(Some(Duration::ZERO))?;
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

    /// Ends everything, and waits for what the system has, up to the deadline.
    fn end_all(&mut self) {
        for id in self.sockets.tokens() {
            self.close(id, Ending::Close);
        }
        let deadline = self.clock.now() + self.drop_deadline;
        while self.slots.len() > 0 {
            // Closes what was accepted, brings leases home.
            self.turns.hand_out(self.now, false, &mut Vec::new());
            let left = deadline.since(self.clock.now());
            if left.is_zero() || self.take_packets(Some(left)).is_err() {
                break;
            }
        }
    }
}

impl Port for IocpPort {
    type Notifier = IocpNotifier;

    fn now(&self) -> Time {
        self.now
    }

    fn precise_now(&self) -> Time {
        self.clock.now()
    }

    fn seed(&mut self) -> u64 {
        RandomState::new().hash_one(0)
    }

    fn notifier(&self) -> IocpNotifier {
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
            Ok(()) => self.take_in(Entry::new(socket, token, Role::Connection, local)),
            Err(error) => Err((error, socket)),
        };
        result.map(SocketId).map_err(|(error, socket)| {
            let raw = RawSocket::System(socket);
            (PortError::from_io(Call::Attach, &error), Unattached { peer, local, raw })
        })
    }

    fn listen(&mut self, listening: Listening, token: Token) -> Result<SocketId, PortError> {
        let Listening { local, options, raw: RawSocket::System(socket) } = listening else {
            return Err(PortError::new(Call::Attach, ErrorKind::Unsupported));
        };
        let mut entry = Entry::new(socket, token, Role::Listener, local);
        entry.options = options.map(Box::new);
        let listener = self.take_in(entry).map(SocketId);
        listener.map_err(|(error, _)| PortError::from_io(Call::Attach, &error))
    }

    fn connect(&mut self, to: &ConnectTo, token: Token) -> Result<SocketId, PortError> {
        self.start_connect(to, token)
    }

    fn submit(&mut self, SocketId(id): SocketId, op: Op) {
        let Some(entry) = self.sockets.get_mut(id) else { return };
        entry.ops.begin(&op, self.turns.waits());
        match op {
            Op::Accept { credit } => self.start_accept(id, credit),
            Op::Recv { credit } => self.start_recv(id, credit),
            Op::Send { data, mode, prompt } => self.start_send(id, data, mode, prompt),
            Op::Watch { half } => self.start_watch(id, half),
            Op::Shutdown => {
                entry.shut = true;
                // What may fail here, the receive tells.
                let _ = entry.socket.shutdown(Shutdown::Write);
                self.watch_both_ends(id);
            }
            Op::Detach => self.end(id, Ending::Detach),
            Op::Close => self.end(id, Ending::Close),
            Op::Abort => self.end(id, Ending::Abort),
        }
    }

    fn cancel(&mut self, SocketId(id): SocketId, kind: OpKind) {
        self.cancel_op(id, kind);
    }

    fn link(&self, SocketId(id): SocketId) -> Link {
        self.sockets.get(id).map_or_else(Link::default, |entry| os::link(&entry.socket))
    }

    fn start(&mut self, token: Token, work: Work) {
        self.desk.start(token, work, self.notifier.clone());
    }

    fn wait(&mut self, mut until: Until, out: &mut Vec<Completion>) -> Result<Waited, PortError> {
        loop {
            let notified = self.turn(until)?;
            let over = match until {
                Until::Now => true,
                Until::Time(time) => self.now >= time,
                Until::Woken => false,
            };
            let over = notified || over;
            // A look that was full of what nobody waits for says nothing of what lies behind it.
            if self.turns.is_urgent() || over && !self.is_full {
                break;
            }
            if over {
                until = Until::Now;
            }
        }
        if self.trim.is_due(self.now) {
            self.sockets.trim();
            self.slots.trim();
        }
        let more = self.is_full || !self.endings.is_empty();
        Ok(self.turns.hand_out(self.now, more, out))
    }

    fn leases(&self) -> usize {
        self.turns.leases()
    }

    fn sockets(&self) -> usize {
        self.sockets.len()
    }
}

impl Drop for IocpPort {
    fn drop(&mut self) {
        self.end_all();
        if self.slots.len() > 0 {
            event!(
                error,
                ops = self.slots.len(),
                sockets = self.sockets.len(),
                "ops of a dropped port did not return in time; their memory is leaked"
            );
            std::mem::forget(std::mem::take(&mut self.slots));
        }
    }
}

impl std::fmt::Debug for IocpPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IocpPort")
            .field("sockets", &self.sockets.len())
            .field("ops", &self.slots.len())
            .field("turns", &self.turns)
            .finish_non_exhaustive()
    }
}
