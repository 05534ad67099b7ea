//! Both ends of transfers against each other, over a wire that delays, with disks that take their time.
#![expect(clippy::cast_possible_truncation, reason = "small numbers of a test")]

mod sides;

use super::*;
use bytes::Bytes;
use longshore_base::{SplitMix64, Time};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

const PACE: Pace = Pace {
    start: Duration::from_secs(30),
    stall: Duration::from_secs(10),
    rate: 1_024,
    hold: HOLD,
};
const HOLD: Duration = Duration::from_secs(600);

/// Not the digest of the program: one that needs no crate.
fn digest_of(bytes: &[u8]) -> Digest {
    let mut digest = [0u8; 32];
    for (at, byte) in bytes.iter().enumerate() {
        let seat = &mut digest[at % 32];
        *seat = seat.rotate_left(3) ^ byte.wrapping_add(at as u8);
    }
    digest[0] ^= bytes.len() as u8;
    digest
}

#[derive(Debug)]
enum OnWire {
    Frame(FileFrame),
    Chunk(Chunk),
}

/// Work that a disk has yet to do.
enum Work {
    Send(SendAct),
    Recv(RecvAct),
}

/// Two peers, one of which has files.
struct Pair {
    now: Time,
    chance: SplitMix64,
    out: Outgoing,
    inn: Incoming,
    there: VecDeque<OnWire>,
    back: VecDeque<FileFrame>,
    disk: Vec<Work>,
    sources: BTreeMap<u32, Vec<u8>>,
    partials: BTreeMap<u32, Vec<u8>>,
    stored: BTreeMap<u32, Vec<u8>>,
    offered: BTreeSet<u32>,
    ended: [BTreeMap<u32, Result<(), TransferError>>; 2],
    sent_bytes: u64,
    /// Bytes that came and are not written: the most there were.
    most_kept: u64,
}

impl Pair {
    fn new(seed: u64, running_max: usize) -> Self {
        Self {
            now: Time::ZERO + Duration::from_secs(1),
            chance: SplitMix64::new(seed),
            out: Outgoing::new(PACE),
            inn: Incoming::new(PACE, running_max, 256 << 10),
            there: VecDeque::new(),
            back: VecDeque::new(),
            disk: Vec::new(),
            sources: BTreeMap::new(),
            partials: BTreeMap::new(),
            stored: BTreeMap::new(),
            offered: BTreeSet::new(),
            ended: [BTreeMap::new(), BTreeMap::new()],
            sent_bytes: 0,
            most_kept: 0,
        }
    }

