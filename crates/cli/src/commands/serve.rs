//! `wharf serve`: a node with many apps, as its node file says.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use wharf_artifact::{AppArtifact, load_app};
use wharf_build::{BuildOptions, Cancel, FileOptions, build_app, build_file};
use wharf_host::EgressRules;
use wharf_manifest::{
    AppName, ByteSize, Ceilings, Digest, HostName, NodeApp, NodeConfig, NodeTls, PrivateAddress,
    parse_node,
};
use wharf_serve::log::{Level, Log, LogFormat, LogOptions, Message};
use wharf_serve::{
    Absence, AppTerms, CertificatePaths, Endpoint, LiveApp, Metrics, Node, NodeOptions, Runtime,
    ServeError, Server, ServerOptions, Tls, activate,
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
            connections_max: node::connections_that_fit(self.config.limits.connections as usize),
            connections_per_client_max: self.config.limits.connections_per_client as usize,
            ..ServerOptions::default()
        }
    }

    /// Builds or finds an app.
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

/// An app, built, and the folder below which its granted folders lie.
struct Found {
    artifact: AppArtifact,
    base: PathBuf,
}

/// `--check`: all that is done before the first request, and nothing opened.
fn check(args: &Serve, file: &NodeFile) -> Outcome {
    file.tls()?;
    let terminal = Terminal::new();
    for (name, app) in &file.config.apps {
        let found = file
            .app(app, args, &Cancel::new(), &terminal)
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
    node::announce(
        &server,
        admin.as_ref(),
        file.config.limits.connections as usize,
    );
    let options = LogOptions::new(LogFormat::for_stderr());
    let log = node::start_log(options, telemetry.as_ref())?;
    let metrics = Metrics::new();
    let options = NodeOptions {
        telemetry: telemetry.clone(),
        trusted_proxies: file.config.trusted_proxies.clone(),
        forwarded_field: file.config.forwarded_field,
        ..NodeOptions::default()
    };
    let live = Arc::new(Node::new(log.clone(), metrics.clone(), options));
    let mut tasks = Vec::new();
    tasks.extend(admin.map(|admin| AbortOnDrop::spawn(admin.run(Arc::clone(&live)))));
    tasks.extend(tls.map(|tls| AbortOnDrop::spawn(tls.watch(log.clone()))));
    let cancel = Cancel::new();
    let mut loader = Loader {
        apps: BTreeMap::new(),
        running: file.config.clone(),
        args: args.clone(),
        runtime: Arc::new(node::runtime(file.config.limits.memory, &log, &metrics)?),
        node: Arc::clone(&live),
        cancel: cancel.clone(),
    };
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

/// Builds the apps of a node file and makes them live, each by itself: what is wrong with one is
/// no matter of the others.
struct Loader {
    args: Serve,
    runtime: Arc<Runtime>,
    node: Arc<Node>,
    cancel: Cancel,
    apps: BTreeMap<AppName, Known>,
    /// What the node runs by.
    running: NodeConfig,
}

/// An app of the node file.
struct Known {
    hosts: Vec<HostName>,
    /// What answers for it, be it a stand-in.
    app: Arc<LiveApp>,
    /// What it was made from, if it is none: one that would be made the same is left alone.
    made: Option<Made>,
}

/// What decides how an app is made live.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Made {
    artifact: Digest,
    ceilings: Ceilings,
    memory: Option<ByteSize>,
    private: Vec<PrivateAddress>,
}

impl Loader {
    /// Loads all apps for the first time, and says how many could be.
    async fn load_first(&mut self, file: NodeFile) -> usize {
        for (name, config) in &file.config.apps {
            let known = Known {
                hosts: config.hosts.clone(),
                app: Arc::new(self.runtime.absent(name, Absence::Loading)),
                made: None,
            };
            self.apps.insert(name.clone(), known);
        }
        self.publish();
        let loaded = self.load(file).await;
        self.runtime.log().message(
            Message::new(Level::Info, "the node is ready")
                .with("apps", loaded as u64)
                .with("failed", (self.apps.len() - loaded) as u64),
        );
        loaded
    }

    /// Loads the apps of `file`, serving each as soon as it is there, and says how many could be.
    /// One that cannot be loaded stays as it was; if it was not there, it answers 503.
    async fn load(&mut self, file: NodeFile) -> usize {
        let file = Arc::new(file);
        self.apps
            .retain(|name, _| file.config.apps.contains_key(name));
        let mut loaded = 0;
        for (name, config) in &file.config.apps {
            let before = self.apps.remove(name);
            let made = before.as_ref().and_then(|known| known.made.clone());
            let outcome = self.load_one(&file, name, made).await;
            loaded += usize::from(outcome.is_ok());
            let mut told = None;
            let (app, made) = match (outcome, before) {
                (Ok(Some((app, made))), _) => {
                    told = Some(
                        Message::new(Level::Info, "serving")
                            .with("app", app.name())
                            .with("hosts", hosts_text(&config.hosts))
                            .with("digest", &app.digest().to_string()[..19]),
                    );
                    (Arc::new(app), Some(made))
                }
                (Ok(None), before) => {
                    let before = before.expect("only what was made before can be the same");
                    (before.app, before.made)
                }
                (Err(error), before) => {
                    error.print();
                    match before.filter(|before| before.made.is_some()) {
                        Some(before) => {
                            error::print_hint("its version before is still being served");
                            (before.app, before.made)
                        }
                        None => (Arc::new(self.runtime.absent(name, Absence::Failed)), None),
                    }
                }
            };
            let known = Known {
                hosts: config.hosts.clone(),
                app,
                made,
            };
            self.apps.insert(name.clone(), known);
            self.publish();
            if let Some(told) = told {
                self.runtime.log().message(told);
            }
        }
        // An app that is gone, too.
        self.publish();
        loaded
    }

    fn publish(&self) {
        let apps = self.apps.values();
        self.node
            .serve_by_host(apps.map(|known| (known.hosts.clone(), Arc::clone(&known.app))));
    }

    /// `None` if the app would be made like the one `before`.
    async fn load_one(
        &self,
        file: &Arc<NodeFile>,
        name: &AppName,
        before: Option<Made>,
    ) -> Result<Option<(LiveApp, Made)>, CliError> {
        let (file, name) = (Arc::clone(file), name.clone());
        let (args, runtime) = (self.args.clone(), Arc::clone(&self.runtime));
        let cancel = self.cancel.clone();
        let within = format!("app `{name}`");
        let loading = tokio::task::spawn_blocking(move || {
            let config = &file.config.apps[&name];
            let found = file.app(config, &args, &cancel, &Terminal::new())?;
            let terms = AppTerms {
                ceilings: file.config.ceilings,
                egress: EgressRules::only(file.config.private_addresses.clone()),
                memory: config.memory,
            };
            let made = Made {
                artifact: found.artifact.digest,
                ceilings: terms.ceilings,
                memory: terms.memory,
                private: file.config.private_addresses.clone(),
            };
            if before.as_ref() == Some(&made) {
                return Ok(None);
            }
            activate(&runtime, &found.artifact, &name, &found.base, &terms)
                .map(|app| Some((app, made)))
                .map_err(|error| CliError::from_parts(&error, error.hint()))
        });
        let loaded = loading.await.unwrap_or_else(|error| {
            let text = format!("loading ended unexpectedly: {error}");
            Err(CliError::new(text))
        });
        loaded.map_err(|error| error.within(&within))
    }

    /// Says which changes have no effect until the node is started again.
    fn tell_what_stays(&self, new: &NodeConfig) {
        let old = &self.running;
        for (key, is_same) in [
            ("listen", old.listen == new.listen),
            ("admin", old.admin == new.admin),
            ("tls", old.tls == new.tls),
            ("limits", old.limits == new.limits),
            (
                "proxies",
                old.trusted_proxies == new.trusted_proxies
                    && old.forwarded_field == new.forwarded_field,
            ),
        ] {
            if !is_same {
                self.runtime.log().message(
                    Message::new(Level::Warn, "changed in the node file, and not obeyed yet")
                        .with("key", key)
                        .with("hint", "start the node again"),
                );
            }
        }
    }

    /// Reads the node file again at each SIGHUP. One that is no good changes nothing.
    async fn on_hangup(&mut self, hangup: &mut Signal) {
        while hangup.recv().await.is_some() {
            let log: &Log = self.runtime.log();
            log.message(Message::new(Level::Info, "reading the node file again"));
            match NodeFile::read(&self.args.node) {
                Ok(file) => {
                    self.tell_what_stays(&file.config);
                    self.load(file).await;
                }
                Err(error) => {
                    error.print();
                    error::print_hint("the node goes on with what it had");
                }
            }
        }
    }
}
