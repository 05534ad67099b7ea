//! The real program, run as people run it.
#![cfg_attr(
    windows,
    expect(dead_code, unused_imports, reason = "what needs signals or a shell is of Unix")
)]
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests are tests too")]

mod connect;
mod console;
mod doctor;
#[cfg(unix)]
mod echo;
mod files;
#[cfg(unix)]
mod locked;
mod rig;
mod serve;
#[cfg(unix)]
mod streams;
mod words;
