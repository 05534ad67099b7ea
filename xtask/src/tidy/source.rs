//! What may stand where in Rust source.

use super::finding::Finding;
use super::text::{code_of, line_of, without_tests, words};
use super::tree::Tree;

/// Lines a file may have without its tests.
const LINES_MAX: usize = 800;

/// Crates whose time, threads and order come from outside, so that a seed repeats a run.
const REPEATABLE: [&str; 3] = ["longshore", "longshore-proto", "longshore-sim"];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = forbidding(tree);
    for (path, text) in tree.files(".rs") {
        let file = File::new(path, text);
        let rules = [size, clock, threads, events, hashing, unsafe_code, systems, leftovers];
        findings.extend(rules.iter().flat_map(|rule| rule(&file)));
    }
    findings
}

/// The code of a file that ships, without comments and literals; nothing of a file of tests.
pub(super) fn shipped(path: &str, text: &str) -> String {
    File::new(path, text).shipped().into()
}

/// One source file and its place.
struct File<'a> {
    path: &'a str,
    /// Code without comments and literals, tests included.
    code: String,
    /// Crate and path in it, for files of the workspace.
    place: Option<(&'a str, &'a str)>,
    /// A file of tests, benches or examples; the contract suite is one that others can run.
    is_test: bool,
}

impl<'a> File<'a> {
    fn new(path: &'a str, text: &str) -> Self {
        let place = match path.strip_prefix("xtask/") {
            Some(inner) => Some(("xtask", inner)),
            None => path.strip_prefix("crates/").and_then(|path| path.split_once('/')),
        };
        let inner = place.map_or(path, |(_, inner)| inner);
        let folders = ["tests/", "benches/", "examples/", "src/contract/"];
        let is_test = folders.iter().any(|folder| inner.starts_with(folder))
            || inner.ends_with("/tests.rs")
            || inner.contains("/tests/");
        Self { path, code: code_of(text), place, is_test }
    }

    /// The code that ships; nothing of a file of tests.
    fn shipped(&self) -> &str {
        if self.is_test { "" } else { without_tests(&self.code) }
    }

    fn is_in(&self, crates: &[&str]) -> bool {
        self.place.is_some_and(|(name, _)| crates.contains(&name))
    }

    /// Whether this is one of `files`, or below one that ends with `/`.
    fn is_one_of(&self, files: &[&str]) -> bool {
        files.iter().any(|file| {
            if file.ends_with('/') { self.path.starts_with(file) } else { self.path == *file }
        })
    }

    fn finding(&self, at: usize, what: impl Into<String>) -> Finding {
        Finding::new(self.path, line_of(&self.code, at), what)
    }

    /// A finding for each place in `code` with one of `names`.
    fn each(&self, code: &str, names: &[impl AsRef<str>], why: &str) -> Vec<Finding> {
        let names = names.iter().map(AsRef::as_ref);
        let places = names.flat_map(|name| words(code, name).map(move |at| (at, name)));
        places.map(|(at, name)| self.finding(at, format!("{name}: {why}"))).collect()
    }
}

fn size(file: &File) -> Vec<Finding> {
    let count = file.shipped().lines().count();
    if count <= LINES_MAX {
        return Vec::new();
    }
    let what = format!("{count} lines without tests, at most {LINES_MAX}; split it by path");
    vec![Finding::new(file.path, 0, what)]
}

fn clock(file: &File) -> Vec<Finding> {
    let allowed = ["crates/longshore-port/src/driver/", "crates/longshore/src/client.rs"];
    let is_port = file.is_in(&["longshore-port", "longshore-base"]);
    if !(is_port || file.is_in(&REPEATABLE)) || file.is_one_of(&allowed) {
        return Vec::new();
    }
    let why = "time comes from the port, `Port::now`";
    file.each(file.shipped(), &["Instant::now", "SystemTime::now"], why)
}

fn threads(file: &File) -> Vec<Finding> {
    let allowed = ["crates/longshore/src/server/threads.rs", "crates/longshore-port/src/jobs.rs"];
    let is_port = file.is_in(&["longshore-port", "longshore-base"]);
    if !(is_port || file.is_in(&REPEATABLE)) || file.is_one_of(&allowed) {
        return Vec::new();
    }
    let why =
        "threads start in longshore/src/server/threads.rs and longshore-port/src/jobs.rs only";
    file.each(file.shipped(), &["thread::spawn", "thread::Builder", "thread::scope"], why)
}

/// Log subscribers are code of the user's, and may panic.
fn events(file: &File) -> Vec<Finding> {
    if !file.is_in(&REPEATABLE) && !file.is_in(&["longshore-port", "longshore-base"]) {
        return Vec::new();
    }
    let why = "events are logged with `event!`, which survives a subscriber that panics";
    let levels = ["error", "warn", "info", "debug", "trace"];
    file.each(file.shipped(), &levels.map(|level| format!("tracing::{level}!")), why)
}

