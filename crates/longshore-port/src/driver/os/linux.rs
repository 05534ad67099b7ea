//! What is asked of Linux beside sockets and waits.
#![expect(unsafe_code, reason = "calls that no crate has safe")]

use super::unix::block_signal;
use crate::Link;
use longshore_base::Time;
use socket2::Socket;
use std::fs::File;
use std::io;
use std::num::NonZeroU64;
use std::os::fd::AsRawFd;
use std::sync::OnceLock;
use std::time::Duration;

/// The time since some moment, as of the last tick of the system's clock: read without a system
/// call and without a look at the hardware. Source: `clock_gettime(2)`, `CLOCK_MONOTONIC_COARSE`.
///
/// By the C library: rustix looks for the vDSO by itself, which ends a process under valgrind.
#[inline]
pub(crate) fn coarse_clock() -> Option<Time> {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes a `timespec`, to the one it is given.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &raw mut now) };
    debug_assert_eq!(failed, 0, "there is such a clock since Linux 2.6.32");
    let nanos = now.tv_sec.wrapping_mul(1_000_000_000).wrapping_add(now.tv_nsec);
    u64::try_from(nanos).ok().map(Time::from_nanos)
}

/// The kernel's version as people say it: `kernel 6.18`.
pub(crate) fn system_version() -> Option<String> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").ok()?;
    let mut parts = release.trim().split(['.', '-']);
    Some(format!("kernel {}.{}", parts.next()?, parts.next()?))
}

/// Whether the sync of a volume tells of writes that failed. Source: `syncfs(2)`: since Linux 5.8.
pub(crate) fn syncs_with_errors() -> bool {
    static TELLS: OnceLock<bool> = OnceLock::new();
    *TELLS.get_or_init(|| {
        let version = system_version().unwrap_or_default();
        let version = version.trim_start_matches("kernel ").split_once('.');
        let number = |text: &str| text.parse::<u32>().ok();
        let version = version.and_then(|(major, minor)| Some((number(major)?, number(minor)?)));
        version.is_some_and(|version| version >= (5, 8))
    })
}

/// What the system knows of the way to the peer.
pub(crate) fn link(socket: &Socket) -> Link {
    let fd = socket.as_raw_fd();
    let mut queued: libc::c_int = 0;
    // SAFETY: the call writes an `int`, to the one it is given. Source: `tcp(7)`, `SIOCOUTQ`, which
    // is `TIOCOUTQ` under its older name.
    let asked = unsafe { libc::ioctl(fd, libc::TIOCOUTQ, &raw mut queued) };
    let unacknowledged_bytes = u64::try_from(queued).ok().filter(|_| asked == 0);
    let mut info = [0; TCP_INFO_BYTES];
    let mut len = libc::socklen_t::try_from(info.len()).unwrap_or(0);
    // SAFETY: the call writes at most `len` bytes, to as many. Source: `tcp(7)`, `TCP_INFO`.
    let told = unsafe {
        let at = info.as_mut_ptr().cast();
        libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, at, &raw mut len)
    };
    let info = info.get(..len as usize).filter(|_| told == 0);
    let number = |at| {
        let bytes = info?.get(at..at + size_of::<u32>())?;
        Some(u32::from_ne_bytes(bytes.try_into().ok()?))
    };
    let round_trip = number(std::mem::offset_of!(libc::tcp_info, tcpi_rtt));
    let acknowledged = info.and_then(|info| info.get(TCP_INFO_BYTES_ACKED..)?.try_into().ok());
    Link {
        unacknowledged_bytes,
        acknowledged_bytes: acknowledged.map(u64::from_ne_bytes),
        round_trip: round_trip.map(|micros| Duration::from_micros(micros.into())),
        retransmits: number(std::mem::offset_of!(libc::tcp_info, tcpi_total_retrans)),
    }
}

/// Where `tcpi_bytes_acked` stands, which the `libc` crate does not have, and the bytes up to its end.
/// Since Linux 4.1. Source: `struct tcp_info` of `linux/tcp.h`, which only ever grows at its end.
const TCP_INFO_BYTES_ACKED: usize = 120;
const TCP_INFO_BYTES: usize = TCP_INFO_BYTES_ACKED + size_of::<u64>();

/// How long sent bytes may stay unacknowledged. Source: `tcp(7)`, `TCP_USER_TIMEOUT`.
pub(crate) fn set_user_timeout(socket: &Socket, timeout: Option<Duration>) -> io::Result<()> {
    socket.set_tcp_user_timeout(timeout)
}

/// Gives a socket that does not block bytes of a file, as many as it has room for: 0 at the end of
/// the file. Nothing is copied where the system can help it. Source: `sendfile(2)`.
#[expect(clippy::unnecessary_wraps, reason = "other systems have no such call")]
pub(crate) fn send_file(
    socket: &Socket,
    file: &File,
    offset: u64,
    most: usize,
) -> Option<io::Result<usize>> {
    // A peer that is gone must be an error, not a signal that ends the process (R31), for which this call
    // has no flag.
    block_signal(libc::SIGPIPE);
    let mut offset = offset;
    Some(rustix::fs::sendfile(socket, file, Some(&mut offset), most).map_err(Into::into))
}

/// How far the bytes lie apart whose presence is asked for: what the system reads ahead at once.
const PROBE_BYTES: usize = 128 * 1024;

