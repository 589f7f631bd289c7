//! The store: an OCI image layout on disk, shared by any number of processes.
//!
//! Layout (OCI image-spec 1.1, "image layout"): `oci-layout`, `index.json` and
//! `blobs/sha256/<hex>`. Beside them `.wharf/` holds what the specification does not know: the
//! lock, unfinished files and the cache of compressed forms.
//!
//! A blob is written to `.wharf/tmp`, flushed to the disk and renamed into place, so it is there
//! whole or not at all. The index changes under an exclusive lock, by rename as well; readers
//! need no lock. Nobody but [`Store::gc`] removes a blob.

mod error;
mod gc;
mod index;
mod writer;

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha2::{Digest as _, Sha256};
use wharf_manifest::Digest;

pub use error::StoreError;
pub use gc::GcReport;
pub use index::Tagged;
pub use writer::BlobWriter;

use crate::oci::Descriptor;

/// The largest blob that the store takes: 1 GiB.
pub const BLOB_BYTES_MAX: u64 = 1 << 30;

/// The version of the image layout that is written and read.
const LAYOUT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;

/// A store on disk. Cheap to clone; holds no file open.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

/// A blob in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// The SHA-256 of its bytes.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// The file that holds it. Never write to it.
    pub path: PathBuf,
}

impl Store {
    /// Opens the store in the folder `root`, creating it where there is none.
    ///
    /// # Errors
    /// The folder cannot be created, or holds an image layout of another version.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let store = Self { root: root.into() };
        let layout = store.root.join("oci-layout");
        match fs::read_to_string(&layout) {
            Ok(text) => {
                check_layout(&layout, &text)?;
                // A layout of another tool's making lacks our folder; one that may only be read
                // is still good for reading.
                match store.create_folders() {
                    Err(error) if !matches!(error, StoreError::ReadOnly { .. }) => {
                        return Err(error);
                    }
                    _ => {}
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                store.create_folders()?;
                store.write_in_place("index.json", index::EMPTY.as_bytes(), false)?;
                store.write_in_place("oci-layout", LAYOUT.as_bytes(), true)?;
            }
            Err(error) => return Err(StoreError::io("reading", &layout, error)),
        }
        Ok(store)
    }

