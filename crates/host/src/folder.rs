//! Granted folders.

use std::path::{Path, PathBuf};

use wasmtime_wasi::FsPerms;
use wharf_manifest::FileGrant;

/// One granted folder.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    pub(crate) host: PathBuf,
    /// The same without links: what an open folder below it is found to lie in.
    pub(crate) real: PathBuf,
    /// The same as the grant writes it.
    pub(crate) granted: String,
    pub(crate) guest: String,
    pub(crate) perms: FsPerms,
}

/// A grant that cannot be given.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A granted folder is not there.
    #[error("cannot open the granted folder {path}: {source}")]
    Folder {
        /// The folder on the host.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A grant names a file.
    #[error("{path} is granted as a folder, but is a file")]
    NotAFolder {
        /// The path on the host.
        path: PathBuf,
    },
}

impl AuthorityError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            AuthorityError::Folder { .. } => "make the folder, or correct the grant",
            AuthorityError::NotAFolder { .. } => "grant the folder that holds it",
        }
    }
}

impl Folder {
    /// The folder that `grant` names, below `base` if it is relative.
    pub(crate) fn of(grant: &FileGrant, base: &Path) -> Result<Folder, AuthorityError> {
        let host = base.join(&grant.host);
        let metadata = std::fs::metadata(&host).map_err(|source| AuthorityError::Folder {
            path: host.clone(),
            source,
        })?;
        if !metadata.is_dir() {
            return Err(AuthorityError::NotAFolder { path: host });
        }
        Ok(Folder {
            real: std::fs::canonicalize(&host).unwrap_or_else(|_| host.clone()),
            host,
            granted: grant.host.clone(),
            guest: grant.guest.clone(),
            perms: if grant.write {
                FsPerms::ReadWrite
            } else {
                FsPerms::ReadOnly
            },
        })
    }
}
