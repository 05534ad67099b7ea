//! Completion-port servers and clients for TCP protocols of your own.
//!
//! You write a [`Handler`]: its value is one connection, its callbacks run on that connection's
//! worker thread, one at a time, in order. A [`Listener`] has an address, a [`Codec`] that cuts
//! bytes into frames, and [`Limits`]; a [`Server`] has listeners and runs. No `async`, no locks for
//! what belongs to a connection.
//!
//! ```no_run
//! use longshore::{Ctx, Handler, Lines, Listener, Result, Server};
//!
//! struct Echo;
//!
//! impl Handler for Echo {
//!     type Codec = Lines;
//!     fn on_message(&mut self, cx: &mut Ctx<'_, Self>, line: &str) -> Result {
//!         cx.send(line)
//!     }
//! }
//!
//! fn main() -> Result {
//!     let listener = Listener::tcp("127.0.0.1:7411", Lines::max(4096));
//!     Server::builder().listen(listener, |_| Ok(Echo)).run()
//! }
//! ```
//!
//! Other threads, and other connections, reach a connection through its [`Conn`] handle.
//! [`Server::connect`] and [`Ctx::connect`] go out with a [`Connector`]; [`Client`] is a blocking
//! client for tests and tools. Logging goes through `tracing`: without a subscriber a server is mute.
//!
//! With the feature `testing`, the module `testing` runs handlers on a simulated network, from one
//! seed.
#![forbid(unsafe_code)]

mod any_conn;
mod builder;
mod client;
mod closed;
mod config;
mod conn;
mod connector;
mod ctx;
#[cfg(feature = "files")]
mod ctx_files;
mod engine;
mod error;
mod files;
mod handler;
mod listener;
mod metrics;
mod push;
mod reason;
mod server;
mod signals;
mod sync;
#[cfg(feature = "testing")]
pub mod testing;
mod worker;

pub use any_conn::AnyConn;
pub use builder::{Builder, Ready};
pub use bytes::Bytes;
pub use client::{Client, ClientError};
pub use closed::{Closed, TrackedSend};
pub use config::{HalfClose, Limits, SlowReader};
pub use conn::Conn;
pub use connector::{Attempt, ConnectError, Connector, Reconnect, Retry};
pub use ctx::Ctx;
pub use engine::WorkerThread;
pub use error::{ConfigError, Error, Result, SendError, StartError};
pub use files::{
    BadName, CutFile, Digest, FileDone, FileError, FileErrorKind, FileEvent, FileFailed, FileId,
    FileList, FileName, FileProgress, FileSent, FileSource, FileWay, Folder, Listed,
};
#[cfg(feature = "files")]
pub use files::{FileOffer, FileRequest, FileStore, ListRequest};
pub use handler::{Frame, Handler, Item, Peer, Reject, Timer};
pub use listener::Listener;
pub use longshore_base::Time;
pub use longshore_port::{
    Abilities, Addr, DriverChoice, DriverRefused, ErrorKind, FileHandle, Keepalive, Link,
    PortConfig, PortError, SocketOptions, SystemWorld, system_version,
};
pub use longshore_proto::connection::{Filter, IdleOf, Linger, TooManyTimers};
pub use longshore_proto::frame::*;
pub use longshore_proto::{Codec, Decoded, FrameError, In, Out};
pub use metrics::Snapshot;
pub use push::{Claim, Group, Groups, OnDuplicate, Owners, Receipt};
pub use reason::DisconnectReason;
pub use server::{ConnId, ConnInfo, Delivered, Sent, Server, Tick};

/// The programs in the README and in the guide compile, and what asserts something is true.
#[cfg(doctest)]
mod pages {
    #[doc = include_str!("../../../README.md")]
    struct Readme;
    #[doc = include_str!("../../../docs/guide/backpressure.md")]
    struct Backpressure;
    #[doc = include_str!("../../../docs/guide/callbacks.md")]
    struct Callbacks;
    #[cfg(feature = "files")]
    #[doc = include_str!("../../../docs/guide/files.md")]
    struct Files;
    #[doc = include_str!("../../../docs/guide/filters.md")]
    struct Filters;
    #[doc = include_str!("../../../docs/guide/framing.md")]
    struct Framing;
    #[doc = include_str!("../../../docs/guide/life-of-a-connection.md")]
    struct LifeOfAConnection;
    #[doc = include_str!("../../../docs/guide/limits.md")]
    struct Limits;
    #[doc = include_str!("../../../docs/guide/logs.md")]
    struct Logs;
    #[doc = include_str!("../../../docs/guide/pushing.md")]
    struct Pushing;
    #[doc = include_str!("../../../docs/guide/slow-readers.md")]
    struct SlowReaders;
    #[doc = include_str!("../../../docs/guide/start-and-stop.md")]
    struct StartAndStop;
    #[doc = include_str!("../../../docs/guide/testing.md")]
    struct Testing;
    #[doc = include_str!("../../../docs/guide/time.md")]
    struct Time;
}
