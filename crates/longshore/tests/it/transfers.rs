//! Files between two peers of the project's own protocol, both of them here.

use crate::net::{Lab, on_every_port};
use longshore::testing::SimDisk;
use longshore::*;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

on_every_port! {
    files_of_any_length_arrive_whole,
    many_files_go_both_ways_between_messages,
    what_is_asked_for_comes,
    a_part_is_a_file_of_its_own,
    what_there_is_is_told,
    what_nobody_asks_for_any_more_counts_until_it_is_answered,
    what_is_not_wanted_is_refused_with_its_reason,
    a_transfer_that_was_cut_off_goes_on_where_it_was,
    either_side_may_cancel,
    a_changed_file_is_told_to_both,
    who_takes_no_files_gets_no_offer,
    files_of_a_connection_that_ends_are_told_once,
    a_held_file_goes_on_later,
    what_is_there_already_is_not_sent_again,
}

/// What one side was told.
#[derive(Debug)]
pub(crate) enum Told {
    Up(Conn<Side>),
    Text(String),
    Done(FileDone),
    Failed(FileFailed),
    Listed(FileList),
    /// A request that is neither answered nor dropped.
    Kept(FileRequest),
    Progress(FileProgress),
    Closed(Vec<CutFile>),
}

/// A peer that takes and gives files of a store, if it has one.
pub(crate) struct Side {
    pub(crate) told: Sender<Told>,
    pub(crate) store: Option<FileStore>,
}

impl Side {
    fn tell(&self, told: Told) {
        let _ = self.told.send(told); // the test may be over
    }
}

impl Handler for Side {
    type Codec = Longshore;

    fn on_connect(&mut self, cx: &mut Ctx<'_, Self>) -> Result {
        self.tell(Told::Up(cx.conn()));
        Ok(())
    }

    fn on_message(&mut self, cx: &mut Ctx<'_, Self>, message: Message<'_>) -> Result {
        let Message::Text(text) = message else { return Ok(()) };
        if text == "abort" {
            cx.abort();
        }
        self.tell(Told::Text(text.into()));
        Ok(())
    }

    fn on_file(&mut self, _: &mut Ctx<'_, Self>, event: FileEvent) -> Result {
        match event {
            FileEvent::Done(done) => self.tell(Told::Done(done)),
            FileEvent::Failed(failed) => self.tell(Told::Failed(failed)),
            FileEvent::Listed(list) => self.tell(Told::Listed(list)),
            FileEvent::Progress(progress) => self.tell(Told::Progress(progress)),
            FileEvent::Asked(request) if request.name() == "kept" => {
                self.tell(Told::Kept(request));
            }
            event => {
                if let Some(store) = &self.store {
                    event.serve(store);
                }
            }
        }
        Ok(())
    }

    fn on_disconnect(self, closed: &Closed<'_>) {
        self.tell(Told::Closed(closed.files.to_vec()));
    }
}

/// Two sides of a connection.
pub(crate) struct Pair {
    server: Server,
    addr: SocketAddr,
    pub(crate) here: Receiver<Told>,
    pub(crate) there: Receiver<Told>,
    client: (Longshore, Option<FileStore>, Limits),
    told_client: Sender<Told>,
    pub(crate) conn: Conn<Side>,
    other: Conn<Side>,
}

/// Folders of the real disk that go with the test.
static COUNT: AtomicU32 = AtomicU32::new(0);

