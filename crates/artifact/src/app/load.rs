//! Reading an app out of the store.

use std::collections::BTreeMap;

use wharf_manifest::{App, AppPath, ComponentName, Digest, HttpTarget};

use super::{
    APP_CONFIG_TYPE, APP_TYPE, AppArtifact, ArtifactError, COMPONENT, CONTENT_TYPE, ENCODING,
    Encoding, FILE_COUNT_MAX, FILE_TYPE, FILES, FileEntry, FileTree, PATH,
};
use crate::WASM_BYTES_MAX;
use crate::oci::{Descriptor, MANIFEST_BYTES_MAX, MANIFEST_TYPE, Manifest, WASM_TYPE};
use crate::store::{Blob, Store, StoreError};

/// The largest config that is read: 1 MiB.
const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// Loads the app that `reference` names, or that has the digest `reference`.
///
/// Manifest and config are checked against their digests; of components and files, that they
/// are there and have the right size, since reading them all would make a start slow.
///
/// # Errors
/// An unknown reference; a manifest that is no app's, exceeds 16 MiB or breaks a rule; a blob
/// that is missing or damaged.
pub fn load_app(store: &Store, reference: &str) -> Result<AppArtifact, ArtifactError> {
    let descriptor = store.resolve(reference)?;
    let digest = descriptor.digest;
    let damaged = |why: String| ArtifactError::Damaged { digest, why };

    let manifest = store.read_blob(&digest, MANIFEST_BYTES_MAX)?;
    let manifest: Manifest = serde_json::from_slice(&manifest)
        .map_err(|error| damaged(format!("its manifest cannot be read: {error}")))?;
    check_kind(digest, &manifest)?;

    let config = store.read_blob(&manifest.config.digest, CONFIG_BYTES_MAX)?;
    let config =
        String::from_utf8(config).map_err(|_| damaged("its config is not UTF-8".to_owned()))?;
    let app = App::from_canonical_json(&config)
        .map_err(|error| damaged(format!("its config cannot be read: {error}")))?;

    let mut reader = Reader {
        store,
        digest,
        components: BTreeMap::new(),
        files: BTreeMap::new(),
        count: 0,
    };
    for layer in &manifest.layers {
        reader.layer(layer)?;
    }
    let Reader {
        components,
        mut files,
        ..
    } = reader;
    if let Some(name) = app
        .components
        .keys()
        .find(|name| !components.contains_key(*name))
    {
        return Err(damaged(format!(
            "the code of component `{name}` is missing"
        )));
    }
    for trigger in &app.triggers.http {
        if let HttpTarget::Files(target) = &trigger.target {
            // An empty folder has no layer.
            files.entry(target.dir.clone()).or_default();
        }
    }
    Ok(AppArtifact {
        app,
        digest,
        components,
        files,
    })
}

fn check_kind(digest: Digest, manifest: &Manifest) -> Result<(), ArtifactError> {
    let found = match manifest.artifact_type.as_deref() {
        Some(APP_TYPE) => match manifest.config.media_type.as_str() {
            APP_CONFIG_TYPE
                if manifest.schema_version == 2 && manifest.media_type == MANIFEST_TYPE =>
            {
                return Ok(());
            }
            APP_CONFIG_TYPE => "not an OCI image manifest of version 2".to_owned(),
            other => format!("an app with a config of the unknown type `{other}`"),
        },
        Some(other) => format!("an artifact of the type `{other}`"),
        None => format!(
            "an artifact with a config of the type `{}`",
            manifest.config.media_type
        ),
    };
    Err(ArtifactError::NotAnApp { digest, found })
}

struct Reader<'a> {
    store: &'a Store,
    digest: Digest,
    components: BTreeMap<ComponentName, Blob>,
    files: BTreeMap<AppPath, FileTree>,
    count: usize,
}

