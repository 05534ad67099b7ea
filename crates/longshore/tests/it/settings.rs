//! Every setting with a value that it takes and one that it refuses, naming itself (R84).

use crate::net::{Probe, codec, echo};
use longshore::*;
use std::sync::mpsc::channel;
use std::time::Duration;

const YEAR: Duration = Duration::from_secs(366 * 24 * 3600);
const TOO_LONG: Duration = Duration::from_secs(366 * 24 * 3600 + 1);
const MS: Duration = Duration::from_millis(1);

#[expect(clippy::unnecessary_wraps, reason = "it is a factory")]
fn probe(_: &longshore::Peer<'_>) -> Result<Probe, Reject> {
    Ok(Probe::new(channel().0, echo()))
}

fn listener() -> Listener<LengthDelimited> {
    Listener::tcp("127.0.0.1:0", codec())
}

fn with(limits: Limits) -> Builder {
    Server::builder().listen(listener().limits(limits), probe)
}

fn with_options(change: impl FnOnce(&mut SocketOptions)) -> Builder {
    let mut options = SocketOptions::default();
    change(&mut options);
    Server::builder().listen(listener().socket_options(options), probe)
}

fn with_port(change: impl FnOnce(&mut PortConfig)) -> Builder {
    let mut port = PortConfig::default();
    change(&mut port);
    Server::builder().port(port)
}

fn keepalive(change: impl FnOnce(&mut Keepalive)) -> Builder {
    let mut keepalive = Keepalive::default();
    change(&mut keepalive);
    with_options(|options| options.keepalive = Some(keepalive))
}

#[track_caller]
fn accepts(builders: impl IntoIterator<Item = Builder>) {
    for builder in builders {
        builder.check().unwrap();
    }
}

/// The text begins with option and value, and says what may be given.
#[track_caller]
fn refuses(builder: Builder, option_and_value: &str, range: &str) {
    let text = builder.check().unwrap_err().to_string();
    let want = format!("{option_and_value}: must be {range}");
    assert!(text.starts_with(&want), "\n{text}\n  instead of\n{want}");
    // Whatever starts a server asks the same.
    assert_eq!(builder.start().unwrap_err().to_string(), text);
}

#[test]
fn workers() {
    accepts([1, 2, 1024].map(|count| Server::builder().workers(count)));
    let cores = std::thread::available_parallelism().unwrap();
    let range = format!("1 to 1024 (default: one per core, {cores} here)");
    refuses(Server::builder().workers(0), "workers = 0", &range);
    refuses(Server::builder().workers(1025), "workers = 1025", &range);
}

#[test]
fn connections() {
    accepts([1, 67_108_864].map(|count| Server::builder().connections(count)));
    for count in [0, 67_108_865] {
        let text = format!("limits.connections = {count}");
        refuses(Server::builder().connections(count), &text, "1 to 67108864 (default: ");
    }
}

#[test]
fn memory() {
    accepts([1 << 20, u64::MAX].map(|bytes| Server::builder().memory(bytes)));
    let builder = Server::builder().memory((1 << 20) - 1);
    let range = "1048576 to 18446744073709551615 (default: 268435456, or 1/4 of what the process";
    refuses(builder, "limits.memory = 1048575", range);
}

#[test]
fn drain_within() {
    accepts([Duration::ZERO, YEAR].map(|within| Server::builder().drain_within(within)));
    let builder = Server::builder().drain_within(TOO_LONG);
    refuses(builder, "drain_within = 31622401s", "at most 366 days");
}

#[test]
fn spin() {
    accepts([Duration::ZERO, MS].map(|most| Server::builder().spin(most)));
    let builder = Server::builder().spin(Duration::from_micros(1_001));
    refuses(builder, "spin (in µs) = 1001", "0 to 1000 (default: 10)");
}

#[test]
fn every() {
    accepts([MS, YEAR].map(|period| Server::builder().every(period, |_, _| {})));
    for (period, text) in
        [(Duration::ZERO, "0ns"), (Duration::from_micros(999), "999µs"), (TOO_LONG, "31622401s")]
    {
        let builder = Server::builder().every(period, |_, _| {});
        refuses(builder, &format!("every = {text}"), "1 ms to 366 days");
    }
}

