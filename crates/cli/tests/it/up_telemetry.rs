//! Traces and logs, as a collector gets them.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{Span, span, status};
use prost::Message;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use wharf_testkit::Sandbox;

use crate::up_client::{Upstream, full, get, header_of, send, within};
use crate::up_kitchen::{Kitchen, P2_PURE, P2_STD, P3_PURE, Up, code_cache, sandbox};

/// A collector that takes what it is sent, by OTLP over HTTP.
pub(crate) struct Collector {
    pub(crate) addr: SocketAddr,
    got: mpsc::UnboundedReceiver<Got>,
}

enum Got {
    Span(Option<Resource>, Box<Span>),
    Record(Box<LogRecord>),
}

impl Collector {
    pub(crate) async fn start(status: StatusCode) -> Collector {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (sender, got) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let sender = sender.clone();
                let service = service_fn(move |request| take(request, sender.clone(), status));
                let connection = http1::Builder::new();
                tokio::spawn(connection.serve_connection(TokioIo::new(stream), service));
            }
        });
        Collector { addr, got }
    }

    /// Everything until a span and a log record of `path` were there, as debug text.
    pub(crate) async fn all_until(&mut self, path: &str) -> String {
        let mut all = String::new();
        let (mut span, mut record) = (false, false);
        while !span || !record {
            let is_of = |attributes: &[KeyValue]| {
                attribute(attributes, "url.path").is_some_and(|found| found == path)
            };
            match within("telemetry", self.got.recv()).await.unwrap() {
                Got::Span(resource, got) => {
                    span |= is_of(&got.attributes);
                    all.push_str(&format!("{resource:?} {got:?}\n"));
                }
                Got::Record(got) => {
                    record |= is_of(&got.attributes);
                    all.push_str(&format!("{got:?}\n"));
                }
            }
        }
        all
    }

    /// The first span that `wanted` says yes to, and who sent it.
    async fn span(&mut self, wanted: impl Fn(&Span) -> bool) -> (Resource, Span) {
        loop {
            match within("a span", self.got.recv()).await.unwrap() {
                Got::Span(resource, span) if wanted(&span) => return (resource.unwrap(), *span),
                _ => {}
            }
        }
    }
}

async fn take(
    request: Request<Incoming>,
    sender: mpsc::UnboundedSender<Got>,
    status: StatusCode,
) -> Result<Response<Full<Bytes>>, Infallible> {
    assert_eq!(request.headers()["content-type"], "application/x-protobuf");
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    match path.as_str() {
        "/v1/traces" => {
            let export = ExportTraceServiceRequest::decode(body).unwrap();
            for of_resource in export.resource_spans {
                for span in of_resource
                    .scope_spans
                    .into_iter()
                    .flat_map(|scope| scope.spans)
                {
                    let _ = sender.send(Got::Span(of_resource.resource.clone(), Box::new(span)));
                }
            }
        }
        "/v1/logs" => {
            let export = ExportLogsServiceRequest::decode(body).unwrap();
            let scopes = export
                .resource_logs
                .into_iter()
                .flat_map(|logs| logs.scope_logs);
            for record in scopes.flat_map(|scope| scope.log_records) {
                let _ = sender.send(Got::Record(Box::new(record)));
            }
        }
        other => panic!("nothing is sent to {other}"),
    }
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    Ok(response)
}

