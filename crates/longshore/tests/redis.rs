//! The example that speaks as Redis does: in pieces on a simulated network, against hostile bytes,
//! and driven by Redis's own programs on both drivers.
#![expect(clippy::unwrap_used, reason = "what a test cannot do ends it")]
#![expect(clippy::print_stdout, reason = "whoever runs this has to see what was not tested")]

use longshore::testing::Net;
use longshore::*;
use std::process::{Command, Stdio};
use std::time::Duration;

#[expect(dead_code, reason = "main is for people")]
#[path = "../examples/redis.rs"]
mod redis;
use redis::Resp;

const SOON: Duration = Duration::from_millis(50);

/// What is answered to a stream in these pieces, and why the connection ended, if it did.
fn answers(pieces: &[&[u8]]) -> (String, &'static str) {
    let mut net = Net::seed(1);
    let addr = net.addr();
    let server = net.start(redis::redis(Listener::addr(addr, Resp)).workers(1)).unwrap();
    let mut peer = net.connect(addr, Raw::max(1 << 16));
    for piece in pieces {
        peer.send_bytes(piece);
        net.run_for(SOON);
    }
    let bytes: usize = pieces.iter().map(|piece| piece.len()).sum();
    let within = SOON * u32::try_from(200 + bytes / 500).unwrap(); // it is a slow network
    if net.run_until(within, |_| peer.is_closed()) {
        peer.finish();
        net.run_for(200 * SOON);
    }
    let ended = server.snapshot().disconnects().find(|(_, count)| *count > 0);
    (String::from_utf8(peer.received_bytes()).unwrap(), ended.map_or("", |(name, _)| name))
}

/// Each command, and its answer: but for the words of two errors that of a real server.
const DIALOGUE: [(&str, &str); 24] = [
    ("PING\r\n", "+PONG\r\n"),
    ("\r\n \n", ""),
    ("*0\r\n", ""),
    ("*1\r\n$4\r\nPING\r\n", "+PONG\r\n"),
    ("*2\r\n$4\r\nping\r\n$2\r\n\r\n\r\n", "$2\r\n\r\n\r\n"),
    ("  echo  hello \n", "$5\r\nhello\r\n"),
    ("*2\r\n$4\r\nECHO\r\n$0\r\n\r\n", "$0\r\n\r\n"),
    ("*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", "$-1\r\n"),
    ("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2\r\n41\r\n", "+OK\r\n"),
    ("*2\r\n$4\r\nIncr\r\n$1\r\nk\r\n", ":42\r\n"),
    ("GET k\r\n", "$2\r\n42\r\n"),
    ("INCR new\r\n", ":1\r\n"),
    ("SET n 9223372036854775806\r\n", "+OK\r\n"),
    ("INCR n\r\n", ":9223372036854775807\r\n"),
    ("INCR n\r\n", "-ERR increment or decrement would overflow\r\n"),
    ("SET n seven\r\n", "+OK\r\n"),
    ("INCR n\r\n", "-ERR value is not an integer or out of range\r\n"),
    ("SET n 9223372036854775808\r\n", "+OK\r\n"),
    ("INCR n\r\n", "-ERR value is not an integer or out of range\r\n"),
    ("GET\r\n", "-ERR wrong number of arguments for 'get'\r\n"),
    ("ECHO 1 2 3 4 5 6\r\n", "-ERR wrong number of arguments for 'echo'\r\n"),
    ("CONFIG GET save\r\n", "-ERR unknown command 'CONFIG'\r\n"),
    ("*1\r\n$0\r\n\r\n", "-ERR unknown command ''\r\n"),
    ("*1\r\n$2\r\n\r\n\r\n", "-ERR unknown command '\\r\\n'\r\n"),
];

#[test]
fn every_cut_of_a_stream_gives_the_same_answers() {
    let stream: String = DIALOGUE.map(|(command, _)| command).concat();
    let wanted = (DIALOGUE.map(|(_, answer)| answer).concat(), "");
    let stream = stream.as_bytes();
    for cut in 0..stream.len() {
        let (first, rest) = stream.split_at(cut);
        assert_eq!(answers(&[first, rest]), wanted, "cut at {cut}");
    }
    for len in [1, 2, 3, 5, 7] {
        let pieces: Vec<_> = stream.chunks(len).collect();
        assert_eq!(answers(&pieces), wanted, "pieces of {len}");
    }
}

#[test]
fn half_a_command_is_a_wish_for_more_and_never_for_less() {
    let command = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nvalue\r\n";
    for len in 1..command.len() {
        let Ok(Decoded::More { total }) = Resp.decode(&mut (), &command[..len]) else {
            panic!("{len} bytes");
        };
        assert!((len + 1..=command.len()).contains(&total), "{total} after {len}");
    }
    let decoder = &mut ();
    let whole = Resp.decode(decoder, command);
    assert!(matches!(whole, Ok(Decoded::Frame { used, .. }) if used == command.len()));
}