fn folder(lab: &Lab, seed: u64) -> (Folder, Option<SimDisk>) {
    if lab.is_simulated() {
        let disk = SimDisk::new(seed);
        disk.short(true);
        return (disk.folder(), Some(disk));
    }
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let path =
        std::env::temp_dir().join(format!("longshore-files-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&path).unwrap();
    let folder = Folder::open(&path).unwrap();
    // What is open stays, and what is made in it goes with the machine's temporary files.
    (folder, None)
}

pub(crate) fn store(lab: &Lab) -> (FileStore, Folder) {
    let (folder, _) = folder(lab, 1);
    (FileStore::of(folder.clone()).unwrap().receive(), folder)
}

pub(crate) fn name(name: &str) -> FileName {
    FileName::parse(name).unwrap()
}

pub(crate) fn pattern(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|at| (at / 5 + at * 11 + seed * 31) as u8).collect()
}

pub(crate) fn content(folder: &Folder, of: &str) -> Option<Vec<u8>> {
    let file = folder.open_file(&name(of)).ok()?;
    let mut bytes = vec![0; usize::try_from(file.facts().unwrap().bytes).unwrap()];
    let mut done = 0;
    while done < bytes.len() {
        done += file.read_at(&mut bytes[done..], done as u64).unwrap();
    }
    Some(bytes)
}

fn put(folder: &Folder, of: &str, bytes: &[u8]) {
    let file = folder.create(&name(of)).unwrap();
    let mut done = 0;
    while done < bytes.len() {
        done += file.write_at(&bytes[done..], done as u64).unwrap();
    }
}

impl Pair {
    fn new(
        lab: &mut Lab,
        server: (Longshore, Option<FileStore>),
        client: (Longshore, Option<FileStore>),
        limits: Limits,
    ) -> Self {
        let (told_server, there) = channel();
        let (told_client, here) = channel();
        let (codec, store) = server;
        let listener = Listener::addr(lab.addr(), codec).limits(limits.clone());
        let factory = move |_: &longshore::Peer<'_>| {
            Ok(Side { told: told_server.clone(), store: store.clone() })
        };
        let server = lab.start(Server::builder().listen(listener, factory).workers(1));
        let addr = server.local_addrs()[0].socket_addr().unwrap();
        let client = (client.0, client.1, limits);
        let conn = connect(lab, &server, addr, &client, &told_client, &here);
        let other = up(lab, &there);
        Self { server, addr, here, there, client, told_client, conn, other }
    }

    /// With files on both sides, the server's kept in `store`.
    pub(crate) fn with(lab: &mut Lab, store: FileStore) -> Self {
        let codec = Longshore::new().with_files();
        Self::new(lab, (codec, Some(store)), (codec, None), Limits::new())
    }

    pub(crate) fn again(&mut self, lab: &mut Lab) {
        self.conn =
            connect(lab, &self.server, self.addr, &self.client, &self.told_client, &self.here);
        self.other = up(lab, &self.there);
    }

    pub(crate) fn offer(&self, lab: &mut Lab, file: &FileSource, as_name: &str) -> FileId {
        let (file, as_name) = (file.clone(), name(as_name));
        asked(lab, &self.conn, move |cx| cx.offer_file(&file, &as_name)).unwrap()
    }
}

pub(crate) fn up(lab: &mut Lab, told: &Receiver<Told>) -> Conn<Side> {
    loop {
        if let Told::Up(conn) = lab.recv(told) {
            return conn;
        }
    }
}

fn connect(
    lab: &mut Lab,
    server: &Server,
    addr: SocketAddr,
    (codec, store, limits): &(Longshore, Option<FileStore>, Limits),
    told: &Sender<Told>,
    here: &Receiver<Told>,
) -> Conn<Side> {
    let connector = Connector::addr(addr, *codec).limits(limits.clone());
    let (told, store) = (told.clone(), store.clone());
    let factory =
        move |_: &longshore::Peer<'_>| Ok(Side { told: told.clone(), store: store.clone() });
    server.connect(connector, factory).unwrap();
    up(lab, here)
}

/// Asks something of a connection, within a callback of it.
pub(crate) fn asked<T: Send + 'static>(
    lab: &mut Lab,
    conn: &Conn<Side>,
    ask: impl FnOnce(&mut Ctx<'_, Side>) -> T + Send + 'static,
) -> T {
    let (told, answer) = channel();
    let posted = conn.post(move |_, cx| {
        let _ = told.send(ask(cx));
        Ok(())
    });
    assert_eq!(posted, Sent::Queued);
    lab.recv(&answer)
}

