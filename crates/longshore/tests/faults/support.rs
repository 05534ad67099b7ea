//! What all fault tests share: drivers, a server, peers, counts that can be waited for.

use longshore::*;
#[cfg(windows)]
use longshore_port::contract::wine::{NotUnderWine, run_unless_known};
use socket2::{Domain, SockRef, Socket, Type};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::mpsc::channel;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long anything may take before it counts as lost. Never reached when all is well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// One driver of this system.
#[derive(Clone, Copy)]
pub(crate) struct Driver {
    pub(crate) choice: DriverChoice,
    pub(crate) name: &'static str,
}

#[cfg(target_os = "linux")]
const DRIVERS: [Driver; 2] = [
    Driver { choice: DriverChoice::Uring, name: "uring" },
    Driver { choice: DriverChoice::Readiness, name: "readiness" },
];

#[cfg(windows)]
const DRIVERS: [Driver; 1] = [Driver { choice: DriverChoice::Iocp, name: "iocp" }];

/// The driver of that name.
pub(crate) fn driver_named(name: &str) -> Driver {
    DRIVERS.into_iter().find(|driver| driver.name == name).unwrap()
}

/// Runs `test` on each driver, one test at a time: descriptors and memory are the process's.
pub(crate) fn on_each_driver(test: impl Fn(Driver)) {
    let _alone = alone();
    let only = std::env::var("LONGSHORE_DRIVER").ok();
    for driver in DRIVERS {
        if only.as_deref().is_some_and(|only| only != driver.name) {
            continue;
        }
        match SystemWorld::new(driver.choice) {
            Ok(_) => run(&test, driver),
            Err(refused) => say(format_args!("SKIPPED, NOT TESTED AT ALL: {refused}")),
        }
    }
}

#[cfg(target_os = "linux")]
fn run(test: &impl Fn(Driver), driver: Driver) {
    test(driver);
}

#[cfg(windows)]
const NOT_UNDER_WINE: [NotUnderWine; 1] = [NotUnderWine {
    test: "r42_a_slow_reader_is_no_stalled_write",
    always: true,
    why: "what a peer has taken of a send is not known there, so who is slow counts as stuck",
}];

#[cfg(windows)]
fn run(test: &impl Fn(Driver), driver: Driver) {
    run_unless_known(&NOT_UNDER_WINE, || test(driver));
}

/// No other test of this program runs meanwhile; the limit of open files is raised.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    #[cfg(target_os = "linux")]
    {
        let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        limit.current = limit.maximum;
        rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
    }
    alone
}

/// Whether the catalogue's large numbers are asked for.
pub(crate) fn long() -> bool {
    std::env::var("LONGSHORE_LONG").is_ok_and(|value| value == "1")
}

/// The quick number or the large one.
pub(crate) fn pick(quick: usize, large: usize) -> usize {
    if long() { large } else { quick }
}

/// A third of a number on Windows: under Wine one process serves each call, and holds each socket.
pub(crate) fn fewer(number: usize) -> usize {
    if cfg!(windows) { number / 3 } else { number }
}

/// A line that is shown also when the test passes.
pub(crate) fn say(text: impl Display) {
    let _ = writeln!(io::stdout(), "{text}");
}

/// What an entry reached on a driver.
pub(crate) fn reached(entry: &str, driver: Driver, text: impl Display) {
    say(format_args!("{entry} {}: {text}", driver.name));
}

/// Runs `act` on a thread of its own and waits a bounded time: a hang is a failure, not a hang.
pub(crate) fn bounded<T: Send + 'static>(
    what: &str,
    act: impl FnOnce() -> T + Send + 'static,
) -> T {
    let (done, result) = channel();
    std::thread::spawn(move || {
        let _ = done.send(act());
    });
    result.recv_timeout(PATIENCE).unwrap_or_else(|error| panic!("{what}: {error}"))
}

/// Open descriptors of this process.
#[cfg(target_os = "linux")]
pub(crate) fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Open handles of this process: the numbers below a bound that no new handle gets. The system
/// gives those that are free before it makes more of them.
#[cfg(windows)]
pub(crate) fn descriptors() -> usize {
    use std::os::windows::io::AsRawHandle;
    const BOUND: usize = 2048;
    let open = || std::fs::File::open("NUL").unwrap();
    let number = |file: &std::fs::File| file.as_raw_handle().addr() / 4; // they go up by four
    let mut fill = Vec::new();
    for _ in 0..2 * BOUND {
        fill.push(open());
        if fill.last().is_some_and(|file| number(file) > BOUND) {
            break;
        }
    }
    BOUND - fill.iter().filter(|file| number(file) <= BOUND).count()
}

