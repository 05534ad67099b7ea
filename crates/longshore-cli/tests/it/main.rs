//! The real program, run as people run it.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests are tests too")]

mod connect;
mod doctor;
mod echo;
mod locked;
mod rig;
mod serve;
mod streams;
mod words;
