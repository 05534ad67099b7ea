//! System calls of the server per echoed message in steady state, counted by strace.
//!
//! The server runs in a child process under `strace -c -f`; the peer runs here, untraced. Two runs
//! that differ in the number of messages only: what they differ in is what the messages cost.

#![expect(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    reason = "what a test cannot do ends it; counts are small"
)]

use longshore::*;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Tells the child, which is this program again, that it is one, and its driver.
const CHILD: &str = "LONGSHORE_SYSCALLS_CHILD";

/// Before the address that the child prints.
const READY: &str = "listening on ";

struct Echo;

impl Handler for Echo {
    type Codec = LengthDelimited;
    fn on_message(&mut self, cx: &mut Ctx<'_, Self>, frame: &[u8]) -> Result {
        cx.send(frame)
    }
}

/// The child: serves until its input ends. Does nothing in an ordinary run.
#[test]
fn child() {
    let driver = match std::env::var(CHILD).as_deref() {
        Ok("uring") => DriverChoice::Uring,
        Ok("readiness") => DriverChoice::Readiness,
        _ => return,
    };
    let listener = Listener::tcp("127.0.0.1:0", LengthDelimited::u32_be(1024));
    let builder = Server::builder().listen(listener, |_| Ok(Echo)).workers(1).driver(driver);
    let builder = builder.spin(Duration::ZERO); // how often it looks is a matter of time
    let server = builder.start().unwrap();
    println!("\n{READY}{}", server.local_addrs()[0]);
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    server.shutdown(Duration::ZERO);
    server.wait().unwrap();
}

/// Echoes `rounds` times `depth` messages of 64 bytes.
fn echo(addr: &str, rounds: usize, depth: usize) {
    let mut peer = TcpStream::connect(addr).unwrap();
    peer.set_nodelay(true).unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut frame = 64u32.to_be_bytes().to_vec();
    frame.resize(68, 7);
    let out = frame.repeat(depth);
    let mut back = vec![0; out.len()];
    for _ in 0..rounds {
        peer.write_all(&out).unwrap();
        peer.read_exact(&mut back).unwrap();
    }
}

/// Calls by name in one run of the child; `None` if strace does not work here.
fn calls(driver: &str, rounds: usize, depth: usize) -> Option<BTreeMap<String, u64>> {
    let report = std::env::temp_dir().join(format!("longshore-strace-{}", std::process::id()));
    let mut child = Command::new("strace")
        .args(["-c", "-f", "-U", "name,calls", "-o"])
        .arg(&report)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture", "--test-threads", "1"])
        .env(CHILD, driver)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let addr = lines.find_map(|line| line.ok()?.strip_prefix(READY).map(str::to_owned));
    if let Some(addr) = &addr {
        echo(addr, rounds, depth);
    }
    drop(child.stdin.take());
    lines.for_each(drop);
    let ended = child.wait().unwrap();
    let text = std::fs::read_to_string(&report).unwrap_or_default();
    let _ = std::fs::remove_file(&report); // it may never have been made
    if addr.is_none() || !ended.success() {
        return None;
    }
    let rows = text.lines().filter_map(|line| {
        let (name, count) = line.trim().split_once(' ')?;
        Some((name.to_owned(), count.trim().parse().ok()?))
    });
    Some(rows.filter(|(name, _)| name != "total").collect())
}

/// Calls per message, and which they are.
fn cost(driver: &str, depth: usize) -> Option<(f64, String)> {
    const FEW: usize = 200;
    const MANY: usize = 1_200;
    let few = calls(driver, FEW, depth)?;
    let many = calls(driver, MANY, depth)?;
    let messages = ((MANY - FEW) * depth) as f64;
    let mut all = 0.0;
    let mut named = String::new();
    for (name, count) in many {
        let more = count as f64 - few.get(&name).copied().unwrap_or(0) as f64;
        let each = more / messages;
        if each.abs() >= 0.005 {
            all += each;
            named.extend([" ", &name, &format!(" {each:.2}")]);
        }
    }
    Some((all, named))
}

/// Generous against the odd turn without a message; the page of numbers has what was measured.
#[test]
fn a_message_costs_as_many_system_calls_as_stated() {
    for (driver, choice, depth, most) in [
        ("uring", DriverChoice::Uring, 1, 1.1),
        ("uring", DriverChoice::Uring, 16, 0.08),
        ("readiness", DriverChoice::Readiness, 1, 3.2),
        ("readiness", DriverChoice::Readiness, 16, 0.25),
    ] {
        if let Err(refused) = SystemWorld::new(choice) {
            println!("SKIPPED, NOT TESTED ON IO_URING: {refused}");
            continue;
        }
        let Some((each, named)) = cost(driver, depth) else {
            println!("SKIPPED, SYSTEM CALLS NOT COUNTED: strace is not here or may not trace");
            return;
        };
        println!("{driver}, {depth} at a time: {each:.2} a message:{named}");
        assert!(each > 0.0 && each <= most, "{driver}, {depth} at a time: {each:.2}:{named}");
    }
}
