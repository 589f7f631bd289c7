//! What a binary may ask for, told apart from what its language's runtime imports anyway.
//!
//! The rule, so that nobody has to guess at it:
//!
//! 1. Only what is *called* counts. A component that imports an interface for its types, or to
//!    drop its resources, has no authority by it. A function counts as called when it is taken
//!    out of the imported instance (and so lowered, or handed to a nested component).
//! 2. Files count as reached only with a function that needs an opened directory
//!    (`open-at`, `stat-at`, …) *and* with `get-directories`, the only way to get one.
//! 3. A function that a program which does nothing already calls (hello world by Rust's
//!    standard library, C with wasi-libc, or the WASI 0.1 adapter) is the *runtime's*: getting
//!    the standard streams, reading the environment, listing opened directories, seeding hashes.
//!    This holds only where such a runtime is inside, which `wasi:cli/exit` or a WASI 0.1
//!    import gives away; without one, every call is the program's own.
//! 4. An interpreter (CPython, a JavaScript engine) calls everything whatever its script does:
//!    there, all but HTTP is the runtime's, and a note says that the script cannot be seen.
//! 5. Everything else is *asked*.
//!
//! In doubt the answer errs towards *asked*, for nothing here grants or denies anything.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::Kind;
use super::scan::{ANY_FUNCTION, Scan, without_version};

/// The modules of WASI 0.1 and its predecessor.
pub(super) const P1_MODULES: [&str; 2] = ["wasi_snapshot_preview1", "wasi_unstable"];

/// The packages that make up WASI 0.2 and 0.3 themselves.
pub(super) const CORE_PACKAGES: [&str; 7] = [
    "cli",
    "clocks",
    "filesystem",
    "http",
    "io",
    "random",
    "sockets",
];

/// The packages that are drafts beside them, of which the host has an understanding.
const DRAFT_PACKAGES: [&str; 7] = [
    "blobstore",
    "config",
    "keyvalue",
    "logging",
    "messaging",
    "nn",
    "tls",
];

/// One kind of authority and how the binary stands to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Authority {
    /// Which.
    pub kind: AuthorityKind,
    /// Whether it is asked for.
    pub standing: Standing,
    /// The calls that say so, as `interface function`.
    pub calls: Vec<String>,
}

/// The kinds of authority, the ones that matter most first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum AuthorityKind {
    /// Requests to other servers.
    OutgoingHttp,
    /// Reading and writing files.
    Files,
    /// TCP, UDP and name look-ups.
    Sockets,
    /// TLS connections.
    Tls,
    /// A key-value store.
    KeyValue,
    /// A store of large objects.
    Blobs,
    /// Sending messages.
    Messaging,
    /// Running AI models.
    Models,
    /// Configuration values.
    Config,
    /// Structured logging.
    Logging,
    /// Environment variables.
    Environment,
    /// The time of day and timers.
    Clock,
    /// Random numbers.
    Random,
    /// Standard input, output and error.
    Streams,
}

impl AuthorityKind {
    /// The kinds that are always told, asked for or not.
    const ALWAYS: [Self; 7] = [
        Self::OutgoingHttp,
        Self::Files,
        Self::Sockets,
        Self::Environment,
        Self::Clock,
        Self::Random,
        Self::Streams,
    ];

    /// Its name in words, such as `outgoing HTTP`.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::OutgoingHttp => "outgoing HTTP",
            Self::Files => "files",
            Self::Sockets => "sockets",
            Self::Tls => "TLS",
            Self::KeyValue => "key-value store",
            Self::Blobs => "blob store",
            Self::Messaging => "messaging",
            Self::Models => "models",
            Self::Config => "configuration",
            Self::Logging => "logging",
            Self::Environment => "environment",
            Self::Clock => "clock",
            Self::Random => "random",
            Self::Streams => "stdin/stdout/stderr",
        }
    }

    /// Whether it reaches outside the sandbox, so that people want to read of its absence too.
    pub(super) fn reaches_out(self) -> bool {
        matches!(self, Self::OutgoingHttp | Self::Files | Self::Sockets)
    }
}

/// How a binary stands to a kind of authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// It cannot ask: nothing in it makes such a call.
    No,
    /// Only its language's runtime is seen to ask, as it does for every program.
    Runtime,
    /// It asks.
    Asked,
}

/// How much a single call says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weight {
    /// Programs that do nothing call it too.
    Startup,
    /// It matters only together with a way to get an opened directory.
    OnDirectory,
    /// The program's own.
    Own,
}

