//! Removing what nothing refers to any more.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use wharf_manifest::Digest;

use super::{Store, StoreError};
use crate::oci::{Descriptor, INDEX_TYPE, MANIFEST_BYTES_MAX, MANIFEST_TYPE, References};

/// How many files one collection removes at most, since it holds the lock meanwhile.
const REMOVED_MAX: u64 = 10_000;

/// How deep indexes may refer to indexes.
const DEPTH_MAX: usize = 4;

/// What a collection did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GcReport {
    /// Blobs and unfinished files removed.
    pub removed: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Blobs that stay, referred to or young.
    pub kept: u64,
    /// Whether there is more to remove than one collection may.
    pub more: bool,
}

impl Store {
    /// Removes blobs that no manifest in the index refers to and that nobody wrote, or wanted to
    /// write, within `grace`; and unfinished files as old. An hour is a good grace: a writer has
    /// that long from its first blob to its tag.
    ///
    /// # Errors
    /// A damaged index or manifest. Then nothing is removed, since what it refers to is unknown.
    pub fn gc(&self, grace: Duration) -> Result<GcReport, StoreError> {
        let lock = self.lock_file()?;
        lock.lock()
            .map_err(|error| StoreError::io("locking", &self.root, error))?;
        let mut live = BTreeSet::new();
        for manifest in &self.read_index()?.manifests {
            self.mark(manifest, DEPTH_MAX, &mut live)?;
        }

        let oldest = SystemTime::now()
            .checked_sub(grace)
            .unwrap_or(SystemTime::UNIX_EPOCH);
        let mut report = GcReport::default();
        self.sweep(
            &self.root.join("blobs/sha256"),
            oldest,
            &mut report,
            |name| {
                // A file that is no blob of ours is none of our business.
                format!("sha256:{name}")
                    .parse()
                    .map_or(true, |digest: Digest| live.contains(&digest))
            },
        )?;
        self.sweep(&self.own("tmp"), oldest, &mut report, |_| false)?;
        self.sweep(&self.compressed_folder(), oldest, &mut report, |name| {
            let source = name.split('.').next().unwrap_or(name);
            format!("sha256:{source}")
                .parse()
                .is_ok_and(|digest: Digest| live.contains(&digest))
        })?;
        Ok(report)
    }

    fn mark(
        &self,
        descriptor: &Descriptor,
        depth: usize,
        live: &mut BTreeSet<Digest>,
    ) -> Result<(), StoreError> {
        let is_parent = [MANIFEST_TYPE, INDEX_TYPE].contains(&descriptor.media_type.as_str());
        if !live.insert(descriptor.digest) || !is_parent {
            return Ok(());
        }
        let damaged = |why: String| StoreError::CorruptIndex {
            path: self.blob_path(&descriptor.digest),
            why,
        };
        let Some(depth) = depth.checked_sub(1) else {
            return Err(damaged(format!("indexes lie more than {DEPTH_MAX} deep")));
        };
        let bytes = self.read_blob(&descriptor.digest, MANIFEST_BYTES_MAX)?;
        let references: References =
            serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        for child in references.all() {
            self.mark(child, depth, live)?;
        }
        Ok(())
    }

    fn sweep(
        &self,
        folder: &Path,
        oldest: SystemTime,
        report: &mut GcReport,
        keep: impl Fn(&str) -> bool,
    ) -> Result<(), StoreError> {
        let failed = |error| StoreError::io("reading", folder, error);
        for entry in fs::read_dir(folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            let young = metadata.modified().is_ok_and(|modified| modified > oldest);
            if !metadata.is_file() || young || entry.file_name().to_str().is_none_or(&keep) {
                report.kept += 1;
            } else if report.removed == REMOVED_MAX {
                report.more = true;
            } else if let Err(error) = fs::remove_file(entry.path()) {
                return Err(StoreError::io("removing", &entry.path(), error));
            } else {
                report.removed += 1;
                report.bytes += metadata.len();
            }
        }
        Ok(())
    }
}
