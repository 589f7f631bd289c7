//! Where `wasi:http` asks the host to send a request.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, header};
use http_body_util::BodyExt;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use super::connect::{Refused, TooMany, Unresolved};
use super::kept::BODY_CHUNK_BYTES;
use super::{HttpClient, IdleBody};
use crate::outgoing::Outgoing;
use crate::output::GuestOutput;
use crate::resolver::LookupFailure;

/// Time to the first byte and between bytes when the guest names none.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

/// The outgoing HTTP of one instance.
pub(crate) struct Hooks {
    client: Arc<HttpClient>,
    outgoing: Outgoing,
    watcher: Option<Arc<dyn GuestOutput>>,
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks")
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

impl Hooks {
    pub(crate) fn new(client: Arc<HttpClient>, outgoing: Outgoing) -> Hooks {
        Hooks {
            client,
            outgoing,
            watcher: None,
        }
    }

    /// Requests are told to `watcher` from now on.
    pub(crate) fn set_watcher(&mut self, watcher: Arc<dyn GuestOutput>) {
        self.watcher = Some(watcher);
    }
}

type Io = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Sent = Box<dyn Future<Output = Result<(Response<WasiBody>, Io), Error>> + Send>;

impl WasiHttpHooks for Hooks {
    /// The client writes `host`, from the address in its one form.
    fn set_host_header(&mut self) -> bool {
        false
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        BODY_CHUNK_BYTES
    }

    fn p3_outgoing_body_chunk_size(&mut self) -> usize {
        BODY_CHUNK_BYTES
    }

    fn send_request(
        &mut self,
        mut request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Sent {
        match self.client.policy.admit(request.uri()) {
            Ok(uri) => *request.uri_mut() = uri,
            Err(error) => return Box::new(async { Err(error) }),
        }
        let Some(place) = self.outgoing.enter() else {
            return Box::new(async { Err(Error::ConnectionLimitReached) });
        };
        request.headers_mut().remove(header::HOST);
        let call = self.watcher.as_ref().and_then(|watcher| {
            let (method, uri) = (request.method().clone(), request.uri().clone());
            watcher.outgoing(&method, &uri, request.headers_mut())
        });
        // The client sets the version that the connection speaks.
        *request.version_mut() = http::Version::HTTP_11;
        let client = Arc::clone(&self.client);
        let options = options.unwrap_or_default();
        let head_time = options.connect_timeout.unwrap_or_default()
            + options.first_byte_timeout.unwrap_or(DEFAULT_TIMEOUT);
        let gap = options.between_bytes_timeout.unwrap_or(DEFAULT_TIMEOUT);
        Box::new(async move {
            let response = tokio::time::timeout(head_time, client.send(request))
                .await
                .map_err(|_| Error::ConnectionReadTimeout)
                .and_then(|response| response.map_err(|error| translate(&client, &error)));
            if let Some(call) = call {
                call.ends(match &response {
                    Ok(response) => Ok(response.status()),
                    Err(error) => Err(error.to_string()),
                });
            }
            let response = response?;
            // It counts as an outgoing request until its body is dropped.
            let response = response.map(|body| IdleBody::new(body, gap, place).boxed_unsync());
            Ok((response, Box::new(async { Ok(()) }) as Io))
        })
    }
}

/// The nearest error code of `wasi:http` for what the client reports. What the node's rules
/// refused is reported.
fn translate(client: &HttpClient, error: &hyper_util::client::legacy::Error) -> Error {
    let mut source: Option<&(dyn StdError + 'static)> = error.source();
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<io::Error>() {
            if let Some(own) = io.get_ref()
                && let Some(error) = translate_own(client, own)
            {
                return error;
            }
            match io.kind() {
                io::ErrorKind::ConnectionRefused => return Error::ConnectionRefused,
                io::ErrorKind::TimedOut => return Error::ConnectionTimeout,
                io::ErrorKind::PermissionDenied => return Error::DestinationIpProhibited,
                io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                    return Error::ConnectionTerminated;
                }
                io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => {
                    return Error::DestinationIpUnroutable;
                }
                _ => {}
            }
        }
        if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
            return match tls {
                rustls::Error::InvalidCertificate(_) => Error::TlsCertificateError,
                _ => Error::TlsProtocolError,
            };
        }
        source = cause.source();
    }
    if error.is_connect() {
        return Error::DestinationUnavailable;
    }
    Error::HttpProtocolError
}

