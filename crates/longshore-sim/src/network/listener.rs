//! Listening, connecting, accepting.

use super::Network;
use super::parts::{Connection, Descriptor, End, EndId, Event, Listener, Open, Packet};
use crate::Trouble;
use longshore_port::{BindTo, ConnectTo, ErrorKind, SocketOptions};
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// How often a connect knocks at a full backlog before it gives up, a second apart.
const KNOCKS_MAX: u32 = 6;

/// Ports that the network gives out start here.
const FIRST_PORT: u16 = 1_024;

/// How a connect stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Progress {
    UnderWay,
    Connected,
    Failed(ErrorKind),
}

/// A connection that was accepted.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) descriptor: Descriptor,
    pub(crate) peer: SocketAddr,
    pub(crate) local: SocketAddr,
}

/// What fits between two ends, when both buffers were asked to be small.
fn window(options: &SocketOptions) -> usize {
    match (options.send_buf_bytes, options.recv_buf_bytes) {
        (Some(send), Some(recv)) => (send as usize).saturating_add(recv as usize),
        _ => usize::MAX,
    }
}

/// How long the probes of these options go on.
fn silence_max(options: &SocketOptions) -> Option<Duration> {
    options.keepalive.map(|probing| probing.idle + probing.interval * probing.probes)
}

impl Network {
    pub(crate) fn bind(&mut self, to: &BindTo) -> Result<(Descriptor, SocketAddr), ErrorKind> {
        self.descriptor_left()?;
        let addr = if to.addr.port() == 0 { self.free_addr(to.addr.ip())? } else { to.addr };
        if self.listeners.contains_key(&addr) {
            return Err(ErrorKind::AddrInUse);
        }
        let listener = Listener {
            owner: None,
            dual_stack: to.dual_stack,
            backlog: VecDeque::new(),
            backlog_max: to.backlog as usize,
            window_bytes: window(&to.options),
            silence_max: silence_max(&to.options),
        };
        self.listeners.insert(addr, listener);
        Ok((self.open_descriptor(Open::Listener(addr)), addr))
    }

    /// An address with a port that nobody uses.
    fn free_addr(&mut self, ip: IpAddr) -> Result<SocketAddr, ErrorKind> {
        for _ in FIRST_PORT..=u16::MAX {
            self.next_port = self.next_port.wrapping_add(1).max(FIRST_PORT);
            let addr = SocketAddr::new(ip, self.next_port);
            if !self.listeners.contains_key(&addr) && !self.locals.contains(&addr) {
                return Ok(addr);
            }
        }
        Err(ErrorKind::AddrInUse)
    }

    pub(crate) fn connect(
        &mut self,
        to: &ConnectTo,
    ) -> Result<(Descriptor, SocketAddr), ErrorKind> {
        self.descriptor_left()?;
        let ip = match (to.from, to.addr) {
            (Some(from), _) => from.ip(),
            (None, SocketAddr::V4(_)) => Ipv4Addr::LOCALHOST.into(),
            (None, SocketAddr::V6(_)) => Ipv6Addr::LOCALHOST.into(),
        };
        let local = match to.from {
            Some(from) if from.port() != 0 => from,
            _ => self.free_addr(ip)?,
        };
        if !self.locals.insert(local) {
            return Err(ErrorKind::AddrInUse);
        }
        let room = self.window_bytes.min(window(&to.options));
        self.connection_count += 1;
        let id = self.connection_count;
        let mut connection = Connection { ends: [End::new(local, room), End::new(to.addr, room)] };
        connection.ends[0].silence_max = silence_max(&to.options);
        self.connections.insert(id, connection);
        let end = EndId { connection: id, side: 0 };
        self.transmit(end, Packet::Syn { knocks: 0 });
        Ok((self.open_descriptor(Open::End(end)), local))
    }

    /// Connects a peer of the test's own; the limits of the program under test are not its own.
    pub(crate) fn connect_client(&mut self, addr: SocketAddr) -> (Descriptor, SocketAddr) {
        let limit = std::mem::replace(&mut self.descriptors_max, usize::MAX);
        let to = ConnectTo { addr, from: None, options: SocketOptions::default() };
        let connected = self.connect(&to).expect("a test opens fewer than 64,000 clients");
        self.descriptors_max = limit;
        self.clients += 1;
        let end = self.end_of(connected.0).expect("a connection");
        self.end_mut(end).expect("a fresh end").client = true;
        connected
    }

