//! Apps as artifacts: one manifest an app, one blob a component, one blob a file.
//!
//! The manifest is an OCI image manifest with the artifact type [`APP_TYPE`]. Its config is the
//! app's canonical JSON. Each layer is a component (`application/wasm`, annotation
//! `dev.wharf.component`) or a form of a static file (annotations `dev.wharf.files` for the
//! folder that a trigger names, `dev.wharf.path`, `dev.wharf.type`, and `dev.wharf.encoding` for
//! a compressed form). Layers are sorted and hold no time, so the same inputs give the same
//! digest.

mod compress;
mod files;
mod load;
mod pack;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use wharf_manifest::{App, AppPath, ComponentName, Digest};

pub use load::load_app;
pub(crate) use pack::store_manifest;
pub use pack::{ComponentSource, FilesDir, PackedApp, pack_app};

use crate::store::{Blob, StoreError};

/// The artifact type of an app.
pub const APP_TYPE: &str = "application/vnd.wharf.app.v1+json";
/// The media type of an app's config, which is its canonical JSON.
pub const APP_CONFIG_TYPE: &str = "application/vnd.wharf.app.config.v1+json";
/// The media type of a static file's layer, whatever the file holds.
pub const FILE_TYPE: &str = "application/vnd.wharf.file.v1";

/// How many static files an app may have.
pub const FILE_COUNT_MAX: usize = 20_000;
/// How many bytes one static file may have: 256 MiB.
pub const FILE_BYTES_MAX: u64 = 256 << 20;
/// How many bytes all static files of an app may have together: 2 GiB.
pub const FILES_BYTES_MAX: u64 = 2 << 30;

const COMPONENT: &str = "dev.wharf.component";
const FILES: &str = "dev.wharf.files";
const PATH: &str = "dev.wharf.path";
const CONTENT_TYPE: &str = "dev.wharf.type";
const ENCODING: &str = "dev.wharf.encoding";

/// An app out of the store, ready to be served.
#[derive(Debug, Clone, PartialEq)]
pub struct AppArtifact {
    /// The app.
    pub app: App,
    /// The digest of its manifest, which names the whole of it.
    pub digest: Digest,
    /// Each component's code.
    pub components: BTreeMap<ComponentName, Blob>,
    /// By the folder that a trigger names: the files in it.
    pub files: BTreeMap<AppPath, FileTree>,
}

/// The static files of one folder by their path in it, such as `css/site.css`: not encoded, with
/// `/` and without one in front.
pub type FileTree = BTreeMap<String, FileEntry>;

/// One static file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEntry {
    /// The file as it is.
    pub identity: Blob,
    /// The value of `Content-Type`.
    pub content_type: String,
    /// Compressed forms, the best first. Each is smaller than the file.
    pub variants: Vec<(Encoding, Blob)>,
}

/// A content coding of HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Encoding {
    /// `br`
    Brotli,
    /// `gzip`
    Gzip,
}

impl Encoding {
    /// All of them, the best first.
    pub const ALL: [Self; 2] = [Self::Brotli, Self::Gzip];

    /// Its name in `Content-Encoding` and `Accept-Encoding`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }

    /// The ending of a file that lies compressed beside its original.
    fn extension(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Gzip => "gz",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|encoding| encoding.as_str() == text)
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why an artifact could not be packed or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArtifactError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A source file or folder could not be read.
    #[error("reading {}: {source}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// The system's word.
        source: std::io::Error,
    },
    /// The app and what was given for it do not fit together.
    #[error("cannot pack app `{app}`: {why}")]
    Mismatch {
        /// The app's name.
        app: String,
        /// What is missing or too much.
        why: String,
    },
    /// A file cannot be served.
    #[error("cannot pack {}: {why}", path.display())]
    BadFile {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The static files exceed a limit.
    #[error("cannot pack the files in {}: {why}", path.display())]
    TooMuch {
        /// The folder.
        path: PathBuf,
        /// The limit and what exceeds it.
        why: String,
    },
    /// The manifest is another kind of artifact.
    #[error("{digest} is not an app of wharf: it is {found}")]
    NotAnApp {
        /// The manifest.
        digest: Digest,
        /// What it says it is.
        found: String,
    },
    /// The manifest or config breaks a rule.
    #[error("the artifact {digest} is damaged: {why}")]
    Damaged {
        /// The manifest.
        digest: Digest,
        /// Which rule.
        why: String,
    },
}

impl ArtifactError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Store(error) => error.hint(),
            Self::BadFile { .. } => {
                Some("copy it into the folder, or keep it out by a name that begins with a dot")
            }
            Self::TooMuch { .. } => {
                Some("serve large collections from a component or an object store")
            }
            Self::NotAnApp { .. } => Some("it may need a newer wharf, or another command"),
            Self::Damaged { .. } => Some("build or pull it again"),
            Self::Read { .. } | Self::Mismatch { .. } => None,
        }
    }
}
