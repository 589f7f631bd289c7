//! Clients for the tests of `wharf up`: hyper's for HTTP/1.1 and HTTP/2, bytes where bytes matter,
//! and a server for guests to ask.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{HOST, HeaderMap, HeaderValue};
use http::{Request, Response, Uri};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// How long anything may take on a busy machine before a test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for `future`, with a bound that only a failure meets.
pub(crate) async fn within<F: Future>(what: &str, future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future)
        .await
        .unwrap_or_else(|_| panic!("{what}: nothing within {PATIENCE:?}"))
}

/// The protocol that a client speaks from its first byte on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    H1,
    H2,
}

pub(crate) const WIRES: [Wire; 2] = [Wire::H1, Wire::H2];

/// The body of a request.
pub(crate) type Sent = BoxBody<Bytes, Infallible>;

pub(crate) fn full(bytes: impl Into<Bytes>) -> Sent {
    Full::new(bytes.into()).boxed()
}

/// A body that is sent while the test goes on.
pub(crate) fn channel() -> (Feed, Sent) {
    let (sender, receiver) = mpsc::channel(1);
    (Feed(sender), Fed(receiver).boxed())
}

/// Feeds a body; dropping it ends the body.
pub(crate) struct Feed(mpsc::Sender<Frame<Bytes>>);

impl Feed {
    pub(crate) async fn send(&self, bytes: impl Into<Bytes>) {
        let sent = self.0.send(Frame::data(bytes.into()));
        within("sending a chunk", sent)
            .await
            .expect("the body is read");
    }

    pub(crate) async fn trailers(self, trailers: HeaderMap) {
        let sent = self.0.send(Frame::trailers(trailers));
        within("sending trailers", sent)
            .await
            .expect("the body is read");
    }
}

struct Fed(mpsc::Receiver<Frame<Bytes>>);

impl Body for Fed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|frame| frame.map(Ok))
    }
}

/// One connection. Dropping it is what a client does that leaves.
pub(crate) struct Client {
    authority: String,
    scheme: &'static str,
    sender: Sender,
    connection: JoinHandle<()>,
}

enum Sender {
    H1(http1::SendRequest<Sent>),
    H2(http2::SendRequest<Sent>),
}

impl Client {
    pub(crate) async fn connect(addr: SocketAddr, wire: Wire) -> Client {
        let stream = TcpStream::connect(addr).await.expect("the server listens");
        stream.set_nodelay(true).unwrap();
        Client::over(stream, addr.to_string(), "http", wire).await
    }

