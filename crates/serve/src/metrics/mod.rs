//! What a node counts: requests, durations, faults, instances, memory, computing, per component;
//! what was compiled and what the log lost, per app.
//!
//! Names and units are those of Prometheus; [`Metrics::text`] is what `/metrics` answers. Labels
//! take values that apps and operators chose, never a client's: their number is bounded by what
//! is deployed. Counting is an atomic addition; nothing is looked up while a request runs.

mod live;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::StatusCode;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use wharf_engine::{Budget, CodeTally, CpuAccount, Fault, LimitHit};

use self::live::Live;
use crate::admission::Refused;
use crate::log::Log;
use crate::tls::Tls;

/// Bounds of the buckets of durations, in seconds: from a warm request to a long one.
const DURATIONS: [f64; 16] = [
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
    10.0, 30.0,
];

/// The counters of a node. Clones share them.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Mutex<Registry>,
    families: Families,
    live: Live,
    known: Mutex<ByName>,
    /// Of connections and of requests that reach no app.
    server: ServerMetrics,
}

/// By app and component.
type ByName = BTreeMap<(Arc<str>, Arc<str>), Arc<ComponentMetrics>>;

/// Whose numbers they are. Without a component they are of files and of the host's own answers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Of {
    app: String,
    component: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Class {
    code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Cause {
    kind: &'static str,
    limit: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Limit {
    limit: &'static str,
}

#[derive(Debug)]
struct Families {
    requests: Family<(Of, Class), Counter>,
    refused: Family<(Of, Reason), Counter>,
    faults: Family<(Of, Cause), Counter>,
    limits_met: Family<(Of, Limit), Counter>,
    sent: Family<Of, Counter>,
    active: Family<Of, Gauge>,
    instances: Family<Of, Gauge>,
    instances_made: Family<Of, Counter>,
    denials: Family<Of, Counter>,
    durations: DurationFamily,
}

type DurationFamily = Family<Of, Histogram, fn() -> Histogram>;

impl Default for Families {
    fn default() -> Families {
        Families {
            requests: Family::default(),
            refused: Family::default(),
            faults: Family::default(),
            limits_met: Family::default(),
            sent: Family::default(),
            active: Family::default(),
            instances: Family::default(),
            instances_made: Family::default(),
            denials: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(DURATIONS)),
        }
    }
}

/// Of the server itself.
#[derive(Debug, Default)]
pub(crate) struct ServerMetrics {
    pub(crate) connections: Gauge,
    pub(crate) connections_accepted: Counter,
    connections_refused: Family<Reason, Counter>,
    bad_requests: Counter,
}

impl ServerMetrics {
    /// A connection was closed at once: `node` or `client` are the limits that it met.
    pub(crate) fn connection_refused(&self, reason: &'static str) {
        self.connections_refused
            .get_or_create(&Reason { reason })
            .inc();
    }

    /// What came was no valid request.
    pub(crate) fn bad_request(&self) {
        self.bad_requests.inc();
    }
}

/// The counters of one component, or of the files of an app.
#[derive(Debug)]
pub(crate) struct ComponentMetrics {
    of: Of,
    families: FamilyHandles,
    responses: [Counter; CODES.len()],
    duration: Histogram,
    sent: Counter,
    active: Gauge,
    instances: Gauge,
    instances_made: Counter,
    denials: Counter,
    cpu: CpuAccount,
}

#[derive(Debug)]
struct FamilyHandles {
    refused: Family<(Of, Reason), Counter>,
    faults: Family<(Of, Cause), Counter>,
    limits_met: Family<(Of, Limit), Counter>,
}

/// Classes of status codes; the first is for clients that left before there was one.
const CODES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

impl Metrics {
    /// Counters that stand at zero.
    pub fn new() -> Metrics {
        let families = Families::default();
        let server = ServerMetrics::default();
        let live = Live::default();
        let mut registry = Registry::with_prefix("wharf");
        register(&mut registry, &families, &server);
        registry.register_collector(Box::new(live.clone()));
        Metrics(Arc::new(Inner {
            registry: Mutex::new(registry),
            families,
            live,
            known: Mutex::default(),
            server,
        }))
    }

    /// All of it in the text format of OpenMetrics, which Prometheus reads.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let registry = self.0.registry.lock();
        let registry = registry.unwrap_or_else(PoisonError::into_inner);
        // Writing to a string does not fail.
        let _ = text::encode(&mut out, &registry);
        out
    }

    /// The counters of `component` of `app`; an empty name is for what is no component's.
    pub(crate) fn component(&self, app: &Arc<str>, component: &Arc<str>) -> Arc<ComponentMetrics> {
        let mut known = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (Arc::clone(app), Arc::clone(component));
        let metrics = known.entry(key).or_insert_with(|| {
            let metrics = Arc::new(ComponentMetrics::new(&self.0.families, app, component));
            self.0.live.add_component(&metrics);
            metrics
        });
        Arc::clone(metrics)
    }

    pub(crate) fn server(&self) -> &ServerMetrics {
        &self.0.server
    }

    /// Shows what `engine`'s pool holds.
    pub(crate) fn watch_engine(&self, engine: &wharf_engine::Engine) {
        self.0.live.set_engine(engine.clone());
    }

    /// Shows what is taken of `budget`, whose label is `app`, or empty for the node's.
    pub(crate) fn watch_memory(&self, app: &str, budget: &Arc<Budget>) {
        self.0.live.set_memory(app, budget);
    }

    /// The same of descriptors.
    pub(crate) fn watch_descriptors(&self, app: &str, budget: &Arc<Budget>) {
        self.0.live.set_descriptors(app, budget);
    }

    /// Shows when the certificates of `tls` end.
    pub fn watch_certificates(&self, tls: &Tls) {
        self.0.live.set_tls(tls.clone());
    }

    /// Shows what `log` had no room for.
    pub(crate) fn watch_log(&self, log: &Log) {
        self.0.live.set_log(log.losses());
    }

    /// Shows which apps the node knows, and which of them are served.
    pub(crate) fn set_apps(&self, apps: BTreeMap<String, bool>) {
        self.0.live.set_apps(apps);
    }

    /// Where what is compiled for `app` is counted.
    pub(crate) fn code(&self, app: &str) -> Arc<CodeTally> {
        self.0.live.code(app)
    }
}

