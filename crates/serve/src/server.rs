//! The server: accepts connections, has HTTP spoken on them, drains.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use crate::clients::{Clients, Counted, Share};
use crate::connection::{ConnectionOptions, Party, Protocols};
use crate::drain::{Drain, Draining};
use crate::log::{Level, Message};
use crate::node::Node;
use crate::request::{Peer, Scheme};
use crate::tls::Tls;
use crate::windows::Windows;

/// An address to listen on.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// The address; port 0 takes a free one.
    pub addr: SocketAddr,
    /// For HTTPS, the certificates.
    pub tls: Option<Tls>,
}

/// Settings of a [`Server`].
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Where to listen, at least one address.
    pub endpoints: Vec<Endpoint>,
    /// Time for a client to send a request's head.
    pub header_time: Duration,
    /// How long a client may take nothing of what is there for it, all in all: each second's worth of
    /// 240 bytes that it takes gives a second back.
    pub write_time: Duration,
    /// How long a connection may be without a request.
    pub idle_time: Duration,
    /// Connections at once; what comes beyond is closed.
    pub connections_max: usize,
    /// Of them, those of one client: an address of IPv4, or a /64 network of IPv6.
    pub connections_per_client_max: usize,
    /// How long draining may take.
    pub drain: Duration,
    /// Bytes that connections of HTTP/2 may send unread, together, beside 64 KiB of each. Half of
    /// them for one client.
    pub windows_bytes: usize,
}

impl Default for ServerOptions {
    /// No address yet; 30 s for a head or a handshake, 60 s without a byte taken, 120 s without a
    /// request, 10,000 connections and 1,000 of each client, 10 s to drain, 64 MiB unread.
    fn default() -> ServerOptions {
        ServerOptions {
            endpoints: Vec::new(),
            header_time: Duration::from_secs(30),
            write_time: Duration::from_secs(60),
            idle_time: Duration::from_secs(120),
            connections_max: 10_000,
            connections_per_client_max: 1_000,
            drain: Duration::from_secs(10),
            windows_bytes: 64 << 20,
        }
    }
}

impl ServerOptions {
    /// Plain HTTP on one address, and the defaults.
    pub fn new(addr: SocketAddr) -> ServerOptions {
        ServerOptions {
            endpoints: vec![Endpoint { addr, tls: None }],
            ..ServerOptions::default()
        }
    }

    fn connection(&self) -> ConnectionOptions {
        ConnectionOptions {
            header_time: self.header_time,
            write_time: self.write_time,
            idle_time: self.idle_time,
        }
    }
}

/// The server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Its address is taken.
    #[error("{addr} is in use by another program")]
    InUse {
        /// The address.
        addr: SocketAddr,
    },
    /// It may not listen there.
    #[error("cannot listen on {addr}: {source}")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

impl ServeError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            ServeError::InUse { .. } => {
                "end it, or choose another address; port 0 takes a free one"
            }
            ServeError::Listen { source, .. }
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                "ports below 1024 need privileges; choose a higher one"
            }
            ServeError::Listen { .. } => "give an address of this machine",
        }
    }
}

/// A listening server.
#[derive(Debug)]
pub struct Server {
    listeners: Vec<Listening>,
    options: ServerOptions,
}

#[derive(Debug)]
struct Listening {
    listener: TcpListener,
    addr: SocketAddr,
    tls: Option<Tls>,
}

/// A pause after an accept that failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Starts to listen on `addr`, and tells the address that it has got.
pub(crate) async fn listen(addr: SocketAddr) -> Result<(TcpListener, SocketAddr), ServeError> {
    let listener = TcpListener::bind(addr).await.map_err(|source| {
        if source.kind() == io::ErrorKind::AddrInUse {
            ServeError::InUse { addr }
        } else {
            ServeError::Listen { addr, source }
        }
    })?;
    let addr = listener.local_addr().unwrap_or(addr);
    Ok((listener, addr))
}