/// The next end of a file, or list.
pub(crate) fn ended(lab: &mut Lab, told: &Receiver<Told>) -> Result<FileDone, FileFailed> {
    loop {
        match lab.recv(told) {
            Told::Done(done) => return Ok(done),
            Told::Failed(failed) => return Err(failed),
            Told::Closed(files) => panic!("the connection ended with {files:?}"),
            _ => {}
        }
    }
}

fn digest(bytes: &[u8]) -> Digest {
    *blake3::hash(bytes).as_bytes()
}

/// S66, S71: offer, accept, finish, whatever the length; both sides are told once, of the same digest.
fn files_of_any_length_arrive_whole(lab: &mut Lab) {
    let (store, folder) = store(lab);
    let pair = Pair::with(lab, store);
    for (number, len) in [0, 1, 65_536, 65_537, 700_000].into_iter().enumerate() {
        let bytes = pattern(len, number);
        let (file, _) = lab.file(&bytes);
        let as_name = format!("in/a folder/{number}");
        let id = pair.offer(lab, &file, &as_name);
        let here = ended(lab, &pair.here).unwrap();
        assert_eq!((here.id, here.way, here.bytes), (id, FileWay::Out, len as u64));
        let there = ended(lab, &pair.there).unwrap();
        assert_eq!((there.way, there.bytes, &there.name), (FileWay::In, len as u64, &as_name));
        assert_eq!((here.digest, there.digest), (digest(&bytes), digest(&bytes)));
        assert_eq!((here.resumed, there.resumed), (0, 0));
        assert!(content(&folder, &as_name).unwrap() == bytes, "{as_name} is another one");
    }
    let counts = pair.server.snapshot();
    assert_eq!((counts.files_done, counts.files_failed), (10, 0));
}

/// S75, R68: many at once each way, and messages, of which none is lost and none waits for the end.
fn many_files_go_both_ways_between_messages(lab: &mut Lab) {
    const FILES: usize = 8;
    let ((store, folder), (store_there, folder_there)) = (store(lab), store(lab));
    let codec = Longshore::new().with_files();
    let (server, client) = ((codec, Some(store_there)), (codec, Some(store)));
    let pair = Pair::new(lab, server, client, Limits::new());
    let sources: Vec<_> = (0..FILES)
        .map(|number| {
            let bytes = pattern(100_000 + number, number);
            (lab.file(&bytes).0, bytes)
        })
        .collect();
    for conn in [&pair.conn, &pair.other] {
        for (number, (file, _)) in sources.iter().enumerate() {
            let (file, as_name) = (file.clone(), name(&format!("f{number}")));
            asked(lab, conn, move |cx| {
                cx.send(Message::Text(&format!("before {number}")))?;
                cx.offer_file(&file, &as_name)?;
                cx.send(Message::Text(&format!("behind {number}")))
            })
            .unwrap();
        }
    }
    for told in [&pair.here, &pair.there] {
        let (mut ways, mut texts) = ([0, 0], Vec::new());
        while ways != [FILES, FILES] || texts.len() < 2 * FILES {
            match lab.recv(told) {
                Told::Done(done) => ways[usize::from(done.way == FileWay::In)] += 1,
                Told::Text(text) => texts.push(text),
                Told::Progress(_) => {}
                other => panic!("{other:?}"),
            }
        }
        let want =
            (0..FILES).flat_map(|number| ["before", "behind"].map(|it| format!("{it} {number}")));
        assert_eq!(texts, want.collect::<Vec<_>>());
    }
    for folder in [&folder, &folder_there] {
        for (number, (_, bytes)) in sources.iter().enumerate() {
            assert!(content(folder, &format!("f{number}")).as_ref() == Some(bytes), "{number}");
        }
    }
}

