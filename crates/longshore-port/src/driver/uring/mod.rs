//! Linux `io_uring`: ops are entries of a ring, and one system call submits and waits for all.
//!
//! How the ring's model maps to ours:
//!
//! | op | in the ring |
//! | --- | --- |
//! | `Recv` | one multishot receive with a limit, or single ones; the kernel picks the buffer |
//! | `Send`, `Try` | a send that does not wait and is silent when it went out whole |
//! | `Send`, `Whole` | a send that waits for room |
//! | `Send` of a file | a plain system call, and a poll for room; or pieces that are read and sent |
//! | `Accept` | up to 16 single accepts, each with an address of its own |
//! | `connect` | a connect |
//! | `Watch` | a poll for the end of the connection |
//! | `Close`, `Abort`, `Shutdown` | plain system calls, which are cheaper than the ring's ops; cancels |
//! | notifier | an event counter with a read on it |
//!
//! What it costs: a system call for each `wait`, none for each op. An idle connection holds an
//! armed receive (some 900 bytes in the kernel), and no buffer.
//!
//! Ops are called by kind, slot and generation ([`names`]); memory that the kernel looks at lies in
//! tables that never move it, or outside of them ([`send`], [`accept`]). Each op returns exactly
//! once, and only then is its memory touched and its socket closed.
//!
//! Linux 6.0 is needed. 6.1 saves interrupts; 6.17 counts the credit of a multishot receive in the
//! kernel, before that receives are single ones, one entry more for each, and the driver is taken
//! only where it is required. Docker's default seccomp profile refuses `io_uring`, and so do some
//! distributions; [`mod@probe`] says so.
//!
//! Left out, by measurement: zero-copy sends (slower on loopback), fixed files (nothing to gain,
//! harder to hand over), a polling kernel thread (costs a core), multishot accept (one address for
//! all).

mod accept;
#[cfg(all(test, feature = "contract"))]
mod ages;
mod buffers;
mod features;
mod files;
mod gather;
mod leave;
mod names;
mod notify;
mod ops;
mod probe;
mod recv;
mod ring;
mod send;
mod socket;
#[cfg(test)]
mod tests;
mod watch;

pub(super) use notify::UringNotifier;

use crate::driver::clock::{Clock, TrimTime};
use crate::driver::os;
use crate::jobs::WorkDesk;
use crate::{
    Abilities, Call, Completion, ConnectTo, ErrorKind, Link, Listening, Op, OpKind, Port,
    PortConfig, PortError, SocketId, Unattached, Until, Waited, What, Work,
};
use buffers::Buffers;
use features::Features;
use gather::Gathers;
use io_uring::cqueue;
use longshore_base::{Slab, Time, Token, event};
use names::Kind;
use notify::Wake;
use ops::{AcceptOp, SendOp, Tried};
use ring::{Patience, Ring};
use socket::{Leaving, Socket};
use std::collections::BTreeMap;
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::Shutdown;
use std::time::Duration;

/// A port of `io_uring`.
#[expect(clippy::struct_excessive_bools, reason = "independent facts, not a state machine")]
pub struct UringPort {
    /// First of all fields, so that it is gone before the memory it points to is.
    ring: Ring,
    buffers: Buffers,
    wake: Wake,
    features: Features,
    sockets: Slab<Socket>,
    sends: Slab<SendOp>,
    gathers: Gathers,
    accepts: Slab<AcceptOp>,
    /// Receives that wait for a buffer, by the time since when; and the last one's place.
    parked: BTreeMap<u64, Token>,
    ticket_last: u64,
    /// A receive was armed again after bytes came; there may be more of them.
    rearmed: bool,
    /// Waits that have returned.
    waits: u64,
    /// The kernel had no buffer for a receive, although blocks are in its hands.
    refused: bool,
    tried: Tried,
    /// Ops of which the ring will say that they have returned.
    in_flight: usize,
    /// What the kernel has answered and nobody has looked at.
    answered: Vec<cqueue::Entry>,
    /// What goes out of the next `wait`.
    ready: Vec<Completion>,
    completions_max: usize,
    woken: bool,
    desk: WorkDesk,
    /// Work that is not back yet.
    works: usize,
    clock: Clock,
    now: Time,
    trim: TrimTime,
    drop_deadline: Duration,
    dropping: bool,
}

/// What every port of this driver can do.
pub(crate) fn abilities() -> Abilities {
    let features = probe::features().map(|found| found.in_words(true));
    Abilities {
        driver: "io_uring",
        moves_sockets: true,
        passed_over: String::new(),
        features: features.unwrap_or_default(),
    }
}

/// Finds out whether this system permits the driver; if not, why, in words for a person.
pub(crate) fn probe() -> Result<(), String> {
    probe::features().map(drop)
}

