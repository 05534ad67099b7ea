//! Slow readers: what each policy does at the bound of a queue, for each way to send.

use crate::net::{Event, Events, Lab, Peer, Probe, codec, on_every_port, wait_until};
use longshore::*;
use std::sync::mpsc::channel;
use std::time::Duration;

on_every_port! {
    disconnect_ends_the_connection_and_says_full,
    refuse_says_full_and_the_connection_stays,
    drop_newest_says_queued_and_loses_what_finds_no_room,
    drop_oldest_says_queued_and_loses_the_oldest,
    what_is_tracked_is_refused_rather_than_dropped,
    what_is_tracked_is_not_dropped_for_newer_ones,
    the_latest_of_a_key_takes_the_place_of_the_older,
    the_latest_of_a_key_needs_no_room_but_for_what_it_is_longer,
    the_latest_of_a_handle_counts_once,
    the_latest_of_a_key_in_a_group_takes_the_place_of_the_older,
    messages_have_a_bound_of_their_own,
    what_a_handle_sent_counts_for_the_next_one,
    what_never_fits_is_refused_where_others_are_dropped,
    the_latest_of_a_key_needs_no_place_of_its_own,
    what_is_put_together_for_a_group_counts_as_memory,
    who_closes_is_not_behind,
    who_is_behind_for_too_long_is_ended,
    a_payload_for_many_counts_once,
    who_reads_all_at_once_is_not_slow_however_idle_the_worker,
    messages_that_have_left_do_not_count_however_idle_the_worker,
}

/// Virtual time that what is waited for may take.
const SOON: Duration = Duration::from_secs(1);

/// The bound of the queue, and what fits.
const QUEUE: u64 = 1 << 20;
const LEN: usize = 60_000;
const FIT: u32 = 17;

/// What is sent at most: more than the system's buffers and the queue take.
const MANY: u32 = 600;

fn limits(policy: SlowReader) -> Limits {
    let limits = Limits::new().send_queue_bytes(QUEUE).slow_reader(policy);
    limits.first_byte(Duration::ZERO).write(Duration::ZERO)
}

fn numbered(number: u32) -> Vec<u8> {
    let mut message = vec![7; LEN];
    message[..4].copy_from_slice(&number.to_be_bytes());
    message
}

fn number(message: &[u8]) -> u32 {
    u32::from_be_bytes(message[..4].try_into().unwrap())
}

/// The ways to send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum By {
    Callback,
    Handle,
    Group,
}

const WAYS: [By; 3] = [By::Callback, By::Handle, By::Group];

/// One connection whose peer reads nothing, until it is told to.
struct Rig {
    server: Server,
    peer: Peer,
    conn: Conn<Probe>,
    events: Events,
    group: Group<LengthDelimited>,
}

fn rig<F>(lab: &mut Lab, limits: Limits, script: F) -> Rig
where
    F: FnMut(&mut Ctx<'_, Probe>, &Event) -> Result + Send + Clone + Sync + 'static,
{
    let (told, events) = channel();
    let factory = move |_: &longshore::Peer<'_>| Ok(Probe::new(told.clone(), script.clone()));
    let frame_max = usize::try_from(QUEUE).unwrap() - 4;
    let codec = LengthDelimited::u32_be(frame_max);
    let listener = Listener::addr(lab.addr(), codec).limits(limits);
    let server = lab.start(Server::builder().listen(listener, factory).workers(1));
    let mut peer = lab.connect(&server);
    let events = Events(events);
    let conn = lab.next(&events).conn();
    peer.stop_reading();
    let group = Group::new(codec);
    assert!(group.join(&conn));
    Rig { server, peer, conn, events, group }
}

/// What was said of one message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Said {
    Queued,
    Full,
    Dropped,
}

#[expect(clippy::unnecessary_wraps, reason = "it is a script")]
fn nothing(_: &mut Ctx<'_, Probe>, _: &Event) -> Result {
    Ok(())
}

