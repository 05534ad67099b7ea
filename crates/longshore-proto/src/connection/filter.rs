//! The seat between the wire and the codec, for what changes every byte: TLS, a PROXY header.

use crate::FrameError;

/// Changes bytes on their way between the wire and the codec. One value is one connection.
///
/// With a filter, received bytes are handed to the codec out of the filter's plain bytes, and what
/// is sent is copied once more; without one neither costs anything.
pub trait Filter: Send {
    /// Takes bytes as they came, and appends to `plain` what the codec gets of them. What the
    /// filter answers by itself (a handshake) goes into `reply`, and onto the wire before what is
    /// queued. Replies and what `handle_output` made leave in the order in which they were made.
    ///
    /// # Errors
    /// When the bytes cannot be right. The connection ends then.
    fn handle_input(
        &mut self,
        input: &[u8],
        plain: &mut Vec<u8>,
        reply: &mut Vec<u8>,
    ) -> Result<(), FrameError>;

    /// Takes bytes that are to be sent and appends to `wire` what goes out for them, in order.
    fn handle_output(&mut self, plain: &[u8], wire: &mut Vec<u8>);

    /// The stream ended.
    ///
    /// # Errors
    /// When it may not end here.
    fn handle_end(&mut self) -> Result<(), FrameError> {
        Ok(())
    }
}
