//! What compiling one program may use.
//!
//! The time that honest code takes grows with its size: 1.8 seconds of CPU a mebibyte of code
//! for CPython and clang, 2.3 for QuickJS, 2.4 for nextpnr. Code can be made to take the square
//! of its size instead: what counts is how many blocks one function has, and 200,000 of them,
//! 600 KB, take 80 seconds. So the limit grows with the code as well, at several times what is
//! honest.

use std::time::Duration;

use wasmparser::{Parser, Payload};
use wharf_manifest::ByteSize;

/// CPU time for any code, however small; it covers a slow machine and the compiler's own start.
const CPU_FLOOR: Duration = Duration::from_secs(20);
/// More for each mebibyte of function bodies.
const CPU_PER_MIB: Duration = Duration::from_secs(16);
/// Bytes of native code for any program, however small: one sparse image of a memory has 128 MiB.
const NATIVE_FLOOR: u64 = 256 << 20;
/// More for each byte of Wasm; honest code takes two to five.
const NATIVE_PER_BYTE: u64 = 16;
/// Bytes of the tables beside the code (types, names, how instances are wired), of which loading
/// makes twenty to forty times as much memory, in the process that serves. Three hundred bytes of
/// components that instantiate each other ten times each, seven deep, make a hundred megabytes.
const TABLES_FLOOR: u64 = 1 << 20;
/// More for each byte of Wasm; honest code takes at most one.
const TABLES_PER_BYTE: u64 = 2;

/// Address space without which no program compiles on a machine with many cores.
const MEMORY_FLOOR: ByteSize = ByteSize(1 << 30);

/// What one compilation may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompileLimits {
    /// Address space of the child. See [`CompileLimits::with_memory_of`].
    pub memory: ByteSize,
    /// CPU time of all its threads, in whole seconds; `None` allows 20 seconds and 16 more for
    /// each mebibyte of code.
    pub cpu: Option<Duration>,
    /// Wall time, for a machine that gives it no CPU.
    pub time: Duration,
}

impl Default for CompileLimits {
    /// 6 GiB, CPU time by the size of the code, and 30 minutes in all: several times what the
    /// largest compilers and language runtimes need.
    fn default() -> CompileLimits {
        CompileLimits {
            memory: ByteSize(6 << 30),
            cpu: None,
            time: Duration::from_secs(1800),
        }
    }
}

impl CompileLimits {
    /// Lowers the memory to three quarters of `total`, what the machine or the control group has,
    /// but not below a gibibyte: address space is not all filled, and threads and libraries take
    /// some of it for any program.
    pub fn with_memory_of(mut self, total: ByteSize) -> CompileLimits {
        let part = ByteSize(total.0 / 4 * 3).max(MEMORY_FLOOR);
        self.memory = self.memory.min(part);
        self
    }

    /// CPU time for `code` bytes of function bodies.
    pub(crate) fn cpu_for(&self, code: ByteSize) -> Duration {
        let proportional = || {
            let seconds = u128::from(CPU_PER_MIB.as_secs()) * u128::from(code.0) / (1 << 20);
            CPU_FLOOR + Duration::from_secs(u64::try_from(seconds).unwrap_or(u64::MAX / 2))
        };
        self.cpu.unwrap_or_else(proportional)
    }

    /// Bytes that the tables of `wasm` bytes may take.
    pub(crate) fn tables_for(wasm: usize) -> u64 {
        TABLES_FLOOR + TABLES_PER_BYTE * wasm as u64
    }

    /// Bytes that the native code of `wasm` bytes may take, images of memories included: they
    /// fill the disk and the cache of everybody.
    pub(crate) fn native_for(&self, wasm: usize) -> ByteSize {
        ByteSize(NATIVE_FLOOR + NATIVE_PER_BYTE * wasm as u64)
    }
}

/// Bytes of the function bodies in `wasm`, nested modules included, as far as it can be read.
pub(crate) fn code_size(wasm: &[u8]) -> ByteSize {
    let sizes = Parser::new(0)
        .parse_all(wasm)
        .map_while(Result::ok)
        .map(|payload| match payload {
            Payload::CodeSectionStart { size, .. } => u64::from(size),
            _ => 0,
        });
    ByteSize(sizes.sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_grows_with_the_code() {
        let limits = CompileLimits::default();
        let check = |code: u64, seconds: u64| {
            let limit = limits.cpu_for(ByteSize(code));
            assert_eq!(limit, Duration::from_secs(seconds), "{code}");
        };
        check(0, 20);
        check(600_000, 29);
        check(64 << 20, 1044);
        let _ = limits.cpu_for(ByteSize(u64::MAX));
        let set = CompileLimits {
            cpu: Some(Duration::from_secs(7)),
            ..limits
        };
        assert_eq!(set.cpu_for(ByteSize(64 << 20)), Duration::from_secs(7));
    }

    #[test]
    fn memory_is_a_part_of_what_there_is_between_its_bounds() {
        let check = |total: u64, expected: u64| {
            let limits = CompileLimits::default().with_memory_of(ByteSize(total));
            assert_eq!(limits.memory, ByteSize(expected), "{total}");
        };
        check(64 << 30, 6 << 30);
        check(8 << 30, 6 << 30);
        check(4 << 30, 3 << 30);
        check(1 << 30, 1 << 30);
        check(256 << 20, 1 << 30);
        check(0, 1 << 30);
        check(u64::MAX, 6 << 30);
        let small = CompileLimits {
            memory: ByteSize(5),
            ..CompileLimits::default()
        };
        assert_eq!(small.with_memory_of(ByteSize(8 << 30)).memory, ByteSize(5));
    }

    #[test]
    fn native_code_is_bounded_by_the_size_of_the_program() {
        let limits = CompileLimits::default();
        assert_eq!(limits.native_for(0), ByteSize(256 << 20));
        assert_eq!(limits.native_for(1 << 20), ByteSize(272 << 20));
    }

    #[test]
    fn only_function_bodies_are_code() {
        let size = |text: &str| code_size(&wat::parse_str(text).unwrap()).0;
        assert_eq!(
            size("(module (memory 1) (data (i32.const 0) \"many bytes\"))"),
            0
        );
        let one = size("(module (func))");
        assert!(one > 0);
        let nested = "(component (core module (func)) (component (core module (func))))";
        assert_eq!(size(nested), 2 * one);
        assert_eq!(code_size(b"no wasm"), ByteSize(0));
    }
}
