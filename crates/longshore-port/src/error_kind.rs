//! What kinds of refusals there are.

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
    /// Bytes of the file are not at hand: who wants them has them read (`Work::Read`).
    NotCached,
    /// The disk is full, or what this user may have of it.
    NoSpace,
    /// Larger than a file may be there.
    TooLarge,
    /// Something has that name already.
    Exists,
    /// No such name.
    NotFound,
    /// Anything else; see the code.
    Other,
}
