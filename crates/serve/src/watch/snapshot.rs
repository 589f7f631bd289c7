//! Finding changes by looking, where the system does not tell them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::SystemTime;

use super::ignored::Sources;

/// More files than this are not compared.
const FILES_MAX: usize = 200_000;

/// How the files of some sources stood at one moment: when each was written, and its length.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Snapshot {
    files: BTreeMap<PathBuf, (Option<SystemTime>, u64)>,
}

impl Snapshot {
    /// Looks at all files of the sources, without reading them.
    pub(crate) fn take(sources: &Sources) -> Self {
        let in_folders = sources
            .folders()
            .iter()
            .filter_map(|folder| std::fs::read_dir(folder).ok())
            .flat_map(|entries| entries.flatten().map(|entry| entry.path()));
        let paths = sources.roots().iter().cloned().chain(in_folders);
        let mut files = BTreeMap::new();
        for path in paths {
            if files.len() >= FILES_MAX {
                break;
            }
            let Ok(metadata) = std::fs::metadata(&path) else {
                continue;
            };
            if metadata.is_file() && sources.holds(&path) {
                files.insert(path, (metadata.modified().ok(), metadata.len()));
            }
        }
        Self { files }
    }

    /// Gives the paths that are new, gone or different in `later`.
    pub(crate) fn changes(&self, later: &Self) -> Vec<PathBuf> {
        let gone = self
            .files
            .keys()
            .filter(|path| !later.files.contains_key(*path));
        let changed = later
            .files
            .iter()
            .filter(|(path, stamp)| self.files.get(*path) != Some(stamp));
        gone.chain(changed.map(|(path, _)| path)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn new_changed_and_lost_files_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let write = |name: &str, text: &str| std::fs::write(root.join(name), text).unwrap();
        let look = || Snapshot::take(&Sources::read(std::slice::from_ref(&root)));
        write("same", "1");
        write("changed", "1");
        write("touched", "1");
        write("gone", "1");
        write("ignored~", "1");
        let before = look();
        write("changed", "12");
        write("ignored~", "12");
        write("new", "1");
        let file = std::fs::File::options()
            .write(true)
            .open(root.join("touched"))
            .unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        std::fs::remove_file(root.join("gone")).unwrap();
        let names = ["gone", "changed", "new", "touched"].map(|name| root.join(name));
        assert_eq!(before.changes(&look()), names);
        assert_eq!(look().changes(&look()), Vec::<PathBuf>::new());
    }
}
