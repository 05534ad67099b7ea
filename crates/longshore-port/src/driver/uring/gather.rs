//! Gathered sends: the lists of parts that the kernel reads.
#![expect(unsafe_code, reason = "an empty header is made of zeros")]

use crate::SendData;
use longshore_base::{Slab, Token};

/// The list of parts of one gathered send, as the kernel reads it.
struct Gather {
    header: libc::msghdr,
    parts: Vec<libc::iovec>,
}

/// Lists of parts, used again, each at a place of its own for as long as it is kept.
#[derive(Default)]
pub(super) struct Gathers {
    table: Slab<Gather>,
    free: Vec<Token>,
}

/// Lists that are kept for reuse.
const GATHERS_KEPT: usize = 256;

impl Gathers {
    pub(super) fn take(&mut self) -> Token {
        self.free.pop().unwrap_or_else(|| {
            // SAFETY: null pointers and zero lengths are a valid, empty header.
            let header = unsafe { std::mem::zeroed() };
            self.table.insert(Gather { header, parts: Vec::new() })
        })
    }

    pub(super) fn give(&mut self, token: Token) {
        if self.free.len() < GATHERS_KEPT {
            self.free.push(token);
        } else {
            self.table.remove(token);
        }
    }

    /// Memory of a peak goes home.
    pub(super) fn trim(&mut self) {
        self.table.trim();
    }

    /// Lists in use, and those that are kept.
    #[cfg(test)]
    pub(super) fn lists(&self) -> usize {
        self.table.len()
    }

    /// Lists the bytes of `data` behind the first `done`, and says where the list lies.
    pub(super) fn list(
        &mut self,
        token: Token,
        data: &SendData,
        done: usize,
    ) -> *const libc::msghdr {
        let gather = self.table.get_mut(token).expect("taken for this send");
        gather.parts.clear();
        let mut skip = done;
        for segment in data.segments() {
            let bytes = segment.bytes();
            let skipped = skip.min(bytes.len());
            skip -= skipped;
            let rest = &bytes[skipped..];
            if !rest.is_empty() {
                let iov_base = rest.as_ptr().cast_mut().cast();
                gather.parts.push(libc::iovec { iov_base, iov_len: rest.len() });
            }
        }
        gather.header.msg_iov = gather.parts.as_mut_ptr();
        gather.header.msg_iovlen = gather.parts.len() as _; // of another type with each libc
        &raw const gather.header
    }
}
