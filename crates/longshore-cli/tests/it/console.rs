//! The operator's console of `serve`: commands on standard input, and who comes and goes.

use crate::rig::{connect, drivers, has, longshore};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// `serve` with somebody who speaks to it.
struct Console {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    /// The line that says where it listens.
    listening: String,
    addr: String,
}

impl Console {
    /// In words, or in JSON where `flags` say so.
    fn start(flags: &[&str]) -> Self {
        let args = ["serve", "--listen", "127.0.0.1:0", "--workers", "2"];
        let mut command = longshore(&[&args, flags].concat());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || {
            stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        let stdin = child.stdin.take();
        let mut console =
            Self { child, stdin, lines, addr: String::new(), listening: String::new() };
        console.listening = console.until("127.0.0.1:");
        let (_, rest) = console.listening.split_once("127.0.0.1:").unwrap();
        let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
        console.addr = format!("127.0.0.1:{port}");
        if !flags.contains(&"--json") {
            // A pipe is told of no console.
            let next: Vec<_> = (0..2).map(|_| console.line()).collect();
            assert!(next[0].starts_with("try  ") && next[1].starts_with("stop  "), "{next:?}");
        }
        console
    }

    fn say(&mut self, line: impl AsRef<[u8]>) {
        let stdin = self.stdin.as_mut().unwrap();
        stdin.write_all(&[line.as_ref(), b"\n"].concat()).unwrap();
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).unwrap()
    }

    fn object(&self) -> Value {
        let object: Value = serde_json::from_str(&self.line()).unwrap();
        assert_eq!(object["v"], 1, "{object}");
        object
    }

    fn ask(&mut self, line: &str) -> String {
        self.say(line);
        self.line()
    }

    /// Reads up to a line with `part` in it.
    fn until(&self, part: &str) -> String {
        loop {
            let line = self.line();
            if line.contains(part) {
                return line;
            }
        }
    }

    /// A peer that the server has taken in, and its id. With protocol `lines`.
    fn peer(&mut self) -> (TcpStream, String) {
        let mut peer = connect(&self.addr);
        peer.write_all(b"x\n").unwrap();
        expect(&mut peer, b"x\n");
        let addr = peer.local_addr().unwrap().to_string();
        loop {
            self.say("list");
            let listed = self.until(&addr);
            self.until("connection");
            // What it said may not be counted yet.
            if listed.contains("1 message in, 1 out") {
                return (peer, listed.split_whitespace().next().unwrap().to_owned());
            }
        }
    }
}

impl Console {
    /// Reads until so many are told of as connected, left and messages, one by one or as left out. In
    /// how many lines.
    fn count_until(&self, wanted: [u64; 3]) -> u64 {
        let (mut lines, mut counts) = (0, [0; 3]);
        while counts != wanted {
            let told = self.object();
            let number = |name: &str| told[name].as_u64().unwrap();
            let more = match told["event"].as_str().unwrap() {
                "connected" => [1, 0, 0],
                "left" => [0, 1, 0],
                "message" => [0, 0, 1],
                "left_out" => ["connected_total", "left_total", "messages_total"].map(number),
                other => panic!("{other} after {counts:?}"),
            };
            for (count, more) in counts.iter_mut().zip(more) {
                *count += more;
            }
            lines += 1;
        }
        lines
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        let _ = self.child.kill(); // if a test failed before it stopped
        let _ = self.child.wait();
    }
}

fn expect(peer: &mut TcpStream, wanted: &[u8]) {
    let mut got = vec![0; wanted.len()];
    peer.read_exact(&mut got).unwrap();
    assert_eq!(got, wanted);
}

#[test]
fn the_list_has_each_connection_and_the_count() {
    for driver in drivers() {
        let mut console = Console::start(&["--protocol", "lines", "--driver", &driver]);
        assert_eq!(console.ask("list"), "nobody is connected");
        let (first, first_id) = console.peer();
        let (_second, second_id) = console.peer();
        assert_ne!(first_id, second_id);
        console.say("list");
        let line = console.line();
        let addr = first.local_addr().unwrap();
        assert!(line.starts_with(&format!("{first_id:<9}  {addr}   ")), "the eldest first: {line}");
        assert!(line.contains(" s   1 message in, 1 out   "), "{line}");
        // A ring tells of the last bytes that the kernel took with its next event.
        assert!(
            ["   0 bytes queued", "   2 bytes queued"].iter().any(|it| line.ends_with(it)),
            "{line}"
        );
        assert!(console.line().starts_with(&second_id));
        assert_eq!(console.line(), "2 connections");
    }
}