/// Memory of this process in KiB, which its allocator gave out and has not got back.
#[cfg(windows)]
pub(crate) fn resident_kib() -> u64 {
    let stats = super::ALLOCATOR.stats();
    (stats.bytes_allocated as u64).saturating_sub(stats.bytes_deallocated as u64) / 1024
}

/// Resident memory of this process, in KiB.
#[cfg(target_os = "linux")]
pub(crate) fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

// ---- counts

/// What handlers saw.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) opened: usize,
    pub(crate) closed: usize,
    /// Ends by the name of their reason.
    pub(crate) reasons: BTreeMap<&'static str, usize>,
    /// The last reason in words.
    pub(crate) last: String,
    /// For what a test counts besides.
    pub(crate) extra: usize,
}

impl Counts {
    /// Connections that ended for the reason of that name.
    pub(crate) fn ended(&self, name: &str) -> usize {
        let known = Snapshot::default().disconnected(name).is_some();
        assert!(known, "no reason is called {name}");
        self.reasons.get(name).copied().unwrap_or_default()
    }
}

/// Counts that can be waited for.
#[derive(Default)]
pub(crate) struct Tally {
    counts: Mutex<Counts>,
    changed: Condvar,
}

impl Tally {
    pub(crate) fn change(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }

    pub(crate) fn opened(&self) {
        self.change(|counts| counts.opened += 1);
    }

    pub(crate) fn closed(&self, closed: &Closed<'_>) {
        self.change(|counts| {
            counts.closed += 1;
            *counts.reasons.entry(closed.reason.name()).or_default() += 1;
            counts.last = closed.reason.to_string();
        });
    }

    pub(crate) fn now(&self) -> Counts {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until the counts are as `wanted`.
    pub(crate) fn wait(&self, what: &str, wanted: impl Fn(&Counts) -> bool) -> Counts {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let (counts, late) =
            self.changed.wait_timeout_while(counts, PATIENCE, |counts| !wanted(counts)).unwrap();
        assert!(!late.timed_out(), "{what}: {counts:?}");
        counts.clone()
    }
}

// ---- servers

/// The codec of most tests: a length of four bytes, at most 1 MiB.
pub(crate) fn codec() -> LengthDelimited {
    LengthDelimited::u32_be(1 << 20)
}

/// Echoes, and counts.
pub(crate) struct Echo(pub(crate) Arc<Tally>);

impl Handler for Echo {
    type Codec = LengthDelimited;

    fn on_connect(&mut self, _: &mut Ctx<'_, Self>) -> Result {
        self.0.opened();
        Ok(())
    }

    fn on_message(&mut self, cx: &mut Ctx<'_, Self>, frame: &[u8]) -> Result {
        cx.send(frame)
    }

    fn on_disconnect(self, closed: &Closed<'_>) {
        self.0.closed(closed);
    }
}

/// A listener on a port that the system chooses.
pub(crate) fn listener() -> Listener<LengthDelimited> {
    Listener::tcp("127.0.0.1:0", codec())
}

/// A server that runs, and where.
pub(crate) struct Running {
    pub(crate) server: Server,
    pub(crate) addr: SocketAddr,
    pub(crate) tally: Arc<Tally>,
}

impl Running {
    /// An echo server, with what `set_up` adds.
    pub(crate) fn echo(driver: Driver, set_up: impl FnOnce(Builder) -> Builder) -> Self {
        Self::handled(driver, listener(), set_up, Echo)
    }

    /// A server of any handler, made of the tally it counts in.
    pub(crate) fn handled<H: Handler>(
        driver: Driver,
        listener: Listener<H::Codec>,
        set_up: impl FnOnce(Builder) -> Builder,
        make: impl Fn(Arc<Tally>) -> H + Send + Sync + 'static,
    ) -> Self {
        let tally = Arc::new(Tally::default());
        let for_handlers = Arc::clone(&tally);
        let builder = Server::builder()
            .listen(listener, move |_| Ok(make(Arc::clone(&for_handlers))))
            .driver(driver.choice)
            .workers(2);
        let server = set_up(builder).start().unwrap();
        let addr = server.local_addrs()[0].socket_addr().unwrap();
        Self { server, addr, tally }
    }

