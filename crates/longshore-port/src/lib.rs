//! Completion ports: the only door to the outside world, and the only crate with unsafe code.
//!
//! A [`World`] is where ports come from: the operating system ([`SystemWorld`]) or a simulation.
//! A [`Port`] is one completion queue with its ops, driven by one thread. One submits an [`Op`] on
//! a socket and gets its [`Completion`] out of [`Port::wait`].
//!
//! # The promises
//!
//! Each driver keeps these; `contract` (feature `contract`) has a test for each.
//!
//! 1. At most one op of each kind is in flight per socket. `Recv` and `Accept` are streams with a
//!    credit: completions, then one end. What a caller may do stands in [`InFlight`], once for all.
//! 2. Completions come only out of `wait`, also when the kernel finished at once; per socket in
//!    order, `Closed` last.
//! 3. A send's data comes back in every outcome, unadvanced; leases go home on drop. A result
//!    that is a resource owns it.
//! 4. Memory of an op in flight never moves and is freed in one function. No error path drops it.
//! 5. A socket closes when its last op has returned. Ids carry a generation; a stale one finds
//!    nothing.
//! 6. Dropping a port cancels all, drains up to a deadline, then leaks and says so. It never frees
//!    what the kernel holds.
//! 7. Lengths fit the system call's integer; timeouts round up, never into a busy loop.
//!
//! # Adding a driver
//!
//! Implement [`Port`] in `driver/<name>/`, add it to [`SystemPort`], and run the contract suite on
//! it. Received bytes come from the one `RecvPool`, so that a lease has one `Deref` for all drivers.

#[cfg(feature = "contract")]
pub mod contract;
mod driver;
mod error;
mod error_kind;
mod file;
mod file_facts;
mod folder;
mod in_flight;
mod jobs;
mod link;
mod op;
mod port;
mod recv_pool;
mod socket;
mod work;

pub use driver::{
    ConsoleEvent, DriverChoice, DriverRefused, SystemNotifier, SystemPort, SystemWorld,
    on_console_event, system_version,
};
pub use error::{Call, PortError};
pub use error_kind::ErrorKind;
pub use file::{FileHandle, FileRange, RawFile, VirtualFile};
pub use file_facts::{Entry, FileAccess, FileFacts, FileKind};
pub use folder::{Folder, VirtualFolder};
pub use in_flight::InFlight;
pub use jobs::JobPool;
pub use link::Link;
pub use op::{Completion, End, Op, OpKind, Segment, SendData, SendMode, What};
pub use port::{Abilities, Notify, OutOfRange, Port, PortConfig, Until, Waited, World};
pub use recv_pool::{RecvBuf, RecvPool};
pub use socket::{
    Addr, BindTo, ConnectTo, Keepalive, Listening, RawSocket, SocketId, SocketOptions, Unattached,
};
pub use work::{Job, Work, WorkDone};