    fn offer(&mut self, bytes: Vec<u8>, partial: Option<Vec<u8>>) -> u32 {
        let len = bytes.len() as u64;
        let offered =
            Offered { name: "a".into(), request: 0, start: 0, bytes: len, total: len, modified: 0 };
        let id = self.out.offer(self.now, offered).unwrap();
        self.sources.insert(id, bytes);
        self.partials.extend(partial.map(|bytes| (id, bytes)));
        id
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.chance.next_u64() as u8).collect()
    }

    fn collect(&mut self) {
        while let Some(act) = self.out.poll_act() {
            match act {
                SendAct::Ended { id, result } => {
                    assert!(self.ended[0].insert(id, result).is_none(), "{id} ended twice");
                }
                SendAct::Progress { id, written } => {
                    assert!(written <= self.sources[&id].len() as u64);
                }
                act => self.disk.push(Work::Send(act)),
            }
        }
        while let Some(act) = self.inn.poll_act() {
            match act {
                RecvAct::Ended { id, result } => {
                    assert!(self.ended[1].insert(id, result).is_none(), "{id} ended twice");
                }
                RecvAct::Offered { id, .. } => {
                    self.offered.insert(id);
                    self.inn.accept(self.now, id);
                }
                RecvAct::Progress { .. } => {}
                act => self.disk.push(Work::Recv(act)),
            }
        }
        while let Some(frame) = self.out.poll_frame() {
            self.there.push_back(OnWire::Frame(frame));
        }
        while let Some(frame) = self.inn.poll_frame() {
            self.back.push_back(frame);
        }
    }

    /// Something happens, by chance. Says whether anything could.
    fn step(&mut self) -> bool {
        self.collect();
        let could = !self.there.is_empty() || !self.back.is_empty() || !self.disk.is_empty();
        match self.chance.below(5) {
            0 => {
                if let Some(chunk) = self.out.poll_chunk(self.now) {
                    self.sent_bytes += chunk.bytes.len() as u64;
                    self.there.push_back(OnWire::Chunk(chunk));
                    return true;
                }
            }
            1 => match self.there.pop_front() {
                Some(OnWire::Frame(frame)) => self.inn.handle_frame(self.now, frame).unwrap(),
                Some(OnWire::Chunk(Chunk { id, offset, bytes })) => {
                    let cut = self.chance.below(bytes.len());
                    self.inn.handle_data(id, offset, &bytes[..cut.max(1)]).unwrap();
                    if bytes.len() > cut.max(1) {
                        let offset = offset + cut.max(1) as u64;
                        self.inn.handle_data(id, offset, &bytes[cut.max(1)..]).unwrap();
                    }
                    self.most_kept = self.most_kept.max(self.inn.memory_bytes());
                }
                None => {}
            },
            2 => {
                if let Some(frame) = self.back.pop_front() {
                    self.out.handle_frame(self.now, frame).unwrap();
                }
            }
            3 => {
                if !self.disk.is_empty() {
                    let at = self.chance.below(self.disk.len());
                    let work = self.disk.remove(at);
                    self.work(work);
                }
            }
            _ => self.inn.write(),
        }
        could
    }

    fn work(&mut self, work: Work) {
        let now = self.now;
        match work {
            Work::Send(SendAct::Prove { id, have, digest }) => {
                let source = &self.sources[&id];
                let equal = digest_of(&source[..have as usize]) == digest;
                self.out.handle_proved(now, id, have, equal);
            }
            Work::Send(SendAct::Read { id, offset, len, last }) => {
                let source = &self.sources[&id];
                let bytes = source[offset as usize..offset as usize + len].to_vec();
                let digest = last.then(|| digest_of(source));
                self.out.handle_read(now, id, Bytes::from(bytes), digest);
            }
            Work::Recv(RecvAct::Open { id }) => {
                let have = self.partials.entry(id).or_default();
                let digest = digest_of(have);
                self.inn.handle_opened(now, id, have.len() as u64, digest);
            }
            Work::Recv(RecvAct::Write { id, offset, anew, bytes }) => {
                let file = self.partials.get_mut(&id).expect("it was opened");
                if anew {
                    file.clear();
                }
                assert_eq!(file.len() as u64, offset, "bytes are left out, or come twice");
                file.extend_from_slice(&bytes);
                self.inn.handle_written(now, id, bytes.len() as u64, bytes);
            }
            Work::Recv(RecvAct::Store { id, digest }) => {
                let file = self.partials.remove(&id).expect("it was opened");
                assert_eq!(digest_of(&file), digest, "another file");
                self.stored.insert(id, file);
                self.inn.handle_stored(now, id);
            }
            _ => unreachable!("not the disk's"),
        }
    }

    fn run(&mut self) {
        let mut idle = 0;
        while idle < 200 {
            idle = if self.step() { 0 } else { idle + 1 };
        }
    }
}

#[test]
fn every_file_arrives_whole_and_ends_once_on_both_sides() {
    for seed in 0..60 {
        let mut pair = Pair::new(seed, 1 + (seed % 5) as usize);
        pair.out.set_piece([1_000, 64 << 10, 200_000][seed as usize % 3]);
        for number in 0..6 {
            let len = [0, 1, 900, 70_000, 400_000][pair.chance.below(5)];
            let bytes = pair.bytes(len);
            let partial = match pair.chance.below(4) {
                0 => Some(bytes[..pair.chance.below(len + 1)].to_vec()),
                1 => Some(vec![number; pair.chance.below(len + 1)]),
                _ => None,
            };
            pair.offer(bytes, partial);
        }
        pair.run();
        assert_eq!(pair.stored, pair.sources, "seed {seed}");
        for ended in &pair.ended {
            assert!(
                ended.len() == 6 && ended.values().all(Result::is_ok),
                "seed {seed}: {ended:?}"
            );
        }
        assert!(pair.out.is_empty() && pair.inn.is_empty());
        assert!(pair.most_kept <= 2 * 6 * (256 << 10), "seed {seed}: {}", pair.most_kept);
    }
}

