//! Every limit by its name, with its default and its range, each said once: what is checked, what
//! `Default` gives, and what the table of `docs/guide/limits.md` says are the same constants.

use crate::ConfigError;
use longshore_proto::connection::Linger;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

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

    pub(crate) fn default_in_words(&self) -> String {
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
pub(crate) const SEND_QUEUE_MESSAGES: Limit<u32> =
    Limit::new("limits.send_queue_messages", u32::MAX, 1..=u32::MAX);
pub(crate) const SEND_QUEUE_FILES: Limit<u32> =
    Limit::new("limits.send_queue_files", 256, 1..=1 << 20);
/// Of a transfer: from an offer or a question to its answer, and from the end of a file to the word that
/// it is there.
pub(crate) const FILE_START: TimeLimit =
    TimeLimit::new("limits.file_start", Duration::from_secs(30));
/// In each such time it has to get on.
pub(crate) const FILE_STALL: TimeLimit =
    TimeLimit::new("limits.file_stall", Duration::from_secs(10));
/// The other side may hold a file for so long in all.
pub(crate) const FILE_HOLD: TimeLimit =
    TimeLimit::new("limits.file_hold", Duration::from_secs(600));
pub(crate) const FILE_RATE: Limit<u32> = Limit::new("limits.file_rate", 1 << 10, 1..=u32::MAX);
pub(crate) const FILES_RUNNING: Limit<u32> = Limit::new("limits.files_running", 16, 1..=256);
pub(crate) const FILES_SERVED: Limit<u32> = Limit::new("limits.files_served", 64, 1..=1 << 10);
pub(crate) const FILES_WAITING: Limit<u32> = Limit::new("limits.files_waiting", 1_024, 1..=1 << 20);
pub(crate) const FILE_WINDOW_BYTES: Limit<u64> =
    Limit::new("limits.file_window_bytes", 2 << 20, 128 << 10..=1 << 30);
/// None is its default, and the queue its bound.
pub(crate) const SEND_QUEUE_SOFT_BYTES: &str = "limits.send_queue_soft_bytes";
pub(crate) const SEND_QUEUE_SOFT: TimeLimit =
    TimeLimit::new("limits.send_queue_soft", Duration::from_secs(10));
pub(crate) const POSTS: Limit<u32> = Limit::new("limits.posts", 1_024, 1..=1 << 20);
pub(crate) const LINGER_WAIT: TimeLimit =
    TimeLimit::new("limits.linger.wait", Linger::DEFAULT.wait);
pub(crate) const LINGER_TOTAL: TimeLimit =
    TimeLimit::new("limits.linger.total", Linger::DEFAULT.total);
pub(crate) const DRAIN_WITHIN: TimeLimit = TimeLimit::new("drain_within", Duration::from_secs(30));
/// Of a group: bytes of broadcasts on their way to one worker. Or the longest frame of its codec, if
/// that is more.
pub(crate) const GROUP_PENDING_BYTES: u64 = 4 << 20;
/// Groups by key, unless said otherwise.
pub(crate) const GROUPS_MAX: usize = 65_536;
/// Keys of owners, unless said otherwise.
pub(crate) const OWNERS_MAX: usize = 1 << 20;
/// Of one attempt to connect.
pub(crate) const CONNECT: TimeLimit = TimeLimit::new("connector.timeout", Duration::from_secs(10));
/// Most that a worker looks before it sleeps, in microseconds.
pub(crate) const SPIN_MICROS: Limit<u64> = Limit::new("spin (in µs)", 10, 0..=1_000);
/// Longer callbacks are named in the log.
pub(crate) const SLOW_CALLBACK: TimeLimit =
    TimeLimit::new("slow_callback", Duration::from_millis(100));
/// It is the codec's.
pub(crate) const FRAME_BYTES_MAX: &str = "frame_bytes_max";
