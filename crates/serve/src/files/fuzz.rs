//! What a client asks of a file: its path, ranges, conditions and codings.

use std::time::{Duration, SystemTime};

use http::header::{
    ACCEPT, ACCEPT_ENCODING, HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE,
};
use http::{HeaderMap, HeaderValue};
use wharf_artifact::{Blob, Encoding, FileEntry};
use wharf_fuzzkit::texts;

use super::conditional::{self, Validators, Verdict};
use super::path::Target;
use super::range::Wanted;
use super::{cache_control, encoding};

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// A path, after a first byte that says how deep the mount is.
pub(crate) fn path(bytes: &[u8]) {
    let Some((depth, raw)) = bytes.split_first() else {
        return;
    };
    let (Some(raw), depth) = (text(raw), usize::from(*depth % 4)) else {
        return;
    };
    let below = raw.splitn(depth + 2, '/').nth(depth + 1);
    let (name, is_folder) = match super::path::parse(raw, depth) {
        Err(_) => return,
        Ok(Target::Mount) => {
            assert_eq!(below, None, "{raw}");
            return;
        }
        Ok(Target::Folder(name)) => (name, true),
        Ok(Target::File(name)) => (name, false),
    };
    assert!(!name.contains(['\\', '\0']), "{raw}");
    assert!(
        name.split('/').all(|part| part != "." && part != ".."),
        "{raw}"
    );
    // Segments stay what they are: no slash comes of decoding.
    let below = below.expect("it lies below the mount");
    let below = if is_folder {
        below.strip_suffix('/').unwrap_or(below)
    } else {
        below
    };
    assert_eq!(name.split('/').count(), below.split('/').count(), "{raw}");
    // Written with every byte escaped it is the same file.
    let mounts: String = (0..depth).map(|_| "/x").collect();
    let escaped = |part: &str| {
        part.bytes()
            .map(|byte| format!("%{byte:02x}"))
            .collect::<String>()
    };
    let parts: Vec<_> = name.split('/').map(escaped).collect();
    let written = format!("{mounts}/{}", parts.join("/"));
    match is_folder && !name.is_empty() {
        true => assert_eq!(
            super::path::parse(&format!("{written}/"), depth),
            Ok(Target::Folder(name))
        ),
        false if is_folder => assert_eq!(
            super::path::parse(&written, depth),
            Ok(Target::Folder(name))
        ),
        false => assert_eq!(super::path::parse(&written, depth), Ok(Target::File(name))),
    }
    let redirect = super::path::with_slash(raw, None);
    let last = redirect
        .strip_prefix("./")
        .and_then(|rest| rest.strip_suffix('/'));
    assert!(last.is_some_and(|last| !last.contains('/')), "{redirect}");
}

pub(crate) fn path_seeds() -> Vec<Vec<u8>> {
    texts(&[
        "\0/a.txt",
        "\0/dir/",
        "\u{1}/docs",
        "\u{2}/docs/v1/gr%C3%BC%C3%9Fe.txt",
        "\0/%252e%252e/a",
        "\0/a//b/..;/%2f",
        "\0//evil.example",
    ])
}

/// A `Range`, after a line with the size.
pub(crate) fn range(bytes: &[u8]) {
    let Some((size, field)) = text(bytes).and_then(|text| text.split_once('\n')) else {
        return;
    };
    let size = size.parse().unwrap_or(10);
    let Wanted::Parts(parts) = super::range::parse(field, size) else {
        return;
    };
    assert!((1..=16).contains(&parts.len()), "{field}");
    assert!(
        parts
            .iter()
            .all(|part| part.start < part.end && part.end <= size),
        "{field}"
    );
    let sum = parts
        .iter()
        .map(|part| u128::from(part.end - part.start))
        .sum::<u128>();
    assert!(sum <= u128::from(size), "{field}");
    // Each is what one of the specs says, in their order.
    let (_, set) = field.split_once('=').expect("it names a unit");
    let mut specs = set.split(',');
    for part in parts {
        let is_it = |spec: &str| asked(spec, size) == Some((part.start.into(), part.end.into()));
        assert!(specs.any(is_it), "{part:?} of {field}");
    }
}

/// One spec, read in numbers that have room for it; nothing beyond them is looked at.
fn asked(spec: &str, size: u64) -> Option<(u128, u128)> {
    let size = u128::from(size);
    let (first, last) = spec.trim().split_once('-')?;
    let number = |text: &str| match text.trim().parse::<u128>() {
        Ok(number) => Some(number),
        Err(_) if text.trim().is_empty() => None,
        Err(_) => Some(u128::MAX - 1),
    };
    Some(match (number(first), number(last)) {
        (None, Some(length)) => (size.saturating_sub(length), size),
        (Some(first), None) => (first, size),
        (Some(first), Some(last)) => (first, size.min(last + 1)),
        (None, None) => return None,
    })
}

pub(crate) fn range_seeds() -> Vec<Vec<u8>> {
    texts(&[
        "10\nbytes=0-0",
        "10\nbytes= 1-2 , 4-5 ,-1",
        "0\nbytes=-5",
        "18446744073709551615\nbytes=1-99999999999999999999999",
        "10\nbytes=5-2,50-60",
        // Together longer than the file, which a sum of 64 bits could not tell.
        "18446744073709551615\nbytes=1-,4-5,-199",
    ])
}

