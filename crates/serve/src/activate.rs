//! From an artifact to a live app: load native code, link, open what is granted.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use http::HeaderValue;
use wharf_artifact::AppArtifact;
use wharf_engine::{
    Budget, CacheError, CodeCache, Compiler, Engine, EngineError, EngineOptions, Footprint,
    PoolSize, SlowLane,
};
use wharf_host::{
    Authority, AuthorityError, Denial, Denials, Egress, EgressRules, Host, LinkError,
};
use wharf_manifest::{
    Allowance, AppName, ByteSize, Ceilings, Component, ComponentName, Digest, Grants, HttpTarget,
    Limits, Lowered, Withheld,
};

use crate::admission::{self, Admission};
use crate::app::{Absence, LiveApp, Route, Target};
use crate::component::{Advice, Blueprint, LiveComponent, shared_name};
use crate::files::{BlobCache, BlobCacheOptions, Files, FilesOptions};
use crate::log::{Level, Log, LogLimitMet, Message};
use crate::metrics::{ComponentMetrics, Metrics};

/// Settings of a [`Runtime`].
#[derive(Debug)]
pub struct RuntimeOptions {
    /// Where native code is kept.
    pub cache: CodeCache,
    /// How Wasm is compiled that the cache does not have.
    pub compiler: Compiler,
    /// Ceiling on the memory of all instances together.
    pub memory: ByteSize,
    /// Ceiling on the descriptors of all guests together: files, sockets and connections.
    pub descriptors: u64,
    /// Where requests and guests' output are logged.
    pub log: Log,
    /// Where all is counted.
    pub metrics: Metrics,
    /// Where the node answers its operator: no guest is let there, whatever is granted.
    pub admin: Option<SocketAddr>,
}

/// What all apps of a node share: the engine, the pools, the log. Blocks nowhere.
#[derive(Debug)]
pub struct Runtime {
    host: Host,
    cache: CodeCache,
    compiler: Compiler,
    egress: Egress,
    lane: SlowLane,
    memory: Arc<Budget>,
    /// Instances of the engine's pool.
    instances: Arc<Budget>,
    descriptors: Arc<Budget>,
    /// What each app has of them, also the versions of it that still finish requests.
    apps: Mutex<BTreeMap<Arc<str>, AppBudgets>>,
    blobs: BlobCache,
    log: Log,
    metrics: Metrics,
}

/// What one app has of what the node's apps share.
#[derive(Debug, Clone)]
pub(crate) struct AppBudgets {
    pub(crate) memory: Arc<Budget>,
    pub(crate) instances: Arc<Budget>,
    descriptors: Arc<Budget>,
    lane: SlowLane,
    egress: Egress,
    /// By component.
    doors: Arc<Mutex<BTreeMap<Arc<str>, Arc<Admission>>>>,
}

impl AppBudgets {
    /// The door of a component, with `limits` if nobody has entered it before.
    pub(crate) fn door(&self, component: &Arc<str>, limits: admission::Limits) -> Arc<Admission> {
        let mut doors = self.doors.lock().unwrap_or_else(PoisonError::into_inner);
        let door = doors.entry(Arc::clone(component));
        Arc::clone(door.or_insert_with(|| Arc::new(Admission::new(limits))))
    }
}

/// What an operator decides for an app.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AppTerms {
    /// What the limits of its components are lowered to.
    pub ceilings: Ceilings,
    /// Which addresses its components may reach, if its manifest asks for them. Default those of
    /// the public network.
    pub egress: EgressRules,
    /// Ceiling on the memory of all its instances together, below the node's. Default none.
    pub memory: Option<ByteSize>,
    /// What its components may be granted of what its manifest asks. Default all.
    pub allow: Allowance,
    /// It is a `.wasm` file by itself and has no manifest, which hints then do not speak of.
    /// Default false.
    pub is_bare: bool,
}

