//! Files that are sent as they are, to a peer that knows nothing of us.

use crate::net::{End, Event, Events, Lab, Probe, frame, on_every_port, wait_until};
use longshore::testing::Trouble;
use longshore::*;
use longshore_port::{FileFacts, FileKind, VirtualFile};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

on_every_port! {
    a_file_goes_out_in_its_place,
    parts_of_a_file_are_what_was_asked_for,
    a_close_flushes_a_file,
    what_is_not_at_hand_is_read_and_others_do_not_wait,
    behind_a_filter_a_file_passes_it,
    a_file_that_becomes_shorter_ends_the_connection,
    a_file_that_cannot_be_read_ends_the_connection,
    a_file_that_was_written_to_is_told,
    more_files_than_may_wait_are_refused,
    a_file_that_is_cut_off_is_told_at_the_end,
    no_file_goes_to_a_connection_that_closes,
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at / 7 + at * 13) as u8).collect()
}

/// Sends the file at the first message, between two others.
fn sends(file: FileSource) -> impl FnMut(&mut Ctx<'_, Probe>, &Event) -> Result + Send + 'static {
    move |cx, event| {
        if let Event::Message(_) = event {
            cx.send(b"head")?;
            cx.send_file(&file, ..)?;
            cx.send(b"tail")?;
        }
        Ok(())
    }
}

fn file_told(lab: &mut Lab, events: &Events) -> FileSent {
    lab.find(events, |event| match event {
        Event::File(sent) => Some(sent),
        _ => None,
    })
}

fn troubled(lab: &mut Lab) {
    if let Some(net) = lab.net() {
        net.world().make_trouble(Trouble::NotCached, 3);
    }
}

/// S65, R70: order, every byte, and one answer.
fn a_file_goes_out_in_its_place(lab: &mut Lab) {
    let bytes = pattern(if lab.is_simulated() { 150_000 } else { 3_000_000 });
    let (file, _) = lab.file(&bytes);
    troubled(lab);
    let script = {
        let file = file.clone();
        move || sends(file.clone())
    };
    let (server, events) = lab.serve(Limits::new(), script);
    let mut peer = lab.connect(&server);
    for _ in 0..2 {
        peer.say(b"go");
        assert_eq!(lab.hear(&mut peer), b"head");
        assert!(lab.read(&mut peer, bytes.len()) == bytes, "the file is another one");
        assert_eq!(lab.hear(&mut peer), b"tail");
        let sent = file_told(lab, &events);
        assert_eq!(sent.bytes_direct + sent.bytes_copied, bytes.len() as u64);
        assert_eq!(sent.unchanged, Ok(()));
    }
    let counts = server.snapshot();
    assert_eq!(counts.files_sent, 2);
    assert_eq!(counts.file_bytes_direct + counts.file_bytes_copied, 2 * bytes.len() as u64);
    if cfg!(target_os = "linux") && !lab.is_simulated() {
        assert_eq!(counts.file_bytes_copied, 0, "it lies in the system's cache");
    }
}

fn parts_of_a_file_are_what_was_asked_for(lab: &mut Lab) {
    let bytes = pattern(5_000);
    let (file, _) = lab.file(&bytes);
    troubled(lab);
    let script = move || {
        let file = file.clone();
        move |cx: &mut Ctx<'_, Probe>, event: &Event| {
            if let Event::Message(_) = event {
                let ids = [
                    cx.send_file(&file, 10..20)?,
                    cx.send_file(&file, 4_990..)?,
                    cx.send_file(&file, 5_000..)?, // nothing
                    cx.send_file(&file, ..=2)?,
                ];
                assert!(ids.windows(2).all(|ids| ids[0] < ids[1]));
                for range in [4_000..5_001, 6_000..6_000, u64::MAX - 1..u64::MAX] {
                    let error = cx.send_file(&file, range).expect_err("it has no such part");
                    let error = error.downcast_ref::<FileError>().expect("an error of files");
                    assert_eq!((error.kind, error.of_peer), (FileErrorKind::BadRange, false));
                }
                #[expect(clippy::reversed_empty_ranges, reason = "that is the mistake")]
                let reversed = cx.send_file(&file, 9..8);
                assert!(reversed.unwrap_err().to_string().contains("bytes 9 to 8 of 5000"));
                cx.send(b"and on")?;
            }
            Ok(())
        }
    };
    let (server, events) = lab.serve(Limits::new(), script);
    let mut peer = lab.connect(&server);
    peer.say(b"go");
    let want = [&bytes[10..20], &bytes[4_990..], &bytes[..=2], &frame(b"and on")].concat();
    assert_eq!(lab.read(&mut peer, want.len()), want);
    for len in [10, 10, 0, 3] {
        let sent = file_told(lab, &events);
        assert_eq!((sent.bytes_direct + sent.bytes_copied, sent.unchanged), (len, Ok(())));
    }
}