/// Finds the standing of every kind: those of [`AuthorityKind::ALWAYS`] and those imported.
pub(super) fn classify(scan: &Scan, interpreted: bool) -> Vec<Authority> {
    let edge = Edge::new(scan);
    let runtime_inside = interpreted || edge.runtime_inside();
    let mut found: BTreeMap<AuthorityKind, (Standing, Vec<String>)> = AuthorityKind::ALWAYS
        .iter()
        .map(|kind| (*kind, (Standing::No, Vec::new())))
        .collect();

    for (interface, functions) in edge.calls {
        for function in functions {
            let Some((kind, weight)) = authority_of(interface, function) else {
                continue;
            };
            let standing = match weight {
                Weight::OnDirectory if !edge.opens_directories => continue,
                _ if interpreted && kind != AuthorityKind::OutgoingHttp => Standing::Runtime,
                Weight::Startup if runtime_inside => Standing::Runtime,
                Weight::Startup if kind == AuthorityKind::Files => Standing::Runtime,
                Weight::Startup | Weight::OnDirectory | Weight::Own => Standing::Asked,
            };
            let (known, calls) = found.entry(kind).or_insert((Standing::No, Vec::new()));
            *known = (*known).max(standing);
            calls.push(format!("{interface} {function}"));
        }
    }
    found
        .into_iter()
        .map(|(kind, (standing, calls))| Authority {
            kind,
            standing,
            calls,
        })
        .collect()
}

/// The imports that no host of WASI answers, as `name` or `module name`, each once.
pub(super) fn other_imports(scan: &Scan) -> Vec<String> {
    let others: BTreeSet<String> = scan
        .imports
        .iter()
        .filter_map(|import| match &import.module {
            Some(module) => {
                let known = P1_MODULES.contains(&module.as_str())
                    && P1_FUNCTIONS.binary_search(&import.name.as_str()).is_ok();
                (!known).then(|| format!("{module} {}", import.name))
            }
            None => {
                let known = import.ty == "type" || is_answered(without_version(&import.name));
                (!known).then(|| import.name.clone())
            }
        })
        .collect();
    others.into_iter().collect()
}

/// Whether a host answers the interface: those of WASI, but for the ones that a program exports.
/// Importing one of these means to be composed with another component, as middleware is.
fn is_answered(interface: &str) -> bool {
    const EXPORTED: [&str; 3] = [
        "wasi:http/incoming-handler",
        "wasi:http/handler",
        "wasi:cli/run",
    ];
    let package = interface
        .strip_prefix("wasi:")
        .and_then(|rest| rest.split('/').next());
    let known = package.is_some_and(|package| {
        CORE_PACKAGES.contains(&package) || DRAFT_PACKAGES.contains(&package)
    });
    known && !EXPORTED.contains(&interface)
}

/// The interpreter that the producers of a component give away, by name.
pub(super) fn interpreter(producers: &BTreeMap<String, BTreeSet<String>>) -> Option<&'static str> {
    const TOOLS: [(&str, &str); 5] = [
        ("componentize-py", "CPython"),
        ("componentize-qjs", "QuickJS"),
        ("componentizejs", "StarlingMonkey"),
        ("componentize-js", "StarlingMonkey"),
        ("starlingmonkey", "StarlingMonkey"),
    ];
    let values: Vec<String> = producers
        .values()
        .flatten()
        .map(|value| value.to_lowercase())
        .collect();
    TOOLS
        .iter()
        .find(|(tool, _)| values.iter().any(|value| value.starts_with(tool)))
        .map(|(_, name)| *name)
}

/// The calls that cross the outer edge.
struct Edge<'a> {
    calls: Vec<(&'a str, &'a BTreeSet<String>)>,
    opens_directories: bool,
}

impl<'a> Edge<'a> {
    /// Calls of an interface that the outermost component does not import are answered inside,
    /// by another component of a composition.
    fn new(scan: &'a Scan) -> Self {
        let imported: BTreeSet<&str> = match scan.kind {
            Kind::Module => scan
                .imports
                .iter()
                .filter_map(|i| i.module.as_deref())
                .collect(),
            Kind::Component => scan
                .imports
                .iter()
                .map(|i| without_version(&i.name))
                .collect(),
        };
        let calls: Vec<_> = scan
            .calls
            .iter()
            .map(|(interface, functions)| (interface.as_str(), functions))
            .filter(|(interface, _)| imported.contains(interface))
            .collect();
        let opens_directories = scan.kind == Kind::Module
            || calls.iter().any(|(interface, functions)| {
                *interface == "wasi:filesystem/preopens" && !functions.is_empty()
            });
        Self {
            calls,
            opens_directories,
        }
    }

    fn runtime_inside(&self) -> bool {
        self.calls
            .iter()
            .any(|(interface, _)| *interface == "wasi:cli/exit" || P1_MODULES.contains(interface))
    }
}

