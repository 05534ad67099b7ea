//! Which crate may use which, and the reason of every dependency.

use super::finding::Finding;
use super::tree::Tree;

/// What each crate may use, and what only in its tests or as an optional dependency.
const EDGES: [(&str, &[&str], &[&str]); 6] = [
    ("longshore-base", &[], &[]),
    ("longshore-port", &["longshore-base"], &[]),
    ("longshore-sim", &["longshore-base", "longshore-port"], &[]),
    ("longshore-proto", &["longshore-base"], &[]),
    ("longshore", &["longshore-base", "longshore-port", "longshore-proto"], &["longshore-sim"]),
    ("longshore-cli", &["longshore"], &[]),
];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = reasons(tree);
    for (path, text) in tree.files("Cargo.toml") {
        let Some(name) = crate_of(path) else { continue };
        findings.extend(imports(path, name, text));
        findings.extend(inherited(path, text));
    }
    findings
}

/// The crate whose manifest `path` is.
fn crate_of(path: &str) -> Option<&str> {
    let folder = path.strip_suffix("/Cargo.toml")?;
    let name = folder.strip_prefix("crates/").unwrap_or(folder);
    (name == "xtask" || folder != name).then_some(name)
}

/// A line of a table of dependencies.
struct Dependency<'a> {
    line: usize,
    /// Name of the table: `dependencies`, `dev-dependencies`, …
    table: &'a str,
    name: &'a str,
    /// Behind the first `=`, with comments.
    value: &'a str,
    /// Whether it says `name.workspace = …`.
    dotted_workspace: bool,
}

/// The dependencies of a manifest, each on a line of its own, as `cargo fmt` would have it.
fn dependencies(text: &str) -> impl Iterator<Item = Dependency<'_>> {
    let mut section = "";
    text.lines().enumerate().filter_map(move |(index, line)| {
        let line = line.trim();
        if let Some(header) = line.strip_prefix('[') {
            section = header.trim_end_matches(']');
            let (table, name) = section.rsplit_once('.')?;
            let whole_table = table.ends_with("dependencies");
            let table = table.rsplit('.').next().unwrap_or(table);
            return whole_table.then_some(Dependency {
                line: index + 1,
                table,
                name,
                value: "",
                dotted_workspace: false,
            });
        }
        let table = section.rsplit('.').next().unwrap_or(section);
        if line.starts_with('#') || !table.ends_with("dependencies") {
            return None;
        }
        let (key, value) = line.split_once('=')?;
        let (name, dotted) = key.trim().split_once('.').unwrap_or((key.trim(), ""));
        let dotted_workspace = dotted == "workspace";
        Some(Dependency { line: index + 1, table, name, value: value.trim(), dotted_workspace })
    })
}

/// Imports go one way.
fn imports(path: &str, name: &str, text: &str) -> Vec<Finding> {
    let edges = EDGES.iter().find(|(of, ..)| *of == name);
    let (always, at_times) = edges.map_or((&[][..], &[][..]), |(_, a, b)| (*a, *b));
    let own = |dependency: &Dependency| dependency.name.starts_with("longshore");
    let allowed = |dependency: &Dependency| {
        let is_dev = dependency.table == "dev-dependencies";
        let is_optional = dependency.value.replace(' ', "").contains("optional=true");
        always.contains(&dependency.name)
            || at_times.contains(&dependency.name) && (is_dev || is_optional)
            // Its own tests may turn a feature of a crate on.
            || is_dev && dependency.name == name
    };
    let wrong = dependencies(text).filter(|dependency| own(dependency) && !allowed(dependency));
    wrong
        .map(|dependency| {
            let what = format!("{name} may not use {} in [{}]", dependency.name, dependency.table);
            Finding::new(path, dependency.line, what)
        })
        .collect()
}

