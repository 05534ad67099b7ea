//! How many crates the library and the program pull in.

use super::finding::Finding;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

/// Packages, and how many others each may need when it is built with default features.
const BUDGETS: [(&str, usize); 2] = [("longshore", 45), ("longshore-cli", 160)];

/// Asks cargo for the trees of dependencies.
pub(super) fn check(root: &Path) -> Vec<Finding> {
    BUDGETS.iter().filter_map(|(package, max)| over(package, *max, tree(root, package))).collect()
}

fn tree(root: &Path, package: &str) -> Result<String, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let output = Command::new(cargo)
        .args(["tree", "--package", package, "--edges", "normal", "--prefix", "none"])
        .args(["--format", "{p}", "--color", "never"])
        .current_dir(root)
        .output()
        .map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
}

/// Counts the packages of `tree` but the first, which is the one that was asked for.
fn over(package: &str, max: usize, tree: Result<String, String>) -> Option<Finding> {
    let path = format!("crates/{package}/Cargo.toml");
    let tree = match tree {
        Ok(tree) => tree,
        Err(error) => return Some(Finding::new(&path, 0, format!("cargo tree: {error}"))),
    };
    let lines = tree.lines().map(|line| line.trim_end_matches(" (*)"));
    let packages: BTreeSet<&str> = lines.filter(|line| !line.is_empty()).collect();
    let count = packages.len().saturating_sub(1);
    let what = format!("{package} needs {count} crates, its budget is {max}");
    (count > max).then(|| Finding::new(&path, 0, what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_counts_once_and_the_root_not_at_all() {
        let tree = "longshore v0.1.0 (/x)\nbytes v1.1.0\nlibc v0.2.1\nbytes v1.1.0 (*)\n";
        assert_eq!(over("longshore", 2, Ok(tree.into())), None);
        let finding = over("longshore", 1, Ok(tree.into())).unwrap();
        assert_eq!(finding.what, "longshore needs 2 crates, its budget is 1");
    }

    #[test]
    fn a_tree_that_cannot_be_had_is_a_finding() {
        let finding = over("longshore", 45, Err("no such package".into())).unwrap();
        assert_eq!(finding.what, "cargo tree: no such package");
    }
}