/// An app cannot be made live.
#[derive(Debug, thiserror::Error)]
pub enum ActivateError {
    /// Its native code cannot be loaded or made.
    #[error("component `{component}`: {source}")]
    Code {
        /// The component.
        component: ComponentName,
        /// Why.
        source: CacheError,
    },
    /// It imports what nobody provides.
    #[error("component `{component}`: {source}")]
    Link {
        /// The component.
        component: ComponentName,
        /// Why.
        source: LinkError,
    },
    /// A grant cannot be given.
    #[error("component `{component}`: {source}")]
    Grant {
        /// The component.
        component: ComponentName,
        /// Why.
        source: AuthorityError,
    },
    /// A route leads to a component that does not answer HTTP.
    #[error("component `{component}` has an HTTP route, but exports no `wasi:http` handler")]
    NoHandler {
        /// The component.
        component: ComponentName,
    },
    /// The artifact lacks something that its manifest names.
    #[error("the artifact has no {what}")]
    Incomplete {
        /// What is missing.
        what: String,
    },
}

impl ActivateError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            ActivateError::Code { source, .. } => source.hint(),
            ActivateError::Link { source, .. } => Some(source.hint()),
            ActivateError::Grant { source, .. } => Some(source.hint().to_owned()),
            ActivateError::NoHandler { .. } => {
                Some("`wharf inspect` shows what it exports".to_owned())
            }
            ActivateError::Incomplete { .. } => Some("build the app again".to_owned()),
        }
    }
}

impl Runtime {
    /// Sets the engine and the pools up.
    ///
    /// # Errors
    /// When the machine does not give what the engine's pool needs.
    pub fn new(options: RuntimeOptions) -> Result<Runtime, EngineError> {
        // A sixth of what guests may have, which is not counted among that.
        let pool = PoolSize::keeping(ByteSize(options.memory.0 / 6));
        let engine = Engine::new(EngineOptions {
            pool: Some(pool),
            ..EngineOptions::serve()
        })?;
        let memory = Budget::of_node(options.memory.0);
        options.metrics.watch_engine(&engine);
        options.metrics.watch_memory("", &memory);
        // The terms of an app have the rules.
        let mut egress = Egress::new(EgressRules::default());
        if let Some(admin) = options.admin {
            egress = egress.closed_at(admin);
        }
        let descriptors = Budget::of_node(options.descriptors);
        options.metrics.watch_descriptors("", &descriptors);
        Ok(Runtime {
            host: Host::new(engine).map_err(EngineError::Wasmtime)?,
            cache: options.cache,
            compiler: options.compiler,
            egress,
            lane: SlowLane::for_this_machine(),
            memory,
            instances: Budget::of_node(u64::from(pool.instances)),
            descriptors,
            apps: Mutex::default(),
            blobs: BlobCache::new(BlobCacheOptions::default()),
            log: options.log,
            metrics: options.metrics,
        })
    }

    /// The log.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The cache of native code, for `app`: what is compiled for it is counted as its own.
    pub fn code_cache(&self, app: &str) -> CodeCache {
        self.cache.counted_in(&self.metrics.code(app))
    }

    /// A stand-in for the app `name`, which answers 503: the names of an app that is not there
    /// are no other app's.
    pub fn absent(&self, name: &AppName, absence: Absence) -> LiveApp {
        let app_name: Arc<str> = name.as_str().into();
        LiveApp {
            digest: Digest::of(app_name.as_bytes()),
            routes: Vec::new(),
            metrics: self.metrics.component(&app_name, &"".into()),
            absence: Some(absence),
            name: app_name,
        }
    }

    /// What `app` has, with the limit on memory that holds for it now.
    fn budgets(&self, app: &Arc<str>, memory: Option<ByteSize>) -> AppBudgets {
        let memory = memory.map(|limit| limit.0);
        let mut apps = self.apps.lock().unwrap_or_else(PoisonError::into_inner);
        let budgets = apps.entry(Arc::clone(app)).or_insert_with(|| {
            let budgets = AppBudgets {
                memory: Budget::of_app(app, memory, &self.memory),
                instances: Budget::of_app(app, None, &self.instances),
                descriptors: Budget::of_app(app, None, &self.descriptors),
                lane: self.lane.for_app(),
                egress: self.egress.of_app(),
                doors: Arc::default(),
            };
            self.metrics.watch_memory(app, &budgets.memory);
            self.metrics.watch_descriptors(app, &budgets.descriptors);
            budgets
        });
        budgets.memory.set_limit(memory);
        budgets.clone()
    }
}

