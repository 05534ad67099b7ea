//! Each end of transfers by itself, against a peer that says what the test wants.

use super::*;
use crate::frame::FILE_CHUNK_BYTES_MAX;

const SECOND: Duration = Duration::from_secs(1);
const ZERO: Digest = [0; 32];

fn offered(bytes: u64) -> Offered {
    Offered { name: "a".into(), request: 0, start: 0, bytes, total: bytes, modified: 0 }
}

/// One that has opened files 1 to `files` of 1 MiB, each with `have` bytes of before.
fn receiving(files: u32, have: u64, window: u64) -> Incoming {
    let mut inn = Incoming::new(PACE, files as usize, window);
    for id in 1..=files {
        inn.handle_frame(Time::ZERO, FileFrame::Offer { id, offered: offered(1 << 20) }).unwrap();
        inn.accept(Time::ZERO, id);
        inn.handle_opened(Time::ZERO, id, have, ZERO);
    }
    inn
}

/// One that sends file 1, of so many bytes, and has read its first piece.
fn sending(bytes: u64, credit: u64) -> Outgoing {
    let mut out = Outgoing::new(PACE);
    out.offer(Time::ZERO, offered(bytes)).unwrap();
    let accept = FileFrame::Accept { id: 1, have: 0, credit, digest: ZERO };
    out.handle_frame(Time::ZERO, accept).unwrap();
    read(&mut out);
    out
}

/// The disk answers whatever was asked.
fn read(out: &mut Outgoing) {
    while let Some(act) = out.poll_act() {
        let SendAct::Read { id, len, last, .. } = act else { continue };
        out.handle_read(Time::ZERO, id, vec![0; len].into(), last.then_some(ZERO));
    }
}

fn acts(inn: &mut Incoming) -> Vec<RecvAct> {
    std::iter::from_fn(|| inn.poll_act()).collect()
}

fn frames(inn: &mut Incoming) -> Vec<FileFrame> {
    std::iter::from_fn(|| inn.poll_frame()).collect()
}

fn said(out: &mut Outgoing) -> Vec<FileFrame> {
    std::iter::from_fn(|| out.poll_frame()).collect()
}

/// What was there before is no progress, and less than it is no panic.
#[test]
fn a_file_that_begins_anew_has_to_get_on_from_its_first_byte() {
    for (comes, stays) in [(10 << 10, 1), (10, 0)] {
        let mut inn = receiving(1, 1 << 19, 0);
        inn.handle_data(1, 0, &vec![0; comes]).unwrap();
        let due = inn.next_due();
        assert!(due >= Time::ZERO + 30 * SECOND);
        inn.handle_time(due);
        assert_eq!(inn.len(), stays, "{comes} bytes");
    }
}

/// All of it is here: whoever holds it then, it is our disk that is waited for.
#[test]
fn a_file_that_has_come_is_not_slow_while_it_is_stored() {
    for ours in [true, false] {
        let (id, bytes) = (1, 1 << 20);
        let mut inn = receiving(1, bytes - 1, 0);
        inn.handle_data(id, bytes - 1, b"x").unwrap();
        inn.write();
        inn.handle_frame(Time::ZERO, FileFrame::End { id, bytes, digest: ZERO }).unwrap();
        if ours {
            inn.hold(Time::ZERO, id, true);
        } else {
            inn.handle_frame(Time::ZERO, FileFrame::SenderHolds { id, on: true }).unwrap();
        }
        inn.handle_written(Time::ZERO, id, 1, vec![]);
        assert!(matches!(acts(&mut inn)[..], [.., RecvAct::Store { .. }]));
        assert_eq!(inn.next_due(), Time::NEVER);
        inn.handle_time(Time::ZERO + 3_600 * SECOND);
        inn.handle_stored(Time::ZERO, id);
        assert_eq!(frames(&mut inn).pop(), Some(FileFrame::Done { id, bytes }));
    }
}

/// Each as much as there are shares, with its own.
#[test]
fn files_share_the_window_from_their_first_byte() {
    let mut inn = receiving(4, 1_000, 1 << 20);
    let credits = frames(&mut inn).into_iter().map(|frame| match frame {
        FileFrame::Accept { credit, .. } => credit - 1_000,
        other => panic!("{other:?}"),
    });
    let share = |count: u64| (1 << 20) / count;
    assert_eq!(credits.collect::<Vec<_>>(), [1, 2, 3, 4].map(share));
}