#[test]
fn a_message_reaches_the_one_it_is_for_and_all_reaches_all() {
    for driver in drivers() {
        let mut console = Console::start(&["--protocol", "lines", "--driver", &driver]);
        let (mut first, first_id) = console.peer();
        let (mut second, _) = console.peer();
        assert_eq!(
            console.ask(&format!("send {first_id}  two  words ")),
            format!("{first_id}: queued")
        );
        assert_eq!(console.ask("all everybody"), "sent to 2, refused 0, gone 0");
        expect(&mut first, b" two  words \neverybody\n");
        expect(&mut second, b"everybody\n");
    }
}

#[test]
fn all_are_those_of_all_listeners() {
    let flags = ["--protocol", "lines", "--listen", "127.0.0.1:0", "--json"];
    let mut console = Console::start(&flags);
    let listening: Value = serde_json::from_str(&console.listening).unwrap();
    let addrs = listening["listening"].as_array().unwrap();
    assert_eq!(addrs.len(), 2);
    let mut peers: Vec<_> = addrs
        .iter()
        .map(|addr| {
            let mut peer = connect(addr.as_str().unwrap());
            peer.write_all(b"x\n").unwrap();
            expect(&mut peer, b"x\n");
            peer
        })
        .collect();
    console.say("all hi");
    assert_eq!(console.object()["queued_total"], 2);
    for peer in &mut peers {
        expect(peer, b"hi\n");
    }
}

#[test]
fn a_text_is_a_message_of_the_protocol() {
    let text = "gr\u{fc}n";
    let cases: [(&str, &[u8]); 3] = [
        ("raw", "gr\u{fc}n\n".as_bytes()),
        ("lines", "gr\u{fc}n\n".as_bytes()),
        ("length", b"\0\0\0\x05gr\xc3\xbcn"),
    ];
    for (protocol, wire) in cases {
        let mut console = Console::start(&["--protocol", protocol]);
        let mut peer = connect(&console.addr);
        // It may not be there yet.
        while console.ask(&format!("all {text}")) != "sent to 1, refused 0, gone 0" {}
        expect(&mut peer, wire);
    }
}

#[test]
fn who_is_kicked_gets_what_was_sent_before_and_the_end() {
    for driver in drivers() {
        let mut console = Console::start(&["--protocol", "lines", "--driver", &driver]);
        let (mut peer, id) = console.peer();
        let (mut other, _) = console.peer();
        console.ask(&format!("send {id} good bye"));
        assert_eq!(console.ask(&format!("kick {id}")), format!("{id}: closing"));
        let mut rest = String::new();
        peer.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "good bye\n");
        drop(peer);
        other.write_all(b"still here\n").unwrap();
        expect(&mut other, b"still here\n");
        // It is gone when its place is free; until then it is told as closed.
        let gone = format!("no connection \"{id}\"; list shows who is there");
        let closed = format!("{id}: closed: it is gone, or about to go");
        loop {
            let told = console.ask(&format!("send {id} anybody?"));
            if told == gone {
                break;
            }
            assert_eq!(told, closed);
        }
    }
}

#[test]
fn the_start_of_an_id_is_enough_where_no_other_begins_so() {
    let mut console = Console::start(&["--protocol", "lines"]);
    let peers: Vec<_> = (0..17).map(|_| console.peer()).collect();
    let ids: Vec<&str> = peers.iter().map(|(_, id)| id.as_str()).collect();
    let begin_so = |start: &str| ids.iter().filter(|id| id.starts_with(start)).count();
    let several = ids.iter().map(|id| &id[..1]).find(|start| begin_so(start) > 1).unwrap();
    let told = console.ask(&format!("send {several} x"));
    assert!(told.contains(&format!("{several:?} may be ")), "{told}");
    for id in &ids {
        let short = &id[..id.len() - 1];
        let told = console.ask(&format!("send {short} x"));
        assert_eq!(told == format!("{id}: queued"), begin_so(short) == 1, "{told}");
    }
}