/// Sends numbered messages until one is not queued, or `most`.
fn overrun(lab: &mut Lab, policy: SlowReader, by: By, most: u32) -> (Rig, Vec<Said>) {
    let (answers, said) = channel();
    let script = move |cx: &mut Ctx<'_, Probe>, event: &Event| {
        let Event::Message(_) = event else { return Ok(()) };
        for at in 0..most {
            let answer = match cx.try_send(&numbered(at)) {
                Ok(()) => Said::Queued,
                Err(SendError::Full) => Said::Full,
                Err(other) => return Err(other.into()),
            };
            answers.send(answer).unwrap();
            if answer != Said::Queued {
                break;
            }
        }
        Ok(())
    };
    let mut rig = rig(lab, limits(policy), script);
    if by == By::Callback {
        rig.peer.say(b"go");
        lab.until(SOON, || rig.server.snapshot().messages_in == 1);
        lab.pass(Duration::from_millis(100));
        return (rig, said.try_iter().collect());
    }
    let mut all = Vec::new();
    while all.len() < most as usize && all.last().is_none_or(|last| *last == Said::Queued) {
        let at = all.len() as u32;
        all.push(match by {
            By::Handle => match rig.conn.send(&numbered(at)) {
                Sent::Queued => Said::Queued,
                Sent::Full => Said::Full,
                other => panic!("{other:?}"),
            },
            _ => broadcast(lab, &rig.group, &numbered(at)),
        });
        let wanted = all.len() as u64;
        // The mailbox is to be empty again. An older one that is dropped counts beside its successor.
        let lost = |it: &Snapshot| match policy {
            SlowReader::DropOldest => 0,
            _ => it.messages_dropped + it.messages_refused,
        };
        let seen_to = |it: Snapshot| it.messages_out + lost(&it);
        if lab.is_simulated() {
            lab.pass(Duration::from_millis(1));
        } else {
            wait_until(|| seen_to(rig.server.snapshot()) >= wanted);
        }
    }
    (rig, all)
}

fn broadcast(lab: &mut Lab, group: &Group<LengthDelimited>, message: &[u8]) -> Said {
    let receipt = group.broadcast(message).unwrap();
    let Delivered { queued, refused, dropped, gone, .. } = delivered(lab, &receipt);
    match (queued, refused, dropped, gone) {
        (1, 0, 0, 0) => Said::Queued,
        (0, 1, 0, 0) => Said::Full,
        (0, 0, 1, 0) => Said::Dropped,
        other => panic!("{other:?}"),
    }
}

/// What became of a broadcast.
fn delivered(lab: &mut Lab, receipt: &Receipt) -> Delivered {
    if lab.is_simulated() {
        lab.pass(Duration::from_millis(10));
    } else {
        receipt.wait();
    }
    receipt.poll().expect("all workers have done their part")
}

/// Reads on, and all that is there, up to a last message.
fn arrived(lab: &mut Lab, rig: &mut Rig) -> Vec<u32> {
    rig.peer.go_on_reading();
    let (mut numbers, mut ended) = (Vec::new(), false);
    loop {
        if !ended && rig.conn.queued_bytes() <= QUEUE / 4 {
            ended = rig.conn.send(b"end").is_queued();
        }
        let message = lab.hear(&mut rig.peer);
        if message == b"end" {
            return numbers;
        }
        numbers.push(number(&message));
    }
}

fn disconnect_ends_the_connection_and_says_full(lab: &mut Lab) {
    for by in WAYS {
        let (rig, said) = overrun(lab, SlowReader::Disconnect, by, MANY);
        let (last, others) = said.split_last().unwrap();
        assert!(*last == Said::Full && others.iter().all(|it| *it == Said::Queued), "{by:?}");
        assert_eq!(lab.end_of(&rig.events).reason, "slow_reader");
        assert_eq!(rig.conn.send(b"more"), Sent::Closed);
        let snapshot = rig.server.snapshot();
        assert_eq!((snapshot.messages_refused, snapshot.messages_dropped), (1, 0), "{by:?}");
    }
}

