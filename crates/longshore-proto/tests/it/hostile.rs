//! Peers that mean harm: floods, streams that end too early, frames that never end.

use longshore_base::BlockPool;
use longshore_proto::connection::{Cut, CutEnd, Event, Next, RecvHalf};
use longshore_proto::{Codec, Delimiter, Fixed, FrameError, LengthDelimited, Lines};

/// A connection whose frames are thrown away.
struct Deaf<C: Codec> {
    codec: C,
    half: RecvHalf<C>,
    blocks: BlockPool,
}

impl<C: Codec> Deaf<C> {
    fn new(codec: C) -> Self {
        Self { codec, half: RecvHalf::default(), blocks: BlockPool::new(1) }
    }

    fn input(&mut self, input: &[u8]) -> Cut<()> {
        let mut budget = u32::MAX;
        let sink = |_: Event<'_, C::Frame<'_>>, _| Ok(Next::Go);
        self.half.handle_input(&self.codec, input, &mut budget, &mut self.blocks, sink)
    }

    fn end(&mut self) -> CutEnd<()> {
        self.half.handle_end(&self.codec, |_, _| Ok(Next::Go))
    }
}

/// R24: the work of a call is bounded by its budget, whatever the frames.
#[test]
fn a_million_empty_frames_are_cut_in_bounded_calls() {
    const FRAMES: usize = 1_000_000;
    const BUDGET: u32 = 256;
    let (codec, mut half) = (LengthDelimited::u32_be(100), RecvHalf::default());
    let mut blocks = BlockPool::new(1);
    let stream = vec![0; FRAMES * 4];
    let (mut count, mut calls) = (0, 0);
    for lease in stream.chunks(64 * 1024 - 1) {
        let mut at = 0;
        loop {
            let (mut budget, before) = (BUDGET, count);
            let cut = half.handle_input(&codec, &lease[at..], &mut budget, &mut blocks, |_, _| {
                count += 1;
                Ok::<_, ()>(Next::Go)
            });
            calls += 1;
            at += cut.used;
            assert_eq!(count - before, (BUDGET - budget) as usize);
            match cut.end {
                CutEnd::Budget => assert_eq!(budget, 0),
                CutEnd::Empty => break,
                end => panic!("{end:?}"),
            }
        }
        assert_eq!(at, lease.len());
    }
    assert_eq!((count, half.is_torn()), (FRAMES, false));
    assert!(calls < 2 * FRAMES / BUDGET as usize);
}

/// Frames of `stream` when it ends after `len` bytes, and how it ended.
fn end_at<C: Codec>(codec: &C, stream: &[u8], len: usize) -> (usize, CutEnd<()>) {
    let (mut half, mut blocks) = (RecvHalf::<C>::default(), BlockPool::new(1));
    let (mut budget, mut count) = (u32::MAX, 0);
    let mut sink = |_: Event<'_, C::Frame<'_>>, _| {
        count += 1;
        Ok(Next::Go)
    };
    half.handle_input(codec, &stream[..len], &mut budget, &mut blocks, &mut sink);
    let end = half.handle_end(codec, &mut sink);
    (count, end)
}

/// R26: nothing of a torn frame is delivered, and the error says what is missing.
#[test]
fn a_stream_that_ends_within_a_frame_is_truncated() {
    fn check<C: Codec>(codec: &C, stream: &[u8], ends: &[usize]) {
        for len in 0..=stream.len() {
            let whole = ends.iter().filter(|&&end| end <= len).count();
            let begin = ends[..whole].last().copied().unwrap_or_default();
            let (count, end) = end_at(codec, stream, len);
            assert_eq!(count, whole, "{len}");
            match end {
                CutEnd::Empty => assert_eq!(len, begin),
                CutEnd::Frame(FrameError::Truncated { have, need }) => {
                    assert_eq!(have, (len - begin) as u64);
                    assert!(have > 0 && have < need && need <= (ends[whole] - begin) as u64);
                }
                end => panic!("{end:?}"),
            }
        }
    }
    check(&LengthDelimited::u16_be(9), b"\0\x03abc\0\0\0\x01d", &[5, 7, 10]);
    check(&Delimiter::new(b"--", 9), b"abc----de--", &[5, 7, 11]);
    check(&Fixed::bytes(4), b"abcdefgh", &[4, 8]);
}

#[test]
fn a_line_without_its_end_is_the_last_one() {
    for (len, lines) in [(0, 0), (1, 1), (2, 1), (3, 2), (5, 2)] {
        let (count, end) = end_at(&Lines::max(9), b"a\nbc\n", len);
        assert!(matches!(end, CutEnd::Empty));
        assert_eq!(count, lines, "{len}");
    }
}

/// R22: what is over the limit is refused at its header, and nothing of it is kept.
#[test]
fn an_announced_length_over_the_limit_is_refused_at_the_header() {
    let headers: [(LengthDelimited, &[u8]); 3] = [
        (LengthDelimited::u32_be(1 << 20), b"\0\x10\0\x01"),
        (LengthDelimited::u32_be(1 << 20), &[255; 4]),
        (LengthDelimited::u64_be(1 << 20), &[255; 8]),
    ];
    for (codec, header) in headers {
        let mut deaf = Deaf::new(codec);
        let (last, start) = header.split_last().expect("a header has bytes");
        let cut = deaf.input(start);
        assert!(matches!(cut.end, CutEnd::Empty));
        let cut = deaf.input(&[*last]);
        assert!(matches!(cut.end, CutEnd::Frame(FrameError::TooLong { .. })), "{cut:?}");
        assert_eq!((deaf.half.torn_bytes(), deaf.blocks.free()), (0, 1));

        let cut = deaf.input(&[0; 99]);
        assert!(cut.used == 99 && matches!(cut.end, CutEnd::Empty), "{cut:?}");
        assert!(matches!(deaf.end(), CutEnd::Empty));
    }
}

/// A frame that never ends is searched once, not once a read.
#[test]
fn a_line_that_comes_byte_by_byte_costs_what_it_has_bytes() {
    let mut deaf = Deaf::new(Lines::max(1 << 20));
    for len in 1..1 << 20 {
        deaf.input(b"x");
        assert_eq!(deaf.half.torn_bytes(), len);
    }
    let cut = deaf.input(b"x");
    assert!(matches!(cut.end, CutEnd::Frame(FrameError::TooLong { .. })), "{cut:?}");
}