/// A map of the standard library walks in another order in each run, unless its hasher is given.
fn hashing(file: &File) -> Vec<Finding> {
    if !file.is_in(&REPEATABLE) {
        return Vec::new();
    }
    let code = file.shipped();
    let maps = [("HashMap", 2), ("HashSet", 1)];
    let places = maps.iter().flat_map(|(name, given)| {
        words(code, name).map(move |at| (at, *name, &code[at + name.len()..], *given))
    });
    let random = places
        .filter(|(at, _, after, given)| !is_import(code, *at) && hasher_is_random(after, *given));
    let findings = random.map(|(at, name, ..)| {
        file.finding(at, format!("{name} without a hasher of its own: its order is random"))
    });
    findings.chain(file.each(code, &["RandomState"], "its order is random")).collect()
}

/// Whether the statement that `at` is in imports names.
fn is_import(code: &str, at: usize) -> bool {
    let start = code[..at].rfind(';').map_or(0, |at| at + 1);
    let statement = code[start..at].trim_start();
    let last_use = words(statement, "use").last();
    last_use.is_some_and(|at| !statement[at..].contains(['(', ')', '=']))
}

/// `after` is what follows the name of a map that has `given` parameters without the hasher.
fn hasher_is_random(after: &str, given: usize) -> bool {
    let after = after.strip_prefix("::").unwrap_or(after);
    if let Some(parameters) = after.strip_prefix('<') {
        return parameter_count(parameters) <= given;
    }
    !["with_hasher", "with_capacity_and_hasher"].iter().any(|name| after.starts_with(name))
}

/// Parameters up to the closing `>`.
fn parameter_count(list: &str) -> usize {
    let (mut depth, mut count, mut empty) = (0usize, 0, true);
    for char in list.chars() {
        match char {
            '<' | '(' | '[' => depth += 1,
            '>' if depth == 0 => break,
            '>' | ')' | ']' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => (count, empty) = (count + 1, true),
            _ if !char.is_whitespace() => empty = false,
            _ => {}
        }
    }
    count + usize::from(!empty)
}

fn unsafe_code(file: &File) -> Vec<Finding> {
    let allowed = ["crates/longshore-port/src/driver/", "crates/longshore-port/src/recv_pool.rs"];
    if file.place.is_none() || file.is_one_of(&allowed) {
        return Vec::new();
    }
    file.each(&file.code, &["unsafe"], "only the drivers and recv_pool.rs of longshore-port")
}

/// Every crate but the port has the compiler refuse unsafe code.
fn forbidding(tree: &Tree) -> Vec<Finding> {
    let roots = tree.files(".rs").filter(|(path, _)| {
        let file = File::new(path, "");
        let is_root = |(_, inner)| inner == "src/lib.rs" || inner == "src/main.rs";
        file.place.is_some_and(is_root) && !file.is_in(&["longshore-port"])
    });
    let without = roots.filter(|(_, text)| !code_of(text).contains("#![forbid(unsafe_code)]"));
    without.map(|(path, _)| Finding::new(path, 0, "says no #![forbid(unsafe_code)]")).collect()
}

fn systems(file: &File) -> Vec<Finding> {
    let allowed = [
        "crates/longshore-port/src/driver/mod.rs",
        "crates/longshore-port/src/driver/os/",
        "crates/longshore-port/src/driver/poller/mod.rs",
        "crates/longshore/src/signals.rs",
        "crates/longshore-cli/src/terminal.rs",
    ];
    if file.place.is_none() || file.is_one_of(&allowed) {
        return Vec::new();
    }
    let code = file.shipped();
    let heads = ["cfg(", "cfg!(", "cfg_attr("];
    let places = heads.iter().flat_map(|head| words(code, head).map(|at| (at, at + head.len())));
    let asking = places.filter(|(_, from)| asks_for_system(condition(&code[*from..])));
    let why =
        "only the driver switch of longshore-port and longshore/src/signals.rs ask for a system";
    asking.map(|(at, _)| file.finding(at, why)).collect()
}

/// What stands before the parenthesis that closes.
fn condition(rest: &str) -> &str {
    let mut depth = 1usize;
    let end = rest.find(|char| {
        depth = match char {
            '(' => depth + 1,
            ')' => depth - 1,
            _ => depth,
        };
        depth == 0
    });
    &rest[..end.unwrap_or(rest.len())]
}

fn asks_for_system(condition: &str) -> bool {
    let names = ["target_os", "target_family", "unix", "windows"];
    names.iter().any(|name| words(condition, name).next().is_some())
}

fn leftovers(file: &File) -> Vec<Finding> {
    let names = ["todo!", "unimplemented!", "dbg!", "#[ignore"];
    file.each(&file.code, &names, "finish it or leave it out")
}

#[cfg(test)]
mod tests;