/// Whether a permitted ring is worth taking unasked; if not, why, in words for a person.
pub(crate) fn worth_it() -> Result<(), String> {
    probe::features().and_then(probe::worth_it)
}

/// Why not every worker could have a ring, in words for a person.
pub(crate) fn why_not_all(error: PortError) -> String {
    format!("not every worker could have a ring: {}", probe::why_no_ring(error.code))
}

/// How often to bind while the address is in use, some 0.4 s in all: the kernel takes the ring of a
/// process that was killed apart a little later, and its listeners live as long (R83).
pub(super) const BIND_TRIES: u32 = 20;

/// The longest single sleep: the kernel's sums of times must not overflow.
const SLEEP_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a receive waits that the kernel refused a buffer, although it has some.
const REFUSED_PAUSE: Duration = Duration::from_millis(5);

/// Looks of one wait that bring nothing until the kernel's word that there is work counts no more.
///
/// It queues the work first and raises its flag after that. An `enter` in between runs the work and
/// leaves a flag behind that only the next work takes down. Who takes it for a proof never sleeps,
/// and never comes back. More than one look, since the work may have come just after the first.
const LOOKS_IN_VAIN_MAX: u32 = 4;

/// What became of an [`enter`](UringPort::enter).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Entered {
    /// The kernel took entries, or there were completions.
    Well,
    /// There was nothing to take, and nothing came.
    InVain,
    /// The kernel did not take all entries: it has no memory for them now.
    Stuck,
}

impl UringPort {
    /// Opens a port on the thread that will drive it.
    pub(crate) fn open(
        config: &PortConfig,
        clock: Clock,
        desk: WorkDesk,
    ) -> Result<Self, PortError> {
        let features = probe::features().map_err(|why| {
            event!(error, why, "cannot open a port");
            PortError::new(Call::Open, ErrorKind::Unsupported)
        })?;
        Self::open_with(features, config, clock, desk)
    }

    fn open_with(
        features: Features,
        config: &PortConfig,
        clock: Clock,
        desk: WorkDesk,
    ) -> Result<Self, PortError> {
        config.check().map_err(|refused| refused.of_open())?;
        let failed = |error: std::io::Error| PortError::from_io(Call::Open, &error);
        let mut wake = Wake::new().map_err(failed)?;
        let buffers; // gone after the ring, whatever fails
        let mut ring = Ring::open(config.submissions_max, features.setup).map_err(failed)?;
        buffers = Buffers::new(&ring, config, features.incremental).map_err(failed)?;
        ring.start().map_err(failed)?;
        wake.arm(&mut ring);
        Ok(Self {
            ring,
            buffers,
            wake,
            features,
            sockets: Slab::new(),
            sends: Slab::new(),
            gathers: Gathers::default(),
            accepts: Slab::new(),
            parked: BTreeMap::new(),
            ticket_last: 0,
            rearmed: false,
            waits: 0,
            refused: false,
            tried: Tried::default(),
            in_flight: 1, // the read of `wake`
            answered: Vec::new(),
            ready: Vec::new(),
            completions_max: config.completions_max,
            woken: false,
            desk,
            works: 0,
            clock,
            now: clock.now(),
            trim: TrimTime::NOW,
            drop_deadline: config.drop_deadline,
            dropping: false,
        })
    }

    /// How long the next `enter` may sleep.
    #[inline]
    fn patience(&self, until: Until) -> Patience {
        let answers_wanted =
            self.tried.prompt || (!self.tried.slots.is_empty() && self.buffers.is_low());
        let busy = answers_wanted || self.woken || !self.ready.is_empty() || self.can_resume();
        let longest = if self.refused { REFUSED_PAUSE } else { SLEEP_MAX };
        match until {
            _ if busy => Patience::None,
            Until::Now => Patience::None,
            Until::Woken if self.refused => Patience::For(longest),
            Until::Woken => Patience::Endless,
            Until::Time(time) => match time.since(self.clock.now()) {
                Duration::ZERO => Patience::None,
                left => Patience::For(left.min(longest)),
            },
        }
    }

    /// Submits everything, takes what has completed, and turns it into completions.
    fn enter(&mut self, mut patience: Patience) -> Result<Entered, PortError> {
        let mut in_vain = self.ring.all_submitted();
        let taken = loop {
            if !self.ring.unspill() {
                patience = Patience::None;
            }
            let due = !self.ring.all_submitted() || self.ring.has_completions();
            let mut taken = true;
            if due || patience != Patience::None || self.ring.may_run() {
                let entered = self.ring.enter(patience);
                taken = entered.map_err(|error| PortError::from_io(Call::Wait, &error))?;
            }
            in_vain &= !self.collect();
            if self.ring.all_submitted() && !self.ring.overflown() {
                // Only now is it certain that a try of which nothing was heard went out whole.
                self.answer_tried();
                break true;
            }
            if !taken {
                break false; // for the next `wait`: what completed may give memory back
            }
            patience = Patience::None;
        };
        self.rearmed = false;
        let mut answered = std::mem::take(&mut self.answered);
        for entry in answered.drain(..) {
            self.dispatch(&entry);
        }
        self.answered = answered;
        Ok(match taken {
            false => Entered::Stuck,
            true if in_vain => Entered::InVain,
            true => Entered::Well,
        })
    }