/// R64: what is there and the same is not sent again; what is another file's is.
#[test]
fn what_is_proven_equal_is_not_sent_again() {
    for (partial, sent) in [(300_000, 100_000), (400_000, 0), (0, 400_000)] {
        let mut pair = Pair::new(1, 1);
        let bytes = pair.bytes(400_000);
        pair.offer(bytes.clone(), Some(bytes[..partial].to_vec()));
        pair.run();
        assert_eq!((pair.sent_bytes, pair.stored.len()), (sent, 1));
    }
    let mut pair = Pair::new(1, 1);
    let bytes = pair.bytes(400_000);
    let mut other = bytes[..300_000].to_vec();
    other[299_999] ^= 1;
    pair.offer(bytes, Some(other));
    pair.run();
    assert_eq!((pair.sent_bytes, &pair.stored), (400_000, &pair.sources));
}

/// What was there and is another file's is no credit: as little lies in memory as of any other file.
#[test]
fn a_file_that_begins_anew_has_no_credit_for_what_was_there() {
    let mut pair = Pair::new(1, 1);
    let bytes = pair.bytes(3_000_000);
    pair.offer(bytes, Some(vec![1; 2_500_000]));
    let mut most = 0;
    for _ in 0..3_000 {
        let writes = |work: &Work| matches!(work, Work::Recv(RecvAct::Write { .. }));
        if let Some(at) = pair.disk.iter().position(|work| !writes(work)) {
            let work = pair.disk.remove(at);
            pair.work(work);
        }
        let (writes, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut pair.disk).into_iter().partition(writes);
        pair.disk = rest;
        pair.step();
        pair.disk.extend(writes);
        most = most.max(pair.sent_bytes);
    }
    assert_eq!(most, 256 << 10, "no more before anything is written");
    pair.run();
    assert_eq!(pair.stored, pair.sources);
    let mut inn = Incoming::new(PACE, 1, 0);
    let (name, bytes) = ("a".into(), 1 << 20);
    let offered = Offered { name, request: 0, start: 0, bytes, total: bytes, modified: 0 };
    inn.handle_frame(Time::ZERO, FileFrame::Offer { id: 1, offered }).unwrap();
    inn.accept(Time::ZERO, 1);
    inn.handle_opened(Time::ZERO, 1, 1 << 19, [0; 32]);
    inn.handle_data(1, 0, &vec![0; 128 << 10]).unwrap();
    assert!(inn.handle_data(1, 128 << 10, b"x").is_err(), "more than its credit");
}

/// One side gives up, at any time: both hear of it, once, and the others go on.
#[test]
fn a_file_that_is_given_up_ends_on_both_sides_and_others_do_not() {
    for seed in 0..200 {
        let mut pair = Pair::new(seed, 2);
        let ids: Vec<_> = (0..3)
            .map(|_| {
                let bytes = pair.bytes(150_000);
                pair.offer(bytes, None)
            })
            .collect();
        for _ in 0..pair.chance.below(150) {
            pair.step();
        }
        pair.collect();
        let (now, id) = (pair.now, ids[1]);
        let unknown = seed % 2 == 1 && !pair.offered.contains(&id);
        let over = unknown || pair.ended.iter().any(|ended| ended.contains_key(&id));
        if seed % 2 == 0 {
            pair.out.give_up(now, id, FileErrorKind::Cancelled, "enough");
        } else {
            pair.inn.refuse(now, id, FileErrorKind::NoSpace, "full");
        }
        pair.run();
        for id in [ids[0], ids[2]] {
            assert_eq!(pair.stored.get(&id), pair.sources.get(&id), "seed {seed}");
        }
        for (side, ended) in pair.ended.iter().enumerate() {
            assert_eq!(ended.len(), 3, "seed {seed}: {ended:?}");
            if over {
                continue;
            }
            // What is stored before the sender's word comes is stored.
            let stored = seed % 2 == 0 && side == 1;
            assert!(ended[&id].is_err() || stored, "seed {seed}, side {side}: {ended:?}");
        }
    }
}

