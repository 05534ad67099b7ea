//! What could not be done.

use std::fmt::Display;

/// The same in words, with why.
pub(super) fn failed<E: Display>(what: &str) -> impl Fn(E) -> String + '_ {
    move |error| format!("{what}: {error}")
}
