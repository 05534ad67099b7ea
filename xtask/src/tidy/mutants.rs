//! The list of planted bugs keeps up with the source.

use super::finding::Finding;
use super::tree::Tree;
use crate::mutants::{LIST, find, parse};

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let Some(text) = tree.text(LIST) else { return vec![Finding::new(LIST, 0, "is missing")] };
    let entries = match parse(text) {
        Ok(entries) => entries,
        Err((line, what)) => return vec![Finding::new(LIST, line, what)],
    };
    entries
        .iter()
        .filter_map(|entry| {
            let error = find(entry, tree.files(".rs")).err()?;
            Some(Finding::new(LIST, entry.line, error))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_planted_bug_whose_place_is_lost_is_a_finding() {
        let list = "mutant bug\ntest x\n- a();\n";
        let source = "crates/longshore/src/lib.rs";
        assert_eq!(check(&Tree::of(&[(LIST, list), (source, "fn f() { a(); }")])), []);
        let found = check(&Tree::of(&[(LIST, list), (source, "fn f() { b(); }")]));
        let what = "what bug replaces stands nowhere under crates/*/src";
        assert_eq!(found, [Finding::new(LIST, 1, what)]);
        assert_eq!(check(&Tree::of(&[(LIST, "mutant bug\n")])).len(), 1);
        assert_eq!(check(&Tree::of(&[])), [Finding::new(LIST, 0, "is missing")]);
    }
}
