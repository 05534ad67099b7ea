//! The limits of one listener or connector.

use super::limit::{
    FILE_HOLD, FILE_RATE, FILE_STALL, FILE_START, FILE_WINDOW_BYTES, FILES_RUNNING, FILES_SERVED,
    FILES_WAITING, FIRST_BYTE, FRAME, FRAME_BYTES_MAX, FRAME_RATE, IDLE, LINGER_TOTAL, LINGER_WAIT,
    LOGIN, PER_SOURCE, POSTS, RECV_CREDIT_BYTES, SEND_QUEUE_BYTES, SEND_QUEUE_FILES,
    SEND_QUEUE_LOW_BYTES, SEND_QUEUE_LOW_PART, SEND_QUEUE_MESSAGES, SEND_QUEUE_SOFT,
    SEND_QUEUE_SOFT_BYTES, WRITE, in_range,
};
use crate::ConfigError;
use longshore_proto::Codec;
use longshore_proto::connection::{IdleOf, Linger};
use std::time::Duration;

/// Most bytes of a send that may be with the kernel without its worker being told at once.
const QUIET_BYTES_MAX: u64 = 4 * 1024;

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
    /// The send is well, and its message is dropped and counted. For what is soon said again.
    DropNewest,
    /// The send is well; for it the oldest whole message is dropped and counted that has not begun to
    /// leave. If there is none, its own is. For news of which the latest count. Messages are kept
    /// one by one for it, which costs an allocation each.
    DropOldest,
}

impl SlowReader {
    pub(crate) fn drops(self) -> bool {
        matches!(self, Self::DropNewest | Self::DropOldest)
    }

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
/// ```
/// use longshore::{Limits, Lines, Listener, SlowReader};
/// use std::time::Duration;
///
/// let limits = Limits::new()
///     .login(Duration::from_secs(10)) // until `cx.admit()`
///     .idle(Duration::from_secs(60))
///     .send_queue_bytes(256 * 1024)
///     .slow_reader(SlowReader::Refuse);
/// let listener = Listener::tcp("127.0.0.1:0", Lines::max(1024)).limits(limits);
/// ```
///
/// Rules per source do not count loopback peers, unless [`count_loopback`](Self::count_loopback)
/// says so.
#[derive(Clone, Debug)]
#[must_use = "limits do nothing until they are given to a listener"]
pub struct Limits {
    pub(crate) per_source: u32,
    pub(crate) count_loopback: bool,
    pub(crate) first_byte: Duration,
    pub(crate) login: Duration,
    pub(crate) frame: Duration,
    pub(crate) frame_rate: u32,
    pub(crate) idle: Duration,
    pub(crate) idle_of: IdleOf,
    pub(crate) write: Duration,
    pub(crate) recv_credit_bytes: u32,
    pub(crate) send_queue_bytes: u64,
    pub(crate) send_queue_low_bytes: Option<u64>,
    pub(crate) send_queue_messages: u32,
    pub(crate) send_queue_files: u32,
    pub(crate) send_queue_soft_bytes: Option<u64>,
    pub(crate) send_queue_soft: Duration,
    pub(crate) posts: u32,
    pub(crate) file_start: Duration,
    pub(crate) file_stall: Duration,
    pub(crate) file_hold: Duration,
    pub(crate) file_rate: u32,
    pub(crate) files_running: u32,
    pub(crate) files_served: u32,
    pub(crate) files_waiting: u32,
    pub(crate) file_window_bytes: u64,
    pub(crate) slow_reader: SlowReader,
    pub(crate) half_close: HalfClose,
    pub(crate) linger: Linger,
    /// Bytes of a send whose end nobody has to be told of at once.
    pub(crate) quiet_bytes: u64,
    says: Says,
}

/// What the user has said of what else depends on the role or on the codec.
#[derive(Clone, Copy, Debug, Default)]
struct Says {
    first_byte: bool,
    idle_of: bool,
    send_queue: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            per_source: PER_SOURCE.default,
            count_loopback: false,
            first_byte: Role::SERVES.first_byte,
            login: LOGIN.default,
            frame: FRAME.default,
            frame_rate: FRAME_RATE.default,
            idle: IDLE.default,
            idle_of: Role::SERVES.idle_of,
            write: WRITE.default,
            recv_credit_bytes: RECV_CREDIT_BYTES.default,
            send_queue_bytes: SEND_QUEUE_BYTES.default,
            send_queue_low_bytes: None,
            send_queue_messages: SEND_QUEUE_MESSAGES.default,
            send_queue_files: SEND_QUEUE_FILES.default,
            send_queue_soft_bytes: None,
            send_queue_soft: SEND_QUEUE_SOFT.default,
            posts: POSTS.default,
            file_start: FILE_START.default,
            file_stall: FILE_STALL.default,
            file_hold: FILE_HOLD.default,
            file_rate: FILE_RATE.default,
            files_running: FILES_RUNNING.default,
            files_served: FILES_SERVED.default,
            files_waiting: FILES_WAITING.default,
            file_window_bytes: FILE_WINDOW_BYTES.default,
            slow_reader: SlowReader::default(),
            half_close: HalfClose::default(),
            linger: Linger::default(),
            quiet_bytes: 0,
            says: Says::default(),
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
        (self.first_byte, self.says.first_byte) = (within, true);
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
    /// it takes at [`frame_rate`](Self::frame_rate) more. A chunk of a file is not
    /// waited for: how fast it comes is [`file_rate`](Self::file_rate)'s. Default 20 s; zero is for ever.
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
        (self.idle_of, self.says.idle_of) = (whose, true);
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

