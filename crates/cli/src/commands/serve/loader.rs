//! Loading the apps of a node file, and loading them again when it changes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;

use tokio::signal::unix::Signal;
use tokio::time::Instant;
use wharf_build::Cancel;
use wharf_host::EgressRules;
use wharf_manifest::{AppName, Digest, HostName, NodeConfig};
use wharf_serve::log::{Level, Log, Message};
use wharf_serve::{Absence, AppTerms, LiveApp, Node, Runtime, activate};

use super::{NodeFile, hosts_text};
use crate::args::Serve;
use crate::error::CliError;
use crate::progress::Terminal;

/// Builds the apps of a node file and makes them live, each by itself: what is wrong with one is
/// no matter of the others.
pub(super) struct Loader {
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
    /// Where its granted folders lie.
    base: PathBuf,
    terms: AppTerms,
}

/// What was loaded since the node file was read.
#[derive(Default)]
struct Round {
    loaded: BTreeMap<AppName, Known>,
    /// What the log is told once requests reach what was loaded.
    told: Vec<Message>,
    /// When the node may be told of what was loaded; none if it knows all of it.
    due: Option<Instant>,
    rests_until: Option<Instant>,
}

impl Round {
    /// The node is to be told of more, at once if it was not just told.
    fn is_behind(&mut self) {
        self.due = Some(self.rests_until.unwrap_or_else(Instant::now));
    }
}

/// How many times longer than it took to tell the node of its apps it is not told again: that
/// takes the longer the more there are, and is done for each of them.
const REST: u32 = 20;

impl Loader {
    pub(super) fn new(
        args: Serve,
        running: NodeConfig,
        runtime: Arc<Runtime>,
        node: Arc<Node>,
        cancel: Cancel,
    ) -> Loader {
        Loader {
            args,
            runtime,
            node,
            cancel,
            apps: BTreeMap::new(),
            running,
        }
    }

    /// Loads all apps for the first time, and says how many could be.
    pub(super) async fn load_first(&mut self, file: NodeFile) -> usize {
        let loaded = self.load(file).await;
        self.runtime.log().message(
            Message::new(Level::Info, "the node is ready")
                .with("apps", loaded as u64)
                .with("failed", (self.apps.len() - loaded) as u64),
        );
        loaded
    }

    /// Loads the apps of `file`, serving each as soon as it is there, and says how many could be.
    /// One that cannot be loaded stays as it was; if it was not there, it answers 503. Names that
    /// an app had before, and apps that are gone, are given up at the end: until then some other
    /// app may not be there that takes them over.
    async fn load(&mut self, file: NodeFile) -> usize {
        let file = Arc::new(file);
        let mut round = Round::default();
        let mut loaded = 0;
        self.stand_in(&file.config);
        for (name, config) in &file.config.apps {
            let outcome = self.load_one(&file, name, &mut round).await;
            loaded += usize::from(outcome.is_ok());
            let before = self.apps.get_mut(name);
            let (app, made) = match (outcome, before.as_deref()) {
                (Ok(Some((app, made))), _) => {
                    round.told.push(
                        Message::new(Level::Info, "serving")
                            .with("app", app.name())
                            .with("hosts", hosts_text(&config.hosts))
                            .with("digest", &app.digest().to_string()[..19]),
                    );
                    (Arc::new(app), Some(made))
                }
                (Ok(None), before) => {
                    let before = before.expect("only what was made before can be the same");
                    (Arc::clone(&before.app), before.made.clone())
                }
                (Err(error), before) => {
                    let before = before.filter(|before| before.made.is_some());
                    let aside = before.map(|_| "its version before is still being served");
                    let told = error.message("the app could not be loaded", aside);
                    self.runtime
                        .log()
                        .message(told.about(&name.as_str().into()));
                    match before {
                        Some(before) => (Arc::clone(&before.app), before.made.clone()),
                        None => (Arc::new(self.runtime.absent(name, Absence::Failed)), None),
                    }
                }
            };
            if let Some(before) = before {
                before.app = Arc::clone(&app);
            }
            let known = Known {
                hosts: config.hosts.clone(),
                app,
                made,
            };
            round.loaded.insert(name.clone(), known);
            round.is_behind();
        }
        self.apps = std::mem::take(&mut round.loaded);
        self.publish(&mut round);
        loaded
    }

