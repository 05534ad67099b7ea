//! What a system refuses.

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

/// Kinds of refusals that somebody treats differently.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The peer reset the connection, or it broke.
    Reset,
    /// Nobody listens there.
    Refused,
    /// No way there: network or host unreachable, network down.
    Unreachable,
    /// No answer in time.
    TimedOut,
    /// The network ended the connection, not the peer.
    NetworkReset,
    /// Cancelled by us.
    Cancelled,
    /// The address is in use, or no local port is free.
    AddrInUse,
    /// The address is not of this machine.
    AddrNotAvailable,
    /// Not allowed.
    Denied,
    /// Out of descriptors, of this process or of the system.
    NoDescriptors,
    /// Out of memory or buffers.
    NoMemory,
    /// A connection that was gone before it was taken; the next one may be well.
    Passing,
    /// This system or driver cannot do it.
    Unsupported,
    /// A setting is out of its range.
    OutOfRange,
    /// The file is shorter than it was.
    Shortened,
    /// No such name.
    NotFound,
    /// Anything else; see the code.
    Other,
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
            io::ErrorKind::PermissionDenied => ErrorKind::Denied,
            io::ErrorKind::OutOfMemory => ErrorKind::NoMemory,
            io::ErrorKind::Unsupported => ErrorKind::Unsupported,
            io::ErrorKind::NotFound => ErrorKind::NotFound,
            _ => ErrorKind::Other,
        };
        let code = error.raw_os_error().unwrap_or(0);
        let aborted = error.kind() == io::ErrorKind::ConnectionAborted;
        if call == Call::Accept && (aborted || crate::driver::is_passing(code)) {
            return Self { kind: ErrorKind::Passing, call, code };
        }
        Self { kind: crate::driver::kind_of_code(code).unwrap_or(kind), call, code }
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
            ErrorKind::NotFound => "no such name",
            ErrorKind::Other => "system error",
        };
        write!(f, "cannot {call}: {why}")?;
        if self.code != 0 { write!(f, " (code {})", self.code) } else { Ok(()) }
    }
}

impl std::error::Error for PortError {}
