//! What a program is given besides its grants, and how it ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use wasmtime::Store;
use wasmtime_wasi::{I32Exit, WasiCtxBuilder};
use wharf_engine::{Fault, FaultKind, LimitHit};

use crate::link_error::LinkError;
use crate::native_output::NativeOutput;
use crate::output::OutputStream;
use crate::write_through::Direct;

/// What a program gets besides its grants. Its standard streams are the process's own.
#[derive(Debug, Clone, Default)]
pub struct CommandIo {
    /// Its arguments, the first being its own name.
    pub args: Vec<String>,
    /// A call in WAVE (`add(1, 2)`) to make instead of running it.
    pub invoke: Option<String>,
}

/// How a program ended by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandOutcome {
    /// Its exit code.
    pub code: i32,
    /// What an invoked function returned, in WAVE.
    pub returned: Option<String>,
    /// Whether it printed anything on standard error.
    pub complained: bool,
    /// A limit that it met and lived with.
    pub hit: Option<LimitHit>,
}

/// Why a program did not end by itself.
#[derive(Debug)]
pub enum RunError {
    /// It is no program, or not one that can be run here. It was not started.
    NotRunnable(Fault),
    /// It was ended: by a trap or a limit, or by a call that cannot be made.
    Ended(Fault),
}

impl From<Fault> for RunError {
    fn from(fault: Fault) -> RunError {
        RunError::Ended(fault)
    }
}

impl From<LinkError> for RunError {
    fn from(error: LinkError) -> RunError {
        let fault = Fault::new(FaultKind::User, error.to_string());
        RunError::NotRunnable(fault.with_hint(error.hint()))
    }
}

/// Its own streams and arguments. `complained` is set when it prints on standard error.
pub(crate) fn context(
    io: &CommandIo,
    complained: &Arc<AtomicBool>,
    tells_broken_pipe: bool,
) -> WasiCtxBuilder {
    let output = |stream, written| {
        Direct(NativeOutput {
            stream,
            written,
            tells_broken_pipe,
        })
    };
    let mut builder = WasiCtxBuilder::new();
    builder
        .inherit_stdin()
        .stdout(output(OutputStream::Stdout, Arc::default()))
        .stderr(output(OutputStream::Stderr, Arc::clone(complained)))
        .args(&io.args)
        // One program owns the process: a file call may block it.
        .allow_blocking_current_thread(true);
    builder
}

pub(crate) fn denied(error: impl std::fmt::Display) -> Fault {
    Fault::new(FaultKind::User, error.to_string())
}

pub(crate) fn fault_of<S>(error: &wasmtime::Error, store: &Store<S>) -> Fault
where
    Store<S>: HitLimit,
{
    Fault::from_wasmtime(error, store.hit_limit().as_ref())
}

pub(crate) trait HitLimit {
    fn hit_limit(&self) -> Option<LimitHit>;
}

/// The code that a guest called `exit` with, if that is what ended it.
pub fn exit_code(error: &wasmtime::Error) -> Option<i32> {
    error.downcast_ref::<I32Exit>().map(|exit| exit.0)
}

pub(crate) fn exit_or_fault<S>(
    error: &wasmtime::Error,
    store: &Store<S>,
    complained: &AtomicBool,
) -> Result<CommandOutcome, Fault>
where
    Store<S>: HitLimit,
{
    match exit_code(error) {
        Some(code) => Ok(ended(code, None, store, complained)),
        None => Err(fault_of(error, store)),
    }
}

pub(crate) fn ended<S>(
    code: i32,
    returned: Option<String>,
    store: &Store<S>,
    complained: &AtomicBool,
) -> CommandOutcome
where
    Store<S>: HitLimit,
{
    CommandOutcome {
        code,
        returned,
        complained: complained.load(Ordering::Relaxed),
        hit: store.hit_limit(),
    }
}
