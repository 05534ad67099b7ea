//! Files: names, disks, changes, sizes, time (R58-R71). More of them stand in `tests/it`
//! (`raw_files`, `transfers`), in the tests of the store and of the ports, and of the program.
#![cfg(target_os = "linux")]

use super::support::*;
use longshore::*;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

/// A folder that goes with its test.
struct Place(PathBuf);

impl Place {
    fn new(name: &str, driver: Driver) -> Self {
        let name = format!("longshore-faults-{}-{name}-{}", std::process::id(), driver.name);
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        fs::write(self.at(name), bytes).unwrap();
        self.at(name)
    }

    fn store(&self) -> FileStore {
        FileStore::open(&self.0).unwrap().receive()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0); // what is left of it is the system's
    }
}

/// What one side was told at the end of a file.
type Ended = Result<FileDone, FileFailed>;

/// A side of transfers.
struct Side {
    store: Option<FileStore>,
    up: Option<Sender<Conn<Self>>>,
    ended: Sender<Ended>,
}

impl Handler for Side {
    type Codec = Longshore;

    fn on_connect(&mut self, cx: &mut Ctx<'_, Self>) -> Result {
        if let Some(up) = self.up.take() {
            up.send(cx.conn()).unwrap();
        }
        Ok(())
    }

    fn on_message(&mut self, cx: &mut Ctx<'_, Self>, message: Message<'_>) -> Result {
        cx.send(message)
    }

    fn on_file(&mut self, _: &mut Ctx<'_, Self>, event: FileEvent) -> Result {
        match (event, &self.store) {
            (FileEvent::Done(done), _) => drop(self.ended.send(Ok(done))),
            (FileEvent::Failed(failed), _) => drop(self.ended.send(Err(failed))),
            (event, Some(store)) => event.serve(store),
            _ => {}
        }
        Ok(())
    }
}

/// A server with a store, and a connection to it.
struct Pair {
    server: Server,
    conn: Conn<Side>,
    here: Receiver<Ended>,
    there: Receiver<Ended>,
}

impl Pair {
    fn new(driver: Driver, store: FileStore, limits: Limits) -> Self {
        let (ended, there) = channel();
        let listener = Listener::tcp("127.0.0.1:0", Longshore::new().with_files());
        let listener = listener.limits(limits.clone());
        let factory = move |_: &Peer<'_>| {
            Ok(Side { store: Some(store.clone()), up: None, ended: ended.clone() })
        };
        let builder = Server::builder().driver(driver.choice).workers(2);
        let server = builder.listen(listener, factory).start().unwrap();
        let addr = server.local_addrs()[0].socket_addr().unwrap();
        let (told, up) = channel();
        let (ended, here) = channel();
        let connector = Connector::addr(addr, Longshore::new().with_files()).limits(limits);
        let factory = move |_: &Peer<'_>| {
            Ok(Side { store: None, up: Some(told.clone()), ended: ended.clone() })
        };
        server.connect(connector, factory).unwrap();
        let conn = up.recv_timeout(PATIENCE).unwrap();
        Self { server, conn, here, there }
    }

    fn ask<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&mut Ctx<'_, Side>) -> T + Send + 'static,
    ) -> T {
        let (told, answer) = channel();
        let posted = self.conn.post(move |_, cx| {
            let _ = told.send(ask(cx));
            Ok(())
        });
        assert_eq!(posted, Sent::Queued);
        answer.recv_timeout(PATIENCE).unwrap()
    }

    /// Offers a file, and waits for its end on both sides.
    fn put(&self, file: &FileSource, name: &str) -> (Ended, Ended) {
        let (file, name) = (file.clone(), FileName::parse(name).unwrap());
        self.ask(move |cx| cx.offer_file(&file, &name)).unwrap();
        let patience = 4 * PATIENCE;
        (self.here.recv_timeout(patience).unwrap(), self.there.recv_timeout(patience).unwrap())
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.server.shutdown(Duration::ZERO);
        self.server.wait().unwrap();
    }
}

/// Sends a file as it is to each who connects, and closes.
struct Sender1(FileSource, std::ops::Range<u64>);

impl Handler for Sender1 {
    type Codec = Raw;

    fn on_connect(&mut self, cx: &mut Ctx<'_, Self>) -> Result {
        cx.send_file(&self.0, self.1.clone())?;
        cx.close();
        Ok(())
    }

    fn on_message(&mut self, _: &mut Ctx<'_, Self>, _: &[u8]) -> Result {
        Ok(())
    }
}

