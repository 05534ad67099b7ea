//! Waiting for what is typed without reading it.
//!
//! A process that is stopped within a read, and goes on in the background, is in that read again: then
//! the system stops it for that. So no read of a terminal may have to wait.

/// Waits until there is something to read on standard input, its end included.
#[cfg(unix)]
pub(crate) fn wait_for_input() {
    use rustix::event::{PollFd, PollFlags, poll};
    let stdin = std::io::stdin();
    let mut inputs = [PollFd::new(&stdin, PollFlags::IN)];
    while poll(&mut inputs, None) == Err(rustix::io::Errno::INTR) {}
}

/// Nothing stops a process for reading here.
#[cfg(not(unix))]
pub(crate) fn wait_for_input() {}
