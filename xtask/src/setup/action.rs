//! The things that set-up can do, what each of them needs to be skipped, and
//! the plan made of them.

use std::process::Command;

use anyhow::{Context, Result, bail};

use super::machine::Machine;
use super::{Purpose, browser};
use crate::process;
use crate::workspace::Workspace;

/// Targets that guests are built for.
pub(crate) const TARGETS: &[&str] = &["wasm32-wasip1", "wasm32-wasip2", "wasm32-unknown-unknown"];

/// A rustup component and the program that shows it is there.
#[derive(Debug)]
pub(crate) struct RustComponent {
    pub(crate) name: &'static str,
    pub(crate) program: &'static str,
}

pub(crate) const COMPONENTS: &[RustComponent] = &[
    RustComponent {
        name: "rustfmt",
        program: "cargo-fmt",
    },
    RustComponent {
        name: "clippy",
        program: "cargo-clippy",
    },
];

/// A Debian package and the program that shows it is there.
#[derive(Debug)]
pub(crate) struct DebianPackage {
    pub(crate) name: &'static str,
    pub(crate) program: &'static str,
}

/// What building needs beside Rust and a C compiler: jemalloc's own build.
pub(crate) const BUILD_PROGRAMS: &[DebianPackage] = &[DebianPackage {
    name: "make",
    program: "make",
}];

/// What the tests start beside our own programs. A test that needs another
/// one adds its line here.
pub(crate) const PROGRAMS: &[DebianPackage] = &[
    DebianPackage {
        name: "nodejs",
        program: "node",
    },
    DebianPackage {
        name: "npm",
        program: "npm",
    },
    DebianPackage {
        name: "curl",
        program: "curl",
    },
    DebianPackage {
        name: "nghttp2-client",
        program: "nghttp",
    },
    DebianPackage {
        name: "python3-pip",
        program: "pip3",
    },
    DebianPackage {
        name: browser::PROGRAM,
        program: browser::PROGRAM,
    },
];

/// The npm package that carries `wasm-opt`.
const BINARYEN: &str = "binaryen@132.0.0";
const CARGO_DENY: &str = "cargo-deny@0.20.2";

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    RustTargets(Vec<&'static str>),
    RustComponents(Vec<&'static str>),
    DebianPackages(Vec<&'static str>),
    /// Ubuntu's package of Chromium is none.
    BrowserByHand,
    BrowserDriver,
    WasmOpt,
    CargoDeny,
}

/// What is left to do on that machine, in an order that works.
pub(crate) fn plan(purpose: Purpose, machine: &Machine) -> Vec<Action> {
    let mut actions = Vec::new();
    let targets: Vec<_> = TARGETS
        .iter()
        .copied()
        .filter(|target| !machine.targets.contains(*target))
        .collect();
    if !targets.is_empty() {
        actions.push(Action::RustTargets(targets));
    }
    let programs = match purpose {
        Purpose::Demo => &[],
        Purpose::Test => PROGRAMS,
    };
    let mut packages: Vec<_> = BUILD_PROGRAMS
        .iter()
        .chain(programs)
        .filter(|package| !machine.programs.contains(package.program))
        .map(|package| package.name)
        .collect();
    let by_hand = machine.is_ubuntu && packages.contains(&browser::PROGRAM);
    packages.retain(|name| !by_hand || *name != browser::PROGRAM);
    if !packages.is_empty() {
        actions.push(Action::DebianPackages(packages));
    }
    if purpose == Purpose::Demo {
        return actions;
    }
    let components: Vec<_> = COMPONENTS
        .iter()
        .filter(|component| !machine.components.contains(component.name))
        .map(|component| component.name)
        .collect();
    if !components.is_empty() {
        actions.push(Action::RustComponents(components));
    }
    if by_hand {
        actions.push(Action::BrowserByHand);
    }
    if !machine.has_browser_driver {
        actions.push(Action::BrowserDriver);
    }
    if !machine.programs.contains("wasm-opt") {
        actions.push(Action::WasmOpt);
    }
    if !machine.programs.contains("cargo-deny") {
        actions.push(Action::CargoDeny);
    }
    actions
}

impl Action {
    /// What will be done, for a person to read before it is.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::RustTargets(names) => format!("install the Rust targets {}", names.join(", ")),
            Self::RustComponents(names) => {
                format!("install the Rust components {}", names.join(", "))
            }
            Self::DebianPackages(names) => {
                format!("install the Debian packages {}", names.join(", "))
            }
            Self::BrowserByHand => "find a Chromium".to_owned(),
            Self::BrowserDriver => {
                format!("install npm's playwright-core into {}", browser::FOLDER)
            }
            Self::WasmOpt => format!("install wasm-opt (npm {BINARYEN}) into target/tools"),
            Self::CargoDeny => {
                format!("build {CARGO_DENY} from crates.io into target/tools (a few minutes, once)")
            }
        }
    }

    /// # Errors
    /// A program that it starts is missing or fails.
    pub(crate) fn apply(&self, workspace: &Workspace, machine: &Machine) -> Result<()> {
        match self {
            Self::RustTargets(names) => rustup(workspace, machine, "target", names),
            Self::RustComponents(names) => rustup(workspace, machine, "component", names),
            Self::DebianPackages(names) => install_packages(machine, names),
            Self::BrowserByHand => bail!("{}", browser::by_hand()),
            Self::BrowserDriver => browser::install_driver(workspace),
            Self::WasmOpt => install_wasm_opt(workspace),
            Self::CargoDeny => install_cargo_deny(workspace),
        }
    }
}