    /// Most [posts](crate::Conn::post) to one connection that wait for their turn, 1 to 1,048,576.
    /// Default 1,024.
    pub fn posts(mut self, most: u32) -> Self {
        self.posts = most;
        self
    }

    /// How long an offer of a file, or a question for one, may be without an answer, and how long the
    /// receiver may take to say that a whole file is there. As long as it says anything of other files it
    /// has time for these. What is there already, or has to be made safe, gives more: a second for each
    /// 32 MiB. Default 30 s; zero is for ever.
    pub fn file_start(mut self, within: Duration) -> Self {
        self.file_start = within;
        self
    }

    /// In each such time a file has to get on by what [`file_rate`](Self::file_rate) makes of it, on either
    /// side; time that is spent waiting for our own disk, or in a hold, does not count. Default 10 s; zero
    /// is for ever.
    pub fn file_stall(mut self, within: Duration) -> Self {
        self.file_stall = within;
        self
    }

    /// How long in all the peer may hold a file that it sends or receives; then it is given up. Nothing is
    /// counted while it does not hold, and nothing bounds how long we hold one ourselves, beside the peer.
    /// Default 10 min; zero is for ever, with the file open and its room taken.
    pub fn file_hold(mut self, within: Duration) -> Self {
        self.file_hold = within;
        self
    }

    /// Bytes in a second at which a file has to get on, 1 to 2^32 - 1. Default 1,024.
    pub fn file_rate(mut self, bytes: u32) -> Self {
        self.file_rate = bytes;
        self
    }

    /// Files that one connection receives at a time, 1 to 256; others that were accepted wait. Default 16.
    pub fn files_running(mut self, most: u32) -> Self {
        self.files_running = most;
        self
    }

    /// Files that are open at a time because one peer has asked for them, 1 to 1,024: from the question until
    /// all of them is read. What it asks for beyond waits. Default 64.
    pub fn files_served(mut self, most: u32) -> Self {
        self.files_served = most;
        self
    }

    /// Files that one connection may have offered, and that are not over, 1 to 1,048,576. Default 1,024.
    pub fn files_waiting(mut self, most: u32) -> Self {
        self.files_waiting = most;
        self
    }

