//! From a request's path to a name in the tree.

/// What a request's path asks for, below the mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// The mount itself, without its slash: `/docs` where `/docs/...` is mounted.
    Mount,
    /// A folder: the path ended with a slash. Empty for the tree's root, else without the slash.
    Folder(String),
    /// A file, or a folder asked for without its slash.
    File(String),
}

/// The path can name no file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadPath;

/// Takes the first `mount_depth` segments off a raw path, decodes the rest once and checks it.
///
/// Counting segments instead of comparing text leaves the comparison to the router, which knows
/// that `/%61` and `/a` are the same.
///
/// # Errors
/// [`BadPath`] for a segment that is `.` or `..` or holds a slash, backslash or NUL once decoded,
/// for a broken escape, and for what is not UTF-8.
pub(crate) fn parse(raw: &str, mount_depth: usize) -> Result<Target, BadPath> {
    let mut segments = raw.strip_prefix('/').ok_or(BadPath)?.split('/');
    let mut rest = Vec::new();
    for _ in 0..mount_depth {
        segments.next().ok_or(BadPath)?;
    }
    for segment in segments {
        rest.push(decode(segment)?);
    }
    match rest.pop() {
        None => Ok(Target::Mount),
        Some(last) if last.is_empty() => Ok(Target::Folder(rest.join("/"))),
        Some(last) => {
            rest.push(last);
            Ok(Target::File(rest.join("/")))
        }
    }
}

fn decode(segment: &str) -> Result<String, BadPath> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let [high, low, ..] = *tail else {
            return Err(BadPath);
        };
        bytes.push(hex_value(high)? << 4 | hex_value(low)?);
        rest = &tail[2..];
    }
    let refused = |byte: &u8| matches!(byte, b'/' | b'\\' | 0);
    if bytes == b"." || bytes == b".." || bytes.iter().any(refused) {
        return Err(BadPath);
    }
    String::from_utf8(bytes).map_err(|_| BadPath)
}

fn hex_value(digit: u8) -> Result<u8, BadPath> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => Err(BadPath),
    }
}

/// The relative reference that adds a slash to the last segment of a raw path.
///
/// Relative, so that it holds under any mount and host; `./` keeps a segment such as `a:b` from
/// being read as a scheme and `//host` from naming another host.
pub(crate) fn with_slash(raw: &str, query: Option<&str>) -> String {
    let last = raw.rsplit('/').next().unwrap_or_default();
    match query {
        Some(query) => format!("./{last}/?{query}"),
        None => format!("./{last}/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_files_and_folders() {
        let check = |raw: &str, depth: usize, expected: Target| {
            assert_eq!(parse(raw, depth), Ok(expected), "{raw}");
        };
        check("/", 0, Target::Folder(String::new()));
        check("/a.txt", 0, Target::File("a.txt".into()));
        check("/dir/", 0, Target::Folder("dir".into()));
        check("/a/b/c", 0, Target::File("a/b/c".into()));
        check("/docs", 1, Target::Mount);
        check("/docs/", 1, Target::Folder(String::new()));
        check("/docs/v1/a", 2, Target::File("a".into()));
        check("/gr%C3%BC%C3%9Fe.txt", 0, Target::File("grüße.txt".into()));
        check("/a%20b", 0, Target::File("a b".into()));
        check("/...", 0, Target::File("...".into()));
        // Decoded once only: this names a file that is literally called "%2e%2e".
        check("/%252e%252e/a", 0, Target::File("%2e%2e/a".into()));
        check("/a//b", 0, Target::File("a//b".into()));
    }

    #[test]
    fn paths_that_can_name_no_file_are_refused() {
        for raw in [
            "",
            "a",
            "*",
            "/..",
            "/../etc/passwd",
            "/a/../b",
            "/./a",
            "/%2e%2e/a",
            "/.%2E/a",
            "/%2e/a",
            "/a%2fb",
            "/..%2f..%2fetc",
            "/..%5c..%5cetc",
            "/a\\b",
            "/a%5Cb",
            "/a%00",
            "/%",
            "/%2",
            "/%zz",
            "/%+1",
            "/%ff",
            "/%c0%ae%c0%ae/a",
            "/a/..;/..",
        ] {
            if raw == "/a/..;/.." {
                // "..;" is an ordinary name; the ".." after it is not.
                assert_eq!(parse("/a/..;", 0), Ok(Target::File("a/..;".into())));
            }
            assert_eq!(parse(raw, 0), Err(BadPath), "{raw}");
        }
        assert_eq!(parse("/docs", 2), Err(BadPath), "shallower than its mount");
    }

    #[test]
    fn redirects_stay_on_the_host() {
        assert_eq!(with_slash("/docs/guide", None), "./guide/");
        assert_eq!(with_slash("/docs/guide", Some("a=b")), "./guide/?a=b");
        assert_eq!(with_slash("//evil.example", None), "./evil.example/");
        assert_eq!(with_slash("/javascript:x", None), "./javascript:x/");
    }
}
