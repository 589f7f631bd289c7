//! How Wasmtime is set up, and what identifies an engine.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use wasmtime::{
    Config, Enabled, InstanceAllocationStrategy, ModuleVersionStrategy, OptLevel,
    PoolingAllocationConfig, Precompiled, WasmBacktraceDetails,
};

use wharf_manifest::ByteSize;

use crate::footprint::{INSTANCE_BYTES_MAX, MEMORIES_EACH, STACKS_EACH, TABLES_EACH};
use crate::limits::TABLE_ELEMENTS_MAX;
use crate::ticker::Ticker;

/// The exact Wasmtime that this build uses; part of every cache key, since native code of one
/// patch version is not used by another. A test holds it against Cargo.lock.
const WASMTIME_VERSION: &str = "48.0.8";

/// What an engine is for. Code made for one profile does not run under the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Profile {
    /// Many short instances side by side: epoch checks, so that a spinning guest yields and
    /// ends; memory from a pool.
    Serve,
    /// One program that owns the process (`wharf run`): no epoch checks, since a watchdog can
    /// end the process, and compute-bound programs run 1.2x to 2x faster without them.
    Command,
}

impl Profile {
    /// The profile's name on a command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Profile::Serve => "serve",
            Profile::Command => "command",
        }
    }

    /// The profile of that name.
    pub fn from_name(name: &str) -> Option<Profile> {
        [Profile::Serve, Profile::Command]
            .into_iter()
            .find(|profile| profile.as_str() == name)
    }
}

/// How much address space the pool of the serving profile reserves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolSize {
    /// Component instances alive at once; each may hold several core instances.
    pub instances: u32,
    /// Bytes of a memory that stay with its place in the pool for the next instance; a quarter
    /// of it of a table, a sixty-fourth of a stack. No budget counts them.
    pub keep_resident: usize,
}

impl Default for PoolSize {
    fn default() -> PoolSize {
        PoolSize {
            // One app may have seven eighths of them, which is its default `concurrency`.
            instances: 1200,
            keep_resident: KEEP_RESIDENT_MAX,
        }
    }
}

/// What is kept of a stack at least: what an ordinary request uses.
const STACK_KEEP_RESIDENT_MIN: usize = 8 << 10;

/// What is kept of a memory where there is enough.
const KEEP_RESIDENT_MAX: usize = 2 << 20;

impl PoolSize {
    /// The default, but keeping at most `bytes` in all places together.
    pub fn keeping(bytes: ByteSize) -> PoolSize {
        let size = PoolSize::default();
        // Two memories for each instance, and four tables of which a quarter is kept.
        let each = bytes.0 / (u64::from(size.instances) * 3);
        let each = usize::try_from(each).unwrap_or(usize::MAX);
        PoolSize {
            keep_resident: each.min(KEEP_RESIDENT_MAX) & !(PAGE_BYTES - 1),
            ..size
        }
    }
}

/// What sizes in the pool must be a multiple of: pages, on all machines.
const PAGE_BYTES: usize = 64 << 10;

/// Settings of an [`Engine`].
#[derive(Debug, Clone, Copy)]
pub struct EngineOptions {
    /// What it is for.
    pub profile: Profile,
    /// Its pool; `None` allocates on demand (the compiler child, single programs).
    pub pool: Option<PoolSize>,
    /// What of WebAssembly it accepts.
    pub features: FeatureSet,
}

/// What of WebAssembly an engine accepts. Code that was compiled with fewer features runs on an
/// engine with more, not the other way round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeatureSet {
    /// What nearly every program is made of: neither garbage collection nor function references,
    /// exceptions, 64-bit memories, or async functions and streams at a component's edge.
    Lean,
    /// All that is supported.
    Full,
}

impl EngineOptions {
    /// An engine that serves many instances.
    pub fn serve() -> EngineOptions {
        EngineOptions {
            profile: Profile::Serve,
            pool: Some(PoolSize::default()),
            features: FeatureSet::Full,
        }
    }

