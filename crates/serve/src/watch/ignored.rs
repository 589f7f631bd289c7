//! Which paths are sources, and which are what tools leave behind.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

/// Folders that hold no sources, wherever they lie.
const FOLDERS: [&str; 6] = [
    ".git",
    ".hg",
    ".jj",
    ".wharf",
    "node_modules",
    "__pycache__",
];
/// Deeper folders are not looked into.
const DEPTH_MAX: usize = 64;
/// More folders than this are not watched.
const FOLDERS_MAX: usize = 20_000;

/// The sources below some roots: all that no rule ignores.
#[derive(Debug)]
pub(crate) struct Sources {
    roots: Vec<PathBuf>,
    /// By folder, the deepest last.
    rules: Vec<(PathBuf, Gitignore)>,
    folders: Vec<PathBuf>,
}

impl Sources {
    /// Reads the roots: their folders, and the `.gitignore` files in and above them.
    ///
    /// Roots are absolute; one may be a file, and one need not exist yet.
    pub(crate) fn read(roots: &[PathBuf]) -> Self {
        let mut sources = Self {
            roots: roots.to_vec(),
            rules: Vec::new(),
            folders: Vec::new(),
        };
        for root in roots {
            for folder in repository_folders_above(root) {
                sources.read_rules(folder);
            }
        }
        let mut open: Vec<(PathBuf, usize)> = roots.iter().map(|root| (root.clone(), 0)).collect();
        while let Some((folder, depth)) = open.pop() {
            let Ok(entries) = std::fs::read_dir(&folder) else {
                continue;
            };
            if sources.folders.len() >= FOLDERS_MAX {
                break;
            }
            sources.read_rules(&folder);
            for entry in entries.flatten() {
                let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
                let path = entry.path();
                if is_folder && depth < DEPTH_MAX && !sources.ignores(&path, true) {
                    open.push((path, depth + 1));
                }
            }
            sources.folders.push(folder);
        }
        sources.folders.sort();
        sources.folders.dedup();
        sources
    }

    /// The roots, as they were given.
    pub(crate) fn roots(&self) -> &[PathBuf] {
        &self.roots
    }

    /// The folders with sources, the roots included.
    pub(crate) fn folders(&self) -> &[PathBuf] {
        &self.folders
    }

    /// Says whether a path is a source: some root holds it and does not ignore it.
    pub(crate) fn holds(&self, path: &Path) -> bool {
        let is_folder = path.is_dir();
        self.roots.iter().any(|root| path.starts_with(root)) && !self.ignores(path, is_folder)
    }

    fn read_rules(&mut self, folder: &Path) {
        let file = folder.join(".gitignore");
        if self.rules.iter().any(|(known, _)| known == folder) || !file.is_file() {
            return;
        }
        let mut builder = GitignoreBuilder::new(folder);
        // Of a file with a broken line, the other lines hold.
        let _ = builder.add(&file);
        if let Ok(rules) = builder.build() {
            let at = self
                .rules
                .partition_point(|(known, _)| known.as_path() <= folder);
            self.rules.insert(at, (folder.to_owned(), rules));
        }
    }

    /// Says whether every root that holds `path` ignores it. A root itself never is ignored: who
    /// names a folder wants it watched, even one that git does not keep.
    fn ignores(&self, path: &Path, is_folder: bool) -> bool {
        let mut roots = self.roots.iter().filter(|root| path.starts_with(root));
        roots.all(|root| {
            let below = path.strip_prefix(root).unwrap_or(Path::new(""));
            let mut prefix = root.clone();
            let mut parts = below.components().peekable();
            while let Some(part) = parts.next() {
                prefix.push(part);
                let is_folder = is_folder || parts.peek().is_some();
                if is_left_behind(&prefix, part.as_os_str(), is_folder)
                    || self.git_ignores(&prefix, is_folder)
                {
                    return true;
                }
            }
            false
        })
    }

    /// Asks the rules nearest to the path first.
    fn git_ignores(&self, path: &Path, is_folder: bool) -> bool {
        let rules = self
            .rules
            .iter()
            .rev()
            .filter(|(folder, _)| path.starts_with(folder) && path != folder);
        for (_, rules) in rules {
            match rules.matched(path, is_folder) {
                Match::Ignore(_) => return true,
                Match::Whitelist(_) => return false,
                Match::None => {}
            }
        }
        false
    }
}

/// The folders above a path, up to the root of the git repository it is in; none outside one.
fn repository_folders_above(path: &Path) -> Vec<&Path> {
    let above: Vec<_> = path.ancestors().skip(1).collect();
    if path.join(".git").exists() {
        return Vec::new();
    }
    match above.iter().position(|folder| folder.join(".git").exists()) {
        Some(top) => above[..=top].to_vec(),
        None => Vec::new(),
    }
}

