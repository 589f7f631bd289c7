//! The JSON Schema of `wharf.toml`, for editors.

use schemars::generate::SchemaSettings;

use crate::parse::raw::AppTable;

/// The JSON Schema (draft 2020-12) of `wharf.toml`, with descriptions and defaults, keys sorted.
///
/// It comes from the same declarations as the parser, and accepts all that the parser accepts.
pub fn app_schema() -> serde_json::Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = generator.into_root_schema_for::<AppTable>().to_value();
    schema["title"] = "wharf.toml".into();
    schema.sort_all_objects();
    schema
}
