//! Settings with their names, defaults and ranges, and the check that they can work.

mod limit;
mod limits;
mod sockets;

use longshore_base::Foreign;
use longshore_proto::connection::Filter;
use std::sync::Arc;

pub(crate) use limit::*;
pub use limits::{HalfClose, Limits, SlowReader};
pub(crate) use limits::{Role, check_frame_bytes};
pub(crate) use sockets::*;

/// Makes the filter of a connection.
pub(crate) type MakeFilter = Arc<Foreign<Box<dyn Fn() -> Box<dyn Filter> + Send + Sync>>>;
