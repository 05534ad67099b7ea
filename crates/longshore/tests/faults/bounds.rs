//! What peers can make a server hold, and for how long (R38 to R43).

use crate::child::Plan;
use crate::support::*;
use longshore::*;
use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

/// R42: who reads little at a time is not stuck, and who reads nothing is cut.
#[test]
fn r42_a_slow_reader_is_no_stalled_write() {
    on_each_driver(|driver| {
        const LEN: usize = 600_000;
        let limits = Limits::new().write(SECOND);
        let options = SocketOptions::default().send_buf_bytes(8192);
        let listener = listener().limits(limits).socket_options(options);
        let running = Running::handled(driver, listener, |builder| builder, Echo);
        let mut slow = connect_narrow(running.addr);
        let mut stuck = connect_narrow(running.addr);
        let message = pattern(1, LEN);
        send(&mut slow, &message);
        send(&mut stuck, &message);
        // 50 kB a second: 64 KiB, which are one send, take longer than the deadline.
        let begin = Instant::now();
        let mut got = vec![0; LEN + 4];
        let mut at = 0;
        while begin.elapsed() < 4 * SECOND {
            match slow.read(&mut got[at..at + 1024]) {
                Ok(0) => panic!("{}: ended after {at} bytes", driver.name),
                Ok(count) => at += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("{}: {error} after {at} bytes", driver.name),
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let counts = running.tally.now();
        assert_eq!(counts.ended("write_stalled"), 1, "{counts:?}");
        slow.read_exact(&mut got[at..]).unwrap();
        assert!(got[4..] == message, "another message than was sent");
        assert_eq!(end_of(&mut stuck), Ended::Reset);
        reached("R42", driver, format_args!("{at} bytes in 4 s at a deadline of 1 s"));
        running.stop(Duration::ZERO);
    });
}

/// A memory group of the system with a limit, which goes with it.
#[cfg(target_os = "linux")]
struct Group(std::path::PathBuf);

#[cfg(target_os = "linux")]
impl Group {
    /// `None` where nobody may make one.
    fn new(bytes: u64) -> Option<Self> {
        let name = format!("longshore-faults-{}", std::process::id());
        let path = std::path::Path::new("/sys/fs/cgroup/memory").join(name);
        std::fs::create_dir(&path).ok()?;
        let group = Self(path);
        std::fs::write(group.0.join("memory.limit_in_bytes"), bytes.to_string()).ok()?;
        Some(group)
    }

    /// How often a process in it was refused memory, and how many were ended for that.
    fn killed(&self) -> u64 {
        let text = std::fs::read_to_string(self.0.join("memory.oom_control")).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        line.and_then(|count| count.parse().ok()).unwrap_or_default()
    }

    fn peak(&self) -> u64 {
        let text = std::fs::read_to_string(self.0.join("memory.max_usage_in_bytes")).unwrap();
        text.trim().parse().unwrap()
    }
}

#[cfg(target_os = "linux")]
impl Drop for Group {
    fn drop(&mut self) {
        // The last process of it may be a moment from being gone.
        for _ in 0..1_000 {
            if std::fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Sends what the server takes at once.
#[cfg(target_os = "linux")]
fn offer(stream: &mut std::net::TcpStream, bytes: &[u8]) {
    stream.set_nonblocking(true).unwrap();
    let mut at = 0;
    while let Ok(count @ 1..) = stream.write(&bytes[at..]) {
        at += count;
    }
}

/// R13, R41, R43: torn frames of 1 MiB, readers that do not read, and 3,000 who do no harm, in a
/// container of 64 MiB. Nobody sets a limit: the default is made from the container's.
#[cfg(target_os = "linux")]
#[test]
fn r43_a_small_container_survives_what_its_peers_do() {
    on_each_driver(|driver| {
        let Some(group) = Group::new(64 << 20) else {
            return say("SKIPPED, NOT TESTED AT ALL: no memory group can be made here");
        };
        let join = format!("echo $$ > {}/cgroup.procs && exec \"$0\" \"$@\"", group.0.display());
        let mut server = Plan::new("serve", driver, &["sh", "-c", &join]).start();
        let addr = server.addr();
        let mut harmless: Vec<_> = (0..3_000).map(|_| connect(addr)).collect();
        for stream in &mut harmless {
            ping(stream, b"hello");
        }
        let mut hostile = Vec::new();
        let torn = &framed(&vec![7; 1 << 20])[..1_000_000];
        let unread = framed(&vec![7; 400_000]).repeat(4);
        for round in 0..pick(100, 1_000) {
            let mut peer = connect(addr);
            offer(&mut peer, if round % 2 == 0 { torn } else { &unread });
            hostile.push(peer);
            ping(&mut harmless[round % 3_000], b"still here");
        }
        for stream in &mut harmless {
            ping(stream, b"and still");
        }
        let held = server.counter("memory_held_back");
        let refused = server.counter("refused_memory");
        let now = server.counter("memory_bytes");
        assert!(held > 0 && now <= 17 << 20, "{}: {held} held back, {now} bytes", driver.name);
        assert_eq!(group.killed(), 0, "{}: the container ended it", driver.name);
        drop((harmless, hostile));
        let peak = group.peak() >> 20;
        reached(
            "R43",
            driver,
            format_args!(
                "64 MiB: peak {peak} MiB, {held} held back, {refused} refused, 3,000 served"
            ),
        );
        server.stop();
    });
}

/// R38: who says nothing is cut when its time is up and not before, and costs little until then.
#[test]
fn r38_silent_peers_are_cut_in_time_and_cost_little() {
    on_each_driver(|driver| {
        let count = pick(2_000, 9_000);
        let mut server = Plan::new("serve", driver, &[]).with("IDLE_MS", 3_000).start();
        let addr = server.addr();
        let mut warm: Vec<_> = (0..200).map(|_| connect(addr)).collect();
        for stream in &mut warm {
            ping(stream, b"warm");
        }
        drop(warm);
        let before: u64 = server.ask("resident").parse().unwrap();
        let begin = Instant::now();
        let mut silent: Vec<_> = (0..count).map(|_| connect(addr)).collect();
        let held: u64 = server.ask("resident").parse().unwrap();
        let each = held.saturating_sub(before) * 1024 / count as u64;
        assert!(each <= 4 * 1024, "{}: {each} bytes of each", driver.name);
        for stream in &mut silent {
            assert_eq!(end_of(stream), Ended::Fin);
        }
        assert!(begin.elapsed() >= 3 * SECOND, "{}: too early", driver.name);
        let took = begin.elapsed();
        reached(
            "R38",
            driver,
            format_args!("{count} silent: {each} bytes each, cut in {took:?} at 3 s"),
        );
        server.stop();
    });
}

/// R39: who sends a byte now and then holds its place no longer than a frame may take.
#[test]
fn r39_slow_senders_are_cut_and_nobody_else_is() {
    on_each_driver(|driver| {
        let count = pick(300, 3_000);
        let limits = Limits::new().frame(2 * SECOND).linger(Linger::default().wait(SECOND));
        let running = Running::handled(driver, listener().limits(limits), |builder| builder, Echo);
        let mut good = connect(running.addr);
        let mut slow: Vec<_> = (0..count).map(|_| connect(running.addr)).collect();
        let frame = framed(&[7; 1_000]);
        let begin = Instant::now();
        for at in 0.. {
            for stream in &mut slow {
                let _ = stream.write(&frame[at % 900..=at % 900]);
            }
            ping(&mut good, b"in between");
            let counts = running.tally.now();
            if counts.closed == count {
                assert_eq!(counts.ended("frame_timeout"), count, "{counts:?}");
                break;
            }
            assert!(begin.elapsed() < PATIENCE, "{counts:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
        assert!(begin.elapsed() >= 2 * SECOND, "{}: too early", driver.name);
        let took = begin.elapsed();
        reached(
            "R39",
            driver,
            format_args!("{count} slow senders gone in {took:?} at 2 s and 1 s"),
        );
        running.stop(Duration::ZERO);
    });
}

/// R29: some of many do not read: they alone are cut, and every message is accounted for.
#[test]
fn r29_who_does_not_read_is_cut_and_all_others_get_everything() {
    on_each_driver(|driver| {
        const MESSAGES: usize = 400;
        let count = fewer(pick(300, 5_000));
        let limits = Limits::new().send_queue_bytes((1 << 20) + 4);
        let running = Running::handled(driver, listener().limits(limits), |builder| builder, Echo);
        let mut deaf: Vec<_> = (0..3).map(|_| connect_narrow(running.addr)).collect();
        let mut fast: Vec<_> = (0..count).map(|_| connect(running.addr)).collect();
        for stream in fast.iter_mut().chain(&mut deaf) {
            ping(stream, b"hello");
        }
        let names = running.server.connections();
        let handles: Vec<_> =
            names.iter().filter_map(|info| running.server.conn::<Echo>(info.id)).collect();
        assert_eq!(handles.len(), count + 3);
        let payload = pattern(1, 16 * 1024);
        let shared = codec().to_bytes(&payload[..]).unwrap();
        let (mut queued, mut refused) = (0, 0);
        for _ in 0..MESSAGES {
            for conn in &handles {
                match conn.send_encoded(shared.clone()) {
                    Sent::Queued => queued += 1,
                    Sent::Full | Sent::Closed => refused += 1,
                    Sent::Invalid(error) => panic!("{error}"),
                }
            }
            for stream in &mut fast {
                assert!(recv(stream) == payload, "another message than was sent");
            }
        }
        assert_eq!(queued + refused, MESSAGES * (count + 3));
        let counts = running.tally.wait("they are cut", |counts| counts.closed == 3);
        assert_eq!(counts.ended("slow_reader"), 3, "{counts:?}");
        assert!(refused > 0 && queued >= MESSAGES * count, "{queued} and {refused}");
        let text = format_args!("{count} fast, 3 deaf: {queued} queued, {refused} refused");
        reached("R29", driver, text);
        running.stop(Duration::ZERO);
    });
}