    /// Takes completions out of the ring, and says whether there were any. Those of tries are
    /// looked at here, before the rest of the tries is answered.
    #[inline]
    fn collect(&mut self) -> bool {
        let mut any = false;
        while let Some(entry) = self.ring.next() {
            any = true;
            match names::parse(entry.user_data()) {
                (Kind::TrySend, slot) => self.try_done(slot, entry.result()),
                _ => self.answered.push(entry),
            }
        }
        self.ring.free_completions();
        any
    }

    #[inline]
    fn dispatch(&mut self, entry: &cqueue::Entry) {
        let (kind, token) = names::parse(entry.user_data());
        match kind {
            Kind::Recv => self.recv_done(token, entry.result(), entry.flags()),
            Kind::WholeSend => self.whole_done(token, entry.result()),
            Kind::Accept => self.accept_done(token, entry.result()),
            Kind::Connect => self.connect_done(token, entry.result()),
            Kind::Wake => self.wake_done(),
            Kind::Room => self.room_done(token),
            Kind::Watch => self.watch_done(token, entry.result(), entry.flags()),
            Kind::Cancel => self.cancel_missed(entry.user_data(), entry.result()),
            Kind::TrySend => {} // looked at before
        }
    }

    fn wake_done(&mut self) {
        self.in_flight -= 1;
        self.wake.seen();
        self.woken = true;
        if !self.dropping {
            self.in_flight += 1;
            self.wake.arm(&mut self.ring);
        }
    }

    /// Takes in work that is done.
    fn take_work(&mut self) {
        if self.works == 0 {
            return;
        }
        let done = self.desk.take(self.completions_max);
        self.works -= done.len();
        let completions =
            done.into_iter().map(|(token, done)| Completion { token, what: What::Work(done) });
        self.ready.extend(completions);
    }

    /// Hands out what is ready, at most as much as one `wait` may.
    #[inline]
    fn hand_out(&mut self, out: &mut Vec<Completion>) {
        if out.is_empty() && self.ready.len() <= self.completions_max {
            std::mem::swap(out, &mut self.ready); // the two vectors take turns
        } else {
            let count = self.ready.len().min(self.completions_max);
            out.extend(self.ready.drain(..count));
        }
    }

    /// Whether nothing is known that could come at once, after so many looks in vain.
    #[inline]
    fn is_drained(&mut self, in_vain: u32) -> bool {
        let running = in_vain < LOOKS_IN_VAIN_MAX && self.ring.may_run();
        let more = running || self.ring.has_completions();
        self.ready.is_empty() && !self.rearmed && !self.can_resume() && !more
    }

    /// Memory of a peak goes home.
    #[cold]
    fn trim_tables(&mut self) {
        self.sockets.trim();
        self.sends.trim();
        self.accepts.trim();
        self.gathers.trim();
    }

    /// Cancels everything and waits for it, up to the deadline.
    fn end_all(&mut self) {
        self.dropping = true;
        for token in self.sockets.tokens() {
            match self.sockets.get_mut(token) {
                Some(socket) if socket.leaving.is_none() => self.leave(token, Leaving::Closed),
                Some(socket) => {
                    socket.leaving = Some(Leaving::Closed);
                    self.stop_send(token);
                }
                None => {}
            }
        }
        self.push_cancel(Wake::USER_DATA);
        let deadline = self.clock.now() + self.drop_deadline;
        loop {
            let left = deadline.since(self.clock.now());
            let patience = match left {
                Duration::ZERO => Patience::None,
                left => Patience::For(left.min(SLEEP_MAX)),
            };
            let entered = self.enter(patience);
            self.ready.clear(); // closes what was accepted, brings leases home
            if self.in_flight == 0 || left.is_zero() || entered.is_err() {
                return;
            }
        }
    }

    /// Keeps the memory of ops that have not returned for ever: the kernel may still use it.
    fn leak(&mut self) {
        event!(
            error,
            ops = self.in_flight,
            sockets = self.sockets.len(),
            "ops of a dropped port did not return in time; their memory is leaked"
        );
        std::mem::forget(std::mem::take(&mut self.sends));
        std::mem::forget(std::mem::take(&mut self.gathers));
        std::mem::forget(std::mem::take(&mut self.accepts));
        std::mem::forget(std::mem::take(&mut self.sockets));
        self.buffers.leak();
        self.wake.leak();
    }
}

