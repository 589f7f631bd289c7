//! Which crate may use which. A crate is a firewall for a dependency; this is
//! where the wall is watched.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::Problem;
use super::tree::Tree;

/// A crate and what it may name.
struct Crate {
    /// Below `crates/`.
    folder: &'static str,
    package: &'static str,
    /// Folders of those of our crates that it may depend on.
    may_use: &'static [&'static str],
    wasm_engine: bool,
}

const fn without_engine(
    folder: &'static str,
    package: &'static str,
    may_use: &'static [&'static str],
) -> Crate {
    Crate {
        folder,
        package,
        may_use,
        wasm_engine: false,
    }
}

const fn with_engine(
    folder: &'static str,
    package: &'static str,
    may_use: &'static [&'static str],
) -> Crate {
    Crate {
        folder,
        package,
        may_use,
        wasm_engine: true,
    }
}

/// The crates of the design, those to come included: a new one that is listed
/// here needs no change of this file.
const CRATES: &[Crate] = &[
    without_engine("manifest", "wharf-manifest", &[]),
    without_engine("artifact", "wharf-artifact", &["manifest"]),
    without_engine("build", "wharf-build", &["manifest", "artifact"]),
    without_engine("sandbox", "wharf-sandbox", &[]),
    with_engine("engine", "wharf-engine", &["manifest", "sandbox"]),
    without_engine("ai", "wharf-ai", &[]),
    without_engine("ai-engine", "wharf-ai-engine", &["ai", "sandbox"]),
    with_engine(
        "host",
        "wharf-host",
        &["manifest", "artifact", "engine", "ai"],
    ),
    with_engine(
        "serve",
        "wharf-serve",
        &["manifest", "artifact", "engine", "host"],
    ),
    with_engine(
        "embed",
        "wharf",
        &["manifest", "artifact", "engine", "host"],
    ),
    without_engine("registry", "wharf-registry", &["manifest", "artifact"]),
    without_engine("cluster", "wharf-cluster", &["manifest", "artifact"]),
    with_engine(
        "cli",
        "wharf-cli",
        &[
            "manifest",
            "artifact",
            "build",
            "engine",
            "ai",
            "ai-engine",
            "host",
            "serve",
            "embed",
            "registry",
            "cluster",
        ],
    ),
    without_engine("testkit", "wharf-testkit", &["manifest", "artifact"]),
    without_engine("fuzzkit", "wharf-fuzzkit", &[]),
];

/// The crate that compiles Wasm, and those that only tests may use.
const COMPILER: &str = "engine";
const TEST_ONLY: &[&str] = &["testkit", FUZZING];
/// Of these, the one that a feature may bring: crates show their fuzz targets by it.
const FUZZING: &str = "fuzzkit";

/// Features of `wasmtime*` crates that bring a compiler in.
const COMPILER_FEATURES: &[&str] = &["cranelift", "winch", "all-arch"];

const ARCHITECTURE: &str = "ARCHITECTURE.md";

pub(crate) fn check(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    let folders = tree.folders_in("crates");
    let root = table(tree, "Cargo.toml", &mut problems);
    check_root(tree, &root, &mut problems);
    for folder in &folders {
        let manifest = format!("crates/{folder}/Cargo.toml");
        if !tree.has_file(&manifest) {
            continue;
        }
        let own = table(tree, &manifest, &mut problems);
        let check = ManifestCheck {
            tree,
            file: &manifest,
            root: &root,
        };
        match CRATES.iter().find(|known| known.folder == *folder) {
            Some(known) => check.known_crate(known, &own, &mut problems),
            None => problems.push(Problem::new(
                &manifest,
                1,
                format!("crates/{folder} is not in the table of crates (xtask/src/tidy/graph.rs)"),
            )),
        }
        check.inheritance(&own, &mut problems);
    }
    if tree.has_file("xtask/Cargo.toml") {
        let own = table(tree, "xtask/Cargo.toml", &mut problems);
        let check = ManifestCheck {
            tree,
            file: "xtask/Cargo.toml",
            root: &root,
        };
        check.inheritance(&own, &mut problems);
    }
    check_architecture(tree, &folders, &mut problems);
    problems
}

fn table(tree: &Tree, file: &str, problems: &mut Vec<Problem>) -> Table {
    let Some(text) = tree.text(file) else {
        problems.push(Problem::new(file, 1, "is missing"));
        return Table::new();
    };
    text.parse().unwrap_or_else(|error: toml::de::Error| {
        let start = error.span().map_or(0, |span| span.start);
        let line = text[..start.min(text.len())].matches('\n').count() + 1;
        problems.push(Problem::new(file, line, error.message()));
        Table::new()
    })
}