fn refuse_says_full_and_the_connection_stays(lab: &mut Lab) {
    for by in WAYS {
        let (mut rig, said) = overrun(lab, SlowReader::Refuse, by, MANY);
        let (last, others) = said.split_last().unwrap();
        assert!(*last == Said::Full && others.iter().all(|it| *it == Said::Queued), "{by:?}");
        if by == By::Callback {
            assert_eq!(others.len(), FIT as usize);
        }
        // All but what was refused, and `on_writable` at the low mark.
        let numbers = arrived(lab, &mut rig);
        assert!(numbers.iter().copied().eq(0..others.len() as u32), "{by:?}: {numbers:?}");
        let writable = |event: Event| matches!(event, Event::Writable).then_some(());
        lab.find(&rig.events, writable);
        let snapshot = rig.server.snapshot();
        assert_eq!((snapshot.messages_refused, snapshot.messages_dropped), (1, 0), "{by:?}");
    }
}

/// All were sent, some were dropped: what came is in order, and with the lost ones it is all.
fn nothing_else_is_lost(rig: &Rig, by: By, sent: usize, numbers: &[u32]) {
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{by:?}: {numbers:?}");
    let (snapshot, info) = (rig.server.snapshot(), rig.conn.info());
    assert_eq!(snapshot.messages_dropped as usize, sent - numbers.len(), "{by:?}");
    assert_eq!(info.messages_dropped, snapshot.messages_dropped);
    assert_eq!(snapshot.messages_refused, 0);
    assert!(!rig.conn.is_closed());
}

fn drop_newest_says_queued_and_loses_what_finds_no_room(lab: &mut Lab) {
    for (by, most) in WAYS.into_iter().zip([40, MANY, MANY]) {
        let (mut rig, said) = overrun(lab, SlowReader::DropNewest, by, most);
        let queued = said.iter().filter(|it| **it == Said::Queued).count();
        if by == By::Group {
            assert_eq!(said.last(), Some(&Said::Dropped), "{said:?}");
        } else {
            assert_eq!((queued, said.len()), (most as usize, most as usize), "{by:?}");
        }
        let numbers = arrived(lab, &mut rig);
        match by {
            By::Callback => assert!(numbers.iter().copied().eq(0..FIT), "{numbers:?}"),
            By::Group => assert!(numbers.iter().copied().eq(0..queued as u32), "{numbers:?}"),
            By::Handle => assert!(numbers.iter().copied().take(17).eq(0..17)),
        }
        nothing_else_is_lost(&rig, by, said.len(), &numbers);
    }
}

fn drop_oldest_says_queued_and_loses_the_oldest(lab: &mut Lab) {
    for (by, most) in WAYS.into_iter().zip([40, MANY, MANY]) {
        let (mut rig, said) = overrun(lab, SlowReader::DropOldest, by, most);
        if by == By::Group {
            assert_eq!(said.last(), Some(&Said::Dropped), "{said:?}");
        } else {
            assert_eq!(said, vec![Said::Queued; most as usize], "{by:?}");
        }
        let numbers = arrived(lab, &mut rig);
        assert_eq!(numbers.last(), Some(&(said.len() as u32 - 1)), "the newest is there");
        if by == By::Callback {
            assert!(numbers.iter().copied().eq(most - FIT..most), "{numbers:?}");
        }
        nothing_else_is_lost(&rig, by, said.len(), &numbers);
    }
}

fn what_is_tracked_is_refused_rather_than_dropped(lab: &mut Lab) {
    let (answers, said) = channel();
    let script = move |cx: &mut Ctx<'_, Probe>, event: &Event| {
        if let Event::Message(_) = event {
            for at in 0..=FIT {
                let sent = cx.send_tracked(&numbered(at), at.into());
                answers.send(sent.is_ok()).unwrap();
            }
        }
        Ok(())
    };
    let mut rig = rig(lab, limits(SlowReader::DropNewest), script);
    rig.peer.go_on_reading();
    rig.peer.say(b"go");
    for at in 0..FIT {
        assert_eq!(number(&lab.hear(&mut rig.peer)), at);
    }
    let said: Vec<_> = (0..=FIT).map(|_| lab.recv(&said)).collect();
    assert!(said[..FIT as usize].iter().all(|well| *well) && !said[FIT as usize]);
    let snapshot = rig.server.snapshot();
    assert_eq!((snapshot.messages_refused, snapshot.messages_dropped), (1, 0));
}

