//! A running `wharf up`.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::Child;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process};

use crate::invocation::{Invocation, group_of, kill_group, wait};
use crate::output::code_of;

/// How long a server may take to listen: it does so before it builds anything.
const LISTEN_LIMIT: Duration = Duration::from_secs(30);

/// How long a server may take to end after it was asked to.
const END_LIMIT: Duration = Duration::from_secs(60);

/// What the first line of a server's standard error begins with.
const FIRST_LINE: &str = "listening on http://";

/// A running `wharf up`. Dropping it kills it.
#[derive(Debug)]
pub struct Server {
    /// Where it listens.
    pub addr: SocketAddr,
    child: Option<Child>,
    log: Arc<Log>,
}

/// The lines of standard error so far.
#[derive(Debug, Default)]
struct Log {
    state: Mutex<LogState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct LogState {
    lines: Vec<String>,
    closed: bool,
}

impl Invocation {
    /// Starts it and waits for the line that says where it listens.
    ///
    /// # Panics
    /// When it cannot be started, ends first, or does not listen in time.
    #[track_caller]
    pub fn start_server(self) -> Server {
        let mut child = self.spawn();
        drop(child.stdin.take());
        let log = Arc::new(Log::default());
        let stderr = child.stderr.take().expect("stderr was piped");
        let writer = Arc::clone(&log);
        thread::spawn(move || writer.fill(stderr));
        let stdout = child.stdout.take().expect("stdout was piped");
        thread::spawn(move || std::io::copy(&mut { stdout }, &mut std::io::sink()));
        let mut server = Server {
            addr: SocketAddr::from(([127, 0, 0, 1], 0)),
            child: Some(child),
            log,
        };
        let line = server.wait_for_line(|_| true, LISTEN_LIMIT);
        server.addr = line
            .strip_prefix(FIRST_LINE)
            .and_then(|addr| addr.parse().ok())
            .unwrap_or_else(|| {
                panic!(
                    "the first line of `{}` is no address: {line}\n{}",
                    self.line(),
                    server.stderr()
                )
            });
        server
    }
}

impl Server {
    /// `http://ADDRESS` followed by `path`.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    /// The process's id.
    ///
    /// # Panics
    /// After the server ended.
    pub fn id(&self) -> u32 {
        self.child.as_ref().expect("the server runs").id()
    }

    /// All lines of standard error so far.
    pub fn lines(&self) -> Vec<String> {
        self.log.lock().lines.clone()
    }

    /// How many lines there are so far: where to go on with [`Server::wait_for_line_after`].
    pub fn mark(&self) -> usize {
        self.log.lock().lines.len()
    }

    /// The first line that `wanted` says yes to, of all since the start.
    ///
    /// # Panics
    /// When there is none within `limit`, or the server ended without one.
    #[track_caller]
    pub fn wait_for_line(&self, wanted: impl Fn(&str) -> bool, limit: Duration) -> String {
        self.wait_for_line_after(0, wanted, limit)
    }

    /// The same, looking only at lines after the first `mark`.
    ///
    /// # Panics
    /// As [`Server::wait_for_line`].
    #[track_caller]
    pub fn wait_for_line_after(
        &self,
        mark: usize,
        wanted: impl Fn(&str) -> bool,
        limit: Duration,
    ) -> String {
        let deadline = Instant::now() + limit;
        let mut seen = mark;
        let mut state = self.log.lock();
        loop {
            while let Some(line) = state.lines.get(seen) {
                if wanted(line) {
                    return line.clone();
                }
                seen += 1;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if state.closed || left.is_zero() {
                let why = if state.closed { "ended" } else { "is silent" };
                let lines = state.lines.join("\n");
                drop(state);
                panic!("the server {why} without the line that was waited for:\n{lines}");
            }
            state = self
                .log
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Sends a signal to the server's process.
    pub fn signal(&self, signal: Signal) {
        if let Some(child) = &self.child {
            kill_process(group_of(child), signal).expect("the server runs");
        }
    }

    /// Asks it to end by SIGTERM and waits for that. Returns its exit code, negative if a signal
    /// ended it.
    ///
    /// # Panics
    /// When it does not end within a minute.
    #[track_caller]
    pub fn terminate(self) -> i32 {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Waits for it to end by itself; returns its exit code, negative if a signal ended it.
    ///
    /// # Panics
    /// When it does not end within a minute.
    #[track_caller]
    pub fn wait(mut self) -> i32 {
        let child = self.child.take().expect("it is waited for once");
        match wait(child, END_LIMIT) {
            Ok(status) => code_of(status),
            Err(_) => panic!("it did not end within {END_LIMIT:?}:\n{}", self.stderr()),
        }
    }

    fn stderr(&self) -> String {
        self.lines().join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            kill_group(group_of(&child));
            let _ = child.wait();
        }
        if thread::panicking() {
            eprintln!("--- the server said\n{}\n---", self.stderr());
        }
    }
}

impl Log {
    fn lock(&self) -> MutexGuard<'_, LogState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fill(&self, from: impl std::io::Read) {
        let mut from = BufReader::new(from);
        let mut bytes = Vec::new();
        while from
            .read_until(b'\n', &mut bytes)
            .is_ok_and(|count| count > 0)
        {
            let line = String::from_utf8_lossy(&bytes).trim_end().to_owned();
            bytes.clear();
            self.lock().lines.push(line);
            self.changed.notify_all();
        }
        self.lock().closed = true;
        self.changed.notify_all();
    }
}
