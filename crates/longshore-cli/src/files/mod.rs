//! Files to and from a server: `put`, `get` and `ls`.
//!
//! ```text
//! a command ─► Session ─► one connection ─► what came of it ─► Board: bars, lines, objects
//! ```

mod bar;
mod board;
mod names;
mod session;

pub(crate) use board::{Board, Verb};
pub(crate) use names::{FILES_MAX, Found, Target, date};
pub(crate) use session::{News, Session};
