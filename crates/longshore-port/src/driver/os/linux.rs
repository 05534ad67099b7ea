//! What is asked of Linux beside sockets and waits.
#![expect(unsafe_code, reason = "calls that no crate has safe")]

use crate::Link;
use socket2::Socket;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::time::Duration;

/// What the system knows of the way to the peer.
pub(crate) fn link(socket: &Socket) -> Link {
    let fd = socket.as_raw_fd();
    let mut queued: libc::c_int = 0;
    // SAFETY: the call writes an `int`, to the one it is given. Source: `tcp(7)`, `SIOCOUTQ`, which
    // is `TIOCOUTQ` under its older name.
    let asked = unsafe { libc::ioctl(fd, libc::TIOCOUTQ, &raw mut queued) };
    let unacknowledged_bytes = u64::try_from(queued).ok().filter(|_| asked == 0);
    // All zeros is a valid value of it: numbers only.
    let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
    let mut len = libc::socklen_t::try_from(size_of::<libc::tcp_info>()).unwrap_or(0);
    // SAFETY: the call writes at most `len` bytes, to as many. Source: `tcp(7)`, `TCP_INFO`.
    let told = unsafe {
        let at = info.as_mut_ptr().cast();
        libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, at, &raw mut len)
    };
    // SAFETY: zeroed above, and every pattern of its numbers is valid.
    let info = (told == 0).then(|| unsafe { info.assume_init() });
    Link {
        unacknowledged_bytes,
        round_trip: info.map(|info| Duration::from_micros(info.tcpi_rtt.into())),
        retransmits: info.map(|info| info.tcpi_total_retrans),
    }
}
