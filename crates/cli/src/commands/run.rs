//! `wharf run`: one program, as if it were native.

use std::borrow::Cow;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use wharf_artifact::DescribeError;
use wharf_build::encode_typed;
use wharf_engine::{
    CacheError, CpuAccount, CpuMeter, Engine, EngineOptions, Fault, FaultKind, LimitHit, SlowLane,
    StoreLimits,
};
use wharf_host::{
    Authority, CommandIo, CommandOutcome, Denial, Denials, Egress, EgressRules, Host, LinkError,
    RunError, Runnable, run_command,
};
use wharf_manifest::{ByteSize, Digest, Grants};

use crate::args::Run;
use crate::error::{self, CliError};
use crate::{Outcome, commands, paths};

/// How long compiling may take before it is worth a word.
const SLOW: Duration = Duration::from_secs(1);
/// Set when the program's code is there.
static COMPILED: AtomicBool = AtomicBool::new(false);
/// Outgoing requests at once of one program.
const OUTGOING_MAX: u32 = 64;
/// Resource handles of one program.
const HANDLES_MAX: usize = 1_000_000;

pub(crate) fn main(args: Run) -> Outcome {
    let Program {
        name,
        wasm,
        mut grants,
        base,
    } = find(&args.what)?;
    args.grants.add_to(&mut grants)?;
    let denied = Arc::new(Mutex::new(Vec::<Denial>::new()));
    let denials = Denials::new({
        let denied = Arc::clone(&denied);
        move |denial| {
            denied
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(denial.clone());
        }
    });
    // Whoever runs a program says by its flags what it may reach, private addresses too.
    let egress = Egress::new(EgressRules::any_private());
    let authority = Authority::new(&grants, &base, OUTGOING_MAX, &egress, None, denials)
        .map_err(|error| CliError::from_parts(&error, Some(error.hint())))?;
    let engine =
        Engine::new(EngineOptions::command()).map_err(|error| CliError::new(error.to_string()))?;
    let runnable = load(&engine, &wasm, &args.what)?;
    COMPILED.store(true, Ordering::Relaxed);
    // A large program's bytes are not needed beside its native code.
    drop(wasm);
    // The program's time, not the compiler's, which has limits of its own.
    if let Some(limit) = args.time {
        watch_time(limit)?;
    }
    let memory = args.memory.unwrap_or(ByteSize(u64::MAX));
    let meter = CpuMeter::new(
        Duration::MAX,
        SlowLane::for_this_machine(),
        CpuAccount::default(),
    );
    let limits = StoreLimits::new(memory, HANDLES_MAX, meter, None);
    let io = CommandIo {
        args: std::iter::once(name).chain(args.args).collect(),
        invoke: args.invoke,
    };
    let outcome = run_command(&engine, &runnable, &authority, limits, io);
    let denied = std::mem::take(&mut *denied.lock().unwrap_or_else(PoisonError::into_inner));
    match outcome {
        Ok(outcome) => {
            explain(&outcome, &denied);
            if let Some(value) = outcome.returned {
                let mut stdout = std::io::stdout().lock();
                let _ = writeln!(stdout, "{value}");
            }
            // Threads that wait for standard input need not be asked.
            std::process::exit(outcome.code)
        }
        Err(error) => {
            tell(denied.iter().filter(|denial| !denial.asked_only));
            Err(match error {
                RunError::NotRunnable(fault) => CliError::fault(fault).not_runnable(),
                RunError::Ended(fault) => CliError::fault(fault),
            })
        }
    }
}

/// Says what may be why a program failed: a limit that it met, or what it was refused. What it
/// only asked for, as many programs do at start, counts if it complained of something and nothing
/// else explains it.
fn explain(outcome: &CommandOutcome, denied: &[Denial]) {
    let matters =
        |denial: &&Denial| !(denial.asked_only || denial.survived_by_many && outcome.code == 0);
    let refused = denied.iter().any(|denial| matters(&denial));
    tell(denied.iter().filter(matters));
    if outcome.code == 0 || refused {
        return;
    }
    if let Some(hit) = &outcome.hit {
        error::print_warning(&hit.to_string());
        error::print_hint(&hit.hint());
    } else if outcome.complained {
        tell(denied.iter());
    }
}

fn tell<'a>(denials: impl Iterator<Item = &'a Denial>) {
    for denial in denials {
        error::print_warning(&denial.to_string());
        if let Some(hint) = denial.flag_hint() {
            error::print_hint(&hint);
        }
    }
}

/// Ends this process when its time is up, whatever the program does.
fn watch_time(limit: Duration) -> Result<(), CliError> {
    std::thread::Builder::new()
        .name("wharf-watchdog".to_owned())
        .spawn(move || {
            std::thread::sleep(limit);
            let hit = LimitHit::Time { limit };
            error::print_error(&hit.to_string());
            error::print_hint("give it more with `--time`");
            std::process::exit(error::time_limit_code());
        })
        .map(|_| ())
        .map_err(|error| CliError::new(format!("cannot start the watchdog: {error}")))
}

/// What to run.
struct Program {
    name: String,
    wasm: Vec<u8>,
    grants: Grants,
    /// Where relative folders of the grants lie.
    base: PathBuf,
}

