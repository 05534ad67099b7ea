//! Transfers in any weather: a network that delays and tears, disks that fill up, fail and are slow, peers
//! that cancel, hold, vanish and come back; each run from its seed.

use longshore::testing::{Net, SimDisk, SimFile, Trouble};
use longshore::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const NAMES: usize = 5;

/// A source of chance.
struct Rng(u64);

impl Rng {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }

    fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }
}

/// What the two sides were told.
#[derive(Default)]
struct Told {
    conns: Vec<Conn<Side>>,
    /// Files that were begun and not ended yet, by connection, and how many ended well.
    open: BTreeMap<ConnId, BTreeSet<FileId>>,
    done: usize,
    failed: usize,
    wrongs: Vec<String>,
    /// Digests of all versions that were offered under a name.
    versions: BTreeMap<String, BTreeSet<Digest>>,
}

impl Told {
    fn begun(&mut self, conn: ConnId, id: FileId) {
        if !self.open.entry(conn).or_default().insert(id) {
            self.wrongs.push(format!("{id} twice"));
        }
    }

    fn ended(&mut self, conn: ConnId, id: FileId) {
        if !self.open.entry(conn).or_default().remove(&id) {
            self.wrongs.push(format!("{id} ended, and was not there"));
        }
    }
}

struct Side {
    told: Arc<Mutex<Told>>,
    store: FileStore,
    conn: Option<ConnId>,
}

impl Handler for Side {
    type Codec = Longshore;

    fn on_connect(&mut self, cx: &mut Ctx<'_, Self>) -> Result {
        self.conn = Some(cx.id());
        cx.set_idle(Duration::ZERO);
        self.told.lock().unwrap().conns.push(cx.conn());
        Ok(())
    }

    fn on_message(&mut self, cx: &mut Ctx<'_, Self>, message: Message<'_>) -> Result {
        cx.send(message)
    }