    /// Bytes that a peer may send of all its files together before they are written, 128 KiB to 1 GiB;
    /// each file may be sent 128 KiB in any case. A peer that is far away needs as much as goes over the
    /// line in the time of a round trip. Default 2 MiB.
    pub fn file_window_bytes(mut self, bytes: u64) -> Self {
        self.file_window_bytes = bytes;
        self
    }

    /// Most bytes that wait to be sent to one peer, 1 KiB to 4 GiB, and at least the longest frame of
    /// the codec. Default 4 MiB, or that frame if it is longer.
    pub fn send_queue_bytes(mut self, bytes: u64) -> Self {
        (self.send_queue_bytes, self.says.send_queue) = (bytes, true);
        self
    }

    /// Bytes in the send queue at which `on_writable` comes after a refusal. Default a quarter of
    /// [`send_queue_bytes`](Self::send_queue_bytes); at most that.
    pub fn send_queue_low_bytes(mut self, bytes: u64) -> Self {
        self.send_queue_low_bytes = Some(bytes);
        self
    }

    /// Most messages that wait behind a send of one peer that is not answered, 1 to 2^32 - 1, which is
    /// `u32::MAX`, for as many as [`send_queue_bytes`](Self::send_queue_bytes) takes. Default that. With
    /// a number messages are kept one by one, which costs an allocation each.
    pub fn send_queue_messages(mut self, most: u32) -> Self {
        self.send_queue_messages = most;
        self
    }

    /// Most files of [`Ctx::send_file`](crate::Ctx::send_file) that wait to be sent to one peer, the one
    /// that is being sent included, 1 to 1,048,576. Default 256. Their bytes take no memory, and do not
    /// count against [`send_queue_bytes`](Self::send_queue_bytes).
    pub fn send_queue_files(mut self, most: u32) -> Self {
        self.send_queue_files = most;
        self
    }

    /// Bytes in the send queue that may be exceeded for [`send_queue_soft`](Self::send_queue_soft) only:
    /// who has not caught up by then is ended, whatever the policy, as
    /// [`FellBehind`](crate::DisconnectReason::FellBehind). At most `send_queue_bytes`. Default none.
    pub fn send_queue_soft_bytes(mut self, bytes: u64) -> Self {
        self.send_queue_soft_bytes = Some(bytes);
        self
    }

    /// How long more than [`send_queue_soft_bytes`](Self::send_queue_soft_bytes) may wait without a
    /// break. Default 10 s; zero is for ever.
    pub fn send_queue_soft(mut self, within: Duration) -> Self {
        self.send_queue_soft = within;
        self
    }

    /// What happens at the bound of the queue, in bytes or in messages. Default
    /// [`SlowReader::Disconnect`].
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

    /// Whether messages are kept one by one until they leave.
    pub(crate) fn keeps_whole(&self) -> bool {
        self.slow_reader == SlowReader::DropOldest || self.counts_messages()
    }

    /// Whether there is a bound in messages.
    pub(crate) fn counts_messages(&self) -> bool {
        self.send_queue_messages != SEND_QUEUE_MESSAGES.default
    }

