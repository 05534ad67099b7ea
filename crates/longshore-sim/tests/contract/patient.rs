//! A world whose owner asks again when a wait gave nothing although there is something.
//!
//! Each turn of a worker does that. The suite does not: it judges each wait by itself, and takes one
//! that gives nothing and is not drained for a bug, as it would be where memory never runs out.

use longshore_base::{Time, Token};
use longshore_port::{
    Abilities, BindTo, Completion, ConnectTo, Link, Listening, Op, OpKind, Port, PortConfig,
    PortError, SocketId, Unattached, Until, Waited, Work, World,
};
use longshore_sim::{SimNotifier, SimPort, SimWorld};

#[derive(Clone)]
pub(crate) struct PatientWorld(SimWorld);

pub(crate) struct PatientPort(SimPort);

impl From<SimWorld> for PatientWorld {
    fn from(world: SimWorld) -> Self {
        Self(world)
    }
}

impl World for PatientWorld {
    type Port = PatientPort;

    fn bind(&self, to: &BindTo) -> Result<Listening, PortError> {
        self.0.bind(to)
    }

    fn listening_from(&self, listener: std::net::TcpListener) -> Result<Listening, PortError> {
        self.0.listening_from(listener)
    }

    fn open(&self, config: &PortConfig) -> Result<PatientPort, PortError> {
        self.0.open(config).map(PatientPort)
    }

    fn now(&self) -> Time {
        self.0.now()
    }

    fn abilities(&self) -> Abilities {
        self.0.abilities()
    }
}

impl Port for PatientPort {
    type Notifier = SimNotifier;

    fn now(&self) -> Time {
        self.0.now()
    }

    fn precise_now(&self) -> Time {
        self.0.precise_now()
    }
    fn coarse_now(&self) -> Time {
        self.0.coarse_now()
    }

    fn seed(&mut self) -> u64 {
        self.0.seed()
    }

    fn notifier(&self) -> SimNotifier {
        self.0.notifier()
    }

    fn abilities(&self) -> Abilities {
        self.0.abilities()
    }

    fn attach(
        &mut self,
        socket: Unattached,
        token: Token,
    ) -> Result<SocketId, (PortError, Unattached)> {
        self.0.attach(socket, token)
    }

    fn listen(&mut self, listening: Listening, token: Token) -> Result<SocketId, PortError> {
        self.0.listen(listening, token)
    }

    fn connect(&mut self, to: &ConnectTo, token: Token) -> Result<SocketId, PortError> {
        self.0.connect(to, token)
    }

    fn submit(&mut self, socket: SocketId, op: Op) {
        self.0.submit(socket, op);
    }

    fn cancel(&mut self, socket: SocketId, kind: OpKind) {
        self.0.cancel(socket, kind);
    }

    fn link(&self, socket: SocketId) -> Link {
        self.0.link(socket)
    }

    fn start(&mut self, token: Token, work: Work) {
        self.0.start(token, work);
    }

    fn wait(&mut self, until: Until, out: &mut Vec<Completion>) -> Result<Waited, PortError> {
        let before = out.len();
        for _ in 0..1_000 {
            let waited = self.0.wait(until, out)?;
            if waited.drained || out.len() > before {
                return Ok(waited);
            }
        }
        panic!("there is something, and it never comes");
    }

    fn leases(&self) -> usize {
        self.0.leases()
    }

    fn sockets(&self) -> usize {
        self.0.sockets()
    }
}