    /// Asks `authority` over `stream`.
    pub(crate) async fn over<S>(
        stream: S,
        authority: String,
        scheme: &'static str,
        wire: Wire,
    ) -> Client
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let io = TokioIo::new(stream);
        let (sender, connection) = match wire {
            Wire::H1 => {
                let (sender, connection) = http1::handshake(io).await.unwrap();
                let connection = tokio::spawn(async move {
                    let _ = connection.await;
                });
                (Sender::H1(sender), connection)
            }
            Wire::H2 => {
                let (sender, connection) =
                    http2::handshake(TokioExecutor::new(), io).await.unwrap();
                let connection = tokio::spawn(async move {
                    let _ = connection.await;
                });
                (Sender::H2(sender), connection)
            }
        };
        Client {
            authority,
            scheme,
            sender,
            connection,
        }
    }

    /// Sends `request`, whose URI is a path, and gives the answer's head and its body to come.
    pub(crate) async fn open(&mut self, request: Request<Sent>) -> Response<Incoming> {
        self.try_open(request).await.expect("an answer")
    }

    pub(crate) async fn try_open(
        &mut self,
        mut request: Request<Sent>,
    ) -> hyper::Result<Response<Incoming>> {
        let authority = self.authority.clone();
        match &mut self.sender {
            Sender::H1(sender) => {
                let host = HeaderValue::try_from(authority).unwrap();
                request.headers_mut().entry(HOST).or_insert(host);
                within("a connection", sender.ready()).await?;
                within("an answer's head", sender.send_request(request)).await
            }
            Sender::H2(sender) => {
                let uri = Uri::builder()
                    .scheme(self.scheme)
                    .authority(authority)
                    .path_and_query(request.uri().path_and_query().unwrap().clone());
                *request.uri_mut() = uri.build().unwrap();
                within("a connection", sender.ready()).await?;
                within("an answer's head", sender.send_request(request)).await
            }
        }
    }

    pub(crate) async fn send(&mut self, request: Request<Sent>) -> Answer {
        Answer::read(self.open(request).await).await
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.send(get_request(path)).await
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

pub(crate) fn get_request(path: &str) -> Request<Sent> {
    Request::get(path).body(full("")).unwrap()
}

/// A GET over a connection of its own.
pub(crate) async fn get(addr: SocketAddr, path: &str) -> Answer {
    send(addr, get_request(path)).await
}

/// A request over a connection of its own.
pub(crate) async fn send(addr: SocketAddr, request: Request<Sent>) -> Answer {
    Client::connect(addr, Wire::H1).await.send(request).await
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: HeaderMap,
    /// Why the body broke off before its end.
    pub(crate) broken: Option<String>,
}

impl Answer {
    pub(crate) async fn read(response: Response<Incoming>) -> Answer {
        let (parts, mut incoming) = response.into_parts();
        let mut body = BytesMut::new();
        let mut trailers = HeaderMap::new();
        let mut broken = None;
        while let Some(frame) = within("a piece of the body", incoming.frame()).await {
            match frame.map(Frame::into_data) {
                Ok(Ok(data)) => body.extend_from_slice(&data),
                Ok(Err(frame)) => trailers.extend(frame.into_trailers().unwrap()),
                Err(error) => {
                    broken = Some(error.to_string());
                    break;
                }
            }
        }
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: body.freeze(),
            trailers,
            broken,
        }
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a text")
    }

    /// A header's value; empty where it is missing.
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }
}

/// Reads a body until it holds `text`; the body goes on.
pub(crate) async fn read_until(body: &mut Incoming, text: &str) -> String {
    let mut read = String::new();
    while !read.contains(text) {
        let frame = within(text, body.frame()).await;
        let frame = frame.expect("the body goes on").expect("it is whole");
        read.push_str(std::str::from_utf8(&frame.into_data().unwrap()).unwrap());
    }
    read
}

/// A connection of bytes.
pub(crate) struct Raw {
    stream: TcpStream,
    read: VecDeque<u8>,
}

impl Raw {
    pub(crate) async fn connect(addr: SocketAddr) -> Raw {
        let stream = TcpStream::connect(addr).await.expect("the server listens");
        stream.set_nodelay(true).unwrap();
        Raw {
            stream,
            read: VecDeque::new(),
        }
    }

    /// Connects and writes. The server may answer and close before it has read all.
    pub(crate) async fn send(addr: SocketAddr, bytes: impl AsRef<[u8]>) -> Raw {
        let mut raw = Raw::connect(addr).await;
        raw.write(bytes).await;
        raw
    }

