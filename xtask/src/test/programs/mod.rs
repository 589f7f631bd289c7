//! Programs that no one here wrote, run by `wharf run` as their users would: CPython, clang, ripgrep
//! and others, at pinned versions from the usual registries.
//!
//! [`catalogue`] says what is run and what must come of it, [`fetch`] brings the programs and keeps
//! them below cargo's target folder, [`shell`] runs a line as a shell would.

mod catalogue;
mod fetch;
mod shell;

use std::path::Path;

use anyhow::{Context, Result};

use self::catalogue::{FILES, PROGRAMS, Program};
use self::shell::Shell;
use super::count::Count;
use crate::workspace::Workspace;

/// # Errors
/// wharf does not build, or the folder for the programs cannot be made. A program that cannot be had
/// counts as a failed test.
pub(crate) fn test(workspace: &Workspace) -> Result<Count> {
    let wharf = super::build_wharf(workspace)?;
    let folder = workspace.target().join("programs");
    let work = folder.join("work");
    start_afresh(&work)?;
    let shell = Shell {
        wharf: &wharf,
        work: &work,
        state: &folder,
    };
    let mut count = Count::default();
    for program in PROGRAMS {
        eprintln!(
            "{} {}, from {}",
            program.name, program.version, program.source
        );
        let here = fetch::fetch(workspace, &folder, program)
            .and_then(|fetched| link(program, &fetched, &work));
        if let Err(error) = here {
            eprintln!("error: {error:#}");
            count.failed += 1;
            continue;
        }
        for check in program.checks {
            match shell.check(check) {
                Ok(()) => {
                    println!("ok      {}", check.line);
                    count.passed += 1;
                }
                Err(error) => {
                    println!("FAILED  {}", check.line);
                    eprintln!("{error:#}");
                    count.failed += 1;
                }
            }
        }
    }
    Ok(count)
}

/// Makes the folder anew in which the lines run, with the files that they read.
fn start_afresh(work: &Path) -> Result<()> {
    if work.exists() {
        std::fs::remove_dir_all(work)
            .with_context(|| format!("cannot remove {}", work.display()))?;
    }
    for (name, text) in FILES {
        let file = work.join(name);
        if let Some(parent) = file.parent() {
            std::fs::create_dir_all(parent)
                .with_context(|| format!("cannot make the folder {}", parent.display()))?;
        }
        std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

/// Gives the program's files the names that the lines use.
fn link(program: &Program, fetched: &Path, work: &Path) -> Result<()> {
    for (name, target) in program.links {
        let target = fetched.join(target);
        std::fs::metadata(&target)
            .with_context(|| format!("{} has no {}", program.name, target.display()))?;
        std::os::unix::fs::symlink(&target, work.join(name))
            .with_context(|| format!("cannot make the link {name}"))?;
    }
    Ok(())
}
