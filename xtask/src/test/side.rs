//! Rust code outside the main workspace: the guest SDK, test guests, examples,
//! benches. They are found, not listed, so that none can be forgotten.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::count::{Count, Runner, run_counting};
use crate::process;
use crate::workspace::Workspace;

/// Folders that hold such code, and whether it has tests that run on the host.
const FOLDERS: &[(&str, bool)] = &[
    ("sdk", true),
    ("guests", false),
    ("examples", true),
    ("benches", true),
    ("fuzz", true),
];

/// How deep below those folders a `Cargo.toml` is looked for.
const DEPTH_MAX: usize = 3;

/// rustfmt and clippy over each; goes on after a failure.
///
/// # Errors
/// One of them failed; the message says how many did.
pub(crate) fn check(workspace: &Workspace) -> Result<Count> {
    let mut failed = 0;
    for (folder, has_tests) in roots(workspace.root())? {
        let mut clippy = cargo(workspace, &folder);
        clippy.args(["clippy", "--workspace"]);
        // Guests may be built for a Wasm target, where there is nothing to run tests with.
        if has_tests {
            clippy.arg("--all-targets");
        }
        clippy.args(["--", "-D", "warnings"]);
        let mut fmt = cargo(workspace, &folder);
        fmt.args(["fmt", "--all", "--check"]);
        for command in [&mut fmt, &mut clippy] {
            if let Err(error) = process::run(command) {
                eprintln!("error: in {}: {error:#}", folder.display());
                failed += 1;
            }
        }
    }
    if failed > 0 {
        bail!("{failed} checks outside the workspace failed");
    }
    Ok(Count::default())
}

/// # Errors
/// A command cannot be started.
pub(crate) fn test(workspace: &Workspace, filter: Option<&str>) -> Result<Count> {
    let mut count = Count::default();
    for (folder, has_tests) in roots(workspace.root())? {
        if has_tests {
            let mut command = cargo(workspace, &folder);
            command
                .args(["test", "--workspace", "--no-fail-fast"])
                .args(filter);
            count += run_counting(Runner::Libtest, &mut command)?;
        }
    }
    Ok(count)
}

fn cargo(workspace: &Workspace, folder: &Path) -> Command {
    eprintln!(
        "in {}",
        folder
            .strip_prefix(workspace.root())
            .unwrap_or(folder)
            .display()
    );
    let mut command = process::cargo(workspace);
    command
        .current_dir(folder)
        .env("CARGO_TARGET_DIR", workspace.side_target());
    command
}

/// The topmost folders with a `Cargo.toml`, sorted.
fn roots(project: &Path) -> Result<Vec<(PathBuf, bool)>> {
    let mut found = Vec::new();
    for (name, has_tests) in FOLDERS {
        let folder = project.join(name);
        if folder.is_dir() {
            let mut below = Vec::new();
            search(&folder, DEPTH_MAX, &mut below)?;
            below.sort();
            found.extend(below.into_iter().map(|folder| (folder, *has_tests)));
        }
    }
    Ok(found)
}

fn search(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<()> {
    if folder.join("Cargo.toml").is_file() {
        found.push(folder.to_path_buf());
        return Ok(());
    }
    if depth == 0 {
        return Ok(());
    }
    let entries = std::fs::read_dir(folder)
        .with_context(|| format!("cannot read the folder {}", folder.display()))?;
    for entry in entries {
        let path = entry.context("cannot read a folder's entry")?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() && !name.starts_with('.') && name != "target" && name != "node_modules" {
            search(&path, depth - 1, found)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::tidy::TempTree;

    #[test]
    fn the_topmost_packages_are_found_and_built_ones_are_not() {
        let tree = TempTree::new(&[
            ("sdk/rust/Cargo.toml", ""),
            ("sdk/rust/macros/Cargo.toml", ""),
            ("guests/Cargo.toml", ""),
            ("examples/a/api/Cargo.toml", ""),
            ("examples/a/target/package/Cargo.toml", ""),
            ("examples/a/.wharf/Cargo.toml", ""),
            ("crates/x/Cargo.toml", ""),
        ]);
        let found: Vec<_> = roots(tree.path())
            .unwrap()
            .into_iter()
            .map(|(folder, tests)| {
                let name = folder
                    .strip_prefix(tree.path())
                    .unwrap()
                    .display()
                    .to_string();
                (name, tests)
            })
            .collect();
        let expected = [
            ("sdk/rust", true),
            ("guests", false),
            ("examples/a/api", true),
        ];
        assert_eq!(
            found,
            expected.map(|(name, tests)| (name.to_owned(), tests))
        );
    }
}