#[test]
fn port_sizes() {
    accepts([1, 65_536].map(|count| with_port(|port| port.completions_max = count)));
    let builder = with_port(|port| port.completions_max = 0);
    refuses(builder, "port.completions_max = 0", "1 to 65536 (default: 1024)");
    accepts([1, 8, 32_768].map(|count| with_port(|port| port.recv_blocks = count)));
    let builder = with_port(|port| port.recv_blocks = 0);
    refuses(builder, "port.recv_blocks = 0", "1 to 32768, a power of two (default: 8)");
    let builder = with_port(|port| port.recv_blocks = 12);
    refuses(builder, "port.recv_blocks = 12", "1 to 32768, a power of two (default: 8)");
    accepts([64, 16 << 20].map(|bytes| with_port(|port| port.recv_block_bytes = bytes)));
    let builder = with_port(|port| port.recv_block_bytes = 63);
    refuses(builder, "port.recv_block_bytes = 63", "64 to 16777216 (default: 131072)");
    accepts([8, 32_768].map(|count| with_port(|port| port.submissions_max = count)));
    let builder = with_port(|port| port.submissions_max = 7);
    refuses(builder, "port.submissions_max = 7", "8 to 32768 (default: 4096)");
    accepts([with_port(|port| port.drop_deadline = YEAR)]);
    let builder = with_port(|port| port.drop_deadline = TOO_LONG);
    refuses(builder, "port.drop_deadline = 31622401s", "at most 366 days");
}

#[test]
fn limits_of_connections() {
    accepts([1, u32::MAX].map(|count| with(Limits::new().connections_per_source(count))));
    let builder = with(Limits::new().connections_per_source(0));
    refuses(builder, "limits.connections_per_source = 0", "1 to 4294967295 (default: 256)");
    accepts([true, false].map(|yes| with(Limits::new().count_loopback(yes))));
}

#[test]
fn limits_of_time() {
    type Set = fn(Limits, Duration) -> Limits;
    let all: [(&str, Set); 3] = [
        ("limits.first_byte", Limits::first_byte),
        ("limits.idle", Limits::idle),
        ("limits.write", Limits::write),
    ];
    for (option, set) in all {
        accepts([Duration::ZERO, MS, YEAR].map(|time| with(set(Limits::new(), time))));
        let builder = with(set(Limits::new(), TOO_LONG));
        refuses(builder, &format!("{option} = 31622401s"), "at most 366 days; 0 for no such");
    }
}

#[test]
fn limits_of_the_send_queue() {
    accepts([(1 << 20) + 4, 1 << 32].map(|bytes| with(Limits::new().send_queue_bytes(bytes))));
    for bytes in [0, 1023, (1 << 32) + 1] {
        let builder = with(Limits::new().send_queue_bytes(bytes));
        let text = format!("limits.send_queue_bytes = {bytes}");
        refuses(builder, &text, "1024 to 4294967296 (default: 4194304)");
    }
    accepts([0, 4 << 20].map(|bytes| with(Limits::new().send_queue_low_bytes(bytes))));
    let builder = with(Limits::new().send_queue_low_bytes((4 << 20) + 1));
    refuses(builder, "limits.send_queue_low_bytes = 4194305", "0 to 4194304 (default: 1/4 of it");
    accepts(
        [SlowReader::Disconnect, SlowReader::Refuse]
            .map(|policy| with(Limits::new().slow_reader(policy))),
    );
    accepts(
        [HalfClose::Flush, HalfClose::Close].map(|policy| with(Limits::new().half_close(policy))),
    );
}

#[test]
fn limits_of_the_linger() {
    let linger = |wait, total| {
        with(Limits::new().linger(Linger::default().wait(wait).total(total).bytes(0)))
    };
    accepts([linger(Duration::ZERO, Duration::ZERO), linger(MS, MS), linger(MS, YEAR)]);
    refuses(linger(TOO_LONG, TOO_LONG), "limits.linger.wait = 31622401s", "at most 366 days");
    refuses(linger(MS, TOO_LONG), "limits.linger.total = 31622401s", "at most 366 days");
    let text = linger(2 * MS, MS).check().unwrap_err().to_string();
    assert!(text.contains("limits.linger.total = 1ms is less than limits.linger.wait = 2ms"));
}

