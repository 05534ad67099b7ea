//! Start and stop of the server, and what it says about both.

use crate::rig::{Serving, connect, drivers, longshore, run};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};

#[test]
fn the_banner_names_driver_address_and_what_to_try() {
    for driver in drivers() {
        let server = Serving::start(&["--driver", &driver, "--workers", "3"]);
        let port = server.port;
        let banner = server.banner.clone();
        let (first, rest) = banner.split_once('\n').unwrap();
        let name = match &driver[..] {
            "uring" => "io_uring",
            "iocp" => "iocp",
            _ => "epoll",
        };
        let start = concat!("longshore ", env!("CARGO_PKG_VERSION"), "   driver ");
        assert!(first.starts_with(&format!("{start}{name}")), "{first}");
        assert!(first.ends_with("   3 workers"), "{first}");
        let wanted = format!(
            "listening  127.0.0.1:{port}   protocol longshore (texts and binaries; files off, give --files DIR)\n\
             try        longshore connect :{port}\n\
             stop       Ctrl-C drains for up to 30 s, twice stops at once\n"
        );
        assert_eq!(rest, wanted);
    }
}

#[test]
#[cfg(unix)]
fn sigterm_answers_what_came_and_exits_with_0() {
    for driver in drivers() {
        let mut server = Serving::start(&["--protocol", "lines", "--driver", &driver]);
        let mut peer = connect(server.addr());
        peer.write_all(b"before\n").unwrap();
        let mut answer = [0; 7];
        peer.read_exact(&mut answer).unwrap();
        server.signal("TERM");
        server.wait_for_log("draining; a second signal stops at once");
        let mut rest = Vec::new();
        peer.read_to_end(&mut rest).unwrap();
        assert_eq!((&answer, &rest[..]), (b"before\n", &b""[..]));
        drop(peer);
        let (code, summary, log) = server.wait();
        assert_eq!(code, Some(0), "{summary}{log}");
        assert!(summary.starts_with("stopped    after "), "{summary}");
        let counts = "1 connection   1 message in, 1 out   7 bytes in, 7 out\n";
        assert!(summary.contains(counts), "{summary}");
        assert!(summary.ends_with("ended      shutdown 1\n"), "{summary}");
    }
}

#[test]
#[cfg(unix)]
fn a_second_signal_stops_at_once() {
    for (signal, wanted) in [("INT", 130), ("TERM", 143)] {
        let mut server = Serving::start(&["--protocol", "raw"]);
        // It is served and does not close, so the drain has to wait for it.
        let mut peer = connect(server.addr());
        peer.write_all(b"x").unwrap();
        peer.read_exact(&mut [0]).unwrap();
        server.signal("INT");
        server.wait_for_log("draining");
        server.signal(signal);
        assert_eq!(server.wait().0, Some(wanted));
        drop(peer);
    }
}

#[test]
fn a_given_port_that_is_busy_is_an_error_that_says_who_has_it() {
    let server = Serving::start(&[]);
    let (code, _, error) = run(&["serve", "--listen", &server.addr()]);
    let other = server.port + 10;
    // Only Linux tells who.
    let by = cfg!(target_os = "linux").then(|| format!(" by longshore (pid {})", server.pid()));
    let wanted = format!(
        "cannot listen on 127.0.0.1:{}: address in use{}; stop it, or choose another: --listen \
         127.0.0.1:{other}\n",
        server.port,
        by.unwrap_or_default()
    );
    assert_eq!((code, error), (Some(3), wanted));
}

#[test]
fn a_default_port_that_is_busy_is_left_alone() {
    // Somebody else may have it already: then it is busy all the same.
    let _busy = TcpListener::bind("127.0.0.1:7411");
    let server = Serving::start_as(longshore(&["serve"]));
    assert_ne!(server.port, 7411);
    assert!(server.banner.contains("port 7411 is in use, see --listen"), "{}", server.banner);
}

#[test]
fn several_addresses_are_listened_on() {
    let server = Serving::start(&["--listen", "127.0.0.1:0"]);
    let ports = server.banner.lines().filter_map(|line| {
        let addr = line.strip_prefix("listening  ")?.split(' ').next()?;
        Some(TcpStream::connect(addr).is_ok())
    });
    assert_eq!(ports.collect::<Vec<_>>(), [true, true]);
}