fn rustup(workspace: &Workspace, machine: &Machine, what: &str, names: &[&str]) -> Result<()> {
    if !machine.has_rustup {
        bail!(
            "this toolchain is not rustup's, so the Rust {what}s {} must come from where it came \
             from; with rustup it is: rustup {what} add {}",
            names.join(", "),
            names.join(" ")
        );
    }
    process::run(
        process::command(workspace, "rustup")
            .args([what, "add"])
            .args(names),
    )
}

fn install_packages(machine: &Machine, names: &[&str]) -> Result<()> {
    if !machine.has_apt {
        bail!(
            "there is no apt-get here; install these by your system's own means: {}",
            names.join(", ")
        );
    }
    let by_sudo = !machine.is_root;
    if by_sudo && process::output(Command::new("sudo").args(["-n", "true"])).is_none() {
        bail!(
            "packages are missing and this user may not install them; run: \
             sudo apt-get update && sudo apt-get install -y --no-install-recommends {}",
            names.join(" ")
        );
    }
    let apt = || {
        let mut command = if by_sudo {
            let mut sudo = Command::new("sudo");
            sudo.args(["-n", "env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
            sudo
        } else {
            let mut apt = Command::new("apt-get");
            apt.env("DEBIAN_FRONTEND", "noninteractive");
            apt
        };
        command.args(["-q", "-y"]);
        command
    };
    process::run(apt().arg("update"))?;
    process::run(
        apt()
            .args(["install", "--no-install-recommends"])
            .args(names),
    )
}

fn install_wasm_opt(workspace: &Workspace) -> Result<()> {
    let folder = workspace.tools().join("npm");
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    process::run(
        process::command(workspace, "npm")
            .args(["install", "--no-fund", "--no-audit", "--loglevel=error"])
            .arg("--prefix")
            .arg(&folder)
            .arg(BINARYEN),
    )
}

/// The debug profile: cargo-deny runs for a second, and building it optimised
/// would take twice the time. The objects go as soon as the program stands.
fn install_cargo_deny(workspace: &Workspace) -> Result<()> {
    let objects = workspace.tools().join("build");
    process::run(
        process::cargo(workspace)
            .args(["install", "--locked", "--debug", "--root"])
            .arg(workspace.tools())
            .arg(CARGO_DENY)
            .env("CARGO_TARGET_DIR", &objects)
            .env("CARGO_PROFILE_DEV_DEBUG", "0"),
    )?;
    std::fs::remove_dir_all(&objects)
        .with_context(|| format!("cannot remove {}", objects.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn complete() -> Machine {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Machine {
            has_rustup: true,
            is_root: true,
            has_apt: true,
            targets: owned(TARGETS),
            components: owned(&["rustfmt", "clippy"]),
            programs: owned(&[
                "make",
                "node",
                "npm",
                "curl",
                "nghttp",
                "pip3",
                "chromium",
                "wasm-opt",
                "cargo-deny",
            ]),
            is_ubuntu: false,
            has_browser_driver: true,
        }
    }

    #[test]
    fn a_complete_machine_needs_nothing() {
        assert_eq!(plan(Purpose::Test, &complete()), []);
        assert_eq!(plan(Purpose::Demo, &complete()), []);
    }

    #[test]
    fn a_fresh_machine_needs_only_targets_and_make_for_the_demo() {
        assert_eq!(
            plan(Purpose::Demo, &Machine::default()),
            [
                Action::RustTargets(TARGETS.to_vec()),
                Action::DebianPackages(vec!["make"]),
            ]
        );
    }

    #[test]
    fn npm_itself_comes_before_what_comes_from_npm() {
        let actions = plan(Purpose::Test, &Machine::default());
        let place = |wanted: &Action| actions.iter().position(|action| action == wanted).unwrap();
        let packages = Action::DebianPackages(vec![
            "make",
            "nodejs",
            "npm",
            "curl",
            "nghttp2-client",
            "python3-pip",
            "chromium",
        ]);
        assert!(place(&packages) < place(&Action::WasmOpt));
        assert!(place(&packages) < place(&Action::BrowserDriver));
    }

    #[test]
    fn only_what_is_missing_is_installed() {
        let mut machine = complete();
        machine.targets.remove("wasm32-wasip2");
        machine.programs.remove("nghttp");
        assert_eq!(
            plan(Purpose::Test, &machine),
            [
                Action::RustTargets(vec!["wasm32-wasip2"]),
                Action::DebianPackages(vec!["nghttp2-client"]),
            ]
        );
    }

    #[test]
    fn ubuntu_has_no_chromium_package_and_the_ways_out_are_named() {
        let mut machine = Machine {
            is_ubuntu: true,
            ..complete()
        };
        assert_eq!(plan(Purpose::Test, &machine), []);
        machine.programs.remove("chromium");
        machine.programs.remove("curl");
        assert_eq!(
            plan(Purpose::Test, &machine),
            [Action::DebianPackages(vec!["curl"]), Action::BrowserByHand]
        );
        let error = Action::BrowserByHand
            .apply(&Workspace::find().unwrap(), &machine)
            .unwrap_err()
            .to_string();
        assert!(error.contains("sudo snap install chromium"), "{error}");
        assert!(error.contains("WHARF_TEST_BROWSER"), "{error}");
    }

    #[test]
    fn without_rustup_the_line_that_would_help_is_named() {
        let machine = Machine {
            has_rustup: false,
            ..complete()
        };
        let workspace = Workspace::find().unwrap();
        let error = rustup(&workspace, &machine, "target", &["wasm32-wasip2"]).unwrap_err();
        assert!(
            error
                .to_string()
                .ends_with("rustup target add wasm32-wasip2"),
            "{error}"
        );
    }

    #[test]
    fn without_apt_the_packages_are_named() {
        let machine = Machine {
            has_apt: false,
            ..complete()
        };
        let error = install_packages(&machine, &["nodejs", "npm"]).unwrap_err();
        assert!(error.to_string().ends_with("nodejs, npm"), "{error}");
    }
}
