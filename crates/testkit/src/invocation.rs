//! One program to be run under a time limit.

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use crate::output::Output;

/// How long a program may take unless said otherwise: enough for a first build, with all that it
/// depends on, on a busy machine.
const LIMIT: Duration = Duration::from_secs(400);

/// A program with its arguments, environment, folder, input and time limit.
#[derive(Debug, Clone)]
#[must_use = "it does nothing until `output` is called"]
pub struct Invocation {
    program: OsString,
    arguments: Vec<OsString>,
    directory: PathBuf,
    environment: Vec<(OsString, OsString)>,
    stdin: Vec<u8>,
    limit: Duration,
}

impl Invocation {
    pub(crate) fn new(
        program: OsString,
        arguments: Vec<OsString>,
        directory: PathBuf,
        environment: Vec<(OsString, OsString)>,
    ) -> Invocation {
        Invocation {
            program,
            arguments,
            directory,
            environment,
            stdin: Vec::new(),
            limit: LIMIT,
        }
    }

    /// Adds an argument.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Invocation {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Sets a variable of the environment.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Invocation {
        self = self.env_remove(name.as_ref());
        let pair = (name.as_ref().to_owned(), value.as_ref().to_owned());
        self.environment.push(pair);
        self
    }

    /// Takes a variable out of the environment.
    pub fn env_remove(mut self, name: impl AsRef<OsStr>) -> Invocation {
        self.environment.retain(|(known, _)| known != name.as_ref());
        self
    }

    /// Runs it in this folder; a relative one is below the sandbox's work folder.
    pub fn directory(mut self, directory: impl AsRef<std::path::Path>) -> Invocation {
        self.directory = self.directory.join(directory);
        self
    }

    /// Gives it these bytes, then the end of input. By default the input is empty.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Invocation {
        self.stdin = bytes.into();
        self
    }

    /// The longest it may take; some minutes by default. A program that takes longer is killed
    /// and the test fails.
    pub fn limit(mut self, limit: Duration) -> Invocation {
        self.limit = limit;
        self
    }

    /// Runs it by another program that gets the whole command line as its last arguments:
    /// `through(["sh", "-c", "ulimit -c 0; exec \"$@\"", "sh"])`.
    pub fn through<S: AsRef<OsStr>>(mut self, words: impl IntoIterator<Item = S>) -> Invocation {
        let mut words = words.into_iter().map(|word| word.as_ref().to_owned());
        let program = words.next().expect("a program to run it by");
        let inner = std::mem::replace(&mut self.program, program);
        let rest = std::mem::take(&mut self.arguments);
        self.arguments = words.chain(std::iter::once(inner)).chain(rest).collect();
        self
    }

    /// Runs it to its end.
    ///
    /// # Panics
    /// When it cannot be started or takes longer than its limit.
    #[track_caller]
    pub fn output(self) -> Output {
        let line = self.line();
        let child = self.spawn();
        self.finish(line, child)
    }

    #[track_caller]
    fn finish(self, line: String, mut child: Child) -> Output {
        let mut stdin = child.stdin.take().expect("stdin was piped");
        let input = self.stdin;
        thread::spawn(move || {
            // A program need not read what it is given.
            let _ = stdin.write_all(&input);
        });
        let stdout = read_all(child.stdout.take().expect("stdout was piped"));
        let stderr = read_all(child.stderr.take().expect("stderr was piped"));
        let waited = wait(child, self.limit);
        let stdout = stdout.join().expect("reading does not panic");
        let stderr = stderr.join().expect("reading does not panic");
        match waited {
            Ok(status) => Output::new(line, status, stdout, &stderr),
            Err(status) => panic!(
                "it took longer than {:?}: {:?}",
                self.limit,
                Output::new(line, status, stdout, &stderr)
            ),
        }
    }

    /// Runs it to its end; `None` when there is no such program.
    ///
    /// # Panics
    /// When it takes longer than its limit.
    #[track_caller]
    pub fn try_output(self) -> Option<Output> {
        let line = self.line();
        let child = self.try_spawn().ok()?;
        Some(self.finish(line, child))
    }

    /// Starts it in a process group of its own, all streams piped.
    #[track_caller]
    pub(crate) fn spawn(&self) -> Child {
        self.try_spawn()
            .unwrap_or_else(|error| panic!("cannot start `{}`: {error}", self.line()))
    }

    fn try_spawn(&self) -> std::io::Result<Child> {
        use std::os::unix::process::CommandExt as _;
        Command::new(&self.program)
            .args(&self.arguments)
            .current_dir(&self.directory)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
    }

    /// The command line, for messages.
    pub(crate) fn line(&self) -> String {
        let program = PathBuf::from(&self.program);
        let name = program.file_name().unwrap_or(&self.program);
        std::iter::once(name)
            .chain(self.arguments.iter().map(OsString::as_os_str))
            .map(|word| word.to_string_lossy())
            .collect::<Vec<_>>()
            .join(" ")
    }
}

fn read_all(mut from: impl Read + Send + 'static) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.read_to_end(&mut bytes);
        bytes
    })
}

/// Waits for `child`, and no longer than `limit`: then its group is killed, and the status comes
/// as an error.
pub(crate) fn wait(mut child: Child, limit: Duration) -> Result<ExitStatus, ExitStatus> {
    let group = group_of(&child);
    let (ended, end) = mpsc::channel();
    thread::spawn(move || {
        let status = child.wait().expect("a child can be waited for");
        let _ = ended.send(status);
    });
    end.recv_timeout(limit).map_err(|_| {
        kill_group(group);
        end.recv().expect("a killed child ends")
    })
}

pub(crate) fn group_of(child: &Child) -> Pid {
    i32::try_from(child.id())
        .ok()
        .and_then(Pid::from_raw)
        .expect("a child has a positive id")
}

pub(crate) fn kill_group(group: Pid) {
    let _ = kill_process_group(group, Signal::KILL);
}
