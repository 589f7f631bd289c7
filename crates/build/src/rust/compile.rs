//! One run of `cargo rustc`.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use super::profile::Defaults;
use super::select::{Choice, Target};
use super::toolchain::Toolchain;
use super::{TARGET_PURE, TARGET_WASI};
use crate::error::BuildError;
use crate::process::{self, Line, RunError};
use crate::progress::{Step, during};
use crate::session::Session;
use crate::text::without_colours;

/// The most text of a failing build that is kept for the error page.
const OUTPUT_BYTES_MAX: usize = 256 * 1024;

/// The profile of the build that is looked into and never run: nothing inlined,
/// lines known. `dev` would bring the crate's own settings.
const CHECK_PROFILE: &[&str] = &[
    "profile.wharf-check.inherits=\"dev\"",
    "profile.wharf-check.opt-level=0",
    "profile.wharf-check.debug=\"line-tables-only\"",
    "profile.wharf-check.strip=\"none\"",
    "profile.wharf-check.lto=\"off\"",
    "profile.wharf-check.panic=\"abort\"",
    "profile.wharf-check.package.\"*\".opt-level=0",
];

/// How a crate is compiled.
#[derive(Clone, Copy)]
pub(super) enum Profile<'a> {
    /// To be packed.
    Release(&'a Defaults),
    /// To be searched for calls into std.
    Check,
}

/// What is compiled, and how.
pub(super) struct Job<'a> {
    pub(super) component: &'a str,
    pub(super) folder: &'a Path,
    pub(super) target: &'a str,
    pub(super) choice: &'a Choice,
    pub(super) features: &'a [String],
    pub(super) profile: Profile<'a>,
    /// The folder of the crate that stands for `wharf-sdk` from crates.io.
    pub(super) sdk: Option<&'a Path>,
}

/// Runs cargo and returns the path of the core module it linked.
pub(super) fn cargo_rustc(
    session: &Session<'_>,
    toolchain: &Toolchain,
    job: &Job<'_>,
) -> Result<PathBuf, BuildError> {
    let component = job.component.to_string();
    let step = match job.profile {
        Profile::Release(_) => Step::Compile {
            component,
            tool: "cargo",
        },
        Profile::Check => Step::CheckPure { component },
    };
    during(session.progress, &step, || {
        let mut command = command(session, toolchain, job);
        let mut said = String::new();
        let mut linked = None;
        let result = process::run(
            &mut command,
            &session.options.cancel,
            None,
            |line| match line {
                Line::Stdout(line) => linked = linked_module(&line, job.choice).or(linked.take()),
                Line::Stderr(line) => {
                    session.progress.output(&line);
                    if said.len() < OUTPUT_BYTES_MAX {
                        said.push_str(&without_colours(&line));
                        said.push('\n');
                    }
                }
            },
        );
        let status = match result {
            Ok(status) => status,
            Err(RunError::Cancelled) => return Err(BuildError::Cancelled),
            Err(RunError::Io(error)) => return Err(BuildError::io("run", &toolchain.cargo)(error)),
            Err(RunError::TimedOut) => unreachable!("no time limit was given"),
        };
        match linked {
            Some(module) if status.success() => Ok(module),
            _ => Err(BuildError::CompileFailed {
                component: job.component.to_string(),
                output: said,
            }),
        }
    })
}

fn command(session: &Session<'_>, toolchain: &Toolchain, job: &Job<'_>) -> Command {
    let mut command = Command::new(&toolchain.cargo);
    command
        .current_dir(job.folder)
        .args(["rustc", "--target", job.target])
        .arg("--message-format=json-render-diagnostics")
        .arg("--manifest-path")
        .arg(&job.choice.manifest_path);
    command.arg(if session.options.color {
        "--color=always"
    } else {
        "--color=never"
    });
    if session.options.offline {
        command.arg("--offline");
    }
    if session.options.verbose {
        command.arg("--verbose");
    }
    if !job.features.is_empty() {
        command.arg("--features").arg(job.features.join(","));
    }
    if let Some(sdk) = job.sdk {
        command.arg("--config").arg(crate::sdk::patch_key(sdk));
    }
    match job.profile {
        Profile::Release(defaults) => {
            command.arg("--release");
            command.envs(defaults.environment.iter().copied());
        }
        Profile::Check => {
            command.args(["--profile", "wharf-check"]);
            for setting in CHECK_PROFILE {
                command.args(["--config", setting]);
            }
        }
    }
    match &job.choice.target {
        Target::Library(_) => command.args(["--lib", "--crate-type", "cdylib"]),
        Target::Binary(name) => command.args(["--bin", name]),
    };
    if job.target == TARGET_WASI {
        // Arguments after `--` reach the last crate only: dependencies are
        // shared with a plain `cargo build`.
        command.args(["--", "-C", "link-arg=--skip-wit-component"]);
    } else {
        debug_assert_eq!(job.target, TARGET_PURE);
    }
    // Set by a cargo that runs us (`cargo run`); they would confuse this one.
    for variable in [
        "CARGO_MANIFEST_DIR",
        "CARGO_MANIFEST_PATH",
        "CARGO_PKG_NAME",
        "CARGO",
    ] {
        command.env_remove(variable);
    }
    command
}

#[derive(Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    package_id: String,
    target: Option<MessageTarget>,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

#[derive(Deserialize)]
struct MessageTarget {
    name: String,
    kind: Vec<String>,
}

/// The module that a line of cargo's messages announces, if it is the chosen
/// target's.
fn linked_module(line: &str, choice: &Choice) -> Option<PathBuf> {
    let message: Message = serde_json::from_str(line).ok()?;
    let target = message.target?;
    let is_chosen = match &choice.target {
        Target::Library(name) => {
            *name == target.name && !target.kind.iter().any(|kind| kind == "bin")
        }
        Target::Binary(name) => {
            *name == target.name && target.kind.iter().any(|kind| kind == "bin")
        }
    };
    if message.reason != "compiler-artifact"
        || message.package_id != choice.package_id
        || !is_chosen
    {
        return None;
    }
    let is_wasm = |file: &PathBuf| {
        file.extension()
            .is_some_and(|extension| extension == "wasm")
    };
    message.filenames.into_iter().find(is_wasm)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_chosen_targets_module_counts() {
        let choice = Choice {
            package_id: "path+file:///w/a#0.1.0".into(),
            manifest_path: "/w/a/Cargo.toml".into(),
            workspace_root: "/w".into(),
            target: Target::Library("my_app".into()),
            needs_sdk: false,
        };
        let line = |package: &str, kind: &str, file: &str| {
            serde_json::json!({
                "reason": "compiler-artifact", "package_id": package,
                "target": {"name": "my_app", "kind": [kind]}, "filenames": [file],
            })
            .to_string()
        };
        let check = |line: &str, expected: Option<&str>| {
            assert_eq!(linked_module(line, &choice), expected.map(PathBuf::from));
        };
        let own = "path+file:///w/a#0.1.0";
        check(
            &line(own, "cdylib", "/t/my_app.wasm"),
            Some("/t/my_app.wasm"),
        );
        check(&line(own, "bin", "/t/my_app.wasm"), None);
        check(&line(own, "lib", "/t/libmy_app.rlib"), None);
        check(&line("other", "cdylib", "/t/my_app.wasm"), None);
        check("{\"reason\":\"build-finished\",\"success\":true}", None);
        check("not json", None);
    }
}