fn register(registry: &mut Registry, families: &Families, server: &ServerMetrics) {
    registry.register(
        "requests",
        "Requests answered, by class of status code; none where the client left before",
        families.requests.clone(),
    );
    registry.register_with_unit(
        "request_duration",
        "From the head of a request to the end of its answer",
        Unit::Seconds,
        families.durations.clone(),
    );
    registry.register(
        "requests_active",
        "Requests in work or waiting for their turn",
        families.active.clone(),
    );
    registry.register_with_unit(
        "response_body",
        "Bytes of bodies sent",
        Unit::Bytes,
        families.sent.clone(),
    );
    registry.register(
        "requests_refused",
        "Requests that got a 503: queue_full, waited, app_memory, node_memory, instances",
        families.refused.clone(),
    );
    registry.register(
        "faults",
        "Guests that ended before they were done, by whose fault it was and the limit met",
        families.faults.clone(),
    );
    registry.register(
        "limits_met",
        "Times that a guest met a limit and went on without what it asked for: outgoing, descriptors, headers, log",
        families.limits_met.clone(),
    );
    registry.register("instances", "Instances alive", families.instances.clone());
    registry.register(
        "instances_made",
        "Instances made",
        families.instances_made.clone(),
    );
    registry.register(
        "denials",
        "Times that a guest was refused what it has no grant for",
        families.denials.clone(),
    );
    registry.register(
        "connections",
        "Connections open",
        server.connections.clone(),
    );
    registry.register(
        "connections_accepted",
        "Connections accepted",
        server.connections_accepted.clone(),
    );
    registry.register(
        "connections_refused",
        "Connections closed at once, by whose limit they met: node, client",
        server.connections_refused.clone(),
    );
    registry.register(
        "bad_requests",
        "Messages that were no valid HTTP and reached no app",
        server.bad_requests.clone(),
    );
}

