//! Transfers with a peer that says what the test wants.

use crate::net::{Lab, Peer, on_every_port};
use crate::transfers::{Pair, Side, Told, asked, content, ended, name, pattern, store, up};
use longshore::*;
use longshore_proto::transfer::{FileFrame, Last, Listed, Offered, data_head, hello, ping};
use std::ops::Range;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

on_every_port! {
    a_list_comes_though_an_offer_has_its_number,
    what_was_not_asked_for_is_refused,
    a_list_without_end_ends_the_connection,
    a_list_that_does_not_end_is_one_of_a_million,
    a_long_list_is_asked_for_in_parts,
    a_peer_that_reads_no_lists_holds_one,
    a_request_has_a_number,
    a_connection_that_closes_looks_at_no_file,
    a_request_to_who_takes_no_files_fails,
    a_hello_without_files_is_a_no,
    what_is_not_answered_fails_in_time,
    an_answer_to_what_was_cancelled_is_refused,
    requests_and_files_have_a_bound,
    a_peer_that_asks_too_much_is_found,
    who_comes_back_early_waits_for_the_place,
    a_file_that_is_begun_anew_is_sent_whole,
    of_a_file_that_has_changed_nothing_is_left,
    a_peer_that_breaks_the_rules_of_files_is_ended,
    what_is_answered_leaves_room,
    a_part_may_end_with_the_file,
    who_holds_a_file_too_long_gives_its_room_back,
    what_a_peer_asks_for_is_opened_a_few_at_a_time,
    a_request_waits_while_a_file_comes,
    a_list_that_fails_is_in_the_way_of_none,
    what_has_come_is_kept_when_the_connection_ends,
    a_part_is_gone_on_with_from_its_own_start,
    files_that_go_out_share_what_is_read_ahead,
    a_list_in_parts_may_have_more_than_one_of_them,
}

/// A peer that says what the test wants, of a server with files.
struct Raw {
    server: Server,
    peer: Peer,
    told: Receiver<Told>,
    conn: Conn<Side>,
}

fn raw(lab: &mut Lab, limits: Limits) -> Raw {
    raw_with(lab, limits, None)
}

fn raw_with(lab: &mut Lab, limits: Limits, store: Option<FileStore>) -> Raw {
    let (tells, told) = channel();
    let listener = Listener::addr(lab.addr(), Longshore::new().with_files()).limits(limits);
    let factory =
        move |_: &longshore::Peer<'_>| Ok(Side { told: tells.clone(), store: store.clone() });
    let server = lab.start(Server::builder().listen(listener, factory).workers(1));
    let mut peer = lab.connect(&server);
    let conn = up(lab, &told);
    assert_eq!(lab.read(&mut peer, hello().len()), hello());
    Raw { server, peer, told, conn }
}

impl Raw {
    /// It takes files, and the server knows.
    fn takes_files(&mut self, lab: &mut Lab) {
        self.says_hello(lab, &hello());
    }

    fn says_hello(&mut self, lab: &mut Lab, hello: &[u8]) {
        self.peer.send(&[hello, b"L\x01\x01\0\0\0\0\x02hi"].concat());
        while !matches!(lab.recv(&self.told), Told::Text(_)) {}
    }
}

fn list(request: u32, after: &str) -> FileFrame {
    FileFrame::List { request, name: String::new(), after: after.into() }
}

fn offered(bytes: u64, request: u32) -> Offered {
    Offered { name: "f".into(), request, start: 0, bytes, total: bytes, modified: 0 }
}

fn a_list_comes_though_an_offer_has_its_number(lab: &mut Lab) {
    let mut raw = raw(lab, Limits::new());
    raw.takes_files(lab);
    let id = asked(lab, &raw.conn, |cx| cx.list_files(None)).unwrap();
    let list = list(1, "").to_bytes();
    assert_eq!(lab.read(&mut raw.peer, list.len()), list);
    raw.peer.send(&FileFrame::Offer { id: 1, offered: offered(1, 1) }.to_bytes());
    lab.read(&mut raw.peer, 8); // it is refused
    let entries = FileFrame::Entries { request: 1, last: Last::Yes, entries: vec![] };
    raw.peer.send(&entries.to_bytes());
    let Told::Listed(list) = lab.recv(&raw.told) else { panic!("another event") };
    assert_eq!((list.id, list.last), (id, true));
}

