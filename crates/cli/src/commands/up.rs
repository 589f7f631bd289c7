//! `wharf up`: serve an app here, and again whenever it changes.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use wharf_artifact::AppArtifact;
use wharf_build::{
    BuildError, BuildOptions, Cancel, FileOptions, MANIFEST_NAME, build_app, build_file,
    watch_paths,
};
use wharf_host::EgressRules;
use wharf_manifest::{App, parse_app};
use wharf_serve::log::{Level, LogFormat, LogOptions, Message};
use wharf_serve::watch::{DevOverlay, DevState, SourceWatcher, WatchOptions};
use wharf_serve::{
    Admin, AppTerms, LiveApp, Metrics, Node, NodeOptions, Runtime, Server, ServerOptions, activate,
};

use crate::args::Up;
use crate::commands::build;
use crate::error::{self, CliError};
use crate::node::{self, AbortOnDrop};
use crate::progress::Terminal;
use crate::stop::Stop;
use crate::{Outcome, code, memory, paths};

pub(crate) fn main(args: &Up) -> Outcome {
    let project = Arc::new(Project::find(args)?);
    let runtime = node::async_runtime()?;
    let outcome = runtime.block_on(up(args, project));
    runtime.shutdown_timeout(std::time::Duration::from_millis(500));
    outcome
}

async fn up(args: &Up, project: Arc<Project>) -> Outcome {
    let mut stop = Stop::listen()?;
    let telemetry = node::telemetry()?;
    let mut options = ServerOptions::new(args.addr);
    // On a developer's machine fewer are no matter.
    let connections = options.connections_max.min(memory::connections_max());
    let descriptors = node::divide_descriptors(connections);
    options.connections_max = descriptors.connections;
    options.windows_bytes = memory::for_windows();
    let server = Server::bind(options).await.map_err(|error| {
        let hint = format!("{} (`--addr`)", error.hint());
        CliError::from_parts(&error, Some(hint))
    })?;
    let admin = match args.admin {
        Some(addr) => Some(node::bind_admin(addr).await?),
        None => None,
    };
    let addr = node::announce(&server, admin.as_ref(), connections);
    let options = LogOptions {
        // Every open page asks for them, time and again.
        paths_left_out: if args.watch { DevOverlay::PATHS } else { &[] },
        ..LogOptions::new(LogFormat::for_stderr())
    };
    let log = node::start_log(options, telemetry.as_ref())?;
    let metrics = Metrics::new();
    let overlay = args.watch.then(DevOverlay::new);
    let node = Arc::new(Node::new(
        log.clone(),
        metrics.clone(),
        NodeOptions {
            // What went wrong inside is for the developer, not for whoever asks from elsewhere.
            show_errors: addr.ip().is_loopback(),
            overlay: overlay.clone(),
            telemetry: telemetry.clone(),
            ..NodeOptions::default()
        },
    ));
    let admin_addr = admin.as_ref().map(Admin::addr);
    let admin = admin.map(|admin| AbortOnDrop::spawn(admin.run(Arc::clone(&node))));
    let runtime = Arc::new(node::runtime(
        None,
        descriptors.guests,
        admin_addr,
        &log,
        &metrics,
    )?);
    let cancel = project.cancel.clone();
    let builder = Builder {
        project,
        runtime,
        node: Arc::clone(&node),
        url: format!("http://{addr}"),
    };
    let watching = match overlay {
        None => {
            tokio::select! {
                built = builder.build(Terminal::new()) => { built?; }
                () = stop.first() => {
                    cancel.fire();
                    return Ok(ExitCode::SUCCESS);
                }
            }
            None
        }
        Some(overlay) => Some(tokio::spawn(builder.watch(overlay))),
    };
    node::run(server, node, stop.first()).await;
    drop(admin);
    cancel.fire();
    if let Some(watching) = watching {
        watching.abort();
    }
    node::flush(log, telemetry).await;
    Ok(ExitCode::SUCCESS)
}

/// What is served: an app's folder or a single file.
struct Project {
    what: PathBuf,
    options: Option<BuildOptions>,
    store: wharf_artifact::Store,
    grants: crate::args::GrantFlags,
    cancel: Cancel,
}

