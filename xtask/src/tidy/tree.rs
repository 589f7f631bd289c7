//! The project's files: what git tracks, or would track if it were added.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::process;

/// Names that a walk without git leaves out.
const UNTRACKED: &[&str] = &[".git", ".wharf", "node_modules", "target"];

/// All files with their text; binary ones have none.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    files: BTreeMap<String, Option<String>>,
}

impl Tree {
    /// # Errors
    /// A file or folder cannot be read.
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let names = match listed_by_git(root) {
            Some(names) => names,
            None => {
                let mut names = Vec::new();
                walk(root, "", &mut names)?;
                names
            }
        };
        let mut files = BTreeMap::new();
        for name in names {
            let path = root.join(&name);
            // What is deleted but not yet committed is still listed; a link's target is read by itself.
            if !path.is_symlink() && path.is_file() {
                let bytes = std::fs::read(&path)
                    .with_context(|| format!("cannot read {}", path.display()))?;
                files.insert(name, text(bytes));
            }
        }
        Ok(Self { files })
    }

    pub(crate) fn len(&self) -> usize {
        self.files.len()
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// All files that are text, by name.
    pub(crate) fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files
            .iter()
            .filter_map(|(name, text)| Some((name.as_str(), text.as_deref()?)))
    }

    pub(crate) fn binaries(&self) -> impl Iterator<Item = &str> {
        self.files
            .iter()
            .filter(|(_, text)| text.is_none())
            .map(|(name, _)| name.as_str())
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.files.get(name)?.as_deref()
    }

    pub(crate) fn has_file(&self, name: &str) -> bool {
        self.files.contains_key(name)
    }

    /// Whether a folder of that name holds any file; the root is `""`.
    pub(crate) fn has_folder(&self, name: &str) -> bool {
        let start = if name.is_empty() {
            String::new()
        } else {
            format!("{name}/")
        };
        self.files
            .range(start.clone()..)
            .next()
            .is_some_and(|(file, _)| file.starts_with(&start))
    }

    /// The names directly below a folder of those folders that hold files.
    pub(crate) fn folders_in(&self, folder: &str) -> Vec<&str> {
        let names: BTreeSet<_> = self
            .names()
            .filter_map(|file| {
                file.strip_prefix(folder)?
                    .strip_prefix('/')?
                    .split_once('/')
            })
            .map(|(name, _)| name)
            .collect();
        names.into_iter().collect()
    }
}

#[cfg(test)]
impl<const N: usize> From<[(&str, &str); N]> for Tree {
    fn from(files: [(&str, &str); N]) -> Self {
        let files = files
            .into_iter()
            .map(|(name, content)| (name.to_owned(), text(content.into())))
            .collect();
        Self { files }
    }
}

/// Joins a relative path to the folder of a file, resolving `.` and `..`;
/// `None` if it leaves the project.
pub(crate) fn resolve(file: &str, relative: &str) -> Option<String> {
    let mut parts: Vec<&str> = file.split('/').collect();
    parts.pop();
    for part in relative.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

fn text(bytes: Vec<u8>) -> Option<String> {
    if bytes.contains(&0) {
        return None;
    }
    String::from_utf8(bytes).ok()
}

fn listed_by_git(root: &Path) -> Option<Vec<String>> {
    if !root.join(".git").exists() {
        return None;
    }
    let listed = process::output(
        Command::new("git")
            .args([
                "ls-files",
                "-z",
                "--cached",
                "--others",
                "--exclude-standard",
            ])
            .current_dir(root),
    )?;
    Some(listed.split_terminator('\0').map(str::to_owned).collect())
}

fn walk(root: &Path, folder: &str, names: &mut Vec<String>) -> Result<()> {
    let path = root.join(folder);
    let entries = std::fs::read_dir(&path)
        .with_context(|| format!("cannot read the folder {}", path.display()))?;
    for entry in entries {
        let entry = entry.context("cannot read a folder's entry")?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let below = if folder.is_empty() {
            name.clone()
        } else {
            format!("{folder}/{name}")
        };
        if entry.path().is_dir() {
            if !entry.path().is_symlink() && !UNTRACKED.contains(&name.as_str()) {
                walk(root, &below, names)?;
            }
        } else {
            names.push(below);
        }
    }
    Ok(())
}

/// A folder of its own with the files given, removed at the end of the test.
#[cfg(test)]
pub(crate) struct TempTree(std::path::PathBuf);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
impl TempTree {
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "xtask-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let root = std::env::temp_dir().join(name);
        std::fs::create_dir(&root).unwrap();
        let tree = Self(root);
        for (name, content) in files {
            let path = tree.0.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        tree
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

#[cfg(test)]
impl Drop for TempTree {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_folder_without_git_is_walked_and_built_files_are_left_out() {
        let temp = TempTree::new(&[
            ("a.md", "text"),
            ("src/b.bin", "nul \0 byte"),
            ("target/c.rs", ""),
            ("x/node_modules/d.js", ""),
        ]);
        let tree = Tree::read(temp.path()).unwrap();
        assert_eq!(tree.names().collect::<Vec<_>>(), ["a.md", "src/b.bin"]);
        assert_eq!(tree.text("a.md"), Some("text"));
        assert_eq!(tree.binaries().collect::<Vec<_>>(), ["src/b.bin"]);
    }

    #[test]
    fn folders_are_those_that_hold_files() {
        let tree = Tree::from([("a/b/c.rs", ""), ("a/b-d/e.rs", ""), ("f.rs", "")]);
        assert!(tree.has_folder("") && tree.has_folder("a") && tree.has_folder("a/b"));
        assert!(!tree.has_folder("a/b/c.rs") && !tree.has_folder("a/bc"));
        assert_eq!(tree.folders_in("a"), ["b", "b-d"]);
    }

    #[test]
    fn relative_paths_are_resolved_inside_the_project_only() {
        assert_eq!(
            resolve("docs/adr/1.md", "../x.md").as_deref(),
            Some("docs/x.md")
        );
        assert_eq!(resolve("README.md", "./docs/").as_deref(), Some("docs"));
        assert_eq!(resolve("docs/x.md", "../../y.md"), None);
    }
}
