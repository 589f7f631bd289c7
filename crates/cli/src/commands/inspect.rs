//! `wharf inspect`: what a file or an app is and may ask for.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;
use wharf_artifact::{AppArtifact, Description, describe, load_app};
use wharf_build::encode_typed;
use wharf_manifest::{Grants, HttpTarget};

use crate::args::Inspect;
use crate::error::CliError;
use crate::{Outcome, code, commands, paths};

pub(crate) fn main(args: &Inspect) -> Outcome {
    let path = Path::new(&args.what);
    let text = if path.is_file() {
        inspect_file(path, args)?
    } else {
        inspect_app(&app(path, &args.what)?, args)?
    };
    println!("{}", text.trim_end());
    Ok(ExitCode::SUCCESS)
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).expect("descriptions are plain data")
}

fn description(bytes: &[u8], name: &str) -> Result<Description, CliError> {
    describe(bytes).map_err(|error| CliError::from_parts(&format!("{name}: {error}"), error.hint()))
}

fn inspect_file(path: &Path, args: &Inspect) -> Result<String, CliError> {
    let bytes = std::fs::read(path).map_err(|error| CliError::io("read", path, &error))?;
    let bytes = commands::run::binary(bytes, path)?;
    let name = path.display().to_string();
    let described = match encode_typed(&name, &bytes) {
        Ok(Cow::Owned(component)) => {
            let mut described = description(&component, &name)?;
            described.notes.push(
                "the file is a core module that carries this component's type; wharf encodes it"
                    .to_owned(),
            );
            described
        }
        Ok(Cow::Borrowed(_)) => description(&bytes, &name)?,
        // What it is can still be told.
        Err(error) => {
            let mut described = description(&bytes, &name)?;
            described.notes.push(error.to_string());
            described
        }
    };
    if args.json {
        return Ok(json(&described));
    }
    if args.wit {
        return described.wit.ok_or_else(|| {
            CliError::new(format!("{} has no WIT", path.display())).hint(
                "core modules have none; without `--wit` their imports and exports are listed",
            )
        });
    }
    Ok(described.to_string())
}

fn app(path: &Path, name: &str) -> Result<AppArtifact, CliError> {
    if path.is_dir() {
        let (options, report) = commands::build::quietly(path)?;
        return code::artifact(&options.store, &report);
    }
    load_app(&paths::store()?, name).map_err(|error| {
        CliError::new(format!("there is no file, folder or app `{name}`: {error}"))
            .hint("give a .wasm file, an app's folder, or NAME:VERSION of an app that was built")
    })
}

#[derive(Serialize)]
struct AppView<'a> {
    name: &'a str,
    version: String,
    digest: String,
    routes: Vec<RouteView>,
    command: Option<&'a str>,
    components: BTreeMap<&'a str, ComponentView<'a>>,
    files: BTreeMap<&'a str, usize>,
}

#[derive(Serialize)]
struct RouteView {
    route: String,
    target: String,
}

#[derive(Serialize)]
struct ComponentView<'a> {
    grants: &'a Grants,
    description: Description,
}

fn inspect_app(artifact: &AppArtifact, args: &Inspect) -> Result<String, CliError> {
    let mut components = BTreeMap::new();
    for (name, blob) in &artifact.components {
        let Some(component) = artifact.app.components.get(name) else {
            continue;
        };
        let bytes =
            std::fs::read(&blob.path).map_err(|error| CliError::io("read", &blob.path, &error))?;
        components.insert(
            name.as_str(),
            ComponentView {
                grants: &component.grants,
                description: description(&bytes, name.as_str())?,
            },
        );
    }
    let view = AppView {
        name: artifact.app.name.as_str(),
        version: artifact.app.version.to_string(),
        digest: artifact.digest.to_string(),
        routes: routes(artifact),
        command: artifact
            .app
            .triggers
            .command
            .as_ref()
            .map(|trigger| trigger.component.as_str()),
        components,
        files: artifact
            .files
            .iter()
            .map(|(dir, tree)| (dir.as_str(), tree.len()))
            .collect(),
    };
    if args.json {
        return Ok(json(&view));
    }
    if args.wit {
        let texts = view
            .components
            .values()
            .filter_map(|component| component.description.wit.clone());
        return Ok(texts.collect::<Vec<_>>().join("\n"));
    }
    Ok(view_text(&view))
}

fn routes(artifact: &AppArtifact) -> Vec<RouteView> {
    let triggers = artifact.app.triggers.http.iter();
    triggers
        .map(|trigger| RouteView {
            route: trigger.route.to_string(),
            target: match &trigger.target {
                HttpTarget::Component(name) => format!("component {name}"),
                HttpTarget::Files(files) => format!("files in {}", files.dir),
            },
        })
        .collect()
}

fn view_text(view: &AppView<'_>) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "app {} {}", view.name, view.version);
    let _ = writeln!(text, "{}", view.digest);
    let width = view
        .routes
        .iter()
        .map(|route| route.route.len())
        .max()
        .unwrap_or(0);
    for route in &view.routes {
        let _ = writeln!(text, "  {:width$}  → {}", route.route, route.target);
    }
    if let Some(command) = view.command {
        let _ = writeln!(text, "  command  → component {command}");
    }
    for (dir, count) in &view.files {
        let plural = if *count == 1 { "" } else { "s" };
        let _ = writeln!(text, "  {count} file{plural} in {dir}");
    }
    for (name, component) in &view.components {
        let _ = writeln!(text, "\ncomponent {name}");
        let _ = writeln!(text, "  granted: {}", grants_text(component.grants));
        for line in component.description.to_string().lines() {
            let _ = writeln!(text, "{}", format!("  {line}").trim_end());
        }
    }
    text
}

fn grants_text(grants: &Grants) -> String {
    let mut parts = Vec::new();
    let list = |items: Vec<String>| items.join(", ");
    if !grants.http.is_empty() {
        parts.push(format!(
            "http {}",
            list(grants.http.iter().map(ToString::to_string).collect())
        ));
    }
    if !grants.net.is_empty() {
        parts.push(format!(
            "net {}",
            list(grants.net.iter().map(ToString::to_string).collect())
        ));
    }
    if !grants.files.is_empty() {
        parts.push(format!(
            "files {}",
            list(grants.files.iter().map(ToString::to_string).collect())
        ));
    }
    if !grants.env.is_empty() {
        parts.push(format!(
            "env {}",
            list(grants.env.keys().cloned().collect())
        ));
    }
    if parts.is_empty() {
        "nothing".to_owned()
    } else {
        parts.join("; ")
    }
}