    /// Stops it and waits until it has stopped.
    pub(crate) fn stop(&self, within: Duration) {
        self.server.shutdown(within);
        let server = self.server.clone();
        bounded("the server stops", move || server.wait()).unwrap();
    }
}

/// A server that served once: the system opens at the first use what it keeps.
pub(crate) fn warm_up(driver: Driver) {
    let running = Running::echo(driver, |builder| builder);
    ping(&mut connect(running.addr), b"the first");
    running.stop(Duration::ZERO);
}

// ---- peers

/// Connects; all its waits are bounded.
pub(crate) fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&addr, PATIENCE).unwrap();
    bound_waits(stream)
}

/// Connects with little room to receive.
pub(crate) fn connect_narrow(addr: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect_timeout(&addr.into(), PATIENCE).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// The same from one of the many addresses of loopback.
pub(crate) fn connect_from(from: u32, addr: SocketAddr) -> TcpStream {
    let [_, a, b, c] = from.to_be_bytes();
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let from = SocketAddr::from((Ipv4Addr::new(127, a, b, c), 0));
    socket.bind(&from.into()).unwrap();
    // Not with a timeout of its own: who is refused at once may be gone before that is looked at.
    let stream = bound_waits(socket.into());
    SockRef::from(&stream).connect(&addr.into()).unwrap();
    stream
}

fn bound_waits(stream: TcpStream) -> TcpStream {
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Closes with a reset.
pub(crate) fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
}

/// `payload` as a frame.
pub(crate) fn framed(payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes().to_vec();
    frame.extend_from_slice(payload);
    frame
}

/// Sends one frame.
pub(crate) fn send(stream: &mut TcpStream, payload: &[u8]) {
    stream.write_all(&framed(payload)).unwrap();
}

/// Receives one frame; an error at the end of the stream.
pub(crate) fn try_recv(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut len = [0; 4];
    stream.read_exact(&mut len)?;
    let mut payload = vec![0; u32::from_be_bytes(len) as usize];
    stream.read_exact(&mut payload)?;
    Ok(payload)
}

/// Receives one frame.
pub(crate) fn recv(stream: &mut TcpStream) -> Vec<u8> {
    try_recv(stream).unwrap()
}

/// Sends a frame and wants it back.
pub(crate) fn ping(stream: &mut TcpStream, payload: &[u8]) {
    send(stream, payload);
    assert!(recv(stream) == payload, "another answer than was sent");
}

/// How a stream ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ended {
    Fin,
    Reset,
}

/// Reads on to the end of the stream, which has to come. It looks again each second: under Wine a
/// receive that waits may not hear of the end of a process that was killed.
pub(crate) fn end_of(stream: &mut TcpStream) -> Ended {
    let mut waste = vec![0; 64 * 1024];
    stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let mut looks = PATIENCE.as_secs();
    loop {
        match stream.read(&mut waste) {
            Ok(0) => return Ended::Fin,
            Ok(_) => {}
            Err(error) => match error.kind() {
                io::ErrorKind::Interrupted => {}
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut if looks > 0 => looks -= 1,
                // Windows has two names for it.
                io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => {
                    return Ended::Reset;
                }
                _ => panic!("no end of stream: {error}"),
            },
        }
    }
}

/// Waits for bytes that must not come for that long.
#[cfg(target_os = "linux")]
pub(crate) fn stays_silent(stream: &mut TcpStream, span: Duration) {
    stream.set_read_timeout(Some(span)).unwrap();
    loop {
        let kind = stream.read(&mut [0; 1]).map_err(|error| error.kind());
        match kind {
            Err(io::ErrorKind::Interrupted) => {}
            Err(io::ErrorKind::WouldBlock) => break,
            other => panic!("{other:?} instead of silence"),
        }
    }
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
}

/// Random numbers, the same in each run.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound
    }
}

/// Bytes that tell where they belong.
pub(crate) fn pattern(seed: usize, len: usize) -> Vec<u8> {
    let mut random = Random(seed as u64 * 2 + 0x9e37_79b9_7f4a_7c15);
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        random.below(2);
        bytes.extend_from_slice(&random.0.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
