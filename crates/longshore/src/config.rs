//! Settings with their defaults, and the check that they can work.

mod limit;

use crate::ConfigError;
pub(crate) use limit::*;
use longshore_port::SocketOptions;
use longshore_proto::Codec;
use longshore_proto::connection::{IdleOf, Linger};
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

/// What happens when a peer reads more slowly than it is sent to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum SlowReader {
    /// The send fails and the connection ends with
    /// [`SlowReader`](crate::DisconnectReason::SlowReader).
    #[default]
    Disconnect,
    /// The send fails, the connection stays; `on_writable` comes at the low mark. What flow control
    /// needs.
    Refuse,
}

impl SlowReader {
    pub(crate) fn disconnects(self) -> bool {
        self == Self::Disconnect
    }
}

/// What happens when the peer ends its stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum HalfClose {
    /// What is queued is still sent, then the connection closes.
    #[default]
    Flush,
    /// It closes at once.
    Close,
}

/// What a connection goes by where its limits do not say it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Role {
    first_byte: Duration,
    idle_of: IdleOf,
}

impl Role {
    /// Of a listener whose clients speak first.
    pub(crate) const SERVES: Self =
        Self { first_byte: FIRST_BYTE.default, idle_of: IdleOf::Receiving };
    /// Of one whose clients only listen.
    pub(crate) const PUSHES: Self = Self { first_byte: Duration::ZERO, idle_of: IdleOf::Both };
    /// Of a connector, whose server may wait for us.
    pub(crate) const CALLS: Self = Self { first_byte: Duration::ZERO, idle_of: IdleOf::Receiving };
}

/// The limits of one listener or connector. Everything has a default; a zero duration means that
/// there is no such deadline.
///
/// Rules per source do not count loopback peers, unless [`count_loopback`](Self::count_loopback)
/// says so.
#[derive(Clone, Debug)]
#[must_use = "limits do nothing until they are given to a listener"]
pub struct Limits {
    pub(crate) per_source: u32,
    pub(crate) count_loopback: bool,
    /// Without one, that of a listener or of a connector.
    first_byte: Option<Duration>,
    pub(crate) login: Duration,
    pub(crate) frame: Duration,
    pub(crate) frame_rate: u32,
    pub(crate) idle: Duration,
    idle_of: Option<IdleOf>,
    pub(crate) write: Duration,
    pub(crate) recv_credit_bytes: u32,
    pub(crate) send_queue_bytes: u64,
    pub(crate) send_queue_low_bytes: Option<u64>,
    pub(crate) slow_reader: SlowReader,
    pub(crate) half_close: HalfClose,
    pub(crate) linger: Linger,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            per_source: PER_SOURCE.default,
            count_loopback: false,
            first_byte: None,
            login: LOGIN.default,
            frame: FRAME.default,
            frame_rate: FRAME_RATE.default,
            idle: IDLE.default,
            idle_of: None,
            write: WRITE.default,
            recv_credit_bytes: RECV_CREDIT_BYTES.default,
            send_queue_bytes: SEND_QUEUE_BYTES.default,
            send_queue_low_bytes: None,
            slow_reader: SlowReader::default(),
            half_close: HalfClose::default(),
            linger: Linger::default(),
        }
    }
}

impl Limits {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Most connections of one source at a time: an IPv4 address, or the /64 of an IPv6 one.
    /// 1 to 2^32 - 1, which is `u32::MAX`, for unlimited. Default 256.
    pub fn connections_per_source(mut self, count: u32) -> Self {
        self.per_source = count;
        self
    }

    /// Whether rules per source count loopback peers too. Default no.
    pub fn count_loopback(mut self, yes: bool) -> Self {
        self.count_loopback = yes;
        self
    }

    /// How long a peer may be connected without sending a byte. Default 10 s for the peers of a
    /// listener, none for those of a connector and of a listener that is
    /// [`push_only`](crate::Listener::push_only); zero is none.
    pub fn first_byte(mut self, within: Duration) -> Self {
        self.first_byte = Some(within);
        self
    }

    /// How long a peer may be connected until its handler calls [`Ctx::admit`](crate::Ctx::admit),
    /// or [`Conn::admit`](crate::Conn::admit). Default zero, which is none: only the handler knows
    /// what a log-in is.
    pub fn login(mut self, within: Duration) -> Self {
        self.login = within;
        self
    }

