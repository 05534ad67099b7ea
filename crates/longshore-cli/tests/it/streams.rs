//! Standard streams that are broken, full, or read by nobody: the server serves on and stops.

use crate::rig::{connect, drivers, longshore, run};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};

/// `serve` with `stderr`, and its address.
fn serve(driver: &str, stderr: Stdio, more: &[&str]) -> (Child, String) {
    let args = ["serve", "--listen", "127.0.0.1:0", "--workers", "2", "--protocol", "length"];
    let mut command = longshore(&[&args[..], &["--driver", driver, "--json"], more].concat());
    let mut child = command.stdout(Stdio::piped()).stderr(stderr).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut first).unwrap();
    let object: serde_json::Value = serde_json::from_str(&first).unwrap();
    let addr = object["listening"][0].as_str().unwrap().to_owned();
    (child, addr)
}

/// A peer whose end is worth a line of log.
fn is_cut(addr: &str) {
    let mut bad = connect(addr);
    bad.write_all(&[255; 4]).unwrap();
    assert!(!matches!(bad.read(&mut [0]), Ok(1..)), "what it said was no frame");
}

/// As many peers at once as there are workers, and more: each of them answers.
fn is_served(addr: &str) {
    let mut peers: Vec<_> = (0..4).map(|_| connect(addr)).collect();
    for peer in &mut peers {
        let mut answer = [0; 5];
        peer.write_all(&[0, 0, 0, 1, 7]).unwrap();
        peer.read_exact(&mut answer).unwrap();
        assert_eq!(answer, [0, 0, 0, 1, 7]);
    }
}

/// Drains at the first signal.
fn stops(child: &mut Child) {
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-s", "TERM", &pid]).status().unwrap().success());
    let mut rest = String::new();
    child.stdout.take().unwrap().read_to_string(&mut rest).unwrap();
    assert!(rest.contains("\"stopped\""), "{rest}");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_server_whose_stderr_has_no_reader_serves_on_and_stops() {
    for driver in drivers() {
        let (mut child, addr) = serve(&driver, Stdio::piped(), &[]);
        drop(child.stderr.take());
        is_cut(&addr);
        is_served(&addr);
        stops(&mut child);
    }
}

#[test]
fn a_server_whose_stderr_is_full_serves_on_and_stops() {
    let Ok(full) = File::create("/dev/full") else {
        println!("SKIPPED: no /dev/full");
        return;
    };
    for driver in drivers() {
        let (mut child, addr) = serve(&driver, full.try_clone().unwrap().into(), &[]);
        is_cut(&addr);
        is_served(&addr);
        stops(&mut child);
    }
}

#[test]
fn a_server_whose_stderr_nobody_reads_serves_on_and_tells_later_what_it_dropped() {
    for driver in drivers() {
        let (mut child, addr) = serve(&driver, Stdio::piped(), &["-v"]);
        // Each has a line, and together they are more than pipe and queue hold.
        for _ in 0..3_000 {
            let mut peer = connect(&addr);
            peer.write_all(&[0, 0, 0, 0]).unwrap();
            peer.read_exact(&mut [0; 4]).unwrap();
        }
        is_served(&addr);
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let told = log.find(|line| line.as_ref().unwrap().contains("lines were dropped"));
        assert!(told.is_some());
        let reader = std::thread::spawn(move || log.count());
        stops(&mut child);
        reader.join().unwrap();
    }
}

/// Writes to a pipe of the child until it is full.
#[cfg(target_os = "linux")]
fn fill(pipe: &str) {
    use std::os::unix::fs::OpenOptionsExt;
    const O_NONBLOCK: i32 = 0o4000; // source: open(2)
    let mut pipe = File::options().write(true).custom_flags(O_NONBLOCK).open(pipe).unwrap();
    while pipe.write(&[b'x'; 4096]).is_ok() {}
}

#[test]
#[cfg(target_os = "linux")]
fn a_server_whose_stdout_nobody_reads_serves_on_and_stops() {
    for driver in drivers() {
        let (mut child, addr) = serve(&driver, Stdio::null(), &[]);
        fill(&format!("/proc/{}/fd/1", child.id()));
        is_served(&addr);
        let pid = child.id().to_string();
        assert!(Command::new("kill").args(["-s", "TERM", &pid]).status().unwrap().success());
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn an_answer_that_finds_no_room_is_an_error() {
    let Ok(full) = File::create("/dev/full") else {
        println!("SKIPPED: no /dev/full");
        return;
    };
    let output = longshore(&["doctor"]).stdout(full).stderr(Stdio::piped()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.starts_with("cannot write the answer: "), "{text}");
}

#[test]
fn an_answer_that_nobody_reads_is_none() {
    let mut child = longshore(&["doctor"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), run(&["doctor"]).0);
}
