//! `longshore serve`: an echo server.

use crate::args::{FileArgs, Protocol, ServeArgs};
use crate::console::{self, Source};
use crate::echo::{Echo, EchoCodec, Site, Speak};
use crate::exit::{Exit, Failure};
use crate::feed::{self, Feed};
use crate::log;
use crate::out::{self, Output, counted, grouped};
use crate::system::{self, Terminal};
use longshore::{
    Addr, Builder, ConfigError, Error, ErrorKind, FileStore, LengthDelimited, Limits, Lines,
    Linger, Listener, Longshore, Raw, Ready, Server, SlowReader, Snapshot, StartError,
};
use serde_json::{Map, Value, json};
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The port when none is given.
const PORT_DEFAULT: u16 = 7411;

/// How many ports are tried when none is given.
const PORTS_TRIED: u16 = 20;

/// Payload bytes of a frame of protocol `length`.
const LENGTH_PAYLOAD_MAX: usize = 16 << 20;

/// Bytes that may wait for a peer of protocol `length`: room for two of the longest frames.
const LENGTH_SEND_QUEUE: u64 = 32 << 20;

/// Bytes that may wait for a peer of another protocol.
const SEND_QUEUE: u64 = 4 << 20;

/// Longest message of the other protocols.
const MESSAGE_MAX: usize = 1 << 20;

pub(crate) fn run(args: &ServeArgs, out: Output) -> Result<Exit, Failure> {
    let source = Source::find();
    let (feed, lines) = feed(out).unzip();
    let store = store(args)?;
    let Bound { ready, busy, speaker } =
        bind(args, &Setting { source, feed: feed.clone(), store })?;
    let server = ready.start()?;
    server.drain_on_signals()?;
    let started = Instant::now();
    out::wait_for_nobody();
    if out.is_json() {
        out::object(started_object(&server, args));
    } else if !out.is_quiet() {
        banner(&server, args, busy, source, out);
    }
    if let Some((feed, lines)) = feed.clone().zip(lines) {
        lines.start(feed, out);
    }
    console::start(source, server.clone(), speaker, out);
    let ended = server.wait();
    log::end_patience();
    if let Some(feed) = feed {
        feed.finish();
    }
    if out.is_json() {
        out::object(stopped_object(&server.snapshot(), started.elapsed()));
    } else if !out.is_quiet() {
        summary(&server.snapshot(), started.elapsed(), out);
    }
    ended?;
    Ok(Exit::Done)
}

// ---- setting up

/// A server that has its addresses.
struct Bound {
    ready: Ready,
    /// The default port, if it was in use.
    busy: Option<u16>,
    speaker: Arc<dyn Speak>,
}

/// What the handlers are given.
struct Setting {
    source: Source,
    feed: Option<Arc<Feed>>,
    store: Option<FileStore>,
}

/// The files that it gives and takes, as the command line says.
fn store(args: &ServeArgs) -> Result<Option<FileStore>, Failure> {
    let FileArgs {
        files,
        read_only,
        overwrite,
        file_max,
        files_max,
        peer_max,
        files_count,
        keep_parts,
    } = &args.files;
    let Some(folder) = files else { return Ok(None) };
    let usage = |text: String| Failure::new(Exit::Usage, text);
    if args.protocol != Protocol::Longshore {
        let protocol = args.protocol.in_words().0;
        return Err(usage(format!("--files goes with --protocol longshore, not with {protocol}")));
    }
    let store = FileStore::open(folder)
        .map_err(|error| usage(format!("--files {}: {error}", folder.display())))?;
    let store = if *read_only { store } else { store.receive() };
    let store = if *overwrite { store.overwrite() } else { store };
    let store = set(store, *file_max, FileStore::file_bytes_max);
    let store = set(store, *files_max, FileStore::store_bytes_max);
    let peer_max = peer_max.or(files_max.map(|most| most.div_ceil(2)));
    let store = set(store, peer_max, FileStore::peer_bytes_max);
    let store = set(store, *files_count, FileStore::store_entries_max);
    Ok(Some(set(store, *keep_parts, FileStore::keep_partials)))
}

