//! The virtual network: descriptors, connections, and what is under way between them.
//!
//! ```text
//! connection:   end 0 (connected)  ── packets, in order, each with its time ──►  end 1 (accepted)
//!                                  ◄──────────────────────────────────────────
//! ```
//!
//! Everything on the wire is an event with a time; [`Network::advance`] moves the clock to the
//! earliest. Each direction keeps its order; between directions chance decides.

mod listener;
mod parts;
mod shared;
mod stream;

pub(crate) use listener::Progress;
pub(crate) use parts::{Descriptor, Owner};
pub(crate) use shared::{Shared, VirtualSocket};

use crate::Trouble;
use crate::trace::Trace;
use crate::trouble::Troubles;
use longshore_base::{SplitMix64, Time, Token};
use longshore_port::{ErrorKind, Until};
use parts::{Connection, EndId, Event, Listener, Open};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// What the network knows of a port.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent reasons to run")]
struct PortState {
    open: bool,
    woken: bool,
    work_due: bool,
    /// The last wait returned something, so its owner will come again.
    busy: bool,
    until: Until,
    dirty: BTreeSet<Token>,
}

/// What a wait finds at its start.
#[derive(Debug)]
pub(crate) struct Due {
    pub(crate) now: Time,
    pub(crate) woken: bool,
    pub(crate) sockets: Vec<Token>,
}

/// The state of the whole world, behind its lock.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) now: Time,
    pub(crate) random: SplitMix64,
    pub(crate) trace: Trace,
    pub(crate) troubles: Troubles,
    /// How much fits between two ends, and how long packets take at most, in this world.
    window_bytes: usize,
    latency_max: Duration,
    events: BTreeMap<(Time, u64), Event>,
    event_count: u64,
    descriptors: Vec<Option<Open>>,
    descriptors_free: BTreeSet<usize>,
    descriptors_max: usize,
    clients: usize,
    /// No socket leaves its port.
    pub(crate) keeps_sockets: bool,
    connections: BTreeMap<u64, Connection>,
    connection_count: u64,
    listeners: BTreeMap<SocketAddr, Listener>,
    locals: BTreeSet<SocketAddr>,
    next_port: u16,
    names: BTreeMap<String, Vec<IpAddr>>,
    ports: Vec<PortState>,
}

