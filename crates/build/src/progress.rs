//! What a build tells its caller while it works.
//!
//! This crate never writes to a terminal: the CLI draws these events, a server
//! logs them, a test collects them.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// One piece of work that takes long enough to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// Another process builds this app; its id where the lock names it.
    WaitForOtherBuild {
        /// The process that holds the lock.
        pid: Option<u32>,
    },
    /// `rustup target add` runs.
    InstallTarget {
        /// The Rust target, such as `wasm32-wasip2`.
        target: String,
    },
    /// A component's sources are compiled.
    Compile {
        /// The component's name.
        component: String,
        /// What compiles it, such as `cargo`.
        tool: &'static str,
    },
    /// A `pure` component's code is searched for calls into a system.
    CheckPure {
        /// The component's name.
        component: String,
    },
    /// wasm-opt works on a component's core module.
    Optimize {
        /// The component's name.
        component: String,
    },
    /// A ready `.wasm` or `.wat` file is read and checked.
    Read {
        /// The component's name.
        component: String,
        /// The file that is read.
        file: PathBuf,
    },
    /// The app is written into the store.
    Pack,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WaitForOtherBuild { pid: Some(pid) } => {
                write!(f, "another build is running (pid {pid}), waiting")
            }
            Self::WaitForOtherBuild { pid: None } => {
                f.write_str("another build is running, waiting")
            }
            Self::InstallTarget { target } => {
                write!(f, "installing a Rust target: rustup target add {target}")
            }
            Self::Compile { component, tool } => write!(f, "compiling {component} with {tool}"),
            Self::CheckPure { component } => write!(f, "checking that {component} is pure"),
            Self::Optimize { component } => write!(f, "optimising {component} with wasm-opt"),
            Self::Read { component, file } => {
                write!(f, "reading {component} from {}", file.display())
            }
            Self::Pack => f.write_str("packing the app"),
        }
    }
}

/// Receives what happens during a build. Calls come from the building thread
/// and from threads that read a child's output.
pub trait Progress: Send + Sync {
    /// A step begins.
    fn started(&self, step: &Step) {
        let _ = step;
    }

    /// A step ended; `ok` is false when it ended the build.
    fn finished(&self, step: &Step, ok: bool, elapsed: Duration) {
        let _ = (step, ok, elapsed);
    }

    /// One line a child process printed, without its line break. It holds ANSI
    /// colours when [`BuildOptions::color`](crate::BuildOptions::color) is set.
    fn output(&self, line: &str) {
        let _ = line;
    }
}

/// Drops everything.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {}

/// Runs `work` between the two events of `step`.
pub(crate) fn during<T, E>(
    progress: &dyn Progress,
    step: &Step,
    work: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    let start = std::time::Instant::now();
    progress.started(step);
    let result = work();
    progress.finished(step, result.is_ok(), start.elapsed());
    result
}
