//! Where things lie on this machine. The one list of the environment variables that wharf reads.

use std::path::PathBuf;
use std::time::Duration;

use wharf_artifact::Store;
use wharf_engine::{CacheError, CodeCache, CompileLimits, Compiler};
use wharf_manifest::{ByteSize, parse_duration};

use crate::error::{self, CliError};
use crate::memory;

/// Where artifacts are kept.
const STORE_VARIABLE: &str = "WHARF_STORE_DIR";
/// Where native code and other things that can be made again are kept.
const CACHE_VARIABLE: &str = "WHARF_CACHE_DIR";
/// CPU time that compiling one program may take.
const COMPILE_TIME_VARIABLE: &str = "WHARF_COMPILE_TIME";
/// Bytes of native code kept.
const CODE_CACHE_BYTES: ByteSize = ByteSize(4 << 30);

fn directory(variable: &str, xdg: &str, below_home: &str, name: &str) -> Result<PathBuf, CliError> {
    let named = |variable| {
        std::env::var_os(variable)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    if let Some(path) = named(variable) {
        return std::path::absolute(&path).map_err(|error| CliError::io("use", &path, &error));
    }
    // The base directory specification: relative paths there are to be ignored.
    if let Some(path) = named(xdg).filter(|path| path.is_absolute()) {
        return Ok(path.join(name));
    }
    named("HOME")
        .map(|home| home.join(below_home).join(name))
        .ok_or_else(|| {
            CliError::new("there is no home folder to keep anything in")
                .hint(format!("set {variable} to a folder"))
        })
}

pub(crate) fn cache_dir() -> Result<PathBuf, CliError> {
    directory(CACHE_VARIABLE, "XDG_CACHE_HOME", ".cache", "wharf")
}

pub(crate) fn store() -> Result<Store, CliError> {
    let path = directory(
        STORE_VARIABLE,
        "XDG_DATA_HOME",
        ".local/share",
        "wharf/store",
    )?;
    Store::open(path).map_err(|error| CliError::from_parts(&error, error.hint()))
}

pub(crate) fn code_cache() -> Result<CodeCache, CliError> {
    let warn = |error: &CacheError| {
        error::print_warning(&format!("native code is not kept: {error}"));
        if let Some(hint) = error.hint() {
            error::print_hint(&hint);
        }
    };
    Ok(CodeCache::new(
        cache_dir()?.join("code"),
        CODE_CACHE_BYTES,
        warn,
    ))
}

/// The compiler: this very program as a child.
pub(crate) fn compiler() -> Result<Compiler, CliError> {
    let mut limits = CompileLimits::default().with_memory_of(memory::in_all());
    if let Some(time) = compile_time()? {
        limits.cpu = Some(time);
        limits.time = limits.time.max(time);
    }
    Ok(match std::env::current_exe() {
        Ok(helper) => Compiler::in_child(helper, vec![crate::COMPILE_CHILD.to_owned()], limits),
        Err(_) => Compiler::in_process(),
    })
}

fn compile_time() -> Result<Option<Duration>, CliError> {
    let Some(text) = std::env::var_os(COMPILE_TIME_VARIABLE).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    parse_duration(&text.to_string_lossy())
        .map(Some)
        .map_err(|error| {
            CliError::new(format!("{COMPILE_TIME_VARIABLE}: {}", error.message()))
                .hint_some(error.hint())
        })
}