/// Makes `artifact` live. Blocks: native code is read, and compiled if the cache lacks it.
///
/// Granted folders lie below `base`, the app's folder. It is known as `name` in the log and in
/// metrics.
///
/// # Errors
/// See [`ActivateError`].
pub fn activate(
    runtime: &Runtime,
    artifact: &AppArtifact,
    name: &AppName,
    base: &Path,
    terms: &AppTerms,
) -> Result<LiveApp, ActivateError> {
    let app_name: Arc<str> = name.as_str().into();
    let activation = Activation {
        runtime,
        artifact,
        app_name: &app_name,
        base,
        terms,
        budgets: runtime.budgets(&app_name, terms.memory),
    };
    let mut components = BTreeMap::new();
    let mut routes = Vec::new();
    for trigger in &artifact.app.triggers.http {
        let target = match &trigger.target {
            HttpTarget::Component(name) => {
                let component = match components.get(name) {
                    Some(component) => Arc::clone(component),
                    None => {
                        let component = Arc::new(activation.component(name)?);
                        components.insert(name.clone(), Arc::clone(&component));
                        component
                    }
                };
                Target::Component(component)
            }
            HttpTarget::Files(files) => {
                let tree = artifact.files.get(&files.dir).cloned().ok_or_else(|| {
                    ActivateError::Incomplete {
                        what: format!("files of {}", files.dir),
                    }
                })?;
                let options = FilesOptions {
                    mount: mount(&trigger.route),
                    fallback: files.fallback.clone(),
                    cache_control: files
                        .cache
                        .as_deref()
                        .and_then(|value| HeaderValue::try_from(value).ok()),
                    modified: Some(SystemTime::now()),
                };
                Target::Files(Files::new(tree, options, runtime.blobs.clone()))
            }
        };
        routes.push(Route {
            pattern: trigger.route.clone(),
            text: trigger.route.to_string().into(),
            target,
        });
    }
    for component in components.values() {
        component.takes_over();
    }
    routes.sort_by_key(|route| std::cmp::Reverse(route.pattern.specificity()));
    Ok(LiveApp {
        metrics: runtime.metrics.component(&app_name, &"".into()),
        absence: None,
        name: app_name,
        digest: artifact.digest,
        routes,
    })
}

/// The part of a route that is taken off a path before a file is looked up.
fn mount(route: &wharf_manifest::RoutePattern) -> String {
    let base = route.base().trim_end_matches('/');
    if route.is_prefix() {
        base.to_owned()
    } else {
        base.rsplit_once('/')
            .map_or("", |(folder, _)| folder)
            .to_owned()
    }
}

/// What the components of an app have in common while it is made live.
struct Activation<'a> {
    runtime: &'a Runtime,
    artifact: &'a AppArtifact,
    app_name: &'a Arc<str>,
    base: &'a Path,
    terms: &'a AppTerms,
    budgets: AppBudgets,
}

