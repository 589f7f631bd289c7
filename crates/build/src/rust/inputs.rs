//! What a crate's build read, so that an unchanged crate is not built again.
//!
//! Cargo's dep-info file beside the output lists every source, in path
//! dependencies too, and what build scripts asked to watch. Manifests,
//! configuration and the toolchain are added here.

use std::path::{Path, PathBuf};

use super::select::Choice;
use super::toolchain::Toolchain;
use crate::error::BuildError;
use crate::fingerprint::Inputs;

/// Collects the inputs of the crate whose module lies at `built`.
pub(super) fn of_crate(
    folder: &Path,
    choice: &Choice,
    toolchain: &Toolchain,
    built: &Path,
) -> Result<Inputs, BuildError> {
    let mut inputs = Inputs::default();
    // `<target folder>/<target>/release/<name>.wasm`
    let target_folder = built.ancestors().nth(3);
    let dep_info = built.with_extension("d");
    let text = std::fs::read_to_string(&dep_info).map_err(BuildError::io("read", &dep_info))?;
    for source in sources(&text) {
        if target_folder.is_some_and(|target| source.starts_with(target)) {
            inputs.generated.insert(source);
            continue;
        }
        if let Some(manifest) = nearest_manifest(&source) {
            inputs.files.insert(manifest);
        }
        inputs.files.insert(source);
    }
    let package = choice.package_folder();
    for name in ["Cargo.toml", "build.rs"] {
        inputs.files.insert(package.join(name));
    }
    // A new file here can become a target without any other file changing.
    inputs.folders.insert(package.join("src"));
    inputs
        .files
        .insert(choice.workspace_root.join("Cargo.toml"));
    inputs
        .generated
        .insert(choice.workspace_root.join("Cargo.lock"));
    for ancestor in folder.ancestors() {
        for name in [
            ".cargo/config.toml",
            ".cargo/config",
            "rust-toolchain.toml",
            "rust-toolchain",
        ] {
            inputs.files.insert(ancestor.join(name));
        }
    }
    inputs.files.extend(toolchain.files());
    Ok(inputs)
}

/// The prerequisites of a dep-info file, which is one rule of a makefile.
fn sources(dep_info: &str) -> Vec<PathBuf> {
    let mut sources = Vec::new();
    for line in dep_info.lines() {
        // `: ` ends the target's name; a drive letter's colon has no blank.
        let Some((_, list)) = line.split_once(": ") else {
            continue;
        };
        let mut path = String::new();
        let mut characters = list.chars().peekable();
        while let Some(character) = characters.next() {
            match character {
                '\\' if characters.peek() == Some(&' ') => path.extend(characters.next()),
                ' ' => sources.push(PathBuf::from(std::mem::take(&mut path))),
                other => path.push(other),
            }
        }
        sources.push(PathBuf::from(path));
    }
    sources.retain(|path| !path.as_os_str().is_empty());
    sources
}

fn nearest_manifest(source: &Path) -> Option<PathBuf> {
    source
        .ancestors()
        .skip(1)
        .map(|folder| folder.join("Cargo.toml"))
        .find(|manifest| manifest.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dep_info_is_read_with_blanks_in_paths() {
        let text = "/t/my\\ app.wasm: /w/a\\ b/src/lib.rs /w/c.rs\n\n";
        let expected = [PathBuf::from("/w/a b/src/lib.rs"), PathBuf::from("/w/c.rs")];
        assert_eq!(sources(text), expected);
        assert!(sources("").is_empty());
        assert!(sources("/t/x.wasm:\n").is_empty());
    }
}
