//! The list of dependencies that `cargo auditable` puts into a binary.
//!
//! Format: a custom section `.dep-v0` of JSON, compressed by zlib
//! (<https://github.com/rust-secure-code/cargo-auditable/blob/master/PARSING.md>).

use std::collections::BTreeSet;
use std::io::Read as _;

use flate2::read::ZlibDecoder;
use serde::{Deserialize, Serialize};

/// The most bytes that the lists of one file may hold once they are decompressed: 8 MiB.
const LIST_BYTES_MAX: u64 = 8 << 20;

/// One package that the binary says it was built from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Dependency {
    /// The package's name.
    pub name: String,
    /// Its version, as its own ecosystem writes it.
    pub version: String,
    /// Where it came from, such as `crates.io`, `git` or `local`.
    pub source: String,
    /// Whether it only took part in the build.
    pub build_only: bool,
}

#[derive(Deserialize)]
struct List {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    #[serde(default)]
    source: String,
    #[serde(default)]
    kind: Option<String>,
    #[serde(default)]
    root: bool,
}

/// The lists of one file: each of its modules may bring one.
#[derive(Debug)]
pub(super) struct DependencyLists {
    found: BTreeSet<Dependency>,
    /// A kilobyte unpacks to a megabyte, and a file may hold many sections.
    bytes_left: u64,
}

impl Default for DependencyLists {
    fn default() -> DependencyLists {
        DependencyLists {
            found: BTreeSet::new(),
            bytes_left: LIST_BYTES_MAX,
        }
    }
}

impl DependencyLists {
    /// Reads one section's content. A list that cannot be read is no list: nothing depends on it.
    pub(super) fn read(&mut self, section: &[u8]) {
        let mut json = Vec::new();
        let decoder = ZlibDecoder::new(section);
        let unpacked = decoder.take(self.bytes_left).read_to_end(&mut json);
        self.bytes_left -= (json.len() as u64).min(self.bytes_left);
        if unpacked.is_err() {
            return;
        }
        let Ok(list) = serde_json::from_slice::<List>(&json) else {
            return;
        };
        let packages = list.packages.into_iter().filter(|package| !package.root);
        self.found.extend(packages.map(|package| Dependency {
            name: package.name,
            version: package.version,
            source: package.source,
            build_only: package.kind.as_deref() == Some("build"),
        }));
    }

    /// All of them, each once, sorted.
    pub(super) fn into_sorted(self) -> Vec<Dependency> {
        self.found.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn packed(json: &[u8]) -> Vec<u8> {
        let mut encoder =
            flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(json).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn many_lists_share_one_bound() {
        let mut lists = DependencyLists::default();
        let blank = vec![b' '; 3 << 20];
        for _ in 0..3 {
            lists.read(&packed(&blank));
        }
        assert_eq!(lists.bytes_left, 0);
        lists.read(&packed(br#"{"packages":[{"name":"late","version":"1"}]}"#));
        assert!(lists.into_sorted().is_empty());
    }

    #[test]
    fn lists_are_joined() {
        let mut lists = DependencyLists::default();
        lists.read(&packed(br#"{"packages":[{"name":"b","version":"1"}]}"#));
        lists.read(b"no zlib");
        lists.read(&packed(
            br#"{"packages":[{"name":"a","version":"1"},{"name":"b","version":"1"}]}"#,
        ));
        let names: Vec<String> = lists
            .into_sorted()
            .into_iter()
            .map(|one| one.name)
            .collect();
        assert_eq!(names, ["a", "b"]);
    }
}
