//! What is wrong with one value that a person wrote.

/// A text that does not spell the value it should.
///
/// The message is lower case with no full stop; [`InvalidValue::hint`] says what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct InvalidValue {
    message: String,
    hint: Option<String>,
}

impl InvalidValue {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
        }
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// What failed and why.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to do about it, where something can be said.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

/// Longest piece of foreign text that a message repeats, in characters.
const QUOTE_CHARS_MAX: usize = 60;

/// `text` between backquotes, shortened, with nothing in it that a terminal would obey.
pub(crate) fn quote(text: &str) -> String {
    let mut quoted = String::from("`");
    for (index, character) in text.chars().enumerate() {
        if index == QUOTE_CHARS_MAX {
            quoted.push('…');
            break;
        }
        quoted.push(printable(character));
    }
    quoted.push('`');
    quoted
}

/// `character`, or a stand-in of the same width for one that moves the cursor or turns the line.
pub(crate) fn printable(character: char) -> char {
    match character {
        '\t' => ' ',
        '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        other if other.is_control() => '\u{fffd}',
        other => other,
    }
}