/// Whether bytes of a file can be had without waiting for a disk. Files that do not block are not
/// told of by `O_NONBLOCK`, which means nothing for them. Source: `preadv2(2)`, `RWF_NOWAIT`.
pub(crate) fn is_cached(file: &File, offset: u64, len: u64) -> bool {
    let last = offset.saturating_add(len.saturating_sub(1));
    let probes = (offset..last).step_by(PROBE_BYTES).chain([last]);
    for at in probes {
        let mut byte = [0];
        let into = &mut [io::IoSliceMut::new(&mut byte)];
        match rustix::io::preadv2(file, into, at, rustix::io::ReadWriteFlags::NOWAIT) {
            Ok(_) => {}
            // Files in memory, and some that lie on others, cannot be asked so.
            Err(rustix::io::Errno::OPNOTSUPP) => return are_pages_cached(file, offset, len),
            Err(_) => return false,
        }
    }
    true
}

/// The number of `cachestat(2)`, which the `libc` crate does not have: newer calls have one number on
/// all machines but some of the oldest kinds, where this one is none.
const SYS_CACHESTAT: libc::c_long = 451;

/// The same by a count of the pages, to which those belong that are being read.
fn are_pages_cached(file: &File, offset: u64, len: u64) -> bool {
    let end = file.metadata().map_or(0, |facts| facts.len()).min(offset.saturating_add(len));
    let page = rustix::param::page_size() as u64;
    let pages = end.div_ceil(page).saturating_sub(offset / page);
    let range = [offset, end.saturating_sub(offset)];
    if range[1] == 0 {
        return true;
    }
    let mut counts = [0u64; 5];
    // SAFETY: the call reads a `cachestat_range` of two numbers, and writes a `cachestat` of five; the
    // descriptor is open. Source: `cachestat(2)`, since Linux 6.5.
    let asked = unsafe {
        let (range, counts) = (range.as_ptr(), counts.as_mut_ptr());
        libc::syscall(SYS_CACHESTAT, file.as_raw_fd(), range, counts, 0)
    };
    asked == 0 && counts[0] >= pages
}

/// Has the system read ahead. Source: `posix_fadvise(2)`, `POSIX_FADV_WILLNEED`.
pub(crate) fn prefetch(file: &File, offset: u64, len: u64) {
    // A hint: that it was refused shows in nothing but time.
    let _ = rustix::fs::fadvise(file, offset, NonZeroU64::new(len), rustix::fs::Advice::WillNeed);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::sockets::bind;
    use crate::{BindTo, Keepalive, RawSocket, SocketOptions};
    use std::net::{Ipv4Addr, SocketAddr, TcpStream};

    /// Whether the thread takes no SIGPIPE. Source: `proc(5)`, `/proc/pid/status`, `SigBlk`.
    fn is_blocked() -> bool {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap();
        let mask = u64::from_str_radix(mask.trim(), 16).unwrap();
        mask & (1 << (libc::SIGPIPE - 1)) != 0
    }

    #[test]
    fn a_file_to_a_peer_that_is_gone_raises_no_signal() {
        assert!(!is_blocked());
        let file = File::open("Cargo.toml").unwrap();
        let (ours, theirs) =
            Socket::pair(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
        drop(theirs);
        let sent = send_file(&ours, &file, 0, 10).unwrap();
        assert_eq!(sent.map_err(|error| error.kind()), Err(io::ErrorKind::BrokenPipe));
        assert!(is_blocked());
    }

    fn to(backlog: u32, options: SocketOptions) -> BindTo {
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        BindTo { addr, dual_stack: false, backlog, options }
    }

    /// Linux keeps one more than it is asked for. Source: `sk_acceptq_is_full` of `net/sock.h`.
    #[test]
    fn no_more_wait_to_be_accepted_than_the_backlog() {
        let listening = bind(&to(1, SocketOptions::default())).unwrap();
        let addr = listening.local.socket_addr().unwrap();
        let within = Duration::from_millis(100);
        let peers: Vec<_> = (0..4).map(|_| TcpStream::connect_timeout(&addr, within)).collect();
        assert!(peers[0].is_ok() && peers[3].is_err(), "{peers:?}");
    }

    #[test]
    fn a_listener_has_the_options_that_it_was_given() {
        let second = Duration::from_secs(1);
        let keepalive = Keepalive::default().idle(7 * second).interval(3 * second).probes(2);
        let options = SocketOptions::default()
            .nodelay(true)
            .keepalive(keepalive)
            .user_timeout(9 * second)
            .send_buf_bytes(64 * 1024)
            .recv_buf_bytes(32 * 1024);
        let RawSocket::System(socket) = bind(&to(8, options)).unwrap().raw else { panic!() };
        assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), 7 * second);
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), 3 * second);
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), 2);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(9 * second));
        // Linux doubles them. Source: `socket(7)`.
        assert_eq!(socket.send_buffer_size().unwrap(), 128 * 1024);
        assert_eq!(socket.recv_buffer_size().unwrap(), 64 * 1024);
        let off = SocketOptions::default().nodelay(false).keepalive(None).user_timeout(None);
        let RawSocket::System(socket) = bind(&to(8, off)).unwrap().raw else { panic!() };
        assert!(!socket.tcp_nodelay().unwrap() && !socket.keepalive().unwrap());
    }
}