/// A person on a terminal wants to see who comes and goes, and with `-v` what they say. A program gets
/// all of it with `-v` alone.
fn feed(out: Output) -> Option<(Arc<Feed>, feed::Lines)> {
    let wanted = out.is_for_person() || out.is_json() && out.is_verbose();
    wanted.then(|| {
        let (feed, lines) = feed::new(out.is_verbose());
        (Arc::new(feed), lines)
    })
}

/// Binds where the command line says, or on the first free port from the default one on.
fn bind(args: &ServeArgs, setting: &Setting) -> Result<Bound, Failure> {
    if !args.listen.is_empty() {
        let (builder, speaker) = builder(args, &args.listen, setting);
        let ready = builder.build().map_err(explain)?;
        return Ok(Bound { ready, busy: None, speaker });
    }
    let mut port = PORT_DEFAULT;
    loop {
        let (builder, speaker) = builder(args, &[format!("127.0.0.1:{port}")], setting);
        match builder.build() {
            Ok(ready) => {
                let busy = (port != PORT_DEFAULT).then_some(PORT_DEFAULT);
                return Ok(Bound { ready, busy, speaker });
            }
            Err(error) if busy_port(&error).is_some() && port < PORT_DEFAULT + PORTS_TRIED => {
                port += 1;
            }
            Err(error) => return Err(explain(error)),
        }
    }
}

fn builder(args: &ServeArgs, listen: &[String], setting: &Setting) -> (Builder, Arc<dyn Speak>) {
    let mut builder = Server::builder().driver(args.driver.into()).drain_within(args.limits.drain);
    if let Some(count) = args.workers {
        builder = builder.workers(count);
    }
    if let Some(count) = args.limits.connections {
        builder = builder.connections(count);
    }
    if let Some(bytes) = args.limits.memory {
        builder = builder.memory(bytes);
    }
    match args.protocol {
        Protocol::Longshore => {
            let codec = Longshore::max(MESSAGE_MAX);
            let codec = if setting.store.is_some() { codec.with_files() } else { codec };
            echo_on(builder, args, listen, setting, codec)
        }
        Protocol::Raw => echo_on(builder, args, listen, setting, Raw::max(MESSAGE_MAX)),
        Protocol::Lines => echo_on(builder, args, listen, setting, Lines::max(MESSAGE_MAX)),
        Protocol::Length => {
            let codec = LengthDelimited::u32_be(LENGTH_PAYLOAD_MAX);
            echo_on(builder, args, listen, setting, codec)
        }
    }
}

fn echo_on<C: EchoCodec>(
    mut builder: Builder,
    args: &ServeArgs,
    listen: &[String],
    setting: &Setting,
    codec: C,
) -> (Builder, Arc<dyn Speak>) {
    let limits = limits(args, codec.frame_bytes_max() as u64);
    let has_operator = setting.source != Source::Nothing;
    let (feed, store) = (setting.feed.clone(), setting.store.clone());
    let site = Arc::new(Site::new(codec, has_operator, feed, store));
    for addr in listen {
        let mut listener = Listener::tcp(addr, codec).limits(limits.clone());
        if let Some(everybody) = site.everybody() {
            listener = listener.group(everybody);
        }
        let site = Arc::clone(&site);
        builder = builder.listen(listener, move |_| Ok(Echo::new(Arc::clone(&site))));
    }
    (builder, site)
}

