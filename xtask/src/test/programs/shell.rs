//! One line of shell, and what came of it.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::catalogue::{Check, Text};

/// How long a line may take. Compiling the largest program takes a minute on two cores.
const TIME_MAX: Duration = Duration::from_secs(1200);
const POLL: Duration = Duration::from_millis(10);

/// Of each stream, this much is shown of a line that failed, in characters.
const SHOWN_MAX: usize = 2000;

/// Where lines run.
#[derive(Debug)]
pub(super) struct Shell<'a> {
    /// The program that `wharf` in a line means.
    pub(super) wharf: &'a Path,
    /// The current folder.
    pub(super) work: &'a Path,
    /// Where wharf keeps its store and its cache, and we the output.
    pub(super) state: &'a Path,
}

impl Shell<'_> {
    /// # Errors
    /// The line does not end as it should; the message says how it ended instead.
    pub(super) fn check(&self, check: &Check) -> Result<()> {
        let (code, stdout, stderr) = self.run(check.line)?;
        let mut wrong = Vec::new();
        if code != Some(check.code) {
            wrong.push(format!("the code is {code:?}, not {}", check.code));
        }
        for (name, expected, text) in [
            ("stdout", check.stdout, &stdout),
            ("stderr", check.stderr, &stderr),
        ] {
            if !expected.matches(text) {
                wrong.push(format!("{name} is not {expected:?}"));
            }
        }
        if !wrong.is_empty() {
            let shown = |text: &str| text.chars().take(SHOWN_MAX).collect::<String>();
            bail!(
                "{}\n--- stdout\n{}\n--- stderr\n{}\n---",
                wrong.join("; "),
                shown(&stdout),
                shown(&stderr)
            );
        }
        Ok(())
    }

    /// The exit code, none after a signal, and what was written.
    fn run(&self, line: &str) -> Result<(Option<i32>, String, String)> {
        let outputs = ["stdout.txt", "stderr.txt"].map(|name| self.state.join(name));
        let create = |path: &Path| {
            File::create(path).with_context(|| format!("cannot write {}", path.display()))
        };
        let mut child = Command::new("sh")
            .args(["-c", line])
            .current_dir(self.work)
            .env("PATH", self.search_path()?)
            .env("WHARF_STORE_DIR", self.state.join("store"))
            .env("WHARF_CACHE_DIR", self.state.join("cache"))
            .stdin(Stdio::null())
            .stdout(create(&outputs[0])?)
            .stderr(create(&outputs[1])?)
            // So that all of a line's programs can be ended at once.
            .process_group(0)
            .spawn()
            .context("cannot start `sh`")?;
        let group = child.id();
        let started = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().context("cannot wait for `sh`")? {
                break status;
            }
            if started.elapsed() > TIME_MAX {
                break end(&mut child, group)?;
            }
            std::thread::sleep(POLL);
        };
        let read = |path: &Path| -> Result<String> {
            let bytes =
                std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        Ok((status.code(), read(&outputs[0])?, read(&outputs[1])?))
    }

    fn search_path(&self) -> Result<OsString> {
        let own = std::env::var_os("PATH").unwrap_or_default();
        let folder = self.wharf.parent().context("wharf is in no folder")?;
        let folders = std::iter::once(folder.to_path_buf()).chain(std::env::split_paths(&own));
        std::env::join_paths(folders).context("cannot put wharf on PATH")
    }
}

fn end(child: &mut std::process::Child, group: u32) -> Result<ExitStatus> {
    Command::new("kill")
        .args(["-KILL", "--", &format!("-{group}")])
        .status()
        .context("cannot start `kill`")?;
    child.wait().context("cannot wait for `sh`")
}

impl Text {
    fn matches(self, text: &str) -> bool {
        match self {
            Self::Is(whole) => text == whole,
            Self::Has(part) => text.contains(part),
            Self::Any => true,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::tidy::TempTree;

    #[track_caller]
    fn check(line: &'static str, code: i32, stdout: Text, stderr: Text, expected: &str) {
        let tree = TempTree::new(&[("work/name.txt", "Ada\n")]);
        let shell = Shell {
            wharf: &tree.path().join("bin/wharf"),
            work: &tree.path().join("work"),
            state: tree.path(),
        };
        let result = shell.check(&Check {
            line,
            code,
            stdout,
            stderr,
        });
        let message = result.err().map(|error| error.to_string());
        let first = message.as_deref().and_then(|text| text.lines().next());
        assert_eq!(first.unwrap_or(""), expected, "{line}");
    }

    #[test]
    fn a_line_that_ends_as_it_should_is_fine() {
        check(
            "cat name.txt | wc -l >&2; exit 3",
            3,
            Text::Is(""),
            Text::Has("1"),
            "",
        );
        check("cat name.txt", 0, Text::Is("Ada\n"), Text::Is(""), "");
        check("cat", 0, Text::Is(""), Text::Any, "");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let ada = Text::Is("Ada");
        check(
            "cat name.txt; exit 2",
            0,
            ada,
            Text::Is(""),
            "the code is Some(2), not 0; stdout is not Is(\"Ada\")",
        );
        check(
            "kill -KILL $$",
            0,
            Text::Any,
            Text::Has("killed"),
            "the code is None, not 0; stderr is not Has(\"killed\")",
        );
    }
}