/// The receiver would take it for slow.
#[test]
fn who_holds_a_file_that_is_not_offered_yet_says_so_when_it_is() {
    let mut out = Outgoing::new(PACE);
    for _ in 0..=OFFERS_MAX {
        out.offer(Time::ZERO, offered(1)).unwrap();
    }
    let id = OFFERS_MAX as u32 + 1;
    out.hold(Time::ZERO, id, true);
    assert_eq!(said(&mut out).len(), OFFERS_MAX, "nothing of what was not offered");
    out.give_up(Time::ZERO, 1, FileErrorKind::Cancelled, "");
    let frames = said(&mut out);
    assert!(matches!(frames[1], FileFrame::Offer { id: of, .. } if of == id), "{frames:?}");
    assert_eq!(frames[2], FileFrame::SenderHolds { id, on: true });
}

/// While the queue in front of it is full, it would be looked at again and again.
#[test]
fn a_rate_is_looked_at_once() {
    let mut out = sending(1 << 20, 1 << 20);
    out.set_rate(Time::ZERO + SECOND, 1, 64 << 10);
    let now = Time::ZERO + SECOND;
    assert_eq!(out.next_due(), now);
    out.handle_time(now);
    assert!(out.next_due() > now, "it goes when there is room");
    assert_eq!(out.poll_chunk(now).map(|chunk| chunk.bytes.len()), Some(64 << 10));
    read(&mut out);
    assert!(out.poll_chunk(now).is_none());
    assert_eq!(out.next_due(), now + SECOND);
}

/// Its file would be open for as long as it likes.
#[test]
fn a_receiver_that_wants_no_more_is_slow() {
    let mut out = Outgoing::new(PACE);
    out.offer(Time::ZERO, offered(1 << 20)).unwrap();
    let accept = FileFrame::Accept { id: 1, have: 0, credit: 0, digest: ZERO };
    out.handle_frame(Time::ZERO, accept).unwrap();
    out.set_rate(Time::ZERO, 1, 1);
    while out.poll_frame().is_some() {}
    out.handle_time(out.next_due());
    assert_eq!(out.next_due(), Time::NEVER);
    let frames = said(&mut out);
    assert!(matches!(frames[..], [FileFrame::GiveUp { id: 1, .. }]), "{frames:?}");

    let mut waits = sending(1 << 20, 64 << 10);
    waits.hold(Time::ZERO, 1, true);
    waits.handle_time(waits.next_due());
    assert!(waits.contains(1), "it is we who hold");
}

/// A file whose bytes are all here needs no place among those that run, nor does one that is over.
#[test]
fn a_place_is_given_on_when_all_of_a_file_has_come() {
    let opened = |inn: &mut Incoming| -> Vec<u32> {
        let open = |act| if let RecvAct::Open { id } = act { Some(id) } else { None };
        acts(inn).into_iter().filter_map(open).collect()
    };
    for end_is_late in [false, true] {
        let mut inn = Incoming::new(PACE, 1, 0);
        for id in 1..=3 {
            inn.handle_frame(Time::ZERO, FileFrame::Offer { id, offered: offered(1) }).unwrap();
            inn.accept(Time::ZERO, id);
        }
        assert_eq!(opened(&mut inn), [1], "it is being opened, and runs");
        inn.handle_opened(Time::ZERO, 1, 0, ZERO);
        inn.handle_data(1, 0, b"x").unwrap();
        inn.write();
        let end = FileFrame::End { id: 1, bytes: 1, digest: ZERO };
        if end_is_late {
            inn.handle_written(Time::ZERO, 1, 1, vec![]);
            assert_eq!(opened(&mut inn), []);
            inn.handle_frame(Time::ZERO, end).unwrap();
        } else {
            inn.handle_frame(Time::ZERO, end).unwrap();
            assert_eq!(opened(&mut inn), []);
            inn.handle_written(Time::ZERO, 1, 1, vec![]);
        }
        assert_eq!(opened(&mut inn), [2], "{end_is_late}");
        inn.refuse(Time::ZERO, 2, FileErrorKind::Cancelled, "");
        assert_eq!(opened(&mut inn), [3]);
    }
}

