//! Which file of a crate imports which, read from the paths in its code.

use super::super::text::{is_word, words};
use std::collections::{BTreeMap, BTreeSet};

/// The files of one crate, by the paths of their modules.
pub(super) struct Modules<'a>(BTreeMap<Vec<&'a str>, Module<'a>>);

/// A module that has a file of its own.
struct Module<'a> {
    file: &'a str,
    code: &'a str,
    uses: Vec<Use<'a>>,
}

/// A name that comes from elsewhere.
struct Use<'a> {
    path: Vec<&'a str>,
    /// What it is called here; `*` for all there is.
    name: &'a str,
    /// Others may use it from here: a signpost, no import.
    is_public: bool,
}

/// Names that a signpost may be behind another; more are a circle of their own.
const SIGNPOSTS_MAX: usize = 8;

impl<'a> Modules<'a> {
    /// `files` are paths in the crate's `src`, the names to report them by, and code without tests.
    pub(super) fn new(files: impl IntoIterator<Item = (&'a str, &'a str, &'a str)>) -> Self {
        let modules = files.into_iter().filter_map(|(inner, file, code)| {
            Some((module_path(inner)?, Module { file, code, uses: uses(code) }))
        });
        Self(modules.collect())
    }

    /// Each file with those that it imports.
    pub(super) fn imports(&self) -> BTreeMap<&'a str, BTreeSet<&'a str>> {
        let each = |(at, module): (&Vec<&'a str>, &Module<'a>)| {
            let imported = module.uses.iter().filter(|used| !used.is_public).map(|used| &used.path);
            let inline = self.inline_paths(at, module);
            let paths = imported.chain(&inline);
            let mut files: BTreeSet<_> =
                paths.filter_map(|path| self.file_of(at, path, SIGNPOSTS_MAX)).collect();
            files.remove(module.file);
            (module.file, files)
        };
        self.0.iter().map(each).collect()
    }

    /// Paths in code that begin at the crate, above, here, or with a module below.
    fn inline_paths(&self, at: &[&'a str], module: &Module<'a>) -> Vec<Vec<&'a str>> {
        let is_child = |path: &&Vec<&'a str>| path.len() == at.len() + 1 && path.starts_with(at);
        let children = self.0.keys().filter(is_child).filter_map(|path| path.last().copied());
        let heads = ["crate", "super", "self"].into_iter().chain(children);
        let code = module.code;
        let places = heads.flat_map(|head| words(code, head));
        let starts = places.filter(|at| !code[..*at].ends_with("::") && !is_in_use(code, *at));
        starts.map(|at| path_at(&code[at..])).filter(|path| path.len() > 1).collect()
    }

    /// The file that has what `path` names in the module at `from`; none if it is of another crate.
    fn file_of(&self, from: &[&'a str], path: &[&'a str], signposts: usize) -> Option<&'a str> {
        let mut at = from.to_vec();
        let mut rest = path;
        match rest.first()? {
            &"crate" => at.clear(),
            &"self" => {}
            &"super" => drop(at.pop()),
            child => {
                at.push(child);
                self.0.get(&at)?;
            }
        }
        rest = &rest[1..];
        while let Some(&name) = rest.first() {
            if name == "super" {
                at.pop();
            } else if name != "self" {
                at.push(name);
                if !self.0.contains_key(&at) {
                    at.pop();
                    break;
                }
            }
            rest = &rest[1..];
        }
        let module = self.0.get(&at)?;
        let Some(&name) = rest.first() else { return Some(module.file) };
        if signposts > 0 && !defines(module.code, name) {
            let ways = module.uses.iter().filter(|used| used.is_public);
            let (all, named): (Vec<_>, Vec<_>) = ways.partition(|used| used.name == "*");
            if let Some(used) = named.iter().find(|used| used.name == name) {
                return self.file_of(&at, &used.path, signposts - 1);
            }
            for used in all {
                let path: Vec<_> = used.path.iter().copied().chain([name]).collect();
                let file = self.file_of(&at, &path, signposts - 1);
                let has_it =
                    |file: &&str| self.0.values().any(|m| m.file == *file && defines(m.code, name));
                if let Some(file) = file.filter(has_it) {
                    return Some(file);
                }
            }
        }
        Some(module.file)
    }
}

/// `a/b.rs` and `a/b/mod.rs` are `a::b`; roots are the crate itself.
fn module_path(inner: &str) -> Option<Vec<&str>> {
    let path = inner.strip_suffix(".rs")?;
    let mut names: Vec<_> = path.split('/').collect();
    let is_root = names.len() == 1 && ["lib", "main"].contains(&names[0]);
    if is_root || names.last() == Some(&"mod") {
        names.pop();
    }
    Some(names)
}

/// Whether `code` has a definition of `name`.
fn defines(code: &str, name: &str) -> bool {
    let kinds =
        ["struct", "enum", "trait", "type", "fn", "const", "static", "union", "macro_rules!"];
    words(code, name).any(|at| {
        let before = code[..at].trim_end();
        kinds.iter().any(|kind| before.ends_with(kind))
    })
}

