//! PLACEHOLDER driver readiness: opens nothing yet.
use crate::driver::Clock;
use crate::jobs::WorkDesk;
use crate::*;
use longshore_base::{Time, Token};

/// Not built yet.
#[derive(Debug)]
pub enum ReadinessPort {}
/// Not built yet.
#[derive(Clone, Debug)]
pub enum ReadinessNotifier {}
impl Notify for ReadinessNotifier {
    fn notify(&self) {
        match *self {}
    }
}
pub(crate) fn abilities() -> Abilities {
    Abilities {
        driver: "readiness",
        moves_sockets: true,
        passed_over: String::new(),
        features: vec![],
    }
}
impl ReadinessPort {
    pub(crate) fn open(_: &PortConfig, _: Clock, _: WorkDesk) -> Result<Self, PortError> {
        Err(PortError::new(Call::Open, ErrorKind::Unsupported))
    }
}
impl Port for ReadinessPort {
    type Notifier = ReadinessNotifier;
    fn now(&self) -> Time {
        match *self {}
    }
    fn precise_now(&self) -> Time {
        match *self {}
    }
    fn seed(&mut self) -> u64 {
        match *self {}
    }
    fn notifier(&self) -> ReadinessNotifier {
        match *self {}
    }
    fn abilities(&self) -> Abilities {
        match *self {}
    }
    fn attach(&mut self, _: Unattached, _: Token) -> Result<SocketId, (PortError, Unattached)> {
        match *self {}
    }
    fn listen(&mut self, _: Listening, _: Token) -> Result<SocketId, PortError> {
        match *self {}
    }
    fn connect(&mut self, _: &ConnectTo, _: Token) -> Result<SocketId, PortError> {
        match *self {}
    }
    fn submit(&mut self, _: SocketId, _: Op) {
        match *self {}
    }
    fn cancel(&mut self, _: SocketId, _: OpKind) {
        match *self {}
    }
    fn start(&mut self, _: Token, _: Work) {
        match *self {}
    }
    fn wait(&mut self, _: Until, _: &mut Vec<Completion>) -> Result<Waited, PortError> {
        match *self {}
    }
    fn leases(&self) -> usize {
        match *self {}
    }
    fn sockets(&self) -> usize {
        match *self {}
    }
}