    /// Bytes in the send queue at which it is writable again.
    pub(crate) fn low_mark(&self) -> u64 {
        self.send_queue_low_bytes.unwrap_or(self.send_queue_bytes / SEND_QUEUE_LOW_PART)
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        PER_SOURCE.check(self.per_source)?;
        FRAME_RATE.check(self.frame_rate)?;
        RECV_CREDIT_BYTES.check(self.recv_credit_bytes)?;
        POSTS.check(self.posts)?;
        FILE_RATE.check(self.file_rate)?;
        FILES_RUNNING.check(self.files_running)?;
        FILES_SERVED.check(self.files_served)?;
        FILES_WAITING.check(self.files_waiting)?;
        FILE_WINDOW_BYTES.check(self.file_window_bytes)?;
        let bytes = self.send_queue_bytes;
        SEND_QUEUE_BYTES.check(bytes)?;
        let default = format!("1/{SEND_QUEUE_LOW_PART} of it");
        in_range(SEND_QUEUE_LOW_BYTES, self.low_mark(), 0..=bytes, &default)?;
        SEND_QUEUE_MESSAGES.check(self.send_queue_messages)?;
        SEND_QUEUE_FILES.check(self.send_queue_files)?;
        let soft = self.send_queue_soft_bytes.unwrap_or(bytes);
        in_range(SEND_QUEUE_SOFT_BYTES, soft, 0..=bytes, "none")?;
        for (limit, value) in [
            (FILE_START, self.file_start),
            (FILE_STALL, self.file_stall),
            (FILE_HOLD, self.file_hold),
            (FIRST_BYTE, self.first_byte),
            (LOGIN, self.login),
            (FRAME, self.frame),
            (IDLE, self.idle),
            (WRITE, self.write),
            (SEND_QUEUE_SOFT, self.send_queue_soft),
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

    /// Says what the role and the codec say where nothing else was said.
    pub(crate) fn settled<C: Codec>(mut self, role: Role, codec: &C) -> Self {
        if !self.says.first_byte {
            self.first_byte = role.first_byte;
        }
        if !self.says.idle_of {
            self.idle_of = role.idle_of;
        }
        if !self.says.send_queue {
            self.send_queue_bytes = self.send_queue_bytes.max(codec.frame_bytes_max() as u64);
        }
        // What has left and is not told counts as queued: the longest frame must fit beside it.
        let spare = self.send_queue_bytes.saturating_sub(codec.frame_bytes_max() as u64);
        self.quiet_bytes = QUIET_BYTES_MAX.min(spare);
        self
    }
}

/// Whether the longest frame of `codec` fits the send queue.
pub(crate) fn check_frame_bytes<C: Codec>(codec: &C, limits: &Limits) -> Result<(), ConfigError> {
    let (frame, queue) = (codec.frame_bytes_max() as u64, limits.send_queue_bytes);
    let most = *SEND_QUEUE_BYTES.range.end();
    in_range(FRAME_BYTES_MAX, frame, 1..=most, "the codec's")?;
    if limits.says.send_queue && frame > queue {
        return Err(ConfigError::Contradiction(format!(
            "{} = {queue} is less than the longest frame of the codec ({FRAME_BYTES_MAX} = {frame}), \
             so no such frame could be sent; raise the one or lower the other",
            SEND_QUEUE_BYTES.name
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{
        CONNECTIONS, DRAIN_WITHIN, DURATION_MAX, Limit, MEMORY, MEMORY_PART, SLOW_CALLBACK,
        TimeLimit,
    };
    use crate::metrics::doc_table;
    use crate::{DisconnectReason, Snapshot};
    use std::fmt::Display;

    /// A number of bytes as people write it.
    fn bytes(count: u64) -> String {
        if count == u64::MAX {
            return "unlimited".into();
        }
        let units = [(30, "GiB"), (20, "MiB"), (10, "KiB"), (0, "B")];
        let fits = |(shift, _): &&(u32, _)| count.trailing_zeros() >= *shift;
        let (shift, unit) = units.iter().find(fits).unwrap();
        format!("{} {unit}", count >> shift)
    }

    /// A row: name, flag of `serve`, default, range, and what happens when it is reached.
    type Row = [String; 5];

    fn row(name: &str, flag: &str, default: &str, range: &str, reached: &str) -> Row {
        [name, flag, default, range, reached].map(String::from)
    }

    fn count<T: Display>(limit: &Limit<T>, flag: &str, reached: &str) -> Row {
        let range = format!("{} to {}", limit.range.start(), limit.range.end());
        row(limit.name, flag, &limit.default.to_string(), &range, reached)
    }

    fn size<T: Copy + Into<u64>>(limit: &Limit<T>, flag: &str, reached: &str) -> Row {
        let of = |value: &T| bytes((*value).into());
        let range = format!("{} to {}", of(limit.range.start()), of(limit.range.end()));
        row(limit.name, flag, &of(&limit.default), &range, reached)
    }

    fn time(limit: &TimeLimit, flag: &str, reached: &str) -> Row {
        let days = DURATION_MAX.as_secs() / (24 * 3600);
        let range = format!("0 to {days} days");
        row(limit.name, flag, &limit.default_in_words(), &range, reached)
    }

    #[expect(clippy::too_many_lines, reason = "it is a table")]
    fn rows() -> Vec<Row> {
        // Who adds a limit is sent here by the compiler.
        let Limits {
            per_source: _,
            count_loopback,
            first_byte: _,
            login: _,
            frame: _,
            frame_rate: _,
            idle: _,
            idle_of: _,
            write: _,
            recv_credit_bytes: _,
            send_queue_bytes: _,
            send_queue_low_bytes: _,
            send_queue_messages: _,
            send_queue_files: _,
            send_queue_soft_bytes: _,
            send_queue_soft: _,
            posts: _,
            file_start: _,
            file_stall: _,
            file_hold: _,
            file_rate: _,
            files_running: _,
            files_served: _,
            files_waiting: _,
            file_window_bytes: _,
            slow_reader,
            half_close,
            linger,
            quiet_bytes: _,
            says: _,
        } = Limits::default();
        let yes_or_no = |yes| if yes { "yes" } else { "no" };
        let idle_of = [Role::SERVES, Role::PUSHES].map(|role| format!("{:?}", role.idle_of));
        let idle_of = format!("{}; {} of a `push_only` listener", idle_of[0], idle_of[1]);
        let connections = format!("{}, or 3/4 of the limit of open files", CONNECTIONS.default);
        let first_byte =
            "reason `first_byte_timeout`; none for connectors and `push_only` listeners";
        let low = format!("1/{SEND_QUEUE_LOW_PART} of the queue");
        let mut queue = size(
            &SEND_QUEUE_BYTES,
            "`--send-queue`",
            "reason `slow_reader`, or the send is refused: counter `messages_refused`",
        );
        queue[2] += ", or the longest frame of the codec";
        let mut messages = count(
            &SEND_QUEUE_MESSAGES,
            "none: an echo pushes nothing",
            "as the bytes: counter `messages_refused`",
        );
        messages[2] = "none".into();
        let policies = [SlowReader::Disconnect, SlowReader::Refuse];
        let policies = [policies, [SlowReader::DropNewest, SlowReader::DropOldest]].concat();
        let policies = policies.iter().map(|policy| format!("{policy:?}")).collect::<Vec<_>>();
        let policies = policies.join(", ");
        let mut most = count(&CONNECTIONS, "`--connections`", "counter `refused_connections`");
        most[2] = connections;
        let mut memory =
            size(&MEMORY, "`--memory`", "counter `refused_memory`, then reason `overload`");
        memory[2] = format!("{}, or 1/{MEMORY_PART} of what the process may use", memory[2]);
        vec![
            most,
            memory,
            count(&PER_SOURCE, "`--connections-per-source`", "counter `refused_per_source`"),
            row(
                "limits.count_loopback",
                "`--count-loopback`",
                yes_or_no(count_loopback),
                "yes, no",
                "whether the rule per source counts loopback peers",
            ),
            time(&FIRST_BYTE, "`--first-byte`", first_byte),
            time(&LOGIN, "`--login`", "reason `login_timeout`"),
            time(&FRAME, "`--frame`", "reason `frame_timeout`"),
            size(&FRAME_RATE, "`--frame-rate`", "in a second; reason `frame_timeout`"),
            row(
                FRAME_BYTES_MAX,
                "none: it is the codec's",
                "the codec's",
                "1 B to 4 GiB, and at most the send queue",
                "reason `frame_too_long`",
            ),
            time(&IDLE, "`--idle`", "`on_idle` decides; reason `idle_timeout`"),
            row(
                "limits.idle_of",
                "`--idle-of`",
                &idle_of,
                "Receiving, Sending, Both",
                "whose silence the idle time counts",
            ),
            time(&WRITE, "`--write`", "reason `write_stalled`"),
            size(
                &RECV_CREDIT_BYTES,
                "`--recv-credit`",
                "nothing more is received, and TCP holds the peer",
            ),
            queue,
            row(
                SEND_QUEUE_LOW_BYTES,
                "`--send-queue-low`",
                &low,
                "0 B to the queue",
                "after a refusal: `on_writable`",
            ),
            messages,
            count(
                &SEND_QUEUE_FILES,
                "none: an echo has none",
                "the file is refused: counter `files_refused`",
            ),
            row(
                SEND_QUEUE_SOFT_BYTES,
                "none: an echo pushes nothing",
                "none",
                "0 B to the queue",
                "for `limits.send_queue_soft`: reason `fell_behind`",
            ),
            time(&SEND_QUEUE_SOFT, "none: an echo pushes nothing", "reason `fell_behind`"),
            count(&POSTS, "none: an echo has none", "the post is refused: counter `posts_refused`"),
            time(&FILE_START, "`--file-start`", "the file ends with `timed_out`, on both sides"),
            time(
                &FILE_STALL,
                "`--file-stall`",
                "`limits.file_rate` has to be kept in each such time",
            ),
            time(&FILE_HOLD, "`--file-hold`", "the file ends with `timed_out`, on both sides"),
            size(
                &FILE_RATE,
                "`--file-rate`",
                "in a second; the file ends with `timed_out`, on both sides",
            ),
            count(&FILES_RUNNING, "`--files-running`", "others wait until one of them is over"),
            count(&FILES_SERVED, "`--files-served`", "what is asked for beyond waits"),
            count(&FILES_WAITING, "none: it offers nothing", "the offer is refused: `busy`"),
            size(
                &FILE_WINDOW_BYTES,
                "`--file-window`",
                "senders wait until it is written; each file has 128 KiB at least",
            ),
            row(
                "limits.slow_reader",
                "none: an echo refuses",
                &format!("{slow_reader:?}"),
                &policies,
                "what a full send queue ends: the connection, the send, or a message",
            ),
            row(
                "limits.half_close",
                "`--half-close`",
                &format!("{half_close:?}"),
                &format!("{:?}, {:?}", HalfClose::Flush, HalfClose::Close),
                "what the end of the peer's stream leaves of what is queued",
            ),
            time(&LINGER_WAIT, "`--linger`", "a close waits no longer for the peer's end"),
            time(&LINGER_TOTAL, "`--linger-total`", "a close gives up what is still queued"),
            row(
                "limits.linger.bytes",
                "`--linger-bytes`",
                &bytes(linger.bytes),
                "any",
                "a close reads no more, and TCP holds the peer",
            ),
            time(&DRAIN_WITHIN, "`--drain`", "counter `shutdown_aborted`"),
            time(&SLOW_CALLBACK, "none: an echo is quick", "counter `slow_callbacks`"),
        ]
    }

    #[test]
    fn the_guide_has_each_limit_as_it_is() {
        let head = ["limit", "flag of `serve`", "default", "range", "when it is reached"];
        doc_table::check("docs/guide/limits.md", head, &rows());
    }

    /// R84: the value of a limit and what to do about it stand behind its name.
    #[test]
    fn what_a_limit_refuses_or_ends_is_told_with_its_name() {
        let reasons: Vec<_> =
            DisconnectReason::rows().into_iter().map(|[name, _, log, _]| [name, log]).collect();
        let mut told = 0;
        for [limit, .., reached] in rows() {
            for (what, texts) in [("reason `", &reasons), ("counter `", &Snapshot::rows())] {
                let Some((_, name)) = reached.split_once(what) else { continue };
                let (name, _) = name.split_once('`').unwrap();
                let [_, text] = texts.iter().find(|row| row[0] == name).unwrap();
                assert!(text.contains(&limit), "{name} does not name {limit}: {text}");
                told += 1;
            }
        }
        assert!(told >= 10, "only {told}");
    }
}
