//! Compilation under limits, in a process of its own.
//!
//! A crafted module can make an optimising compiler use minutes and gigabytes. So bytes that a
//! tenant brought are compiled by a child: it gets the Wasm on standard input, writes native code
//! to its standard output, which is a file, and has a ceiling on memory and a deadline. It ends,
//! the node lives. And since a compiler has bugs, the child can open no file, reach no network and
//! start no program ([`wharf_sandbox`]): who takes it over has a place to compute, and spoils the
//! native code of what it was given.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use wharf_manifest::ByteSize;
use wharf_sandbox::{Confinement, Limits, Sandbox};

use crate::compile_limits::{CompileLimits, code_size};
use crate::config::{Engine, EngineError, EngineOptions, FeatureSet, Profile};
use crate::seal::{SEAL_BYTES, seal};

/// Bytes of the child's error text that are kept.
const ERROR_TEXT_MAX: u64 = 64 << 10;

/// Threads of one child: its memory is for all of them together, and a node compiles for several.
const THREADS_MAX: usize = 16;

/// Bytes could not be compiled.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The bytes are no valid Wasm, or use what is switched off.
    #[error("{message}")]
    Invalid {
        /// What the validator says.
        message: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// It took more CPU time than code of its size may.
    #[error(
        "compiling took more than {}s of CPU time, the limit for {code_bytes} bytes of code, and was stopped",
        limit.as_secs()
    )]
    Cpu {
        /// The limit.
        limit: Duration,
        /// Bytes of function bodies.
        code_bytes: u64,
    },
    /// The native code is out of all proportion: images of memories that are mostly empty.
    #[error(
        "its native code takes {native} bytes, more than the limit of {limit} for {wasm} bytes of WebAssembly"
    )]
    Large {
        /// Bytes of the native code.
        native: u64,
        /// The limit.
        limit: u64,
        /// Bytes of the Wasm.
        wasm: u64,
    },
    /// It took longer than allowed.
    #[error("compilation took longer than {limit:?} and was stopped")]
    Time {
        /// The limit.
        limit: Duration,
    },
    /// It needed more memory than allowed, or the compiler died.
    #[error("the compiler process died ({how}), most likely at its memory limit of {limit}")]
    Died {
        /// How it ended.
        how: String,
        /// The memory limit.
        limit: ByteSize,
    },
    /// The helper could not be started or talked to.
    #[error("cannot run the compiler process {helper}: {source}")]
    Helper {
        /// The helper's path.
        helper: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Native code could not be written.
    #[error("cannot write native code to {path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No engine could be made to compile with.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// Compiles Wasm bytes to native code in a file.
#[derive(Debug, Clone)]
pub struct Compiler {
    helper: Option<(PathBuf, Vec<String>)>,
    limits: CompileLimits,
}

impl Compiler {
    /// Compiles in a child process: `helper` is started with `arguments` followed by
    /// `PROFILE MEMORY_BYTES CPU_SECONDS NATIVE_BYTES_MAX`, and must call [`compile_child_main`] with them.
    pub fn in_child(helper: PathBuf, arguments: Vec<String>, limits: CompileLimits) -> Compiler {
        Compiler {
            helper: Some((helper, arguments)),
            limits,
        }
    }

    /// Compiles in this process, without limits: for embedders with no helper executable.
    pub fn in_process() -> Compiler {
        Compiler {
            helper: None,
            limits: CompileLimits::default(),
        }
    }

    /// Compiles `wasm` for `engine` into the file `output`, which is there. Blocks.
    ///
    /// # Errors
    /// See [`CompileError`].
    pub fn compile(&self, engine: &Engine, wasm: &[u8], output: &Path) -> Result<(), CompileError> {
        match &self.helper {
            Some((helper, arguments)) => {
                self.compile_in_child(engine.profile(), wasm, output, helper, arguments)
            }
            None => {
                let limit = self.limits.native_for(wasm.len());
                let native = compile_here(engine.profile(), wasm, limit)?;
                let written = open(output).and_then(|file| {
                    write_sealed(&native, &file)?;
                    file.sync_data()
                });
                written.map_err(|source| cannot_write(output, source))
            }
        }
    }

    fn compile_in_child(
        &self,
        profile: Profile,
        wasm: &[u8],
        output: &Path,
        helper: &Path,
        arguments: &[String],
    ) -> Result<(), CompileError> {
        let helper_error = |source| CompileError::Helper {
            helper: helper.to_owned(),
            source,
        };
        let code = code_size(wasm);
        // The kernel counts whole seconds, and none at all as one.
        let cpu = Duration::from_secs(self.limits.cpu_for(code).as_secs().max(1));
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let file = open(output).map_err(|source| cannot_write(output, source))?;
        let stdout = file
            .try_clone()
            .map_err(|source| cannot_write(output, source))?;
        let mut child = Command::new(helper)
            .args(arguments)
            .arg(profile.as_str())
            .arg(self.limits.memory.0.to_string())
            .arg(cpu.as_secs().to_string())
            .arg(self.limits.native_for(wasm.len()).0.to_string())
            .env_clear()
            // The child cannot read how many processors it has.
            .env("RAYON_NUM_THREADS", threads.min(THREADS_MAX).to_string())
            .stdin(Stdio::piped())
            .stdout(stdout)
            .stderr(Stdio::piped())
            .spawn()
            .map_err(helper_error)?;
        let mut stdin = child.stdin.take().expect("stdin was asked for");
        let mut stderr = child.stderr.take().expect("stderr was asked for");
        let deadline = Instant::now() + self.limits.time;
        thread::scope(|scope| {
            scope.spawn(move || {
                // A child that ends early closes the pipe; its exit status tells why.
                let _ = stdin.write_all(wasm);
            });
            let (done, ended) = mpsc::channel();
            let reader = scope.spawn(move || {
                let mut text = String::new();
                let mut bytes = Vec::new();
                let _ = stderr.by_ref().take(ERROR_TEXT_MAX).read_to_end(&mut bytes);
                text.push_str(&String::from_utf8_lossy(&bytes));
                let _ = io::copy(&mut stderr, &mut io::sink());
                let _ = done.send(());
                text
            });
            let in_time = ended
                .recv_timeout(deadline.saturating_duration_since(Instant::now()))
                .is_ok();
            if !in_time {
                let _ = child.kill();
            }
            let status = child.wait().map_err(helper_error)?;
            let text = reader.join().unwrap_or_default();
            if !in_time {
                return Err(CompileError::Time {
                    limit: self.limits.time,
                });
            }
            match status.code() {
                Some(0) => file
                    .sync_data()
                    .map_err(|source| cannot_write(output, source)),
                Some(EXIT_INVALID) => Err(invalid(text.trim_end().to_owned())),
                Some(EXIT_LARGE) => Err(self.too_large(wasm, text.trim_end())),
                Some(EXIT_WRITE) => {
                    let source = io::Error::other(text.trim_end().to_owned());
                    Err(cannot_write(output, source))
                }
                None if was_out_of_cpu(&status) => Err(CompileError::Cpu {
                    limit: cpu,
                    code_bytes: code.0,
                }),
                _ => Err(CompileError::Died {
                    how: status.to_string(),
                    limit: self.limits.memory,
                }),
            }
        })
    }
}

impl Compiler {
    /// The child said how large its native code would be.
    fn too_large(&self, wasm: &[u8], native: &str) -> CompileError {
        let limit = self.limits.native_for(wasm.len()).0;
        CompileError::Large {
            native: native.parse().unwrap_or(limit),
            limit,
            wasm: wasm.len() as u64,
        }
    }
}

fn open(output: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).truncate(true).open(output)
}

