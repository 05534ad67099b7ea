//! What goes wrong for the user of the framework.

use longshore_base::{Foreign, caught};
use longshore_port::{DriverRefused, OutOfRange, PortError};
use longshore_proto::FrameError;
use std::error::Error as StdError;
use std::fmt;
use std::net::SocketAddr;

/// What callbacks, builders and clients return.
pub type Result<T = (), E = Error> = core::result::Result<T, E>;

/// Why a handler gives its connection up, or why a server does not start.
///
/// Takes any error through `?`. `Debug` prints the message and its causes, so that
/// `fn main() -> longshore::Result` ends in a line that a person can read.
pub struct Error(Foreign<Box<dyn StdError + Send + Sync>>);

impl Error {
    /// An error in one's own words: lower case, no full stop.
    pub fn msg(text: impl fmt::Display) -> Self {
        Self(Foreign::new(text.to_string().into()))
    }

    /// The error inside, if it is a `T`.
    pub fn downcast_ref<T: StdError + 'static>(&self) -> Option<&T> {
        self.0.downcast_ref()
    }

    /// Whether a send failed because the queue is full.
    pub fn is_full(&self) -> bool {
        matches!(self.downcast_ref(), Some(SendError::Full))
    }
}

impl<E: StdError + Send + Sync + 'static> From<E> for Error {
    fn from(error: E) -> Self {
        Self(Foreign::new(Box::new(error)))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match caught(|| in_words(&**self.0)) {
            Ok(text) => f.write_str(&text),
            Err(panic) => write!(f, "an error that panics when it is to be shown: {panic}"),
        }
    }
}

/// The error and its causes.
fn in_words(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a message was not queued.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The queue of this connection is at its bound: the peer reads too slowly, or more was sent at once
    /// than it takes.
    #[error("send queue is full (limits.send_queue_bytes)")]
    Full,
    /// The connection is closing or gone.
    #[error("connection is closed")]
    Closed,
    /// The codec cannot make a frame of it.
    #[error("cannot send this: {0}")]
    Encode(#[from] FrameError),
}

/// Settings that cannot work, found before anything starts.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A number is outside its range.
    #[error("{option} = {value}: must be {range}")]
    OutOfRange {
        /// The option, by its real name.
        option: &'static str,
        /// What was given.
        value: String,
        /// What may be given, and the default.
        range: String,
    },
    /// Two settings contradict each other.
    #[error("{0}")]
    Contradiction(String),
    /// Text that is no address.
    #[error("`{given}` is no address: {why}; write HOST:PORT, :PORT or [v6]:PORT")]
    Address {
        /// What was given.
        given: String,
        /// What is wrong with it.
        why: String,
    },
    /// A driver was required that is not to be had.
    #[error(transparent)]
    Driver(#[from] DriverRefused),
}

impl From<OutOfRange> for ConfigError {
    fn from(refused: OutOfRange) -> Self {
        let OutOfRange { option, value, range } = refused;
        Self::OutOfRange { option, value, range: range.into() }
    }
}

/// A server does not start, or a client does not reach one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("cannot listen on {addr}: {}", bind_hint(*.error, *.addr))]
    Listen {
        /// Which one.
        addr: SocketAddr,
        /// What the system said.
        error: PortError,
    },
    /// A worker could not open its port.
    #[error("cannot open the completion port of worker {worker}{}", open_hint(*.source))]
    Open {
        /// Which one.
        worker: usize,
        /// What the system said.
        source: PortError,
    },
    /// A thread could not be started.
    #[error("cannot start the thread of worker {worker}")]
    Thread {
        /// Which one.
        worker: usize,
        /// What the system said.
        source: std::io::Error,
    },
    /// A thread ended with a panic of the framework itself: a bug, please report it.
    #[error("worker {worker} panicked; this is a bug in longshore")]
    Panicked {
        /// Which one.
        worker: usize,
    },
    /// A worker's port failed while running.
    #[error("the completion port of worker {worker} died")]
    PortDied {
        /// Which one.
        worker: usize,
        /// What the system said.
        source: PortError,
    },
}

/// Likely cause and remedy of a port that does not open.
fn open_hint(source: PortError) -> &'static str {
    use longshore_port::ErrorKind;
    match source.kind {
        ErrorKind::NoMemory => {
            " (for io_uring the limit of locked memory may be too low: raise it with ulimit -l or \
             LimitMEMLOCK=, take fewer workers, or leave the choice of the driver open)"
        }
        ErrorKind::NoDescriptors => " (raise the limit of open files: ulimit -n, LimitNOFILE=)",
        _ => "",
    }
}

/// Likely cause and remedy of a failed bind.
fn bind_hint(error: PortError, addr: SocketAddr) -> String {
    use longshore_port::ErrorKind;
    match error.kind {
        ErrorKind::AddrInUse => {
            "address in use; stop the program that has it, or choose another port".into()
        }
        ErrorKind::AddrNotAvailable => format!("{} is not an address of this machine", addr.ip()),
        ErrorKind::Denied if addr.port() < 1024 => format!(
            "port {} needs a privilege (CAP_NET_BIND_SERVICE); choose one from 1024 on",
            addr.port()
        ),
        _ => error.to_string(),
    }
}
