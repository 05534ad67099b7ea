//! One test, with a bug planted or without.

use super::list::Entry;
use crate::limited::{is_hung, limited, run_logged};
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// What became of a planted bug.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// The test failed: it found the bug.
    Failed,
    /// The test did not end: it found the bug.
    Hung,
    /// The test passed.
    NotFound,
    /// An error of the entry.
    DoesNotCompile,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Failed => "found",
            Self::Hung => "found, it hangs",
            Self::NotFound => "NOT FOUND",
            Self::DoesNotCompile => "does not compile",
        })
    }
}

/// What a test says when the system has not got what it needs.
const SKIPS: &str = "SKIPPED, NOT TESTED";

/// Where tests are run.
#[derive(Debug)]
pub(super) struct Bench {
    tree: PathBuf,
    target: PathBuf,
    logs: PathBuf,
    limit: Duration,
    /// What makes a call of cargo one for Windows, if that is to be had.
    windows: Option<Vec<(&'static str, OsString)>>,
}

impl Bench {
    /// Runs tests of the tree at `tree`, builds and logs in `folder`.
    ///
    /// # Errors
    /// When the folder of logs cannot be made.
    pub(super) fn new(
        tree: &Path,
        folder: &Path,
        limit: Duration,
        windows: Option<Vec<(&'static str, OsString)>>,
    ) -> Result<Self, String> {
        let (target, logs) = (folder.join("target"), folder.join("logs"));
        fs::create_dir_all(&logs).map_err(|error| format!("{}: {error}", logs.display()))?;
        Ok(Self { tree: tree.into(), target, logs, limit, windows })
    }

    pub(super) fn logs(&self) -> &Path {
        &self.logs
    }

    /// Runs the test of an entry as the tree is. Whether it could do its work here.
    ///
    /// # Errors
    /// When it is not there, or does not pass.
    pub(super) fn try_unplanted(&self, entry: &Entry) -> Result<bool, String> {
        if entry.windows && self.windows.is_none() {
            return Ok(false);
        }
        let log = self.logs.join(format!("{}-unplanted.log", entry.name));
        let see = |what: &str| format!("{what}, see {}", log.display());
        if !run_logged(&mut self.build(entry), &log)?.success() {
            return Err(see("does not compile"));
        }
        let status = run_logged(&mut self.test(entry), &log)?;
        if is_hung(status) {
            return Err(see("hangs"));
        }
        let output = fs::read(&log).map_err(|error| see(&error.to_string()))?;
        let output = String::from_utf8_lossy(&output);
        match (tests_run(&output), status.success()) {
            (0, true) => Err("there is no such test".into()),
            (_, true) => Ok(!output.contains(SKIPS)),
            (_, false) => Err(see("fails")),
        }
    }

    /// Runs the test of an entry whose bug is planted.
    ///
    /// # Errors
    /// When cargo cannot be run.
    pub(super) fn try_planted(&self, entry: &Entry) -> Result<Verdict, String> {
        let log = self.logs.join(format!("{}.log", entry.name));
        if !run_logged(&mut self.build(entry), &log)?.success() {
            return Ok(Verdict::DoesNotCompile);
        }
        Ok(match run_logged(&mut self.test(entry), &log)? {
            status if is_hung(status) => Verdict::Hung,
            status if status.success() => Verdict::NotFound,
            _ => Verdict::Failed,
        })
    }

    fn build(&self, entry: &Entry) -> Command {
        let mut command = Command::new(cargo());
        command.args(["test", "--no-run"]);
        self.finish(command, entry)
    }

    fn test(&self, entry: &Entry) -> Command {
        let mut command = Command::new(cargo());
        command.arg("test");
        let mut command = self.finish(command, entry);
        if !entry.test.iter().any(|arg| arg == "--") {
            command.args(["--", "--show-output"]); // so that what was skipped is seen
        }
        limited(self.limit, &command)
    }

    fn finish(&self, mut command: Command, entry: &Entry) -> Command {
        command.args(&entry.test).current_dir(&self.tree);
        command.env("CARGO_TARGET_DIR", &self.target).env("CARGO_TERM_COLOR", "never");
        // A planted bug leaves names unused and expected lints unmet.
        command.env("RUSTFLAGS", "--cap-lints=allow");
        command.env_remove("LONGSHORE_DRIVER").envs(entry.env.iter().cloned());
        if entry.windows {
            command.envs(self.windows.iter().flatten().map(|(name, value)| (name, value)));
        }
        command.env_remove("LONGSHORE_LONG").env_remove("LONGSHORE_SEED");
        command
    }
}

fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// How many tests the harnesses of a run say that they run.
fn tests_run(output: &str) -> usize {
    let counts = output.lines().filter_map(|line| {
        let (count, what) = line.strip_prefix("running ")?.split_once(' ')?;
        if what.starts_with("test") { count.parse::<usize>().ok() } else { None }
    });
    counts.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_counted_over_all_harnesses() {
        assert_eq!(tests_run("\nrunning 0 tests\n\nrunning 3 tests\ntest a ... ok\n"), 3);
        assert_eq!(tests_run("running 1 test\n"), 1);
        assert_eq!(tests_run("     Running unittests src/lib.rs\nrunning late\n"), 0);
    }
}
