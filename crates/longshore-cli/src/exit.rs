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
    pub(crate) fn new(exit: Exit, text: impl Into<String>) -> Self {
        Self { exit, text: text.into() }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        if error.downcast_ref::<ConfigError>().is_some() {
            return Self::new(Exit::Usage, error.to_string());
        }
        match error.downcast_ref() {
            // Its own words say already what the system said.
            Some(listen @ StartError::Listen { .. }) => {
                Self::new(Exit::Unreachable, listen.to_string())
            }
            Some(StartError::Open { .. } | StartError::Thread { .. }) => {
                Self::new(Exit::Unreachable, error.to_string())
            }
            _ => Self::new(Exit::No, error.to_string()),
        }
    }
}
