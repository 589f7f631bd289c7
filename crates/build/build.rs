//! Embeds the guest SDK and the templates, file by file.
//!
//! They lie beside the crates in the repository; a published package carries
//! copies in `embedded/`, which win.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let mut code = String::new();
    for (name, packaged, beside) in [
        ("SDK", "embedded/sdk", "../../sdk/rust"),
        ("TEMPLATES", "embedded/templates", "../../templates"),
    ] {
        let packaged = here.join(packaged);
        let root = if packaged.is_dir() {
            packaged
        } else {
            here.join(beside)
        };
        // Cargo looks at everything below a folder it is given: the root's
        // own target folder, if someone built there, is left out.
        for path in entries(&root) {
            println!("cargo::rerun-if-changed={}", path.display());
        }
        let mut files = Vec::new();
        collect(&root, &root, &mut files);
        writeln!(code, "pub(crate) static {name}: &[(&str, &[u8])] = &[").expect("to a string");
        for (path, file) in files {
            let file = file.canonicalize().expect("it was just listed");
            writeln!(code, "    ({path:?}, include_bytes!({file:?})),").expect("to a string");
        }
        code.push_str("];\n");
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    fs::write(out.join("embedded.rs"), code).expect("cargo's folder can be written");
}

/// What lies in `folder`, sorted, without hidden files and what tools write.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let is_source = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| {
            !name.starts_with('.') && !matches!(name, "target" | "node_modules" | "Cargo.lock")
        })
    };
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(is_source)
        .collect();
    paths.sort();
    paths
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<(String, PathBuf)>) {
    for path in entries(folder) {
        if path.is_dir() {
            collect(root, &path, files);
            continue;
        }
        let inside = path.strip_prefix(root).expect("it lies below its root");
        let inside: Vec<_> = (inside.iter()).map(|part| part.to_string_lossy()).collect();
        files.push((inside.join("/"), path));
    }
}
