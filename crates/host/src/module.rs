//! Running a core module: a program of WASI 0.1, or one with bare exports.

use std::sync::Arc;

use wasmtime::{Caller, InstancePre, Linker, Module, Store, UnknownImportError};
use wasmtime_wasi::I32Exit;
use wasmtime_wasi::p1::WasiP1Ctx;
use wharf_engine::{Engine, Fault, FaultKind, LimitHit, StoreLimits, StoreState};

use crate::authority::Authority;
use crate::capability::files::p1::{self, HasFiles, OpenFolders};
use crate::capability::p1::HasWasi;
use crate::capability::poll;
use crate::denial::{Denial, Denials};
use crate::invoke::{InvokeError, invoke_module};
use crate::link_error::LinkError;
use crate::outcome::{
    CommandIo, CommandOutcome, HitLimit, RunError, context, denied, ended, exit_or_fault,
};

/// State of a core module.
struct ModuleState {
    limits: StoreLimits,
    wasi: WasiP1Ctx,
    folders: OpenFolders,
    denials: Denials,
}

impl HasWasi for ModuleState {
    fn wasi(&mut self) -> &mut WasiP1Ctx {
        &mut self.wasi
    }
}

impl HasFiles for ModuleState {
    fn folders(&mut self) -> &mut OpenFolders {
        &mut self.folders
    }
}

impl StoreState for ModuleState {
    fn limits(&mut self) -> &mut StoreLimits {
        &mut self.limits
    }
}

impl HitLimit for Store<ModuleState> {
    fn hit_limit(&self) -> Option<LimitHit> {
        self.data().limits.hit().cloned()
    }
}

/// Whether somebody provides things of the names that `module` imports.
pub(crate) fn check_module_names(engine: &Engine, module: &Module) -> Result<(), LinkError> {
    let Ok(linker) = linker(engine, None) else {
        // Running it says so.
        return Ok(());
    };
    match link(&linker, module) {
        Err(error @ LinkError::MissingModuleImport { .. }) => Err(error),
        // It has no types of its own to fit.
        Ok(_) | Err(_) => Ok(()),
    }
}

pub(crate) fn run_module(
    engine: &Engine,
    module: &Module,
    authority: &Authority,
    limits: StoreLimits,
    io: CommandIo,
) -> Result<CommandOutcome, RunError> {
    let complained = Arc::default();
    let mut builder = context(&io, &complained, true);
    // It has no call that makes a socket.
    authority.apply(&mut builder, &authority.outgoing());
    authority.preopen(&mut builder).map_err(denied)?;
    let linker =
        linker(engine, Some(authority)).map_err(|error| Fault::from_wasmtime(&error, None))?;
    let pre = link(&linker, module)?;
    if io.invoke.is_none() && module.get_export("_start").is_none() {
        return Err(RunError::NotRunnable(no_start()));
    }
    let mut store = engine.new_store(ModuleState {
        limits,
        wasi: builder.build_p1(),
        folders: OpenFolders::new(Arc::clone(&authority.folders), authority.denials.clone()),
        denials: authority.denials.clone(),
    });
    // Charged for every byte that a read or a write names, up to which a program with a large file
    // would be told that memory is out. The bytes lie in its own memory, which `--memory` bounds;
    // of the one call that takes room for what it names before it looks, `poll` sees to that.
    store.set_hostcall_fuel(usize::MAX);
    let instance = match pre.instantiate(&mut store) {
        Ok(instance) => instance,
        Err(error) => return Ok(exit_or_fault(&error, &store, &complained)?),
    };
    if let Some(call) = &io.invoke {
        if let Some(start) = instance.get_func(&mut store, "_initialize")
            && let Err(error) = start.call(&mut store, &[], &mut [])
        {
            return Ok(exit_or_fault(&error, &store, &complained)?);
        }
        return match invoke_module(&mut store, &instance, call) {
            Ok(returned) => Ok(ended(0, Some(returned), &store, &complained)),
            Err(InvokeError::Failed(error)) => Ok(exit_or_fault(&error, &store, &complained)?),
            Err(error) => Err(error.into_fault().into()),
        };
    }
    let Ok(start) = instance.get_typed_func::<(), ()>(&mut store, "_start") else {
        return Err(RunError::NotRunnable(no_start()));
    };
    match start.call(&mut store, ()) {
        Ok(()) => Ok(ended(0, None, &store, &complained)),
        Err(error) => Ok(exit_or_fault(&error, &store, &complained)?),
    }
}

fn no_start() -> Fault {
    Fault::new(
        FaultKind::User,
        "this module exports no `_start`, so there is nothing to run",
    )
    .with_hint("call one of its functions with `--invoke 'name(1, 2)'`; `wharf inspect` lists them")
}

fn link(
    linker: &Linker<ModuleState>,
    module: &Module,
) -> Result<InstancePre<ModuleState>, LinkError> {
    linker.instantiate_pre(module).map_err(|error| {
        match error.downcast_ref::<UnknownImportError>() {
            Some(missing) => LinkError::MissingModuleImport {
                module: missing.module().to_owned(),
                name: missing.name().to_owned(),
            },
            None => LinkError::Mismatch {
                message: format!("{error:#}"),
            },
        }
    })
}

fn linker(engine: &Engine, authority: Option<&Authority>) -> wasmtime::Result<Linker<ModuleState>> {
    let mut linker: Linker<ModuleState> = Linker::new(engine.wasmtime());
    wasmtime_wasi::p1::add_to_linker_sync(&mut linker, |state| &mut state.wasi)?;
    wasmtime_wasi::p0::add_to_linker_sync(&mut linker, |state| &mut state.wasi)?;
    linker.allow_shadowing(true);
    for module in ["wasi_snapshot_preview1", "wasi_unstable"] {
        // The engine's own refuses codes above 125; a native program may end with any.
        linker.func_wrap(module, "proc_exit", |code: i32| -> wasmtime::Result<()> {
            Err(I32Exit(code).into())
        })?;
    }
    poll::link(&mut linker)?;
    if authority.is_some_and(Authority::has_read_only_files) {
        p1::link(&mut linker)?;
    }
    if authority.is_some_and(Authority::has_no_files) {
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
    Ok(linker)
}

/// `errno.badf` of WASI 0.1.
const ERRNO_BADF: i32 = 8;