#[test]
fn settings_that_cannot_work_are_named_with_value_and_range() {
    let cores = std::thread::available_parallelism().unwrap();
    let workers = format!("workers = 0: must be 1 to 1024 (default: one per core, {cores} here)\n");
    let cases: [(&[&str], &str); 10] = [
        (&["--workers", "0"], &workers),
        (
            &["--listen", "nonsense"],
            "`nonsense` is no address: it has no port; write HOST:PORT, :PORT or [v6]:PORT\n",
        ),
        (
            &["--protocol", "raw", "--send-queue", "4KiB"],
            "limits.send_queue_bytes = 4096 is less than the longest frame of the codec \
             (frame_bytes_max = 1048576), so no such frame could be sent; raise the one or lower \
             the other\n",
        ),
        (
            &["--connections-per-source", "0"],
            "limits.connections_per_source = 0: must be 1 to 4294967295 (default: 256)\n",
        ),
        (
            &["--memory", "1023KiB"],
            "limits.memory = 1047552: must be 1048576 to 18446744073709551615 (default: 268435456, or \
             1/4 of what the process may use if less)\n",
        ),
        (
            &["--login", "9000h"],
            "limits.login = 32400000s: must be at most 366 days; 0 for no such deadline (default: \
             none)\n",
        ),
        (
            &["--frame-rate", "0"],
            "limits.frame_rate = 0: must be 1 to 4294967295 (default: 8192)\n",
        ),
        (
            &["--recv-credit", "2GiB"],
            "limits.recv_credit_bytes = 2147483648: must be 1024 to 1073741824 (default: 262144)\n",
        ),
        (
            &["--send-queue-low", "5MiB"],
            "limits.send_queue_low_bytes = 5242880: must be 0 to 4194304 (default: 1/4 of it)\n",
        ),
        (
            &["--linger", "1m"],
            "limits.linger.total = 30s is less than limits.linger.wait = 60s; raise the one or \
             lower the other\n",
        ),
    ];
    for (args, wanted) in cases {
        let (code, _, error) = run(&[&["serve"], args].concat());
        assert_eq!((code, &error[..]), (Some(2), wanted));
    }
}

#[test]
fn an_address_of_another_machine_cannot_be_listened_on() {
    let (code, _, error) = run(&["serve", "--listen", "192.0.2.1:0"]);
    let wanted = "cannot listen on 192.0.2.1:0: 192.0.2.1 is not an address of this machine\n";
    assert_eq!((code, &error[..]), (Some(3), wanted));
}

/// Serves lines with `flags` to a peer that says `said`, until it is cut: what is in the log, and
/// the last line of the summary.
#[cfg(unix)]
fn cut(driver: &str, flags: &[&str], said: &[u8], part: &str) -> (String, String) {
    let args = [&["--protocol", "lines", "--driver", driver], flags].concat();
    let mut server = Serving::start(&args);
    let mut peer = connect(server.addr());
    let name = peer.local_addr().unwrap();
    let _ = peer.write_all(said); // it may be cut already
    let _ = peer.read_to_end(&mut Vec::new());
    drop(peer);
    let line = server.wait_for_log(part);
    assert!(line.contains(&format!("WARN closed {name}: ")), "{line}");
    assert!(!line.contains('\x1b'), "no colour in a pipe: {line}");
    server.signal("TERM");
    let (code, summary, _) = server.wait();
    assert_eq!(code, Some(0));
    (line, summary.lines().last().unwrap_or_default().into())
}

#[test]
#[cfg(unix)]
fn who_is_cut_has_a_line_that_names_the_rule() {
    let none = ["--first-byte", "0"];
    for driver in drivers() {
        for (flags, said, text, reason) in [
            (
                ["--first-byte", "20ms"],
                "",
                "sent nothing (limits.first_byte = 20ms",
                "first_byte_timeout",
            ),
            (
                ["--login", "20ms"],
                "half a l",
                "did not log in (limits.login = 20ms",
                "login_timeout",
            ),
            (
                ["--frame", "20ms"],
                "one\nhalf a l",
                "sends a frame too slowly (limits.frame = 20ms",
                "frame_timeout",
            ),
            (
                ["--idle", "20ms"],
                "one\n",
                "silent for too long (limits.idle = 20ms",
                "idle_timeout",
            ),
        ] {
            let flags = if said.is_empty() { flags.to_vec() } else { [flags, none].concat() };
            let (line, ended) = cut(&driver, &flags, said.as_bytes(), text);
            assert!(line.contains(flags[1]), "{line}");
            assert_eq!(ended, format!("ended      {reason} 1"));
        }
    }
}

