//! Running tests with their output shown live, and counting what it says.

use std::io::{BufRead, BufReader, Write};
use std::ops::AddAssign;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::process;

/// Tests that ran.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

/// Whose summaries to read.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Runner {
    /// `cargo test`.
    Libtest,
    /// `node --test --test-reporter=spec`.
    Node,
}

/// Runs a command that prints a runner's summaries and adds them up. A command
/// that fails without a failing test (code that does not compile, a test
/// process that aborted) counts as one failed test, so that no count hides it.
///
/// # Errors
/// The program cannot be started or its output cannot be read.
pub(crate) fn run_counting(runner: Runner, command: &mut Command) -> Result<Count> {
    run_counting_into(&mut std::io::stdout(), runner, command)
}

fn run_counting_into(out: &mut impl Write, runner: Runner, command: &mut Command) -> Result<Count> {
    process::show(command);
    let program = process::line(command);
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{program}`"))?;
    let output = child.stdout.take().context("the child has no output")?;
    let mut reader = BufReader::new(output);
    let mut count = Count::default();
    let mut line = Vec::new();
    while reader
        .read_until(b'\n', &mut line)
        .context("cannot read the output")?
        > 0
    {
        out.write_all(&line)
            .and_then(|()| out.flush())
            .context("cannot write the output")?;
        let text = String::from_utf8_lossy(&line);
        let found = match runner {
            Runner::Libtest => parse_libtest(&text),
            Runner::Node => parse_node(&text),
        };
        count += found.unwrap_or_default();
        line.clear();
    }
    let status = child
        .wait()
        .with_context(|| format!("cannot wait for `{program}`"))?;
    if !status.success() && count.failed == 0 {
        eprintln!("error: `{program}` failed without a failing test: {status}");
        count.failed = 1;
    }
    Ok(count)
}

/// Reads `test result: ok. 5 passed; 0 failed; …`, wherever it begins in the
/// line: a test that writes to the terminal itself may have left one unfinished.
fn parse_libtest(line: &str) -> Option<Count> {
    let (_, rest) = line.split_once("test result: ")?;
    let (_, counts) = rest.split_once(". ")?;
    let number = |word: &str| {
        counts.split(';').find_map(|part| {
            let (number, name) = part.trim().split_once(' ')?;
            (name == word).then(|| number.parse().ok())?
        })
    };
    Some(Count {
        passed: number("passed")?,
        failed: number("failed")?,
    })
}

/// Reads `ℹ pass 5`, `ℹ fail 1` and `ℹ cancelled 1`, which stand on lines of their own.
fn parse_node(line: &str) -> Option<Count> {
    let (name, number) = line.strip_prefix("ℹ ")?.trim_end().split_once(' ')?;
    let number = number.parse().ok()?;
    match name {
        "pass" => Some(Count {
            passed: number,
            failed: 0,
        }),
        "fail" | "cancelled" => Some(Count {
            passed: 0,
            failed: number,
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn count_of((passed, failed): (u64, u64)) -> Count {
        Count { passed, failed }
    }

    fn check(line: &str, expected: Option<(u64, u64)>) {
        assert_eq!(parse_libtest(line), expected.map(count_of), "{line}");
    }

    #[test]
    fn nodes_summaries_are_read() {
        let check = |line, expected: Option<(u64, u64)>| {
            assert_eq!(parse_node(line), expected.map(count_of), "{line}");
        };
        check("ℹ pass 5\n", Some((5, 0)));
        check("ℹ fail 2\n", Some((0, 2)));
        check("ℹ cancelled 1\n", Some((0, 1)));
        check("ℹ tests 8\n", None);
        check("ℹ duration_ms 1402.4\n", None);
        check("  ✔ pass 5 (2ms)\n", None);
        check("✖ fail 3\n", None);
    }

    #[test]
    fn summaries_are_read() {
        check(
            "test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 3 filtered out; finished in 0.01s\n",
            Some((12, 0)),
        );
        check(
            "test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out",
            Some((1, 2)),
        );
        check(
            "left opentest result: ok. 1 passed; 0 failed; 0 ignored",
            Some((1, 0)),
        );
    }

    #[test]
    fn other_lines_are_not() {
        check("test tests::summaries_are_read ... ok", None);
        check("test result: ok", None);
        check("test result: ok. many passed; 0 failed", None);
        check("", None);
    }

    #[cfg(unix)]
    #[test]
    fn a_crash_without_a_failing_test_counts_as_one() {
        let summary = "echo 'test result: ok. 3 passed; 0 failed; 0 ignored'";
        let mut crashing = Command::new("sh");
        crashing.args(["-c", &format!("{summary}; exit 101")]);
        assert_eq!(
            run_counting_into(&mut Vec::new(), Runner::Libtest, &mut crashing).unwrap(),
            Count {
                passed: 3,
                failed: 1
            }
        );
        let mut shown = Vec::new();
        let mut passing = Command::new("sh");
        passing.args(["-c", &format!("{summary}; {summary}")]);
        assert_eq!(
            run_counting_into(&mut shown, Runner::Libtest, &mut passing).unwrap(),
            Count {
                passed: 6,
                failed: 0
            }
        );
        assert_eq!(String::from_utf8(shown).unwrap().lines().count(), 2);
    }
}
