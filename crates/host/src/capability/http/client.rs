//! The pooled client behind the outgoing requests of one component.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::capture_connection;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::OnceCell;
use wasmtime_wasi_http::WasiBody;
use wharf_manifest::HttpGrant;

use super::connect::{Connector, Since};
use super::policy::HttpPolicy;
use crate::denial::Denials;
use crate::descriptors::Descriptors;
use crate::egress::Egress;

/// How long an unused connection is kept.
const IDLE_TIME: Duration = Duration::from_secs(60);
/// How long a connection is used for further requests: a name that points elsewhere by then is
/// followed.
const AGE_MAX: Duration = Duration::from_secs(5 * 60);
/// Unused connections kept a host.
const IDLE_PER_HOST_MAX: usize = 32;
/// The head of a response, and what is read ahead of a guest, in bytes.
const HTTP1_BUFFER_MAX: usize = 128 << 10;
/// The headers of one HTTP/2 response, in bytes.
const HTTP2_HEADERS_MAX: u32 = 64 << 10;
/// What a server may send ahead of a guest that does not read, in bytes: one response, and all of
/// a connection.
const HTTP2_STREAM_WINDOW: u32 = 512 << 10;
const HTTP2_CONNECTION_WINDOW: u32 = 1 << 20;
/// A connection that is in use and silent is asked whether it lives.
const HTTP2_PING_EVERY: Duration = Duration::from_secs(20);

type Pool = Client<HttpsConnector<Connector>, WasiBody>;

/// Outgoing HTTP/1.1 and HTTP/2 of one component: its grants and its pool of connections, TLS
/// with the system's roots.
#[derive(Debug)]
pub(crate) struct HttpClient {
    pub(super) policy: HttpPolicy,
    pub(super) egress: Egress,
    pub(super) denials: Denials,
    descriptors: Descriptors,
    pool: OnceCell<Pool>,
}

impl HttpClient {
    pub(crate) fn new(
        grants: Vec<HttpGrant>,
        egress: Egress,
        descriptors: Descriptors,
        denials: Denials,
    ) -> HttpClient {
        HttpClient {
            policy: HttpPolicy::new(grants, egress.clone(), denials.clone()),
            egress,
            denials,
            descriptors,
            pool: OnceCell::new(),
        }
    }

    /// Sends a request that the policy admitted.
    pub(super) async fn send(
        &self,
        mut request: Request<WasiBody>,
    ) -> Result<Response<Incoming>, Error> {
        let pool = self.pool.get_or_init(|| self.make_pool()).await;
        let connection = capture_connection(&mut request);
        let response = pool.request(request).await?;
        let since = response.extensions().get::<Since>();
        if since.is_some_and(|Since(since)| since.elapsed() > AGE_MAX)
            && let Some(connection) = connection.connection_metadata().as_ref()
        {
            connection.poison();
        }
        Ok(response)
    }

    async fn make_pool(&self) -> Pool {
        let connector = Connector::new(self.egress.clone(), self.descriptors.clone());
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(self.egress.tls.config().await)
            .https_or_http()
            .enable_http1()
            .enable_http2()
            .wrap_connector(connector);
        Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIME)
            .pool_max_idle_per_host(IDLE_PER_HOST_MAX)
            .http1_max_buf_size(HTTP1_BUFFER_MAX)
            .http2_max_header_list_size(HTTP2_HEADERS_MAX)
            .http2_initial_stream_window_size(HTTP2_STREAM_WINDOW)
            .http2_initial_connection_window_size(HTTP2_CONNECTION_WINDOW)
            .http2_keep_alive_interval(HTTP2_PING_EVERY)
            .build(connector)
    }
}

/// Which certificates a node trusts: those of the system.
#[derive(Debug, Default)]
pub(crate) struct Tls(OnceCell<ClientConfig>);

impl Tls {
    /// The settings of a client, read from the disk once and away from the reactor.
    async fn config(&self) -> ClientConfig {
        let read = || async {
            tokio::task::spawn_blocking(config_of_the_system)
                .await
                .unwrap_or_else(|_| config(RootCertStore::empty()))
        };
        self.0.get_or_init(read).await.clone()
    }
}

fn config_of_the_system() -> ClientConfig {
    let builder = builder();
    match builder.with_native_roots() {
        Ok(builder) => builder.with_no_client_auth(),
        // No certificates on this machine: plain HTTP works, TLS fails with its own error.
        Err(_) => config(RootCertStore::empty()),
    }
}

fn config(roots: RootCertStore) -> ClientConfig {
    builder()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

fn builder() -> rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier> {
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring supports the default versions")
}
