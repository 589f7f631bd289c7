//! Paths inside an app's folder.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::invalid::{InvalidValue, quote};
use crate::text::written_as_text;

/// A relative path that stays in the app's folder by its spelling: `/` between names, no `..`,
/// nothing absolute. `.` is the folder itself.
///
/// Characters that mean something else on some system (`\`, `:`, control characters) are refused,
/// so that a manifest means the same everywhere. What links on the disk point to is for whoever
/// opens the path to check.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppPath(String);

impl AppPath {
    /// The path `text`, with `.` and doubled or trailing `/` taken out.
    ///
    /// # Errors
    /// When `text` is empty, absolute, has a `..`, or holds a refused character.
    pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidValue> {
        let text = text.as_ref();
        if text.is_empty() {
            return Err(InvalidValue::new("the path is empty")
                .with_hint("write `.` for the app's own folder"));
        }
        if text.starts_with('/') {
            return Err(leaves(text, "is absolute"));
        }
        if let Some(character) = text
            .chars()
            .find(|c| matches!(c, '\\' | ':') || c.is_control())
        {
            let shown = character.escape_default();
            let invalid = InvalidValue::new(format!(
                "the path {} holds the character `{shown}`, which paths in an app may not",
                quote(text)
            ));
            return Err(match character {
                '\\' => invalid.with_hint("separate folders by `/`, on Windows too"),
                _ => invalid,
            });
        }
        let names: Vec<&str> = text
            .split('/')
            .filter(|name| !matches!(*name, "" | "."))
            .collect();
        if names.contains(&"..") {
            return Err(leaves(text, "has a `..`"));
        }
        Ok(Self(if names.is_empty() {
            ".".to_owned()
        } else {
            names.join("/")
        }))
    }

    /// The normalised path, `.` for the app's own folder.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last name of the path; none for the app's own folder.
    pub fn file_name(&self) -> Option<&str> {
        match self.0.as_str() {
            "." => None,
            path => path.rsplit('/').next(),
        }
    }

    /// Where the path lies when the app's folder is `folder`.
    pub fn join_to(&self, folder: &Path) -> PathBuf {
        let mut path = folder.to_path_buf();
        if self.0 != "." {
            path.extend(self.0.split('/'));
        }
        path
    }
}

fn leaves(text: &str, why: &str) -> InvalidValue {
    InvalidValue::new(format!("the path {} {why}", quote(text)))
        .with_hint("paths are relative to the folder of wharf.toml and stay in it")
}

impl fmt::Display for AppPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl AsRef<str> for AppPath {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl FromStr for AppPath {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        Self::new(text)
    }
}

written_as_text!(AppPath, {
    "description": "A path relative to the folder of wharf.toml, with `/` between names, that stays in that folder.",
    "type": "string",
    "minLength": 1,
    "pattern": "^[^/\\\\:][^\\\\:]*$"
});

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn paths_are_normalised() {
        let check = |text: &str, expected: &str| {
            assert_eq!(AppPath::new(text).unwrap().as_str(), expected);
        };
        check("api", "api");
        check("./api//src/", "api/src");
        check(".", ".");
        check("./.", ".");
        check("a..b/...", "a..b/...");
        check("grüße/ä b", "grüße/ä b");
    }

    #[test]
    fn nothing_leaves_the_folder() {
        for bad in [
            "",
            "/",
            "/etc",
            "..",
            "a/../b",
            "a/..",
            "../a",
            "C:/x",
            "C:x",
            "a\\b",
            "\\\\host\\x",
            "a\0b",
            "a\nb",
        ] {
            assert!(AppPath::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn join() {
        let folder = Path::new("base");
        assert_eq!(
            AppPath::new("a/b").unwrap().join_to(folder),
            folder.join("a").join("b")
        );
        assert_eq!(AppPath::new(".").unwrap().join_to(folder), folder);
    }
}
