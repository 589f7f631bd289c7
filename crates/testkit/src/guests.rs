//! The guests of `guests/`, built from source.
//!
//! Each function builds one guest, if it is not built yet, and returns its file. Do not write to
//! the file: other tests read it.

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// A version of WASI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wasi {
    /// 0.1: core modules.
    P1,
    /// 0.2.
    P2,
    /// 0.3.
    P3,
}

/// The HTTP handler with a route for everything, with std's WASI imports.
///
/// # Panics
/// For WASI 0.1, which has no HTTP.
pub fn http_kitchen(wasi: Wasi) -> PathBuf {
    http("http-kitchen", wasi, &["std"], "wasm32-wasip2")
}

/// The same built without std's WASI imports.
///
/// # Panics
/// For WASI 0.1, which has no HTTP.
pub fn http_kitchen_pure(wasi: Wasi) -> PathBuf {
    http("http-kitchen", wasi, &[], PURE)
}

/// An axum router behind the SDK, without std's WASI imports.
///
/// # Panics
/// For WASI 0.1, which has no HTTP.
pub fn axum_router(wasi: Wasi) -> PathBuf {
    http("axum-router", wasi, &[], PURE)
}

/// The smallest HTTP handler: streams `hello` in chunks; without std's WASI imports.
///
/// # Panics
/// For WASI 0.1, which has no HTTP.
pub fn hello(wasi: Wasi) -> PathBuf {
    http("hello", wasi, &[], PURE)
}

/// The HTTP handler with a route for each way to harm a host, and a good one.
///
/// # Panics
/// For WASI 0.1, which has no HTTP.
pub fn hostile(wasi: Wasi) -> PathBuf {
    http("hostile", wasi, &[], "wasm32-wasip2")
}

/// The command that shows what a host gives it: a core module of WASI 0.1, a component of 0.2,
/// or, with fewer words, of 0.3 (the guest `cmd-p3`).
pub fn command(wasi: Wasi) -> PathBuf {
    match wasi {
        Wasi::P1 => build("cmd-args", "wasm32-wasip1", &[]),
        Wasi::P2 => build("cmd-args", "wasm32-wasip2", &[]),
        Wasi::P3 => build("cmd-p3", "wasm32-wasip2", &[]),
    }
}

/// The library component with every kind of WIT type.
pub fn lib_math() -> PathBuf {
    build("lib-math", PURE, &[])
}

/// The same as its core module, which carries the component's type and waits to be encoded.
pub fn lib_math_typed() -> PathBuf {
    let encoded = lib_math();
    let typed = encoded.with_file_name("lib-math-typed.wasm");
    let module = released(&target_folder(), "lib-math", PURE);
    let fresh = typed.with_extension(format!("new-{}", std::process::id()));
    fs::write(&fresh, module).expect("the target folder is writable");
    fs::rename(&fresh, &typed).expect("the target folder is writable");
    typed
}

/// Core modules as text, in `guests/core-add`: `add.wat`, `memory64.wat`, `threads.wat`.
pub fn core_add(name: &str) -> PathBuf {
    sources().join("core-add").join(name)
}

/// The target without WASI imports: its modules become components by encoding.
const PURE: &str = "wasm32-unknown-unknown";

fn http(package: &'static str, wasi: Wasi, more: &[&str], target: &'static str) -> PathBuf {
    let version = match wasi {
        Wasi::P1 => panic!("WASI 0.1 has no HTTP"),
        Wasi::P2 => "p2",
        Wasi::P3 => "p3",
    };
    let mut features = vec![version];
    features.extend(more);
    build(package, target, &features)
}

/// What of cargo's environment would change how guests are built.
const NOT_FOR_GUESTS: &[&str] = &[
    "CARGO_BUILD_TARGET",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_TARGET_DIR",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTFLAGS",
];

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("the crate lies in crates/")
        .join("guests")
}

/// Where guests are built: beside what this test program was built into.
pub(crate) fn target_folder() -> PathBuf {
    // TARGET/PROFILE/deps/PROGRAM
    let program = std::env::current_exe().expect("a program knows where it lies");
    let target = program.ancestors().nth(3).expect("cargo put it in target/");
    target.join("guests")
}

fn build(package: &'static str, target: &'static str, features: &[&str]) -> PathBuf {
    static BUILT: Mutex<Option<HashMap<String, PathBuf>>> = Mutex::new(None);
    let name = std::iter::once(package)
        .chain(features.iter().copied())
        .chain(std::iter::once(target))
        .collect::<Vec<_>>()
        .join("-");
    // Held while building: cargo would build one after the other anyway.
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    built
        .get_or_insert_default()
        .entry(name.clone())
        .or_insert_with(|| build_now(package, target, features, &name))
        .clone()
}

fn build_now(package: &str, target: &str, features: &[&str], name: &str) -> PathBuf {
    let folder = target_folder();
    let ready = folder.join("ready");
    fs::create_dir_all(&ready).expect("the target folder is writable");
    // Cargo puts all variants of a guest at one place: nobody else may build until this one is
    // copied.
    let lock = File::create(folder.join("testkit.lock")).expect("the target folder is writable");
    lock.lock().expect("the target folder takes locks");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo
        .args(["build", "--release", "--package", package])
        .args(["--target", target, "--no-default-features"])
        .args(["--features", &features.join(",")])
        .arg("--target-dir")
        .arg(&folder)
        .current_dir(sources());
    for variable in NOT_FOR_GUESTS {
        cargo.env_remove(variable);
    }
    let output = cargo.output().expect("cargo can be started");
    assert!(
        output.status.success(),
        "the guest {name} does not build:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let bytes = released(&folder, package, target);
    let bytes = if target == PURE {
        encode(&bytes)
    } else {
        bytes
    };
    let place = ready.join(format!("{name}.wasm"));
    if fs::read(&place).is_ok_and(|known| known == bytes) {
        return place;
    }
    let fresh = ready.join(format!(".{name}.new"));
    fs::write(&fresh, bytes).expect("the target folder is writable");
    fs::rename(&fresh, &place).expect("the target folder is writable");
    place
}

/// What cargo left of a package below its target folder.
fn released(folder: &Path, package: &str, target: &str) -> Vec<u8> {
    let release = folder.join(target).join("release");
    [package.to_owned(), package.replace('-', "_")]
        .iter()
        .find_map(|stem| fs::read(release.join(format!("{stem}.wasm"))).ok())
        .unwrap_or_else(|| panic!("cargo left no {package}.wasm in {}", release.display()))
}

/// From a core module that carries its component type to a component.
fn encode(module: &[u8]) -> Vec<u8> {
    wit_component::ComponentEncoder::default()
        .validate(true)
        .module(module)
        .and_then(|mut encoder| encoder.encode())
        .expect("a guest carries its component type")
}
