//! Files that are sent: what drivers do alike.

use crate::driver::os;
use crate::file::{NOT_CACHED, SHORTENED};
use crate::{Call, ErrorKind, FileHandle, FileRange, PortError, RawFile};
use socket2::Socket;
use std::io;

/// Gives a socket that does not block what it has room for, of the range behind its first `done`
/// bytes. None if it has no room; an error as well at the end of a file that is too short, and where
/// the disk would have to be waited for.
pub(super) fn send_file(
    socket: &Socket,
    range: &FileRange,
    done: usize,
) -> Result<Option<usize>, PortError> {
    let left = usize::try_from(range.len).unwrap_or(usize::MAX) - done;
    let offset = range.offset + done as u64;
    if !range.file.is_cached(offset, left as u64) {
        return Err(NOT_CACHED);
    }
    loop {
        let sent = match range.file.raw() {
            RawFile::System(file) => os::send_file(socket, file, offset, left),
            RawFile::Virtual(_) => None,
        };
        return match sent.unwrap_or_else(|| send_read(socket, &range.file, offset, left)) {
            Ok(0) => Err(SHORTENED),
            Ok(count) => Ok(Some(count)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(match PortError::from_io(Call::Send, &error) {
                // What says nothing of a connection is the file's.
                other if other.kind == ErrorKind::Other => PortError { call: Call::File, ..other },
                of_connection => of_connection,
            }),
        };
    }
}

/// Bytes of a file that are read for one call, where the system does not send it by itself.
const PIECE_BYTES: usize = 64 * 1024;

/// The same by way of our own memory.
fn send_read(socket: &Socket, file: &FileHandle, offset: u64, most: usize) -> io::Result<usize> {
    let mut piece = vec![0; most.min(PIECE_BYTES)];
    match file.read_at(&mut piece, offset)? {
        0 => Ok(0),
        count => socket.send_with_flags(&piece[..count], os::SEND_FLAGS),
    }
}
