//! Patterns of URL paths.

use std::borrow::Cow;
use std::fmt;
use std::fmt::Write as _;
use std::str::FromStr;

use crate::invalid::{InvalidValue, quote};
use crate::text::written_as_text;

/// Longest pattern, in bytes.
const PATTERN_LENGTH_MAX: usize = 1024;

/// What paths a route answers: `/exact`, `/prefix/...` (the path `/prefix` and all below it), or
/// `/...` (all).
///
/// Pattern and path are normalised before they are compared: `%7E` is `~`, `%c3` is `%C3`, and a
/// raw `ü` is its escapes. `.` and `..` are not resolved: a path that has them is compared as it
/// came, so resolve or refuse them before routing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoutePattern {
    /// Normalised; for a prefix without the `/...`, so empty for `/...`.
    path: String,
    is_prefix: bool,
}

/// How narrow a pattern is; of those that match, the greatest wins.
///
/// A longer path is narrower than a shorter one, an exact one narrower than a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Specificity {
    length: usize,
    is_exact: bool,
}

impl RoutePattern {
    /// The pattern that matches every path.
    pub fn all() -> Self {
        Self {
            path: String::new(),
            is_prefix: true,
        }
    }

    /// Whether `path`, the path of a request without its query, is one of the pattern's.
    pub fn matches(&self, path: &str) -> bool {
        self.matches_normalised(&normalise(path))
    }

    pub(crate) fn matches_normalised(&self, path: &str) -> bool {
        match path.strip_prefix(self.path.as_str()) {
            Some("") => !self.path.is_empty(),
            Some(rest) => self.is_prefix && rest.starts_with('/'),
            None => false,
        }
    }

    /// How narrow the pattern is: the longest wins, an exact one before a prefix.
    pub fn specificity(&self) -> Specificity {
        Specificity {
            length: self.path.len(),
            is_exact: !self.is_prefix,
        }
    }

    /// Whether the pattern matches all that lies below its path too.
    pub fn is_prefix(&self) -> bool {
        self.is_prefix
    }

    /// The normalised path without `/...`; empty for the pattern `/...`.
    ///
    /// For a prefix this is what lies above the rest of a request's path.
    pub fn base(&self) -> &str {
        &self.path
    }
}

/// `path` with escapes of unreserved characters (RFC 3986, section 2.3) undone, the digits of
/// others in upper case, and bytes outside ASCII escaped. Broken escapes stay as they are.
pub(crate) fn normalise(path: &str) -> Cow<'_, str> {
    if path.bytes().all(|byte| byte != b'%' && byte.is_ascii()) {
        return Cow::Borrowed(path);
    }
    let bytes = path.as_bytes();
    let mut normalised = String::with_capacity(bytes.len());
    let mut index = 0;
    while let Some(&byte) = bytes.get(index) {
        index += 1;
        if byte == b'%'
            && let Some(escaped) = escaped_byte(&bytes[index..])
        {
            index += 2;
            if is_unreserved(escaped) {
                normalised.push(char::from(escaped));
            } else {
                push_escape(&mut normalised, escaped);
            }
        } else if byte.is_ascii() {
            normalised.push(char::from(byte));
        } else {
            push_escape(&mut normalised, byte);
        }
    }
    Cow::Owned(normalised)
}

fn push_escape(text: &mut String, byte: u8) {
    write!(text, "%{byte:02X}").expect("writing to a string cannot fail");
}

/// The byte that the two digits at the start of `rest` spell.
fn escaped_byte(rest: &[u8]) -> Option<u8> {
    let digit = |index: usize| {
        let digit = char::from(*rest.get(index)?).to_digit(16)?;
        u8::try_from(digit).ok()
    };
    Some(digit(0)? << 4 | digit(1)?)
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

impl fmt::Display for RoutePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)?;
        f.write_str(if self.is_prefix { "/..." } else { "" })
    }
}

impl FromStr for RoutePattern {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let refused = |why: &str| InvalidValue::new(format!("the route {} {why}", quote(text)));
        let too_long = || refused(&format!("is longer than {PATTERN_LENGTH_MAX} bytes"));
        if text.len() > PATTERN_LENGTH_MAX {
            return Err(too_long());
        }
        if !text.starts_with('/') {
            return Err(refused("does not start with `/`").with_hint(format!(
                "write {}",
                quote(&format!("/{}", text.trim_start_matches(['.', '/', '*'])))
            )));
        }
        let (path, is_prefix) = match text.strip_suffix("/...") {
            Some(path) => (path, true),
            None => (text, false),
        };
        if let Some(character) = path.chars().find(|c| {
            c.is_control()
                || matches!(
                    c,
                    '?' | '#' | '*' | ' ' | '\\' | '{' | '}' | '<' | '>' | '"' | '^' | '`' | '|'
                )
        }) {
            return Err(bad_character(text, character));
        }
        if has_broken_escape(path) {
            return Err(refused("has a `%` without two hexadecimal digits")
                .with_hint("write `%25` for a percent sign"));
        }
        let path = normalise(path);
        // Escaped, it is what an artifact keeps and what is read back.
        if path.len() + "/...".len() > PATTERN_LENGTH_MAX && path.len() > text.len() {
            return Err(too_long());
        }
        let mut segments = path.split('/').skip(1).peekable();
        while let Some(segment) = segments.next() {
            match segment {
                "." | ".." => return Err(refused("has a `.` or `..` segment")),
                "..." => {
                    return Err(refused("has `...` before its end")
                        .with_hint("only the last segment can stand for all below"));
                }
                "" if is_prefix || segments.peek().is_some() => {
                    return Err(refused("has an empty segment (`//`)"));
                }
                _ => {}
            }
        }
        Ok(Self {
            path: path.into_owned(),
            is_prefix,
        })
    }
}