    /// How long a peer may take for a frame, from its first byte on; each byte gives it the time that
    /// it takes at [`frame_rate`](Self::frame_rate) more. Default 20 s; zero is for ever.
    pub fn frame(mut self, within: Duration) -> Self {
        self.frame = within;
        self
    }

    /// Bytes in a second at which a large frame has to come, 1 to 2^32 - 1. Default 8,192.
    pub fn frame_rate(mut self, bytes: u32) -> Self {
        self.frame_rate = bytes;
        self
    }

    /// Silence after which `on_idle` is asked. Default 300 s; zero is never.
    pub fn idle(mut self, after: Duration) -> Self {
        self.idle = after;
        self
    }

    /// Whose silence that is. Default [`IdleOf::Receiving`], that of the peer, and [`IdleOf::Both`]
    /// for a listener that is [`push_only`](crate::Listener::push_only).
    pub fn idle_of(mut self, whose: IdleOf) -> Self {
        self.idle_of = Some(whose);
        self
    }

    /// How long a peer may take no byte of what is sent to it. Default 10 s; zero is for ever.
    ///
    /// Who acknowledges anything within that time is slow, and stays. It is looked each quarter of
    /// it, so that the end may come that much later. Where the system does not tell what was
    /// acknowledged (elsewhere than on Linux), progress shows in sends of 64 KiB each: there a peer
    /// that takes less in this time is cut as well.
    pub fn write(mut self, within: Duration) -> Self {
        self.write = within;
        self
    }

    /// Bytes that one receive of a connection may bring until it is asked for again, which is not
    /// done while frames of it wait for their turn: so much may wait for a handler that is slow.
    /// 1 KiB to 1 GiB, default 256 KiB.
    pub fn recv_credit_bytes(mut self, bytes: u32) -> Self {
        self.recv_credit_bytes = bytes;
        self
    }

    /// Most bytes that wait to be sent to one peer, 1 KiB to 4 GiB. Default 4 MiB.
    pub fn send_queue_bytes(mut self, bytes: u64) -> Self {
        self.send_queue_bytes = bytes;
        self
    }

    /// Bytes in the send queue at which `on_writable` comes after a refusal. Default a quarter of
    /// [`send_queue_bytes`](Self::send_queue_bytes); at most that.
    pub fn send_queue_low_bytes(mut self, bytes: u64) -> Self {
        self.send_queue_low_bytes = Some(bytes);
        self
    }

    /// What happens at that bound. Default [`SlowReader::Disconnect`].
    pub fn slow_reader(mut self, policy: SlowReader) -> Self {
        self.slow_reader = policy;
        self
    }

    /// What happens when the peer ends its stream. Default [`HalfClose::Flush`].
    pub fn half_close(mut self, policy: HalfClose) -> Self {
        self.half_close = policy;
        self
    }

    /// How long and how much a graceful close goes on reading. Default 5 s of silence, 30 s in
    /// all, 1 MiB. A peer that is closed for a fault has the 5 s, whatever it says meanwhile.
    pub fn linger(mut self, linger: Linger) -> Self {
        self.linger = linger;
        self
    }

    fn low_mark(&self) -> u64 {
        self.send_queue_low_bytes.unwrap_or(self.send_queue_bytes / SEND_QUEUE_LOW_PART)
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        PER_SOURCE.check(self.per_source)?;
        FRAME_RATE.check(self.frame_rate)?;
        RECV_CREDIT_BYTES.check(self.recv_credit_bytes)?;
        let bytes = self.send_queue_bytes;
        SEND_QUEUE_BYTES.check(bytes)?;
        let default = format!("1/{SEND_QUEUE_LOW_PART} of it");
        in_range(SEND_QUEUE_LOW_BYTES, self.low_mark(), 0..=bytes, &default)?;
        for (limit, value) in [
            (FIRST_BYTE, self.first_byte.unwrap_or_default()),
            (LOGIN, self.login),
            (FRAME, self.frame),
            (IDLE, self.idle),
            (WRITE, self.write),
            (LINGER_WAIT, self.linger.wait),
            (LINGER_TOTAL, self.linger.total),
        ] {
            limit.check(value)?;
        }
        if !self.linger.total.is_zero() && self.linger.total < self.linger.wait {
            return Err(ConfigError::Contradiction(format!(
                "limits.linger.total = {:?} is less than limits.linger.wait = {:?}; \
                 raise the one or lower the other",
                self.linger.total, self.linger.wait
            )));
        }
        Ok(())
    }

