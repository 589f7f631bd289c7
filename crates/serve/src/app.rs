//! An app, live: which request goes where.

use std::sync::Arc;

use wharf_manifest::{Digest, RoutePattern};

use crate::component::LiveComponent;
use crate::files::Files;
use crate::metrics::ComponentMetrics;

/// An app whose components are linked and whose files are known.
#[derive(Debug)]
pub struct LiveApp {
    pub(crate) name: Arc<str>,
    pub(crate) digest: Digest,
    /// The most specific first: the first that matches is the one.
    pub(crate) routes: Vec<Route>,
    /// Of its files and of requests that no route matches.
    pub(crate) metrics: Arc<ComponentMetrics>,
    pub(crate) absence: Option<Absence>,
}

/// Why an app that a node knows does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absence {
    /// It is being built or loaded.
    Loading,
    /// It could not be loaded; the log says why.
    Failed,
}

/// Which paths, and where they lead.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) pattern: RoutePattern,
    /// The pattern as the manifest writes it.
    pub(crate) text: Arc<str>,
    pub(crate) target: Target,
}

/// Where a route leads.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    Component(Arc<LiveComponent>),
    Files(Files),
}

impl LiveApp {
    /// The artifact's digest: changes whenever anything of the app does.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The app's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// An app without routes.
    #[cfg(test)]
    pub(crate) fn empty(name: &str) -> LiveApp {
        let name: Arc<str> = name.into();
        LiveApp {
            digest: Digest::of(name.as_bytes()),
            routes: Vec::new(),
            metrics: crate::metrics::Metrics::new().component(&name, &"".into()),
            absence: None,
            name,
        }
    }

    /// The route that `path` takes.
    pub(crate) fn route(&self, path: &str) -> Option<&Route> {
        self.routes.iter().find(|route| route.pattern.matches(path))
    }
}
