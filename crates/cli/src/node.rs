//! What `wharf up` and `wharf serve` have in common: a node in this process.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::task::JoinHandle;
use wharf_manifest::ByteSize;
use wharf_serve::log::{Level, Log, LogOptions, Message};
use wharf_serve::{Admin, Metrics, Node, Runtime, RuntimeOptions, ServeError, Server, Telemetry};

use crate::error::{self, CliError};
use crate::progress::LogSink;
use crate::{memory, paths};

/// How long the log may take to write what is left when the server ends.
const LOG_FLUSH: Duration = Duration::from_secs(2);
/// How long a collector may take to be given what is left.
const EXPORT_FLUSH: Duration = Duration::from_secs(3);

/// Worker threads beside one for each core. A guest that is not known yet may hold one for as long
/// as a single instruction takes that fills all its memory; the kernel then shares the cores out.
const SPARE_WORKERS: usize = 4;
/// Threads for what blocks: files, and guests that compute much. The second must never wait for
/// the first, of which a disk that hangs makes as many as there are requests.
const BLOCKING_THREADS_MAX: usize = 4096;

/// What connections and guests run on.
pub(crate) fn async_runtime() -> Result<tokio::runtime::Runtime, CliError> {
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores + SPARE_WORKERS)
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .enable_all()
        .build()
        .map_err(|error| CliError::new(format!("cannot start the async runtime: {error}")))
}

/// Descriptors that are for neither clients nor guests: code, files that are served, children,
/// the operator.
const DESCRIPTORS_KEPT: u64 = 256;
/// As many as guests have at most: nobody said that they need more.
const DESCRIPTORS_OF_GUESTS_MAX: u64 = 65_536;

/// How the descriptors of this process are divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Descriptors {
    /// Connections of clients at once.
    pub(crate) connections: usize,
    /// Files, sockets and connections of all guests at once.
    pub(crate) guests: u64,
}

/// Raises the number of descriptors to what the system allows, and divides them: `connections` is
/// lowered to what fits beside those of guests, and to what there is memory for.
pub(crate) fn divide_descriptors(connections: usize) -> Descriptors {
    let connections = connections.min(memory::connections_max());
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        };
        if setrlimit(Resource::Nofile, raised).is_ok() {
            limit = raised;
        }
    }
    divided(limit.current.unwrap_or(u64::MAX), connections)
}

/// A quarter of what is not kept is for guests, and what they cannot use is for clients.
fn divided(descriptors: u64, connections: usize) -> Descriptors {
    let fit = descriptors
        .saturating_sub(DESCRIPTORS_KEPT)
        .max(descriptors / 2);
    let guests = (fit / 4).min(DESCRIPTORS_OF_GUESTS_MAX);
    let clients = usize::try_from(fit - guests).unwrap_or(usize::MAX).max(1);
    Descriptors {
        connections: connections.min(clients),
        guests,
    }
}

/// Starts to listen for the operator.
pub(crate) async fn bind_admin(addr: SocketAddr) -> Result<Admin, CliError> {
    Admin::bind(addr).await.map_err(|error| match &error {
        ServeError::InUse { .. } => CliError::new(format!("the admin address: {error}"))
            .hint("choose another, or none: `--admin` for `wharf up`, `admin = \"none\"` in the node file"),
        ServeError::Listen { .. } => {
            CliError::from_parts(&format!("the admin address: {error}"), Some(error.hint()))
        }
    })
}

/// Says where it listens, before anything else: programs read the first line. Connections wait
/// until there is something to serve.
///
/// `connections` were asked for at once; if fewer fit, that is told, too.
pub(crate) fn announce(server: &Server, admin: Option<&Admin>, connections: usize) -> SocketAddr {
    let mut first = None;
    for (scheme, addr) in server.addrs() {
        eprintln!("listening on {scheme}://{addr}");
        first.get_or_insert(addr);
    }
    if let Some(admin) = admin {
        eprintln!("metrics and health on http://{}", admin.addr());
    }
    let fit = server.connections_max();
    if fit < connections && fit == memory::connections_max() {
        error::print_warning(&format!(
            "there is memory for {fit} connections at once, not {connections}"
        ));
        error::print_hint("one takes 1 MiB: set `connections` in `[limits]` of the node file");
    } else if fit < connections {
        error::print_warning(&format!(
            "the descriptors of this process allow {fit} connections at once, not {connections}"
        ));
        error::print_hint("raise them with `ulimit -n`, or LimitNOFILE in a unit of systemd");
    }
    first.expect("a server listens somewhere")
}

