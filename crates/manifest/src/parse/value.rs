//! Reading one TOML value as one of our types.

use std::ops::Range;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::json;
use toml::de::DeValue;

use crate::app::{Isolation, Source};
use crate::duration::{format_duration, parse_duration};
use crate::error::Problems;
use crate::grant::{FileGrant, HttpGrant, NetGrant};
use crate::invalid::{InvalidValue, quote};
use crate::name::{AppName, ComponentName};
use crate::parse::suggest::did_you_mean;
use crate::path::AppPath;
use crate::route::RoutePattern;
use crate::size::ByteSize;

/// A type that a manifest's values are read as; its schema describes what is read.
pub(crate) trait FromToml: JsonSchema + Sized {
    /// What is expected, with an example, to stand after "expected".
    const EXPECTED: &'static str;

    /// Whether it is read from a table of fixed keys.
    const IS_TABLE: bool = false;

    /// Reads `value`, reporting what is wrong with it or in it.
    fn read(value: &DeValue<'_>, span: Range<usize>, problems: &mut Problems<'_>) -> Option<Self>;
}

/// That `value` is of the wrong type.
pub(crate) fn wrong_type<T: FromToml>(value: &DeValue<'_>) -> InvalidValue {
    let found = match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    };
    InvalidValue::new(format!("expected {}, found {found}", T::EXPECTED))
}

/// The integer `value`, which TOML bounds to 64 bits but its parser does not.
fn integer(value: &DeValue<'_>) -> Option<i128> {
    let integer = value.as_integer()?;
    Some(i128::from_str_radix(integer.as_str(), integer.radix()).unwrap_or(i128::MAX))
}

pub(crate) fn read_text<T>(
    value: &DeValue<'_>,
    span: Range<usize>,
    problems: &mut Problems<'_>,
) -> Option<T>
where
    T: FromToml + FromStr<Err = InvalidValue>,
{
    let result = match value.as_str() {
        Some(text) => text.parse(),
        None => Err(wrong_type::<T>(value)),
    };
    result
        .map_err(|invalid| problems.report(span, invalid))
        .ok()
}

macro_rules! from_text {
    ($($type:ty, $expected:literal;)*) => {$(
        impl $crate::parse::value::FromToml for $type {
            const EXPECTED: &'static str = $expected;

            fn read(
                value: &::toml::de::DeValue<'_>,
                span: ::std::ops::Range<usize>,
                problems: &mut $crate::error::Problems<'_>,
            ) -> Option<Self> {
                $crate::parse::value::read_text(value, span, problems)
            }
        }
    )*};
}

pub(crate) use from_text;

from_text! {
    AppName, "a name such as `\"guestbook\"`";
    ComponentName, "the name of a component such as `\"api\"`";
    AppPath, "a path such as `\"public\"`";
    RoutePattern, "a route such as `\"/api/...\"`";
    HttpGrant, "a server such as `\"https://api.example.com\"`";
    NetGrant, "an address such as `\"tcp://db.example.com:5432\"`";
    FileGrant, "a folder such as `\"data:/data:rw\"`";
    Version, "a version such as `\"0.1.0\"`";
    SourcePath, "a folder or file such as `\"api\"` or `\"api.wasm\"`";
    FeatureName, "the name of a Cargo feature";
    HeaderText, "the value of a header such as `\"max-age=3600\"`";
    FilePath, "a file such as `\"index.html\"`";
    IsolationWord, "`\"shared\"` or `\"request\"`";
}

impl FromToml for String {
    const EXPECTED: &'static str = "a string";

    fn read(value: &DeValue<'_>, span: Range<usize>, problems: &mut Problems<'_>) -> Option<Self> {
        let text = value.as_str().map(str::to_owned);
        if text.is_none() {
            problems.report(span, wrong_type::<Self>(value));
        }
        text
    }
}

impl FromToml for bool {
    const EXPECTED: &'static str = "`true` or `false`";

