//! Documents: what is owed stands in the coverage table, and links lead somewhere.

use super::finding::Finding;
use super::tree::Tree;

/// The last number of what is owed.
const OWED_LAST: u32 = 152;

/// The table of what is owed.
const COVERAGE: &str = "docs/coverage.md";

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = match tree.text(COVERAGE) {
        Some(text) => [coverage(text), missing_tests(tree, text)].concat(),
        None => vec![Finding::new(COVERAGE, 0, "is missing")],
    };
    findings.extend(tree.files(".md").flat_map(|(path, text)| dead_links(tree, path, text)));
    findings
}

/// Each number has one row, with a state; what is done has a proof.
fn coverage(text: &str) -> Vec<Finding> {
    let rows = text.lines().enumerate().filter_map(|(index, line)| {
        let cells: Vec<&str> = line.strip_prefix("| S")?.split('|').map(str::trim).collect();
        Some((index + 1, cells))
    });
    let mut rows_of = vec![0u32; OWED_LAST as usize + 1];
    let mut findings = Vec::new();
    for (line, cells) in rows {
        let mut say = |what: String| findings.push(Finding::new(COVERAGE, line, what));
        match cells[0].parse::<u32>() {
            Ok(number @ 1..=OWED_LAST) => rows_of[number as usize] += 1,
            _ => say(format!("there is no S{}", cells[0])),
        }
        match cells.as_slice() {
            [_, owed, state, proof, ""] => {
                if owed.is_empty() {
                    say(format!("S{} does not say what is owed", cells[0]));
                }
                if let Some(what) = wrong_state(state, proof) {
                    say(format!("S{}: {what}", cells[0]));
                }
            }
            _ => say(format!("S{} needs number, what is owed, state, proof", cells[0])),
        }
    }
    for (number, rows) in rows_of.iter().enumerate().skip(1).filter(|(_, rows)| **rows != 1) {
        findings.push(Finding::new(
            COVERAGE,
            0,
            format!("S{number} has {rows} rows instead of one"),
        ));
    }
    findings
}

/// What is wrong with the state of a row.
fn wrong_state(state: &str, proof: &str) -> Option<&'static str> {
    match state.split_once(':') {
        None if state == "planned" => None,
        None if state == "done" && proof.is_empty() => Some("done, but without a proof"),
        None if state == "done" => None,
        Some(("declined", reason)) if reason.trim().is_empty() => Some("declined without a reason"),
        Some(("declined", _)) => None,
        _ => Some("the state is done, planned, or declined with a reason"),
    }
}

/// Tests that the table names and that are not there. A name of a test has underscores; one that
/// ends in `…` stands for several.
fn missing_tests(tree: &Tree, text: &str) -> Vec<Finding> {
    let is_name = |word: &str| {
        let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        word.matches('_').count() >= 2 && word.chars().all(letter)
    };
    let is_there = |name: &str| {
        let function = [format!("fn {name}("), format!("fn {name}<")];
        tree.files(".rs").any(|(_, text)| function.iter().any(|it| text.contains(it)))
    };
    let rows = text.lines().enumerate().filter(|(_, line)| line.starts_with("| S"));
    let names = rows.flat_map(|(index, row)| {
        row.split('`').skip(1).step_by(2).map(move |name| (index + 1, name))
    });
    names
        .filter(|(_, name)| is_name(name) && !is_there(name))
        .map(|(line, name)| Finding::new(COVERAGE, line, format!("there is no test {name}")))
        .collect()
}

/// Relative links that lead nowhere.
fn dead_links(tree: &Tree, path: &str, text: &str) -> Vec<Finding> {
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut findings = Vec::new();
    let mut in_fence = false;
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_fence = !in_fence;
        } else if !in_fence {
            let dead = links(line).filter(|link| !leads_somewhere(tree, folder, link));
            findings.extend(dead.map(|link| {
                Finding::new(path, index + 1, format!("the link {link} leads nowhere"))
            }));
        }
    }
    findings
}

/// Targets of `[text](target)` and `[name]: target`, without those in `code`.
fn links(line: &str) -> impl Iterator<Item = &str> {
    let defined = line.strip_prefix('[').and_then(|rest| rest.split_once("]: "));
    let defined = defined.and_then(|(_, target)| target.split_whitespace().next());
    let inline = line.match_indices("](").filter_map(|(at, _)| {
        let in_code = line[..at].matches('`').count() % 2 == 1;
        let target = line[at + 2..].split([')', ' ']).next();
        target.filter(|_| !in_code)
    });
    inline.chain(defined)
}

