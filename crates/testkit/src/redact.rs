//! Text without what differs from one run to the next.

/// `text` with digests as `[DIGEST]`, ports of 127.0.0.1 as `[PORT]`, times (`1.23 s`, `40 ms`)
/// as `[TIME]`, and sizes (`48.5 kB`, `3 MB`) as `[SIZE]`.
///
/// Whole bytes (`12 B`) stay: they are exact or worth noticing.
pub fn redact(text: &str) -> String {
    let text = replace_after(text, "sha256:", |byte| byte.is_ascii_hexdigit(), "[DIGEST]");
    let text = replace_after(&text, "127.0.0.1:", |byte| byte.is_ascii_digit(), "[PORT]");
    replace_quantities(&text)
}

/// Replaces what follows each `mark` and consists of bytes that `belongs` takes.
fn replace_after(text: &str, mark: &str, belongs: fn(u8) -> bool, by: &str) -> String {
    let mut pieces = text.split(mark);
    let mut result = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let length = piece.bytes().take_while(|byte| belongs(*byte)).count();
        result.push_str(mark);
        result.push_str(if length > 0 { by } else { "" });
        result.push_str(&piece[length..]);
    }
    result
}

const UNITS: &[(&str, &str)] = &[
    ("ns", "[TIME]"),
    ("µs", "[TIME]"),
    ("ms", "[TIME]"),
    ("s", "[TIME]"),
    ("kB", "[SIZE]"),
    ("MB", "[SIZE]"),
    ("KiB", "[SIZE]"),
    ("MiB", "[SIZE]"),
];

fn replace_quantities(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(|character: char| character.is_ascii_digit()) {
        let (before, number) = rest.split_at(start);
        result.push_str(before);
        let length = number
            .bytes()
            .take_while(|byte| byte.is_ascii_digit() || *byte == b'.')
            .count();
        let after = &number[length..];
        // A number within a word (`p3`, `wasm32`) is no quantity.
        let in_word = result.ends_with(|last: char| last.is_alphanumeric() || "_-.".contains(last));
        match unit_at(after).filter(|_| !in_word) {
            Some((skipped, word)) => {
                result.push_str(word);
                rest = &after[skipped..];
            }
            None => {
                result.push_str(&number[..length]);
                rest = after;
            }
        }
    }
    result.push_str(rest);
    result
}

/// The unit that `text` begins with, after at most one space: its length with the space, and
/// what stands for such a quantity.
fn unit_at(text: &str) -> Option<(usize, &'static str)> {
    let trimmed = text.strip_prefix(' ').unwrap_or(text);
    UNITS.iter().find_map(|(unit, word)| {
        let after = trimmed.strip_prefix(unit)?;
        let ends = !after.starts_with(char::is_alphanumeric);
        ends.then_some((text.len() - after.len(), *word))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        assert_eq!(redact(text), expected);
    }

    #[test]
    fn what_differs_between_runs_is_replaced() {
        check("hello 0.1.0 built in 1.23 s", "hello 0.1.0 built in [TIME]");
        check(
            "took 40ms, 48.5 kB (20 kB gzip)",
            "took [TIME], [SIZE] ([SIZE] gzip)",
        );
        check(
            "on http://127.0.0.1:40123/a",
            "on http://127.0.0.1:[PORT]/a",
        );
        check("sha256:00ff9a ok", "sha256:[DIGEST] ok");
    }

    #[test]
    fn what_does_not_stays() {
        for text in [
            "wasi:http 0.3, 3 files",
            "wharf.toml:3:12",
            "wasm32-wasip2 p3 s",
            "1 second; 12 B",
            "sha256: none",
            "",
        ] {
            check(text, text);
        }
    }
}
