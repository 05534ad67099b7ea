//! One test body on every port: `io_uring`, readiness, and the simulated network under several seeds.
//!
//! A body gets a [`Lab`]. It starts servers in it, connects [`Peer`]s, and waits for [`Event`]s of
//! [`Probe`] handlers. Waiting is a bounded blocking receive on real ports and stepping in
//! simulation; nobody sleeps. When the body returns, the lab stops its servers and looks that
//! nothing is left over.

use longshore::testing::{self, Net, SimFile};
use longshore::*;
#[cfg(windows)]
use longshore_port::contract::wine::{NotUnderWine, run_unless_known};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

/// Longest wait on real ports, for a machine that is busy with other things.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Longest wait in simulation, in virtual time.
const VIRTUAL_PATIENCE: Duration = Duration::from_secs(1_000);

/// Waits on real ports, on a worker or in a test, until something else has come that far.
pub(crate) fn wait_until(mut done: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < until, "it does not come that far");
        std::thread::yield_now();
    }
}

/// A blocking peer on a real port; none of its waits is without an end.
pub(crate) fn connect(addr: impl ToSocketAddrs) -> TcpStream {
    let stream = TcpStream::connect(addr).expect("somebody listens");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // Wine may forget to wake a send that waits when the other end resets the connection.
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Seeds of a simulated test; many more in the long form.
pub(crate) fn seeds() -> std::ops::Range<u64> {
    0..if is_long() { 1_000 } else { 20 }
}

/// Whether the long numbers were asked for.
pub(crate) fn is_long() -> bool {
    std::env::var_os("LONGSHORE_LONG").is_some_and(|value| value == "1")
}

/// The drivers that this run is about: all, or the one in `LONGSHORE_DRIVER`.
pub(crate) fn wants(driver: &str) -> bool {
    std::env::var("LONGSHORE_DRIVER").map_or(true, |only| only == driver)
}

/// Runs `test` on `io_uring`.
#[cfg(target_os = "linux")]
pub(crate) fn on_uring(test: fn(&mut Lab)) {
    if !wants("uring") {
        return;
    }
    match SystemWorld::new(DriverChoice::Uring) {
        Ok(_) => test(&mut Lab::real(DriverChoice::Uring)),
        Err(refused) => println!("SKIPPED, NOT TESTED ON IO_URING: {refused}"),
    }
}

/// Runs `test` on readiness.
#[cfg(not(windows))]
pub(crate) fn on_readiness(test: fn(&mut Lab)) {
    if wants("readiness") {
        test(&mut Lab::real(DriverChoice::Readiness));
    }
}

#[cfg(windows)]
const NOT_UNDER_WINE: [NotUnderWine; 2] = [
    NotUnderWine {
        test: "the_way_to_a_peer_is_measured_when_asked",
        always: true,
        why: "Wine tells nothing of a link",
    },
    NotUnderWine {
        test: "the_client_sends_receives_and_sees_the_end",
        always: false,
        why: "Wine may tell a reset as the end of the stream",
    },
];

/// Runs `test` on completion ports of Windows.
#[cfg(windows)]
pub(crate) fn on_iocp(test: fn(&mut Lab)) {
    if wants("iocp") {
        run_unless_known(&NOT_UNDER_WINE, || test(&mut Lab::real(DriverChoice::Iocp)));
    }
}

/// Runs `test` on the simulated network, once for each seed.
pub(crate) fn simulated(test: fn(&mut Lab)) {
    for seed in seeds() {
        let named = NameSeed(seed);
        test(&mut Lab::simulated(seed));
        drop(named);
    }
}

/// Says which seed it was when a test fails.
struct NameSeed(u64);

impl Drop for NameSeed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("simulated with seed {}", self.0);
        }
    }
}

/// Makes of each function `name(lab: &mut Lab)` the tests `name::simulated` and one of each driver
/// that there is: `name::uring`, `name::readiness`, `name::iocp`.
macro_rules! on_every_port {
    ($($name:ident,)*) => {
        $(mod $name {
            #[test]
            #[cfg(target_os = "linux")]
            fn uring() {
                $crate::net::on_uring(super::$name);
            }
            #[test]
            #[cfg(not(windows))]
            fn readiness() {
                $crate::net::on_readiness(super::$name);
            }
            #[test]
            #[cfg(windows)]
            fn iocp() {
                $crate::net::on_iocp(super::$name);
            }
            #[test]
            fn simulated() {
                $crate::net::simulated(super::$name);
            }
        })*
    };
}
pub(crate) use on_every_port;

