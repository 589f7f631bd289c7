//! Running one program to its end, as `wharf run` does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::runtime::{Builder, Runtime};
use wasmtime::{Module, Store};
use wasmtime_wasi::{I32Exit, WasiCtxBuilder};
use wharf_engine::{Engine, Fault, FaultKind, LimitHit, StoreLimits};

use crate::authority::Authority;
use crate::invoke::{InvokeError, invoke_component};
use crate::linker::LinkError;
use crate::module::run_module;
use crate::native_output::NativeOutput;
use crate::output::OutputStream;
use crate::program::{Program, ProgramKind};
use crate::state::InstanceState;
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

/// What can be run.
#[derive(Debug)]
pub enum Runnable {
    /// A core module of WASI 0.1, or with bare exports.
    Module(Module),
    /// A component.
    Component(Program),
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

/// Runs a program, or calls one of its functions. Blocks until it ends.
///
/// # Errors
/// The [`Fault`] that ended it, a trap or a limit, or why it cannot be run.
pub fn run_command(
    engine: &Engine,
    runnable: &Runnable,
    authority: &Authority,
    limits: StoreLimits,
    io: CommandIo,
) -> Result<CommandOutcome, RunError> {
    match runnable {
        Runnable::Module(module) => run_module(engine, module, authority, limits, io),
        Runnable::Component(program) => {
            let runtime = runtime()?;
            let outcome = runtime.block_on(run_component(engine, program, authority, limits, io));
            // Blocking reads of standard input cannot be cancelled; the process ends them.
            runtime.shutdown_background();
            outcome
        }
    }
}

fn runtime() -> Result<Runtime, Fault> {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| {
            Fault::new(
                FaultKind::Host,
                format!("cannot start the async runtime: {error}"),
            )
        })
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

async fn run_component(
    engine: &Engine,
    program: &Program,
    authority: &Authority,
    limits: StoreLimits,
    io: CommandIo,
) -> Result<CommandOutcome, RunError> {
    let complained = Arc::default();
    let context = context(&io, &complained, false);
    let state = InstanceState::from_builder(authority, limits, context).map_err(denied)?;
    let mut store = engine.new_store(state);
    if let Some(call) = &io.invoke {
        let instance = program.pre().instantiate_async(&mut store).await;
        let instance = instance.map_err(|error| fault_of(&error, &store))?;
        return match invoke_component(&mut store, program, &instance, call).await {
            Ok(returned) => Ok(ended(0, Some(returned), &store, &complained)),
            Err(InvokeError::Failed(error)) => Ok(exit_or_fault(&error, &store, &complained)?),
            Err(error) => Err(error.into_fault().into()),
        };
    }
    let result = match program.kind() {
        ProgramKind::CommandP3 => call_p3(&mut store, program).await,
        ProgramKind::CommandP2 => call_p2(&mut store, program).await,
        kind => return Err(RunError::NotRunnable(not_runnable(kind))),
    };
    match result {
        Ok(Ok(())) => Ok(ended(0, None, &store, &complained)),
        Ok(Err(())) => Ok(ended(1, None, &store, &complained)),
        Err(error) => Ok(exit_or_fault(&error, &store, &complained)?),
    }
}

async fn call_p2(
    store: &mut Store<InstanceState>,
    program: &Program,
) -> wasmtime::Result<Result<(), ()>> {
    let pre = program.command_p2().expect("the kind was looked at");
    let command = pre.instantiate_async(&mut *store).await?;
    command.wasi_cli_run().call_run(store).await
}

async fn call_p3(
    store: &mut Store<InstanceState>,
    program: &Program,
) -> wasmtime::Result<Result<(), ()>> {
    let pre = program.command_p3().expect("the kind was looked at");
    let command = pre.instantiate_async(&mut *store).await?;
    store
        .run_concurrent(async |accessor| command.wasi_cli_run().call_run(accessor).await)
        .await?
}

fn not_runnable(kind: ProgramKind) -> Fault {
    match kind {
        ProgramKind::HttpP2 | ProgramKind::HttpP3 => {
            Fault::new(FaultKind::User, "this component answers HTTP requests and has nothing to run")
                .with_hint("serve it with `wharf up FILE`")
        }
        _ => Fault::new(FaultKind::User, "this component exports no `wasi:cli/run`, so there is nothing to run")
            .with_hint("call one of its functions with `--invoke 'name(1, \"x\")'`; `wharf inspect` lists them"),
    }
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

impl HitLimit for Store<InstanceState> {
    fn hit_limit(&self) -> Option<LimitHit> {
        self.data().store_limits().hit().cloned()
    }
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