/// It is silent from then on, and its log-in would be late before its silence is too long.
#[test]
#[cfg(unix)]
fn a_whole_message_is_a_log_in() {
    let flags = ["--login", "2s", "--idle", "2s", "--first-byte", "0"];
    let (_, ended) = cut("auto", &flags, b"one\n", "limits.");
    assert_eq!(ended, "ended      idle_timeout 1");
}

#[test]
#[cfg(unix)]
fn what_ends_when_the_time_to_stop_is_up_has_a_line_that_names_it() {
    for driver in drivers() {
        let mut server =
            Serving::start(&["--protocol", "raw", "--driver", &driver, "--drain", "20ms"]);
        let mut peer = connect(server.addr());
        peer.write_all(b"x").unwrap();
        peer.read_exact(&mut [0]).unwrap();
        server.signal("TERM"); // the peer does not end its side
        let line = server.wait_for_log("drain_within");
        assert!(line.contains("WARN") && line.contains("1 connections aborted"), "{line}");
        assert_eq!(server.wait().0, Some(0));
    }
}

#[test]
#[cfg(unix)]
fn what_a_close_gives_up_has_a_line_that_names_the_limit() {
    let flags = ["-v", "--protocol", "raw", "--send-queue", "64MiB", "--linger", "0"];
    for driver in drivers() {
        let more = ["--linger-total", "20ms", "--driver", &driver];
        let mut server = Serving::start(&[&flags[..], &more].concat());
        let mut peer = connect(server.addr());
        // More than the system takes for a peer that reads nothing.
        peer.write_all(&vec![0; 32 << 20]).unwrap();
        peer.shutdown(std::net::Shutdown::Write).unwrap();
        let line = server.wait_for_log("limits.linger.total");
        assert!(line.contains("gave up"), "{line}");
    }
}

/// Each limit of the guide's table that refuses, with a line that names it.
#[test]
#[cfg(unix)]
fn who_is_too_many_is_refused_counted_and_told_by_which_limit() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/guide/limits.md");
    let page = std::fs::read_to_string(path).unwrap();
    let rows = page.lines().filter(|line| line.contains("counter `refused_"));
    for row in rows {
        let limit = row.split('`').nth(1).unwrap();
        let (flags, counter) = match limit {
            "limits.connections" => (&["--connections", "1"][..], "refused_connections"),
            "limits.connections_per_source" => {
                (&["--connections-per-source", "1", "--count-loopback"][..], "refused_per_source")
            }
            "limits.memory" => continue, // see `tests/it/memory.rs` of the library
            other => panic!("{other}: how is it reached?"),
        };
        let mut server = Serving::start(&[&["--protocol", "raw"], flags].concat());
        let mut first = connect(server.addr());
        first.write_all(b"x").unwrap();
        first.read_exact(&mut [0]).unwrap();
        let mut second = connect(server.addr());
        assert!(!matches!(second.read(&mut [0]), Ok(1..)));
        let line = server.wait_for_log("refused");
        assert!(line.contains("1 connections") && line.contains(&format!("({limit}")), "{line}");
        drop(first);
        server.signal("INT");
        let (code, summary, _) = server.wait();
        assert_eq!(code, Some(0));
        assert!(summary.ends_with(&format!("refused    {counter} 1\n")), "{summary}");
    }
}

#[test]
#[cfg(unix)]
fn start_and_stop_are_objects_in_json() {
    let mut child = longshore(&["serve", "--listen", "127.0.0.1:0", "--json"]);
    let mut child = child.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    stdout.read_line(&mut first).unwrap();
    let first: serde_json::Value = serde_json::from_str(&first).unwrap();
    assert_eq!((&first["v"], &first["event"]), (&1.into(), &"listening".into()));
    let pid = child.id().to_string();
    assert!(Command::new("kill").arg(pid).status().unwrap().success());
    let mut last = String::new();
    stdout.read_to_string(&mut last).unwrap();
    let last: serde_json::Value = serde_json::from_str(&last).unwrap();
    assert_eq!((&last["event"], &last["counts_total"]["accepted"]), (&"stopped".into(), &0.into()));
    assert!(child.wait().unwrap().success());
}
