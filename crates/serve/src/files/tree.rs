//! The tree of files that an app's artifact holds.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::SystemTime;

use http::HeaderValue;
use wharf_manifest::Digest;

/// An immutable file of the store, named by what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// SHA-256 of the bytes.
    pub digest: Digest,
    /// Length in bytes.
    pub size: u64,
    /// Where the bytes lie on disk.
    pub path: PathBuf,
}

impl Blob {
    /// The strong entity tag: half the digest, in quotes.
    ///
    /// A compressed variant is a blob of its own and so has a tag of its own.
    pub(crate) fn etag(&self) -> HeaderValue {
        let hex = self.digest.hex();
        HeaderValue::try_from(format!("\"{}\"", &hex[..32]))
            .expect("hex in quotes is visible ASCII")
    }
}

/// How a precompressed variant is coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Encoding {
    /// `br`, RFC 7932.
    Brotli,
    /// `gzip`, RFC 1952.
    Gzip,
}

impl Encoding {
    /// The content coding's registered name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }
}

/// One file with its variants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEntry {
    /// The bytes as they are.
    pub identity: Blob,
    /// The media type, e.g. `text/html`. Text gets `; charset=utf-8` if it names no charset.
    pub content_type: String,
    /// The same bytes, compressed.
    pub variants: Vec<(Encoding, Blob)>,
    /// When the file last changed; without it no `Last-Modified` is sent.
    pub modified: Option<SystemTime>,
}

impl FileEntry {
    /// The `Content-Type` to send.
    pub(crate) fn content_type_header(&self) -> HeaderValue {
        let given = self.content_type.trim();
        let essence = given
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase();
        let is_text = essence.starts_with("text/")
            || essence.ends_with("+xml")
            || matches!(
                essence.as_str(),
                "application/javascript" | "application/xml"
            );
        let value = if is_text && !given.to_ascii_lowercase().contains("charset=") {
            HeaderValue::try_from(format!("{given}; charset=utf-8"))
        } else {
            HeaderValue::try_from(given)
        };
        match value {
            Ok(value) if !essence.is_empty() => value,
            _ => HeaderValue::from_static("application/octet-stream"),
        }
    }
}

/// Files by their path: `/`-separated, decoded, without a leading slash (`assets/app.js`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileTree {
    entries: BTreeMap<String, FileEntry>,
}

impl FileTree {
    /// Gives the file at `path`, which is decoded and has no leading slash.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&FileEntry> {
        self.entries.get(path)
    }

    /// Says how many files there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Says whether there is no file at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl FromIterator<(String, FileEntry)> for FileTree {
    /// Takes files by path. A leading slash is dropped; of two files with one path the later stays.
    fn from_iter<I: IntoIterator<Item = (String, FileEntry)>>(files: I) -> Self {
        let entries = files
            .into_iter()
            .map(|(path, entry)| (path.trim_start_matches('/').to_owned(), entry))
            .collect();
        Self { entries }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn text_is_sent_as_utf8() {
        let check = |given: &str, expected: &str| {
            let blob = Blob {
                digest: Digest::of(b""),
                size: 0,
                path: PathBuf::new(),
            };
            let entry = FileEntry {
                identity: blob,
                content_type: given.to_owned(),
                variants: vec![],
                modified: None,
            };
            assert_eq!(entry.content_type_header(), expected, "{given}");
        };
        check("text/html", "text/html; charset=utf-8");
        check(
            "text/plain; charset=iso-8859-1",
            "text/plain; charset=iso-8859-1",
        );
        check(
            "text/csv; header=present",
            "text/csv; header=present; charset=utf-8",
        );
        check(
            "application/javascript",
            "application/javascript; charset=utf-8",
        );
        check("image/svg+xml", "image/svg+xml; charset=utf-8");
        check("application/json", "application/json");
        check("application/wasm", "application/wasm");
        check("image/png", "image/png");
        check("", "application/octet-stream");
        check("text/html\r\nset-cookie: a=b", "application/octet-stream");
    }
}
