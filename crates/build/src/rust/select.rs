//! Which package and target of a crate or workspace becomes the component.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use super::dependencies::DevelopmentOnly;
use super::toolchain::Toolchain;
use crate::error::BuildError;

/// Which kind of target a component's trigger calls for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Prefer {
    /// HTTP requests are answered by a library.
    Library,
    /// A command is a binary.
    Binary,
    /// No trigger says.
    Either,
}

/// What is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Choice {
    /// Cargo's id of the package.
    pub(crate) package_id: String,
    /// The package's `Cargo.toml`.
    pub(crate) manifest_path: PathBuf,
    /// The workspace's folder, which may be the package's own.
    pub(crate) workspace_root: PathBuf,
    /// Where cargo leaves what it makes.
    pub(crate) target_directory: PathBuf,
    /// The target.
    pub(crate) target: Target,
    /// What packages of the workspace use in their tests alone.
    pub(crate) development_only: DevelopmentOnly,
    /// Whether a crate of the workspace takes `wharf-sdk` from crates.io.
    pub(crate) needs_sdk: bool,
}

/// A target of the chosen package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// The library, by its crate name.
    Library(String),
    /// The binary of this name.
    Binary(String),
}

impl Choice {
    /// The folder of the chosen package.
    pub(crate) fn package_folder(&self) -> &Path {
        self.manifest_path.parent().unwrap_or(Path::new("."))
    }
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_members: Vec<String>,
    workspace_root: PathBuf,
    target_directory: PathBuf,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    id: String,
    manifest_path: PathBuf,
    default_run: Option<String>,
    dependencies: Vec<Dependency>,
    targets: Vec<CargoTarget>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    source: Option<String>,
    /// `dev`, `build`, or none.
    kind: Option<String>,
}

#[derive(Deserialize)]
struct CargoTarget {
    name: String,
    kind: Vec<String>,
    crate_types: Vec<String>,
}

impl Package {
    fn library(&self) -> Option<&CargoTarget> {
        self.targets.iter().find(|target| {
            target.crate_types.iter().any(|kind| {
                matches!(
                    kind.as_str(),
                    "lib" | "rlib" | "cdylib" | "dylib" | "staticlib"
                )
            }) && !target.kind.iter().any(|kind| kind == "example")
        })
    }

    fn binaries(&self) -> Vec<&CargoTarget> {
        let is_binary = |target: &&CargoTarget| target.kind.iter().any(|kind| kind == "bin");
        self.targets.iter().filter(is_binary).collect()
    }

    /// Whether it could be a component by its own declaration.
    fn is_candidate(&self) -> bool {
        !self.binaries().is_empty() || self.library().is_some_and(is_cdylib)
    }
}

fn is_cdylib(library: &CargoTarget) -> bool {
    library.crate_types.iter().any(|kind| kind == "cdylib")
}

/// Asks cargo about the crate in `folder` and chooses.
pub(crate) fn select(
    toolchain: &Toolchain,
    component: &str,
    folder: &Path,
    prefer: Prefer,
    pure: bool,
) -> Result<Choice, BuildError> {
    let manifest_path = folder.join("Cargo.toml");
    let output = Command::new(&toolchain.cargo)
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .arg("--manifest-path")
        .arg(&manifest_path)
        .current_dir(folder)
        .stdin(std::process::Stdio::null())
        .output()
        .map_err(BuildError::io("run", &toolchain.cargo))?;
    let unreadable = |output: String| BuildError::CrateUnreadable {
        component: component.to_string(),
        output,
    };
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(unreadable(text.trim_end().to_string()));
    }
    let metadata: Metadata = serde_json::from_slice(&output.stdout)
        .map_err(|error| unreadable(format!("cargo metadata: {error}")))?;
    choose(&metadata, component, &manifest_path, prefer, pure)
}