/// Whether the statement that `at` is in is a `use`.
fn is_in_use(code: &str, at: usize) -> bool {
    let start = code[..at].rfind([';', '}', ']']).map_or(0, |at| at + 1);
    let open = code[..at].rfind("use ");
    // A tree has braces of its own, with nothing but names and commas between.
    open.is_some_and(|open| open >= start || !code[open..at].contains([';', '(', '=']))
}

/// All that `code` brings in by `use`.
fn uses(code: &str) -> Vec<Use<'_>> {
    let mut found = Vec::new();
    for at in words(code, "use") {
        let before = code[..at].trim_end();
        let is_public = before.ends_with("pub")
            || before.ends_with(')') && {
                let open = before.rfind('(').unwrap_or(0);
                before[..open].trim_end().ends_with("pub")
            };
        let tree = &code[at + "use".len()..];
        if tree.starts_with(char::is_whitespace) {
            let tree = &tree[..tree.find(';').unwrap_or(tree.len())];
            branches(tree, &[], is_public, &mut found);
        }
    }
    found
}

/// `a::{b, c::d as e, f::*}`, below `stem`.
fn branches<'a>(tree: &'a str, stem: &[&'a str], is_public: bool, found: &mut Vec<Use<'a>>) {
    let tree = tree.trim();
    if let Some(open) = tree.find('{') {
        let mut stem = stem.to_vec();
        stem.extend(tree[..open].split("::").map(str::trim).filter(|name| !name.is_empty()));
        let inner = tree[open + 1..].trim_end().strip_suffix('}').unwrap_or(&tree[open + 1..]);
        for branch in split_outside(inner) {
            branches(branch, &stem, is_public, found);
        }
        return;
    }
    let (path, renamed) = tree.split_once(" as ").unwrap_or((tree, ""));
    let mut path: Vec<_> = stem.iter().copied().chain(path.split("::").map(str::trim)).collect();
    path.retain(|name| !name.is_empty());
    let Some(&last) = path.last() else { return };
    if last == "*" || last == "self" && path.len() > 1 {
        path.pop();
    }
    let own = if last == "self" { path.last().copied().unwrap_or(last) } else { last };
    let name = if renamed.is_empty() { own } else { renamed.trim() };
    found.push(Use { path, name, is_public });
}

/// Parts between commas that are in no braces.
fn split_outside(list: &str) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0usize, 0, Vec::new());
    for (at, char) in list.char_indices() {
        match char {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&list[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&list[start..]);
    parts.into_iter().filter(|part| !part.trim().is_empty()).collect()
}

/// The names of the path at the start of `code`.
fn path_at(code: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut rest = code;
    loop {
        let end = rest.find(|char| !is_word(char)).unwrap_or(rest.len());
        if end == 0 {
            return names;
        }
        names.push(&rest[..end]);
        let Some(next) = rest[end..].strip_prefix("::") else { return names };
        rest = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn imported<'a>(files: &[(&'a str, &'a str)], of: &str) -> Vec<&'a str> {
        let modules = Modules::new(files.iter().map(|(file, code)| (*file, *file, *code)));
        modules.imports()[of].iter().copied().collect()
    }

    #[test]
    fn a_use_leads_to_the_file_that_has_the_thing() {
        let lib = ("lib.rs", "mod a; mod b; pub use b::{Thing, inner::Deep}; pub use a::*;");
        let files = [
            ("b/mod.rs", "mod inner; pub struct Thing;"),
            ("b/inner.rs", "use super::Thing; pub struct Deep;"),
            ("a.rs", "pub fn f() {}"),
        ];
        let with = |code| [lib, files[0], files[1], files[2], ("c.rs", code)];
        for (code, expected) in [
            ("use crate::Thing;", &["b/mod.rs"][..]),
            ("use crate::{Thing as T, b::inner::{Deep, self}};", &["b/inner.rs", "b/mod.rs"]),
            ("use crate::Deep;", &["b/inner.rs"]),
            ("use crate::f;", &["a.rs"]),
            ("fn x() { crate::b::inner::Deep::new() }", &["b/inner.rs"]),
            ("use crate::b::inner;\nfn x() { inner::Deep }", &["b/inner.rs"]),
            ("use std::fmt; use bytes::Thing;", &[]),
            ("pub(crate) use crate::Thing;", &[]),
        ] {
            assert_eq!(imported(&with(code), "c.rs"), expected, "{code}");
        }
        assert_eq!(imported(&files, "b/inner.rs"), ["b/mod.rs"]);
        assert_eq!(imported(&[lib, files[0]], "lib.rs"), [""; 0], "a signpost imports nothing");
    }

    #[test]
    fn a_module_may_be_named_where_it_is_used() {
        let files = [("lib.rs", "mod a; fn f() { a::g(); other::a::h(); }"), ("a.rs", "fn g() {}")];
        assert_eq!(imported(&files, "lib.rs"), ["a.rs"]);
        assert_eq!(imported(&[("lib.rs", "mod a; fn f(a: u8) {}"), files[1]], "lib.rs"), [""; 0]);
    }
}