#[test]
fn backlog_of_a_listener() {
    let backlog = |count| Server::builder().listen(listener().backlog(count), probe);
    accepts([backlog(1), backlog(65_535)]);
    for count in [0, 65_536] {
        let text = format!("listener.backlog = {count}");
        refuses(backlog(count), &text, "1 to 65535 (default: 1024)");
    }
}

#[test]
fn options_of_sockets() {
    accepts([with_options(|options| options.keepalive = None)]);
    accepts([with_options(|options| options.nodelay = false)]);
    let second = Duration::from_secs(1);
    accepts([1, 32_767].map(|count| keepalive(|alive| alive.idle = count * second)));
    let range = "1 to 32767 (default: 60)";
    refuses(keepalive(|alive| alive.idle = 10 * MS), "keepalive.idle = 0", range);
    refuses(keepalive(|alive| alive.idle = 32_768 * second), "keepalive.idle = 32768", range);
    let builder = keepalive(|alive| alive.interval = Duration::ZERO);
    refuses(builder, "keepalive.interval = 0", "1 to 32767 (default: 15)");
    let builder = keepalive(|alive| alive.probes = 128);
    refuses(builder, "keepalive.probes = 128", "1 to 127 (default: 4)");
    accepts([with_options(|options| options.send_buf_bytes = Some(4096))]);
    let builder = with_options(|options| options.send_buf_bytes = Some(0));
    refuses(builder, "send_buf_bytes = 0", "1 to 2147483647");
    accepts([with_options(|options| options.recv_buf_bytes = Some(4096))]);
    let builder = with_options(|options| options.recv_buf_bytes = Some(u32::MAX));
    refuses(builder, "recv_buf_bytes = 4294967295", "1 to 2147483647");
    accepts([with_options(|options| options.user_timeout = None)]);
    accepts([with_options(|options| options.user_timeout = Some(YEAR / 366))]);
    let builder = with_options(|options| options.user_timeout = Some(TOO_LONG));
    refuses(builder, "user_timeout = 31622401s", "1 ms to ");
}

#[test]
fn a_codec_that_contradicts_itself_or_the_queue() {
    let server = |codec| Server::builder().listen(Listener::tcp("127.0.0.1:0", codec), probe);
    let text = server(LengthDelimited::u16_be(1 << 20)).check().unwrap_err().to_string();
    assert!(text.contains("65535") && text.contains("1048"), "{text}");
    refuses(
        server(LengthDelimited::u64_be(1 << 33)),
        "frame_bytes_max = 8589934600",
        "1 to 4294967296",
    );
    let limits = Limits::new().send_queue_bytes(4 << 20);
    let listener = Listener::tcp("127.0.0.1:0", LengthDelimited::u32_be(5 << 20)).limits(limits);
    let text = Server::builder().listen(listener, probe).check().unwrap_err().to_string();
    let wanted = "limits.send_queue_bytes = 4194304 is less than the longest frame of the codec \
                  (frame_bytes_max = 5242884), so no such frame could be sent; raise the one or \
                  lower the other";
    assert_eq!(text, wanted);
    accepts([server(LengthDelimited::u32_be(5 << 20))]); // a queue that nobody chose fits the frame
}

#[test]
fn addresses() {
    for addr in ["nonsense", "127.0.0.1", ":", ":99999", "[::1]", ""] {
        let builder = Server::builder().listen(Listener::tcp(addr, codec()), probe);
        let text = builder.check().unwrap_err().to_string();
        assert!(text.starts_with(&format!("`{addr}` is no address: ")), "{text}");
        assert!(text.ends_with("write HOST:PORT, :PORT or [v6]:PORT"), "{text}");
    }
}

