//! What a system refuses.

use crate::driver::os::{self, Explained};
use crate::error_kind::ErrorKind;
use std::{fmt, io};

/// The system refused: which call, what kind of refusal, and the system's own number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct PortError {
    /// What kind of refusal, the same on every system.
    pub kind: ErrorKind,
    /// Of what.
    pub call: Call,
    /// errno or Windows code; 0 if there is none.
    pub code: i32,
}

/// What was asked of the system.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Call {
    /// Opening a port.
    Open,
    /// Binding or listening.
    Bind,
    /// Taking a connection.
    Accept,
    /// Making a connection.
    Connect,
    /// Taking a socket in.
    Attach,
    /// Letting a socket go to another port.
    Detach,
    /// Receiving.
    Recv,
    /// Sending.
    Send,
    /// Reading a file that is sent.
    File,
    /// Looking a name up.
    Resolve,
    /// Waiting for completions.
    Wait,
}

impl PortError {
    /// From what the standard library or a crate reports.
    pub fn from_io(call: Call, error: &io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::NotConnected
            | io::ErrorKind::ConnectionAborted => ErrorKind::Reset,
            io::ErrorKind::ConnectionRefused => ErrorKind::Refused,
            io::ErrorKind::TimedOut => ErrorKind::TimedOut,
            io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown => ErrorKind::Unreachable,
            io::ErrorKind::AddrInUse => ErrorKind::AddrInUse,
            io::ErrorKind::AddrNotAvailable => ErrorKind::AddrNotAvailable,
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                ErrorKind::Denied
            }
            io::ErrorKind::OutOfMemory => ErrorKind::NoMemory,
            io::ErrorKind::Unsupported => ErrorKind::Unsupported,
            io::ErrorKind::NotFound => ErrorKind::NotFound,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::NoSpace,
            io::ErrorKind::FileTooLarge => ErrorKind::TooLarge,
            io::ErrorKind::AlreadyExists => ErrorKind::Exists,
            _ => ErrorKind::Other,
        };
        let code = error.raw_os_error().unwrap_or(0);
        let aborted = error.kind() == io::ErrorKind::ConnectionAborted;
        if call == Call::Accept && (aborted || os::is_passing(code)) {
            return Self { kind: ErrorKind::Passing, call, code };
        }
        Self { kind: os::kind_of_code(code).unwrap_or(kind), call, code }
    }

    /// From errno or a Windows code.
    pub fn from_code(call: Call, code: i32) -> Self {
        Self::from_io(call, &io::Error::from_raw_os_error(code))
    }

    /// Without a code of the system.
    pub const fn new(call: Call, kind: ErrorKind) -> Self {
        Self { kind, call, code: 0 }
    }
}

impl fmt::Display for PortError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let call = match self.call {
            Call::Open => "open a port",
            Call::Bind => "listen",
            Call::Accept => "accept",
            Call::Connect => "connect",
            Call::Attach => "take a socket in",
            Call::Detach => "let a socket go",
            Call::Recv => "receive",
            Call::Send => "send",
            Call::File => "read the file",
            Call::Resolve => "look the name up",
            Call::Wait => "wait for completions",
        };
        let why = match self.kind {
            ErrorKind::Reset => "connection reset by peer",
            ErrorKind::Refused => "connection refused",
            ErrorKind::Unreachable => "no route to that address",
            ErrorKind::TimedOut => "no answer in time",
            ErrorKind::NetworkReset => "connection reset by the network",
            ErrorKind::Cancelled => "cancelled",
            ErrorKind::AddrInUse => "address in use",
            ErrorKind::AddrNotAvailable => "not an address of this machine",
            ErrorKind::Denied => "not permitted",
            ErrorKind::NoDescriptors => "out of file descriptors",
            ErrorKind::NoMemory => "out of memory or buffers",
            ErrorKind::Passing => "the connection was gone before it was taken",
            ErrorKind::Unsupported => "not supported here",
            ErrorKind::OutOfRange => "a setting is out of its range",
            ErrorKind::Shortened => "it is shorter than it was",
            ErrorKind::NotCached => "its bytes are not at hand",
            ErrorKind::NoSpace => "the disk is full",
            ErrorKind::TooLarge => "larger than a file may be",
            ErrorKind::Exists => "something has that name already",
            ErrorKind::NotFound => "no such name",
            ErrorKind::Other => "system error",
        };
        write!(f, "cannot {call}: {why}")?;
        match (self.code, os::explain(self.code)) {
            (0, _) => Ok(()),
            (code, None) => write!(f, " (code {code})"),
            (code, Some(Explained { name, remedy: "", .. })) => write!(f, " ({name}, code {code})"),
            (code, Some(Explained { name, remedy, .. })) => {
                write!(f, " ({name}, code {code}); {remedy}")
            }
        }
    }
}

impl std::error::Error for PortError {}
