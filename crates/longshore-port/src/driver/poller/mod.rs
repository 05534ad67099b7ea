//! What the readiness driver asks of the system: which sockets are ready, and to be woken.

#[cfg(target_os = "linux")]
mod epoll;
#[cfg(not(target_os = "linux"))]
mod polling;
mod readiness;

#[cfg(target_os = "linux")]
pub(super) use epoll::{FEATURES, NAME, Poller, TELLS_END, Waker, accept};
#[cfg(not(target_os = "linux"))]
pub(super) use polling::{FEATURES, NAME, Poller, TELLS_END, Waker, accept};
pub(super) use readiness::Readiness;
