//! `wharf new`: a folder that builds, from a template.
//!
//! Templates lie in `templates/` as ordinary files whose names are `app-name`
//! and `app_name`; those words become the new app's. Hidden files are written
//! from here, since every template has the same ones.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use wharf_manifest::{AppName, NAME_LENGTH_MAX, NAME_RULE};

use crate::embedded;
use crate::error::BuildError;
use crate::file::sanitised;
use crate::session::{STATE_FOLDER, make_state_folder};

/// Names that a crate cannot have.
const RESERVED: &[&str] = &[
    "alloc",
    "as",
    "async",
    "await",
    "box",
    "break",
    "const",
    "continue",
    "core",
    "crate",
    "dyn",
    "else",
    "enum",
    "extern",
    "false",
    "fn",
    "for",
    "gen",
    "if",
    "impl",
    "in",
    "let",
    "loop",
    "match",
    "mod",
    "move",
    "mut",
    "proc-macro",
    "pub",
    "ref",
    "return",
    "self",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "trait",
    "true",
    "try",
    "type",
    "unsafe",
    "use",
    "where",
    "while",
    "yield",
];

const GITIGNORE: &str = "/target\n/*/target\n.wharf/\n";

/// What `wharf new` can make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Template {
    /// `http-rust`: answers HTTP requests.
    HttpRust,
    /// `cli-rust`: a command.
    CliRust,
    /// `library-rust`: functions for other programs, described in WIT.
    LibraryRust,
    /// `app`: an API and a static front end.
    App,
}

impl Template {
    /// All templates, in the order in which they are shown.
    pub const ALL: [Self; 4] = [Self::HttpRust, Self::CliRust, Self::LibraryRust, Self::App];

    /// The name on the command line, which is also the folder's.
    pub fn name(self) -> &'static str {
        match self {
            Self::HttpRust => "http-rust",
            Self::CliRust => "cli-rust",
            Self::LibraryRust => "library-rust",
            Self::App => "app",
        }
    }

    /// What it makes, in a few words.
    pub fn description(self) -> &'static str {
        match self {
            Self::HttpRust => "answers HTTP requests, in Rust",
            Self::CliRust => "a command with arguments and exit codes, in Rust",
            Self::LibraryRust => "functions for other programs, described in WIT, in Rust",
            Self::App => "an API in Rust and a static front end",
        }
    }

    /// What to run after making it, in the new folder.
    pub fn next_command(self) -> &'static str {
        match self {
            Self::HttpRust | Self::App => "wharf up --watch",
            Self::CliRust => "wharf build && wharf run .wharf/command.wasm -- World",
            Self::LibraryRust => "wharf build && wharf inspect .wharf/library.wasm",
        }
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Template {
    type Err = NewError;

    fn from_str(name: &str) -> Result<Self, NewError> {
        (Self::ALL.into_iter())
            .find(|template| template.name() == name)
            .ok_or_else(|| NewError::UnknownTemplate {
                name: name.to_string(),
            })
    }
}

/// Where to make what.
#[derive(Debug, Clone)]
pub struct NewOptions {
    /// The template.
    pub template: Template,
    /// The app's name, as the user gave it.
    pub name: String,
    /// The folder to fill; absent or empty.
    pub folder: PathBuf,
    /// Where the guest SDK is unpacked: a folder, made if absent.
    pub cache_dir: PathBuf,
}

/// Why no app was made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NewError {
    /// There is no such template.
    #[error("there is no template `{name}`")]
    UnknownTemplate {
        /// What was asked for.
        name: String,
    },
    /// The name cannot be an app's.
    #[error("`{name}` cannot be an app's name: {reason}")]
    BadName {
        /// What was asked for.
        name: String,
        /// Why not.
        reason: String,
    },
    /// The folder is in use.
    #[error("{} exists and is not empty", folder.display())]
    NotEmpty {
        /// The folder.
        folder: PathBuf,
    },
    /// A file could not be written, or the SDK not unpacked.
    #[error(transparent)]
    Write(#[from] BuildError),
}

impl NewError {
    /// What to do about it, as a lower-case sentence without a full stop.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownTemplate { .. } => {
                let names: Vec<&str> = Template::ALL
                    .iter()
                    .map(|template| template.name())
                    .collect();
                Some(format!("the templates are {}", names.join(", ")))
            }
            Self::BadName { name, .. } => {
                let mut better = sanitised(name);
                let starts_well = better.starts_with(|first: char| first.is_ascii_lowercase());
                if !starts_well || RESERVED.contains(&better.as_str()) {
                    better = format!("my-{better}").trim_end_matches('-').to_string();
                }
                Some(format!("`{better}` would do"))
            }
            Self::NotEmpty { .. } => Some("choose another name, or remove the folder first".into()),
            Self::Write(error) => error.hint(),
        }
    }
}

/// Makes a new app and returns the files written, relative to its folder,
/// sorted.
///
/// # Errors
///
/// The name is not one, the folder has something in it, or it cannot be
/// written. A folder that was begun is removed again.
pub fn new_app(options: &NewOptions) -> Result<Vec<PathBuf>, NewError> {
    let name = check_name(&options.name)?;
    let folder = &options.folder;
    let existed = check_folder(folder)?;
    let sdk = crate::sdk::unpack(&options.cache_dir)?;
    let result = write_files(options.template, &name, folder, &sdk);
    if result.is_err() && !existed {
        let _ = std::fs::remove_dir_all(folder);
    }
    Ok(result?)
}