fn a_close_flushes_a_file(lab: &mut Lab) {
    let bytes = pattern(100_000);
    let (file, _) = lab.file(&bytes);
    troubled(lab);
    let script = move || {
        let file = file.clone();
        move |cx: &mut Ctx<'_, Probe>, event: &Event| {
            if let Event::Message(_) = event {
                cx.send_file(&file, ..)?;
                cx.close();
            }
            Ok(())
        }
    };
    let (server, events) = lab.serve(Limits::new(), script);
    let mut peer = lab.connect(&server);
    peer.say(b"go");
    let (got, end) = lab.read_to_end(&mut peer);
    assert!(got == bytes && end == End::Fin, "{} {end:?}", got.len());
    peer.finish();
    let ended = lab.end_of(&events);
    assert_eq!((ended.reason, ended.files.len()), ("local", 1));
    assert!(ended.files[0].1, "all of it is out");
}

/// A file on a disk that is slow: it answers when the test lets it.
#[derive(Debug)]
struct Slow {
    bytes: Vec<u8>,
    may_go_on: AtomicBool,
    reads: AtomicU32,
    waits: bool,
}

#[derive(Debug)]
struct SlowFile(Arc<Slow>);

impl VirtualFile for SlowFile {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.reads.fetch_add(1, Ordering::AcqRel);
        if self.0.waits {
            wait_until(|| self.0.may_go_on.load(Ordering::Acquire));
        }
        let rest = self.0.bytes.get(offset as usize..).unwrap_or_default();
        let count = rest.len().min(into.len());
        into[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn is_cached(&self, _: u64, _: u64) -> bool {
        false
    }

    fn facts(&self) -> io::Result<FileFacts> {
        let bytes = self.0.bytes.len() as u64;
        let identity = (0, 1);
        Ok(FileFacts { kind: FileKind::Regular, bytes, modified: 0, changed: 0, identity })
    }
}

/// R70: the disk stands still, and whoever else is served does not notice.
fn what_is_not_at_hand_is_read_and_others_do_not_wait(lab: &mut Lab) {
    let slow = Arc::new(Slow {
        bytes: pattern(200_000),
        may_go_on: AtomicBool::new(false),
        reads: AtomicU32::new(0),
        waits: !lab.is_simulated(),
    });
    let handle = FileHandle::of_simulation(SlowFile(Arc::clone(&slow)));
    let file = FileSource::of(handle).unwrap();
    let script = move || {
        let file = file.clone();
        move |cx: &mut Ctx<'_, Probe>, event: &Event| match event {
            Event::Message(frame) if frame == b"file" => cx.send_file(&file, ..).map(drop),
            Event::Message(frame) => cx.send(frame),
            _ => Ok(()),
        }
    };
    let (server, events) = lab.serve(Limits::new(), script);
    let (mut peer, mut other) = (lab.connect(&server), lab.connect(&server));
    peer.say(b"file");
    if !lab.is_simulated() {
        wait_until(|| slow.reads.load(Ordering::Acquire) > 0);
    }
    for _ in 0..10 {
        other.say(b"and I?");
        assert_eq!(lab.hear(&mut other), b"and I?");
    }
    slow.may_go_on.store(true, Ordering::Release);
    assert!(lab.read(&mut peer, slow.bytes.len()) == slow.bytes, "the file is another one");
    let sent = file_told(lab, &events);
    assert_eq!((sent.bytes_direct, sent.bytes_copied), (0, slow.bytes.len() as u64));
    assert_eq!(server.snapshot().file_bytes_copied, slow.bytes.len() as u64);
}

