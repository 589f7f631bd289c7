//! The bytes of each case.

use std::panic;
use std::path::{Path, PathBuf};

use arbitrary::{Arbitrary, Unstructured};
use wasm_mutate::WasmMutate;
use wasm_smith::Config;
use wharf_testkit::{Wasi, guests};

use crate::mutate;
use crate::random::Random;

/// Bytes of randomness that one generated module is made of.
const SMITH_BYTES_MAX: usize = 4096;
/// Instructions after which a generated module that is to end by itself does.
const SMITH_FUEL: u32 = 10_000;

/// Real components and modules, to be spoilt.
pub(crate) struct Guests {
    paths: Vec<PathBuf>,
    pub(crate) components: Vec<Vec<u8>>,
    modules: Vec<Vec<u8>>,
}

impl Guests {
    /// Builds them from source.
    pub(crate) fn build() -> Guests {
        Guests::read(vec![
            guests::hello(Wasi::P2),
            guests::hello(Wasi::P3),
            guests::command(Wasi::P2),
            guests::command(Wasi::P3),
            guests::lib_math(),
            guests::lib_math_typed(),
            guests::command(Wasi::P1),
        ])
    }

    /// Reads what [`Guests::build`] built: the smallest HTTP handler first.
    pub(crate) fn read(paths: Vec<PathBuf>) -> Guests {
        let all: Vec<Vec<u8>> = paths
            .iter()
            .map(|path| std::fs::read(path).unwrap())
            .collect();
        let (components, modules) = all
            .into_iter()
            .partition(|bytes| wasmparser::Parser::is_component(bytes));
        Guests {
            paths,
            components,
            modules,
        }
    }

    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.paths.iter().map(PathBuf::as_path)
    }
}

pub(crate) struct Case {
    /// How it was made.
    pub(crate) kind: &'static str,
    pub(crate) bytes: Vec<u8>,
    /// Whether it surely ends by itself, so that nothing need interrupt it.
    pub(crate) ends: bool,
}

/// The case of that number. Where a generator panics, which is no fault of wharf's, it is empty.
pub(crate) fn case(guests: &Guests, seed: u64, index: u64) -> Case {
    let made = panic::catch_unwind(panic::AssertUnwindSafe(|| make(guests, seed, index)));
    made.unwrap_or(Case {
        kind: "made by nobody",
        bytes: Vec::new(),
        ends: false,
    })
}

fn make(guests: &Guests, seed: u64, index: u64) -> Case {
    let mut random = Random::of(seed, index);
    let (kind, bytes) = match index % 8 {
        0 | 1 => {
            let ends = index % 2 == 0;
            let bytes = smith_module(&mut random, ends, index % 16 < 8);
            return Case {
                kind: "made by wasm-smith",
                ends: ends && bytes.is_some(),
                bytes: bytes.unwrap_or_default(),
            };
        }
        2 => (
            "made by wasm-smith, a component",
            smith_component(&mut random),
        ),
        3 => {
            let module = random.pick(&guests.modules).clone();
            (
                "mutated by wasm-mutate",
                mutated_module(&mut random, &module),
            )
        }
        4 => {
            let component = random.pick(&guests.components).clone();
            let bytes = mutate::modules(&component, &mut |module| {
                mutated_module(&mut random, module)
            });
            ("its modules mutated by wasm-mutate", bytes)
        }
        _ => {
            let component = random.pick(&guests.components).clone();
            let other = random.pick(&guests.components);
            let bytes = mutate::component(&mut random, &component, other);
            ("a spoilt component", bytes)
        }
    };
    Case {
        kind,
        bytes,
        ends: false,
    }
}

/// `None` where the randomness does not make a module.
fn smith_module(random: &mut Random, ends: bool, wasi: bool) -> Option<Vec<u8>> {
    let length = random.below(SMITH_BYTES_MAX) + 64;
    let noise = random.bytes(length);
    let mut noise = Unstructured::new(&noise);
    let mut config = Config::arbitrary(&mut noise).ok()?;
    config.max_memories = config.max_memories.min(2);
    config.max_tables = config.max_tables.min(2);
    config.allow_start_export = true;
    if wasi {
        config.available_imports = Some(wasi_imports());
    }
    let mut module = wasm_smith::Module::new(config, &mut noise).ok()?;
    if ends {
        module.ensure_termination(SMITH_FUEL).ok()?;
    }
    Some(module.to_bytes())
}

/// Some of WASI 0.1, and what the smith needs to know of it.
fn wasi_imports() -> Vec<u8> {
    let text = r#"(module
        (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_read" (func (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_prestat_get" (func (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_close" (func (param i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_renumber" (func (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "path_open"
            (func (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "args_get" (func (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "environ_sizes_get" (func (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "clock_time_get" (func (param i32 i64 i32) (result i32)))
        (import "wasi_snapshot_preview1" "random_get" (func (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "proc_exit" (func (param i32))))"#;
    wat::parse_str(text).unwrap()
}

fn smith_component(random: &mut Random) -> Vec<u8> {
    let length = random.below(SMITH_BYTES_MAX) + 64;
    let noise = random.bytes(length);
    wasm_smith::Component::arbitrary(&mut Unstructured::new(&noise))
        .map(|component| component.to_bytes())
        .unwrap_or_default()
}

fn mutated_module(random: &mut Random, module: &[u8]) -> Vec<u8> {
    let mut mutate = WasmMutate::default();
    mutate
        .seed(random.next())
        .fuel(300)
        .preserve_semantics(random.below(4) == 0);
    let made = mutate.run(module).ok().and_then(|mut made| made.next());
    match made {
        Some(Ok(bytes)) => bytes,
        _ => module.to_vec(),
    }
}
