//! Memory that may not be there.

/// The system has no memory for so many bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutOfMemory(pub usize);

/// Puts bytes behind others: for those of which a peer chooses how many they are (R13).
///
/// # Errors
/// With the bytes of both together, when there is no memory for them. Then nothing has happened.
#[inline]
pub fn try_extend(kept: &mut Vec<u8>, bytes: &[u8]) -> Result<(), OutOfMemory> {
    let wanted = kept.len() + bytes.len();
    kept.try_reserve(bytes.len()).map_err(|_| OutOfMemory(wanted))?;
    kept.extend_from_slice(bytes);
    Ok(())
}