impl ComponentMetrics {
    fn new(families: &Families, app: &str, component: &str) -> ComponentMetrics {
        let of = Of {
            app: app.to_owned(),
            component: component.to_owned(),
        };
        let of_class = |code| (of.clone(), Class { code });
        let responses = CODES.map(|code| families.requests.get_or_create_owned(&of_class(code)));
        ComponentMetrics {
            responses,
            duration: families.durations.get_or_create_owned(&of),
            sent: families.sent.get_or_create_owned(&of),
            active: families.active.get_or_create_owned(&of),
            instances: families.instances.get_or_create_owned(&of),
            instances_made: families.instances_made.get_or_create_owned(&of),
            denials: families.denials.get_or_create_owned(&of),
            cpu: CpuAccount::default(),
            families: FamilyHandles {
                refused: families.refused.clone(),
                faults: families.faults.clone(),
                limits_met: families.limits_met.clone(),
            },
            of,
        }
    }

    pub(crate) fn begins(&self) {
        self.active.inc();
    }

    pub(crate) fn leaves(&self) {
        self.active.dec();
    }

    /// A request is over.
    pub(crate) fn ended(&self, status: Option<StatusCode>, duration: Duration, bytes: u64) {
        let class = status.map_or(0, |status| usize::from(status.as_u16() / 100));
        if let Some(counter) = self.responses.get(class) {
            counter.inc();
        }
        self.duration.observe(duration.as_secs_f64());
        self.sent.inc_by(bytes);
    }

    /// A request was not let in.
    pub(crate) fn refused(&self, refused: Refused) {
        let reason = match refused {
            Refused::QueueFull(_) => "queue_full",
            Refused::Waited(_) => "waited",
        };
        self.count_refused(reason);
    }

    fn count_refused(&self, reason: &'static str) {
        let of = (self.of.clone(), Reason { reason });
        self.families.refused.get_or_create(&of).inc();
    }

    /// A guest ended before it was done.
    pub(crate) fn faulted(&self, fault: &Fault) {
        let limit = fault.limit.as_ref().map_or("", |limit| limit.name());
        let cause = Cause {
            kind: fault.kind.as_str(),
            limit,
        };
        let of = (self.of.clone(), cause);
        self.families.faults.get_or_create(&of).inc();
        if fault.limit.as_ref().is_some_and(LimitHit::is_shared) {
            self.count_refused(limit);
        }
    }

    /// A guest met the limit `limit` and goes on.
    pub(crate) fn limit_met(&self, limit: &'static str) {
        let of = (self.of.clone(), Limit { limit });
        self.families.limits_met.get_or_create(&of).inc();
    }

    pub(crate) fn denied(&self) {
        self.denials.inc();
    }

    /// Where its instances' computing is added up.
    pub(crate) fn cpu(&self) -> &CpuAccount {
        &self.cpu
    }

    /// Counts an instance until what is returned is dropped.
    pub(crate) fn instance(self: &Arc<Self>) -> LiveInstance {
        self.instances_made.inc();
        self.instances.inc();
        LiveInstance(Arc::clone(self))
    }
}

/// While it lives, an instance does.
#[derive(Debug)]
pub(crate) struct LiveInstance(Arc<ComponentMetrics>);

