//! `cargo xtask test`: every check and every test, one step after the other.
//!
//! A failing step does not stop the next one; what failed stands in the table
//! at the end. The very last line counts tests, for machines that read it.

mod browser;
mod count;
#[cfg(unix)]
mod programs;
mod side;
mod steps;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use lexopt::prelude::*;

use self::count::Count;
use self::steps::{STEPS, Step};
use crate::setup::{self, Purpose};
use crate::workspace::Workspace;
use crate::{Usage, process};

const HELP: &str = "\
Set up, then run every check and every test.

Usage: cargo xtask test [FILTER] [--only STEP]...

Arguments:
  FILTER            Run only Rust tests whose name contains this; the other steps are left out

Options:
  --only STEP       Run only this step; may be given several times

A failing step does not stop the others. The last line is `N passed, N failed` and counts
tests; a step that fails without a failing test (a crash, code that does not compile) counts
as one failed. The exit code is 0 only if every step succeeded.

Steps:
";

#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    filter: Option<String>,
    only: Vec<String>,
}

/// How a step went.
#[derive(Debug)]
struct Outcome {
    name: &'static str,
    time: Duration,
    count: Count,
    succeeded: bool,
}

pub(crate) fn command(workspace: &Workspace, arguments: Vec<OsString>) -> Result<ExitCode> {
    let Some(options) = parse(arguments)? else {
        print!("{HELP}{}", steps::listing());
        return Ok(ExitCode::SUCCESS);
    };
    let chosen = choose(&options)?;
    let mut outcomes = Vec::new();
    outcomes.push(measure("setup", || {
        setup::prepare(workspace, Purpose::Test).map(|()| Count::default())
    }));
    for step in chosen {
        outcomes.push(measure(step.name, || {
            (step.run)(workspace, options.filter.as_deref())
        }));
    }
    print!("{}", report(&outcomes));
    Ok(if outcomes.iter().all(|outcome| outcome.succeeded) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// `None` asks for the help text.
fn parse(arguments: Vec<OsString>) -> Result<Option<Options>, Usage> {
    let mut options = Options::default();
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next()? {
        match argument {
            Value(filter) if options.filter.is_none() => options.filter = Some(filter.string()?),
            Long("only") => options.only.push(parser.value()?.string()?),
            Long("help") | Short('h') => return Ok(None),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Some(options))
}

fn choose(options: &Options) -> Result<Vec<&'static Step>, Usage> {
    for name in &options.only {
        if !STEPS.iter().any(|step| step.name == *name) {
            let names: Vec<_> = STEPS.iter().map(|step| step.name).collect();
            return Err(Usage(format!(
                "no such step: `{name}`; there are {}",
                names.join(", ")
            )));
        }
    }
    Ok(STEPS
        .iter()
        .filter(|step| {
            if options.only.is_empty() {
                step.by_default && (options.filter.is_none() || step.takes_filter)
            } else {
                options.only.iter().any(|name| name == step.name)
            }
        })
        .collect())
}

/// Builds the debug `wharf` and answers with its path.
///
/// # Errors
/// It does not build.
fn build_wharf(workspace: &Workspace) -> Result<PathBuf> {
    process::run(process::cargo(workspace).args(["build", "--package", "wharf-cli"]))?;
    let name = Path::new("wharf").with_extension(std::env::consts::EXE_EXTENSION);
    Ok(workspace.target().join("debug").join(name))
}

fn measure(name: &'static str, run: impl FnOnce() -> Result<Count>) -> Outcome {
    eprintln!("\n== {name}");
    let started = Instant::now();
    let result = run();
    let time = started.elapsed();
    let (count, succeeded) = match result {
        Ok(count) => (count, count.failed == 0),
        Err(error) => {
            eprintln!("error: {error:#}");
            (Count::default(), false)
        }
    };
    Outcome {
        name,
        time,
        count,
        succeeded,
    }
}

fn report(outcomes: &[Outcome]) -> String {
    let mut text = format!(
        "\n{:<12} {:<7} {:>9} {:>7} {:>7}\n",
        "step", "result", "time", "passed", "failed"
    );
    let mut total = Count::default();
    for outcome in outcomes {
        let result = if outcome.succeeded { "ok" } else { "FAILED" };
        let seconds = outcome.time.as_secs_f64();
        let number = |n: u64| if n == 0 { String::new() } else { n.to_string() };
        let row = format!(
            "{:<12} {:<7} {:>7.1} s {:>7} {:>7}",
            outcome.name,
            result,
            seconds,
            number(outcome.count.passed),
            number(outcome.count.failed)
        );
        text.push_str(row.trim_end());
        text.push('\n');
        total += outcome.count;
    }
    text.push_str(&format!(
        "\n{} passed, {} failed\n",
        total.passed, total.failed
    ));
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn options(line: &str) -> Options {
        let words = line.split_whitespace().map(OsString::from).collect();
        parse(words).unwrap().unwrap()
    }

    fn names(line: &str) -> Vec<&'static str> {
        choose(&options(line))
            .unwrap()
            .iter()
            .map(|step| step.name)
            .collect()
    }

    #[test]
    fn without_arguments_every_default_step_runs() {
        let default = STEPS.iter().filter(|step| step.by_default).count();
        assert_eq!(names("").len(), default);
        assert!(!names("").contains(&"advisories"));
    }

    #[test]
    fn a_filter_leaves_only_steps_that_take_one() {
        assert_eq!(names("route"), ["test", "doctest", "side-test"]);
    }

    #[test]
    fn only_names_steps_even_those_that_are_off_by_default() {
        assert_eq!(names("--only advisories --only fmt"), ["fmt", "advisories"]);
        let error = choose(&options("--only clipy")).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("no such step: `clipy`; there are fmt,")
        );
    }

    #[test]
    fn the_last_line_counts_tests() {
        let outcome = |name, passed, failed, succeeded| Outcome {
            name,
            time: Duration::from_millis(1_250),
            count: Count { passed, failed },
            succeeded,
        };
        let text = report(&[outcome("fmt", 0, 0, false), outcome("test", 41, 1, false)]);
        assert_eq!(
            text,
            "\nstep         result       time  passed  failed\n\
             fmt          FAILED      1.2 s\n\
             test         FAILED      1.2 s      41       1\n\
             \n41 passed, 1 failed\n"
        );
    }
}