/// At the end of its connection nothing is opened for those that waited.
#[test]
fn a_connection_that_ends_opens_nothing() {
    let mut inn = Incoming::new(PACE, 1, 0);
    for id in 1..=3 {
        inn.handle_frame(Time::ZERO, FileFrame::Offer { id, offered: offered(1) }).unwrap();
        inn.accept(Time::ZERO, id);
    }
    acts(&mut inn);
    inn.close(Time::ZERO);
    let acts = acts(&mut inn);
    assert!(acts.len() == 3 && acts.iter().all(|act| matches!(act, RecvAct::Ended { .. })));
}

/// What came before the end is written first: who comes back goes on behind it.
#[test]
fn what_has_come_of_a_file_that_ends_is_written() {
    let mut inn = receiving(1, 0, 0);
    inn.handle_data(1, 0, b"abc").unwrap();
    acts(&mut inn);
    inn.close(Time::ZERO);
    let bytes = b"abc".to_vec();
    let write = RecvAct::Write { id: 1, offset: 0, anew: false, bytes };
    let acts = acts(&mut inn);
    assert!(acts[0] == write && matches!(acts[1], RecvAct::Ended { id: 1, .. }), "{acts:?}");
}

#[test]
fn a_sender_that_waits_for_us_is_not_slow() {
    let mut writes = receiving(1, 0, 0);
    writes.handle_data(1, 0, b"x").unwrap();
    writes.write();
    let mut full = receiving(1, 0, 0);
    full.handle_data(1, 0, &vec![0; 128 << 10]).unwrap();
    let mut waits = Incoming::new(PACE, 1, 0);
    for id in 1..=2 {
        waits.handle_frame(Time::ZERO, FileFrame::Offer { id, offered: offered(1) }).unwrap();
        waits.accept(Time::ZERO, id);
    }
    for (inn, len) in [(&mut writes, 1), (&mut full, 1), (&mut waits, 2)] {
        for second in 1..100 {
            inn.handle_time(Time::ZERO + second * SECOND);
        }
        assert_eq!(inn.len(), len, "{inn:?}");
    }
}

#[test]
fn who_was_held_has_its_time_anew() {
    let mut inn = receiving(1, 0, 0);
    let (then, later) = (Time::ZERO + 20 * SECOND, Time::ZERO + 25 * SECOND);
    inn.hold(then, 1, true);
    assert_eq!(inn.next_due(), then + 10 * SECOND);
    inn.hold(later, 1, false);
    assert_eq!(inn.next_due(), later + 10 * SECOND);
}

/// Else its file would be open, and its room taken, for as long as the other side likes.
#[test]
fn the_other_side_may_hold_a_file_for_its_time_in_all() {
    let at = |seconds| Time::ZERO + seconds * SECOND;
    let mut inn = receiving(1, 0, 0);
    let mut out = sending(1 << 20, 64 << 10);
    out.poll_chunk(Time::ZERO).unwrap();
    let hold = |inn: &mut Incoming, out: &mut Outgoing, now, on| {
        inn.handle_frame(now, FileFrame::SenderHolds { id: 1, on }).unwrap();
        out.handle_frame(now, FileFrame::ReceiverHolds { id: 1, on }).unwrap();
        inn.handle_time(now);
        out.handle_time(now);
        assert_eq!((inn.len(), out.len()), (1, 1), "{now:?}");
        (inn.next_due(), out.next_due())
    };
    let first = Time::ZERO + HOLD;
    let (start, stall) = (inn.next_due(), out.next_due());
    assert_eq!(hold(&mut inn, &mut out, at(0), true), (first, first));
    assert_eq!(hold(&mut inn, &mut out, at(5), true), (first, first), "said again");
    let goes_on = (start + 200 * SECOND, stall + 200 * SECOND);
    assert_eq!(hold(&mut inn, &mut out, at(200), false), goes_on, "its time stood still");
    for _ in 0..100 {
        hold(&mut inn, &mut out, at(201), true);
        assert_eq!(hold(&mut inn, &mut out, at(201), false), goes_on, "nothing is won");
    }
    let last = first + SECOND; // it did not hold for one
    assert_eq!(hold(&mut inn, &mut out, at(201), true), (last, last));
    inn.handle_time(last);
    out.handle_time(last);
    let why = FileErrorKind::TimedOut;
    let text = "held for 600s in all".to_string();
    assert_eq!(frames(&mut inn).pop(), Some(FileFrame::Refuse { id: 1, why, text: text.clone() }));
    assert_eq!(said(&mut out).pop(), Some(FileFrame::GiveUp { id: 1, why, text }));
    assert_eq!((inn.next_due(), out.next_due()), (Time::NEVER, Time::NEVER));
}