/// An attribute, as text.
fn attribute(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    Some(match found.value.as_ref()?.value.as_ref()? {
        any_value::Value::StringValue(text) => text.clone(),
        any_value::Value::IntValue(number) => number.to_string(),
        other => format!("{other:?}"),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn body(record: &LogRecord) -> &str {
    match record.body.as_ref().and_then(|body| body.value.as_ref()) {
        Some(any_value::Value::StringValue(text)) => text,
        _ => "",
    }
}

/// The kitchen, which sends what it tells to `endpoint`.
fn up(kitchen: Kitchen, endpoint: SocketAddr, variables: &[(&str, &str)]) -> Up {
    let sandbox = sandbox();
    let file = sandbox.copy(kitchen.file(), "kitchen.wasm");
    up_in(sandbox, &file, endpoint, variables, &[])
}

pub(crate) fn up_in(
    sandbox: Sandbox,
    file: &Path,
    endpoint: SocketAddr,
    variables: &[(&str, &str)],
    arguments: &[&str],
) -> Up {
    let mut command = sandbox
        .up_command([file])
        .env("WHARF_CACHE_DIR", code_cache())
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{endpoint}"))
        .env("OTEL_BSP_SCHEDULE_DELAY", "50")
        .env("OTEL_BLRP_SCHEDULE_DELAY", "50");
    for (name, value) in variables {
        command = command.env(name, value);
    }
    for argument in arguments {
        command = command.arg(argument);
    }
    let server = command.start_server();
    Up {
        addr: server.addr,
        server,
        sandbox,
    }
}

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_a_span_and_the_guest_is_told_of_it() {
    for kitchen in [P2_PURE, P3_PURE] {
        let mut collector = Collector::start(StatusCode::OK).await;
        let up = up(kitchen, collector.addr, &[]);
        let request = Request::get("/headers?secret=1").header("traceparent", PARENT);
        let answer = send(up.addr, request.body(full("")).unwrap()).await;
        let (resource, span) = collector.span(|_| true).await;
        assert_eq!(
            attribute(&resource.attributes, "service.name").as_deref(),
            Some("wharf")
        );
        assert_eq!(span.name, "GET /...");
        assert_eq!(span.kind(), span::SpanKind::Server);
        assert_eq!(hex(&span.trace_id), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(hex(&span.parent_span_id), "00f067aa0ba902b7");
        let told = format!("00-{}-{}-01", hex(&span.trace_id), hex(&span.span_id));
        assert!(answer.text().contains(&told), "{told}: {}", answer.text());
        for (key, expected) in [
            ("http.request.method", "GET"),
            ("http.response.status_code", "200"),
            ("http.route", "/..."),
            ("url.path", "/headers"),
            ("url.scheme", "http"),
            ("network.protocol.version", "1.1"),
            ("client.address", "127.0.0.1"),
            ("wharf.app", "kitchen"),
            ("wharf.component", "kitchen"),
        ] {
            let value = attribute(&span.attributes, key);
            assert_eq!(value.as_deref(), Some(expected), "{key}");
        }
        assert!(
            !format!("{span:?}").contains("secret"),
            "queries are not told"
        );
        assert!(span.end_time_unix_nano > span.start_time_unix_nano);
        assert_eq!(span.status.map_or(0, |status| status.code), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_request_is_an_error_and_its_log_lines_belong_to_its_span() {
    let mut collector = Collector::start(StatusCode::OK).await;
    let up = up(P2_STD, collector.addr, &[("OTEL_TRACES_EXPORTER", "otlp")]);
    assert_eq!(get(up.addr, "/panic").await.status, 500);
    let (mut span, mut printed, mut told) = (None, None, None);
    while span.is_none() || printed.is_none() || told.is_none() {
        match within("telemetry", collector.got.recv()).await.unwrap() {
            Got::Span(_, got) => span = Some(*got),
            Got::Record(got) if body(&got).contains("panicked") => printed = Some(*got),
            Got::Record(got) if body(&got).contains("aborted") => told = Some(*got),
            Got::Record(_) => {}
        }
    }
    let (span, printed, told) = (span.unwrap(), printed.unwrap(), told.unwrap());
    assert_eq!(span.status.unwrap().code(), status::StatusCode::Error);
    assert_eq!(
        attribute(&span.attributes, "error.type").as_deref(),
        Some("500")
    );
    assert!(span.parent_span_id.is_empty());
    for record in [&printed, &told] {
        assert_eq!(record.trace_id, span.trace_id, "{record:?}");
        assert_eq!(record.span_id, span.span_id, "{record:?}");
    }
    assert_eq!(printed.severity_text, "INFO");
    assert_eq!(
        attribute(&printed.attributes, "log.iostream").as_deref(),
        Some("stderr")
    );
    assert_eq!(told.severity_text, "ERROR");
    assert_eq!(
        attribute(&told.attributes, "kind").as_deref(),
        Some("guest")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_guest_asks_for_is_a_span_below_its_request() {
    for kitchen in [P2_PURE, P3_PURE] {
        let mut collector = Collector::start(StatusCode::OK).await;
        let sandbox = sandbox();
        let file = sandbox.copy(kitchen.file(), "kitchen.wasm");
        let upstream = Upstream::start().await;
        let up = up_in(
            sandbox,
            &file,
            collector.addr,
            &[],
            &["--http", &upstream.origin()],
        );
        let path = format!("{}?token=1", upstream.proxy_path());
        let asking = tokio::spawn(async move { get(up.addr, &path).await });
        let asked = upstream.request().await;
        let told = header_of(&asked.head, "traceparent").unwrap().to_owned();
        asked.answer("hello").await;
        assert_eq!(within("the answer", asking).await.unwrap().status, 200);
        let (mut server, mut client) = (None, None);
        while server.is_none() || client.is_none() {
            let (_, span) = collector.span(|_| true).await;
            match span.kind() {
                span::SpanKind::Client => client = Some(span),
                _ => server = Some(span),
            }
        }
        let (server, client) = (server.unwrap(), client.unwrap());
        assert_eq!(client.trace_id, server.trace_id);
        assert_eq!(client.parent_span_id, server.span_id);
        assert_eq!(
            told,
            format!("00-{}-{}-01", hex(&client.trace_id), hex(&client.span_id))
        );
        assert_eq!(client.name, "GET");
        for (key, expected) in [
            ("http.response.status_code", "200"),
            ("server.address", "127.0.0.1"),
            ("wharf.component", "kitchen"),
        ] {
            let value = attribute(&client.attributes, key);
            assert_eq!(value.as_deref(), Some(expected), "{key}");
        }
        assert!(
            !format!("{client:?}").contains("token"),
            "queries are not told"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_is_sent_when_the_server_ends() {
    let mut collector = Collector::start(StatusCode::OK).await;
    let slow = [
        ("OTEL_BSP_SCHEDULE_DELAY", "600000"),
        ("OTEL_BLRP_SCHEDULE_DELAY", "600000"),
    ];
    let up = up(P2_PURE, collector.addr, &slow);
    assert_eq!(get(up.addr, "/").await.status, 200);
    up.logged_request(0, "/");
    let ended = tokio::task::spawn_blocking(move || up.server.terminate());
    assert_eq!(within("the end", ended).await.unwrap(), 0);
    let (mut span, mut record) = (false, false);
    while !span || !record {
        match within("telemetry", collector.got.recv()).await.unwrap() {
            Got::Span(_, got) => span |= got.name == "GET /...",
            Got::Record(got) => record |= body(&got) == "request",
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_that_is_not_kept_is_not_sent_but_goes_on() {
    let mut collector = Collector::start(StatusCode::OK).await;
    let up = up(
        P2_PURE,
        collector.addr,
        &[("OTEL_TRACES_SAMPLER", "always_off")],
    );
    let request = Request::get("/headers").header("traceparent", PARENT);
    let answer = send(up.addr, request.body(full("")).unwrap()).await;
    let told = answer.text();
    assert!(told.contains("4bf92f3577b34da6a3ce929d0e0e4736"), "{told}");
    assert!(told.contains("-00\""), "{told}");
    assert!(!told.contains("00f067aa0ba902b7"), "{told}");
    loop {
        match within("a log record", collector.got.recv()).await.unwrap() {
            Got::Span(_, span) => panic!("{span:?}"),
            Got::Record(record) if body(&record) == "request" => break,
            Got::Record(_) => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_does_not_decide_what_is_kept() {
    let mut collector = Collector::start(StatusCode::OK).await;
    let up = up(P2_PURE, collector.addr, &[]);
    let unsampled = PARENT.replace("-01", "-00");
    let request = Request::get("/headers").header("traceparent", &unsampled);
    send(up.addr, request.body(full("")).unwrap()).await;
    let (_, span) = collector.span(|_| true).await;
    assert_eq!(hex(&span.trace_id), "4bf92f3577b34da6a3ce929d0e0e4736");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_not_there_is_told_once_and_harms_nobody() {
    let refusing = Collector::start(StatusCode::UNAUTHORIZED).await;
    let gone = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    for (endpoint, why) in [(gone, "refused"), (refusing.addr, "401")] {
        let up = up(P2_PURE, endpoint, &[]);
        for _ in 0..5 {
            assert_eq!(get(up.addr, "/").await.status, 200);
        }
        let line = up.logged(|line| {
            line["msg"]
                .as_str()
                .is_some_and(|text| text.contains("does not take telemetry"))
        });
        assert!(line["error"].as_str().unwrap().contains(why), "{line}");
        assert_eq!(get(up.addr, "/").await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_collector_traceparent_is_the_clients_own() {
    let up = P2_PURE.up(&[]);
    let request = Request::get("/headers").header("traceparent", PARENT);
    let answer = send(up.addr, request.body(full("")).unwrap()).await;
    assert!(answer.text().contains(PARENT), "{}", answer.text());
}

#[test]
fn variables_that_cannot_be_obeyed_are_told() {
    let sandbox = sandbox();
    crate::serve_node::site(&sandbox, "one");
    for (name, value, wrong) in [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "does not speak"),
        ("OTEL_TRACES_SAMPLER", "sometimes", "does not know"),
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "not a url",
            "cannot export telemetry",
        ),
    ] {
        let command = sandbox
            .up_command(["one"])
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
            .env(name, value);
        let output = command.limit(Duration::from_secs(60)).output();
        assert_eq!(output.code, 1, "{name}: {output:?}");
        assert!(output.stderr.contains(wrong), "{name}: {}", output.stderr);
        assert!(output.stderr.contains("hint: "), "{}", output.stderr);
    }
}
