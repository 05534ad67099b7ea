//! Tests of the receive half with codecs that keep their promises, and with some that do not.

use super::*;
use crate::{LengthDelimited, Lines, Out};
use proptest::prelude::*;

type Frames = Vec<(Vec<u8>, Place)>;

/// A receive half with what it needs.
struct Peer<C: Codec> {
    codec: C,
    half: RecvHalf<C>,
    blocks: BlockPool,
    budget: u32,
    next: Result<Next, &'static str>,
}

impl<C: Codec> Peer<C>
where
    for<'a> C::Frame<'a>: AsRef<[u8]>,
{
    fn new(codec: C) -> Self {
        let (half, blocks) = (RecvHalf::default(), BlockPool::new(4));
        Self { codec, half, blocks, budget: 100, next: Ok(Next::Go) }
    }

    fn input(&mut self, input: &[u8]) -> (Frames, Cut<&'static str>) {
        let (mut frames, next) = (Vec::new(), self.next);
        let Self { codec, half, blocks, budget, .. } = self;
        let cut = half.handle_input(codec, input, budget, blocks, |event, place| {
            match event {
                Event::Frame(frame) => frames.push((frame.as_ref().to_vec(), place)),
                Event::Reply(bytes) => frames.push((bytes.to_vec(), place)),
                Event::File(bytes) => frames.push((bytes.to_vec(), place)),
            }
            next
        });
        (frames, cut)
    }

    fn end(&mut self) -> (Frames, CutEnd<&'static str>) {
        let (mut frames, next) = (Vec::new(), self.next);
        let end = self.half.handle_end(&self.codec, |event, place| {
            if let Event::Frame(frame) = event {
                frames.push((frame.as_ref().to_vec(), place));
            }
            next
        });
        (frames, end)
    }
}

#[test]
fn only_what_a_torn_frame_lacks_is_copied() {
    let mut peer = Peer::new(LengthDelimited::u8(100));
    let (frames, cut) = peer.input(b"\x01a\x03b");
    assert_eq!((frames, cut.used), (vec![(b"a".to_vec(), Place::Input)], 4));
    assert_eq!((peer.half.torn_bytes(), peer.blocks.free()), (2, 0));

    let (frames, cut) = peer.input(b"cd\x01e");
    assert_eq!(frames, [(b"bcd".to_vec(), Place::Torn), (b"e".to_vec(), Place::Input)]);
    assert!(matches!(cut, Cut { used: 4, end: CutEnd::Empty }));
    assert_eq!((peer.budget, peer.half.is_torn(), peer.blocks.free()), (97, false, 1));
    assert_eq!(peer.half.torn.capacity(), 0);
}

#[test]
fn a_line_copied_too_far_gives_the_rest_back() {
    let mut peer = Peer::new(Lines::max(100));
    for byte in [b"a", b"b", b"c", b"d"] {
        assert!(peer.input(byte).0.is_empty());
    }
    let (frames, cut) = peer.input(b"e\nf\ng");
    assert_eq!(frames, [(b"abcde".to_vec(), Place::Torn), (b"f".to_vec(), Place::Input)]);
    assert!(matches!(cut, Cut { used: 5, end: CutEnd::Empty }));
    assert_eq!((peer.half.torn_bytes(), peer.half.asked), (1, 1));
}

/// Without growing steps, each byte of a long line would be a call of the decoder.
#[test]
fn a_long_line_is_asked_for_in_growing_steps() {
    let mut peer = Peer::new(Lines::max(1 << 20));
    peer.input(b"ab");
    peer.input(&vec![b'x'; 60_000]);
    assert!(peer.half.asked < 12, "{}", peer.half.asked);
    let (frames, _) = peer.input(b"\n");
    assert_eq!(frames[0].0.len(), 60_002);
}