fn what_is_asked_for_comes(lab: &mut Lab) {
    let ((store_there, folder_there), (store, folder)) = (store(lab), store(lab));
    let bytes = pattern(300_000, 1);
    put(&folder_there, "film", &bytes);
    let pair = Pair::with(lab, store_there);
    let id = {
        let store = store.clone();
        asked(lab, &pair.conn, move |cx| cx.get_file(&name("film"), &store, &name("my/film")))
            .unwrap()
    };
    let (here, there) = (ended(lab, &pair.here).unwrap(), ended(lab, &pair.there).unwrap());
    assert_eq!((here.id, here.way, &here.name[..]), (id, FileWay::In, "my/film"));
    assert_eq!((there.way, &there.name[..]), (FileWay::Out, "film"));
    assert_eq!((here.digest, there.digest), (digest(&bytes), digest(&bytes)));
    assert!(content(&folder, "my/film").unwrap() == bytes);
    for (asks, kind) in [("no film", FileErrorKind::NotFound), ("my", FileErrorKind::NotFound)] {
        let store = store.clone();
        let id = asked(lab, &pair.conn, move |cx| cx.get_file(&name(asks), &store, &name("x")));
        let failed = ended(lab, &pair.here).unwrap_err();
        assert_eq!((failed.id, failed.error.kind, failed.error.of_peer), (id.unwrap(), kind, true));
        assert_eq!(content(&folder, "x"), None);
    }
}

fn a_part_is_a_file_of_its_own(lab: &mut Lab) {
    let ((store_there, folder_there), (store, folder)) = (store(lab), store(lab));
    let bytes = pattern(10_000, 1);
    put(&folder_there, "film", &bytes);
    let pair = Pair::with(lab, store_there);
    let get = |lab: &mut Lab, range: (u64, u64), place: &str| {
        let (store, place) = (store.clone(), name(place));
        let range = range.0..range.1;
        asked(lab, &pair.conn, move |cx| cx.get_part(&name("film"), range, &store, &place))
            .unwrap();
        ended(lab, &pair.here)
    };
    let done = get(lab, (4_000, 5_000), "middle").unwrap();
    assert_eq!((done.bytes, done.digest), (1_000, digest(&bytes[4_000..5_000])));
    assert!(content(&folder, "middle").unwrap() == bytes[4_000..5_000]);
    let error = get(lab, (9_000, 10_001), "end").unwrap_err().error;
    assert_eq!((error.kind, &error.text[..]), (FileErrorKind::BadRange, "it has 10000 bytes"));
    let (file, _) = lab.file(&bytes);
    asked(lab, &pair.conn, move |cx| cx.offer_part(&file, &name("there"), 10..20)).unwrap();
    while ended(lab, &pair.here).unwrap().way != FileWay::Out {}
    assert!(content(&folder_there, "there").unwrap() == bytes[10..20]);
}

fn what_there_is_is_told(lab: &mut Lab) {
    let (store, folder) = store(lab);
    for number in 0..60 {
        put(&folder, &format!("a file with a long name {number:03}"), &vec![0; number]);
    }
    folder.make_folders(&name("folder/inner")).unwrap();
    put(&folder, "folder/b", b"bytes");
    let pair = Pair::with(lab, store);
    let list = |lab: &mut Lab, of: Option<&str>| {
        let of = of.map(name);
        let id = asked(lab, &pair.conn, move |cx| cx.list_files(of.as_ref())).unwrap();
        let mut entries = Vec::new();
        loop {
            match lab.recv(&pair.here) {
                Told::Listed(list) => {
                    assert_eq!(list.id, id);
                    entries.extend(list.entries);
                    if list.last {
                        return Ok(entries);
                    }
                }
                Told::Failed(failed) => return Err(failed),
                other => panic!("{other:?}"),
            }
        }
    };
    let root = list(lab, None).unwrap();
    assert_eq!(root.len(), 61);
    assert!(root.windows(2).all(|pair| pair[0].name < pair[1].name));
    assert_eq!((root[7].bytes, root[7].folder), (7, false));
    assert!(root[60].folder && root[60].name == "folder" && root[60].bytes == 0);
    let inner: Vec<_> = list(lab, Some("folder")).unwrap();
    assert_eq!(inner.iter().map(|it| &it.name[..]).collect::<Vec<_>>(), ["b", "inner"]);
    assert_eq!(list(lab, Some("nowhere")).unwrap_err().error.kind, FileErrorKind::NotFound);
}

