//! Text that tools print.

/// `line` without ANSI escape sequences.
pub(crate) fn without_colours(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        if character != '\u{1b}' {
            plain.push(character);
            continue;
        }
        match characters.next() {
            // A control sequence ends with a byte in `@`..`~`.
            Some('[') => {
                let _ = characters.find(|c| ('@'..='~').contains(c));
            }
            // A system command, such as a hyperlink, ends with BEL or ESC \.
            Some(']') => {
                let _ = characters.find(|c| matches!(c, '\u{7}' | '\\'));
            }
            _ => {}
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_go_and_text_stays() {
        let check = |line: &str, expected: &str| assert_eq!(without_colours(line), expected);
        check("plain", "plain");
        check("\u{1b}[1m\u{1b}[38;5;9merror\u{1b}[0m: x", "error: x");
        check("\u{1b}]8;;https://x\u{1b}\\link\u{1b}]8;;\u{1b}\\", "link");
        check("cut \u{1b}[3", "cut ");
    }
}