fn cannot_write(output: &Path, source: io::Error) -> CompileError {
    CompileError::Write {
        path: output.to_owned(),
        source,
    }
}

/// The kernel ends a process that is past its CPU limit with SIGXCPU.
fn was_out_of_cpu(status: &std::process::ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt;
    status.signal() == Some(rustix::process::Signal::XCPU.as_raw())
}

const EXIT_INVALID: i32 = 3;
const EXIT_WRITE: i32 = 4;
const EXIT_LARGE: i32 = 5;

/// The compiler child: reads Wasm from standard input and writes native code to standard output.
/// To be called first thing in `main`: it confines the process.
///
/// `arguments` are `PROFILE MEMORY_BYTES CPU_SECONDS NATIVE_BYTES_MAX`, as [`Compiler::in_child`]
/// gives them.
pub fn compile_child_main(arguments: &[String]) -> ExitCode {
    let Some(task) = Task::parse(arguments) else {
        eprintln!("this command is internal to wharf");
        return ExitCode::from(2);
    };
    let sandbox = Sandbox {
        limits: Limits {
            memory_bytes: Some(task.memory_bytes),
            cpu: Some(task.cpu),
            file_bytes: Some(task.native_max.0.saturating_add(SEAL_BYTES as u64)),
        },
    };
    sandbox.enter();
    let mut wasm = Vec::new();
    if let Err(error) = io::stdin().lock().read_to_end(&mut wasm) {
        eprintln!("cannot read the module: {error}");
        return ExitCode::from(2);
    }
    let (code, message) = match compile_here(task.profile, &wasm, task.native_max) {
        Ok(native) => match write_sealed(&native, io::stdout().lock()) {
            Ok(()) => return ExitCode::SUCCESS,
            Err(error) => (EXIT_WRITE, error.to_string()),
        },
        Err(CompileError::Large { native, .. }) => (EXIT_LARGE, native.to_string()),
        Err(error) => (EXIT_INVALID, error.to_string()),
    };
    eprintln!("{message}");
    ExitCode::from(code as u8)
}

