//! `cargo xtask tidy`: the rules of the tree that neither the compiler nor clippy knows.
//!
//! A rule is a function from a [`Tree`] to findings, so that each is seen to fail on a sample.

mod budget;
mod circles;
mod finding;
mod manifest;
mod mutants;
mod papers;
mod source;
mod text;
mod tree;

use crate::steps::Outcome;
use finding::Finding;
use std::path::Path;
use tree::Tree;

pub(crate) const HELP: &str = "\
The rules of the tree that neither the compiler nor clippy knows.

usage: cargo xtask tidy

  imports    crates use only the crates below them
  circles    files of a crate import one way; what may be otherwise is listed with its reason
  reasons    every dependency stands once, in the root manifest, with its reason
  size       a file has at most 800 lines without its tests
  clock, threads, hashing
             time, threads and random order come only from where they belong
  events     log lines go through `event!`, which survives whoever listens
  unsafe     only in the drivers and the receive pool of longshore-port
  systems    only the driver switch and the signal file ask which system this is
  leftovers  nothing unfinished, nothing ignored
  coverage   docs/coverage.md has each of S1 to S152 once, and names tests that are there
  links      relative links in documents lead somewhere
  mutants    what a planted bug replaces stands in the source, once
  budget     how many crates library and program pull in
";

/// Checks the tree at `root` and prints what is wrong. Whether nothing is.
pub(crate) fn run(root: &Path) -> bool {
    let outcome = step(root);
    match &outcome {
        Outcome::Failed(text) => println!("{text}"),
        Outcome::Passed | Outcome::Skipped(_) => {
            circles::print();
            println!("tidy");
        }
    }
    outcome == Outcome::Passed
}

/// The same as a step of the tests.
pub(crate) fn step(root: &Path) -> Outcome {
    let tree = match Tree::read(root) {
        Ok(tree) => tree,
        Err(error) => return Outcome::Failed(format!("cannot read the tree: {error}")),
    };
    let mut findings = check(&tree);
    findings.extend(budget::check(root));
    if findings.is_empty() {
        return Outcome::Passed;
    }
    findings.sort();
    let lines: Vec<String> = findings.iter().map(Finding::to_string).collect();
    Outcome::Failed(format!("{}\n{} not tidy", lines.join("\n"), lines.len()))
}

/// Everything that can be seen in the files themselves.
fn check(tree: &Tree) -> Vec<Finding> {
    let rules = [manifest::check, circles::check, source::check, papers::check, mutants::check];
    rules.iter().flat_map(|rule| rule(tree)).collect()
}