#[test]
fn what_is_no_command_has_one_line_that_names_help() {
    let mut console = Console::start(&["--protocol", "lines"]);
    assert_eq!(
        console.ask("dance\x1b[2J"),
        r#"no command "dance\u{1b}[2J"; help lists what there is"#
    );
    assert!(console.ask("send").ends_with("send ID TEXT"));
    assert_eq!(console.ask("kick 7-7"), "no connection \"7-7\"; list shows who is there");
    console.say("");
    console.say("help");
    for word in ["list", "send ID TEXT", "all TEXT", "send-file ID FILE", "kick ID", "help"] {
        assert!(console.line().starts_with(&format!("{word} ")));
    }
}

#[test]
fn what_is_no_message_is_refused_with_the_reason() {
    let mut console = Console::start(&["--protocol", "lines"]);
    let (mut peer, id) = console.peer();
    console.say(b"all \xff");
    assert!(console.line().starts_with("all: cannot be sent: a line is not UTF-8"));
    // The longest line of the protocol with its end is 1 MiB, and that passes.
    let longest = "x".repeat((1 << 20) - 1);
    assert_eq!(console.ask(&format!("send {id} {longest}")), format!("{id}: queued"));
    expect(&mut peer, format!("{longest}\n").as_bytes());
    let told = console.ask(&format!("send {id} {longest}x"));
    assert_eq!(told, format!("{id}: too long: frame of 1048577 bytes, limit is 1048576"));
    assert!(console.ask(&format!("all {longest}x")).contains("cannot be sent: frame of"));
}

#[test]
fn a_line_that_is_too_long_is_refused_once_and_the_next_one_is_obeyed() {
    let mut console = Console::start(&["--protocol", "lines"]);
    console.say("x".repeat(8 << 20));
    assert_eq!(console.line(), "a line has at most 1,048,832 bytes");
    assert_eq!(console.ask("list"), "nobody is connected");
}

#[test]
fn a_peer_whose_queue_is_full_is_told_and_stays() {
    let flags = ["--protocol", "lines", "--send-queue", "1MiB"];
    let mut console = Console::start(&flags);
    let (_peer, id) = console.peer();
    let text = "x".repeat(1 << 19);
    // It reads nothing, so what the system takes for it ends somewhere.
    let full = format!("{id}: full: too much waits to be sent already (--send-queue)");
    let queued = format!("{id}: queued");
    loop {
        let told = console.ask(&format!("send {id} {text}"));
        if told == full {
            break;
        }
        assert_eq!(told, queued);
    }
    assert_eq!(console.ask(&format!("all {text}")), "sent to 0, refused 1, gone 0");
    assert!(console.ask("list").starts_with(&id));
}

#[test]
fn in_json_each_answer_is_an_object() {
    let mut console = Console::start(&["--protocol", "lines", "--json"]);
    let mut peer = connect(&console.addr);
    peer.write_all(b"x\n").unwrap();
    expect(&mut peer, b"x\n");
    // What it said may not be counted yet.
    let one = loop {
        console.say("list");
        let one = console.object();
        assert_eq!(one["event"], "connection");
        let end = console.object();
        assert_eq!((&end["event"], &end["connections_total"]), (&"list".into(), &1.into()));
        if one["messages_out_total"] == 1 {
            break one;
        }
    };
    assert_eq!(one["peer"], peer.local_addr().unwrap().to_string());
    assert_eq!(["messages_in_total", "messages_out_total"].map(|name| &one[name]), [&1, &1]);
    assert!(one["queued_bytes"].as_u64().is_some_and(|bytes| bytes <= 2), "{one}");
    assert!(one["age_ms"].as_u64().is_some_and(|age| age < 30_000), "{one}");
    let id = one["id"].as_str().unwrap();
    for (line, event, field, wanted) in [
        (format!("send {id} hi"), "send", "result", Value::from("queued")),
        ("all hi".into(), "all", "queued_total", 1.into()),
        ("dance".into(), "error", "error", "no command \"dance\"; help lists what there is".into()),
        (
            "send 7-7 x".into(),
            "error",
            "error",
            "no connection \"7-7\"; list shows who is there".into(),
        ),
        (
            "help".into(),
            "help",
            "commands",
            ["list", "send ID TEXT", "all TEXT", "send-file ID FILE", "kick ID", "help"]
                .into_iter()
                .collect(),
        ),
        (format!("kick {id}"), "kick", "result", "closing".into()),
    ] {
        console.say(&line);
        let told = console.object();
        assert_eq!((&told["event"], &told[field]), (&event.into(), &wanted), "{line}");
    }
    expect(&mut peer, b"hi\nhi\n");
}

