//! What lies in a file from before, as a digest.

use blake3::Hasher;
use longshore_port::FileHandle;
use std::io;

/// Bytes that are read at a time where nobody gets them.
const PIECE_BYTES: usize = 256 * 1024;

/// Adds at most `most` bytes of a file, from `start` on, to a digest: how many there were. May wait for
/// the disk.
pub(crate) fn look(
    hasher: &mut Hasher,
    file: &FileHandle,
    start: u64,
    most: u64,
) -> io::Result<u64> {
    let piece = |left: u64| usize::try_from(left).unwrap_or(usize::MAX).min(PIECE_BYTES);
    let (mut bytes, mut done) = (vec![0; piece(most)], 0);
    while done < most {
        let count = file.read_at(&mut bytes[..piece(most - done)], start + done)?;
        if count == 0 {
            break;
        }
        hasher.update(&bytes[..count]);
        done += count as u64;
    }
    Ok(done)
}
