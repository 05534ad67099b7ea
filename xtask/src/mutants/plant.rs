//! Where a bug belongs, and the source with it.

use super::list::Entry;
use std::ops::Range;
use std::path::Path;

/// Where a bug is planted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    /// The file, from the root of the tree.
    pub(crate) path: String,
    at: Range<usize>,
}

impl Place {
    /// `text`, the source at this place, with the bug of `entry`.
    pub(crate) fn planted(&self, text: &str, entry: &Entry) -> String {
        let (before, after) = (&text[..self.at.start], &text[self.at.end..]);
        format!("{before}{}{after}", entry.replacement)
    }
}

/// Whether bugs may be planted in the file of that path.
pub(crate) fn is_source(path: &str) -> bool {
    let inner = path.strip_prefix("crates/").and_then(|path| path.split_once('/'));
    let is_rust = Path::new(path).extension().is_some_and(|end| end == "rs");
    inner.is_some_and(|(_, inner)| inner.starts_with("src/")) && is_rust
}

/// Finds the one place of `entry` in the source, by its text: a file that moved changes nothing.
///
/// # Errors
/// When it stands nowhere or several times; names the entry and the files.
pub(crate) fn find<'a>(
    entry: &Entry,
    files: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<Place, String> {
    let mut places: Vec<Place> = Vec::new();
    for (path, text) in files.filter(|(path, _)| is_source(path)) {
        let found = places_in(text, &entry.snippet).into_iter();
        places.extend(found.map(|at| Place { path: path.into(), at }));
    }
    match &places[..] {
        [place] => Ok(place.clone()),
        [] => Err(format!("what {} replaces stands nowhere under crates/*/src", entry.name)),
        several => {
            let paths: Vec<_> = several.iter().map(|place| place.path.as_str()).collect();
            let (name, count) = (&entry.name, several.len());
            Err(format!("what {name} replaces stands {count} times: {}", paths.join(", ")))
        }
    }
}

/// All places of `snippet`. White space is as good as any other, so that lines may be indented
/// anew; within a word there is none.
fn places_in(text: &str, snippet: &str) -> Vec<Range<usize>> {
    let mut words = snippet.split_whitespace();
    let Some(first) = words.next() else { return Vec::new() };
    let starts = text.match_indices(first).map(|(at, _)| at);
    let end_of = |start: usize| {
        words.clone().try_fold(start + first.len(), |at, word| {
            let rest = &text[at..];
            let next = rest.trim_start();
            let blank = rest.len() - next.len();
            (blank > 0 && next.starts_with(word)).then_some(at + blank + word.len())
        })
    };
    starts.filter_map(|start| end_of(start).map(|end| start..end)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::list::parse;
    use super::*;

    fn entry(lines: &str) -> Entry {
        parse(&format!("mutant bug\ntest x\n{lines}")).unwrap().remove(0)
    }

    const PATH: &str = "crates/longshore/src/worker/mod.rs";

    #[test]
    fn a_snippet_is_found_once_wherever_its_file_lies_and_however_it_is_indented() {
        let entry = entry("- if full {\n-     wait();\n+ if false {\n+     wait();\n");
        let text = "fn a() {\n        if full {\n            wait();\n        }\n}\n";
        let files = [("crates/longshore/src/lib.rs", "fn b() {}\n"), (PATH, text)];
        let place = find(&entry, files.into_iter()).unwrap();
        assert_eq!(place.path, PATH);
        let planted = place.planted(text, &entry);
        assert_eq!(planted, "fn a() {\n        if false {\n    wait();\n        }\n}\n");
    }

    #[test]
    fn a_snippet_that_stands_nowhere_or_twice_is_an_error_with_its_name() {
        let entry = entry("- a.b();\n");
        let nowhere = find(&entry, [(PATH, "a.c();")].into_iter()).unwrap_err();
        assert_eq!(nowhere, "what bug replaces stands nowhere under crates/*/src");
        let twice = find(&entry, [(PATH, "a.b();\n a.b();")].into_iter()).unwrap_err();
        assert_eq!(twice, format!("what bug replaces stands 2 times: {PATH}, {PATH}"));
    }

    #[test]
    fn only_what_ships_is_searched() {
        assert!(is_source(PATH));
        for path in ["crates/longshore/tests/src/a.rs", "xtask/src/ci.rs", "crates/a/src/b.md"] {
            assert!(!is_source(path), "{path}");
        }
    }

    #[test]
    fn a_line_that_is_taken_out_leaves_the_rest() {
        let entry = entry("- b();\n");
        let place = find(&entry, [(PATH, "a();\nb();\nc();\n")].into_iter()).unwrap();
        assert_eq!(place.planted("a();\nb();\nc();\n", &entry), "a();\n\nc();\n");
    }
}
