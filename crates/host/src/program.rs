//! A component, linked and ready to be instantiated.

use wasmtime::component::InstancePre;
use wasmtime_wasi::p2::bindings::CommandPre as P2CommandPre;
use wasmtime_wasi::p3::bindings::CommandPre as P3CommandPre;
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p3::bindings::ServicePre;

use crate::state::InstanceState;

/// What a component is, by what it exports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProgramKind {
    /// `wasi:http/incoming-handler` of WASI 0.2.
    HttpP2,
    /// `wasi:http/handler` of WASI 0.3.
    HttpP3,
    /// `wasi:cli/run` of WASI 0.2.
    CommandP2,
    /// `wasi:cli/run` of WASI 0.3.
    CommandP3,
    /// Anything else: called by name.
    Library,
}

/// How a component answers HTTP.
#[derive(Clone)]
pub enum HttpHandler {
    /// WASI 0.2: a request an instance.
    P2(ProxyPre<InstanceState>),
    /// WASI 0.3: many requests an instance.
    P3(ServicePre<InstanceState>),
}

impl std::fmt::Debug for HttpHandler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            HttpHandler::P2(_) => "HttpHandler::P2",
            HttpHandler::P3(_) => "HttpHandler::P3",
        })
    }
}

/// A linked component.
#[derive(Clone)]
pub struct Program {
    pre: InstancePre<InstanceState>,
    imports_p2: bool,
}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Program")
            .field("kind", &self.kind())
            .field("imports_p2", &self.imports_p2)
            .finish()
    }
}

impl Program {
    pub(crate) fn new(pre: InstancePre<InstanceState>) -> Program {
        let component = pre.component();
        let imports_p2 = component
            .component_type()
            .imports(component.engine())
            .any(|(name, _)| name.contains("@0.2."));
        Program { pre, imports_p2 }
    }

    /// Whether it imports any interface of WASI 0.2, whose calls stall all tasks of a store.
    pub fn imports_p2(&self) -> bool {
        self.imports_p2
    }

    /// What it is. One that answers HTTP and also runs counts as HTTP.
    pub fn kind(&self) -> ProgramKind {
        match self.http() {
            Some(HttpHandler::P3(_)) => ProgramKind::HttpP3,
            Some(HttpHandler::P2(_)) => ProgramKind::HttpP2,
            None if self.command_p3().is_some() => ProgramKind::CommandP3,
            None if self.command_p2().is_some() => ProgramKind::CommandP2,
            None => ProgramKind::Library,
        }
    }

    /// Its HTTP handler; 0.3 before 0.2 where it has both.
    pub fn http(&self) -> Option<HttpHandler> {
        if let Ok(pre) = ServicePre::new(self.pre.clone()) {
            return Some(HttpHandler::P3(pre));
        }
        ProxyPre::new(self.pre.clone()).ok().map(HttpHandler::P2)
    }

    pub(crate) fn command_p3(&self) -> Option<P3CommandPre<InstanceState>> {
        P3CommandPre::new(self.pre.clone()).ok()
    }

    pub(crate) fn command_p2(&self) -> Option<P2CommandPre<InstanceState>> {
        P2CommandPre::new(self.pre.clone()).ok()
    }

    pub(crate) fn pre(&self) -> &InstancePre<InstanceState> {
        &self.pre
    }
}
