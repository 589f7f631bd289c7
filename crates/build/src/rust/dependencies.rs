//! The list of dependencies that is embedded into a component, so that whoever
//! gets it can look its crates up in a list of known vulnerabilities.
//!
//! The format is that of `cargo auditable`: JSON, compressed by zlib, in the
//! custom section `.dep-v0`
//! (<https://github.com/rust-secure-code/cargo-auditable/blob/master/PARSING.md>).
//!
//! Which crates belong to it, cargo's messages say: one for each crate that it
//! compiled or found compiled, for this target and these features and no other.
//! Which of them depends on which is in `Cargo.lock`. Neither needs another
//! run of cargo.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use serde::{Deserialize, Serialize};
use wasm_encoder::{ComponentSection, CustomSection};

/// The custom section's name.
const SECTION: &str = ".dep-v0";

/// The length of what every component begins with: magic number and version.
const PREAMBLE: usize = 8;

/// The format's revision in which proc macros count as build dependencies.
const REVISION: u32 = 1;

/// Where crates come from unless they say otherwise, as package ids and lock
/// files name it.
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// What cargo compiled: package ids, and whether the package was compiled for
/// the guest, or only for what runs on this machine during the build.
pub(super) type Packages = BTreeMap<String, bool>;

/// Names of packages that a package of the workspace uses in its tests alone,
/// by its package id.
pub(super) type DevelopmentOnly = BTreeMap<String, BTreeSet<String>>;

#[derive(Serialize)]
struct List<'a> {
    packages: Vec<Entry<'a>>,
    format: u32,
}

#[derive(Serialize)]
struct Entry<'a> {
    name: &'a str,
    version: &'a str,
    source: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    dependencies: Vec<usize>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    root: bool,
}

#[derive(Default, Deserialize)]
struct Lock {
    #[serde(default)]
    package: Vec<LockedPackage>,
}

#[derive(Deserialize)]
struct LockedPackage {
    name: String,
    version: String,
    source: Option<String>,
    #[serde(default)]
    dependencies: Vec<String>,
}

/// A package as its id names it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Package<'a> {
    name: &'a str,
    version: &'a str,
    /// Without the version or commit; `None` for a folder.
    source: Option<&'a str>,
}

/// The section's content, compressed: equal inputs give equal bytes.
///
/// A lock file that does not parse costs the list only who depends on whom.
pub(super) fn list(
    packages: &Packages,
    root: &str,
    lock: &str,
    development_only: &DevelopmentOnly,
) -> Vec<u8> {
    let lock: Lock = toml::from_str(lock).unwrap_or_default();
    let parsed = (packages.iter()).filter_map(|(id, linked)| Some((package(id)?, (id, *linked))));
    let packages: BTreeMap<_, _> = parsed.collect();
    let indexes: BTreeMap<&Package<'_>, usize> = packages.keys().zip(0..).collect();
    let entries = packages.iter().map(|(package, (id, linked))| {
        let unlinked = development_only.get(*id);
        let locked = (lock.package.iter()).find(|locked| package.is(locked));
        let names = locked.map_or(&[][..], |locked| &locked.dependencies);
        let mut dependencies: Vec<usize> = (names.iter())
            .filter_map(|text| {
                let (name, version, source) = dependency(text);
                if unlinked.is_some_and(|unlinked| unlinked.contains(name)) {
                    return None;
                }
                let is_meant = |package: &Package<'_>| {
                    package.name == name
                        && version.is_none_or(|version| package.version == version)
                        && source.is_none_or(|source| package.source == Some(source))
                };
                let mut found = indexes.iter().filter(|(package, _)| is_meant(package));
                found.next().map(|(_, index)| *index)
            })
            .collect();
        dependencies.sort_unstable();
        dependencies.dedup();
        Entry {
            name: package.name,
            version: package.version,
            source: package.origin(),
            kind: (!linked).then_some("build"),
            dependencies,
            root: *id == root,
        }
    });
    let list = List {
        packages: entries.collect(),
        format: REVISION,
    };
    let json = serde_json::to_vec(&list).expect("plain data becomes JSON");
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(&json).expect("a vector takes all bytes");
    encoder.finish().expect("a vector takes all bytes")
}

