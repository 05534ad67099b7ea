//! Storms: random servers, handlers and peers on the simulated network, then calm, then the end.
//!
//! Whatever happened, in the end every well-behaved peer has its bytes back in order, every handler
//! was told of its end once, the server stops, and nothing is left: no socket, no lease, no count.
//! In some storms the system makes trouble as well: it refuses, and is late. Whom that costs a
//! connection is told so.
//! The counters are what the handlers were told, and what decides on new peers is back to zero:
//! each source gets in as often as it may, and each worker gets as many as the others.
//!
//! `LONGSHORE_SEEDS=5000` runs that many seeds, on all processors, `LONGSHORE_SEED=17` that one alone.

#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]
#![expect(clippy::cast_possible_truncation, reason = "random numbers, cut to what is wanted")]

mod codec;
mod filters;
mod guests;
mod handlers;
mod peers;
mod rng;
mod storm;
mod tally;
mod trouble;

use std::panic::catch_unwind;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;

/// Seeds of the quick form.
const SEEDS: u64 = 1_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Panics of handlers are part of the weather: only those of the test itself are worth a line.
fn hush() {
    let loud = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let text = info.payload().downcast_ref::<&str>();
        if text.is_none_or(|text| !text.starts_with("storm:")) {
            loud(info);
        }
    }));
}

/// The seeds below `end`, from `start` on, that fail. Each storm has one thread; they have many.
fn failing(start: u64, end: u64) -> Vec<u64> {
    let next = AtomicU64::new(start);
    let work = || {
        let seeds = std::iter::from_fn(|| Some(next.fetch_add(1, Relaxed)).filter(|it| *it < end));
        seeds.filter(|&seed| catch_unwind(|| storm::run(seed)).is_err()).collect::<Vec<_>>()
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let mut failed = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect::<Vec<_>>()
    });
    failed.sort_unstable();
    failed
}

#[test]
fn nothing_is_lost_and_nothing_is_left() {
    hush();
    let alone = number("LONGSHORE_SEED");
    let seeds = number("LONGSHORE_SEEDS").unwrap_or(SEEDS);
    let failed = match alone {
        Some(seed) => failing(seed, seed + 1),
        None => failing(0, seeds),
    };
    assert!(
        failed.is_empty(),
        "{} seeds failed: {failed:?}; one alone: LONGSHORE_SEED={} cargo test -p longshore \
         --test storm",
        failed.len(),
        failed[0]
    );
    if alone.is_none() && seeds >= SEEDS {
        assert_eq!(trouble::never_met(), [], "trouble that no storm has met");
    }
}