impl Port for UringPort {
    type Notifier = UringNotifier;

    #[inline]
    fn now(&self) -> Time {
        self.now
    }

    fn precise_now(&self) -> Time {
        self.clock.now()
    }

    fn seed(&mut self) -> u64 {
        RandomState::new().build_hasher().finish()
    }

    fn notifier(&self) -> UringNotifier {
        self.wake.notifier().clone()
    }

    fn abilities(&self) -> Abilities {
        let features = self.features.in_words(self.ring.is_registered());
        Abilities { features, ..abilities() }
    }

    fn attach(
        &mut self,
        socket: Unattached,
        token: Token,
    ) -> Result<SocketId, (PortError, Unattached)> {
        self.take_in(socket, token)
    }

    fn listen(&mut self, listening: Listening, token: Token) -> Result<SocketId, PortError> {
        self.take_in_listener(listening, token)
    }

    fn connect(&mut self, to: &ConnectTo, token: Token) -> Result<SocketId, PortError> {
        self.start_connect(to, token)
    }

    #[inline]
    fn submit(&mut self, id: SocketId, op: Op) {
        let SocketId(token) = id;
        let Some(socket) = self.sockets.get_mut(token) else { return };
        socket.ops.begin(&op, self.waits);
        match op {
            Op::Send { data, mode, prompt } => self.start_send(token, data, mode, prompt),
            Op::Recv { credit } => self.start_recv(token, credit),
            Op::Accept { credit } => self.start_accept(token, credit),
            Op::Watch { half } => self.start_watch(token, half),
            Op::Shutdown => {
                // An error says that the connection is gone; the receive says so, too.
                let _ = socket.system.shutdown(Shutdown::Write);
            }
            Op::Detach => self.leave(token, Leaving::Detached),
            Op::Close => self.leave(token, Leaving::Closed),
            Op::Abort => self.leave(token, Leaving::Aborted),
        }
    }

    fn cancel(&mut self, id: SocketId, kind: OpKind) {
        let SocketId(token) = id;
        match kind {
            OpKind::Accept => self.stop_accept(token),
            OpKind::Connect => self.stop_connect(token),
            OpKind::Recv => self.stop_recv(token),
            OpKind::Send => self.stop_send(token),
            OpKind::Watch => self.stop_watch(token),
        }
    }

    fn link(&self, SocketId(token): SocketId) -> Link {
        self.sockets.get(token).map_or_else(Link::default, |socket| os::link(&socket.system))
    }

    fn start(&mut self, token: Token, work: Work) {
        self.works += 1;
        self.desk.start(token, work, self.notifier());
    }

    fn wait(&mut self, until: Until, out: &mut Vec<Completion>) -> Result<Waited, PortError> {
        self.buffers.refill();
        let mut in_vain = 0;
        let stuck = loop {
            if !self.refused {
                self.resume_parked();
            }
            self.take_work();
            let patience = self.patience(until);
            self.refused = false;
            let entered = self.enter(patience)?;
            self.take_work();
            let stuck = entered == Entered::Stuck;
            if stuck || !self.ready.is_empty() {
                break stuck;
            }
            in_vain = if entered == Entered::InVain { in_vain + 1 } else { 0 };
            let over = match until {
                // Something lies ready: it may be for the owner.
                _ if !self.is_drained(in_vain) => false,
                _ if self.woken => true,
                Until::Now => true,
                Until::Time(time) => self.clock.now() >= time,
                Until::Woken => false,
            };
            if over {
                break false;
            }
        };
        self.woken = false;
        self.hand_out(out);
        self.waits += 1;
        // The time first: if the process stands still behind it, what comes meanwhile is younger; if
        // before it, that is seen now (R45).
        self.now = self.clock.now();
        // What is returned may hold the leases that others wait for. Who is parked though nothing
        // is returned waits for what the owner keeps: that is out of reach, not behind this.
        let starving = !self.parked.is_empty() && !out.is_empty();
        let drained = !stuck && !starving && self.is_drained(in_vain);
        if self.trim.is_due(self.now) {
            self.trim_tables();
        }
        Ok(Waited { now: self.now, drained })
    }

    fn leases(&self) -> usize {
        self.buffers.pool().leases()
    }

    fn sockets(&self) -> usize {
        self.sockets.len()
    }
}

impl Drop for UringPort {
    fn drop(&mut self) {
        self.ready.clear();
        self.end_all();
        if self.in_flight > 0 || !self.ring.all_submitted() {
            self.leak();
        }
    }
}

impl fmt::Debug for UringPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UringPort")
            .field("sockets", &self.sockets.len())
            .field("in_flight", &self.in_flight)
            .field("parked", &self.parked.len())
            .field("pool", self.buffers.pool())
            .finish_non_exhaustive()
    }
}
