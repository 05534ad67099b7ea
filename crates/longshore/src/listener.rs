//! Where and how to listen.

use crate::config::{Limits, MakeFilter, Role, check_frame_bytes, check_socket_options, in_range};
use crate::{ConfigError, Group, Result};
use longshore_base::Foreign;
use longshore_port::SocketOptions;
use longshore_proto::Codec;
use longshore_proto::connection::Filter;
use std::fmt;
use std::net::{Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::Arc;

/// An address to listen on, the codec of its connections, and their limits.
#[must_use = "a listener does nothing until it is given to `listen`"]
pub struct Listener<C: Codec> {
    pub(crate) at: Result<Bound, ConfigError>,
    pub(crate) codec: C,
    pub(crate) limits: Limits,
    pub(crate) role: Role,
    pub(crate) backlog: u32,
    pub(crate) options: SocketOptions,
    pub(crate) filter: Option<MakeFilter>,
    pub(crate) group: Option<Group<C>>,
}

/// Where a listener comes from.
#[derive(Debug)]
pub(crate) enum Bound {
    To { addr: SocketAddr, dual_stack: bool },
    Already(TcpListener),
}

impl<C: Codec> fmt::Debug for Listener<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("at", &self.at).finish_non_exhaustive()
    }
}

impl<C: Codec> Listener<C> {
    /// On `addr`: `HOST:PORT`, `:PORT` for every address of the machine, `[v6]:PORT`. Port 0 lets
    /// the system choose. What is wrong with it is told when the server is built.
    pub fn tcp(addr: &str, codec: C) -> Self {
        let at = parse(addr);
        Self::new(at, codec)
    }

    /// On that socket address.
    pub fn addr(addr: SocketAddr, codec: C) -> Self {
        Self::new(Ok(Bound::To { addr, dual_stack: false }), codec)
    }

    /// On every address of the machine, IPv6 and IPv4; IPv4 alone where IPv6 is off.
    pub fn port(port: u16, codec: C) -> Self {
        Self::new(Ok(Bound::To { addr: wildcard(port), dual_stack: true }), codec)
    }

    /// A socket that somebody else bound: systemd, a test, a privileged parent. Its options are
    /// left as they are.
    pub fn from_std(socket: TcpListener, codec: C) -> Self {
        Self::new(Ok(Bound::Already(socket)), codec)
    }

    fn new(at: Result<Bound, ConfigError>, codec: C) -> Self {
        let (limits, options) = (Limits::default(), SocketOptions::default());
        let (role, backlog) = (Role::SERVES, 1024);
        Self { at, codec, limits, role, backlog, options, filter: None, group: None }
    }

    /// Limits of this listener's connections.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// For clients that only listen: those that say nothing are not late with their first byte, and
    /// idle time counts from what goes either way, not from what they send. Whatever else its
    /// [`limits`](Self::limits) say of either goes before.
    pub fn push_only(mut self) -> Self {
        self.role = Role::PUSHES;
        self
    }

    /// Connections that may wait to be accepted, 1 to 65,535. Default 1,024. The system caps it:
    /// `net.core.somaxconn` on Linux.
    pub fn backlog(mut self, connections: u32) -> Self {
        self.backlog = connections;
        self
    }

    /// Options of its connections' sockets.
    pub fn socket_options(mut self, options: SocketOptions) -> Self {
        self.options = options;
        self
    }

    /// Puts a filter between the wire and the codec of each connection.
    pub fn filter(mut self, make: impl Fn() -> Box<dyn Filter> + Send + Sync + 'static) -> Self {
        self.filter = Some(Arc::new(Foreign::new(Box::new(make))));
        self
    }

    /// Puts each of its connections into a group, before its first callback. Several listeners of one
    /// server may have the same.
    ///
    /// ```
    /// use longshore::{Ctx, Group, Handler, Lines, Listener, Result, Server};
    /// use std::time::Duration;
    ///
    /// /// Only listens.
    /// struct Listens;
    ///
    /// impl Handler for Listens {
    ///     type Codec = Lines;
    ///     fn on_message(&mut self, cx: &mut Ctx<'_, Self>, _: &str) -> Result {
    ///         cx.send("nobody asked you")
    ///     }
    /// }
    ///
    /// # fn main() -> Result {
    /// let all = Group::new(Lines::max(1024));
    /// let listener = Listener::tcp("127.0.0.1:0", Lines::max(1024)).push_only().group(&all);
    /// let server = Server::builder()
    ///     .listen(listener, |_| Ok(Listens))
    ///     .every(Duration::from_secs(1), move |_, tick| {
    ///         let _ = all.broadcast(&format!("second {}", tick.number));
    ///     })
    ///     .start()?;
    /// # server.shutdown(std::time::Duration::ZERO);
    /// # server.wait()
    /// # }
    /// ```
    pub fn group(mut self, group: &Group<C>) -> Self {
        self.group = Some(group.clone());
        self
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if self.group.as_ref().is_some_and(Group::is_used) {
            let text =
                "the group of a listener is of another server that still runs: make one for each";
            return Err(ConfigError::Contradiction(text.into()));
        }
        self.limits.check()?;
        in_range("listener.backlog", self.backlog, 1..=65_535, "1024")?;
        check_socket_options(&self.options)?;
        check_frame_bytes(&self.codec, &self.limits)?;
        self.codec.check().map_err(|error| ConfigError::Contradiction(error.to_string()))
    }
}

fn wildcard(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))
}

fn parse(given: &str) -> Result<Bound, ConfigError> {
    let wrong = |why: &str| ConfigError::Address { given: given.into(), why: why.into() };
    if let Some(port) = given.strip_prefix(':') {
        let port = port.parse().map_err(|_| wrong("the port is a number from 0 to 65535"))?;
        return Ok(Bound::To { addr: wildcard(port), dual_stack: true });
    }
    if !given.contains(':') {
        return Err(wrong("it has no port"));
    }
    let mut addrs =
        given.to_socket_addrs().map_err(|error| wrong(&format!("{error}; is the name known?")))?;
    let addr = addrs.next().ok_or_else(|| wrong("the name has no address"))?;
    Ok(Bound::To { addr, dual_stack: false })
}

#[cfg(test)]
mod tests {
    use super::*;
    use longshore_proto::frame::Raw;

    #[test]
    fn an_address_is_host_and_port_or_port_alone() {
        let bound = |given| match parse(given) {
            Ok(Bound::To { addr, dual_stack }) => Ok((addr.to_string(), dual_stack)),
            Ok(Bound::Already(_)) => unreachable!("nothing was bound"),
            Err(error) => Err(error.to_string()),
        };
        assert_eq!(bound("127.0.0.1:80"), Ok(("127.0.0.1:80".into(), false)));
        assert_eq!(bound(":7411"), Ok(("[::]:7411".into(), true)));
        assert_eq!(bound("[::1]:0"), Ok(("[::1]:0".into(), false)));
        for wrong in ["", "localhost", ":", ":70000", "127.0.0.1"] {
            let text = bound(wrong).unwrap_err();
            assert!(text.contains("HOST:PORT") && text.contains(wrong), "{text}");
        }
    }

    #[test]
    fn a_frame_that_no_queue_could_hold_is_refused_at_the_start() {
        let limits = Limits::new().send_queue_bytes(1024);
        let listener = Listener::port(0, Raw::max(2048)).limits(limits);
        let text = listener.check().unwrap_err().to_string();
        assert!(text.contains("send_queue_bytes = 1024 is less than the longest frame"), "{text}");
    }
}
