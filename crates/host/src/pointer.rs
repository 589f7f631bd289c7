//! Pointing at a place in what somebody wrote.

use std::ops::Range;

/// Characters of a line that are shown; of a longer one the part around the place.
const SHOWN_MAX: usize = 100;

/// `what`, the place in `source` (line and column from 1, in characters), and its line with carets
/// below the bytes `span`.
pub(crate) fn point_at(what: &str, source: &str, span: Range<usize>) -> String {
    let start = floor(source, span.start);
    let line_start = source[..start].rfind('\n').map_or(0, |newline| newline + 1);
    let line_end = source[start..]
        .find('\n')
        .map_or(source.len(), |newline| start + newline);
    let end = floor(source, span.end).clamp(start, line_end);
    let before = source[line_start..start].chars().count();
    let width = source[start..end].chars().count().max(1);

    let line: Vec<char> = source[line_start..line_end].chars().map(shown).collect();
    let first = match line.len() > SHOWN_MAX {
        true => before
            .saturating_sub(SHOWN_MAX / 2)
            .min(line.len() - SHOWN_MAX),
        false => 0,
    };
    let last = line.len().min(first + SHOWN_MAX);
    let (head, tail) = (
        if first > 0 { "…" } else { "" },
        if last < line.len() { "…" } else { "" },
    );
    let part = String::from_iter(&line[first..last]);
    let indent = " ".repeat(before - first + head.chars().count());
    let carets = "^".repeat(width.min(SHOWN_MAX.saturating_sub(before - first).max(1)));
    let place = match source[..line_start].matches('\n').count() {
        0 if !source.contains('\n') => format!("column {}", before + 1),
        lines => format!("line {}, column {}", lines + 1, before + 1),
    };
    let line = format!("  | {head}{part}{tail}");
    let line = line.trim_end();
    format!("{what}, {place}\n  |\n{line}\n  | {indent}{carets}")
}

/// A character as one cell: tabs would move the carets, controls the terminal.
fn shown(character: char) -> char {
    match character {
        '\t' => ' ',
        character if character.is_control() => '\u{fffd}',
        character => character,
    }
}

fn floor(text: &str, mut index: usize) -> usize {
    index = index.min(text.len());
    while !text.is_char_boundary(index) {
        index -= 1;
    }
    index
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(source: &str, span: Range<usize>, expected: &Expect) {
        expected.assert_eq(&point_at("bad", source, span));
    }

    #[test]
    fn carets_stand_below_the_place() {
        check(
            "add(1, x)",
            7..8,
            &expect![[r#"
                bad, column 8
                  |
                  | add(1, x)
                  |        ^"#]],
        );
        // Characters count, not bytes.
        check(
            "f(\"äö\", true)",
            10..14,
            &expect![[r#"
                bad, column 9
                  |
                  | f("äö", true)
                  |         ^^^^"#]],
        );
        check(
            "f(\n\tone,\n\ttwo)",
            11..14,
            &expect![[r#"
                bad, line 3, column 3
                  |
                  |  two)
                  |   ^^^"#]],
        );
    }

    #[test]
    fn an_end_that_is_missing_has_a_place_too() {
        check(
            "add(1, 2",
            8..8,
            &expect![[r#"
                bad, column 9
                  |
                  | add(1, 2
                  |         ^"#]],
        );
        check(
            "",
            0..0,
            &expect![[r#"
                bad, column 1
                  |
                  |
                  | ^"#]],
        );
    }

    #[test]
    fn of_a_long_line_the_part_around_the_place_is_shown() {
        let long = format!("f([{}x, {}])", "1, ".repeat(100), "2, ".repeat(100));
        check(
            &long,
            303..304,
            &expect![[r#"
                bad, column 304
                  |
                  | …, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, x, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,…
                  |                                                    ^"#]],
        );
        let all = point_at("bad", &long, 0..long.len());
        assert!(
            all.lines()
                .all(|line| line.chars().count() <= SHOWN_MAX + 6),
            "{all}"
        );
    }

    #[test]
    fn no_span_is_too_odd() {
        let text = "ä\nö";
        for start in 0..8 {
            for end in 0..8 {
                let told = point_at("bad", text, start..end);
                assert!(told.ends_with('^'), "{told}");
            }
        }
    }
}