fn what_is_tracked_is_not_dropped_for_newer_ones(lab: &mut Lab) {
    let script = |cx: &mut Ctx<'_, Probe>, event: &Event| {
        if let Event::Message(_) = event {
            cx.send(&numbered(0))?;
            cx.send_tracked(&numbered(1), 1)?;
            for at in 2..40 {
                cx.send(&numbered(at))?;
            }
        }
        Ok(())
    };
    let mut rig = rig(lab, limits(SlowReader::DropOldest), script);
    rig.peer.say(b"go");
    lab.until(SOON, || rig.server.snapshot().messages_out == 40);
    let numbers = arrived(lab, &mut rig);
    let wanted: Vec<_> = [1].into_iter().chain(40 - (FIT - 1)..40).collect();
    assert_eq!(numbers, wanted);
    let sent = |event: Event| if let Event::Sent(id) = event { Some(id) } else { None };
    assert_eq!(lab.find(&rig.events, sent), 1);
}

/// More than the system takes waits for the peer.
fn stuck(lab: &mut Lab, limits: Limits) -> Rig {
    let rig = rig(lab, limits.send_queue_bytes(64 << 20), nothing);
    for at in 0..300 {
        assert_eq!(rig.conn.send(&numbered(at)), Sent::Queued);
    }
    lab.until(SOON, || rig.server.snapshot().messages_out == 300);
    rig
}

fn the_latest_of_a_key_takes_the_place_of_the_older(lab: &mut Lab) {
    let mut rig = stuck(lab, limits(SlowReader::Disconnect));
    // From a handle and from a group; on every way the same keys.
    for round in 0..50_u32 {
        for key in 1..=3_u64 {
            let place = [&round.to_be_bytes()[..], &key.to_be_bytes()].concat();
            if round % 2 == 0 {
                assert_eq!(rig.conn.send_latest(key, &place), Sent::Queued);
            } else {
                rig.group.broadcast_latest(key, &place).unwrap();
            }
        }
        if round == 10 {
            assert_eq!(rig.conn.send(b"between"), Sent::Queued);
        }
    }
    assert_eq!(rig.conn.send(b"end"), Sent::Queued);
    lab.until(SOON, || rig.server.snapshot().messages_out == 300 + 150 + 2);
    rig.peer.go_on_reading();
    for at in 0..300 {
        assert_eq!(number(&lab.hear(&mut rig.peer)), at);
    }
    for key in 1..=3_u64 {
        let message = lab.hear(&mut rig.peer);
        assert_eq!(message, [&49_u32.to_be_bytes()[..], &key.to_be_bytes()].concat());
    }
    assert_eq!(lab.hear(&mut rig.peer), b"between", "which was sent behind the first of them");
    assert_eq!(lab.hear(&mut rig.peer), b"end");
    // Nothing waits any more: each leaves.
    for text in [b"one", b"two"] {
        assert_eq!(rig.conn.send_latest(1, text), Sent::Queued);
        assert_eq!(lab.hear(&mut rig.peer), text);
    }
}

fn the_latest_of_a_key_needs_no_room_but_for_what_it_is_longer(lab: &mut Lab) {
    let (answers, said) = channel();
    let script = move |cx: &mut Ctx<'_, Probe>, event: &Event| {
        if let Event::Message(_) = event {
            for at in 0..FIT {
                cx.send_latest(at.into(), &numbered(at))?;
            }
            assert!(cx.send(&numbered(99)).is_err(), "it is full");
            cx.send_latest(3, &numbered(33))?;
            cx.send_latest(4, b"four")?;
            cx.send(&numbered(99))?; // there is room again
            let longer = [numbered(5), numbered(5)].concat();
            answers.send(cx.send_latest(5, &longer).is_ok()).unwrap();
        }
        Ok(())
    };
    let mut rig = rig(lab, limits(SlowReader::Refuse), script);
    rig.peer.go_on_reading();
    rig.peer.say(b"go");
    assert!(!lab.recv(&said), "twice as long finds no room, and the older one stays");
    for at in 0..FIT {
        let message = lab.hear(&mut rig.peer);
        match at {
            4 => assert_eq!(message, b"four"),
            _ => assert_eq!(number(&message), if at == 3 { 33 } else { at }),
        }
    }
    assert_eq!(number(&lab.hear(&mut rig.peer)), 99);
}