/// Turns each byte round.
struct Inverts;

impl Filter for Inverts {
    fn handle_input(
        &mut self,
        wire: &[u8],
        plain: &mut Vec<u8>,
        _: &mut Vec<u8>,
    ) -> Result<(), FrameError> {
        plain.extend(wire.iter().map(|byte| !byte));
        Ok(())
    }

    fn handle_output(&mut self, plain: &[u8], wire: &mut Vec<u8>) -> Result<(), FrameError> {
        wire.extend(plain.iter().map(|byte| !byte));
        Ok(())
    }
}

fn behind_a_filter_a_file_passes_it(lab: &mut Lab) {
    let bytes = pattern(200_000);
    let (file, _) = lab.file(&bytes);
    let (told, events) = std::sync::mpsc::channel();
    let listener = Listener::addr(lab.addr(), crate::net::codec()).filter(|| Box::new(Inverts));
    let factory = move |_: &longshore::Peer<'_>| Ok(Probe::new(told.clone(), sends(file.clone())));
    let server = lab.start(Server::builder().listen(listener, factory).workers(1));
    let mut peer = lab.connect(&server);
    let inverted = |bytes: &[u8]| bytes.iter().map(|byte| !byte).collect::<Vec<u8>>();
    peer.send(&inverted(&frame(b"go")));
    let want = inverted(&[&frame(b"head")[..], &bytes, &frame(b"tail")].concat());
    assert!(lab.read(&mut peer, want.len()) == want, "the file is another one");
    let sent = file_told(lab, &Events(events));
    assert_eq!((sent.bytes_direct, sent.bytes_copied), (0, bytes.len() as u64));
}

/// R60: nobody takes the rest for sent, and nobody waits for it.
fn a_file_that_becomes_shorter_ends_the_connection(lab: &mut Lab) {
    let bytes = pattern(50_000);
    let (file, set_len) = lab.file(&bytes);
    troubled(lab);
    let script = {
        let file = file.clone();
        move || sends(file.clone())
    };
    let (server, events) = lab.serve(Limits::new(), script);
    let mut peer = lab.connect(&server);
    set_len(20_000);
    peer.say(b"go");
    let (got, end) = lab.read_to_end(&mut peer);
    assert_eq!(end, End::Reset);
    assert!(got.len() <= 8 + 20_000, "{}", got.len());
    let ended = lab.end_of(&events);
    assert_eq!(
        (ended.reason, &ended.files[..]),
        ("source_changed", &[(ended.files[0].0, false)][..])
    );
    assert_eq!(server.snapshot().disconnected("source_changed"), Some(1));
}

fn a_file_that_cannot_be_read_ends_the_connection(lab: &mut Lab) {
    #[derive(Debug)]
    struct Broken;
    impl VirtualFile for Broken {
        fn read_at(&self, _: &mut [u8], _: u64) -> io::Result<usize> {
            Err(io::ErrorKind::InvalidData.into())
        }
        fn is_cached(&self, _: u64, _: u64) -> bool {
            false
        }
        fn facts(&self) -> io::Result<FileFacts> {
            let (kind, identity) = (FileKind::Regular, (0, 2));
            Ok(FileFacts { kind, bytes: 100, modified: 0, changed: 0, identity })
        }
    }
    let file = FileSource::of(FileHandle::of_simulation(Broken)).unwrap();
    let (server, events) = lab.serve(Limits::new(), move || sends(file.clone()));
    let mut peer = lab.connect(&server);
    peer.say(b"go");
    assert_eq!(lab.read_to_end(&mut peer).1, End::Reset);
    let ended = lab.end_of(&events);
    assert_eq!(ended.reason, "source_failed");
    assert!(ended.why.starts_with("cannot read the file"), "{}", ended.why);
}