/// A peer counts what it has not answered, whoever still waits for it.
fn what_nobody_asks_for_any_more_counts_until_it_is_answered(lab: &mut Lab) {
    let (store, _) = store(lab);
    let pair = Pair::with(lab, store.clone());
    let ask = move |cx: &mut Ctx<'_, Side>| cx.get_file(&name("kept"), &store, &name("x"));
    let mut kept = Vec::new();
    while kept.len() < 64 {
        let id = asked(lab, &pair.conn, ask.clone()).unwrap();
        let Told::Kept(request) = lab.recv(&pair.there) else { panic!("it was not asked") };
        kept.push(request);
        assert!(asked(lab, &pair.conn, move |cx| cx.cancel_file(id, "")));
        assert_eq!(ended(lab, &pair.here).unwrap_err().error.kind, FileErrorKind::Cancelled);
    }
    let error = asked(lab, &pair.conn, ask.clone()).unwrap_err();
    assert_eq!(error.downcast_ref::<FileError>().unwrap().kind, FileErrorKind::Busy);
    drop(kept);
    let free = (0..10_000).any(|_| {
        lab.pass(Duration::from_millis(100));
        asked(lab, &pair.conn, ask.clone()).is_ok()
    });
    assert!(free, "they are answered, and count");
    while !matches!(lab.recv(&pair.there), Told::Kept(_)) {}
}

fn what_is_not_wanted_is_refused_with_its_reason(lab: &mut Lab) {
    let (folder, _) = folder(lab, 1);
    put(&folder, "there", b"before");
    let store = FileStore::of(folder.clone()).unwrap().receive().file_bytes_max(1_000);
    let pair = Pair::with(lab, store);
    let (small, _) = lab.file(&pattern(1_000, 1));
    let (large, _) = lab.file(&pattern(1_001, 1));
    for (file, as_name, kind) in [
        (&small, "there", FileErrorKind::Exists),
        (&large, "large", FileErrorKind::TooLarge),
        (&small, "there/below a file", FileErrorKind::NotFound),
    ] {
        let id = pair.offer(lab, file, as_name);
        let failed = ended(lab, &pair.here).unwrap_err();
        assert_eq!((failed.id, &failed.name[..]), (id, as_name));
        assert!(failed.error.of_peer);
        if as_name != "there/below a file" {
            assert_eq!(failed.error.kind, kind, "{failed:?}");
        }
        let failed = ended(lab, &pair.there).unwrap_err();
        assert!(!failed.error.of_peer && failed.way == FileWay::In);
    }
    assert_eq!(content(&folder, "there").unwrap(), b"before");
    // The client has no store.
    let file = small.clone();
    asked(lab, &pair.other, move |cx| cx.offer_file(&file, &name("a"))).unwrap();
    let failed = ended(lab, &pair.there).unwrap_err();
    assert_eq!((failed.error.kind, failed.error.of_peer), (FileErrorKind::Refused, true));
    // And then all is as before.
    pair.offer(lab, &small, "small");
    ended(lab, &pair.there).unwrap();
    assert_eq!(content(&folder, "small").unwrap().len(), 1_000);
}