/// What is due of its files would be due again and again until its peer has closed as well.
fn a_connection_that_closes_looks_at_no_file(lab: &mut Lab) {
    let mut raw = raw(lab, Limits::new().file_start(Duration::from_secs(1)));
    raw.takes_files(lab);
    let (file, _) = lab.file(b"bytes");
    asked(lab, &raw.conn, move |cx| {
        cx.offer_file(&file, &name("f"))?;
        cx.close();
        Ok::<_, Error>(())
    })
    .unwrap();
    if let Some(net) = lab.net() {
        let mut looks = 0;
        net.run_until(Duration::from_secs(4), |_| {
            looks += 1;
            false
        });
        assert!(looks < 200, "{looks} in 4 seconds");
    }
    raw.peer.finish();
    while !matches!(lab.recv(&raw.told), Told::Closed(_)) {}
    assert_eq!(raw.server.snapshot().files_failed, 0, "it is told with the end");
}

/// One without files says so with the answer to a ping: what it was asked for fails at once.
fn a_request_to_who_takes_no_files_fails(lab: &mut Lab) {
    let mut raw = raw(lab, Limits::new().file_start(Duration::ZERO));
    let id = asked(lab, &raw.conn, |cx| cx.list_files(None)).unwrap();
    assert_eq!(lab.read(&mut raw.peer, ping().len()), ping());
    raw.peer.send(b"L\x01\x04\0\0\0\0\0");
    let failed = ended(lab, &raw.told).unwrap_err();
    assert_eq!((failed.id, failed.error.kind), (id, FileErrorKind::Unsupported));
    assert_eq!(raw.server.snapshot().files_failed, 1);
    let (file, _) = lab.file(b"bytes");
    let offer = move |cx: &mut Ctx<'_, Side>| cx.offer_file(&file, &name("f"));
    let error = asked(lab, &raw.conn, offer).unwrap_err();
    assert_eq!(kind(&error), FileErrorKind::Unsupported);
}

fn a_hello_without_files_is_a_no(lab: &mut Lab) {
    let mut raw = raw(lab, Limits::new());
    raw.says_hello(lab, b"L\x01\0\0\0\0\0\x08\0\0\0\0\0\0\0\x02");
    let error = asked(lab, &raw.conn, |cx| cx.list_files(None)).unwrap_err();
    assert_eq!(kind(&error), FileErrorKind::Unsupported);
}

fn kind(error: &Error) -> FileErrorKind {
    error.downcast_ref::<FileError>().expect("an error of files").kind
}

fn what_is_not_answered_fails_in_time(lab: &mut Lab) {
    let mut raw = raw(lab, Limits::new().file_start(Duration::from_millis(100)));
    raw.takes_files(lab);
    let id = asked(lab, &raw.conn, |cx| cx.list_files(None)).unwrap();
    let failed = ended(lab, &raw.told).unwrap_err();
    assert_eq!((failed.id, failed.error.kind), (id, FileErrorKind::TimedOut));
}

fn an_answer_to_what_was_cancelled_is_refused(lab: &mut Lab) {
    let (store, _) = store(lab);
    let mut raw = raw(lab, Limits::new());
    raw.takes_files(lab);
    let get = move |cx: &mut Ctx<'_, Side>| cx.get_file(&name("f"), &store, &name("f"));
    let id = asked(lab, &raw.conn, get).unwrap();
    let (request, bytes) = (1, u64::MAX);
    let get = FileFrame::Get { request, start: 0, bytes, name: "f".into() }.to_bytes();
    assert_eq!(lab.read(&mut raw.peer, get.len()), get);
    let cancel = move |cx: &mut Ctx<'_, Side>| [(); 2].map(|()| cx.cancel_file(id, "enough"));
    assert_eq!(asked(lab, &raw.conn, cancel), [true, false]);
    let failed = ended(lab, &raw.told).unwrap_err();
    assert_eq!((failed.id, failed.error.kind), (id, FileErrorKind::Cancelled));
    raw.peer.send(&FileFrame::Offer { id: 1, offered: offered(1, request) }.to_bytes());
    let (id, why, text) = (1, FileErrorKind::Cancelled, "nobody asks for it any more".into());
    let refuse = FileFrame::Refuse { id, why, text }.to_bytes();
    assert_eq!(lab.read(&mut raw.peer, refuse.len()), refuse);
}

