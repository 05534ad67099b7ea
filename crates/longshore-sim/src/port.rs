//! The simulated port: ops of virtual sockets, and completions by chance.

mod late;
mod ops;
mod packets;
mod socket;

use crate::Trouble;
use crate::network::{Owner, Shared, VirtualSocket};
use late::LateKernel;
use longshore_base::{Slab, Time, Token};
use longshore_port::{
    Abilities, Addr, Call, Completion, ConnectTo, ErrorKind, InFlight, Link, Listening, Notify, Op,
    OpKind, Port, PortConfig, PortError, RawSocket, RecvPool, SocketId, Unattached, Until, Waited,
    What, Work, WorkDone,
};
use packets::Packets;
use socket::{Leaving, Send, Socket, Stream};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

/// How late a late kernel is at least, also where nothing takes any time.
const LATE_MIN: Duration = Duration::from_micros(1);

/// A port of a [`SimWorld`](crate::SimWorld). Its `wait` never blocks: it returns what is due, and remembers until
/// when it would have waited.
#[derive(Debug)]
pub struct SimPort {
    world: Shared,
    index: usize,
    completions_max: usize,
    pool: Rc<RecvPool>,
    sockets: Slab<Socket>,
    /// What has happened and was not returned yet, with the socket it happened to.
    ready: VecDeque<(Option<Token>, Completion)>,
    /// What comes with a later wait.
    packets: Packets,
    /// Answers to sends that nobody is in a hurry for; they come with the next thing that happens.
    kept: Vec<(Option<Token>, Completion)>,
    /// Receives without a lease, longest first.
    starved: VecDeque<Token>,
    /// Waits that have returned.
    waits: u64,
    /// What the kernel may write to though its receive was asked to end.
    late: LateKernel,
    /// Waits in a row that were refused.
    waits_refused: u32,
    works: BTreeMap<(Time, u64), (Token, Work)>,
    work_count: u64,
    now: Time,
}

impl SimPort {
    pub(crate) fn open(world: &Shared, config: &PortConfig) -> Result<Self, PortError> {
        config.check().map_err(|refused| refused.of_open())?;
        let pool = RecvPool::new(config.recv_blocks, config.recv_block_bytes)
            .ok_or(PortError::new(Call::Open, ErrorKind::NoMemory))?;
        let index = world.network().open_port();
        Ok(Self {
            world: world.clone(),
            index,
            completions_max: config.completions_max,
            pool,
            sockets: Slab::new(),
            ready: VecDeque::new(),
            packets: Packets::default(),
            kept: Vec::new(),
            starved: VecDeque::new(),
            waits: 0,
            late: LateKernel::default(),
            waits_refused: 0,
            works: BTreeMap::new(),
            work_count: 0,
            now: world.now(),
        })
    }

    /// The number of this port in its world, in the order they were opened; for
    /// [`SimWorld::is_due`](crate::SimWorld::is_due).
    pub fn index(&self) -> usize {
        self.index
    }

    fn owner(&self, socket: Token) -> Owner {
        Owner { port: self.index, socket }
    }

    /// Takes a handle out of what came in, if it is one of this world.
    fn handle(&self, raw: RawSocket) -> Result<Box<VirtualSocket>, RawSocket> {
        match raw {
            RawSocket::System(_) => Err(raw),
            RawSocket::Virtual(inside) => match inside.downcast::<VirtualSocket>() {
                Ok(handle) if handle.world.is(&self.world) => Ok(handle),
                Ok(handle) => Err(RawSocket::Virtual(handle)),
                Err(inside) => Err(RawSocket::Virtual(inside)),
            },
        }
    }

    fn add(
        &mut self,
        token: Token,
        handle: VirtualSocket,
        (peer, local): (Addr, Addr),
        ops: InFlight,
    ) -> SocketId {
        let descriptor = handle.descriptor;
        let id = self.sockets.insert(Socket::new(token, handle, (peer, local), ops));
        self.world.network().set_owner(descriptor, Some(self.owner(id)));
        SocketId::from_token(id)
    }