fn choose(
    metadata: &Metadata,
    component: &str,
    manifest_path: &Path,
    prefer: Prefer,
    pure: bool,
) -> Result<Choice, BuildError> {
    let package = choose_package(metadata, component, manifest_path)?;
    let target = choose_target(package, component, prefer, pure)?;
    let needs_sdk = metadata.packages.iter().any(|package| {
        package.dependencies.iter().any(|dependency| {
            dependency.name == crate::sdk::CRATE
                && (dependency.source.as_deref())
                    .is_some_and(|source| source.starts_with("registry+"))
        })
    });
    Ok(Choice {
        package_id: package.id.clone(),
        manifest_path: package.manifest_path.clone(),
        workspace_root: metadata.workspace_root.clone(),
        target_directory: metadata.target_directory.clone(),
        target,
        development_only: development_only(metadata),
        needs_sdk,
    })
}

fn development_only(metadata: &Metadata) -> DevelopmentOnly {
    let of_package = |package: &Package| {
        let is_development = |dependency: &&Dependency| dependency.kind.as_deref() == Some("dev");
        let names = |wanted: bool| {
            (package.dependencies.iter())
                .filter(move |dependency| is_development(dependency) == wanted)
                .map(|dependency| dependency.name.clone())
                .collect::<BTreeSet<_>>()
        };
        &names(true) - &names(false)
    };
    (metadata.packages.iter())
        .map(|package| (package.id.clone(), of_package(package)))
        .filter(|(_, names)| !names.is_empty())
        .collect()
}

fn choose_package<'a>(
    metadata: &'a Metadata,
    component: &str,
    manifest_path: &Path,
) -> Result<&'a Package, BuildError> {
    let wanted = real(manifest_path);
    if let Some(package) = metadata
        .packages
        .iter()
        .find(|package| real(&package.manifest_path) == wanted)
    {
        return Ok(package);
    }
    // A workspace without a package of its own: its only candidate is meant.
    let candidates: Vec<&Package> = metadata
        .packages
        .iter()
        .filter(|package| {
            metadata.workspace_members.contains(&package.id) && package.is_candidate()
        })
        .collect();
    match candidates.as_slice() {
        [] => Err(BuildError::NoTarget {
            component: component.to_string(),
            wanted: "library or binary",
            path: manifest_path.to_path_buf(),
        }),
        [package] => Ok(package),
        several => Err(BuildError::SeveralTargets {
            component: component.to_string(),
            candidates: names(several.iter().map(|package| package.name.as_str())),
            hint: format!("set `source` in [component.{component}] to the folder of one of them"),
        }),
    }
}

fn choose_target(
    package: &Package,
    component: &str,
    prefer: Prefer,
    pure: bool,
) -> Result<Target, BuildError> {
    let no_target = |wanted: &'static str| BuildError::NoTarget {
        component: component.to_string(),
        wanted,
        path: package.manifest_path.clone(),
    };
    let library = package.library();
    let binaries = package.binaries();
    if pure {
        let library = library.ok_or_else(|| no_target("library (which `pure` needs)"))?;
        return Ok(Target::Library(library.name.clone()));
    }
    let library_first = match prefer {
        Prefer::Library => true,
        Prefer::Binary => binaries.is_empty(),
        Prefer::Either => binaries.is_empty() || library.is_some_and(is_cdylib),
    };
    match library {
        Some(library) if library_first => Ok(Target::Library(library.name.clone())),
        _ if binaries.is_empty() => Err(no_target("library or binary")),
        _ => choose_binary(package, component, &binaries),
    }
}

fn choose_binary(
    package: &Package,
    component: &str,
    binaries: &[&CargoTarget],
) -> Result<Target, BuildError> {
    let named = |name: &str| binaries.iter().find(|binary| binary.name == name);
    let only = match binaries {
        [only] => Some(only),
        _ => None,
    };
    only.or_else(|| named(package.default_run.as_deref()?))
        .or_else(|| named(component))
        .or_else(|| named(&package.name))
        .map(|binary| Target::Binary(binary.name.clone()))
        .ok_or_else(|| BuildError::SeveralTargets {
            component: component.to_string(),
            candidates: names(binaries.iter().map(|binary| binary.name.as_str())),
            hint: "set `default-run` in the crate's [package], or name the component after one of them"
                .to_string(),
        })
}