#[test]
fn in_json_who_comes_and_goes_is_told_with_v_alone() {
    let console = Console::start(&["--protocol", "length", "--json", "-v"]);
    let mut peer = connect(&console.addr);
    let came = console.object();
    assert_eq!(came["event"], "connected");
    assert_eq!(came["peer"], peer.local_addr().unwrap().to_string());
    peer.write_all(b"\0\0\0\x02hi\0\0\0\x02\x1b\xff").unwrap();
    let (text, bytes) = (console.object(), console.object());
    assert_eq!((&text["event"], &text["bytes_total"]), (&"message".into(), &2.into()));
    assert_eq!((&text["start"], &bytes["start_hex"]), (&"hi".into(), &"1bff".into()));
    drop(peer);
    let left = console.object();
    assert_eq!((&left["event"], &left["id"]), (&"left".into(), &came["id"]));
    assert_eq!(left["messages_in_total"], 2);
    assert!(["peer_closed", "peer_reset"].map(Value::from).contains(&left["reason"]), "{left}");

    let mut console = Console::start(&["--protocol", "lines", "--json"]);
    let mut peer = connect(&console.addr);
    peer.write_all(b"x\n").unwrap();
    expect(&mut peer, b"x\n");
    drop(peer);
    let mut lists = 0;
    while lists < 50 {
        console.say("list");
        let mut told = console.object();
        if told["event"] == "connection" {
            told = console.object();
        } else {
            lists += 1; // since it is gone
        }
        assert_eq!(told["event"], "list");
    }
}

#[test]
fn a_flood_of_connections_is_a_few_lines_and_a_number() {
    let mut console = Console::start(&["--protocol", "lines", "--json", "-v"]);
    let count = 300;
    for _ in 0..count {
        let mut peer = connect(&console.addr);
        peer.write_all(b"x\n").unwrap();
        expect(&mut peer, b"x\n");
    }
    let lines = console.count_until([count; 3]);
    assert!(lines < 3 * count, "{lines}");
    console.say("list");
    assert_eq!(console.object()["connections_total"], 0);
}

#[test]
fn the_end_of_standard_input_ends_nothing_but_the_commands() {
    for driver in drivers() {
        let mut console = Console::start(&["--protocol", "lines", "--driver", &driver]);
        let mut peer = connect(&console.addr);
        // The last line needs no end.
        console.stdin.as_mut().unwrap().write_all(b"list\ndance").unwrap();
        console.stdin = None;
        console.until("\"dance\"");
        peer.write_all(b"x\n").unwrap();
        expect(&mut peer, b"x\n");
        assert!(console.child.try_wait().unwrap().is_none());
    }
}

/// Its thread waits for the next line then.
#[test]
#[cfg(unix)]
fn a_console_that_is_open_keeps_no_server_from_stopping() {
    let mut console = Console::start(&["--protocol", "lines", "--json"]);
    console.say("list");
    assert_eq!(console.object()["event"], "list");
    let pid = console.child.id().to_string();
    assert!(Command::new("kill").args(["-s", "TERM", &pid]).status().unwrap().success());
    assert_eq!(console.object()["event"], "stopped");
    assert_eq!(console.child.wait().unwrap().code(), Some(0));
}

#[test]
#[cfg(unix)]
fn who_leaves_because_the_server_stops_is_told_before_its_last_line() {
    for driver in drivers() {
        let mut console =
            Console::start(&["--protocol", "lines", "--json", "-v", "--driver", &driver]);
        let count = 30;
        let peers: Vec<_> = (0..count)
            .map(|_| {
                let mut peer = connect(&console.addr);
                peer.write_all(b"x\n").unwrap();
                expect(&mut peer, b"x\n");
                peer
            })
            .collect();
        let pid = console.child.id().to_string();
        assert!(Command::new("kill").args(["-s", "TERM", &pid]).status().unwrap().success());
        for mut peer in peers {
            assert_eq!(peer.read(&mut [0]).unwrap(), 0);
        }
        console.count_until([count; 3]);
        assert_eq!(console.object()["event"], "stopped");
        assert_eq!(console.child.wait().unwrap().code(), Some(0));
    }
}