fn limits(args: &ServeArgs, frame_bytes_max: u64) -> Limits {
    let default = if args.protocol == Protocol::Length { LENGTH_SEND_QUEUE } else { SEND_QUEUE };
    let args = &args.limits;
    let queue = args.send_queue.unwrap_or(default);
    let low = args.send_queue_low.unwrap_or_else(|| low_mark(queue, frame_bytes_max));
    let linger = set(Linger::default(), args.linger, Linger::wait);
    let linger = set(linger, args.linger_total, Linger::total);
    let linger = set(linger, args.linger_bytes, Linger::bytes);
    let limits = Limits::new()
        .slow_reader(SlowReader::Refuse)
        .send_queue_bytes(queue)
        .send_queue_low_bytes(low)
        .count_loopback(args.count_loopback)
        .linger(linger);
    let limits = set(limits, args.connections_per_source, Limits::connections_per_source);
    let limits = set(limits, args.first_byte, Limits::first_byte);
    let limits = set(limits, args.login, Limits::login);
    let limits = set(limits, args.frame, Limits::frame);
    let limits = set(limits, args.frame_rate, Limits::frame_rate);
    let limits = set(limits, args.idle, Limits::idle);
    let limits = set(limits, args.idle_of.map(Into::into), Limits::idle_of);
    let limits = set(limits, args.write, Limits::write);
    let limits = set(limits, args.recv_credit, Limits::recv_credit_bytes);
    let limits = set(limits, args.file_start, Limits::file_start);
    let limits = set(limits, args.file_stall, Limits::file_stall);
    let limits = set(limits, args.file_hold, Limits::file_hold);
    let limits = set(limits, args.file_rate, Limits::file_rate);
    let limits = set(limits, args.files_running, Limits::files_running);
    let limits = set(limits, args.files_served, Limits::files_served);
    let limits = set(limits, args.file_window, Limits::file_window_bytes);
    set(limits, args.half_close.map(Into::into), Limits::half_close)
}

/// Sets what was given.
fn set<L, T>(limits: L, value: Option<T>, set: fn(L, T) -> L) -> L {
    match value {
        Some(value) => set(limits, value),
        None => limits,
    }
}

/// Where sending goes on: the one message that waits must fit there, or it would wait once more.
fn low_mark(queue_bytes: u64, frame_bytes_max: u64) -> u64 {
    (queue_bytes / 4).min(queue_bytes.saturating_sub(frame_bytes_max))
}

/// The port of an error that says that it is in use.
fn busy_port(error: &Error) -> Option<u16> {
    match error.downcast_ref() {
        Some(StartError::Listen { addr, error }) if error.kind == ErrorKind::AddrInUse => {
            Some(addr.port())
        }
        _ => None,
    }
}

/// Adds to a failed start what this program knows better than the framework.
fn explain(error: Error) -> Failure {
    if let Some(ConfigError::Driver(refused)) = error.downcast_ref() {
        let or =
            system::remedy_of(&refused.why).map_or_else(String::new, |it| format!(", or {it}"));
        return Failure::new(Exit::Usage, format!("{refused}; use --driver auto{or}"));
    }
    let (Some(port), Some(StartError::Listen { addr, .. })) =
        (busy_port(&error), error.downcast_ref())
    else {
        return error.into();
    };
    let by = system::owner_of(port)
        .map_or_else(String::new, |owner| format!(" by {} (pid {})", owner.name, owner.pid));
    let other = SocketAddr::new(addr.ip(), port.checked_add(10).unwrap_or(PORT_DEFAULT));
    let text = format!(
        "cannot listen on {addr}: address in use{by}; stop it, or choose another: --listen {other}"
    );
    Failure::new(Exit::Unreachable, text)
}

// ---- what it says

fn banner(server: &Server, args: &ServeArgs, busy: Option<u16>, source: Source, out: Output) {
    let abilities = server.abilities();
    let version = longshore::system_version().map_or_else(String::new, |it| format!(" ({it})"));
    out::line(format_args!(
        "{}   driver {}{version}   {}",
        out.bold(concat!("longshore ", env!("CARGO_PKG_VERSION"))),
        abilities.driver,
        counted(server.workers() as u64, "worker")
    ));
    if !abilities.passed_over.is_empty() {
        out.labelled("driver", format_args!("not io_uring: {}", abilities.passed_over));
    }
    let (protocol, what) = args.protocol.in_words();
    let off = args.protocol == Protocol::Longshore && args.files.files.is_none();
    let off = if off { "; files off, give --files DIR" } else { "" };
    for addr in server.local_addrs() {
        let moved =
            busy.map_or_else(String::new, |port| format!("   port {port} is in use, see --listen"));
        out.labelled(
            "listening",
            format_args!("{addr}   protocol {protocol} ({what}{off}){moved}"),
        );
    }
    if let Some(folder) = &args.files.files {
        let takes = if args.files.read_only { "given, none taken" } else { "given and taken" };
        out.labelled("files", format_args!("{}   {takes}", folder.display()));
    }
    if let Some(addr) = server.local_addrs().first() {
        let with_files = args.files.files.is_some();
        out.labelled("try", try_line(*addr, args.protocol, with_files));
    }
    if source == Source::Terminal && system::terminal() == Terminal::Ours {
        out.labelled("console", console::WORDS);
    }
    let seconds = args.limits.drain.as_secs_f64();
    out.labelled("stop", format_args!("Ctrl-C drains for up to {seconds} s, twice stops at once"));
}

