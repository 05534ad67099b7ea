//! `longshore completions`: what a shell needs to complete our command line.

use crate::args::{Args, CompletionsArgs};
use crate::exit::{Exit, Failure};
use clap::CommandFactory;
use std::io::{self, Write};

pub(crate) fn run(args: CompletionsArgs) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "longshore", &mut script);
    let written = io::stdout().lock().write_all(&script);
    written.map_err(|error| Failure::new(Exit::No, format!("cannot write: {error}")))?;
    Ok(Exit::Done)
}
