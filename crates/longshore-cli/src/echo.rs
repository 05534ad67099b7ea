//! The handler of `serve`: every message goes back to where it came from.

use longshore::{
    Bytes, Codec, Ctx, Frame, Handler, LengthDelimited, Lines, Longshore, Raw, Result, SendError,
};

/// A codec whose frames can be sent as they are.
pub(crate) trait EchoCodec: Codec + Copy {
    /// The frame as something to send.
    fn back<'a>(frame: &Self::Frame<'a>) -> Self::Item<'a>;
}

/// For codecs that send what they receive, by value.
macro_rules! echo_codecs {
    ($($codec:ty),*) => {$(
        impl EchoCodec for $codec {
            #[inline]
            fn back<'a>(frame: &Self::Frame<'a>) -> Self::Item<'a> {
                *frame
            }
        }
    )*};
}

echo_codecs!(Raw, Lines, LengthDelimited, Longshore);

/// One connection. It stops reading while its peer does not read: the listener refuses what does
/// not fit the send queue, and the one message that was refused waits here.
#[derive(Debug)]
pub(crate) struct Echo<C> {
    codec: C,
    waiting: Option<Bytes>,
}

impl<C: EchoCodec> Echo<C> {
    pub(crate) fn new(codec: C) -> Self {
        Self { codec, waiting: None }
    }

    #[cold]
    fn keep(&mut self, cx: &mut Ctx<'_, Self>, frame: &Frame<'_, Self>) -> Result {
        self.waiting = Some(self.codec.to_bytes(C::back(frame))?);
        cx.pause();
        Ok(())
    }
}

impl<C: EchoCodec> Handler for Echo<C> {
    type Codec = C;

    #[inline]
    fn on_message(&mut self, cx: &mut Ctx<'_, Self>, frame: Frame<'_, Self>) -> Result {
        cx.admit(); // who sends a whole message has logged in
        match cx.try_send(C::back(&frame)) {
            Ok(()) => Ok(()),
            Err(SendError::Full) => self.keep(cx, &frame),
            Err(error) => Err(error.into()),
        }
    }

    fn on_writable(&mut self, cx: &mut Ctx<'_, Self>) -> Result {
        let Some(bytes) = self.waiting.take() else { return Ok(()) };
        match cx.send_encoded(bytes.clone()) {
            Ok(()) => cx.resume(),
            Err(SendError::Full) => self.waiting = Some(bytes),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}
