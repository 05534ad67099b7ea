//! The fault catalogue on real sockets, each entry on each driver.
//!
//! Quick by default; `LONGSHORE_LONG=1` asks for the large numbers (in a release build),
//! `LONGSHORE_DRIVER=uring|readiness` for one driver. Each entry prints the numbers it reached.
//!
//! What needs signals, limits of the system, or strace is of Linux alone, and so are its tests.
#![cfg(any(target_os = "linux", windows))]
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_lossless,
    clippy::many_single_char_names,
    reason = "tests: a panic is the message, and numbers are small"
)]

mod accepting;
mod bounds;
mod child;
mod clients;
mod ending;
mod fairness;
mod files;
mod lifetime;
mod ops;
mod order;
mod processes;
mod pushing;
mod ring;
mod support;
mod threads;

/// Counts what is allocated: no other measure of memory is to be had there without unsafe code.
#[cfg(windows)]
#[global_allocator]
static ALLOCATOR: &stats_alloc::StatsAlloc<std::alloc::System> = &stats_alloc::INSTRUMENTED_SYSTEM;