fn check_name(name: &str) -> Result<String, NewError> {
    let bad = |reason: &str| NewError::BadName {
        name: name.to_string(),
        reason: reason.to_string(),
    };
    let parsed: AppName = name.parse().map_err(|error| {
        // Where it is neither empty nor too long, the message only repeats the name.
        match name.len() {
            1..=NAME_LENGTH_MAX => bad(NAME_RULE),
            _ => bad(&format!("{error}")),
        }
    })?;
    let name = parsed.to_string();
    if RESERVED.contains(&name.as_str()) {
        return Err(bad("Rust uses this word itself"));
    }
    if !name.starts_with(|first: char| first.is_ascii_lowercase()) {
        return Err(bad("a Rust crate's name begins with a letter"));
    }
    Ok(name)
}

/// Whether the folder exists; it must then be empty.
fn check_folder(folder: &Path) -> Result<bool, NewError> {
    match std::fs::read_dir(folder) {
        Ok(mut entries) => match entries.next() {
            None => Ok(true),
            Some(_) => Err(NewError::NotEmpty {
                folder: folder.to_path_buf(),
            }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Err(NewError::NotEmpty {
            folder: folder.to_path_buf(),
        }),
        Err(error) => Err(BuildError::io("read", folder)(error).into()),
    }
}

fn write_files(
    template: Template,
    name: &str,
    folder: &Path,
    sdk: &Path,
) -> Result<Vec<PathBuf>, BuildError> {
    let prefix = format!("{}/", template.name());
    let own: Vec<_> = embedded::TEMPLATES
        .iter()
        .filter_map(|(path, bytes)| Some((path.strip_prefix(&prefix)?, *bytes)))
        .collect();
    let uses_sdk = own
        .iter()
        .any(|(path, bytes)| path.ends_with("Cargo.toml") && names_sdk(bytes));
    let mut written = Vec::new();
    let mut write = |path: &str, bytes: &[u8]| {
        let file = folder.join(path);
        let parent = file.parent().unwrap_or(folder);
        std::fs::create_dir_all(parent).map_err(BuildError::io("create", parent))?;
        std::fs::write(&file, bytes).map_err(BuildError::io("write", &file))?;
        written.push(PathBuf::from(path));
        Ok(())
    };
    for (path, bytes) in own {
        match std::str::from_utf8(bytes) {
            Ok(text) => write(path, named(text, name).as_bytes())?,
            Err(_) => write(path, bytes)?,
        }
    }
    write(".gitignore", GITIGNORE.as_bytes())?;
    // Cargo warns of a patch that nothing uses.
    if uses_sdk {
        write(".cargo/config.toml", crate::sdk::CARGO_CONFIG.as_bytes())?;
        let state = folder.join(STATE_FOLDER);
        make_state_folder(&state)?;
        crate::sdk::link(sdk, &state);
    }
    written.sort();
    Ok(written)
}

fn names_sdk(manifest: &[u8]) -> bool {
    String::from_utf8_lossy(manifest).contains(crate::sdk::CRATE)
}

fn named(text: &str, name: &str) -> String {
    text.replace("app-name", name)
        .replace("app_name", &name.replace('-', "_"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn options(root: &Path, name: &str) -> NewOptions {
        NewOptions {
            template: Template::HttpRust,
            name: name.into(),
            folder: root.join("new"),
            cache_dir: root.join("cache"),
        }
    }

    #[test]
    fn every_template_has_its_files_and_no_placeholder_left() {
        for template in Template::ALL {
            let root = tempfile::tempdir().unwrap();
            let options = NewOptions {
                template,
                ..options(root.path(), "my-thing")
            };
            let written = new_app(&options).unwrap();
            for file in ["wharf.toml", "README.md", ".gitignore"] {
                assert!(written.contains(&PathBuf::from(file)), "{template}: {file}");
            }
            let uses_sdk = matches!(template, Template::HttpRust | Template::App);
            let config = PathBuf::from(".cargo/config.toml");
            assert_eq!(written.contains(&config), uses_sdk, "{template}");
            for file in written {
                let text = std::fs::read_to_string(options.folder.join(&file)).unwrap();
                let left = text.contains("app-name") || text.contains("app_name");
                assert!(!left, "{template}: {}", file.display());
            }
            assert_eq!(template.name().parse::<Template>().unwrap(), template);
        }
    }

    #[test]
    fn bad_names_get_a_better_one() {
        let root = tempfile::tempdir().unwrap();
        let check = |name: &str, hint: &str| {
            let error = new_app(&options(root.path(), name)).unwrap_err();
            assert!(matches!(error, NewError::BadName { .. }), "{error}");
            assert_eq!(error.hint().unwrap(), hint);
            assert!(!root.path().join("new").exists());
        };
        check("My App", "`my-app` would do");
        check("../x", "`x` would do");
        check("", "`my` would do");
        check("fn", "`my-fn` would do");
        check("2048", "`my-2048` would do");
    }

    #[test]
    fn a_folder_in_use_is_left_alone() {
        let root = tempfile::tempdir().unwrap();
        let options = options(root.path(), "mine");
        std::fs::create_dir(&options.folder).unwrap();
        std::fs::write(options.folder.join("x"), "").unwrap();
        let error = new_app(&options).unwrap_err();
        assert!(matches!(error, NewError::NotEmpty { .. }));
        std::fs::remove_file(options.folder.join("x")).unwrap();
        new_app(&options).unwrap();
        let error = "http".parse::<Template>().unwrap_err();
        assert!(error.hint().unwrap().contains("http-rust"));
    }
}
