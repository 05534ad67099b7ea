//! What is asked of other systems, in ways that all of them have.

pub(crate) use crate::driver::send_file_read as send_file;

use crate::Link;
use socket2::Socket;

/// What the system knows of the way to the peer: these are not asked.
pub(crate) fn link(_: &Socket) -> Link {
    Link::default()
}

/// How much memory this process may use: not asked here.
pub(crate) fn memory_bytes() -> Option<u64> {
    None
}
