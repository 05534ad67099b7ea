//! Counters of a worker: written by one thread, read by any.

use crate::DisconnectReason;
use std::sync::atomic::{AtomicU64, Ordering};

/// A number that one thread counts up and others read. No read-modify-write on the hot path.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Only the owning thread may call this.
    #[inline]
    pub(crate) fn add(&self, more: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
    }

    fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What one worker counts.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: Counter,)*
            pub(crate) disconnects: [Counter; DisconnectReason::NAMES.len()],
        }

        /// All counters of a server at one time, summed over its workers. Each only grows, but for
        /// `connections`.
        #[derive(Clone, PartialEq, Eq, Debug, Default)]
        #[non_exhaustive]
        pub struct Snapshot {
            /// Connections that are open now.
            pub connections: u64,
            $($(#[$doc])* pub $name: u64,)*
            /// Ended connections, by [`DisconnectReason::index`].
            pub disconnects: [u64; DisconnectReason::NAMES.len()],
        }

        impl Snapshot {
            pub(crate) fn add(&mut self, counters: &Counters) {
                $(self.$name += counters.$name.read();)*
                for (sum, counter) in self.disconnects.iter_mut().zip(&counters.disconnects) {
                    *sum += counter.read();
                }
            }

            /// Names and values of all plain counters, for a log or a metrics page.
            pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [("connections", self.connections), $((stringify!($name), self.$name),)*].into_iter()
            }
        }
    };
}

counters! {
    /// Connections accepted.
    accepted,
    /// Connections made to others.
    connected,
    /// Attempts to connect that failed.
    connect_failed,
    /// Refused: `limits.connections` of the server reached.
    refused_connections,
    /// Refused: `limits.connections_per_source` reached.
    refused_per_source,
    /// Refused by a factory.
    refused_by_factory,
    /// Refused: the socket could not be taken in.
    refused_by_system,
    /// Accepting failed and was tried again later: out of descriptors or memory.
    accept_backoffs,
    /// Accepting failed for one connection that was gone already.
    accept_passing_errors,
    /// Connections ended.
    closed,
    /// Bytes received.
    bytes_in,
    /// Bytes that the kernel took.
    bytes_out,
    /// Frames handed to `on_message`.
    messages_in,
    /// Messages queued.
    messages_out,
    /// Messages refused because a queue was full.
    messages_refused,
    /// Bytes received that no callback saw, because the connection was closing.
    bytes_discarded,
    /// Panics caught in callbacks.
    panics,
    /// Turns of the workers.
    turns,
    /// Completions handled.
    completions,
    /// Connections aborted because a shutdown's time was up.
    shutdown_aborted,
}

/// What handles on any thread count for a lane.
#[derive(Debug, Default)]
pub(crate) struct LaneCounters {
    refused: AtomicU64,
}

impl LaneCounters {
    pub(crate) fn sends_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}
