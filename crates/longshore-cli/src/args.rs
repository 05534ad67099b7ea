//! The command line.

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use longshore::DriverChoice;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  longshore serve
  printf 'hello\\nworld\\n' | longshore connect :7411
  longshore doctor --json

ADDR is HOST:PORT, :PORT or [v6]:PORT. Times are 500ms, 10s, 5m; sizes 64KiB, 4MiB.";

const SERVE_EXAMPLES: &str = "\
Examples:
  longshore serve
  longshore serve --listen 127.0.0.1:0 --protocol lines
  longshore serve --driver readiness --workers 1 --idle 30s

Commands on standard input, a line each: list, send ID TEXT, all TEXT, kick ID, help. On a
terminal it says who comes and leaves, with -v each message. --json answers with an object a
line, and with -v tells connected, left and message; at most 20 a second, then how many more.";

const CONNECT_EXAMPLES: &str = "\
Examples:
  longshore connect :7411
  printf 'hello\\nworld\\n' | longshore connect :7411
  longshore connect 127.0.0.1:7411 --protocol lines --wait 500ms < messages.txt";

/// Servers and clients for TCP protocols of your own.
#[derive(Parser, Debug)]
#[command(name = "longshore", version, after_help = EXAMPLES, max_term_width = 100)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// What every command takes.
#[derive(ClapArgs, Clone, Copy, Debug)]
pub(crate) struct Common {
    /// One JSON object a line instead of words
    #[arg(long, global = true, display_order = 100)]
    pub(crate) json: bool,
    /// Say nothing but errors
    #[arg(short, long, global = true, display_order = 100)]
    pub(crate) quiet: bool,
    /// Say more; twice for everything
    #[arg(short, long, global = true, display_order = 100, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Run an echo server: sends back what it gets
    Serve(Box<ServeArgs>),
    /// Talk to a server: a line is a message
    Connect(ConnectArgs),
    /// Say what this system permits, and what should be mended
    Doctor,
    /// Print a script that completes this program's command line
    Completions(CompletionsArgs),
}

/// How the bytes of a connection are cut into messages.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Protocol {
    Longshore,
    Raw,
    Lines,
    Length,
}

impl Protocol {
    /// Its name, and what its messages are.
    pub(crate) fn in_words(self) -> (&'static str, &'static str) {
        match self {
            Self::Longshore => ("longshore", "texts and binaries"),
            Self::Raw => ("raw", "bytes as they come"),
            Self::Lines => ("lines", "lines of UTF-8"),
            Self::Length => ("length", "frames behind a 4-byte big-endian length"),
        }
    }
}

/// Which completion port.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Driver {
    Auto,
    Uring,
    Readiness,
    Iocp,
}

impl From<Driver> for DriverChoice {
    fn from(driver: Driver) -> Self {
        match driver {
            Driver::Auto => Self::Auto,
            Driver::Uring => Self::Uring,
            Driver::Readiness => Self::Readiness,
            Driver::Iocp => Self::Iocp,
        }
    }
}

#[derive(ClapArgs, Clone, Debug)]
#[command(after_help = SERVE_EXAMPLES)]
pub(crate) struct ServeArgs {
    /// Where to listen, once or more [default: 127.0.0.1:7411, or the next free port]
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Vec<String>,
    /// How bytes are cut into messages
    #[arg(long, value_enum, default_value = "longshore")]
    pub(crate) protocol: Protocol,
    /// Which completion port to take
    #[arg(long, value_enum, default_value = "auto")]
    pub(crate) driver: Driver,
    /// Threads that handle connections [default: one per core]
    #[arg(long, value_name = "N")]
    pub(crate) workers: Option<usize>,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
}

/// Whose silence is idle.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum IdleOf {
    Receiving,
    Sending,
    Both,
}

impl From<IdleOf> for longshore::IdleOf {
    fn from(whose: IdleOf) -> Self {
        match whose {
            IdleOf::Receiving => Self::Receiving,
            IdleOf::Sending => Self::Sending,
            IdleOf::Both => Self::Both,
        }
    }
}

/// What the end of a peer's stream does.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum HalfClose {
    Flush,
    Close,
}

impl From<HalfClose> for longshore::HalfClose {
    fn from(what: HalfClose) -> Self {
        match what {
            HalfClose::Flush => Self::Flush,
            HalfClose::Close => Self::Close,
        }
    }
}

