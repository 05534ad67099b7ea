//! The files of the project, in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::{fs, io};

/// Folders that hold no source.
const SKIPPED: [&str; 3] = [".git", "target", "node_modules"];

/// Files with their text, and the paths of all files and folders; paths from the root, with `/`.
#[derive(Debug, Default)]
pub(super) struct Tree {
    texts: BTreeMap<String, String>,
    paths: BTreeSet<String>,
}

impl Tree {
    /// Reads the tree at `root`.
    pub(super) fn read(root: &Path) -> io::Result<Self> {
        let mut tree = Self::default();
        let mut folders = vec![String::new()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(root.join(&folder))? {
                let entry = entry?;
                let name = entry.file_name().to_string_lossy().into_owned();
                let path =
                    if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
                if entry.file_type()?.is_dir() {
                    if !SKIPPED.contains(&name.as_str()) {
                        tree.paths.insert(path.clone());
                        folders.push(path);
                    }
                    continue;
                }
                let is_text = [".rs", ".toml", ".md"].iter().any(|end| name.ends_with(end));
                if is_text || path == crate::mutants::LIST {
                    tree.texts.insert(path.clone(), fs::read_to_string(entry.path())?);
                }
                tree.paths.insert(path);
            }
        }
        Ok(tree)
    }

    /// The text of one file.
    pub(super) fn text(&self, path: &str) -> Option<&str> {
        self.texts.get(path).map(String::as_str)
    }

    /// Files whose name ends with `end`, with their text.
    pub(super) fn files(&self, end: &'static str) -> impl Iterator<Item = (&str, &str)> {
        let files = self.texts.iter().map(|(path, text)| (path.as_str(), text.as_str()));
        files.filter(move |(path, _)| path.ends_with(end))
    }

    /// Whether there is such a file or folder.
    pub(super) fn has(&self, path: &str) -> bool {
        path.is_empty() || self.paths.contains(path)
    }

    /// A tree of these files.
    #[cfg(test)]
    pub(super) fn of(files: &[(&str, &str)]) -> Self {
        let mut tree = Self::default();
        for (path, text) in files {
            tree.texts.insert((*path).into(), (*text).into());
            for (at, _) in path.match_indices('/') {
                tree.paths.insert(path[..at].into());
            }
            tree.paths.insert((*path).into());
        }
        tree
    }
}
