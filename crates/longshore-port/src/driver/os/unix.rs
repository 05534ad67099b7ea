//! What is asked of every Unix, and what its error numbers mean.
#![expect(unsafe_code, reason = "masks of signals, which no crate has safe")]

use super::{ConsoleEvent, Explained};
use crate::error_kind::ErrorKind;
use socket2::{Socket, TcpKeepalive};
use std::cell::Cell;
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::fs::FileExt;

/// What an error number means where the standard library has no word for it.
pub(crate) fn kind_of_code(code: i32) -> Option<ErrorKind> {
    Some(match code {
        libc::EMFILE | libc::ENFILE => ErrorKind::NoDescriptors,
        libc::ENOBUFS | libc::ENOMEM => ErrorKind::NoMemory,
        libc::ECANCELED => ErrorKind::Cancelled,
        libc::ENETRESET => ErrorKind::NetworkReset,
        libc::EHOSTDOWN | libc::ENETUNREACH | libc::EHOSTUNREACH | libc::ENETDOWN => {
            ErrorKind::Unreachable
        }
        _ => return None,
    })
}

/// The table of those that are told by name. The kind of error says what to do.
/// Source: `errno(3)`.
macro_rules! explained {
    ($($name:ident)*) => {
        &[$(Explained { code: libc::$name, name: stringify!($name), remedy: "" },)*]
    };
}

const EXPLAINED: &[Explained] = explained![
    EACCES EADDRINUSE EADDRNOTAVAIL EBADF ECANCELED ECONNABORTED ECONNREFUSED ECONNRESET EDQUOT
    EEXIST EFAULT EFBIG EHOSTDOWN EHOSTUNREACH EINVAL EIO EISDIR ELOOP EMFILE ENETDOWN ENETRESET
    ENETUNREACH ENFILE ENOBUFS ENOENT ENOMEM ENOSPC ENOSYS ENOTCONN ENOTDIR ENOTSOCK EOPNOTSUPP EPERM
    EPIPE EPROTO EROFS ESTALE ETIMEDOUT EXDEV
];

/// What a number is called.
pub(crate) fn explain(code: i32) -> Option<&'static Explained> {
    EXPLAINED.iter().find(|it| it.code == code)
}

/// Whether an accept failed for the one connection only; the listener is well (R33).
/// Source: `accept(2)`, "Error handling": errors that were pending on the new socket, and `EPERM`
/// of a firewall.
pub(crate) fn is_passing(code: i32) -> bool {
    match code {
        #[cfg(target_os = "linux")]
        libc::ENONET => true,
        libc::ECONNABORTED
        | libc::EPROTO
        | libc::EPERM
        | libc::ENETDOWN
        | libc::ENETUNREACH
        | libc::EHOSTDOWN
        | libc::EHOSTUNREACH
        | libc::ENOPROTOOPT
        | libc::EOPNOTSUPP => true,
        _ => false,
    }
}

/// Flags of every send. A peer that is gone must be an error, not a signal that ends the process
/// (R31); where there is no such flag, socket2 and std set an option on each socket instead.
#[cfg(not(target_vendor = "apple"))]
pub(crate) const SEND_FLAGS: i32 = libc::MSG_NOSIGNAL;

/// The same where there is no such flag.
#[cfg(target_vendor = "apple")]
pub(crate) const SEND_FLAGS: i32 = 0;

/// Whether a non-blocking connect goes on, as it should. A signal does not stop it either.
/// Source: `connect(2)`, `EINPROGRESS` and `EINTR`.
pub(crate) fn is_in_progress(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, WouldBlock};
    let goes_on = error.raw_os_error() == Some(libc::EINPROGRESS);
    goes_on || matches!(error.kind(), Interrupted | WouldBlock)
}

/// Lets a server that was killed come back while its old connections linger (R83).
/// Source: `socket(7)`, `SO_REUSEADDR`.
pub(crate) fn allow_rebind(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_address(true)
}

/// Unix has signals.
pub(crate) fn on_console_event(_: fn(ConsoleEvent) -> bool) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Has TCP probe silent peers.
pub(crate) fn set_keepalive(socket: &Socket, keepalive: &TcpKeepalive) -> io::Result<()> {
    socket.set_tcp_keepalive(keepalive)
}

/// Reads at a place of a file, without moving its position.
pub(crate) fn read_at(file: &File, into: &mut [u8], offset: u64) -> io::Result<usize> {
    file.read_at(into, offset)
}

/// Writes at a place of a file, without moving its position.
pub(crate) fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
    // A file that gets too long for this process must be an error, not a signal that ends it (R63).
    // Source: `setrlimit(2)`, `RLIMIT_FSIZE`.
    block_signal(libc::SIGXFSZ);
    file.write_at(bytes, offset)
}

/// The calling thread does not take that signal, from now on. What the thread itself brings about with a
/// call then is an error of that call alone.
pub(super) fn block_signal(signal: libc::c_int) {
    thread_local! {
        static BLOCKED: Cell<u64> = const { Cell::new(0) };
    }
    let bit = 1 << (signal & 63);
    let blocked = BLOCKED.get();
    if blocked & bit != 0 {
        return;
    }
    BLOCKED.set(blocked | bit);
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the call makes an empty set of whatever is there. Source: `sigsetops(3)`.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: the set was made above.
    unsafe { libc::sigaddset(set.as_mut_ptr(), signal) };
    // SAFETY: the set was made above; the old mask is not wanted. Source: `pthread_sigmask(3)`.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut()) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Call, PortError};

    #[test]
    fn a_number_is_told_by_its_name() {
        let told = |call, code| PortError::from_code(call, code).to_string();
        let code = libc::EADDRINUSE;
        let wanted = format!("cannot listen: address in use (EADDRINUSE, code {code})");
        assert_eq!(told(Call::Bind, code), wanted);
        let wanted = "cannot wait for completions: system error (code 9999)";
        assert_eq!(told(Call::Wait, 9_999), wanted);
    }

    #[test]
    fn each_number_is_told_as_what_it_means() {
        for (code, kind) in [
            (libc::EMFILE, ErrorKind::NoDescriptors),
            (libc::ENFILE, ErrorKind::NoDescriptors),
            (libc::ENOBUFS, ErrorKind::NoMemory),
            (libc::ENOMEM, ErrorKind::NoMemory),
            (libc::ECANCELED, ErrorKind::Cancelled),
            (libc::ENETRESET, ErrorKind::NetworkReset),
            (libc::EHOSTDOWN, ErrorKind::Unreachable),
            (libc::ENETUNREACH, ErrorKind::Unreachable),
            (libc::EHOSTUNREACH, ErrorKind::Unreachable),
            (libc::ENETDOWN, ErrorKind::Unreachable),
            (libc::EPIPE, ErrorKind::Reset),
            (libc::ECONNREFUSED, ErrorKind::Refused),
            (libc::ENOSPC, ErrorKind::NoSpace),
            (libc::EDQUOT, ErrorKind::NoSpace),
            (libc::EFBIG, ErrorKind::TooLarge),
            (libc::EEXIST, ErrorKind::Exists),
            (libc::ENOENT, ErrorKind::NotFound),
            (libc::EACCES, ErrorKind::Denied),
            (libc::EROFS, ErrorKind::Denied),
            (libc::EIO, ErrorKind::Other),
        ] {
            assert_eq!(PortError::from_code(Call::Send, code).kind, kind, "{code}");
        }
    }
}