impl Network {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = SplitMix64::new(seed);
        let window_bytes = [512, 4 << 10, 64 << 10, 200 << 10][random.below(4)];
        let latency_max = Duration::from_micros([0, 20, 1_000, 80_000][random.below(4)]);
        let local = vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        Self {
            now: Time::ZERO,
            random,
            trace: Trace::new(),
            troubles: Troubles::default(),
            window_bytes,
            latency_max,
            events: BTreeMap::new(),
            event_count: 0,
            descriptors: Vec::new(),
            descriptors_free: BTreeSet::new(),
            descriptors_max: usize::MAX,
            clients: 0,
            keeps_sockets: false,
            connections: BTreeMap::new(),
            connection_count: 0,
            listeners: BTreeMap::new(),
            locals: BTreeSet::new(),
            next_port: 0,
            names: BTreeMap::from([("localhost".into(), local)]),
            ports: Vec::new(),
        }
    }

    // Time.

    fn schedule(&mut self, at: Time, event: Event) {
        self.event_count += 1;
        self.events.insert((at, self.event_count), event);
    }

    /// A time from now on, by chance.
    pub(crate) fn later(&mut self) -> Time {
        let nanos = usize::try_from(self.latency_max.as_nanos()).expect("a short time");
        self.now + Duration::from_nanos(self.random.below(nanos + 1) as u64)
    }

    /// To the next thing that happens, but not past `limit`.
    pub(crate) fn advance_until(&mut self, limit: Time) -> bool {
        let event = self.events.first_key_value().map(|((at, _), _)| *at);
        let untils =
            self.ports.iter().filter(|port| port.open).filter_map(|port| match port.until {
                Until::Time(time) if time > self.now => Some(time),
                _ => None,
            });
        let next = event.into_iter().chain(untils).min();
        let Some(next) = next.filter(|next| *next <= limit) else {
            if limit < Time::NEVER {
                self.now = self.now.max(limit);
            }
            return false;
        };
        self.now = self.now.max(next);
        self.happen();
        true
    }

    pub(crate) fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some((&(at, _), _)) = self.events.first_key_value().filter(|e| e.0.0 <= end) {
            self.now = self.now.max(at);
            self.happen();
        }
        self.now = end;
    }

    /// Lets everything happen whose time has come.
    fn happen(&mut self) {
        while let Some(entry) = self.events.first_entry().filter(|entry| entry.key().0 <= self.now)
        {
            match entry.remove() {
                Event::Arrival(end, packet) => self.arrive(end, packet),
                Event::Look(owner) => self.touch(owner),
                Event::Work(port) => self.ports[port].work_due = true,
                Event::Wake(port) => self.ports[port].woken = true,
            }
        }
    }

    // Ports.

    pub(crate) fn open_port(&mut self) -> usize {
        self.ports.push(PortState {
            open: true,
            woken: false,
            work_due: false,
            busy: true,
            until: Until::Now,
            dirty: BTreeSet::new(),
        });
        self.ports.len() - 1
    }

    pub(crate) fn ports(&self) -> usize {
        self.ports.len()
    }

    pub(crate) fn close_port(&mut self, port: usize) {
        self.ports[port].open = false;
    }

    pub(crate) fn is_due(&mut self, port: usize) -> bool {
        self.happen();
        let port = &self.ports[port];
        let over = match port.until {
            Until::Now => true,
            Until::Time(time) => time <= self.now,
            Until::Woken => false,
        };
        port.open && (over || port.woken || port.work_due || port.busy || !port.dirty.is_empty())
    }

    /// A port waits: what it finds, in an order of chance.
    pub(crate) fn enter_wait(&mut self, port: usize, until: Until) -> Due {
        self.happen();
        let state = &mut self.ports[port];
        state.until = until;
        state.work_due = false;
        let woken = std::mem::take(&mut state.woken);
        let mut sockets: Vec<_> = std::mem::take(&mut state.dirty).into_iter().collect();
        for left in (1..sockets.len()).rev() {
            sockets.swap(left, self.random.below(left + 1));
        }
        Due { now: self.now, woken, sockets }
    }

    /// Whether a wait would find something.
    pub(crate) fn has_news(&mut self, port: usize) -> bool {
        self.happen();
        let state = &self.ports[port];
        state.woken || state.work_due || !state.dirty.is_empty()
    }

    /// A wait returns, with something or with nothing.
    pub(crate) fn leave_wait(&mut self, port: usize, busy: bool) {
        self.ports[port].busy = busy;
    }

    /// The socket has to be looked at in its port's next wait.
    pub(crate) fn touch(&mut self, owner: Owner) {
        self.ports[owner.port].dirty.insert(owner.socket);
    }

    /// The socket has to be looked at at a later time.
    pub(crate) fn touch_at(&mut self, at: Time, owner: Owner) {
        self.schedule(at, Event::Look(owner));
    }

    pub(crate) fn work_at(&mut self, at: Time, port: usize) {
        self.schedule(at, Event::Work(port));
    }

    pub(crate) fn notify(&mut self, port: usize) {
        let at = self.later();
        self.schedule(at, Event::Wake(port));
        self.happen();
    }

    // Trouble.

    pub(crate) fn make_trouble(&mut self, trouble: Trouble, one_in: usize) {
        self.troubles.make(trouble, one_in);
    }

    pub(crate) fn troubles(&self, trouble: Trouble) -> u64 {
        self.troubles.count(trouble)
    }

    /// Whether this happens, now.
    pub(crate) fn suffers(&mut self, trouble: Trouble) -> bool {
        let happens = self.troubles.happens(trouble, &mut self.random);
        if happens {
            self.trace.note([6, trouble as u64]);
        }
        happens
    }

    // Names.

    pub(crate) fn name(&mut self, host: &str, ips: &[IpAddr]) {
        self.names.insert(host.into(), ips.to_vec());
    }

    /// `host:port`, where the host is an address or a name that was made known.
    pub(crate) fn resolve(&self, name: &str) -> Option<Vec<SocketAddr>> {
        if let Ok(addr) = name.parse() {
            return Some(vec![addr]);
        }
        let (host, port) = name.rsplit_once(':')?;
        let port = port.parse().ok()?;
        let ips = self.names.get(host).filter(|ips| !ips.is_empty())?;
        Some(ips.iter().map(|&ip| SocketAddr::new(ip, port)).collect())
    }

    // Descriptors.

    pub(crate) fn limit_descriptors(&mut self, count: usize) {
        self.descriptors_max = count;
    }

    pub(crate) fn descriptors(&self) -> usize {
        self.descriptors.len() - self.descriptors_free.len()
    }

    /// Whether one more socket of the program under test may be opened.
    fn descriptor_left(&self) -> Result<(), ErrorKind> {
        let used = self.descriptors() - self.clients;
        if used < self.descriptors_max { Ok(()) } else { Err(ErrorKind::NoDescriptors) }
    }

    fn open_descriptor(&mut self, open: Open) -> Descriptor {
        let at = self.descriptors_free.pop_first().unwrap_or_else(|| {
            self.descriptors.push(None);
            self.descriptors.len() - 1
        });
        self.descriptors[at] = Some(open);
        self.trace.note([1, at as u64, self.now.as_nanos()]);
        Descriptor(at)
    }

    fn open_of(&self, descriptor: Descriptor) -> Open {
        self.descriptors[descriptor.0].expect("whoever holds a descriptor keeps it open")
    }

    fn end_of(&self, descriptor: Descriptor) -> Option<EndId> {
        match self.open_of(descriptor) {
            Open::End(end) => Some(end),
            Open::Listener(_) => None,
        }
    }

    /// Says whose socket this is, or that it is nobody's.
    pub(crate) fn set_owner(&mut self, descriptor: Descriptor, owner: Option<Owner>) {
        match self.open_of(descriptor) {
            Open::End(end) => self.end_mut(end).expect("an open end").owner = owner,
            Open::Listener(addr) => {
                self.listeners.get_mut(&addr).expect("an open listener").owner = owner;
            }
        }
        if let Some(owner) = owner {
            self.touch(owner);
        }
    }

    /// Frees a descriptor, and ends what it stands for as a system does.
    pub(crate) fn close(&mut self, descriptor: Descriptor) {
        let open = self.open_of(descriptor);
        self.trace.note([2, descriptor.0 as u64, self.now.as_nanos()]);
        self.descriptors[descriptor.0] = None;
        self.descriptors_free.insert(descriptor.0);
        match open {
            Open::End(end) => self.close_end(end),
            Open::Listener(addr) => self.close_listener(addr),
        }
    }
}
