//! What is asked of Windows, and what its error numbers mean. No driver is made of it yet: these are
//! the functions of `unix.rs`, for when there is one.

use crate::error_kind::ErrorKind;
use socket2::Socket;
use std::fs::File;
use std::io;
use std::os::windows::fs::FileExt;

/// What an error number means where the standard library has no word for it.
/// Source: "Windows Sockets Error Codes" and "System Error Codes" of the Win32 reference.
pub(crate) fn kind_of_code(code: i32) -> Option<ErrorKind> {
    const ERROR_OPERATION_ABORTED: i32 = 995;
    const WSAEMFILE: i32 = 10_024;
    const WSAENETDOWN: i32 = 10_050;
    const WSAENETUNREACH: i32 = 10_051;
    const WSAENETRESET: i32 = 10_052;
    const WSAENOBUFS: i32 = 10_055;
    const WSAEHOSTDOWN: i32 = 10_064;
    const WSAEHOSTUNREACH: i32 = 10_065;
    Some(match code {
        WSAEMFILE => ErrorKind::NoDescriptors,
        WSAENOBUFS => ErrorKind::NoMemory,
        ERROR_OPERATION_ABORTED => ErrorKind::Cancelled,
        WSAENETRESET => ErrorKind::NetworkReset,
        WSAEHOSTDOWN | WSAENETUNREACH | WSAEHOSTUNREACH | WSAENETDOWN => ErrorKind::Unreachable,
        _ => return None,
    })
}

/// Whether an accept failed for the one connection only; the listener is well (R33).
/// Source: `accept` of Winsock, "Return value": the peer ended it before it was taken.
pub(crate) fn is_passing(code: i32) -> bool {
    const WSAECONNRESET: i32 = 10_054;
    code == WSAECONNRESET
}

/// Flags of every send: there are no signals.
pub(crate) const SEND_FLAGS: i32 = 0;

/// Whether a non-blocking connect goes on, as it should.
/// Source: `connect` of Winsock, `WSAEWOULDBLOCK`.
pub(crate) fn is_in_progress(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

/// A server that was killed can come back as it is. The option of that name lets two servers share
/// an address here, so it stays off (R83).
#[expect(clippy::unnecessary_wraps, reason = "other systems can refuse")]
pub(crate) fn allow_rebind(_: &Socket) -> io::Result<()> {
    Ok(())
}

/// Reads at a place of a file. It moves the file's position, which nobody here uses.
pub(crate) fn read_at(file: &File, into: &mut [u8], offset: u64) -> io::Result<usize> {
    file.seek_read(into, offset)
}
