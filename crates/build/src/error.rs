//! Why a build ended without an artifact, and what to do about it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use wharf_manifest::ManifestErrors;

/// Why a build ended without an artifact.
///
/// The text says what failed; [`BuildError::hint`] says what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The cancel token fired.
    #[error("the build was cancelled")]
    Cancelled,

    /// A file or folder could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb: `read`, `write`, `create`.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },

    /// What is built is kept in the app's folder, and nothing can be written there.
    #[error("cannot write to {}, where what is built is kept: {source}", path.display())]
    StateFolder {
        /// What was to be written.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },

    /// A disk has no room for what the build writes.
    #[error("no space left on the disk that holds {}", path.display())]
    DiskFull {
        /// The file or folder that was being written.
        path: PathBuf,
    },

    /// The app has no manifest.
    #[error("there is no manifest at {}", path.display())]
    ManifestMissing {
        /// Where it was expected.
        path: PathBuf,
    },

    /// The manifest has mistakes; each is listed with line and column.
    #[error("{0}")]
    Manifest(ManifestErrors),

    /// A component's source does not exist.
    #[error("the source of component `{component}` does not exist: {}", path.display())]
    SourceMissing {
        /// The component's name.
        component: String,
        /// The missing path.
        path: PathBuf,
    },

    /// A component's source is of no kind that wharf builds.
    #[error("wharf cannot tell how to build component `{component}` from {}", path.display())]
    SourceUnknown {
        /// The component's name.
        component: String,
        /// Its source.
        path: PathBuf,
    },

    /// A component's source is in a language that wharf does not build yet.
    #[error(
        "component `{component}` is written in {language} ({} is there), which wharf does not build yet",
        file.display()
    )]
    LanguageNotYet {
        /// The component's name.
        component: String,
        /// The language, as people call it.
        language: &'static str,
        /// The file that gave the language away.
        file: PathBuf,
        /// The tool that makes components from this language.
        tool: &'static str,
    },

    /// An input is larger than wharf reads.
    #[error("{} is {size} bytes large, and wharf reads at most {size_max}", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size, in bytes.
        size: u64,
        /// The most wharf reads, in bytes.
        size_max: u64,
    },

    /// A file is no valid WebAssembly.
    #[error("{}: {source}", path.display())]
    BadWasm {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and where.
        source: wharf_artifact::DescribeError,
    },

    /// A file is WebAssembly text that does not parse.
    #[error("{} is not valid WebAssembly: {reason}", path.display())]
    BadText {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, with the place in the text.
        reason: String,
    },

    /// Cargo is not on this machine.
    #[error("component `{component}` is a Rust crate, and cargo was not found")]
    CargoMissing {
        /// The component's name.
        component: String,
    },

    /// A Rust target is not installed and could not be installed.
    #[error("the Rust target {target} is not installed: {reason}")]
    TargetMissing {
        /// The target.
        target: String,
        /// Why wharf did not install it.
        reason: String,
        /// What to do about it.
        hint: String,
    },

    /// Cargo cannot read the crate.
    #[error("cargo cannot read the crate of component `{component}`:\n{output}")]
    CrateUnreadable {
        /// The component's name.
        component: String,
        /// What cargo printed.
        output: String,
    },

    /// The crate has neither a library nor a binary, or not the one needed.
    #[error("the crate of component `{component}` has no {wanted} to build: {}", path.display())]
    NoTarget {
        /// The component's name.
        component: String,
        /// What was looked for: `library or binary`, `library`.
        wanted: &'static str,
        /// The crate's `Cargo.toml`.
        path: PathBuf,
    },

    /// The crate or workspace has several things that could be the component.
    #[error("component `{component}` could be any of {}", list(candidates))]
    SeveralTargets {
        /// The component's name.
        component: String,
        /// Their names, sorted.
        candidates: Vec<String>,
        /// How to name one.
        hint: String,
    },

    /// The compiler reported errors.
    #[error("component `{component}` did not compile")]
    CompileFailed {
        /// The component's name.
        component: String,
        /// Everything that cargo and rustc printed, without colours.
        output: String,
    },

    /// A `pure` component uses parts of std that need a system.
    #[error("component `{component}` is `pure`, but its code uses {}", uses(used))]
    NotPure {
        /// The component's name.
        component: String,
        /// What it uses, and where as far as known.
        used: Vec<ImpureUse>,
    },

    /// A core module could not be made a component.
    #[error("component `{component}` cannot be encoded as a component: {reason}")]
    Encode {
        /// The component's name.
        component: String,
        /// What the encoder said.
        reason: String,
    },

    /// A trigger calls something that its component does not export.
    #[error("{trigger} needs component `{component}` to export {wanted}, but it {found}")]
    ExportMissing {
        /// The component's name.
        component: String,
        /// The trigger, in words: ``route `/...` ``, `the command trigger`.
        trigger: String,
        /// The export that the trigger calls.
        wanted: &'static str,
        /// What it exports instead, in words: `exports nothing`.
        found: String,
        /// What to do about it.
        hint: String,
    },

    /// A route serves a folder that does not exist.
    #[error("the folder of route `{route}` does not exist: {}", path.display())]
    FilesMissing {
        /// The route's pattern.
        route: String,
        /// The missing folder.
        path: PathBuf,
    },

    /// A file name cannot be made an app's name, or a given name is not one.
    #[error("`{name}` cannot be an app's name: {reason}")]
    BadName {
        /// The text that is no name.
        name: String,
        /// Why not.
        reason: String,
    },

    /// The store failed, or refused what was built.
    #[error(transparent)]
    Artifact(wharf_artifact::ArtifactError),
}

/// One use of the standard library that a `pure` component cannot have.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct ImpureUse {
    /// What is used, such as `std::fs::read`.
    pub item: String,
    /// `file:line` in the app's sources, where known.
    pub place: Option<String>,
}