fn raw_server(driver: Driver, file: &FileSource, range: std::ops::Range<u64>) -> Server {
    // It closes with all of it still to go.
    let limits = Limits::new().linger(Linger::default().total(Duration::from_secs(600)));
    let listener = Listener::tcp("127.0.0.1:0", Raw::new()).push_only().limits(limits);
    let file = file.clone();
    let factory = move |_: &Peer<'_>| Ok(Sender1(file.clone(), range.clone()));
    let builder = Server::builder().driver(driver.choice).workers(1);
    builder.listen(listener, factory).start().unwrap()
}

fn pattern(len: usize, seed: u64) -> Vec<u8> {
    (0..len as u64).map(|at| (at / 3 + at * 7 + seed * 13) as u8).collect()
}

/// What is open is sent, whatever happens to its name; and it may be open as often as one likes.
#[test]
fn r62_a_file_that_is_renamed_removed_or_replaced_is_sent_as_it_was() {
    on_each_driver(|driver| {
        let (place, there) = (Place::new("r62", driver), Place::new("r62-there", driver));
        let pair = Pair::new(driver, there.store().overwrite(), Limits::new());
        let bytes = pattern(2_000_000, 1);
        let rounds = pick(10, 1_000);
        for round in 0..rounds {
            let path = place.put("film", &bytes);
            let file = FileSource::open(&path).unwrap();
            let also = File::open(&path).unwrap();
            match round % 3 {
                0 => fs::rename(&path, place.at("elsewhere")).unwrap(),
                1 => fs::remove_file(&path).unwrap(),
                _ => {
                    place.put("other", b"another one");
                    fs::rename(place.at("other"), &path).unwrap();
                }
            }
            let (here, _) = pair.put(&file, "film");
            assert_eq!(here.unwrap().bytes, 2_000_000);
            assert!(fs::read(there.at("film")).unwrap() == bytes);
            drop(also);
        }
        reached("R62", driver, format_args!("{rounds} files"));
    });
}

/// Whoever writes to it meanwhile: what is told as done is what was sent, and arrived.
#[test]
fn r60_r61_a_file_that_changes_meanwhile_is_never_done_with_other_bytes() {
    on_each_driver(|driver| {
        let (place, there) = (Place::new("r60", driver), Place::new("r60-there", driver));
        let pair = Pair::new(driver, there.store().overwrite(), Limits::new());
        let rounds = pick(30, 1_000);
        let (mut done, mut changed) = (0, 0);
        for round in 0..rounds as u64 {
            let bytes = pattern(4_000_000, round);
            let path = place.put("film", &bytes);
            let file = FileSource::open(&path).unwrap();
            let stop = Arc::new(AtomicBool::new(false));
            let writer = {
                let (stop, file) = (Arc::clone(&stop), OpenOptions::new().write(true).open(&path));
                let file = file.unwrap();
                std::thread::spawn(move || {
                    let mut at = round * 77_777 % 4_000_000;
                    while !stop.load(Ordering::Relaxed) {
                        match round % 3 {
                            0 => file.set_len(at).unwrap(),
                            1 => drop(file.write_at(b"changed", at)),
                            _ => drop(file.write_at(b"longer", 4_000_000)),
                        }
                        at = (at + 123_457) % 4_000_000;
                        std::thread::yield_now();
                    }
                })
            };
            let (here, ended) = pair.put(&file, "film");
            stop.store(true, Ordering::Relaxed);
            writer.join().unwrap();
            match here {
                Ok(sent) => {
                    let kept = fs::read(there.at("film")).unwrap();
                    assert_eq!(*blake3::hash(&kept).as_bytes(), sent.digest, "other bytes");
                    assert_eq!(ended.unwrap().digest, sent.digest);
                    done += 1;
                }
                Err(failed) => {
                    assert_eq!(failed.error.kind, FileErrorKind::SourceChanged, "{failed:?}");
                    assert_eq!(ended.unwrap_err().error.kind, FileErrorKind::SourceChanged);
                    changed += 1;
                }
            }
        }
        assert!(changed > 0, "nobody has noticed anything");
        reached("R60, R61", driver, format_args!("{rounds} files: {done} done, {changed} changed"));
    });
}

