//! `cargo xtask test`: what CI runs, step by step.

use crate::steps::{Outcome, Steps, target_dir};
use crate::{crowd, tidy, tools, windows};
use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};

pub(crate) const HELP: &str = "\
Everything CI runs.

usage: cargo xtask test [--long] [--driver uring|readiness]

  --long           also what takes minutes (sets LONGSHORE_LONG=1)
  --driver DRIVER  only this driver, and it is an error if it is not to be had
                   (without this, a driver that the system refuses is skipped)

steps:
  tools          programs that tests drive, installed where that is possible
  fmt, clippy    format, and lints as errors
  tidy           cargo xtask tidy
  driver DRIVER  whether the system permits it; if not, what needs it is skipped
  tests          cargo test --workspace: each test once, and what opens sockets once on each
                 driver, the contract of ports included (LONGSHORE_DRIVER settles which)
  order model    what other threads ask of a worker, in each order that they may take, by loom
  examples       they compile
  documentation  it builds, without a dead link
  windows        lints and tests on completion ports, under Wine; skipped where that, or the
                 standard library for Windows, is not to be had
  other systems  they compile: FreeBSD, macOS, musl, ARM

examples:
  cargo xtask test
  cargo xtask test --driver readiness
  cargo xtask test --long
";

/// A port of the operating system.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Driver {
    Uring,
    Readiness,
}

impl Driver {
    const ALL: [Self; 2] = [Self::Uring, Self::Readiness];

    /// What `LONGSHORE_DRIVER` calls it.
    const fn name(self) -> &'static str {
        match self {
            Self::Uring => "uring",
            Self::Readiness => "readiness",
        }
    }
}

/// What `cargo xtask test` was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Options {
    long: bool,
    driver: Option<Driver>,
}

impl Options {
    /// Reads the arguments behind `test`.
    ///
    /// # Errors
    /// Names the argument that is wrong.
    pub(crate) fn parse(mut args: &[&str]) -> Result<Self, String> {
        let mut options = Self::default();
        loop {
            args = match args {
                [] => return Ok(options),
                ["--long", rest @ ..] => {
                    options.long = true;
                    rest
                }
                ["--driver", name, rest @ ..] => {
                    let found = Driver::ALL.into_iter().find(|driver| driver.name() == *name);
                    options.driver = Some(found.ok_or_else(|| format!("no driver {name}"))?);
                    rest
                }
                ["--driver"] => return Err("--driver needs uring or readiness".into()),
                [other, ..] => return Err(format!("test takes no {other}")),
            };
        }
    }
}

/// Runs all steps. Whether none failed.
pub(crate) fn run(root: &Path, options: Options) -> bool {
    let mut steps = match Steps::new(target_dir(root).join("xtask")) {
        Ok(steps) => steps,
        Err(error) => {
            eprintln!("cargo xtask: no folder for the output of steps: {error}");
            return false;
        }
    };
    let cargo = |args: &[&str]| cargo(root, options, args);
    steps.run("tools", tools::install);
    steps.command("fmt", &mut cargo(&["fmt", "--all", "--check"]));
    let clippy = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
    steps.command("clippy", &mut cargo(&clippy));
    steps.run("tidy", || tidy::step(root));
    for driver in Driver::ALL {
        if options.driver.is_none_or(|only| only == driver) {
            let name = format!("driver {}", driver.name());
            steps.run(&name, || is_to_be_had(root, options, driver));
        }
    }
    // Whatever opens sockets goes through the drivers by itself. A call for each driver would run
    // the same again, and all that has no driver, the simulation above all, as often.
    steps.command("tests", &mut cargo(&["test", "--workspace"]));
    if options.driver.is_none() {
        steps.command("order model", &mut order_model(root));
    }
    steps.command("examples", &mut cargo(&["build", "--workspace", "--examples"]));
    let mut doc = cargo(&["doc", "--workspace", "--no-deps", "--all-features"]);
    steps.command("documentation", doc.env("RUSTDOCFLAGS", "-D warnings"));
    if options.driver.is_none() {
        on_windows(root, &mut steps);
        for system in OTHER_SYSTEMS {
            steps.run(system, || compiles_for(root, system));
        }
    }
    steps.finish()
}

/// With locks and flags of loom, so all is built once more: in a folder of its own, that the next step
/// need not build again. How many orders were tried stands in the output.
fn order_model(root: &Path) -> Command {
    let args = ["test", "--quiet", "--release", "-p", "longshore", "--lib", "order_model"];
    let mut command = cargo(root, Options::default(), &args);
    command.args(["--", "--nocapture"]);
    command.env("RUSTFLAGS", "--cfg longshore_loom");
    command.env("CARGO_TARGET_DIR", target_dir(root).join("order-model"));
    command.env("CARGO_PROFILE_RELEASE_LTO", "off").env("CARGO_PROFILE_RELEASE_DEBUG", "false");
    command
}

