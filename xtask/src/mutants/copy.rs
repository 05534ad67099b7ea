//! A copy of the tree, in which bugs may be planted.

use super::plant::is_source;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A copy of the files that belong to the project.
#[derive(Debug)]
pub(super) struct Copy {
    root: PathBuf,
    paths: BTreeSet<String>,
}

impl Copy {
    /// Copies the tree at `from`, as it is in the folder and not as it was committed, to `to`.
    ///
    /// What is there already and the same stays untouched, so that cargo need not build it again;
    /// what a run that was ended left planted is mended.
    ///
    /// # Errors
    /// When git cannot list the files, or one cannot be copied.
    pub(super) fn of(from: &Path, to: PathBuf) -> Result<Self, String> {
        Self::of_files(from, to, &listed(from)?)
    }

    fn of_files(from: &Path, to: PathBuf, listed: &[String]) -> Result<Self, String> {
        let mut copy = Self { root: to, paths: BTreeSet::new() };
        for path in listed {
            match fs::read(from.join(path)) {
                Ok(bytes) => copy.write(path, bytes)?,
                Err(error) if error.kind() == ErrorKind::NotFound => continue, // deleted, not yet so in git
                Err(error) => return Err(format!("{path}: {error}")),
            }
            copy.paths.insert(path.clone());
        }
        copy.sweep("")?;
        Ok(copy)
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// The files in which bugs may be planted, with their text.
    ///
    /// # Errors
    /// When one cannot be read.
    pub(super) fn sources(&self) -> Result<BTreeMap<String, String>, String> {
        let paths = self.paths.iter().filter(|path| is_source(path));
        let read = |path: &String| match fs::read_to_string(self.root.join(path)) {
            Ok(text) => Ok((path.clone(), text)),
            Err(error) => Err(format!("{path}: {error}")),
        };
        paths.map(read).collect()
    }

    /// Writes a file, unless it has these bytes already.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn write(&self, path: &str, bytes: impl AsRef<[u8]>) -> Result<(), String> {
        let full = self.root.join(path);
        if fs::read(&full).is_ok_and(|old| old == bytes.as_ref()) {
            return Ok(());
        }
        let folder = full.parent().expect("a file of the copy lies in a folder");
        let written = fs::create_dir_all(folder).and_then(|()| fs::write(&full, bytes));
        written.map_err(|error| format!("{}: {error}", full.display()))
    }

    /// Removes what an older copy had and this one has not.
    fn sweep(&self, folder: &str) -> Result<(), String> {
        let wrong =
            |error: std::io::Error| format!("{}: {error}", self.root.join(folder).display());
        for entry in fs::read_dir(self.root.join(folder)).map_err(wrong)? {
            let entry = entry.map_err(wrong)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            if entry.file_type().map_err(wrong)?.is_dir() {
                self.sweep(&path)?;
            } else if !self.paths.contains(&path) {
                fs::remove_file(entry.path()).map_err(wrong)?;
            }
        }
        Ok(())
    }
}

/// The files of the project: those git knows, and new ones that it was not told to ignore.
fn listed(root: &Path) -> Result<Vec<String>, String> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .map_err(|error| format!("git ls-files: {error}"))?;
    if !output.status.success() {
        return Err(format!("git ls-files: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    let names =
        String::from_utf8(output.stdout).map_err(|_| "git ls-files: a name that is no text")?;
    Ok(names.split('\0').filter(|name| !name.is_empty()).map(Into::into).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_mended_and_swept_and_else_left_alone() {
        let folder = std::env::temp_dir().join(format!("xtask-copy-{}", std::process::id()));
        let (from, to) = (folder.join("from"), folder.join("to"));
        let source = "crates/a/src/lib.rs";
        let original = Copy { root: from.clone(), paths: BTreeSet::new() };
        original.write(source, "good").unwrap();
        original.write("README.md", "text").unwrap();
        let listed = [source.to_owned(), "README.md".into(), "deleted.md".into()];
        let copy = Copy::of_files(&from, to.clone(), &listed).unwrap();
        assert_eq!(copy.sources().unwrap(), BTreeMap::from([(source.into(), "good".into())]));
        copy.write(source, "planted").unwrap();
        copy.write("crates/a/src/old.rs", "moved away").unwrap();
        let untouched = || fs::metadata(to.join("README.md")).unwrap().modified().unwrap();
        let before = untouched();
        let copy = Copy::of_files(&from, to.clone(), &listed).unwrap();
        assert_eq!(copy.sources().unwrap(), BTreeMap::from([(source.into(), "good".into())]));
        assert!(!to.join("crates/a/src/old.rs").exists());
        assert_eq!(untouched(), before);
        assert_eq!(fs::read_to_string(from.join(source)).unwrap(), "good");
        fs::remove_dir_all(folder).unwrap();
    }
}
