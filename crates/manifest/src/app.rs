//! An app: components, what makes them run, and what they may do.

use std::collections::BTreeMap;

use semver::Version;
use serde::{Deserialize, Serialize};

use crate::grant::Grants;
use crate::limits::Limits;
use crate::name::{AppName, ComponentName};
use crate::path::AppPath;
use crate::route::{RoutePattern, normalise};

/// Most components in an app.
pub const COMPONENT_COUNT_MAX: usize = 256;

/// Most HTTP routes in an app.
pub const ROUTE_COUNT_MAX: usize = 1_000;

/// What one `wharf.toml` describes.
///
/// From [`parse_app`](crate::parse_app) and [`App::from_canonical_json`] it always holds that
/// every trigger names a component of the app and that no two routes are equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    /// The app's name.
    pub name: AppName,
    /// The app's version.
    pub version: Version,
    /// One line on what the app does.
    pub description: Option<String>,
    /// The components by name, at most [`COMPONENT_COUNT_MAX`].
    pub components: BTreeMap<ComponentName, Component>,
    /// What makes the components run.
    pub triggers: Triggers,
}

impl App {
    /// The route that answers `path`, the path of a request without its query: of those that
    /// match, the longest, an exact one before a prefix.
    ///
    /// Looks at every route; a server with many keeps an index of its own.
    pub fn route(&self, path: &str) -> Option<&HttpTrigger> {
        let path = normalise(path);
        self.triggers
            .http
            .iter()
            .filter(|trigger| trigger.route.matches_normalised(&path))
            .max_by_key(|trigger| trigger.route.specificity())
    }
}

/// One component of an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Component {
    /// What it is built from.
    pub source: Source,
    /// How it is built.
    pub build: BuildOptions,
    /// What it asks for.
    pub grants: Grants,
    /// What it may use up.
    pub limits: Limits,
    /// Which requests share an instance.
    pub isolation: Isolation,
    /// Whether a WASI 0.2 instance serves one request after another instead of one alone.
    /// Default no.
    pub reuse: bool,
}

impl Component {
    /// A component from `source` with nothing granted and the default limits.
    pub fn new(source: Source) -> Self {
        Self {
            source,
            build: BuildOptions::default(),
            grants: Grants::default(),
            limits: Limits::default(),
            isolation: Isolation::default(),
            reuse: false,
        }
    }
}

/// What a component is built from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// A folder (its language is detected), or a `.wasm` or `.wat` file.
    Path(AppPath),
}

/// How a component is built from a folder; a ready `.wasm` takes [`BuildOptions::optimize`] only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BuildOptions {
    /// Build without the WASI imports of the language's standard library. Default no.
    pub pure: bool,
    /// Run wasm-opt on the result where it is found. Default yes.
    pub optimize: bool,
    /// Cargo features to switch on.
    pub features: Vec<String>,
    /// Folders and files besides the source whose change asks for a rebuild.
    pub watch: Vec<AppPath>,
}

impl Default for BuildOptions {
    fn default() -> Self {
        Self {
            pure: false,
            optimize: true,
            features: Vec::new(),
            watch: Vec::new(),
        }
    }
}

/// Which requests share an instance of a WASI 0.3 component.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// Many requests share one instance and its limits.
    #[default]
    Shared,
    /// Every request has an instance, limits and cancellation of its own.
    Request,
}

/// What makes the components of an app run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Triggers {
    /// Routes in the order of the manifest, at most [`ROUTE_COUNT_MAX`], no two equal.
    pub http: Vec<HttpTrigger>,
    /// What `wharf run` of the app starts.
    pub command: Option<CommandTrigger>,
}

/// Requests for these paths go there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpTrigger {
    /// Which paths.
    pub route: RoutePattern,
    /// Where to.
    pub target: HttpTarget,
}

/// What answers the requests of a route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HttpTarget {
    /// A component of the app, by its `wasi:http` export.
    Component(ComponentName),
    /// Files of the app.
    Files(FilesTarget),
}

/// A folder of files served as they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilesTarget {
    /// The folder; the rest of the path below the route is looked up in it.
    pub dir: AppPath,
    /// The file below [`FilesTarget::dir`] that is sent with status 200 for an unknown path that
    /// a browser navigates to, as single-page apps need. Normalised as an [`AppPath`] is.
    pub fallback: Option<String>,
    /// The `Cache-Control` value of all the files.
    pub cache: Option<String>,
}

/// The component that runs as a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandTrigger {
    /// A component of the app, by its `wasi:cli/run` export.
    pub component: ComponentName,
}
