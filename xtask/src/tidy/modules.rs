//! Every `.rs` file of a crate is reached from one of its roots, and a crate
//! has at most one integration test binary, `tests/it/main.rs`.

use std::collections::{BTreeMap, BTreeSet};

use super::Problem;
use super::lexer::{Kind, Token, tokens};
use super::tree::{Tree, resolve};

pub(crate) fn check(tree: &Tree) -> Vec<Problem> {
    let packages: BTreeSet<&str> = tree
        .names()
        .filter_map(|name| name.strip_suffix("Cargo.toml"))
        .map(|folder| folder.trim_end_matches('/'))
        .collect();
    // Packages outside the workspace build by themselves, and templates are not Rust before they are filled in.
    let ours = packages.iter().filter(|package| {
        **package == "xtask"
            || package
                .strip_prefix("crates/")
                .is_some_and(|name| !name.contains('/'))
    });
    let mut problems = Vec::new();
    for package in ours {
        let files: BTreeMap<&str, &str> = tree
            .texts()
            .filter(|(name, _)| name.ends_with(".rs") && owner(&packages, name) == Some(package))
            .collect();
        problems.extend(test_binaries(package, &files));
        problems.extend(orphans(tree, package, &files));
    }
    problems
}

/// The innermost package that a file lies in.
fn owner<'a>(packages: &BTreeSet<&'a str>, file: &str) -> Option<&'a str> {
    packages
        .iter()
        .filter(|package| {
            file.strip_prefix(**package)
                .is_some_and(|rest| rest.starts_with('/'))
        })
        .max_by_key(|package| package.len())
        .copied()
}

/// Folders of test binaries: the one of a crate, and that of `cargo xtask test --only hostile`,
/// which the tests of its crate leave alone.
const TEST_BINARIES: &[&str] = &["it", "hostile"];

fn test_binaries(package: &str, files: &BTreeMap<&str, &str>) -> Vec<Problem> {
    files
        .keys()
        .filter(|file| {
            inside(package, file).is_some_and(|parts| match parts[..] {
                ["tests", file] => file.ends_with(".rs"),
                ["tests", folder, "main.rs"] => !TEST_BINARIES.contains(&folder),
                _ => false,
            })
        })
        .map(|file| {
            Problem::new(
                file,
                1,
                "a second integration test binary; make it a module of tests/it/main.rs",
            )
        })
        .collect()
}

fn inside<'a>(package: &str, file: &'a str) -> Option<Vec<&'a str>> {
    Some(
        file.strip_prefix(package)?
            .strip_prefix('/')?
            .split('/')
            .collect(),
    )
}

fn orphans(tree: &Tree, package: &str, files: &BTreeMap<&str, &str>) -> Vec<Problem> {
    let manifest = format!("{package}/Cargo.toml");
    let mut waiting: Vec<(String, bool)> =
        named_roots(&manifest, tree.text(&manifest).unwrap_or(""));
    waiting.extend(
        files
            .keys()
            .filter(|file| is_root(package, file))
            .map(|file| ((*file).to_owned(), true)),
    );
    let mut reached = BTreeSet::new();
    while let Some((file, is_root)) = waiting.pop() {
        let Some(source) = files.get(file.as_str()) else {
            continue;
        };
        if reached.insert(file.clone()) {
            waiting.extend(
                references(&file, is_root, source)
                    .into_iter()
                    .map(|file| (file, false)),
            );
        }
    }
    files
        .keys()
        .filter(|file| !reached.contains(**file))
        .map(|file| Problem::new(file, 1, "belongs to no crate: no `mod` leads to it"))
        .collect()
}

/// Roots that cargo finds by itself.
fn is_root(package: &str, file: &str) -> bool {
    inside(package, file).is_some_and(|parts| {
        matches!(
            parts[..],
            ["build.rs"]
                | ["src", "lib.rs" | "main.rs"]
                | ["src", "bin", _]
                | ["src", "bin", _, "main.rs"]
                | ["tests" | "benches" | "examples", _]
                | ["tests" | "benches" | "examples", _, "main.rs"]
        )
    })
}

/// Roots that the manifest names, such as `[[bin]] path = "…"`.
fn named_roots(manifest: &str, text: &str) -> Vec<(String, bool)> {
    let Ok(table) = text.parse::<toml::Table>() else {
        return Vec::new();
    };
    let mut targets: Vec<&toml::Value> = table.get("lib").into_iter().collect();
    for kind in ["bin", "test", "bench", "example"] {
        targets.extend(
            table
                .get(kind)
                .and_then(toml::Value::as_array)
                .into_iter()
                .flatten(),
        );
    }
    targets
        .into_iter()
        .filter_map(|target| target.get("path")?.as_str())
        .filter_map(|path| resolve(manifest, path))
        .map(|path| (path, true))
        .collect()
}