#[test]
fn the_budget_ends_a_call_and_the_rest_is_cut_by_the_next() {
    let mut peer = Peer::new(LengthDelimited::u8(100));
    peer.budget = 2;
    let input = b"\x01a\x01b\x01c";
    let (frames, cut) = peer.input(input);
    assert_eq!((frames.len(), peer.budget), (2, 0));
    assert!(matches!(cut, Cut { used: 4, end: CutEnd::Budget }));
    assert!(matches!(peer.input(&input[4..]).1, Cut { used: 0, end: CutEnd::Budget }));
    peer.budget = 1;
    assert!(matches!(peer.input(&input[4..]).1, Cut { used: 2, end: CutEnd::Empty }));
    assert!(matches!(peer.input(b"").1, Cut { used: 0, end: CutEnd::Empty }));

    peer.budget = 1;
    peer.input(b"\x02a");
    let (frames, cut) = peer.input(b"b\x01c");
    assert_eq!(frames, [(b"ab".to_vec(), Place::Torn)]);
    assert!(matches!(cut, Cut { used: 1, end: CutEnd::Budget }));
}

#[test]
fn the_sink_may_stop_behind_any_frame() {
    let mut peer = Peer::new(LengthDelimited::u8(100));
    peer.next = Ok(Next::Stop);
    let (frames, cut) = peer.input(b"\x01a\x02b");
    assert_eq!(frames.len(), 1);
    assert!(matches!(cut, Cut { used: 2, end: CutEnd::Stopped }));
    peer.input(b"\x02b");
    let (frames, cut) = peer.input(b"c\x01d");
    assert_eq!(frames, [(b"bc".to_vec(), Place::Torn)]);
    assert!(matches!(cut, Cut { used: 1, end: CutEnd::Stopped }));
}

#[test]
fn nothing_is_cut_after_an_error() {
    let mut failing = Peer::new(LengthDelimited::u8(100));
    failing.next = Err("no more");
    assert!(matches!(failing.input(b"\x01a\x01b").1.end, CutEnd::Sink("no more")));
    let mut torn = Peer::new(LengthDelimited::u8(100));
    torn.next = Err("no more");
    torn.input(b"\x01");
    assert!(matches!(torn.input(b"a\x01b").1.end, CutEnd::Sink("no more")));
    let mut too_long = Peer::new(LengthDelimited::u8(100));
    assert!(matches!(too_long.input(b"\xffab").1.end, CutEnd::Frame(_)));

    for mut peer in [failing, torn, too_long] {
        peer.next = Ok(Next::Go);
        let (frames, cut) = peer.input(b"\x01a");
        assert!(frames.is_empty() && matches!(cut, Cut { used: 2, end: CutEnd::Empty }));
        assert!(!peer.half.is_torn());
        assert!(matches!(peer.end(), (frames, CutEnd::Empty) if frames.is_empty()));
    }
}

#[test]
fn the_end_of_the_stream_makes_a_frame_or_says_what_is_missing() {
    let mut lines = Peer::new(Lines::max(100));
    assert!(matches!(lines.end(), (frames, CutEnd::Empty) if frames.is_empty()));

    let mut lines = Peer::new(Lines::max(100));
    lines.input(b"ab");
    let (frames, end) = lines.end();
    assert_eq!(frames, [(b"ab".to_vec(), Place::Torn)]);
    assert!(matches!(end, CutEnd::Empty));
    assert!(matches!(lines.end(), (frames, CutEnd::Empty) if frames.is_empty()));

    let mut lengths = Peer::new(LengthDelimited::u16_be(100));
    lengths.input(b"\0\x05ab");
    let truncated = FrameError::Truncated { have: 4, need: 7 };
    assert!(matches!(lengths.end().1, CutEnd::Frame(error) if error == truncated));
}

