//! Why a connection ended.

use crate::Error;
use crate::config::Limits;
use longshore_port::{Call, ErrorKind, PortError};
use longshore_proto::FrameError;
use std::borrow::Cow;
use std::fmt;

/// Makes [`DisconnectReason`] and all that is known of each reason from one entry:
///
/// - its doc comment, which is also its row in `docs/guide/reasons.md`, and its fields;
/// - the name of its counter;
/// - `usual`, or `fault`, which is worth a warning in the log;
/// - its words;
/// - where it is a limit that was reached: which one of [`Limits`], and what to do about it.
macro_rules! reasons {
    ($(
        $(#[doc = $doc:literal])+
        $reason:ident
            $({ $($(#[$field_doc:meta])+ $field:ident: $field_type:ty,)+ })?
            $(($inner:ident: $inner_type:ty))?
            = $name:literal, $weight:ident, $words:literal $(, limit $limit:ident, $remedy:literal)?;
    )+) => {
        /// Why a connection ended.
        #[derive(Debug)]
        #[non_exhaustive]
        pub enum DisconnectReason {
            $(
                $(#[doc = $doc])+
                $reason $({ $($(#[$field_doc])+ $field: $field_type,)+ })? $(($inner_type))?,
            )+
        }

        /// The reasons without what they carry: where each has its counter and its gate.
        #[derive(Clone, Copy)]
        enum Kind {
            $($reason,)+
        }

        impl DisconnectReason {
            /// Names of all reasons, by their places.
            pub(crate) const NAMES: &[&str] = &[$($name),+];

            /// Where what is kept for each reason has this one.
            pub(crate) const fn place(&self) -> usize {
                match self {
                    $(Self::$reason { .. } => Kind::$reason as usize,)+
                }
            }

            /// The name of its kind, as counters have it: `"idle_timeout"`.
            pub const fn name(&self) -> &'static str {
                Self::NAMES[self.place()]
            }

            /// Whether it is worth a warning in the log: a limit or a fault, not the course of
            /// things.
            pub const fn is_fault(&self) -> bool {
                match self {
                    $(Self::$reason { .. } => reasons!(@$weight),)+
                }
            }

            /// In words, with the value of the limit that was reached and what to do about it.
            pub(crate) fn with_limit(&self, limits: &Limits) -> String {
                match self {
                    $($(Self::$reason => {
                        let (option, value) = (stringify!($limit), &limits.$limit);
                        format!("{} (limits.{option} = {value:?}; {})", $words, $remedy)
                    })?)+
                    other => other.to_string(),
                }
            }

            /// Name, meaning, words in the log, and whether they are a warning, of all reasons.
            #[cfg(test)]
            pub(crate) fn rows() -> Vec<[String; 4]> {
                vec![$({
                    let words = concat!($words $(, " (limits.", stringify!($limit), " = …; ", $remedy, ")")?);
                    let level = if reasons!(@$weight) { "warning" } else { "debug" };
                    [$name, concat!($($doc),+), words, level].map(String::from)
                }),+]
            }
        }

        impl fmt::Display for DisconnectReason {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$reason $({ $($field),+ })? $(($inner))? => {
                        write!(f, $words)?;
                        $(write!(f, " (limits.{})", stringify!($limit))?;)?
                    })+
                }
                Ok(())
            }
        }
    };
    (@fault) => { true };
    (@usual) => { false };
}

reasons! {
    /// The peer ended its stream, and everything was answered.
    PeerClosed = "peer_closed", usual, "peer closed";

    /// The peer reset the connection, or it broke.
    PeerReset = "peer_reset", usual, "peer reset the connection";

    /// The peer did not answer any more: neither the probes of keep-alive, nor what was sent within the
    /// user timeout.
    TimedOut = "timed_out", usual, "peer does not answer";

    /// There is no way to the peer any more.
    Unreachable = "unreachable", usual, "peer is not to be reached";

    /// The network ended the connection, not the peer.
    NetworkReset = "network_reset", usual, "the network reset the connection";

    /// The peer ended its stream within a frame.
    Truncated {
        /// Bytes of the frame that came.
        have: u64,
        /// Bytes it needs at least.
        need: u64,
    } = "truncated", fault, "peer closed after {have} of at least {need} bytes of a frame";

    /// The peer sent bytes that are no frame.
    ProtocolError(error: FrameError) = "protocol_error", fault, "protocol error: {error}";

    /// The peer announced or sent a frame longer than allowed.
    FrameTooLong {
        /// Bytes of the frame, as far as known.
        len: u64,
        /// `frame_bytes_max` of the codec.
        max: u64,
    } = "frame_too_long", fault, "frame of {len} bytes, limit is {max} (frame_bytes_max)";

    /// The peer connected, and sent nothing within `limits.first_byte`.
    FirstByteTimeout = "first_byte_timeout", fault, "sent nothing",
        limit first_byte, "Listener::push_only where clients only listen";

    /// The peer was not admitted within `limits.login`.
    LoginTimeout = "login_timeout", fault, "did not log in",
        limit login, "raise it, or call admit when it has";

    /// A frame that the peer began was not whole within `limits.frame` and the time that its bytes take
    /// at `limits.frame_rate`.
    FrameTimeout = "frame_timeout", fault, "sends a frame too slowly",
        limit frame, "raise it or lower limits.frame_rate for peers on slow lines";

    /// Silence for `limits.idle`: see `limits.idle_of` for whose.
    IdleTimeout = "idle_timeout", fault, "silent for too long",
        limit idle, "zero for never, or a ping in on_idle";

    /// The send queue passed `limits.send_queue_bytes`.
    SlowReader = "slow_reader", fault, "did not take what it was sent, its queue is full",
        limit send_queue_bytes, "raise it, or let limits.slow_reader refuse";

    /// More than `limits.send_queue_soft_bytes` waited for all of `limits.send_queue_soft`.
    FellBehind = "fell_behind", fault, "did not catch up with what it was sent",
        limit send_queue_soft, "raise it, or limits.send_queue_soft_bytes";

    /// A file that the peer was to get is shorter than it was: what was promised cannot be sent.
    SourceChanged = "source_changed", fault, "the file that was sent became shorter meanwhile";

    /// A file that the peer was to get cannot be read.
    SourceFailed(error: PortError) = "source_failed", fault, "{error}";

    /// The peer took no byte within `limits.write`.
    WriteStalled = "write_stalled", fault, "takes no bytes",
        limit write, "raise it for peers on slow lines";

    /// All connections together took most of `limits.memory`, and this one held most.
    Overload {
        /// Bytes that it held.
        held: u64,
        /// `limits.memory`.
        max: u64,
    } = "overload", fault, "held {held} bytes when most of limits.memory = {max} was taken";

    /// The system had no memory for what the peer sent.
    OutOfMemory {
        /// Bytes that were asked for.
        bytes: u64,
    } = "out_of_memory", fault, "no memory for {bytes} bytes of it";

    /// A callback returned an error.
    HandlerError(error: Error) = "handler_error", fault, "handler: {error}";

    /// A callback panicked.
    HandlerPanic(text: String) = "handler_panic", fault, "handler panicked: {text}";

    /// The server is shutting down.
    Shutdown = "shutdown", usual, "server shuts down";

    /// The handler, or a handle, closed it.
    Local = "local", usual, "closed by this side";

    /// The handler, or a handle, closed it with a reason in the user's words.
    Said(why: Cow<'static, str>) = "said", usual, "{why}";

    /// Another connection has claimed its key of owners that kick the older one.
    Replaced = "replaced", usual, "another connection took its place";

    /// `abort` was called, on it or on a handle.
    Aborted = "aborted", usual, "aborted by this side";

    /// The system refused something else.
    Io(error: PortError) = "io_error", fault, "{error}";
}

impl DisconnectReason {
    pub(crate) fn from_frame(error: FrameError) -> Self {
        match error {
            FrameError::TooLong { len, max } => Self::FrameTooLong { len, max },
            FrameError::Truncated { have, need } => Self::Truncated { have, need },
            FrameError::OutOfMemory { bytes } => Self::OutOfMemory { bytes },
            error => Self::ProtocolError(error),
        }
    }

    pub(crate) fn from_port(error: PortError) -> Self {
        match error.kind {
            ErrorKind::Shortened => Self::SourceChanged,
            _ if error.call == Call::File => Self::SourceFailed(error),
            ErrorKind::Reset => Self::PeerReset,
            ErrorKind::TimedOut => Self::TimedOut,
            ErrorKind::Unreachable => Self::Unreachable,
            ErrorKind::NetworkReset => Self::NetworkReset,
            _ => Self::Io(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Limits;
    use crate::metrics::doc_table;
    use std::collections::BTreeSet;
    use std::time::Duration;

    /// R85
    #[test]
    fn the_guide_has_each_reason_as_it_is() {
        let head = ["reason", "what it means", "in the log", "as"];
        doc_table::check("docs/guide/reasons.md", head, &DisconnectReason::rows());
    }

    #[test]
    fn each_reason_has_a_name_of_its_own() {
        let names: BTreeSet<_> = DisconnectReason::NAMES.iter().collect();
        assert_eq!(names.len(), DisconnectReason::NAMES.len());
        assert_eq!(DisconnectReason::Aborted.name(), "aborted");
        assert_eq!(DisconnectReason::Truncated { have: 1, need: 2 }.name(), "truncated");
    }

    #[test]
    fn a_limit_that_was_reached_is_told_with_its_value_and_what_to_do() {
        let limits = Limits::new().idle(Duration::from_secs(7)).send_queue_bytes(4096);
        let limits = limits.first_byte(Duration::from_secs(3));
        let told = |reason: DisconnectReason| reason.with_limit(&limits);
        assert_eq!(
            told(DisconnectReason::FirstByteTimeout),
            "sent nothing (limits.first_byte = 3s; Listener::push_only where clients only listen)"
        );
        assert_eq!(
            told(DisconnectReason::IdleTimeout),
            "silent for too long (limits.idle = 7s; zero for never, or a ping in on_idle)"
        );
        assert!(
            told(DisconnectReason::SlowReader).contains("limits.send_queue_bytes = 4096; raise")
        );
        assert!(told(DisconnectReason::WriteStalled).contains("limits.write = 10s; raise"));
        let too_long = told(DisconnectReason::FrameTooLong { len: 9, max: 8 });
        assert_eq!(too_long, "frame of 9 bytes, limit is 8 (frame_bytes_max)");
        let reason = DisconnectReason::IdleTimeout;
        assert_eq!(reason.to_string(), "silent for too long (limits.idle)", "without its value");
        assert!(told(DisconnectReason::Said("bye".into())) == "bye" && reason.is_fault());
    }

    #[test]
    fn what_a_port_says_has_its_reason() {
        let of = |kind| DisconnectReason::from_port(PortError::new(Call::Recv, kind)).name();
        let kinds = [
            (ErrorKind::Reset, "peer_reset"),
            (ErrorKind::TimedOut, "timed_out"),
            (ErrorKind::Unreachable, "unreachable"),
            (ErrorKind::NetworkReset, "network_reset"),
            (ErrorKind::Other, "io_error"),
        ];
        for (kind, name) in kinds {
            assert_eq!(of(kind), name);
        }
        let of = |kind| DisconnectReason::from_port(PortError::new(Call::File, kind)).name();
        assert_eq!(of(ErrorKind::Shortened), "source_changed");
        assert_eq!([of(ErrorKind::Other), of(ErrorKind::Denied)], ["source_failed"; 2]);
    }
}
