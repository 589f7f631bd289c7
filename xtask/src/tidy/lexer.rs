//! Just enough of Rust's lexical structure to tell code from comments and
//! strings, with line numbers.

/// A piece of source text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token<'a> {
    /// Where it begins, counted from 1.
    pub(crate) line: usize,
    pub(crate) kind: Kind<'a>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind<'a> {
    /// A name, a keyword or a number.
    Word(&'a str),
    /// One character that is none of the others.
    Sign(char),
    /// A string literal without its quotes, escapes left as written.
    Text(&'a str),
    /// A comment with its slashes.
    Comment(&'a str),
}

/// Cuts a source file into tokens. Text that is not Rust gives some tokens too;
/// it never fails.
pub(crate) fn tokens(source: &str) -> Vec<Token<'_>> {
    let mut lexer = Lexer {
        source,
        at: 0,
        line: 1,
        tokens: Vec::new(),
    };
    while lexer.at < source.len() {
        lexer.step();
    }
    lexer.tokens
}

struct Lexer<'a> {
    source: &'a str,
    at: usize,
    line: usize,
    tokens: Vec<Token<'a>>,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.source[self.at..]
    }

    /// Takes so many bytes, counting their lines, and says where they began.
    fn take(&mut self, length: usize) -> (usize, &'a str) {
        let taken = &self.rest()[..length];
        let line = self.line;
        self.line += taken.matches('\n').count();
        self.at += length;
        (line, taken)
    }

    fn push(&mut self, line: usize, kind: Kind<'a>) {
        self.tokens.push(Token { line, kind });
    }

    fn step(&mut self) {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else {
            return;
        };
        if rest.starts_with("//") {
            let (line, comment) = self.take(rest.find('\n').unwrap_or(rest.len()));
            self.push(line, Kind::Comment(comment));
        } else if rest.starts_with("/*") {
            let (line, comment) = self.take(block_comment_length(rest));
            self.push(line, Kind::Comment(comment));
        } else if first == '"' {
            self.string();
        } else if first == '\'' {
            self.take(quote_length(rest));
        } else if is_word(first) {
            self.word();
        } else {
            let (line, _) = self.take(first.len_utf8());
            if !first.is_whitespace() {
                self.push(line, Kind::Sign(first));
            }
        }
    }

    fn string(&mut self) {
        let rest = self.rest();
        let mut escaped = false;
        let end = rest[1..].char_indices().find(|(_, c)| {
            let ends = *c == '"' && !escaped;
            escaped = *c == '\\' && !escaped;
            ends
        });
        let content = end.map_or(rest.len() - 1, |(index, _)| index);
        let (line, taken) = self.take((content + 2).min(rest.len()));
        self.push(line, Kind::Text(&taken[1..=content]));
    }

    fn word(&mut self) {
        let rest = self.rest();
        let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let (line, word) = self.take(length);
        let is_raw_prefix = matches!(word, "r" | "br" | "cr");
        if is_raw_prefix && let Some((total, content)) = raw_string(self.rest()) {
            self.take(total);
            self.push(line, Kind::Text(content));
        } else if word == "r" && self.rest().starts_with('#') {
            self.take(1); // a raw identifier: the next step reads its name
        } else if !(matches!(word, "b" | "c") && self.rest().starts_with(['"', '\''])) {
            self.push(line, Kind::Word(word));
        }
    }
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

/// The length of a block comment, which may hold others.
fn block_comment_length(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// The length of a character literal, or of the quote alone for a lifetime.
fn quote_length(rest: &str) -> usize {
    let mut characters = rest.char_indices().skip(1);
    match (characters.next(), characters.next()) {
        (Some((_, '\\')), Some((escaped, c))) => {
            let after = escaped + c.len_utf8();
            rest[after..].find('\'').map_or(1, |end| after + end + 1)
        }
        (Some((_, c)), Some((end, '\''))) if c != '\'' => end + 1,
        _ => 1,
    }
}

/// Behind `r`: the whole length of `#"…"#` and what is between the quotes.
fn raw_string(rest: &str) -> Option<(usize, &str)> {
    let hashes = rest.len() - rest.trim_start_matches('#').len();
    let open = rest[hashes..].strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    let content = open.split_once(&close).map_or(open, |(content, _)| content);
    let total = (hashes + 1 + content.len() + close.len()).min(rest.len());
    Some((total, content))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: &str, expected: &[(usize, Kind<'_>)]) {
        let found: Vec<_> = tokens(source)
            .iter()
            .map(|token| (token.line, token.kind))
            .collect();
        assert_eq!(found, expected, "{source}");
    }

    #[test]
    fn code_comments_and_strings_are_told_apart() {
        use Kind::{Comment, Sign, Text, Word};
        check(
            "mod a; // b",
            &[
                (1, Word("mod")),
                (1, Word("a")),
                (1, Sign(';')),
                (1, Comment("// b")),
            ],
        );
        check(
            "/* x /* y */ z */ q",
            &[(1, Comment("/* x /* y */ z */")), (1, Word("q"))],
        );
        check(
            r#""a \" // b" c"#,
            &[(1, Text(r#"a \" // b"#)), (1, Word("c"))],
        );
        check(
            r##"r#"a " b"# c"##,
            &[(1, Text(r#"a " b"#)), (1, Word("c"))],
        );
        check("b\"x\" r#mod", &[(1, Text("x")), (1, Word("mod"))]);
        check("\"a\nb\"\nc", &[(1, Text("a\nb")), (3, Word("c"))]);
    }

    #[test]
    fn characters_are_not_lifetimes() {
        use Kind::Word;
        check(r#"'"' a"#, &[(1, Word("a"))]);
        check(r"'\'' a", &[(1, Word("a"))]);
        check(r"'\u{1F600}' a", &[(1, Word("a"))]);
        check("'a b", &[(1, Word("a")), (1, Word("b"))]);
        check("'static", &[(1, Word("static"))]);
        check("b'\\n' a", &[(1, Word("a"))]);
    }

    #[test]
    fn broken_text_ends_all_the_same() {
        for source in [
            "\"abc", "\"", "/* abc", "r#\"abc", "'", "'\\", "r#", "é\"é", "'é'", "\"\\",
        ] {
            tokens(source);
        }
    }
}
