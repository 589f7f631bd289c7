//! What `wharf up` and `wharf serve` have in common: a node in this process.

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use wharf_manifest::ByteSize;
use wharf_serve::log::{Log, LogOptions};
use wharf_serve::{Admin, Metrics, Node, Runtime, RuntimeOptions, ServeError, Server, Telemetry};

use crate::error::{self, CliError};
use crate::paths;
use crate::progress::LogSink;
use crate::stop::Stop;

/// How long the log may take to write what is left when the server ends.
const LOG_FLUSH: Duration = Duration::from_secs(2);
/// How long a collector may take to be given what is left.
const EXPORT_FLUSH: Duration = Duration::from_secs(3);

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
pub(crate) fn announce(server: &Server, admin: Option<&Admin>) -> SocketAddr {
    let mut first = None;
    for (scheme, addr) in server.addrs() {
        eprintln!("listening on {scheme}://{addr}");
        first.get_or_insert(addr);
    }
    if let Some(admin) = admin {
        eprintln!("metrics and health on http://{}", admin.addr());
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

/// The engine and the pools, with `memory` for all guests together.
pub(crate) fn runtime(
    memory: Option<ByteSize>,
    log: &Log,
    metrics: &Metrics,
) -> Result<Runtime, CliError> {
    let options = RuntimeOptions {
        cache: paths::code_cache()?,
        compiler: paths::compiler()?,
        memory: memory.unwrap_or_else(memory_for_guests),
        log: log.clone(),
        metrics: metrics.clone(),
    };
    Runtime::new(options).map_err(|error| {
        CliError::new(error.to_string())
            .hint("the engine reserves address space; look at `ulimit -v`")
    })
}

/// Serves until it is told to stop and requests under way are done.
pub(crate) async fn run(server: Server, node: Arc<Node>, stop: &mut Stop) {
    if !server.run(node, stop.first()).await {
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

/// The tightest memory ceiling of this process's control group and those above it (version 2).
fn control_group_memory() -> Option<u64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Path::new(own)
        .ancestors()
        .filter_map(|group| {
            let file = Path::new("/sys/fs/cgroup").join(group).join("memory.max");
            std::fs::read_to_string(file).ok()?.trim().parse().ok()
        })
        .min()
}

/// Memory for all guests together: three quarters of what the machine or the control group has.
fn memory_for_guests() -> ByteSize {
    let machine = std::fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
            let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
            Some(kib * 1024)
        });
    let group = control_group_memory();
    let total = match (machine, group) {
        (Some(machine), Some(group)) => machine.min(group),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => 4 << 30,
    };
    ByteSize(total / 4 * 3)
}
