//! A Chromium for the browser tests, and what drives it from npm.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::machine::runs;
use crate::process;
use crate::workspace::Workspace;

/// Debian's package and the program in it.
pub(crate) const PROGRAM: &str = "chromium";

/// Where the tests are, with the versions of what they use.
pub(crate) const FOLDER: &str = "tests/browser";

/// Names another browser. Also what the tests are told by.
pub(crate) const VARIABLE: &str = "WHARF_TEST_BROWSER";

/// Names under which a Chromium may be there.
const PROGRAMS: &[&str] = &[
    PROGRAM,
    "google-chrome-stable",
    "google-chrome",
    "chromium-browser",
];

/// The browser that the variable names, or the first of the usual names that
/// can tell its version: Ubuntu leaves a script of that name that cannot.
pub(crate) fn find(workspace: &Workspace) -> Option<PathBuf> {
    if let Some(named) = std::env::var_os(VARIABLE).filter(|named| !named.is_empty()) {
        return Some(PathBuf::from(named));
    }
    PROGRAMS
        .iter()
        .filter_map(|name| process::find_program(workspace, name))
        .find(|program| runs(workspace, program))
}

/// What to do where no package brings a browser.
pub(crate) fn by_hand() -> String {
    format!(
        "Ubuntu has Chromium as a snap only; run: sudo snap install {PROGRAM}, or install Google \
         Chrome's package, or name a Chromium by {VARIABLE}"
    )
}

/// Whether the packages that the lock file names are installed.
pub(crate) fn has_driver(workspace: &Workspace) -> bool {
    let folder = workspace.root().join(FOLDER);
    let locked = std::fs::read(folder.join("package-lock.json")).ok();
    locked.is_some() && locked == std::fs::read(installed(&folder)).ok()
}

/// # Errors
/// npm fails.
pub(crate) fn install_driver(workspace: &Workspace) -> Result<()> {
    let folder = workspace.root().join(FOLDER);
    process::run(
        process::command(workspace, "npm")
            .args(["ci", "--no-fund", "--no-audit", "--loglevel=error"])
            .current_dir(&folder),
    )?;
    let note = installed(&folder);
    std::fs::copy(folder.join("package-lock.json"), &note)
        .with_context(|| format!("cannot write {}", note.display()))?;
    Ok(())
}

/// A copy of the lock file that was installed from.
fn installed(folder: &Path) -> PathBuf {
    folder.join("node_modules/.installed-from.json")
}
