//! Programs that run for so long and no longer.

use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

/// Longest that a part of a set-up may take: to fetch packages, to build a library.
pub(crate) const SET_UP_MAX: Duration = Duration::from_secs(10 * 60);

/// Makes of `command` one that runs for at most `limit`; then it is ended with everything it started.
///
/// The program `timeout` does that, with a process group of its own. It also does it when this
/// process is gone, so that a hanging test outlives nobody for long.
pub(crate) fn limited(limit: Duration, command: &Command) -> Command {
    let mut timeout = Command::new("timeout");
    timeout.arg("--signal=KILL").arg(format!("{}", limit.as_secs_f64()));
    timeout.arg(command.get_program()).args(command.get_args());
    if let Some(folder) = command.get_current_dir() {
        timeout.current_dir(folder);
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => timeout.env(name, value),
            None => timeout.env_remove(name),
        };
    }
    timeout
}

/// Whether a limited program was ended. Source: `timeout(1)`, which is ended by its own signal;
/// what a shell would call 137.
pub(crate) fn is_hung(status: ExitStatus) -> bool {
    matches!(status.code(), None | Some(137))
}

/// Runs `command` with both its outputs in one file, so that their order stays.
///
/// # Errors
/// The file cannot be written, or there is no `timeout`.
pub(crate) fn run_logged(command: &mut Command, log: &Path) -> Result<ExitStatus, String> {
    let mut run = || {
        let out = File::create(log)?;
        let err = out.try_clone()?;
        command.stdin(Stdio::null()).stdout(out).stderr(err).status()
    };
    run().map_err(|error: io::Error| format!("cannot run {command:?}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both hold the pipe: that it ends says that the group is gone, not its leader alone.
    #[test]
    fn what_hangs_is_ended_with_all_it_started() {
        let hangs = "tail -f /dev/null & tail -f /dev/null";
        let mut command = Command::new("sh");
        command.args(["-c", hangs]);
        let output = limited(Duration::from_millis(100), &command).output().unwrap();
        assert!(is_hung(output.status));
    }

    #[test]
    fn what_ends_by_itself_does_not_hang() {
        for (script, code) in [("exit 0", 0), ("exit 101", 101)] {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            let status = limited(Duration::from_secs(60), &command).status().unwrap();
            assert!(!is_hung(status));
            assert_eq!(status.code(), Some(code));
        }
    }

    #[test]
    fn what_is_limited_runs_where_and_as_it_would_without() {
        let mut command = Command::new("sh");
        command
            .args(["-c", "pwd; echo $ONE $HOME"])
            .current_dir("/")
            .env("ONE", "1")
            .env_remove("HOME");
        let output = limited(Duration::from_secs(60), &command).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "/\n1\n");
    }
}