    /// The folder of the store.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the blob lies, if it is there.
    #[must_use]
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs/sha256").join(digest.hex())
    }

    /// Whether the blob is there.
    #[must_use]
    pub fn has_blob(&self, digest: &Digest) -> bool {
        self.blob_path(digest).is_file()
    }

    /// Stores bytes and says their digest. Costs no write if they are there already.
    ///
    /// # Errors
    /// Anything that keeps the file from being written, a full disk first of all; more bytes
    /// than [`BLOB_BYTES_MAX`].
    pub fn put_bytes(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        let digest = Digest::of(bytes);
        if !self.keep_existing(&digest, bytes.len() as u64)? {
            let mut writer = self.writer()?;
            writer.write(bytes)?;
            writer.finish()?;
        }
        Ok(digest)
    }

    /// Stores a file's content, read in pieces.
    ///
    /// # Errors
    /// As [`Store::put_bytes`], and what keeps the file from being read.
    pub fn put_file(&self, path: &Path) -> Result<Blob, StoreError> {
        let read = |error| StoreError::io("reading", path, error);
        let mut file = File::open(path).map_err(read)?;
        let mut writer = self.writer()?;
        let mut buffer = vec![0; 64 << 10];
        loop {
            match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => writer.write(&buffer[..count])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(read(error)),
            }
        }
        writer.finish()
    }

    /// Begins a blob whose digest is known only at its end.
    ///
    /// # Errors
    /// The unfinished file cannot be created.
    pub fn writer(&self) -> Result<BlobWriter, StoreError> {
        BlobWriter::create(self.clone())
    }

    /// Opens a blob for reading. Its bytes are not checked; [`Store::read_blob`] does.
    ///
    /// # Errors
    /// [`StoreError::MissingBlob`], or what keeps it from being opened.
    pub fn open_blob(&self, digest: &Digest) -> Result<File, StoreError> {
        let path = self.blob_path(digest);
        File::open(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => StoreError::MissingBlob {
                digest: *digest,
                path,
            },
            _ => StoreError::io("opening", &path, error),
        })
    }

    /// Reads a blob of at most `bytes_max` bytes and checks its digest.
    ///
    /// # Errors
    /// [`StoreError::MissingBlob`], [`StoreError::CorruptBlob`], [`StoreError::TooLarge`], or
    /// what keeps it from being read.
    pub fn read_blob(&self, digest: &Digest, bytes_max: u64) -> Result<Vec<u8>, StoreError> {
        let path = self.blob_path(digest);
        let mut bytes = Vec::new();
        self.open_blob(digest)?
            .take(bytes_max.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(|error| StoreError::io("reading", &path, error))?;
        if bytes.len() as u64 > bytes_max {
            return Err(StoreError::TooLarge {
                path,
                limit: bytes_max,
            });
        }
        let found = Digest::of(&bytes);
        if found != *digest {
            return Err(StoreError::CorruptBlob {
                digest: *digest,
                found,
                path,
            });
        }
        Ok(bytes)
    }

    /// Checks a blob's digest without holding it in memory, and says its size.
    ///
    /// # Errors
    /// As [`Store::read_blob`].
    pub fn verify_blob(&self, digest: &Digest) -> Result<u64, StoreError> {
        let path = self.blob_path(digest);
        let mut hasher = Sha256::new();
        let size = io::copy(&mut self.open_blob(digest)?, &mut hasher)
            .map_err(|error| StoreError::io("reading", &path, error))?;
        let found = Digest::from_bytes(hasher.finalize().into());
        if found != *digest {
            return Err(StoreError::CorruptBlob {
                digest: *digest,
                found,
                path,
            });
        }
        Ok(size)
    }

    /// The blob that a descriptor names, its size compared, its bytes not.
    ///
    /// # Errors
    /// [`StoreError::MissingBlob`], or [`StoreError::WrongSize`] where the sizes differ.
    pub fn find_blob(&self, digest: &Digest, size: u64) -> Result<Blob, StoreError> {
        let path = self.blob_path(digest);
        match fs::metadata(&path) {
            Ok(metadata) if metadata.len() == size => Ok(Blob {
                digest: *digest,
                size,
                path,
            }),
            Ok(metadata) => Err(StoreError::WrongSize {
                digest: *digest,
                size,
                found: metadata.len(),
                path,
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(StoreError::MissingBlob {
                digest: *digest,
                path,
            }),
            Err(error) => Err(StoreError::io("opening", &path, error)),
        }
    }

    /// Whether the blob is there already. If so it is made young again, so that the collector
    /// leaves it to the writer who is about to refer to it. The shared lock keeps the collector
    /// from looking at its age before and removing it after.
    pub(crate) fn keep_existing(&self, digest: &Digest, size: u64) -> Result<bool, StoreError> {
        let path = self.blob_path(digest);
        let whole = |path: &Path| fs::metadata(path).is_ok_and(|found| found.len() == size);
        if !whole(&path) {
            return Ok(false);
        }
        let lock = self.lock_file()?;
        lock.lock_shared()
            .map_err(|error| StoreError::io("locking", &self.root, error))?;
        if !whole(&path) {
            return Ok(false);
        }
        let touched = File::options()
            .append(true)
            .open(&path)
            .and_then(|file| file.set_modified(SystemTime::now()));
        // Another user's file cannot be touched: written anew, it becomes ours and young.
        Ok(touched.is_ok())
    }

    fn own(&self, name: &str) -> PathBuf {
        self.root.join(".wharf").join(name)
    }

    pub(crate) fn compressed_folder(&self) -> PathBuf {
        self.own("compressed")
    }

    fn lock_file(&self) -> Result<File, StoreError> {
        let path = self.own("lock");
        File::options()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(|error| StoreError::io("opening", &path, error))
    }

    fn create_folders(&self) -> Result<(), StoreError> {
        let own = [self.own("tmp"), self.compressed_folder()];
        for folder in own.into_iter().chain([self.root.join("blobs/sha256")]) {
            fs::create_dir_all(&folder)
                .map_err(|error| StoreError::io("creating", &folder, error))?;
        }
        Ok(())
    }

    /// Writes one of the layout's own files by rename; `replace` says whether one that another
    /// process has just created may be overwritten.
    fn write_in_place(&self, name: &str, bytes: &[u8], replace: bool) -> Result<(), StoreError> {
        let path = self.root.join(name);
        let (temporary, mut file) = writer::temporary_file(&self.own("tmp"))?;
        let written = io::Write::write_all(&mut file, bytes).and_then(|()| file.sync_all());
        let placed = written.and_then(|()| {
            if replace {
                fs::rename(&temporary, &path)
            } else {
                match fs::hard_link(&temporary, &path) {
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
                    _ => fs::remove_file(&temporary),
                }
            }
        });
        placed.map_err(|error| {
            // What is left unfinished helps nobody; the first error is the one to tell.
            let _ = fs::remove_file(&temporary);
            StoreError::io("writing", &path, error)
        })?;
        writer::sync_folder(&self.root);
        Ok(())
    }

    /// Follows a reference or digest to a manifest's descriptor.
    ///
    /// # Errors
    /// [`StoreError::UnknownReference`], and what keeps the index from being read.
    pub fn resolve(&self, reference: &str) -> Result<Descriptor, StoreError> {
        self.find(reference)?
            .ok_or_else(|| StoreError::UnknownReference {
                reference: reference.to_owned(),
                path: self.root.clone(),
            })
    }
}

fn check_layout(path: &Path, text: &str) -> Result<(), StoreError> {
    let version = serde_json::from_str::<serde_json::Value>(text)
        .ok()
        .and_then(|value| value.get("imageLayoutVersion")?.as_str().map(str::to_owned));
    let why = match version {
        Some(version) if version.starts_with("1.") => return Ok(()),
        Some(version) => format!("its layout version is `{version}`, not 1.x"),
        None => "it names no layout version".to_owned(),
    };
    Err(StoreError::NotAStore {
        path: path.to_owned(),
        why,
    })
}