#[test]
fn a_connection_that_ends_ends_all() {
    for seed in 0..100 {
        let mut pair = Pair::new(seed, 2);
        for _ in 0..4 {
            let bytes = pair.bytes(100_000);
            pair.offer(bytes, None);
        }
        for _ in 0..pair.chance.below(300) {
            pair.step();
        }
        let now = pair.now;
        pair.collect();
        let known = pair.inn.len() + pair.ended[1].len();
        pair.out.close(now);
        pair.inn.close(now);
        pair.collect();
        assert!(pair.out.is_empty() && pair.inn.is_empty());
        assert_eq!((pair.ended[0].len(), pair.ended[1].len()), (4, known), "seed {seed}");
        let lost = |result: &Result<(), TransferError>| match result {
            Ok(()) => true,
            Err(error) => error.why == FileErrorKind::ConnectionLost && !error.of_peer,
        };
        assert!(pair.ended.iter().flat_map(BTreeMap::values).all(lost));
    }
}

/// A peer that says nothing, or too little, is found; one that waits for us is not.
#[test]
fn what_is_too_slow_is_given_up_in_time() {
    let second = Duration::from_secs(1);
    // Nobody answers the offer.
    let mut pair = Pair::new(1, 1);
    let id = pair.offer(vec![1; 100], None);
    assert_eq!(pair.out.next_due(), pair.now + 30 * second);
    pair.out.handle_time(pair.now + 29 * second);
    assert_eq!(pair.out.len(), 1);
    pair.out.handle_time(pair.now + 30 * second);
    pair.collect();
    let Err(error) = &pair.ended[0][&id] else { panic!("it is well") };
    assert_eq!((error.why, error.of_peer), (FileErrorKind::TimedOut, false));
    assert!(matches!(pair.there.back(), Some(OnWire::Frame(FileFrame::GiveUp { .. }))));
    // Nothing comes of a file that was wanted.
    let mut pair = Pair::new(1, 1);
    pair.offer(vec![1; 100_000], None);
    while !matches!(pair.back.front(), Some(FileFrame::Accept { .. })) {
        pair.step();
    }
    let due = pair.inn.next_due();
    assert_eq!(due, pair.now + 30 * second);
    pair.inn.hold(pair.now, 1, true);
    pair.inn.handle_time(due);
    assert_eq!(pair.inn.len(), 1, "we hold it back ourselves");
    pair.inn.hold(due, 1, false);
    pair.inn.handle_time(due + 9 * second);
    assert_eq!(pair.inn.len(), 1);
    pair.inn.handle_time(due + 10 * second);
    assert!(pair.inn.is_empty());
    // Nothing is written of what was sent.
    let mut pair = Pair::new(1, 1);
    pair.offer(vec![1; 1_000_000], None);
    while pair.sent_bytes < 200_000 {
        pair.collect();
        pair.step();
    }
    let from = pair.now;
    pair.out.handle_time(from + 20 * second);
    pair.out.handle_time(from + 31 * second);
    assert!(pair.out.is_empty(), "{:?}", pair.out);
}

#[test]
fn a_held_file_waits_and_a_limited_one_takes_its_time() {
    let mut pair = Pair::new(3, 1);
    let bytes = pair.bytes(300_000);
    let id = pair.offer(bytes, None);
    let now = pair.now;
    pair.out.hold(now, id, true);
    pair.run();
    assert_eq!((pair.sent_bytes, pair.stored.len()), (0, 0));
    pair.out.hold(now, id, false);
    pair.out.set_rate(now, id, 100_000);
    pair.run();
    assert_eq!(pair.sent_bytes, 64 << 10, "one chunk, and then its time");
    let due = pair.out.next_due();
    assert!(due > now + Duration::from_millis(600) && due < now + Duration::from_millis(700));
    while pair.stored.is_empty() {
        pair.now = pair.out.next_due().min(pair.now + Duration::from_secs(5));
        pair.out.handle_time(pair.now);
        pair.run();
    }
    assert!(pair.now >= now + Duration::from_millis(2_300), "{:?}", pair.now.since(now));
    assert_eq!(pair.stored, pair.sources);
}

