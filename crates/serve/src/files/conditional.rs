//! Preconditions (RFC 9110, section 13).

use std::time::{Duration, SystemTime};

use http::header::{
    HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE,
};
use http::{HeaderMap, HeaderValue};

/// What is known of the representation that would be sent.
pub(crate) struct Validators<'a> {
    /// Its strong entity tag.
    pub(crate) etag: &'a HeaderValue,
    /// When it changed, in whole seconds.
    pub(crate) modified: Option<SystemTime>,
    /// Whether `modified` tells it from every other representation of the resource, which it
    /// does not where compressed variants share it.
    pub(crate) modified_is_unique: bool,
}

/// What the preconditions say of a GET or HEAD.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Send it.
    Send,
    /// The client has it: 304.
    NotModified,
    /// The client wanted another: 412.
    Failed,
}

/// Evaluates the preconditions of a GET or HEAD in the order of section 13.2.2.
pub(crate) fn evaluate(headers: &HeaderMap, validators: &Validators<'_>) -> Verdict {
    if headers.contains_key(IF_MATCH) {
        if !lists(headers, &IF_MATCH, validators.etag, Comparison::Strong) {
            return Verdict::Failed;
        }
    } else if let (Some(since), Some(modified)) =
        (date(headers, &IF_UNMODIFIED_SINCE), validators.modified)
        && modified > since
    {
        return Verdict::Failed;
    }
    if headers.contains_key(IF_NONE_MATCH) {
        if lists(headers, &IF_NONE_MATCH, validators.etag, Comparison::Weak) {
            return Verdict::NotModified;
        }
    } else if let (Some(since), Some(modified)) =
        (date(headers, &IF_MODIFIED_SINCE), validators.modified)
        && modified <= since
    {
        return Verdict::NotModified;
    }
    Verdict::Send
}

/// Says whether `Range` may be honoured: there is no `If-Range`, or it holds.
///
/// A date holds only as a strong validator (section 8.8.2.2): equal to ours, a second old, and
/// not shared with another coding.
pub(crate) fn range_holds(
    headers: &HeaderMap,
    validators: &Validators<'_>,
    now: SystemTime,
) -> bool {
    let Some(condition) = headers.get(IF_RANGE) else {
        return true;
    };
    if condition.as_bytes().starts_with(b"\"") || condition.as_bytes().starts_with(b"W/") {
        return condition == validators.etag;
    }
    let (Some(date), Some(modified)) = (date(headers, &IF_RANGE), validators.modified) else {
        return false;
    };
    date == modified && validators.modified_is_unique && modified + Duration::from_secs(1) <= now
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Strong,
    Weak,
}

/// Says whether a list of entity tags, all field lines together, holds `etag` or is `*`.
fn lists(
    headers: &HeaderMap,
    name: &HeaderName,
    etag: &HeaderValue,
    comparison: Comparison,
) -> bool {
    headers.get_all(name).iter().any(|value| {
        let mut rest = value.as_bytes().trim_ascii();
        if rest == b"*" {
            return true;
        }
        while let Some((weak, tag, tail)) = next_tag(rest) {
            if tag == etag.as_bytes() && !(weak && comparison == Comparison::Strong) {
                return true;
            }
            rest = tail;
        }
        false
    })
}

/// Splits the first tag off a list: whether it is weak, the tag in its quotes, what follows.
///
/// A tag may hold commas, so the list cannot be split at them.
fn next_tag(list: &[u8]) -> Option<(bool, &[u8], &[u8])> {
    let start = list
        .iter()
        .position(|byte| !matches!(byte, b' ' | b'\t' | b','))?;
    let list = &list[start..];
    let (weak, list) = match list.strip_prefix(b"W/") {
        Some(list) => (true, list),
        None => (false, list),
    };
    let inner = list.strip_prefix(b"\"")?;
    let end = inner.iter().position(|&byte| byte == b'"')? + 2;
    Some((weak, &list[..end], &list[end..]))
}

