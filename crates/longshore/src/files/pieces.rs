//! Memory of pieces of files that are sent: used again and again, since new memory of that size costs as
//! much as what is done with it.

use bytes::Bytes;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Free pieces that a connection keeps.
const KEPT_MAX: usize = 4;

/// Pieces of one connection. Cloning shares them, from any thread.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pieces(Arc<Mutex<Vec<Vec<u8>>>>);

/// A piece that is lent; it goes home when the last of its bytes are sent.
struct Lent {
    bytes: Vec<u8>,
    len: usize,
    home: Pieces,
}

impl Pieces {
    /// Room for `len` bytes, whatever they are.
    pub(crate) fn take(&self, len: usize) -> Vec<u8> {
        let mut bytes = self.free().pop().unwrap_or_default();
        if bytes.len() < len {
            bytes.resize(len, 0);
        }
        bytes
    }

    /// The first `len` of these bytes, to be sent.
    pub(crate) fn lend(self, bytes: Vec<u8>, len: usize) -> Bytes {
        if len == 0 {
            return Bytes::new();
        }
        Bytes::from_owner(Lent { bytes, len, home: self })
    }

    fn free(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut free = self.home.free();
        if free.len() < KEPT_MAX {
            free.push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_goes_home_when_its_last_bytes_are_gone() {
        let pieces = Pieces::default();
        let mut piece = pieces.take(10);
        piece[..10].copy_from_slice(b"0123456789");
        let at = piece.as_ptr();
        let mut bytes = pieces.clone().lend(piece, 10);
        let front = bytes.split_to(4);
        drop(bytes);
        assert_eq!((&front[..], pieces.free().len()), (&b"0123"[..], 0));
        drop(front);
        let again = pieces.take(3);
        assert!(again.as_ptr() == at && again.len() == 10);
        assert!(pieces.clone().lend(again, 0).is_empty());
        let many: Vec<_> = (0..9).map(|_| pieces.clone().lend(vec![0; 5], 5)).collect();
        drop(many);
        assert_eq!(pieces.free().len(), KEPT_MAX);
    }
}
