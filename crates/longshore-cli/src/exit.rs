//! How the program ends.

use longshore::{ConfigError, Error, StartError};
use std::process::ExitCode;

/// Exit codes. A second signal ends the program with 128 + its number, which is not decided here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Exit {
    /// Done.
    Done = 0,
    /// The answer is no: something must be mended, something broke its promise.
    No = 1,
    /// The command line, or settings that cannot work. What clap uses too.
    Usage = 2,
    /// Cannot listen or connect.
    Unreachable = 3,
    /// The connection broke midway.
    Broken = 4,
    /// Nothing came in time.
    TimedOut = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why the program ends without having done what it was asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    /// For a person: what happened, why probably, what to do.
    pub(crate) text: String,
}

impl Failure {
    pub(crate) fn new(exit: Exit, text: impl ToString) -> Self {
        Self { exit, text: text.to_string() }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let exit = if error.downcast_ref::<ConfigError>().is_some() {
            Exit::Usage
        } else {
            match error.downcast_ref() {
                Some(
                    StartError::Listen { .. } | StartError::Open { .. } | StartError::Thread { .. },
                ) => Exit::Unreachable,
                _ => Exit::No,
            }
        };
        Self::new(exit, error)
    }
}