/// R22: at most twice the received bytes and 16 KiB, whatever was announced.
#[test]
fn memory_grows_with_the_bytes_that_came() {
    for piece in [1, 7, 100, 5000, 70_000] {
        let mut peer = Peer::new(LengthDelimited::u32_be(64 << 20));
        // What a large frame leaves in the pool must not become a small frame's.
        peer.blocks.give_bytes(Vec::with_capacity(64 * 1024));
        assert_eq!(peer.blocks.free(), 1);
        peer.input(&(64_u32 << 20).to_be_bytes());
        let mut received = 4;
        for _ in 0..200 {
            assert!(peer.half.torn.capacity() <= 2 * received + 16 * 1024, "{piece} {received}");
            peer.input(&vec![0; piece]);
            received += piece;
        }
        assert_eq!(peer.half.torn_bytes(), received);
    }
}

#[test]
fn ten_thousand_announcements_cost_no_more_than_a_block_each() {
    let codec = LengthDelimited::u32_be(1 << 30);
    let mut blocks = BlockPool::new(16);
    let mut halves: Vec<RecvHalf<LengthDelimited>> = Vec::new();
    for _ in 0..10_000 {
        let (mut half, mut budget) = (RecvHalf::default(), 10);
        let input = (1_u32 << 30).to_be_bytes();
        half.handle_input(&codec, &input, &mut budget, &mut blocks, |_, _| Ok::<_, ()>(Next::Go));
        halves.push(half);
    }
    let held: usize = halves.iter().map(|half| half.torn.capacity()).sum();
    assert!(held <= 64 << 20, "{held}");
}

/// A receive half has to be small: an idle connection has one.
const _: () = assert!(size_of::<RecvHalf<LengthDelimited>>() <= 40);

type Script = fn(&[u8]) -> Decoded<&[u8]>;

/// Says what it was told to say, whatever the input; its maximum is 8 bytes.
struct Scripted(Script);

impl Codec for Scripted {
    type Frame<'a> = &'a [u8];
    type Item<'a> = &'a [u8];
    type Decoder = ();

    fn frame_bytes_max(&self) -> usize {
        8
    }

    fn decode<'a>(&self, (): &'a mut (), input: &'a [u8]) -> Result<Decoded<&'a [u8]>, FrameError> {
        Ok(self.0(input))
    }

    fn encode(&self, item: &[u8], out: &mut Out<'_>) -> Result<(), FrameError> {
        out.put_slice(item);
        Ok(())
    }
}

#[test]
fn a_codec_that_breaks_its_promises_ends_the_connection_and_is_named() {
    let scripts: [Script; 6] = [
        |_| Decoded::More { total: 0 },
        |input| Decoded::More { total: input.len() },
        |_| Decoded::Skip { used: 0 },
        |input| Decoded::Skip { used: input.len() + 1 },
        |input| Decoded::Frame { frame: input, used: 0 },
        |input| Decoded::Frame { frame: input, used: input.len() + 1 },
    ];
    for script in scripts {
        match Peer::new(Scripted(script)).input(b"abc").1.end {
            CutEnd::Frame(FrameError::Invalid(text)) => {
                assert!(text.contains("Scripted"), "{text}");
            }
            end => panic!("{end:?}"),
        }
    }
}

#[test]
fn every_codec_is_held_to_its_maximum_before_anything_is_kept() {
    let scripts: [Script; 3] = [
        |_| Decoded::More { total: 10 },
        |input| Decoded::Frame { frame: input, used: 9 },
        |_| Decoded::Reply { used: 9, reply: Bytes::new() },
    ];
    for (script, len) in scripts.into_iter().zip([10, 9, 9]) {
        let mut peer = Peer::new(Scripted(script));
        let (frames, cut) = peer.input(b"123456789");
        let error = FrameError::TooLong { len, max: 8 };
        assert!(matches!(cut.end, CutEnd::Frame(found) if found == error));
        assert!(frames.is_empty() && !peer.half.is_torn());
    }
}

