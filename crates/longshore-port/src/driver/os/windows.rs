//! What is asked of Windows, and what its error numbers mean.
#![expect(unsafe_code, reason = "the console calls a routine")]

use super::ConsoleEvent;
use crate::error_kind::ErrorKind;
use socket2::{Socket, TcpKeepalive};
use std::fs::File;
use std::io;
use std::os::windows::fs::FileExt;
use std::sync::OnceLock;
use windows_sys::Win32::Foundation::{
    ERROR_CANCELLED, ERROR_CONNECTION_ABORTED, ERROR_CONNECTION_REFUSED, ERROR_GRACEFUL_DISCONNECT,
    ERROR_HANDLE_EOF, ERROR_HANDLES_CLOSED, ERROR_HOST_UNREACHABLE, ERROR_NETNAME_DELETED,
    ERROR_NETWORK_UNREACHABLE, ERROR_NO_SYSTEM_RESOURCES, ERROR_NOT_ENOUGH_MEMORY,
    ERROR_OPERATION_ABORTED, ERROR_PORT_UNREACHABLE, ERROR_PROTOCOL_UNREACHABLE, ERROR_SEM_TIMEOUT,
    ERROR_TOO_MANY_OPEN_FILES, ERROR_UNEXP_NET_ERR, ERROR_WORKING_SET_QUOTA,
};
use windows_sys::Win32::Networking::WinSock::{
    WSAECONNRESET, WSAEHOSTDOWN, WSAEHOSTUNREACH, WSAEMFILE, WSAENETDOWN, WSAENETRESET,
    WSAENETUNREACH, WSAENOBUFS, WSAENOPROTOOPT,
};
use windows_sys::Win32::System::Console::{CTRL_BREAK_EVENT, CTRL_C_EVENT, SetConsoleCtrlHandler};

/// What an error number means where the standard library has no word for it. An op that ends later
/// tells the number of the system, one that is refused at once that of Winsock.
/// Source: "Windows Sockets Error Codes" and "System Error Codes" of the Win32 reference.
pub(crate) fn kind_of_code(code: i32) -> Option<ErrorKind> {
    Some(match unsigned(code) {
        ERROR_TOO_MANY_OPEN_FILES => ErrorKind::NoDescriptors,
        ERROR_NOT_ENOUGH_MEMORY | ERROR_NO_SYSTEM_RESOURCES | ERROR_WORKING_SET_QUOTA => {
            ErrorKind::NoMemory
        }
        ERROR_OPERATION_ABORTED | ERROR_HANDLES_CLOSED | ERROR_CANCELLED => ErrorKind::Cancelled,
        ERROR_NETNAME_DELETED | ERROR_CONNECTION_ABORTED | ERROR_GRACEFUL_DISCONNECT => {
            ErrorKind::Reset
        }
        ERROR_CONNECTION_REFUSED => ErrorKind::Refused,
        ERROR_SEM_TIMEOUT => ErrorKind::TimedOut,
        ERROR_NETWORK_UNREACHABLE
        | ERROR_HOST_UNREACHABLE
        | ERROR_PROTOCOL_UNREACHABLE
        | ERROR_PORT_UNREACHABLE => ErrorKind::Unreachable,
        ERROR_HANDLE_EOF => ErrorKind::Shortened,
        _ => match code {
            WSAEMFILE => ErrorKind::NoDescriptors,
            WSAENOBUFS => ErrorKind::NoMemory,
            WSAENETRESET => ErrorKind::NetworkReset,
            WSAEHOSTDOWN | WSAENETUNREACH | WSAEHOSTUNREACH | WSAENETDOWN => ErrorKind::Unreachable,
            _ => return None,
        },
    })
}

/// A number as the reference has it.
fn unsigned(code: i32) -> u32 {
    u32::from_le_bytes(code.to_le_bytes())
}

/// Whether an accept failed for the one connection only; the listener is well (R33).
/// Source: `accept` and `AcceptEx` of Winsock, "Return value": the peer ended it before it was taken.
/// Wine says that by another number, the last one.
pub(crate) fn is_passing(code: i32) -> bool {
    code == WSAECONNRESET || [ERROR_NETNAME_DELETED, ERROR_UNEXP_NET_ERR].contains(&unsigned(code))
}

/// Flags of every send: there are no signals.
pub(crate) const SEND_FLAGS: i32 = 0;

/// A server that was killed can come back as it is. The option of that name lets two servers share
/// an address here, so it stays off (R83).
#[expect(clippy::unnecessary_wraps, reason = "other systems can refuse")]
pub(crate) fn allow_rebind(_: &Socket) -> io::Result<()> {
    Ok(())
}

/// Who is told what the user of the console wants.
static ON_CONSOLE: OnceLock<fn(ConsoleEvent) -> bool> = OnceLock::new();

/// Has `handler` told, on a thread of its own, from now on. It says whether that is taken care of.
pub(crate) fn on_console_event(handler: fn(ConsoleEvent) -> bool) -> io::Result<()> {
    ON_CONSOLE.get_or_init(|| handler);
    // SAFETY: the routine is a function of this program, which stays as long as the process.
    let set = unsafe { SetConsoleCtrlHandler(Some(console_routine), 1) };
    if set == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

unsafe extern "system" fn console_routine(event: u32) -> i32 {
    let event = match event {
        CTRL_C_EVENT | CTRL_BREAK_EVENT => ConsoleEvent::Interrupt,
        _ => ConsoleEvent::Close,
    };
    // A panic must not go on into the system; then it is as if nobody had asked.
    let handled = ON_CONSOLE.get().map(|handler| std::panic::catch_unwind(|| handler(event)));
    i32::from(matches!(handled, Some(Ok(true))))
}

/// Has TCP probe silent peers. How often before it gives up cannot be told to each Windows, which
/// then probes ten times. Source: "`SO_KEEPALIVE`", `TCP_KEEPCNT`, of Windows 10 version 1703.
pub(crate) fn set_keepalive(socket: &Socket, keepalive: &TcpKeepalive) -> io::Result<()> {
    match socket.set_tcp_keepalive(keepalive) {
        Err(error) if error.raw_os_error() == Some(WSAENOPROTOOPT) => Ok(()),
        set => set,
    }
}

/// Reads at a place of a file. It moves the file's position, which nobody here uses.
pub(crate) fn read_at(file: &File, into: &mut [u8], offset: u64) -> io::Result<usize> {
    file.seek_read(into, offset)
}