/// On its way and in the queue it is the same message.
fn the_latest_of_a_handle_counts_once(lab: &mut Lab) {
    for policy in [SlowReader::Refuse, SlowReader::DropNewest, SlowReader::DropOldest] {
        let script = |cx: &mut Ctx<'_, Probe>, event: &Event| {
            if let Event::Message(_) = event {
                let conn = cx.conn();
                for at in 0..5 {
                    assert_eq!(conn.send_latest(1, &vec![at; 180_000]), Sent::Queued);
                }
                cx.send(b"behind")?;
                assert_eq!(conn.send_latest(1, &vec![5; 700_000]), Sent::Queued);
            }
            Ok(())
        };
        let limits = limits(policy).send_queue_messages(5);
        let mut rig = rig(lab, limits, script);
        rig.peer.go_on_reading();
        rig.peer.say(b"go");
        assert_eq!(lab.hear(&mut rig.peer), vec![5; 700_000], "{policy:?}");
        assert_eq!(lab.hear(&mut rig.peer), b"behind", "{policy:?}");
        let snapshot = rig.server.snapshot();
        assert_eq!((snapshot.messages_refused, snapshot.messages_dropped), (0, 0), "{policy:?}");
    }
}

fn messages_have_a_bound_of_their_own(lab: &mut Lab) {
    for (policy, by) in [SlowReader::Refuse, SlowReader::DropNewest, SlowReader::DropOldest]
        .into_iter()
        .flat_map(|policy| WAYS.map(|by| (policy, by)))
    {
        let (answers, said) = channel();
        let group: Group<LengthDelimited> = Group::new(codec());
        let of_script = group.clone();
        // Nothing leaves while a callback runs.
        let script = move |cx: &mut Ctx<'_, Probe>, event: &Event| {
            let Event::Message(_) = event else { return Ok(()) };
            for at in 0..40_u8 {
                let well = match by {
                    By::Callback => cx.try_send(&[at]).is_ok(),
                    By::Handle => cx.conn().send(&[at]).is_queued(),
                    By::Group => {
                        let receipt = of_script.broadcast(&[at])?;
                        cx.queued_bytes();
                        cx.try_send(&[]).is_ok() && receipt.poll().is_some_and(|it| it.queued == 1)
                    }
                };
                answers.send(well).unwrap();
            }
            Ok(())
        };
        let limits = limits(policy).send_queue_messages(10);
        let mut rig = rig(lab, limits, script);
        assert!(by != By::Group || group.join(&rig.conn));
        rig.peer.go_on_reading();
        rig.peer.say(b"go");
        let said: Vec<_> = (0..40).map(|_| lab.recv(&said)).collect();
        if by == By::Group {
            continue; // each has an empty frame behind it: checked for its bound only
        }
        let wanted = if policy == SlowReader::Refuse { 10 } else { 40 };
        assert_eq!(said.iter().filter(|well| **well).count(), wanted, "{policy:?} {by:?}");
        // On its way to a busy worker nothing older is there to be dropped.
        let first = if policy == SlowReader::DropOldest && by == By::Callback { 30 } else { 0 };
        for at in first..first + 10 {
            assert_eq!(lab.hear(&mut rig.peer), [at], "{policy:?} {by:?}");
        }
        let snapshot = rig.server.snapshot();
        assert_eq!(snapshot.messages_refused + snapshot.messages_dropped, 30);
        rig.peer.say(b"go");
        assert_eq!(lab.hear(&mut rig.peer), [first], "there is room again");
    }
}

fn the_latest_of_a_key_in_a_group_takes_the_place_of_the_older(lab: &mut Lab) {
    let mut rig = stuck(lab, limits(SlowReader::Disconnect));
    for round in 0..3_u8 {
        let receipt = rig.group.broadcast_latest(1, &[round]).unwrap();
        assert_eq!(delivered(lab, &receipt).queued, 1);
    }
    rig.peer.go_on_reading();
    for at in 0..300 {
        assert_eq!(number(&lab.hear(&mut rig.peer)), at);
    }
    assert_eq!(lab.hear(&mut rig.peer), [2], "what waited for it has no longer anything to say");
}

