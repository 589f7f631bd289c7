//! Writing a blob so that it appears whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest as _, Sha256};
use wharf_manifest::Digest;

use super::{BLOB_BYTES_MAX, Blob, Store, StoreError};

/// A blob on its way into the store. Dropped before [`BlobWriter::finish`], it leaves nothing.
#[derive(Debug)]
pub struct BlobWriter {
    store: Store,
    file: File,
    temporary: PathBuf,
    hasher: Sha256,
    size: u64,
}

impl BlobWriter {
    pub(super) fn create(store: Store) -> Result<Self, StoreError> {
        let (temporary, file) = temporary_file(&store.own("tmp"))?;
        Ok(Self {
            store,
            file,
            temporary,
            hasher: Sha256::new(),
            size: 0,
        })
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// What keeps them from being written; more than [`BLOB_BYTES_MAX`] in all.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.size += bytes.len() as u64;
        if self.size > BLOB_BYTES_MAX {
            let path = self.temporary.clone();
            return Err(StoreError::TooLarge {
                path,
                limit: BLOB_BYTES_MAX,
            });
        }
        self.hasher.update(bytes);
        self.file
            .write_all(bytes)
            .map_err(|error| StoreError::io("writing", &self.temporary, error))
    }

    /// Flushes the bytes to the disk and gives them their name.
    ///
    /// # Errors
    /// What keeps them from reaching the disk.
    pub fn finish(mut self) -> Result<Blob, StoreError> {
        let digest = Digest::from_bytes(std::mem::take(&mut self.hasher).finalize().into());
        let path = self.store.blob_path(&digest);
        let size = self.size;
        if !self.store.keep_existing(&digest, size)? {
            self.file
                .sync_all()
                .and_then(|()| fs::rename(&self.temporary, &path))
                .map_err(|error| StoreError::io("writing", &path, error))?;
        }
        Ok(Blob { digest, size, path })
    }
}

impl Drop for BlobWriter {
    fn drop(&mut self) {
        // After a rename it is gone, which is as well; what else stays, the collector finds.
        let _ = fs::remove_file(&self.temporary);
    }
}

/// Creates a file that no other process or thread writes to.
pub(super) fn temporary_file(folder: &Path) -> Result<(PathBuf, File), StoreError> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!("{}-{number}", process::id()));
        match File::options().write(true).create_new(true).open(&path) {
            Ok(file) => return Ok((path, file)),
            // Left by an earlier process of the same id, or one in another container.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(StoreError::io("creating", &path, error)),
        }
    }
}

/// Makes a rename outlive a power cut, where the system can.
pub(super) fn sync_folder(folder: &Path) {
    // A file system that cannot flush a folder loses the newest entry at worst, never a byte.
    let _ = File::open(folder).and_then(|folder| folder.sync_all());
}