fn requests_and_files_have_a_bound(lab: &mut Lab) {
    let mut raw = raw(lab, Limits::new().files_waiting(2));
    raw.takes_files(lab);
    let (file, _) = lab.file(b"bytes");
    let errors = asked(lab, &raw.conn, move |cx| {
        for _ in 0..2 {
            cx.offer_file(&file, &name("f"))?;
        }
        let file = cx.offer_file(&file, &name("f")).expect_err("two may wait");
        for _ in 0..64 {
            cx.list_files(None)?;
        }
        let list = cx.list_files(None).expect_err("64 may wait");
        Ok::<_, Error>([file, list].map(|error| kind(&error)))
    });
    assert_eq!(errors.unwrap(), [FileErrorKind::Busy; 2]);
}

/// Somebody keeps what is asked: the next one is one too many.
fn a_peer_that_asks_too_much_is_found(lab: &mut Lab) {
    let (tells, told) = channel();
    let codec = Longshore::new().with_files();
    let listener = Listener::addr(lab.addr(), codec);
    let factory = move |_: &longshore::Peer<'_>| Ok(Keeps(tells.clone()));
    let server = lab.start(Server::builder().listen(listener, factory).workers(1));
    for last in [65, 1] {
        let mut peer = lab.connect(&server);
        peer.send(&hello());
        for request in 1..=64 {
            peer.send(&list(request, "").to_bytes());
        }
        let kept: Vec<_> = (0..64).map(|_| lab.recv(&told)).collect();
        peer.send(&list(last, "").to_bytes());
        lab.read_to_end(&mut peer);
        peer.finish();
        drop(kept);
    }
    let ended = || server.snapshot().disconnected("protocol_error");
    lab.until(Duration::from_secs(1), || ended() == Some(2));
}

/// Answers nothing.
struct Keeps(Sender<FileEvent>);

impl Handler for Keeps {
    type Codec = Longshore;

    fn on_message(&mut self, _: &mut Ctx<'_, Self>, _: Message<'_>) -> Result {
        Ok(())
    }

    fn on_file(&mut self, _: &mut Ctx<'_, Self>, event: FileEvent) -> Result {
        let _ = self.0.send(event);
        Ok(())
    }
}

/// What a lost connection has left is gone on with by the next one, as soon as it lets go of it.
fn who_comes_back_early_waits_for_the_place(lab: &mut Lab) {
    let (store, folder) = store(lab);
    let bytes = pattern(400_000, 1);
    let (file, _) = lab.file(&bytes);
    let mut pair = Pair::with(lab, store);
    let first = pair.conn.clone();
    let slow = {
        let file = file.clone();
        move |cx: &mut Ctx<'_, Side>| {
            let id = cx.offer_file(&file, &name("film"))?;
            cx.set_file_rate(id, 20_000);
            Ok::<_, Error>(id)
        }
    };
    asked(lab, &first, slow).unwrap();
    while !matches!(lab.recv(&pair.there), Told::Progress(_)) {}
    pair.again(lab);
    if lab.is_simulated() {
        pair.offer(lab, &file, "film");
        let failed = ended(lab, &pair.here).unwrap_err();
        assert_eq!(failed.error.kind, FileErrorKind::Busy, "it has waited long enough");
        ended(lab, &pair.there).unwrap_err();
    }
    let id = pair.offer(lab, &file, "film");
    first.abort();
    let done = loop {
        match lab.recv(&pair.here) {
            Told::Done(done) => break done,
            Told::Failed(failed) => panic!("{failed:?}"),
            _ => {}
        }
    };
    assert!(done.id == id && done.resumed > 0, "{done:?}");
    assert!(content(&folder, "film").unwrap() == bytes);
}