/// Puts the list into a component and returns by how many bytes it grew.
///
/// It comes first: `cargo audit` looks no further than the end of the first
/// module inside.
pub(crate) fn embed(component: &mut Vec<u8>, list: &[u8]) -> u64 {
    let section = CustomSection {
        name: SECTION.into(),
        data: list.into(),
    };
    let mut bytes = Vec::new();
    section.append_to_component(&mut bytes);
    component.splice(PREAMBLE..PREAMBLE, bytes.iter().copied());
    bytes.len() as u64
}

impl Package<'_> {
    fn is(&self, locked: &LockedPackage) -> bool {
        let source = locked.source.as_deref().map(without_fragment);
        self.name == locked.name && self.version == locked.version && self.source == source
    }

    /// The source in the format's words.
    fn origin(&self) -> &'static str {
        match self.source {
            None => "local",
            Some(CRATES_IO) => "crates.io",
            Some(source) if source.starts_with("git+") => "git",
            Some(_) => "registry",
        }
    }
}

/// Reads a package id: `SOURCE#NAME@VERSION`, or `SOURCE/NAME#VERSION`
/// (<https://doc.rust-lang.org/cargo/reference/pkgid-spec.html>).
fn package(id: &str) -> Option<Package<'_>> {
    let (source, fragment) = id.rsplit_once('#')?;
    let (name, version) = match fragment.split_once('@') {
        Some(parts) => parts,
        None => {
            let path = source.split('?').next().unwrap_or(source);
            (path.rsplit('/').next()?, fragment)
        }
    };
    Some(Package {
        name,
        version,
        source: (!source.starts_with("path+")).then_some(source),
    })
}

/// Reads a dependency of a lock file: `NAME`, and where that could be several
/// its version, and where that could be several its source.
fn dependency(text: &str) -> (&str, Option<&str>, Option<&str>) {
    let mut parts = text.splitn(3, ' ');
    let name = parts.next().unwrap_or(text);
    let version = parts.next();
    let source = parts
        .next()
        .map(|source| without_fragment(source.trim_matches(['(', ')'])));
    (name, version, source)
}

