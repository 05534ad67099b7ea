//! Stands in for io_uring where there is none: a port that cannot exist.
use crate::driver::clock::Clock;
use crate::jobs::WorkDesk;
use crate::*;
use longshore_base::{Time, Token};

/// A port of io_uring, which this system does not have.
#[derive(Debug)]
pub enum UringPort {}
/// A port of io_uring, which this system does not have.
#[derive(Clone, Debug)]
pub enum UringNotifier {}
impl Notify for UringNotifier {
    fn notify(&self) {
        match *self {}
    }
}
pub(crate) fn abilities() -> Abilities {
    Abilities { driver: "uring", moves_sockets: true, passed_over: String::new(), features: vec![] }
}
pub(crate) fn why_not_all(error: PortError) -> String {
    error.to_string()
}
impl UringPort {
    pub(crate) fn open(_: &PortConfig, _: Clock, _: WorkDesk) -> Result<Self, PortError> {
        Err(PortError::new(Call::Open, ErrorKind::Unsupported))
    }
}
impl Port for UringPort {
    type Notifier = UringNotifier;
    fn now(&self) -> Time {
        match *self {}
    }
    fn precise_now(&self) -> Time {
        match *self {}
    }
    fn seed(&mut self) -> u64 {
        match *self {}
    }
    fn notifier(&self) -> UringNotifier {
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
    fn link(&self, _: SocketId) -> Link {
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
pub(crate) fn worth_it() -> Result<(), String> {
    probe()
}

pub(crate) fn probe() -> Result<(), String> {
    Err("this system is not Linux".into())
}

/// Without a ring an address that is in use stays so.
pub(super) const BIND_TRIES: u32 = 1;
