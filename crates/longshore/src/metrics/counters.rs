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

/// Makes the counters of a worker and their sum, [`Snapshot`], from one entry each. The doc comment
/// is also its row in `docs/guide/reasons.md`. A refusal has its counter, and its gate in the log.
macro_rules! counters {
    (
        refusals {
            $($(#[doc = $refusal_doc:literal])+ $refusal:ident: $why:ident,)+
        }
        others {
            $($(#[doc = $doc:literal])+ $name:ident,)+
        }
    ) => {
        /// Why a connection is refused, at the door or by its factory.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(crate) enum Refused {
            $($why,)+
        }

        impl Refused {
            /// All of them, each at its place.
            pub(crate) const ALL: &[Self] = &[$(Self::$why),+];
        }

        /// What one worker counts.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $($refusal: Counter,)+
            $(pub(crate) $name: Counter,)+
            disconnects: [Counter; DisconnectReason::NAMES.len()],
        }

        impl Counters {
            /// The counter of a refusal.
            pub(crate) fn refused(&self, why: Refused) -> &Counter {
                match why {
                    $(Refused::$why => &self.$refusal,)+
                }
            }
        }

        /// All counters of a server at one time, summed over its workers. Each only grows, but for
        /// `connections` and `memory_bytes`. The guide has a
        /// table of them, `docs/guide/reasons.md`.
        #[derive(Clone, PartialEq, Eq, Debug, Default)]
        #[non_exhaustive]
        pub struct Snapshot {
            /// Connections that are open now.
            pub connections: u64,
            /// Bytes that connections hold now, of `limits.memory`: at most 64 KiB a worker from the truth.
            pub memory_bytes: u64,
            $($(#[doc = $doc])+ pub $name: u64,)+
            $($(#[doc = $refusal_doc])+ pub $refusal: u64,)+
            disconnects: [u64; DisconnectReason::NAMES.len()],
        }

        impl Snapshot {
            pub(crate) fn add(&mut self, counters: &Counters) {
                $(self.$name += counters.$name.read();)+
                $(self.$refusal += counters.$refusal.read();)+
                for (sum, counter) in self.disconnects.iter_mut().zip(&counters.disconnects) {
                    *sum += counter.read();
                }
            }

            /// Names and values of all plain counters, for a log or a metrics page: those of the
            /// fields. How connections ended is told by [`disconnects`](Self::disconnects).
            pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> {
                let others = [
                    ("connections", self.connections),
                    ("memory_bytes", self.memory_bytes),
                    $((stringify!($name), self.$name),)+
                ];
                others.into_iter().chain(self.refusals())
            }

            /// Those of them that count refused connections.
            ///
            /// ```
            /// # let snapshot = longshore::Snapshot::default();
            /// for (name, count) in snapshot.refusals() {
            ///     println!("{name} {count}"); // refused_per_source 0
            /// }
            /// ```
            pub fn refusals(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($refusal), self.$refusal),)+].into_iter()
            }

            /// Name and meaning of each.
            #[cfg(test)]
            pub(crate) fn rows() -> Vec<[String; 2]> {
                let connections = ["connections", "Connections that are open now."];
                let others = [connections, $([stringify!($name), concat!($($doc),+)],)+];
                let refusals = [$([stringify!($refusal), concat!($($refusal_doc),+)],)+];
                others.into_iter().chain(refusals).map(|row| row.map(String::from)).collect()
            }
        }
    };
}

counters! {
    refusals {
        /// Refused: `limits.connections` of the server reached.
        refused_connections: Connections,
        /// Refused: `limits.connections_per_source` reached.
        refused_per_source: PerSource,
        /// Refused by a factory, or it panicked.
        refused_by_factory: ByFactory,
        /// Refused: most of `limits.memory` of the server is taken.
        refused_memory: Memory,
        /// Refused: the socket could not be taken in.
        refused_by_system: BySystem,
        /// Accepted, and given up since the server stops.
        refused_by_shutdown: ByShutdown,
    }
    others {
        /// Connections accepted. With `connected` they are as many as `closed`, those that are open, and
        /// those refused by factory, system and shutdown.
        accepted,
        /// Connections made to others.
        connected,
        /// Attempts to connect that failed.
        connect_failed,
        /// Accepting failed and was tried again later: out of descriptors or memory.
        accept_backoffs,
        /// Accepting failed for one connection that was gone already.
        accept_passing_errors,
        /// Sends and receives that the system had no memory for, and that were tried again later.
        memory_backoffs,
        /// Connections that were not read for a while, since `limits.memory` was short and they held most.
        memory_held_back,
        /// Times that memory of a burst went back to the system.
        heap_trims,
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
        /// Messages refused because a queue was full: `limits.send_queue_bytes`, `limits.send_queue_messages`. Of a
        /// broadcast, one for each member that it was refused to.
        messages_refused,
        /// Files that were sent as they are and told to `on_file`.
        files_sent,
        /// Files that have arrived whole, here or at the peer, and were told to `on_file`.
        files_done,
        /// Files that did not, and were told to `on_file`; lists, too.
        files_failed,
        /// Files refused because too many wait to be sent on their connection: `limits.send_queue_files`.
        files_refused,
        /// Bytes of files that the system sent by itself, without a copy.
        file_bytes_direct,
        /// Bytes of files that were read and sent like others: they were not in the system's cache, a
        /// filter changes what is sent, or they were offered and have a digest.
        file_bytes_copied,
        /// Messages dropped at the same bounds, where `limits.slow_reader` says so.
        messages_dropped,
        /// Joins of groups refused because 65,536 commands wait for the worker.
        joins_refused,
        /// Claims refused because the key is taken, or there are as many keys as may be: `Owners`.
        claims_refused,
        /// Groups not made because there are as many as may be: `Groups::at_most`.
        groups_refused,
        /// Posts refused because too many wait: `limits.posts`.
        posts_refused,
        /// Posts whose connection was closing or gone before their turn.
        posts_skipped,
        /// Bytes received that no callback saw, because the connection was closing.
        bytes_discarded,
        /// Panics caught in callbacks.
        panics,
        /// Callbacks that took longer than `slow_callback`.
        slow_callbacks,
        /// Turns of the workers.
        turns,
        /// Completions handled.
        completions,
        /// Connections aborted because a shutdown's time was up: `drain_within`.
        shutdown_aborted,
    }
}

impl Counters {
    /// The counter of connections that ended like this one.
    pub(crate) fn disconnected(&self, reason: &DisconnectReason) -> &Counter {
        &self.disconnects[reason.place()]
    }
}

impl Snapshot {
    /// How many connections ended for which reason, by [`DisconnectReason::name`]. Every reason is
    /// there, those too that nothing ended for.
    ///
    /// ```
    /// # let snapshot = longshore::Snapshot::default();
    /// let ended: u64 = snapshot.disconnects().map(|(_name, count)| count).sum();
    /// assert_eq!(ended, snapshot.closed);
    /// ```
    pub fn disconnects(&self) -> impl Iterator<Item = (&'static str, u64)> {
        DisconnectReason::NAMES.iter().copied().zip(self.disconnects)
    }

    /// How many connections ended for the reason of that [name](DisconnectReason::name). `None` if
    /// no reason is called so: a typing error is no zero.
    ///
    /// ```
    /// # let snapshot = longshore::Snapshot::default(); // or `server.snapshot()`
    /// assert_eq!(snapshot.disconnected("slow_reader"), Some(0));
    /// assert_eq!(snapshot.disconnected("slow_raeder"), None);
    /// ```
    pub fn disconnected(&self, reason: &str) -> Option<u64> {
        self.disconnects().find_map(|(name, count)| (name == reason).then_some(count))
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::doc_table;

    /// R85
    #[test]
    fn the_guide_has_each_counter_as_it_is() {
        let head = ["counter", "what it counts"];
        doc_table::check("docs/guide/reasons.md", head, &Snapshot::rows());
    }

    #[test]
    fn what_is_counted_is_read_under_its_own_name() {
        let counters = Counters::default();
        for (count, why) in (1..).zip(Refused::ALL) {
            counters.refused(*why).add(count);
        }
        counters.disconnected(&DisconnectReason::SlowReader).add(7);
        counters.turns.add(9);
        let mut snapshot = Snapshot::default();
        snapshot.add(&counters);
        snapshot.add(&counters);
        let refusals: Vec<_> = snapshot.refusals().collect();
        let wanted = [
            ("refused_connections", 2),
            ("refused_per_source", 4),
            ("refused_by_factory", 6),
            ("refused_memory", 8),
            ("refused_by_system", 10),
            ("refused_by_shutdown", 12),
        ];
        assert_eq!(refusals, wanted);
        assert_eq!(snapshot.disconnected("slow_reader"), Some(14));
        assert_eq!(snapshot.disconnects().filter(|(_, count)| *count > 0).count(), 1);
        assert_eq!(snapshot.disconnects().count(), DisconnectReason::NAMES.len());
        let named: Vec<_> = snapshot.named().filter(|(_, count)| *count > 0).collect();
        assert_eq!(named, [&[("turns", 18)][..], &wanted].concat());
    }
}