    fn read(value: &DeValue<'_>, span: Range<usize>, problems: &mut Problems<'_>) -> Option<Self> {
        let flag = value.as_bool();
        if flag.is_none() {
            problems.report(span, wrong_type::<Self>(value));
        }
        flag
    }
}

impl FromToml for ByteSize {
    const EXPECTED: &'static str = "a size such as `\"128MiB\"`";

    fn read(value: &DeValue<'_>, span: Range<usize>, problems: &mut Problems<'_>) -> Option<Self> {
        let result = match (value.as_str(), integer(value)) {
            (Some(text), _) => text.parse(),
            (None, Some(bytes)) => u64::try_from(bytes)
                .map(Self)
                .map_err(|_| InvalidValue::new("a size is from 1 byte to 2⁶⁴-1 bytes")),
            (None, None) => Err(wrong_type::<Self>(value)),
        };
        result
            .and_then(|size| match size {
                Self(0) => Err(InvalidValue::new("a limit cannot be zero")),
                size => Ok(size),
            })
            .map_err(|invalid| problems.report(span, invalid))
            .ok()
    }
}

/// A duration above zero.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LimitDuration(pub(crate) Duration);

impl FromToml for LimitDuration {
    const EXPECTED: &'static str = "a duration such as `\"30s\"`";

    fn read(value: &DeValue<'_>, span: Range<usize>, problems: &mut Problems<'_>) -> Option<Self> {
        let result = match (value.as_str(), integer(value)) {
            (Some(text), _) => parse_duration(text),
            (None, Some(count)) => Err(wrong_type::<Self>(value)
                .with_hint(format!("give it a unit: `\"{count}s\"` or `\"{count}ms\"`"))),
            (None, None) => Err(wrong_type::<Self>(value)),
        };
        result
            .and_then(|duration| match duration {
                Duration::ZERO => Err(InvalidValue::new("a limit cannot be zero")),
                duration => Ok(Self(duration)),
            })
            .map_err(|invalid| problems.report(span, invalid))
            .ok()
    }
}

impl JsonSchema for LimitDuration {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A length of time: a whole number and a unit (ms, s, m, h).",
            "type": "string",
            "pattern": "^[0-9]+(ns|us|ms|s|m|h)$",
            "examples": [format_duration(Duration::from_secs(30))]
        })
    }
}

/// A number of things, at least one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LimitCount(pub(crate) u32);

impl FromToml for LimitCount {
    const EXPECTED: &'static str = "a whole number";

    fn read(value: &DeValue<'_>, span: Range<usize>, problems: &mut Problems<'_>) -> Option<Self> {
        let result = match integer(value) {
            None => Err(wrong_type::<Self>(value)),
            Some(0) => Err(InvalidValue::new("a limit cannot be zero")),
            Some(count) => u32::try_from(count).map(Self).map_err(|_| {
                InvalidValue::new(format!("the number is not from 1 to {}", u32::MAX))
            }),
        };
        result
            .map_err(|invalid| problems.report(span, invalid))
            .ok()
    }
}

impl JsonSchema for LimitCount {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Count".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A number of things.",
            "type": "integer",
            "minimum": 1,
            "maximum": u32::MAX
        })
    }
}

/// Versions of the file formats, of which there is one each; they are checked before all else.
macro_rules! format_version {
    ($($(#[$attribute:meta])* $name:ident, $key:literal, $what:literal;)*) => {$(
        $(#[$attribute])*
        #[derive(Debug, Clone, Copy)]
        pub(crate) struct $name;

        impl FromToml for $name {
            const EXPECTED: &'static str = "`1`";

            fn read(
                value: &DeValue<'_>,
                span: Range<usize>,
                problems: &mut Problems<'_>,
            ) -> Option<Self> {
                let invalid = match integer(value) {
                    Some(FORMAT_NOW) => return Some(Self),
                    Some(newer) if newer > FORMAT_NOW => InvalidValue::new(format!(
                        concat!($what, " version {} is newer than this wharf knows ({})"),
                        newer, FORMAT_NOW
                    ))
                    .with_hint("update wharf"),
                    Some(_) => InvalidValue::new(concat!("there is no such ", $what, " version"))
                        .with_hint(concat!("write `", $key, " = 1`")),
                    None => wrong_type::<Self>(value).with_hint(concat!("write `", $key, " = 1`")),
                };
                problems.report(span, invalid);
                None
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "const": 1 })
            }
        }
    )*};
}

