//! What error numbers of Windows mean, what they are called, and what to do about them.

use crate::driver::os::Explained;
use crate::error_kind::ErrorKind;
use windows_sys::Win32::Foundation as system;
use windows_sys::Win32::Networking::WinSock as winsock;

/// The table of those that are told: number, name, and what its user may do, if that is not obvious.
/// Source: "Windows Sockets Error Codes" and "System Error Codes" of the Win32 reference.
macro_rules! explained {
    ($($of:ident::$name:ident: $remedy:literal,)*) => {
        &[$(Explained { code: $of::$name as i32, name: stringify!($name), remedy: $remedy },)*]
    };
}

#[expect(clippy::cast_possible_wrap, reason = "small numbers, of two types")]
const EXPLAINED: &[Explained] = explained![
    winsock::WSAEACCES: "another program has that port for itself, or Windows has reserved it: \
        `netsh interface ipv4 show excludedportrange tcp`",
    winsock::WSAEADDRINUSE: "`netstat -ano` shows who has it; for connects no local port is free: \
        `netsh int ipv4 show dynamicport tcp`",
    winsock::WSAEADDRNOTAVAIL: "",
    winsock::WSAECONNABORTED: "the system gave the connection up: the peer acknowledged nothing in time",
    winsock::WSAECONNREFUSED: "",
    winsock::WSAECONNRESET: "",
    winsock::WSAEHOSTDOWN: "",
    winsock::WSAEHOSTUNREACH: "",
    winsock::WSAEINVAL: "",
    winsock::WSAEMFILE: "too many sockets: fewer connections",
    winsock::WSAENETDOWN: "the network of this machine is down",
    winsock::WSAENETRESET: "the probes of keepalive were not answered",
    winsock::WSAENETUNREACH: "",
    winsock::WSAENOBUFS: "memory that is never paged, or the local ports, are used up: fewer \
        connections, smaller socket buffers, or a wider `netsh int ipv4 set dynamicport tcp`",
    winsock::WSAENOTCONN: "",
    winsock::WSAENOTSOCK: "another library of this program closed the socket",
    winsock::WSAETIMEDOUT: "",
    system::ERROR_ACCESS_DENIED: "it is read-only, or another program has it open",
    system::ERROR_ALREADY_EXISTS: "",
    system::ERROR_CONNECTION_ABORTED: "this side gave the connection up, or the socket was closed \
        while it was in use",
    system::ERROR_CONNECTION_REFUSED: "",
    system::ERROR_DISK_FULL: "",
    system::ERROR_FILE_EXISTS: "",
    system::ERROR_FILE_NOT_FOUND: "",
    system::ERROR_FILE_TOO_LARGE: "FAT has no files over 4 GiB",
    system::ERROR_HANDLE_DISK_FULL: "",
    system::ERROR_HOST_UNREACHABLE: "",
    system::ERROR_INVALID_HANDLE: "another library of this program closed it",
    system::ERROR_NETNAME_DELETED: "the peer reset the connection while an op was in flight",
    system::ERROR_NETWORK_UNREACHABLE: "",
    system::ERROR_NOT_ENOUGH_MEMORY: "",
    system::ERROR_NO_SYSTEM_RESOURCES: "memory that is never paged is used up: fewer connections, \
        or smaller sends",
    system::ERROR_OPERATION_ABORTED: "the op was cancelled, or its socket was closed",
    system::ERROR_PATH_NOT_FOUND: "",
    system::ERROR_PORT_UNREACHABLE: "",
    system::ERROR_SEM_TIMEOUT: "the peer has acknowledged nothing for as long as Windows tries",
    system::ERROR_SHARING_VIOLATION: "another program has it open for itself",
    system::ERROR_TOO_MANY_OPEN_FILES: "too many handles: fewer connections",
    system::ERROR_UNEXP_NET_ERR: "",
    system::ERROR_WORKING_SET_QUOTA: "too much memory is locked for ops in flight: fewer or smaller \
        sends, or a larger working set",
];

/// What a number is called, and what to do about it.
pub(crate) fn explain(code: i32) -> Option<&'static Explained> {
    EXPLAINED.iter().find(|it| it.code == code)
}

