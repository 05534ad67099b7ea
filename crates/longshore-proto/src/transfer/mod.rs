//! Files between two peers of the project's own protocol: what goes over the wire, and who waits for
//! what. Bytes of files, disks and names of folders are somebody else's.

mod fault;

pub use fault::FileErrorKind;