/// Else who holds it then is given ten minutes for a word that has half of one.
#[test]
fn a_hold_ends_with_the_file() {
    let holds = FileFrame::ReceiverHolds { id: 1, on: true };
    let mut out = Outgoing::new(PACE);
    out.offer(Time::ZERO, offered(0)).unwrap();
    let accept = FileFrame::Accept { id: 1, have: 0, credit: 0, digest: ZERO };
    out.handle_frame(Time::ZERO, accept).unwrap();
    out.handle_frame(Time::ZERO, holds.clone()).unwrap(); // while its end is being read
    read(&mut out);
    assert!(matches!(said(&mut out)[..], [_, FileFrame::End { .. }]));
    assert_eq!(out.next_due(), Time::ZERO + 30 * SECOND);
    out.handle_frame(Time::ZERO, holds).unwrap();
    assert_eq!(out.next_due(), Time::ZERO + 30 * SECOND);
    let (id, bytes) = (1, 1 << 20);
    let mut inn = receiving(1, bytes - 1, 0);
    inn.handle_data(id, bytes - 1, b"x").unwrap();
    inn.handle_frame(Time::ZERO, FileFrame::SenderHolds { id, on: true }).unwrap();
    inn.handle_frame(Time::ZERO, FileFrame::End { id, bytes, digest: ZERO }).unwrap();
    assert_eq!(inn.next_due(), Time::NEVER, "it is our disk that is waited for");
}

/// Those that have the line together have the more time, also behind a hold.
#[test]
fn files_that_were_held_have_their_share_of_time() {
    let mut out = Outgoing::new(PACE);
    for id in [1, 2] {
        out.offer(Time::ZERO, offered(1 << 20)).unwrap();
        let accept = FileFrame::Accept { id, have: 0, credit: 1 << 20, digest: ZERO };
        out.handle_frame(Time::ZERO, accept).unwrap();
        read(&mut out);
        out.poll_chunk(Time::ZERO).unwrap();
    }
    for (seconds, on) in [(0, true), (100, false)] {
        for id in [1, 2] {
            let holds = FileFrame::ReceiverHolds { id, on };
            out.handle_frame(Time::ZERO + seconds * SECOND, holds).unwrap();
        }
    }
    assert_eq!(out.next_due(), Time::ZERO + 110 * SECOND);
    out.handle_time(Time::ZERO + 110 * SECOND);
    assert_eq!((out.len(), out.next_due()), (2, Time::ZERO + 120 * SECOND));
    out.handle_time(Time::ZERO + 120 * SECOND);
    assert_eq!(out.len(), 0);
}

/// It is counted, so that a server has as much as it may.
#[test]
fn all_that_was_read_of_a_file_is_in_memory_until_it_is_sent() {
    let mut out = sending(1 << 20, 1 << 20);
    let piece = FILE_CHUNK_BYTES_MAX as u64;
    assert_eq!(out.memory_bytes(), 2 * piece);
    out.poll_chunk(Time::ZERO).unwrap();
    assert_eq!(out.memory_bytes(), piece);
    out.give_up(Time::ZERO, 1, FileErrorKind::Cancelled, "");
    assert_eq!(out.memory_bytes(), 0);
}

/// Its sender looks at it before it sends anything.
#[test]
fn who_is_told_of_much_has_time_to_look() {
    let (id, have) = (1, 64 << 20);
    let mut inn = Incoming::new(PACE, 1, 0);
    inn.handle_frame(Time::ZERO, FileFrame::Offer { id, offered: offered(have + 1) }).unwrap();
    inn.accept(Time::ZERO, id);
    inn.handle_opened(Time::ZERO, id, have, ZERO);
    assert_eq!(inn.next_due(), Time::ZERO + 32 * SECOND);
}