impl Project {
    fn find(args: &Up) -> Result<Project, CliError> {
        let what = args.what.clone();
        if !what.exists() {
            return Err(CliError::new(format!("there is no {}", what.display()))
                .hint("give an app's folder or a .wasm file; `wharf new app NAME` makes an app"));
        }
        let cancel = Cancel::new();
        let options = match what.is_dir() {
            true => Some(BuildOptions {
                cancel: cancel.clone(),
                ..build::options(&what, &args.how)?
            }),
            false => None,
        };
        let store = match &options {
            Some(options) => options.store.clone(),
            None => paths::store()?,
        };
        // Mistakes that can be seen at once are told before anything is opened.
        args.grants.grants()?;
        if let Some(options) = &options {
            check_manifest(options, args.watch)?;
        }
        Ok(Project {
            what,
            options,
            store,
            grants: args.grants.clone(),
            cancel,
        })
    }

    fn base(&self) -> &Path {
        match &self.options {
            Some(options) => &options.app_dir,
            None => Path::new("."),
        }
    }

    fn build(&self, runtime: &Runtime, terminal: &Terminal) -> Result<Built, Failure> {
        let report = match &self.options {
            Some(options) => build_app(options, terminal)?,
            None => {
                let options = FileOptions {
                    file: self.what.clone(),
                    store: self.store.clone(),
                    cancel: self.cancel.clone(),
                };
                build_file(&options, terminal)?
            }
        };
        let mut artifact = code::artifact(&self.store, &report)?;
        if artifact.app.triggers.http.is_empty() {
            return Err(match &self.options {
                Some(_) => nothing_to_serve(&artifact.app),
                None => answers_no_http(&self.what, &artifact.app),
            }
            .into());
        }
        for component in artifact.app.components.values_mut() {
            self.grants.add_to(&mut component.grants)?;
        }
        let cache = runtime.code_cache(artifact.app.name.as_str());
        code::prepare_in(&cache, &artifact, terminal)?;
        Ok(Built {
            artifact,
            watch: report.watch,
        })
    }

    /// What to watch while nothing was built yet.
    fn sources(&self) -> Vec<PathBuf> {
        match &self.options {
            Some(options) => watch_paths(options),
            None => vec![self.what.clone()],
        }
    }
}

/// Reads the manifest before the address is opened. With `--watch` mistakes in it are shown on
/// the page and mended there; without it there must be one that can be served.
fn check_manifest(options: &BuildOptions, watch: bool) -> Result<(), CliError> {
    let text = std::fs::read_to_string(&options.manifest).map_err(|error| {
        if error.kind() != std::io::ErrorKind::NotFound {
            return CliError::io("read", &options.manifest, &error);
        }
        CliError::new(format!(
            "there is no {} in {}",
            MANIFEST_NAME,
            options.app_dir.display()
        ))
        .hint("give an app's folder or a .wasm file; `wharf new app NAME` makes an app")
    })?;
    if watch {
        return Ok(());
    }
    let app =
        parse_app(&text, MANIFEST_NAME).map_err(|errors| CliError::new(errors.to_string()))?;
    if app.triggers.http.is_empty() {
        return Err(nothing_to_serve(&app));
    }
    Ok(())
}

/// Of a bare file, which has no wharf.toml to be mended.
fn answers_no_http(file: &Path, app: &App) -> CliError {
    let shown = file.display();
    let error = CliError::new(format!(
        "{shown} answers no HTTP: there is nothing to serve"
    ));
    if app.triggers.command.is_some() {
        return error.hint(format!("it is a command: run it with `wharf run {shown}`"));
    }
    error.hint(format!(
        "`wharf inspect {shown}` shows what it exports, `wharf run {shown} --invoke` calls that"
    ))
}

fn nothing_to_serve(app: &App) -> CliError {
    let error = CliError::new(format!("the app `{}` has nothing to serve", app.name));
    if app.triggers.command.is_some() {
        return error.hint("it has a command: run it with `wharf run`");
    }
    error.hint("add a `[[trigger.http]]` with a route to its wharf.toml; `wharf inspect` shows what its components export")
}

struct Built {
    artifact: AppArtifact,
    watch: Vec<PathBuf>,
}

/// A build that failed: what the terminal is told, and what the page shows.
struct Failure {
    error: CliError,
    page: String,
}

impl From<CliError> for Failure {
    fn from(error: CliError) -> Failure {
        Failure {
            page: error.text(),
            error,
        }
    }
}