fn what_was_not_asked_for_is_refused(lab: &mut Lab) {
    let (store, folder) = store(lab);
    let mut raw = raw(lab, Limits::new());
    raw.takes_files(lab);
    for (request, (start, bytes)) in [(1, (0, 4)), (2, (4, 4)), (3, (4, 2))] {
        let store = store.clone();
        asked(lab, &raw.conn, move |cx| match request {
            3 => cx.get_part(&name("f"), 4..8, &store, &name("f")),
            _ => cx.get_file(&name("f"), &store, &name("f")),
        })
        .unwrap();
        let offered = Offered { name: "f".into(), request, start, bytes, total: 8, modified: 0 };
        raw.peer.send(&FileFrame::Offer { id: request, offered }.to_bytes());
        let failed = ended(lab, &raw.told).unwrap_err();
        assert_eq!(failed.error.kind, FileErrorKind::BadRange, "{}", failed.error);
    }
    assert_eq!(content(&folder, "f"), None);
}

fn a_list_without_end_ends_the_connection(lab: &mut Lab) {
    for count in [101, 0] {
        let mut raw = raw(lab, Limits::new());
        raw.takes_files(lab);
        asked(lab, &raw.conn, |cx| cx.list_files(None)).unwrap();
        let entry = Listed { name: "a".into(), folder: false, bytes: 1, modified: 0 };
        let entries = vec![entry; 100.min(count)];
        let entries = FileFrame::Entries { request: 1, last: Last::No, entries }.to_bytes();
        for _ in 0..count.max(1) {
            raw.peer.send(&entries);
        }
        let (mut parts, mut listed) = (0, 0);
        loop {
            match lab.recv(&raw.told) {
                Told::Listed(list) => {
                    parts += 1;
                    listed += list.entries.len();
                }
                Told::Closed(_) => break,
                _ => {}
            }
        }
        assert!(parts < count.max(1), "{parts} came");
        // What came with the one too many is lost with the connection.
        assert!(listed <= 10_000, "{listed} came");
    }
}

fn a_request_has_a_number(lab: &mut Lab) {
    let mut raw = raw(lab, Limits::new());
    raw.takes_files(lab);
    raw.peer.send(&list(0, "").to_bytes());
    let (said, _) = lab.read_to_end(&mut raw.peer);
    assert!(said.is_empty(), "it has answered: {said:?}");
}

/// What its receiver has is not looked at, and both are told that nothing was left out.
fn a_file_that_is_begun_anew_is_sent_whole(lab: &mut Lab) {
    let (store, folder) = store(lab);
    let bytes = pattern(400_000, 1);
    let (file, _) = lab.file(&bytes);
    let pair = Pair::with(lab, store);
    let slow = {
        let file = file.clone();
        move |cx: &mut Ctx<'_, Side>| {
            let id = cx.offer_file(&file, &name("film"))?;
            cx.set_file_rate(id, 20_000);
            Ok::<_, Error>(id)
        }
    };
    let id = asked(lab, &pair.conn, slow).unwrap();
    while !matches!(lab.recv(&pair.there), Told::Progress(_)) {}
    assert!(asked(lab, &pair.conn, move |cx| cx.cancel_file(id, "")));
    for told in [&pair.here, &pair.there] {
        ended(lab, told).unwrap_err();
    }
    let anew = move |cx: &mut Ctx<'_, Side>| {
        let id = cx.offer_file(&file, &name("film"))?;
        assert!(cx.restart_file(id));
        Ok::<_, Error>(id)
    };
    asked(lab, &pair.conn, anew).unwrap();
    for told in [&pair.here, &pair.there] {
        assert_eq!(ended(lab, told).unwrap().resumed, 0);
    }
    assert!(content(&folder, "film").unwrap() == bytes);
}

/// Nobody can go on with it.
fn of_a_file_that_has_changed_nothing_is_left(lab: &mut Lab) {
    let (store, folder) = store(lab);
    let pair = Pair::with(lab, store);
    let (file, set_len) = lab.file(&pattern(300_000, 1));
    set_len(300_001);
    pair.offer(lab, &file, "film");
    for told in [&pair.here, &pair.there] {
        assert_eq!(ended(lab, told).unwrap_err().error.kind, FileErrorKind::SourceChanged);
    }
    lab.until(Duration::from_secs(1), || folder.list(None, "", 10).unwrap().is_empty());
}