#[test]
fn a_connector() {
    let connector = || Connector::tcp("127.0.0.1:1", codec());
    let backoff = |min, max| connector().reconnect(Reconnect::Backoff { min, max });
    connector().check().unwrap();
    backoff(MS, MS).check().unwrap();
    backoff(MS, YEAR).check().unwrap();
    connector().timeout(Duration::ZERO).check().unwrap();
    connector().reconnect(Reconnect::Never).check().unwrap();
    for (wrong, text) in [
        (connector().timeout(TOO_LONG), "connector.timeout = 31622401s: must be at most 366 days"),
        (backoff(MS, TOO_LONG), "connector.reconnect = 31622401s: must be at most 366 days"),
        (backoff(Duration::ZERO, MS), "connector.reconnect = 0ns to 1ms: must be a first bound"),
        (backoff(2 * MS, MS), "connector.reconnect = 2ms to 1ms: must be a first bound"),
        (
            connector().limits(Limits::new().send_queue_bytes(1)),
            "limits.send_queue_bytes = 1: must be 1024 to 4294967296",
        ),
        (
            connector().limits(Limits::new().send_queue_bytes(1024)),
            "limits.send_queue_bytes = 1024 is less than the longest frame of the codec",
        ),
        (Connector::tcp("nonsense", codec()), "`nonsense` is no address: "),
        (Connector::tcp("host:port", codec()), "`host:port` is no address: "),
    ] {
        let told = wrong.check().unwrap_err().to_string();
        assert!(told.starts_with(text), "\n{told}\n  instead of\n{text}");
    }
    let wrong = LengthDelimited::u16_be(1 << 20);
    assert!(Connector::tcp("127.0.0.1:1", wrong).check().is_err());
}

#[test]
fn a_server_that_runs_checks_connectors_too() {
    let server = Server::builder().workers(1).start().unwrap();
    let wrong = Connector::tcp("127.0.0.1:1", codec()).timeout(TOO_LONG);
    let text = server.connect(wrong, probe).unwrap_err().to_string();
    assert!(text.starts_with("connector.timeout = "), "{text}");
    server.shutdown(Duration::ZERO);
    server.wait().unwrap();
}

#[test]
fn without_listeners_it_runs_and_with_too_many_it_does_not() {
    Server::builder().check().unwrap();
    let mut builder = Server::builder();
    for _ in 0..=u16::MAX {
        builder = builder.listen(listener(), probe);
    }
    refuses(builder, "listeners = 65536", "0 to 65535");
}

#[test]
fn a_setter_sets_what_it_is_named_for_and_nothing_else() {
    let port = PortConfig::default()
        .completions_max(1)
        .recv_blocks(2)
        .recv_block_bytes(3)
        .submissions_max(4)
        .drop_deadline(5 * MS);
    let sizes =
        (port.completions_max, port.recv_blocks, port.recv_block_bytes, port.submissions_max);
    assert_eq!((sizes, port.drop_deadline), ((1, 2, 3, 4), 5 * MS));
    let keepalive = Keepalive::default().idle(6 * MS).interval(7 * MS).probes(8);
    assert_eq!((keepalive.idle, keepalive.interval, keepalive.probes), (6 * MS, 7 * MS, 8));
    let options = SocketOptions::default()
        .nodelay(false)
        .keepalive(keepalive)
        .user_timeout(9 * MS)
        .send_buf_bytes(10)
        .recv_buf_bytes(11);
    assert_eq!((options.nodelay, options.keepalive), (false, Some(keepalive)));
    assert_eq!(options.user_timeout, Some(9 * MS));
    assert_eq!((options.send_buf_bytes, options.recv_buf_bytes), (Some(10), Some(11)));
    let none = options.keepalive(None).user_timeout(None).send_buf_bytes(None).recv_buf_bytes(None);
    assert_eq!((none.keepalive, none.user_timeout), (None, None));
    assert_eq!((none.send_buf_bytes, none.recv_buf_bytes), (None, None));
    let linger = Linger::default().wait(12 * MS).total(13 * MS).bytes(14);
    assert_eq!((linger.wait, linger.total, linger.bytes), (12 * MS, 13 * MS, 14));
}

/// What was refused is told as what it was: the address, not the port of the worker.
#[test]
fn a_listener_that_its_worker_cannot_take_in_is_named() {
    let mut net = longshore::testing::Net::seed(5);
    net.world().make_trouble(longshore::testing::Trouble::Listen, 1);
    let addr = net.addr();
    let builder = Server::builder().listen(Listener::addr(addr, codec()), probe);
    let error = net.start(builder).unwrap_err().to_string();
    assert!(error.starts_with(&format!("cannot listen on {addr}: ")), "{error}");
    assert!(!error.contains("completion port"), "{error}");
}
