//! What a machine has of what we need.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use super::action::{BUILD_PROGRAMS, COMPONENTS, PROGRAMS, TARGETS};
use super::{Purpose, browser};
use crate::process;
use crate::workspace::Workspace;

/// A snapshot, so that planning is a pure function of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Machine {
    /// Whether rustup manages the toolchain; a distribution's cargo has none.
    pub(crate) has_rustup: bool,
    pub(crate) is_root: bool,
    pub(crate) has_apt: bool,
    /// Ubuntu itself, whose packages of browsers are empty.
    pub(crate) is_ubuntu: bool,
    /// Whether the packages of the browser tests are installed.
    pub(crate) has_browser_driver: bool,
    /// Names out of [`TARGETS`].
    pub(crate) targets: BTreeSet<String>,
    /// Names out of [`COMPONENTS`].
    pub(crate) components: BTreeSet<String>,
    /// Names out of [`PROGRAMS`], and those of our own tools.
    pub(crate) programs: BTreeSet<String>,
}

impl Machine {
    /// Looks at this machine. What cannot be found out counts as missing.
    pub(crate) fn look(workspace: &Workspace, purpose: Purpose) -> Self {
        let sysroot =
            process::output(process::command(workspace, "rustc").args(["--print", "sysroot"]))
                .unwrap_or_default();
        let programs = match purpose {
            Purpose::Demo => &[],
            Purpose::Test => PROGRAMS,
        };
        let mut machine = Self {
            has_rustup: process::find_program(workspace, "rustup").is_some(),
            targets: installed_targets(Path::new(sysroot.trim())),
            has_apt: process::find_program(workspace, "apt-get").is_some(),
            is_root: process::output(Command::new("id").arg("-u"))
                .is_some_and(|id| id.trim() == "0"),
            programs: BUILD_PROGRAMS
                .iter()
                .chain(programs)
                .map(|package| package.program)
                .chain(["wasm-opt", "cargo-deny"])
                .filter(|program| match *program {
                    browser::PROGRAM => browser::find(workspace).is_some(),
                    program => process::find_program(workspace, program).is_some(),
                })
                .map(str::to_owned)
                .collect(),
            ..Self::default()
        };
        if purpose == Purpose::Demo {
            return machine;
        }
        machine.components = COMPONENTS
            .iter()
            .filter(|component| runs(workspace, component.program))
            .map(|component| component.name.to_owned())
            .collect();
        machine.is_ubuntu = std::fs::read_to_string("/etc/os-release")
            .is_ok_and(|text| text.lines().any(|line| line == "ID=ubuntu"));
        machine.has_browser_driver = browser::has_driver(workspace);
        machine
    }
}

/// A target is installed when its standard library lies in the sysroot: true
/// for rustup and for any other way a toolchain came onto the machine.
fn installed_targets(sysroot: &Path) -> BTreeSet<String> {
    TARGETS
        .iter()
        .filter(|target| {
            sysroot
                .join("lib/rustlib")
                .join(target)
                .join("lib")
                .is_dir()
        })
        .map(|target| (*target).to_owned())
        .collect()
}

/// Asks the program itself: rustup leaves a proxy of that name on `PATH` even
/// where the component is missing.
pub(super) fn runs(workspace: &Workspace, program: impl AsRef<OsStr>) -> bool {
    process::output(process::command(workspace, program).arg("--version")).is_some()
}
