//! A line that says how far something is.

use crate::out::Output;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};
use std::time::{Duration, Instant};

/// How often it is drawn at most.
const EVERY: Duration = Duration::from_millis(100);

/// Columns of the bar itself.
const WIDTH: usize = 20;

/// Columns of the name.
const NAME_WIDTH: usize = 24;

/// How far something is.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    pub(crate) name: String,
    /// Bytes that are there, those included that were there before.
    pub(crate) bytes: u64,
    pub(crate) total: u64,
    /// Bytes that were there before: they took no time.
    pub(crate) resumed: u64,
    pub(crate) began: Instant,
}

/// A bar on the terminal of a person.
#[derive(Debug)]
pub(crate) struct Bar {
    shown: bool,
    drawn: Option<Instant>,
}

impl Bar {
    /// Drawn on stderr, if a person looks at that.
    pub(crate) fn new(out: Output) -> Self {
        let shown = io::stderr().is_terminal() && !out.is_json() && !out.is_quiet();
        Self { shown, drawn: None }
    }

    /// Draws it, if the last time is long enough ago.
    pub(crate) fn draw(&mut self, progress: &Progress) {
        let due = self.drawn.is_none_or(|drawn| drawn.elapsed() >= EVERY);
        if self.shown && due {
            self.drawn = Some(Instant::now());
            show(&format!("\r\x1b[K{}", line(progress, progress.began.elapsed())));
        }
    }

    /// Takes it away, so that a line may be written.
    pub(crate) fn clear(&mut self) {
        if self.drawn.take().is_some() {
            show("\r\x1b[K");
        }
    }
}

fn show(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes()); // nobody is there to see it
}

/// `film.mp4   42 % [########            ]   1.2 of 3.0 GiB   310 MiB/s   6 s left`
fn line(progress: &Progress, after: Duration) -> String {
    let Progress { name, bytes, total, resumed, .. } = progress;
    let part = |of: u64| if *total == 0 { of } else { times(*bytes, of, *total).min(of) };
    let full = "#".repeat(usize::try_from(part(WIDTH as u64)).unwrap_or(WIDTH));
    let (done, unit) = size_like(*bytes, *total);
    let (all, _) = size_like(*total, *total);
    let (name, percent) = (shortened(name), part(100));
    let mut line =
        format!("{name:<NAME_WIDTH$} {percent:>3} % [{full:<WIDTH$}]   {done} of {all} {unit}");
    let sent = bytes.saturating_sub(*resumed);
    let rate = rate(sent, after);
    if after >= RATE_AFTER && rate > 0 {
        let left = (total.saturating_sub(*bytes) + rate / 2) / rate;
        let _ = write!(line, "   {}/s   {} left", size(rate), time(left)); // a String takes all
    }
    line
}

/// Sooner nobody knows how fast it is.
const RATE_AFTER: Duration = Duration::from_millis(200);

fn times(number: u64, by: u64, of: u64) -> u64 {
    let part = u128::from(number) * u128::from(by) / u128::from(of.max(1));
    u64::try_from(part).unwrap_or(u64::MAX)
}

/// Bytes in a second.
pub(crate) fn rate(bytes: u64, after: Duration) -> u64 {
    times(bytes, 1_000, u64::try_from(after.as_millis()).unwrap_or(u64::MAX))
}

/// The end of a name says more than its start.
fn shortened(name: &str) -> String {
    let count = name.chars().count();
    if count <= NAME_WIDTH {
        return name.into();
    }
    let end: String = name.chars().skip(count + 2 - NAME_WIDTH).collect();
    format!("..{end}")
}

const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];

/// A number of bytes in the unit that fits another one.
fn size_like(bytes: u64, like: u64) -> (String, &'static str) {
    let (mut power, mut unit) = (0, 1);
    while like / unit >= 1024 && power + 1 < UNITS.len() {
        (power, unit) = (power + 1, unit * 1024);
    }
    if power == 0 {
        return (bytes.to_string(), UNITS[0]);
    }
    let tenths = times(bytes, 10, unit);
    (format!("{}.{}", tenths / 10, tenths % 10), UNITS[power])
}

/// `1.2 GiB`.
pub(crate) fn size(bytes: u64) -> String {
    let (number, unit) = size_like(bytes, bytes);
    format!("{number} {unit}")
}

/// `6 s`, `2 min 5 s`, `3 h 4 min`.
fn time(seconds: u64) -> String {
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(bytes: u64, total: u64, resumed: u64, seconds: u64) -> String {
        let progress =
            Progress { name: "film".into(), bytes, total, resumed, began: Instant::now() };
        line(&progress, Duration::from_secs(seconds))
    }

    #[test]
    fn a_bar_says_how_far_how_fast_and_how_long() {
        let wanted = "film                      50 % [##########          ]   1.0 of 2.0 GiB   \
                      102.3 MiB/s   10 s left";
        assert_eq!(at(1 << 30, 2 << 30, 0, 10), wanted);
        assert!(at(0, 0, 0, 0).contains("100 % [####################]   0 of 0 B"));
        assert!(at(999, 1_000, 0, 1).contains(" 99 %"), "not all is not all");
    }

    /// What was there before says nothing of the rate.
    #[test]
    fn after_a_resume_the_rate_is_that_of_now() {
        let shown = at(1_900 << 20, 2_000 << 20, 1_800 << 20, 10);
        assert!(shown.ends_with("10.0 MiB/s   10 s left"), "{shown}");
        assert!(
            !at(1_800 << 20, 2_000 << 20, 1_800 << 20, 10).contains("left"),
            "nothing is known"
        );
    }

    #[test]
    fn sizes_and_times_are_short() {
        assert_eq!([size(0), size(1023), size(1 << 20)], ["0 B", "1023 B", "1.0 MiB"]);
        assert_eq!([time(1), time(125), time(11_040)], ["1 s", "2 min 5 s", "3 h 4 min"]);
        assert_eq!(shortened("a/very/long/name/of/some/file.txt"), "../name/of/some/file.txt");
    }
}