/// The limits of a server. The guide has a table of them.
#[derive(ClapArgs, Clone, Debug)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitArgs {
    /// Most connections at a time [default: 10000, or what the limit of open files permits]
    #[arg(long, value_name = "N")]
    pub(crate) connections: Option<usize>,
    /// Most bytes of all connections together [default: 256MiB, or 1/4 of what there is]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) memory: Option<u64>,
    /// Most connections of one source, loopback not counted [default: 256]
    #[arg(long, value_name = "N")]
    pub(crate) connections_per_source: Option<u32>,
    /// Count loopback as a source too
    #[arg(long)]
    pub(crate) count_loopback: bool,
    /// Cut who sends nothing within this time after connecting; 0 for never [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) first_byte: Option<Duration>,
    /// Cut who has sent no whole message within this time; 0 for never [default: 0]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) login: Option<Duration>,
    /// Cut whose message takes longer than this and --frame-rate give it; 0 for never [default: 20s]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) frame: Option<Duration>,
    /// Bytes in a second that a long message has to bring [default: 8KiB]
    #[arg(long, value_name = "SIZE", value_parser = size_of_32_bits)]
    pub(crate) frame_rate: Option<u32>,
    /// Close who is silent for this time; 0 for never [default: 5m]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) idle: Option<Duration>,
    /// Whose silence that is: the peer's (receiving), ours (sending), or both [default: receiving]
    #[arg(long, value_name = "WHOSE", value_enum, hide_possible_values = true)]
    pub(crate) idle_of: Option<IdleOf>,
    /// Cut who takes no byte of what is sent within this time; 0 for never [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) write: Option<Duration>,
    /// Most bytes that are received ahead of what is answered [default: 256KiB]
    #[arg(long, value_name = "SIZE", value_parser = size_of_32_bits)]
    pub(crate) recv_credit: Option<u32>,
    /// Most bytes that wait to be sent to one peer [default: 4MiB, for length 32MiB]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) send_queue: Option<u64>,
    /// How few of them wait before a peer is read again [default: 1/4, or room for a message]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) send_queue_low: Option<u64>,
    /// When a peer ends its stream: flush what waits to be sent, or close at once [default: flush]
    #[arg(long, value_name = "WHAT", value_enum, hide_possible_values = true)]
    pub(crate) half_close: Option<HalfClose>,
    /// How long a close waits for a peer that is silent; 0 for not at all [default: 5s]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) linger: Option<Duration>,
    /// How long a close takes in all, sending included; 0 for no bound [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) linger_total: Option<Duration>,
    /// Most bytes that a close reads and discards [default: 1MiB]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) linger_bytes: Option<u64>,
    /// How long the server drains when it is told to stop
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "30s")]
    pub(crate) drain: Duration,
}

#[derive(ClapArgs, Clone, Debug)]
#[command(after_help = CONNECT_EXAMPLES)]
pub(crate) struct ConnectArgs {
    /// Where to: HOST:PORT, :PORT on this machine, [v6]:PORT
    #[arg(value_name = "ADDR", value_parser = addr)]
    pub(crate) addr: String,
    /// How bytes are cut into messages
    #[arg(long, value_enum, default_value = "longshore")]
    pub(crate) protocol: Protocol,
    /// Silence after the end of a piped input that means that all answers are in
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "2s")]
    pub(crate) wait: Duration,
}

#[derive(ClapArgs, Clone, Copy, Debug)]
pub(crate) struct CompletionsArgs {
    /// Which shell
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

/// An address that has a port; whether there is such a host is found out by connecting.
fn addr(text: &str) -> Result<String, String> {
    let port = text.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
    match port {
        Some(Ok(1..)) => Ok(text.into()),
        Some(_) => Err("the port is a number from 1 to 65535".into()),
        None => Err("it has no port; write HOST:PORT, :PORT or [v6]:PORT".into()),
    }
}

/// `500ms`, `10s`, `5m`, `2h`, or `0`.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "a time is a whole number with ms, s, m or h behind it".to_owned();
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let (number, unit) = number_and_unit(text).ok_or_else(wrong)?;
    let milliseconds: u64 = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(wrong()),
    };
    number.checked_mul(milliseconds).map(Duration::from_millis).ok_or_else(wrong)
}

/// `4096`, `64KiB`, `4MiB`, `1GiB`.
fn size(text: &str) -> Result<u64, String> {
    let wrong = || "a size is a whole number, with KiB, MiB or GiB behind it or nothing".to_owned();
    let (number, unit) = number_and_unit(text).ok_or_else(wrong)?;
    let bytes: u64 = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(wrong()),
    };
    number.checked_mul(bytes).ok_or_else(wrong)
}

/// The same for limits that are numbers of 32 bits.
fn size_of_32_bits(text: &str) -> Result<u32, String> {
    size(text)?.try_into().map_err(|_| format!("a size here is at most {} bytes", u32::MAX))
}

fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|char: char| !char.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn times_have_a_unit_and_sizes_may() {
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(size("4096"), Ok(4096));
        assert_eq!(size("4MiB"), Ok(4 << 20));
        assert_eq!(size_of_32_bits("4MiB"), Ok(4 << 20));
        let wrong = Err("a size here is at most 4294967295 bytes".into());
        assert_eq!(size_of_32_bits("4GiB"), wrong);
        for wrong in ["", "s", "10", "-1s", "1.5s", "10 days", "99999999999999999999s"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "KiB", "4MB", "-1", "99999999999999999999"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }
}
