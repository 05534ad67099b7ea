//! Sockets as values: where to, which, and those that belong to no port.

use socket2::Socket;
use std::any::Any;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// The address of one side of a connection.
///
/// Non-exhaustive: kinds of sockets other than TCP may come.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
#[non_exhaustive]
pub enum Addr {
    /// An IP address and a port. An IPv4 peer of a dual-stack listener is written as IPv4.
    Ip(SocketAddr),
}

impl Addr {
    /// The socket address, if it is one of IP.
    pub const fn socket_addr(self) -> Option<SocketAddr> {
        let Self::Ip(addr) = self;
        Some(addr)
    }

    /// The IP address, if it is one.
    pub const fn ip(self) -> Option<IpAddr> {
        let Self::Ip(addr) = self;
        Some(addr.ip())
    }

    /// The port, if it has one.
    pub const fn port(self) -> Option<u16> {
        let Self::Ip(addr) = self;
        Some(addr.port())
    }
}

impl From<SocketAddr> for Addr {
    /// IPv4-mapped IPv6 becomes IPv4.
    fn from(addr: SocketAddr) -> Self {
        Self::Ip(match addr.ip().to_canonical() {
            IpAddr::V4(ip) => SocketAddr::from((ip, addr.port())),
            IpAddr::V6(_) => addr, // with its scope, without which a link-local one leads nowhere
        })
    }
}

impl fmt::Display for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Ip(addr) = self;
        addr.fmt(f)
    }
}

/// The name of a socket in its port. Generational: a stale one finds nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SocketId(pub(crate) longshore_base::Token);

impl SocketId {
    /// For the author of a port outside this crate.
    pub const fn from_token(token: longshore_base::Token) -> Self {
        Self(token)
    }

    /// For the author of a port outside this crate.
    pub const fn token(self) -> longshore_base::Token {
        self.0
    }
}

/// Options of a connection's socket. A listener's connections inherit them.
///
/// ```
/// # use longshore_port::{Keepalive, SocketOptions};
///
/// let keepalive = Keepalive::default().probes(2);
/// let options = SocketOptions::default().nodelay(false).keepalive(keepalive).user_timeout(None);
/// assert!(!options.nodelay && options.keepalive == Some(keepalive));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "options do nothing until they are given to a listener or connector"]
#[non_exhaustive]
pub struct SocketOptions {
    /// Send small messages at once (`TCP_NODELAY`). Default on.
    pub nodelay: bool,
    /// Probing of silent peers. Default after 60 s, 4 times every 15 s.
    pub keepalive: Option<Keepalive>,
    /// How long sent bytes may stay unacknowledged (`TCP_USER_TIMEOUT`, Linux only). Default 60 s.
    pub user_timeout: Option<Duration>,
    /// Bytes of the system's send buffer (`SO_SNDBUF`). Default the system's choice.
    pub send_buf_bytes: Option<u32>,
    /// Bytes of the system's receive buffer (`SO_RCVBUF`). Default the system's choice.
    pub recv_buf_bytes: Option<u32>,
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self {
            nodelay: true,
            keepalive: Some(Keepalive::default()),
            user_timeout: Some(Duration::from_secs(60)),
            send_buf_bytes: None,
            recv_buf_bytes: None,
        }
    }
}

impl SocketOptions {
    /// Whether small messages are sent at once (`TCP_NODELAY`). Default yes.
    pub fn nodelay(mut self, yes: bool) -> Self {
        self.nodelay = yes;
        self
    }

    /// Probing of silent peers; `None` for none. Default after 60 s, 4 times every 15 s.
    pub fn keepalive(mut self, keepalive: impl Into<Option<Keepalive>>) -> Self {
        self.keepalive = keepalive.into();
        self
    }

    /// How long sent bytes may stay unacknowledged (`TCP_USER_TIMEOUT`, Linux only), 1 ms to 24
    /// days; `None` for the system's choice. Default 60 s.
    pub fn user_timeout(mut self, within: impl Into<Option<Duration>>) -> Self {
        self.user_timeout = within.into();
        self
    }

