//! What one build is asked to do, and what its parts share.

use std::path::{Path, PathBuf};

use wharf_artifact::Store;

use crate::cancel::Cancel;
use crate::error::BuildError;
use crate::progress::Progress;

/// The folder inside an app's folder that holds what builds leave: components,
/// a link to the SDK, the lock, the record. It can be removed at any time.
pub const STATE_FOLDER: &str = ".wharf";

/// The manifest's usual name.
pub const MANIFEST_NAME: &str = "wharf.toml";

/// How to build an app.
#[derive(Debug, Clone)]
pub struct BuildOptions {
    /// The app's folder. Sources and static files lie below it.
    pub app_dir: PathBuf,
    /// The manifest; [`MANIFEST_NAME`] in the app's folder unless told.
    pub manifest: PathBuf,
    /// The store that the app is packed into.
    pub store: Store,
    /// Where the guest SDK is unpacked: a folder, made if absent.
    pub cache_dir: PathBuf,
    /// Fetch nothing from the network. Default no.
    pub offline: bool,
    /// Have cargo name each command it runs. Default no.
    pub verbose: bool,
    /// Have the compiler colour what it passes to
    /// [`Progress::output`]. Default no.
    pub color: bool,
    /// Build even if nothing changed. Default no.
    pub force: bool,
    /// Write nothing into the app's folder where nothing is to be compiled; each build then reads
    /// and packs everything again. Default no.
    pub leave_folder: bool,
    /// Ends the build early.
    pub cancel: Cancel,
}

impl BuildOptions {
    /// The defaults for the app in `app_dir`.
    pub fn new(app_dir: impl Into<PathBuf>, store: Store, cache_dir: impl Into<PathBuf>) -> Self {
        let app_dir = app_dir.into();
        Self {
            manifest: app_dir.join(MANIFEST_NAME),
            app_dir,
            store,
            cache_dir: cache_dir.into(),
            offline: false,
            verbose: false,
            color: false,
            force: false,
            leave_folder: false,
            cancel: Cancel::new(),
        }
    }
}

/// One running build.
pub(crate) struct Session<'a> {
    pub(crate) options: &'a BuildOptions,
    pub(crate) progress: &'a dyn Progress,
    /// The app's [`STATE_FOLDER`].
    pub(crate) state: &'a Path,
}

/// Makes an app's [`STATE_FOLDER`], which version control is told to ignore.
pub(crate) fn make_state_folder(state: &Path) -> Result<(), BuildError> {
    std::fs::create_dir_all(state).map_err(BuildError::state_folder(state))?;
    let ignore = state.join(".gitignore");
    if !ignore.exists() {
        std::fs::write(&ignore, "*\n").map_err(BuildError::state_folder(&ignore))?;
    }
    Ok(())
}
