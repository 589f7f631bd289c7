//! The project's own commands, run as `cargo xtask COMMAND`.
//!
//! A fresh machine has cargo and a C compiler; everything else that a command
//! needs is brought by [`setup`]. This crate therefore compiles in a few
//! seconds and uses next to nothing: what it starts are the ordinary programs
//! (cargo, rustup, apt-get, npm), each shown before it runs.

mod bench;
mod demo;
mod process;
mod setup;
mod test;
mod tidy;
mod workspace;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;

use crate::workspace::Workspace;

const HELP: &str = "\
The project's own commands.

Usage: cargo xtask COMMAND [OPTIONS]

Commands:
  demo    Set up, build wharf in release, build and serve examples/darkroom
  test    Set up, then run every check and every test
  tidy    Check the rules that no compiler checks: crate graph, orphan files, dead links
  bench   Measure wharf beside its peers, in turns: `bench noisy`
  setup   Install what the demo or the tests need, skipping what is there

`cargo xtask COMMAND --help` says more.
";

/// A mistake on the command line: shown with a pointer to `--help`, exit code 2.
#[derive(Debug)]
struct Usage(String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

impl From<lexopt::Error> for Usage {
    fn from(error: lexopt::Error) -> Self {
        Usage(error.to_string())
    }
}

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    match run(arguments) {
        Ok(code) => code,
        Err(error) if error.is::<Usage>() => {
            eprintln!("error: {error}");
            eprintln!("hint: `cargo xtask --help` lists the commands");
            ExitCode::from(2)
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut arguments: Vec<OsString>) -> Result<ExitCode> {
    if arguments.is_empty() {
        print!("{HELP}");
        return Ok(ExitCode::from(2));
    }
    let command = arguments.remove(0);
    let workspace = Workspace::find()?;
    match command.to_str() {
        Some("bench") => bench::command(&workspace, arguments),
        Some("demo") => demo::command(&workspace, arguments),
        Some("test") => test::command(&workspace, arguments),
        Some("tidy") => tidy::command(&workspace, arguments),
        Some("setup") => setup::command(&workspace, arguments),
        Some(demo::OPENER) => demo::open_when_listening(arguments),
        Some("help" | "--help" | "-h") => {
            print!("{HELP}");
            Ok(ExitCode::SUCCESS)
        }
        _ => Err(Usage(format!("no such command: `{}`", command.to_string_lossy())).into()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_unknown_command_is_a_usage_error_that_names_it() {
        let error = run(vec!["tset".into()]).unwrap_err();
        assert!(error.is::<Usage>());
        assert_eq!(error.to_string(), "no such command: `tset`");
    }

    #[test]
    fn every_command_has_help_and_refuses_unknown_options() {
        for command in ["bench", "demo", "test", "tidy", "setup"] {
            assert_eq!(
                run(vec![command.into(), "--help".into()]).unwrap(),
                ExitCode::SUCCESS,
                "{command}"
            );
            let error = run(vec![command.into(), "--bogus".into()]).unwrap_err();
            assert!(error.is::<Usage>(), "{command}: {error:#}");
        }
    }
}
