//! One run of `cargo rustc`.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use super::dependencies::Packages;
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

/// What cargo made.
pub(super) struct Linked {
    /// The core module.
    pub(super) module: PathBuf,
    /// What was compiled into it or for it.
    pub(super) packages: Packages,
}

/// Runs cargo, which links a core module.
pub(super) fn cargo_rustc(
    session: &Session<'_>,
    toolchain: &Toolchain,
    job: &Job<'_>,
) -> Result<Linked, BuildError> {
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
        let mut module = None;
        let mut packages = Packages::new();
        let result = process::run(
            &mut command,
            &session.options.cancel,
            None,
            |line| match line {
                Line::Stdout(line) => {
                    let Some(message) = Message::artifact(&line) else {
                        return;
                    };
                    module = linked_module(&message, job.choice).or(module.take());
                    let is_linked = message.is_for(job.target);
                    *packages.entry(message.package_id).or_default() |= is_linked;
                }
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
        match module {
            Some(module) if status.success() => Ok(Linked { module, packages }),
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

impl Message {
    /// Reads a line of cargo's messages that tells of something compiled, now
    /// or earlier.
    fn artifact(line: &str) -> Option<Self> {
        let message: Self = serde_json::from_str(line).ok()?;
        (message.reason == "compiler-artifact").then_some(message)
    }

    /// Whether it was compiled for `target`, and not for the machine that
    /// builds: the former lies below `<target>/release`.
    fn is_for(&self, target: &str) -> bool {
        let is_below = |file: &PathBuf| {
            let folders: Vec<_> = file.iter().collect();
            (folders.windows(2)).any(|pair| pair[0] == target && pair[1] == "release")
        };
        self.filenames.iter().any(is_below)
    }
}

/// The module that a message announces, if it is the chosen target's.
fn linked_module(message: &Message, choice: &Choice) -> Option<PathBuf> {
    let target = message.target.as_ref()?;
    let is_chosen = match &choice.target {
        Target::Library(name) => {
            *name == target.name && !target.kind.iter().any(|kind| kind == "bin")
        }
        Target::Binary(name) => {
            *name == target.name && target.kind.iter().any(|kind| kind == "bin")
        }
    };
    if message.package_id != choice.package_id || !is_chosen {
        return None;
    }
    let is_wasm = |file: &PathBuf| {
        file.extension()
            .is_some_and(|extension| extension == "wasm")
    };
    message.filenames.iter().find(|file| is_wasm(file)).cloned()
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
            development_only: Default::default(),
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
            let message = Message::artifact(line);
            let found = message.and_then(|message| linked_module(&message, &choice));
            assert_eq!(found, expected.map(PathBuf::from));
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

    #[test]
    fn what_runs_during_the_build_is_told_from_what_is_linked() {
        let check = |file: &str, expected: bool| {
            let line = serde_json::json!({"reason": "compiler-artifact", "filenames": [file]});
            let message = Message::artifact(&line.to_string()).expect("an artifact");
            assert_eq!(message.is_for(TARGET_WASI), expected, "{file}");
        };
        check("/t/wasm32-wasip2/release/deps/libhttp-0a.rlib", true);
        check("/t/release/deps/libmacros-0a.so", false);
        check("/t/release/build/http-0a/build-script-build", false);
        check(
            "/w/wasm32-wasip2/app/target/release/deps/libsyn-0a.rlib",
            false,
        );
    }
}
