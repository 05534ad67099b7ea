//! What fuzzers call, and the corpus test: one function a codec, for any bytes.
//!
//! The first bytes steer the settings of the codec and how the stream is cut, the rest is the
//! stream. Each function panics when the frames depend on how the stream came in (R21), or when a
//! frame that was read is not read as the same once it is written again.

use crate::FrameError;
use crate::connection::{CutEnd, Event, Next, RecvHalf};
use crate::frame::{
    ByteOrder, Codec, DELIMITER_BYTES_MAX, Delimiter, Fixed, LengthDelimited, Lines, Longshore,
    Message, Tagged, TypeTagged,
};
use longshore_base::BlockPool;
use std::convert::Infallible;
use std::fmt::Debug;

/// Streams up to this length are cut in two at every byte.
const CUT_EVERYWHERE_BYTES_MAX: usize = 64;

/// [`LengthDelimited`], in all its shapes.
pub fn length_frame(data: &[u8]) {
    let Some((&[width, shape, max, seed], stream)) = data.split_first_chunk() else { return };
    let order = if shape & 1 == 0 { ByteOrder::Big } else { ByteOrder::Little };
    let codec = LengthDelimited::new(1 + width % 8, order, max.into())
        .offset(shape >> 1 & 3)
        .adjustment(i64::from(shape >> 3) - 16);
    check(&codec, stream, seed);
}

/// [`TypeTagged`].
pub fn tagged(data: &[u8]) {
    let Some((&[max, seed], stream)) = data.split_first_chunk() else { return };
    check(&TypeTagged::max(max.into()), stream, seed);
}

/// [`Lines`].
pub fn lines(data: &[u8]) {
    let Some((&[max, seed], stream)) = data.split_first_chunk() else { return };
    check(&Lines::max(usize::from(max) * 8), stream, seed);
}

/// [`Delimiter`]; the delimiter is the start of the stream.
pub fn delimiter(data: &[u8]) {
    let Some((&[len, max, seed], stream)) = data.split_first_chunk() else { return };
    let len = 1 + usize::from(len) % DELIMITER_BYTES_MAX;
    let Some((delimiter, stream)) = stream.split_at_checked(len) else { return };
    check(&Delimiter::new(delimiter, usize::from(max) * 8), stream, seed);
}

/// [`Fixed`].
pub fn fixed(data: &[u8]) {
    let Some((&[len, seed], stream)) = data.split_first_chunk() else { return };
    check(&Fixed::bytes(len.into()), stream, seed);
}

/// [`Longshore`].
pub fn longshore(data: &[u8]) {
    let Some((&[max, seed], stream)) = data.split_first_chunk() else { return };
    check(&Longshore::max(usize::from(max) * 8), stream, seed);
}

/// A codec whose frames can be kept, compared, and written again.
trait Subject: Codec {
    type Kept: PartialEq + Debug;
    fn keep(frame: Self::Frame<'_>) -> Self::Kept;
    fn item(kept: &Self::Kept) -> Self::Item<'_>;

    /// Whether a frame that was read can be written.
    fn is_item(_: &Self::Kept) -> bool {
        true
    }
}

/// How a stream comes in.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// Length of the first piece.
    first: usize,
    /// The others have random lengths up to this one.
    piece_max: usize,
    budget: u32,
    /// Whether the sink stops after each frame.
    stops: bool,
    seed: u64,
}

impl Pace {
    /// All at once.
    const WHOLE: Self =
        Self { first: usize::MAX, piece_max: usize::MAX, budget: u32::MAX, stops: false, seed: 1 };

    /// Length of the next piece.
    fn next(&mut self) -> usize {
        if self.piece_max == usize::MAX {
            return usize::MAX;
        }
        // xorshift64: any numbers will do, but a seed must give the same ones.
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        let random = usize::try_from(self.seed >> 33).unwrap_or_default();
        1 + random % self.piece_max
    }
}

/// What a stream came to.
#[derive(PartialEq, Debug)]
struct Outcome<K> {
    frames: Vec<K>,
    replies: Vec<u8>,
    /// Without the text, which may show what came with it.
    error: Option<FrameError>,
}

fn check<C: Subject>(codec: &C, stream: &[u8], seed: u8) {
    if codec.check().is_err() {
        // No server would use it, and yet it must not panic. What it returns does not matter.
        if !stream.is_empty() {
            let _ = codec.decode(&mut C::Decoder::default(), stream);
        }
        return;
    }
    let whole = run(codec, stream, Pace::WHOLE);
    let seed = u64::from(seed) + 1;
    for (piece_max, budget, stops) in
        [(1, u32::MAX, false), (usize::MAX, 1, false), (9, 1, false), (700, 3, false), (9, 2, true)]
    {
        let pace = Pace { first: 1, piece_max, budget, stops, seed };
        assert_eq!(run(codec, stream, pace), whole, "{pace:?}");
    }
    if stream.len() <= CUT_EVERYWHERE_BYTES_MAX {
        for first in 1..stream.len() {
            assert_eq!(run(codec, stream, Pace { first, ..Pace::WHOLE }), whole, "cut at {first}");
        }
    }
    for kept in whole.frames.into_iter().filter(C::is_item) {
        let wire = write(codec, C::item(&kept));
        let again = run(codec, &wire, Pace::WHOLE);
        assert_eq!(again, Outcome { frames: vec![kept], replies: vec![], error: None });
    }
}

