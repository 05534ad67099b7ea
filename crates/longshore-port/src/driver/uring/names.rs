//! What the ring calls its ops: kind, slot and generation in one number.

use longshore_base::Token;

/// What an op of the ring is, and which table its slot belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Kind {
    /// A multishot receive; slot of the socket.
    Recv = 0,
    /// A send that does not wait and says nothing when it went out whole; slot of the send.
    TrySend,
    /// A send that waits for room; slot of the send.
    WholeSend,
    /// One accept; slot of its address.
    Accept,
    /// A connect; slot of the socket.
    Connect,
    /// The read on the notifier's counter; no slot.
    Wake,
    /// A poll for the end of a connection; slot of the socket.
    Watch,
    /// A poll for room, of a file that is sent; slot of the send.
    Room,
    /// A cancel that did not work; slot of what it was to cancel.
    Cancel,
}

/// Marks the name of a cancel; the rest is the name of what it cancels.
const CANCEL: u64 = 1 << 31;

/// Names the cancel of op `name`.
#[inline]
pub(super) const fn cancel_of(name: u64) -> u64 {
    name | CANCEL
}

/// Names the op that cancel `name` was to end.
#[inline]
pub(super) const fn cancelled_by(name: u64) -> u64 {
    name & !CANCEL
}

/// Slots of a table; the kind takes the bits above them.
const INDEX_BITS: u32 = 28;

/// Names an op.
///
/// ```text
/// 63        generation        32 31 cancel, kind 28 27     index     0
/// ```
///
/// # Panics
/// With 2^28 slots of a table in use.
#[inline]
pub(super) const fn user_data(kind: Kind, token: Token) -> u64 {
    assert!(token.index() < 1 << INDEX_BITS, "2^28 ops in flight");
    token.to_bits() | (kind as u64) << INDEX_BITS
}

/// What was named.
#[inline]
pub(super) fn parse(user_data: u64) -> (Kind, Token) {
    const KINDS: u64 = 0xf << INDEX_BITS;
    let kind = match (user_data & KINDS) >> INDEX_BITS {
        _ if user_data & CANCEL != 0 => Kind::Cancel,
        0 => Kind::Recv,
        1 => Kind::TrySend,
        2 => Kind::WholeSend,
        3 => Kind::Accept,
        4 => Kind::Connect,
        5 => Kind::Wake,
        6 => Kind::Watch,
        7 => Kind::Room,
        _ => Kind::Cancel,
    };
    (kind, Token::from_bits(user_data & !KINDS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_what_was_put_in() {
        let kinds = [
            Kind::Recv,
            Kind::TrySend,
            Kind::WholeSend,
            Kind::Accept,
            Kind::Connect,
            Kind::Wake,
            Kind::Watch,
            Kind::Room,
        ];
        for kind in kinds {
            for token in [Token::new(0, 0), Token::new((1 << 28) - 1, u32::MAX), Token::new(5, 7)] {
                let name = user_data(kind, token);
                assert_eq!(parse(name), (kind, token));
                let cancel = cancel_of(name);
                assert_eq!(parse(cancel), (Kind::Cancel, token));
                assert_eq!(cancelled_by(cancel), name);
            }
        }
    }
}