/// The shared versions: what stands there holds for every crate, so it may
/// bring no compiler in, neither by name nor by default.
fn check_root(tree: &Tree, root: &Table, problems: &mut Vec<Problem>) {
    let shared = root
        .get("workspace")
        .and_then(|workspace| workspace.get("dependencies"));
    for (key, value) in shared.and_then(Value::as_table).into_iter().flatten() {
        let line = line_of(tree.text("Cargo.toml"), key);
        let mut problem =
            |message: String| problems.push(Problem::new("Cargo.toml", line, message));
        if !is_engine_package(package_name(key, value)) {
            continue;
        }
        if value.get("default-features").and_then(Value::as_bool) != Some(false) {
            problem(format!(
                "`{key}` needs `default-features = false`: its defaults bring a compiler"
            ));
        }
        for feature in compiler_features(value) {
            problem(format!(
                "`{key}` names `{feature}` for every crate; only crates/{COMPILER} may"
            ));
        }
    }
}

struct ManifestCheck<'a> {
    tree: &'a Tree,
    file: &'a str,
    root: &'a Table,
}

impl ManifestCheck<'_> {
    fn problem(&self, key: &str, message: String) -> Problem {
        Problem::new(self.file, line_of(self.tree.text(self.file), key), message)
    }

    fn known_crate(&self, own: &Crate, manifest: &Table, problems: &mut Vec<Problem>) {
        let name = manifest
            .get("package")
            .and_then(|package| package.get("name"))
            .and_then(Value::as_str);
        if name != Some(own.package) {
            let found = name.unwrap_or("nothing");
            problems.push(self.problem(
                "name",
                format!("the package is `{}`, not `{found}`", own.package),
            ));
        }
        for dependency in dependencies(manifest) {
            let shared = self.shared(dependency.key);
            let package = package_name(dependency.key, shared.unwrap_or(dependency.value));
            let mut problem = |message| problems.push(self.problem(dependency.key, message));
            if let Some(used) = CRATES.iter().find(|known| known.package == package) {
                let is_test_only = TEST_ONLY.contains(&used.folder);
                let allowed = own.may_use.contains(&used.folder)
                    || (dependency.dev && (is_test_only || used.folder == own.folder))
                    || (dependency.optional && used.folder == FUZZING);
                if !allowed && is_test_only {
                    problem(format!(
                        "`{package}` is for tests: only [dev-dependencies] may name it"
                    ));
                } else if !allowed {
                    problem(format!(
                        "crates/{} may not use crates/{}",
                        own.folder, used.folder
                    ));
                }
            }
            if is_engine_package(package) && !own.wasm_engine {
                problem(format!(
                    "crates/{} is kept free of a Wasm engine: `{package}`",
                    own.folder
                ));
            }
            if own.folder != COMPILER {
                if is_compiler_package(package) {
                    problem(format!(
                        "only crates/{COMPILER} may compile Wasm: `{package}`"
                    ));
                }
                for feature in compiler_features(dependency.value) {
                    problem(format!(
                        "only crates/{COMPILER} may compile Wasm: `{package}` with `{feature}`"
                    ));
                }
            }
        }
    }

    /// Versions and lints stand once, in the root.
    fn inheritance(&self, manifest: &Table, problems: &mut Vec<Problem>) {
        let inherits = |value: Option<&Value>| {
            value
                .and_then(|value| value.get("workspace"))
                .and_then(Value::as_bool)
                == Some(true)
        };
        if !inherits(manifest.get("lints")) {
            problems.push(self.problem(
                "[lints]",
                "the workspace's lints are not inherited".to_owned(),
            ));
        }
        for dependency in dependencies(manifest) {
            if !inherits(Some(dependency.value)) {
                let key = dependency.key;
                let message =
                    format!("`{key}` takes its version from elsewhere than the workspace");
                problems.push(self.problem(key, message));
            }
        }
    }

    fn shared(&self, key: &str) -> Option<&Value> {
        self.root.get("workspace")?.get("dependencies")?.get(key)
    }
}

struct Dependency<'a> {
    key: &'a str,
    value: &'a Value,
    dev: bool,
    optional: bool,
}

