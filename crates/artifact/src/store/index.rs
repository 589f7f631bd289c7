//! `index.json`: which manifests the store holds, and under which names.

use std::fs::{self, File};
use std::io::{self, Read as _};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use wharf_manifest::Digest;

use super::{Store, StoreError};
use crate::oci::{Descriptor, MANIFEST_BYTES_MAX, REF_NAME};

/// The index of an empty store.
pub(super) const EMPTY: &str =
    r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;

/// The longest name of an artifact, in bytes.
const REFERENCE_BYTES_MAX: usize = 255;

/// A name and the manifest that it stands for.
#[derive(Debug, Clone, PartialEq)]
pub struct Tagged {
    /// The name.
    pub reference: String,
    /// The manifest.
    pub descriptor: Descriptor,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Index {
    schema_version: u32,
    pub(super) manifests: Vec<Descriptor>,
    /// What other tools wrote, kept as it is.
    #[serde(flatten)]
    rest: Map<String, Value>,
}

impl Store {
    /// Gives a manifest a name. A manifest that had the name before loses it.
    ///
    /// # Errors
    /// A name that breaks the grammar of references, a damaged index (which stays as it is), or
    /// what keeps the index from being written.
    pub fn tag(&self, reference: &str, manifest: Descriptor) -> Result<(), StoreError> {
        check_reference(reference)?;
        self.update(|index| {
            index
                .manifests
                .retain(|entry| entry.reference() != Some(reference));
            let mut manifest = manifest;
            manifest
                .annotations
                .insert(REF_NAME.to_owned(), reference.to_owned());
            index.manifests.push(manifest);
            index
                .manifests
                .sort_by(|a, b| a.reference().cmp(&b.reference()));
            true
        })
        .map(drop)
    }

    /// Takes a name away; says whether it was there. The blobs stay until [`Store::gc`].
    ///
    /// # Errors
    /// A damaged index, or what keeps it from being written.
    pub fn untag(&self, reference: &str) -> Result<bool, StoreError> {
        self.update(|index| {
            let before = index.manifests.len();
            index
                .manifests
                .retain(|entry| entry.reference() != Some(reference));
            index.manifests.len() != before
        })
    }

    /// All names, sorted.
    ///
    /// # Errors
    /// A damaged index.
    pub fn tags(&self) -> Result<Vec<Tagged>, StoreError> {
        let mut tags: Vec<Tagged> = self
            .read_index()?
            .manifests
            .into_iter()
            .filter_map(|descriptor| {
                let reference = descriptor.reference()?.to_owned();
                Some(Tagged {
                    reference,
                    descriptor,
                })
            })
            .collect();
        tags.sort_by(|a, b| a.reference.cmp(&b.reference));
        Ok(tags)
    }

    /// The manifest with this name; or, for a text `sha256:…`, the one with this digest, named
    /// or not.
    pub(super) fn find(&self, reference: &str) -> Result<Option<Descriptor>, StoreError> {
        let index = self.read_index()?;
        if let Ok(digest) = reference.parse::<Digest>() {
            let known = index
                .manifests
                .into_iter()
                .find(|entry| entry.digest == digest);
            return Ok(known.or_else(|| {
                let size = fs::metadata(self.blob_path(&digest)).ok()?.len();
                Some(Descriptor::manifest(digest, size))
            }));
        }
        Ok(index
            .manifests
            .into_iter()
            .find(|entry| entry.reference() == Some(reference)))
    }

    pub(super) fn read_index(&self) -> Result<Index, StoreError> {
        let path = self.root.join("index.json");
        let mut text = Vec::new();
        match File::open(&path) {
            Ok(file) => file
                .take(MANIFEST_BYTES_MAX + 1)
                .read_to_end(&mut text)
                .map_err(|error| StoreError::io("reading", &path, error))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let why = "it is missing".to_owned();
                return Err(StoreError::CorruptIndex { path, why });
            }
            Err(error) => return Err(StoreError::io("reading", &path, error)),
        };
        if text.len() as u64 > MANIFEST_BYTES_MAX {
            return Err(StoreError::TooLarge {
                path,
                limit: MANIFEST_BYTES_MAX,
            });
        }
        let index: Index =
            serde_json::from_slice(&text).map_err(|error| StoreError::CorruptIndex {
                path: path.clone(),
                why: error.to_string(),
            })?;
        if index.schema_version != 2 {
            let why = format!("its schema version is {}, not 2", index.schema_version);
            return Err(StoreError::CorruptIndex { path, why });
        }
        Ok(index)
    }

    /// Changes the index while nobody else does. Writes only if `change` says that it changed.
    fn update(&self, change: impl FnOnce(&mut Index) -> bool) -> Result<bool, StoreError> {
        let lock = self.lock_file()?;
        lock.lock()
            .map_err(|error| StoreError::io("locking", &self.root, error))?;
        let mut index = self.read_index()?;
        let changed = change(&mut index);
        if changed {
            let text = serde_json::to_vec_pretty(&index).expect("maps with text keys are JSON");
            self.write_in_place("index.json", &text, true)?;
        }
        Ok(changed)
    }
}

/// The grammar of `org.opencontainers.image.ref.name`: words of letters and digits, joined by
/// single separators; we bound its length and ask that it is no digest.
fn check_reference(reference: &str) -> Result<(), StoreError> {
    let separator = |c: char| "-._:@/+".contains(c);
    let words = reference.split(separator);
    let ok = reference.len() <= REFERENCE_BYTES_MAX
        && words
            .clone()
            .all(|word| word.chars().all(|c| c.is_ascii_alphanumeric()))
        && words.clone().next().is_some_and(|word| !word.is_empty())
        && words
            .clone()
            .next_back()
            .is_some_and(|word| !word.is_empty())
        && !reference.contains("..")
        && reference.parse::<Digest>().is_err();
    if ok {
        Ok(())
    } else {
        Err(StoreError::BadReference {
            reference: reference.to_owned(),
        })
    }
}
