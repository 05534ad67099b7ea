//! What a system knows of the way to a peer.

use std::time::Duration;

/// What the system knows of a connection, at this moment. Each figure is missing where the system
/// does not tell it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Link {
    /// Bytes that the system took and the peer has not acknowledged, those not sent yet included.
    pub unacknowledged_bytes: Option<u64>,
    /// Bytes that the peer has acknowledged, over the life of the connection: what grows while it
    /// takes any. On Linux the side that connected counts one more.
    pub acknowledged_bytes: Option<u64>,
    /// The smoothed time from a segment to its acknowledgement.
    pub round_trip: Option<Duration>,
    /// Segments that were sent again, over the life of the connection.
    pub retransmits: Option<u32>,
}