/// R64, S76, S77: what was written counts, after the connection was lost.
fn a_transfer_that_was_cut_off_goes_on_where_it_was(lab: &mut Lab) {
    let (store, folder) = store(lab);
    let len = if lab.is_simulated() { 900_000 } else { 20_000_000 };
    let bytes = pattern(len, 1);
    let (file, _) = lab.file(&bytes);
    let mut pair = Pair::with(lab, store);
    let mut resumed = 0;
    for _ in 0..3 {
        let id = pair.offer(lab, &file, "film");
        loop {
            match lab.recv(&pair.there) {
                Told::Progress(progress) if progress.bytes > resumed => break,
                Told::Progress(_) => {}
                Told::Done(_) => return, // it was too fast for us
                Told::Failed(failed) if failed.error.kind == FileErrorKind::Exists => return,
                other => panic!("{other:?}"),
            }
        }
        pair.conn.abort();
        loop {
            match lab.recv(&pair.here) {
                Told::Closed(files) => {
                    assert_eq!(files.iter().map(|file| file.id).collect::<Vec<_>>(), [id]);
                    break;
                }
                Told::Progress(progress) => assert!(progress.resumed >= resumed),
                other => panic!("{other:?}"),
            }
        }
        while !matches!(lab.recv(&pair.there), Told::Closed(_)) {}
        pair.again(lab);
        resumed = 1;
    }
    pair.offer(lab, &file, "film");
    let done = match ended(lab, &pair.here) {
        Ok(done) => done,
        Err(failed) => {
            // All of it had come when its sender was cut off.
            assert_eq!(failed.error.kind, FileErrorKind::Exists);
            return assert!(content(&folder, "film").unwrap() == bytes);
        }
    };
    assert!(done.resumed > 0 && done.digest == digest(&bytes), "{done:?}");
    assert!(content(&folder, "film").unwrap() == bytes);
}

fn either_side_may_cancel(lab: &mut Lab) {
    let (store, folder) = store(lab);
    let (file, _) = lab.file(&pattern(2_000_000, 1));
    let pair = Pair::with(lab, store);
    for (number, ours) in [true, false].into_iter().enumerate() {
        let (file, as_name) = (file.clone(), name(&format!("f{number}")));
        let id = asked(lab, &pair.conn, move |cx| {
            let id = cx.offer_file(&file, &as_name)?;
            assert!(cx.set_file_rate(id, 100_000));
            Ok::<_, Error>(id)
        })
        .unwrap();
        let Told::Progress(progress) = lab.recv(&pair.there) else { panic!("it is over") };
        let id_there = progress.id;
        let (conn, id) = if ours { (&pair.conn, id) } else { (&pair.other, id_there) };
        let cancel = move |cx: &mut Ctx<'_, Side>| {
            assert!(cx.cancel_file(id, "enough"));
            cx.cancel_file(id, "again") || cx.hold_file(id, true) || cx.restart_file(id)
        };
        assert!(!asked(lab, conn, cancel), "it is over already");
        for (told, of_peer) in [(&pair.here, !ours), (&pair.there, ours)] {
            let error = ended(lab, told).unwrap_err().error;
            assert_eq!((error.kind, error.of_peer), (FileErrorKind::Cancelled, of_peer));
            assert_eq!(&error.text[..], "enough");
        }
        assert_eq!(content(&folder, &format!("f{number}")), None);
    }
    assert_eq!(pair.conn.send(Message::Text("all is well")), Sent::Queued);
    while !matches!(lab.recv(&pair.there), Told::Text(_)) {}
}

/// R60, R61.
fn a_changed_file_is_told_to_both(lab: &mut Lab) {
    let (store, folder) = store(lab);
    let pair = Pair::with(lab, store);
    for len in [500, 300_000, 300_001] {
        let (file, set_len) = lab.file(&pattern(300_000, 1));
        set_len(len);
        pair.offer(lab, &file, "film");
        for (told, of_peer) in [(&pair.here, false), (&pair.there, true)] {
            let error = ended(lab, told).unwrap_err().error;
            assert_eq!((error.kind, error.of_peer), (FileErrorKind::SourceChanged, of_peer));
        }
        assert_eq!(content(&folder, "film"), None);
    }
}

fn who_takes_no_files_gets_no_offer(lab: &mut Lab) {
    let (store, _) = store(lab);
    let limits = Limits::new().file_start(Duration::from_millis(200));
    let client = (Longshore::new().with_files(), Some(store));
    let pair = Pair::new(lab, (Longshore::new(), None), client, limits);
    let (file, _) = lab.file(b"a file");
    pair.offer(lab, &file, "a");
    let error = ended(lab, &pair.here).unwrap_err().error;
    assert_eq!((error.kind, error.of_peer), (FileErrorKind::Unsupported, false));
    // From then on that is known.
    let error = asked(lab, &pair.conn, |cx| cx.list_files(None)).unwrap_err();
    let error = error.downcast_ref::<FileError>().unwrap();
    assert_eq!(error.kind, FileErrorKind::Unsupported);
    let file = file.clone();
    let error = asked(lab, &pair.other, move |cx| cx.offer_file(&file, &name("a"))).unwrap_err();
    let error = error.downcast_ref::<FileError>().unwrap();
    assert_eq!(error.kind, FileErrorKind::Unsupported, "its codec is without");
    assert_eq!(pair.conn.send(Message::Text("all is well")), Sent::Queued);
    while !matches!(lab.recv(&pair.there), Told::Text(_)) {}
}