impl Drop for LiveInstance {
    fn drop(&mut self) {
        self.0.instances.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::Whose;

    fn value(text: &str, line: &str) -> Option<String> {
        let mut values = text
            .lines()
            .filter_map(|have| have.strip_prefix(line)?.strip_prefix(' '));
        values.next().map(str::to_owned)
    }

    #[test]
    fn what_is_counted_is_told() {
        let metrics = Metrics::new();
        let (app, name): (Arc<str>, Arc<str>) = ("shop".into(), "api".into());
        let api = metrics.component(&app, &name);
        api.begins();
        let instance = api.instance();
        api.ended(Some(StatusCode::OK), Duration::from_millis(3), 120);
        api.ended(None, Duration::from_secs(60), 0);
        api.refused(Refused::QueueFull(Whose::All));
        api.faulted(&Fault::limit(LimitHit::Instances));
        api.limit_met("log");
        let text = metrics.text();
        let of = r#"app="shop",component="api""#;
        for (line, expected) in [
            (format!("wharf_requests_total{{{of},code=\"2xx\"}}"), "1"),
            (format!("wharf_requests_total{{{of},code=\"none\"}}"), "1"),
            (format!("wharf_requests_total{{{of},code=\"5xx\"}}"), "0"),
            (format!("wharf_requests_active{{{of}}}"), "1"),
            (format!("wharf_response_body_bytes_total{{{of}}}"), "120"),
            (
                format!("wharf_requests_refused_total{{{of},reason=\"queue_full\"}}"),
                "1",
            ),
            (
                format!("wharf_requests_refused_total{{{of},reason=\"instances\"}}"),
                "1",
            ),
            (
                format!("wharf_faults_total{{{of},kind=\"limit\",limit=\"instances\"}}"),
                "1",
            ),
            (format!("wharf_limits_met_total{{{of},limit=\"log\"}}"), "1"),
            (format!("wharf_instances{{{of}}}"), "1"),
            (format!("wharf_request_duration_seconds_count{{{of}}}"), "2"),
            (
                format!("wharf_request_duration_seconds_bucket{{le=\"0.005\",{of}}}"),
                "1",
            ),
        ] {
            assert_eq!(
                value(&text, &line).as_deref(),
                Some(expected),
                "{line}\n{text}"
            );
        }
        drop(instance);
        api.leaves();
        let text = metrics.text();
        assert_eq!(
            value(&text, &format!("wharf_instances{{{of}}}")).as_deref(),
            Some("0")
        );
        assert_eq!(
            value(&text, &format!("wharf_requests_active{{{of}}}")).as_deref(),
            Some("0")
        );
    }

    #[test]
    fn what_the_log_has_no_room_for_is_counted_by_app() {
        use crate::log::{Level, LogFormat, LogOptions, Message};

        let options = LogOptions {
            bytes_max: 0,
            ..LogOptions::new(LogFormat::Json)
        };
        let log = Log::start(std::io::sink(), options).unwrap();
        let metrics = Metrics::new();
        metrics.watch_log(&log);
        assert!(!metrics.text().contains("log_lines_dropped"));
        let line = || Message::new(Level::Info, "lost");
        log.message(line());
        for _ in 0..2 {
            log.message(line().about(&"shop".into()));
        }
        let lost = |app: &str| format!("wharf_log_lines_dropped_total{{app=\"{app}\"}}");
        let text = metrics.text();
        assert_eq!(value(&text, &lost("")).as_deref(), Some("1"), "{text}");
        assert_eq!(value(&text, &lost("shop")).as_deref(), Some("2"));
    }

    #[test]
    fn an_app_is_up_or_not_or_gone() {
        let metrics = Metrics::new();
        let up = |app: &str| value(&metrics.text(), &format!("wharf_app_up{{app=\"{app}\"}}"));
        metrics.set_apps(BTreeMap::from([
            ("shop".into(), true),
            ("blog".into(), false),
        ]));
        assert_eq!(up("shop").as_deref(), Some("1"));
        assert_eq!(up("blog").as_deref(), Some("0"));
        metrics.set_apps(BTreeMap::from([("blog".into(), true)]));
        assert_eq!(up("shop"), None);
        assert_eq!(up("blog").as_deref(), Some("1"));
    }

    #[test]
    fn what_is_compiled_for_an_app_is_told_from_zero() {
        let metrics = Metrics::new();
        assert!(!metrics.text().contains("compilation"));
        metrics.code("shop");
        let text = metrics.text();
        for name in ["compilations", "compilations_failed", "code_cache_hits"] {
            let line = format!("wharf_{name}_total{{app=\"shop\"}}");
            assert_eq!(value(&text, &line).as_deref(), Some("0"), "{text}");
        }
        let line = "wharf_compilation_seconds_total{app=\"shop\"}";
        assert_eq!(value(&text, line).as_deref(), Some("0.0"), "{text}");
    }

    #[test]
    fn a_component_that_comes_again_goes_on_counting() {
        let metrics = Metrics::new();
        let (app, name): (Arc<str>, Arc<str>) = ("shop".into(), "api".into());
        metrics.component(&app, &name).denied();
        metrics.component(&app, &name).denied();
        let line = r#"wharf_denials_total{app="shop",component="api"}"#;
        assert_eq!(value(&metrics.text(), line).as_deref(), Some("2"));
    }
}
