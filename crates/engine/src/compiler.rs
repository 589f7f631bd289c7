//! Compilation under limits, in a process of its own.
//!
//! A crafted module can make an optimising compiler use minutes and gigabytes. So bytes that a
//! tenant brought are compiled by a child: it gets the Wasm on standard input, writes native code
//! to a file, and has a ceiling on memory and a deadline. It ends, the node lives.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use wharf_manifest::ByteSize;

use crate::compile_limits::{CompileLimits, code_size};
use crate::config::{Engine, EngineError, EngineOptions, Profile};

/// Bytes of the child's error text that are kept.
const ERROR_TEXT_MAX: u64 = 64 << 10;

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
    /// `PROFILE OUTPUT MEMORY_BYTES CPU_SECONDS`, and must call [`compile_child_main`] with them.
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

    /// Compiles `wasm` for `engine` into the file `output`. Blocks.
    ///
    /// # Errors
    /// See [`CompileError`].
    pub fn compile(&self, engine: &Engine, wasm: &[u8], output: &Path) -> Result<(), CompileError> {
        match &self.helper {
            Some((helper, arguments)) => {
                self.compile_in_child(engine.profile(), wasm, output, helper, arguments)
            }
            None => compile_here(engine, wasm, output),
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
        let mut child = Command::new(helper)
            .args(arguments)
            .arg(profile.as_str())
            .arg(output)
            .arg(self.limits.memory.0.to_string())
            .arg(cpu.as_secs().to_string())
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
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
                Some(0) => Ok(()),
                Some(EXIT_INVALID) => Err(invalid(text.trim_end().to_owned())),
                Some(EXIT_WRITE) => Err(CompileError::Write {
                    path: output.to_owned(),
                    source: io::Error::other(text.trim_end().to_owned()),
                }),
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

/// The kernel ends a process that is past its CPU limit with SIGXCPU.
fn was_out_of_cpu(status: &std::process::ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt;
    status.signal() == Some(rustix::process::Signal::XCPU.as_raw())
}

const EXIT_INVALID: i32 = 3;
const EXIT_WRITE: i32 = 4;

/// The compiler child: reads Wasm from standard input and writes native code to a file.
///
/// `arguments` are `PROFILE OUTPUT MEMORY_BYTES CPU_SECONDS`, as [`Compiler::in_child`] gives them.
pub fn compile_child_main(arguments: &[String]) -> ExitCode {
    let [profile, output, memory, cpu] = arguments else {
        eprintln!("this command is internal to wharf");
        return ExitCode::from(2);
    };
    let (Some(profile), Ok(memory), Ok(cpu)) = (
        Profile::from_name(profile),
        memory.parse::<u64>(),
        cpu.parse::<u64>(),
    ) else {
        eprintln!("this command is internal to wharf");
        return ExitCode::from(2);
    };
    confine(memory, cpu);
    let mut wasm = Vec::new();
    if let Err(error) = io::stdin().lock().read_to_end(&mut wasm) {
        eprintln!("cannot read the module: {error}");
        return ExitCode::from(2);
    }
    let result = Engine::new(EngineOptions::compile_only(profile))
        .map_err(CompileError::from)
        .and_then(|engine| compile_here(&engine, &wasm, Path::new(output)));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(CompileError::Write { source, .. }) => {
            eprintln!("{source}");
            ExitCode::from(EXIT_WRITE as u8)
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(EXIT_INVALID as u8)
        }
    }
}

/// Ceilings on this process: address space, CPU time, no core file, and an end when the parent ends.
/// What the kernel refuses leaves the inherited limit in place.
fn confine(memory_bytes: u64, cpu_seconds: u64) {
    use rustix::process::{Resource, Rlimit, Signal, set_parent_process_death_signal, setrlimit};
    let ceiling = |bytes| Rlimit {
        current: Some(bytes),
        maximum: Some(bytes),
    };
    let _ = setrlimit(Resource::As, ceiling(memory_bytes));
    let cpu = Rlimit {
        current: Some(cpu_seconds),
        maximum: Some(cpu_seconds.saturating_add(5)),
    };
    let _ = setrlimit(Resource::Cpu, cpu);
    let _ = setrlimit(Resource::Core, ceiling(0));
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
}

fn compile_here(engine: &Engine, wasm: &[u8], output: &Path) -> Result<(), CompileError> {
    if has_shared_memory(wasm) {
        return Err(invalid(
            "it has a shared memory, and threads must be enabled for shared memories".to_owned(),
        ));
    }
    let compiled = if wasmparser::Parser::is_component(wasm) {
        engine.wasmtime().precompile_component(wasm)
    } else {
        engine.wasmtime().precompile_module(wasm)
    };
    let native = compiled.map_err(|error| invalid(format!("{error:#}")))?;
    let write = || -> io::Result<()> {
        let mut file = File::create(output)?;
        file.write_all(&native)?;
        file.write_all(&crate::seal::seal(&native))?;
        file.sync_data()
    };
    write().map_err(|source| CompileError::Write {
        path: output.to_owned(),
        source,
    })
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
            CompileError::Write { .. } => {
                Some("free some space, or set WHARF_CACHE_DIR to another disk".to_owned())
            }
            CompileError::Helper { .. } | CompileError::Engine(_) => None,
        }
    }
}
