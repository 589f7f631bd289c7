//! The hostile routes, and how each is asked.

use crate::server::Server;

/// A way to do harm.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Route {
    pub(crate) name: &'static str,
    /// What comes after the name in the request's target.
    query: &'static str,
    kind: Kind,
    pub(crate) clients: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Spends processor time: measured again with the limit raised.
    Cpu,
    /// Takes memory: measured under a ceiling of the kernel.
    Memory,
    /// Sends a body that nobody reads.
    Upload,
    /// Asks an address that never answers.
    Outgoing,
    Other,
}

const fn route(name: &'static str, kind: Kind) -> Route {
    Route {
        name,
        query: "",
        kind,
        clients: HOSTILE_CLIENTS,
    }
}

/// Hostile clients at once, where nothing else is said.
pub(crate) const HOSTILE_CLIENTS: usize = 4;

pub(crate) const ROUTES: &[Route] = &[
    route("spin", Kind::Cpu),
    Route {
        name: "work",
        query: "?8",
        kind: Kind::Other,
        clients: 100,
    },
    Route {
        name: "tick",
        query: "?1",
        kind: Kind::Other,
        clients: 300,
    },
    route("clock", Kind::Cpu),
    route("yield", Kind::Cpu),
    route("fill", Kind::Cpu),
    route("random", Kind::Cpu),
    route("memory", Kind::Memory),
    route("grow", Kind::Memory),
    Route {
        name: "hoard",
        query: "?60",
        kind: Kind::Memory,
        clients: 64,
    },
    route("recurse", Kind::Other),
    route("panic", Kind::Other),
    route("trap", Kind::Other),
    route("exit", Kind::Other),
    route("headers", Kind::Other),
    route("body", Kind::Other),
    route("drip", Kind::Other),
    route("unfinished", Kind::Other),
    route("noread", Kind::Upload),
    route("sleep", Kind::Other),
    route("stdout", Kind::Other),
    route("line", Kind::Other),
    route("handles", Kind::Other),
    route("tasks", Kind::Other),
    route("timers", Kind::Other),
    route("outgoing", Kind::Outgoing),
];

impl Route {
    pub(crate) fn spends_cpu(&self) -> bool {
        self.kind == Kind::Cpu
    }

    pub(crate) fn takes_memory(&self) -> bool {
        self.kind == Kind::Memory
    }

    /// The request of a hostile client of `server`; `silent` is an address that never answers.
    pub(crate) fn request(&self, server: &Server, silent: &str) -> Vec<u8> {
        let Route { name, query, .. } = self;
        let host = server.addr;
        match self.kind {
            Kind::Upload => {
                let mut request = format!(
                    "POST /{name} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1073741824\r\n\r\n"
                )
                .into_bytes();
                // What the kernel's buffers and the host's take.
                request.resize(request.len() + (256 << 10), b'x');
                request
            }
            Kind::Outgoing => {
                format!("GET /{name}?{silent} HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes()
            }
            _ => format!("GET /{name}{query} HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes(),
        }
    }
}