/// A version stands once, in the root manifest.
fn inherited(path: &str, text: &str) -> Vec<Finding> {
    let is_inherited = |dependency: &Dependency| {
        dependency.dotted_workspace || dependency.value.replace(' ', "").contains("workspace=true")
    };
    let wrong = dependencies(text).filter(|dependency| !is_inherited(dependency));
    wrong
        .map(|dependency| {
            let what = format!("{} does not take its version from the root", dependency.name);
            Finding::new(path, dependency.line, what)
        })
        .collect()
}

/// Every dependency from outside has a reason.
fn reasons(tree: &Tree) -> Vec<Finding> {
    let path = "Cargo.toml";
    let Some(text) = tree.text(path) else { return Vec::new() };
    let outside = dependencies(text).filter(|dependency| !dependency.name.starts_with("longshore"));
    let without = outside.filter(|dependency| reason(dependency.value).is_empty());
    without
        .map(|dependency| {
            let what = format!("{} has no reason in a comment on its line", dependency.name);
            Finding::new(path, dependency.line, what)
        })
        .collect()
}

/// The comment at the end of `value`.
fn reason(value: &str) -> &str {
    let mut in_string = false;
    for (at, char) in value.char_indices() {
        match char {
            '"' => in_string = !in_string,
            '#' if !in_string => return value[at + 1..].trim(),
            _ => {}
        }
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(files: &[(&str, &str)]) -> Vec<String> {
        check(&Tree::of(files)).iter().map(Finding::to_string).collect()
    }

    #[test]
    fn imports_go_one_way() {
        let port = "[dependencies]\nlongshore-base.workspace = true\nbytes.workspace = true\n";
        assert_eq!(lines(&[("crates/longshore-port/Cargo.toml", port)]), [""; 0]);
        let base = "[dependencies]\nlongshore-port = { workspace = true }\n";
        assert_eq!(
            lines(&[("crates/longshore-base/Cargo.toml", base)]),
            [
                "crates/longshore-base/Cargo.toml:2: longshore-base may not use longshore-port in [dependencies]"
            ]
        );
        let proto = "[target.'cfg(unix)'.dependencies]\nlongshore-port.workspace = true\n";
        assert_eq!(lines(&[("crates/longshore-proto/Cargo.toml", proto)]).len(), 1);
        let cli = "[dev-dependencies.longshore-sim]\nworkspace = true\n";
        let found = lines(&[("crates/longshore-cli/Cargo.toml", cli)]);
        assert!(found[0].contains("longshore-cli may not use longshore-sim"), "{found:?}");
        let xtask = "[dependencies]\nlongshore.workspace = true\n";
        assert_eq!(lines(&[("xtask/Cargo.toml", xtask)]).len(), 1);
    }

    #[test]
    fn the_simulation_is_for_tests_or_optional() {
        let sim = |table: &str, value: &str| {
            let text = format!("[{table}]\nlongshore-sim = {value}\n");
            lines(&[("crates/longshore/Cargo.toml", &text)]).len()
        };
        assert_eq!(sim("dev-dependencies", "{ workspace = true }"), 0);
        assert_eq!(sim("dependencies", "{ workspace = true, optional = true }"), 0);
        assert_eq!(sim("dependencies", "{ workspace = true }"), 1);
    }

    #[test]
    fn a_version_stands_in_the_root_manifest_only() {
        let text = "[dependencies]\nbytes = \"1\"\n[dev-dependencies]\nproptest.workspace = true\n";
        assert_eq!(
            lines(&[("crates/longshore-base/Cargo.toml", text)]),
            ["crates/longshore-base/Cargo.toml:2: bytes does not take its version from the root"]
        );
    }

    #[test]
    fn a_dependency_has_a_reason() {
        let root = "[workspace.dependencies]\nlongshore = { path = \"crates/longshore\" }\n\
                    bytes = \"1\" # shared payloads\nlibc = \"0.2\"\nodd = \"#1\"\nbare = \"1\" #\n";
        let found = lines(&[("Cargo.toml", root)]);
        let named: Vec<_> = found.iter().map(|line| line.split(' ').nth(1).unwrap()).collect();
        assert_eq!(named, ["libc", "odd", "bare"]);
    }
}