/// What an error number means where the standard library has no word for it. An op that ends later
/// tells the number of the system, one that is refused at once that of Winsock.
/// Source: "Windows Sockets Error Codes" and "System Error Codes" of the Win32 reference.
pub(crate) fn kind_of_code(code: i32) -> Option<ErrorKind> {
    Some(match unsigned(code) {
        system::ERROR_TOO_MANY_OPEN_FILES => ErrorKind::NoDescriptors,
        system::ERROR_NOT_ENOUGH_MEMORY
        | system::ERROR_NO_SYSTEM_RESOURCES
        | system::ERROR_WORKING_SET_QUOTA => ErrorKind::NoMemory,
        system::ERROR_OPERATION_ABORTED
        | system::ERROR_HANDLES_CLOSED
        | system::ERROR_CANCELLED => ErrorKind::Cancelled,
        system::ERROR_NETNAME_DELETED
        | system::ERROR_CONNECTION_ABORTED
        | system::ERROR_GRACEFUL_DISCONNECT => ErrorKind::Reset,
        system::ERROR_CONNECTION_REFUSED => ErrorKind::Refused,
        system::ERROR_SEM_TIMEOUT => ErrorKind::TimedOut,
        system::ERROR_NETWORK_UNREACHABLE
        | system::ERROR_HOST_UNREACHABLE
        | system::ERROR_PROTOCOL_UNREACHABLE
        | system::ERROR_PORT_UNREACHABLE => ErrorKind::Unreachable,
        system::ERROR_HANDLE_EOF => ErrorKind::Shortened,
        _ => match code {
            winsock::WSAEMFILE => ErrorKind::NoDescriptors,
            winsock::WSAENOBUFS => ErrorKind::NoMemory,
            winsock::WSAENETRESET => ErrorKind::NetworkReset,
            winsock::WSAEHOSTDOWN
            | winsock::WSAENETUNREACH
            | winsock::WSAEHOSTUNREACH
            | winsock::WSAENETDOWN => ErrorKind::Unreachable,
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
    code == winsock::WSAECONNRESET
        || [system::ERROR_NETNAME_DELETED, system::ERROR_UNEXP_NET_ERR].contains(&unsigned(code))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Call, PortError};

    #[test]
    fn each_number_is_told_as_what_it_means() {
        for (code, kind) in [
            (winsock::WSAEMFILE, ErrorKind::NoDescriptors),
            (winsock::WSAENOBUFS, ErrorKind::NoMemory),
            (8, ErrorKind::NoMemory),
            (1450, ErrorKind::NoMemory),
            (1453, ErrorKind::NoMemory),
            (4, ErrorKind::NoDescriptors),
            (995, ErrorKind::Cancelled),
            (676, ErrorKind::Cancelled),
            (winsock::WSAENETRESET, ErrorKind::NetworkReset),
            (winsock::WSAEHOSTUNREACH, ErrorKind::Unreachable),
            (winsock::WSAENETUNREACH, ErrorKind::Unreachable),
            (winsock::WSAENETDOWN, ErrorKind::Unreachable),
            (winsock::WSAEHOSTDOWN, ErrorKind::Unreachable),
            (1231, ErrorKind::Unreachable),
            (1232, ErrorKind::Unreachable),
            (1233, ErrorKind::Unreachable),
            (1234, ErrorKind::Unreachable),
            (1223, ErrorKind::Cancelled),
            (1226, ErrorKind::Reset),
            (64, ErrorKind::Reset),
            (1236, ErrorKind::Reset),
            (winsock::WSAECONNRESET, ErrorKind::Reset),
            (121, ErrorKind::TimedOut),
            (1225, ErrorKind::Refused),
            (38, ErrorKind::Shortened),
            (112, ErrorKind::NoSpace),
            (39, ErrorKind::NoSpace),
            (223, ErrorKind::TooLarge),
            (80, ErrorKind::Exists),
            (183, ErrorKind::Exists),
            (2, ErrorKind::NotFound),
            (3, ErrorKind::NotFound),
            (5, ErrorKind::Denied),
            (87, ErrorKind::Other),
        ] {
            assert_eq!(PortError::from_code(Call::Send, code).kind, kind, "{code}");
        }
        for code in [64, 59, winsock::WSAECONNRESET] {
            let error = PortError::from_code(Call::Accept, code);
            assert_eq!(error.kind, ErrorKind::Passing, "{code}: only that connection is gone");
        }
    }

    #[test]
    fn a_number_is_told_by_its_name_and_with_what_to_do() {
        let told = |call, code| PortError::from_code(call, code).to_string();
        assert_eq!(
            told(Call::Send, 64),
            "cannot send: connection reset by peer (ERROR_NETNAME_DELETED, code 64); \
             the peer reset the connection while an op was in flight"
        );
        assert_eq!(
            told(Call::Connect, 10061),
            "cannot connect: connection refused (WSAECONNREFUSED, code 10061)"
        );
        for code in [10013, 10055, 121, 995, 1236] {
            assert!(told(Call::Bind, code).contains("; "), "{code}: what to do about it");
        }
        let mut codes: Vec<_> = EXPLAINED.iter().map(|it| it.code).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), EXPLAINED.len(), "one stands there twice");
    }
}
