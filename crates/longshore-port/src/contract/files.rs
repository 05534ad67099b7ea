//! Sending files, and reading them: `Segment::File`, `Work::Read`.

use super::bench::Bench;
use super::rig::{Rig, Side, must_panic, shared, size};
use crate::{
    Call, ErrorKind, FileHandle, FileRange, Op, OpKind, Port, PortError, Segment, SendData,
    SendMode, VirtualFile, What, Work, WorkDone,
};
use bytes::Bytes;
use longshore_base::{FILE_BYTES_MAX, SEND_BYTES_MAX};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const SHORTENED: PortError = PortError::new(Call::File, ErrorKind::Shortened);
const NOT_CACHED: PortError = PortError::new(Call::File, ErrorKind::NotCached);

fn part(range: &FileRange, offset: usize, len: usize) -> SendData {
    let (offset, len) = (range.offset + offset as u64, len as u64);
    SendData::One(Segment::File(FileRange { offset, len, ..range.clone() }))
}

fn whole<B: Bench>(bench: &B, bytes: &[u8]) -> (FileRange, Box<dyn Fn(u64)>) {
    let (file, set_len) = bench.file(bytes);
    (FileRange { file, offset: 0, len: bytes.len() as u64 }, set_len)
}

/// Takes what has come, and keeps a receive in flight.
fn read<B: Bench>(rig: &mut Rig<'_, B>, side: Side, got: &mut Vec<u8>, receiving: &mut bool) {
    while let Some(what) =
        rig.take(side, |what| matches!(what, What::Received(_) | What::RecvEnded(_)))
    {
        match what {
            What::Received(lease) => got.extend_from_slice(&lease),
            _ => *receiving = false,
        }
    }
    if !*receiving {
        rig.recv(side, 100_000);
        *receiving = true;
    }
}

/// Any parts, in both modes, over a narrow connection: every byte once, in order.
pub fn a_file_arrives_as_it_is<B: Bench>(bench: &B) {
    let mut rig = Rig::new(bench);
    let (inside, out) = rig.narrow_pair();
    let bytes = rig.random.bytes(if bench.is_simulated() { 200_000 } else { 3_000_000 });
    let (file, _) = whole(bench, &bytes);
    let (mut got, mut receiving, mut sent, mut sending) = (Vec::new(), false, 0, false);
    rig.until("the whole file", |rig| {
        read(rig, inside, &mut got, &mut receiving);
        if let Some(What::Sent { bytes, error, data }) =
            rig.take(out, |what| matches!(what, What::Sent { .. }))
        {
            assert!(error.is_none_or(|error| error == NOT_CACHED), "{error:?}");
            if let Some(range) = data.file() {
                assert_eq!((range.offset, &range.file), (sent as u64, &file.file));
            }
            (sent, sending) = (sent + bytes, false);
            if error.is_some() {
                // What is not at hand is read, and goes out as memory.
                let len = (bytes_left(sent, &file)).min(60_000) as u64;
                let range = FileRange { offset: sent as u64, len, ..file.clone() };
                let piece = read_part(rig, range).expect("the file is well");
                rig.send(out, shared(&piece), SendMode::Whole);
                sending = true;
            }
        }
        if !sending && sent < bytes.len() {
            let count = size(&mut rig.random).min(bytes.len() - sent);
            let count = if rig.random.below(2) == 0 { count * 7 } else { count };
            let count = count.min(bytes.len() - sent).min(FILE_BYTES_MAX);
            let mode = if rig.random.below(2) == 0 { SendMode::Try } else { SendMode::Whole };
            rig.send(out, part(&file, sent, count), mode);
            sending = true;
        }
        (got.len() == bytes.len()).then_some(())
    });
    assert!(got == bytes, "the stream is another one");
    rig.finish();
}

