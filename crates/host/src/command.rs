//! Running one program to its end, as `wharf run` does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::runtime::{Builder, Runtime};
use wasmtime::{Caller, Linker, Module, Store};
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::{I32Exit, WasiCtxBuilder};
use wharf_engine::{Engine, Fault, FaultKind, LimitHit, StoreLimits, StoreState};

use crate::authority::Authority;
use crate::denial::Denial;
use crate::invoke::{InvokeError, invoke_component, invoke_module};
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

/// Runs a program, or calls one of its functions. Blocks until it ends.
///
/// # Errors
/// The [`Fault`] that ended it: a trap, a limit, or a program that cannot be run.
pub fn run_command(
    engine: &Engine,
    runnable: &Runnable,
    authority: &Authority,
    limits: StoreLimits,
    io: CommandIo,
) -> Result<CommandOutcome, Fault> {
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
fn context(
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

fn denied(error: impl std::fmt::Display) -> Fault {
    Fault::new(FaultKind::User, error.to_string())
}

async fn run_component(
    engine: &Engine,
    program: &Program,
    authority: &Authority,
    limits: StoreLimits,
    io: CommandIo,
) -> Result<CommandOutcome, Fault> {
    let complained = Arc::default();
    let context = context(&io, &complained, false);
    let state = InstanceState::from_builder(authority, limits, context).map_err(denied)?;
    let mut store = engine.new_store(state);
    if let Some(call) = &io.invoke {
        let instance = program.pre().instantiate_async(&mut store).await;
        let instance = instance.map_err(|error| fault_of(&error, &store))?;
        return match invoke_component(&mut store, program, &instance, call).await {
            Ok(returned) => Ok(ended(0, Some(returned), &store, &complained)),
            Err(InvokeError::Failed(error)) => exit_or_fault(&error, &store, &complained),
            Err(error) => Err(error.into_fault()),
        };
    }
    let result = match program.kind() {
        ProgramKind::CommandP3 => call_p3(&mut store, program).await,
        ProgramKind::CommandP2 => call_p2(&mut store, program).await,
        kind => return Err(not_runnable(kind)),
    };
    match result {
        Ok(Ok(())) => Ok(ended(0, None, &store, &complained)),
        Ok(Err(())) => Ok(ended(1, None, &store, &complained)),
        Err(error) => exit_or_fault(&error, &store, &complained),
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

/// State of a core module.
struct ModuleState {
    limits: StoreLimits,
    wasi: WasiP1Ctx,
    denials: crate::denial::Denials,
}

impl StoreState for ModuleState {
    fn limits(&mut self) -> &mut StoreLimits {
        &mut self.limits
    }
}

fn run_module(
    engine: &Engine,
    module: &Module,
    authority: &Authority,
    limits: StoreLimits,
    io: CommandIo,
) -> Result<CommandOutcome, Fault> {
    let complained = Arc::default();
    let mut builder = context(&io, &complained, true);
    authority.apply(&mut builder).map_err(denied)?;
    let mut store = engine.new_store(ModuleState {
        limits,
        wasi: builder.build_p1(),
        denials: authority.denials.clone(),
    });
    let mut linker: Linker<ModuleState> = Linker::new(engine.wasmtime());
    link_wasi_p1(&mut linker, authority.has_no_files())
        .map_err(|error| Fault::from_wasmtime(&error, None))?;
    if let Some(missing) = module
        .imports()
        .find(|import| linker.get_by_import(&mut store, import).is_none())
    {
        return Err(Fault::new(
            FaultKind::User,
            format!(
                "the module imports `{}` from `{}`, which nobody provides",
                missing.name(),
                missing.module()
            ),
        )
        .with_hint(missing_import_hint(missing.module())));
    }
    let instance = linker.instantiate(&mut store, module);
    let instance = match instance {
        Ok(instance) => instance,
        Err(error) => return exit_or_fault(&error, &store, &complained),
    };
    if let Some(call) = &io.invoke {
        if let Some(start) = instance.get_func(&mut store, "_initialize")
            && let Err(error) = start.call(&mut store, &[], &mut [])
        {
            return exit_or_fault(&error, &store, &complained);
        }
        return match invoke_module(&mut store, &instance, call) {
            Ok(returned) => Ok(ended(0, Some(returned), &store, &complained)),
            Err(InvokeError::Failed(error)) => exit_or_fault(&error, &store, &complained),
            Err(error) => Err(error.into_fault()),
        };
    }
    let Ok(start) = instance.get_typed_func::<(), ()>(&mut store, "_start") else {
        return Err(Fault::new(
            FaultKind::User,
            "this module exports no `_start`, so there is nothing to run",
        )
        .with_hint(
            "call one of its functions with `--invoke 'name(1, 2)'`; `wharf inspect` lists them",
        ));
    };
    match start.call(&mut store, ()) {
        Ok(()) => Ok(ended(0, None, &store, &complained)),
        Err(error) => exit_or_fault(&error, &store, &complained),
    }
}

fn missing_import_hint(module: &str) -> &'static str {
    match module {
        "env" => {
            "it was linked with undefined symbols, or for Emscripten; build it for wasm32-wasip1"
        }
        "wbg" | "__wbindgen_placeholder__" => "it is made for a browser by wasm-bindgen",
        "gojs" => "it is Go's build for browsers; build with GOOS=wasip1",
        _ => "only WASI 0.1 can be imported by core modules",
    }
}

fn link_wasi_p1(linker: &mut Linker<ModuleState>, no_files: bool) -> wasmtime::Result<()> {
    wasmtime_wasi::p1::add_to_linker_sync(linker, |state: &mut ModuleState| &mut state.wasi)?;
    wasmtime_wasi::p0::add_to_linker_sync(linker, |state: &mut ModuleState| &mut state.wasi)?;
    linker.allow_shadowing(true);
    for module in ["wasi_snapshot_preview1", "wasi_unstable"] {
        // The engine's own refuses codes above 125; a native program may end with any.
        linker.func_wrap(module, "proc_exit", |code: i32| -> wasmtime::Result<()> {
            Err(I32Exit(code).into())
        })?;
    }
    if no_files {
        // No folder is open, so the answer is always the same: `badf`. It tells us that the
        // program looked for files.
        linker.func_wrap(
            "wasi_snapshot_preview1",
            "fd_prestat_get",
            |caller: Caller<'_, ModuleState>, _fd: i32, _prestat: i32| -> i32 {
                caller.data().denials.record(Denial::no_files());
                ERRNO_BADF
            },
        )?;
    }
    linker.allow_shadowing(false);
    Ok(())
}

/// `errno.badf` of WASI 0.1.
const ERRNO_BADF: i32 = 8;

fn fault_of<S>(error: &wasmtime::Error, store: &Store<S>) -> Fault
where
    Store<S>: HitLimit,
{
    Fault::from_wasmtime(error, store.hit_limit().as_ref())
}

trait HitLimit {
    fn hit_limit(&self) -> Option<LimitHit>;
}

impl HitLimit for Store<InstanceState> {
    fn hit_limit(&self) -> Option<LimitHit> {
        self.data().store_limits().hit().cloned()
    }
}

impl HitLimit for Store<ModuleState> {
    fn hit_limit(&self) -> Option<LimitHit> {
        self.data().limits.hit().cloned()
    }
}

/// The code that a guest called `exit` with, if that is what ended it.
pub fn exit_code(error: &wasmtime::Error) -> Option<i32> {
    error.downcast_ref::<I32Exit>().map(|exit| exit.0)
}

fn exit_or_fault<S>(
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

fn ended<S>(
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