fn leads_somewhere(tree: &Tree, folder: &str, link: &str) -> bool {
    let link = link.split('#').next().unwrap_or(link).trim_end_matches('/');
    if link.is_empty() || link.contains("://") || link.starts_with("mailto:") {
        return true;
    }
    joined(folder, link).is_some_and(|path| tree.has(&path))
}

/// `link` seen from `folder`; nothing if it leaves the tree.
fn joined(folder: &str, link: &str) -> Option<String> {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in link.split('/') {
        match part {
            "." | "" => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(row: impl Fn(u32) -> String) -> String {
        (1..=OWED_LAST).map(row).collect()
    }

    fn planned(number: u32) -> String {
        format!("| S{number} | something | planned | |\n")
    }

    fn whats(findings: &[Finding]) -> Vec<&str> {
        findings.iter().map(|finding| finding.what.as_str()).collect()
    }

    #[test]
    fn each_number_has_one_row() {
        assert_eq!(coverage(&table(planned)), []);
        let without = table(|number| if number == 7 { String::new() } else { planned(number) });
        assert_eq!(whats(&coverage(&without)), ["S7 has 0 rows instead of one"]);
        let twice = format!("{}{}", table(planned), planned(9));
        assert_eq!(whats(&coverage(&twice)), ["S9 has 2 rows instead of one"]);
        let beyond = format!("{}{}", table(planned), planned(153));
        assert_eq!(whats(&coverage(&beyond)), ["there is no S153"]);
    }

    #[test]
    fn a_row_has_a_state_and_what_is_done_a_proof() {
        let with = |rest: &str| {
            let rest = rest.to_owned();
            coverage(&table(move |n| if n == 3 { format!("| S3 {rest}\n") } else { planned(n) }))
        };
        assert_eq!(with("| a | done | `tests/it/echo.rs` |"), []);
        assert_eq!(with("| a | declined: no use on TCP | |"), []);
        assert_eq!(whats(&with("| a | done | |")), ["S3: done, but without a proof"]);
        assert_eq!(whats(&with("| a | declined: | |")), ["S3: declined without a reason"]);
        let state = "S3: the state is done, planned, or declined with a reason";
        assert_eq!(whats(&with("| a | soon | |")), [state]);
        assert_eq!(whats(&with("| | planned | |")), ["S3 does not say what is owed"]);
        assert_eq!(whats(&with("| planned |")), ["S3 needs number, what is owed, state, proof"]);
    }

    #[test]
    fn the_tests_that_the_table_names_are_there() {
        let rust = "fn one_is_there(lab: &mut Lab) {}\nfn two_is_there<B: Bench>() {}\n";
        let tree = Tree::of(&[("crates/a/tests/b.rs", rust)]);
        let rows = "| S1 | a | done | `one_is_there`, `two_is_there`, `three_…`, `Token` |\n\
                    not_in_the_table, `not_in_the_table`\n\
                    | S2 | a | planned | `r99_is_there` |\n";
        let found = missing_tests(&tree, rows);
        assert_eq!(whats(&found), ["there is no test r99_is_there"]);
        assert_eq!(found[0].line, 3);
    }

    #[test]
    fn the_table_itself_is_there() {
        assert_eq!(whats(&check(&Tree::default())), ["is missing"]);
    }

    #[test]
    fn relative_links_lead_to_files_and_folders() {
        let text = "[a](b.md) [c](../README.md#top) [d](https://example.org) [e](#here) [f](../docs/)\n\
                    `[g](none.md)`\n```\n[h](none.md)\n```\n[i]: b.md\n";
        let tree = Tree::of(&[("docs/a.md", text), ("docs/b.md", ""), ("README.md", "")]);
        assert_eq!(dead_links(&tree, "docs/a.md", text), []);
        let dead = "[a](none.md)\n![b](../../out.png) [c](b.md)\n\n[d]: ./no.md\n";
        let found = dead_links(&tree, "docs/a.md", dead);
        let lines: Vec<usize> = found.iter().map(|finding| finding.line).collect();
        assert_eq!(lines, [1, 2, 4]);
        assert_eq!(found[0].what, "the link none.md leads nowhere");
    }
}