/// The same for what the simulated network does not have.
macro_rules! on_real_ports {
    ($($name:ident,)*) => {
        $(mod $name {
            #[test]
            #[cfg(target_os = "linux")]
            fn uring() {
                $crate::net::on_uring(super::$name);
            }
            #[test]
            #[cfg(not(windows))]
            fn readiness() {
                $crate::net::on_readiness(super::$name);
            }
            #[test]
            #[cfg(windows)]
            fn iocp() {
                $crate::net::on_iocp(super::$name);
            }
        })*
    };
}
pub(crate) use on_real_ports;

enum World {
    Real(DriverChoice),
    Simulated(Box<Net>),
}

/// Temporary files that there were.
static COUNT: AtomicU32 = AtomicU32::new(0);

/// A port, and the servers that a test runs on it.
pub(crate) struct Lab {
    world: World,
    servers: Vec<Server>,
}

impl Lab {
    pub(crate) fn real(driver: DriverChoice) -> Self {
        Self { world: World::Real(driver), servers: Vec::new() }
    }

    pub(crate) fn simulated(seed: u64) -> Self {
        Self { world: World::Simulated(Box::new(Net::seed(seed))), servers: Vec::new() }
    }

    /// The simulated network, for tests that know that it is one.
    pub(crate) fn net(&mut self) -> Option<&mut Net> {
        match &mut self.world {
            World::Real(_) => None,
            World::Simulated(net) => Some(net),
        }
    }

    pub(crate) fn is_simulated(&self) -> bool {
        matches!(self.world, World::Simulated(_))
    }

    /// An address to listen on.
    pub(crate) fn addr(&mut self) -> SocketAddr {
        match &mut self.world {
            World::Real(_) => SocketAddr::from(([127, 0, 0, 1], 0)),
            World::Simulated(net) => net.addr(),
        }
    }

    /// Starts what was set up, with one worker unless it says otherwise.
    pub(crate) fn start(&mut self, builder: Builder) -> Server {
        self.try_start(builder).expect("settings that work")
    }

    /// The same where that may fail.
    pub(crate) fn try_start(&mut self, builder: Builder) -> Result<Server> {
        let server = match &mut self.world {
            World::Real(driver) => builder.driver(*driver).start(),
            World::Simulated(net) => net.start(builder),
        }?;
        self.servers.push(server.clone());
        Ok(server)
    }

