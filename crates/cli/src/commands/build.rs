//! `wharf build`: sources to an artifact in the store, and its native code.

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};
use wharf_build::{BuildError, BuildOptions, BuildReport, Cancel, build_app};

use crate::args::{Build, How};
use crate::error::CliError;
use crate::progress::Terminal;
use crate::{Outcome, code, paths};

/// How long tools may take to end when a build is cancelled.
const CANCEL_TIME: std::time::Duration = std::time::Duration::from_millis(300);

pub(crate) fn main(args: &Build) -> Outcome {
    let options = options(&args.dir, &args.how)?;
    cancel_on_signals(options.cancel.clone())?;
    let terminal = Terminal::new();
    let report = build_app(&options, &terminal).map_err(build_error)?;
    code::prepare(&code::artifact(&options.store, &report)?, &terminal)?;
    if args.json {
        let json = serde_json::to_string_pretty(&report).expect("a report is plain data");
        println!("{json}");
    } else {
        println!("{report}");
    }
    Ok(ExitCode::SUCCESS)
}

/// Options of a build in `dir`.
pub(crate) fn options(dir: &Path, how: &How) -> Result<BuildOptions, CliError> {
    if dir.is_file() {
        return Err(
            CliError::new(format!("{} is a file, not an app's folder", dir.display()))
                .hint("`wharf up FILE` serves it, `wharf run FILE` runs it"),
        );
    }
    let mut options = BuildOptions::new(dir, paths::store()?, paths::cache_dir()?);
    options.force = how.force;
    options.offline = how.offline;
    options.verbose = how.verbose;
    options.color = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    Ok(options)
}

/// Builds without a word unless something is done, for other commands.
pub(crate) fn quietly(dir: &Path) -> Result<(BuildOptions, BuildReport), CliError> {
    let how = How {
        force: false,
        offline: false,
        verbose: false,
    };
    let options = options(dir, &how)?;
    let cancel = options.cancel.clone();
    on_signal(move || {
        cancel.fire();
        // The tools end in a moment; then this process does, as a signal ends it.
        std::thread::sleep(CANCEL_TIME);
        std::process::exit(130);
    })?;
    let report = build_app(&options, &Terminal::quiet()).map_err(build_error)?;
    Ok((options, report))
}

/// Ends the build, and the tools it started, at SIGINT or SIGTERM.
///
/// Tools run in process groups of their own, so the terminal's Ctrl-C does not reach them.
fn cancel_on_signals(cancel: Cancel) -> Result<(), CliError> {
    on_signal(move || cancel.fire())
}

/// Calls `act` at the first SIGINT or SIGTERM.
fn on_signal(act: impl FnOnce() + Send + 'static) -> Result<(), CliError> {
    let failed = |error| CliError::new(format!("cannot handle signals: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .map_err(failed)?;
    let (mut interrupt, mut terminate) = {
        let _inside = runtime.enter();
        let interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        (interrupt, signal(SignalKind::terminate()).map_err(failed)?)
    };
    std::thread::Builder::new()
        .name("wharf-signals".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
            });
            act();
        })
        .map(|_| ())
        .map_err(failed)
}

pub(crate) fn build_error(error: BuildError) -> CliError {
    let told = CliError::from_parts(&error, error.hint());
    match error {
        BuildError::ManifestMissing { .. } => told.not_runnable(),
        _ => told,
    }
}
