//! How the exporters reach the collector: hyper, on the node's own runtime.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry_http::{HttpClient, HttpError};
use tokio::runtime::Handle;

use crate::log::{Level, Log, Message};

/// What a collector may answer; it has little to say.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Time for one request, whatever the exporter's own timer does.
const TIME: Duration = Duration::from_secs(30);

/// A client that the exporters' own threads may call.
#[derive(Clone)]
pub(super) struct CollectorClient {
    runtime: Handle,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    health: Arc<Health>,
}

/// Whether the collector takes what it is sent; each change is told once.
#[derive(Debug, Default)]
struct Health {
    is_failing: AtomicBool,
    log: OnceLock<Log>,
}

impl Health {
    fn note(&self, result: Result<(), String>) {
        let (Some(log), was_failing) = (
            self.log.get(),
            self.is_failing.swap(result.is_err(), Ordering::Relaxed),
        ) else {
            return;
        };
        match result {
            Err(error) if !was_failing => log.message(
                Message::new(
                    Level::Warn,
                    "the collector does not take telemetry; it is dropped",
                )
                .with("error", error)
                .with("hint", "look at OTEL_EXPORTER_OTLP_ENDPOINT"),
            ),
            Ok(()) if was_failing => {
                log.message(Message::new(
                    Level::Info,
                    "the collector takes telemetry again",
                ));
            }
            _ => {}
        }
    }
}

impl fmt::Debug for CollectorClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CollectorClient").finish_non_exhaustive()
    }
}

impl CollectorClient {
    pub(super) fn new(runtime: Handle) -> CollectorClient {
        let builder = HttpsConnectorBuilder::new();
        let tls = match builder.with_native_roots() {
            Ok(tls) => tls,
            // A machine without certificates: a collector without TLS can be reached.
            Err(_) => HttpsConnectorBuilder::new().with_tls_config(
                rustls::ClientConfig::builder_with_provider(
                    rustls::crypto::ring::default_provider().into(),
                )
                .with_safe_default_protocol_versions()
                .expect("ring supports the default versions")
                .with_root_certificates(rustls::RootCertStore::empty())
                .with_no_client_auth(),
            ),
        };
        let connector = tls.https_or_http().enable_http1().build();
        CollectorClient {
            runtime,
            client: Client::builder(TokioExecutor::new()).build(connector),
            health: Arc::default(),
        }
    }

    /// Says in `log` when the collector is not there, and when it is there again.
    pub(super) fn report_to(&self, log: Log) {
        let _ = self.health.log.set(log);
    }
}

#[async_trait]
impl HttpClient for CollectorClient {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        let sending = async move {
            let response = client.request(request.map(Full::new)).await?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await?;
            Ok::<_, HttpError>(Response::from_parts(head, body.to_bytes()))
        };
        // The caller's thread is no part of the runtime.
        let task = self
            .runtime
            .spawn(async move { tokio::time::timeout(TIME, sending).await });
        let result: Result<Response<Bytes>, HttpError> = match task.await {
            Ok(Ok(result)) => result,
            Ok(Err(late)) => Err(late.into()),
            Err(ended) => Err(ended.into()),
        };
        self.health.note(match &result {
            Ok(response) if response.status().is_success() => Ok(()),
            Ok(response) => Err(format!("it answered {}", response.status())),
            Err(error) => Err(innermost(&**error)),
        });
        result
    }
}

/// The cause of an error that has causes.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