fn a_peer_that_breaks_the_rules_of_files_is_ended(lab: &mut Lab) {
    let mut raw = raw(lab, Limits::new());
    raw.takes_files(lab);
    raw.peer.send(&FileFrame::End { id: 1, bytes: 0, digest: [0; 32] }.to_bytes());
    lab.read_to_end(&mut raw.peer);
    raw.peer.finish();
    let counts = || raw.server.snapshot().disconnected("protocol_error");
    lab.until(Duration::from_secs(1), || counts() == Some(1));
}

fn what_is_answered_leaves_room(lab: &mut Lab) {
    let (store, folder) = store(lab);
    let pair = Pair::with(lab, store);
    for _ in 0..70 {
        asked(lab, &pair.conn, |cx| cx.list_files(None)).unwrap();
        while !matches!(lab.recv(&pair.here), Told::Listed(_)) {}
    }
    drop(folder);
}

fn a_part_may_end_with_the_file(lab: &mut Lab) {
    let ((store_there, _), (mine, folder)) = (store(lab), store(lab));
    let bytes = pattern(10_000, 1);
    let (file, _) = lab.file(&bytes);
    let pair = Pair::with(lab, store_there);
    pair.offer(lab, &file, "film");
    ended(lab, &pair.here).unwrap();
    let get = move |cx: &mut Ctx<'_, Side>| {
        cx.get_part(&name("film"), 9_000..10_000, &mine, &name("end"))
    };
    asked(lab, &pair.conn, get).unwrap();
    assert_eq!(ended(lab, &pair.here).unwrap().bytes, 1_000);
    assert!(content(&folder, "end").unwrap() == bytes[9_000..]);
}

fn who_holds_a_file_too_long_gives_its_room_back(lab: &mut Lab) {
    let (store, _) = store(lab);
    let limits = Limits::new().file_hold(Duration::from_millis(100));
    let mut raw = raw_with(lab, limits, Some(store.store_bytes_max(1_000)));
    raw.takes_files(lab);
    let accept = |id| {
        let none = *blake3::hash(b"").as_bytes();
        FileFrame::Accept { id, have: 0, credit: 2 << 20, digest: none }.to_bytes()
    };
    for id in [1, 2] {
        raw.peer.send(&FileFrame::Offer { id, offered: offered(1_000, 0) }.to_bytes());
        let accept = accept(id);
        assert_eq!(lab.read(&mut raw.peer, accept.len()), accept);
        raw.peer.send(&FileFrame::SenderHolds { id, on: true }.to_bytes());
        let failed = ended(lab, &raw.told).unwrap_err();
        assert_eq!(failed.error.kind, FileErrorKind::TimedOut);
        let (why, text) = (FileErrorKind::TimedOut, "held for 100ms in all".into());
        let refuse = FileFrame::Refuse { id, why, text }.to_bytes();
        assert_eq!(lab.read(&mut raw.peer, refuse.len()), refuse);
    }
}

/// A peer that asks and takes nothing would have as many files open as it likes.
fn what_a_peer_asks_for_is_opened_a_few_at_a_time(lab: &mut Lab) {
    let (store, folder) = store(lab);
    let (file, bytes) = (folder.create(&name("f")).unwrap(), pattern(1_000, 1));
    file.write_at(&bytes, 0).unwrap();
    let mut raw = raw_with(lab, Limits::new().files_served(2), Some(store));
    raw.takes_files(lab);
    for request in 1..=4 {
        let get = FileFrame::Get { request, start: 0, bytes: u64::MAX, name: "f".into() };
        raw.peer.send(&get.to_bytes());
    }
    // How long an offer is, all of which have the same name.
    let offers = |lab: &mut Lab, raw: &mut Raw| {
        let offer = FileFrame::Offer { id: 1, offered: offered(1_000, 1) };
        let got = lab.read(&mut raw.peer, offer.to_bytes().len());
        u32::from_be_bytes(got[8..12].try_into().unwrap())
    };
    assert_eq!([(); 2].map(|()| offers(lab, &mut raw)), [1, 2]);
    // The next word is no offer: it is the answer to this ping.
    raw.peer.send(&ping());
    assert_eq!(lab.read(&mut raw.peer, ping().len())[2], 4, "a pong");
    let digest = *blake3::hash(b"").as_bytes();
    for id in [1, 2] {
        let accept = FileFrame::Accept { id, have: 0, credit: 1_000, digest };
        raw.peer.send(&accept.to_bytes());
        // All of it, its end, and the next offer: in whatever order the reads were done.
        let digest = *blake3::hash(&bytes).as_bytes();
        let end = FileFrame::End { id, bytes: 1_000, digest }.to_bytes();
        lab.read(&mut raw.peer, 8 + 12 + 1_000 + end.len());
        assert_eq!(offers(lab, &mut raw), id + 2);
    }
}

