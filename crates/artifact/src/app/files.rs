//! Walking a folder of static files.
//!
//! Names that begin with a dot are left out (`.git`, `.env`, editors' files), but for
//! `.well-known`. A link may point anywhere inside the folder and nowhere outside it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use wharf_manifest::AppPath;

use super::{ArtifactError, FILE_BYTES_MAX, FILE_COUNT_MAX};

/// How deep folders may lie inside one another.
const DEPTH_MAX: usize = 64;

/// The files below `root` by their path in it.
pub(super) fn walk(root: &Path) -> Result<BTreeMap<String, PathBuf>, ArtifactError> {
    let real_root = fs::canonicalize(root).map_err(|source| read(root, source))?;
    if !real_root.is_dir() {
        return Err(bad(root, "it is not a folder"));
    }
    let mut walk = Walk {
        root,
        real_root: &real_root,
        files: BTreeMap::new(),
    };
    walk.folder(root, "", DEPTH_MAX)?;
    Ok(walk.files)
}

struct Walk<'a> {
    root: &'a Path,
    real_root: &'a Path,
    files: BTreeMap<String, PathBuf>,
}

impl Walk<'_> {
    fn folder(&mut self, folder: &Path, prefix: &str, depth: usize) -> Result<(), ArtifactError> {
        let Some(depth) = depth.checked_sub(1) else {
            return Err(bad(
                folder,
                &format!("folders lie more than {DEPTH_MAX} deep, or a link leads in a circle"),
            ));
        };
        for entry in fs::read_dir(folder).map_err(|source| read(folder, source))? {
            let entry = entry.map_err(|source| read(folder, source))?;
            let path = entry.path();
            let name = entry.file_name();
            let Some(name) = name.to_str() else {
                return Err(bad(&path, "its name is not UTF-8"));
            };
            if name.starts_with('.') && name != ".well-known" {
                continue;
            }
            let key = format!("{prefix}{name}");
            // Besides syntax this refuses a backslash, which means a folder on some systems.
            match AppPath::new(&key) {
                Ok(normal) if normal.as_str() == key => {}
                Ok(_) => return Err(bad(&path, "its name cannot be part of an address")),
                Err(error) => return Err(bad(&path, &error.to_string())),
            }
            let is_link = entry
                .file_type()
                .map_err(|source| read(&path, source))?
                .is_symlink();
            if is_link {
                let target = fs::canonicalize(&path).map_err(|source| read(&path, source))?;
                if !target.starts_with(self.real_root) {
                    return Err(bad(&path, "it links to a place outside the folder"));
                }
            }
            let metadata = fs::metadata(&path).map_err(|source| read(&path, source))?;
            if metadata.is_dir() {
                self.folder(&path, &format!("{key}/"), depth)?;
            } else if metadata.is_file() {
                self.file(key, path, metadata.len())?;
            } else {
                return Err(bad(&path, "it is neither a file nor a folder"));
            }
        }
        Ok(())
    }

    fn file(&mut self, key: String, path: PathBuf, size: u64) -> Result<(), ArtifactError> {
        if size > FILE_BYTES_MAX {
            return Err(bad(
                &path,
                &format!("its {size} bytes exceed the limit of 256 MiB a file"),
            ));
        }
        if self.files.len() == FILE_COUNT_MAX {
            return Err(ArtifactError::TooMuch {
                path: self.root.to_owned(),
                why: format!("there are more than {FILE_COUNT_MAX}, the limit for one app"),
            });
        }
        self.files.insert(key, path);
        Ok(())
    }
}

pub(super) fn read(path: &Path, source: std::io::Error) -> ArtifactError {
    ArtifactError::Read {
        path: path.to_owned(),
        source,
    }
}

pub(super) fn bad(path: &Path, why: &str) -> ArtifactError {
    ArtifactError::BadFile {
        path: path.to_owned(),
        why: why.to_owned(),
    }
}
