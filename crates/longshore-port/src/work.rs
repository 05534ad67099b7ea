//! What is done off a port's thread, as values.

use crate::driver::os;
use crate::{Addr, Call, ErrorKind, FileRange, PortError};
use bytes::Bytes;
use std::any::Any;
use std::fmt;
use std::net::ToSocketAddrs;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A closure that runs on a job thread and whose result goes back to its port.
pub type Job = Box<dyn FnOnce() -> Box<dyn Any + Send> + Send>;

/// What is done off a port's thread.
pub enum Work {
    /// Runs a closure; a panic in it is a result.
    Job(Job),
    /// Looks `host:port` up.
    Resolve(Box<str>),
    /// Reads a part of a file, at most `FILE_BYTES_MAX` bytes, and has the system read ahead.
    Read(FileRange),
    /// Gives memory that the allocator keeps for later back to the system, where the allocator has a
    /// way to ask for that. Takes milliseconds after a peak.
    TrimHeap,
}

/// How work ended.
pub enum WorkDone {
    /// What the closure returned, or what it panicked with.
    Job(std::thread::Result<Box<dyn Any + Send>>),
    /// The addresses, at least one.
    Resolved(Result<Vec<Addr>, PortError>),
    /// All bytes of the part.
    Read(Result<Bytes, PortError>),
    /// What could be given back was.
    HeapTrimmed,
}

impl Work {
    /// Does it, here and now.
    pub fn run(self) -> WorkDone {
        match self {
            Self::Job(job) => WorkDone::Job(catch_unwind(AssertUnwindSafe(job))),
            Self::Resolve(name) => WorkDone::Resolved(resolve(&name)),
            Self::Read(range) => WorkDone::Read(crate::file::read(&range)),
            Self::TrimHeap => {
                os::trim_heap();
                WorkDone::HeapTrimmed
            }
        }
    }
}

fn resolve(name: &str) -> Result<Vec<Addr>, PortError> {
    let addrs: Vec<_> = name
        .to_socket_addrs()
        .map_err(|error| PortError {
            kind: ErrorKind::NotFound,
            ..PortError::from_io(Call::Resolve, &error)
        })?
        .map(Addr::from)
        .collect();
    if addrs.is_empty() {
        return Err(PortError::new(Call::Resolve, ErrorKind::NotFound));
    }
    Ok(addrs)
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Job(_) => f.write_str("Job"),
            Self::Resolve(name) => write!(f, "Resolve({name})"),
            Self::Read(range) => write!(f, "Read({range:?})"),
            Self::TrimHeap => f.write_str("TrimHeap"),
        }
    }
}

impl fmt::Debug for WorkDone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Job(done) => write!(f, "Job({})", if done.is_ok() { "done" } else { "panicked" }),
            Self::Resolved(addrs) => write!(f, "Resolved({addrs:?})"),
            Self::Read(Ok(bytes)) => write!(f, "Read({} bytes)", bytes.len()),
            Self::Read(Err(error)) => write!(f, "Read({error:?})"),
            Self::HeapTrimmed => f.write_str("HeapTrimmed"),
        }
    }
}
