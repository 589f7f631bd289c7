//! A request as a span, by the semantic conventions for HTTP servers (1.23 and later, stable).

use std::borrow::Cow;
use std::time::Duration;

use http::{Method, StatusCode, Version};
use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{
    BatchSpanProcessor, SpanData, SpanEvents, SpanLinks, SpanProcessor,
};

use wharf_engine::clip;

use crate::log::{OutgoingEvent, RequestEvent, RequestId};

/// Sends spans, a batch now and then.
#[derive(Debug)]
pub(super) struct Spans {
    processor: BatchSpanProcessor,
    scope: InstrumentationScope,
}

impl Spans {
    pub(super) fn new(exporter: SpanExporter, resource: &Resource) -> Spans {
        let mut processor = BatchSpanProcessor::builder(exporter).build();
        processor.set_resource(resource);
        Spans {
            processor,
            scope: scope(),
        }
    }

    pub(super) fn shutdown(&self, timeout: Duration) {
        let _ = self.processor.shutdown_with_timeout(timeout);
    }

    pub(super) fn request(&self, request: &RequestEvent) {
        if !request.request_id.is_sampled() {
            return;
        }
        self.processor.on_end(SpanData {
            span_context: context(request.request_id),
            parent_span_id: SpanId::from(request.parent_span.unwrap_or(0)),
            parent_span_is_remote: request.parent_span.is_some(),
            span_kind: SpanKind::Server,
            name: match &request.route {
                Some(route) => Cow::Owned(format!("{} {route}", method(&request.method))),
                None => Cow::Borrowed(method(&request.method)),
            },
            start_time: request
                .time
                .checked_sub(request.duration)
                .unwrap_or(request.time),
            end_time: request.time,
            attributes: attributes(request),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: status(request),
            instrumentation_scope: self.scope.clone(),
        });
    }

    pub(super) fn outgoing(&self, outgoing: &OutgoingEvent) {
        let context = SpanContext::new(
            TraceId::from(outgoing.trace),
            SpanId::from(outgoing.span),
            TraceFlags::SAMPLED,
            false,
            TraceState::default(),
        );
        let status = match &outgoing.answer {
            Ok(status) if is_client_error(*status) => Status::error(""),
            Ok(_) => Status::Unset,
            Err(error) => Status::error(error.clone()),
        };
        self.processor.on_end(SpanData {
            span_context: context,
            parent_span_id: SpanId::from(outgoing.parent_span),
            parent_span_is_remote: false,
            span_kind: SpanKind::Client,
            name: Cow::Borrowed(method(&outgoing.method)),
            start_time: outgoing.started,
            end_time: outgoing.started + outgoing.duration,
            attributes: outgoing_attributes(outgoing),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status,
            instrumentation_scope: self.scope.clone(),
        });
    }
}

/// By the semantic conventions for HTTP clients.
fn outgoing_attributes(outgoing: &OutgoingEvent) -> Vec<KeyValue> {
    let uri = &outgoing.uri;
    let mut attributes = vec![
        KeyValue::new("http.request.method", method(&outgoing.method)),
        KeyValue::new("server.address", uri.host().unwrap_or_default().to_owned()),
        KeyValue::new("url.full", clip(format_args!("{uri}"))),
        KeyValue::new("wharf.app", outgoing.app.to_string()),
        KeyValue::new("wharf.component", outgoing.component.to_string()),
    ];
    let default_port = if uri.scheme_str() == Some("https") {
        443
    } else {
        80
    };
    let port = i64::from(uri.port_u16().unwrap_or(default_port));
    attributes.push(KeyValue::new("server.port", port));
    match &outgoing.answer {
        Ok(status) => {
            let code = i64::from(status.as_u16());
            attributes.push(KeyValue::new("http.response.status_code", code));
            if is_client_error(*status) {
                attributes.push(KeyValue::new("error.type", status.as_str().to_owned()));
            }
        }
        Err(error) => attributes.push(KeyValue::new("error.type", error.clone())),
    }
    attributes
}

/// For clients 4xx and 5xx are errors.
fn is_client_error(status: StatusCode) -> bool {
    status.is_client_error() || status.is_server_error()
}

/// The method, or the word of the conventions for one that is not known: there is no end of them.
pub(super) fn method(method: &Method) -> &'static str {
    const KNOWN: [&str; 9] = [
        "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT",
    ];
    let known = KNOWN.into_iter().find(|known| *known == method.as_str());
    known.unwrap_or("_OTHER")
}

pub(super) fn scope() -> InstrumentationScope {
    InstrumentationScope::builder("wharf")
        .with_version(env!("CARGO_PKG_VERSION"))
        .build()
}

/// Ids of a request's own span.
pub(super) fn ids(id: RequestId) -> (TraceId, SpanId, TraceFlags) {
    let flags = match id.is_sampled() {
        true => TraceFlags::SAMPLED,
        false => TraceFlags::NOT_SAMPLED,
    };
    (TraceId::from(id.trace()), SpanId::from(id.span()), flags)
}

fn context(id: RequestId) -> SpanContext {
    let (trace, span, flags) = ids(id);
    SpanContext::new(trace, span, flags, false, TraceState::default())
}

fn attributes(request: &RequestEvent) -> Vec<KeyValue> {
    let version = match request.wire.version {
        Version::HTTP_2 => "2",
        Version::HTTP_10 => "1.0",
        _ => "1.1",
    };
    let mut attributes = vec![
        KeyValue::new("http.request.method", method(&request.method)),
        KeyValue::new("url.path", clip(format_args!("{}", request.path))),
        KeyValue::new("url.scheme", request.wire.scheme),
        KeyValue::new("network.protocol.version", version),
        KeyValue::new("wharf.app", request.app.to_string()),
        KeyValue::new("wharf.request_id", request.request_id.to_string()),
        KeyValue::new(
            "http.response.body.size",
            i64::try_from(request.bytes_out).unwrap_or(i64::MAX),
        ),
    ];
    let mut add = |key, value: Option<String>| {
        attributes.extend(value.map(|value| KeyValue::new(key, value)));
    };
    add(
        "http.route",
        request.route.as_ref().map(|route| route.to_string()),
    );
    add(
        "wharf.component",
        request.component.as_ref().map(|name| name.to_string()),
    );
    add(
        "client.address",
        request.client.map(|client| client.to_string()),
    );
    add("error.message", request.error.clone());
    if let Some(status) = request.status {
        let status_code = i64::from(status.as_u16());
        attributes.push(KeyValue::new("http.response.status_code", status_code));
    }
    if is_error(request) {
        let kind = match request.status {
            Some(status) => status.as_str().to_owned(),
            None => "cancelled".to_owned(),
        };
        attributes.push(KeyValue::new("error.type", kind));
    }
    attributes
}

/// For servers only 5xx are errors, and what never became an answer.
fn is_error(request: &RequestEvent) -> bool {
    request.status.is_none_or(|status| status.is_server_error())
}

fn status(request: &RequestEvent) -> Status {
    match is_error(request) {
        true => Status::error(request.error.clone().unwrap_or_default()),
        false => Status::Unset,
    }
}
