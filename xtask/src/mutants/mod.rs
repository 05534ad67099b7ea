//! `cargo xtask mutants`: planted bugs, each of which a test has to find.
//!
//! A test that has never failed has proved nothing. Here each names the bug it is there for, and is
//! seen to fail with it: in a copy of the tree, so that nobody's work is touched.

mod copy;
mod list;
mod plant;
mod trial;

use crate::steps::{Outcome, target_dir};
use crate::windows;
use copy::Copy;
use list::Entry;
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};
use trial::{Bench, Verdict};

pub(crate) use list::{LIST, parse};
pub(crate) use plant::find;

pub(crate) const HELP: &str = "\
Planted bugs, each of which its test has to find. In a copy of the tree; takes minutes.

usage: cargo xtask mutants [--list] [--limit SECONDS] [NAME...]

  NAME             only those whose names contain one of these
  --list           says what there is, and plants nothing
  --limit SECONDS  how long a test may take until it counts as hanging, and thereby as one
                   that has found its bug; 120 unless told, compiling not counted

The bugs stand in xtask/mutants.txt, which says how. First every test has to pass as the tree is;
then each bug is planted by itself. It fails when a test misses its bug, when a bug does not
compile, and when a test is not there. `cargo xtask tidy` looks that each bug has its place.

examples:
  cargo xtask mutants
  cargo xtask mutants --list
  cargo xtask mutants door uring_cancel
  cargo xtask mutants --limit 20 starved
";

/// How long a test may take.
const LIMIT: Duration = Duration::from_secs(120);

/// What `cargo xtask mutants` was asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Options {
    names: Vec<String>,
    list: bool,
    limit: Duration,
}

impl Options {
    /// Reads the arguments behind `mutants`.
    ///
    /// # Errors
    /// Names the argument that is wrong.
    pub(crate) fn parse(mut args: &[&str]) -> Result<Self, String> {
        let mut options = Self { names: Vec::new(), list: false, limit: LIMIT };
        loop {
            args = match args {
                [] => return Ok(options),
                ["--list", rest @ ..] => {
                    options.list = true;
                    rest
                }
                ["--limit", seconds, rest @ ..] => {
                    let limit = seconds.parse().ok().filter(|&seconds: &u64| seconds > 0);
                    let wrong = || format!("--limit needs seconds from 1, not {seconds}");
                    options.limit = Duration::from_secs(limit.ok_or_else(wrong)?);
                    rest
                }
                ["--limit"] => return Err("--limit needs seconds".into()),
                [other, ..] if other.starts_with('-') => {
                    return Err(format!("mutants takes no {other}"));
                }
                [name, rest @ ..] => {
                    options.names.push((*name).into());
                    rest
                }
            };
        }
    }

    fn wants(&self, entry: &Entry) -> bool {
        self.names.is_empty() || self.names.iter().any(|name| entry.name.contains(name.as_str()))
    }
}

/// Plants what was asked for. Whether every bug was found.
pub(crate) fn run(root: &Path, options: &Options) -> bool {
    let done = chosen(root, options).and_then(|entries| {
        if options.list {
            list_all(&entries);
            return Ok(true);
        }
        plant_all(root, options, &entries)
    });
    done.unwrap_or_else(|error| {
        eprintln!("cargo xtask mutants: {error}");
        false
    })
}

fn chosen(root: &Path, options: &Options) -> Result<Vec<Entry>, String> {
    let text = std::fs::read_to_string(root.join(LIST));
    let mut entries = parse(&text.map_err(|error| format!("{LIST}: {error}"))?)
        .map_err(|(line, what)| format!("{LIST}:{line}: {what}"))?;
    entries.retain(|entry| options.wants(entry));
    if entries.is_empty() {
        return Err(format!("no bug has {} in its name", options.names.join(" or ")));
    }
    Ok(entries)
}

fn list_all(entries: &[Entry]) {
    let all = entries.iter().map(|entry| format!("{}\n    {}\n", entry.name, entry.command()));
    // Whoever reads the list may have seen enough of it.
    let _ = io::stdout().write_all(all.collect::<String>().as_bytes());
}

