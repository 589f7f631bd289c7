//! Granted folders.

use std::fs::{File, Metadata, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::{fmt, io};

use rustix::fs::OFlags;
use wasmtime_wasi::FsPerms;
use wasmtime_wasi::filesystem::{Dir, OpenMode};
use wharf_manifest::FileGrant;

use crate::descriptors::{Descriptors, Open};

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
    /// As its instances have it, while there are any.
    pub(crate) open: Arc<Mutex<Weak<OpenFolder>>>,
}

/// A granted folder, open: one descriptor, whatever number of instances have it.
pub(crate) struct OpenFolder {
    pub(crate) dir: Dir,
    which: (u64, u64),
    _place: Open,
}

impl fmt::Debug for OpenFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenFolder")
            .field("which", &self.which)
            .finish_non_exhaustive()
    }
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
    /// The app has all the descriptors that it may.
    #[error("cannot open the granted folder {path}: no descriptor is left for this app")]
    NoDescriptor {
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
            AuthorityError::NoDescriptor { .. } => {
                "look for what is never closed; raise them with `ulimit -n`, or LimitNOFILE in a unit of systemd"
            }
        }
    }
}

impl Folder {
    /// The folder that `grant` names, below `base` if it is relative.
    pub(crate) fn of(grant: &FileGrant, base: &Path) -> Result<Folder, AuthorityError> {
        let host = base.join(&grant.host);
        let metadata = std::fs::metadata(&host).map_err(|source| cannot_open(&host, source))?;
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
            open: Arc::default(),
        })
    }

    /// Opens it, or shares what another instance has open, if it is the same folder yet.
    pub(crate) fn open(
        &self,
        descriptors: &Descriptors,
    ) -> Result<Arc<OpenFolder>, AuthorityError> {
        let failed = |source| cannot_open(&self.host, source);
        let found = std::fs::metadata(&self.host).map_err(failed)?;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = open.upgrade()
            && open.which == which(&found)
        {
            return Ok(open);
        }
        let place = descriptors
            .hold()
            .ok_or_else(|| AuthorityError::NoDescriptor {
                path: self.host.clone(),
            })?;
        let dir = open_folder(&self.host).map_err(failed)?;
        let mode = match self.perms {
            FsPerms::ReadOnly => OpenMode::READ,
            FsPerms::ReadWrite => OpenMode::READ | OpenMode::WRITE,
        };
        let opened = Arc::new(OpenFolder {
            which: which(&dir.metadata().map_err(failed)?),
            dir: Dir::new(dir, self.perms, mode, false),
            _place: place,
        });
        *open = Arc::downgrade(&opened);
        Ok(opened)
    }
}

fn cannot_open(path: &Path, source: io::Error) -> AuthorityError {
    AuthorityError::Folder {
        path: path.to_owned(),
        source,
    }
}

fn which(folder: &Metadata) -> (u64, u64) {
    (folder.dev(), folder.ino())
}

/// A handle that paths below can be opened by, and nothing else, as the engine's own has it.
fn open_folder(path: &Path) -> io::Result<File> {
    let flags = OFlags::DIRECTORY;
    #[cfg(target_os = "linux")]
    let flags = flags | OFlags::PATH;
    OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
}

#[cfg(test)]
mod tests {
    use wharf_engine::Budget;

    use super::*;
    use crate::denial::Denials;

    #[test]
    fn instances_share_a_descriptor_while_it_is_the_same_folder() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("data");
        std::fs::create_dir(&path).unwrap();
        let grant = "data:/data".parse().unwrap();
        let folder = Folder::of(&grant, base.path()).unwrap();
        let share = Budget::of_app("a", Some(2), &Budget::of_node(100));
        let descriptors = Descriptors::new(Some(Arc::clone(&share)), Denials::new(|_| {}));
        let open = || folder.open(&descriptors);
        let instances = [open().unwrap(), open().unwrap()];
        assert!(Arc::ptr_eq(&instances[0], &instances[1]));
        assert_eq!(share.used(), 1);
        // What lies there now is another one.
        std::fs::rename(&path, base.path().join("old")).unwrap();
        assert!(matches!(open(), Err(AuthorityError::Folder { .. })));
        std::fs::create_dir(&path).unwrap();
        let third = open().unwrap();
        assert!(!Arc::ptr_eq(&instances[0], &third));
        assert_eq!(share.used(), 2);
        drop(third);
        assert_eq!(share.used(), 1);
        let other = descriptors.hold();
        assert!(matches!(open(), Err(AuthorityError::NoDescriptor { .. })));
        drop((instances, other));
        assert_eq!(share.used(), 0);
        std::fs::remove_dir(&path).unwrap();
        std::fs::write(&path, "").unwrap();
        assert!(matches!(open(), Err(AuthorityError::Folder { .. })));
    }
}
