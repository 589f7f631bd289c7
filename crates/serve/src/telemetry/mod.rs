//! Traces and logs for an OpenTelemetry collector, by OTLP over HTTP (protobuf).
//!
//! The environment decides, by the variables of the OpenTelemetry specification: without an
//! endpoint in `OTEL_EXPORTER_OTLP_ENDPOINT` (or its forms for traces and logs) nothing is sent,
//! and nothing is made for it. With one, a request becomes a span, whose context the guest finds in
//! `traceparent` (W3C Trace Context), and every line of the log a record of that span.
//!
//! What is exported comes from the log's own writer thread: a request waits for none of it, and
//! what a collector does not take in time is dropped there.

mod client;
mod records;
mod spans;
mod traceparent;

use std::env;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::trace::TraceId;
use opentelemetry_otlp::{ExporterBuildError, LogExporter, SpanExporter, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, ShouldSample};
use tokio::runtime::Handle;

use self::client::CollectorClient;
use self::records::Records;
use self::spans::Spans;
pub(crate) use self::traceparent::{TRACEPARENT, TraceParent};
use crate::log::{Event, Log, Observer};

/// Why nothing can be exported.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The variables contradict each other or name no address.
    #[error("cannot export telemetry: {0}")]
    Exporter(#[from] ExporterBuildError),
    /// The protocol is another than is spoken here.
    #[error("OTEL_EXPORTER_OTLP_PROTOCOL is `{0}`, which wharf does not speak")]
    Protocol(String),
    /// The sampler is not known.
    #[error("OTEL_TRACES_SAMPLER is `{0}`, which wharf does not know")]
    Sampler(String),
}

impl TelemetryError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            TelemetryError::Exporter(_) => {
                "set OTEL_EXPORTER_OTLP_ENDPOINT to a collector, as in http://127.0.0.1:4318"
            }
            TelemetryError::Protocol(_) => {
                "leave it out or set it to http/protobuf; a collector takes that on port 4318"
            }
            TelemetryError::Sampler(_) => {
                "there are always_on, always_off and traceidratio, each also with parentbased_ in front"
            }
        }
    }
}

/// Exports traces and logs. Clones share the exporters.
#[derive(Debug, Clone)]
pub struct Telemetry {
    spans: Option<Arc<Spans>>,
    records: Option<Arc<Records>>,
    sampling: Sampling,
    client: CollectorClient,
}

impl Telemetry {
    /// What the environment asks for, sent by tasks of `runtime`; `None` if it asks for nothing.
    ///
    /// # Errors
    /// When the variables are wrong. Whether a collector is there shows only later, in the log.
    pub fn from_environment(runtime: Handle) -> Result<Option<Telemetry>, TelemetryError> {
        if variable("OTEL_SDK_DISABLED").is_some_and(|text| text.eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        let (traces, logs) = (is_asked("TRACES"), is_asked("LOGS"));
        if !traces && !logs {
            return Ok(None);
        }
        if let Some(protocol) = variable("OTEL_EXPORTER_OTLP_PROTOCOL")
            && protocol != "http/protobuf"
        {
            return Err(TelemetryError::Protocol(protocol));
        }
        let client = CollectorClient::new(runtime);
        let resource = resource();
        let mut telemetry = Telemetry {
            spans: None,
            records: None,
            sampling: Sampling::from_environment()?,
            client: client.clone(),
        };
        if traces {
            let exporter = SpanExporter::builder()
                .with_http()
                .with_http_client(client.clone())
                .build()?;
            telemetry.spans = Some(Arc::new(Spans::new(exporter, &resource)));
        }
        if logs {
            let exporter = LogExporter::builder()
                .with_http()
                .with_http_client(client)
                .build()?;
            telemetry.records = Some(Arc::new(Records::new(exporter, resource)));
        }
        Ok(Some(telemetry))
    }

    pub(crate) fn has_spans(&self) -> bool {
        self.spans.is_some()
    }

    /// How it is decided which traces are kept.
    pub(crate) fn sampling(&self) -> &Sampling {
        &self.sampling
    }

    /// Says in `log` when the collector is not there, and when it is there again.
    pub fn report_to(&self, log: Log) {
        self.client.report_to(log);
    }

    /// Sends what is left, for `timeout` at most. Blocks: call it on a blocking thread.
    pub fn shutdown(&self, timeout: Duration) {
        std::thread::scope(|scope| {
            if let Some(spans) = &self.spans {
                scope.spawn(move || spans.shutdown(timeout));
            }
            if let Some(records) = &self.records {
                records.shutdown(timeout);
            }
        });
    }
}

impl Observer for Telemetry {
    fn observe(&mut self, event: &Event) {
        if let Some(spans) = &self.spans {
            match event {
                Event::Request(request) => spans.request(request),
                Event::Outgoing(outgoing) => spans.outgoing(outgoing),
                Event::GuestOutput(_) | Event::Message(_) => {}
            }
        }
        if let Some(records) = &self.records {
            records.event(event);
        }
    }
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|text| !text.is_empty())
}