    /// Serves with one listener of probes on one worker; each connection gets a script of `script`.
    pub(crate) fn serve<S, F>(&mut self, limits: Limits, script: S) -> (Server, Events)
    where
        S: Fn() -> F + Send + Sync + 'static,
        F: FnMut(&mut Ctx<'_, Probe>, &Event) -> Result + Send + 'static,
    {
        let (told, events) = channel();
        let addr = self.addr();
        let listener = Listener::addr(addr, codec()).limits(limits);
        let factory = move |_: &longshore::Peer<'_>| Ok(Probe::new(told.clone(), script()));
        let server = self.start(Server::builder().listen(listener, factory).workers(1));
        (server, Events(events))
    }

    /// A peer of the first listener.
    pub(crate) fn connect(&mut self, server: &Server) -> Peer {
        self.connect_to(server.local_addrs()[0].socket_addr().expect("an IP address"))
    }

    pub(crate) fn connect_to(&mut self, addr: SocketAddr) -> Peer {
        let wire = match &mut self.world {
            World::Real(_) => {
                let stream = connect(addr);
                stream.set_nodelay(true).unwrap();
                Wire::Real(stream)
            }
            World::Simulated(net) => Wire::Simulated(net.connect(addr, Raw::new())),
        };
        Peer { wire, input: Vec::new(), end: None }
    }

    /// Waits for the next event.
    #[track_caller]
    pub(crate) fn next(&mut self, events: &Events) -> Event {
        self.recv(&events.0)
    }

    /// Waits for the next value of a channel.
    #[track_caller]
    pub(crate) fn recv<T>(&mut self, from: &Receiver<T>) -> T {
        match &mut self.world {
            World::Real(_) => from.recv_timeout(PATIENCE).expect("nothing came in 10 s"),
            World::Simulated(net) => {
                let mut found = None;
                net.run_until(VIRTUAL_PATIENCE, |_| {
                    found = found.take().or_else(|| from.try_recv().ok());
                    found.is_some()
                });
                found.expect("nothing came in a thousand virtual seconds")
            }
        }
    }

    /// Waits for an event that `wanted` makes something of, and forgets those before.
    #[track_caller]
    pub(crate) fn find<T>(
        &mut self,
        events: &Events,
        mut wanted: impl FnMut(Event) -> Option<T>,
    ) -> T {
        loop {
            if let Some(found) = wanted(self.next(events)) {
                return found;
            }
        }
    }

    /// Waits for the end of a connection, and forgets what came before.
    #[track_caller]
    pub(crate) fn end_of(&mut self, events: &Events) -> Ended {
        self.find(events, |event| match event {
            Event::Disconnect(ended) => Some(ended),
            _ => None,
        })
    }

    /// Waits until the peer has received `count` bytes, and takes them.
    #[track_caller]
    pub(crate) fn read(&mut self, peer: &mut Peer, count: usize) -> Vec<u8> {
        while peer.input.len() < count {
            assert!(self.more(peer), "the stream ended after {} of {count}", peer.input.len());
        }
        peer.input.drain(..count).collect()
    }

    /// The payload of the next frame.
    #[track_caller]
    pub(crate) fn hear(&mut self, peer: &mut Peer) -> Vec<u8> {
        let header = self.read(peer, 4);
        let count = u32::from_be_bytes(header.try_into().unwrap());
        self.read(peer, count as usize)
    }

    /// Everything that still comes, and how it ends.
    #[track_caller]
    pub(crate) fn read_to_end(&mut self, peer: &mut Peer) -> (Vec<u8>, End) {
        while self.more(peer) {}
        (std::mem::take(&mut peer.input), peer.end.expect("it ended"))
    }

    /// Waits for more bytes; no at the end of the stream.
    #[track_caller]
    fn more(&mut self, peer: &mut Peer) -> bool {
        if peer.end.is_some() {
            return false;
        }
        match (&mut self.world, &mut peer.wire) {
            (World::Real(_), Wire::Real(stream)) => {
                let mut bytes = vec![0; 64 * 1024];
                match stream.read(&mut bytes) {
                    Ok(0) => peer.end = Some(End::Fin),
                    Ok(count) => peer.input.extend_from_slice(&bytes[..count]),
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                        peer.end = Some(End::Reset);
                    }
                    Err(error) => panic!("no byte and no end: {error}"),
                }
            }
            (World::Simulated(net), Wire::Simulated(wire)) => {
                let mut came = Vec::new();
                wire.set_reading(true);
                let done = net.run_until(VIRTUAL_PATIENCE, |_| {
                    came.extend(wire.received_bytes());
                    !came.is_empty() || wire.is_closed()
                });
                assert!(done, "no byte and no end in a thousand virtual seconds");
                if came.is_empty() {
                    peer.end = Some(if wire.is_reset() { End::Reset } else { End::Fin });
                }
                peer.input.extend(came);
            }
            _ => unreachable!("a peer of another lab"),
        }
        peer.end.is_none()
    }

    /// A file of these bytes, and who makes it longer or shorter.
    pub(crate) fn file(&mut self, bytes: &[u8]) -> (FileSource, Box<dyn Fn(usize) + Send>) {
        if self.is_simulated() {
            let file = SimFile::new(bytes);
            let source = FileSource::of(file.handle()).unwrap();
            return (source, Box::new(move |len| file.set_len(len)));
        }
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("longshore-it-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, bytes).unwrap();
        let source = FileSource::open(&path).unwrap();
        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        std::fs::remove_file(&path).unwrap(); // what is open stays
        (source, Box::new(move |len| file.set_len(len as u64).unwrap()))
    }

    /// Lets virtual time pass; does nothing on real ports.
    pub(crate) fn pass(&mut self, span: Duration) {
        if let World::Simulated(net) = &mut self.world {
            net.run_for(span);
        }
    }

    /// Waits until something has come that far; in simulation, within that time.
    pub(crate) fn until(&mut self, within: Duration, mut done: impl FnMut() -> bool) {
        if self.is_simulated() {
            self.pass(within);
            assert!(done(), "it does not come that far");
        } else {
            wait_until(done);
        }
    }

    /// Waits until the server has stopped; in simulation, all servers.
    pub(crate) fn wait(&mut self, server: &Server) {
        match &mut self.world {
            World::Real(_) => {
                let (told, done) = channel();
                let server = server.clone();
                std::thread::spawn(move || told.send(server.wait()));
                let ended = done.recv_timeout(PATIENCE).expect("the server did not stop in 10 s");
                ended.expect("no worker died");
            }
            World::Simulated(net) => {
                assert!(
                    net.run_until(VIRTUAL_PATIENCE, |net| net.running_workers() == 0),
                    "the server did not stop"
                );
            }
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let servers = std::mem::take(&mut self.servers);
        for server in &servers {
            server.shutdown(Duration::ZERO);
        }
        for server in servers {
            self.wait(&server);
            assert_eq!(server.connection_count(), 0, "connections are left over");
            assert_eq!(server.connections(), [], "the directory has names left over");
        }
        if let World::Simulated(net) = &mut self.world {
            net.run_for(Duration::from_secs(10));
            assert_eq!(net.world().descriptors(), 0, "descriptors are left over");
        }
    }
}

/// How a stream ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    Fin,
    Reset,
}

enum Wire {
    Real(TcpStream),
    Simulated(testing::Peer<Raw>),
}

/// The other side of a connection.
pub(crate) struct Peer {
    wire: Wire,
    input: Vec<u8>,
    end: Option<End>,
}

impl Peer {
    /// Sends a frame.
    pub(crate) fn say(&mut self, payload: &[u8]) {
        self.send(&frame(payload));
    }

