//! The pooled client behind all outgoing requests.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tower_service::Service;
use wasmtime_wasi_http::WasiBody;

use crate::metadata::is_metadata;

/// Time to make a connection when the guest names none.
const CONNECT_TIME: Duration = Duration::from_secs(30);
/// How long an unused connection is kept.
const IDLE_TIME: Duration = Duration::from_secs(60);
/// Unused connections kept a host.
const IDLE_PER_HOST_MAX: usize = 32;

pub(crate) type Connector = HttpsConnector<HttpConnector<GuardedResolver>>;

/// One client a node: HTTP/1.1 and HTTP/2, TLS with the system's roots, pooled connections.
/// Clones share the pool.
#[derive(Debug, Clone)]
pub struct HttpClient {
    pub(crate) client: Arc<std::sync::OnceLock<Client<Connector, WasiBody>>>,
}

impl Default for HttpClient {
    fn default() -> HttpClient {
        HttpClient::new()
    }
}

impl HttpClient {
    /// A client with an empty pool. Certificates are read at the first request.
    pub fn new() -> HttpClient {
        HttpClient {
            client: Arc::default(),
        }
    }

    pub(crate) fn get(&self) -> &Client<Connector, WasiBody> {
        self.client.get_or_init(make_client)
    }
}

fn make_client() -> Client<Connector, WasiBody> {
    let mut http = HttpConnector::new_with_resolver(GuardedResolver);
    http.enforce_http(false);
    http.set_nodelay(true);
    http.set_connect_timeout(Some(CONNECT_TIME));
    let tls = match HttpsConnectorBuilder::new().with_native_roots() {
        Ok(tls) => tls,
        // No certificates on this machine: plain HTTP works, TLS fails with its own error.
        Err(_) => HttpsConnectorBuilder::new().with_tls_config(
            rustls::ClientConfig::builder_with_provider(Arc::new(
                rustls::crypto::ring::default_provider(),
            ))
            .with_safe_default_protocol_versions()
            .expect("ring supports the default versions")
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth(),
        ),
    };
    let connector = tls
        .https_or_http()
        .enable_http1()
        .enable_http2()
        .wrap_connector(http);
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIME)
        .pool_max_idle_per_host(IDLE_PER_HOST_MAX)
        .build(connector)
}

/// Resolves names, and refuses a name that points at a cloud machine's metadata service.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GuardedResolver;

impl Service<Name> for GuardedResolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, io::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0))
                .await?
                .filter(|address| !is_metadata(address.ip()))
                .collect();
            if found.is_empty() {
                return Err(io::Error::new(
                    io::ErrorKind::PermissionDenied,
                    "the name has no address that may be reached",
                ));
            }
            Ok(found.into_iter())
        })
    }
}

/// Whether `uri` names a metadata address by number, which no resolver sees.
pub(crate) fn names_metadata(uri: &Uri) -> bool {
    uri.host()
        .map(|host| host.trim_start_matches('[').trim_end_matches(']'))
        .and_then(|host| host.parse().ok())
        .is_some_and(is_metadata)
}
