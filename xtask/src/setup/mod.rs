//! `cargo xtask setup`: everything that a fresh machine lacks.
//!
//! First a look at what is there ([`Machine::look`]), then a plan that is pure
//! ([`plan`]), then one action after the other. Only the usual registries are
//! asked: Rust's, crates.io, npm, Debian's.

mod action;
pub(crate) mod browser;
mod machine;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Result, bail};
use lexopt::prelude::*;

use self::action::{Action, plan};
use self::machine::Machine;
use crate::Usage;
use crate::workspace::Workspace;

const HELP: &str = "\
Install what the demo or the tests need, and skip what is there.

Usage: cargo xtask setup [--for demo|test]

Options:
  --for demo|test   Whose needs to meet [default: test]
  --plan            Only say what would be done

Demo:  the Rust targets wasm32-wasip1, wasm32-wasip2, wasm32-unknown-unknown; make from Debian
Test:  those; rustfmt and clippy; Debian packages (nodejs, npm, curl, nghttp2-client,
       python3-pip, chromium); wasm-opt from npm and cargo-deny from crates.io, into target/tools;
       playwright-core from npm, into tests/browser

Packages are installed with apt-get, as root or through `sudo -n`; where neither
works, the one line to run is printed and the command fails.
";

/// Whose needs are to be met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Demo,
    Test,
}

pub(crate) fn command(workspace: &Workspace, arguments: Vec<OsString>) -> Result<ExitCode> {
    let mut purpose = Purpose::Test;
    let mut only_plan = false;
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next().map_err(Usage::from)? {
        match argument {
            Long("for") => purpose = parse_purpose(&parser.value().map_err(Usage::from)?)?,
            Long("plan") => only_plan = true,
            Long("help") | Short('h') => {
                print!("{HELP}");
                return Ok(ExitCode::SUCCESS);
            }
            other => return Err(Usage::from(other.unexpected()).into()),
        }
    }
    if only_plan {
        for action in plan(purpose, &Machine::look(workspace, purpose)) {
            println!("{}", action.describe());
        }
        return Ok(ExitCode::SUCCESS);
    }
    prepare(workspace, purpose)?;
    eprintln!("setup: everything is there");
    Ok(ExitCode::SUCCESS)
}

fn parse_purpose(value: &OsString) -> Result<Purpose, Usage> {
    match value.to_str() {
        Some("demo") => Ok(Purpose::Demo),
        Some("test") => Ok(Purpose::Test),
        _ => Err(Usage(format!(
            "--for takes `demo` or `test`, not `{}`",
            value.to_string_lossy()
        ))),
    }
}

/// Does whatever is left to do, saying each thing before doing it.
///
/// # Errors
/// An action failed. The others were still tried, and each failure was shown.
pub(crate) fn prepare(workspace: &Workspace, purpose: Purpose) -> Result<()> {
    let machine = Machine::look(workspace, purpose);
    let mut failed = 0;
    for action in plan(purpose, &machine) {
        eprintln!("setup: {}", action.describe());
        if let Err(error) = action.apply(workspace, &machine) {
            eprintln!("error: {error:#}");
            failed += 1;
            if matches!(action, Action::DebianPackages(_)) {
                bail!("the machine lacks packages that later steps need");
            }
        }
    }
    if failed > 0 {
        bail!("{failed} of the set-up steps failed");
    }
    Ok(())
}
