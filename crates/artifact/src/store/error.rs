//! What can go wrong with a store, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use wharf_manifest::Digest;

/// Why the store could not do what it was asked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// No space, quota or permitted file size is left.
    #[error("the disk is full: {doing} {}: {source}", path.display())]
    Full {
        /// What was being done, such as `writing`.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// The store may not be written to.
    #[error("the store cannot be written to: {doing} {}: {source}", path.display())]
    ReadOnly {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// Any other failure of the disk.
    #[error("{doing} {}: {source}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// The folder holds something else.
    #[error("{} does not belong to a store that this version can read: {why}", path.display())]
    NotAStore {
        /// The file that says so.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// `index.json` cannot be read as an index.
    #[error("the store's index {} is damaged: {why}", path.display())]
    CorruptIndex {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A blob holds other bytes than its name says.
    #[error("the stored file {} is damaged: its bytes are {found}, not {digest}", path.display())]
    CorruptBlob {
        /// The digest in its name.
        digest: Digest,
        /// The digest of its bytes.
        found: Digest,
        /// The file.
        path: PathBuf,
    },
    /// A blob has another size than the one who refers to it says.
    #[error("the stored file {} is damaged: it has {found} bytes, not {size}", path.display())]
    WrongSize {
        /// The digest in its name.
        digest: Digest,
        /// The size that was expected, in bytes.
        size: u64,
        /// The size that it has, in bytes.
        found: u64,
        /// The file.
        path: PathBuf,
    },
    /// A blob that something refers to is not there.
    #[error("{digest} is not in the store ({})", path.display())]
    MissingBlob {
        /// The blob.
        digest: Digest,
        /// Where it would lie.
        path: PathBuf,
    },
    /// A file exceeds a limit.
    #[error("{} exceeds the limit of {limit} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit, in bytes.
        limit: u64,
    },
    /// A name that cannot be a reference.
    #[error("`{reference}` cannot name an artifact")]
    BadReference {
        /// The name.
        reference: String,
    },
    /// Nothing in the store has this name or digest.
    #[error("the store {} holds nothing named `{reference}`", path.display())]
    UnknownReference {
        /// The name.
        reference: String,
        /// The store.
        path: PathBuf,
    },
}

impl StoreError {
    pub(crate) fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        use io::ErrorKind::{
            FileTooLarge, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull,
        };
        let path = path.to_owned();
        match source.kind() {
            StorageFull | QuotaExceeded | FileTooLarge => Self::Full {
                doing,
                path,
                source,
            },
            ReadOnlyFilesystem => Self::ReadOnly {
                doing,
                path,
                source,
            },
            PermissionDenied if doing != "reading" => Self::ReadOnly {
                doing,
                path,
                source,
            },
            _ => Self::Io {
                doing,
                path,
                source,
            },
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Full { .. } => Some(
                "free some space or keep the store on another disk; nothing that was stored is lost",
            ),
            Self::ReadOnly { .. } => Some("keep the store in a folder that you may write to"),
            Self::CorruptIndex { .. } => {
                Some("the blobs are untouched: move index.json away and build again")
            }
            Self::CorruptBlob { .. } | Self::WrongSize { .. } => {
                Some("remove that file and build or pull again")
            }
            Self::MissingBlob { .. } => Some("build or pull the artifact again"),
            Self::BadReference { .. } => {
                Some("use letters and digits, joined by one of - . _ : @ / +")
            }
            Self::UnknownReference { .. } => Some("build it with `wharf build`"),
            Self::NotAStore { .. } => Some("choose another folder for the store"),
            Self::Io { .. } | Self::TooLarge { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_systems_words_become_ours() {
        let check = |kind: io::ErrorKind, doing, expected: &str| {
            let error = StoreError::io(doing, Path::new("store/blob"), io::Error::from(kind));
            assert!(error.to_string().starts_with(expected), "{error}");
            error.hint().is_some()
        };
        let full = "the disk is full: writing store/blob: ";
        assert!(check(io::ErrorKind::StorageFull, "writing", full));
        assert!(check(io::ErrorKind::QuotaExceeded, "writing", full));
        let fixed = "the store cannot be written to: creating store/blob: ";
        assert!(check(io::ErrorKind::ReadOnlyFilesystem, "creating", fixed));
        assert!(check(io::ErrorKind::PermissionDenied, "creating", fixed));
        let other = "reading store/blob: ";
        assert!(!check(io::ErrorKind::PermissionDenied, "reading", other));
    }
}