/// Systems that are not run here, with one driver or another of those that are.
const OTHER_SYSTEMS: [&str; 4] = [
    "x86_64-unknown-freebsd",
    "aarch64-apple-darwin",
    "x86_64-unknown-linux-musl",
    "aarch64-unknown-linux-gnu",
];

fn on_windows(root: &Path, steps: &mut Steps) {
    let mut there = false;
    steps.run("windows", || {
        let outcome = windows::set_up(root);
        there = outcome == Outcome::Passed;
        outcome
    });
    if there {
        let clippy = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
        if windows::has_lints_of_here(root) {
            steps.command("windows clippy", &mut windows::cargo(root, &clippy));
        } else {
            let why = "NOT LINTED: its compiler is another one, of Debian, with other lints";
            steps.run("windows clippy", || Outcome::Skipped(why.into()));
        }
        for args in WINDOWS_TESTS {
            let name = format!("windows {}", args[1..].join(" "));
            steps.command(&name, &mut windows::cargo(root, args));
        }
        steps.run("windows crowd", || crowd::step(root));
        windows::stop(root);
    }
}

/// What is tested under Wine. What is not of Windows, or drives programs of Unix, is left out by the
/// tests themselves.
const WINDOWS_TESTS: [&[&str]; 4] = [
    &["test", "-p", "longshore-port", "--features", "contract"],
    &["test", "-p", "longshore", "--features", "testing", "--lib", "--test", "it"],
    &["test", "-p", "longshore", "--features", "testing", "--test", "faults"],
    &["test", "-p", "longshore-cli"],
];

fn compiles_for(root: &Path, system: &str) -> Outcome {
    if let Err(why) = windows::add_target(system) {
        return Outcome::Skipped(why);
    }
    let args = ["check", "--quiet", "--package", "longshore-cli", "--target", system];
    match cargo(root, Options::default(), &args).stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => Outcome::Passed,
        Ok(output) => Outcome::Failed(String::from_utf8_lossy(&output.stderr).into()),
        Err(error) => Outcome::Failed(format!("cannot run cargo: {error}")),
    }
}

/// Asks the port itself, by its example that lists drivers, which says why it is refused here.
fn is_to_be_had(root: &Path, options: Options, driver: Driver) -> Outcome {
    let example = ["run", "--quiet", "--package", "longshore-port", "--example", "drivers", "--"];
    let output = cargo(root, options, &example).arg(driver.name()).stdin(Stdio::null()).output();
    let output = match output {
        Ok(output) => output,
        Err(error) => return Outcome::Failed(format!("cannot ask for drivers: {error}")),
    };
    let why = || String::from_utf8_lossy(&output.stdout).trim().into();
    match output.status.code() {
        // Who names a driver wants it.
        Some(NOT_TO_BE_HAD) if options.driver.is_some() => Outcome::Failed(why()),
        Some(NOT_TO_BE_HAD) => Outcome::Skipped(why()),
        // Anything but a plain «no» is for the tests to find: a port that does not build must fail.
        _ => Outcome::Passed,
    }
}

/// Exit code of the example `drivers` for a driver that the system refuses.
const NOT_TO_BE_HAD: i32 = 3;

/// A call of cargo in the workspace, quiet and without questions.
fn cargo(root: &Path, options: Options, args: &[&str]) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(cargo);
    command.args(args).current_dir(root).env("CARGO_TERM_COLOR", "never");
    match options.driver {
        Some(only) => command.env("LONGSHORE_DRIVER", only.name()),
        None => command.env_remove("LONGSHORE_DRIVER"),
    };
    if options.long {
        command.env("LONGSHORE_LONG", "1");
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_wrong_ones_are_named() {
        let both = Options { long: true, driver: Some(Driver::Readiness) };
        assert_eq!(Options::parse(&["--driver", "readiness", "--long"]), Ok(both));
        assert_eq!(Options::parse(&[]), Ok(Options::default()));
        assert_eq!(Options::parse(&["--driver", "epoll"]), Err("no driver epoll".into()));
        assert_eq!(Options::parse(&["--driver"]).unwrap_err(), "--driver needs uring or readiness");
        assert_eq!(Options::parse(&["--quick"]), Err("test takes no --quick".into()));
    }
}
