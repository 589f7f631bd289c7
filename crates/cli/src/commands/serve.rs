//! `wharf serve`: a node with many apps, as its node file says.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use wharf_artifact::{AppArtifact, load_app};
use wharf_build::{BuildOptions, Cancel, FileOptions, build_app, build_file};
use wharf_host::EgressRules;
use wharf_manifest::{AppName, HostName, NodeApp, NodeConfig, NodeTls, parse_node};
use wharf_serve::log::{Level, Log, LogFormat, LogOptions, Message};
use wharf_serve::{
    AppTerms, CertificatePaths, Endpoint, LiveApp, Metrics, Node, NodeOptions, Runtime, ServeError,
    Server, ServerOptions, Tls, activate,
};

use crate::args::Serve;
use crate::commands::build;
use crate::error::{self, CliError};
use crate::node::{self, AbortOnDrop};
use crate::progress::Terminal;
use crate::stop::Stop;
use crate::{Outcome, code, paths};

pub(crate) fn main(args: &Serve) -> Outcome {
    let file = NodeFile::read(&args.node)?;
    if args.check {
        return check(args, &file);
    }
    let runtime = node::async_runtime()?;
    let outcome = runtime.block_on(serve(args, file));
    runtime.shutdown_timeout(std::time::Duration::from_millis(500));
    outcome
}

/// A node file and where it lies.
#[derive(Debug)]
struct NodeFile {
    config: NodeConfig,
    folder: PathBuf,
}

impl NodeFile {
    fn read(path: &Path) -> Result<NodeFile, CliError> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            if error.kind() != std::io::ErrorKind::NotFound {
                return CliError::io("read", path, &error);
            }
            CliError::new(format!("there is no {}", path.display())).hint(
                "write one with `node = 1` and `[app.NAME]` with `source = \"FOLDER\"`; for a single app there is `wharf up`",
            )
        })?;
        let name = path.display().to_string();
        let config =
            parse_node(&text, &name).map_err(|errors| CliError::new(errors.to_string()))?;
        if config.apps.is_empty() {
            return Err(CliError::new(format!("{name} names no app"))
                .hint("add `[app.NAME]` with `source = \"FOLDER\"`"));
        }
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        Ok(NodeFile { config, folder })
    }

    fn tls(&self) -> Result<Option<Tls>, CliError> {
        let Some(tls) = &self.config.tls else {
            return Ok(None);
        };
        let files = tls.certificates.iter().map(|files| CertificatePaths {
            chain: self.folder.join(&files.chain),
            key: self.folder.join(&files.key),
        });
        let loaded = Tls::load(files.collect());
        loaded
            .map(Some)
            .map_err(|error| CliError::from_parts(&error, Some(error.hint())))
    }

    fn server_options(&self, tls: Option<&Tls>) -> ServerOptions {
        let plain = self.config.listen.iter().map(|addr| Endpoint {
            addr: *addr,
            tls: None,
        });
        let listen = self.config.tls.iter().flat_map(|tls: &NodeTls| &tls.listen);
        let secure = listen.map(|addr| Endpoint {
            addr: *addr,
            tls: tls.cloned(),
        });
        ServerOptions {
            endpoints: plain.chain(secure).collect(),
            connections_max: self.config.limits.connections as usize,
            connections_per_client_max: self.config.limits.connections_per_client as usize,
            ..ServerOptions::default()
        }
    }

    /// Builds or finds every app. The first that fails ends it, named.
    fn apps(&self, args: &Serve, cancel: &Cancel, terminal: &Terminal) -> Result<Apps, CliError> {
        let mut apps = BTreeMap::new();
        for (name, app) in &self.config.apps {
            let found = self
                .app(app, args, cancel, terminal)
                .map_err(|error| error.within(&format!("app `{name}`")))?;
            apps.insert(name.clone(), found);
        }
        Ok(apps)
    }

    fn app(
        &self,
        app: &NodeApp,
        args: &Serve,
        cancel: &Cancel,
        terminal: &Terminal,
    ) -> Result<Found, CliError> {
        let path = self.folder.join(&app.source);
        let (artifact, base) = if path.is_dir() {
            let options = BuildOptions {
                cancel: cancel.clone(),
                ..build::options(&path, &args.how)?
            };
            let report = build_app(&options, terminal).map_err(build::build_error)?;
            (code::artifact(&options.store, &report)?, path)
        } else if path.is_file() {
            let options = FileOptions {
                file: path,
                store: paths::store()?,
                cancel: cancel.clone(),
            };
            let report = build_file(&options, terminal).map_err(build::build_error)?;
            (
                code::artifact(&options.store, &report)?,
                self.folder.clone(),
            )
        } else {
            let artifact = load_app(&paths::store()?, &app.source).map_err(|error| {
                CliError::new(format!(
                    "there is no file, folder or app `{}`: {error}",
                    app.source
                ))
                .hint(
                    "give an app's folder, a .wasm file, or NAME:VERSION of an app that was built",
                )
            })?;
            (artifact, self.folder.clone())
        };
        if artifact.app.triggers.http.is_empty() {
            return Err(CliError::new("it has nothing to serve")
                .hint("add a `[[trigger.http]]` with a route to its wharf.toml"));
        }
        code::prepare(&artifact, terminal)?;
        Ok(Found { artifact, base })
    }
}

type Apps = BTreeMap<AppName, Found>;

/// An app, built, and the folder below which its granted folders lie.
struct Found {
    artifact: AppArtifact,
    base: PathBuf,
}

