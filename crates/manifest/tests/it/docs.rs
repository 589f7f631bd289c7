//! The published JSON Schemas and the reference pages.

use std::path::{Path, PathBuf};

use serde_json::Value;
use wharf_manifest::{app_schema, node_schema, parse_app, parse_node};

fn reference(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../docs/reference")
        .join(name)
}

fn page(name: &str) -> String {
    std::fs::read_to_string(reference(name)).unwrap()
}

/// `WHARF_BLESS=1` writes the files anew.
#[test]
fn the_committed_schemas_are_the_generated_ones() {
    for (name, schema) in [
        ("wharf.schema.json", app_schema()),
        ("node.schema.json", node_schema()),
    ] {
        let path = reference(name);
        let generated = format!("{schema:#}\n");
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
}

#[test]
fn every_key_is_described() {
    fn visit(value: &Value, path: &str) {
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
    visit(&node_schema(), "");
}

/// Checks every example of a page, those that are not whole below `head`.
fn check_examples(name: &str, head: &str, parse: impl Fn(&str) -> Option<String>) {
    let first = head.lines().next().unwrap();
    let page = page(name);
    let mut whole = 0;
    for block in page.split("```toml\n").skip(1) {
        let example = block.split("```").next().unwrap();
        let text = if example.starts_with(first) {
            whole += 1;
            example.to_owned()
        } else {
            format!("{head}{example}")
        };
        if let Some(errors) = parse(&text) {
            panic!("{errors}");
        }
    }
    assert!(whole > 0, "no example of {name} is whole");
}

#[test]
fn the_examples_of_the_reference_are_right() {
    let head = "manifest = 1\nname = \"a\"\nversion = \"0.1.0\"\n";
    check_examples("manifest.md", head, |text| {
        Some(parse_app(text, "manifest.md").err()?.to_string())
    });
    check_examples("node.md", "node = 1\n", |text| {
        Some(parse_node(text, "node.md").err()?.to_string())
    });
}

/// Whether `page` has a row for every key of `schema`, with its default.
fn check_rows(page: &str, schema: &Value) {
    let tables = schema["$defs"].as_object().unwrap().values();
    for table in tables.chain([schema]) {
        let Some(keys) = table["properties"].as_object() else {
            continue;
        };
        for (key, property) in keys {
            let default = match &property["default"] {
                Value::String(text) => text.clone(),
                Value::Number(number) => number.to_string(),
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

#[test]
fn the_reference_has_every_key_and_default() {
    check_rows(&page("manifest.md"), &app_schema());
    check_rows(&page("node.md"), &node_schema());
}