    fn on_file(&mut self, cx: &mut Ctx<'_, Self>, event: FileEvent) -> Result {
        let mut told = self.told.lock().unwrap();
        let conn = cx.id();
        match event {
            FileEvent::Offered(offer) => {
                told.begun(conn, offer.id());
                offer.accept(&self.store);
            }
            FileEvent::Asked(request) => request.serve(&self.store),
            FileEvent::ListAsked(request) => request.serve(&self.store),
            FileEvent::Done(done) => {
                told.done += 1;
                if told.open.entry(conn).or_default().contains(&done.id) {
                    told.ended(conn, done.id);
                } // else it was asked for by the other side
                let of = told.versions.get(&done.name);
                if !of.is_some_and(|of| of.contains(&done.digest)) {
                    let what = format!("{} is done, and was never so", done.name);
                    told.wrongs.push(what);
                }
            }
            FileEvent::Failed(failed) => {
                told.failed += 1;
                if told.open.entry(conn).or_default().contains(&failed.id) {
                    told.ended(conn, failed.id);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn on_disconnect(self, closed: &Closed<'_>) {
        let mut told = self.told.lock().unwrap();
        let Some(conn) = self.conn else { return };
        for file in closed.files {
            told.open.entry(conn).or_default().remove(&file.id);
        }
        let open = told.open.remove(&conn).unwrap_or_default();
        if !open.is_empty() {
            told.wrongs.push(format!("nobody was told of {open:?}"));
        }
    }
}

fn run(seed: u64) {
    let mut rng = Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut net = Net::seed(seed);
    let disks = [SimDisk::new(seed), SimDisk::new(seed + 1)];
    for disk in &disks {
        disk.short(rng.one_in(2));
        if rng.one_in(3) {
            disk.capacity(50_000 + 1_000 * rng.below(500) as u64);
        }
    }
    let stores = disks.each_ref().map(|disk| {
        let store = FileStore::of(disk.folder()).unwrap().receive();
        if rng.one_in(2) { store.overwrite() } else { store }
    });
    let told = Arc::new(Mutex::new(Told::default()));
    let limits = Limits::new()
        .file_start(Duration::from_secs(5))
        .file_stall(Duration::from_secs(5))
        .files_running(1 + rng.below(4) as u32)
        .file_window_bytes(128 << 10);
    let codec = Longshore::new().with_files();
    let side = |of: usize| {
        let (told, store) = (Arc::clone(&told), stores[of].clone());
        move |_: &Peer<'_>| Ok(Side { told: Arc::clone(&told), store: store.clone(), conn: None })
    };
    let addr = net.addr();
    let listener = Listener::addr(addr, codec).limits(limits.clone());
    let server = net.start(Server::builder().listen(listener, side(0)).workers(2)).unwrap();
    let often = [0, 0, 300, 60][rng.below(4)];
    for trouble in [Trouble::Send, Trouble::Recv, Trouble::Wait, Trouble::LateKernel] {
        net.world().make_trouble(trouble, often);
    }
    for round in 0..30 + rng.below(40) {
        if rng.one_in(8) || round == 0 {
            let connector = Connector::addr(addr, codec).limits(limits.clone());
            server.connect(connector, side(1)).unwrap();
        }
        if rng.one_in(10) {
            disks[rng.below(2)].fail_sync(1 + rng.below(2) as u64);
        }
        meddle(&mut rng, &told, &stores);
        net.run_for(Duration::from_millis(rng.below(400) as u64));
    }
    for trouble in Trouble::ALL {
        net.world().make_trouble(trouble, 0);
    }
    for disk in &disks {
        disk.fail_sync(0);
        disk.capacity(u64::MAX);
    }
    net.run_for(Duration::from_secs(100));
    server.shutdown(Duration::from_secs(1));
    assert!(net.run_until(Duration::from_secs(100), |net| net.running_workers() == 0));
    net.run_for(Duration::from_secs(1));
    let told = told.lock().unwrap();
    assert_eq!(told.wrongs, [""; 0], "seed {seed}");
    assert!(told.open.values().all(BTreeSet::is_empty), "seed {seed}: {:?}", told.open);
    assert_eq!(net.world().descriptors(), 0, "seed {seed}: sockets");
    for disk in &disks {
        for name in disk.names() {
            if name.is_temporary() {
                continue;
            }
            let digest = *blake3::hash(&disk.bytes(&name).unwrap()).as_bytes();
            let of = told.versions.get(name.as_str());
            assert!(of.is_some_and(|of| of.contains(&digest)), "seed {seed}: {name} is no version");
        }
    }
    COUNTS.lock().unwrap().0 += told.done;
    COUNTS.lock().unwrap().1 += told.failed;
}

/// Ends that were well, and others.
static COUNTS: Mutex<(usize, usize)> = Mutex::new((0, 0));

/// Something happens to a connection.
fn meddle(rng: &mut Rng, told: &Arc<Mutex<Told>>, stores: &[FileStore; 2]) {
    let conns = told.lock().unwrap().conns.clone();
    let Some(conn) = conns.get(rng.below(conns.len())) else { return };
    let name = FileName::parse(&format!("f{}", rng.below(NAMES))).unwrap();
    let id = conn.id();
    let open: Vec<_> = {
        let told = told.lock().unwrap();
        told.open.get(&id).map(|open| open.iter().copied().collect()).unwrap_or_default()
    };
    let some = (!open.is_empty()).then(|| open[rng.below(open.len())]);
    let told_too = Arc::clone(told);
    match rng.below(14) {
        0 => conn.abort(),
        1 => conn.close(),
        2 | 3 => {
            let Some(file) = some else { return };
            drop(conn.post(move |_, cx| {
                cx.cancel_file(file, "storm");
                Ok(())
            }));
        }
        4 | 5 => {
            let (Some(file), on) = (some, rng.one_in(2)) else { return };
            drop(conn.post(move |_, cx| {
                cx.hold_file(file, on);
                Ok(())
            }));
        }
        6 => {
            let store = stores[rng.below(2)].clone();
            drop(conn.post(move |_, cx| {
                if let Ok(file) = cx.get_file(&name, &store, &name) {
                    told_too.lock().unwrap().begun(id, file);
                }
                let _ = cx.list_files(None);
                Ok(())
            }));
        }
        _ => {
            let len = [0, 1, 500, 30_000, 150_000][rng.below(5)];
            let version = rng.below(3);
            let bytes: Vec<u8> = (0..len).map(|at| (at * 7 + at / 9 + version) as u8).collect();
            let digest = *blake3::hash(&bytes).as_bytes();
            let file = SimFile::new(bytes);
            let changes = rng.one_in(10);
            drop(conn.post(move |_, cx| {
                let source = FileSource::of(file.handle())?;
                let mut told = told_too.lock().unwrap();
                told.versions.entry(name.to_string()).or_default().insert(digest);
                if let Ok(offered) = cx.offer_file(&source, &name) {
                    told.begun(id, offered);
                }
                if changes {
                    file.set_len(17);
                }
                Ok(())
            }));
        }
    }
}

#[test]
fn files_are_whole_and_told_once_in_any_weather() {
    let seeds: u64 = std::env::var("LONGSHORE_SEEDS").map_or(60, |seeds| seeds.parse().unwrap());
    for seed in 0..seeds {
        run(seed);
    }
    let (done, failed) = *COUNTS.lock().unwrap();
    println!("{done} files done, {failed} failed in {seeds} storms");
    assert!(done > 100 && failed > 20, "{done} {failed}");
}