    /// What connections go by.
    pub(crate) fn for_conns(&self, role: Role) -> ConnLimits {
        ConnLimits {
            first_byte: self.first_byte.unwrap_or(role.first_byte),
            login: self.login,
            frame: self.frame,
            frame_rate: self.frame_rate,
            idle: self.idle,
            idle_of: self.idle_of.unwrap_or(role.idle_of),
            write: self.write,
            recv_credit_bytes: self.recv_credit_bytes,
            send_queue_bytes: self.send_queue_bytes,
            send_queue_low_bytes: self.low_mark(),
            slow_reader: self.slow_reader,
            half_close: self.half_close,
            linger: self.linger,
        }
    }
}

/// What every connection of a lane goes by.
#[derive(Debug)]
pub(crate) struct ConnLimits {
    pub(crate) first_byte: Duration,
    pub(crate) login: Duration,
    pub(crate) frame: Duration,
    pub(crate) frame_rate: u32,
    pub(crate) idle: Duration,
    pub(crate) idle_of: IdleOf,
    pub(crate) write: Duration,
    pub(crate) recv_credit_bytes: u32,
    pub(crate) send_queue_bytes: u64,
    pub(crate) send_queue_low_bytes: u64,
    pub(crate) slow_reader: SlowReader,
    pub(crate) half_close: HalfClose,
    pub(crate) linger: Linger,
}

/// A year: longer deadlines are typing errors.
pub(crate) const DURATION_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

pub(crate) fn check_duration(
    option: &'static str,
    value: Duration,
    default: &str,
) -> Result<(), ConfigError> {
    if value <= DURATION_MAX {
        return Ok(());
    }
    let range = format!("at most 366 days; 0 for no such deadline (default: {default})");
    Err(ConfigError::OutOfRange { option, value: format!("{value:?}"), range })
}

pub(crate) fn in_range<T: PartialOrd + Display + Copy>(
    option: &'static str,
    value: T,
    range: RangeInclusive<T>,
    default: &str,
) -> Result<(), ConfigError> {
    if range.contains(&value) {
        return Ok(());
    }
    let range = format!("{} to {} (default: {default})", range.start(), range.end());
    Err(ConfigError::OutOfRange { option, value: value.to_string(), range })
}

/// Whether the longest frame of `codec` fits the send queue.
pub(crate) fn check_frame_bytes<C: Codec>(codec: &C, limits: &Limits) -> Result<(), ConfigError> {
    in_range(
        FRAME_BYTES_MAX,
        codec.frame_bytes_max() as u64,
        1..=limits.send_queue_bytes,
        "the codec's; at most limits.send_queue_bytes, or no such frame could be sent",
    )
}

pub(crate) fn check_socket_options(options: &SocketOptions) -> Result<(), ConfigError> {
    if let Some(keepalive) = options.keepalive {
        let seconds = 1..=32_767;
        in_range("keepalive.idle", keepalive.idle.as_secs(), seconds.clone(), "60")?;
        in_range("keepalive.interval", keepalive.interval.as_secs(), seconds, "15")?;
        in_range("keepalive.probes", keepalive.probes, 1..=127, "4")?;
    }
    if let Some(time) = options.user_timeout {
        // What the system keeps in an `int` of milliseconds.
        let most = Duration::from_millis(i32::MAX as u64);
        if !(Duration::from_millis(1)..=most).contains(&time) {
            return Err(ConfigError::OutOfRange {
                option: "user_timeout",
                value: format!("{time:?}"),
                range: "1 ms to 24 days (default: 60s)".into(),
            });
        }
    }
    let most = i32::MAX as u32;
    for (option, bytes) in
        [("send_buf_bytes", options.send_buf_bytes), ("recv_buf_bytes", options.recv_buf_bytes)]
    {
        in_range(option, bytes.unwrap_or(1), 1..=most, "the system's choice")?;
    }
    Ok(())
}