/// Its answer may be behind the files that come before.
fn a_request_waits_while_a_file_comes(lab: &mut Lab) {
    let (store, _) = store(lab);
    let mut raw = raw(lab, Limits::new().file_start(Duration::from_secs(1)));
    raw.takes_files(lab);
    let get = move |cx: &mut Ctx<'_, Side>| {
        let ids = ["f", "g"].map(|of| cx.get_file(&name(of), &store, &name(of)));
        ids.into_iter().collect::<Result<Vec<_>, Error>>()
    };
    let ids = asked(lab, &raw.conn, get).unwrap();
    raw.peer.send(&FileFrame::Offer { id: 1, offered: offered(5, 1) }.to_bytes());
    let none = *blake3::hash(b"").as_bytes();
    let accept = FileFrame::Accept { id: 1, have: 0, credit: 2 << 20, digest: none }.to_bytes();
    let gets = 2 * (8 + 21);
    assert_eq!(lab.read(&mut raw.peer, gets + accept.len())[gets..], accept);
    for offset in 0..5 {
        lab.pass(Duration::from_millis(300));
        raw.peer.send(&data_head(1, offset, 1));
        raw.peer.send(b"x");
    }
    let digest = *blake3::hash(b"xxxxx").as_bytes();
    raw.peer.send(&FileFrame::End { id: 1, bytes: 5, digest }.to_bytes());
    assert_eq!(ended(lab, &raw.told).unwrap().id, ids[0]);
    let failed = ended(lab, &raw.told).unwrap_err();
    assert_eq!((failed.id, failed.error.kind), (ids[1], FileErrorKind::TimedOut));
}

/// Its handler hears of one list.
fn a_long_list_is_asked_for_in_parts(lab: &mut Lab) {
    let mut raw = raw(lab, Limits::new());
    raw.takes_files(lab);
    let id = asked(lab, &raw.conn, |cx| cx.list_files(None)).unwrap();
    let entry = |name: &str| Listed { name: name.into(), folder: false, bytes: 1, modified: 0 };
    let parts = [("", "b", Last::More), ("b", "c", Last::More), ("c", "", Last::Yes)];
    for (request, (after, name, last)) in (1..).zip(parts) {
        let asks = list(request, after).to_bytes();
        assert_eq!(lab.read(&mut raw.peer, asks.len()), asks);
        let entries = if name.is_empty() { vec![] } else { vec![entry("a"), entry(name)] };
        raw.peer.send(&FileFrame::Entries { request, last, entries }.to_bytes());
        let Told::Listed(list) = lab.recv(&raw.told) else { panic!("another event") };
        assert_eq!((list.id, list.last), (id, last == Last::Yes));
        assert_eq!(list.entries.len(), if name.is_empty() { 0 } else { 2 });
    }
}

fn a_list_that_does_not_end_is_one_of_a_million(lab: &mut Lab) {
    let mut raw = raw(lab, Limits::new());
    raw.takes_files(lab);
    asked(lab, &raw.conn, |cx| cx.list_files(None)).unwrap();
    let entry = Listed { name: "a".into(), folder: false, bytes: 1, modified: 0 };
    for request in 1..=101 {
        let asks = list(request, if request > 1 { "a" } else { "" }).to_bytes();
        assert_eq!(lab.read(&mut raw.peer, asks.len()), asks);
        let entries = vec![entry.clone()];
        raw.peer.send(&FileFrame::Entries { request, last: Last::More, entries }.to_bytes());
    }
    let mut parts = 0;
    while let Told::Listed(_) = lab.recv(&raw.told) {
        parts += 1;
    }
    assert_eq!(parts, 100);
}