    /// Sends several frames at once.
    pub(crate) fn say_all<'a>(&mut self, payloads: impl IntoIterator<Item = &'a [u8]>) {
        let bytes: Vec<u8> = payloads.into_iter().flat_map(frame).collect();
        self.send(&bytes);
    }

    /// Sends bytes as they are.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        match &mut self.wire {
            Wire::Real(stream) => stream.write_all(bytes).expect("the server reads"),
            Wire::Simulated(wire) => wire.send_bytes(bytes),
        }
    }

    /// Sends, unless the server has reset the connection already.
    pub(crate) fn send_perhaps(&mut self, bytes: &[u8]) {
        match &mut self.wire {
            Wire::Real(stream) => drop(stream.write_all(bytes)),
            Wire::Simulated(wire) => wire.send_bytes(bytes),
        }
    }

    /// Sends as much as the server takes.
    pub(crate) fn offer(&mut self, bytes: &[u8]) {
        if let Wire::Real(stream) = &self.wire {
            stream.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
        }
        self.send_perhaps(bytes);
        if let Wire::Real(stream) = &self.wire {
            stream.set_write_timeout(Some(PATIENCE)).unwrap();
        }
    }

    /// Ends its stream, unless the server has reset it meanwhile.
    pub(crate) fn finish(&mut self) {
        match &mut self.wire {
            Wire::Real(stream) => match stream.shutdown(Shutdown::Write) {
                Err(error) if error.kind() == ErrorKind::NotConnected => {}
                done => done.unwrap(),
            },
            Wire::Simulated(wire) => wire.finish(),
        }
    }

    /// Its machine goes off. In simulation only.
    pub(crate) fn vanish(&mut self) {
        if let Wire::Simulated(wire) = &mut self.wire {
            wire.vanish();
        }
    }

    /// Resets the connection.
    pub(crate) fn reset(self) {
        match self.wire {
            Wire::Real(stream) => {
                socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
            }
            Wire::Simulated(mut wire) => wire.reset(),
        }
    }

    /// Reads no more, until somebody waits for what it gets.
    pub(crate) fn stop_reading(&mut self) {
        if let Wire::Simulated(wire) = &mut self.wire {
            wire.set_reading(false);
        }
    }

    /// Takes what has come, and what comes.
    pub(crate) fn go_on_reading(&mut self) {
        if let Wire::Simulated(wire) = &mut self.wire {
            wire.set_reading(true);
        }
    }

    /// How the server sees it.
    pub(crate) fn local_addr(&self) -> SocketAddr {
        match &self.wire {
            Wire::Real(stream) => stream.local_addr().unwrap(),
            Wire::Simulated(wire) => wire.local_addr(),
        }
    }
}

/// The codec of all probes.
pub(crate) fn codec() -> LengthDelimited {
    LengthDelimited::u32_be(1 << 20)
}

/// A file that lies in memory on every port.
pub(crate) fn some_file() -> FileSource {
    FileSource::of(SimFile::new(*b"a file").handle()).unwrap()
}