/// Each file has one end, whenever the connection goes.
fn files_of_a_connection_that_ends_are_told_once(lab: &mut Lab) {
    let (store, _) = store(lab);
    let pair = Pair::with(lab, store);
    let (file, _) = lab.file(&pattern(100_000, 1));
    let mut ids = BTreeSet::new();
    for number in 0..20 {
        ids.insert(pair.offer(lab, &file, &format!("f{number}")));
    }
    let store = FileStore::of(folder(lab, 2).0).unwrap().receive();
    let get = move |cx: &mut Ctx<'_, Side>| cx.get_file(&name("f0"), &store, &name("x"));
    ids.insert(asked(lab, &pair.conn, get).unwrap());
    pair.other.close();
    loop {
        match lab.recv(&pair.here) {
            Told::Done(FileDone { id, .. }) | Told::Failed(FileFailed { id, .. }) => {
                assert!(ids.remove(&id), "{id} is told twice");
            }
            Told::Closed(files) => {
                for file in files {
                    assert!(ids.remove(&file.id), "{} is told twice", file.id);
                }
                break;
            }
            _ => {}
        }
    }
    assert!(ids.is_empty(), "nobody was told of {ids:?}");
}

fn a_held_file_goes_on_later(lab: &mut Lab) {
    let (store, folder) = store(lab);
    let bytes = pattern(400_000, 1);
    let (file, _) = lab.file(&bytes);
    let pair = Pair::with(lab, store);
    let id = {
        let file = file.clone();
        asked(lab, &pair.conn, move |cx| {
            let id = cx.offer_file(&file, &name("film"))?;
            assert!(cx.hold_file(id, true));
            cx.send(Message::Text("held"))?;
            Ok::<_, Error>(id)
        })
        .unwrap()
    };
    while !matches!(lab.recv(&pair.there), Told::Text(_)) {}
    lab.pass(Duration::from_secs(100)); // no deadline runs
    let conns = Arc::new(pair.conn.clone());
    assert!(asked(lab, &conns, move |cx| cx.hold_file(id, false)));
    ended(lab, &pair.here).unwrap();
    assert!(content(&folder, "film").unwrap() == bytes);
}

/// A folder that was cut off is sent again: what has come of it counts, and what only looks alike is not
/// replaced.
fn what_is_there_already_is_not_sent_again(lab: &mut Lab) {
    let (store, folder) = store(lab);
    let bytes = pattern(300_000, 1);
    let (file, _) = lab.file(&bytes);
    let pair = Pair::with(lab, store);
    for resumed in [0, bytes.len() as u64] {
        pair.offer(lab, &file, "in/film");
        for told in [&pair.here, &pair.there] {
            let done = ended(lab, told).unwrap();
            assert_eq!((done.bytes, done.resumed), (bytes.len() as u64, resumed));
            assert_eq!(done.digest, digest(&bytes));
        }
    }
    let there = folder.open_to_write(&name("in/film")).unwrap();
    let then = u64::try_from(there.facts().unwrap().modified).unwrap();
    there.write_at(b"!", 7).unwrap();
    there.set_modified(then).unwrap();
    pair.offer(lab, &file, "in/film");
    for told in [&pair.here, &pair.there] {
        let failed = ended(lab, told).unwrap_err();
        assert_eq!(failed.error.kind, FileErrorKind::Exists, "{failed:?}");
    }
    assert_eq!(content(&folder, "in/film").unwrap()[7], b'!', "it is as it was");
}
