//! Files of a crate import one way: what imports each other in a circle is one thing in pieces, of
//! which no piece can be read alone.

mod imports;

use super::finding::Finding;
use super::source::shipped;
use super::tree::Tree;
use imports::Modules;
use std::collections::{BTreeMap, BTreeSet};

/// A circle that has to be, and why.
struct Circle {
    files: &'static [&'static str],
    reason: &'static str,
}

/// All that there may be.
const CIRCLES: &[Circle] = &[Circle {
    files: &[
        "crates/longshore/src/conn.rs",
        "crates/longshore/src/ctx.rs",
        "crates/longshore/src/handler.rs",
    ],
    reason: "a trait, what its callbacks act through, and the handle that both are named by",
}];

impl std::fmt::Display for Circle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.files.join(", "), self.reason)
    }
}

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    judge(tree, CIRCLES)
}

/// Prints the circles that are left.
pub(super) fn print() {
    for circle in CIRCLES {
        println!("circle {circle}");
    }
}

fn judge(tree: &Tree, permitted: &[Circle]) -> Vec<Finding> {
    let found = circles(tree);
    let is_named = |files: &Vec<String>| permitted.iter().any(|circle| circle.files == files);
    let unnamed = found.iter().filter(|files| !is_named(files)).map(|files| {
        let what = format!("imports itself by way of {}; cut that", files[1..].join(", "));
        Finding::new(&files[0], 0, what)
    });
    let gone = permitted.iter().filter(|circle| !found.iter().any(|files| circle.files == files));
    let gone = gone.map(|circle| {
        let what = format!("no such circle is left, take it from the list: {circle}");
        Finding::new("xtask/src/tidy/circles.rs", 0, what)
    });
    unnamed.chain(gone).collect()
}

/// Each circle, as its files in order.
fn circles(tree: &Tree) -> Vec<Vec<String>> {
    let mut crates: BTreeMap<&str, Vec<(&str, &str, String)>> = BTreeMap::new();
    for (path, text) in tree.files(".rs") {
        let Some((name, inner)) = path.split_once("/src/") else { continue };
        crates.entry(name).or_default().push((inner, path, shipped(path, text)));
    }
    crates.values().flat_map(|files| circles_of(files)).collect()
}

fn circles_of(files: &[(&str, &str, String)]) -> Vec<Vec<String>> {
    let files = files.iter().filter(|(.., code)| !code.is_empty());
    let modules = Modules::new(files.map(|(inner, path, code)| (*inner, *path, code.as_str())));
    let imports = modules.imports();
    let mut left: BTreeSet<&str> = imports.keys().copied().collect();
    let mut circles = Vec::new();
    while let Some(first) = left.pop_first() {
        let there = reach(&imports, first);
        let circle: Vec<_> =
            there.into_iter().filter(|file| reach(&imports, file).contains(first)).collect();
        for file in &circle {
            left.remove(file);
        }
        if !circle.is_empty() {
            circles.push(circle.into_iter().map(String::from).collect());
        }
    }
    circles
}

/// All files that `from` imports, and what those import; itself only in a circle.
fn reach<'a>(imports: &BTreeMap<&'a str, BTreeSet<&'a str>>, from: &str) -> BTreeSet<&'a str> {
    let mut there = BTreeSet::new();
    let mut next: Vec<&str> = imports[from].iter().copied().collect();
    while let Some(file) = next.pop() {
        if there.insert(file) {
            next.extend(&imports[file]);
        }
    }
    there
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: (&str, &str) = ("crates/x/src/a.rs", "use crate::b::B; pub struct A;");
    const B: (&str, &str) = ("crates/x/src/b.rs", "use crate::c::C; pub struct B;");
    const C: (&str, &str) = ("crates/x/src/c.rs", "use crate::a::A; pub struct C;");
    const REST: (&str, &str) = ("crates/x/src/d.rs", "use crate::a::A; pub struct D;");

    #[test]
    fn a_circle_is_found_whole() {
        let found = judge(&Tree::of(&[A, B, C, REST]), &[]);
        let what = "imports itself by way of crates/x/src/b.rs, crates/x/src/c.rs; cut that";
        assert_eq!(found, [Finding::new(A.0, 0, what)]);
        assert_eq!(
            judge(&Tree::of(&[A, B, REST, ("crates/x/src/c.rs", "pub struct C;")]), &[]),
            []
        );
        let in_tests = format!("pub struct C;\n#[cfg(test)]\nmod tests {{\n{}}}", C.1);
        assert_eq!(judge(&Tree::of(&[A, B, ("crates/x/src/c.rs", &in_tests)]), &[]), []);
    }

    #[test]
    fn what_is_named_may_be_and_has_to_be() {
        let files = &["crates/x/src/a.rs", "crates/x/src/b.rs", "crates/x/src/c.rs"];
        let named = || [Circle { files, reason: "so" }];
        assert_eq!(judge(&Tree::of(&[A, B, C]), &named()), []);
        let found = judge(&Tree::of(&[A, B]), &named());
        assert!(found.len() == 1 && found[0].what.contains("no such circle is left"), "{found:?}");
    }
}
