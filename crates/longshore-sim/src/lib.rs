//! A simulated world: sockets, clock, jobs and chance, all from one seed and in one thread.
//!
//! A [`SimWorld`] stands in for the operating system: whatever is generic over
//! [`World`](longshore_port::World) runs on it unchanged. Connections have windows of any size and
//! latencies of any length, streams are cut anywhere, sends end short, cancels come late, and the
//! lowest free descriptor is used again at once. The same seed gives the same run, down to the
//! [trace](SimWorld::trace). A system that refuses, or is late, is there for the asking: see
//! [`Trouble`].
//!
//! A [`SimDisk`] is a disk of its own, with what a crash may do to what was not synced.
//!
//! Time is virtual and moves in [`SimWorld::advance`] only, so that a test of a minute takes no
//! time, and a wait never blocks: it returns what is due. Who drives several ports asks
//! [`SimWorld::is_due`] and [`SimWorld::pick`] for the next one, and advances when none is due.
//!
//! ```
//! use longshore_port::{BindTo, Completion, Op, Port, PortConfig, SocketOptions, Until, What, World};
//! use longshore_base::Token;
//! use longshore_sim::SimWorld;
//!
//! let world = SimWorld::new(7);
//! let mut port = world.open(&PortConfig::default())?;
//! let addr = "10.0.0.1:80".parse().unwrap();
//! let to = BindTo { addr, dual_stack: false, backlog: 16, options: SocketOptions::default() };
//! let listener = port.listen(world.bind(&to)?, Token::new(0, 0))?;
//! port.submit(listener, Op::Accept { credit: 1 });
//!
//! let client = world.client(addr); // a peer of the test's own, without a port
//! let mut out = Vec::new();
//! while out.is_empty() {
//!     world.advance();
//!     port.wait(Until::Woken, &mut out)?;
//! }
//! assert!(matches!(out[0], Completion { what: What::Accepted(_), .. }));
//! # Ok::<(), longshore_port::PortError>(())
//! ```
#![forbid(unsafe_code)]

mod client;
mod disk;
mod file;
mod network;
mod port;
mod random;
mod trace;
mod trouble;
mod world;

pub use client::SimClient;
pub use disk::SimDisk;
pub use file::SimFile;
pub use port::{SimNotifier, SimPort};
pub use trouble::Trouble;
pub use world::SimWorld;