    /// Bytes of the system's send buffer (`SO_SNDBUF`), 1 to 2^31 - 1; `None`, the default, for
    /// the system's choice.
    pub fn send_buf_bytes(mut self, bytes: impl Into<Option<u32>>) -> Self {
        self.send_buf_bytes = bytes.into();
        self
    }

    /// Bytes of the system's receive buffer (`SO_RCVBUF`), 1 to 2^31 - 1; `None`, the default, for
    /// the system's choice.
    pub fn recv_buf_bytes(mut self, bytes: impl Into<Option<u32>>) -> Self {
        self.recv_buf_bytes = bytes.into();
        self
    }
}

/// When and how often a silent peer is probed by TCP itself.
///
/// ```
/// # use longshore_port::Keepalive;
/// use std::time::Duration;
///
/// let keepalive = Keepalive::default().idle(Duration::from_secs(600)).probes(2);
/// assert_eq!(keepalive.interval, Duration::from_secs(15));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "it does nothing until it is given to `SocketOptions`"]
#[non_exhaustive]
pub struct Keepalive {
    /// Silence before the first probe, whole seconds.
    pub idle: Duration,
    /// Between probes, whole seconds.
    pub interval: Duration,
    /// Unanswered probes until the connection is given up.
    pub probes: u32,
}

impl Default for Keepalive {
    fn default() -> Self {
        Self { idle: Duration::from_secs(60), interval: Duration::from_secs(15), probes: 4 }
    }
}

impl Keepalive {
    /// Silence before the first probe, 1 to 32,767 whole seconds. Default 60 s.
    pub fn idle(mut self, after: Duration) -> Self {
        self.idle = after;
        self
    }

    /// Time between probes, 1 to 32,767 whole seconds. Default 15 s.
    pub fn interval(mut self, between: Duration) -> Self {
        self.interval = between;
        self
    }

    /// Unanswered probes until the connection is given up, 1 to 127. Default 4.
    pub fn probes(mut self, count: u32) -> Self {
        self.probes = count;
        self
    }
}

/// Where and how to listen.
#[derive(Clone, Debug)]
pub struct BindTo {
    /// The address; port 0 lets the system choose.
    pub addr: SocketAddr,
    /// An IPv6 wildcard takes IPv4 as well; where IPv6 is off, IPv4 alone.
    pub dual_stack: bool,
    /// Connections that may wait to be accepted, 1 to 65,535. The kernel caps it.
    pub backlog: u32,
    /// For each connection.
    pub options: SocketOptions,
}

/// Where and how to connect.
#[derive(Clone, Debug)]
pub struct ConnectTo {
    /// The address.
    pub addr: SocketAddr,
    /// Own address to connect from; the system's choice without one.
    pub from: Option<SocketAddr>,
    /// For the connection.
    pub options: SocketOptions,
}

/// A connected socket that belongs to no port. Dropping it closes it.
#[derive(Debug)]
pub struct Unattached {
    /// The other side, as known when it was accepted or connected.
    pub peer: Addr,
    /// This side.
    pub local: Addr,
    /// The socket itself.
    pub raw: RawSocket,
}

/// A listening socket that belongs to no port. Dropping it closes it.
#[derive(Debug)]
pub struct Listening {
    /// Where it listens; with the port that the system chose.
    pub local: Addr,
    /// What its connections are to have, where they do not inherit it; none if somebody else bound it.
    pub options: Option<SocketOptions>,
    /// The socket itself.
    pub raw: RawSocket,
}

/// The system's socket, or a simulated one.
pub enum RawSocket {
    /// Of the operating system.
    System(Socket),
    /// Of a simulation, which knows what is inside.
    Virtual(Box<dyn Any + Send>),
}

impl fmt::Debug for RawSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(socket) => write!(f, "System({socket:?})"),
            Self::Virtual(_) => f.write_str("Virtual"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_keeps_its_scope_and_a_mapped_one_is_of_ipv4() {
        let text = |addr: &str| Addr::from(addr.parse::<SocketAddr>().unwrap()).to_string();
        assert_eq!(text("[fe80::1%7]:80"), "[fe80::1%7]:80");
        assert_eq!(text("[::ffff:10.0.0.1]:80"), "10.0.0.1:80");
        assert_eq!(text("[::1]:80"), "[::1]:80");
    }
}
