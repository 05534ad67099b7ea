//! What a worker calls things in its port: kind, slot and generation in one number.

use crate::config::CONNECTIONS;
use longshore_base::Token;

/// What it is, and which table its slot belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// A connection.
    Conn = 0,
    /// A listener; its number.
    Listener,
    /// An outgoing connection, from the first attempt on.
    Dial,
    /// Free memory that goes back to the system.
    Heap,
    /// A piece of a file that is read for its connection.
    Read,
    /// Other work with a file of that connection.
    File,
}

/// Slots of a table; the kind takes the four bits above them.
const INDEX_BITS: u32 = 28;
const INDEX_MASK: u32 = (1 << INDEX_BITS) - 1;
const _: () =
    assert!(*CONNECTIONS.range.end() <= 1 << INDEX_BITS, "a server full of connections has names");

/// Names a thing.
///
/// ```text
/// 63      generation      32 31  kind  28 27     index     0
/// ```
///
/// # Panics
/// With 2^28 slots of a table in use.
#[inline]
pub(super) fn name(kind: Kind, token: Token) -> Token {
    assert!(token.index() <= INDEX_MASK, "2^28 things of a kind in one worker");
    Token::new(token.index() | (kind as u32) << INDEX_BITS, token.generation())
}

/// What was named; no kind if it was named by nobody here.
#[inline]
pub(super) fn parse(name: Token) -> (Option<Kind>, Token) {
    let kind = match name.index() >> INDEX_BITS {
        0 => Some(Kind::Conn),
        1 => Some(Kind::Listener),
        2 => Some(Kind::Dial),
        3 => Some(Kind::Heap),
        4 => Some(Kind::Read),
        5 => Some(Kind::File),
        _ => None,
    };
    (kind, Token::new(name.index() & INDEX_MASK, name.generation()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_what_was_put_in() {
        use Kind::{Conn, Dial, File, Heap, Listener, Read};
        for kind in [Conn, Listener, Dial, Heap, Read, File] {
            for token in [Token::new(0, 0), Token::new(INDEX_MASK, u32::MAX), Token::new(5, 7)] {
                assert_eq!(parse(name(kind, token)), (Some(kind), token));
            }
        }
        assert_eq!(parse(Token::new(u32::MAX, 1)), (None, Token::new(INDEX_MASK, 1)));
    }
}
