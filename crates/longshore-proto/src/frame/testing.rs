//! What the tests of all codecs share.

use super::Codec;
use crate::FrameError;
use crate::connection::{CutEnd, Event, Next, RecvHalf};
use longshore_base::BlockPool;

/// `item` on the wire.
pub(crate) fn encode<C: Codec>(codec: &C, item: C::Item<'_>) -> Result<Vec<u8>, FrameError> {
    codec.to_bytes(item).map(Vec::from)
}

/// All frames of a stream that has `input` and then ends.
pub(crate) fn decode_all<C, F>(codec: &C, input: &[u8]) -> (Vec<F>, Result<(), FrameError>)
where
    C: Codec,
    for<'a> C::Frame<'a>: Into<F>,
{
    let mut frames = Vec::new();
    let mut half = RecvHalf::<C>::default();
    let (mut budget, mut blocks) = (u32::MAX, BlockPool::new(0));
    let mut sink = |event: Event<'_, C::Frame<'_>>, _| {
        match event {
            Event::Frame(frame) => frames.push(frame.into()),
            Event::Reply(_) | Event::File(_) => {}
        }
        Ok::<_, ()>(Next::Go)
    };
    let cut = half.handle_input(codec, input, &mut budget, &mut blocks, &mut sink);
    let end = match cut.end {
        CutEnd::Empty => half.handle_end(codec, &mut sink),
        end => end,
    };
    match end {
        CutEnd::Frame(error) => (frames, Err(error)),
        CutEnd::Empty => (frames, Ok(())),
        end => panic!("{end:?}"),
    }
}