/// What the child is told.
struct Task {
    profile: Profile,
    memory_bytes: u64,
    cpu: Duration,
    native_max: ByteSize,
}

impl Task {
    fn parse(arguments: &[String]) -> Option<Task> {
        let [profile, memory, cpu, native] = arguments else {
            return None;
        };
        Some(Task {
            profile: Profile::from_name(profile)?,
            memory_bytes: memory.parse().ok()?,
            cpu: Duration::from_secs(cpu.parse().ok()?),
            native_max: ByteSize(native.parse().ok()?),
        })
    }
}

fn compile_here(
    profile: Profile,
    wasm: &[u8],
    native_max: ByteSize,
) -> Result<Vec<u8>, CompileError> {
    if has_shared_memory(wasm) {
        return Err(invalid(
            "it has a shared memory, and threads must be enabled for shared memories".to_owned(),
        ));
    }
    // What a program does not need is off in the engine that compiles it: then no byte of it
    // reaches, here or when it runs, the parts that collect garbage or unwind. Whichever of the
    // two made it, the code runs on the one engine that all share.
    let native = match precompile(profile, FeatureSet::Lean, wasm)? {
        Ok(native) => native,
        Err(_) => precompile(profile, FeatureSet::Full, wasm)?
            .map_err(|error| invalid(format!("{error:#}")))?,
    };
    if tables_of(&native) > CompileLimits::tables_for(wasm.len()) {
        return Err(invalid(
            "it multiplies: a few bytes of it describe types or instances without number"
                .to_owned(),
        ));
    }
    match native.len() as u64 {
        bytes if bytes > native_max.0 => Err(CompileError::Large {
            native: bytes,
            limit: native_max.0,
            wasm: wasm.len() as u64,
        }),
        _ => Ok(native),
    }
}

fn precompile(
    profile: Profile,
    features: FeatureSet,
    wasm: &[u8],
) -> Result<wasmtime::Result<Vec<u8>>, EngineError> {
    let engine = Engine::new(EngineOptions {
        features,
        ..EngineOptions::compile_only(profile)
    })?;
    Ok(if wasmparser::Parser::is_component(wasm) {
        engine.wasmtime().precompile_component(wasm)
    } else {
        engine.wasmtime().precompile_module(wasm)
    })
}

/// Bytes of what the engine decodes into memory of its own when it loads native code; the rest is
/// mapped.
fn tables_of(native: &[u8]) -> u64 {
    use object::read::elf::ElfFile64;
    use object::{Object as _, ObjectSection as _};
    const TABLES: &str = ".wasmtime.info";
    let file = ElfFile64::<object::Endianness>::parse(native).ok();
    file.and_then(|file| file.section_by_name(TABLES).map(|section| section.size()))
        .unwrap_or(u64::MAX)
}

fn write_sealed(native: &[u8], mut output: impl Write) -> io::Result<()> {
    output.write_all(native)?;
    output.write_all(&seal(native))?;
    output.flush()
}

/// Whether a memory is to be shared by threads. The engine would say so only when it is too late,
/// at instantiation. What cannot be read is left to the validator.
fn has_shared_memory(wasm: &[u8]) -> bool {
    use wasmparser::{Payload, TypeRef};
    wasmparser::Parser::new(0)
        .parse_all(wasm)
        .map_while(Result::ok)
        .any(|payload| match payload {
            Payload::MemorySection(memories) => memories
                .into_iter()
                .map_while(Result::ok)
                .any(|memory| memory.shared),
            Payload::ImportSection(imports) => imports
                .into_imports()
                .map_while(Result::ok)
                .any(|import| matches!(import.ty, TypeRef::Memory(memory) if memory.shared)),
            _ => false,
        })
}

fn invalid(message: String) -> CompileError {
    let hint = if message.contains("shared memor") {
        Some("WebAssembly threads are not supported; build without shared memory and atomics")
    } else if message.contains("unexpected end") || message.contains("unexpected eof") {
        Some("the file seems cut off; build or fetch it again")
    } else if message.contains("magic") {
        Some("this is no WebAssembly file")
    } else {
        None
    };
    CompileError::Invalid {
        message,
        hint: hint.map(str::to_owned),
    }
}

