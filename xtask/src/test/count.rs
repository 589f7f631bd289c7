//! Running `cargo test` with its output shown live, and counting what it says.

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

/// Runs a command that prints libtest's summaries and adds them up. A command
/// that fails without a failing test (code that does not compile, a test
/// process that aborted) counts as one failed test, so that no count hides it.
///
/// # Errors
/// The program cannot be started or its output cannot be read.
pub(crate) fn run_counting(command: &mut Command) -> Result<Count> {
    run_counting_into(&mut std::io::stdout(), command)
}

fn run_counting_into(out: &mut impl Write, command: &mut Command) -> Result<Count> {
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
        if let Some(found) = parse_summary(&String::from_utf8_lossy(&line)) {
            count += found;
        }
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
fn parse_summary(line: &str) -> Option<Count> {
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn check(line: &str, expected: Option<(u64, u64)>) {
        let expected = expected.map(|(passed, failed)| Count { passed, failed });
        assert_eq!(parse_summary(line), expected, "{line}");
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
            run_counting_into(&mut Vec::new(), &mut crashing).unwrap(),
            Count {
                passed: 3,
                failed: 1
            }
        );
        let mut shown = Vec::new();
        let mut passing = Command::new("sh");
        passing.args(["-c", &format!("{summary}; {summary}")]);
        assert_eq!(
            run_counting_into(&mut shown, &mut passing).unwrap(),
            Count {
                passed: 6,
                failed: 0
            }
        );
        assert_eq!(String::from_utf8(shown).unwrap().lines().count(), 2);
    }
}