impl From<BuildError> for Failure {
    fn from(error: BuildError) -> Failure {
        let output = error.output().map(str::to_owned);
        let error = build::build_error(error);
        Failure {
            page: output.unwrap_or_else(|| error.text()),
            error,
        }
    }
}

/// Builds, activates and swaps.
struct Builder {
    project: Arc<Project>,
    runtime: Arc<Runtime>,
    node: Arc<Node>,
    url: String,
}

impl Builder {
    async fn build(&self, terminal: Terminal) -> Result<Vec<PathBuf>, CliError> {
        self.try_build(terminal)
            .await
            .map_err(|failure| failure.error)
    }

    /// Serves the new version if all went well; else, or if nothing changed, the old one stays.
    async fn try_build(&self, terminal: Terminal) -> Result<Vec<PathBuf>, Failure> {
        let project = Arc::clone(&self.project);
        let runtime = Arc::clone(&self.runtime);
        let served = self.node.app().map(|app| *app.digest());
        let (app, watch) = tokio::task::spawn_blocking(move || -> Result<_, Failure> {
            let built = project.build(&runtime, &terminal)?;
            if served == Some(built.artifact.digest) {
                return Ok((None, built.watch));
            }
            let artifact = &built.artifact;
            let terms = AppTerms {
                // Whoever serves their own app says in its manifest what it may reach.
                egress: EgressRules::any_private(),
                is_bare: project.options.is_none(),
                ..AppTerms::default()
            };
            let app = activate(
                &runtime,
                artifact,
                &artifact.app.name,
                project.base(),
                &terms,
            )
            .map_err(|error| CliError::from_parts(&error, error.hint()))?;
            Ok((Some(app), built.watch))
        })
        .await
        .map_err(|error| CliError::new(format!("the build ended unexpectedly: {error}")))??;
        if let Some(app) = app {
            self.serve(app);
        }
        Ok(watch)
    }

    fn serve(&self, app: LiveApp) {
        let message = Message::new(Level::Info, "serving")
            .with("url", self.url.as_str())
            .with("app", app.name())
            .with("digest", &app.digest().to_string()[..19]);
        self.node.serve(Arc::new(app));
        self.runtime.log().message(message);
    }

    /// Builds again whenever a source changes, until aborted.
    async fn watch(self, overlay: DevOverlay) {
        // Before the first build: what changes while it runs is not overlooked.
        let mut roots = self.project.sources();
        let Some(mut watcher) = start_watcher(&roots).await else {
            // Why a source cannot be watched is mostly why it cannot be built.
            if let Err(failure) = self.try_build(Terminal::new()).await {
                failure.error.print();
                overlay.set(DevState::Failed {
                    text: failure.page,
                    is_served: false,
                });
            }
            return;
        };
        overlay.set(DevState::Building);
        loop {
            let sources = match self.try_build(Terminal::new()).await {
                Ok(sources) => {
                    let version = self.node.app().map(|app| app.digest().to_string());
                    overlay.set(DevState::Ok {
                        version: version.unwrap_or_default(),
                    });
                    sources
                }
                Err(failure) => {
                    failure.error.print();
                    let is_served = self.node.app().is_some();
                    if is_served {
                        error::print_hint("the version before is still being served");
                    }
                    overlay.set(DevState::Failed {
                        text: failure.page,
                        is_served,
                    });
                    self.project.sources()
                }
            };
            if roots != sources {
                let Some(started) = start_watcher(&sources).await else {
                    return;
                };
                (roots, watcher) = (sources, started);
                // What changed before the new roots were watched: an unchanged app costs little.
                continue;
            }
            let changed = watcher.changed().await;
            let shown = changed.first().map(|path| path.display().to_string());
            self.runtime.log().message(
                Message::new(Level::Info, "changed, building again")
                    .with("file", shown.unwrap_or_default()),
            );
            overlay.set(DevState::Building);
        }
    }
}

/// `None` after telling why not.
async fn start_watcher(roots: &[PathBuf]) -> Option<SourceWatcher> {
    let roots = roots.to_vec();
    let started =
        tokio::task::spawn_blocking(move || SourceWatcher::start(roots, WatchOptions::default()));
    match started.await {
        Ok(Ok(watcher)) => Some(watcher),
        Ok(Err(error)) => {
            error::print_error(&format!("cannot watch the sources: {error}"));
            None
        }
        Err(_) => None,
    }
}
