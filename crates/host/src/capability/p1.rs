//! Calls of WASI 0.1 that go through us to the engine's own.

use wasmtime::{AsContextMut, Caller, Extern};
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::p1::wasi_snapshot_preview1::WasiSnapshotPreview1;
use wiggle::GuestMemory;

/// The name that modules import it by.
pub(crate) const MODULE: &str = "wasi_snapshot_preview1";

/// The state of a module of WASI 0.1.
pub(crate) trait HasWasi: Send + 'static {
    fn wasi(&mut self) -> &mut WasiP1Ctx;
}

/// The guest's memory and the state, as the engine's own bindings take them.
pub(crate) fn parts<'a, S: HasWasi>(
    caller: &'a mut Caller<'_, S>,
) -> wasmtime::Result<(GuestMemory<'a>, &'a mut S)> {
    let Some(Extern::Memory(memory)) = caller.get_export("memory") else {
        return Err(wasmtime::Error::msg("missing required memory export"));
    };
    let fuel = caller.as_context_mut().hostcall_fuel();
    let (bytes, state) = memory.data_and_store_mut(caller);
    state.wasi().set_hostcall_fuel(fuel);
    Ok((GuestMemory::Unshared(bytes), state))
}