/// R61: a raw peer cannot be told, but the handler is.
fn a_file_that_was_written_to_is_told(lab: &mut Lab) {
    let (file, set_len) = lab.file(&pattern(1_000));
    let script = {
        let file = file.clone();
        move || sends(file.clone())
    };
    let (server, events) = lab.serve(Limits::new(), script);
    let mut peer = lab.connect(&server);
    set_len(2_000);
    peer.say(b"go");
    lab.read(&mut peer, 8 + 1_000 + 8);
    let error = file_told(lab, &events).unchanged.expect_err("it has changed");
    assert_eq!(error.kind, FileErrorKind::SourceChanged);
    assert!(error.text.contains("it had 1000 bytes and has 2000"), "{error}");
}

fn more_files_than_may_wait_are_refused(lab: &mut Lab) {
    let bytes = pattern(1_000);
    let (file, _) = lab.file(&bytes);
    let script = move || {
        let file = file.clone();
        move |cx: &mut Ctx<'_, Probe>, event: &Event| {
            if let Event::Message(_) = event {
                for _ in 0..2 {
                    cx.send_file(&file, ..)?;
                }
                let error = cx.send_file(&file, ..).expect_err("two may wait");
                let error = error.downcast_ref::<FileError>().expect("an error of files");
                assert_eq!(error.kind, FileErrorKind::Busy);
                assert!(error.to_string().contains("limits.send_queue_files = 2"), "{error}");
            }
            Ok(())
        }
    };
    let (server, events) = lab.serve(Limits::new().send_queue_files(2), script);
    let mut peer = lab.connect(&server);
    for round in 1..=2 {
        peer.say(b"go");
        assert!(lab.read(&mut peer, 2_000) == [&bytes[..], &bytes].concat());
        file_told(lab, &events);
        file_told(lab, &events);
        assert_eq!(server.snapshot().files_refused, round);
    }
}

/// S77: with its connection, and once.
fn a_file_that_is_cut_off_is_told_at_the_end(lab: &mut Lab) {
    let (file, _) = lab.file(&pattern(if lab.is_simulated() { 400_000 } else { 30_000_000 }));
    let (server, events) = lab.serve(Limits::new(), move || sends(file.clone()));
    let mut peer = lab.connect(&server);
    peer.stop_reading();
    peer.say(b"go");
    peer.say(b"go");
    lab.until(Duration::from_secs(5), || server.snapshot().messages_in == 2);
    peer.reset();
    let ended = lab.end_of(&events);
    assert_eq!(ended.reason, "peer_reset");
    assert_eq!(ended.files.iter().map(|(_, sent)| *sent).collect::<Vec<_>>(), [false, false]);
    assert!(ended.files[0].0 < ended.files[1].0);
}

fn no_file_goes_to_a_connection_that_closes(lab: &mut Lab) {
    let (file, _) = lab.file(b"too late");
    let script = move || {
        let file = file.clone();
        move |cx: &mut Ctx<'_, Probe>, event: &Event| {
            if let Event::Message(_) = event {
                cx.close();
                let error = cx.send_file(&file, ..).expect_err("it closes");
                assert_eq!(error.downcast_ref::<SendError>(), Some(&SendError::Closed));
            }
            Ok(())
        }
    };
    let (server, events) = lab.serve(Limits::new(), script);
    let mut peer = lab.connect(&server);
    peer.say(b"go");
    assert_eq!(lab.read_to_end(&mut peer).0, b"");
    peer.finish();
    assert_eq!(lab.end_of(&events).files, []);
}
