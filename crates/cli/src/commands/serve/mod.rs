//! `wharf serve`: a node with many apps, as its node file says.

mod loader;
mod slips;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use wharf_artifact::{AppArtifact, load_app};
use wharf_build::{BuildOptions, Cancel, FileOptions, build_app, build_file};
use wharf_engine::CodeCache;
use wharf_manifest::{HostName, NodeApp, NodeConfig, NodeTls, parse_node};
use wharf_serve::log::{Level, LogFormat, LogOptions, Message};
use wharf_serve::{
    Admin, CertificatePaths, Endpoint, Metrics, Node, NodeOptions, ServeError, Server,
    ServerOptions, Tls,
};

use self::loader::Loader;
use self::slips::Slip;
use crate::args::Serve;
use crate::commands::build;
use crate::error::{self, CliError};
use crate::node::{self, AbortOnDrop};
use crate::progress::Terminal;
use crate::stop::Stop;
use crate::{Outcome, code, memory, paths};

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
        slips::check_addresses(&config)?;
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        Ok(NodeFile { config, folder })
    }

    /// What is odd about the certificates.
    fn slips(&self, tls: Option<&Tls>) -> Vec<Slip> {
        tls.map_or_else(Vec::new, |tls| {
            slips::of_certificates(&self.config, &self.folder, tls)
        })
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

    fn server_options(&self, tls: Option<&Tls>, connections: usize) -> ServerOptions {
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
            connections_max: connections,
            connections_per_client_max: self.config.limits.connections_per_client as usize,
            windows_bytes: memory::for_windows(),
            ..ServerOptions::default()
        }
    }

    /// Builds or finds an app.
    fn app(
        &self,
        app: &NodeApp,
        args: &Serve,
        cancel: &Cancel,
        cache: &CodeCache,
        terminal: &Terminal,
    ) -> Result<Found, CliError> {
        let path = self.folder.join(&app.source);
        let is_bare = path.is_file();
        let (artifact, base) = if path.is_dir() {
            let options = BuildOptions {
                cancel: cancel.clone(),
                // It is perhaps not ours to write to.
                leave_folder: true,
                ..build::options(&path, &args.how)?
            };
            let report = build_app(&options, terminal).map_err(build::build_error)?;
            (code::artifact(&options.store, &report)?, path)
        } else if is_bare {
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
            return Err(CliError::new("it has nothing to serve").hint(match is_bare {
                true => "it exports no `wasi:http` handler, which `wharf inspect` shows; a program with `main` is run by `wharf run`",
                false => "add a `[[trigger.http]]` with a route to its wharf.toml",
            }));
        }
        code::prepare_in(cache, &artifact, terminal)?;
        Ok(Found {
            artifact,
            base,
            is_bare,
        })
    }
}

/// An app, built, and the folder below which its granted folders lie.
struct Found {
    artifact: AppArtifact,
    base: PathBuf,
    /// A `.wasm` file by itself.
    is_bare: bool,
}

/// `--check`: all that is done before the first request, and nothing opened.
fn check(args: &Serve, file: &NodeFile) -> Outcome {
    let tls = file.tls()?;
    for ending in tls.iter().flat_map(|tls| tls.ending(SystemTime::now())) {
        error::print_warning(&ending.to_string());
        error::print_hint(ending.hint());
    }
    for slip in file.slips(tls.as_ref()) {
        error::print_warning(&slip.text);
        error::print_hint(slip.hint);
    }
    let terminal = Terminal::new();
    let cache = paths::code_cache()?;
    for (name, app) in &file.config.apps {
        let found = file
            .app(app, args, &Cancel::new(), &cache, &terminal)
            .map_err(|error| error.within(&format!("app `{name}`")))?;
        println!("{name}  {}", hosts_text(&app.hosts));
        let components = &found.artifact.app.components;
        for (component, described) in components {
            let mut limits = described.limits.clone();
            for lowered in file.config.ceilings.lower(&mut limits) {
                println!(
                    "  {component}: {} is {}, not {} as its manifest asks",
                    lowered.key, lowered.ceiling, lowered.asked
                );
            }
            for withheld in app.allow.narrow(&mut described.grants.clone()) {
                let given = match &withheld.given[..] {
                    [] => "nothing".to_owned(),
                    given => given.join(", "),
                };
                println!(
                    "  {component}: of the grant {} {} it gets {given}",
                    withheld.key, withheld.asked
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
    let descriptors = node::divide_descriptors(file.config.limits.connections as usize);
    let server = Server::bind(file.server_options(tls.as_ref(), descriptors.connections))
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
    node::announce(
        &server,
        admin.as_ref(),
        file.config.limits.connections as usize,
    );
    let options = LogOptions::new(LogFormat::for_stderr());
    let log = node::start_log(options, telemetry.as_ref())?;
    for slip in file.slips(tls.as_ref()) {
        log.message(Message::new(Level::Warn, slip.text).with("hint", slip.hint));
    }
    let metrics = Metrics::new();
    let options = NodeOptions {
        telemetry: telemetry.clone(),
        trusted_proxies: file.config.trusted_proxies.clone(),
        forwarded_field: file.config.forwarded_field,
        ..NodeOptions::default()
    };
    let live = Arc::new(Node::new(log.clone(), metrics.clone(), options));
    let mut tasks = Vec::new();
    let admin_addr = admin.as_ref().map(Admin::addr);
    tasks.extend(admin.map(|admin| AbortOnDrop::spawn(admin.run(Arc::clone(&live)))));
    if let Some(tls) = &tls {
        metrics.watch_certificates(tls);
    }
    tasks.extend(tls.map(|tls| AbortOnDrop::spawn(tls.watch(log.clone()))));
    let cancel = Cancel::new();
    let mut loader = Loader::new(
        args.clone(),
        file.config.clone(),
        Arc::new(node::runtime(
            file.config.limits.memory,
            descriptors.guests,
            admin_addr,
            &log,
            &metrics,
        )?),
        Arc::clone(&live),
        cancel.clone(),
    );
    let (failed, failure) = oneshot::channel();
    tasks.push(AbortOnDrop::spawn(async move {
        let loaded = loader.load_first(file).await;
        if loaded == 0 {
            // Nobody waits any more if the node is told to stop.
            let _ = failed.send(());
            return;
        }
        loader.on_hangup(&mut hangup).await;
    }));
    let mut is_useless = false;
    let ending = async {
        tokio::select! {
            () = stop.first() => {}
            Ok(()) = failure => is_useless = true,
        }
    };
    node::run(server, live, ending).await;
    cancel.fire();
    drop(tasks);
    node::flush(log, telemetry).await;
    match is_useless {
        true => Err(CliError::new("no app could be loaded").hint("what failed stands above")),
        false => Ok(ExitCode::SUCCESS),
    }
}
