//! The engine: the one place that sets Wasmtime and Cranelift up.
//!
//! **Purpose.** Turn Wasm bytes into native code once, keep that code in a cache, and give every
//! store the same limits: memory over all memories and tables, CPU time, handles, and a stop
//! from outside. Everything above (host, serve, run) asks for a [`Store`]
//! through [`Engine::new_store`] and never configures Wasmtime itself.
//!
//! **Place in the flow.** artifact → *engine* → host. Generic over the host's state: this crate
//! knows no WASI.
//!
//! **Invariants.**
//! - Native code is loaded only from files that this crate wrote, whose checksum still holds
//!   ([`CodeCache`]); it is keyed by the digest of the Wasm bytes and the whole identity of the
//!   engine that made it.
//! - Compilation happens in a child process with limits when a helper executable is known
//!   ([`Compiler`]), and never on the path of a warm request.
//! - No store exists without limits ([`StoreLimits`]) and, in the serving profile, without an
//!   epoch deadline.
//!
//! **Left out on purpose.** Fuel, shared memory and threads, Winch, stack switching.

mod account;
mod budget;
mod cache;
mod clock;
mod compile_limits;
mod compiler;
mod config;
mod fault;
mod footprint;
mod lane;
mod limits;
mod meter;
mod places;
mod seal;
mod tally;
mod ticker;
mod told;
mod turn;

pub use account::CpuAccount;
pub use budget::{Budget, Held};
pub use cache::{CacheError, CacheKey, CodeCache};
pub use compile_limits::CompileLimits;
pub use compiler::{CompileError, Compiler, compile_child_main};
pub use config::{Engine, EngineError, EngineOptions, FeatureSet, PoolSize, Profile};
pub use fault::{Fault, FaultKind};
pub use footprint::{Footprint, handle_bytes};
pub use lane::SlowLane;
pub use limits::{LimitHit, StoreLimits};
pub use meter::{CpuMeter, Metered};
pub use tally::CodeTally;
pub use told::clip;

use wasmtime::{Store, UpdateDeadline};

use crate::meter::Tick;

/// What the engine needs from the state of every store.
pub trait StoreState: Send + 'static {
    /// The limits that this store obeys.
    fn limits(&mut self) -> &mut StoreLimits;
}

impl Engine {
    /// A store with its limits armed.
    ///
    /// In the serving profile the guest yields to the async runtime at every tick (10 ms); after
    /// about two ticks of computing it runs in the [`SlowLane`]; once its CPU budget is spent the
    /// next tick ends it with [`LimitHit::Cpu`]. In the command profile nothing interrupts it:
    /// the caller ends the process.
    pub fn new_store<S: StoreState>(&self, state: S) -> Store<S> {
        let mut store = Store::new(self.wasmtime(), state);
        store.limiter(|state| state.limits());
        let handles = store.data_mut().limits().handles_max();
        store.set_max_component_handles(handles);
        store.set_hostcall_fuel(match self.profile() {
            Profile::Serve => SERVING_HOSTCALL_BYTES_MAX,
            Profile::Command => COMMAND_HOSTCALL_BYTES_MAX,
        });
        if let Some(ticker) = self.ticker() {
            store.data_mut().limits().keep_awake(ticker.awake());
            store.set_epoch_deadline(1);
            store.epoch_deadline_callback(|mut store| {
                let limits = store.data_mut().limits();
                match limits.on_tick() {
                    Tick::Continue => Ok(UpdateDeadline::Continue(1)),
                    Tick::Yield(turn) => Ok(UpdateDeadline::YieldCustom(1, turn)),
                    Tick::Spent => Err(limits.cpu_spent().into()),
                }
            });
        }
        store
    }
}

/// Bytes that one host call may copy out of a guest (lists, strings) before it traps. Many guests
/// are at such calls side by side, and nothing counts these copies while a call lasts.
const SERVING_HOSTCALL_BYTES_MAX: usize = 4 << 20;

/// The same for a program that has the process for itself.
const COMMAND_HOSTCALL_BYTES_MAX: usize = 64 << 20;