/// `--check`: all that is done before the first request, and nothing opened.
fn check(args: &Serve, file: &NodeFile) -> Outcome {
    file.tls()?;
    let terminal = Terminal::new();
    for (name, found) in file.apps(args, &Cancel::new(), &terminal)? {
        let hosts = &file.config.apps[&name].hosts;
        println!("{name}  {}", hosts_text(hosts));
        let components = &found.artifact.app.components;
        for (component, described) in components {
            let mut limits = described.limits.clone();
            for lowered in file.config.ceilings.lower(&mut limits) {
                println!(
                    "  {component}: {} is {}, not {} as its manifest asks",
                    lowered.key, lowered.ceiling, lowered.asked
                );
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn hosts_text(hosts: &[HostName]) -> String {
    match hosts {
        [] => "(all other hosts)".to_owned(),
        hosts => hosts
            .iter()
            .map(HostName::as_str)
            .collect::<Vec<_>>()
            .join(", "),
    }
}

async fn serve(args: &Serve, file: NodeFile) -> Outcome {
    let mut stop = Stop::listen()?;
    let mut hangup = signal(SignalKind::hangup())
        .map_err(|error| CliError::new(format!("cannot handle signals: {error}")))?;
    let tls = file.tls()?;
    let telemetry = node::telemetry()?;
    let server = Server::bind(file.server_options(tls.as_ref()))
        .await
        .map_err(|error| match &error {
            ServeError::InUse { .. } => CliError::new(error.to_string())
                .hint("end it, or choose another address under `listen` in the node file"),
            ServeError::Listen { .. } => CliError::from_parts(&error, Some(error.hint())),
        })?;
    let admin = match file.config.admin {
        Some(addr) => Some(node::bind_admin(addr).await?),
        None => None,
    };
    node::announce(&server, admin.as_ref());
    let options = LogOptions::new(LogFormat::for_stderr());
    let log = node::start_log(options, telemetry.as_ref())?;
    let metrics = Metrics::new();
    let options = NodeOptions {
        telemetry: telemetry.clone(),
        trusted_proxies: file.config.trusted_proxies.clone(),
        ..NodeOptions::default()
    };
    let live = Arc::new(Node::new(log.clone(), metrics.clone(), options));
    let mut tasks = Vec::new();
    tasks.extend(admin.map(|admin| AbortOnDrop::spawn(admin.run(Arc::clone(&live)))));
    tasks.extend(tls.map(|tls| AbortOnDrop::spawn(tls.watch(log.clone()))));
    let cancel = Cancel::new();
    let loader = Loader {
        args: args.clone(),
        runtime: Arc::new(node::runtime(file.config.limits.memory, &log, &metrics)?),
        node: Arc::clone(&live),
        cancel: cancel.clone(),
    };
    tokio::select! {
        loaded = loader.load(file) => loaded?,
        () = stop.first() => {
            cancel.fire();
            return Ok(ExitCode::SUCCESS);
        }
    }
    let again = loader.clone();
    tasks.push(AbortOnDrop::spawn(async move {
        again.on_hangup(&mut hangup).await;
    }));
    node::run(server, live, &mut stop).await;
    cancel.fire();
    drop(tasks);
    node::flush(log, telemetry).await;
    Ok(ExitCode::SUCCESS)
}

/// An app and the names under which it is asked for.
type ByHost = (Vec<HostName>, Arc<LiveApp>);

/// Builds the apps of a node file and makes them live.
#[derive(Clone)]
struct Loader {
    args: Serve,
    runtime: Arc<Runtime>,
    node: Arc<Node>,
    cancel: Cancel,
}

impl Loader {
    /// All apps or none: a node file is a whole.
    async fn load(&self, file: NodeFile) -> Result<(), CliError> {
        let this = self.clone();
        let loading = tokio::task::spawn_blocking(move || this.load_now(&file));
        let apps = loading.await.map_err(|error| {
            CliError::new(format!("loading the apps ended unexpectedly: {error}"))
        })??;
        let told: Vec<_> = apps
            .iter()
            .map(|(hosts, app)| {
                Message::new(Level::Info, "serving")
                    .with("app", app.name())
                    .with("hosts", hosts_text(hosts))
                    .with("digest", &app.digest().to_string()[..19])
            })
            .collect();
        self.node.serve_by_host(apps);
        for message in told {
            self.runtime.log().message(message);
        }
        Ok(())
    }

    fn load_now(&self, file: &NodeFile) -> Result<Vec<ByHost>, CliError> {
        let terminal = Terminal::new();
        let found = file.apps(&self.args, &self.cancel, &terminal)?;
        let mut live = Vec::new();
        for (name, Found { artifact, base }) in found {
            let config = &file.config.apps[&name];
            let terms = AppTerms {
                ceilings: file.config.ceilings,
                egress: EgressRules::only(file.config.private_addresses.clone()),
                memory: config.memory,
            };
            let app =
                activate(&self.runtime, &artifact, &name, &base, &terms).map_err(|error| {
                    CliError::from_parts(&error, error.hint()).within(&format!("app `{name}`"))
                })?;
            live.push((config.hosts.clone(), Arc::new(app)));
        }
        Ok(live)
    }

    /// Reads the node file again at each SIGHUP. One that is no good changes nothing.
    async fn on_hangup(&self, hangup: &mut Signal) {
        while hangup.recv().await.is_some() {
            let log: &Log = self.runtime.log();
            log.message(Message::new(Level::Info, "reading the node file again"));
            let loaded = match NodeFile::read(&self.args.node) {
                Ok(file) => self.load(file).await,
                Err(error) => Err(error),
            };
            if let Err(error) = loaded {
                error.print();
                error::print_hint("the node goes on with what it had");
            }
        }
    }
}