    /// Runs the work whose time has come. Outside the world's lock: a job may well use the world.
    fn run_works(&mut self) {
        while let Some(entry) = self.works.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let (token, work) = entry.remove();
            let done = match work {
                Work::Resolve(name) => WorkDone::Resolved(self.resolve(&name)),
                Work::Read(_) if self.world.network().suffers(Trouble::File) => {
                    WorkDone::Read(Err(socket::unreadable()))
                }
                work @ (Work::Job(_) | Work::Read(_)) => work.run(),
                Work::TrimHeap => WorkDone::HeapTrimmed,
            };
            self.ready.push_back((None, Completion { token, what: What::Work(done) }));
        }
    }

    fn resolve(&self, name: &str) -> Result<Vec<Addr>, PortError> {
        let addrs = self.world.network().resolve(name);
        let addrs = addrs.ok_or(PortError::new(Call::Resolve, ErrorKind::NotFound))?;
        Ok(addrs.into_iter().map(Addr::from).collect())
    }

    fn take_packets(&mut self) {
        while let Some((id, completion)) = self.packets.take(self.now) {
            self.ready.push_back((Some(id), completion));
        }
    }

    /// Looks at sockets, the starved ones first, until `most` completions are there. What was not
    /// looked at, or has more, stays due; says whether there is such.
    fn look(&mut self, sockets: Vec<Token>, most: usize) -> bool {
        let mut again = false;
        for _ in 0..self.starved.len() {
            if self.pool.room() == 0 || self.ready.len() >= most {
                break;
            }
            let id = self.starved.pop_front().expect("as many as were counted");
            if let Some(socket) = self.sockets.get_mut(id) {
                socket.starved = false;
                again |= self.step_and_keep_due(id);
            }
        }
        for id in sockets {
            if self.ready.len() >= most {
                self.world.network().touch(self.owner(id));
                again = true;
            } else {
                again |= self.step_and_keep_due(id);
            }
        }
        again
    }

    fn step_and_keep_due(&mut self, id: Token) -> bool {
        let again = self.step(id);
        if again {
            self.world.network().touch(self.owner(id));
        }
        again
    }

    /// Hands over what is ready, at most `most` of it.
    fn deliver(&mut self, most: usize, out: &mut Vec<Completion>) {
        let count = self.ready.len().min(most);
        for (id, completion) in self.ready.drain(..count) {
            let (kind, size) = socket::summary(&completion.what);
            let words = [5, self.index as u64, u64::from(completion.token.index()), kind, size];
            self.world.network().trace.note(words);
            if let Some(id) = id {
                if matches!(completion.what, What::RecvEnded(_)) {
                    self.late.give_back(id);
                }
                if matches!(completion.what, What::Closed | What::Detached(_)) {
                    self.sockets.remove(id);
                } else {
                    let socket = self.sockets.get_mut(id).expect("`Closed` comes last");
                    socket::answer(&mut socket.ops, &completion.what, self.waits);
                }
            }
            out.push(completion);
        }
    }
}

impl Port for SimPort {
    type Notifier = SimNotifier;

    fn now(&self) -> Time {
        self.now
    }

    fn precise_now(&self) -> Time {
        self.world.now()
    }

    fn coarse_now(&self) -> Time {
        self.now
    }

    fn seed(&mut self) -> u64 {
        self.world.network().random.next_u64()
    }

    fn notifier(&self) -> SimNotifier {
        SimNotifier { world: self.world.clone(), port: self.index }
    }

    fn abilities(&self) -> Abilities {
        self.world.abilities()
    }

