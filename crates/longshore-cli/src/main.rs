//! The program `longshore`: an echo server, a client, and a doctor.
//!
//! | where | what |
//! | --- | --- |
//! | `args.rs` | the command line |
//! | `cmd/` | the commands, a file each |
//! | `echo.rs` | the handler of `serve` |
//! | `feed.rs`, `console.rs`, `input.rs`, `terminal.rs` | who comes and goes, and what the operator says to them |
//! | `talk.rs` | lines as messages |
//! | `files/` | files to and from a server, and how far they are |
//! | `system.rs` | what the system tells about itself |
//! | `out.rs`, `log.rs`, `exit.rs` | what people and programs get to see: answers, log, exit codes |
#![forbid(unsafe_code)]

mod args;
mod cmd;
mod console;
mod echo;
mod exit;
mod feed;
mod files;
mod input;
mod log;
mod out;
mod system;
mod talk;
mod terminal;

use args::{Args, Command};
use exit::{Exit, Failure};
use out::Output;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args = Args::of_command_line();
    let out = Output::new(args.common);
    let ended = run(&args, out);
    log::finish(); // what could not be written is known then
    let ended = ended.and_then(|exit| out::all_written().map(|()| exit));
    let exit = ended.unwrap_or_else(|failure| {
        out.failure(&failure);
        failure.exit
    });
    log::finish();
    exit.into()
}

fn run(args: &Args, out: Output) -> Result<Exit, Failure> {
    match &args.command {
        Command::Serve(args) => cmd::serve::run(args, out),
        Command::Connect(args) => cmd::connect::run(args, out),
        Command::Put(args) => cmd::put::run(args, out),
        Command::Get(args) => cmd::get::run(args, out),
        Command::Ls(args) => cmd::ls::run(args, out),
        Command::Doctor => Ok(cmd::doctor::run(out)),
        Command::Completions(args) => cmd::completions::run(*args),
    }
}