#[test]
fn a_codec_may_ask_for_more_than_it_uses() {
    let script: Script = |input| match input.len() {
        0..6 => Decoded::More { total: 6 },
        _ => Decoded::Frame { frame: &input[..2], used: 2 },
    };
    for last_piece in [1, 2, 3, 7] {
        let mut peer = Peer::new(Scripted(script));
        let mut frames = Vec::new();
        let pieces = b"abcde".chunks(1).chain(b"fghijkl".chunks(last_piece));
        for piece in pieces {
            let (some, cut) = peer.input(piece);
            assert!(matches!(cut.end, CutEnd::Empty) && cut.used == piece.len());
            frames.extend(some.into_iter().map(|(frame, _)| frame));
        }
        assert_eq!(frames, [b"ab", b"cd", b"ef", b"gh"]);
        assert_eq!(peer.half.torn, b"ijkl");
    }
}

#[test]
fn torn_bytes_that_hold_a_frame_wait_for_budget_even_without_input() {
    let mut peer = Peer::new(Scripted(|input| match input {
        [b'a', ..] if input.len() < 6 => Decoded::More { total: 6 },
        [_] => Decoded::More { total: 2 },
        _ => Decoded::Frame { frame: &input[..2], used: 2 },
    }));
    peer.input(b"abcde");
    peer.budget = 1;
    assert!(matches!(peer.input(b"f").1, Cut { used: 0, end: CutEnd::Budget }));
    assert!(matches!(peer.input(b"").1, Cut { used: 0, end: CutEnd::Budget }));
    peer.budget = 1;
    assert_eq!(peer.input(b"").0, [(b"cd".to_vec(), Place::Torn)]);
    assert_eq!(peer.half.torn, b"e");
}

/// A codec that does not know the length is never shown more of a torn frame than its maximum.
#[test]
fn a_growing_step_ends_at_the_maximum() {
    let mut peer = Peer::new(Scripted(|input| match input.len() {
        0..=8 => Decoded::More { total: input.len() + 1 },
        _ => Decoded::Frame { frame: &input[..1], used: 1 },
    }));
    for piece in [&b"1"[..], b"2", b"3", b"4"] {
        assert!(matches!(peer.input(piece).1.end, CutEnd::Empty));
    }
    let error = FrameError::TooLong { len: 9, max: 8 };
    let (frames, cut) = peer.input(b"56789012");
    assert!(frames.is_empty(), "shown more than the maximum");
    assert!(matches!(cut.end, CutEnd::Frame(found) if found == error));
}

#[test]
fn skips_and_replies_cost_budget_and_replies_reach_the_sink() {
    let mut peer = Peer::new(Scripted(|input| match input[0] {
        b's' => Decoded::Skip { used: 1 },
        _ => Decoded::Reply { used: 1, reply: Bytes::from_static(b"pong") },
    }));
    peer.budget = 3;
    let (replies, cut) = peer.input(b"spsp");
    assert_eq!(replies, [(b"pong".to_vec(), Place::Input)]);
    assert!(matches!(cut, Cut { used: 3, end: CutEnd::Budget }));
}

proptest! {
    /// The frames that went in come out, whatever the pieces and budgets (R21).
    #[test]
    fn what_was_framed_comes_out(
        frames in prop::collection::vec((0_u8..40, any::<u8>()), 0..40),
        pieces in prop::collection::vec((1_usize..60, 1_u32..5), 1..20),
    ) {
        let frames: Vec<_> = frames.iter().map(|&(len, byte)| vec![byte; len.into()]).collect();
        let framed = |frame: &Vec<u8>| [&(frame.len() as u64).to_be_bytes()[6..], frame].concat();
        let stream: Vec<u8> = frames.iter().flat_map(framed).collect();
        let mut peer = Peer::new(LengthDelimited::u16_be(40));
        let (mut got, mut at) = (Vec::new(), 0);
        for &(piece, budget) in pieces.iter().cycle() {
            let end = (at + piece).min(stream.len());
            peer.budget = budget;
            let (some, cut) = peer.input(&stream[at..end]);
            got.extend(some.into_iter().map(|(frame, _)| frame));
            at += cut.used;
            if at == stream.len() {
                break;
            }
        }
        prop_assert_eq!(got, frames);
        prop_assert!(!peer.half.is_torn());
    }
}
