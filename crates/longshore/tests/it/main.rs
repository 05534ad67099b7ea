//! Integration tests, in one binary.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::similar_names,
    clippy::cast_possible_truncation,
    reason = "what a test cannot do ends it"
)]

mod bounds;
mod callbacks;
mod connecting;
mod door;
mod ending;

mod examples;
mod file_peers;
mod file_storm;
mod filters;
mod floods;
mod foreign;
mod groups;
mod handles;
mod listening;
mod matrix;
mod memory;
mod model;
mod net;
mod owners;
mod pages;
mod planted;
mod posts;
mod promises;
mod raw_files;
mod same;
mod sending;
mod settings;
mod slow;
mod smoke;
mod stopping;
mod threads;
mod timers;
mod transfers;
mod turn;
