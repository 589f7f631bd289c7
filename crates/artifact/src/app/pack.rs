//! Packing an app into the store.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;

use wharf_manifest::{App, AppPath, ComponentName, Digest, HttpTarget};

use super::files::{bad, read, walk};
use super::{
    APP_CONFIG_TYPE, APP_TYPE, ArtifactError, COMPONENT, CONTENT_TYPE, ENCODING, Encoding,
    FILE_BYTES_MAX, FILE_COUNT_MAX, FILE_TYPE, FILES, FILES_BYTES_MAX, PATH, compress,
};
use crate::WASM_BYTES_MAX;
use crate::oci::{Descriptor, MANIFEST_BYTES_MAX, MANIFEST_TYPE, Manifest, WASM_TYPE};
use crate::store::{Blob, Store, StoreError};

/// How many files are compressed and written at once. More than processors, since each waits for
/// the disk at its end.
const WORKERS: usize = 8;

/// Where a component's code comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ComponentSource {
    /// From memory.
    Bytes(Vec<u8>),
    /// From a file.
    File(PathBuf),
}

/// A folder of static files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilesDir {
    /// What the app's triggers call it.
    pub dir: AppPath,
    /// Where it is.
    pub root: PathBuf,
}

/// What packing an app gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedApp {
    /// The digest of its manifest, which names the whole of it.
    pub digest: Digest,
    /// Each component's digest and size.
    pub components: BTreeMap<ComponentName, Blob>,
    /// The number of static files.
    pub files: usize,
    /// Bytes of components and of static files as they are.
    pub bytes: u64,
    /// What the person who builds should know, as whole sentences.
    pub warnings: Vec<String>,
}

/// Packs an app and names it `reference`. `components` holds the code of each of the app's
/// components, `files` each folder that its triggers name.
///
/// The same inputs give the same digest.
///
/// # Errors
/// Components or folders that are missing or too many; files that cannot be read, link out of
/// their folder or exceed a limit; anything that the store reports. Nothing is named then, and
/// what was stored already is left to [`Store::gc`].
pub fn pack_app(
    store: &Store,
    app: &App,
    components: &BTreeMap<ComponentName, ComponentSource>,
    files: &[FilesDir],
    reference: &str,
) -> Result<PackedApp, ArtifactError> {
    check_parts(app, components, files)?;
    let mut layers = Vec::new();
    let mut packed = BTreeMap::new();
    for (name, source) in components {
        let blob = store_component(store, source)?;
        let layer = Descriptor::new(WASM_TYPE, blob.digest, blob.size);
        layers.push(layer.annotate(COMPONENT, name.as_str()));
        packed.insert(name.clone(), blob);
    }

    let mut jobs = Vec::new();
    for files in files {
        for (key, path) in walk(&files.root)? {
            jobs.push(Job {
                dir: files.dir.as_str(),
                key,
                path,
            });
        }
        if jobs.len() > FILE_COUNT_MAX {
            return Err(ArtifactError::TooMuch {
                path: files.root.clone(),
                why: format!("the app's folders hold more than {FILE_COUNT_MAX} files, the limit"),
            });
        }
    }
    jobs.sort_by(|a, b| (a.dir, &a.key).cmp(&(b.dir, &b.key)));
    let mut warnings = Vec::new();
    let mut bytes: u64 = packed.values().map(|blob| blob.size).sum();
    for file in store_files(store, &jobs)? {
        bytes += file.layers[0].size;
        layers.extend(file.layers);
        warnings.extend(file.warning);
    }

    let config = app.to_canonical_json();
    let config_digest = store.put_bytes(config.as_bytes())?;
    let manifest = Manifest {
        schema_version: 2,
        media_type: MANIFEST_TYPE.to_owned(),
        artifact_type: Some(APP_TYPE.to_owned()),
        config: Descriptor::new(APP_CONFIG_TYPE, config_digest, config.len() as u64),
        layers,
        annotations: BTreeMap::from([
            (
                "org.opencontainers.image.title".to_owned(),
                app.name.to_string(),
            ),
            (
                "org.opencontainers.image.version".to_owned(),
                app.version.to_string(),
            ),
        ]),
    };
    let digest = store_manifest(store, &manifest, reference)?;
    Ok(PackedApp {
        digest,
        components: packed,
        files: jobs.len(),
        bytes,
        warnings,
    })
}