impl Reader<'_> {
    fn layer(&mut self, layer: &Descriptor) -> Result<(), ArtifactError> {
        match layer.media_type.as_str() {
            WASM_TYPE => self.component(layer),
            FILE_TYPE => self.file(layer),
            other => Err(self.damaged(format!("it has a layer of the unknown type `{other}`"))),
        }
    }

    fn component(&mut self, layer: &Descriptor) -> Result<(), ArtifactError> {
        let name = self.annotation(layer, COMPONENT)?;
        let name: ComponentName = name.parse().map_err(|error| {
            self.damaged(format!(
                "`{}` is no name for a component: {error}",
                name.escape_debug()
            ))
        })?;
        let blob = self.store.find_blob(&layer.digest, layer.size)?;
        if blob.size > WASM_BYTES_MAX {
            return Err(StoreError::TooLarge {
                path: blob.path,
                limit: WASM_BYTES_MAX,
            }
            .into());
        }
        match self.components.insert(name.clone(), blob) {
            None => Ok(()),
            Some(_) => Err(self.damaged(format!("it holds component `{name}` twice"))),
        }
    }

    /// A compressed form comes after the file that it is of.
    fn file(&mut self, layer: &Descriptor) -> Result<(), ArtifactError> {
        let dir = self.annotation(layer, FILES)?;
        let dir = self.path(dir)?;
        let key = self
            .path(self.annotation(layer, PATH)?)?
            .as_str()
            .to_owned();
        let blob = self.store.find_blob(&layer.digest, layer.size)?;
        let damaged = |why: String| ArtifactError::Damaged {
            digest: self.digest,
            why,
        };
        let tree = self.files.entry(dir).or_default();
        if let Some(encoding) = layer.annotations.get(ENCODING) {
            let encoding = Encoding::parse(encoding).ok_or_else(|| {
                damaged(format!(
                    "`{}` is no known encoding",
                    encoding.escape_debug()
                ))
            })?;
            let Some(entry) = tree.get_mut(&key) else {
                return Err(damaged(format!("file `{key}` has a compressed form only")));
            };
            if entry.variants.iter().any(|(known, _)| *known == encoding) {
                return Err(damaged(format!("file `{key}` has two forms by {encoding}")));
            }
            entry.variants.push((encoding, blob));
            entry.variants.sort_by_key(|(encoding, _)| *encoding);
            return Ok(());
        }
        let content_type = layer
            .annotations
            .get(CONTENT_TYPE)
            .map_or("", String::as_str);
        if content_type.is_empty() || !content_type.chars().all(|c| matches!(c, ' '..='~')) {
            return Err(damaged(format!("file `{key}` has no valid content type")));
        }
        self.count += 1;
        if self.count > FILE_COUNT_MAX {
            return Err(damaged(format!(
                "it has more than {FILE_COUNT_MAX} files, the limit"
            )));
        }
        let content_type = content_type.to_owned();
        let entry = FileEntry {
            identity: blob,
            content_type,
            variants: Vec::new(),
        };
        match tree.insert(key.clone(), entry) {
            None => Ok(()),
            Some(_) => Err(damaged(format!("it holds file `{key}` twice"))),
        }
    }

    fn annotation<'l>(&self, layer: &'l Descriptor, name: &str) -> Result<&'l str, ArtifactError> {
        layer
            .annotations
            .get(name)
            .map(String::as_str)
            .ok_or_else(|| {
                self.damaged(format!(
                    "the layer {} lacks the annotation `{name}`",
                    layer.digest
                ))
            })
    }

    /// A path that stays in its folder and is written in the one normal way.
    fn path(&self, text: &str) -> Result<AppPath, ArtifactError> {
        match AppPath::new(text) {
            Ok(path) if path.as_str() == text => Ok(path),
            _ => Err(self.damaged(format!(
                "`{}` is no path inside an app",
                text.escape_debug()
            ))),
        }
    }

    fn damaged(&self, why: String) -> ArtifactError {
        ArtifactError::Damaged {
            digest: self.digest,
            why,
        }
    }
}
