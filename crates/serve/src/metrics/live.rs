//! What is looked up when it is asked for: memory, computing, native code, the log, certificates,
//! the pool, the process.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use wharf_engine::{Budget, CodeTally, Engine};

use super::ComponentMetrics;
use crate::log::LogLosses;
use crate::process_stat::ProcessStat;
use crate::tls::Tls;

#[derive(Debug, Clone, Default)]
pub(super) struct Live(Arc<Mutex<Sources>>);

#[derive(Debug, Default)]
struct Sources {
    components: Vec<Arc<ComponentMetrics>>,
    engine: Option<Engine>,
    /// By app; the node's own under the empty name.
    memory: BTreeMap<String, Weak<Budget>>,
    /// The same.
    descriptors: BTreeMap<String, Weak<Budget>>,
    code: BTreeMap<String, Arc<CodeTally>>,
    /// Whether it is served, by app.
    apps: BTreeMap<String, bool>,
    log: Option<LogLosses>,
    tls: Option<Tls>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct App {
    app: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Name {
    name: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

impl App {
    fn of(app: &str) -> App {
        App {
            app: app.to_owned(),
        }
    }
}

impl Live {
    fn lock(&self) -> MutexGuard<'_, Sources> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add_component(&self, component: &Arc<ComponentMetrics>) {
        self.lock().components.push(Arc::clone(component));
    }

    pub(super) fn set_engine(&self, engine: Engine) {
        self.lock().engine = Some(engine);
    }

    pub(super) fn set_memory(&self, app: &str, budget: &Arc<Budget>) {
        self.lock()
            .memory
            .insert(app.to_owned(), Arc::downgrade(budget));
    }

    pub(super) fn set_descriptors(&self, app: &str, budget: &Arc<Budget>) {
        self.lock()
            .descriptors
            .insert(app.to_owned(), Arc::downgrade(budget));
    }

    pub(super) fn code(&self, app: &str) -> Arc<CodeTally> {
        let mut sources = self.lock();
        Arc::clone(sources.code.entry(app.to_owned()).or_default())
    }

    pub(super) fn set_apps(&self, apps: BTreeMap<String, bool>) {
        self.lock().apps = apps;
    }

    pub(super) fn set_log(&self, losses: LogLosses) {
        self.lock().log = Some(losses);
    }

    pub(super) fn set_tls(&self, tls: Tls) {
        self.lock().tls = Some(tls);
    }
}

impl Collector for Live {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let sources = self.lock();
        sources.components(&mut encoder)?;
        let help = "Memories, tables and kept text of all instances; without an app, of the node";
        let bytes = Some(&Unit::Bytes);
        budgets(&mut encoder, "guest_memory", help, bytes, &sources.memory)?;
        let help =
            "Files, sockets and connections that guests have open; without an app, of the node";
        let descriptors = &sources.descriptors;
        budgets(&mut encoder, "guest_descriptors", help, None, descriptors)?;
        sources.code(&mut encoder)?;
        sources.apps(&mut encoder)?;
        sources.log(&mut encoder)?;
        sources.certificates(&mut encoder)?;
        if let Some(engine) = &sources.engine {
            pool(engine, &mut encoder)?;
        }
        drop(sources);
        process(&mut encoder)
    }
}

impl Sources {
    fn components(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        let guests = || {
            self.components
                .iter()
                .filter(|one| !one.of.component.is_empty())
        };
        let computed = guests().map(|one| {
            let time = one.cpu.used().as_secs_f64();
            (one.of.clone(), ConstCounter::new(time))
        });
        family(
            encoder,
            "guest_cpu",
            "Time that guests computed",
            Some(&Unit::Seconds),
            computed,
        )?;
        let ticks = guests().map(|one| (one.of.clone(), ConstCounter::new(one.cpu.ticks())));
        family(
            encoder,
            "guest_ticks",
            "Ticks of 10 ms that guests computed through without waiting, and then let others run",
            None,
            ticks,
        )
    }

    fn apps(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        let up = (self.apps.iter())
            .map(|(app, is_up)| (App::of(app), ConstGauge::new(i64::from(*is_up))));
        let help = "Whether the app is served, be it in the version before: 1, or 0";
        family(encoder, "app_up", help, None, up)
    }