fn plant_all(root: &Path, options: &Options, entries: &[Entry]) -> Result<bool, String> {
    let folder = target_dir(root).join("mutants");
    let copy = Copy::of(root, folder.join("tree"))?;
    let sources = copy.sources()?;
    let files = || sources.iter().map(|(path, text)| (path.as_str(), text.as_str()));
    // All of them before the first build: who moved a line learns of every entry that knew it.
    let places: Result<Vec<_>, _> = entries.iter().map(|entry| find(entry, files())).collect();
    let places = places?;
    let wants_windows = entries.iter().any(|entry| entry.windows);
    let is_there = wants_windows && windows::set_up(root) == Outcome::Passed;
    let windows = is_there.then(|| windows::env(root));
    let bench = Bench::new(copy.root(), &folder, options.limit, windows)?;
    let skipped = check_unplanted(&bench, entries)?;
    let mut tally = Tally::default();
    for (entry, place) in entries.iter().zip(&places) {
        if skipped.contains(&entry.command()) {
            tally.skipped += 1;
            println!("{:<56} SKIPPED, its test does not run here", entry.name);
            continue;
        }
        print!("{:<56} ", entry.name);
        // A line that cannot be shown is no reason to stop.
        let _ = io::stdout().flush();
        let begun = Instant::now();
        let text = &sources[&place.path];
        copy.write(&place.path, place.planted(text, entry))?;
        let tried = bench.try_planted(entry);
        copy.write(&place.path, text)?;
        let verdict = tried?;
        println!("{verdict}  {:.1} s", begun.elapsed().as_secs_f64());
        tally.add(verdict);
    }
    println!("{tally}, output in {}", bench.logs().display());
    Ok(tally.missed == 0 && tally.broken == 0)
}

/// Every test has to be there and to pass. Says which do not run on this machine.
fn check_unplanted(bench: &Bench, entries: &[Entry]) -> Result<Vec<String>, String> {
    let mut commands: Vec<String> = Vec::new();
    let (mut skipped, mut wrong) = (Vec::new(), Vec::new());
    for entry in entries {
        let command = entry.command();
        if commands.contains(&command) {
            continue;
        }
        match bench.try_unplanted(entry) {
            Ok(true) => {}
            Ok(false) => skipped.push(command.clone()),
            Err(error) => wrong.push(format!("{}: {command}: {error}", entry.name)),
        }
        commands.push(command);
    }
    if wrong.is_empty() {
        println!("{} tests pass as the tree is", commands.len() - skipped.len());
        return Ok(skipped);
    }
    Err(format!("with no bug planted:\n{}", wrong.join("\n")))
}

/// How the trials ended so far.
#[derive(Debug, Default)]
struct Tally {
    found: usize,
    missed: usize,
    broken: usize,
    skipped: usize,
}

impl Tally {
    fn add(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Failed | Verdict::Hung => self.found += 1,
            Verdict::NotFound => self.missed += 1,
            Verdict::DoesNotCompile => self.broken += 1,
        }
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} found, {} not found", self.found, self.missed)?;
        let rare = [(self.broken, "not compiled"), (self.skipped, "skipped")];
        rare.iter()
            .filter(|(count, _)| *count > 0)
            .try_for_each(|(count, what)| write!(f, ", {count} {what}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_wrong_ones_are_named() {
        let options = Options::parse(&["door", "--limit", "5", "ring"]).unwrap();
        assert_eq!(options.names, ["door", "ring"]);
        assert_eq!((options.list, options.limit), (false, Duration::from_secs(5)));
        assert!(Options::parse(&["--list"]).unwrap().list);
        assert_eq!(Options::parse(&["--all"]).unwrap_err(), "mutants takes no --all");
        let zero = Options::parse(&["--limit", "0"]).unwrap_err();
        assert_eq!(zero, "--limit needs seconds from 1, not 0");
    }

    #[test]
    fn a_name_chooses_by_a_part_of_it_and_no_name_chooses_all() {
        let entries = parse("mutant a_door\ntest x\n- a\n\nmutant ring\ntest x\n- b\n").unwrap();
        let chosen = |names: &[&str]| {
            let options = Options::parse(names).unwrap();
            entries.iter().filter(|entry| options.wants(entry)).count()
        };
        assert_eq!((chosen(&[]), chosen(&["door"]), chosen(&["door", "in"])), (2, 1, 2));
        assert_eq!(chosen(&["window"]), 0);
    }

    #[test]
    fn the_summary_counts_what_hangs_as_found() {
        let mut tally = Tally::default();
        for verdict in [Verdict::Failed, Verdict::Hung, Verdict::NotFound] {
            tally.add(verdict);
        }
        assert_eq!(tally.to_string(), "2 found, 1 not found");
        tally.add(Verdict::DoesNotCompile);
        assert_eq!(tally.to_string(), "2 found, 1 not found, 1 not compiled");
    }
}
