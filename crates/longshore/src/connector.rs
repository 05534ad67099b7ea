//! Where and how to connect, and what to do when that fails.

use crate::config::{CONNECT, MakeFilter, check_duration, check_frame_bytes, check_socket_options};
use crate::{ConfigError, Limits};
use longshore_base::{Foreign, caught};
use longshore_port::{ErrorKind, PortError, SocketOptions};
use longshore_proto::Codec;
use longshore_proto::connection::Filter;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// An outgoing connection: where to, in which protocol, and how persistent.
///
/// ```no_run
/// use longshore::{Connector, Ctx, Handler, Lines, Reconnect, Result, Server};
/// use std::time::Duration;
///
/// struct Hello;
///
/// impl Handler for Hello {
///     type Codec = Lines;
///
///     fn on_connect(&mut self, cx: &mut Ctx<'_, Self>) -> Result {
///         cx.send("hello")
///     }
///
///     fn on_message(&mut self, _: &mut Ctx<'_, Self>, line: &str) -> Result {
///         println!("heard {line}");
///         Ok(())
///     }
/// }
///
/// fn main() -> Result {
///     let server = Server::builder().workers(1).start()?; // without a listener it is all client
///     let connector = Connector::tcp("example.org:7411", Lines::max(1024))
///         .timeout(Duration::from_secs(5))
///         .reconnect(Reconnect::backoff());
///     server.connect(connector, |_| Ok(Hello))?;
///     server.drain_on_signals()?;
///     server.wait()
/// }
/// ```
#[must_use = "a connector does nothing until it is given to `connect`"]
pub struct Connector<C> {
    pub(crate) codec: C,
    pub(crate) plan: Plan,
    pub(crate) filter: Option<MakeFilter>,
}

impl<C> fmt::Debug for Connector<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("target", &self.plan.target).finish_non_exhaustive()
    }
}

/// Where to.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    Addr(SocketAddr),
    Name(Box<str>),
}

impl Target {
    /// Whether it is a name with a port behind it.
    fn check(&self) -> Result<(), ConfigError> {
        let Self::Name(name) = self else { return Ok(()) };
        let why = match name.rsplit_once(':') {
            None => "it has no port",
            Some(("", _)) => "it has no name",
            Some((_, port)) if port.parse::<u16>().is_err() => {
                "the port is a number from 0 to 65535"
            }
            Some(_) => return Ok(()),
        };
        Err(ConfigError::Address { given: name.as_ref().into(), why: why.into() })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Addr(addr) => addr.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

type OnFailure = Box<dyn FnMut(&ConnectError, Attempt) -> Retry + Send>;

/// The part of a connector that knows no codec.
pub(crate) struct Plan {
    pub(crate) target: Target,
    pub(crate) from: Option<SocketAddr>,
    pub(crate) timeout: Duration,
    pub(crate) reconnect: Reconnect,
    pub(crate) options: SocketOptions,
    pub(crate) limits: Limits,
    pub(crate) on_failure: Option<Foreign<OnFailure>>,
}

/// The user's closure did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Panicked;

impl Plan {
    /// What `on_failure` says, if there is one.
    pub(crate) fn ask(
        &mut self,
        error: &ConnectError,
        attempt: Attempt,
    ) -> Option<Result<Retry, Panicked>> {
        let ask = self.on_failure.as_mut()?;
        Some(caught(|| ask(error, attempt)).map_err(|_| Panicked))
    }
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan").field("target", &self.target).finish_non_exhaustive()
    }
}

/// Whether and when to connect again, after a failed attempt or a connection that has ended.
///
/// Not after an end that this side has asked for: `close`, `close_because`, `abort` and the end of
/// the server are for good. All other ends are connected again after, the `Err` or panic of a
/// callback and the idle time included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Reconnect {
    /// Not at all. The default.
    Never,
    /// After a random time below a bound that doubles with each failure in a row, from `min` up to
    /// `max`: so a thousand clients of a server that came back do not come at once (R52). A connection
    /// that ended without a message received, and sooner than `max`, counts as one too: its server may
    /// be full.
    Backoff {
        /// The first bound.
        min: Duration,
        /// The last one.
        max: Duration,
    },
}

impl Reconnect {
    /// [`Backoff`](Self::Backoff) from 0.5 s to 30 s.
    pub const fn backoff() -> Self {
        Self::Backoff { min: Duration::from_millis(500), max: Duration::from_secs(30) }
    }
}

/// Which failure in a row this is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Attempt {
    /// 1 for the first.
    pub number: u32,
}

/// The answer of [`Connector::on_failure`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Retry {
    /// Try again after exactly this long, but not before the next millisecond.
    After(Duration),
    /// Do not.
    GiveUp,
}

