//! The published JSON Schema.

use std::path::Path;

use wharf_manifest::app_schema;

/// `WHARF_BLESS=1` writes the file anew.
#[test]
fn the_committed_schema_is_the_generated_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/wharf.schema.json");
    let generated = format!("{:#}\n", app_schema());
    if std::env::var_os("WHARF_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &generated).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == generated,
        "{} is out of date; run the test with WHARF_BLESS=1",
        path.display()
    );
}

#[test]
fn every_key_is_described() {
    fn visit(value: &serde_json::Value, path: &str) {
        if let Some(properties) = value.get("properties").and_then(|p| p.as_object()) {
            for (key, property) in properties {
                let description = property.get("description").and_then(|d| d.as_str());
                assert!(description.is_some_and(|d| !d.is_empty()), "{path}.{key}");
            }
        }
        if let Some(object) = value.as_object() {
            for (key, value) in object {
                visit(value, &format!("{path}.{key}"));
            }
        }
    }
    visit(&app_schema(), "");
}