fn bad_character(text: &str, character: char) -> InvalidValue {
    let invalid = InvalidValue::new(format!(
        "the route {} holds the character `{}`, which a route cannot",
        quote(text),
        character.escape_default()
    ));
    match character {
        '*' | '{' | '}' | '<' | '>' => {
            invalid.with_hint("a route is an exact path, or ends in `/...` for all below")
        }
        '?' | '#' => invalid.with_hint("a route is compared with the path alone, not the query"),
        ' ' => invalid.with_hint("write `%20` for a space"),
        _ => invalid,
    }
}

fn has_broken_escape(path: &str) -> bool {
    let bytes = path.as_bytes();
    bytes
        .iter()
        .enumerate()
        .any(|(index, byte)| *byte == b'%' && escaped_byte(&bytes[index + 1..]).is_none())
}

written_as_text!(RoutePattern, {
    "description": "An exact path (`/hello`), or a path and all below it (`/api/...`).",
    "type": "string",
    "pattern": "^/[^?#* ]*$",
    "examples": ["/hello", "/api/...", "/..."]
});

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &str) -> RoutePattern {
        text.parse().unwrap()
    }

    fn check(text: &str, yes: &[&str], no: &[&str]) {
        for path in yes {
            assert!(pattern(text).matches(path), "{text} should match {path}");
        }
        for path in no {
            assert!(
                !pattern(text).matches(path),
                "{text} should not match {path}"
            );
        }
    }

    #[test]
    fn matching() {
        check("/", &["/"], &["/a", "", "//"]);
        check(
            "/hello",
            &["/hello", "/h%65llo"],
            &["/hello/", "/hello/x", "/helloo", "/HELLO"],
        );
        check("/hello/", &["/hello/"], &["/hello", "/hello/x"]);
        check(
            "/api/...",
            &["/api", "/api/", "/api/x/y", "/api/%2e"],
            &["/apix", "/ap", "/"],
        );
        check("/...", &["/", "/a", "/a/b", "//"], &["", "*", "a"]);
        check("/a%2fb", &["/a%2Fb", "/a%2fb"], &["/a/b"]);
        check("/gr%c3%bcn", &["/grün", "/gr%C3%BCn"], &["/grun"]);
        check("/~me", &["/%7Eme", "/%7eme"], &["/%25me"]);
    }

    #[test]
    fn broken_escapes_in_a_request_are_only_compared() {
        check("/...", &["/%", "/%2", "/%zz", "/%é"], &[]);
    }

    #[test]
    fn bad_patterns() {
        for bad in [
            "",
            "api",
            "...",
            "*",
            "/*",
            "/api/*",
            "/:x?y",
            "/a//b",
            "//",
            "//...",
            "/a//...",
            "/./a",
            "/a/..",
            "/%2e%2E/a",
            "/.../a",
            "/a/.../...",
            "/a b",
            "/a#b",
            "/%",
            "/%2",
            "/%zz",
            "/a\n",
            "/{id}",
        ] {
            assert!(bad.parse::<RoutePattern>().is_err(), "{bad:?}");
        }
        assert!(
            format!("/{}", "a".repeat(2000))
                .parse::<RoutePattern>()
                .is_err()
        );
    }

    #[test]
    fn the_longest_wins_and_exact_before_prefix() {
        let order = ["/...", "/a/...", "/a", "/a/", "/a/b/...", "/a/b"];
        for pair in order.windows(2) {
            assert!(
                pattern(pair[0]).specificity() < pattern(pair[1]).specificity(),
                "{pair:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_pattern_reads_back_and_matches_itself(
            text in "(/([a-z.~%ü]|%[0-9a-fA-F]{2}){1,6}){1,4}(/\\.\\.\\.)?"
        ) {
            if let Ok(pattern) = text.parse::<RoutePattern>() {
                prop_assert_eq!(&pattern.to_string().parse::<RoutePattern>().unwrap(), &pattern);
                let path = text.strip_suffix("/...").unwrap_or(&text);
                let path = if path.is_empty() { "/" } else { path };
                prop_assert!(pattern.matches(path));
                prop_assert_eq!(pattern.is_prefix(), pattern.matches(&format!("{}/x", pattern.base())));
            }
        }

        #[test]
        fn normalising_twice_changes_nothing(path in "\\PC{0,40}") {
            let once = normalise(&path).into_owned();
            prop_assert_eq!(normalise(&once).into_owned(), once.clone());
        }
    }
}
