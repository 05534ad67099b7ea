#![expect(clippy::cast_possible_truncation, reason = "patterns and small counts of tests")]

mod messages;

use super::*;
use crate::Decoded;
use crate::connection::Filter;
use proptest::prelude::*;
use std::ops::{Deref, Range};
use std::panic::{AssertUnwindSafe, catch_unwind};

#[derive(Clone, Debug)]
struct PlainLease(Bytes);

impl Deref for PlainLease {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Lease for PlainLease {
    /// A file that is as long as one likes: [`byte_at`] says what is in it.
    type File = ();

    fn slice(&self, range: Range<usize>) -> Self {
        Self(self.0.slice(range))
    }
}

/// A two-byte length and the payload; panics and fails when told to.
struct TwoBytes;

impl Codec for TwoBytes {
    type Frame<'a> = &'a [u8];
    type Item<'a> = &'a [u8];
    type Decoder = ();

    fn frame_bytes_max(&self) -> usize {
        70_000
    }

    fn decode<'a>(
        &self,
        (): &'a mut (),
        _: &'a [u8],
    ) -> Result<Decoded<Self::Frame<'a>>, FrameError> {
        Ok(Decoded::More { total: 1 })
    }

    fn encode(&self, item: &[u8], out: &mut Out<'_>) -> Result<(), FrameError> {
        out.put_u16(u16::try_from(item.len()).unwrap_or(u16::MAX));
        out.put_payload(item);
        assert_ne!(item, b"panic");
        if item == b"fail" { Err(FrameError::invalid("told to")) } else { Ok(()) }
    }
}

type Half = SendHalf<PlainLease>;

const ROOM: usize = 1 << 20;

fn send(half: &mut Half, pool: &mut SendPool<PlainLease>, item: &[u8]) -> Result<usize, Refused> {
    half.handle_item(&TwoBytes, item, None, ROOM, pool)
}

/// Answers sends until nothing is left, `take` bytes each; says what went out.
fn drain(
    half: &mut Half,
    pool: &mut SendPool<PlainLease>,
    mut take: impl FnMut(usize) -> usize,
) -> Vec<u8> {
    let mut wire = Vec::new();
    while let Some(transmit) = half.poll_transmit(pool) {
        let len = transmit.data.byte_count();
        let most = if transmit.data.file().is_some() { FILE_BYTES_MAX } else { SEND_BYTES_MAX };
        assert!(len <= most && transmit.data.segments().len() <= SEGMENTS_MAX);
        let count = take(len).min(len);
        wire.extend_from_slice(&bytes_of(&transmit.data)[..count]);
        half.handle_sent(count, transmit.data, pool);
    }
    wire
}

#[expect(clippy::cast_possible_truncation, reason = "some byte")]
fn byte_at(offset: u64) -> u8 {
    (offset * 31) as u8
}

/// What a range of the one file has.
fn file_bytes(range: &FileRange<()>) -> Vec<u8> {
    (range.offset..range.offset + range.len).map(byte_at).collect()
}

fn bytes_of(data: &SendData<PlainLease>) -> Vec<u8> {
    match data.file() {
        Some(range) => file_bytes(range),
        None => data.segments().iter().flat_map(|s| s.bytes().to_vec()).collect(),
    }
}

fn framed(item: &[u8]) -> Vec<u8> {
    let len = u16::try_from(item.len()).unwrap_or(u16::MAX);
    [&len.to_be_bytes(), item].concat()
}

#[test]
fn what_one_turn_sends_leaves_as_one_segment() {
    let (mut half, mut pool) = (Half::default(), SendPool::new(4));
    for item in [&b"one"[..], b"two", b"three"] {
        send(&mut half, &mut pool, item).unwrap();
    }
    let transmit = half.poll_transmit(&mut pool).unwrap();
    assert_eq!(transmit.data.segments().len(), 1);
    assert!(!transmit.whole && !transmit.prompt);
    assert!(half.poll_transmit(&mut pool).is_none(), "one unanswered send");
    half.handle_sent(17, transmit.data, &mut pool);
    assert!(half.is_idle());
    assert_eq!(pool.blocks.free(), 1, "the block came home");
}

