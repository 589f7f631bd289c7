//! The `wharf` command: arguments in, text and exit codes out. The only place that wires all
//! crates together, and the only one that knows a terminal.

#![forbid(unsafe_code)]

mod address;
mod args;
mod code;
mod commands;
mod error;
#[cfg(test)]
mod fuzzing;
mod grants;
mod memory;
mod node;
mod paths;
mod progress;
mod stop;

use std::process::ExitCode;

use clap::Parser;

use args::{Args, Command};
use error::CliError;

/// The C library keeps what a burst of requests took for good; this gives it back within ten
/// seconds (ADR 9). Other systems' own do, too.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// The hidden subcommand that compiles in a child process.
const COMPILE_CHILD: &str = "__compile";

fn main() -> ExitCode {
    let mut arguments = std::env::args();
    if arguments.nth(1).as_deref() == Some(COMPILE_CHILD) {
        return wharf_engine::compile_child_main(&arguments.collect::<Vec<_>>());
    }
    silence_decoders();
    let command = match Args::try_parse() {
        Ok(args) => args.command,
        Err(error) => return usage(&error),
    };
    let is_run = matches!(command, Command::Run(_));
    let result = match command {
        Command::New(args) => commands::new::main(&args),
        Command::Build(args) => commands::build::main(&args),
        Command::Up(args) => commands::up::main(&args),
        Command::Serve(args) => commands::serve::main(&args),
        Command::Run(args) => commands::run::main(args),
        Command::Inspect(args) => commands::inspect::main(&args),
    };
    progress::end();
    match result {
        Ok(code) => code,
        Err(error) => {
            error.print();
            error.exit_code(is_run)
        }
    }
}

/// Decoders that are not ours panic on some hostile files; what comes of it is told as any other
/// error, without the panic's own words.
fn silence_decoders() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panicked| {
        if std::thread::current().name() != Some(wharf_artifact::DECODER_THREAD) {
            default(panicked);
        }
    }));
}

/// A mistake in the arguments, or `--help`. `run` has another code for mistakes than the
/// other commands, as other programs that start programs have: those mostly end with less.
fn usage(error: &clap::Error) -> ExitCode {
    let _ = error.print();
    let is_run = std::env::args().nth(1).as_deref() == Some("run");
    match error.exit_code() {
        0 => ExitCode::SUCCESS,
        _ if is_run => ExitCode::from(125),
        _ => ExitCode::from(2),
    }
}

/// What a command comes to.
type Outcome = Result<ExitCode, CliError>;