/// Says whether tools made this: caches, build outputs, editors' temporary files.
fn is_left_behind(path: &Path, name: &OsStr, is_folder: bool) -> bool {
    let name = name.to_string_lossy();
    if FOLDERS.contains(&name.as_ref()) {
        return true;
    }
    if name == "target" && is_folder {
        // A module may be called so as well; Cargo's folder lies beside its manifest or is tagged.
        return path.with_file_name("Cargo.toml").is_file() || path.join("CACHEDIR.TAG").is_file();
    }
    let endings = [
        "~",
        ".swp",
        ".swo",
        ".swx",
        ".tmp",
        "___jb_tmp___",
        "___jb_old___",
        ".bck",
    ];
    let beginnings = [".#", "#", ".goutputstream-", "._"];
    endings.iter().any(|ending| name.ends_with(ending))
        || (beginnings.iter().any(|beginning| name.starts_with(beginning)) && !is_folder)
        // Vim tries whether it can write to a folder with a file of this name.
        || name == "4913"
        || name == ".DS_Store"
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn tree(files: &[(&str, &str)]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        for (path, text) in files {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        (folder, root)
    }

    #[test]
    fn what_tools_leave_behind_is_no_source() {
        let (_folder, root) = tree(&[
            ("api/Cargo.toml", ""),
            ("api/src/lib.rs", ""),
            ("api/src/target/mod.rs", ""),
            ("api/target/debug/x", ""),
            ("built/target/CACHEDIR.TAG", ""),
            ("web/node_modules/a/b.js", ""),
        ]);
        let sources = Sources::read(std::slice::from_ref(&root));
        for (path, expected) in [
            ("wharf.toml", true),
            ("api/src/lib.rs", true),
            ("api/src/target/mod.rs", true),
            ("api/src/new.rs", true),
            ("api/target/debug/x", false),
            ("built/target/x", false),
            ("web/node_modules/a/b.js", false),
            (".git/index", false),
            (".wharf/store/blob", false),
            ("api/src/lib.rs~", false),
            ("api/src/.lib.rs.swp", false),
            ("api/src/.#lib.rs", false),
            ("api/src/#lib.rs#", false),
            ("api/src/4913", false),
            ("web/.DS_Store", false),
            (".env", true),
            (".cargo/config.toml", true),
        ] {
            assert_eq!(sources.holds(&root.join(path)), expected, "{path}");
        }
        assert!(!sources.holds(root.parent().unwrap()));
        let folders: Vec<_> = sources
            .folders()
            .iter()
            .map(|path| path.strip_prefix(&root).unwrap().to_str().unwrap())
            .collect();
        assert_eq!(
            folders,
            ["", "api", "api/src", "api/src/target", "built", "web"]
        );
    }

    #[test]
    fn gitignore_files_hold_as_in_git() {
        let (_folder, root) = tree(&[
            (".git/HEAD", ""),
            (".gitignore", "*.log\n/dist/\n!keep.log\n[broken\n"),
            ("app/.gitignore", "generated/\n!loud.log\n"),
            ("app/generated/a.rs", ""),
            ("dist/index.html", ""),
        ]);
        let sources = Sources::read(&[root.join("app")]);
        for (path, expected) in [
            ("app/main.rs", true),
            ("app/noise.log", false),
            ("app/keep.log", true),
            ("app/loud.log", true),
            ("app/generated/a.rs", false),
            ("app/generated/loud.log", false),
            ("main.rs", false),
        ] {
            assert_eq!(sources.holds(&root.join(path)), expected, "{path}");
        }
        let all = Sources::read(std::slice::from_ref(&root));
        assert!(!all.holds(&root.join("dist/index.html")));
        let named = Sources::read(&[root.clone(), root.join("dist")]);
        assert!(
            named.holds(&root.join("dist/index.html")),
            "a root is watched though git ignores it"
        );
    }

    #[test]
    fn rules_above_count_only_inside_a_repository() {
        let (_folder, root) = tree(&[(".gitignore", "*"), ("app/main.rs", "")]);
        assert!(Sources::read(&[root.join("app")]).holds(&root.join("app/main.rs")));
    }

    #[test]
    fn a_root_may_be_a_file_or_missing() {
        let (_folder, root) = tree(&[("hello.wasm", "")]);
        let sources = Sources::read(&[root.join("hello.wasm"), root.join("later")]);
        assert!(sources.holds(&root.join("hello.wasm")));
        assert!(sources.holds(&root.join("later")));
        assert!(sources.holds(&root.join("later/x")));
        assert!(!sources.holds(&root.join("other.wasm")));
        assert!(sources.folders().is_empty());
    }
}
