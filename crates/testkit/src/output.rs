//! What a program left when it ended.

use std::fmt;
use std::process::ExitStatus;

/// What a program left when it ended.
#[derive(Clone, PartialEq, Eq)]
pub struct Output {
    /// Its exit code; the negative number of the signal if one ended it.
    pub code: i32,
    /// What it wrote to standard output.
    pub stdout_bytes: Vec<u8>,
    /// The same as text.
    pub stdout: String,
    /// What it wrote to standard error, as text.
    pub stderr: String,
    /// The command line, for messages.
    pub(crate) line: String,
}

impl Output {
    pub(crate) fn new(line: String, status: ExitStatus, stdout: Vec<u8>, stderr: &[u8]) -> Output {
        Output {
            code: code_of(status),
            stdout: String::from_utf8_lossy(&stdout).into_owned(),
            stdout_bytes: stdout,
            stderr: String::from_utf8_lossy(stderr).into_owned(),
            line,
        }
    }

    /// Panics, showing everything, unless the code is `code`. Returns itself.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Output {
        assert_eq!(self.code, code, "{self:?}");
        self
    }

    /// Panics, showing everything, unless the code is 0. Returns itself.
    #[track_caller]
    pub fn expect_success(self) -> Output {
        self.expect_code(0)
    }

    /// Panics, showing everything, unless standard error holds `text`. Returns itself.
    #[track_caller]
    pub fn expect_stderr(self, text: &str) -> Output {
        assert!(
            self.stderr.contains(text),
            "no `{text}` on standard error of {self:?}"
        );
        self
    }
}

/// The exit code, or the negative number of the signal.
pub(crate) fn code_of(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt as _;
    status
        .code()
        .or_else(|| status.signal().map(|signal| -signal))
        .expect("a program ends by itself or by a signal")
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}`, which ended with {}\n--- stdout\n{}\n--- stderr\n{}\n---",
            self.line,
            self.code,
            self.stdout.trim_end(),
            self.stderr.trim_end()
        )
    }
}