/// Whether there is an endpoint for `signal`, and it was not switched off.
fn is_asked(signal: &str) -> bool {
    let exporter = variable(&format!("OTEL_{signal}_EXPORTER"));
    let endpoint = variable(&format!("OTEL_EXPORTER_OTLP_{signal}_ENDPOINT"))
        .or_else(|| variable("OTEL_EXPORTER_OTLP_ENDPOINT"));
    endpoint.is_some() && exporter.as_deref() != Some("none")
}

/// Who it is that exports; `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` say more.
fn resource() -> Resource {
    let builder = Resource::builder();
    match variable("OTEL_SERVICE_NAME") {
        Some(_) => builder,
        None if variable("OTEL_RESOURCE_ATTRIBUTES")
            .is_some_and(|text| text.contains("service.name=")) =>
        {
            builder
        }
        None => builder.with_service_name("wharf"),
    }
    .build()
}

/// Decides which traces are kept.
#[derive(Debug, Clone)]
pub(crate) struct Sampling {
    /// For requests that belong to no trace yet; for all if the parent does not decide.
    root: Sampler,
    parent_decides: bool,
}

impl Sampling {
    fn from_environment() -> Result<Sampling, TelemetryError> {
        let name = variable("OTEL_TRACES_SAMPLER");
        let name = name.as_deref().unwrap_or("parentbased_always_on");
        let argument = variable("OTEL_TRACES_SAMPLER_ARG");
        Sampling::parse(name, argument.as_deref())
            .ok_or_else(|| TelemetryError::Sampler(name.to_owned()))
    }

    fn parse(name: &str, argument: Option<&str>) -> Option<Sampling> {
        let (parent_decides, root) = match name.strip_prefix("parentbased_") {
            Some(root) => (true, root),
            None => (false, name),
        };
        let root = match root {
            "always_on" => Sampler::AlwaysOn,
            "always_off" => Sampler::AlwaysOff,
            "traceidratio" => {
                let ratio = argument.map_or(Some(1.0), |text| text.parse::<f64>().ok())?;
                Sampler::TraceIdRatioBased(ratio)
            }
            _ => return None,
        };
        Some(Sampling {
            root,
            parent_decides,
        })
    }

    /// Whether the trace `trace` is kept, which `parent` began.
    pub(crate) fn keeps(&self, trace: u128, parent: Option<&TraceParent>) -> bool {
        if let Some(parent) = parent
            && self.parent_decides
        {
            return parent.is_sampled;
        }
        let trace = TraceId::from_bytes(trace.to_be_bytes());
        let kind = opentelemetry::trace::SpanKind::Server;
        let sampled = self.root.should_sample(None, trace, "", &kind, &[], &[]);
        sampled.decision == SamplingDecision::RecordAndSample
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parent(is_sampled: bool) -> TraceParent {
        TraceParent {
            trace: 1,
            span: 1,
            is_sampled,
        }
    }

    #[test]
    fn the_parent_decides_unless_it_is_not_asked() {
        let sampling = |name| Sampling::parse(name, None).unwrap();
        let based = sampling("parentbased_always_on");
        assert!(based.keeps(1, None));
        assert!(based.keeps(1, Some(&parent(true))));
        assert!(!based.keeps(1, Some(&parent(false))));
        assert!(sampling("parentbased_always_off").keeps(1, Some(&parent(true))));
        assert!(!sampling("always_off").keeps(1, Some(&parent(true))));
        assert!(sampling("always_on").keeps(1, Some(&parent(false))));
    }

    #[test]
    fn a_ratio_keeps_its_share() {
        let none = Sampling::parse("traceidratio", Some("0")).unwrap();
        let half = Sampling::parse("traceidratio", Some("0.5")).unwrap();
        let traces = || (0..1000).map(|_| crate::log::RequestId::random().trace());
        assert!(!traces().any(|trace| none.keeps(trace, None)));
        let kept = traces().filter(|trace| half.keeps(*trace, None)).count();
        assert!((300..700).contains(&kept), "{kept}");
    }

    #[test]
    fn what_is_no_sampler_is_refused() {
        for (name, argument) in [
            ("", None),
            ("sometimes", None),
            ("traceidratio", Some("half")),
        ] {
            assert!(Sampling::parse(name, argument).is_none(), "{name}");
        }
    }
}
