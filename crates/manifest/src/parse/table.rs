//! Tables of fixed keys: one declaration gives their reader and their JSON Schema.

use std::borrow::Cow;
use std::ops::Range;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::DeValue;

use crate::error::Problems;
use crate::invalid::{InvalidValue, quote};
use crate::parse::suggest::did_you_mean;
use crate::parse::value::FromToml;

/// A value and where it stands.
#[derive(Debug)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) span: Range<usize>,
}

impl<T: FromToml> FromToml for At<T> {
    const EXPECTED: &'static str = T::EXPECTED;
    const IS_TABLE: bool = T::IS_TABLE;

    fn read(value: &DeValue<'_>, span: Range<usize>, problems: &mut Problems<'_>) -> Option<Self> {
        let value = T::read(value, span.clone(), problems)?;
        Some(Self { value, span })
    }
}

impl<T: FromToml> JsonSchema for At<T> {
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// What was found under a key.
#[derive(Debug)]
pub(crate) enum Field<T> {
    /// The key is not there.
    Absent,
    /// Something that is wrong, and reported.
    Wrong,
    /// A good value.
    Given(At<T>),
}

impl<T> Field<T> {
    pub(crate) fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    /// The value, if there is a good one.
    pub(crate) fn good(self) -> Option<T> {
        match self {
            Self::Given(at) => Some(at.value),
            Self::Absent | Self::Wrong => None,
        }
    }

    /// The value and its place, if there is a good one.
    pub(crate) fn given(&self) -> Option<&At<T>> {
        match self {
            Self::Given(at) => Some(at),
            Self::Absent | Self::Wrong => None,
        }
    }
}

impl<T: FromToml> Field<T> {
    pub(crate) fn read(value: &Spanned<DeValue<'_>>, problems: &mut Problems<'_>) -> Self {
        let span = value.span();
        At::read(value.get_ref(), span, problems).map_or(Self::Wrong, Self::Given)
    }
}

/// What is known of a table's keys.
pub(crate) struct Keys {
    /// Where they stand, for messages.
    pub(crate) place: &'static str,
    pub(crate) known: &'static [&'static str],
    /// Keys of later versions.
    pub(crate) later: &'static [&'static str],
    /// Keys that belong to another table, and what to do then.
    pub(crate) elsewhere: &'static [(&'static [&'static str], &'static str)],
}

impl Keys {
    /// That `key` is none of them.
    pub(crate) fn unknown(&self, key: &str) -> InvalidValue {
        if self.later.contains(&key) {
            return InvalidValue::new(format!(
                "{} is not available in this version of wharf",
                quote(key)
            ));
        }
        let unknown = InvalidValue::new(format!("unknown key {} in {}", quote(key), self.place));
        let elsewhere = self
            .elsewhere
            .iter()
            .find(|(keys, _)| keys.contains(&key))
            .map(|(_, hint)| (*hint).to_owned());
        match elsewhere.or_else(|| did_you_mean(key, self.known.iter().copied())) {
            Some(hint) => unknown.with_hint(hint),
            None => unknown.with_hint(format!("the keys are {}", self.known.join(", "))),
        }
    }

    /// That `key` should be there, which the line `line` would do.
    pub(crate) fn missing(&self, key: &str, line: &str) -> InvalidValue {
        InvalidValue::new(format!("missing key `{key}` in {}", self.place))
            .with_hint(format!("add `{line}`"))
    }
}

/// The schema of one key: that of its type with the key's own description and default.
pub(crate) fn key_schema(mut schema: Schema, docs: &[&str], default: &[Value]) -> Value {
    schema.insert("description".to_owned(), description(docs));
    if let [default] = default {
        schema.insert("default".to_owned(), default.clone());
    }
    schema.to_value()
}

/// The schema of a table.
pub(crate) fn table_schema(
    docs: &[&str],
    properties: Map<String, Value>,
    required: &[&str],
) -> Schema {
    schemars::json_schema!({
        "description": description(docs),
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false
    })
}

fn description(docs: &[&str]) -> Value {
    let lines: Vec<&str> = docs.iter().map(|line| line.trim()).collect();
    Value::String(lines.join(" "))
}

/// Declares a table: for each key its meaning, type and default, and for a required one the line
/// that adds it. `later` lists keys of later versions; `elsewhere` says of another table's keys
/// what to do with one that was put here.
macro_rules! table {
    (
        $(#[doc = $doc:literal])*
        $name:ident in $place:literal {
            $(
                $(#[doc = $key_doc:literal])*
                $key:ident: $type:ty $(, default $default:expr)? $(, required $line:literal)?;
            )*
        }
        $(later [$($later:literal),* $(,)?])?
        $(elsewhere [$($owner:ident => $hint:literal),* $(,)?])?
    ) => {
        $(#[doc = $doc])*
        #[derive(Debug)]
        pub(crate) struct $name {
            $(
                $(#[doc = $key_doc])*
                pub(crate) $key: $crate::parse::table::Field<$type>,
            )*
        }

        impl $name {
            pub(crate) const KEYS: $crate::parse::table::Keys = $crate::parse::table::Keys {
                place: $place,
                known: &[$(stringify!($key)),*],
                later: &[$($($later),*)?],
                elsewhere: &[$($(($owner::KEYS.known, $hint)),*)?],
            };
        }

        impl $crate::parse::value::FromToml for $name {
            const EXPECTED: &'static str = "a table";
            const IS_TABLE: bool = true;

            fn read(
                value: &::toml::de::DeValue<'_>,
                span: ::std::ops::Range<usize>,
                problems: &mut $crate::error::Problems<'_>,
            ) -> Option<Self> {
                let ::toml::de::DeValue::Table(table) = value else {
                    problems.report(span, $crate::parse::value::wrong_type::<Self>(value));
                    return None;
                };
                let mut read = Self {
                    $($key: $crate::parse::table::Field::Absent,)*
                };
                for (key, value) in table.iter() {
                    match key.get_ref().as_ref() {
                        $(stringify!($key) => {
                            read.$key = $crate::parse::table::Field::read(value, problems);
                        })*
                        other => problems.report(key.span(), Self::KEYS.unknown(other)),
                    }
                }
                $($(
                    if read.$key.is_absent() {
                        let missing = Self::KEYS.missing(stringify!($key), $line);
                        problems.report(span.clone(), missing);
                    }
                )?)*
                Some(read)
            }
        }

        impl ::schemars::JsonSchema for $name {
            fn schema_name() -> ::std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(generator: &mut ::schemars::SchemaGenerator) -> ::schemars::Schema {
                let mut properties = ::serde_json::Map::new();
                let mut required: Vec<&str> = Vec::new();
                $(
                    let default: &[::serde_json::Value] = &[$(::serde_json::json!($default))?];
                    let schema = generator.subschema_for::<$type>();
                    let schema = $crate::parse::table::key_schema(schema, &[$($key_doc),*], default);
                    properties.insert(stringify!($key).to_owned(), schema);
                    required.extend::<&[&str]>(&[$({
                        let _: &str = $line;
                        stringify!($key)
                    })?]);
                )*
                $crate::parse::table::table_schema(&[$($doc),*], properties, &required)
            }
        }
    };
}

pub(crate) use table;