/// A command that talks to the server at `addr`.
fn try_line(addr: Addr, protocol: Protocol, with_files: bool) -> String {
    let near = addr.ip().is_none_or(|ip| ip.is_unspecified() || ip == Ipv4Addr::LOCALHOST);
    let to = match addr.port() {
        Some(port) if near => format!(":{port}"),
        _ => addr.to_string(),
    };
    match protocol {
        Protocol::Longshore if with_files => {
            format!("longshore put FILE {to}        longshore ls {to}")
        }
        Protocol::Longshore => format!("longshore connect {to}"),
        other => format!("longshore connect {to} --protocol {}", other.in_words().0),
    }
}

fn summary(snapshot: &Snapshot, after: Duration, out: Output) {
    let s = snapshot;
    out.labelled(
        "stopped",
        format_args!(
            "after {:.1} s   {}   {} in, {} out   {} bytes in, {} out",
            after.as_secs_f64(),
            counted(s.accepted, "connection"),
            counted(s.messages_in, "message"),
            grouped(s.messages_out),
            grouped(s.bytes_in),
            grouped(s.bytes_out)
        ),
    );
    let reasons: Vec<_> =
        reasons(s).map(|(name, count)| format!("{name} {}", grouped(count))).collect();
    if !reasons.is_empty() {
        out.labelled("ended", reasons.join(", "));
    }
    let refused: Vec<_> =
        refusals(s).map(|(name, count)| format!("{name} {}", grouped(count))).collect();
    if !refused.is_empty() {
        out.labelled("refused", refused.join(", "));
    }
}

/// How connections ended, and how many so.
fn reasons(snapshot: &Snapshot) -> impl Iterator<Item = (&'static str, u64)> {
    snapshot.disconnects().filter(|(_, count)| *count > 0)
}

/// What was refused, by the counters' names.
fn refusals(snapshot: &Snapshot) -> impl Iterator<Item = (&'static str, u64)> {
    snapshot.refusals().filter(|(_, count)| *count > 0)
}

fn started_object(server: &Server, args: &ServeArgs) -> Value {
    let abilities = server.abilities();
    let listening: Vec<_> = server.local_addrs().iter().map(ToString::to_string).collect();
    json!({
        "event": "listening",
        "listening": listening,
        "protocol": args.protocol.in_words().0,
        "driver": abilities.driver,
        "driver_passed_over": abilities.passed_over,
        "workers": server.workers(),
    })
}

