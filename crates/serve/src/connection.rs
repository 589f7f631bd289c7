//! One connection: HTTP/1.1 or HTTP/2 over any stream of bytes.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::drain::Draining;
use crate::http1::{Gate, Ledger};
use crate::node::Node;
use crate::patience::Patience;
use crate::request::Peer;

/// Streams that one HTTP/2 connection may have open.
const H2_STREAMS_MAX: u32 = 256;

/// What holds for each connection.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionOptions {
    /// Time for a client to send a request's head.
    pub(crate) header_time: Duration,
    /// How long a client may take nothing of what is there for it.
    pub(crate) write_time: Duration,
}

/// Speaks HTTP on connections, whatever is below: TCP, or TLS.
#[derive(Clone)]
pub(crate) struct Protocols {
    builder: auto::Builder<TokioExecutor>,
    options: ConnectionOptions,
}

impl Protocols {
    pub(crate) fn new(options: ConnectionOptions) -> Protocols {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            // The gate holds a head back until it is whole, and looks after the time.
            .header_read_timeout(None)
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(H2_STREAMS_MAX)
            .keep_alive_interval(Some(Duration::from_secs(30)))
            .keep_alive_timeout(Duration::from_secs(20));
        Protocols { builder, options }
    }

    /// Answers the requests that come over `stream` with `node` until the connection ends.
    /// Once `draining` begins, requests under way are the last.
    pub(crate) async fn serve<S>(
        &self,
        stream: S,
        peer: Peer,
        node: Arc<Node>,
        mut draining: Draining,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let ledger = Arc::new(Ledger::default());
        let service = service_fn({
            let ledger = Arc::clone(&ledger);
            move |request| {
                let number = ledger.arrive();
                let ledger = Arc::clone(&ledger);
                let refused = move || ledger.refusal_of(number);
                let answer = node.answer(request, peer, refused);
                async move { Ok::<_, Infallible>(answer.await) }
            }
        });
        let ConnectionOptions {
            header_time,
            write_time,
        } = self.options;
        let stream = Patience::new(stream, write_time);
        let stream = Gate::new(stream, peer.scheme, header_time, ledger);
        let connection = self.builder.serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        // A connection that fails is the client's matter: it left, or broke the protocol.
        tokio::select! {
            _ = &mut connection => {}
            () = draining.begun() => {
                connection.as_mut().graceful_shutdown();
                let _ = connection.await;
            }
        }
    }
}
