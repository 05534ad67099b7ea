//! Holds tables of the guide to the code that they are about.

use std::fmt::Write;

/// Fails with the text to paste when the page's table of that head is another one. The page is
/// named from the root of the tree.
#[track_caller]
pub(crate) fn check<const N: usize>(page: &str, head: [&str; N], rows: &[[String; N]]) {
    let path = format!("{}/../../{page}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let wanted = table(head, rows);
    let first = wanted.lines().next().unwrap_or_default();
    let found: String = text
        .lines()
        .skip_while(|line| *line != first)
        .take_while(|line| line.starts_with('|'))
        .flat_map(|line| [line, "\n"])
        .collect();
    assert!(found == wanted, "{page} is behind the code; its table is to be\n\n{wanted}");
}

/// The first cell of each row is code.
fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    let mut text = format!("| {} |\n|{}\n", head.join(" | "), " --- |".repeat(N));
    for row in rows {
        let cells = row.each_ref().map(|cell| cell.trim());
        let [name, rest @ ..] = &cells[..] else { continue };
        let _ = writeln!(text, "| `{name}` | {} |", rest.join(" | "));
    }
    text
}
