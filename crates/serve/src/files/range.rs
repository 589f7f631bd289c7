//! `Range` (RFC 9110, section 14).

use std::ops::Range;

/// More ranges than this in one request, and the whole file is sent instead.
const RANGES_MAX: usize = 16;

/// What a `Range` field asks of a representation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// All of it: another unit, a broken field, or a set that costs more than it saves.
    Whole,
    /// These parts, in the order asked for; at least one, each with at least one byte.
    Parts(Vec<Range<u64>>),
    /// Nothing that it has: 416.
    Unsatisfiable,
}

/// Reads a `Range` field for a representation of `size` bytes.
///
/// A field that is not well-formed is ignored, as section 14.2 allows. So is a set of more than 16
/// ranges, or of ranges that together are longer than the file: those that overlap many times
/// over are an attack (section 17.15).
pub(crate) fn parse(field: &str, size: u64) -> Wanted {
    let Some((unit, set)) = field.split_once('=') else {
        return Wanted::Whole;
    };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Wanted::Whole;
    }
    let mut parts = Vec::new();
    let mut asked = 0;
    for spec in set
        .split(',')
        .map(str::trim)
        .filter(|spec| !spec.is_empty())
    {
        asked += 1;
        if asked > RANGES_MAX {
            return Wanted::Whole;
        }
        match parse_spec(spec, size) {
            None => return Wanted::Whole,
            Some(part) if part.is_empty() => {}
            Some(part) => parts.push(part),
        }
    }
    if asked == 0 {
        return Wanted::Whole;
    }
    if parts.is_empty() {
        // The tail of an empty file is all of it, and no Content-Range can say so.
        let tail_of_nothing = size == 0 && set.split(',').any(|spec| is_tail(spec.trim()));
        return if tail_of_nothing {
            Wanted::Whole
        } else {
            Wanted::Unsatisfiable
        };
    }
    let lengths = parts.iter().map(|part| u128::from(part.end - part.start));
    if parts.len() > 1 && lengths.sum::<u128>() > u128::from(size) {
        Wanted::Whole
    } else {
        Wanted::Parts(parts)
    }
}

/// Reads `3-7`, `3-` or `-7`; an empty range if the file has none of it, `None` if malformed.
fn parse_spec(spec: &str, size: u64) -> Option<Range<u64>> {
    let (first, last) = spec.split_once('-')?;
    let (first, last) = (first.trim(), last.trim());
    if first.is_empty() {
        let length = parse_position(last)?;
        return Some(size.saturating_sub(length)..size);
    }
    let first = parse_position(first)?;
    let end = if last.is_empty() {
        size
    } else {
        let last = parse_position(last)?;
        if last < first {
            return None;
        }
        last.saturating_add(1).min(size)
    };
    Some(first.min(end)..end)
}

/// Reads digits only; what does not fit is past the end of any file.
fn parse_position(digits: &str) -> Option<u64> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(digits.parse().unwrap_or(u64::MAX))
}

fn is_tail(spec: &str) -> bool {
    spec.strip_prefix('-')
        .is_some_and(|length| length.bytes().any(|digit| digit != b'0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let check = |field: &str, size: u64, expected: Wanted| {
            assert_eq!(parse(field, size), expected, "{field} of {size}");
        };
        let parts = |parts: &[(u64, u64)]| {
            Wanted::Parts(parts.iter().map(|&(start, end)| start..end).collect())
        };
        check("bytes=0-0", 10, parts(&[(0, 1)]));
        check("bytes=0-", 10, parts(&[(0, 10)]));
        check("Bytes=2-4", 10, parts(&[(2, 5)]));
        check("bytes=2-99", 10, parts(&[(2, 10)]));
        check("bytes=-3", 10, parts(&[(7, 10)]));
        check("bytes=-99", 10, parts(&[(0, 10)]));
        check("bytes=9-9", 10, parts(&[(9, 10)]));
        check("bytes= 1-2 , 4-5 ,", 10, parts(&[(1, 3), (4, 6)]));
        check("bytes=0-1,50-60,-1", 10, parts(&[(0, 2), (9, 10)]));
        check("bytes=0-18446744073709551615", 10, parts(&[(0, 10)]));
        check("bytes=1-99999999999999999999999", 10, parts(&[(1, 10)]));
        check("bytes=-99999999999999999999999", 10, parts(&[(0, 10)]));

        check("bytes=10-", 10, Wanted::Unsatisfiable);
        check("bytes=10-20,30-", 10, Wanted::Unsatisfiable);
        check("bytes=-0", 10, Wanted::Unsatisfiable);
        check("bytes=99999999999999999999999-", 10, Wanted::Unsatisfiable);
        check("bytes=0-0", 0, Wanted::Unsatisfiable);
        check("bytes=-0", 0, Wanted::Unsatisfiable);
        check("bytes=-5", 0, Wanted::Whole);

        for malformed in [
            "",
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes=-",
            "bytes=5-2",
            "bytes=a-b",
            "bytes=1",
            "bytes=1-2-3",
            "bytes=+1-2",
            "bytes=0x1-2",
            "bytes=--1",
            "items=0-1",
            "bytes=0-1,x",
        ] {
            check(malformed, 10, Wanted::Whole);
        }
    }

    #[test]
    fn a_set_that_costs_more_than_the_file_is_the_file() {
        assert_eq!(parse("bytes=0-,0-,0-,0-", 1000), Wanted::Whole);
        assert_eq!(parse("bytes=1-,4-5,-199", u64::MAX), Wanted::Whole);
        let many = (0..17)
            .map(|n| format!("{n}-{n}"))
            .collect::<Vec<_>>()
            .join(",");
        assert_eq!(parse(&format!("bytes={many}"), 1000), Wanted::Whole);
    }
}