    /// Has apps that are new answer 503 until they are there. A name that another app has
    /// meanwhile stays that one's.
    fn stand_in(&mut self, config: &NodeConfig) {
        let taken: BTreeSet<HostName> = (self.apps.values())
            .flat_map(|known| known.hosts.iter().cloned())
            .collect();
        let is_other_s = self.apps.values().any(|known| known.hosts.is_empty());
        let mut is_new = false;
        for (name, config) in &config.apps {
            if self.apps.contains_key(name) {
                continue;
            }
            let mut hosts = config.hosts.clone();
            hosts.retain(|host| !taken.contains(host));
            // Without a name left, it would answer for all that have no app.
            if hosts.is_empty() && (is_other_s || !config.hosts.is_empty()) {
                continue;
            }
            let known = Known {
                hosts,
                app: Arc::new(self.runtime.absent(name, Absence::Loading)),
                made: None,
            };
            self.apps.insert(name.clone(), known);
            is_new = true;
        }
        if is_new {
            self.publish(&mut Round::default());
        }
    }

    /// Tells the node of all apps. Where two have a name, the one just loaded gets it.
    fn publish(&self, round: &mut Round) {
        let began = Instant::now();
        let apps = self.apps.values().chain(round.loaded.values());
        self.node
            .serve_by_host(apps.map(|known| (known.hosts.clone(), Arc::clone(&known.app))));
        for told in round.told.drain(..) {
            self.runtime.log().message(told);
        }
        let ended = Instant::now();
        round.due = None;
        round.rests_until = Some(ended + (ended - began) * REST);
    }

    /// `None` if the app would be made like the one before. Meanwhile the node is told of those
    /// that were loaded already.
    async fn load_one(
        &self,
        file: &Arc<NodeFile>,
        name: &AppName,
        round: &mut Round,
    ) -> Result<Option<(LiveApp, Made)>, CliError> {
        let mut making = pin!(self.make(file, name));
        loop {
            let due = round.due;
            let due_at = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                made = &mut making => return made,
                () = due_at => self.publish(round),
            }
        }
    }

    /// `None` if the app would be made like the one `before`.
    async fn make(
        &self,
        file: &Arc<NodeFile>,
        name: &AppName,
    ) -> Result<Option<(LiveApp, Made)>, CliError> {
        let before = self.apps.get(name).and_then(|known| known.made.clone());
        let (file, name) = (Arc::clone(file), name.clone());
        let (args, runtime) = (self.args.clone(), Arc::clone(&self.runtime));
        let cancel = self.cancel.clone();
        let terminal = Terminal::logging(runtime.log(), name.as_str());
        let loading = tokio::task::spawn_blocking(move || {
            let config = &file.config.apps[&name];
            let cache = runtime.code_cache(name.as_str());
            let found = file.app(config, &args, &cancel, &cache, &terminal)?;
            let made = Made {
                artifact: found.artifact.digest,
                base: found.base,
                terms: AppTerms {
                    ceilings: file.config.ceilings,
                    egress: match &config.private_addresses {
                        Some(own) => EgressRules::only_of_app(name.as_str(), own.clone()),
                        None => EgressRules::only(file.config.private_addresses.clone()),
                    },
                    memory: config.memory,
                    allow: config.allow.clone(),
                    is_bare: found.is_bare,
                },
            };
            if before.as_ref() == Some(&made) {
                return Ok(None);
            }
            activate(&runtime, &found.artifact, &name, &made.base, &made.terms)
                .map(|app| Some((app, made)))
                .map_err(|error| CliError::from_parts(&error, error.hint()))
        });
        loading.await.unwrap_or_else(|error| {
            let text = format!("loading ended unexpectedly: {error}");
            Err(CliError::new(text))
        })
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
    pub(super) async fn on_hangup(&mut self, hangup: &mut Signal) {
        while hangup.recv().await.is_some() {
            let log: &Log = self.runtime.log();
            log.message(Message::new(Level::Info, "reading the node file again"));
            match NodeFile::read(&self.args.node) {
                Ok(file) => {
                    self.tell_what_stays(&file.config);
                    self.load(file).await;
                }
                Err(error) => {
                    let aside = Some("the node goes on with what it had");
                    log.message(error.message("the node file cannot be read", aside));
                }
            }
        }
    }
}