/// The time to begin is that of who has not begun.
#[test]
fn who_has_begun_has_to_get_on() {
    let mut inn = receiving(1, 0, 0);
    assert_eq!(inn.next_due(), Time::ZERO + 30 * SECOND);
    for second in [1, 2] {
        inn.handle_data(1, 100 * (second - 1), &[0; 100]).unwrap();
        inn.write();
        inn.handle_written(Time::ZERO + second as u32 * SECOND, 1, 100, vec![]);
        assert_eq!(inn.next_due(), Time::ZERO + 11 * SECOND, "from the first byte on");
    }
    inn.handle_time(Time::ZERO + 11 * SECOND);
    assert!(inn.is_empty(), "200 bytes in ten seconds are too few");
}

#[test]
fn who_may_have_much_of_a_file_has_time_to_look() {
    let mut out = Outgoing::new(PACE);
    out.offer(Time::ZERO, offered(64 << 20)).unwrap();
    assert_eq!(out.next_due(), Time::ZERO + 32 * SECOND);
}

/// Offers wait for an answer as long as anything gets on; a hold is not that.
#[test]
fn who_only_holds_does_not_answer() {
    let (then, start) = (Time::ZERO + 20 * SECOND, Time::ZERO + 30 * SECOND);
    let holds = |on| FileFrame::ReceiverHolds { id: 1, on };
    let empty = FileFrame::Credit { id: 1, written: 0, credit: 128 << 10 };
    for frames in [vec![holds(true), holds(false)], vec![empty]] {
        let mut out = sending(1 << 20, 64 << 10);
        out.poll_chunk(Time::ZERO).unwrap();
        out.offer(Time::ZERO, offered(1)).unwrap();
        for frame in frames {
            out.handle_frame(then, frame).unwrap();
        }
        out.handle_time(start);
        assert!(!out.contains(2), "it was not answered");
    }
}

#[test]
fn what_is_told_of_a_partial_is_no_more_than_the_file() {
    let mut inn = receiving(1, 2 << 20, 0);
    let Some(FileFrame::Accept { have, .. }) = inn.poll_frame() else { panic!("no answer") };
    assert_eq!(have, 1 << 20);
}

/// A sender hears that it gets on, on a slow line too; and the memory for the next bytes is counted.
#[test]
fn what_is_written_is_told_once_a_second_at_least() {
    let mut inn = receiving(1, 0, 0);
    frames(&mut inn);
    for (offset, after, told) in [(0, 999, 0), (10, 1_000, 1), (20, 1_999, 0), (30, 2_000, 1)] {
        inn.handle_data(1, offset, &[0; 10]).unwrap();
        inn.write();
        let now = Time::ZERO + Duration::from_millis(after);
        inn.handle_written(now, 1, 10, Vec::with_capacity(1_000));
        assert_eq!(frames(&mut inn).len(), told, "{after}");
        assert!(inn.memory_bytes() >= 1_000);
    }
}

/// Whichever side holds it: nothing more is read, nothing goes, and nobody is slow.
#[test]
fn a_held_file_is_neither_read_nor_sent() {
    for there in [true, false] {
        let mut out = Outgoing::new(PACE);
        out.offer(Time::ZERO, offered(1 << 20)).unwrap();
        let accept = FileFrame::Accept { id: 1, have: 0, credit: 1 << 20, digest: ZERO };
        out.handle_frame(Time::ZERO, accept).unwrap();
        assert!(matches!(out.poll_act(), Some(SendAct::Read { .. })));
        let hold = |out: &mut Outgoing, now, on| {
            if there {
                out.handle_frame(now, FileFrame::ReceiverHolds { id: 1, on }).unwrap();
            } else {
                out.hold(now, 1, on);
            }
        };
        hold(&mut out, Time::ZERO, true);
        out.handle_read(Time::ZERO, 1, vec![0; 64 << 10].into(), None);
        assert_eq!(out.poll_act(), None);
        assert_eq!(out.poll_chunk(Time::ZERO), None);
        hold(&mut out, Time::ZERO, false);
        assert!(matches!(out.poll_act(), Some(SendAct::Read { .. })));
        assert!(out.poll_chunk(Time::ZERO).is_some());
        hold(&mut out, Time::ZERO, true);
        for second in 1..100 {
            out.handle_time(Time::ZERO + second * SECOND);
        }
        assert_eq!(out.len(), 1, "what it has sent is not written: that is ours");
    }
}