#[test]
fn a_failed_refused_or_panicking_item_leaves_nothing_behind() {
    let (mut half, mut pool) = (Half::default(), SendPool::new(4));
    send(&mut half, &mut pool, b"before").unwrap();
    assert!(matches!(send(&mut half, &mut pool, b"fail"), Err(Refused::Encode(_))));
    let full = half.handle_item(&TwoBytes, b"does not fit", None, 13, &mut pool);
    assert_eq!(full, Err(Refused::Full));
    let too_long = send(&mut half, &mut pool, &vec![0; 70_000]);
    assert!(matches!(too_long, Err(Refused::Encode(FrameError::TooLong { .. }))));
    assert!(catch_unwind(AssertUnwindSafe(|| send(&mut half, &mut pool, b"panic"))).is_err());
    send(&mut half, &mut pool, b"after").unwrap();
    let wire = drain(&mut half, &mut pool, |len| len);
    assert_eq!(wire, [framed(b"before"), framed(b"after")].concat());
}

#[test]
fn a_large_payload_of_the_lease_is_not_copied_and_never_waits_there() {
    let (mut half, mut pool) = (Half::default(), SendPool::new(4));
    let lease = PlainLease(Bytes::from(vec![9; 40_000]));
    half.handle_item(&TwoBytes, &lease[100..30_100], Some(&lease), ROOM, &mut pool).unwrap();
    send(&mut half, &mut pool, b"behind").unwrap();
    let transmit = half.poll_transmit(&mut pool).unwrap();
    let kinds: Vec<_> =
        transmit.data.segments().iter().map(|s| matches!(s, Segment::Leased(_))).collect();
    assert_eq!(kinds, [false, true, false]);
    half.handle_sent(5_000, transmit.data, &mut pool);
    assert!(half.queue.iter().all(|s| !matches!(s, Segment::Leased(_))), "copied to wait");
    let again = half.poll_transmit(&mut pool).unwrap();
    assert!(again.whole, "the next send waits for room");
    half.handle_item(&TwoBytes, &lease[0..9_000], Some(&lease), ROOM, &mut pool).unwrap();
    assert!(half.queue.iter().all(|s| !matches!(s, Segment::Leased(_))));
    let rest = again.data.byte_count();
    half.handle_sent(rest, again.data, &mut pool);
    assert_eq!(drain(&mut half, &mut pool, |len| len), framed(&lease[0..9_000]));
}

#[test]
fn a_tracked_send_is_told_once_its_last_byte_is_out() {
    let (mut half, mut pool) = (Half::default(), SendPool::new(4));
    send(&mut half, &mut pool, b"12345").unwrap();
    half.track(Mark::Send(77));
    send(&mut half, &mut pool, b"later").unwrap();
    let transmit = half.poll_transmit(&mut pool).unwrap();
    assert!(transmit.prompt);
    half.handle_sent(6, transmit.data, &mut pool);
    assert_eq!(half.poll_tracked(), None);
    let transmit = half.poll_transmit(&mut pool).unwrap();
    half.handle_sent(1, transmit.data, &mut pool);
    assert_eq!((half.poll_tracked(), half.poll_tracked()), (Some(Mark::Send(77)), None));
}

#[test]
fn an_idle_half_holds_no_memory() {
    let (mut half, mut pool) = (Half::default(), SendPool::new(4));
    half.handle_bytes(Bytes::from(vec![1; 5_000]), &mut pool);
    half.handle_bytes(Bytes::from(vec![2; 5_000]), &mut pool);
    drain(&mut half, &mut pool, |len| len);
    assert_eq!((half.queue.capacity(), half.tail.capacity()), (0, 0));
}

#[test]
fn a_send_that_comes_back_after_the_end_leaves_nothing_queued() {
    let (mut half, mut pool) = (Half::default(), SendPool::new(4));
    send(&mut half, &mut pool, b"12345").unwrap();
    let transmit = half.poll_transmit(&mut pool).unwrap();
    half.clear(&mut pool);
    assert_eq!(half.queued(), 0);
    half.handle_sent(7, transmit.data, &mut pool);
    assert_eq!((half.queued(), half.sent()), (0, 7));
    half.clear(&mut pool);
    assert!(half.is_idle());
}

/// Doubles every byte, and keeps the last odd one back.
struct Doubling;

