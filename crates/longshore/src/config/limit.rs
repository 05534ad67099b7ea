//! Every limit by its name, with its default and its range, each said once: what is checked, what
//! `Default` gives, and what the table of `docs/guide/limits.md` says are the same constants.

use super::{DURATION_MAX, check_duration, in_range};
use crate::ConfigError;
use longshore_proto::connection::Linger;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

/// A limit that is a number.
#[derive(Debug)]
pub(crate) struct Limit<T> {
    pub(crate) name: &'static str,
    pub(crate) default: T,
    pub(crate) range: RangeInclusive<T>,
}

impl<T: PartialOrd + Display + Copy> Limit<T> {
    const fn new(name: &'static str, default: T, range: RangeInclusive<T>) -> Self {
        Self { name, default, range }
    }

    pub(crate) fn check(&self, value: T) -> Result<(), ConfigError> {
        in_range(self.name, value, self.range.clone(), &self.default.to_string())
    }
}

/// A limit that is a time: up to [`DURATION_MAX`], zero for none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimeLimit {
    pub(crate) name: &'static str,
    pub(crate) default: Duration,
}

impl TimeLimit {
    const fn new(name: &'static str, default: Duration) -> Self {
        assert!(default.as_secs() <= DURATION_MAX.as_secs());
        Self { name, default }
    }

    pub(crate) fn check(&self, value: Duration) -> Result<(), ConfigError> {
        check_duration(self.name, value, &self.default_in_words())
    }

    fn default_in_words(&self) -> String {
        if self.default.is_zero() { "none".into() } else { format!("{:?}", self.default) }
    }
}

/// Unless the limit of open files is lower.
pub(crate) const CONNECTIONS: Limit<usize> = Limit::new("limits.connections", 10_000, 1..=1 << 26);
/// Or that part of what the process may use, if that is less.
pub(crate) const MEMORY: Limit<u64> = Limit::new("limits.memory", 256 << 20, 1 << 20..=u64::MAX);
pub(crate) const MEMORY_PART: u64 = 4;
pub(crate) const PER_SOURCE: Limit<u32> =
    Limit::new("limits.connections_per_source", 256, 1..=u32::MAX);
pub(crate) const FIRST_BYTE: TimeLimit =
    TimeLimit::new("limits.first_byte", Duration::from_secs(10));
pub(crate) const LOGIN: TimeLimit = TimeLimit::new("limits.login", Duration::ZERO);
pub(crate) const FRAME: TimeLimit = TimeLimit::new("limits.frame", Duration::from_secs(20));
pub(crate) const FRAME_RATE: Limit<u32> = Limit::new("limits.frame_rate", 8 << 10, 1..=u32::MAX);
pub(crate) const IDLE: TimeLimit = TimeLimit::new("limits.idle", Duration::from_secs(300));
pub(crate) const WRITE: TimeLimit = TimeLimit::new("limits.write", Duration::from_secs(10));
pub(crate) const RECV_CREDIT_BYTES: Limit<u32> =
    Limit::new("limits.recv_credit_bytes", 256 << 10, 1 << 10..=1 << 30);
pub(crate) const SEND_QUEUE_BYTES: Limit<u64> =
    Limit::new("limits.send_queue_bytes", 4 << 20, 1 << 10..=1 << 32);
/// Its default is that part of the queue, and the queue its bound.
pub(crate) const SEND_QUEUE_LOW_BYTES: &str = "limits.send_queue_low_bytes";
pub(crate) const SEND_QUEUE_LOW_PART: u64 = 4;
pub(crate) const LINGER_WAIT: TimeLimit =
    TimeLimit::new("limits.linger.wait", Linger::DEFAULT.wait);
pub(crate) const LINGER_TOTAL: TimeLimit =
    TimeLimit::new("limits.linger.total", Linger::DEFAULT.total);
pub(crate) const DRAIN_WITHIN: TimeLimit = TimeLimit::new("drain_within", Duration::from_secs(30));
/// It is the codec's.
pub(crate) const FRAME_BYTES_MAX: &str = "frame_bytes_max";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{HalfClose, Limits, Role, SlowReader};
    use crate::metrics::doc_table;
    use crate::{DisconnectReason, Snapshot};

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
            slow_reader,
            half_close,
            linger,
        } = Limits::default();
        let yes_or_no = |yes| if yes { "yes" } else { "no" };
        let idle_of = [Role::SERVES, Role::PUSHES].map(|role| format!("{:?}", role.idle_of));
        let idle_of = format!("{}; {} of a `push_only` listener", idle_of[0], idle_of[1]);
        let connections =
            format!("{}, or 64 less than the limit of open files", CONNECTIONS.default);
        let first_byte =
            "reason `first_byte_timeout`; none for connectors and `push_only` listeners";
        let low = format!("1/{SEND_QUEUE_LOW_PART} of the queue");
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
                "1 B to the send queue",
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
            size(
                &SEND_QUEUE_BYTES,
                "`--send-queue`",
                "reason `slow_reader`, or the send is refused: counter `messages_refused`",
            ),
            row(
                SEND_QUEUE_LOW_BYTES,
                "`--send-queue-low`",
                &low,
                "0 B to the queue",
                "after a refusal: `on_writable`",
            ),
            row(
                "limits.slow_reader",
                "none: an echo refuses",
                &format!("{slow_reader:?}"),
                &format!("{:?}, {:?}", SlowReader::Disconnect, SlowReader::Refuse),
                "what a full send queue ends: the connection, or the send",
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
