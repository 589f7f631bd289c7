//! What a build read and what came of it, so that an unchanged app is not
//! built again.
//!
//! Files are compared by size and modification time, as cargo and make do. A
//! file that changed while the build ran is recorded as unknown, so that the
//! next build looks at it again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use wharf_manifest::Digest;

use crate::report::{BuildReport, ComponentReport};

/// The most files that are looked at below one folder.
const TREE_FILES_MAX: usize = 100_000;

/// The largest record that is read back, in bytes.
const RECORD_BYTES_MAX: u64 = 64 << 20;

/// Raised when [`Record`] changes its shape or meaning.
const FORMAT: u32 = 2;

/// What a build reads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Inputs {
    /// Files, whether they exist or not.
    pub(crate) files: BTreeSet<PathBuf>,
    /// Files that the build itself may write.
    pub(crate) generated: BTreeSet<PathBuf>,
    /// Folders of which only the names inside count.
    pub(crate) folders: BTreeSet<PathBuf>,
    /// Folders of which every file counts; or single files.
    pub(crate) trees: BTreeSet<PathBuf>,
}

/// The state of [`Inputs`] at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stamps {
    files: BTreeMap<PathBuf, Stamp>,
    folders: BTreeMap<PathBuf, Digest>,
    trees: BTreeMap<PathBuf, Option<Digest>>,
}

/// The state of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Stamp {
    Absent,
    /// Size in bytes and modification time in nanoseconds since 1970.
    Present(u64, u64),
    /// Changed while it was read.
    Unknown,
}

impl Inputs {
    /// Records the present state; what changed since `started` is unknown.
    pub(crate) fn stamp(&self, started: SystemTime) -> Stamps {
        let started = nanoseconds(started);
        let settled = |stamp: Stamp| match stamp {
            Stamp::Present(_, modified) if modified >= started => Stamp::Unknown,
            other => other,
        };
        let sources = (self.files.iter()).map(|file| (file.clone(), settled(Stamp::of(file))));
        let generated = (self.generated.iter()).map(|file| (file.clone(), Stamp::of(file)));
        let folders = (self.folders.iter()).map(|folder| (folder.clone(), names_in(folder)));
        let trees = self.trees.iter().map(|tree| {
            let stamp = stamp_tree(tree);
            let unsettled = stamp.newest >= started;
            (tree.clone(), (!unsettled).then_some(stamp.digest))
        });
        Stamps {
            files: sources.chain(generated).collect(),
            folders: folders.collect(),
            trees: trees.collect(),
        }
    }
}

impl Stamps {
    /// Whether everything is still as it was.
    pub(crate) fn hold(&self) -> bool {
        self.files
            .iter()
            .all(|(file, stamp)| *stamp != Stamp::Unknown && *stamp == Stamp::of(file))
            && self
                .folders
                .iter()
                .all(|(folder, names)| *names == names_in(folder))
            && self
                .trees
                .iter()
                .all(|(tree, digest)| *digest == Some(stamp_tree(tree).digest))
    }

    /// The files and folders that exist, for a watcher.
    pub(crate) fn existing_paths(&self) -> impl Iterator<Item = &Path> {
        let files = self
            .files
            .iter()
            .filter(|(_, stamp)| **stamp != Stamp::Absent);
        (files.map(|(file, _)| file))
            .chain(self.folders.keys())
            .chain(self.trees.keys())
            .map(PathBuf::as_path)
    }
}

impl Stamp {
    fn of(file: &Path) -> Self {
        match std::fs::metadata(file) {
            Ok(meta) => Self::Present(meta.len(), meta.modified().map_or(0, nanoseconds)),
            Err(_) => Self::Absent,
        }
    }
}

/// One app's last successful build.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    format: u32,
    /// Everything that is not a file: versions, options, the manifest.
    pub(crate) key: Digest,
    /// The static files.
    pub(crate) files: Stamps,
    pub(crate) components: BTreeMap<String, ComponentRecord>,
    pub(crate) report: BuildReport,
}

/// One component's last build.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ComponentRecord {
    /// Everything that is not a file: how it is built, by what.
    pub(crate) key: Digest,
    pub(crate) inputs: Stamps,
    /// The core module and how it was optimised; equal recipes give the same
    /// component.
    pub(crate) recipe: Option<Digest>,
    pub(crate) report: ComponentReport,
}

impl Record {
    pub(crate) fn new(
        key: Digest,
        files: Stamps,
        components: BTreeMap<String, ComponentRecord>,
        report: BuildReport,
    ) -> Self {
        Self {
            format: FORMAT,
            key,
            files,
            components,
            report,
        }
    }

    /// The record at `path`; `None` if there is none that this version reads.
    pub(crate) fn load(path: &Path) -> Option<Self> {
        let bytes = crate::error::read_limited(path, RECORD_BYTES_MAX).ok()?;
        let record: Self = serde_json::from_slice(&bytes).ok()?;
        (record.format == FORMAT).then_some(record)
    }