impl Filter for Doubling {
    fn handle_input(
        &mut self,
        _: &[u8],
        _: &mut Vec<u8>,
        _: &mut Vec<u8>,
    ) -> Result<(), FrameError> {
        Ok(())
    }

    fn handle_output(&mut self, plain: &[u8], wire: &mut Vec<u8>) -> Result<(), FrameError> {
        for byte in plain {
            wire.extend([*byte, *byte]);
        }
        Ok(())
    }
}

#[test]
fn what_passed_the_filter_passes_it_once_and_its_replies_go_first() {
    let (mut half, mut pool) = (Half::default(), SendPool::new(4));
    let mut wire = Vec::new();
    half.handle_bytes(Bytes::from_static(b"abc"), &mut pool);
    half.track(Mark::Send(1));
    let transmit = half.poll_filtered(&mut pool, &mut Doubling).unwrap().unwrap();
    assert_eq!(transmit.data.byte_count(), 6);
    wire.extend_from_slice(&transmit.data.segments()[0].bytes()[..3]);
    half.handle_bytes(Bytes::from_static(b"d"), &mut pool);
    half.handle_filter_reply(b"!", 0, &mut pool);
    half.handle_sent(3, transmit.data, &mut pool);
    let mut tracked = Vec::new();
    while let Some(transmit) = half.poll_filtered(&mut pool, &mut Doubling).unwrap() {
        wire.extend_from_slice(&transmit.data.segments()[0].bytes()[..1]);
        half.handle_sent(1, transmit.data, &mut pool);
        tracked.extend(half.poll_tracked().map(|id| (id, wire.len())));
    }
    assert_eq!(wire, b"aabbcc!dd");
    assert_eq!(tracked, [(Mark::Send(1), 6)]);
    assert!(half.is_idle());
}

