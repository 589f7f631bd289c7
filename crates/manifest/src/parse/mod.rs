//! From the text of `wharf.toml` to an [`App`], with every mistake at once.
//!
//! Three steps: TOML with places (crate `toml`), the declared tables ([`raw`]), and what only
//! shows over several keys ([`lower`]).

mod lower;
pub(crate) mod raw;
mod suggest;
pub(crate) mod table;
pub(crate) mod value;

use toml::de::{DeTable, DeValue};

use crate::app::App;
use crate::error::{ManifestErrors, Problems};
use crate::invalid::InvalidValue;
use crate::parse::raw::AppTable;
use crate::parse::value::{FormatVersion, FromToml};
use crate::size::ByteSize;

/// Largest manifest that is read.
pub const MANIFEST_SIZE_MAX: ByteSize = ByteSize::mib(1);

/// Reads `text`, the content of a `wharf.toml`; `file` names it in messages.
///
/// Nothing on the disk is looked at: whether sources and folders exist is for the build to see.
///
/// # Errors
/// All mistakes that are found, in the order of their places. Mistakes of TOML itself, and a
/// version of the format that is not known, hide those of the content.
pub fn parse_app(text: &str, file: &str) -> Result<App, ManifestErrors> {
    parse_document::<AppTable, FormatVersion, _>(text, file, "manifest", lower::lower)
}

/// Reads a document whose version `V` stands under `version_key`.
pub(crate) fn parse_document<T: FromToml, V: FromToml, O>(
    text: &str,
    file: &str,
    version_key: &str,
    lower: fn(T, &mut Problems<'_>) -> Option<O>,
) -> Result<O, ManifestErrors> {
    let mut problems = Problems::new(text);
    let table = read::<T, V>(text, version_key, &mut problems);
    match table.and_then(|table| lower(table, &mut problems)) {
        Some(read) if problems.is_empty() => Ok(read),
        _ => Err(problems.into_errors(file)),
    }
}

/// The table; with none, at least one problem is reported.
fn read<T: FromToml, V: FromToml>(
    text: &str,
    version_key: &str,
    problems: &mut Problems<'_>,
) -> Option<T> {
    let size = ByteSize(text.len() as u64);
    if size > MANIFEST_SIZE_MAX {
        let invalid = InvalidValue::new(format!(
            "the file has {} bytes; at most {MANIFEST_SIZE_MAX} are read",
            size.bytes()
        ));
        problems.report(0..0, invalid);
        return None;
    }
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let span = error.span().unwrap_or(0..0);
        problems.report(span, InvalidValue::new(error.message()));
    }
    let document = document.into_inner();
    if let Some(version) = document.get(version_key) {
        V::read(version.get_ref(), version.span(), problems);
    }
    if !problems.is_empty() {
        return None;
    }
    T::read(&DeValue::Table(document), 0..0, problems)
}