    pub(crate) fn progress(&self, descriptor: Descriptor) -> Progress {
        let end = self.end_of(descriptor).and_then(|end| self.end(end)).expect("an open end");
        match (end.connected, end.refused) {
            (true, _) => Progress::Connected,
            (false, Some(kind)) => Progress::Failed(kind),
            (false, None) => Progress::UnderWay,
        }
    }

    pub(crate) fn is_connected(&self, descriptor: Descriptor) -> bool {
        self.progress(descriptor) == Progress::Connected
    }

    /// Who listens where a connect to `addr` comes in.
    fn listener_at(&self, addr: SocketAddr) -> Option<SocketAddr> {
        let v6 = SocketAddr::from((Ipv6Addr::UNSPECIFIED, addr.port()));
        let v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, addr.port()));
        let dual = |v6: &SocketAddr| self.listeners.get(v6).is_some_and(|it| it.dual_stack);
        let takes = |at: &SocketAddr| self.listeners.contains_key(at);
        let candidates = match addr {
            SocketAddr::V4(_) => [Some(addr), Some(v4), Some(v6).filter(dual)],
            SocketAddr::V6(_) => [Some(addr), Some(v6), None],
        };
        candidates.into_iter().flatten().find(takes)
    }

    /// A connect has come to the other side.
    pub(super) fn knock(&mut self, end: EndId, knocks: u32) {
        let Some(addr) = self.end(end).map(|end| end.local) else { return };
        let Some(at) = self.listener_at(addr) else {
            return self.refuse(end, ErrorKind::Refused);
        };
        let listener = self.listeners.get_mut(&at).expect("found just now");
        if listener.backlog.len() >= listener.backlog_max {
            if knocks + 1 == KNOCKS_MAX {
                return self.refuse(end, ErrorKind::TimedOut);
            }
            let again = self.now + Duration::from_secs(1);
            return self.schedule(again, Event::Arrival(end, Packet::Syn { knocks: knocks + 1 }));
        }
        listener.backlog.push_back(end.connection);
        let (owner, window_bytes) = (listener.owner, listener.window_bytes);
        let silence_max = listener.silence_max;
        let accepted = self.end_mut(end).expect("an end that was just looked at");
        accepted.connected = true;
        accepted.room = accepted.room.min(window_bytes);
        accepted.silence_max = silence_max;
        self.probe(end);
        self.transmit(end, Packet::Established);
        if let Some(owner) = owner {
            self.touch(owner);
        }
    }

    /// Nobody takes the connection; its other end is one that nobody holds.
    fn refuse(&mut self, end: EndId, kind: ErrorKind) {
        self.transmit(end, Packet::Refused(kind));
        self.abandon(end);
    }

    /// The next connection of a listener, if there is one.
    pub(crate) fn accept(&mut self, descriptor: Descriptor) -> Result<Option<Taken>, ErrorKind> {
        let Open::Listener(addr) = self.open_of(descriptor) else { return Ok(None) };
        let listener = self.listeners.get_mut(&addr).expect("an open listener");
        if listener.backlog.is_empty() {
            return Ok(None);
        }
        self.descriptor_left()?;
        self.accept_trouble(addr)?;
        let listener = self.listeners.get_mut(&addr).expect("an open listener");
        let connection = listener.backlog.pop_front().expect("seen to be there");
        let ends = &self.connections[&connection].ends;
        let (peer, local) = (ends[0].local, ends[1].local);
        let descriptor = self.open_descriptor(Open::End(EndId { connection, side: 1 }));
        Ok(Some(Taken { descriptor, peer, local }))
    }

    /// What may come between a listener and who waits at it.
    fn accept_trouble(&mut self, addr: SocketAddr) -> Result<(), ErrorKind> {
        if self.suffers(Trouble::Accept) {
            return Err(ErrorKind::NoMemory);
        }
        if self.suffers(Trouble::AcceptNoDescriptors) {
            return Err(ErrorKind::NoDescriptors);
        }
        if self.suffers(Trouble::AcceptPassing) {
            let listener = self.listeners.get_mut(&addr).expect("an open listener");
            let lost = listener.backlog.pop_front().expect("seen to be there");
            self.give_up(lost);
            return Err(ErrorKind::Passing);
        }
        Ok(())
    }

    /// Nobody will ever hold the accepted end of a connection.
    fn give_up(&mut self, connection: u64) {
        let end = EndId { connection, side: 1 };
        self.reset_end(end);
        self.close_end(end);
    }

    /// Nobody listens any more; who waits to be accepted is reset.
    pub(super) fn close_listener(&mut self, addr: SocketAddr) {
        let listener = self.listeners.remove(&addr).expect("an open listener");
        for connection in listener.backlog {
            self.give_up(connection);
        }
    }
}