fn what_a_handle_sent_counts_for_the_next_one(lab: &mut Lab) {
    let (answers, said) = channel();
    let script = move |cx: &mut Ctx<'_, Probe>, event: &Event| {
        let Event::Message(_) = event else { return Ok(()) };
        for at in 0..10 {
            assert_eq!(cx.conn().send(&[at]), Sent::Queued);
        }
        assert!(cx.try_send(b"more").is_err(), "all of it waits here by now");
        answers.send(cx.conn().send(b"more")).unwrap();
        Ok(())
    };
    let mut rig = rig(lab, limits(SlowReader::Refuse).send_queue_messages(10), script);
    rig.peer.say(b"go");
    assert_eq!(lab.recv(&said), Sent::Full);
}

fn what_never_fits_is_refused_where_others_are_dropped(lab: &mut Lab) {
    for policy in [SlowReader::DropNewest, SlowReader::DropOldest] {
        let rig = rig(lab, limits(policy), nothing);
        let long = Bytes::from(vec![7; QUEUE as usize + 1]);
        assert_eq!(rig.conn.send_encoded(long.clone()), Sent::Full, "{policy:?}");
        let receipt = rig.group.broadcast_encoded(None, long);
        let Delivered { refused, dropped, .. } = delivered(lab, &receipt);
        assert_eq!((refused, dropped), (1, 0), "{policy:?}");
        let snapshot = rig.server.snapshot();
        assert_eq!((snapshot.messages_refused, snapshot.messages_dropped), (2, 0));
    }
}

fn who_is_behind_for_too_long_is_ended(lab: &mut Lab) {
    let soft = |within| {
        let limits = limits(SlowReader::Refuse).send_queue_soft(within);
        limits.send_queue_soft_bytes(256 << 10)
    };
    let rig = stuck(lab, soft(Duration::from_millis(300)));
    lab.pass(Duration::from_secs(1));
    assert_eq!(lab.end_of(&rig.events).reason, "fell_behind");
    let mut rig = stuck(lab, soft(Duration::from_secs(3600)));
    rig.peer.go_on_reading();
    for at in 0..300 {
        assert_eq!(number(&lab.hear(&mut rig.peer)), at);
    }
    if lab.is_simulated() {
        lab.pass(Duration::from_secs(2 * 3600));
    }
    assert!(!rig.conn.is_closed(), "it has caught up");
}

fn the_latest_of_a_key_needs_no_place_of_its_own(lab: &mut Lab) {
    let (answers, said) = channel();
    let script = move |cx: &mut Ctx<'_, Probe>, event: &Event| {
        if let Event::Message(_) = event {
            for (key, text) in [(1, b"old"), (1, b"new"), (2, b"two")] {
                answers.send(cx.send_latest(key, text).is_ok()).unwrap();
            }
        }
        Ok(())
    };
    let mut rig = rig(lab, limits(SlowReader::Refuse).send_queue_messages(1), script);
    rig.peer.go_on_reading();
    rig.peer.say(b"go");
    assert_eq!([(); 3].map(|()| lab.recv(&said)), [true, true, false]);
    assert_eq!(lab.hear(&mut rig.peer), b"new");
}

fn what_is_put_together_for_a_group_counts_as_memory(lab: &mut Lab) {
    let group: Group<LengthDelimited> = Group::new(codec());
    let of_script = group.clone();
    // Two that wait together for a worker in a callback.
    let script = move |_: &mut Ctx<'_, Probe>, event: &Event| {
        if let Event::Message(_) = event {
            of_script.broadcast(&vec![7; 30_000])?;
            of_script.broadcast(&vec![7; 30_000])?;
        }
        Ok(())
    };
    let mut rig = rig(lab, limits(SlowReader::Refuse).send_queue_bytes(64 << 20), script);
    assert!(group.join(&rig.conn));
    for _ in 0..300 {
        rig.peer.say(b"go");
    }
    lab.until(SOON, || rig.server.snapshot().messages_out == 600);
    lab.until(SOON, || rig.conn.info().messages_out == 600);
    let held = rig.server.snapshot().memory_bytes;
    assert!(held > 2 << 20, "{held} of 18 million bytes, of which the system takes half at most");
}

