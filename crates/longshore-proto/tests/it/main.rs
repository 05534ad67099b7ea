//! The receive half with all codecs, from outside.

mod corpus;
mod filter;
mod hostile;
mod typed;
mod vectors;
