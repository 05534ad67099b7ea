//! The simulated world, as those see it who start things in it.

use crate::network::{Network, Shared, VirtualSocket};
use crate::{SimClient, SimPort, Trouble};
use longshore_base::Time;
use longshore_port::{
    Abilities, BindTo, Call, ErrorKind, Listening, PortConfig, PortError, RawSocket, World,
};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::MutexGuard;
use std::time::Duration;

/// A world of simulated ports. Cloning gives another handle of the same world.
#[derive(Clone)]
pub struct SimWorld(Shared);

impl SimWorld {
    /// The world of that seed, at time zero. Its windows, latencies and cuts are the seed's choice.
    pub fn new(seed: u64) -> Self {
        Self(Shared::new(seed))
    }

    fn network(&self) -> MutexGuard<'_, Network> {
        self.0.network()
    }

    /// Moves the clock to the next thing that happens: something on the wire, work that is done, or
    /// the time until which a port waits. Says whether there was one; if not, nothing will ever
    /// happen without somebody's doing. For when no port is due.
    pub fn advance(&self) -> bool {
        self.network().advance_until(Time::NEVER)
    }

    /// The same, but not past `limit`: if nothing happens before, the clock stands at `limit`, and
    /// the answer is no.
    pub fn advance_until(&self, limit: Time) -> bool {
        self.network().advance_until(limit)
    }

    /// Moves the clock by `span`, and lets everything happen that was to happen meanwhile.
    pub fn pass(&self, span: Duration) {
        self.network().pass(span);
    }

    /// Whether port `port` (see [`SimPort::index`]) has reason to return from its wait: something
    /// came, it was notified, its time is over, or its last wait returned something, after which
    /// its owner has not waited again.
    pub fn is_due(&self, port: usize) -> bool {
        self.network().is_due(port)
    }

    /// Ports that were opened so far: the [index](SimPort::index) of the next one.
    pub fn ports(&self) -> usize {
        self.network().ports()
    }

    /// A choice out of `count`, at least 1, by the seed: which port goes next.
    ///
    /// # Panics
    /// With `count` 0.
    pub fn pick(&self, count: usize) -> usize {
        assert!(count > 0, "nothing to pick from");
        self.network().random.below(count)
    }

    /// A hash of everything that happened so far. Equal seeds and equal programs give equal hashes.
    pub fn trace(&self) -> u64 {
        self.network().trace.hash()
    }

    /// Makes `host` resolve to `ips`; with none, to nothing. `localhost` is known already.
    pub fn name(&self, host: &str, ips: &[IpAddr]) {
        self.network().name(host, ips);
    }

    /// Lets at most `count` sockets be open at once, those of clients excepted. Default no limit.
    pub fn limit_descriptors(&self, count: usize) {
        self.network().limit_descriptors(count);
    }

    /// From now on sockets cannot leave their port: `Op::Detach` fails.
    pub fn keep_sockets(&self) {
        self.network().keeps_sockets = true;
    }

    /// From now on its ports are as completion ports of Windows are: sockets [stay](Self::keep_sockets),
    /// and [each end comes as a packet](Trouble::LatePacket), [without the bytes](Trouble::UnknownCut)
    /// of a send that was cut off.
    pub fn act_as_completion_port(&self) {
        self.keep_sockets();
        self.make_trouble(Trouble::LatePacket, 1);
        self.make_trouble(Trouble::UnknownCut, 1);
    }

    /// From now on `trouble` happens one time in `one_in` that it can, by the seed; with 0 never,
    /// which is the default.
    pub fn make_trouble(&self, trouble: Trouble, one_in: usize) {
        self.network().make_trouble(trouble, one_in);
    }

    /// How often `trouble` has happened.
    pub fn troubles(&self, trouble: Trouble) -> u64 {
        self.network().troubles(trouble)
    }

    /// Sockets that are open, those of clients included: zero at the end of a clean run.
    pub fn descriptors(&self) -> usize {
        self.network().descriptors()
    }

    /// A peer of the test's own, which starts to connect to `addr`.
    pub fn client(&self, addr: SocketAddr) -> SimClient {
        SimClient::connect(&self.0, addr)
    }
}

impl World for SimWorld {
    type Port = SimPort;

    fn bind(&self, to: &BindTo) -> Result<Listening, PortError> {
        self.0.perhaps_refuse(Trouble::Bind, Call::Bind)?;
        let bound = self.network().bind(to);
        let (descriptor, local) = bound.map_err(|kind| PortError::new(Call::Bind, kind))?;
        let socket = VirtualSocket::new(&self.0, descriptor);
        Ok(Listening {
            local: local.into(),
            options: None,
            raw: RawSocket::Virtual(Box::new(socket)),
        })
    }

    fn listening_from(&self, _: std::net::TcpListener) -> Result<Listening, PortError> {
        Err(PortError::new(Call::Bind, ErrorKind::Unsupported))
    }

    fn open(&self, config: &PortConfig) -> Result<SimPort, PortError> {
        self.0.perhaps_refuse(Trouble::Open, Call::Open)?;
        SimPort::open(&self.0, config)
    }

    fn now(&self) -> Time {
        self.0.now()
    }

    fn abilities(&self) -> Abilities {
        self.0.abilities()
    }
}

impl fmt::Debug for SimWorld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
