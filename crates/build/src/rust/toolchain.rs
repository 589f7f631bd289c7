//! Cargo, rustc and the targets they have.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::BuildError;
use crate::process::{self, Line, RunError};
use crate::progress::{Step, during};
use crate::session::Session;

/// The Rust toolchain that builds the crate in one folder.
pub(crate) struct Toolchain {
    /// The cargo that is run; under rustup its proxy.
    pub(crate) cargo: PathBuf,
    /// Where the toolchain lies; `None` if rustc did not say.
    sysroot: Option<PathBuf>,
    /// What installs targets, if this machine has it.
    rustup: Option<PathBuf>,
}

impl Toolchain {
    /// Finds cargo, and asks rustc in `folder`, whose `rust-toolchain.toml` may
    /// choose another toolchain.
    pub(crate) fn find(component: &str, folder: &Path) -> Result<Self, BuildError> {
        let path = std::env::var_os("PATH");
        // A terminal opened before rustup ran does not have it on its path.
        let home = home_folder("CARGO_HOME", ".cargo").map(|home| home.join("bin"));
        let find = |name: &str| {
            let beside = home.as_ref().map(OsString::from);
            process::find_program(name, path.as_deref())
                .or_else(|| process::find_program(name, beside.as_deref()))
        };
        let cargo = find("cargo").ok_or_else(|| BuildError::CargoMissing {
            component: component.to_string(),
        })?;
        let rustc = std::env::var_os("RUSTC").map(PathBuf::from);
        let sysroot = rustc.or_else(|| find("rustc")).and_then(|rustc| {
            let mut command = Command::new(rustc);
            command.args(["--print", "sysroot"]).current_dir(folder);
            process::stdout_of(&mut command).map(PathBuf::from)
        });
        Ok(Self {
            cargo,
            sysroot,
            rustup: find("rustup"),
        })
    }

    /// Makes sure that std for `target` is there, with rustup's help.
    pub(crate) fn ensure_target(
        &self,
        session: &Session<'_>,
        folder: &Path,
        target: &str,
    ) -> Result<(), BuildError> {
        let Some(sysroot) = &self.sysroot else {
            // Let cargo say what is wrong with this toolchain.
            return Ok(());
        };
        if sysroot
            .join("lib/rustlib")
            .join(target)
            .join("lib")
            .is_dir()
        {
            return Ok(());
        }
        let missing = |reason: &str, hint: String| BuildError::TargetMissing {
            target: target.to_string(),
            reason: reason.to_string(),
            hint,
        };
        let line = format!("`rustup target add {target}`");
        let Some(rustup) = &self.rustup else {
            let hint = format!(
                "install Rust from https://rustup.rs, then run {line}; or install this target's std as this Rust was installed"
            );
            return Err(missing(
                "wharf installs it by rustup, which is not here",
                hint,
            ));
        };
        if session.options.offline {
            let hint = format!("run {line}, or build once without `--offline`");
            return Err(missing("`--offline` forbids fetching it", hint));
        }
        let failed = |reason: &str| {
            missing(
                &format!("rustup failed: {reason}"),
                format!("run {line} to see all that it says"),
            )
        };
        let step = Step::InstallTarget {
            target: target.to_string(),
        };
        during(session.progress, &step, || {
            let mut said = String::new();
            let mut command = Command::new(rustup);
            command.args(["target", "add", target]).current_dir(folder);
            let result = process::run(&mut command, &session.options.cancel, None, |line| {
                let (Line::Stdout(line) | Line::Stderr(line)) = line;
                session.progress.output(&line);
                said = line;
            });
            match result {
                Ok(status) if status.success() => Ok(()),
                Ok(_) => Err(failed(&said)),
                Err(RunError::Cancelled) => Err(BuildError::Cancelled),
                Err(RunError::Io(error)) => Err(failed(&error.to_string())),
                Err(RunError::TimedOut) => unreachable!("no time limit was given"),
            }
        })
    }

    /// The files that change when the toolchain does.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let mut files = vec![self.cargo.clone()];
        if let Some(sysroot) = &self.sysroot {
            files.push(
                sysroot
                    .join("bin")
                    .join(format!("rustc{}", std::env::consts::EXE_SUFFIX)),
            );
        }
        if let Some(home) = home_folder("RUSTUP_HOME", ".rustup") {
            files.push(home.join("settings.toml"));
        }
        if let Some(home) = home_folder("CARGO_HOME", ".cargo") {
            files.push(home.join("config.toml"));
        }
        files
    }
}

fn home_folder(variable: &str, default: &str) -> Option<PathBuf> {
    std::env::var_os(variable)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
        .or_else(|| Some(std::env::home_dir()?.join(default)))
}

#[cfg(all(test, unix))]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::{BuildOptions, Silent};

    /// Asks for a missing target with a `rustup` that runs `script`.
    fn ensure(script: Option<&str>, offline: bool) -> Result<(), BuildError> {
        let root = tempfile::tempdir().unwrap();
        let store = wharf_artifact::Store::open(root.path().join("store")).unwrap();
        let mut options = BuildOptions::new(root.path(), store, root.path());
        options.offline = offline;
        let session = Session {
            options: &options,
            progress: &Silent,
            state: root.path(),
        };
        let rustup = script.map(|script| {
            let file = root.path().join("rustup");
            std::fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
            file
        });
        let toolchain = Toolchain {
            cargo: "cargo".into(),
            sysroot: Some(root.path().to_path_buf()),
            rustup,
        };
        toolchain.ensure_target(&session, root.path(), "wasm32-wasip2")
    }

    #[test]
    fn a_missing_target_is_installed_or_the_line_is_given() {
        ensure(Some("test \"$*\" = 'target add wasm32-wasip2'"), false).unwrap();
        let check = |script, offline, expected: &str| {
            let error = ensure(script, offline).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
            let hint = error.hint().unwrap();
            assert!(hint.contains("`rustup target add wasm32-wasip2`"), "{hint}");
        };
        check(None, false, "by rustup, which is not here");
        check(Some("exit 0"), true, "`--offline`");
        check(Some("echo 'no network' >&2; exit 1"), false, "no network");
    }
}