    pub(crate) async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = within("writing", self.stream.write_all(bytes.as_ref())).await;
    }

    /// Ends this side; the server may go on.
    pub(crate) async fn end(&mut self) {
        let _ = within("ending", self.stream.shutdown()).await;
    }

    /// Both ways apart, for a client that writes while it reads. What is written last is followed
    /// by the end of that way.
    pub(crate) fn split(self) -> (RawReader, RawWriter) {
        let (reader, writer) = self.stream.into_split();
        (RawReader(reader), RawWriter(writer))
    }

    /// Whether there was more to read. A reset is an end.
    async fn fill(&mut self) -> bool {
        let mut buffer = [0; 16 << 10];
        let read = within("reading", self.stream.read(&mut buffer)).await;
        let count = read.unwrap_or(0);
        self.read.extend(&buffer[..count]);
        count > 0
    }

    /// One head, without the empty line at its end; what came before the connection's end if
    /// there is none.
    pub(crate) async fn head(&mut self) -> String {
        loop {
            let bytes = self.read.make_contiguous();
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                let head: Vec<u8> = self.read.drain(..end + 4).collect();
                return String::from_utf8(head[..end].to_vec()).unwrap();
            }
            if !self.fill().await {
                return self.rest();
            }
        }
    }

    pub(crate) async fn exactly(&mut self, count: usize) -> String {
        String::from_utf8(self.bytes(count).await).unwrap()
    }

    pub(crate) async fn bytes(&mut self, count: usize) -> Vec<u8> {
        match self.maybe(count).await {
            Some(bytes) => bytes,
            None => panic!("{count} bytes, not {}", self.rest()),
        }
    }

    /// The next bytes, unless the connection ends before.
    pub(crate) async fn maybe(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.read.len() < count {
            if !self.fill().await {
                return None;
            }
        }
        Some(self.read.drain(..count).collect())
    }

    /// All to the connection's end.
    pub(crate) async fn read_to_end(&mut self) -> String {
        while self.fill().await {}
        self.rest()
    }

    /// An answer with a `Content-Length`: its head and its body.
    pub(crate) async fn answer(&mut self) -> (String, String) {
        let head = self.head().await;
        let length = header_of(&head, "content-length");
        let length = length.unwrap_or_else(|| panic!("no length in {head:?}"));
        let body = self.exactly(length.parse().unwrap()).await;
        (head, body)
    }

    fn rest(&mut self) -> String {
        String::from_utf8_lossy(self.read.drain(..).collect::<Vec<u8>>().as_slice()).into_owned()
    }
}

/// One way of a [`Raw`], whose bytes do not matter.
pub(crate) struct RawReader(OwnedReadHalf);

impl RawReader {
    /// Whether there was more.
    pub(crate) async fn fill(&mut self) -> bool {
        let mut buffer = vec![0; 64 << 10];
        let read = within("reading", self.0.read(&mut buffer)).await;
        read.is_ok_and(|count| count > 0)
    }

    /// All to the connection's end.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let reading = within("reading", self.0.read_to_end(&mut rest)).await;
        reading.expect("an end");
        rest
    }
}

/// The other way.
pub(crate) struct RawWriter(OwnedWriteHalf);

impl RawWriter {
    /// Whether the server still takes something.
    pub(crate) async fn try_write(&mut self, bytes: &[u8]) -> bool {
        within("writing", self.0.write_all(bytes)).await.is_ok()
    }
}

/// The status in a head; 0 where there is none.
pub(crate) fn status_of(head: &str) -> u16 {
    let status = head.split(' ').nth(1);
    status.and_then(|status| status.parse().ok()).unwrap_or(0)
}

/// A field's value in a head.
pub(crate) fn header_of<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (field, value) = line.split_once(':')?;
        field.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// A server for guests to ask. It hands each request to the test, which answers when it likes.
pub(crate) struct Upstream {
    listener: TcpListener,
    addr: SocketAddr,
}

impl Upstream {
    pub(crate) async fn start() -> Upstream {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        Upstream { listener, addr }
    }

    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// The path at which the kitchen asks this server.
    pub(crate) fn proxy_path(&self) -> String {
        format!("/proxy?url={}/", self.origin())
    }

    /// Waits for the next request on a new connection.
    pub(crate) async fn request(&self) -> Asked {
        let accepted = within("a request of the guest", self.listener.accept()).await;
        let (stream, _) = accepted.unwrap();
        let mut raw = Raw {
            stream,
            read: VecDeque::new(),
        };
        let head = raw.head().await;
        Asked { head, raw }
    }
}

/// A request that a guest sent.
pub(crate) struct Asked {
    pub(crate) head: String,
    raw: Raw,
}

impl Asked {
    pub(crate) async fn answer(mut self, body: &str) {
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
        self.raw.write(answer).await;
    }

    pub(crate) async fn redirect(mut self, location: &str) {
        let answer = format!(
            "HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        self.raw.write(answer).await;
    }

    /// Waits until the guest or its host closes the connection.
    pub(crate) async fn closed(mut self) {
        self.raw.read_to_end().await;
    }
}