#[test]
fn a_receiver_that_waits_for_us_is_not_slow() {
    let mut limited = sending(1 << 20, 1 << 20);
    limited.set_rate(Time::ZERO, 1, 1);
    limited.poll_chunk(Time::ZERO).unwrap();
    let mut written = sending(1 << 20, 64 << 10);
    written.poll_chunk(Time::ZERO).unwrap();
    let credit = FileFrame::Credit { id: 1, written: 64 << 10, credit: 128 << 10 };
    written.handle_frame(Time::ZERO, credit).unwrap();
    let mut proves = Outgoing::new(PACE);
    proves.offer(Time::ZERO, offered(100)).unwrap();
    let accept = FileFrame::Accept { id: 1, have: 10, credit: 100, digest: ZERO };
    proves.handle_frame(Time::ZERO, accept).unwrap();
    for out in [&mut limited, &mut written, &mut proves] {
        for second in 1..100 {
            out.handle_time(Time::ZERO + second * SECOND);
        }
        assert_eq!(out.len(), 1, "{out:?}");
    }
}

/// Who has many offers answers them one after the other.
#[test]
fn a_receiver_that_says_something_has_time_for_the_rest() {
    let mut out = Outgoing::new(PACE);
    for _ in 0..2 {
        out.offer(Time::ZERO, offered(1)).unwrap();
    }
    let then = Time::ZERO + 20 * SECOND;
    let why = FileErrorKind::Refused;
    out.handle_frame(then, FileFrame::Refuse { id: 1, why, text: String::new() }).unwrap();
    assert_eq!(out.next_due(), then + 30 * SECOND);
    out.handle_time(then + 29 * SECOND);
    assert_eq!(out.len(), 1);
    out.handle_time(then + 30 * SECOND);
    assert_eq!(out.len(), 0);
}

/// What is large takes long to be made safe.
#[test]
fn the_word_that_a_file_is_there_has_time_for_its_length() {
    let bytes = 64 << 20;
    let mut out = Outgoing::new(PACE);
    out.offer(Time::ZERO, offered(bytes)).unwrap();
    let accept = FileFrame::Accept { id: 1, have: bytes, credit: bytes, digest: ZERO };
    out.handle_frame(Time::ZERO, accept).unwrap();
    out.handle_proved(Time::ZERO, 1, bytes, true);
    read(&mut out);
    assert!(matches!(said(&mut out)[..], [FileFrame::Offer { .. }, FileFrame::End { .. }]));
    assert_eq!(out.next_due(), Time::ZERO + 32 * SECOND);
}

#[test]
fn files_take_turns() {
    let mut out = Outgoing::new(PACE);
    for id in 1..=3 {
        out.offer(Time::ZERO, offered(1 << 20)).unwrap();
        let accept = FileFrame::Accept { id, have: 0, credit: 1 << 20, digest: ZERO };
        out.handle_frame(Time::ZERO, accept).unwrap();
    }
    let order = std::iter::repeat_with(|| {
        read(&mut out);
        out.poll_chunk(Time::ZERO).unwrap().id
    });
    assert_eq!(order.take(7).collect::<Vec<_>>(), [1, 2, 3, 1, 2, 3, 1]);
}

/// Its receiver would take it for a broken rule, and end the connection.
#[test]
fn nothing_is_said_of_a_file_that_is_not_offered_yet() {
    let mut out = Outgoing::new(PACE);
    for _ in 0..=OFFERS_MAX {
        out.offer(Time::ZERO, offered(1)).unwrap();
    }
    said(&mut out);
    let id = OFFERS_MAX as u32 + 1;
    let why = FileErrorKind::Refused;
    let refuse = FileFrame::Refuse { id, why, text: String::new() };
    assert!(out.handle_frame(Time::ZERO, refuse).is_err(), "nor may it be answered");
    out.give_up(Time::ZERO, id, FileErrorKind::Cancelled, "");
    assert_eq!(said(&mut out), []);
}
