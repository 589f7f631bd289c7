//! The grant to see a folder.

use std::fmt;
use std::str::FromStr;

use crate::invalid::{InvalidValue, quote};
use crate::path::AppPath;
use crate::text::written_as_text;

/// Leave to see a folder of the host: `data:/data:rw`, `data:/data`, or `data` (seen as `/data`).
/// Read-only unless it ends in `:rw`.
///
/// Read from text, the folder is one of the app's ([`AppPath`]). The fields are open, so that a
/// command line can grant any folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileGrant {
    /// The folder on the host; in a manifest, relative to the app's folder.
    pub host: String,
    /// The absolute path by which the guest sees it.
    pub guest: String,
    /// Whether the guest may write to it.
    pub write: bool,
}

impl FromStr for FileGrant {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let (paths, write) = match text.rsplit_once(':') {
            Some((paths, "rw")) => (paths, true),
            Some((paths, "ro")) => (paths, false),
            _ => (text, false),
        };
        let (host, guest) = match paths.split_once(':') {
            Some((host, guest)) => (AppPath::new(host)?, guest_path(guest)?),
            None => {
                let host = AppPath::new(paths)?;
                let name = host.file_name().ok_or_else(|| {
                    InvalidValue::new("the app's own folder has no name to be seen by")
                        .with_hint("say where the guest sees it, as in `.:/app`")
                })?;
                let guest = format!("/{name}");
                (host, guest)
            }
        };
        Ok(Self {
            host: host.as_str().to_owned(),
            guest,
            write,
        })
    }
}

/// `text` as an absolute path without `.`, `..` and doubled or trailing `/`.
fn guest_path(text: &str) -> Result<String, InvalidValue> {
    let refused = |why: &str| {
        InvalidValue::new(format!("the guest's path {} {why}", quote(text)))
            .with_hint("a file grant is `HOST:GUEST` or `HOST:GUEST:rw`, as in `data:/data:rw`")
    };
    if !text.starts_with('/') {
        return Err(refused("is not absolute"));
    }
    if text.chars().any(|c| c.is_control() || c == ':') {
        return Err(refused("holds a `:` or a control character"));
    }
    let names: Vec<&str> = text
        .split('/')
        .filter(|name| !matches!(*name, "" | "."))
        .collect();
    if names.contains(&"..") {
        return Err(refused("has a `..`"));
    }
    Ok(format!("/{}", names.join("/")))
}

impl fmt::Display for FileGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.guest)?;
        f.write_str(if self.write { ":rw" } else { "" })
    }
}

written_as_text!(FileGrant, {
    "description": "A folder of the app and where the guest sees it: `data:/data`, `data:/data:rw` to write, `data` for `/data`.",
    "type": "string",
    "pattern": "^[^/\\\\:][^\\\\:]*(:/[^:]*)?(:rw|:ro)?$",
    "examples": ["data:/data:rw", "assets"]
});

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn forms() {
        let check = |text: &str, expected: &str| {
            let grant = text.parse::<FileGrant>().unwrap();
            assert_eq!(grant.to_string(), expected, "{text}");
            assert_eq!(expected.parse::<FileGrant>().unwrap(), grant);
        };
        check("data:/data:rw", "data:/data:rw");
        check("data:/data", "data:/data");
        check("data:/data:ro", "data:/data");
        check("data", "data:/data");
        check("state/data:rw", "state/data:/data:rw");
        check("./a/:/b//c/", "a:/b/c");
        check(".:/", ".:/");
    }

    #[test]
    fn bad_grants() {
        for bad in [
            "",
            ".",
            "/etc",
            "/etc:/etc",
            "../x",
            "a:b",
            "a:/b/../c",
            "a:/b:wr",
            "a:/b:rw:rw",
            ":rw",
            "a:",
            "a:/x\0",
        ] {
            assert!(bad.parse::<FileGrant>().is_err(), "{bad:?}");
        }
    }
}
