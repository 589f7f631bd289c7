//! The tests in `tests/browser`: a real Chromium against the real `wharf`.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use super::count::{Count, Runner, run_counting};
use crate::process;
use crate::setup::browser;
use crate::workspace::Workspace;

const TEST_ENDING: &str = ".test.mjs";
/// How long all of them may take; most of it is compiling, the first time.
const TIME_MAX: &str = "30m";

/// # Errors
/// wharf does not build, or the machine has no browser.
pub(crate) fn test(workspace: &Workspace) -> Result<Count> {
    let wharf = super::build_wharf(workspace)?;
    let Some(program) = browser::find(workspace) else {
        bail!("there is no Chromium; `cargo xtask setup` installs one or says how");
    };
    let folder = workspace.target().join("browser");
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    // Pictures of tests that failed in an earlier run.
    let _ = std::fs::remove_dir_all(folder.join("failed"));
    // What hangs is ended; node then ends what it started.
    let mut node = process::command(workspace, "timeout");
    node.args(["--foreground", "--kill-after=30", TIME_MAX])
        .args(["node", "--test", "--test-reporter=spec"])
        .args(test_files(workspace)?)
        .env("WHARF_BINARY", wharf)
        .env("WHARF_TEST_FOLDER", folder)
        // The summary is read, also where it goes to a terminal.
        .env("NO_COLOR", "1")
        .env_remove("FORCE_COLOR")
        .env(browser::VARIABLE, program);
    run_counting(Runner::Node, &mut node)
}

/// Named one by one: what `node --test FOLDER` takes for a test differs from one Node to the next.
fn test_files(workspace: &Workspace) -> Result<Vec<PathBuf>> {
    let folder = workspace.root().join(browser::FOLDER);
    let mut files = Vec::new();
    let entries = std::fs::read_dir(&folder)
        .with_context(|| format!("cannot read the folder {}", folder.display()))?;
    for entry in entries {
        let path = entry.context("cannot read a folder's entry")?.path();
        let file = path.strip_prefix(workspace.root()).unwrap_or(&path);
        if file.to_string_lossy().ends_with(TEST_ENDING) {
            files.push(file.to_path_buf());
        }
    }
    if files.is_empty() {
        bail!("no file in {} ends in {TEST_ENDING}", folder.display());
    }
    files.sort();
    Ok(files)
}
