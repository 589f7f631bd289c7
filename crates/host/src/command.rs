//! Running one program to its end, as `wharf run` does.

use std::sync::Arc;

use tokio::runtime::{Builder, Runtime};
use wasmtime::{Module, Store};
use wharf_engine::{Engine, Fault, FaultKind, LimitHit, StoreLimits};

use crate::authority::Authority;
use crate::invoke::{InvokeError, invoke_component};
use crate::module::run_module;
use crate::outcome::{
    CommandIo, CommandOutcome, HitLimit, RunError, context, denied, ended, exit_or_fault, fault_of,
};
use crate::program::{Program, ProgramKind};
use crate::state::InstanceState;

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

async fn run_component(
    engine: &Engine,
    program: &Program,
    authority: &Authority,
    limits: StoreLimits,
    io: CommandIo,
) -> Result<CommandOutcome, RunError> {
    let complained = Arc::default();
    let mut context = context(&io, &complained, false);
    authority.preopen(&mut context).map_err(denied)?;
    let state = InstanceState::from_builder(authority, limits, context);
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

impl HitLimit for Store<InstanceState> {
    fn hit_limit(&self) -> Option<LimitHit> {
        self.data().store_limits().hit().cloned()
    }
}