fn stopped_object(snapshot: &Snapshot, after: Duration) -> Value {
    let counts: Map<String, Value> =
        snapshot.named().map(|(name, count)| (name.into(), count.into())).collect();
    let reasons: Map<String, Value> =
        reasons(snapshot).map(|(name, count)| (name.into(), count.into())).collect();
    json!({
        "event": "stopped",
        "after_ms": u64::try_from(after.as_millis()).unwrap_or(u64::MAX),
        "counts_total": counts,
        "ended_total": reasons,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Args, Command};
    use clap::Parser;
    use longshore::{DriverRefused, HalfClose, IdleOf};

    /// The limits of `serve` with these flags.
    fn limits_of(flags: &[&str]) -> Limits {
        let args = Args::try_parse_from([&["longshore", "serve"], flags].concat()).unwrap();
        let Command::Serve(args) = args.command else { unreachable!("it is `serve`") };
        limits(&args, MESSAGE_MAX as u64)
    }

    #[test]
    fn a_flag_sets_its_limit_and_no_other() {
        type Change = fn(Limits, Duration) -> Limits;
        let second = Duration::from_secs(1);
        let cases: [(&[&str], Change); 23] = [
            (&["--connections-per-source", "7"], |limits, _| limits.connections_per_source(7)),
            (&["--count-loopback"], |limits, _| limits.count_loopback(true)),
            (&["--first-byte", "1s"], Limits::first_byte),
            (&["--login", "1s"], Limits::login),
            (&["--frame", "1s"], Limits::frame),
            (&["--frame-rate", "2KiB"], |limits, _| limits.frame_rate(2048)),
            (&["--idle", "1s"], Limits::idle),
            (&["--idle-of", "sending"], |limits, _| limits.idle_of(IdleOf::Sending)),
            (&["--idle-of", "both"], |limits, _| limits.idle_of(IdleOf::Both)),
            (&["--write", "1s"], Limits::write),
            (&["--recv-credit", "2KiB"], |limits, _| limits.recv_credit_bytes(2048)),
            (&["--file-start", "1s"], Limits::file_start),
            (&["--file-stall", "1s"], Limits::file_stall),
            (&["--file-hold", "1s"], Limits::file_hold),
            (&["--file-rate", "2KiB"], |limits, _| limits.file_rate(2048)),
            (&["--files-running", "7"], |limits, _| limits.files_running(7)),
            (&["--files-served", "7"], |limits, _| limits.files_served(7)),
            (&["--file-window", "4MiB"], |limits, _| limits.file_window_bytes(4 << 20)),
            (&["--send-queue-low", "2KiB"], |limits, _| limits.send_queue_low_bytes(2048)),
            (&["--half-close", "close"], |limits, _| limits.half_close(HalfClose::Close)),
            (&["--linger", "1s"], |limits, wait| limits.linger(Linger::default().wait(wait))),
            (&["--linger-total", "1s"], |limits, all| limits.linger(Linger::default().total(all))),
            (&["--linger-bytes", "9"], |limits, _| limits.linger(Linger::default().bytes(9))),
        ];
        let plain = format!("{:?}", limits_of(&[]));
        for (flags, change) in cases {
            let wanted = format!("{:?}", change(limits_of(&[]), second));
            assert_eq!(format!("{:?}", limits_of(flags)), wanted, "{flags:?}");
            assert_ne!(wanted, plain, "{flags:?}");
        }
        let queue = limits_of(&["--send-queue", "8MiB"]);
        let wanted = limits_of(&[]).send_queue_bytes(8 << 20).send_queue_low_bytes(2 << 20);
        assert_eq!(format!("{queue:?}"), format!("{wanted:?}"));
    }

    #[test]
    fn a_driver_that_is_not_to_be_had_says_what_to_do() {
        let why = "io_uring_setup: not permitted (kernel.io_uring_disabled = 2, set by the \
                   administrator)";
        let refused = DriverRefused { driver: "io_uring", why: why.into() };
        let failure = explain(ConfigError::Driver(refused).into());
        let text = "driver io_uring was required and is not to be had: io_uring_setup: not \
                    permitted (kernel.io_uring_disabled = 2, set by the administrator); use \
                    --driver auto, or sysctl kernel.io_uring_disabled=0";
        assert_eq!(failure, Failure::new(Exit::Usage, text));
    }

    #[test]
    fn a_message_that_waits_fits_the_queue_at_its_low_mark() {
        for (queue, frame) in [(1024, 1024), (4 << 20, 1 << 20), (32 << 20, (16 << 20) + 4)] {
            let low = low_mark(queue, frame);
            assert!(low + frame <= queue, "{queue} {frame}");
        }
    }

    #[test]
    fn the_line_to_try_has_the_shortest_address_that_works() {
        let of = |addr: &str, protocol| {
            try_line(addr.parse::<std::net::SocketAddr>().unwrap().into(), protocol, false)
        };
        assert_eq!(of("127.0.0.1:7411", Protocol::Longshore), "longshore connect :7411");
        assert_eq!(of("[::]:80", Protocol::Raw), "longshore connect :80 --protocol raw");
        assert_eq!(of("10.0.0.1:80", Protocol::Longshore), "longshore connect 10.0.0.1:80");
    }
}
