//! Writing what was built into the store.

use std::collections::BTreeMap;
use std::path::Path;

use wharf_artifact::Store;
use wharf_manifest::{App, ComponentName, Digest};

use crate::error::BuildError;
use crate::fingerprint::Record;
use crate::session::BuildOptions;

pub(crate) fn pack(
    store: &Store,
    app: &App,
    components: BTreeMap<ComponentName, Vec<u8>>,
    app_dir: &Path,
) -> Result<Digest, BuildError> {
    let _ = app_dir;
    for bytes in components.values() {
        store.put_bytes(bytes).map_err(artifact)?;
    }
    store
        .put_bytes(app.to_canonical_json().as_bytes())
        .map_err(artifact)
}

/// Whether the store still holds the app and its components.
pub(crate) fn is_complete(options: &BuildOptions, record: &Record) -> bool {
    let store = &options.store;
    store.has_blob(&record.report.artifact)
        && (record.report.components.iter()).all(|component| store.has_blob(&component.digest))
}

fn artifact(error: wharf_artifact::StoreError) -> BuildError {
    BuildError::Artifact(Box::new(error))
}