/// Why an attempt to connect failed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Nobody listens there.
    #[error("{0}: nobody listens there")]
    Refused(String),
    /// No answer within the connector's timeout.
    #[error("{0}: no answer in time (connect timeout)")]
    TimedOut(String),
    /// No way there.
    #[error("{0}: no route to that address")]
    Unreachable(String),
    /// The name is not known.
    #[error("{0}: no such name")]
    UnknownName(String),
    /// No local port or address is free.
    #[error("{0}: no local port is free")]
    NoLocalPort(String),
    /// `limits.connections` of this server is reached.
    #[error("{0}: too many connections already (limits.connections)")]
    TooMany(String),
    /// The factory refused, or `connect` was called on a server that stops.
    #[error("{0}: given up by this side")]
    GivenUp(String),
    /// The system refused something else.
    #[error("{to}: {error}")]
    Io {
        /// Where to.
        to: String,
        /// What the system said.
        error: PortError,
    },
}

impl ConnectError {
    pub(crate) fn from_port(to: &Target, error: PortError) -> Self {
        let to = to.to_string();
        match error.kind {
            ErrorKind::Refused | ErrorKind::Reset => Self::Refused(to),
            ErrorKind::TimedOut => Self::TimedOut(to),
            ErrorKind::Unreachable => Self::Unreachable(to),
            ErrorKind::NotFound => Self::UnknownName(to),
            ErrorKind::AddrInUse | ErrorKind::AddrNotAvailable => Self::NoLocalPort(to),
            _ => Self::Io { to, error },
        }
    }
}

impl<C: Codec> Connector<C> {
    /// To `addr`: `HOST:PORT` with a name or an address, `:PORT` on this machine, `[v6]:PORT`.
    pub fn tcp(addr: &str, codec: C) -> Self {
        let target = match addr.parse() {
            Ok(addr) => Target::Addr(addr),
            Err(_) if addr.starts_with(':') => Target::Name(format!("127.0.0.1{addr}").into()),
            Err(_) => Target::Name(addr.into()),
        };
        Self::to(target, codec)
    }

    /// To a socket address.
    pub fn addr(addr: SocketAddr, codec: C) -> Self {
        Self::to(Target::Addr(addr), codec)
    }

    fn to(target: Target, codec: C) -> Self {
        let plan = Plan {
            target,
            from: None,
            timeout: CONNECT.default,
            reconnect: Reconnect::Never,
            options: SocketOptions::default(),
            limits: Limits::default(),
            on_failure: None,
        };
        Self { codec, plan, filter: None }
    }

    /// How long one attempt may take, the look-up of a name not counted. Default 10 s.
    pub fn timeout(mut self, within: Duration) -> Self {
        self.plan.timeout = within;
        self
    }

    /// Own address to connect from. Default the system's choice.
    pub fn from(mut self, addr: SocketAddr) -> Self {
        self.plan.from = Some(addr);
        self
    }

    /// Whether to connect again. Default [`Reconnect::Never`].
    pub fn reconnect(mut self, policy: Reconnect) -> Self {
        self.plan.reconnect = policy;
        self
    }

    /// Limits of the connection. The defaults are those of [`Limits`], which for a connector has no
    /// first-byte deadline.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.plan.limits = limits;
        self
    }

    /// Options of the socket.
    pub fn socket_options(mut self, options: SocketOptions) -> Self {
        self.plan.options = options;
        self
    }

    /// Puts a filter between the wire and the codec, a new one for each connection that stands.
    pub fn filter(mut self, make: impl Fn() -> Box<dyn Filter> + Send + Sync + 'static) -> Self {
        self.filter = Some(Arc::new(Foreign::new(Box::new(make))));
        self
    }

    /// Is asked after each failed round of attempts; its answer goes before the policy.
    pub fn on_failure(
        mut self,
        ask: impl FnMut(&ConnectError, Attempt) -> Retry + Send + 'static,
    ) -> Self {
        self.plan.on_failure = Some(Foreign::new(Box::new(ask)));
        self
    }

    /// Whether these settings can work. `connect` on a server that runs asks it too.
    ///
    /// # Errors
    /// Names option, value and range.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.plan.target.check()?;
        self.plan.limits.check()?;
        check_frame_bytes(&self.codec, &self.plan.limits)?;
        CONNECT.check(self.plan.timeout)?;
        check_socket_options(&self.plan.options)?;
        if let Reconnect::Backoff { min, max } = self.plan.reconnect {
            check_duration("connector.reconnect", max, "30s")?;
            if min.is_zero() || min > max {
                return Err(ConfigError::OutOfRange {
                    option: "connector.reconnect",
                    value: format!("{min:?} to {max:?}"),
                    range: "a first bound above zero and at most the last (default: 500ms to 30s)"
                        .into(),
                });
            }
        }
        self.codec.check().map_err(|error| ConfigError::Contradiction(error.to_string()))
    }
}
