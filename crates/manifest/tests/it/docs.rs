//! The published JSON Schema and the reference page.

use std::path::{Path, PathBuf};

use wharf_manifest::{app_schema, parse_app};

fn reference(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../docs/reference")
        .join(name)
}

/// `WHARF_BLESS=1` writes the file anew.
#[test]
fn the_committed_schema_is_the_generated_one() {
    let path = reference("wharf.schema.json");
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

#[test]
fn the_examples_of_the_reference_are_right() {
    let page = std::fs::read_to_string(reference("manifest.md")).unwrap();
    let mut whole = 0;
    for block in page.split("```toml\n").skip(1) {
        let example = block.split("```").next().unwrap();
        let head = "manifest = 1\nname = \"a\"\nversion = \"0.1.0\"\n";
        let text = if example.starts_with("manifest") {
            whole += 1;
            example.to_owned()
        } else {
            format!("{head}{example}")
        };
        if let Err(errors) = parse_app(&text, "manifest.md") {
            panic!("{errors}");
        }
    }
    assert!(whole > 0, "no example is a whole manifest");
}

#[test]
fn the_reference_has_every_key_and_default() {
    let page = std::fs::read_to_string(reference("manifest.md")).unwrap();
    let schema = app_schema();
    let tables = schema["$defs"].as_object().unwrap().values();
    for table in tables.chain([&schema]) {
        let Some(keys) = table["properties"].as_object() else {
            continue;
        };
        for (key, property) in keys {
            let default = match &property["default"] {
                serde_json::Value::String(text) => text.clone(),
                serde_json::Value::Number(number) => number.to_string(),
                _ => String::new(),
            };
            let has_row = page
                .lines()
                .any(|line| line.starts_with(&format!("| `{key}` |")) && line.contains(&default));
            assert!(
                has_row,
                "no row of a table has the key `{key}` with its default {default}"
            );
        }
    }
}
