//! `cargo xtask windows`: builds for Windows, and runs what was built under Wine.

mod toolchain;
mod wine;

pub(crate) use toolchain::{TARGET, add_target};

use crate::steps::{Outcome, target_dir};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) const HELP: &str = "\
Builds for Windows, and runs what was built under Wine.

usage: cargo xtask windows VERB [ARGUMENT...]

  VERB       of cargo: build, clippy, run, test; or crowd: 200 connections with the program
             under Wine, and a client under Wine with a server here
  ARGUMENT   of that verb

It sets itself up at the first use: the target x86_64-pc-windows-gnu by rustup, a linker and Wine
by apt-get (as root), and a Wine prefix in target/windows. That takes half a minute and 800 MB.
Where rustup has no such target, Debian's rustc and the source of its library are taken instead,
which takes 2 minutes and 2 GB more.
What Wine shows is that calls do what they should; it says nothing of speed, and is not Windows.

examples:
  cargo xtask windows test -p longshore-port --features contract
  cargo xtask windows run -p longshore-cli -- doctor
";

/// What `cargo xtask windows` was asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Options {
    args: Vec<String>,
}

impl Options {
    /// Reads the arguments behind `windows`.
    ///
    /// # Errors
    /// Names the verb that is wrong, or missing.
    pub(crate) fn parse(args: &[&str]) -> Result<Self, String> {
        match args {
            ["build" | "clippy" | "run" | "test", ..] | ["crowd"] => {
                Ok(Self { args: args.iter().map(ToString::to_string).collect() })
            }
            [] => Err("windows needs a verb: build, clippy, run, test or crowd".into()),
            [other, ..] => {
                Err(format!("windows takes build, clippy, run, test or crowd, not {other}"))
            }
        }
    }

    /// Whether it is no verb of cargo.
    pub(crate) fn is_crowd(&self) -> bool {
        self.args == ["crowd"]
    }
}

/// Runs it. Whether it succeeded.
pub(crate) fn run(root: &Path, options: &Options) -> bool {
    match set_up(root) {
        Outcome::Passed => {}
        Outcome::Failed(why) | Outcome::Skipped(why) => {
            eprintln!("cargo xtask windows: {why}");
            return false;
        }
    }
    match cargo(root, &options.args).status() {
        Ok(status) => status.success(),
        Err(error) => {
            eprintln!("cargo xtask windows: cannot run cargo: {error}");
            false
        }
    }
}

/// Where all is that it makes for itself.
fn home(root: &Path) -> PathBuf {
    target_dir(root).join("windows")
}

/// What runs a program under Wine.
pub(crate) fn wine(root: &Path) -> PathBuf {
    home(root).join("wine")
}

/// A call of cargo for Windows, once that is set up.
pub(crate) fn cargo(root: &Path, args: &[impl AsRef<OsStr>]) -> Command {
    let mut command = Command::new(toolchain::cargo(&home(root)));
    command.args(args).current_dir(root).envs(env(root)).env_remove("LONGSHORE_DRIVER");
    command
}

/// What makes a call of cargo one for Windows.
pub(crate) fn env(root: &Path) -> Vec<(&'static str, OsString)> {
    let mut env = toolchain::env(&home(root));
    env.extend([
        ("CARGO_BUILD_TARGET", TARGET.into()),
        ("CARGO_TARGET_X86_64_PC_WINDOWS_GNU_LINKER", toolchain::GCC.into()),
        ("CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUNNER", wine(root).into()),
    ]);
    env
}

/// Makes sure that all is there which it takes.
pub(crate) fn set_up(root: &Path) -> Outcome {
    let home = home(root);
    match wine::set_up(&home).and_then(|()| toolchain::set_up(&home)) {
        Ok(()) => Outcome::Passed,
        Err(outcome) => outcome,
    }
}

/// Whether its compiler, and so its lints, are those that this is built with here.
pub(crate) fn has_lints_of_here(root: &Path) -> bool {
    !toolchain::is_debian(&home(root))
}

/// Ends the server of Wine, with all that runs under it, and waits for its end.
pub(crate) fn stop(root: &Path) {
    wine::stop_server(&home(root));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verb_is_passed_on_and_a_wrong_one_is_named() {
        let args = ["test", "-p", "longshore-port"];
        assert_eq!(Options::parse(&args).unwrap().args, args);
        assert!(Options::parse(&[]).unwrap_err().contains("needs a verb"));
        assert!(Options::parse(&["fly"]).unwrap_err().contains("not fly"));
    }
}
