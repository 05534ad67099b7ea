//! Each protocol on each driver, with clients that are not ours.

use crate::rig::{Serving, drivers, has};
use std::io::Write;
use std::process::{Command, Stdio};

/// Runs the promises of `protocol` in `echo_clients.py` against a server on each driver.
fn python(protocol: &str) {
    if !has("python3") {
        return;
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/echo_clients.py");
    for driver in drivers() {
        let server = Serving::start(&["--protocol", protocol, "--driver", &driver]);
        let port = server.port.to_string();
        let output = Command::new("python3").args([script, &port, protocol]).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{driver}: {}", text(&output.stderr));
        println!("{driver}:\n{}", text(&output.stdout));
        server.signal("TERM");
        let (code, summary, log) = server.wait();
        assert_eq!(code, Some(0), "{driver}: {summary}{log}");
    }
}

#[test]
fn raw_echo() {
    python("raw");
}

#[test]
fn lines_echo() {
    python("lines");
}

#[test]
fn length_echo() {
    python("length");
}

#[test]
fn longshore_echo() {
    python("longshore");
}

/// What a tool prints that gets `input` and then its end.
fn through(tool: &str, args: &[&str], input: &str) -> String {
    let mut command = Command::new(tool);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn netcat_gets_its_lines_back() {
    if !has("nc") {
        return;
    }
    let help = Command::new("nc").arg("-h").output().unwrap();
    let help = String::from_utf8_lossy(&[help.stdout, help.stderr].concat()).into_owned();
    // The flavours differ in how they half-close at the end of the input.
    let half_close: &[&str] = if help.contains("-N") { &["-N"] } else { &["-q", "5"] };
    for driver in drivers() {
        let server = Serving::start(&["--protocol", "lines", "--driver", &driver]);
        let port = server.port.to_string();
        let args = [half_close, &["127.0.0.1", &port]].concat();
        assert_eq!(through("nc", &args, "hello\nworld\n"), "hello\nworld\n", "{driver}");
    }
}

#[test]
fn socat_gets_its_bytes_back() {
    if !has("socat") {
        return;
    }
    for driver in drivers() {
        let server = Serving::start(&["--protocol", "raw", "--driver", &driver]);
        let to = format!("TCP:{}", server.addr());
        assert_eq!(through("socat", &["-t", "10", "-", &to], "no frames"), "no frames", "{driver}");
    }
}