#[test]
fn hostile_bytes_end_their_connection_and_are_not_waited_for() {
    let max = Resp.frame_bytes_max();
    for (bytes, why) in [
        ("*-1\r\n", "no number up to 1024 behind *"),
        ("*\r\n", "no number up to 1024 behind *"),
        ("*1x\r\n", "no number up to 1024 behind *"),
        ("*1\rx\n", "no number up to 1024 behind *"),
        ("*111111111111111111111\n", "no number up to 1024 behind *"),
        ("*1\r\n4\r\nPING\r\n", "no number up to 1048576 behind $"),
        ("*1\r\n$-1\r\n", "no number up to 1048576 behind $"),
        ("*1\r\n$ 4\r\n", "no number up to 1048576 behind $"),
        ("*1\r\n:4\r\n", "no number up to 1048576 behind $"),
        ("*1\r\n$4\r\nPINGER\r\n", "a word is longer than it says"),
        ("*99999999999999999999\r\n", "no number up to 1024 behind *"),
        ("*1\r\n$99999999999999999999\n", "no number up to 1048576 behind $"),
        ("*1\r\n$1048577\n", "no number up to 1048576 behind $"),
        ("*1025\r\n", "no number up to 1024 behind *"),
    ] {
        let told = Resp.decode(&mut (), bytes.as_bytes()).map(|_| bytes).unwrap_err().to_string();
        assert!(told.contains(why), "{bytes:?}: {told}");
        assert_eq!(
            answers(&[b"PING\r\n", bytes.as_bytes()]),
            ("+PONG\r\n".into(), "protocol_error"),
            "{bytes:?}"
        );
    }
    // A word of its own longest length fits no command: the engine refuses what the codec asks for.
    let length = format!("*1\r\n${max}\r\n");
    assert_eq!(answers(&[length.as_bytes()]), (String::new(), "frame_too_long"));
    let endless = vec![b'x'; max + 1];
    assert_eq!(answers(&[&endless]), (String::new(), "frame_too_long"));
    let word = [b"$1023\r\n", &[b'x'; 1023][..], b"\r\n"].concat();
    let endless = [&b"*1024\r\n"[..], &word.repeat(1024)].concat();
    assert_eq!(answers(&[&endless]), (String::new(), "frame_too_long"));
    assert_eq!(answers(&[b"*1024\r\n"]).1, "", "the rest may still come");
}

/// Runs `test` against the example on each driver that is to be had, if `program` is here.
fn on_each_driver(program: &str, test: impl Fn(&str)) {
    let found = Command::new(program).arg("--version").stdout(Stdio::null()).status();
    if !found.is_ok_and(|status| status.success()) {
        println!("SKIPPED, NOT TESTED AT ALL: there is no {program}");
        return;
    }
    for driver in [DriverChoice::Uring, DriverChoice::Readiness] {
        if let Err(refused) = SystemWorld::new(driver) {
            println!("SKIPPED, NOT TESTED ON IO_URING: {refused}");
            continue;
        }
        let builder = redis::redis(Listener::tcp("127.0.0.1:0", Resp)).workers(2);
        let server = builder.driver(driver).start().unwrap();
        test(&server.local_addrs()[0].port().unwrap().to_string());
        server.shutdown(Duration::ZERO);
        server.wait().unwrap();
    }
}

/// Runs a program for at most 60 seconds; what it said.
fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new("timeout").args(["60", program]).args(args).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8(text).unwrap();
    assert!(output.status.success(), "{program} {args:?}: {}\n{text}", output.status);
    text
}

#[test]
fn redis_cli_gets_its_answers() {
    on_each_driver("redis-cli", |port| {
        let ask = |args: &[&str]| run("redis-cli", &[&["-p", port], args].concat());
        assert_eq!(ask(&["ping"]), "PONG\n");
        assert_eq!(ask(&["set", "ship", "long shore"]), "OK\n");
        assert_eq!(ask(&["get", "ship"]), "long shore\n");
        assert_eq!(ask(&["get", "nothing"]), "\n");
        assert_eq!(ask(&["incr", "count"]), "1\n");
        assert!(ask(&["incr", "ship"]).contains("ERR value is not an integer or out of range"));
        assert!(ask(&["command", "docs"]).contains("ERR unknown command 'command'"));
        assert_eq!(ask(&["-r", "50", "incr", "count"]).lines().last(), Some("51"));
    });
}

#[test]
fn redis_benchmark_has_all_its_requests_answered() {
    on_each_driver("redis-benchmark", |port| {
        let load = ["-p", port, "-P", "16", "-n", "4000", "-t", "ping,set,get,incr", "-q"];
        let told = run("redis-benchmark", &load);
        assert_eq!(told.matches("requests per second").count(), 5, "{told}");
        assert!(!told.contains("Error"), "{told}");
        let count = run("redis-cli", &["-p", port, "get", "counter:__rand_int__"]);
        assert!(count.trim().parse::<u32>().unwrap() >= 4000, "{count}");
        let large = ["-p", port, "-P", "4", "-n", "400", "-t", "set,get", "-d", "100000", "-q"];
        let told = run("redis-benchmark", &large);
        assert_eq!(told.matches("requests per second").count(), 2, "{told}");
    });
}
