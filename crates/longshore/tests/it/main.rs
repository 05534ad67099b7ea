//! Integration tests, in one binary.
#![expect(clippy::cast_possible_truncation, reason = "patterns of test bytes")]

mod callbacks;
mod examples;
mod net;
mod smoke;