/// More offers than may be unfinished wait where they are; and who offers more all the same is told.
#[test]
fn offers_have_a_bound_on_both_sides() {
    let mut pair = Pair::new(1, 4);
    for _ in 0..OFFERS_MAX + 10 {
        pair.offer(vec![], None);
    }
    pair.collect();
    assert_eq!(pair.there.len(), OFFERS_MAX);
    pair.run();
    assert_eq!(pair.stored.len(), OFFERS_MAX + 10);
    let mut inn = Incoming::new(PACE, 1, 0);
    let offered =
        || Offered { name: "a".into(), request: 0, start: 0, bytes: 1, total: 1, modified: 0 };
    for id in 1..=OFFERS_MAX as u32 + 1 {
        inn.handle_frame(Time::ZERO, FileFrame::Offer { id, offered: offered() }).unwrap();
    }
    let Some(FileFrame::Refuse { id, why, .. }) = inn.poll_frame() else { panic!("nothing") };
    assert_eq!((id as usize, why), (OFFERS_MAX + 1, FileErrorKind::Busy));
}

/// What breaks the rules is an error and not a panic, whatever was before.
#[test]
fn a_peer_that_breaks_the_rules_is_found() {
    let zero = [0; 32];
    let (id, now) = (1, Time::ZERO);
    let accept = |have, credit| FileFrame::Accept { id, have, credit, digest: zero };
    let credit = |written, credit| FileFrame::Credit { id, written, credit };
    let offered = |bytes| Offered {
        name: "a".into(),
        request: 0,
        start: 0,
        bytes,
        total: bytes,
        modified: 0,
    };
    for wrong in [
        accept(101, 200),
        accept(10, 9),
        credit(0, 10),
        FileFrame::Done { id, bytes: 100 },
        FileFrame::Done { id: 2, bytes: 100 },
        FileFrame::End { id, bytes: 0, digest: zero },
    ] {
        let mut out = Outgoing::new(PACE);
        out.offer(now, offered(100)).unwrap();
        assert!(out.handle_frame(now, wrong.clone()).is_err(), "{wrong:?}");
    }
    let mut out = Outgoing::new(PACE);
    out.offer(now, offered(100)).unwrap();
    out.handle_frame(now, accept(0, 50)).unwrap();
    for wrong in [accept(0, 50), credit(1, 60), credit(0, 49), FileFrame::Done { id, bytes: 100 }] {
        assert!(out.handle_frame(now, wrong.clone()).is_err(), "{wrong:?}");
    }
    out.give_up(now, id, FileErrorKind::Cancelled, "");
    out.handle_frame(now, credit(1, 60)).expect("it may not know yet");

    let mut inn = Incoming::new(PACE, 1, 0);
    inn.handle_frame(now, FileFrame::Offer { id, offered: offered(1 << 20) }).unwrap();
    assert!(inn.handle_data(id, 0, b"x").is_err(), "nobody wants it yet");
    assert!(inn.handle_data(2, 0, b"x").is_err(), "there is none");
    assert!(inn.handle_frame(now, FileFrame::Offer { id, offered: offered(1) }).is_err());
    inn.accept(now, id);
    inn.handle_opened(now, id, 10, zero);
    assert!(inn.handle_data(id, 11, b"x").is_err(), "a gap");
    assert!(inn.handle_data(id, 10, &vec![0; (128 << 10) + 1]).is_err(), "more than its credit");
    inn.handle_data(id, 10, b"x").unwrap();
    assert!(inn.handle_data(id, 0, b"x").is_err(), "not twice");
    assert!(inn.handle_frame(now, FileFrame::End { id, bytes: 1 << 20, digest: zero }).is_err());
    assert!(inn.handle_frame(now, accept(0, 1)).is_err());
    inn.refuse(now, id, FileErrorKind::Cancelled, "");
    inn.handle_data(id, 11, b"x").expect("it may not know yet");
}