/// All dependencies, those of single platforms too.
fn dependencies(manifest: &Table) -> Vec<Dependency<'_>> {
    let platforms = manifest.get("target").and_then(Value::as_table);
    let tables = platforms
        .into_iter()
        .flatten()
        .filter_map(|(_, value)| value.as_table());
    let mut found = Vec::new();
    for table in std::iter::once(manifest).chain(tables) {
        for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let entries = table
                .get(kind)
                .and_then(Value::as_table)
                .into_iter()
                .flatten();
            let dev = kind == "dev-dependencies";
            found.extend(entries.map(|(key, value)| Dependency {
                key,
                value,
                dev,
                optional: value.get("optional").and_then(Value::as_bool) == Some(true),
            }));
        }
    }
    found
}

fn package_name<'a>(key: &'a str, value: &'a Value) -> &'a str {
    value.get("package").and_then(Value::as_str).unwrap_or(key)
}

fn is_engine_package(package: &str) -> bool {
    package.starts_with("wasmtime") || is_compiler_package(package)
}

fn is_compiler_package(package: &str) -> bool {
    package.starts_with("cranelift")
        || matches!(
            package,
            "wasmtime-wizer" | "wasmtime-internal-cranelift" | "wasmtime-internal-winch"
        )
}

fn compiler_features(dependency: &Value) -> impl Iterator<Item = &str> {
    let features = dependency
        .get("features")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    features
        .filter_map(Value::as_str)
        .filter(|feature| COMPILER_FEATURES.contains(feature))
}

/// The first line that begins with a key; 1 where none does.
fn line_of(text: Option<&str>, key: &str) -> usize {
    let begins = |line: &str| {
        line.trim_start_matches('"')
            .strip_prefix(key)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '=', '.', '"']))
    };
    text.and_then(|text| text.lines().position(begins))
        .map_or(1, |index| index + 1)
}

