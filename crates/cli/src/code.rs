//! Native code for what was built, made ahead of its first use.

use std::sync::OnceLock;

use wharf_artifact::{AppArtifact, Store, load_app};
use wharf_build::BuildReport;
use wharf_engine::{CodeCache, Engine, EngineOptions, Profile};
use wharf_host::Host;
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
///
/// # Errors
/// When a component does not compile, or has a trigger and imports what nobody provides. One
/// without a trigger may be meant for other hosts, or to be composed; it is left as it is.
pub(crate) fn prepare(artifact: &AppArtifact, terminal: &Terminal) -> Result<(), CliError> {
    prepare_in(&paths::code_cache()?, artifact, terminal)
}

/// The same with this `cache`.
///
/// # Errors
/// As for [`prepare`].
pub(crate) fn prepare_in(
    cache: &CodeCache,
    artifact: &AppArtifact,
    terminal: &Terminal,
) -> Result<(), CliError> {
    let compiler = paths::compiler()?;
    for (name, blob) in &artifact.components {
        let served = artifact.app.triggers.http.iter().any(
            |trigger| matches!(&trigger.target, HttpTarget::Component(target) if target == name),
        );
        let profile = if served {
            Profile::Serve
        } else {
            Profile::Command
        };
        let host = host_of(profile)?;
        let engine = host.engine();
        if cache.contains(engine, &blob.digest) {
            continue;
        }
        let wasm =
            std::fs::read(&blob.path).map_err(|error| CliError::io("read", &blob.path, &error))?;
        let command = artifact.app.triggers.command.as_ref();
        let triggered = served || command.is_some_and(|trigger| trigger.component == *name);
        match host.check_imports(&wasm) {
            Ok(()) => {}
            Err(_) if !triggered => continue,
            Err(error) => {
                let message = format!("component `{name}`: {error}");
                return Err(CliError::from_parts(&message, Some(error.hint())));
            }
        }
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

/// What to compile with and to look at imports with: made once, as a node does so for each app.
fn host_of(profile: Profile) -> Result<&'static Host, CliError> {
    static HOSTS: [OnceLock<Host>; 2] = [const { OnceLock::new() }; 2];
    let slot = &HOSTS[usize::from(profile == Profile::Serve)];
    if let Some(host) = slot.get() {
        return Ok(host);
    }
    let engine = Engine::new(EngineOptions::compile_only(profile))
        .map_err(|error| CliError::new(error.to_string()))?;
    let host = Host::new(engine).map_err(|error| CliError::new(format!("{error:#}")))?;
    Ok(slot.get_or_init(|| host))
}
