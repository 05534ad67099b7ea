//! Files between two peers of the project's own protocol: what goes over the wire, and who waits for
//! what. Bytes of files, disks and names of folders are somebody else's.

mod clock;
mod fault;
mod incoming;
mod outgoing;
mod wire;

pub use clock::Pace;
pub use fault::{FileErrorKind, TransferError};
pub use incoming::{Incoming, RecvAct};
pub use outgoing::{Chunk, OFFERS_MAX, Outgoing, SendAct};
pub use wire::{
    CAPABILITY_FILES, Digest, FileFrame, FilePiece, FileStream, Last, Listed, Offered, data_head,
    hello, ping,
};

#[cfg(test)]
mod tests;