    fn code(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        let apps = || self.code.iter().map(|(app, tally)| (App::of(app), tally));
        let mut counts = |name, help, count: fn(&CodeTally) -> u64| {
            let values = apps().map(|(app, tally)| (app, ConstCounter::new(count(tally))));
            family(encoder, name, help, None, values)
        };
        counts(
            "compilations",
            "Components compiled to native code, as the code cache did not have it",
            CodeTally::compiled,
        )?;
        counts(
            "compilations_failed",
            "Components that did not compile, or met a limit of the compiler",
            CodeTally::failed,
        )?;
        counts(
            "code_cache_hits",
            "Components whose native code was there when they were loaded",
            CodeTally::found,
        )?;
        let times = apps().map(|(app, tally)| {
            let time = tally.compiling().as_secs_f64();
            (app, ConstCounter::new(time))
        });
        let help = "Time that compiling took, also where it failed";
        family(encoder, "compilation", help, Some(&Unit::Seconds), times)
    }

    fn log(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        let losses = self.log.as_ref().map(LogLosses::by_app);
        let values = (losses.into_iter().flatten())
            .map(|(app, lines)| (App::of(&app), ConstCounter::new(lines)));
        let help = "Lines for which the log had no room; without an app, the node's own";
        family(encoder, "log_lines_dropped", help, None, values)
    }

    fn certificates(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        let ends = self.tls.as_ref().map(Tls::ends).unwrap_or_default();
        let values = (ends.into_iter()).map(|(name, end)| (Name { name }, ConstGauge::new(end)));
        let help = "When the certificate for a name ends, in seconds since 1970";
        family(
            encoder,
            "certificate_not_after",
            help,
            Some(&Unit::Seconds),
            values,
        )
    }
}

/// What each app has of something, and its ceiling.
fn budgets(
    encoder: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    budgets: &BTreeMap<String, Weak<Budget>>,
) -> fmt::Result {
    let budgets = || {
        budgets
            .iter()
            .filter_map(|(app, budget)| Some((App::of(app), budget.upgrade()?)))
    };
    let used = budgets().map(|(app, budget)| (app, gauge(budget.used())));
    family(encoder, name, help, unit, used)?;
    let limits = budgets().map(|(app, budget)| (app, gauge(budget.limit())));
    family(
        encoder,
        &format!("{name}_limit"),
        "Its ceiling",
        unit,
        limits,
    )
}

/// Writes one value for each of `values`.
fn family<L: EncodeLabelSet, M: EncodeMetric>(
    encoder: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    values: impl Iterator<Item = (L, M)>,
) -> fmt::Result {
    let mut values = values.peekable();
    let Some((_, first)) = values.peek() else {
        return Ok(());
    };
    let mut family = encoder.encode_descriptor(name, help, unit, first.metric_type())?;
    for (labels, value) in values {
        value.encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

fn gauge(amount: u64) -> ConstGauge<i64> {
    ConstGauge::new(i64::try_from(amount).unwrap_or(i64::MAX))
}

fn single<M: EncodeMetric>(
    encoder: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    value: M,
) -> fmt::Result {
    value.encode(encoder.encode_descriptor(name, help, unit, value.metric_type())?)
}

/// What the engine's pool holds.
fn pool(engine: &Engine, encoder: &mut DescriptorEncoder) -> fmt::Result {
    let Some(pool) = engine.wasmtime().pooling_allocator_metrics() else {
        return Ok(());
    };
    let kinds = [
        ("component_instances", pool.component_instances()),
        ("core_instances", pool.core_instances()),
        ("memories", pool.memories() as u64),
        ("tables", pool.tables() as u64),
        ("stacks", pool.stacks() as u64),
        ("gc_heaps", pool.gc_heaps() as u64),
    ];
    let used = (kinds.into_iter()).map(|(kind, used)| (Kind { kind }, gauge(used)));
    let kept = pool.unused_memory_bytes_resident() + pool.unused_table_bytes_resident();
    family(
        encoder,
        "pool_used",
        "Slots of the engine's pool in use",
        None,
        used,
    )?;
    single(
        encoder,
        "pool_kept_resident",
        "Memory of free slots that is kept for the next instance",
        Some(&Unit::Bytes),
        gauge(kept as u64),
    )
}

/// The process, as the kernel sees it.
fn process(encoder: &mut DescriptorEncoder) -> fmt::Result {
    let Some(stat) = ProcessStat::read() else {
        return Ok(());
    };
    single(
        encoder,
        "process_resident_memory",
        "Memory of the whole process that is in RAM",
        Some(&Unit::Bytes),
        gauge(stat.resident_bytes),
    )?;
    single(
        encoder,
        "process_threads",
        "Threads of the process",
        None,
        gauge(stat.threads),
    )?;
    single(
        encoder,
        "process_open_fds",
        "Descriptors that the process has open",
        None,
        gauge(stat.open_descriptors),
    )
}
