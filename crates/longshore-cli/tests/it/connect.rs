//! The client, in a pipe and at a terminal.

use crate::rig::{Serving, has, longshore, run, run_with_input};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;
use std::thread;

#[test]
fn piped_lines_come_back_in_every_protocol() {
    for protocol in ["longshore", "raw", "lines", "length"] {
        let server = Serving::start(&["--protocol", protocol]);
        let args = ["connect", &server.addr(), "--protocol", protocol];
        let lines: Vec<_> = (0..20_000).map(|number| format!("line {number}\n")).collect();
        let input = lines.concat();
        let (code, output, error) = run_with_input(&args, input.as_bytes());
        assert_eq!((code, &error[..]), (Some(0), ""), "{protocol}");
        assert!(output == input, "{protocol}: {} bytes", output.len());
    }
}

#[test]
fn json_has_an_object_for_each_answer() {
    let server = Serving::start(&[]);
    let (code, output, _) = run_with_input(&["connect", &server.addr(), "--json"], b"hi\n");
    let wanted = "{\"bytes_total\":2,\"event\":\"reply\",\"text\":\"hi\",\"v\":1}\n";
    assert_eq!((code, &output[..]), (Some(0), wanted));
}

#[test]
fn an_empty_input_is_no_error() {
    let server = Serving::start(&[]);
    assert_eq!(run(&["connect", &server.addr()]), (Some(0), String::new(), String::new()));
}

#[test]
fn what_cannot_be_sent_is_named_by_its_number() {
    let server = Serving::start(&[]);
    let (code, _, error) = run_with_input(&["connect", &server.addr()], b"good\n\xff\n");
    assert_eq!(code, Some(2));
    assert!(error.starts_with("message 2 cannot be sent: a line is not UTF-8"), "{error}");
}

#[test]
#[cfg(unix)]
fn an_input_that_cannot_be_read_is_said() {
    let server = Serving::start(&[]);
    let folder = std::fs::File::open("/").unwrap();
    let output = longshore(&["connect", &server.addr()]).stdin(folder).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(error.contains("cannot read standard input: Is a directory"), "{error}");
}

/// Where a peer listens that reads a little, says `answer`, and then nothing more.
fn foreign_server(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        let (mut peer, _) = listener.accept().unwrap();
        let mut input = [0; 4096];
        let _ = peer.read(&mut input);
        // In two pieces, so that the first line does not come whole.
        let (head, tail) = answer.split_at(answer.len().min(3));
        peer.write_all(head).and_then(|()| peer.write_all(tail)).unwrap();
        loop {
            thread::park(); // the connection stays open
        }
    });
    addr
}

#[test]
fn a_web_server_is_recognised() {
    let addr = foreign_server(b"HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\n");
    let (code, _, error) = run_with_input(&["connect", &addr], b"hello\n");
    let wanted = format!(
        "{addr} answered \"HTTP/1.1 400 Bad Request\": that is a web server, not a longshore one; \
         is the port right?\n"
    );
    assert_eq!((code, error), (Some(3), wanted));
}

#[test]
fn another_protocol_is_recognised() {
    let addr = foreign_server(b"SSH-2.0-OpenSSH\r\n");
    let (code, _, error) = run_with_input(&["connect", &addr], b"hello\n");
    assert_eq!(code, Some(3));
    assert!(error.starts_with(&format!("{addr}: not the longshore protocol: \"S")), "{error}");
    assert!(error.ends_with("are port and --protocol right?\n"), "{error}");
}

#[test]
fn a_server_that_refuses_us_is_named() {
    let server = Serving::start(&["--protocol", "longshore"]);
    let addr = server.addr();
    let (code, _, error) =
        run_with_input(&["connect", &addr, "--protocol", "lines"], b"GET / HTTP/1.1\n");
    assert_eq!(code, Some(4));
    assert!(error.starts_with(&addr), "{error}");
}

#[test]
fn a_server_that_says_nothing_is_not_waited_for_for_ever() {
    let addr = foreign_server(b"");
    let args = ["connect", &addr, "--protocol", "raw", "--wait", "50ms"];
    let (code, _, error) = run_with_input(&args, b"hello\n");
    let wanted = format!("{addr} did not answer within 50ms (--wait)\n");
    assert_eq!((code, error), (Some(5), wanted));
}

#[test]
fn nobody_there_is_said() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    drop(listener);
    let (code, _, error) = run(&["connect", &addr]);
    let wanted =
        format!("cannot connect to {addr}: nobody listens there; is the server running?\n");
    assert_eq!((code, error), (Some(3), wanted));
}

#[test]
fn an_address_without_a_port_is_refused() {
    for (addr, why) in [("localhost", "it has no port"), (":x", "the port is a number")] {
        let (code, _, error) = run(&["connect", addr]);
        assert_eq!(code, Some(2));
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn a_person_gets_a_prompt_answers_and_commands() {
    if !has("python3") {
        return;
    }
    let server = Serving::start(&[]);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/terminal.py");
    let program = env!("CARGO_BIN_EXE_longshore");
    let mut python = Command::new("python3");
    let output = python.args([script, program, &server.addr()]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