/// A head from memory, a file, a tail from memory, again and again, while bytes come the other way:
/// nothing overtakes anything, and what waits for room still does after a file went through.
pub fn files_and_memory_leave_in_order<B: Bench>(bench: &B) {
    let mut rig = Rig::new(bench);
    let (inside, out) = rig.narrow_pair();
    let bytes = rig.random.bytes(60_000);
    let (file, _) = whole(bench, &bytes);
    let (mut want, mut got, mut receiving) = (Vec::new(), Vec::new(), false);
    rig.recv(out, u32::MAX);
    for round in 0..6u8 {
        let head = vec![round; 1 + 5_000 * usize::from(round)];
        for data in [shared(&head), part(&file, 0, bytes.len()), shared(b"tail")] {
            rig.send(out, data, SendMode::Whole);
            rig.until("the answer to a send", |rig| {
                read(rig, inside, &mut got, &mut receiving);
                rig.take(out, |what| matches!(what, What::Sent { error: None, .. }))
            });
        }
        want.extend([&head[..], &bytes[..], b"tail"].concat());
        rig.send(inside, shared(b"read"), SendMode::Whole);
        rig.until("the answer of the peer", |rig| {
            rig.take(out, |what| matches!(what, What::Received(_)))
        });
    }
    rig.until("all of it", |rig| {
        read(rig, inside, &mut got, &mut receiving);
        (got.len() == want.len()).then_some(())
    });
    assert!(got == want, "the stream is another one");
    rig.finish();
}

/// All bytes of a part, read by work.
fn read_part<B: Bench>(rig: &mut Rig<'_, B>, range: FileRange) -> Result<Bytes, PortError> {
    let side = rig.start(0, Work::Read(range));
    let what = rig.next(side, "the bytes of a file", |_| true);
    let What::Work(WorkDone::Read(read)) = what else { panic!("{what:?}") };
    read
}

fn bytes_left(done: usize, file: &FileRange) -> usize {
    usize::try_from(file.len).expect("a small file") - done
}

/// A file that a test keeps a hand on.
#[derive(Debug)]
struct SharedFile(Arc<OnDisk>);

impl VirtualFile for SharedFile {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(into, offset)
    }

    fn is_cached(&self, offset: u64, len: u64) -> bool {
        self.0.is_cached(offset, len)
    }
}

/// A file that the system knows nothing of.
#[derive(Debug)]
struct Made(Vec<u8>);

impl VirtualFile for Made {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let from = usize::try_from(offset).map_or(self.0.len(), |at| at.min(self.0.len()));
        let count = into.len().min(self.0.len() - from);
        into[..count].copy_from_slice(&self.0[from..from + count]);
        Ok(count)
    }
}

/// Every port sends such files as well, from any place, and says when one is too short.
pub fn a_file_that_is_none_of_the_system_arrives_as_it_is<B: Bench>(bench: &B) {
    let mut rig = Rig::new(bench);
    let (inside, out) = rig.narrow_pair();
    let bytes = rig.random.bytes(300_000);
    let made = FileHandle::of_simulation(Made(bytes.clone()));
    let range = FileRange { file: made, offset: 0, len: 250_000 };
    let (mut got, mut receiving, mut sent) = (Vec::new(), false, 1_000);
    for (mode, len) in [(SendMode::Whole, 200_000), (SendMode::Try, 90_000)] {
        let end = sent + len;
        while sent < end {
            rig.send(out, part(&range, sent, end - sent), mode);
            let answer = rig.until("the answer to a send", |rig| {
                read(rig, inside, &mut got, &mut receiving);
                rig.take(out, |what| matches!(what, What::Sent { .. }))
            });
            let What::Sent { bytes, error: None, .. } = answer else { panic!("{answer:?}") };
            sent += bytes;
            rig.settle(); // one that found no room is not tried again at once
        }
    }
    rig.send(out, part(&range, sent, 50_000), SendMode::Whole);
    let answer = rig.until("the answer to the last send", |rig| {
        read(rig, inside, &mut got, &mut receiving);
        rig.take(out, |what| matches!(what, What::Sent { .. }))
    });
    let What::Sent { bytes: last, error, .. } = answer else { panic!("{answer:?}") };
    assert_eq!((last, error), (9_000, Some(SHORTENED)));
    rig.until("the last bytes", |rig| {
        read(rig, inside, &mut got, &mut receiving);
        (got.len() == bytes.len() - 1_000).then_some(())
    });
    assert!(got == bytes[1_000..], "the stream is another one");
    rig.finish();
}