/// What our own connector and resolver report.
fn translate_own(
    client: &HttpClient,
    cause: &(dyn StdError + Send + Sync + 'static),
) -> Option<Error> {
    if let Some(Refused {
        name,
        address,
        port,
    }) = cause.downcast_ref::<Refused>()
    {
        let what = format!("outgoing HTTP to {name}");
        let egress = &client.egress;
        let refusal = egress.refusal(&what, *address, *port, Some(name), None);
        client.denials.record(refusal);
        return Some(Error::DestinationIpProhibited);
    }
    if let Some(Unresolved(failure)) = cause.downcast_ref::<Unresolved>() {
        return Some(match failure {
            LookupFailure::Temporary => Error::DnsTimeout,
            LookupFailure::Unresolvable => Error::DnsError {
                rcode: None,
                info_code: None,
            },
        });
    }
    cause
        .is::<TooMany>()
        .then_some(Error::ConnectionLimitReached)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::sync::Mutex;
    use std::thread;

    use bytes::Bytes;
    use http_body_util::Empty;
    use wharf_engine::Budget;

    use super::*;
    use crate::denial::{Denial, Told, told};
    use crate::descriptors::Descriptors;
    use crate::egress::{Egress, EgressRules};
    use crate::resolver::Resolver;

    const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";

    /// The next head of a request, as far as it comes.
    fn head_of(stream: &mut TcpStream) -> Vec<u8> {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
            head.push(byte[0]);
        }
        head
    }

    /// Answers every request with `answer`, and tells the heads it saw.
    fn server(answer: Vec<u8>) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&heads);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let head = head_of(&mut stream);
                seen.lock().unwrap().push(String::from_utf8(head).unwrap());
                // The client hangs up on some of them.
                let _ = stream.write_all(&answer);
                let _ = stream.shutdown(std::net::Shutdown::Write);
                let _ = stream.read_to_end(&mut Vec::new());
            }
        });
        (address, heads)
    }

    /// What was told, with what to do about it.
    fn lines(told: &Told) -> Vec<String> {
        let told = told.lock().unwrap();
        let line = |denial: &Denial| {
            let hint = denial.manifest_hint("api").unwrap_or_default();
            format!("{denial}; {hint}")
        };
        told.iter().map(line).collect()
    }

    fn hooks(grants: &[String], private: &[&str], outgoing_max: u32) -> (Hooks, Told) {
        hooks_with(grants, private, outgoing_max, None)
    }

    fn hooks_with(
        grants: &[String],
        private: &[&str],
        outgoing_max: u32,
        descriptors: Option<Arc<Budget>>,
    ) -> (Hooks, Told) {
        let (denials, told) = told();
        let rules = EgressRules::only(private.iter().map(|one| one.parse().unwrap()).collect());
        let resolver = Resolver::of(&[
            ("api.internal", &["127.0.0.1"]),
            ("rebound.example", &["169.254.169.254"]),
        ]);
        let egress = Egress::with_resolver(rules, resolver);
        let grants = grants.iter().map(|grant| grant.parse().unwrap()).collect();
        let descriptors = Descriptors::new(descriptors, denials.clone());
        let client = HttpClient::new(grants, egress, descriptors.clone(), denials);
        let outgoing = Outgoing::new(outgoing_max, descriptors);
        (Hooks::new(Arc::new(client), outgoing), told)
    }

    fn run<T>(test: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(test)
    }

    async fn get(hooks: &mut Hooks, uri: &str) -> Result<Response<WasiBody>, Error> {
        let body = Empty::<Bytes>::new().map_err(|never| match never {});
        let request = Request::get(uri).header("host", "forged.example");
        let request = request.body(body.boxed_unsync()).unwrap();
        let options = RequestOptions {
            between_bytes_timeout: Some(Duration::from_millis(100)),
            ..RequestOptions::default()
        };
        let sent = hooks.send_request(request, Some(options), Box::new(async { Ok(()) }));
        std::pin::Pin::from(sent)
            .await
            .map(|(response, _)| response)
    }

    #[test]
    fn a_name_is_connected_to_where_the_node_allows_its_address() {
        let (address, heads) = server(OK.into());
        let (named, port) = ("http://api.internal", address.port());
        let uri = format!("{named}:{port}/a");
        let grants = [format!("{named}:{port}"), "http://rebound.example".into()];
        run(async {
            let (mut refusing, told) = hooks(&grants, &["10.0.0.0/8"], 64);
            for _ in 0..2 {
                let refused = get(&mut refusing, &uri).await;
                assert!(matches!(refused, Err(Error::DestinationIpProhibited)));
            }
            assert_eq!(
                lines(&told),
                [
                    "denied: outgoing HTTP to api.internal: `api.internal` has the loopback address 127.0.0.1; \
                     this is the node's rule, whatever is granted; its operator allows it in the node file: \
                     [egress] private = [\"api.internal\"]"
                ]
            );
            assert!(heads.lock().unwrap().is_empty());
            let (mut refusing, _) = hooks(&grants, &["127.0.0.0/8"], 64);
            let refused = get(&mut refusing, &uri).await;
            assert!(matches!(refused, Err(Error::DestinationIpProhibited)));
            for _ in 0..2 {
                let (mut allowing, told) = hooks(&grants, &["api.internal"], 64);
                let shouted = uri.to_uppercase().replace("HTTP", "http");
                let answer = get(&mut allowing, &shouted).await;
                let body = answer.unwrap().into_body().collect().await.unwrap();
                assert_eq!(body.to_bytes(), "ok");
                let rebound = get(&mut allowing, "http://rebound.example/").await;
                assert!(matches!(rebound, Err(Error::DestinationIpProhibited)));
                assert_eq!(told.lock().unwrap().len(), 1);
            }
            // `host` is what was granted, in its one form, whatever the guest would have it be.
            let heads = heads.lock().unwrap();
            assert_eq!(heads.len(), 2);
            let host = format!("host: api.internal:{port}\r\n");
            assert!(heads[0].contains(&host), "{}", heads[0]);
            assert!(!heads[0].contains("forged"), "{}", heads[0]);
        });
    }

    #[test]
    fn connections_are_kept_for_one_component_and_shared_with_no_other() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(Mutex::new(0));
        let seen = Arc::clone(&connections);
        thread::spawn(move || {
            for stream in listener.incoming() {
                *seen.lock().unwrap() += 1;
                let mut stream = stream.unwrap();
                thread::spawn(move || {
                    while !head_of(&mut stream).is_empty() {
                        let ok = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
                        stream.write_all(ok).unwrap();
                    }
                });
            }
        });
        let component = || hooks(&[format!("http://{address}")], &["127.0.0.1"], 64).0;
        run(async {
            let mut components = [component(), component()];
            for (number, hooks) in components.iter_mut().enumerate() {
                for _ in 0..3 {
                    let response = get(hooks, &format!("http://{address}/")).await.unwrap();
                    response.into_body().collect().await.unwrap();
                    // The connection goes back to its pool in a task of its own.
                    tokio::task::yield_now().await;
                }
                assert_eq!(*connections.lock().unwrap(), number + 1);
            }
        });
    }

    #[test]
    fn bad_answers_are_errors_and_bounded() {
        let long = |count: usize| "a".repeat(count);
        let many: String = (0..1000)
            .map(|number| format!("a{number}: b\r\n"))
            .collect();
        let head = "HTTP/1.1 200 OK\r\n";
        for answer in [
            String::new(),
            "garbage\r\n\r\n".into(),
            "HTTP/9.9 200 OK\r\n\r\n".into(),
            "HTTP/1.1 99999 OK\r\n\r\n".into(),
            format!("{head}Content-Length: -1\r\n\r\n"),
            format!("{head}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
            format!("{head}A: {}\r\n\r\n", long(1 << 20)),
            format!("{head}{many}\r\n"),
            format!("{head}bad name: b\r\n\r\n"),
            format!("{head}a: b\0\r\n\r\n"),
            head.into(),
        ] {
            let (address, _) = server(answer.clone().into());
            let (mut hooks, _) = hooks(&[format!("http://{address}")], &["127.0.0.1"], 64);
            let refused = run(get(&mut hooks, &format!("http://{address}/")));
            assert!(refused.is_err(), "{answer:.60}");
        }
    }

    #[test]
    fn bodies_that_break_off_or_trickle_are_errors() {
        let head = "HTTP/1.1 200 OK\r\n";
        for answer in [
            format!("{head}Content-Length: 9\r\n\r\nok"),
            format!("{head}Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n"),
            format!("{head}Transfer-Encoding: chunked\r\n\r\nzz\r\nok\r\n"),
            format!("{head}Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n"),
        ] {
            let (address, _) = server(answer.clone().into());
            let (mut hooks, _) = hooks(&[format!("http://{address}")], &["127.0.0.1"], 64);
            run(async {
                let response = get(&mut hooks, &format!("http://{address}/"))
                    .await
                    .unwrap();
                assert!(response.into_body().collect().await.is_err(), "{answer}");
            });
        }
        // One that says no more, and does not end.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let held = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            // An answer before the question is none.
            head_of(&mut stream);
            stream
                .write_all(format!("{head}\r\nso far").as_bytes())
                .unwrap();
            stream
        });
        let (mut hooks, _) = hooks(&[format!("http://{address}")], &["127.0.0.1"], 64);
        run(async {
            let response = get(&mut hooks, &format!("http://{address}/"))
                .await
                .unwrap();
            let broken = response.into_body().collect().await;
            assert!(matches!(broken, Err(Error::ConnectionReadTimeout)));
        });
        drop(held.join());
    }

    #[test]
    fn requests_count_until_their_bodies_are_dropped() {
        let (address, _) = server(OK.into());
        let (mut hooks, told) = hooks(&[format!("http://{address}")], &["127.0.0.1"], 2);
        let uri = format!("http://{address}/");
        run(async {
            let held = [
                get(&mut hooks, &uri).await.unwrap(),
                get(&mut hooks, &uri).await.unwrap(),
            ];
            let refused = get(&mut hooks, &uri).await;
            assert!(matches!(refused, Err(Error::ConnectionLimitReached)));
            drop(held);
            assert!(get(&mut hooks, &uri).await.is_ok());
        });
        let told = lines(&told);
        assert_eq!(told.len(), 1);
        assert!(told[0].contains("limits.outgoing"), "{}", told[0]);
    }

    #[test]
    fn a_connection_has_a_descriptor_while_it_is_open() {
        let node = Budget::of_node(100);
        let share = Budget::of_app("a", Some(2), &node);
        let descriptors = || Some(Arc::clone(&share));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let streams = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&streams);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                head_of(&mut stream);
                let mut kept = kept.lock().unwrap();
                let ok = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
                stream.write_all(ok).unwrap();
                kept.push(stream);
            }
        });
        let uri = format!("http://{address}/");
        let grants = [format!("http://{address}")];
        run(async {
            let (mut one, _) = hooks_with(&grants, &["127.0.0.1"], 64, descriptors());
            let response = get(&mut one, &uri).await.unwrap();
            response.into_body().collect().await.unwrap();
            // It is kept for the next request.
            assert_eq!(share.used(), 1);
            // There is one left, and a connection that is being made may need two.
            let (mut other, told) = hooks_with(&grants, &["127.0.0.1"], 64, descriptors());
            let refused = get(&mut other, &uri).await;
            assert!(matches!(refused, Err(Error::ConnectionLimitReached)));
            let told = lines(&told);
            assert_eq!(told.len(), 1);
            assert!(told[0].contains("ulimit -n"), "{}", told[0]);
            // The server closes it, and the task that has it ends.
            streams.lock().unwrap().clear();
            while share.used() > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            assert!(get(&mut other, &uri).await.is_ok());
        });
    }
}
