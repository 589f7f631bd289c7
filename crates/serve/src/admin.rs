//! The operator's address: metrics and health, apart from what clients reach.
//!
//! Nobody is asked who they are: whoever reaches the address may read. It is loopback unless the
//! operator says otherwise. A page in a browser on the same machine reaches it too, by a name of
//! its own that it has pointed at loopback; hence only addresses and `localhost` are taken as
//! `Host`, and what cannot be known to be meant for this server is refused.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, Semaphore};

use crate::node::{Node, Readiness};
use crate::patience::Patience;
use crate::request;
use crate::server::{ServeError, listen};

/// Connections at once; more than any scraper has.
const CONNECTIONS_MAX: usize = 64;
/// Time to send a request's head, and without a byte taken of an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// The text format of OpenMetrics.
const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A listening admin server.
///
/// `GET /metrics` answers what [`Metrics::text`](crate::Metrics::text) tells, `/healthz` 200 as
/// long as the process serves, and `/readyz` 200 while requests are answered by an app: 503
/// before the first one is there and from the beginning of a shutdown on.
#[derive(Debug)]
pub struct Admin {
    listener: TcpListener,
    addr: SocketAddr,
}

impl Admin {
    /// Starts to listen; port 0 takes a free one.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub async fn bind(addr: SocketAddr) -> Result<Admin, ServeError> {
        let (listener, addr) = listen(addr).await?;
        Ok(Admin { listener, addr })
    }

    /// The address that it listens on.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Answers for `node` until the future is dropped.
    pub async fn run(self, node: Arc<Node>) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let Ok((stream, _)) = self.listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                continue;
            };
            let node = Arc::clone(&node);
            let service = service_fn(move |request| {
                let node = Arc::clone(&node);
                async move { Ok::<_, Infallible>(respond(&node, &request).await) }
            });
            let stream = Patience::new(stream, PATIENCE);
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(PATIENCE)
                .serve_connection(TokioIo::new(stream), service);
            tokio::spawn(async move {
                let _ = connection.await;
                drop(place);
            });
        }
    }
}

/// One at a time, on a thread that may block: with many apps it is much text.
async fn metrics(node: &Node) -> Response<Full<Bytes>> {
    static ONE: Mutex<()> = Mutex::const_new(());
    let one = ONE.lock().await;
    let counted = node.metrics().clone();
    let text_of = tokio::task::spawn_blocking(move || counted.text()).await;
    drop(one);
    let Ok(metrics) = text_of else {
        return text(StatusCode::INTERNAL_SERVER_ERROR, "cannot tell the metrics");
    };
    let mut response = Response::new(Full::new(Bytes::from(metrics)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(METRICS_TYPE));
    response
}

async fn respond(node: &Node, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    if !is_meant(request::host(request)) {
        return text(
            StatusCode::MISDIRECTED_REQUEST,
            "ask by an IP address or localhost",
        );
    }
    let path = request.uri().path();
    if !matches!(path, "/metrics" | "/healthz" | "/readyz" | "/") {
        return text(
            StatusCode::NOT_FOUND,
            "there are /metrics, /healthz and /readyz",
        );
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD");
        let allow = HeaderValue::from_static("GET, HEAD");
        response.headers_mut().insert(ALLOW, allow);
        return response;
    }
    match path {
        "/metrics" => metrics(node).await,
        "/healthz" => text(StatusCode::OK, "ok"),
        "/readyz" => match node.readiness() {
            Readiness::Ready => text(StatusCode::OK, "ready"),
            Readiness::NoApp => text(StatusCode::SERVICE_UNAVAILABLE, "no app is served yet"),
            Readiness::Draining => text(StatusCode::SERVICE_UNAVAILABLE, "shutting down"),
        },
        _ => text(StatusCode::OK, "wharf: /metrics /healthz /readyz"),
    }
}

/// Whether a request for `host` was meant for this server, and not for a name that somebody
/// pointed at it.
fn is_meant(host: &str) -> bool {
    let bare = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(host);
    bare.parse::<IpAddr>().is_ok() || host.eq_ignore_ascii_case("localhost")
}

fn text(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(format!("{text}\n"))));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    headers.insert(CONTENT_TYPE, plain);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_and_localhost_are_meant() {
        for host in ["127.0.0.1", "[::1]", "10.0.0.5", "localhost", "LocalHost"] {
            assert!(is_meant(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
        ] {
            assert!(!is_meant(host), "{host}");
        }
    }
}
