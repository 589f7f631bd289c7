//! Writing what was built into the store.

use std::collections::BTreeMap;
use std::path::PathBuf;

use wharf_artifact::{AppArtifact, ComponentSource, FilesDir, Store, load_app};
use wharf_manifest::{App, AppPath, ComponentName, Digest};

use crate::error::BuildError;
use crate::fingerprint::Record;
use crate::report::FilesReport;
use crate::session::BuildOptions;

/// What packing an app gave.
pub(crate) struct Packed {
    pub(crate) digest: Digest,
    pub(crate) files: Vec<FilesReport>,
    pub(crate) warnings: Vec<String>,
}

/// Packs an app and names it `NAME:VERSION` in the store.
pub(crate) fn pack(
    store: &Store,
    app: &App,
    components: BTreeMap<ComponentName, Vec<u8>>,
    folders: Vec<(AppPath, PathBuf)>,
) -> Result<Packed, BuildError> {
    let components = (components.into_iter())
        .map(|(name, bytes)| (name, ComponentSource::Bytes(bytes)))
        .collect();
    let files: Vec<FilesDir> = (folders.into_iter())
        .map(|(dir, root)| FilesDir { dir, root })
        .collect();
    let reference = format!("{}:{}", app.name, app.version).replace('+', "-");
    let packed = wharf_artifact::pack_app(store, app, &components, &files, &reference)
        .map_err(BuildError::Artifact)?;
    let loaded = load_app(store, &packed.digest.to_string()).map_err(BuildError::Artifact)?;
    Ok(Packed {
        digest: packed.digest,
        files: count_files(&loaded),
        warnings: (packed.warnings.into_iter())
            .map(|warning| warning.trim_end_matches('.').to_string())
            .collect(),
    })
}

/// Whether the store still holds all of the app.
pub(crate) fn is_complete(options: &BuildOptions, record: &Record) -> bool {
    load_app(&options.store, &record.report.artifact.to_string()).is_ok()
}

fn count_files(app: &AppArtifact) -> Vec<FilesReport> {
    (app.files.iter())
        .map(|(dir, tree)| FilesReport {
            dir: dir.as_str().to_string(),
            count: tree.len() as u64,
            size: tree.values().map(|file| file.identity.size).sum(),
        })
        .collect()
}