    fn attach(
        &mut self,
        socket: Unattached,
        token: Token,
    ) -> Result<SocketId, (PortError, Unattached)> {
        let Unattached { peer, local, raw } = socket;
        if let Err(error) = self.world.perhaps_refuse(Trouble::Attach, Call::Attach) {
            return Err((error, Unattached { peer, local, raw }));
        }
        match self.handle(raw) {
            Ok(handle) => Ok(self.add(token, *handle, (peer, local), InFlight::connection())),
            Err(raw) => {
                let error = PortError::new(Call::Attach, ErrorKind::Unsupported);
                Err((error, Unattached { peer, local, raw }))
            }
        }
    }

    fn listen(&mut self, listening: Listening, token: Token) -> Result<SocketId, PortError> {
        self.world.perhaps_refuse(Trouble::Listen, Call::Attach)?;
        let unsupported = PortError::new(Call::Attach, ErrorKind::Unsupported);
        let handle = self.handle(listening.raw).map_err(|_| unsupported)?;
        Ok(self.add(token, *handle, (listening.local, listening.local), InFlight::listener()))
    }

    fn connect(&mut self, to: &ConnectTo, token: Token) -> Result<SocketId, PortError> {
        self.world.perhaps_refuse(Trouble::ConnectAtOnce, Call::Connect)?;
        let connecting = self.world.network().connect(to);
        let (descriptor, local) = connecting.map_err(|kind| PortError::new(Call::Connect, kind))?;
        let handle = VirtualSocket::new(&self.world, descriptor);
        let addrs = (to.addr.into(), local.into());
        let id = self.add(token, handle, addrs, InFlight::connecting());
        let socket = self.sockets.get_mut(id.token()).expect("just added");
        socket.connect = Some(socket::Connect { cancel_at: None });
        Ok(id)
    }

    fn submit(&mut self, socket: SocketId, op: Op) {
        let id = socket.token();
        let Some(socket) = self.sockets.get_mut(id) else { return };
        socket.ops.begin(&op, self.waits);
        match op {
            Op::Accept { credit } => {
                socket.accept = Some(Stream { credit, cancel_at: None });
            }
            Op::Recv { credit } => {
                socket.recv = Some(Stream { credit, cancel_at: None });
            }
            Op::Send { data, mode, prompt } => {
                socket.send = Some(Send::new(data, mode, prompt));
            }
            Op::Watch { half } => socket.watch = Some(socket::Watch { half, cancel_at: None }),
            Op::Shutdown => socket.shutdown(),
            Op::Detach => socket.leave(Leaving::Detach),
            Op::Abort => socket.leave(Leaving::Abort),
            Op::Close => {
                socket.leave(Leaving::Close);
                socket.close_at = Some(self.world.network().later());
            }
        }
        self.perhaps_late(id);
        self.world.network().touch(self.owner(id));
        if self.world.network().random.one_in(3) {
            self.step(id); // as systems do that finish at once what they can
        }
    }

    fn cancel(&mut self, socket: SocketId, kind: OpKind) {
        let id = socket.token();
        let Some(socket) = self.sockets.get_mut(id) else { return };
        let cancel_at = match kind {
            OpKind::Accept => socket.accept.as_mut().map(|op| &mut op.cancel_at),
            OpKind::Connect => socket.connect.as_mut().map(|op| &mut op.cancel_at),
            OpKind::Recv => socket.recv.as_mut().map(|op| &mut op.cancel_at),
            OpKind::Send => socket.send.as_mut().map(|op| &mut op.cancel_at),
            OpKind::Watch => socket.watch.as_mut().map(|op| &mut op.cancel_at),
        };
        let Some(cancel_at) = cancel_at else { return };
        if cancel_at.is_none() {
            let mut network = self.world.network();
            let at = if network.random.one_in(2) { network.now } else { network.later() };
            *cancel_at = Some(at);
            network.touch_at(at, Owner { port: self.index, socket: id });
            drop(network);
            self.perhaps_late(id);
        }
    }