fn who_closes_is_not_behind(lab: &mut Lab) {
    let limits = limits(SlowReader::Refuse).send_queue_soft(Duration::from_millis(100));
    let mut rig = rig(lab, limits.send_queue_soft_bytes(1), nothing);
    for at in 0..FIT - 1 {
        assert_eq!(rig.conn.send(&numbered(at)), Sent::Queued);
    }
    rig.conn.close();
    lab.pass(Duration::from_millis(300));
    rig.peer.go_on_reading();
    for at in 0..FIT - 1 {
        assert_eq!(number(&lab.hear(&mut rig.peer)), at);
    }
}

fn a_payload_for_many_counts_once(lab: &mut Lab) {
    let (told, events) = channel();
    let factory = move |_: &longshore::Peer<'_>| Ok(Probe::new(told.clone(), nothing));
    let limits = limits(SlowReader::Disconnect).send_queue_bytes(64 << 20);
    let all = Group::new(codec());
    let listener = Listener::addr(lab.addr(), codec()).limits(limits).group(&all);
    let len = if lab.is_simulated() { 50_000 } else { 1 << 20 };
    let memory = 40 * len as u64;
    let builder = Server::builder().listen(listener, factory).workers(2).memory(memory);
    let server = lab.start(builder);
    let mut peers: Vec<_> = (0..10).map(|_| lab.connect(&server)).collect();
    let events = Events(events);
    for peer in &mut peers {
        lab.next(&events);
        peer.stop_reading();
    }
    // Of which the system takes ten at most.
    for _ in 0..20 {
        let receipt = all.broadcast(&vec![7; len]).unwrap();
        let Delivered { queued, .. } = delivered(lab, &receipt);
        assert_eq!(queued, 10);
    }
    lab.pass(Duration::from_secs(1));
    let held = server.snapshot().memory_bytes;
    assert!(held <= 21 * len as u64 + (128 << 10), "{held} bytes for 20 times {len}");
    assert!(
        held >= 5 * len as u64,
        "{held}: all of it is with the system, and the test shows nothing"
    );
    assert_eq!(server.connection_count(), 10, "nobody is over any bound");
    for peer in &mut peers {
        peer.go_on_reading();
        for _ in 0..20 {
            assert_eq!(lab.hear(peer).len(), len);
        }
    }
    lab.until(SOON, || server.snapshot().memory_bytes <= 2 * (64 << 10));
}

/// Nothing wakes the worker between two sends of a handle: what has left must not count as queued.
fn who_reads_all_at_once_is_not_slow_however_idle_the_worker(lab: &mut Lab) {
    let mut rig = rig(lab, limits(SlowReader::Disconnect), nothing);
    rig.peer.go_on_reading();
    // As long as may be, and short ones.
    let long = vec![7; usize::try_from(QUEUE).unwrap() - 4];
    for round in 0..5_u8 {
        assert_eq!(rig.conn.send(&long), Sent::Queued, "round {round}");
        assert_eq!(lab.hear(&mut rig.peer).len(), long.len());
        lab.until(SOON, || rig.conn.queued_bytes() == 0);
        let receipt = rig.group.broadcast(&long).unwrap();
        assert_eq!(delivered(lab, &receipt).queued, 1);
        assert_eq!(lab.hear(&mut rig.peer).len(), long.len());
        lab.until(SOON, || rig.conn.queued_bytes() == 0);
        assert_eq!(rig.conn.send(&[round]), Sent::Queued);
        assert_eq!(lab.hear(&mut rig.peer), [round]);
        lab.until(SOON, || rig.conn.queued_bytes() == 0);
    }
    assert_eq!(rig.server.snapshot().messages_refused, 0);
}

/// The same of messages: so many may wait, and none does.
fn messages_that_have_left_do_not_count_however_idle_the_worker(lab: &mut Lab) {
    let few = limits(SlowReader::DropNewest).send_queue_messages(4).send_queue_bytes(2 * QUEUE);
    let mut rig = rig(lab, few, nothing);
    rig.peer.go_on_reading();
    for round in 0..20_u8 {
        // Its worker has to have seen to the last ones, which it does by itself.
        let dropped = || rig.conn.info().messages_dropped;
        for _ in 0..4 {
            lab.until(SOON, || {
                let before = dropped();
                rig.conn.send(&[round]).is_queued() && dropped() == before
            });
        }
        for _ in 0..4 {
            assert_eq!(lab.hear(&mut rig.peer), [round]);
        }
    }
}