/// A file that was cut off meanwhile: what there is goes out, then the error; the connection is well.
pub fn a_file_that_was_shortened_says_so<B: Bench>(bench: &B) {
    for mode in [SendMode::Try, SendMode::Whole] {
        let mut rig = Rig::new(bench);
        let (inside, out) = rig.pair();
        let bytes = rig.random.bytes(400);
        let (file, set_len) = whole(bench, &bytes);
        set_len(100);
        let mut sent = 0;
        let error = loop {
            rig.send(out, part(&file, sent, bytes.len() - sent), mode);
            let answer = rig.sent(out);
            sent += answer.bytes;
            match answer.error {
                Some(NOT_CACHED) if mode == SendMode::Try => break SHORTENED, // it does not tell
                Some(error) => break error,
                None => {}
            }
            assert_eq!(mode, SendMode::Try, "all of it cannot be out");
        };
        assert!(error == SHORTENED && (sent == 100 || mode == SendMode::Try), "{error:?} {sent}");
        rig.send(out, shared(b" and on"), SendMode::Whole);
        assert_eq!(rig.read(inside, sent + 7), [&bytes[..sent], b" and on"].concat());
        assert_eq!(rig.sent(out).error, None);
        rig.finish();
    }
}

/// A file to a peer that does not read ends with a close or an abort, and comes back.
pub fn a_file_that_waits_for_room_ends_with_its_socket<B: Bench>(bench: &B) {
    for op in [Op::Close, Op::Abort] {
        let mut rig = Rig::new(bench);
        let (_inside, out) = rig.narrow_pair();
        let bytes = rig.random.bytes(FILE_BYTES_MAX);
        let (file, _) = whole(bench, &bytes);
        rig.recv(out, u32::MAX);
        rig.send(out, part(&file, 0, bytes.len()), SendMode::Whole);
        rig.settle();
        assert!(rig.rest(out).is_empty(), "1 MiB found room in a small window");
        rig.submit(out, op);
        let sent = rig.sent(out);
        assert!(sent.error.is_some() && sent.bytes < bytes.len(), "{sent:?}");
        assert_eq!(sent.data.file(), Some(&file), "the data came back changed");
        rig.closed(out);
        rig.finish();
    }
}

/// A file that would have to be waited for.
#[derive(Debug)]
struct OnDisk(Made, AtomicU64);

impl VirtualFile for OnDisk {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let cached = self.1.load(Ordering::Relaxed);
        assert!(offset + into.len() as u64 <= cached.min(300_000), "it was waited for");
        self.0.read_at(into, offset)
    }

    fn is_cached(&self, offset: u64, len: u64) -> bool {
        offset + len <= self.1.load(Ordering::Relaxed)
    }
}

/// Nobody waits for a disk in a send: it ends where it would have to, and the connection is well.
pub fn a_file_that_is_not_at_hand_is_not_waited_for<B: Bench>(bench: &B) {
    for mode in [SendMode::Try, SendMode::Whole] {
        let mut rig = Rig::new(bench);
        let (inside, out) = rig.pair();
        let bytes = rig.random.bytes(400);
        let on_disk = Arc::new(OnDisk(Made(bytes.clone()), AtomicU64::new(0)));
        let file = FileHandle::of_simulation(SharedFile(Arc::clone(&on_disk)));
        let range = FileRange { file, offset: 0, len: 400 };
        for _ in 0..2 {
            rig.send(out, part(&range, 0, 400), mode);
            let sent = rig.sent(out);
            assert_eq!((sent.bytes, sent.error), (0, Some(NOT_CACHED)));
            assert_eq!(sent.data.file(), Some(&range));
        }
        on_disk.1.store(300_000, Ordering::Relaxed);
        let mut done = 0;
        while done < bytes.len() {
            rig.send(out, part(&range, done, bytes.len() - done), mode);
            let sent = rig.sent(out);
            assert_eq!(sent.error, None);
            done += sent.bytes;
            rig.settle(); // one that found no room is not tried again at once
        }
        assert_eq!(rig.read(inside, 400), bytes);
        rig.finish();
    }
}