/// The traces and logs that the environment asks to be exported.
pub(crate) fn telemetry() -> Result<Option<Telemetry>, CliError> {
    Telemetry::from_environment(tokio::runtime::Handle::current())
        .map_err(|error| CliError::from_parts(&error, Some(error.hint())))
}

pub(crate) fn start_log(
    options: LogOptions,
    telemetry: Option<&Telemetry>,
) -> Result<Log, CliError> {
    let log = match telemetry {
        Some(telemetry) => Log::start_with(LogSink, options, telemetry.clone()),
        None => Log::start(LogSink, options),
    };
    let log = log.map_err(|error| CliError::new(format!("cannot start the log: {error}")))?;
    if let Some(telemetry) = telemetry {
        telemetry.report_to(log.clone());
    }
    Ok(log)
}

/// The engine and the pools, with `memory` and `descriptors` for all guests together, of which none
/// reaches `admin`.
pub(crate) fn runtime(
    memory: Option<ByteSize>,
    descriptors: u64,
    admin: Option<SocketAddr>,
    log: &Log,
    metrics: &Metrics,
) -> Result<Runtime, CliError> {
    if let Some(there) = wharf_engine::missing_confinement() {
        log.message(
            Message::new(
                Level::Warn,
                "this kernel does not confine the process that compiles as it should",
            )
            .with("has", there)
            .with(
                "hint",
                "Landlock is there from Linux 5.13 on, if it is among `lsm=`; serve only apps whose code you trust to be compiled, or compile them elsewhere",
            ),
        );
    }
    let options = RuntimeOptions {
        cache: paths::code_cache()?,
        compiler: paths::compiler()?,
        memory: memory.unwrap_or_else(memory::for_guests),
        descriptors,
        log: log.clone(),
        metrics: metrics.clone(),
        admin,
    };
    Runtime::new(options).map_err(|error| {
        CliError::new(error.to_string())
            .hint("the engine reserves address space; look at `ulimit -v`")
    })
}

/// Serves until `stop` and requests under way are done.
pub(crate) async fn run(server: Server, node: Arc<Node>, stop: impl Future<Output = ()>) {
    if !server.run(node, stop).await {
        error::print_warning("some requests did not finish in time and were ended");
    }
}

/// Writes what is left of the log, and exports what is left of it.
pub(crate) async fn flush(log: Log, telemetry: Option<Telemetry>) {
    tokio::task::spawn_blocking(move || {
        log.flush(LOG_FLUSH);
        if let Some(telemetry) = telemetry {
            telemetry.shutdown(EXPORT_FLUSH);
        }
    })
    .await
    .ok();
}

/// A task that ends when this is dropped.
#[derive(Debug)]
pub(crate) struct AbortOnDrop(JoinHandle<()>);

impl AbortOnDrop {
    pub(crate) fn spawn(future: impl Future<Output = ()> + Send + 'static) -> AbortOnDrop {
        AbortOnDrop(tokio::spawn(future))
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_guests_and_the_node_have_descriptors() {
        let check = |descriptors: u64, asked: usize, connections: usize, guests: u64| {
            let expected = Descriptors {
                connections,
                guests,
            };
            assert_eq!(divided(descriptors, asked), expected, "{descriptors}");
        };
        check(64, 10_000, 24, 8);
        check(256, 10_000, 96, 32);
        check(1024, 10_000, 576, 192);
        check(65_536, 10_000, 10_000, 16_320);
        check(65_536, 100_000, 48_960, 16_320);
        check(1_000_000, 1_000_000, 934_208, 65_536);
        check(u64::MAX, 10_000, 10_000, 65_536);
        check(0, 1, 1, 0);
    }
}