/// The same as it is: a peer sees all that was promised, or a reset.
#[test]
fn r60_a_file_that_is_cut_off_while_it_is_sent_ends_with_a_reset() {
    on_each_driver(|driver| {
        let place = Place::new("r60-raw", driver);
        let len = 6_000_000;
        let rounds = pick(30, 1_000);
        let (mut whole, mut cut) = (0, 0);
        for round in 0..rounds as u64 {
            let path = place.put("film", &pattern(len, round));
            let file = FileSource::open(&path).unwrap();
            let server = raw_server(driver, &file, 0..len as u64);
            let addr = server.local_addrs()[0].socket_addr().unwrap();
            let mut peer = connect(addr);
            let mut got = vec![0; 1 + (round * 99_991) as usize % len];
            peer.read_exact(&mut got).unwrap();
            OpenOptions::new().write(true).open(&path).unwrap().set_len(round * 7_919).unwrap();
            match peer.read_to_end(&mut got) {
                Ok(_) if got.len() == len => whole += 1,
                Ok(_) => panic!("{} of {len} bytes, and a good end", got.len()),
                Err(_) => cut += 1,
            }
            server.shutdown(Duration::ZERO);
            server.wait().unwrap();
        }
        reached(
            "R60",
            driver,
            format_args!("{rounds} files as they are: {whole} whole, {cut} cut"),
        );
    });
}