/// The only version of either format that there is.
const FORMAT_NOW: i128 = 1;

format_version! {
    /// Of `wharf.toml`.
    FormatVersion, "manifest", "manifest";
    /// Of `node.toml`.
    NodeVersion, "node", "node file";
}

/// Types that are read from text only here, each by `$parse`.
macro_rules! text_only {
    ($($(#[$attribute:meta])* $name:ident($inner:ty), $schema:tt, $parse:expr;)*) => {$(
        $(#[$attribute])*
        #[derive(Debug, Clone)]
        pub(crate) struct $name(pub(crate) $inner);

        impl FromStr for $name {
            type Err = InvalidValue;

            fn from_str(text: &str) -> Result<Self, InvalidValue> {
                let parse: fn(&str) -> Result<$inner, InvalidValue> = $parse;
                parse(text).map(Self)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    )*};
}

pub(crate) use text_only;

text_only! {
    /// A version by semver.org.
    Version(semver::Version), {
        "description": "A version as semver.org has it.",
        "type": "string",
        "pattern": "^[0-9]+\\.[0-9]+\\.[0-9]+([-+].*)?$"
    }, parse_version;

    /// What a component is built from.
    SourcePath(Source), {
        "description": "A folder, whose language is detected, or a `.wasm` or `.wat` file, relative to the folder of wharf.toml.",
        "type": "string",
        "minLength": 1,
        "pattern": "^[^/\\\\:][^\\\\:]*$"
    }, parse_source;

    /// The name of a Cargo feature, which goes to Cargo's command line.
    FeatureName(String), {
        "description": "The name of a Cargo feature.",
        "type": "string",
        "pattern": "^[A-Za-z0-9_][A-Za-z0-9_+./-]*$"
    }, parse_feature;

    /// The value of an HTTP header.
    HeaderText(String), {
        "description": "The value of an HTTP header.",
        "type": "string",
        "pattern": "^[!-~]([ -~]*[!-~])?$"
    }, parse_header;

    /// A file below a folder.
    FilePath(String), {
        "description": "A file, relative to the folder of the files.",
        "type": "string",
        "minLength": 1,
        "pattern": "^[^/\\\\:][^\\\\:]*$"
    }, parse_file;

    /// Which requests share an instance.
    IsolationWord(Isolation), {
        "description": "`shared`: many requests share an instance; `request`: each has its own.",
        "enum": ["shared", "request"]
    }, parse_isolation;
}

fn parse_version(text: &str) -> Result<semver::Version, InvalidValue> {
    text.parse().map_err(|_| {
        InvalidValue::new(format!("{} is not a version", quote(text)))
            .with_hint("a version is three numbers, as in `0.1.0`")
    })
}

fn parse_source(text: &str) -> Result<Source, InvalidValue> {
    let is_path =
        text.starts_with(['.', '/']) || text.contains('\\') || text.get(1..2) == Some(":");
    if text.contains([':', '@']) && !is_path {
        return Err(InvalidValue::new(format!(
            "{} is no path, and other sources are not available in this version of wharf",
            quote(text)
        ))
        .with_hint("give a folder, or download the component and give its `.wasm` file"));
    }
    AppPath::new(text).map(Source::Path)
}

pub(crate) fn parse_feature(text: &str) -> Result<String, InvalidValue> {
    let is_inner =
        |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'+' | b'.' | b'/' | b'-');
    let is_first = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
    if text.as_bytes().first().is_some_and(is_first) && text.bytes().all(is_inner) {
        return Ok(text.to_owned());
    }
    let invalid = InvalidValue::new(format!("{} is not the name of a feature", quote(text)));
    Err(if text.contains([',', ' ']) {
        invalid.with_hint("give each feature as a string of its own")
    } else {
        invalid
    })
}

pub(crate) fn parse_header(text: &str) -> Result<String, InvalidValue> {
    let is_value = !text.is_empty()
        && text.trim() == text
        && text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if is_value {
        return Ok(text.to_owned());
    }
    Err(
        InvalidValue::new(format!("{} is not the value of a header", quote(text)))
            .with_hint("it is of printable ASCII characters, with no space at either end"),
    )
}

pub(crate) fn parse_file(text: &str) -> Result<String, InvalidValue> {
    let path = AppPath::new(text)?;
    match path.file_name() {
        Some(_) => Ok(path.as_str().to_owned()),
        None => Err(InvalidValue::new(format!("{} is not a file", quote(text)))),
    }
}

fn parse_isolation(text: &str) -> Result<Isolation, InvalidValue> {
    match text {
        "shared" => Ok(Isolation::Shared),
        "request" => Ok(Isolation::Request),
        other => {
            let invalid = InvalidValue::new(format!("there is no isolation {}", quote(other)));
            Err(invalid.with_hint(
                did_you_mean(other, ["shared", "request"])
                    .unwrap_or_else(|| "there are `shared` and `request`".to_owned()),
            ))
        }
    }
}

impl<T: FromToml> FromToml for Vec<T> {
    const EXPECTED: &'static str = "an array";

    fn read(value: &DeValue<'_>, span: Range<usize>, problems: &mut Problems<'_>) -> Option<Self> {
        let DeValue::Array(items) = value else {
            let wrong = wrong_type::<Self>(value);
            problems.report(
                span,
                match value.as_str() {
                    _ if T::IS_TABLE => {
                        wrong.with_hint("write each as a table under double brackets: `[[…]]`")
                    }
                    Some(text) => wrong.with_hint(format!(
                        "write it in brackets: [{}]",
                        quote(text).replace('`', "\"")
                    )),
                    None => wrong,
                },
            );
            return None;
        };
        let read: Vec<T> = items
            .iter()
            .filter_map(|item| T::read(item.get_ref(), item.span(), problems))
            .collect();
        (read.len() == items.len()).then_some(read)
    }
}

/// Checks that a process could have the variable `name` with the value `text`.
pub(crate) fn check_variable(name: &str, text: &str) -> Result<(), InvalidValue> {
    if name.is_empty() || name.contains(['=', '\0']) {
        return Err(InvalidValue::new(format!(
            "{} cannot name a variable",
            quote(name)
        )));
    }
    if text.contains('\0') {
        return Err(InvalidValue::new("a variable's value cannot hold a NUL"));
    }
    Ok(())
}

/// Environment variables by name.
#[derive(Debug, Clone)]
pub(crate) struct Environment(pub(crate) std::collections::BTreeMap<String, String>);

impl FromToml for Environment {
    const EXPECTED: &'static str = "a table such as `{ KEY = \"value\" }`";

    fn read(value: &DeValue<'_>, span: Range<usize>, problems: &mut Problems<'_>) -> Option<Self> {
        let DeValue::Table(table) = value else {
            problems.report(span, wrong_type::<Self>(value));
            return None;
        };
        let mut variables = std::collections::BTreeMap::new();
        for (key, value) in table.iter() {
            let name = key.get_ref();
            if let Some(text) = String::read(value.get_ref(), value.span(), problems) {
                match check_variable(name, &text) {
                    Ok(()) => {
                        variables.insert(name.clone().into_owned(), text);
                    }
                    Err(invalid) => problems.report(key.span(), invalid),
                }
            }
        }
        Some(Self(variables))
    }
}

impl JsonSchema for Environment {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Environment".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let mut schema = json_schema!({
            "description": "Environment variables and their values.",
            "type": "object",
            "additionalProperties": { "type": "string" }
        });
        schema.insert("propertyNames".to_owned(), json!({ "pattern": "^[^=]+$" }));
        schema
    }
}