impl fmt::Display for ImpureUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "`{}` ({place})", self.item),
            None => write!(f, "`{}`", self.item),
        }
    }
}

impl BuildError {
    /// Wraps an I/O error, telling a full disk from the rest.
    pub(crate) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| {
            if is_disk_full(&source) {
                Self::DiskFull { path }
            } else {
                Self::Io {
                    action,
                    path,
                    source,
                }
            }
        }
    }

    pub(crate) fn state_folder(path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_path_buf();
        move |source| match is_disk_full(&source) {
            true => Self::DiskFull { path },
            false => Self::StateFolder { path, source },
        }
    }

    /// What to do about it, as a lower-case sentence without a full stop.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::DiskFull { .. } => {
                "free some space, or point the cache or the store at another disk".into()
            }
            Self::StateFolder { .. } => {
                "sources are compiled there: let this user write to the app's folder, or build it elsewhere with `wharf build` into the same store and give NAME:VERSION as the source".into()
            }
            Self::ManifestMissing { .. } => {
                "start an app with `wharf new http-rust my-app`, or give a .wasm file".into()
            }
            Self::SourceMissing { component, .. } => {
                format!(
                    "set `source` in [component.{component}] to a folder or file beside wharf.toml"
                )
            }
            Self::SourceUnknown { .. } => {
                "a source is a folder with a Cargo.toml, or a .wasm or .wat file".into()
            }
            Self::LanguageNotYet {
                tool, component, ..
            } => format!(
                "build it with {tool} and set `source` in [component.{component}] to the .wasm it writes"
            ),
            Self::BadWasm { source, .. } => return source.hint().map(str::to_string),
            Self::CargoMissing { .. } => {
                "install Rust from https://rustup.rs, then open a new terminal".into()
            }
            Self::NoTarget { .. } => {
                "add src/lib.rs (an HTTP component or library) or src/main.rs (a command)".into()
            }
            Self::TargetMissing { hint, .. }
            | Self::SeveralTargets { hint, .. }
            | Self::ExportMissing { hint, .. } => hint.clone(),
            Self::NotPure { component, .. } => format!(
                "use wharf_sdk's clock, log and random instead, or remove `pure = true` from [component.{component}]"
            ),
            Self::CompileFailed { output, .. } => return compile_hint(output),
            Self::FilesMissing { .. } => {
                "make the folder, or set `files` of the route to the one that is meant".into()
            }
            Self::Artifact(error) => return error.hint().map(str::to_string),
            Self::BadName { .. } => "give a name of lower-case words joined by `-`".into(),
            Self::TooLarge { .. } => "is this the right file? strip its debug information".into(),
            _ => return None,
        })
    }

    /// What the failing tool printed, without colours, for an error page.
    pub fn output(&self) -> Option<&str> {
        match self {
            Self::CompileFailed { output, .. } | Self::CrateUnreadable { output, .. } => {
                Some(output)
            }
            _ => None,
        }
    }
}

/// Whether the system said that a disk is full or a quota is used up.
pub(crate) fn is_disk_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// Whether a tool's output says that a disk is full.
pub(crate) fn says_disk_full(output: &str) -> bool {
    output.contains("No space left on device") || output.contains("os error 28)")
}

/// Reads a file of at most `size_max` bytes.
pub(crate) fn read_limited(path: &Path, size_max: u64) -> Result<Vec<u8>, BuildError> {
    use std::io::Read;
    let file = std::fs::File::open(path).map_err(BuildError::io("read", path))?;
    let size = file.metadata().map_err(BuildError::io("read", path))?.len();
    let mut bytes = Vec::new();
    if size <= size_max {
        file.take(size_max + 1)
            .read_to_end(&mut bytes)
            .map_err(BuildError::io("read", path))?;
    }
    let size = size.max(bytes.len() as u64);
    if size > size_max {
        return Err(BuildError::TooLarge {
            path: path.to_path_buf(),
            size,
            size_max,
        });
    }
    Ok(bytes)
}

fn compile_hint(output: &str) -> Option<String> {
    if says_disk_full(output) {
        Some("free some space on the disk that holds cargo's target folder".into())
    } else if output.contains("--offline was specified")
        || output.contains("without the offline flag")
    {
        Some("run once without `--offline`, so that cargo can fetch the crates it needs".into())
    } else {
        None
    }
}

fn list(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

fn uses(used: &[ImpureUse]) -> String {
    let used: Vec<String> = used.iter().map(ToString::to_string).collect();
    used.join(", ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_full_disk_is_told_from_other_failures() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let error = BuildError::io("write", "/store/blob")(full);
        assert!(matches!(error, BuildError::DiskFull { .. }));
        assert!(error.hint().unwrap().starts_with("free some space"));
        let other = BuildError::io("write", "/store/blob")(io::ErrorKind::PermissionDenied.into());
        assert!(matches!(other, BuildError::Io { .. }));
    }

    #[test]
    fn a_full_disk_in_the_compilers_output_gets_its_hint() {
        let error = BuildError::CompileFailed {
            component: "api".into(),
            output: "error: failed to write x: No space left on device (os error 28)".into(),
        };
        assert!(error.hint().unwrap().contains("target folder"));
    }

    #[test]
    fn an_oversized_file_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("big.wasm");
        let file = std::fs::File::create(&path).unwrap();
        file.set_len(5).unwrap();
        assert_eq!(read_limited(&path, 5).unwrap().len(), 5);
        file.set_len(1 << 40).unwrap();
        let error = read_limited(&path, 5).unwrap_err();
        assert!(matches!(error, BuildError::TooLarge { size, .. } if size == 1 << 40));
    }
}
