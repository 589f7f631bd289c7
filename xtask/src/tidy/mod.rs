//! `cargo xtask tidy`: the project's rules that no compiler checks.
//!
//! Each check is a function from a [`Tree`] (all files of the project, in
//! memory) to [`Problem`]s, so that a test is a handful of small files.

mod adr;
mod graph;
mod lexer;
mod links;
mod markdown;
mod modules;
mod promises;
mod sources;
mod tree;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use lexopt::prelude::*;

#[cfg(test)]
pub(crate) use self::tree::TempTree;
pub(crate) use self::tree::Tree;
use crate::Usage;
use crate::workspace::Workspace;

const HELP: &str = "\
Check the project's rules that no compiler checks.

Usage: cargo xtask tidy

  graph     crates depend only on what they may; only the engine compiles Wasm;
            ARCHITECTURE.md lists the crates there are; versions and lints come from the workspace
  modules   every .rs file is part of a crate; one integration test binary a crate
  links     relative links and anchors in .md files lead somewhere; paths named there exist
  sources   files over 800 lines, marker words, ignored tests, binary files, a developer's paths
  adr       docs/adr/README.md lists every decision
  promises  the tests that docs/guides/security.md names are there

Each problem is a line `file:line: message`. The exit code is 1 if there is one.
";

/// Something to repair.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Problem {
    /// Relative to the root, with `/` between its parts.
    file: String,
    /// Counted from 1.
    line: usize,
    message: String,
}

impl Problem {
    fn new(file: &str, line: usize, message: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            line,
            message: message.into(),
        }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.message)
    }
}

pub(crate) fn command(workspace: &Workspace, arguments: Vec<OsString>) -> Result<ExitCode> {
    let mut parser = lexopt::Parser::from_args(arguments);
    if let Some(argument) = parser.next().map_err(Usage::from)? {
        match argument {
            Long("help") | Short('h') => {
                print!("{HELP}");
                return Ok(ExitCode::SUCCESS);
            }
            other => return Err(Usage::from(other.unexpected()).into()),
        }
    }
    let problems = report(workspace)?;
    Ok(if problems == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Prints every problem and returns how many there are.
///
/// # Errors
/// The project's files cannot be read.
pub(crate) fn report(workspace: &Workspace) -> Result<usize> {
    let tree = Tree::read(workspace.root())?;
    let problems = check(&tree);
    for problem in &problems {
        eprintln!("{problem}");
    }
    match problems.len() {
        0 => eprintln!("tidy: {} files, no problem", tree.len()),
        count => eprintln!("tidy: {} files, {count} problems", tree.len()),
    }
    Ok(problems.len())
}

fn check(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    problems.extend(graph::check(tree));
    problems.extend(modules::check(tree));
    problems.extend(links::check(tree));
    problems.extend(sources::check(tree));
    problems.extend(adr::check(tree));
    problems.extend(promises::check(tree));
    problems.sort();
    problems.dedup();
    problems
}

/// The messages of a check's problems as `file:line: message`, one a line.
#[cfg(test)]
fn rendered(problems: &[Problem]) -> String {
    problems
        .iter()
        .map(|problem| format!("{problem}\n"))
        .collect()
}