/// A git source without its commit.
fn without_fragment(source: &str) -> &str {
    source.split('#').next().unwrap_or(source)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Read;
    use std::str::FromStr;

    use auditable_serde::{DependencyKind, Source, VersionInfo};

    use super::*;

    const ROOT: &str = "path+file:///w/a%20b/app#0.1.0";
    const LOCK: &str = r#"
version = 4

[[package]]
name = "app"
version = "0.1.0"
dependencies = ["http", "macros", "same 1.0.0", "same 2.0.0 (git+https://example.com/same?branch=x)", "tester"]

[[package]]
name = "http"
version = "1.5.0"
source = "registry+https://github.com/rust-lang/crates.io-index"
checksum = "00"
dependencies = ["same 1.0.0", "windows-only"]

[[package]]
name = "macros"
version = "0.1.0"

[[package]]
name = "same"
version = "1.0.0"
source = "registry+https://example.com/index"

[[package]]
name = "same"
version = "2.0.0"
source = "git+https://example.com/same?branch=x#0123456789"

[[package]]
name = "tester"
version = "1.0.0"
source = "registry+https://github.com/rust-lang/crates.io-index"
dependencies = ["app"]
"#;

    fn packages() -> Packages {
        [
            (ROOT, true),
            ("path+file:///w/macros#0.1.0", false),
            ("git+https://example.com/same?branch=x#2.0.0", true),
            ("registry+https://example.com/index#same@1.0.0", true),
            (&format!("{CRATES_IO}#http@1.5.0"), true),
            // A test's helper that something else needs at build time.
            (&format!("{CRATES_IO}#tester@1.0.0"), false),
        ]
        .map(|(id, linked)| (id.to_string(), linked))
        .into()
    }

    fn development_only() -> DevelopmentOnly {
        [(ROOT.to_string(), ["tester".to_string()].into())].into()
    }

    /// Reads a list as `cargo audit bin` does.
    fn decoded(list: &[u8]) -> VersionInfo {
        let mut json = String::new();
        flate2::read::ZlibDecoder::new(list)
            .read_to_string(&mut json)
            .unwrap();
        VersionInfo::from_str(&json).unwrap()
    }

    #[test]
    fn cargo_audit_reads_the_list() {
        let list = list(&packages(), ROOT, LOCK, &development_only());
        let info = decoded(&list);
        assert_eq!(info.format, 1);
        let found = info.packages.iter().map(|package| {
            let names = (package.dependencies.iter())
                .map(|index| {
                    let package = &info.packages[*index];
                    format!("{} {}", package.name, package.version)
                })
                .collect::<Vec<_>>();
            let build = package.kind == DependencyKind::Build;
            let name = format!("{} {}", package.name, package.version);
            (name, package.source.clone(), build, names.join(", "))
        });
        let expected = [
            (
                "app 0.1.0",
                Source::Local,
                false,
                "http 1.5.0, macros 0.1.0, same 1.0.0, same 2.0.0",
            ),
            ("http 1.5.0", Source::CratesIo, false, "same 1.0.0"),
            ("macros 0.1.0", Source::Local, true, ""),
            ("same 1.0.0", Source::Registry, false, ""),
            ("same 2.0.0", Source::Git, false, ""),
            ("tester 1.0.0", Source::CratesIo, true, "app 0.1.0"),
        ]
        .map(|(name, source, build, names)| (name.to_string(), source, build, names.to_string()));
        assert_eq!(found.collect::<Vec<_>>(), expected);
        let roots = info.packages.iter().filter(|package| package.root);
        assert_eq!(roots.map(|root| &root.name).collect::<Vec<_>>(), ["app"]);
    }

    #[test]
    fn a_lock_file_that_does_not_parse_leaves_the_packages() {
        for lock in ["", "[[package]\n", "[[package]]\nname = 1\n"] {
            let info = decoded(&list(&packages(), ROOT, lock, &DevelopmentOnly::new()));
            assert_eq!(info.packages.len(), 6, "{lock}");
            let alone = |package: &auditable_serde::Package| package.dependencies.is_empty();
            assert!(info.packages.iter().all(alone), "{lock}");
        }
    }

    #[test]
    fn package_ids_are_read() {
        let check = |id: &str, expected: Option<(&str, &str, Option<&str>)>| {
            let found = package(id).map(|package| (package.name, package.version, package.source));
            assert_eq!(found, expected, "{id}");
        };
        check("path+file:///w/app#0.1.0", Some(("app", "0.1.0", None)));
        check("path+file:///w/x#app@0.1.0", Some(("app", "0.1.0", None)));
        check(
            "git+https://example.com/same?rev=a/b#1.0.0+meta",
            Some((
                "same",
                "1.0.0+meta",
                Some("git+https://example.com/same?rev=a/b"),
            )),
        );
        check("rubbish", None);
    }

    #[test]
    fn the_section_comes_first_and_leaves_a_component_valid() {
        use wasmparser::{Parser, Payload};
        let mut component = wat::parse_str("(component (core module))").unwrap();
        let before = component.len();
        let grown = embed(&mut component, b"list");
        assert_eq!(component.len(), before + grown as usize);
        assert!(crate::wasm::read(&component).is_ok());
        let second = Parser::new(0).parse_all(&component).nth(1).unwrap();
        assert!(matches!(second, Ok(Payload::CustomSection(section))
            if section.name() == SECTION && section.data() == b"list"));
    }
}
