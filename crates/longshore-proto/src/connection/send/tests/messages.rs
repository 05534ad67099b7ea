//! Messages that are kept whole, and bytes that many send.

use super::*;

fn whole(text: &'static [u8]) -> Message {
    Message::new(Bytes::from_static(text))
}

#[test]
fn messages_that_are_kept_whole_leave_in_order_with_what_was_sent_before() {
    let (mut half, mut pool) = (Half::default(), SendPool::new(8));
    send(&mut half, &mut pool, b"first").unwrap();
    half.keep_whole();
    for text in [&b"one "[..], b"two ", b"three "] {
        half.handle_message(whole(text), &mut pool);
    }
    half.track(Mark::Send(9));
    assert_eq!((half.queued(), half.waiting()), (7 + 14, 3));
    assert!(!half.is_idle() && half.poll_tracked().is_none());
    assert_eq!(drain(&mut half, &mut pool, |len| len.div_ceil(2)), b"\0\x05firstone two three ");
    assert_eq!((half.queued(), half.waiting(), half.poll_tracked()), (0, 0, Some(Mark::Send(9))));
    assert!(half.is_idle());
}

#[test]
fn only_what_has_not_begun_is_dropped_or_replaced() {
    let (mut half, mut pool) = (Half::default(), SendPool::new(8));
    half.keep_whole();
    let latest = |text| Message { key: Some(1), ..whole(text) };
    half.handle_message(latest(b"begun "), &mut pool);
    let transmit = half.poll_transmit(&mut pool).unwrap();
    half.handle_message(whole(b"dropped "), &mut pool);
    half.handle_message(latest(b"old "), &mut pool);
    assert_eq!(half.queued_of(1), 4);
    half.handle_message(latest(b"new "), &mut pool);
    assert!(half.drop_oldest(&mut pool));
    half.handle_sent(2, transmit.data, &mut pool);
    half.handle_message(whole(b"last "), &mut pool);
    assert_eq!(drain(&mut half, &mut pool, |len| len), b"gun new last ");
    assert!(!half.drop_oldest(&mut pool));
    // Without that mode, and nothing of a key waits, bytes are put together at once.
    let mut plain = Half::default();
    plain.handle_message(latest(b"of a key "), &mut pool);
    assert!(plain.keeps_whole());
    plain.handle_bytes(Bytes::from_static(b"behind it "), &mut pool);
    assert_eq!(drain(&mut plain, &mut pool, |len| len), b"of a key behind it ");
    assert!(!plain.keeps_whole());
}

#[test]
fn no_more_begins_than_one_send_takes() {
    let (mut half, mut pool) = (Half::default(), SendPool::new(8));
    half.keep_whole();
    for _ in 0..100 {
        half.handle_message(Message::new(vec![7; 10_000].into()), &mut pool);
    }
    let transmit = half.poll_transmit(&mut pool).unwrap();
    let begun = SEND_BYTES_MAX.div_ceil(10_000);
    assert_eq!((transmit.data.byte_count(), half.waiting()), (SEND_BYTES_MAX, 100 - begun));
    assert!(transmit.prompt, "there is more");
    half.handle_sent(1, transmit.data, &mut pool);
    assert_eq!(half.waiting(), 100 - begun, "a slow peer begins nothing new");
    assert_eq!(drain(&mut half, &mut pool, |len| len).len(), 1_000_000 - 1);
}

#[test]
fn what_is_kept_whole_and_cleared_is_told_as_not_sent() {
    let (mut half, mut pool) = (Half::default(), SendPool::new(8));
    half.keep_whole();
    half.handle_message(whole(b"begun"), &mut pool);
    half.track(Mark::Send(1));
    let transmit = half.poll_transmit(&mut pool).unwrap();
    half.handle_message(whole(b"waits"), &mut pool);
    half.track(Mark::Send(2));
    half.clear(&mut pool);
    half.handle_sent(5, transmit.data, &mut pool);
    assert_eq!((half.queued(), half.waiting(), half.is_idle()), (0, 0, true));
    assert_eq!(half.take_tracked(), [(Mark::Send(1), true), (Mark::Send(2), false)]);
}

#[test]
fn memory_that_others_count_is_told_until_the_kernel_has_it() {
    let (mut half, mut pool) = (Half::default(), SendPool::new(8));
    let payload = Bytes::from(vec![7; 1000]);
    let common = || Message { shared: true, ..Message::new(payload.clone()) };
    half.handle_message(common(), &mut pool);
    half.handle_message(common(), &mut pool);
    assert_eq!((half.queued(), half.common()), (2000, 2000));
    let transmit = half.poll_transmit(&mut pool).unwrap();
    half.keep_whole();
    half.handle_message(common(), &mut pool);
    assert_eq!((half.queued(), half.common(), half.overhead()), (3000, 3000, 64));
    half.handle_sent(1300, transmit.data, &mut pool);
    assert_eq!((half.queued(), half.common()), (1700, 1700));
    assert_eq!(drain(&mut half, &mut pool, |len| len.div_ceil(3)).len(), 1700);
    assert_eq!((half.queued(), half.common(), half.overhead()), (0, 0, 0));
    // A copy is our own.
    let mut half = Half::default();
    for _ in 0..2 {
        let small = Message { shared: true, ..Message::new(payload.slice(..100)) };
        half.handle_message(small, &mut pool);
    }
    assert_eq!((half.queued(), half.common()), (200, 0));
    half.handle_message(common(), &mut pool);
    half.clear(&mut pool);
    assert_eq!(half.common(), 0);
}

