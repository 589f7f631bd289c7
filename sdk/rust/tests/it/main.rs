//! The checked-in encodings of the worlds are those of the WIT in `wit/`.
#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use wit_component::{StringEncoding, metadata};
use wit_parser::Resolve;

/// Compares `src/wasi/<version>/component_type.rs` with the WIT, or writes it
/// when the environment variable `BLESS` is set.
fn check(version: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(root.join("wit").join(version)).unwrap();
    let mut text = format!(
        "//! The worlds of `wit/{version}`, encoded. Written by `BLESS=1 cargo test`.\n\n\
         use crate::wasi::abi::component_type;\n"
    );
    let encoded = |world| {
        let id = resolve.select_world(&[package], Some(world)).unwrap();
        literal(&metadata::encode(&resolve, id, StringEncoding::UTF8, None).unwrap())
    };
    write!(
        text,
        "\ncomponent_type!(\n    /// The imports of the SDK.\n    link_imports,\n    \"{version}:imports\",\n    b\"{}\"\n);\n\n\
         /// The world of a handler. The guest's crate puts it into its module, as a\n\
         /// guest without a handler must not have it.\n\
         pub const HTTP_WORLD: &[u8] = b\"{}\";\n",
        encoded("imports"),
        encoded("http"),
    )
    .unwrap();
    let path = root.join(format!("src/wasi/{version}/component_type.rs"));
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, text).unwrap();
    } else {
        let found = fs::read_to_string(&path).unwrap();
        assert!(found == text, "run `BLESS=1 cargo test` in sdk/rust");
    }
}

/// The inside of a byte string literal, in lines.
fn literal(bytes: &[u8]) -> String {
    let mut text = String::new();
    for line in bytes.chunks(64) {
        text.push_str("\\\n        ");
        for (column, byte) in line.iter().enumerate() {
            match byte {
                // At the start of a line a space would be skipped.
                b' ' if column == 0 => text.push_str("\\x20"),
                byte => text.push_str(&byte.escape_ascii().to_string()),
            }
        }
    }
    text
}

#[test]
fn the_encoding_for_wasi_0_2_is_of_the_wit() {
    check("p2");
}

#[test]
fn the_encoding_for_wasi_0_3_is_of_the_wit() {
    check("p3");
}