impl Activation<'_> {
    fn component(&self, name: &ComponentName) -> Result<LiveComponent, ActivateError> {
        let runtime = self.runtime;
        let (Some(component), Some(blob)) = (
            self.artifact.app.components.get(name),
            self.artifact.components.get(name),
        ) else {
            return Err(ActivateError::Incomplete {
                what: format!("component `{name}`"),
            });
        };
        let no_code = |source| ActivateError::Code {
            component: name.clone(),
            source,
        };
        let wasm =
            std::fs::read(&blob.path).map_err(|source| no_code(CacheError::Source(source)))?;
        let code = runtime
            .code_cache(self.app_name)
            .component(
                runtime.host.engine(),
                &runtime.compiler,
                &blob.digest,
                || Ok(&wasm),
            )
            .map_err(no_code)?;
        let footprint = Footprint::of(&code, &wasm);
        drop(wasm);
        // A later request then maps memory instead of copying it. Not every image can; that is no
        // error.
        let _ = code.initialize_copy_on_write_image();
        let program = runtime
            .host
            .link(&code)
            .map_err(|source| ActivateError::Link {
                component: name.clone(),
                source,
            })?;
        let shared = shared_name(name);
        let metrics = runtime.metrics.component(self.app_name, &shared);
        let limits = self.limits(component, &shared);
        let (grants, withheld) = self.grants(component, &shared);
        let advice = Arc::new(Advice::new(
            self.app_name,
            self.terms.is_bare,
            &self.terms.ceilings,
            &limits,
            &withheld,
        ));
        let denials = denials(
            runtime.log.clone(),
            Arc::clone(self.app_name),
            Arc::clone(&shared),
            Arc::clone(&metrics),
            Arc::clone(&advice),
        );
        let authority = Authority::new(
            &grants,
            self.base,
            limits.outgoing,
            &self.budgets.egress.under(self.terms.egress.clone()),
            Some(Arc::clone(&self.budgets.descriptors)),
            denials,
        )
        .map_err(|source| ActivateError::Grant {
            component: name.clone(),
            source,
        })?;
        let blueprint = Blueprint {
            app: Arc::clone(self.app_name),
            name: shared,
            engine: runtime.host.engine().clone(),
            authority,
            limits,
            log_met: LogLimitMet {
                hint: advice.limit("log").map(Into::into),
                metrics: Arc::clone(&metrics),
            },
            advice,
            lane: self.budgets.lane.for_component(),
            budgets: self.budgets.clone(),
            footprint,
            log: runtime.log.clone(),
            metrics,
        };
        LiveComponent::new(blueprint, &program, component.isolation, component.reuse).ok_or_else(
            || ActivateError::NoHandler {
                component: name.clone(),
            },
        )
    }

    /// The grants that hold. What is less than the manifest asks is told.
    fn grants(&self, component: &Component, name: &str) -> (Grants, Vec<Withheld>) {
        let mut grants = component.grants.clone();
        let withheld = self.terms.allow.narrow(&mut grants);
        for withheld in &withheld {
            let Withheld { key, asked, given } = withheld;
            let given = match &given[..] {
                [] => "nothing".to_owned(),
                given => given.join(", "),
            };
            self.runtime.log.message(
                Message::new(Level::Warn, "the node grants less than the manifest asks")
                    .about(self.app_name)
                    .with("component", name)
                    .with("grant", *key)
                    .with("asked", asked.as_str())
                    .with("given", given)
                    .with(
                        "hint",
                        format!("`app.{}.allow.{key}` in the node file", self.app_name),
                    ),
            );
        }
        (grants, withheld)
    }

    /// The limits that hold. What is less than the manifest asks is told.
    fn limits(&self, component: &Component, name: &str) -> Limits {
        let mut limits = component.limits.clone();
        for lowered in self.terms.ceilings.lower(&mut limits) {
            let Lowered {
                key,
                asked,
                ceiling,
            } = lowered;
            self.runtime.log.message(
                Message::new(Level::Warn, "the node gives less than the manifest asks")
                    .about(self.app_name)
                    .with("component", name)
                    .with("limit", key)
                    .with("asked", asked)
                    .with("given", ceiling)
                    .with("hint", format!("`ceilings.{key}` in the node file")),
            );
        }
        limits
    }
}

fn denials(
    log: Log,
    app: Arc<str>,
    component: Arc<str>,
    metrics: Arc<ComponentMetrics>,
    advice: Arc<Advice>,
) -> Denials {
    let count = move |denial: &Denial| match denial.limit() {
        Some(limit) => metrics.limit_met(limit),
        None => metrics.denied(),
    };
    Denials::counted(count, move |denial| {
        if denial.asked_only {
            return;
        }
        let message = Message::new(Level::Warn, denial.to_string())
            .about(&app)
            .with("component", &*component);
        log.message(match advice.on_denial(denial, &component) {
            Some(hint) => message.with("hint", hint),
            None => message,
        });
    })
}