/// Stores a manifest and names it.
pub(crate) fn store_manifest(
    store: &Store,
    manifest: &Manifest,
    reference: &str,
) -> Result<Digest, StoreError> {
    let text = serde_json::to_vec(manifest).expect("maps with text keys are JSON");
    let size = text.len() as u64;
    let digest = Digest::of(&text);
    if size > MANIFEST_BYTES_MAX {
        let path = store.blob_path(&digest);
        return Err(StoreError::TooLarge {
            path,
            limit: MANIFEST_BYTES_MAX,
        });
    }
    store.put_bytes(&text)?;
    let mut descriptor = Descriptor::manifest(digest, size);
    descriptor.artifact_type.clone_from(&manifest.artifact_type);
    store.tag(reference, descriptor)?;
    Ok(digest)
}

fn check_parts(
    app: &App,
    components: &BTreeMap<ComponentName, ComponentSource>,
    files: &[FilesDir],
) -> Result<(), ArtifactError> {
    let mismatch = |why: String| {
        Err(ArtifactError::Mismatch {
            app: app.name.to_string(),
            why,
        })
    };
    if let Some(name) = app
        .components
        .keys()
        .find(|name| !components.contains_key(*name))
    {
        return mismatch(format!("the code of component `{name}` is missing"));
    }
    if let Some(name) = components
        .keys()
        .find(|name| !app.components.contains_key(*name))
    {
        return mismatch(format!("it has no component `{name}`"));
    }
    for trigger in &app.triggers.http {
        if let HttpTarget::Files(target) = &trigger.target
            && !files.iter().any(|files| files.dir == target.dir)
        {
            return mismatch(format!("the files of `{}` are missing", target.dir));
        }
    }
    for (index, one) in files.iter().enumerate() {
        if files[..index].iter().any(|other| other.dir == one.dir) {
            return mismatch(format!("the folder `{}` is given twice", one.dir));
        }
    }
    Ok(())
}

fn store_component(store: &Store, source: &ComponentSource) -> Result<Blob, ArtifactError> {
    let (blob, path) = match source {
        ComponentSource::Bytes(bytes) => {
            let digest = store.put_bytes(bytes)?;
            let path = store.blob_path(&digest);
            (
                Blob {
                    digest,
                    size: bytes.len() as u64,
                    path: path.clone(),
                },
                path,
            )
        }
        ComponentSource::File(path) => (store.put_file(path)?, path.clone()),
    };
    if blob.size > WASM_BYTES_MAX {
        return Err(StoreError::TooLarge {
            path,
            limit: WASM_BYTES_MAX,
        }
        .into());
    }
    Ok(blob)
}

/// A file to be stored.
struct Job<'a> {
    dir: &'a str,
    key: String,
    path: PathBuf,
}

/// A file that was stored: its layers, the file as it is first.
struct Stored {
    layers: Vec<Descriptor>,
    warning: Option<String>,
}

/// Stores all files, several at once, and answers in the order of `jobs`.
fn store_files(store: &Store, jobs: &[Job<'_>]) -> Result<Vec<Stored>, ArtifactError> {
    let next = AtomicUsize::new(0);
    let total = AtomicU64::new(0);
    let done: Mutex<BTreeMap<usize, Result<Stored, ArtifactError>>> = Mutex::default();
    thread::scope(|scope| {
        for _ in 0..WORKERS.min(jobs.len()) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(job) = jobs.get(index) else { break };
                    let stored = store_file(store, job, &total);
                    let failed = stored.is_err();
                    done.lock()
                        .expect("no worker panics with the lock held")
                        .insert(index, stored);
                    if failed {
                        next.store(jobs.len(), Ordering::Relaxed);
                    }
                }
            });
        }
    });
    done.into_inner()
        .expect("no worker panics with the lock held")
        .into_values()
        .collect()
}