#[test]
#[cfg(unix)]
fn no_answer_comes_behind_the_last_line() {
    let mut console = Console::start(&["--protocol", "lines", "--json"]);
    let mut stdin = console.stdin.take().unwrap();
    let writer = thread::spawn(move || while stdin.write_all(b"dance\n").is_ok() {});
    assert_eq!(console.object()["event"], "error");
    let pid = console.child.id().to_string();
    assert!(Command::new("kill").args(["-s", "TERM", &pid]).status().unwrap().success());
    console.until("\"stopped\"");
    assert_eq!(console.lines.iter().next(), None);
    assert_eq!(console.child.wait().unwrap().code(), Some(0));
    writer.join().unwrap();
}

/// Answers that nobody reads stop the console, and nothing else; the last line still finds room.
#[test]
#[cfg(unix)]
fn answers_that_nobody_reads_keep_no_server_from_stopping() {
    let args = ["serve", "--listen", "127.0.0.1:0", "--protocol", "lines", "--json"];
    let mut command = longshore(&args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    stdout.read_line(&mut first).unwrap();
    let first: Value = serde_json::from_str(&first).unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // It waits soon, for who does not read the answers.
    let writer = thread::spawn(move || while stdin.write_all(b"dance\n").is_ok() {});
    let mut peer = connect(first["listening"][0].as_str().unwrap());
    for _ in 0..1_000 {
        peer.write_all(b"x\n").unwrap();
        expect(&mut peer, b"x\n");
    }
    drop(peer);
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-s", "TERM", &pid]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    drop(stdout);
    writer.join().unwrap();
}

/// Standard inputs that are none: no spinning, no words, and a server that serves.
#[test]
#[cfg(unix)]
fn a_standard_input_that_is_none_costs_at_most_one_line() {
    for input in ["< /", "<&-", "< /dev/null", "< /dev/full"] {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("exec \"$0\" \"$@\" {input}")]);
        command.arg(longshore(&[]).get_program());
        command.args(["serve", "--listen", "127.0.0.1:0", "--protocol", "lines"]);
        let mut server = crate::rig::Serving::start_as(command);
        if input == "< /" {
            let line = server.wait_for_log("cannot read commands: Is a directory");
            assert!(line.contains("the server goes on without"), "{line}");
        }
        let mut peer = connect(server.addr());
        peer.write_all(b"x\n").unwrap();
        expect(&mut peer, b"x\n");
        drop(peer);
        server.signal("TERM");
        let (code, summary, log) = server.wait();
        assert_eq!(code, Some(0), "{summary}");
        assert!(!log.contains("commands"), "{input}: {log}");
    }
}

/// Runs a promise of `console.py` on each driver.
fn on_terminal(promise: &str) {
    if !has("python3") {
        return;
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/console.py");
    for driver in drivers() {
        let program = env!("CARGO_BIN_EXE_longshore");
        let mut python = Command::new("python3");
        let output = python.args([script, program, &driver, promise]).output().unwrap();
        assert!(output.status.success(), "{driver}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
#[cfg(unix)]
fn a_terminal_shows_who_came_and_went_and_takes_commands() {
    on_terminal("comings_and_goings");
}

#[test]
#[cfg(unix)]
fn with_v_a_terminal_shows_each_message_and_nothing_twice() {
    on_terminal("messages");
}

#[test]
#[cfg(target_os = "linux")]
fn a_server_in_the_background_leaves_the_terminal_alone_until_it_comes_to_the_front() {
    on_terminal("background");
}

#[test]
#[cfg(target_os = "linux")]
fn a_server_that_is_suspended_goes_on_in_the_background() {
    on_terminal("suspended");
}

#[test]
#[cfg(unix)]
fn a_terminal_that_goes_away_ends_the_commands_alone() {
    on_terminal("hangup");
}
