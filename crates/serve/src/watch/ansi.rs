//! Text of build tools, without what only a terminal understands.

/// Drops escape sequences and control characters, and lets a carriage return begin its line anew,
/// as a progress bar means it to.
pub(crate) fn strip(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            // Of a sequence that ends with its line, the line's end stays.
            '\u{1b}' => match characters.next_if(|next| *next != '\n') {
                Some('[') => skip_past(&mut characters, |c| matches!(c, '\u{40}'..='\u{7e}')),
                // Titles and links run to a BEL or to `ESC \`.
                Some(']' | 'P' | 'X' | '^' | '_') => {
                    skip_past(&mut characters, |c| {
                        matches!(c, '\u{7}' | '\u{1b}' | '\u{9c}')
                    });
                    if characters.peek() == Some(&'\\') {
                        characters.next();
                    }
                }
                Some(' '..='/') => skip_past(&mut characters, |c| matches!(c, '\u{30}'..='\u{7e}')),
                _ => {}
            },
            '\u{9b}' => skip_past(&mut characters, |c| matches!(c, '\u{40}'..='\u{7e}')),
            '\r' if characters.peek() == Some(&'\n') => {}
            '\r' => plain.truncate(plain.rfind('\n').map_or(0, |end| end + 1)),
            '\n' | '\t' => plain.push(character),
            character if character.is_control() => {}
            character => plain.push(character),
        }
    }
    plain
}

/// Skips up to and with the character that ends the sequence; a line's end ends it too, so that a
/// sequence without an end hides no more than its line.
fn skip_past(
    characters: &mut std::iter::Peekable<std::str::Chars<'_>>,
    is_end: impl Fn(char) -> bool,
) {
    while let Some(&character) = characters.peek() {
        if character == '\n' {
            return;
        }
        characters.next();
        if is_end(character) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_text_stays() {
        for (text, expected) in [
            ("plain\n\ttext", "plain\n\ttext"),
            ("\x1b[0m\x1b[1m\x1b[38;5;9merror\x1b[0m: no", "error: no"),
            (
                "\x1b]8;;https://example.com\x1b\\link\x1b]8;;\x1b\\",
                "link",
            ),
            ("\x1b]0;title\x07after", "after"),
            ("\u{9b}31mred", "red"),
            ("\x1b(Bx\x1b=y", "xy"),
            ("windows\r\nlines", "windows\nlines"),
            ("one\n 10%\r100%\ntwo", "one\n100%\ntwo"),
            ("\x1b[12;\nnext line", "\nnext line"),
            ("\x1b]never ends\nnext line", "\nnext line"),
            ("bell\x07 nul\0 del\x7f", "bell nul del"),
            ("\x1b", ""),
            ("\x1b\nnext line", "\nnext line"),
            ("\x1b[", ""),
        ] {
            assert_eq!(strip(text), expected, "{text:?}");
        }
    }
}
