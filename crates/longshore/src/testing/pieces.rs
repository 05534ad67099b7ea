//! A stream in pieces of every size, for whoever writes a codec.

use crate::{Codec, FrameError};
use longshore_base::BlockPool;
use longshore_proto::RecvHalf;
use longshore_proto::connection::{CutEnd, Event, Next};
use std::convert::Infallible;
use std::fmt::Debug;

/// What a stream came to.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct InPieces<T> {
    /// Its frames.
    pub frames: Vec<T>,
    /// What the codec answered by itself.
    pub replies: Vec<u8>,
    /// What is wrong with it, or with where it ends.
    pub error: Option<FrameError>,
}

/// Hands a stream that has `stream` and then ends to `codec`: whole, in pieces of one size, for every
/// size, and in two pieces, for every place to cut. TCP may do any of it. `keep` makes something of
/// each frame that can be compared; the frame itself is only borrowed.
///
/// Looks at about the square of the length of `stream`: a kilobyte takes a moment, a megabyte for
/// ever. Which `total` the codec asks for with [`More`](crate::Decoded::More) is held to its bound,
/// as a server does.
///
/// # Panics
/// When the frames, the replies or the kind of error depend on how the stream came in.
///
/// ```
/// use longshore::testing::in_pieces;
/// use longshore::{FrameError, Lines};
///
/// let codec = Lines::max(10);
/// assert_eq!(in_pieces(&codec, b"one\r\ntwo\nand", str::to_owned).frames, ["one", "two", "and"]);
/// let endless = in_pieces(&codec, b"one\nfar too long for that", str::to_owned);
/// assert_eq!(endless.frames, ["one"]);
/// assert!(matches!(endless.error, Some(FrameError::TooLong { max: 10, .. })));
/// ```
pub fn in_pieces<C, T>(
    codec: &C,
    stream: &[u8],
    mut keep: impl FnMut(C::Frame<'_>) -> T,
) -> InPieces<T>
where
    C: Codec,
    T: PartialEq + Debug,
{
    let whole = decode(codec, &[stream], &mut keep);
    for size in 1..stream.len() {
        let pieces: Vec<_> = stream.chunks(size).collect();
        let so = decode(codec, &pieces, &mut keep);
        assert!(whole.is_like(&so), "in pieces of {size} bytes {so:?}, as a whole {whole:?}");
    }
    for at in 1..stream.len() {
        let (first, second) = stream.split_at(at);
        let so = decode(codec, &[first, second], &mut keep);
        assert!(whole.is_like(&so), "cut at byte {at} {so:?}, as a whole {whole:?}");
    }
    whole
}

impl<T: PartialEq> InPieces<T> {
    /// Whether it is the same but for the text of an error, which may show what came with it.
    fn is_like(&self, other: &Self) -> bool {
        let same_error = match (&self.error, &other.error) {
            (Some(FrameError::Invalid(_)), Some(FrameError::Invalid(_))) => true,
            (one, other) => one == other,
        };
        same_error && self.frames == other.frames && self.replies == other.replies
    }
}

fn decode<C: Codec, T>(
    codec: &C,
    pieces: &[&[u8]],
    keep: &mut impl FnMut(C::Frame<'_>) -> T,
) -> InPieces<T> {
    let mut decoded = InPieces { frames: Vec::new(), replies: Vec::new(), error: None };
    let mut half = RecvHalf::<C>::default();
    let (mut budget, mut blocks) = (u32::MAX, BlockPool::new(1));
    let mut sink = |event: Event<'_, C::Frame<'_>>, _| {
        match event {
            Event::Frame(frame) => decoded.frames.push(keep(frame)),
            Event::Reply(bytes) => decoded.replies.extend_from_slice(&bytes),
            Event::File(bytes) => decoded.replies.extend_from_slice(bytes),
        }
        Ok::<_, Infallible>(Next::Go)
    };
    let mut ends = pieces
        .iter()
        .map(|piece| half.handle_input(codec, piece, &mut budget, &mut blocks, &mut sink).end);
    let failed = ends.find(|end| matches!(end, CutEnd::Frame(_)));
    drop(ends);
    if let CutEnd::Frame(error) = failed.unwrap_or_else(|| half.handle_end(codec, &mut sink)) {
        decoded.error = Some(error);
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Decoded as Found, LengthDelimited, Out};

    /// Takes whatever a receive brings for a frame, which is what everybody writes first, or tells of
    /// its length.
    struct Naive {
        answers: bool,
    }

    impl Codec for Naive {
        type Frame<'a> = &'a [u8];
        type Item<'a> = &'a [u8];
        type Decoder = ();

        fn frame_bytes_max(&self) -> usize {
            100
        }

        fn decode<'a>(&self, (): &mut (), input: &'a [u8]) -> Result<Found<&'a [u8]>, FrameError> {
            let used = input.len();
            if self.answers {
                let reply = vec![u8::try_from(used).unwrap()].into();
                return Ok(Found::Reply { used, reply });
            }
            Ok(Found::Frame { frame: input, used })
        }

        fn encode(&self, item: &[u8], out: &mut Out<'_>) -> Result<(), FrameError> {
            out.put_slice(item);
            Ok(())
        }
    }

    #[test]
    #[should_panic(expected = "in pieces of 1 bytes")]
    fn a_codec_that_takes_receives_for_frames_is_found() {
        in_pieces(&Naive { answers: false }, b"hello", <[u8]>::to_vec);
    }

    #[test]
    #[should_panic(expected = "in pieces of 1 bytes")]
    fn a_codec_that_answers_receives_is_found() {
        in_pieces(&Naive { answers: true }, b"hello", <[u8]>::to_vec);
    }

    #[test]
    fn an_end_within_a_frame_is_told() {
        let found = in_pieces(&LengthDelimited::u8(255), b"\x02hi\x05hel", <[u8]>::to_vec);
        assert_eq!((found.frames, found.replies), (vec![b"hi".to_vec()], vec![]));
        assert!(matches!(found.error, Some(FrameError::Truncated { .. })), "{:?}", found.error);
        assert_eq!(in_pieces(&LengthDelimited::u8(255), b"", <[u8]>::to_vec).frames.len(), 0);
    }
}