impl Server {
    /// Starts to listen. Connections wait until [`Server::run`].
    ///
    /// # Errors
    /// When an address cannot be had.
    pub async fn bind(options: ServerOptions) -> Result<Server, ServeError> {
        let mut listeners = Vec::new();
        for endpoint in &options.endpoints {
            let (listener, addr) = listen(endpoint.addr).await?;
            listeners.push(Listening {
                listener,
                addr,
                tls: endpoint.tls.clone(),
            });
        }
        Ok(Server { listeners, options })
    }

    /// The addresses that it listens on, each with its scheme, `http` or `https`.
    pub fn addrs(&self) -> impl Iterator<Item = (&'static str, SocketAddr)> {
        self.listeners.iter().map(|listening| {
            let scheme = match listening.tls {
                Some(_) => Scheme::Https,
                None => Scheme::Http,
            };
            (scheme.as_str(), listening.addr)
        })
    }

    /// Connections that it takes at once.
    pub fn connections_max(&self) -> usize {
        self.options.connections_max
    }

    /// Answers requests with `node` until `stop` is ready; then takes no new connection, lets
    /// requests under way finish for the drain time, and returns whether all did.
    pub async fn run(self, node: Arc<Node>, stop: impl Future<Output = ()>) -> bool {
        let drain = Drain::new();
        let door = Arc::new(Door {
            protocols: Protocols::new(self.options.connection()),
            places: Arc::new(Semaphore::new(self.options.connections_max)),
            clients: Clients::new(self.options.connections_per_client_max),
            windows: Windows::new(self.options.windows_bytes),
            handshake_time: self.options.header_time,
            node: Arc::clone(&node),
        });
        let mut accepting = JoinSet::new();
        for listening in self.listeners {
            accepting.spawn(accept(listening, Arc::clone(&door), drain.watch()));
        }
        stop.await;
        node.drains();
        // Closes the listeners.
        accepting.shutdown().await;
        if let Some(overlay) = node.overlay() {
            overlay.shut_down();
        }
        tokio::time::timeout(self.options.drain, drain.finish())
            .await
            .is_ok()
    }
}

/// What all connections go through.
struct Door {
    protocols: Protocols,
    places: Arc<Semaphore>,
    clients: Arc<Clients>,
    windows: Arc<Windows>,
    handshake_time: Duration,
    node: Arc<Node>,
}

impl Door {
    /// A place for a connection of `client`, or whose limit it met.
    fn place(&self, client: SocketAddr) -> Result<Place, &'static str> {
        let all = Arc::clone(&self.places);
        Ok(Place {
            _all: all.try_acquire_owned().map_err(|_| "node")?,
            client: match self.node.proxies().trusts(client.ip()) {
                // Behind it are many.
                true => None,
                false => Some(self.clients.count(client.ip()).ok_or("client")?),
            },
        })
    }
}

/// A connection's place among all, and among those of its client.
struct Place {
    _all: OwnedSemaphorePermit,
    /// `None` for a trusted proxy.
    client: Option<Counted>,
}

impl Place {
    fn share(&self) -> Share {
        match &self.client {
            Some(counted) => counted.share(),
            None => Share::of_proxy(),
        }
    }
}