    /// Writes the record by rename. Failing costs the next build its time, not
    /// this one its result.
    pub(crate) fn save(&self, path: &Path) {
        let fresh = path.with_extension("json.new");
        let written = serde_json::to_vec(self)
            .map_err(std::io::Error::other)
            .and_then(|bytes| std::fs::write(&fresh, bytes))
            .and_then(|()| std::fs::rename(&fresh, path));
        if written.is_err() {
            let _ = std::fs::remove_file(&fresh);
            let _ = std::fs::remove_file(path);
        }
    }
}

/// A digest over parts that cannot run into each other.
pub(crate) fn key_of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Digest {
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
        bytes.extend_from_slice(part);
    }
    Digest::of(&bytes)
}

struct TreeStamp {
    digest: Digest,
    newest: u64,
}

fn stamp_tree(root: &Path) -> TreeStamp {
    let mut text = String::new();
    let mut newest = 0;
    walk(root, &mut |path, meta| {
        let modified = meta.modified().map_or(0, nanoseconds);
        newest = newest.max(modified);
        text.push_str(&format!("{}\0{}\0{modified}\n", path.display(), meta.len()));
    });
    TreeStamp {
        digest: Digest::of(text.as_bytes()),
        newest,
    }
}

/// Visits the files below `root` (or `root` itself) in the order of their
/// names, without what builds and tools leave there.
fn walk(root: &Path, visit: &mut dyn FnMut(&Path, &std::fs::Metadata)) {
    let mut left = TREE_FILES_MAX;
    walk_below(root, true, &mut left, visit);
}

fn walk_below(
    path: &Path,
    is_root: bool,
    left: &mut usize,
    visit: &mut dyn FnMut(&Path, &std::fs::Metadata),
) {
    let meta = if is_root {
        std::fs::metadata(path)
    } else {
        std::fs::symlink_metadata(path)
    };
    let Ok(meta) = meta else { return };
    if !meta.is_dir() {
        if *left > 0 {
            *left -= 1;
            visit(path, &meta);
        }
        return;
    }
    for name in sorted_names(path) {
        let is_tools = match name.to_str() {
            Some(".git" | ".wharf") => true,
            Some("target") => path.join("Cargo.toml").is_file(),
            Some("node_modules") => path.join("package.json").is_file(),
            _ => false,
        };
        if !is_tools && *left > 0 {
            walk_below(&path.join(name), false, left, visit);
        }
    }
}

fn names_in(folder: &Path) -> Digest {
    let names = sorted_names(folder);
    key_of(names.iter().map(|name| name.as_encoded_bytes()))
}

fn sorted_names(folder: &Path) -> Vec<std::ffi::OsString> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
    names.sort();
    names
}

fn nanoseconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| {
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs;
    use std::time::Duration;

    struct Fixture {
        root: tempfile::TempDir,
        inputs: Inputs,
    }

    impl Fixture {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            let at = |name: &str| root.path().join(name);
            for folder in ["src", "public/deep", "public/.wharf"] {
                fs::create_dir_all(at(folder)).unwrap();
            }
            for file in ["src/lib.rs", "public/index.html", "public/deep/a.css"] {
                fs::write(at(file), "1").unwrap();
            }
            let inputs = Inputs {
                files: [at("src/lib.rs"), at("absent")].into(),
                generated: [at("Cargo.lock")].into(),
                folders: [at("src")].into(),
                trees: [at("public")].into(),
            };
            Self { root, inputs }
        }

        fn stamp_later(&self) -> Stamps {
            self.inputs
                .stamp(SystemTime::now() + Duration::from_secs(60))
        }

        fn write(&self, name: &str) {
            fs::write(self.root.path().join(name), "22").unwrap();
        }
    }

    #[test]
    fn every_kind_of_change_is_seen() {
        for change in [
            "src/lib.rs",
            "src/new.rs",
            "absent",
            "Cargo.lock",
            "public/deep/a.css",
            "public/new.html",
        ] {
            let fixture = Fixture::new();
            let stamps = fixture.stamp_later();
            assert!(stamps.hold());
            fixture.write(change);
            assert!(!stamps.hold(), "{change}");
        }
        let fixture = Fixture::new();
        let stamps = fixture.stamp_later();
        fixture.write("public/.wharf/ignored");
        fixture.write("elsewhere");
        assert!(stamps.hold());
        fs::remove_file(fixture.root.path().join("public/index.html")).unwrap();
        assert!(!stamps.hold());
    }

    #[test]
    fn what_changed_during_the_build_is_unknown() {
        let fixture = Fixture::new();
        fixture.write("Cargo.lock");
        assert!(!fixture.inputs.stamp(UNIX_EPOCH).hold());
        let only_generated = Inputs {
            generated: fixture.inputs.generated.clone(),
            ..Inputs::default()
        };
        assert!(only_generated.stamp(UNIX_EPOCH).hold());
    }

    #[test]
    fn keys_keep_their_parts_apart() {
        let key = |parts: &[&str]| key_of(parts.iter().map(|part| part.as_bytes()));
        assert_ne!(key(&["ab", "c"]), key(&["a", "bc"]));
        assert_ne!(key(&["a"]), key(&["a", ""]));
    }

    #[test]
    fn a_damaged_record_is_no_record() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("build.json");
        assert!(Record::load(&path).is_none());
        fs::write(&path, "{\"format\":1,").unwrap();
        assert!(Record::load(&path).is_none());
    }
}
