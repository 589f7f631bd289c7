//! Mistakes in a manifest, shown with the line they are on.

use std::fmt;
use std::ops::Range;

use crate::invalid::{InvalidValue, printable};

/// Most mistakes that are kept of one manifest; the rest is counted.
const ERROR_COUNT_MAX: usize = 50;

/// Longest piece of a source line that is shown, in characters.
const EXCERPT_CHARS_MAX: usize = 120;

/// One mistake in a manifest.
///
/// Shown on several lines: the message, the place, the line with a caret, the hint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestError {
    file: String,
    line: usize,
    column: usize,
    message: String,
    hint: Option<String>,
    excerpt: Option<Excerpt>,
}

/// A source line, or the part of it around the mistake, without control characters.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Excerpt {
    text: String,
    caret_column: usize,
    caret_width: usize,
}

impl ManifestError {
    /// The file as it was named to the parser.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The line, from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The column in characters, from 1.
    pub fn column(&self) -> usize {
        self.column
    }

    /// What is wrong, without place and hint.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    fn locate(file: &str, text: &str, problem: Problem) -> Self {
        let start = floor_char_boundary(text, problem.span.start);
        let end = floor_char_boundary(text, problem.span.end.max(start));
        let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line_end = text[start..]
            .find('\n')
            .map_or(text.len(), |newline| start + newline);
        let column = text[line_start..start].chars().count();
        let width = text[start..end.min(line_end).max(start)].chars().count();
        let line = text[line_start..line_end].trim_end_matches('\r');
        Self {
            file: file.to_owned(),
            line: text[..line_start].matches('\n').count() + 1,
            column: column + 1,
            message: problem.what.message().to_owned(),
            hint: problem.what.hint().map(str::to_owned),
            excerpt: (!line.trim().is_empty()).then(|| Excerpt::cut(line, column, width)),
        }
    }
}

impl Excerpt {
    /// The part of `line` that shows what is at `column`.
    fn cut(line: &str, column: usize, width: usize) -> Self {
        let before = if column + width.min(20) <= EXCERPT_CHARS_MAX {
            0
        } else {
            column.saturating_sub(EXCERPT_CHARS_MAX / 2)
        };
        let text: String = line
            .chars()
            .skip(before)
            .take(EXCERPT_CHARS_MAX)
            .map(printable)
            .collect();
        let caret_column = column - before;
        let shown = text.chars().count();
        Self {
            caret_width: width.min(shown.saturating_sub(caret_column)).max(1),
            text: text.trim_end().to_owned(),
            caret_column,
        }
    }
}

/// The largest boundary of a character that is not after `index`.
fn floor_char_boundary(text: &str, index: usize) -> usize {
    (0..=index.min(text.len()))
        .rev()
        .find(|index| text.is_char_boundary(*index))
        .unwrap_or(0)
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file, line, column, ..
        } = self;
        let number = line.to_string();
        let gutter = " ".repeat(number.len());
        write!(f, "{}\n{gutter}--> {file}:{line}:{column}", self.message)?;
        if let Some(excerpt) = &self.excerpt {
            write!(
                f,
                "\n{gutter} |\n{number} | {}\n{gutter} | {}{}",
                excerpt.text,
                " ".repeat(excerpt.caret_column),
                "^".repeat(excerpt.caret_width)
            )?;
        }
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ManifestError {}

/// All the mistakes of a manifest, in the order of their places; at least one.
///
/// Shown with an empty line between any two. Each after the first begins with `error: `, as
/// whoever shows errors writes before the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestErrors {
    errors: Vec<ManifestError>,
    omitted: usize,
}

impl ManifestErrors {
    /// The mistakes, at most 50.
    pub fn iter(&self) -> std::slice::Iter<'_, ManifestError> {
        self.errors.iter()
    }

    /// How many more there were.
    pub fn omitted(&self) -> usize {
        self.omitted
    }
}

impl<'e> IntoIterator for &'e ManifestErrors {
    type Item = &'e ManifestError;
    type IntoIter = std::slice::Iter<'e, ManifestError>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for ManifestErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { "\n\nerror: " })?;
            error.fmt(f)?;
        }
        match self.omitted {
            0 => Ok(()),
            omitted => write!(f, "\n\nand {omitted} more"),
        }
    }
}

impl std::error::Error for ManifestErrors {}

/// The mistakes found so far, by their byte ranges in `text`.
pub(crate) struct Problems<'t> {
    text: &'t str,
    found: Vec<Problem>,
    omitted: usize,
}

struct Problem {
    span: Range<usize>,
    what: InvalidValue,
}

impl<'t> Problems<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        Self {
            text,
            found: Vec::new(),
            omitted: 0,
        }
    }

    pub(crate) fn report(&mut self, span: Range<usize>, what: InvalidValue) {
        if self.found.len() < ERROR_COUNT_MAX {
            self.found.push(Problem { span, what });
        } else {
            self.omitted += 1;
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// The line of the byte at `offset`, from 1.
    pub(crate) fn line_of(&self, offset: usize) -> usize {
        let before = &self.text.as_bytes()[..offset.min(self.text.len())];
        before.iter().filter(|byte| **byte == b'\n').count() + 1
    }

    pub(crate) fn into_errors(mut self, file: &str) -> ManifestErrors {
        self.found.sort_by_key(|problem| problem.span.start);
        ManifestErrors {
            errors: self
                .found
                .into_iter()
                .map(|problem| ManifestError::locate(file, self.text, problem))
                .collect(),
            omitted: self.omitted,
        }
    }
}
