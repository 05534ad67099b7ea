//! The two halves of a connection, its deadlines, and how it closes.
//!
//! They are apart on purpose: the send halves of all connections lie in one untyped table, the
//! receive halves, typed by their codec, in another. So a handler may send to any connection of
//! its worker while the frame it looks at still borrows from the receive side.

mod close;
mod deadlines;
mod filter;
mod recv;
mod send;

pub use close::{CloseAct, Closing, Linger};
pub use deadlines::{Deadlines, Due, IdleOf, TIMERS_MAX, TooManyTimers};
pub use filter::Filter;
pub use recv::{Cut, CutEnd, Event, Next, Place, RecvHalf};
pub use send::{Mark, Message, Refused, SendHalf, SendPool, Transmit};