fn authority_of(interface: &str, function: &str) -> Option<(AuthorityKind, Weight)> {
    if P1_MODULES.contains(&interface) {
        return p1_authority_of(function);
    }
    let (package, name) = interface.strip_prefix("wasi:")?.split_once('/')?;
    let any = function == ANY_FUNCTION;
    let (kind, weight) = match (package, name) {
        ("http", "outgoing-handler" | "client") => (AuthorityKind::OutgoingHttp, Weight::Own),
        ("filesystem", "preopens") => (AuthorityKind::Files, Weight::Startup),
        ("filesystem", "types") if any || needs_directory(function) => {
            (AuthorityKind::Files, Weight::OnDirectory)
        }
        ("sockets", _) if any || opens_socket(function) => (AuthorityKind::Sockets, Weight::Own),
        ("sockets", "instance-network") => (AuthorityKind::Sockets, Weight::Startup),
        ("cli", "environment") if matches!(function, "get-environment" | ANY_FUNCTION) => {
            (AuthorityKind::Environment, Weight::Startup)
        }
        ("clocks", "monotonic-clock" | "wall-clock" | "system-clock" | "timezone") => {
            (AuthorityKind::Clock, Weight::Own)
        }
        ("random", "insecure-seed") => (AuthorityKind::Random, Weight::Startup),
        ("random", _) => (AuthorityKind::Random, Weight::Own),
        ("cli", "stdin" | "stdout" | "stderr") => (AuthorityKind::Streams, Weight::Startup),
        ("tls", _) => (AuthorityKind::Tls, Weight::Own),
        ("keyvalue", _) => (AuthorityKind::KeyValue, Weight::Own),
        ("blobstore", _) => (AuthorityKind::Blobs, Weight::Own),
        ("messaging", _) => (AuthorityKind::Messaging, Weight::Own),
        ("nn", _) => (AuthorityKind::Models, Weight::Own),
        ("config", _) => (AuthorityKind::Config, Weight::Own),
        ("logging", _) => (AuthorityKind::Logging, Weight::Own),
        _ => return None,
    };
    Some((kind, weight))
}

/// Functions on a directory. Those on an open file need one of these first.
fn needs_directory(function: &str) -> bool {
    function.ends_with("-at") || function.ends_with(".read-directory")
}

/// Functions without which no socket and no address comes into being. In 0.2 they are functions
/// of their own, in 0.3 static ones of the resources.
fn opens_socket(function: &str) -> bool {
    matches!(
        function,
        "create-tcp-socket"
            | "create-udp-socket"
            | "resolve-addresses"
            | "[static]tcp-socket.create"
            | "[static]udp-socket.create"
            | "[constructor]tcp-socket"
            | "[constructor]udp-socket"
    )
}

fn p1_authority_of(function: &str) -> Option<(AuthorityKind, Weight)> {
    let found = match function {
        "fd_prestat_get" | "fd_prestat_dir_name" => (AuthorityKind::Files, Weight::Startup),
        "fd_readdir" => (AuthorityKind::Files, Weight::Own),
        _ if function.starts_with("path_") => (AuthorityKind::Files, Weight::Own),
        _ if function.starts_with("sock_") => (AuthorityKind::Sockets, Weight::Own),
        "environ_get" | "environ_sizes_get" => (AuthorityKind::Environment, Weight::Startup),
        "clock_time_get" | "clock_res_get" | "poll_oneoff" => (AuthorityKind::Clock, Weight::Own),
        "random_get" => (AuthorityKind::Random, Weight::Own),
        "fd_read" | "fd_write" | "fd_fdstat_get" => (AuthorityKind::Streams, Weight::Startup),

        _ => return None,
    };
    Some(found)
}

/// All functions of WASI 0.1, sorted.
const P1_FUNCTIONS: [&str; 46] = [
    "args_get",
    "args_sizes_get",
    "clock_res_get",
    "clock_time_get",
    "environ_get",
    "environ_sizes_get",
    "fd_advise",
    "fd_allocate",
    "fd_close",
    "fd_datasync",
    "fd_fdstat_get",
    "fd_fdstat_set_flags",
    "fd_fdstat_set_rights",
    "fd_filestat_get",
    "fd_filestat_set_size",
    "fd_filestat_set_times",
    "fd_pread",
    "fd_prestat_dir_name",
    "fd_prestat_get",
    "fd_pwrite",
    "fd_read",
    "fd_readdir",
    "fd_renumber",
    "fd_seek",
    "fd_sync",
    "fd_tell",
    "fd_write",
    "path_create_directory",
    "path_filestat_get",
    "path_filestat_set_times",
    "path_link",
    "path_open",
    "path_readlink",
    "path_remove_directory",
    "path_rename",
    "path_symlink",
    "path_unlink_file",
    "poll_oneoff",
    "proc_exit",
    "proc_raise",
    "random_get",
    "sched_yield",
    "sock_accept",
    "sock_recv",
    "sock_send",
    "sock_shutdown",
];
