//! Cargo, rustc and the targets they have.

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
    pub(crate) sysroot: Option<PathBuf>,
}

impl Toolchain {
    /// Finds cargo, and asks rustc in `folder`, whose `rust-toolchain.toml` may
    /// choose another toolchain.
    pub(crate) fn find(component: &str, folder: &Path) -> Result<Self, BuildError> {
        let path = std::env::var_os("PATH");
        let cargo = process::find_program("cargo", path.as_deref())
            .or_else(|| {
                let home = home_folder("CARGO_HOME", ".cargo")?;
                let cargo = home
                    .join("bin")
                    .join(format!("cargo{}", std::env::consts::EXE_SUFFIX));
                process::is_executable(&cargo).then_some(cargo)
            })
            .ok_or_else(|| BuildError::CargoMissing {
                component: component.to_string(),
            })?;
        let rustc = std::env::var_os("RUSTC")
            .map(PathBuf::from)
            .or_else(|| process::find_program("rustc", path.as_deref()))
            .unwrap_or_else(|| {
                cargo.with_file_name(format!("rustc{}", std::env::consts::EXE_SUFFIX))
            });
        let sysroot = process::stdout_of(
            Command::new(rustc)
                .args(["--print", "sysroot"])
                .current_dir(folder),
        )
        .map(PathBuf::from);
        Ok(Self { cargo, sysroot })
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
        let missing = |reason: &str| BuildError::TargetMissing {
            target: target.to_string(),
            reason: reason.to_string(),
        };
        let Some(rustup) = self.rustup() else {
            return Err(missing("this Rust did not come from rustup"));
        };
        if session.options.offline {
            return Err(missing("`--offline` forbids fetching it"));
        }
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
                Ok(_) => Err(missing(&format!("rustup failed: {said}"))),
                Err(RunError::Cancelled) => Err(BuildError::Cancelled),
                Err(RunError::Io(error)) => Err(missing(&format!("rustup failed: {error}"))),
                Err(RunError::TimedOut) => Err(missing("rustup took too long")),
            }
        })
    }

    fn rustup(&self) -> Option<PathBuf> {
        let name = format!("rustup{}", std::env::consts::EXE_SUFFIX);
        process::find_program("rustup", std::env::var_os("PATH").as_deref()).or_else(|| {
            let beside = self.cargo.with_file_name(name);
            process::is_executable(&beside).then_some(beside)
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