/// The table in ARCHITECTURE.md: rows whose first cell is `` `crates/NAME` ``.
fn check_architecture(tree: &Tree, folders: &[&str], problems: &mut Vec<Problem>) {
    let Some(text) = tree.text(ARCHITECTURE) else {
        problems.push(Problem::new(ARCHITECTURE, 1, "is missing"));
        return;
    };
    let mut rows = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        let cell = line
            .trim_start()
            .strip_prefix('|')
            .and_then(|row| row.split('|').next());
        let folder = cell.and_then(|cell| {
            let (_, name) = cell.split_once("crates/")?;
            let end = name
                .find(|c: char| !(c.is_ascii_alphanumeric() || c == '-'))
                .unwrap_or(name.len());
            (end > 0).then(|| &name[..end])
        });
        if let Some(folder) = folder {
            rows.entry(folder).or_insert(index + 1);
        }
    }
    for (folder, line) in &rows {
        if !folders.contains(folder) {
            problems.push(Problem::new(
                ARCHITECTURE,
                *line,
                format!("crates/{folder} does not exist"),
            ));
        }
    }
    for folder in folders {
        if !rows.contains_key(folder) {
            problems.push(Problem::new(
                ARCHITECTURE,
                1,
                format!("crates/{folder} is not in the table of crates"),
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::rendered;
    use super::*;

    const ROOT: &str = "[workspace.dependencies]\n\
        wharf-manifest = { path = \"crates/manifest\" }\n\
        wasmtime = { version = \"48\", default-features = false }\n\
        renamed = { package = \"wharf-host\", path = \"crates/host\" }\n";

    fn check_one(folder: &str, dependencies: &str, expected: &str) {
        let file = format!("crates/{folder}/Cargo.toml");
        let package = CRATES
            .iter()
            .find(|known| known.folder == folder)
            .map_or("x", |known| known.package);
        let manifest =
            format!("[package]\nname = \"{package}\"\n[lints]\nworkspace = true\n{dependencies}\n");
        let architecture = format!("| crate | does |\n|---|---|\n| `crates/{folder}` | x |\n");
        let tree = Tree::from([
            ("Cargo.toml", ROOT),
            (file.as_str(), manifest.as_str()),
            (ARCHITECTURE, architecture.as_str()),
        ]);
        assert_eq!(
            rendered(&check(&tree)),
            expected,
            "{folder}: {dependencies}"
        );
    }

    #[test]
    fn an_edge_that_the_design_has_is_allowed() {
        check_one(
            "artifact",
            "[dependencies]\nwharf-manifest.workspace = true",
            "",
        );
        check_one(
            "engine",
            "[dependencies]\nwasmtime = { workspace = true, features = [\"cranelift\"] }",
            "",
        );
        check_one("host", "[dependencies]\nwasmtime.workspace = true", "");
        check_one(
            "manifest",
            "[dev-dependencies]\nwharf-testkit.workspace = true",
            "",
        );
        check_one(
            "serve",
            "[dependencies]\nwharf-fuzzkit = { workspace = true, optional = true }",
            "",
        );
    }

    #[test]
    fn an_edge_that_it_has_not_is_named_with_its_line() {
        check_one(
            "artifact",
            "[dependencies]\nwharf-engine.workspace = true",
            "crates/artifact/Cargo.toml:6: crates/artifact may not use crates/engine\n",
        );
        check_one(
            "engine",
            "[target.'cfg(unix)'.dependencies]\nrenamed.workspace = true",
            "crates/engine/Cargo.toml:6: crates/engine may not use crates/host\n",
        );
        check_one(
            "serve",
            "[dependencies]\nwharf-testkit.workspace = true",
            "crates/serve/Cargo.toml:6: `wharf-testkit` is for tests: only [dev-dependencies] may name it\n",
        );
        check_one(
            "serve",
            "[dependencies]\nwharf-fuzzkit.workspace = true",
            "crates/serve/Cargo.toml:6: `wharf-fuzzkit` is for tests: only [dev-dependencies] may name it\n",
        );
    }

    #[test]
    fn engines_stay_behind_their_wall() {
        check_one(
            "build",
            "[dependencies]\nwasmtime.workspace = true",
            "crates/build/Cargo.toml:6: crates/build is kept free of a Wasm engine: `wasmtime`\n",
        );
        check_one(
            "host",
            "[dependencies]\nwasmtime = { workspace = true, features = [\"cranelift\"] }",
            "crates/host/Cargo.toml:6: only crates/engine may compile Wasm: `wasmtime` with `cranelift`\n",
        );
    }

    #[test]
    fn versions_and_lints_come_from_the_workspace() {
        check_one(
            "manifest",
            "[dependencies]\nserde = \"1\"",
            "crates/manifest/Cargo.toml:6: `serde` takes its version from elsewhere than the workspace\n",
        );
        let tree = Tree::from([
            ("Cargo.toml", ROOT),
            ("xtask/Cargo.toml", "[package]\nname = \"xtask\"\n"),
            (ARCHITECTURE, ""),
        ]);
        assert_eq!(
            rendered(&check(&tree)),
            "xtask/Cargo.toml:1: the workspace's lints are not inherited\n"
        );
    }

    #[test]
    fn the_shared_versions_bring_no_compiler() {
        let root =
            "[workspace.dependencies]\nwasmtime = { version = \"48\", features = [\"winch\"] }\n";
        let tree = Tree::from([("Cargo.toml", root), (ARCHITECTURE, "")]);
        assert_eq!(
            rendered(&check(&tree)),
            "Cargo.toml:2: `wasmtime` needs `default-features = false`: its defaults bring a compiler\n\
             Cargo.toml:2: `wasmtime` names `winch` for every crate; only crates/engine may\n"
        );
    }

    #[test]
    fn the_table_of_architecture_and_the_folders_agree() {
        let manifest = "[package]\nname = \"wharf-manifest\"\n[lints]\nworkspace = true\n";
        let tree = Tree::from([
            ("Cargo.toml", ROOT),
            ("crates/manifest/Cargo.toml", manifest),
            (
                ARCHITECTURE,
                "# x\n| [`crates/gone`](crates/gone) (`wharf-gone`) | y |\ncrates/prose\n",
            ),
        ]);
        assert_eq!(
            rendered(&check(&tree)),
            "ARCHITECTURE.md:2: crates/gone does not exist\n\
             ARCHITECTURE.md:1: crates/manifest is not in the table of crates\n"
        );
    }

    #[test]
    fn a_crate_outside_the_design_and_a_broken_manifest_are_reported() {
        check_one(
            "utils",
            "",
            "crates/utils/Cargo.toml:1: crates/utils is not in the table of crates (xtask/src/tidy/graph.rs)\n",
        );
        let tree = Tree::from([
            ("Cargo.toml", "[workspace]\nmembers = [\n"),
            (ARCHITECTURE, ""),
        ]);
        assert!(rendered(&check(&tree)).starts_with("Cargo.toml:"));
    }
}