/// As what lies in memory.
pub fn a_file_that_waits_for_room_is_cancelled<B: Bench>(bench: &B) {
    let mut rig = Rig::new(bench);
    let (inside, out) = rig.narrow_pair();
    let bytes = rig.random.bytes(FILE_BYTES_MAX);
    let (file, _) = whole(bench, &bytes);
    rig.send(out, part(&file, 0, bytes.len()), SendMode::Whole);
    rig.settle();
    rig.cancel(out, OpKind::Send);
    let sent = rig.sent(out);
    assert_eq!(sent.error.map(|error| error.kind), Some(ErrorKind::Cancelled));
    rig.submit(out, Op::Close);
    let got = rig.read_to_end(inside);
    assert!(got.len() >= sent.bytes && got == bytes[..got.len()], "the stream is another one");
    rig.closed(out);
    rig.finish();
}

/// It is the connection that failed, not the file.
pub fn a_file_to_a_peer_that_is_gone_fails<B: Bench>(bench: &B) {
    for mode in [SendMode::Try, SendMode::Whole] {
        let mut rig = Rig::new(bench);
        let (inside, out) = rig.narrow_pair();
        let bytes = rig.random.bytes(SEND_BYTES_MAX);
        let (file, _) = whole(bench, &bytes);
        rig.submit(inside, Op::Abort);
        rig.settle();
        // The first one to a connection that was reset says so, the second that nothing goes any more.
        for _ in 0..2 {
            rig.send(out, part(&file, 0, bytes.len()), mode);
            let sent = rig.sent(out);
            let error = sent.error.expect("nobody is there");
            if error == NOT_CACHED && mode == SendMode::Try {
                continue; // it does not get so far
            }
            assert_eq!((error.kind, error.call), (ErrorKind::Reset, Call::Send));
            assert_eq!(sent.bytes, 0);
        }
        rig.finish();
    }
}

/// A file shares its send with nothing, and has a size too.
pub fn a_part_of_a_file_is_sent_alone<B: Bench>(bench: &B) {
    let mut rig = Rig::new(bench);
    let (inside, _out) = rig.pair();
    let (file, _) = whole(bench, b"some bytes");
    let id = rig.id(inside);
    let of = |len| Segment::File(FileRange { len, ..file.clone() });
    for data in [
        SendData::One(of(0)),
        SendData::One(of(FILE_BYTES_MAX as u64 + 1)),
        SendData::Many(vec![of(4), of(4)]),
    ] {
        let op = Op::Send { data, mode: SendMode::Try, prompt: true };
        must_panic("such a send", || rig.port(0).submit(id, op));
    }
    rig.finish();
}

/// For who has to change what is sent: all bytes of a part, or why not.
pub fn a_part_of_a_file_is_read<B: Bench>(bench: &B) {
    let mut rig = Rig::new(bench);
    let bytes = rig.random.bytes(10_000);
    let (file, set_len) = whole(bench, &bytes);
    let read = |rig: &mut Rig<'_, B>, offset, len| {
        read_part(rig, FileRange { offset, len, ..file.clone() })
    };
    assert_eq!(read(&mut rig, 0, 10_000).as_deref(), Ok(&bytes[..]));
    assert_eq!(read(&mut rig, 4_000, 10).as_deref(), Ok(&bytes[4_000..4_010]));
    assert_eq!(read(&mut rig, 9_000, 1_001), Err(SHORTENED));
    set_len(5_000);
    assert_eq!(read(&mut rig, 0, 5_001), Err(SHORTENED));
    let error = read(&mut rig, 0, FILE_BYTES_MAX as u64 + 1).expect_err("it is too long");
    assert_eq!((error.call, error.kind), (Call::File, ErrorKind::OutOfRange));
    rig.finish();
}
