//! This test program once more, as another process: with limits, signals and faults of its own.

use super::support::{Driver, Echo, PATIENCE, Tally, codec, driver_named, resident_kib};
use longshore::*;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

/// Set in the child: what it is to do.
const ROLE: &str = "LONGSHORE_FAULTS_ROLE";

/// How to start a child.
pub(crate) struct Plan {
    command: Command,
}

impl Plan {
    /// A child in that role, under `wrapper` if there is one (a program and its arguments).
    pub(crate) fn new(role: &str, driver: Driver, wrapper: &[&str]) -> Self {
        let program = std::env::current_exe().unwrap();
        let mut command = match wrapper {
            [] => Command::new(program),
            [first, rest @ ..] => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
        };
        command.args(["--exact", "child::plays_its_role", "--nocapture"]);
        command.env(ROLE, role).env("LONGSHORE_FAULTS_DRIVER", driver.name);
        Self { command }
    }

    /// A setting that the role looks at.
    pub(crate) fn with(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        self.command.env(format!("LONGSHORE_FAULTS_{name}"), value.to_string());
        self
    }

    /// Starts it; returns when it listens.
    pub(crate) fn start(mut self) -> Child {
        let command =
            self.command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let stderr = BufReader::new(process.stderr.take().unwrap());
        let (told, says) = channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let Some(word) = line.strip_prefix('@') else { continue };
                if told.send(word.to_owned()).is_err() {
                    return;
                }
            }
        });
        let stdin = process.stdin.take();
        Child { process, stdin, says }
    }
}

/// Another process.
pub(crate) struct Child {
    pub(crate) process: std::process::Child,
    stdin: Option<ChildStdin>,
    says: Receiver<String>,
}

impl Child {
    /// What it says next.
    pub(crate) fn hear(&self) -> String {
        self.says.recv_timeout(PATIENCE).unwrap_or_else(|error| panic!("the child: {error}"))
    }

    /// Where it listens: the first thing it says.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.hear().parse().unwrap()
    }

    /// The first thing it says; `None` if it ended without a word.
    pub(crate) fn starts(&self) -> Option<String> {
        match self.says.recv_timeout(PATIENCE) {
            Ok(said) => Some(said),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("the child says nothing"),
        }
    }

    /// Asks it something.
    pub(crate) fn ask(&mut self, what: &str) -> String {
        writeln!(self.stdin.as_mut().unwrap(), "{what}").unwrap();
        self.hear()
    }

    /// One of its counters.
    pub(crate) fn counter(&mut self, name: &str) -> u64 {
        self.ask(name).parse().unwrap()
    }

    /// Sends it a signal.
    #[cfg(target_os = "linux")]
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Stops all its threads; returns when they stand still. `Signal::CONT` lets it go on.
    #[cfg(target_os = "linux")]
    pub(crate) fn stand_still(&self) {
        use rustix::process::{Pid, Signal, WaitOptions, waitpid};
        self.signal(Signal::STOP);
        let pid = Some(Pid::from_child(&self.process));
        let (_, status) = waitpid(pid, WaitOptions::UNTRACED).unwrap().unwrap();
        assert!(status.stopped());
    }

    /// Ends it in peace.
    pub(crate) fn stop(mut self) {
        self.stdin = None;
        let status = self.process.wait().unwrap();
        assert!(status.success(), "the child ended with {status}");
    }

    /// Waits for its end; says how.
    #[cfg(target_os = "linux")]
    pub(crate) fn wait(mut self) -> std::process::ExitStatus {
        self.process.wait().unwrap()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill(); // over already, when all went well
        let _ = self.process.wait();
    }
}

/// Whether strace is here, which injects faults into system calls.
#[cfg(target_os = "linux")]
pub(crate) fn has_strace() -> bool {
    let found = Command::new("strace").arg("-V").stdout(Stdio::null()).status();
    found.is_ok_and(|status| status.success())
}

fn tell(text: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "@{text}");
}

fn setting(name: &str) -> Option<String> {
    std::env::var(format!("LONGSHORE_FAULTS_{name}")).ok()
}