/// Their names may be long, and there may be many.
fn a_peer_that_reads_no_lists_holds_one(lab: &mut Lab) {
    let (store, folder) = store(lab);
    for number in 0..500 {
        folder.create(&name(&format!("{number:0200}"))).unwrap();
    }
    let mut raw = raw_with(lab, Limits::new().write(Duration::ZERO), Some(store));
    raw.takes_files(lab);
    raw.peer.stop_reading();
    for request in 1..=20 {
        raw.peer.send(&list(request, "").to_bytes());
    }
    lab.pass(Duration::from_secs(1));
    let (one, held) = (500 * (200 + 19), raw.server.snapshot().memory_bytes);
    assert!(held < 4 * one, "{held} are held, a list has {one}");
    raw.peer.go_on_reading();
    // Each has its own entries, in as many frames.
    let (mut ended, mut bytes) = (0, 0);
    while ended < 20 {
        let head = lab.read(&mut raw.peer, 8);
        let len = u32::from_be_bytes(head[4..].try_into().unwrap()) as usize;
        let payload = lab.read(&mut raw.peer, len);
        assert_eq!(
            (head[2], u32::from_be_bytes(payload[..4].try_into().unwrap())),
            (26, ended + 1)
        );
        ended += u32::from(payload[4]);
        bytes += len - 5;
    }
    assert_eq!(bytes, 20 * one as usize);
}

fn a_list_that_fails_is_in_the_way_of_none(lab: &mut Lab) {
    let (store, _) = store(lab);
    let pair = Pair::with(lab, store);
    let nothing = name("nothing");
    asked(lab, &pair.conn, move |cx| cx.list_files(Some(&nothing))).unwrap();
    assert_eq!(ended(lab, &pair.here).unwrap_err().error.kind, FileErrorKind::NotFound);
    asked(lab, &pair.conn, |cx| cx.list_files(None)).unwrap();
    assert!(matches!(lab.recv(&pair.here), Told::Listed(_)));
}

/// It came in the same turn as the end, and nobody has looked at it yet.
fn what_has_come_is_kept_when_the_connection_ends(lab: &mut Lab) {
    let none = *blake3::hash(b"").as_bytes();
    let end = |id| FileFrame::End { id, bytes: 0, digest: none }.to_bytes();
    for (bytes, comes) in
        [(0, end(1).to_vec()), (2_000, [&data_head(1, 0, 1_000)[..], &pattern(1_000, 1)].concat())]
    {
        let (store, folder) = store(lab);
        let mut raw = raw_with(lab, Limits::new(), Some(store));
        raw.takes_files(lab);
        raw.peer.send(&FileFrame::Offer { id: 1, offered: offered(bytes, 0) }.to_bytes());
        let accept = FileFrame::Accept { id: 1, have: 0, credit: 2 << 20, digest: none };
        let accept = accept.to_bytes();
        assert_eq!(lab.read(&mut raw.peer, accept.len()), accept);
        raw.peer.send(&[&comes[..], b"L\x01\x01\0\0\0\0\x05abort"].concat());
        while !matches!(lab.recv(&raw.told), Told::Closed(_)) {}
        lab.until(Duration::from_secs(1), || {
            let entries = folder.list(None, "", 10).unwrap();
            let [one] = &entries[..] else { return false };
            // What comes while a first part of it is being written is not.
            (one.name == "f") == (bytes == 0) && (one.facts.bytes > 0) == (bytes > 0)
        });
    }
}

/// What its receiver has is looked at where it stands in the file.
fn a_part_is_gone_on_with_from_its_own_start(lab: &mut Lab) {
    let mut raw = raw(lab, Limits::new());
    raw.takes_files(lab);
    let bytes = pattern(100, 1);
    let (file, _) = lab.file(&bytes);
    asked(lab, &raw.conn, move |cx| cx.offer_part(&file, &name("f"), 10..20)).unwrap();
    let offer = FileFrame::Offer { id: 1, offered: offered(10, 0) }.to_bytes();
    lab.read(&mut raw.peer, offer.len()); // with a time that nobody knows
    let digest = *blake3::hash(&bytes[10..15]).as_bytes();
    raw.peer.send(&FileFrame::Accept { id: 1, have: 5, credit: 10, digest }.to_bytes());
    let rest = [&data_head(1, 5, 5)[..], &bytes[15..20]].concat();
    assert_eq!(lab.read(&mut raw.peer, rest.len()), rest);
}

