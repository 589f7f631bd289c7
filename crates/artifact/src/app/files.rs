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
        open: Vec::new(),
        folders: 0,
        files: BTreeMap::new(),
    };
    walk.folder(root, real_root, "")?;
    Ok(walk.files)
}

struct Walk<'a> {
    root: &'a Path,
    /// The real places of the folders that the walk is in, the root first.
    open: Vec<PathBuf>,
    /// How many folders it was in: with links, few can look like very many.
    folders: usize,
    files: BTreeMap<String, PathBuf>,
}

impl Walk<'_> {
    fn folder(&mut self, folder: &Path, real: PathBuf, prefix: &str) -> Result<(), ArtifactError> {
        if self.open.contains(&real) {
            return Err(bad(folder, "it links to a folder that it lies in"));
        }
        if self.open.len() == DEPTH_MAX {
            return Err(bad(
                folder,
                &format!("folders lie more than {DEPTH_MAX} deep"),
            ));
        }
        if self.folders == FILE_COUNT_MAX {
            return Err(self.too_many("folders"));
        }
        self.folders += 1;
        self.open.push(real);
        for entry in fs::read_dir(folder).map_err(|source| read(folder, source))? {
            self.entry(&entry.map_err(|source| read(folder, source))?, prefix)?;
        }
        self.open.pop();
        Ok(())
    }

    fn entry(&mut self, entry: &fs::DirEntry, prefix: &str) -> Result<(), ArtifactError> {
        let path = entry.path();
        let name = entry.file_name();
        let Some(name) = name.to_str() else {
            return Err(bad(&path, "its name is not UTF-8"));
        };
        if name.starts_with('.') && name != ".well-known" {
            return Ok(());
        }
        let key = format!("{prefix}{name}");
        // Besides syntax this refuses a backslash, which means a folder on some systems.
        match AppPath::new(&key) {
            Ok(normal) if normal.as_str() == key => {}
            Ok(_) => return Err(bad(&path, "its name cannot be part of an address")),
            Err(error) => return Err(bad(&path, &error.to_string())),
        }
        let real = fs::canonicalize(&path).map_err(|source| read(&path, source))?;
        if !real.starts_with(&self.open[0]) {
            return Err(bad(&path, "it links to a place outside the folder"));
        }
        let metadata = fs::metadata(&real).map_err(|source| read(&path, source))?;
        if metadata.is_dir() {
            self.folder(&path, real, &format!("{key}/"))
        } else if metadata.is_file() {
            self.file(key, path, metadata.len())
        } else {
            Err(bad(&path, "it is neither a file nor a folder"))
        }
    }

    fn file(&mut self, key: String, path: PathBuf, size: u64) -> Result<(), ArtifactError> {
        if size > FILE_BYTES_MAX {
            return Err(bad(
                &path,
                &format!("its {size} bytes exceed the limit of 256 MiB a file"),
            ));
        }
        if self.files.len() == FILE_COUNT_MAX {
            return Err(self.too_many("files"));
        }
        self.files.insert(key, path);
        Ok(())
    }

    fn too_many(&self, what: &str) -> ArtifactError {
        ArtifactError::TooMuch {
            path: self.root.to_owned(),
            why: format!("there are more than {FILE_COUNT_MAX} {what}, the limit for one app"),
        }
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
