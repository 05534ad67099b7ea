//! What only Linux is asked: elsewhere it cannot be had, or is not asked for yet.

#[cfg(not(windows))]
use crate::Link;
use longshore_base::Time;
use socket2::Socket;
use std::fs::File;
use std::io;
use std::time::Duration;

/// A clock that costs less than the usual one: not known here.
pub(crate) fn coarse_clock() -> Option<Time> {
    None
}

/// What the system knows of the way to the peer: these are not asked.
#[cfg(not(windows))]
pub(crate) fn link(_: &Socket) -> Link {
    Link::default()
}

/// Which version of the system this is: not asked here.
#[cfg(not(windows))]
pub(crate) fn system_version() -> Option<String> {
    None
}

/// How much memory this process may use: not asked here.
#[cfg(not(windows))]
pub(crate) fn memory_bytes() -> Option<u64> {
    None
}

/// How long sent bytes may stay unacknowledged: TCP has no such option here.
#[expect(clippy::unnecessary_wraps, reason = "Linux can refuse")]
pub(crate) fn set_user_timeout(_: &Socket, _: Option<Duration>) -> io::Result<()> {
    Ok(())
}

/// Whether a read waits for a disk: these systems do not tell, so that it may.
pub(crate) fn is_cached(_: &File, _: u64, _: u64) -> bool {
    false
}

/// Has the system read ahead: these see by themselves that a file is read in order.
pub(crate) fn prefetch(_: &File, _: u64, _: u64) {}

/// Bytes of a file: these systems are not asked to send it by themselves.
pub(crate) fn send_file(_: &Socket, _: &File, _: u64, _: usize) -> Option<io::Result<usize>> {
    None
}