#[test]
fn many_small_bytes_leave_as_one_segment() {
    let (mut half, mut pool) = (Half::default(), SendPool::new(8));
    for _ in 0..100 {
        half.handle_bytes(Bytes::from_static(b"hello"), &mut pool);
    }
    let transmit = half.poll_transmit(&mut pool).unwrap();
    assert_eq!((transmit.data.segments().len(), transmit.data.byte_count()), (1, 500));
    half.handle_sent(500, transmit.data, &mut pool);
    // One alone is not copied.
    let alone = Bytes::from_static(b"alone");
    half.handle_bytes(alone.clone(), &mut pool);
    let transmit = half.poll_transmit(&mut pool).unwrap();
    assert_eq!(transmit.data.segments()[0].bytes().as_ptr(), alone.as_ptr());
}

#[test]
fn the_queues_of_a_large_group_are_used_again() {
    const MEMBERS: usize = 10_000;
    let mut pool = SendPool::new(8);
    let payload = Bytes::from(vec![7; 1000]);
    let mut members: Vec<_> = (0..MEMBERS).map(|_| Half::default()).collect();
    for half in &mut members {
        half.handle_bytes(payload.clone(), &mut pool);
    }
    for half in &mut members {
        let transmit = half.poll_transmit(&mut pool).unwrap();
        half.handle_sent(1000, transmit.data, &mut pool);
    }
    assert_eq!(pool.queues.len(), MEMBERS);
}

#[test]
fn a_filter_speaks_on_when_messages_that_waited_are_given_up() {
    let (mut half, mut pool) = (Half::default(), SendPool::new(8));
    half.keep_whole();
    half.handle_message(whole(b"waits"), &mut pool);
    half.track(Mark::Send(2));
    half.clear(&mut pool);
    half.handle_filter_reply(b"goodbye", 0, &mut pool);
    assert_eq!((half.queued(), half.poll_tracked()), (7, None));
    assert_eq!(half.take_tracked(), [(Mark::Send(2), false)]);
}

#[test]
fn a_message_that_waits_is_something_to_send_and_one_that_was_dropped_is_not() {
    let (mut half, mut pool) = (Half::default(), SendPool::new(8));
    half.keep_whole();
    half.handle_message(whole(b"waits"), &mut pool);
    assert!(!half.is_idle() && !half.is_flushed());
    assert!(half.drop_oldest(&mut pool) && !half.drop_oldest(&mut pool));
    assert!(half.is_idle() && half.is_flushed());
    assert!(half.poll_transmit(&mut pool).is_none());
}

#[test]
fn a_file_goes_behind_the_messages_that_waited() {
    let (mut half, mut pool) = (Half::default(), SendPool::new(8));
    half.keep_whole();
    half.handle_message(whole(b"before"), &mut pool);
    half.handle_file(FileRange { file: (), offset: 0, len: 10 }, &mut pool);
    half.handle_message(whole(b"behind"), &mut pool);
    let wire = drain(&mut half, &mut pool, |len| len);
    assert_eq!((&wire[..6], &wire[16..]), (&b"before"[..], &b"behind"[..]));
}

#[test]
fn what_others_count_is_ours_behind_a_filter_and_nobodys_when_its_parts_are_out() {
    let (mut half, mut pool) = (Half::default(), SendPool::new(8));
    let common = |len| Message { shared: true, ..Message::new(vec![7; len].into()) };
    // More than one send takes.
    half.handle_message(common(SEND_BYTES_MAX + 1000), &mut pool);
    let transmit = half.poll_transmit(&mut pool).unwrap();
    half.handle_sent(SEND_BYTES_MAX, transmit.data, &mut pool);
    assert_eq!((half.queued(), half.common()), (1000, 1000));
    drain(&mut half, &mut pool, |len| len);
    half.keep_whole();
    half.handle_message(common(1000), &mut pool);
    assert_eq!((half.queued(), half.common()), (1000, 1000));
    let transmit = half.poll_filtered(&mut pool, &mut Plain).unwrap().unwrap();
    assert_eq!((half.queued(), half.common()), (1000, 0), "it is a copy");
    half.handle_sent(1000, transmit.data, &mut pool);
    assert!(half.is_flushed());
}