/// Reads a field with one HTTP date; a broken one counts as absent.
fn date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const BEFORE: &str = "Sat, 31 Oct 2026 12:00:00 GMT";
    const MODIFIED: &str = "Sun, 01 Nov 2026 12:00:00 GMT";
    const AFTER: &str = "Mon, 02 Nov 2026 12:00:00 GMT";

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let field = |(name, value): &(&'static str, &str)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_str(value).unwrap(),
            )
        };
        let mut headers = HeaderMap::new();
        for (name, value) in fields.iter().map(field) {
            headers.append(name, value);
        }
        headers
    }

    #[test]
    fn preconditions_in_their_order() {
        use Verdict::{Failed, NotModified, Send};
        let etag = HeaderValue::from_static("\"abc\"");
        let modified = httpdate::parse_http_date(MODIFIED).ok();
        let check = |fields: &[(&'static str, &str)], expected: Verdict| {
            let validators = Validators {
                etag: &etag,
                modified,
                modified_is_unique: true,
            };
            assert_eq!(
                evaluate(&headers(fields), &validators),
                expected,
                "{fields:?}"
            );
        };
        check(&[], Send);
        check(&[("if-none-match", "\"abc\"")], NotModified);
        check(&[("if-none-match", "W/\"abc\"")], NotModified);
        check(&[("if-none-match", "*")], NotModified);
        check(
            &[("if-none-match", "\"x\", \"a,b\" , W/\"abc\"")],
            NotModified,
        );
        check(
            &[("if-none-match", "\"x\""), ("if-none-match", "\"abc\"")],
            NotModified,
        );
        check(&[("if-none-match", "\"x\"")], Send);
        check(&[("if-none-match", "abc")], Send);
        check(&[("if-none-match", "\"abc")], Send);
        check(&[("if-none-match", "")], Send);
        check(&[("if-modified-since", MODIFIED)], NotModified);
        check(&[("if-modified-since", AFTER)], NotModified);
        check(&[("if-modified-since", BEFORE)], Send);
        check(&[("if-modified-since", "yesterday")], Send);
        // The tag decides where both are given.
        check(
            &[("if-none-match", "\"x\""), ("if-modified-since", AFTER)],
            Send,
        );
        check(&[("if-match", "\"abc\"")], Send);
        check(&[("if-match", "*")], Send);
        check(&[("if-match", "W/\"abc\"")], Failed);
        check(&[("if-match", "\"x\"")], Failed);
        check(
            &[("if-match", "\"x\""), ("if-none-match", "\"abc\"")],
            Failed,
        );
        check(
            &[("if-match", "\"abc\""), ("if-none-match", "\"abc\"")],
            NotModified,
        );
        check(&[("if-unmodified-since", BEFORE)], Failed);
        check(&[("if-unmodified-since", MODIFIED)], Send);
        check(&[("if-unmodified-since", "never")], Send);
        check(
            &[("if-match", "\"abc\""), ("if-unmodified-since", BEFORE)],
            Send,
        );
    }

    #[test]
    fn without_a_date_dates_say_nothing() {
        let etag = HeaderValue::from_static("\"abc\"");
        let validators = Validators {
            etag: &etag,
            modified: None,
            modified_is_unique: true,
        };
        for name in ["if-modified-since", "if-unmodified-since"] {
            assert_eq!(
                evaluate(&headers(&[(name, BEFORE)]), &validators),
                Verdict::Send
            );
        }
        assert!(!range_holds(
            &headers(&[("if-range", MODIFIED)]),
            &validators,
            SystemTime::now()
        ));
    }

    #[test]
    fn if_range_wants_a_strong_validator() {
        let etag = HeaderValue::from_static("\"abc\"");
        let modified = httpdate::parse_http_date(MODIFIED).ok();
        let check = |condition: &str, unique: bool, age_s: u64, expected: bool| {
            let validators = Validators {
                etag: &etag,
                modified,
                modified_is_unique: unique,
            };
            let now = modified.unwrap() + Duration::from_secs(age_s);
            let fields = headers(&[("if-range", condition)]);
            assert_eq!(
                range_holds(&fields, &validators, now),
                expected,
                "{condition}"
            );
        };
        check("\"abc\"", true, 60, true);
        check("\"abd\"", true, 60, false);
        check("W/\"abc\"", true, 60, false);
        check(MODIFIED, true, 60, true);
        check(MODIFIED, true, 0, false);
        check(MODIFIED, false, 60, false);
        check(AFTER, true, 60, false);
        check(BEFORE, true, 60, false);
        check("garbage", true, 60, false);
    }
}