async fn accept(listening: Listening, door: Arc<Door>, draining: Draining) {
    let server = door.node.metrics().server();
    loop {
        match listening.listener.accept().await {
            Ok((stream, client)) => match door.place(client) {
                Ok(place) => {
                    server.connections_accepted.inc();
                    let tls = listening.tls.clone();
                    connect(stream, client, tls, place, &door, draining.clone());
                }
                // The client sees its connection closed.
                Err(whose) => server.connection_refused(whose),
            },
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                door.node.log().message(
                    Message::new(Level::Warn, "cannot accept a connection")
                        .with("error", error.to_string()),
                );
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn connect(
    stream: TcpStream,
    client: SocketAddr,
    tls: Option<Tls>,
    place: Place,
    door: &Arc<Door>,
    draining: Draining,
) {
    // Answers are written whole; waiting for more would only delay them.
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(&stream).set_tcp_keepalive(&keepalive());
    let door = Arc::clone(door);
    tokio::spawn(async move {
        let open = Open::new(&door.node);
        let party = |scheme| Party {
            peer: Peer {
                addr: client,
                scheme,
            },
            share: place.share(),
            window: door
                .windows
                .open(place.client.as_ref().map(Counted::client)),
        };
        let node = Arc::clone(&door.node);
        match tls {
            None => {
                let party = party(Scheme::Http);
                door.protocols.serve(stream, party, node, draining).await;
            }
            Some(tls) => {
                let handshake = tokio::time::timeout(door.handshake_time, tls.accept(stream));
                let mut ending = draining.clone();
                let handshake = tokio::select! {
                    handshake = handshake => handshake,
                    () = ending.begun() => return,
                };
                drop(ending);
                // One that fails is the client's matter.
                if let Ok(Ok(stream)) = handshake {
                    let party = party(Scheme::Https);
                    door.protocols.serve(stream, party, node, draining).await;
                }
            }
        }
        drop((open, place));
    });
}

/// A client that vanished without a word is found after two minutes of silence.
fn keepalive() -> TcpKeepalive {
    TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(15))
        .with_retries(4)
}

/// Counts an open connection.
struct Open(Arc<Node>);

impl Open {
    fn new(node: &Arc<Node>) -> Open {
        node.metrics().server().connections.inc();
        Open(Arc::clone(node))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.metrics().server().connections.dec();
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::log::{Log, LogFormat, LogOptions};
    use crate::metrics::Metrics;
    use crate::node::NodeOptions;

    /// Bytes of an answer; none if the connection is closed instead.
    async fn ask(stream: &mut TcpStream) -> usize {
        let asked = stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        match asked {
            Ok(()) => stream.read(&mut [0; 1024]).await.unwrap_or(0),
            Err(_) => 0,
        }
    }

    async fn serve(options: impl FnOnce(&mut ServerOptions)) -> SocketAddr {
        let mut all = ServerOptions::new("127.0.0.1:0".parse().unwrap());
        options(&mut all);
        let server = Server::bind(all).await.unwrap();
        let (_, addr) = server.addrs().next().unwrap();
        let options = LogOptions::new(LogFormat::Text { is_coloured: false });
        let log = Log::start(io::sink(), options).unwrap();
        let node = Arc::new(Node::new(log, Metrics::new(), NodeOptions::default()));
        tokio::spawn(server.run(node, std::future::pending()));
        addr
    }

    async fn check_the_second_is_closed(addr: SocketAddr) {
        let mut first = TcpStream::connect(addr).await.unwrap();
        assert!(ask(&mut first).await > 0);
        let mut second = TcpStream::connect(addr).await.unwrap();
        assert_eq!(ask(&mut second).await, 0);
        assert!(ask(&mut first).await > 0, "it goes on");
        drop(first);
        // The server learns of it by and by.
        while ask(&mut TcpStream::connect(addr).await.unwrap()).await == 0 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn beyond_their_number_connections_are_closed() {
        check_the_second_is_closed(serve(|options| options.connections_max = 1).await).await;
        let addr = serve(|options| options.connections_per_client_max = 1).await;
        check_the_second_is_closed(addr).await;
    }

    async fn rest(stream: &mut TcpStream) -> Vec<u8> {
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        rest
    }

    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

    /// GET http a /, by the indexes of RFC 7541, appendix A.
    const GET: &[u8] = b"\0\0\x06\x01\x05\0\0\0\x01\x82\x86\x84\x41\x01a";

    /// The kinds of the frames that come for `sent` until the server closes the connection.
    async fn kinds_for(addr: SocketAddr, sent: &[&[u8]]) -> Vec<u8> {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(PREFACE).await.unwrap();
        stream.write_all(&sent.concat()).await.unwrap();
        let frames = tokio::time::timeout(Duration::from_secs(30), rest(&mut stream));
        let frames = frames.await.expect("it ends");
        let mut kinds = Vec::new();
        let mut frames = &frames[..];
        while let [a, b, c, kind, _, _, _, _, _, after @ ..] = frames {
            kinds.push(*kind);
            frames = &after[u32::from_be_bytes([0, *a, *b, *c]) as usize..];
        }
        kinds
    }

    #[tokio::test]
    async fn a_connection_without_requests_is_closed() {
        let idle = Duration::from_millis(40);
        let addr = serve(|options| options.idle_time = idle).await;
        let mut http1 = TcpStream::connect(addr).await.unwrap();
        assert!(ask(&mut http1).await > 0);
        assert!(rest(&mut http1).await.is_empty());
        let settings = b"\0\0\0\x04\0\0\0\0\0";
        let kinds = kinds_for(addr, &[settings]).await;
        assert!(kinds.contains(&7), "GOAWAY: {kinds:?}");
    }

    /// The client never opens the window of its stream, and so takes nothing of the answer.
    #[tokio::test]
    async fn an_answer_that_nobody_takes_is_ended_and_its_connection_with_it() {
        let addr = serve(|options| {
            options.write_time = Duration::from_millis(40);
            options.idle_time = Duration::from_secs(1);
        })
        .await;
        let shut = b"\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\0\0";
        let kinds = kinds_for(addr, &[shut, GET]).await;
        assert!(kinds.contains(&1), "HEADERS: {kinds:?}");
        assert!(!kinds.contains(&0), "no DATA: {kinds:?}");
        assert!(kinds.contains(&7), "GOAWAY: {kinds:?}");
    }

    /// The client takes one byte of the answer, all of which lies with h2 then. Nobody can end it
    /// there, and there is always another request under way.
    #[tokio::test]
    async fn what_nobody_takes_of_an_answer_that_has_ended_ends_the_connection() {
        let addr = serve(|options| {
            options.write_time = Duration::from_millis(40);
            options.idle_time = Duration::from_secs(3600);
        })
        .await;
        let one_byte = b"\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\0\x01";
        // POST, whose content does not come.
        let other = b"\0\0\x06\x01\x04\0\0\0\x03\x83\x86\x84\x41\x01a";
        let kinds = kinds_for(addr, &[one_byte, GET, other]).await;
        assert!(kinds.contains(&0), "DATA: {kinds:?}");
        assert!(kinds.contains(&7), "GOAWAY: {kinds:?}");
    }

    /// Reads frames until the answer to a ping: what the connection and each stream may send.
    async fn windows(stream: &mut TcpStream) -> (u32, u32) {
        let (mut connection, mut each) = (65_535, 65_535);
        let mut pings = 0;
        while pings < 2 {
            let mut header = [0; 9];
            stream.read_exact(&mut header).await.unwrap();
            let [a, b, c, kind, flags, ..] = header;
            let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
            stream.read_exact(&mut payload).await.unwrap();
            let number = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().unwrap());
            match kind {
                4 if flags == 0 => {
                    let settings = payload.chunks(6);
                    for setting in settings.filter(|setting| setting[1] == 4) {
                        each = number(&setting[2..]);
                    }
                }
                8 => connection += number(&payload),
                6 => {
                    // What was to be said at first is said by the second one.
                    pings += 1;
                    stream.write_all(PING).await.unwrap();
                }
                _ => {}
            }
        }
        (connection, each)
    }

    const PING: &[u8] = b"\0\0\x08\x06\0\0\0\0\0________";

    #[tokio::test]
    async fn windows_are_lent_as_long_as_there_are_some() {
        const ALL: u32 = 4 << 20;
        let addr = serve(|options| options.windows_bytes = ALL as usize).await;
        let mut open = Vec::new();
        let mut given = Vec::new();
        for _ in 0..60 {
            let mut stream = TcpStream::connect(addr).await.unwrap();
            let settings = b"\0\0\0\x04\0\0\0\0\0";
            let hello = [PREFACE, settings, PING].concat();
            stream.write_all(&hello).await.unwrap();
            let (connection, each) = windows(&mut stream).await;
            // A connection's own grows by steps, as content comes.
            assert!(each <= connection / 2, "{each} of {connection}");
            given.push(connection);
            open.push(stream);
        }
        assert_eq!(given[0], (64 << 10) + ALL / 2 / 8);
        let sum: u32 = given.iter().sum();
        assert!(sum <= ALL / 2 + 60 * (64 << 10), "{given:?}");
        assert!(given[59] < given[0] / 2, "{given:?}");
    }
}