const FIELDS: [HeaderName; 5] = [
    IF_MATCH,
    IF_NONE_MATCH,
    IF_MODIFIED_SINCE,
    IF_UNMODIFIED_SINCE,
    IF_RANGE,
];
const ETAG: &str = "\"a,b\"";

/// Lines, each the value of the condition that its first byte picks.
pub(crate) fn conditional(bytes: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n').take(32) {
        let Some((which, value)) = line.split_first() else {
            continue;
        };
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(&FIELDS[usize::from(*which) % FIELDS.len()], value);
        }
    }
    let etag = HeaderValue::from_static(ETAG);
    let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(1_793_534_400);
    let validators = Validators {
        etag: &etag,
        modified: Some(modified),
        modified_is_unique: true,
    };
    let names_ours = |name: &HeaderName| {
        headers.get_all(name).iter().any(|value| {
            let value = value.as_bytes();
            value.trim_ascii() == b"*"
                || value
                    .windows(ETAG.len())
                    .any(|part| part == ETAG.as_bytes())
        })
    };
    let verdict = conditional::evaluate(&headers, &validators);
    if headers.contains_key(IF_MATCH) && !names_ours(&IF_MATCH) {
        assert_eq!(verdict, Verdict::Failed);
    }
    if verdict == Verdict::NotModified && headers.contains_key(IF_NONE_MATCH) {
        assert!(names_ours(&IF_NONE_MATCH));
    }
    // A list that begins with our tag holds it, whatever follows.
    if let Some(value) = headers.get(IF_NONE_MATCH)
        && verdict != Verdict::Failed
    {
        let mut longer = headers.clone();
        let value = [b"W/\"x\", W/", ETAG.as_bytes(), b" , ", value.as_bytes()].concat();
        longer.insert(
            IF_NONE_MATCH,
            HeaderValue::from_bytes(&value).expect("a value still"),
        );
        assert_eq!(
            conditional::evaluate(&longer, &validators),
            Verdict::NotModified
        );
    }
    if let Some(condition) = headers.get(IF_RANGE)
        && conditional::range_holds(&headers, &validators, modified + Duration::from_secs(60))
    {
        let date = condition
            .to_str()
            .ok()
            .and_then(|text| httpdate::parse_http_date(text).ok());
        assert!(condition == ETAG || date == Some(modified), "{condition:?}");
    }
}

pub(crate) fn conditional_seeds() -> Vec<Vec<u8>> {
    texts(&[
        "\0\"a,b\"",
        "\u{1}W/\"x\", \"a,b\"",
        "\0*\n\u{1}*",
        "\u{2}Sun, 01 Nov 2026 12:00:00 GMT\n\u{3}Sunday, 01-Nov-26 12:00:00 GMT",
        "\u{4}Sun Nov  1 12:00:00 2026",
        "\u{4}\"a,b\"",
    ])
}

/// `Accept-Encoding`, `Accept` and the name of a file, each a line.
pub(crate) fn fields(bytes: &[u8]) {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let mut headers = HeaderMap::new();
    for name in [ACCEPT_ENCODING, ACCEPT] {
        if let Ok(value) = HeaderValue::from_bytes(lines.next().unwrap_or_default()) {
            headers.insert(name, value);
        }
    }
    let lower = |name: HeaderName| {
        let text = headers.get(name).and_then(|value| value.to_str().ok());
        text.unwrap_or_default().to_ascii_lowercase()
    };
    let blob = |size| Blob {
        digest: format!("sha256:{size:064}").parse().expect("a digest"),
        size,
        path: Default::default(),
    };
    let entry = FileEntry {
        identity: blob(100),
        content_type: "text/plain".to_owned(),
        variants: vec![(Encoding::Brotli, blob(40)), (Encoding::Gzip, blob(50))],
    };
    let (chosen, blob) = encoding::choose(&entry, &headers);
    let codings = lower(ACCEPT_ENCODING);
    let is_named = |name: &str| codings.contains(name) || codings.contains('*');
    match chosen {
        None => assert_eq!(blob.size, 100),
        Some(Encoding::Brotli) => assert!(is_named("br") && blob.size == 40),
        Some(Encoding::Gzip) => assert!(is_named("gzip") && blob.size == 50),
    }
    if encoding::accepts_html(&headers) {
        assert!(lower(ACCEPT).contains("text/html"));
    }
    if let Some(name) = lines.next().and_then(text)
        && cache_control::for_file(name, None) != cache_control::default_value()
    {
        // Kept for a year: the last part of its name is a hash, which has digits and letters.
        let last = name.rsplit('/').next().unwrap_or_default();
        let has = |class: fn(&u8) -> bool| last.as_bytes().iter().any(class);
        assert!(
            has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic),
            "{name}"
        );
        assert!(last.len() > 8 && last.contains('.'), "{name}");
    }
}

pub(crate) fn fields_seeds() -> Vec<Vec<u8>> {
    texts(&[
        "br;q=0.5, gzip, *;q=0\ntext/html,*/*;q=0.8\nassets/index-BfF4kIZ3.css",
        "identity;q=0, X-GZIP ; Q = 1.000\n*/*\napp-3f9ab2c1.js.map",
        "br;q=1.001, gzip;q=\n\nphoto-beef2024.png",
    ])
}
