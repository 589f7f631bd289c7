//! New connections: to addresses that the node's rules allow, and not too many of them.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower_service::Service;

use super::default_port;
use crate::descriptors::{Descriptors, Open};
use crate::egress::{Covered, Egress};
use crate::resolver::LookupFailure;

/// Time to make a connection when the guest names none.
const CONNECT_TIME: Duration = Duration::from_secs(30);
/// Connections of one component, unused ones among them.
const CONNECTIONS_MAX: usize = 1024;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Makes connections for one component.
#[derive(Debug, Clone)]
pub(super) struct Connector {
    egress: Egress,
    room: Arc<Semaphore>,
    descriptors: Descriptors,
}

impl Connector {
    pub(super) fn new(egress: Egress, descriptors: Descriptors) -> Connector {
        Connector {
            egress,
            room: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
            descriptors,
        }
    }

    /// Makes one connection, to `port` of whatever address its name has.
    fn to_port(&self, port: u16) -> HttpConnector<RuledResolver> {
        let mut http = HttpConnector::new_with_resolver(RuledResolver {
            egress: self.egress.clone(),
            port,
        });
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(CONNECT_TIME));
        http
    }
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let Ok(place) = Arc::clone(&self.room).try_acquire_owned() else {
            return Box::pin(async { Err(Error::from(io::Error::other(TooMany))) });
        };
        // Where a name has addresses of both families, two are tried at once for a while.
        let hold = || self.descriptors.hold();
        let (Some(descriptor), Some(second)) = (hold(), hold()) else {
            return Box::pin(async { Err(Error::from(io::Error::other(TooMany))) });
        };
        let port = uri.port_u16().unwrap_or(default_port(&uri));
        let connecting = self.to_port(port).call(uri);
        Box::pin(async move {
            let io = connecting.await;
            drop(second);
            Ok(Stream {
                io: io?,
                since: Instant::now(),
                _place: place,
                _descriptor: descriptor,
            })
        })
    }
}

/// A connection, with its place among those of its component.
pub(super) struct Stream {
    io: TokioIo<TcpStream>,
    since: Instant,
    _place: OwnedSemaphorePermit,
    _descriptor: Open,
}

/// When a connection was made; an extension of every response.
#[derive(Debug, Clone, Copy)]
pub(super) struct Since(pub(super) Instant);

impl Connection for Stream {
    fn connected(&self) -> Connected {
        self.io.connected().extra(Since(self.since))
    }
}

impl Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl Write for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }
}

/// Resolves names, to addresses only that the rules allow: what it answers is connected to.
#[derive(Debug, Clone)]
struct RuledResolver {
    egress: Egress,
    port: u16,
}

impl Service<Name> for RuledResolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, io::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let RuledResolver { egress, port } = self.clone();
        Box::pin(async move {
            let name = name.as_str();
            let found = egress.resolver.resolve(name, &egress.share).await;
            let found = found.map_err(|failure| io::Error::other(Unresolved(failure)))?;
            let allowed = found
                .iter()
                .filter(|address| egress.allow(**address, port, Covered::Name(name)))
                .map(|address| SocketAddr::new(*address, 0));
            let allowed: Vec<SocketAddr> = allowed.collect();
            match found.first() {
                Some(address) if allowed.is_empty() => Err(io::Error::other(Refused {
                    name: name.to_owned(),
                    address: *address,
                    port,
                })),
                _ => Ok(allowed.into_iter()),
            }
        })
    }
}

/// Every address of the name is refused by the node's rules, or the node's own.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) name: String,
    /// One of them.
    pub(super) address: IpAddr,
    pub(super) port: u16,
}

/// The name has no address.
#[derive(Debug)]
pub(super) struct Unresolved(pub(super) LookupFailure);

/// The component has too many connections, or its app too many descriptors.
#[derive(Debug)]
pub(super) struct TooMany;

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` has no address that may be reached", self.name)
    }
}

impl fmt::Display for Unresolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name has no address")
    }
}

impl fmt::Display for TooMany {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "more than {CONNECTIONS_MAX} connections of one component, or no descriptor left"
        )
    }
}

impl std::error::Error for Refused {}
impl std::error::Error for Unresolved {}
impl std::error::Error for TooMany {}