    /// An engine for one program.
    pub fn command() -> EngineOptions {
        EngineOptions {
            profile: Profile::Command,
            pool: None,
            features: FeatureSet::Full,
        }
    }

    /// The same engine, as the compiler child needs it: nothing will be instantiated.
    pub fn compile_only(profile: Profile) -> EngineOptions {
        EngineOptions {
            profile,
            pool: None,
            features: FeatureSet::Full,
        }
    }
}

/// An engine could not be made.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The machine refuses the configuration, most often the pool's address space.
    #[error("cannot set the WebAssembly engine up: {0:#}")]
    Wasmtime(wasmtime::Error),
    /// The ticker thread could not be started.
    #[error("cannot start the engine's clock thread: {0}")]
    Ticker(#[from] std::io::Error),
}

/// A configured Wasmtime engine with its clock. Clones share it.
#[derive(Debug, Clone)]
pub struct Engine {
    wasmtime: wasmtime::Engine,
    profile: Profile,
    ticker: Option<Arc<Ticker>>,
    identity: EngineIdentity,
}

/// Everything that decides whether native code fits: 16 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct EngineIdentity(Arc<str>);

impl EngineIdentity {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Engine {
    /// Makes an engine.
    ///
    /// # Errors
    /// When the machine cannot give what the options ask, such as the pool's address space
    /// under `ulimit -v`.
    pub fn new(options: EngineOptions) -> Result<Engine, EngineError> {
        let config = configure(options).map_err(EngineError::Wasmtime)?;
        let wasmtime = wasmtime::Engine::new(&config).map_err(EngineError::Wasmtime)?;
        let ticker = match (options.profile, options.pool) {
            // Without a pool nothing is instantiated: this engine only compiles.
            (Profile::Serve, Some(_)) => Some(Arc::new(Ticker::start(wasmtime.weak())?)),
            _ => None,
        };
        let identity = identify(&wasmtime, options.profile);
        Ok(Engine {
            wasmtime,
            profile: options.profile,
            ticker,
            identity,
        })
    }

    /// The Wasmtime engine.
    pub fn wasmtime(&self) -> &wasmtime::Engine {
        &self.wasmtime
    }

    /// What the engine is for.
    pub fn profile(&self) -> Profile {
        self.profile
    }

    pub(crate) fn ticker(&self) -> Option<&Ticker> {
        self.ticker.as_deref()
    }

    pub(crate) fn identity(&self) -> &EngineIdentity {
        &self.identity
    }

    /// Whether `bytes` are native code rather than Wasm. Such bytes are never taken from a user.
    pub fn is_native_code(bytes: &[u8]) -> bool {
        matches!(
            wasmtime::Engine::detect_precompiled(bytes),
            Some(Precompiled::Component | Precompiled::Module)
        )
    }
}

fn configure(options: EngineOptions) -> wasmtime::Result<Config> {
    let mut config = Config::new();
    let all = options.features == FeatureSet::Full;
    config
        .module_version(ModuleVersionStrategy::Custom(format!(
            "wharf {} on wasmtime {WASMTIME_VERSION}",
            env!("CARGO_PKG_VERSION")
        )))?
        .cranelift_opt_level(OptLevel::Speed)
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        // Snapshots of language runtimes keep copy-on-write only below this size.
        .memory_guaranteed_dense_image_size(128 << 20)
        .wasm_component_model_async(all)
        .wasm_simd(true)
        .wasm_relaxed_simd(true)
        .wasm_memory64(all)
        .wasm_multi_memory(true)
        .wasm_exceptions(all)
        .wasm_gc(all)
        .wasm_function_references(all)
        // Atomic instructions on a memory that nobody shares do no harm, and compilers emit them.
        // Memory that threads share is another matter.
        .wasm_threads(true)
        .shared_memory(false);
    match options.profile {
        Profile::Serve => {
            // What a deep guest made of its stack is given back with it.
            config.epoch_interruption(true).async_stack_zeroing(true);
        }
        Profile::Command => {
            // Interpreters and compilers recurse deeply; the address space costs nothing.
            config
                .max_wasm_stack(6 << 20)
                .async_stack_size(8 << 20)
                .epoch_interruption(false);
        }
    }
    if let Some(pool) = options.pool {
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool_config(pool)));
    }
    Ok(config)
}

