//! The words of every layer of longshore. Knows no socket and no protocol.
//!
//! - [`Time`]: nanoseconds since a world began; the only clock value above the port.
//! - [`Token`] and [`Slab`]: generational names, and the chunked table behind them.
//! - [`Block`] and [`BlockPool`]: owned bytes that go into an op and come back.
//! - [`Foreign`], [`caught`] and [`event!`]: code of the user's, whose panics end where they are.
//! - [`FileName`]: what a file below a folder may be called.
//! - [`OutOfMemory`] and [`try_extend`]: memory that may not be there, for what a peer makes large.
//! - [`Segment`] and [`SendData`]: what one send is made of.
//! - [`SplitMix64`]: chance from a seed.
#![forbid(unsafe_code)]

mod block;
mod chance;
mod file_name;
mod foreign;
mod memory;
mod segment;
mod slab;
mod time;

pub use block::{BLOCK_BYTES, Block, BlockPool};
pub use chance::SplitMix64;
pub use file_name::{BadName, FileName};
pub use foreign::{Foreign, caught, panic_text};
pub use memory::{OutOfMemory, try_extend};
pub use segment::{
    FILE_BYTES_MAX, FileRange, Lease, SEGMENTS_MAX, SEND_BYTES_MAX, Segment, SendData,
};
pub use slab::{Slab, Token};
pub use time::Time;
