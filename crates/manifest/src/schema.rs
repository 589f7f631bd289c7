//! The JSON Schemas of `wharf.toml` and `node.toml`, for editors.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;

use crate::node::NodeTable;
use crate::parse::raw::AppTable;

/// The JSON Schema (draft 2020-12) of `wharf.toml`, with descriptions and defaults, keys sorted.
///
/// It comes from the same declarations as the parser, and accepts all that the parser accepts.
pub fn app_schema() -> serde_json::Value {
    schema_of::<AppTable>("wharf.toml")
}

/// The JSON Schema of `node.toml`, likewise.
pub fn node_schema() -> serde_json::Value {
    schema_of::<NodeTable>("node.toml")
}

fn schema_of<T: JsonSchema>(title: &str) -> serde_json::Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = generator.into_root_schema_for::<T>().to_value();
    schema["title"] = title.into();
    schema.sort_all_objects();
    schema
}
