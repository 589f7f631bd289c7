//! What a component's source is: a Rust crate, a ready binary, text, or a
//! language that is not built yet.

use std::path::{Path, PathBuf};

use crate::error::BuildError;

/// The languages told apart only to say that they are not built yet: the file
/// that gives each away, its name, and the tool that makes components from it.
const NOT_YET: &[(&str, &str, &str)] = &[
    ("package.json", "JavaScript", "jco"),
    ("pyproject.toml", "Python", "componentize-py"),
    ("requirements.txt", "Python", "componentize-py"),
    ("go.mod", "Go", "wit-bindgen go"),
    ("build.zig", "Zig", "zig and wasm-tools"),
    ("CMakeLists.txt", "C or C++", "wasi-sdk"),
    ("Makefile", "C or C++", "wasi-sdk"),
];

/// What a component is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SourceKind {
    /// A folder with a `Cargo.toml`.
    Rust(PathBuf),
    /// A component or core module.
    Wasm(PathBuf),
    /// A component or core module as text.
    Wat(PathBuf),
}

/// Looks at the file or folder that `source` names.
pub(crate) fn detect(component: &str, source: &Path) -> Result<SourceKind, BuildError> {
    let meta = match std::fs::metadata(source) {
        Ok(meta) => meta,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(BuildError::SourceMissing {
                component: component.to_string(),
                path: source.to_path_buf(),
            });
        }
        Err(error) => return Err(BuildError::io("read", source)(error)),
    };
    if meta.is_dir() {
        return detect_folder(component, source);
    }
    match source.extension().and_then(|extension| extension.to_str()) {
        Some("wasm") => Ok(SourceKind::Wasm(source.to_path_buf())),
        Some("wat") => Ok(SourceKind::Wat(source.to_path_buf())),
        _ if source.file_name().is_some_and(|name| name == "Cargo.toml") => {
            let folder = source.parent().unwrap_or(Path::new("."));
            Ok(SourceKind::Rust(folder.to_path_buf()))
        }
        _ => Err(unknown(component, source)),
    }
}

fn detect_folder(component: &str, folder: &Path) -> Result<SourceKind, BuildError> {
    if folder.join("Cargo.toml").is_file() {
        return Ok(SourceKind::Rust(folder.to_path_buf()));
    }
    for (name, language, tool) in NOT_YET {
        if folder.join(name).is_file() {
            return Err(BuildError::LanguageNotYet {
                component: component.to_string(),
                language,
                file: folder.join(name),
                tool,
            });
        }
    }
    Err(unknown(component, folder))
}

fn unknown(component: &str, path: &Path) -> BuildError {
    BuildError::SourceUnknown {
        component: component.to_string(),
        path: path.to_path_buf(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn sources_are_told_apart() {
        let root = tempfile::tempdir().unwrap();
        let put = |name: &str| {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, "").unwrap();
            path
        };
        let detect = |path: &Path| detect("api", path);
        let manifest = put("rust/Cargo.toml");
        let folder = manifest.parent().unwrap();
        let rust = Ok(SourceKind::Rust(folder.to_path_buf()));
        let check = |found: Result<SourceKind, BuildError>, expected: &Result<SourceKind, ()>| {
            assert_eq!(found.map_err(drop), *expected);
        };
        check(detect(folder), &rust);
        check(detect(&manifest), &rust);
        let wasm = put("a.wasm");
        check(detect(&wasm), &Ok(SourceKind::Wasm(wasm.clone())));
        let text = put("a.wat");
        check(detect(&text), &Ok(SourceKind::Wat(text.clone())));

        let go = put("go/go.mod");
        let error = detect(go.parent().unwrap()).unwrap_err();
        assert!(error.to_string().contains("written in Go"), "{error}");
        assert!(error.hint().unwrap().contains("[component.api]"));
        let error = detect(&root.path().join("none")).unwrap_err();
        assert!(matches!(error, BuildError::SourceMissing { .. }));
        let error = detect(&put("a.exe")).unwrap_err();
        assert!(matches!(error, BuildError::SourceUnknown { .. }));
    }
}