impl CompileError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            CompileError::Invalid { hint, .. } => hint.clone(),
            CompileError::Cpu { .. } => Some(
                "code is mostly made on purpose to take that long; if you trust it, allow more, as in WHARF_COMPILE_TIME=10m"
                    .to_owned(),
            ),
            CompileError::Time { .. } | CompileError::Died { .. } => Some(
                "very large or hostile modules do this; look at its size with `wharf inspect`"
                    .to_owned(),
            ),
            CompileError::Large { .. } => Some(
                "a few bytes far apart in a memory make an image of all between them; keep data together"
                    .to_owned(),
            ),
            CompileError::Write { .. } => {
                Some("free some space, or set WHARF_CACHE_DIR to another disk".to_owned())
            }
            CompileError::Helper { .. } | CompileError::Engine(_) => None,
        }
    }
}

/// What this machine lacks for confining the process that compiles: `no Landlock, seccomp`; `None`
/// if it has all. Its limits hold in any case.
pub fn missing_confinement() -> Option<String> {
    let here = Confinement::of_this_machine();
    (here.landlock == 0 || !here.seccomp).then(|| here.to_string())
}

#[cfg(test)]
#[allow(unsafe_code)]
mod tests {
    use super::*;
    use wasmtime::Module;
    use wasmtime::component::Component;

    /// Compiles for the node's engine and loads it there.
    fn loads(text: &str) -> Result<(), CompileError> {
        let wasm = wat::parse_str(text).unwrap();
        let native = compile_here(Profile::Serve, &wasm, ByteSize(64 << 20))?;
        let serving = Engine::new(EngineOptions::serve()).unwrap();
        let engine = serving.wasmtime();
        // SAFETY: made just now by this crate, for this profile.
        let loaded = if wasmparser::Parser::is_component(&wasm) {
            unsafe { Component::deserialize(engine, &native) }.map(drop)
        } else {
            unsafe { Module::deserialize(engine, &native) }.map(drop)
        };
        loaded.unwrap();
        Ok(())
    }

    fn is_lean(text: &str) -> bool {
        let wasm = wat::parse_str(text).unwrap();
        precompile(Profile::Serve, FeatureSet::Lean, &wasm)
            .unwrap()
            .is_ok()
    }

    const LEAN: &[&str] = &[
        "(module (memory 1) (func (export \"f\") (result v128) (v128.const i64x2 1 2)))",
        "(component (core module $m (func (export \"f\"))) (core instance $i (instantiate $m))
            (func (export \"f\") (canon lift (core func $i \"f\"))))",
    ];
    const FULL: &[&str] = &[
        "(module (type $s (struct (field i32))) (func (export \"f\") (result (ref null $s)) (ref.null $s)))",
        "(module (tag $t) (func (export \"f\") (throw $t)))",
        "(module (memory i64 1))",
        "(module (type $f (func)) (func (param (ref null $f)) (call_ref $f (local.get 0))))",
        "(component (import \"f\" (func async)))",
    ];

    #[test]
    fn what_a_program_does_not_need_is_off_when_it_is_compiled() {
        for text in LEAN {
            assert!(is_lean(text), "{text}");
        }
        for text in FULL {
            assert!(!is_lean(text), "{text}");
        }
    }

    #[test]
    fn what_is_off_changes_no_code_that_does_not_use_it() {
        use object::{Object as _, ObjectSection as _};
        let text = |wasm: &[u8], features| {
            let native = precompile(Profile::Serve, features, wasm).unwrap().unwrap();
            let file = object::File::parse(&*native).unwrap();
            file.section_by_name(".text")
                .unwrap()
                .data()
                .unwrap()
                .to_vec()
        };
        for wasm in LEAN.iter().map(|text| wat::parse_str(text).unwrap()) {
            assert_eq!(text(&wasm, FeatureSet::Lean), text(&wasm, FeatureSet::Full));
        }
    }

    #[test]
    fn one_engine_runs_the_code_of_both() {
        for text in LEAN.iter().chain(FULL) {
            loads(text).unwrap();
        }
    }

    #[test]
    fn instances_of_instances_are_no_way_to_much_memory() {
        // Eight of eight of eight …: 262,144 instances, out of 300 bytes of binary.
        let mut text = "(component (core module $m) (core instance (instantiate $m)))".to_owned();
        for _ in 0..6 {
            let inner = text.replacen("(component", "(component $c", 1);
            text = format!(
                "(component {inner} {})",
                "(instance (instantiate $c))".repeat(8)
            );
        }
        let error = loads(&text).unwrap_err();
        assert!(error.to_string().contains("it multiplies"), "{error}");
    }
}