    fn link(&self, socket: SocketId) -> Link {
        let mut link = Link::default();
        if let Some(handle) = self.sockets.get(socket.token()).and_then(Socket::handle) {
            let told = self.world.network().acknowledged(handle.descriptor);
            (link.unacknowledged_bytes, link.acknowledged_bytes) = told.unzip();
        }
        link
    }

    fn start(&mut self, token: Token, work: Work) {
        let mut network = self.world.network();
        let at = network.later();
        network.work_at(at, self.index);
        self.work_count += 1;
        self.works.insert((at, self.work_count), (token, work));
    }

    fn wait(&mut self, until: Until, out: &mut Vec<Completion>) -> Result<Waited, PortError> {
        if self.is_refused_a_wait() {
            self.now = self.world.now();
            self.waits += 1;
            self.world.network().leave_wait(self.index, true);
            return Ok(Waited { now: self.now, drained: false });
        }
        let due = self.world.network().enter_wait(self.index, until);
        self.now = due.now;
        self.run_works();
        self.take_packets();
        let most = self.some_of(self.completions_max);
        let mut again = self.look(due.sockets, most);
        while again && self.ready.is_empty() {
            let due = self.world.network().enter_wait(self.index, until);
            again = self.look(due.sockets, most);
        }
        self.take_packets(); // of those that were just looked at
        let over = match until {
            Until::Now => true,
            Until::Time(time) => time <= self.now,
            Until::Woken => false,
        };
        if over || due.woken || !self.ready.is_empty() {
            for kept in self.kept.drain(..).rev() {
                self.ready.push_front(kept);
            }
        }
        let before = out.len();
        self.deliver(most, out);
        self.waits += 1;
        // What is returned may hold the leases that others wait for.
        let starving = !self.starved.is_empty() && out.len() > before;
        let drained = !again && !starving && self.ready.is_empty();
        self.world.network().leave_wait(self.index, out.len() > before || !drained);
        Ok(Waited { now: self.now, drained })
    }

    fn leases(&self) -> usize {
        self.pool.leases() - self.late.leases()
    }

    fn sockets(&self) -> usize {
        self.sockets.len()
    }
}

impl SimPort {
    /// Whether this wait gives nothing although there is something.
    fn is_refused_a_wait(&mut self) -> bool {
        let mut network = self.world.network();
        let news = !self.ready.is_empty() || network.has_news(self.index);
        let may = news && self.waits_refused < Trouble::WAITS_MAX;
        let refused = may && network.suffers(Trouble::Wait);
        drop(network);
        self.waits_refused = if refused { self.waits_refused + 1 } else { 0 };
        refused
    }

    /// A receive that was just asked to end may not do so yet.
    fn perhaps_late(&mut self, id: Token) {
        let socket = self.sockets.get(id).expect("it was just asked for something");
        let Some(recv) = &socket.recv else { return };
        let asked = recv.cancel_at.is_some() || socket.leaving.is_some();
        if !asked || self.late.has(id) || !self.world.network().suffers(Trouble::LateKernel) {
            return;
        }
        let until = self.world.network().later() + LATE_MIN;
        if self.late.take(id, &self.pool, until) {
            self.world.network().touch_at(until, self.owner(id));
        }
    }

    /// A bound that is as given or, by chance, much lower.
    fn some_of(&self, most: usize) -> usize {
        let random = &mut self.world.network().random;
        if random.one_in(4) { 1 + random.below(most.min(8)) } else { most }
    }
}

impl Drop for SimPort {
    /// Nothing of it is in flight anywhere else, so there is nothing to drain: the sockets close.
    fn drop(&mut self) {
        self.world.network().close_port(self.index);
    }
}

/// Wakes a [`SimPort`], after a time of chance.
#[derive(Clone)]
pub struct SimNotifier {
    world: Shared,
    port: usize,
}

impl Notify for SimNotifier {
    fn notify(&self) {
        self.world.network().notify(self.port);
    }
}

impl fmt::Debug for SimNotifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimNotifier({})", self.port)
    }
}