fn find(what: &Path) -> Result<Program, CliError> {
    if what.is_dir() {
        return find_in_app(what);
    }
    let bytes = std::fs::read(what).map_err(|error| CliError::unread_program(what, &error))?;
    let name = what.file_name().unwrap_or(what.as_os_str());
    let name = name.to_string_lossy().into_owned();
    let bytes = binary(bytes, what).map_err(CliError::not_runnable)?;
    let encoded = match encode_typed(&name, &bytes) {
        Ok(Cow::Owned(component)) => Some(component),
        Ok(Cow::Borrowed(_)) => None,
        Err(error) => return Err(commands::build::build_error(error).not_runnable()),
    };
    Ok(Program {
        name,
        wasm: encoded.unwrap_or(bytes),
        grants: Grants::default(),
        base: PathBuf::new(),
    })
}

/// The command of an app, built if need be.
fn find_in_app(dir: &Path) -> Result<Program, CliError> {
    let (options, report) = commands::build::quietly(dir)?;
    let artifact = crate::code::artifact(&options.store, &report)?;
    let Some(trigger) = &artifact.app.triggers.command else {
        return Err(CliError::new(format!("the app in {} has no command", dir.display()))
            .hint("add `[trigger.command]` with `component = \"…\"` to its wharf.toml, or serve it with `wharf up`")
            .not_runnable());
    };
    let (Some(blob), Some(component)) = (
        artifact.components.get(&trigger.component),
        artifact.app.components.get(&trigger.component),
    ) else {
        return Err(CliError::new("the app lacks its command's component").hint("build it again"));
    };
    Ok(Program {
        name: artifact.app.name.to_string(),
        wasm: std::fs::read(&blob.path)
            .map_err(|error| CliError::io("read", &blob.path, &error))?,
        grants: component.grants.clone(),
        base: dir.to_owned(),
    })
}

/// Wasm bytes of a file that may be text.
pub(crate) fn binary(bytes: Vec<u8>, path: &Path) -> Result<Vec<u8>, CliError> {
    if Engine::is_native_code(&bytes) {
        return Err(CliError::new(format!(
            "{} holds native code, which is never taken from a file",
            path.display()
        ))
        .hint("give the .wasm that it was made from"));
    }
    if bytes.starts_with(b"\0asm") {
        return Ok(bytes);
    }
    let is_text = path
        .extension()
        .is_some_and(|extension| extension == "wat" || extension == "wast");
    if !is_text {
        return match wharf_artifact::validate(&bytes) {
            Ok(()) => Ok(bytes),
            Err(error) => Err(broken(path, &error)),
        };
    }
    wat::parse_bytes(&bytes)
        .map(std::borrow::Cow::into_owned)
        .map_err(|mut error| {
            error.set_path(path);
            CliError::new(format!(
                "{} is not valid WebAssembly: {error}",
                path.display()
            ))
        })
}

/// A file that is no WebAssembly or not all of it, in the words of every command.
fn broken(path: &Path, error: &DescribeError) -> CliError {
    CliError::from_parts(&format!("{}: {error}", path.display()), error.hint())
}

fn load(engine: &Engine, wasm: &[u8], path: &Path) -> Result<Runnable, CliError> {
    let cache = paths::code_cache()?;
    let compiler = paths::compiler()?;
    let key = Digest::of(wasm);
    let bytes = || {
        say_if_slow(path);
        Ok(wasm)
    };
    let failed = |error: CacheError| {
        if let Err(error) = wharf_artifact::validate(wasm) {
            return broken(path, &error).not_runnable();
        }
        let message = format!("{}: {error}", path.display());
        let told = CliError::from_parts(&message, error.hint());
        match error.is_of_the_code() {
            true => told.not_runnable(),
            false => told,
        }
    };
    let misfit = |error: LinkError| CliError::from_parts(&error, Some(error.hint())).not_runnable();
    let host = || {
        Host::new(engine.clone())
            .map_err(|error| CliError::fault(Fault::new(FaultKind::Host, format!("{error:#}"))))
    };
    if !cache.contains(engine, &key) {
        host()?.check_imports(wasm).map_err(misfit)?;
    }
    // Byte 4 to 7 of a binary: version and layer; a component's layer is 1.
    if wasm.get(6) == Some(&1) {
        let component = cache
            .component(engine, &compiler, &key, bytes)
            .map_err(failed)?;
        let program = host()?.link(&component).map_err(misfit)?;
        return Ok(Runnable::Component(program));
    }
    let module = cache
        .module(engine, &compiler, &key, bytes)
        .map_err(failed)?;
    Ok(Runnable::Module(module))
}

/// Compiling a large program takes a while, once: say so where somebody waits.
fn say_if_slow(path: &Path) {
    if !std::io::stderr().is_terminal() {
        return;
    }
    let name = path.file_name().unwrap_or(path.as_os_str());
    let name = name.to_string_lossy().into_owned();
    // It ends with the process; there is nobody to wait for it.
    let _ = std::thread::Builder::new().spawn(move || {
        std::thread::sleep(SLOW);
        if !COMPILED.load(Ordering::Relaxed) {
            anstream::eprintln!("compiling {name} to native code, this once");
        }
    });
}