/// Bytes in memory while so many files wait for a peer that reads nothing; then they are over.
fn held_by(lab: &mut Lab, raw: &mut Raw, file: &FileSource, ids: Range<u32>) -> u64 {
    let (file, count) = (file.clone(), ids.len());
    let offer = move |cx: &mut Ctx<'_, Side>| {
        (0..count).try_for_each(|_| cx.offer_file(&file, &name("f")).map(drop))
    };
    asked(lab, &raw.conn, offer).unwrap();
    let digest = *blake3::hash(b"").as_bytes();
    for id in ids.clone() {
        let accept = FileFrame::Accept { id, have: 0, credit: 2 << 20, digest };
        raw.peer.send(&accept.to_bytes());
    }
    lab.pass(Duration::from_secs(1));
    let held = raw.server.snapshot().memory_bytes;
    for id in ids {
        let (why, text) = (FileErrorKind::Cancelled, String::new());
        raw.peer.send(&FileFrame::Refuse { id, why, text }.to_bytes());
    }
    lab.pass(Duration::from_secs(1));
    held
}

/// Of few files much is read at a time, of many little, and those that are over count no more.
fn files_that_go_out_share_what_is_read_ahead(lab: &mut Lab) {
    if !lab.is_simulated() {
        return; // systems take any number of bytes of which a peer reads none
    }
    let mut raw = raw(lab, Limits::new().write(Duration::ZERO).file_stall(Duration::ZERO));
    raw.takes_files(lab);
    raw.peer.stop_reading();
    let (file, _) = lab.file(&pattern(2 << 20, 1));
    // Two pieces of each: of 256 KiB, or such that all have 2 MiB together.
    let (alone, together) = (400 << 10..700 << 10, 3 << 19..5 << 19);
    for ids in [1..2, 2..66, 66..67, 67..131] {
        let held = held_by(lab, &mut raw, &file, ids.clone());
        let right = if ids.len() == 1 { &alone } else { &together };
        assert!(right.contains(&held), "{held} of {ids:?}");
    }
    for _ in 0..64 {
        let file = file.clone();
        asked(lab, &raw.conn, move |cx| cx.offer_file(&file, &name("f"))).unwrap();
    }
    raw.conn.abort();
    while !matches!(lab.recv(&raw.told), Told::Closed(_)) {}
    raw.peer = lab.connect(&raw.server);
    raw.conn = up(lab, &raw.told);
    raw.takes_files(lab);
    raw.peer.stop_reading();
    let held = held_by(lab, &mut raw, &file, 1..2);
    assert!(alone.contains(&held), "{held} behind those of a connection that was lost");
}

/// Each answer has ten thousand entries at most, all of them have as many as there are.
fn a_list_in_parts_may_have_more_than_one_of_them(lab: &mut Lab) {
    let mut raw = raw(lab, Limits::new());
    raw.takes_files(lab);
    asked(lab, &raw.conn, |cx| cx.list_files(None)).unwrap();
    let entry = Listed { name: "a".into(), folder: false, bytes: 1, modified: 0 };
    let mut listed = 0;
    for (request, after, then) in [(1, "", Last::More), (2, "a", Last::Yes)] {
        let asks = list(request, after).to_bytes();
        assert_eq!(lab.read(&mut raw.peer, asks.len()), asks);
        for part in 1..=60 {
            let (last, entries) =
                (if part < 60 { Last::No } else { then }, vec![entry.clone(); 100]);
            raw.peer.send(&FileFrame::Entries { request, last, entries }.to_bytes());
            let Told::Listed(list) = lab.recv(&raw.told) else { panic!("behind {listed}") };
            listed += list.entries.len();
        }
    }
    assert_eq!(listed, 12_000);
}
