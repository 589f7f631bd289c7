//! The functions of `wit/world.wit`.

wit_bindgen::generate!({
    world: "library",
    path: "wit",
});

use exports::example::app_name::words::{Guest, SearchError, Statistics};

/// The longest text that is searched, in bytes.
const TEXT_BYTES_MAX: usize = 1024 * 1024;

struct Library;

impl Guest for Library {
    fn count(text: String) -> Statistics {
        Statistics {
            lines: text.lines().count() as u32,
            words: text.split_whitespace().count() as u32,
            characters: text.chars().count() as u32,
        }
    }

    fn find(text: String, word: String) -> Result<Vec<u32>, SearchError> {
        if word.is_empty() || word.contains(char::is_whitespace) {
            return Err(SearchError::NotAWord(word));
        }
        if text.len() > TEXT_BYTES_MAX {
            return Err(SearchError::TextTooLong(TEXT_BYTES_MAX as u32));
        }
        let numbered = (1..).zip(text.lines());
        Ok(numbered
            .filter(|(_, line)| line.split_whitespace().any(|found| found == word))
            .map(|(number, _)| number)
            .collect())
    }
}

export!(Library);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts() {
        let statistics = Library::count("one two\nthree".to_string());
        assert_eq!(
            (statistics.lines, statistics.words, statistics.characters),
            (2, 3, 13)
        );
    }

    #[test]
    fn finds_lines_or_says_why_not() {
        let find = |word: &str| Library::find("a b\nc\nb".to_string(), word.to_string());
        assert_eq!(find("b").unwrap(), [1, 3]);
        assert!(matches!(find("b c"), Err(SearchError::NotAWord(_))));
    }
}
