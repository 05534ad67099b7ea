//! Files that are sent: what drivers do alike.

use crate::driver::os;
use crate::file::{NOT_CACHED, SHORTENED};
use crate::{Call, ErrorKind, FileHandle, FileRange, PortError, RawFile};
use socket2::Socket;
use std::io;

/// Gives a socket that does not block what it has room for, of the range behind its first `done` bytes,
/// and counts it there. An error as well at the end of a file that is too short, and where the disk would
/// have to be waited for: that is asked once, as what is at hand now will be so for as long as this takes.
pub(super) fn send_file(
    socket: &Socket,
    range: &FileRange,
    done: &mut usize,
) -> Result<(), PortError> {
    let len = usize::try_from(range.len).unwrap_or(usize::MAX);
    if !range.file.is_cached(range.offset + *done as u64, (len - *done) as u64) {
        return Err(NOT_CACHED);
    }
    while *done < len {
        let (offset, left) = (range.offset + *done as u64, len - *done);
        let sent = match range.file.raw() {
            RawFile::System(file) => os::send_file(socket, file, offset, left),
            RawFile::Virtual(_) => None,
        };
        match sent.unwrap_or_else(|| send_read(socket, &range.file, offset, left)) {
            Ok(0) => return Err(SHORTENED),
            Ok(count) => *done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => {
                return Err(match PortError::from_io(Call::Send, &error) {
                    // What says nothing of a connection is the file's.
                    it if it.kind == ErrorKind::Other => PortError { call: Call::File, ..it },
                    of_connection => of_connection,
                });
            }
        }
    }
    Ok(())
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
