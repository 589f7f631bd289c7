//! Small blobs in memory, one cache a node.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wharf_artifact::Blob;
use wharf_manifest::Digest;

/// What an entry costs beside its bytes, so that empty files are not free.
const ENTRY_OVERHEAD_BYTES: u64 = 256;

/// Bounds of a [`BlobCache`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobCacheOptions {
    /// Bytes held in memory, all blobs together. Default: 32 MiB.
    pub bytes_max: u64,
    /// Blobs longer than this are streamed from disk each time. Default: 64 KiB.
    pub blob_bytes_max: u64,
    /// Reads on disk at once. Bounds the blocking threads that a stalled disk can hold.
    /// Default: 64.
    pub reads_max: usize,
}

impl Default for BlobCacheOptions {
    fn default() -> Self {
        Self {
            bytes_max: 32 << 20,
            blob_bytes_max: 64 << 10,
            reads_max: 64,
        }
    }
}

/// The least recently used small blobs, and the right to read the others. Cheap to clone; all
/// apps of a node share one.
#[derive(Debug, Clone)]
pub struct BlobCache {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    options: BlobCacheOptions,
    entries: Mutex<Entries>,
    reads: Arc<Semaphore>,
}

/// A blob, ready to be sent.
#[derive(Debug)]
pub(crate) enum Opened {
    /// All its bytes.
    Cached(Bytes),
    /// Its file, at the start.
    OnDisk(File),
}

impl BlobCache {
    /// Makes an empty cache.
    #[must_use]
    pub fn new(options: BlobCacheOptions) -> Self {
        let reads = Arc::new(Semaphore::new(
            options.reads_max.clamp(1, Semaphore::MAX_PERMITS),
        ));
        Self {
            shared: Arc::new(Shared {
                options,
                entries: Mutex::default(),
                reads,
            }),
        }
    }

    /// Gives a blob's bytes if it is small, else its open file.
    ///
    /// # Errors
    /// The file is gone, cannot be read, or has not the length that the tree says.
    pub(crate) async fn open(&self, blob: &Blob) -> io::Result<Opened> {
        let is_small = blob.size <= self.shared.options.blob_bytes_max;
        if is_small && let Some(bytes) = self.entries().get(&blob.digest) {
            return Ok(Opened::Cached(bytes));
        }
        let permit = self.read_permit().await?;
        let (path, size) = (blob.path.clone(), blob.size);
        let opened = tokio::task::spawn_blocking(move || {
            let opened = open_blocking(&path, size, is_small);
            drop(permit);
            opened
        })
        .await
        .map_err(io::Error::other)??;
        if let Opened::Cached(bytes) = &opened {
            self.entries()
                .insert(blob.digest, bytes.clone(), self.shared.options.bytes_max);
        }
        Ok(opened)
    }

    /// Waits for the right to read from disk on a blocking thread.
    pub(crate) async fn read_permit(&self) -> io::Result<OwnedSemaphorePermit> {
        self.shared
            .reads
            .clone()
            .acquire_owned()
            .await
            .map_err(io::Error::other)
    }

    fn entries(&self) -> std::sync::MutexGuard<'_, Entries> {
        self.shared
            .entries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for BlobCache {
    fn default() -> Self {
        Self::new(BlobCacheOptions::default())
    }
}

fn open_blocking(path: &Path, size: u64, is_small: bool) -> io::Result<Opened> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    if length != size {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("the blob has {length} bytes and should have {size}"),
        ));
    }
    if !is_small {
        return Ok(Opened::OnDisk(file));
    }
    let mut bytes = vec![0; usize::try_from(size).map_err(io::Error::other)?];
    file.read_exact(&mut bytes)?;
    Ok(Opened::Cached(Bytes::from(bytes)))
}

/// Entries by digest, and their digests by when they were last used.
#[derive(Debug, Default)]
struct Entries {
    by_digest: HashMap<Digest, (Bytes, u64)>,
    by_use: BTreeMap<u64, Digest>,
    uses: u64,
    bytes: u64,
}

impl Entries {
    fn get(&mut self, digest: &Digest) -> Option<Bytes> {
        let (bytes, used) = self.by_digest.get_mut(digest)?;
        self.by_use.remove(used);
        self.uses += 1;
        *used = self.uses;
        self.by_use.insert(self.uses, *digest);
        Some(bytes.clone())
    }

    fn insert(&mut self, digest: Digest, bytes: Bytes, bytes_max: u64) {
        if self.get(&digest).is_some() || cost(&bytes) > bytes_max {
            return;
        }
        self.uses += 1;
        self.bytes += cost(&bytes);
        self.by_use.insert(self.uses, digest);
        self.by_digest.insert(digest, (bytes, self.uses));
        while self.bytes > bytes_max
            && let Some((_, oldest)) = self.by_use.pop_first()
        {
            if let Some((bytes, _)) = self.by_digest.remove(&oldest) {
                self.bytes -= cost(&bytes);
            }
        }
    }
}

fn cost(bytes: &Bytes) -> u64 {
    bytes.len() as u64 + ENTRY_OVERHEAD_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_goes_first_and_the_cap_holds() {
        let mut entries = Entries::default();
        let digest = |n: u32| Digest::of(&n.to_le_bytes());
        let bytes_max = 3 * (1000 + ENTRY_OVERHEAD_BYTES);
        for n in 0..3 {
            entries.insert(digest(n), Bytes::from(vec![0; 1000]), bytes_max);
        }
        assert!(entries.get(&digest(0)).is_some());
        entries.insert(digest(3), Bytes::from(vec![0; 1000]), bytes_max);
        assert!(entries.get(&digest(1)).is_none(), "the least recently used");
        assert!(entries.get(&digest(0)).is_some());
        assert!(entries.get(&digest(3)).is_some());
        for n in 0..1000 {
            entries.insert(digest(n), Bytes::new(), bytes_max);
            assert!(entries.bytes <= bytes_max);
            assert_eq!(entries.by_digest.len(), entries.by_use.len());
        }
        entries.insert(digest(5000), Bytes::from(vec![0; 100_000]), bytes_max);
        assert!(
            entries.get(&digest(5000)).is_none(),
            "larger than the whole cache"
        );
        assert!(entries.bytes > 0, "and it pushes nothing out");
    }
}
