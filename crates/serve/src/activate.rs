//! From an artifact to a live app: load native code, link, open what is granted.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use http::HeaderValue;
use wharf_artifact::AppArtifact;
use wharf_engine::{
    CacheError, CodeCache, Compiler, Engine, EngineError, EngineOptions, MemoryBudget, SlowLane,
};
use wharf_host::{Authority, AuthorityError, Denials, Host, HttpClient, LinkError};
use wharf_manifest::{ByteSize, ComponentName, HttpTarget};

use crate::app::{LiveApp, Target};
use crate::component::{Blueprint, LiveComponent, shared_name};
use crate::files::{BlobCache, BlobCacheOptions, Files, FilesOptions};
use crate::log::{Level, Log, Message};

/// Settings of a [`Runtime`].
#[derive(Debug)]
pub struct RuntimeOptions {
    /// Where native code is kept.
    pub cache: CodeCache,
    /// How Wasm is compiled that the cache does not have.
    pub compiler: Compiler,
    /// Ceiling on the memory of all instances together.
    pub memory: ByteSize,
    /// Where requests and guests' output are logged.
    pub log: Log,
}

/// What all apps of a node share: the engine, the pools, the log. Blocks nowhere.
#[derive(Debug)]
pub struct Runtime {
    host: Host,
    cache: CodeCache,
    compiler: Compiler,
    client: HttpClient,
    lane: SlowLane,
    memory: Arc<MemoryBudget>,
    blobs: BlobCache,
    log: Log,
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
        let engine = Engine::new(EngineOptions::serve())?;
        Ok(Runtime {
            host: Host::new(engine).map_err(EngineError::Wasmtime)?,
            cache: options.cache,
            compiler: options.compiler,
            client: HttpClient::new(),
            lane: SlowLane::for_this_machine(),
            memory: MemoryBudget::new("node", options.memory),
            blobs: BlobCache::new(BlobCacheOptions::default()),
            log: options.log,
        })
    }

    /// The log.
    pub fn log(&self) -> &Log {
        &self.log
    }
}

/// Makes `artifact` live. Blocks: native code is read, and compiled if the cache lacks it.
///
/// Granted folders lie below `base`, the app's folder.
///
/// # Errors
/// See [`ActivateError`].
pub fn activate(
    runtime: &Runtime,
    artifact: &AppArtifact,
    base: PathBuf,
) -> Result<LiveApp, ActivateError> {
    let app_name: Arc<str> = artifact.app.name.as_str().into();
    let mut components = BTreeMap::new();
    let mut routes = Vec::new();
    for trigger in &artifact.app.triggers.http {
        let target = match &trigger.target {
            HttpTarget::Component(name) => {
                let component = match components.get(name) {
                    Some(component) => Arc::clone(component),
                    None => {
                        let component =
                            Arc::new(live_component(runtime, artifact, &app_name, name, &base)?);
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
        routes.push((trigger.route.clone(), target));
    }
    routes.sort_by_key(|(route, _)| std::cmp::Reverse(route.specificity()));
    Ok(LiveApp {
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

fn live_component(
    runtime: &Runtime,
    artifact: &AppArtifact,
    app_name: &Arc<str>,
    name: &ComponentName,
    base: &std::path::Path,
) -> Result<LiveComponent, ActivateError> {
    let (Some(component), Some(blob)) = (
        artifact.app.components.get(name),
        artifact.components.get(name),
    ) else {
        return Err(ActivateError::Incomplete {
            what: format!("component `{name}`"),
        });
    };
    let code = runtime
        .cache
        .component(
            runtime.host.engine(),
            &runtime.compiler,
            &blob.digest,
            || std::fs::read(&blob.path),
        )
        .map_err(|source| ActivateError::Code {
            component: name.clone(),
            source,
        })?;
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
    let denials = denials(
        runtime.log.clone(),
        Arc::clone(app_name),
        Arc::clone(&shared),
    );
    let authority = Authority::new(
        &component.grants,
        base,
        component.limits.outgoing,
        runtime.client.clone(),
        denials,
    )
    .map_err(|source| ActivateError::Grant {
        component: name.clone(),
        source,
    })?;
    let blueprint = Blueprint {
        app: Arc::clone(app_name),
        name: shared,
        engine: runtime.host.engine().clone(),
        authority,
        limits: component.limits.clone(),
        lane: runtime.lane.clone(),
        memory: vec![Arc::clone(&runtime.memory)],
        log: runtime.log.clone(),
    };
    LiveComponent::new(blueprint, &program, component.isolation, component.reuse).ok_or_else(|| {
        ActivateError::NoHandler {
            component: name.clone(),
        }
    })
}

fn denials(log: Log, app: Arc<str>, component: Arc<str>) -> Denials {
    Denials::new(move |denial| {
        if denial.asked_only {
            return;
        }
        log.message(
            Message::new(Level::Warn, denial.to_string())
                .with("app", &*app)
                .with("component", &*component)
                .with(
                    "hint",
                    format!(
                        "grant it under [component.{component}.grants]: {}",
                        denial.manifest_line
                    ),
                ),
        );
    })
}
