//! An app around a single `.wasm` or `.wat` file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use wharf_artifact::{Description, Store};
use wharf_manifest::{
    App, AppName, AppPath, CommandTrigger, Component, ComponentName, Digest, HttpTarget,
    HttpTrigger, NAME_LENGTH_MAX, RoutePattern, Source, Triggers,
};

use crate::cancel::Cancel;
use crate::component::{described, load_ready};
use crate::error::BuildError;
use crate::progress::{Progress, Step, during};
use crate::report::{BuildReport, ComponentReport, Optimization, gzip_size};
use crate::source::{self, SourceKind};

/// How to make an app of a single file.
#[derive(Debug, Clone)]
pub struct FileOptions {
    /// The `.wasm` or `.wat` file.
    pub file: PathBuf,
    /// The store that the app is packed into.
    pub store: Store,
    /// Ends the work early.
    pub cancel: Cancel,
}

/// Packs an app of one component around a file, with nothing granted and the
/// default limits.
///
/// App and component are named after the file. A component that answers HTTP
/// gets the route `/...`, one that can be run the command trigger. Nothing is
/// written beside the file.
///
/// # Errors
///
/// The file is missing, too large, or no valid WebAssembly; or the store cannot
/// be written.
pub fn build_file(
    options: &FileOptions,
    progress: &dyn Progress,
) -> Result<BuildReport, BuildError> {
    let clock = Instant::now();
    let file = std::path::absolute(&options.file).map_err(BuildError::io("find", &options.file))?;
    let name = name_of(&file)?;
    let file = match source::detect(&name, &file)? {
        SourceKind::Wasm(file) | SourceKind::Wat(file) => file,
        SourceKind::Rust(path) => {
            return Err(BuildError::SourceUnknown {
                component: name,
                path,
            });
        }
    };
    let step = Step::Read {
        component: name.clone(),
        file: file.clone(),
    };
    let (bytes, description) = during(progress, &step, || {
        let (bytes, _) = load_ready(&name, &file)?;
        let description = described(&bytes, &file)?;
        Ok::<_, BuildError>((bytes, description))
    })?;
    if options.cancel.is_fired() {
        return Err(BuildError::Cancelled);
    }
    let app = app_around(&name, &file, &description)?;
    let elapsed_ms = || u64::try_from(clock.elapsed().as_millis()).unwrap_or(u64::MAX);
    let component = ComponentReport {
        name: name.clone(),
        digest: Digest::of(&bytes),
        file: None,
        kind: description.title(),
        asks: description.authority_summary(),
        size: bytes.len() as u64,
        gzip_size: gzip_size(&bytes),
        dependencies_size: 0,
        optimization: Optimization::Ready,
        elapsed_ms: elapsed_ms(),
        reused: false,
    };
    let packed = during(progress, &Step::Pack, || {
        let names = app.components.keys().cloned();
        let components: BTreeMap<_, _> = names.zip([bytes]).collect();
        crate::pack::pack(&options.store, &app, components, Vec::new())
    })?;
    Ok(BuildReport {
        app: app.name.to_string(),
        version: app.version.to_string(),
        artifact: packed.digest,
        up_to_date: false,
        components: vec![component],
        files: Vec::new(),
        notes: packed.warnings,
        elapsed_ms: elapsed_ms(),
        watch: vec![file],
    })
}

fn app_around(name: &str, file: &Path, description: &Description) -> Result<App, BuildError> {
    let bad_name = |reason: String| BuildError::BadName {
        name: name.to_string(),
        reason,
    };
    let file_name = file.file_name().unwrap_or_default().to_string_lossy();
    let source = AppPath::new(file_name.as_ref()).map_err(|error| bad_name(error.to_string()))?;
    let app_name: AppName = name.parse().map_err(|error| bad_name(format!("{error}")))?;
    let component: ComponentName = name.parse().map_err(|error| bad_name(format!("{error}")))?;
    let everything: RoutePattern = "/...".parse().expect("a valid pattern");
    let http = description.http.map(|_| HttpTrigger {
        route: everything,
        target: HttpTarget::Component(component.clone()),
    });
    let command = description.command.then(|| CommandTrigger {
        component: component.clone(),
    });
    Ok(App {
        name: app_name,
        version: "0.0.0".parse().expect("a valid version"),
        description: None,
        components: [(component, Component::new(Source::Path(source)))].into(),
        triggers: Triggers {
            http: http.into_iter().collect(),
            command,
        },
    })
}

/// The file's stem as a name: lower case, with `-` for what a name cannot hold.
fn name_of(file: &Path) -> Result<String, BuildError> {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let name = sanitised(&stem);
    if name.is_empty() {
        return Err(BuildError::BadName {
            name: stem.into_owned(),
            reason: "it holds no letter and no digit".to_string(),
        });
    }
    Ok(name)
}

pub(crate) fn sanitised(text: &str) -> String {
    let mut name = String::new();
    for character in text.chars() {
        match character.to_ascii_lowercase() {
            letter @ ('a'..='z' | '0'..='9') => name.push(letter),
            _ if !name.is_empty() && !name.ends_with('-') => name.push('-'),
            _ => {}
        }
    }
    name.truncate(NAME_LENGTH_MAX);
    name.trim_end_matches('-').to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_become_names() {
        let check = |text: &str, expected: &str| {
            let name = sanitised(text);
            assert_eq!(name, expected);
            assert_eq!(name.parse::<AppName>().is_ok(), !expected.is_empty());
        };
        check("hello", "hello");
        check("My_App.v2 (copy)", "my-app-v2-copy");
        check("--x--", "x");
        check("日本", "");
        check(&"a".repeat(100), &"a".repeat(63));
    }
}
