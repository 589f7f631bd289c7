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

/// The most lines of a check that are kept to be shown if it fails.
const HELD_LINES_MAX: usize = 10_000;

/// The build that is looked into and never run: the release build with nothing
/// inlined and lines known.
///
/// It keeps the profile's name and all that reaches build scripts and
/// procedural macros: cargo compiles those once for both.
const CHECK_ENVIRONMENT: &[(&str, &str)] = &[
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0"),
    ("CARGO_PROFILE_RELEASE_DEBUG", "line-tables-only"),
    ("CARGO_PROFILE_RELEASE_STRIP", "none"),
];

/// Wins over what a workspace's manifest says of its dependencies. It reaches
/// build scripts and procedural macros too, so those are compiled anew.
const CHECK_DEPENDENCIES: &str = "profile.release.package.\"*\".opt-level=0";

/// For the last crate of the check, which alone would be optimised as a whole.
/// Dependencies may be left as bitcode, which the linker then compiles.
const CHECK_LINKING: &[&str] = &["-C", "lto=off", "-C", "link-arg=--lto-O0"];

/// What a crate is compiled for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To be packed.
    Release,
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
    pub(super) purpose: Purpose,
    pub(super) profile: &'a Defaults,
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
    let step = match job.purpose {
        Purpose::Release => Step::Compile {
            component,
            tool: "cargo",
        },
        Purpose::Check => Step::CheckPure { component },
    };
    during(session.progress, &step, || {
        let mut command = command(session, toolchain, job);
        let mut said = String::new();
        let mut held = Vec::new();
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
                    let plain = without_colours(&line);
                    // What the compiler warns of, it will in the release build.
                    if job.purpose == Purpose::Release || is_status(&plain) {
                        session.progress.output(&line);
                    } else if held.len() < HELD_LINES_MAX {
                        held.push(line);
                    }
                    if said.len() < OUTPUT_BYTES_MAX {
                        said.push_str(&plain);
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
            _ => {
                for line in &held {
                    session.progress.output(line);
                }
                Err(BuildError::CompileFailed {
                    component: job.component.to_string(),
                    output: said,
                })
            }
        }
    })
}

/// Whether cargo tells what it does: a word that ends in the twelfth column.
fn is_status(line: &str) -> bool {
    let word = line.get(..12).map(str::trim_start).unwrap_or_default();
    line.get(12..).is_some_and(|rest| rest.starts_with(' '))
        && word.starts_with(|first: char| first.is_ascii_uppercase())
        && word.chars().all(|letter| letter.is_ascii_alphabetic())
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
    command.arg("--release");
    command.envs(job.profile.environment.iter().copied());
    match job.purpose {
        Purpose::Release => {}
        Purpose::Check => {
            if job.profile.tunes_packages {
                command.args(["--config", CHECK_DEPENDENCIES]);
            }
            command.envs(CHECK_ENVIRONMENT.iter().copied());
        }
    }
    match &job.choice.target {
        Target::Library(_) => command.args(["--lib", "--crate-type", "cdylib"]),
        Target::Binary(name) => command.args(["--bin", name]),
    };
    // Arguments after `--` reach the last crate only: dependencies are shared
    // with a plain `cargo build`.
    command.arg("--");
    if job.target == TARGET_WASI {
        command.args(["-C", "link-arg=--skip-wit-component"]);
    } else {
        debug_assert_eq!(job.target, TARGET_PURE);
    }
    if job.purpose == Purpose::Check {
        command.args(CHECK_LINKING);
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
            target_directory: "/w/target".into(),
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
    fn what_cargo_does_is_told_from_what_it_warns_of() {
        let check = |line: &str, expected: bool| assert_eq!(is_status(line), expected, "{line}");
        check("   Compiling http v1.5.0", true);
        check(" Downloading crates ...", true);
        check(
            "    Finished `release` profile [optimized] target(s) in 1 s",
            true,
        );
        check("warning: unused variable: `x`", false);
        check("            Note: something", false);
        check("    |         ^^^ help", false);
        check("   Compiling", false);
        check("   Größe und mehr", false);
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
