//! The seat between the wire and the codec, for what changes every byte: TLS, a PROXY header.

use crate::FrameError;

/// Changes bytes on their way between the wire and the codec. One value is one connection.
///
/// With a filter, received bytes are handed to the codec out of the filter's plain bytes, and what
/// is sent is copied once more; without one neither costs anything. What it makes leaves in the
/// order in which it made it, whichever method that was.
///
/// ```text
/// handle_start ──► handle_input / handle_output, as bytes come and go ──┬─► handle_close: we close
///                                                                       └─► handle_end: the peer did
/// ```
///
/// An error, or a panic, ends its connection. That of `handle_input` and `handle_end` lets what was
/// made before still go out, an alert for one; behind the others nothing can pass any more.
///
/// ```
/// # use longshore_proto::connection::Filter;
/// # use longshore_proto::FrameError;
///
/// /// Hides bytes from nobody.
/// struct Xor(u8);
///
/// impl Filter for Xor {
///     fn handle_input(
///         &mut self,
///         input: &[u8],
///         plain: &mut Vec<u8>,
///         _reply: &mut Vec<u8>,
///     ) -> Result<(), FrameError> {
///         plain.extend(input.iter().map(|byte| byte ^ self.0));
///         Ok(())
///     }
///
///     fn handle_output(&mut self, plain: &[u8], wire: &mut Vec<u8>) -> Result<(), FrameError> {
///         wire.extend(plain.iter().map(|byte| byte ^ self.0));
///         Ok(())
///     }
/// }
///
/// let mut wire = Vec::new();
/// Xor(1).handle_output(b"abc", &mut wire)?;
/// assert_eq!(wire, b"`cb");
/// # Ok::<(), FrameError>(())
/// ```
pub trait Filter: Send {
    /// The connection stands, and nothing was sent or received: what this side says first (a client
    /// hello) goes into `wire`. The default says nothing.
    ///
    /// # Errors
    /// When it cannot begin.
    fn handle_start(&mut self, wire: &mut Vec<u8>) -> Result<(), FrameError> {
        let _ = wire;
        Ok(())
    }

    /// Takes bytes as they came, and appends to `plain` what the codec gets of them. What the
    /// filter answers by itself (a handshake), and what it kept back until now, goes into `reply`.
    ///
    /// # Errors
    /// When the bytes cannot be right.
    fn handle_input(
        &mut self,
        input: &[u8],
        plain: &mut Vec<u8>,
        reply: &mut Vec<u8>,
    ) -> Result<(), FrameError>;

    /// Takes bytes that are to be sent and appends to `wire` what goes out for them, in order. What
    /// cannot go out yet it keeps, and counts in [`held_bytes`](Self::held_bytes).
    ///
    /// # Errors
    /// When they cannot be sent.
    fn handle_output(&mut self, plain: &[u8], wire: &mut Vec<u8>) -> Result<(), FrameError>;

    /// Bytes given to `handle_output` that it keeps for later. They count as queued, against the
    /// bound of the queue, and are told as sent when they have left. The default keeps none.
    fn held_bytes(&self) -> usize {
        0
    }

    /// Whether what came ends within something that the peer has to go on with: a handshake, a record.
    /// It then has the time of a frame (`limits.frame`), from anew whenever the filter made something
    /// of it. The default is never within anything.
    fn is_torn(&self) -> bool {
        false
    }

    /// Whether the peer has said, within what came, that nothing more comes (`close_notify`). What
    /// follows is not looked at. The default only knows the end of the stream itself.
    fn has_ended(&self) -> bool {
        false
    }

    /// This side closes, and everything else is out: what it says last (`close_notify`) goes into
    /// `wire`. Not when the connection is aborted. The default says nothing.
    ///
    /// # Errors
    /// When it cannot.
    fn handle_close(&mut self, wire: &mut Vec<u8>) -> Result<(), FrameError> {
        let _ = wire;
        Ok(())
    }

    /// The stream has ended. Not behind [`has_ended`](Self::has_ended) alone.
    ///
    /// # Errors
    /// When it may not end here.
    fn handle_end(&mut self) -> Result<(), FrameError> {
        Ok(())
    }
}
