//! Where things lie: the project's root, cargo's target folder, our tools.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The checkout that this xtask belongs to.
#[derive(Debug, Clone)]
pub(crate) struct Workspace {
    root: PathBuf,
    target: PathBuf,
}

impl Workspace {
    /// Finds the checkout from what cargo says at run time, so that a moved
    /// checkout with an old binary is not mistaken for the former one.
    ///
    /// # Errors
    /// The current folder cannot be read, or no workspace is at the place named.
    pub(crate) fn find() -> Result<Self> {
        let manifest_dir = std::env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = manifest_dir
            .parent()
            .context("xtask's folder has no parent")?
            .to_path_buf();
        let here = std::env::current_dir().context("cannot read the current folder")?;
        let target = match std::env::var_os("CARGO_TARGET_DIR") {
            Some(named) if !named.is_empty() => here.join(named),
            _ => root.join("target"),
        };
        Ok(Self { root, target })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Cargo's target folder: `CARGO_TARGET_DIR`, or `target` in the root.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// The target folder of workspaces other than the main one (SDK, guests,
    /// examples), whose profiles and lock files differ.
    pub(crate) fn side_target(&self) -> PathBuf {
        self.target.join("side")
    }

    /// Tools that we install for ourselves; removing the folder is harmless.
    pub(crate) fn tools(&self) -> PathBuf {
        self.target.join("tools")
    }

    /// Folders of our tools' programs, searched after the user's own `PATH`.
    pub(crate) fn tool_paths(&self) -> [PathBuf; 2] {
        [
            self.tools().join("bin"),
            self.tools().join("npm/node_modules/.bin"),
        ]
    }
}