fn pool_config(size: PoolSize) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(size.instances)
        // A mere count: what they need is counted as memories, tables and stacks.
        .total_core_instances(size.instances.saturating_mul(200))
        .total_memories(size.instances.saturating_mul(MEMORIES_EACH))
        .total_tables(size.instances.saturating_mul(TABLES_EACH))
        .total_stacks(size.instances.saturating_mul(STACKS_EACH))
        .total_gc_heaps(size.instances)
        .max_core_instances_per_component(200)
        .max_memories_per_component(200)
        .max_tables_per_component(200)
        .max_memories_per_module(2)
        .max_tables_per_module(2)
        .table_elements(TABLE_ELEMENTS_MAX)
        .max_core_instance_size(INSTANCE_BYTES_MAX)
        .max_component_instance_size(INSTANCE_BYTES_MAX)
        .linear_memory_keep_resident(size.keep_resident)
        .table_keep_resident((size.keep_resident / 4) & !(PAGE_BYTES - 1))
        .async_stack_keep_resident((size.keep_resident / 64).max(STACK_KEEP_RESIDENT_MIN));
    if !swap_is_on() {
        // With swap on the kernel's scan misses swapped pages, and memory of one guest would
        // reach the next.
        pool.pagemap_scan(Enabled::Auto);
    }
    pool
}

/// Whether the machine has swap space. Unknown counts as yes.
fn swap_is_on() -> bool {
    std::fs::read_to_string("/proc/swaps").map_or(true, |table| table.lines().count() > 1)
}

fn identify(engine: &wasmtime::Engine, profile: Profile) -> EngineIdentity {
    struct Blake(blake3::Hasher);
    impl Hasher for Blake {
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }
        fn finish(&self) -> u64 {
            0
        }
    }
    let mut hasher = Blake(blake3::Hasher::new());
    engine.precompile_compatibility_hash().hash(&mut hasher);
    profile.as_str().hash(&mut hasher);
    WASMTIME_VERSION.hash(&mut hasher);
    env!("CARGO_PKG_VERSION").hash(&mut hasher);
    let hex = hasher.0.finalize().to_hex();
    EngineIdentity(hex.as_str()[..16].into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_that_of_the_lock_file() {
        let lock = include_str!("../../../Cargo.lock");
        let locked = lock
            .split("[[package]]")
            .find(|package| package.contains("name = \"wasmtime\"\n"))
            .unwrap();
        assert!(
            locked.contains(&format!("version = \"{WASMTIME_VERSION}\"")),
            "set WASMTIME_VERSION to the version in Cargo.lock: {locked}"
        );
    }

    #[test]
    fn little_memory_keeps_little_in_the_pool() {
        let kept = |bytes: u64| PoolSize::keeping(ByteSize(bytes)).keep_resident;
        assert_eq!(kept(64 << 30), KEEP_RESIDENT_MAX);
        assert_eq!(kept(256 << 20), 64 << 10);
        assert_eq!(kept(0), 0);
        assert_eq!(kept(3 << 30) % PAGE_BYTES, 0);
        let options = EngineOptions {
            pool: Some(PoolSize::keeping(ByteSize(0))),
            ..EngineOptions::serve()
        };
        assert!(Engine::new(options).is_ok());
    }

    #[test]
    fn the_compiler_child_makes_code_for_the_pooled_engine() {
        let serving = Engine::new(EngineOptions::serve()).unwrap();
        let child = Engine::new(EngineOptions::compile_only(Profile::Serve)).unwrap();
        let command = Engine::new(EngineOptions::command()).unwrap();
        assert_eq!(serving.identity(), child.identity());
        assert_ne!(serving.identity(), command.identity());
    }
}
