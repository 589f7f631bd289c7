//! Native code for what was built, made ahead of its first use.

use wharf_artifact::{AppArtifact, Store, load_app};
use wharf_build::BuildReport;
use wharf_engine::{Engine, EngineOptions, Profile};
use wharf_manifest::HttpTarget;

use crate::error::CliError;
use crate::paths;
use crate::progress::Terminal;

/// Reads the artifact that a build made.
pub(crate) fn artifact(store: &Store, report: &BuildReport) -> Result<AppArtifact, CliError> {
    load_app(store, &report.artifact.to_string())
        .map_err(|error| CliError::from_parts(&error, error.hint()))
}

/// Compiles every component of `artifact` for the way in which it is triggered, unless the
/// cache has it. A component without a trigger is compiled as a command: `run --invoke` uses it.
pub(crate) fn prepare(artifact: &AppArtifact, terminal: &Terminal) -> Result<(), CliError> {
    let cache = paths::code_cache()?;
    let compiler = paths::compiler();
    let mut engines: [Option<Engine>; 2] = [None, None];
    for (name, blob) in &artifact.components {
        let served = artifact.app.triggers.http.iter().any(
            |trigger| matches!(&trigger.target, HttpTarget::Component(target) if target == name),
        );
        let profile = if served {
            Profile::Serve
        } else {
            Profile::Command
        };
        let slot = &mut engines[usize::from(served)];
        let engine = match slot {
            Some(engine) => engine,
            None => slot.insert(
                Engine::new(EngineOptions::compile_only(profile))
                    .map_err(|error| CliError::new(error.to_string()))?,
            ),
        };
        if cache.contains(engine, &blob.digest) {
            continue;
        }
        let wasm =
            std::fs::read(&blob.path).map_err(|error| CliError::io("read", &blob.path, &error))?;
        terminal
            .during(&format!("compiling {name} to native code"), || {
                cache.prepare(engine, &compiler, &blob.digest, &wasm)
            })
            .map_err(|error| {
                CliError::from_parts(&format!("component `{name}`: {error}"), error.hint())
            })?;
    }
    Ok(())
}