/// A frame of that codec.
pub(crate) fn frame(payload: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(payload.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend_from_slice(payload);
    bytes
}

/// What a probe was told.
#[derive(Debug)]
pub(crate) enum Event {
    Connect(Conn<Probe>),
    Message(Vec<u8>),
    Writable,
    Idle,
    Timer(u32),
    Sent(u64),
    File(FileSent),
    Shutdown,
    Disconnect(Ended),
}

impl Event {
    pub(crate) fn is_message(&self, payload: &[u8]) -> bool {
        matches!(self, Self::Message(frame) if frame == payload)
    }

    #[track_caller]
    pub(crate) fn conn(self) -> Conn<Probe> {
        match self {
            Self::Connect(conn) => conn,
            other => panic!("not a connect: {other:?}"),
        }
    }
}

/// What `on_disconnect` was told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Ended {
    pub(crate) id: ConnId,
    /// The name of the reason's kind.
    pub(crate) reason: &'static str,
    /// The reason in words.
    pub(crate) why: String,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) bytes_discarded: u64,
    pub(crate) messages_in: u64,
    pub(crate) messages_out: u64,
    pub(crate) tracked: Vec<(u64, bool)>,
    pub(crate) files: Vec<(FileId, bool)>,
}

impl Ended {
    pub(crate) fn of(closed: &Closed<'_>) -> Self {
        Self {
            id: closed.id,
            reason: closed.reason.name(),
            why: closed.reason.to_string(),
            bytes_in: closed.bytes_in,
            bytes_out: closed.bytes_out,
            bytes_discarded: closed.bytes_discarded,
            messages_in: closed.messages_in,
            messages_out: closed.messages_out,
            tracked: closed.tracked.iter().map(|send| (send.id, send.sent)).collect(),
            files: closed.files.iter().map(|file| (file.id, file.sent)).collect(),
        }
    }
}

/// Events of all connections of a server, in order.
pub(crate) struct Events(pub(crate) Receiver<Event>);

impl Events {
    /// What has come and was not looked at.
    pub(crate) fn rest(&self) -> Vec<Event> {
        self.0.try_iter().collect()
    }
}

type Script = Box<dyn FnMut(&mut Ctx<'_, Probe>, &Event) -> Result + Send>;

/// A handler that does what the test's script says, and tells the test of every callback: before
/// the script runs, so that the event of a callback that panics is told too.
pub(crate) struct Probe {
    told: Sender<Event>,
    script: Script,
}

impl Probe {
    pub(crate) fn new(
        told: Sender<Event>,
        script: impl FnMut(&mut Ctx<'_, Self>, &Event) -> Result + Send + 'static,
    ) -> Self {
        Self { told, script: Box::new(script) }
    }

    fn play(&mut self, cx: &mut Ctx<'_, Self>, event: Event, again: &Event) -> Result {
        let _ = self.told.send(event); // the test may be over
        (self.script)(cx, again)
    }
}

impl Handler for Probe {
    type Codec = LengthDelimited;

    fn on_connect(&mut self, cx: &mut Ctx<'_, Self>) -> Result {
        let conn = cx.conn();
        self.play(cx, Event::Connect(conn.clone()), &Event::Connect(conn))
    }

    fn on_message(&mut self, cx: &mut Ctx<'_, Self>, frame: &[u8]) -> Result {
        self.play(cx, Event::Message(frame.to_vec()), &Event::Message(frame.to_vec()))
    }

    fn on_writable(&mut self, cx: &mut Ctx<'_, Self>) -> Result {
        self.play(cx, Event::Writable, &Event::Writable)
    }

    fn on_idle(&mut self, cx: &mut Ctx<'_, Self>) -> Result {
        self.play(cx, Event::Idle, &Event::Idle)
    }

    fn on_timer(&mut self, cx: &mut Ctx<'_, Self>, Timer(key): Timer) -> Result {
        self.play(cx, Event::Timer(key), &Event::Timer(key))
    }

    fn on_sent(&mut self, cx: &mut Ctx<'_, Self>, id: u64) -> Result {
        self.play(cx, Event::Sent(id), &Event::Sent(id))
    }

    fn on_file(&mut self, cx: &mut Ctx<'_, Self>, event: FileEvent) -> Result {
        let FileEvent::Sent(sent) = event else { panic!("{event:?}") };
        self.play(cx, Event::File(sent.clone()), &Event::File(sent))
    }

    fn on_shutdown(&mut self, cx: &mut Ctx<'_, Self>) -> Result {
        self.play(cx, Event::Shutdown, &Event::Shutdown)
    }

    fn on_disconnect(self, closed: &Closed<'_>) {
        let _ = self.told.send(Event::Disconnect(Ended::of(closed)));
    }
}

/// Sends every message back, and closes at a shutdown.
pub(crate) fn echo() -> impl FnMut(&mut Ctx<'_, Probe>, &Event) -> Result + Send + 'static {
    |cx, event| match event {
        Event::Message(frame) => cx.send(frame),
        Event::Shutdown => {
            cx.close();
            Ok(())
        }
        _ => Ok(()),
    }
}