fn names<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut names: Vec<String> = names.map(str::to_string).collect();
    names.sort();
    names
}

fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_path_buf())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::{Value, json};

    fn package(name: &str, targets: &[(&str, &str)]) -> Value {
        let targets: Vec<Value> = targets
            .iter()
            .map(|(kind, name)| json!({"name": name, "kind": [kind], "crate_types": [kind]}))
            .collect();
        json!({
            "name": name, "id": name, "manifest_path": format!("/w/{name}/Cargo.toml"),
            "default_run": null, "dependencies": [], "targets": targets,
        })
    }

    fn select_of(packages: Vec<Value>, folder: &str, prefer: Prefer, pure: bool) -> String {
        let members: Vec<Value> = packages.iter().map(|p| p["id"].clone()).collect();
        let metadata = json!({
            "packages": packages, "workspace_members": members, "workspace_root": "/w",
            "target_directory": "/w/target",
        });
        let metadata: Metadata = serde_json::from_value(metadata).unwrap();
        let manifest = Path::new(folder).join("Cargo.toml");
        match choose(&metadata, "api", &manifest, prefer, pure) {
            Ok(choice) => format!("{:?} of {}", choice.target, choice.package_id),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn the_trigger_decides_between_library_and_binary() {
        let both = || vec![package("a", &[("lib", "a"), ("bin", "a")])];
        let check = |prefer, pure, expected: &str| {
            assert_eq!(select_of(both(), "/w/a", prefer, pure), expected);
        };
        check(Prefer::Library, false, r#"Library("a") of a"#);
        check(Prefer::Binary, false, r#"Binary("a") of a"#);
        check(Prefer::Either, false, r#"Binary("a") of a"#);
        check(Prefer::Binary, true, r#"Library("a") of a"#);
        let cdylib = vec![package("a", &[("cdylib", "a"), ("bin", "tool")])];
        assert_eq!(
            select_of(cdylib, "/w/a", Prefer::Either, false),
            r#"Library("a") of a"#
        );
    }

    #[test]
    fn several_binaries_need_a_name() {
        let check = |bins: &[(&str, &str)], expected: &str| {
            let packages = vec![package("tool", bins)];
            let found = select_of(packages, "/w/tool", Prefer::Binary, false);
            assert_eq!(found, expected);
        };
        check(&[("bin", "x"), ("bin", "api")], r#"Binary("api") of tool"#);
        check(
            &[("bin", "x"), ("bin", "tool")],
            r#"Binary("tool") of tool"#,
        );
        check(
            &[("bin", "y"), ("bin", "x")],
            "component `api` could be any of `x`, `y`",
        );
        check(
            &[("proc-macro", "m")],
            "the crate of component `api` has no library or binary to build: /w/tool/Cargo.toml",
        );
    }

    #[test]
    fn a_workspace_folder_means_its_only_candidate() {
        let shared = package("shared", &[("lib", "shared")]);
        let one = vec![shared.clone(), package("one", &[("cdylib", "one")])];
        assert_eq!(
            select_of(one.clone(), "/w", Prefer::Library, false),
            r#"Library("one") of one"#
        );
        let two = [one, vec![package("two", &[("bin", "two")])]].concat();
        assert_eq!(
            select_of(two, "/w", Prefer::Library, false),
            "component `api` could be any of `one`, `two`"
        );
        assert_eq!(
            select_of(vec![shared], "/w", Prefer::Library, false),
            "the crate of component `api` has no library or binary to build: /w/Cargo.toml"
        );
    }
}
