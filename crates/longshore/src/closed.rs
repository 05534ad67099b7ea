//! How a connection ended.

use crate::config::ConnLimits;
use crate::{ConnId, Error, Server};
use longshore_port::{Addr, ErrorKind, PortError};
use longshore_proto::FrameError;
use std::borrow::Cow;
use std::fmt;

/// Why a connection ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum DisconnectReason {
    /// The peer ended its stream, and everything was answered.
    PeerClosed,
    /// The peer reset the connection, or it broke.
    PeerReset,
    /// The peer ended its stream within a frame.
    Truncated {
        /// Bytes of the frame that came.
        have: u64,
        /// Bytes it needs at least.
        need: u64,
    },
    /// The peer sent bytes that are no frame.
    ProtocolError(FrameError),
    /// The peer announced or sent a frame longer than allowed.
    FrameTooLong {
        /// Bytes of the frame, as far as known.
        len: u64,
        /// `frame_bytes_max` of the codec.
        max: u64,
    },
    /// Connected, and sent nothing within `limits.first_byte`.
    FirstByteTimeout,
    /// Nothing was received within `limits.idle`.
    IdleTimeout,
    /// The send queue passed `limits.send_queue_bytes`.
    SlowReader,
    /// The peer took no byte within `limits.write`.
    WriteStalled,
    /// A callback returned an error.
    HandlerError(Error),
    /// A callback panicked.
    HandlerPanic(String),
    /// The server is shutting down.
    Shutdown,
    /// The handler, or a handle, closed it.
    Local,
    /// The same, with a reason in the user's words.
    Said(Cow<'static, str>),
    /// A handle aborted it.
    Aborted,
    /// The system refused something else.
    Io(PortError),
}

impl DisconnectReason {
    /// Names of all kinds, in the order of [`index`](Self::index): labels of counters.
    pub const NAMES: [&'static str; 16] = [
        "peer_closed",
        "peer_reset",
        "truncated",
        "protocol_error",
        "frame_too_long",
        "first_byte_timeout",
        "idle_timeout",
        "slow_reader",
        "write_stalled",
        "handler_error",
        "handler_panic",
        "shutdown",
        "local",
        "said",
        "aborted",
        "io_error",
    ];

    /// Which kind, as a place in [`NAMES`](Self::NAMES).
    pub const fn index(&self) -> usize {
        match self {
            Self::PeerClosed => 0,
            Self::PeerReset => 1,
            Self::Truncated { .. } => 2,
            Self::ProtocolError(_) => 3,
            Self::FrameTooLong { .. } => 4,
            Self::FirstByteTimeout => 5,
            Self::IdleTimeout => 6,
            Self::SlowReader => 7,
            Self::WriteStalled => 8,
            Self::HandlerError(_) => 9,
            Self::HandlerPanic(_) => 10,
            Self::Shutdown => 11,
            Self::Local => 12,
            Self::Said(_) => 13,
            Self::Aborted => 14,
            Self::Io(_) => 15,
        }
    }

    /// The name of its kind.
    pub const fn name(&self) -> &'static str {
        Self::NAMES[self.index()]
    }

    /// Whether it is worth a warning in the log: a limit or a fault, not the course of things.
    pub const fn is_fault(&self) -> bool {
        !matches!(
            self,
            Self::PeerClosed | Self::PeerReset | Self::Shutdown | Self::Local | Self::Said(_)
        )
    }

    /// In words, with the value of the limit that was reached and what to do about it.
    pub(crate) fn with_limit(&self, limits: &ConnLimits) -> String {
        match self {
            Self::FirstByteTimeout => format!(
                "sent nothing (limits.first_byte = {:?}; zero where clients only listen)",
                limits.first_byte
            ),
            Self::IdleTimeout => format!("silent for too long (limits.idle = {:?})", limits.idle),
            Self::SlowReader => {
                let bytes = limits.send_queue_bytes;
                format!("reads too slowly (limits.send_queue_bytes = {bytes})")
            }
            Self::WriteStalled => format!("takes no bytes (limits.write = {:?})", limits.write),
            other => other.to_string(),
        }
    }

    pub(crate) fn from_frame(error: FrameError) -> Self {
        match error {
            FrameError::TooLong { len, max } => Self::FrameTooLong { len, max },
            FrameError::Truncated { have, need } => Self::Truncated { have, need },
            error => Self::ProtocolError(error),
        }
    }

    pub(crate) fn from_port(error: PortError) -> Self {
        match error.kind {
            ErrorKind::Reset | ErrorKind::TimedOut => Self::PeerReset,
            _ => Self::Io(error),
        }
    }
}

impl fmt::Display for DisconnectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PeerClosed => f.write_str("peer closed"),
            Self::PeerReset => f.write_str("peer reset the connection"),
            Self::Truncated { have, need } => {
                write!(f, "peer closed after {have} of at least {need} bytes of a frame")
            }
            Self::ProtocolError(error) => write!(f, "protocol error: {error}"),
            Self::FrameTooLong { len, max } => {
                write!(f, "frame of {len} bytes, limit is {max} (frame_bytes_max)")
            }
            Self::FirstByteTimeout => f.write_str("sent nothing (limits.first_byte)"),
            Self::IdleTimeout => f.write_str("silent for too long (limits.idle)"),
            Self::SlowReader => f.write_str("reads too slowly (limits.send_queue_bytes)"),
            Self::WriteStalled => f.write_str("takes no bytes (limits.write)"),
            Self::HandlerError(error) => write!(f, "handler: {error}"),
            Self::HandlerPanic(text) => write!(f, "handler panicked: {text}"),
            Self::Shutdown => f.write_str("server shuts down"),
            Self::Local => f.write_str("closed by this side"),
            Self::Said(why) => f.write_str(why),
            Self::Aborted => f.write_str("aborted by this side"),
            Self::Io(error) => error.fmt(f),
        }
    }
}

/// A connection that is over: the last thing a handler sees.
#[derive(Debug)]
#[non_exhaustive]
pub struct Closed<'a> {
    /// Which one.
    pub id: ConnId,
    /// The other side, as known when it was accepted.
    pub peer_addr: Addr,
    /// This side.
    pub local_addr: Addr,
    /// Why it ended.
    pub reason: &'a DisconnectReason,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes that the kernel took.
    pub bytes_out: u64,
    /// Frames handed to `on_message`.
    pub messages_in: u64,
    /// Messages queued by sends.
    pub messages_out: u64,
    /// Bytes received that no callback saw, because the connection was closing.
    pub bytes_discarded: u64,
    /// The server it belonged to.
    pub server: &'a Server,
}