/// Bytes stand where they stand, beyond 2 and 4 GiB too.
#[test]
fn r66_offsets_and_lengths_have_64_bits() {
    on_each_driver(|driver| {
        let (place, there) = (Place::new("r66", driver), Place::new("r66-there", driver));
        let path = place.at("sparse");
        let file = File::create(&path).unwrap();
        file.set_len(5 << 30).unwrap();
        let edges =
            [(1_u64 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 32, (1 << 32) + 1, (5 << 30) - 9];
        for (number, edge) in edges.iter().enumerate() {
            file.write_at(&[1 + number as u8], *edge).unwrap();
        }
        let source = FileSource::open(&path).unwrap();
        assert_eq!(source.bytes(), 5 << 30);
        let pair = Pair::new(driver, there.store(), Limits::new());
        for (number, edge) in edges.into_iter().enumerate() {
            let range = edge - 1_000..edge + 8;
            let server = raw_server(driver, &source, range.clone());
            let mut got = Vec::new();
            let addr = server.local_addrs()[0].socket_addr().unwrap();
            connect(addr).read_to_end(&mut got).unwrap();
            assert_eq!((got.len(), got[1_000]), (1_008, 1 + number as u8));
            server.shutdown(Duration::ZERO);
            server.wait().unwrap();
            let (source, name) = (source.clone(), FileName::parse(&edge.to_string()).unwrap());
            pair.ask(move |cx| cx.offer_part(&source, &name, range)).unwrap();
            let done = pair.here.recv_timeout(PATIENCE).unwrap().unwrap();
            assert_eq!(done.bytes, 1_008);
            assert_eq!(fs::read(there.at(&edge.to_string())).unwrap(), got);
        }
        if long() {
            // All of it, both ways.
            let server = raw_server(driver, &source, 0..5 << 30);
            let addr = server.local_addrs()[0].socket_addr().unwrap();
            let mut peer = connect(addr);
            let (mut piece, mut got) = (vec![0; 1 << 20], 0_u64);
            loop {
                match peer.read(&mut piece).unwrap() {
                    0 => break,
                    count => got += count as u64,
                }
            }
            assert_eq!(got, 5 << 30);
            server.shutdown(Duration::ZERO);
            server.wait().unwrap();
            let store = there.store().file_bytes_max(8 << 30);
            let pair = Pair::new(driver, store, Limits::new());
            let (here, _) = pair.put(&source, "all");
            assert_eq!(here.unwrap().bytes, 5 << 30);
            assert_eq!(fs::metadata(there.at("all")).unwrap().len(), 5 << 30);
        }
        reached(
            "R66",
            driver,
            format_args!("{} places up to 5 GiB, all of it: {}", edges.len(), long()),
        );
    });
}

/// Only regular files, and nobody waits for another kind.
#[test]
fn r69_what_is_no_file_is_refused_at_once() {
    on_each_driver(|driver| {
        let place = Place::new("r69", driver);
        let fifo = place.at("fifo");
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        fs::create_dir(place.at("folder")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", place.at("link")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(place.at("socket")).unwrap();
        let begun = Instant::now();
        for path in [fifo, place.at("folder"), place.at("socket"), PathBuf::from("/dev/zero")] {
            assert!(FileSource::open(&path).is_err(), "{}", path.display());
        }
        let there = Place::new("r69-there", driver);
        let pair = Pair::new(driver, place.store(), Limits::new());
        for name in ["fifo", "folder", "link", "socket"] {
            let (store, name) = (there.store(), FileName::parse(name).unwrap());
            pair.ask(move |cx| cx.get_file(&name, &store, &name)).unwrap();
            let failed = pair.here.recv_timeout(PATIENCE).unwrap().unwrap_err();
            let kind = failed.error.kind;
            let refused = matches!(kind, FileErrorKind::NotAFile | FileErrorKind::NotFound);
            assert!(refused && failed.error.of_peer, "{failed:?}");
        }
        assert_eq!(fs::read_dir(&there.0).unwrap().count(), 0, "something was made of it");
        reached("R69", driver, format_args!("8 refused in {:?}", begun.elapsed()));
    });
}

/// The bytes of a frame of the project's own protocol.
fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![b'L', 1, kind, 0];
    bytes.extend_from_slice(&(payload.len() as u32).to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A peer that says that it takes files, and asks for one of them.
fn asks(addr: std::net::SocketAddr, name: &str) -> TcpStream {
    let mut peer = connect_narrow(addr);
    peer.write_all(&frame(0, &1_u64.to_be_bytes())).unwrap();
    let get = [&1_u32.to_be_bytes()[..], &[0; 8], &[0xff; 8], name.as_bytes()].concat();
    peer.write_all(&frame(24, &get)).unwrap();
    peer
}

/// The next frame: its type and payload.
fn next_frame(peer: &mut TcpStream) -> (u8, Vec<u8>) {
    let mut head = [0; 8];
    peer.read_exact(&mut head).unwrap();
    let mut payload = vec![0; u32::from_be_bytes(head[4..].try_into().unwrap()) as usize];
    peer.read_exact(&mut payload).unwrap();
    (head[2], payload)
}

/// Who asks for a file and then says nothing is told that it took too long, and so is the handler.
#[test]
fn r67_a_transfer_that_never_starts_or_stalls_is_cut_in_time() {
    on_each_driver(|driver| {
        let place = Place::new("r67", driver);
        place.put("film", &pattern(20_000_000, 1));
        let second = Duration::from_secs(1);
        let limits = Limits::new().file_start(second).file_stall(second).write(Duration::ZERO);
        let pair = Pair::new(driver, place.store(), limits);
        let addr = pair.server.local_addrs()[0].socket_addr().unwrap();
        for accepts in [false, true] {
            let mut peer = asks(addr, "film");
            let begun = Instant::now();
            assert_eq!(next_frame(&mut peer).0, 0, "its hello");
            let (kind, offer) = next_frame(&mut peer);
            assert_eq!(kind, 16);
            if accepts {
                let accept = [&offer[..4], &[0; 8], &[0x0f; 8], &[0; 32]].concat();
                peer.write_all(&frame(17, &accept)).unwrap();
            }
            let failed = pair.there.recv_timeout(PATIENCE).unwrap().unwrap_err();
            assert_eq!(failed.error.kind, FileErrorKind::TimedOut, "{failed:?}");
            let after = begun.elapsed();
            assert!(after >= second, "{after:?}");
            reached("R67", driver, format_args!("accepted: {accepts}, cut after {after:?}"));
            let mut kind = 0;
            while kind != 23 {
                kind = next_frame(&mut peer).0; // what was sent before, and then that it is given up
            }
        }
    });
}

/// What many transfers of large files hold, while their peers read nothing.
#[test]
fn r04_many_sends_hold_a_bounded_part_of_each_file() {
    on_each_driver(|driver| {
        let place = Place::new("memory", driver);
        File::create(place.at("sparse")).unwrap().set_len(1 << 30).unwrap();
        let pair = Pair::new(driver, place.store(), Limits::new());
        let addr = pair.server.local_addrs()[0].socket_addr().unwrap();
        let accept_all = |peer: &mut TcpStream| {
            while next_frame(peer).0 != 16 {}
            let accept = [&1_u32.to_be_bytes()[..], &[0; 8], &[0x0f; 8], &[0; 32]].concat();
            peer.write_all(&frame(17, &accept)).unwrap();
            let (kind, _) = next_frame(peer);
            assert_eq!(kind, 18, "it is being sent");
        };
        // What the first ones make the program hold is not of each.
        let mut peers = Vec::new();
        let mut held = [0; 2];
        for held in &mut held {
            let from = peers.len();
            peers.extend((0..100).map(|_| asks(addr, "sparse")));
            peers[from..].iter_mut().for_each(accept_all);
            *held = resident_kib();
        }
        let each = held[1].saturating_sub(held[0]) / 100;
        reached("memory of sends", driver, format_args!("200 sends: {each} KiB each, of 1 GiB"));
        assert!(each <= 64, "{held:?} KiB");
    });
}

/// Asks and asks again, as soon as there is an answer, and notes how long each took.
struct Asks {
    asked: Instant,
    took: Vec<Duration>,
    up: Sender<Conn<Self>>,
    ended: Sender<Ended>,
}

impl Asks {
    fn ask(&mut self, cx: &mut Ctx<'_, Self>) -> Result {
        self.asked = Instant::now();
        cx.send(Message::Text("are you there?"))
    }
}

impl Handler for Asks {
    type Codec = Longshore;

    fn on_connect(&mut self, cx: &mut Ctx<'_, Self>) -> Result {
        self.up.send(cx.conn()).unwrap();
        self.ask(cx)
    }

    fn on_message(&mut self, cx: &mut Ctx<'_, Self>, message: Message<'_>) -> Result {
        assert!(matches!(message, Message::Text("are you there?")));
        self.took.push(self.asked.elapsed());
        self.ask(cx)
    }

    fn on_file(&mut self, _: &mut Ctx<'_, Self>, event: FileEvent) -> Result {
        match event {
            FileEvent::Done(done) => drop(self.ended.send(Ok(done))),
            FileEvent::Failed(failed) => drop(self.ended.send(Err(failed))),
            _ => {}
        }
        Ok(())
    }
}

/// Which 99 of 100 are no longer than, in microseconds, and how many there are.
fn p99(took: &[Duration]) -> (u128, usize) {
    let mut took = took.to_vec();
    took.sort();
    let at = (took.len() * 99).div_ceil(100).max(1) - 1;
    (took.get(at).map_or(0, Duration::as_micros), took.len())
}

/// On the same connection as files, each message waits for one chunk at most, on each side.
#[test]
fn r68_messages_go_between_sixteen_files() {
    on_each_driver(|driver| {
        let (place, there) = (Place::new("r68", driver), Place::new("r68-there", driver));
        let pair = Pair::new(driver, there.store(), Limits::new());
        let addr = pair.server.local_addrs()[0].socket_addr().unwrap();
        let (told, up) = channel();
        let (ended, here) = channel();
        let factory = move |_: &Peer<'_>| {
            let (up, ended) = (told.clone(), ended.clone());
            Ok(Asks { asked: Instant::now(), took: Vec::new(), up, ended })
        };
        let client = Server::builder().driver(driver.choice).workers(1).start().unwrap();
        let codec = Longshore::new().with_files();
        client.connect(Connector::addr(addr, codec), factory).unwrap();
        let conn = up.recv_timeout(PATIENCE).unwrap();
        let took = || {
            let (told, took) = channel();
            let posted = conn.post(move |it: &mut Asks, _| {
                let _ = told.send(std::mem::take(&mut it.took));
                Ok(())
            });
            assert_eq!(posted, Sent::Queued);
            took.recv_timeout(PATIENCE).unwrap()
        };
        std::thread::sleep(Duration::from_millis(pick(300, 3_000) as u64));
        let alone = took();
        let bytes = pattern(pick(4 << 20, 64 << 20), 1);
        let file = FileSource::open(place.put("film", &bytes)).unwrap();
        for number in 0..16 {
            let (file, name) = (file.clone(), FileName::parse(&format!("f{number}")).unwrap());
            let posted = conn.post(move |_: &mut Asks, cx| cx.offer_file(&file, &name).map(drop));
            assert_eq!(posted, Sent::Queued);
        }
        for _ in 0..16 {
            here.recv_timeout(4 * PATIENCE).unwrap().unwrap();
        }
        let beside = took();
        assert!((0..16).all(|it| fs::read(there.at(&format!("f{it}"))).unwrap() == bytes));
        let ((alone, _), (beside, count)) = (p99(&alone), p99(&beside));
        assert!(count > 16, "messages wait for files");
        reached(
            "R68",
            driver,
            format_args!("99 of 100 messages took {alone} us at most, {beside} us beside 16 files"),
        );
        client.shutdown(Duration::ZERO);
        client.wait().unwrap();
    });
}