/// No test: what a child process runs. Without a role it has nothing to do.
#[test]
fn plays_its_role() {
    let Ok(role) = std::env::var(ROLE) else { return };
    match role.as_str() {
        "serve" => serve(),
        #[cfg(windows)]
        "handles" => {
            tell(super::support::descriptors());
            let _ = std::io::stdin().lines().count();
        }
        #[cfg(target_os = "linux")]
        "run" => run(),
        #[cfg(target_os = "linux")]
        "without a ring" => without_a_ring(),
        role => panic!("no such role: {role}"),
    }
}

/// An echo server that answers questions about itself, until its standard input ends.
fn serve() {
    drop(super::support::alone()); // for the limit of files that it raises
    #[cfg(target_os = "linux")]
    if let Some(files) = setting("FILES") {
        let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        limit.current = Some(files.parse().unwrap());
        rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
    }
    let driver = driver_named(&setting("DRIVER").unwrap());
    let mut limits = Limits::new();
    if let Some(idle) = setting("IDLE_MS") {
        let idle = Duration::from_millis(idle.parse().unwrap());
        limits = limits.idle(idle).first_byte(idle);
    }
    let tally = Arc::new(Tally::default());
    let addr = setting("ADDR").unwrap_or_else(|| "127.0.0.1:0".into());
    let ready = Server::builder()
        .listen(Listener::tcp(&addr, codec()).limits(limits).backlog(4096), move |_| {
            Ok(Echo(Arc::clone(&tally)))
        })
        .connections(15_000)
        .driver(driver.choice)
        .workers(setting("WORKERS").map_or(2, |count| count.parse().unwrap()))
        .build()
        .unwrap();
    let addr = ready.local_addrs()[0];
    let server = ready.start().unwrap();
    tell(addr);
    for line in std::io::stdin().lines().map_while(std::result::Result::ok) {
        if line == "resident" {
            tell(resident_kib());
        } else if line == "close all" {
            server.close_all();
            tell("closed");
        } else {
            let counters = server.snapshot();
            tell(counters.named().find(|(name, _)| *name == line).unwrap().1);
        }
    }
    server.shutdown(Duration::ZERO);
    server.wait().unwrap();
}

/// A log that nobody reads any more when the server begins to drain.
#[cfg(target_os = "linux")]
struct StuckLog;

#[cfg(target_os = "linux")]
impl Write for StuckLog {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        if String::from_utf8_lossy(line).contains("draining") {
            tell("the log is stuck");
            loop {
                std::thread::park();
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// An echo server as a program has it: `run`, to the signal that ends it.
#[cfg(target_os = "linux")]
fn run() {
    if setting("STUCK_LOG").is_some() {
        tracing_subscriber::fmt().with_writer(|| StuckLog).init();
    }
    let driver = driver_named(&setting("DRIVER").unwrap());
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(4096).unwrap(); // a short queue costs its clients a second each
    let socket = std::net::TcpListener::from(socket);
    let addr = socket.local_addr().unwrap();
    let running: Arc<std::sync::OnceLock<Server>> = Arc::default();
    let seen = Arc::clone(&running);
    let tally = Arc::new(Tally::default());
    let builder = Server::builder()
        .listen(Listener::from_std(socket, codec()), move |peer| {
            seen.get_or_init(|| peer.server().clone());
            Ok(Echo(Arc::clone(&tally)))
        })
        .driver(driver.choice)
        .workers(2);
    tell(addr);
    builder.run().unwrap();
    tell(running.get().unwrap().snapshot().messages_in);
}

/// What a server does that may not have a ring.
#[cfg(target_os = "linux")]
fn without_a_ring() {
    let tally = Arc::new(Tally::default());
    let listener = Listener::tcp("127.0.0.1:0", codec());
    let server =
        Server::builder().listen(listener, move |_| Ok(Echo(Arc::clone(&tally)))).start().unwrap();
    tell(server.local_addrs()[0]);
    tell(server.abilities().driver);
    tell(&server.abilities().passed_over);
    let required = Server::builder().driver(DriverChoice::Uring).start();
    tell(required.map_or_else(|error| error.to_string(), |_| "it started".into()));
    let _ = std::io::stdin().lines().count();
    server.shutdown(Duration::ZERO);
    server.wait().unwrap();
}
