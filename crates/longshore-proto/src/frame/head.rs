//! How frames of the project's own protocol begin: what its codec and file transfer share.

/// The version of the protocol that this program speaks.
pub const LONGSHORE_VERSION: u8 = 1;

/// The first byte of each frame.
pub(crate) const MAGIC: u8 = b'L';

/// Bytes in front of each payload.
pub(crate) const HEADER_BYTES: usize = 8;

/// The type of a frame that says what its sender can do, and the bytes of its payload.
pub(crate) const HELLO: u8 = 0;
pub(crate) const HELLO_BYTES: u32 = 8;

/// Types of a question whether somebody is there, and of its answer.
pub(crate) const PING: u8 = 3;
pub(crate) const PONG: u8 = 4;

/// Most bytes of a file in one frame, 64 KiB: so long a message waits behind a file.
pub const FILE_CHUNK_BYTES_MAX: usize = 64 * 1024;

/// Most bytes of the payload of each other frame of file transfer.
pub const FILE_CONTROL_BYTES_MAX: usize = 2 * 1024;

/// Bytes in front of those of the file, in a frame that has some: which transfer, and from where.
pub(crate) const DATA_HEAD_BYTES: usize = 12;

/// Bytes of a digest: BLAKE3.
pub const DIGEST_BYTES: usize = 32;

/// Types of the frames of file transfer. Those of the sender of a file, and those of its receiver, are
/// apart, so that the number of a transfer is always that of its sender.
pub(crate) mod file_types {
    pub(crate) const OFFER: u8 = 16;
    pub(crate) const ACCEPT: u8 = 17;
    pub(crate) const DATA: u8 = 18;
    pub(crate) const END: u8 = 19;
    pub(crate) const CREDIT: u8 = 20;
    pub(crate) const DONE: u8 = 21;
    pub(crate) const REFUSE: u8 = 22;
    pub(crate) const GIVE_UP: u8 = 23;
    pub(crate) const GET: u8 = 24;
    pub(crate) const LIST: u8 = 25;
    pub(crate) const ENTRIES: u8 = 26;
    pub(crate) const NO: u8 = 27;
    pub(crate) const SENDER_HOLDS: u8 = 28;
    pub(crate) const RECEIVER_HOLDS: u8 = 29;
}

/// What a frame begins with.
pub(crate) fn header(kind: u8, length: u32) -> [u8; HEADER_BYTES] {
    let [a, b, c, d] = length.to_be_bytes();
    [MAGIC, LONGSHORE_VERSION, kind, 0, a, b, c, d]
}

/// The lengths that the payload of a frame of file transfer may have; none of another type.
pub(crate) fn file_payload_bytes(kind: u8) -> Option<std::ops::RangeInclusive<usize>> {
    use file_types::{
        ACCEPT, CREDIT, DATA, DONE, END, ENTRIES, GET, GIVE_UP, LIST, NO, OFFER, RECEIVER_HOLDS,
        REFUSE, SENDER_HOLDS,
    };
    Some(match kind {
        OFFER => 41..=FILE_CONTROL_BYTES_MAX,
        ACCEPT => 52..=52,
        DATA => DATA_HEAD_BYTES + 1..=DATA_HEAD_BYTES + FILE_CHUNK_BYTES_MAX,
        END => 44..=44,
        CREDIT => 20..=20,
        DONE => 12..=12,
        REFUSE | GIVE_UP | NO => 6..=FILE_CONTROL_BYTES_MAX,
        GET => 21..=FILE_CONTROL_BYTES_MAX,
        LIST => 4..=FILE_CONTROL_BYTES_MAX,
        ENTRIES => 5..=FILE_CONTROL_BYTES_MAX,
        SENDER_HOLDS | RECEIVER_HOLDS => 5..=5,
        _ => return None,
    })
}
