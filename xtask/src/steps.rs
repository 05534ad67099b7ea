//! Steps, one line each: what runs, how it ended, how long it took.

use crate::limited::{is_hung, limited, run_logged};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Longest that the command of a step may take. The slowest takes a third of it on a machine that has
/// built nothing yet; what takes longer hangs, and would keep the rest from being told.
const STEP_MAX: Duration = Duration::from_secs(20 * 60);

/// How a step ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// As it should.
    Passed,
    /// With everything it printed.
    Failed(String),
    /// Not run, and why.
    Skipped(String),
}

/// Runs steps and counts how they end.
#[derive(Debug)]
pub(crate) struct Steps {
    /// Where the output of each step is kept.
    logs: PathBuf,
    tally: Tally,
    begun: Instant,
}

impl Steps {
    /// Keeps the output of steps in `logs`, a folder that is made.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn new(logs: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&logs)?;
        Ok(Self { logs, tally: Tally::default(), begun: Instant::now() })
    }

    /// Runs `step` under `name`.
    pub(crate) fn run(&mut self, name: &str, step: impl FnOnce() -> Outcome) {
        print!("{name:<36} ");
        // A status line that cannot be shown is no reason to stop testing.
        let _ = io::stdout().flush();
        let begun = Instant::now();
        let outcome = step();
        println!("{}", status(&outcome, begun.elapsed()));
        if let Outcome::Failed(output) = &outcome {
            println!("---- {name}: output\n{}\n---- {name}: end", output.trim_end());
        }
        self.tally.add(name, &outcome);
    }

    /// Runs `command` under `name`; its exit code decides.
    pub(crate) fn command(&mut self, name: &str, command: &mut Command) {
        let log = self.logs.join(format!("{}.log", name.replace([' ', '/', ','], "-")));
        self.run(name, || within(STEP_MAX, command, &log));
    }

    /// Prints the summary. Whether nothing failed.
    pub(crate) fn finish(self) -> bool {
        println!();
        println!("took {}, output in {}", seconds(self.begun.elapsed()), self.logs.display());
        for line in self.tally.notes() {
            println!("{line}");
        }
        println!("{}", self.tally.summary());
        self.tally.failed.is_empty()
    }
}

/// Runs `command` for no longer than `most`, with what it prints in `log`.
fn within(most: Duration, command: &Command, log: &Path) -> Outcome {
    let why = match run_logged(&mut limited(most, command), log) {
        Ok(status) if status.success() => return Outcome::Passed,
        Ok(status) if is_hung(status) => format!("it had not ended after {}", seconds(most)),
        Ok(status) => status.to_string(),
        Err(why) => why,
    };
    let printed = fs::read(log).unwrap_or_default();
    let printed = String::from_utf8_lossy(&printed);
    Outcome::Failed(format!("$ {command:?}\n{}\n{why}", printed.trim_end()))
}

fn status(outcome: &Outcome, took: Duration) -> String {
    match outcome {
        Outcome::Passed => format!("ok      {}", seconds(took)),
        Outcome::Failed(_) => format!("FAILED  {}", seconds(took)),
        Outcome::Skipped(why) => format!("SKIPPED {why}"),
    }
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

/// How the steps ended so far.
#[derive(Debug, Default)]
struct Tally {
    passed: usize,
    failed: Vec<String>,
    skipped: Vec<(String, String)>,
}

impl Tally {
    fn add(&mut self, name: &str, outcome: &Outcome) {
        match outcome {
            Outcome::Passed => self.passed += 1,
            Outcome::Failed(_) => self.failed.push(name.into()),
            Outcome::Skipped(why) => self.skipped.push((name.into(), why.clone())),
        }
    }

    /// What did not pass, a line each.
    fn notes(&self) -> Vec<String> {
        let skipped = self.skipped.iter().map(|(name, why)| format!("SKIPPED {name}: {why}"));
        let failed = self.failed.iter().map(|name| format!("FAILED {name}"));
        skipped.chain(failed).collect()
    }

    fn summary(&self) -> String {
        let (failed, skipped) = (self.failed.len(), self.skipped.len());
        format!("{} passed, {failed} failed, {skipped} skipped", self.passed)
    }
}

/// Where builds put what they make.
pub(crate) fn target_dir(root: &Path) -> PathBuf {
    let named = std::env::var_os("CARGO_TARGET_DIR");
    named.map_or_else(|| root.join("target"), |target| root.join(target))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_counts_and_names_what_did_not_pass() {
        let mut tally = Tally::default();
        tally.add("fmt", &Outcome::Passed);
        tally.add("clippy", &Outcome::Failed("warning: unused".into()));
        tally.add("tests on uring", &Outcome::Skipped("not permitted".into()));
        assert_eq!(tally.summary(), "1 passed, 1 failed, 1 skipped");
        assert_eq!(tally.notes(), ["SKIPPED tests on uring: not permitted", "FAILED clippy"]);
    }

    #[test]
    fn a_status_line_says_how_it_ended_and_how_long_it_took() {
        let took = Duration::from_millis(1234);
        assert_eq!(status(&Outcome::Passed, took), "ok      1.2 s");
        assert_eq!(status(&Outcome::Failed("text".into()), took), "FAILED  1.2 s");
        assert_eq!(status(&Outcome::Skipped("why".into()), took), "SKIPPED why");
    }

    fn failure_of(most: Duration, program: &str, args: &[&str], name: &str) -> String {
        let log = std::env::temp_dir().join(format!("xtask-{}-{name}", std::process::id()));
        let Outcome::Failed(output) = within(most, Command::new(program).args(args), &log) else {
            panic!("it passed")
        };
        fs::remove_file(log).unwrap();
        output
    }

    #[test]
    fn a_command_that_fails_shows_all_it_printed_and_one_that_is_missing_says_so() {
        let output = failure_of(STEP_MAX, "sh", &["-c", "echo one; echo two >&2; exit 3"], "fails");
        assert!(output.ends_with("\none\ntwo\nexit status: 3"), "{output}");
        let output = failure_of(STEP_MAX, "/no/such/program", &[], "missing");
        assert!(output.contains("/no/such/program") && output.contains("No such file"), "{output}");
    }

    #[test]
    fn a_command_that_hangs_is_ended_and_shows_what_it_printed() {
        let args = ["-c", "echo begun; tail -f /dev/null"];
        let output = failure_of(Duration::from_millis(500), "sh", &args, "hangs");
        assert!(output.ends_with("\nbegun\nit had not ended after 0.5 s"), "{output}");
    }
}
