//! Child processes: run to the end, watched line by line, killed as a group.
//!
//! A child gets its own process group, so that cargo's rustc and linker end
//! with it. A terminal's Ctrl-C therefore does not reach it: the caller fires
//! its [`Cancel`].

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::cancel::Cancel;

/// How often a waiting build looks at its cancel token.
const POLL: Duration = Duration::from_millis(20);

/// The longest line kept whole; a longer one is cut into pieces.
const LINE_BYTES_MAX: u64 = 1024 * 1024;

/// A line, and where the child wrote it.
pub(crate) enum Line {
    Stdout(String),
    Stderr(String),
}

/// Why a child gave no exit status.
#[derive(Debug)]
pub(crate) enum RunError {
    /// It could not be started or waited for.
    Io(io::Error),
    /// The cancel token fired; the group was killed.
    Cancelled,
    /// It ran longer than allowed; the group was killed.
    TimedOut,
}

impl From<io::Error> for RunError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Runs `command` to its end and passes each line to `on_line`.
///
/// Standard input is empty. With `time_max` the group is killed after that
/// long.
pub(crate) fn run(
    command: &mut Command,
    cancel: &Cancel,
    time_max: Option<Duration>,
    mut on_line: impl FnMut(Line),
) -> Result<ExitStatus, RunError> {
    if cancel.is_fired() {
        return Err(RunError::Cancelled);
    }
    own_group(command);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let deadline = time_max.map(|time| Instant::now() + time);
    let (sender, lines) = mpsc::sync_channel(1024);
    let stdout = child.stdout.take().expect("stdout was piped above");
    let stderr = child.stderr.take().expect("stderr was piped above");
    let errors = sender.clone();
    std::thread::spawn(move || read_lines(stdout, |line| sender.send(Line::Stdout(line)).is_ok()));
    std::thread::spawn(move || read_lines(stderr, |line| errors.send(Line::Stderr(line)).is_ok()));

    let mut open = true;
    loop {
        if cancel.is_fired() {
            kill_group(&mut child);
            return Err(RunError::Cancelled);
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            kill_group(&mut child);
            return Err(RunError::TimedOut);
        }
        if open {
            match lines.recv_timeout(POLL) {
                Ok(line) => on_line(line),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => open = false,
            }
        } else if let Some(status) = child.try_wait()? {
            return Ok(status);
        } else {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Runs a short command and returns what it wrote to standard output, trimmed;
/// `None` when it cannot start or fails.
pub(crate) fn stdout_of(command: &mut Command) -> Option<String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_string())
}

/// The first executable file called `name` in the folders of `path_variable`.
pub(crate) fn find_program(
    name: &str,
    path_variable: Option<&OsStr>,
) -> Option<std::path::PathBuf> {
    std::env::split_paths(path_variable?)
        .filter(|folder| !folder.as_os_str().is_empty())
        .map(|folder| folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX)))
        .find(|file| is_executable(file))
}

/// Whether `file` is a file that this system would execute.
#[cfg(unix)]
pub(crate) fn is_executable(file: &std::path::Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(file)
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Whether `file` is a file that this system would execute.
#[cfg(not(unix))]
pub(crate) fn is_executable(file: &std::path::Path) -> bool {
    file.is_file()
}

fn read_lines(stream: impl Read, mut send: impl FnMut(String) -> bool) {
    let mut stream = BufReader::new(stream);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut stream)
            .take(LINE_BYTES_MAX)
            .read_until(b'\n', &mut line)
        {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&line);
        if !send(text.trim_end_matches(['\n', '\r']).to_string()) {
            return;
        }
    }
}

#[cfg(unix)]
fn own_group(command: &mut Command) {
    use std::os::unix::process::CommandExt;
    command.process_group(0);
}

#[cfg(not(unix))]
fn own_group(_: &mut Command) {}

fn kill_group(child: &mut Child) {
    #[cfg(unix)]
    if let Some(group) = i32::try_from(child.id())
        .ok()
        .and_then(rustix::process::Pid::from_raw)
    {
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    let _ = child.kill();
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn passes_lines_of_both_streams() {
        let mut seen = Vec::new();
        let status = run(
            &mut shell("echo one; echo two >&2; printf three; exit 3"),
            &Cancel::new(),
            None,
            |line| {
                seen.push(match line {
                    Line::Stdout(text) => format!("out {text}"),
                    Line::Stderr(text) => format!("err {text}"),
                });
            },
        )
        .unwrap();
        seen.sort();
        assert_eq!(seen, ["err two", "out one", "out three"]);
        assert_eq!(status.code(), Some(3));
    }

    #[test]
    fn cancel_kills_the_grandchild_that_holds_the_pipe() {
        let cancel = Cancel::new();
        let other = cancel.clone();
        // `sleep` keeps the pipes open: without killing the group this would
        // wait for a minute.
        let result = run(
            &mut shell("sleep 60 & echo started; wait"),
            &cancel,
            None,
            |_| other.fire(),
        );
        assert!(matches!(result, Err(RunError::Cancelled)));
    }

    #[test]
    fn time_limit_kills() {
        let result = run(
            &mut shell("sleep 60"),
            &Cancel::new(),
            Some(Duration::from_millis(30)),
            |_| {},
        );
        assert!(matches!(result, Err(RunError::TimedOut)));
    }

    #[test]
    fn missing_program_is_an_io_error() {
        let mut command = Command::new("wharf-no-such-program");
        let result = run(&mut command, &Cancel::new(), None, |_| {});
        assert!(
            matches!(result, Err(RunError::Io(error)) if error.kind() == io::ErrorKind::NotFound)
        );
    }
}
