//! The command line.

use crate::exit::{Exit, Failure};
use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use longshore::DriverChoice;
use std::path::PathBuf;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  longshore serve
  printf 'hello\\nworld\\n' | longshore connect :7411
  longshore put film.mp4 :7411

ADDR is HOST:PORT, :PORT or [v6]:PORT. Times are 500ms, 10s, 5m; sizes 64KiB, 4MiB.";

const SERVE_EXAMPLES: &str = "\
Examples:
  longshore serve
  longshore serve --files ./shared
  longshore serve --driver readiness --workers 1 --idle 30s

Commands on standard input, a line each: list, send ID TEXT, all TEXT, send-file ID FILE,
kick ID, help. On a terminal it says who comes and leaves and which files came and went, with -v
each message. --json answers with an object a line, and with -v tells connected, left, file and
message; at most 20 a second, then how many more.";

const PUT_EXAMPLES: &str = "\
Examples:
  longshore put film.mp4 :7411
  longshore put photos notes.txt :7411/backup
  longshore put --json disk.img host:7411

The server is one with --files DIR. What was cut off goes on where it was. Exit: 0 all is there,
1 refused, or not sent, 2 wrong use, 3 cannot connect, 4 the connection broke, 5 nothing came in
time.";

const GET_EXAMPLES: &str = "\
Examples:
  longshore get :7411/film.mp4
  longshore get :7411/backup/photos -o here
  longshore get host:7411/notes.txt -o - | less

Files that are there are not replaced without --force. What was cut off goes on where it was.";

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

impl Args {
    /// From the command line, which ends the program where it is wrong or asks for help.
    pub(crate) fn of_command_line() -> Self {
        Self::try_parse().unwrap_or_else(|error| hinted(error).exit())
    }
}

/// An address where none may be stands there for `--listen`.
fn hinted(mut error: clap::Error) -> clap::Error {
    use clap::error::{ContextKind, ContextValue, ErrorKind};
    if error.kind() == ErrorKind::UnknownArgument {
        if let Some(ContextValue::String(text)) = error.get(ContextKind::InvalidArg) {
            if !text.starts_with('-') && addr(text).is_ok() {
                let hint = format!("to listen there: longshore serve --listen {text}").into();
                error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![hint]));
            }
        }
    }
    error
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
    /// Send files and folders to a server; goes on where it was cut off
    Put(PutArgs),
    /// Get files and folders from a server; goes on where it was cut off
    Get(GetArgs),
    /// List the files of a server
    Ls(LsArgs),
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
    pub(crate) files: FileArgs,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
}

/// The files that a server takes and gives.
#[derive(ClapArgs, Clone, Debug)]
#[command(next_help_heading = "Files")]
pub(crate) struct FileArgs {
    /// Give the files of this folder, and take others into it (put, get, ls)
    #[arg(long, value_name = "DIR")]
    pub(crate) files: Option<PathBuf>,
    /// Take none, only give
    #[arg(long, requires = "files")]
    pub(crate) read_only: bool,
    /// Replace files that are there
    #[arg(long, requires = "files")]
    pub(crate) overwrite: bool,
    /// Longest file that is taken [default: 1GiB]
    #[arg(long, value_name = "SIZE", value_parser = size, requires = "files")]
    pub(crate) file_max: Option<u64>,
    /// Most bytes of all files [default: 10GiB]
    #[arg(long, value_name = "SIZE", value_parser = size, requires = "files")]
    pub(crate) files_max: Option<u64>,
    /// Most bytes of all files that one address brings [default: half of --files-max]
    #[arg(long, value_name = "SIZE", value_parser = size, requires = "files")]
    pub(crate) peer_max: Option<u64>,
    /// Most files and folders [default: 100,000]
    #[arg(long, value_name = "N", requires = "files")]
    pub(crate) files_count: Option<u64>,
    /// How long a part of a file is kept for who comes back for it [default: 24h]
    #[arg(long, value_name = "TIME", value_parser = duration, requires = "files")]
    pub(crate) keep_parts: Option<Duration>,
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
    /// End a file whose offer has no answer for this time; 0 for never [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) file_start: Option<Duration>,
    /// End a file that does not get on for this time; 0 for never [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) file_stall: Option<Duration>,
    /// End a file that its peer holds for this time in all; 0 for never [default: 10m]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) file_hold: Option<Duration>,
    /// Bytes in a second at which a file has to get on [default: 1KiB]
    #[arg(long, value_name = "SIZE", value_parser = size_of_32_bits)]
    pub(crate) file_rate: Option<u32>,
    /// Files that one peer may send at a time, others wait [default: 16]
    #[arg(long, value_name = "N")]
    pub(crate) files_running: Option<u32>,
    /// Files that are open at a time because one peer asks for them, others wait [default: 64]
    #[arg(long, value_name = "N")]
    pub(crate) files_served: Option<u32>,
    /// Bytes of files that a peer may send before they are written [default: 2MiB]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) file_window: Option<u64>,
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

#[derive(ClapArgs, Clone, Debug)]
#[command(after_help = PUT_EXAMPLES)]
pub(crate) struct PutArgs {
    /// Files and folders, and where to at last: ADDR or ADDR/DIR
    #[arg(value_name = "FILE... ADDR[/DIR]", required = true, num_args = 2..)]
    paths: Vec<String>,
    /// Send all of it again, whatever the server has of it
    #[arg(long)]
    pub(crate) restart: bool,
}

impl PutArgs {
    /// The files, and where they go.
    pub(crate) fn split(&self) -> Result<(&[String], &str), Failure> {
        match self.paths.split_last() {
            Some((to, files)) if !files.is_empty() => Ok((files, to)),
            _ => Err(Failure::new(Exit::Usage, "put FILE... ADDR[/DIR]: where to?")),
        }
    }
}

#[derive(ClapArgs, Clone, Debug)]
#[command(after_help = GET_EXAMPLES)]
pub(crate) struct GetArgs {
    /// What: ADDR/PATH, a file or a folder, once or more
    #[arg(value_name = "ADDR/PATH", required = true)]
    pub(crate) from: Vec<String>,
    /// The folder to put it in; - for standard output [default: this folder]
    #[arg(short, long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Replace files that are there
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(ClapArgs, Clone, Debug)]
pub(crate) struct LsArgs {
    /// Where: ADDR, or ADDR/DIR for a folder
    #[arg(value_name = "ADDR[/DIR]")]
    pub(crate) from: String,
}

/// An address that has a port; whether there is such a host is found out by connecting.
pub(crate) fn addr(text: &str) -> Result<String, String> {
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