/// Starts a send, does something `meanwhile`, and lets the kernel take at most `most` bytes of it.
fn send_one(
    half: &mut Half,
    pool: &mut SendPool<PlainLease>,
    filter: &mut (dyn Filter + 'static),
    wire: &mut Vec<u8>,
    most: usize,
    meanwhile: impl FnOnce(&mut Half, &mut SendPool<PlainLease>),
) {
    let transmit = half.poll_filtered(pool, filter).unwrap().expect("something to send");
    let bytes: Vec<u8> = transmit.data.segments().iter().flat_map(|s| s.bytes().to_vec()).collect();
    meanwhile(half, pool);
    let count = most.min(bytes.len());
    wire.extend_from_slice(&bytes[..count]);
    half.handle_sent(count, transmit.data, pool);
}

#[test]
fn replies_of_a_filter_keep_their_order_in_every_state() {
    let (mut half, mut pool) = (Half::default(), SendPool::new(4));
    let (mut wire, filter) = (Vec::new(), &mut Doubling);
    let reply = |half: &mut Half, pool: &mut SendPool<PlainLease>, text: &str| {
        half.handle_filter_reply(text.as_bytes(), 0, pool);
    };
    reply(&mut half, &mut pool, "1"); // nothing is queued
    half.handle_bytes(Bytes::from_static(b"ab"), &mut pool);
    half.track(Mark::Send(1));
    reply(&mut half, &mut pool, "2"); // what is queued has not passed
    send_one(&mut half, &mut pool, filter, &mut wire, 1, |half, pool| {
        reply(half, pool, "3"); // all that has passed is in flight
        reply(half, pool, "4"); // some of it is, some is queued
    });
    reply(&mut half, &mut pool, "5"); // some of it came back
    send_one(&mut half, &mut pool, filter, &mut wire, 9, |half, pool| reply(half, pool, "6"));
    send_one(&mut half, &mut pool, filter, &mut wire, 9, |_, _| {});
    assert_eq!((wire.as_slice(), half.poll_tracked()), (&b"123456"[..], None));
    send_one(&mut half, &mut pool, filter, &mut wire, 3, |half, pool| {
        half.handle_bytes(Bytes::from_static(b"c"), pool);
        reply(half, pool, "7");
        reply(half, pool, "8");
    });
    assert_eq!((wire.as_slice(), half.poll_tracked()), (&b"123456aab"[..], None));
    send_one(&mut half, &mut pool, filter, &mut wire, 1, |_, _| {});
    assert_eq!((wire.as_slice(), half.poll_tracked()), (&b"123456aabb"[..], Some(Mark::Send(1))));
    send_one(&mut half, &mut pool, filter, &mut wire, 9, |_, _| {});
    send_one(&mut half, &mut pool, filter, &mut wire, 9, |_, _| {});
    assert_eq!(wire, b"123456aabb78cc");
    assert!(half.is_idle());
}

/// Keeps all that it is given until its handshake is done.
#[derive(Default)]
struct Shy {
    kept: Vec<u8>,
    greeted: bool,
}

impl Filter for Shy {
    fn handle_input(
        &mut self,
        _: &[u8],
        _: &mut Vec<u8>,
        reply: &mut Vec<u8>,
    ) -> Result<(), FrameError> {
        self.greeted = true;
        reply.push(b'!');
        reply.append(&mut self.kept);
        Ok(())
    }

    fn handle_output(&mut self, plain: &[u8], wire: &mut Vec<u8>) -> Result<(), FrameError> {
        if plain.contains(&b'x') {
            return Err(FrameError::invalid("told to"));
        }
        let to = if self.greeted { wire } else { &mut self.kept };
        to.extend(plain);
        Ok(())
    }

    fn held_bytes(&self) -> usize {
        self.kept.len()
    }
}

#[test]
fn what_a_filter_keeps_counts_as_queued_and_is_told_as_sent_when_it_has_left() {
    let (mut half, mut pool, mut filter) = (Half::default(), SendPool::new(4), Shy::default());
    for (number, text) in [(1, &b"abc"[..]), (2, b"de")] {
        half.handle_bytes(Bytes::from_static(text), &mut pool);
        half.track(Mark::Send(number));
        assert!(half.poll_filtered(&mut pool, &mut filter).unwrap().is_none());
        assert_eq!((half.poll_tracked(), half.is_idle()), (None, true));
    }
    assert_eq!((half.queued(), half.is_flushed(), half.held()), (5, false, 5));
    let (mut plain, mut reply) = (Vec::new(), Vec::new());
    filter.handle_input(b"?", &mut plain, &mut reply).unwrap();
    half.handle_filter_reply(&reply, filter.held_bytes(), &mut pool);
    half.handle_bytes(Bytes::from_static(b"f"), &mut pool);
    half.track(Mark::Send(3));
    assert_eq!(half.queued(), 7);
    let mut wire = Vec::new();
    let mut told = Vec::new();
    while !half.is_flushed() {
        send_one(&mut half, &mut pool, &mut filter, &mut wire, 1, |_, _| {});
        told.extend(std::iter::from_fn(|| half.poll_tracked()).map(|id| (id, wire.len())));
    }
    let want = [(1, 6), (2, 6), (3, 7)].map(|(id, at)| (Mark::Send(id), at));
    assert_eq!((&wire[..], &told[..]), (&b"!abcdef"[..], &want[..]));
    half.handle_bytes(Bytes::from_static(b"x"), &mut pool);
    let error = half.poll_filtered(&mut pool, &mut filter).unwrap_err();
    assert_eq!(error.to_string(), "told to");
}

#[test]
fn many_small_replies_of_a_filter_share_their_segments() {
    let (mut half, mut pool) = (Half::default(), SendPool::new(4));
    for number in 0..10_000u32 {
        half.handle_filter_reply(&number.to_be_bytes(), 0, &mut pool);
    }
    half.handle_filter_reply(&vec![7; SEND_BYTES_MAX + 1], 0, &mut pool);
    let transmit = half.poll_filtered(&mut pool, &mut Doubling).unwrap().unwrap();
    assert!(transmit.data.segments().len() <= 3, "{} segments", transmit.data.segments().len());
    let want: Vec<u8> = (0..10_000u32).flat_map(u32::to_be_bytes).collect();
    assert!(bytes_of(&transmit.data).starts_with(&want), "in their order");
}

#[test]
fn what_waits_for_room_goes_out_in_pieces_that_a_slow_line_can_take() {
    for filtered in [false, true] {
        let (mut half, mut pool) = (Half::default(), SendPool::new(4));
        send(&mut half, &mut pool, &vec![7; 30_000]).unwrap();
        send(&mut half, &mut pool, &vec![8; 65_000]).unwrap(); // in one block with it
        let mut count = 0;
        for number in 0.. {
            let transmit = if filtered {
                half.poll_filtered(&mut pool, &mut Doubling).unwrap()
            } else {
                half.poll_transmit(&mut pool)
            };
            let Some(transmit) = transmit else { break };
            let len = transmit.data.byte_count();
            assert_eq!(transmit.whole, number > 0);
            assert!(number == 0 || len <= WHOLE_BYTES_MAX, "{len} bytes at once");
            let taken = if number == 0 { 1 } else { len };
            count += taken;
            half.handle_sent(taken, transmit.data, &mut pool);
        }
        assert_eq!(count, 95_004 * if filtered { 2 } else { 1 });
    }
}

/// Keeps back what it is given, until it has 1,000 bytes.
#[derive(Default)]
struct Hoarder(Vec<u8>);

impl Filter for Hoarder {
    fn handle_input(
        &mut self,
        _: &[u8],
        _: &mut Vec<u8>,
        _: &mut Vec<u8>,
    ) -> Result<(), FrameError> {
        Ok(())
    }

    fn handle_output(&mut self, plain: &[u8], wire: &mut Vec<u8>) -> Result<(), FrameError> {
        self.0.extend_from_slice(plain);
        if self.0.len() >= 1_000 {
            wire.append(&mut self.0);
        }
        Ok(())
    }
}

#[test]
fn a_filter_that_keeps_bytes_back_is_given_all_that_is_queued() {
    let (mut half, mut pool) = (Half::default(), SendPool::new(4));
    let mut filter = Hoarder::default();
    for _ in 0..4 * SEGMENTS_MAX {
        half.handle_bytes(Bytes::from_static(b"12345"), &mut pool);
    }
    let transmit = half.poll_filtered(&mut pool, &mut filter).unwrap().expect("over 1,000 bytes");
    let len = transmit.data.byte_count();
    half.handle_sent(len, transmit.data, &mut pool);
    assert!(half.poll_filtered(&mut pool, &mut filter).unwrap().is_none(), "the rest is kept");
    assert_eq!(len + filter.0.len(), 4 * SEGMENTS_MAX * 5);
    assert!(half.is_idle());
}

/// Makes three bytes of one, and keeps a record of all that it was given and made.
#[derive(Default)]
struct Recorder {
    plain: Vec<u8>,
    made: Vec<u8>,
    /// Up to where that which it made reaches, for each plain byte.
    made_up_to: Vec<usize>,
}

impl Filter for Recorder {
    fn handle_input(
        &mut self,
        _: &[u8],
        _: &mut Vec<u8>,
        _: &mut Vec<u8>,
    ) -> Result<(), FrameError> {
        Ok(())
    }

    fn handle_output(&mut self, plain: &[u8], wire: &mut Vec<u8>) -> Result<(), FrameError> {
        for byte in plain {
            let made = [*byte, !*byte, 0];
            wire.extend(made);
            self.plain.push(*byte);
            self.made.extend(made);
            self.made_up_to.push(self.made.len());
        }
        Ok(())
    }
}

/// Hands everything on.
struct Plain;

impl Filter for Plain {
    fn handle_input(
        &mut self,
        input: &[u8],
        plain: &mut Vec<u8>,
        _: &mut Vec<u8>,
    ) -> Result<(), FrameError> {
        plain.extend_from_slice(input);
        Ok(())
    }

    fn handle_output(&mut self, plain: &[u8], wire: &mut Vec<u8>) -> Result<(), FrameError> {
        wire.extend_from_slice(plain);
        Ok(())
    }
}

#[test]
fn a_large_file_takes_no_room_and_goes_out_in_parts() {
    let (mut half, mut pool) = (Half::default(), SendPool::new(4));
    half.handle_bytes(Bytes::from_static(b"head"), &mut pool);
    half.handle_file(FileRange { file: (), offset: 5, len: 1 << 40 }, &mut pool);
    half.handle_file(FileRange { file: (), offset: 0, len: 0 }, &mut pool);
    half.handle_bytes(Bytes::from_static(b"tail"), &mut pool);
    assert_eq!((half.queued(), half.queued_in_files()), (8, 1 << 40));
    let transmit = half.poll_transmit(&mut pool).unwrap();
    assert_eq!((bytes_of(&transmit.data), transmit.prompt), (b"head".to_vec(), true));
    half.handle_sent(4, transmit.data, &mut pool);
    let transmit = half.poll_transmit(&mut pool).unwrap();
    let part = FileRange { file: (), offset: 5, len: FILE_BYTES_MAX as u64 };
    assert_eq!((transmit.data.file(), transmit.whole), (Some(&part), false));
    half.handle_sent(100, transmit.data, &mut pool);
    assert_eq!((half.queued(), half.queued_in_files()), (4, (1 << 40) - 100));
    let transmit = half.poll_transmit(&mut pool).unwrap();
    let rest = FileRange { offset: 105, len: FILE_BYTES_MAX as u64 - 100, ..part };
    assert!(transmit.whole, "the peer is slow");
    let file = transmit.data.file().unwrap();
    assert!(file.offset == rest.offset && file.len == WHOLE_BYTES_MAX as u64, "{file:?}");
    half.clear(&mut pool);
    half.handle_sent(7, transmit.data, &mut pool);
    half.clear(&mut pool);
    assert!(half.is_idle() && half.queued() == 0 && half.queued_in_files() == 0);
}

#[test]
fn behind_a_filter_a_file_is_read_in_pieces_when_it_is_its_turn() {
    let (mut half, mut pool, mut filter) = (Half::default(), SendPool::new(4), Plain);
    let len = 2 * FILE_READ_BYTES_MAX as u64 + 10;
    half.handle_bytes(Bytes::from_static(b"head"), &mut pool);
    half.handle_file(FileRange { file: (), offset: 1, len }, &mut pool);
    assert_eq!(half.poll_file_read(true), None, "it is not its turn");
    let mut wire = Vec::new();
    let mut pieces = Vec::new();
    while !half.is_idle() {
        if let Some(transmit) = half.poll_filtered(&mut pool, &mut filter).unwrap() {
            wire.extend(bytes_of(&transmit.data));
            let bytes = transmit.data.byte_count();
            half.handle_sent(bytes, transmit.data, &mut pool);
            continue;
        }
        let piece = half.poll_file_read(true).expect("what else");
        assert_eq!(half.poll_file_read(true), None, "one at a time");
        // What the filter says meanwhile goes in front.
        half.handle_filter_reply(b"!", 0, &mut pool);
        let transmit = half.poll_filtered(&mut pool, &mut filter).unwrap().unwrap();
        wire.extend(bytes_of(&transmit.data));
        half.handle_sent(1, transmit.data, &mut pool);
        half.handle_file_read(file_bytes(&piece).into());
        pieces.push(piece.len);
    }
    let piece = FILE_READ_BYTES_MAX;
    assert_eq!(pieces, [piece as u64, piece as u64, 10]);
    let file = file_bytes(&FileRange { file: (), offset: 1, len });
    let (first, second) = (&file[..piece], &file[piece..2 * piece]);
    let want = [b"head", &b"!"[..], first, b"!", second, b"!", &file[2 * piece..]].concat();
    assert!(wire == want, "the stream is another one");
    half.handle_file_read(Bytes::new()); // nothing is left to be read
    assert!(half.is_idle() && half.queued() == 0 && half.queued_in_files() == 0);
}

/// R70
#[test]
fn what_is_not_at_hand_is_read_and_the_rest_goes_as_before() {
    let (mut half, mut pool) = (Half::default(), SendPool::new(4));
    let len = 3 * FILE_READ_BYTES_MAX as u64;
    half.handle_file(FileRange { file: (), offset: 0, len }, &mut pool);
    half.track(Mark::File(5));
    half.handle_bytes(Bytes::from_static(b"tail"), &mut pool);
    assert_eq!(half.poll_file_read(false), None, "nobody knows that it is not at hand");
    let transmit = half.poll_transmit(&mut pool).unwrap();
    assert_eq!(transmit.data.byte_count() as u64, len);
    half.handle_not_cached(100, transmit.data, &mut pool);
    assert!(half.poll_transmit(&mut pool).is_none(), "it has to be read first");
    let range = half.poll_file_read(false).expect("now it is known");
    assert_eq!((range.offset, range.len), (100, FILE_READ_BYTES_MAX as u64));
    assert!(half.poll_transmit(&mut pool).is_none() && half.poll_file_read(false).is_none());
    half.handle_file_read(file_bytes(&range).into());
    assert_eq!((half.queued(), half.queued_in_files()), (range.len + 4, len - 100 - range.len));
    let transmit = half.poll_transmit(&mut pool).unwrap();
    assert!(!transmit.whole, "that says nothing of the peer");
    assert_eq!(bytes_of(&transmit.data), file_bytes(&range));
    half.handle_sent(transmit.data.byte_count(), transmit.data, &mut pool);
    assert_eq!((half.poll_file_read(false), half.poll_tracked()), (None, None));
    let transmit = half.poll_transmit(&mut pool).unwrap();
    assert_eq!(transmit.data.file().map(|file| file.offset), Some(100 + range.len));
    half.handle_sent(transmit.data.byte_count(), transmit.data, &mut pool);
    assert_eq!((half.poll_tracked(), half.poll_tracked()), (Some(Mark::File(5)), None));
    assert_eq!(drain(&mut half, &mut pool, |len| len), b"tail");
    assert!(half.is_idle());
}

/// A peer that was slow stays so, and one that ends meanwhile leaves nothing to be read.
#[test]
fn a_read_does_not_outlive_what_was_to_be_sent() {
    let (mut half, mut pool) = (Half::default(), SendPool::new(4));
    half.handle_file(FileRange { file: (), offset: 0, len: 1 << 30 }, &mut pool);
    let transmit = half.poll_transmit(&mut pool).unwrap();
    half.handle_sent(10, transmit.data, &mut pool);
    let transmit = half.poll_transmit(&mut pool).unwrap();
    half.handle_not_cached(10, transmit.data, &mut pool);
    let range = half.poll_file_read(false).unwrap();
    half.handle_file_read(file_bytes(&range).into());
    let transmit = half.poll_transmit(&mut pool).unwrap();
    assert!(transmit.whole, "it was slow before");
    half.handle_sent(transmit.data.byte_count(), transmit.data, &mut pool);
    let transmit = half.poll_transmit(&mut pool).unwrap();
    half.handle_not_cached(0, transmit.data, &mut pool);
    assert!(half.poll_file_read(false).is_some());
    half.clear(&mut pool);
    half.handle_file_read(Bytes::from_static(b"late"));
    assert!(half.is_idle() && half.poll_transmit(&mut pool).is_none());
    assert_eq!(half.poll_file_read(false), None);
}

proptest! {
    /// R19: whatever the kernel takes of each send, the stream is the items in call order.
    #[test]
    fn any_sequence_of_short_sends_keeps_every_byte_in_order(
        items in prop::collection::vec((0u8..5, 1usize..20_000), 1..60),
        takes in prop::collection::vec(0usize..70_000, 1..40),
    ) {
        let (mut half, mut pool) = (Half::default(), SendPool::new(8));
        let (mut want, mut got) = (Vec::new(), Vec::new());
        let mut in_files = 0;
        let mut takes = takes.into_iter().cycle();
        for (number, (kind, len)) in items.into_iter().enumerate() {
            let payload: Vec<u8> = (0..len).map(|at| (at * 7 + number) as u8).collect();
            match kind {
                0 => {
                    half.handle_bytes(Bytes::from(payload.clone()), &mut pool);
                    want.extend_from_slice(&payload);
                }
                1 => {
                    let lease = PlainLease(Bytes::from(payload));
                    half.handle_item(&TwoBytes, &lease, Some(&lease), ROOM, &mut pool).unwrap();
                    want.extend(framed(&lease));
                }
                2 => {
                    send(&mut half, &mut pool, &payload).unwrap();
                    want.extend(framed(&payload));
                }
                3 => {
                    let range = FileRange { file: (), offset: number as u64, len: 3 * len as u64 };
                    in_files += range.len;
                    want.extend(file_bytes(&range));
                    half.handle_file(range, &mut pool);
                }
                _ => if let Some(transmit) = half.poll_transmit(&mut pool) {
                    let count = takes.next().unwrap().min(transmit.data.byte_count());
                    got.extend_from_slice(&bytes_of(&transmit.data)[..count]);
                    in_files -= if transmit.data.file().is_some() { count as u64 } else { 0 };
                    half.handle_sent(count, transmit.data, &mut pool);
                },
            }
            prop_assert_eq!(half.queued_in_files(), in_files);
            prop_assert_eq!((half.queued() + in_files) as usize, want.len() - got.len());
        }
        got.extend(drain(&mut half, &mut pool, |len| len.div_ceil(2)));
        prop_assert_eq!(got, want);
        prop_assert!(half.is_idle());
    }
    /// Whatever is sent, answered and taken when: the wire is what the filter made, in the order in
    /// which it made it, of all that was queued, in call order; and what is tracked is told behind it.
    #[test]
    fn the_wire_is_what_the_filter_made_as_it_made_it(
        steps in prop::collection::vec((0u8..9, 1usize..300), 1..60),
        most in 200usize..10_000,
    ) {
        let (mut half, mut pool) = (Half::default(), SendPool::new(8));
        let (mut plain, mut wire, mut filter) = (Vec::new(), Vec::new(), Recorder::default());
        let (mut in_flight, mut tracked) = (None::<Transmit<PlainLease>>, VecDeque::new());
        let mut asked = None;
        let drained = 4 * steps.len() + 200_000 / most;
        let steps = steps.into_iter().chain((0..3 * drained).map(|at| (7 + at as u8 % 2, most)));
        for (number, (kind, len)) in steps.enumerate() {
            let payload: Vec<u8> = (0..len).map(|at| (at * 7 + number) as u8).collect();
            match kind {
                0 => {
                    half.handle_bytes(payload.clone().into(), &mut pool);
                    plain.extend_from_slice(&payload);
                }
                1 => {
                    let lease = PlainLease(Bytes::from(payload));
                    half.handle_item(&TwoBytes, &lease, Some(&lease), ROOM, &mut pool).unwrap();
                    plain.extend(framed(&lease));
                }
                2 => {
                    send(&mut half, &mut pool, &payload).unwrap();
                    plain.extend(framed(&payload));
                }
                3 if !plain.is_empty() => {
                    half.track(Mark::Send(number as u64));
                    tracked.push_back((Mark::Send(number as u64), plain.len()));
                }
                4 | 5 => {
                    half.handle_filter_reply(&payload[..len.min(20)], 0, &mut pool);
                    filter.made.extend_from_slice(&payload[..len.min(20)]);
                }
                6 => {
                    let range = FileRange { file: (), offset: number as u64, len: 9 * len as u64 };
                    plain.extend(file_bytes(&range));
                    half.handle_file(range, &mut pool);
                }
                7 => if let Some(range) = asked.take() {
                    half.handle_file_read(file_bytes(&range).into());
                },
                _ => match in_flight.take() {
                    None => {
                        in_flight = half.poll_filtered(&mut pool, &mut filter).unwrap();
                        if in_flight.is_none() {
                            let next = half.poll_file_read(true);
                            prop_assert!(next.is_none() || asked.is_none(), "one piece at a time");
                            asked = asked.or(next);
                        }
                    }
                    Some(transmit) => {
                        prop_assert!(transmit.data.file().is_none(), "it did not pass the filter");
                        let all = bytes_of(&transmit.data);
                        let count = len.min(all.len());
                        wire.extend_from_slice(&all[..count]);
                        half.handle_sent(count, transmit.data, &mut pool);
                    }
                },
            }
            while let Some(id) = half.poll_tracked() {
                let (expected, plain_len) = tracked.pop_front().expect("something is tracked");
                prop_assert_eq!(id, expected);
                prop_assert!(filter.made_up_to.get(plain_len - 1).is_some_and(|at| *at <= wire.len()));
            }
        }
        prop_assert!(half.is_idle());
        prop_assert_eq!(filter.plain, plain);
        prop_assert_eq!(filter.made, wire);
    }
}

#[test]
fn a_pool_that_is_trimmed_keeps_no_memory_of_a_peak() {
    let (mut half, mut pool) = (Half::default(), SendPool::new(4));
    for _ in 0..4 {
        half.handle_bytes(Bytes::from(vec![1; 1_000]), &mut pool);
    }
    drain(&mut half, &mut pool, |len| len);
    assert!(!pool.queues.is_empty() && !pool.vectors.is_empty());
    pool.trim();
    assert_eq!((pool.queues.capacity(), pool.vectors.capacity()), (0, 0));
}