/// The files that a file may mean by its `mod x;` and `include!("x")`; those
/// that do not exist do no harm.
fn references(file: &str, is_root: bool, source: &str) -> Vec<String> {
    let tokens: Vec<Token<'_>> = tokens(source)
        .into_iter()
        .filter(|token| !matches!(token.kind, Kind::Comment(_)))
        .collect();
    let kind = |index: usize| tokens.get(index).map(|token| token.kind);
    let stem = file
        .rsplit('/')
        .next()
        .and_then(|name| name.strip_suffix(".rs"))
        .unwrap_or("");
    // `mod x;` in `a/mod.rs` means `a/x.rs`, in `a/b.rs` it means `a/b/x.rs`.
    let own_folder = if is_root || stem == "mod" {
        String::new()
    } else {
        format!("{stem}/")
    };
    let mut found = Vec::new();
    let mut inline: Vec<(&str, usize)> = Vec::new();
    let mut depth = 0;
    let mut path = None;
    for index in 0..tokens.len() {
        match (kind(index), kind(index + 1), kind(index + 2)) {
            (Some(Kind::Sign('{')), ..) => depth += 1,
            (Some(Kind::Sign('}')), ..) => {
                inline.pop_if(|(_, opened)| *opened == depth);
                depth = depth.saturating_sub(1);
            }
            (Some(Kind::Word("path")), Some(Kind::Sign('=')), Some(Kind::Text(text))) => {
                path = Some(text)
            }
            (
                Some(Kind::Word("include" | "include_str")),
                Some(Kind::Sign('!')),
                Some(Kind::Sign('(')),
            ) => {
                if let Some(Kind::Text(text)) = kind(index + 3) {
                    found.extend(resolve(file, text));
                }
            }
            (Some(Kind::Word("mod")), Some(Kind::Word(name)), Some(Kind::Sign('{'))) => {
                inline.push((name, depth + 1));
                path = None;
            }
            (Some(Kind::Word("mod")), Some(Kind::Word(name)), Some(Kind::Sign(';'))) => {
                let outer: String = inline.iter().map(|(name, _)| format!("{name}/")).collect();
                match path.take() {
                    Some(path) => found.extend(resolve(file, path)),
                    None => {
                        for tail in [".rs", "/mod.rs"] {
                            found
                                .extend(resolve(file, &format!("{own_folder}{outer}{name}{tail}")));
                        }
                    }
                }
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::rendered;
    use super::*;

    fn orphan(file: &str) -> String {
        format!("{file}:1: belongs to no crate: no `mod` leads to it\n")
    }

    #[test]
    fn files_that_no_mod_names_are_orphans() {
        let tree = Tree::from([
            ("crates/a/Cargo.toml", ""),
            (
                "crates/a/src/lib.rs",
                "mod b;\npub mod c;\nmod inline { mod deep; }\n// mod d;\n",
            ),
            ("crates/a/src/b.rs", "#[cfg(test)] mod tests;"),
            ("crates/a/src/b/tests.rs", ""),
            ("crates/a/src/c/mod.rs", "#[path = \"renamed.rs\"] mod e;"),
            ("crates/a/src/c/renamed.rs", ""),
            ("crates/a/src/inline/deep.rs", ""),
            ("crates/a/src/d.rs", ""),
            ("crates/a/src/tests.rs", ""),
            ("crates/a/build.rs", "include!(\"shared/x.rs\");"),
            ("crates/a/shared/x.rs", ""),
        ]);
        assert_eq!(
            rendered(&check(&tree)),
            orphan("crates/a/src/d.rs") + &orphan("crates/a/src/tests.rs")
        );
    }

    #[test]
    fn a_module_declared_only_in_a_string_is_an_orphan() {
        let tree = Tree::from([
            ("crates/a/Cargo.toml", ""),
            (
                "crates/a/src/main.rs",
                "const A: &str = \"mod b;\"; fn f() { let m = '{'; }",
            ),
            ("crates/a/src/b.rs", ""),
        ]);
        assert_eq!(rendered(&check(&tree)), orphan("crates/a/src/b.rs"));
    }

    #[test]
    fn roots_named_in_the_manifest_count() {
        let tree = Tree::from([
            (
                "crates/a/Cargo.toml",
                "[[bin]]\nname = \"x\"\npath = \"src/x/entry.rs\"\n",
            ),
            ("crates/a/src/x/entry.rs", "mod y;"),
            ("crates/a/src/x/y.rs", ""),
        ]);
        assert_eq!(rendered(&check(&tree)), "");
    }

    #[test]
    fn one_integration_test_binary_a_crate() {
        let tree = Tree::from([
            ("crates/a/Cargo.toml", ""),
            ("crates/a/tests/it/main.rs", "mod routes;"),
            ("crates/a/tests/it/routes.rs", ""),
            ("crates/a/tests/it/forgotten.rs", ""),
            ("crates/a/tests/more.rs", ""),
            ("crates/a/tests/fixture/Cargo.toml", ""),
            ("crates/a/tests/fixture/src/lib.rs", "mod gone;"),
        ]);
        assert_eq!(
            rendered(&check(&tree)),
            "crates/a/tests/more.rs:1: a second integration test binary; make it a module of tests/it/main.rs\n"
                .to_owned()
                + &orphan("crates/a/tests/it/forgotten.rs")
        );
    }
}