fn store_file(store: &Store, job: &Job<'_>, total: &AtomicU64) -> Result<Stored, ArtifactError> {
    let bytes = read_file(&job.path)?;
    let before = total.fetch_add(bytes.len() as u64, Ordering::Relaxed);
    if before + bytes.len() as u64 > FILES_BYTES_MAX {
        return Err(ArtifactError::TooMuch {
            path: job.path.parent().unwrap_or(&job.path).to_owned(),
            why: "the app's files exceed 2 GiB, the limit".to_owned(),
        });
    }
    let digest = store.put_bytes(&bytes)?;
    let content_type = content_type(&job.key);
    let layer = |digest, size| {
        Descriptor::new(FILE_TYPE, digest, size)
            .annotate(FILES, job.dir)
            .annotate(PATH, &job.key)
    };
    let mut layers = vec![layer(digest, bytes.len() as u64).annotate(CONTENT_TYPE, &content_type)];
    let mut warning = None;
    if compress::is_compressible(&content_type) {
        for encoding in Encoding::ALL {
            let (ready, warn) = ready_made(store, job, &bytes, encoding)?;
            warning = warning.or(warn);
            let variant = match ready {
                Some(blob) => Some(blob),
                None => compress::variant(store, &digest, &bytes, encoding)?,
            };
            if let Some(blob) = variant {
                layers.push(layer(blob.digest, blob.size).annotate(ENCODING, encoding.as_str()));
            }
        }
    }
    Ok(Stored { layers, warning })
}

/// The form that lies beside the file as `x.js.br` or `x.js.gz`, if it is one of this very file.
fn ready_made(
    store: &Store,
    job: &Job<'_>,
    bytes: &[u8],
    encoding: Encoding,
) -> Result<(Option<Blob>, Option<String>), ArtifactError> {
    let mut beside = job.path.clone().into_os_string();
    beside.push(format!(".{}", encoding.extension()));
    let beside = PathBuf::from(beside);
    // A link may lead out of the folder; the walk refuses it, or it is hidden and not ours.
    if !fs::symlink_metadata(&beside).is_ok_and(|metadata| metadata.is_file()) {
        return Ok((None, None));
    }
    let form = read_file(&beside)?;
    if !compress::is_form_of(&form, bytes, encoding) {
        let warning = format!(
            "{} does not hold the same as {}: it is not used as its compressed form",
            beside.display(),
            job.path.display()
        );
        return Ok((None, Some(warning)));
    }
    if form.len() >= bytes.len() {
        return Ok((None, None));
    }
    let digest = store.put_bytes(&form)?;
    let blob = Blob {
        digest,
        size: form.len() as u64,
        path: store.blob_path(&digest),
    };
    Ok((Some(blob), None))
}

fn read_file(path: &Path) -> Result<Vec<u8>, ArtifactError> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    fs::File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(|source| read(path, source))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(bad(path, "it exceeds the limit of 256 MiB a file"));
    }
    Ok(bytes)
}

/// By the name's ending. Text is UTF-8, as all tools write it today.
fn content_type(key: &str) -> String {
    let name = key.rsplit('/').next().unwrap_or(key);
    let essence = mime_guess::from_path(name)
        .first_raw()
        .unwrap_or("application/octet-stream");
    let is_text = essence.starts_with("text/") || essence == "application/javascript";
    if is_text {
        format!("{essence}; charset=utf-8")
    } else {
        essence.to_owned()
    }
}
