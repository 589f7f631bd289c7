//! Bringing a program: built from crates.io, or taken from npm or PyPI.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::catalogue::{Program, Source};
use crate::process;
use crate::workspace::Workspace;

/// What makes a program from crates.io cheap to build: how fast it runs does not matter here.
const CHEAP_PROFILE: &[(&str, &str)] = &[
    ("CARGO_PROFILE_RELEASE_LTO", "false"),
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1"),
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16"),
    ("CARGO_PROFILE_RELEASE_DEBUG", "0"),
];

/// The folder with the program's files. Its name has the version, so that another version is fetched
/// and the same one is not.
///
/// # Errors
/// The registry's client is missing or fails.
pub(super) fn fetch(workspace: &Workspace, folder: &Path, program: &Program) -> Result<PathBuf> {
    let fetched = folder.join(format!("{}-{}", program.name, program.version));
    if fetched.exists() {
        return Ok(fetched);
    }
    // Under another name until it is whole.
    let part = folder.join("part");
    for leftover in [&part, &folder.join("build")] {
        if leftover.exists() {
            std::fs::remove_dir_all(leftover)
                .with_context(|| format!("cannot remove {}", leftover.display()))?;
        }
    }
    std::fs::create_dir_all(&part)
        .with_context(|| format!("cannot make the folder {}", part.display()))?;
    match program.source {
        Source::Crate { package, options } => {
            build(workspace, folder, &part, program, package, options)?
        }
        Source::Npm { package } => process::run(
            process::command(workspace, "npm")
                .args(["install", "--no-fund", "--no-audit", "--no-package-lock"])
                .args(["--ignore-scripts", "--loglevel=error", "--prefix"])
                .arg(&part)
                .arg(format!("{package}@{}", program.version)),
        )?,
        Source::PyPi { package } => process::run(
            process::command(workspace, "pip3")
                .args(["install", "--quiet", "--disable-pip-version-check"])
                .args([
                    "--no-deps",
                    "--no-compile",
                    "--only-binary=:all:",
                    "--target",
                ])
                .arg(&part)
                .arg(format!("{package}=={}", program.version))
                // Root may: all goes to a folder of our own.
                .env("PIP_ROOT_USER_ACTION", "ignore"),
        )?,
    }
    if let Some((archive, below)) = program.unpack {
        let below = part.join(below);
        std::fs::create_dir_all(&below)
            .with_context(|| format!("cannot make the folder {}", below.display()))?;
        process::run(
            process::command(workspace, "tar")
                .arg("-xf")
                .arg(part.join(archive))
                .arg("-C")
                .arg(&below),
        )?;
    }
    std::fs::rename(&part, &fetched)
        .with_context(|| format!("cannot make the folder {}", fetched.display()))?;
    Ok(fetched)
}

fn build(
    workspace: &Workspace,
    folder: &Path,
    part: &Path,
    program: &Program,
    package: &str,
    options: &[&str],
) -> Result<()> {
    let objects = folder.join("build");
    process::run(
        process::cargo(workspace)
            .args(["install", "--quiet", "--locked", "--no-track"])
            .args(["--target", "wasm32-wasip1", "--root"])
            .arg(part)
            .arg(format!("{package}@{}", program.version))
            .args(options)
            .env("CARGO_TARGET_DIR", &objects)
            .envs(CHEAP_PROFILE.iter().copied()),
    )?;
    std::fs::remove_dir_all(&objects)
        .with_context(|| format!("cannot remove {}", objects.display()))
}
