//! The list of dependencies that `cargo auditable` puts into a binary.
//!
//! Format: a custom section `.dep-v0` of JSON, compressed by zlib
//! (<https://github.com/rust-secure-code/cargo-auditable/blob/master/PARSING.md>).

use std::io::Read as _;

use flate2::read::ZlibDecoder;
use serde::{Deserialize, Serialize};

/// The most bytes that the list may hold once it is decompressed: 8 MiB.
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

/// Reads the section's content. A list that cannot be read is no list: nothing depends on it.
pub(super) fn read_dependencies(section: &[u8]) -> Vec<Dependency> {
    let mut json = Vec::new();
    let decoder = ZlibDecoder::new(section);
    if decoder.take(LIST_BYTES_MAX).read_to_end(&mut json).is_err() {
        return Vec::new();
    }
    let Ok(list) = serde_json::from_slice::<List>(&json) else {
        return Vec::new();
    };
    list.packages
        .into_iter()
        .filter(|package| !package.root)
        .map(|package| Dependency {
            name: package.name,
            version: package.version,
            source: package.source,
            build_only: package.kind.as_deref() == Some("build"),
        })
        .collect()
}