/// Hands the stream to a receive half at the given pace.
fn run<C: Subject>(codec: &C, stream: &[u8], mut pace: Pace) -> Outcome<C::Kept> {
    let mut outcome = Outcome { frames: Vec::new(), replies: Vec::new(), error: None };
    let mut half = RecvHalf::<C>::default();
    let mut blocks = BlockPool::new(1);
    let next = if pace.stops { Next::Stop } else { Next::Go };
    let mut sink = |event: Event<'_, C::Frame<'_>>, _| {
        match event {
            Event::Frame(frame) => outcome.frames.push(C::keep(frame)),
            Event::Reply(bytes) => outcome.replies.extend_from_slice(&bytes),
            Event::File(bytes) => outcome.replies.extend_from_slice(bytes),
        }
        Ok::<_, Infallible>(next)
    };
    let (mut at, mut piece) = (0, pace.first);
    let mut end = CutEnd::Empty;
    while at < stream.len() && !matches!(end, CutEnd::Frame(_)) {
        let piece_end = at.saturating_add(piece).min(stream.len());
        while at < piece_end && !matches!(end, CutEnd::Frame(_)) {
            let mut budget = pace.budget;
            let input = &stream[at..piece_end];
            let cut = half.handle_input(codec, input, &mut budget, &mut blocks, &mut sink);
            assert!(cut.used <= input.len() && half.torn_bytes() <= codec.frame_bytes_max());
            match &cut.end {
                CutEnd::Empty => assert_eq!(cut.used, input.len()),
                CutEnd::Budget => assert_eq!(budget, 0),
                CutEnd::Stopped | CutEnd::Frame(_) => {}
                CutEnd::Sink(never) => match *never {},
            }
            assert!(cut.used > 0 || matches!(cut.end, CutEnd::Frame(_)), "no progress");
            (at, end) = (at + cut.used, cut.end);
        }
        piece = pace.next();
    }
    if !matches!(end, CutEnd::Frame(_)) {
        end = half.handle_end(codec, &mut sink);
    }
    outcome.error = match end {
        CutEnd::Frame(FrameError::Invalid(_)) => Some(FrameError::invalid("")),
        CutEnd::Frame(error) => Some(error),
        _ => None,
    };
    outcome
}

fn write<C: Codec>(codec: &C, item: C::Item<'_>) -> Vec<u8> {
    codec.to_bytes(item).expect("what was read can be written").into()
}

/// Codecs whose frames are bytes.
macro_rules! bytes_subject {
    ($($codec:ty),*) => {$(
        impl Subject for $codec {
            type Kept = Vec<u8>;
            fn keep(frame: &[u8]) -> Vec<u8> {
                frame.to_vec()
            }
            fn item(kept: &Vec<u8>) -> &[u8] {
                kept
            }
        }
    )*};
}
bytes_subject!(LengthDelimited, Delimiter, Fixed);

impl Subject for Lines {
    type Kept = String;

    fn keep(frame: &str) -> String {
        frame.to_owned()
    }

    fn item(kept: &String) -> &str {
        kept
    }

    /// Of two carriage returns before a line feed one is text, and cannot be written.
    fn is_item(kept: &String) -> bool {
        !kept.ends_with('\r')
    }
}

impl Subject for TypeTagged {
    type Kept = (u8, Vec<u8>);

    fn keep(frame: Tagged<'_>) -> (u8, Vec<u8>) {
        (frame.kind, frame.payload.to_vec())
    }

    fn item((kind, payload): &(u8, Vec<u8>)) -> Tagged<'_> {
        Tagged { kind: *kind, payload }
    }
}

#[derive(PartialEq, Debug)]
enum KeptMessage {
    Text(String),
    Binary(u16, Vec<u8>),
}

impl Subject for Longshore {
    type Kept = KeptMessage;

    fn keep(frame: Message<'_>) -> KeptMessage {
        match frame {
            Message::Text(text) => KeptMessage::Text(text.to_owned()),
            Message::Binary(kind, bytes) => KeptMessage::Binary(kind, bytes.to_vec()),
        }
    }

    fn item(kept: &KeptMessage) -> Message<'_> {
        match kept {
            KeptMessage::Text(text) => Message::Text(text),
            KeptMessage::Binary(kind, bytes) => Message::Binary(*kind, bytes),
        }
    }
}
