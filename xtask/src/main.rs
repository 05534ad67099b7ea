//! Build and test steps of longshore: `cargo xtask --help`.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for people and for CI")]

mod bench;
mod ci;
mod crowd;
mod limited;
mod mutants;
mod steps;
mod tidy;
mod tools;
mod windows;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

const HELP: &str = "\
Build and test steps of longshore.

usage: cargo xtask <COMMAND> [--help]

commands:
  test     everything CI runs
  tidy     the rules of the tree that the compiler and clippy do not know
  mutants  planted bugs, each of which a test has to find
  windows  builds for Windows, and runs what was built under Wine
  bench    measures, beside others

cargo test --workspace is the quick half of `cargo xtask test`.
";

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
enum Command {
    Help(&'static str),
    Test(ci::Options),
    Tidy,
    Mutants(mutants::Options),
    Windows(windows::Options),
    Bench(bench::Options),
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match parse(&args) {
        Ok(Command::Help(text)) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Ok(Command::Test(options)) => exit_code(ci::run(&root(), options)),
        Ok(Command::Tidy) => exit_code(tidy::run(&root())),
        Ok(Command::Mutants(options)) => exit_code(mutants::run(&root(), &options)),
        Ok(Command::Windows(options)) if options.is_crowd() => exit_code(crowd::run(&root())),
        Ok(Command::Windows(options)) => exit_code(windows::run(&root(), &options)),
        Ok(Command::Bench(options)) => exit_code(bench::run(&root(), &options)),
        Err(error) => {
            eprintln!("cargo xtask: {error}; see cargo xtask --help");
            ExitCode::from(2)
        }
    }
}

fn exit_code(passed: bool) -> ExitCode {
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The root of the workspace, which is where this crate lies.
fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().expect("the crate lies in a folder of the workspace").to_owned()
}

fn parse(args: &[&str]) -> Result<Command, String> {
    match args {
        [] | ["help" | "-h" | "--help", ..] => Ok(Command::Help(HELP)),
        ["test", rest @ ..] if asks_help(rest) => Ok(Command::Help(ci::HELP)),
        ["test", rest @ ..] => ci::Options::parse(rest).map(Command::Test),
        ["tidy", rest @ ..] if asks_help(rest) => Ok(Command::Help(tidy::HELP)),
        ["tidy"] => Ok(Command::Tidy),
        ["tidy", arg, ..] => Err(format!("tidy takes no {arg}")),
        ["bench", rest @ ..] if asks_help(rest) => Ok(Command::Help(bench::HELP)),
        ["bench", rest @ ..] => bench::Options::parse(rest).map(Command::Bench),
        ["mutants", rest @ ..] if asks_help(rest) => Ok(Command::Help(mutants::HELP)),
        ["mutants", rest @ ..] => mutants::Options::parse(rest).map(Command::Mutants),
        ["windows", first, ..] if asks_help(&[first]) => Ok(Command::Help(windows::HELP)),
        ["windows", rest @ ..] => windows::Options::parse(rest).map(Command::Windows),
        [other, ..] => Err(format!("no command {other}")),
    }
}

fn asks_help(args: &[&str]) -> bool {
    args.iter().any(|arg| matches!(*arg, "-h" | "--help"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_help_and_a_wrong_one_is_named() {
        assert_eq!(parse(&[]), Ok(Command::Help(HELP)));
        assert_eq!(parse(&["test", "--long", "--help"]), Ok(Command::Help(ci::HELP)));
        assert_eq!(parse(&["tidy", "-h"]), Ok(Command::Help(tidy::HELP)));
        assert_eq!(parse(&["mutants", "--help"]), Ok(Command::Help(mutants::HELP)));
        assert_eq!(parse(&["windows", "-h"]), Ok(Command::Help(windows::HELP)));
        assert_eq!(parse(&["tidy"]), Ok(Command::Tidy));
        assert_eq!(parse(&["tidy", "up"]), Err("tidy takes no up".into()));
        assert_eq!(parse(&["tset"]), Err("no command tset".into()));
    }

    #[test]
    fn the_help_fits_a_screen() {
        for help in [HELP, ci::HELP, tidy::HELP, mutants::HELP, windows::HELP] {
            assert!(help.lines().count() < 40);
            assert!(help.lines().all(|line| line.len() <= 100));
        }
    }
}
