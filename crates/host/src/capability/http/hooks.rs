//! Where `wasi:http` asks the host to send a request.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use http_body_util::BodyExt;
use tokio::sync::Semaphore;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use super::client::names_metadata;
use super::{EgressPolicy, HttpClient, IdleBody};

/// Time to the first byte and between bytes when the guest names none.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

/// The outgoing HTTP of one instance.
#[derive(Debug)]
pub(crate) struct Hooks {
    policy: EgressPolicy,
    client: HttpClient,
    at_once: Arc<Semaphore>,
}

impl Hooks {
    pub(crate) fn new(policy: EgressPolicy, client: HttpClient, at_once_max: u32) -> Hooks {
        Hooks {
            policy,
            client,
            at_once: Arc::new(Semaphore::new(at_once_max as usize)),
        }
    }
}

type Io = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Sent = Box<dyn Future<Output = Result<(Response<WasiBody>, Io), Error>> + Send>;

impl WasiHttpHooks for Hooks {
    fn send_request(
        &mut self,
        mut request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Sent {
        if !self.policy.allows(request.uri()) || names_metadata(request.uri()) {
            return Box::new(async { Err(Error::HttpRequestDenied) });
        }
        let Ok(permit) = Arc::clone(&self.at_once).try_acquire_owned() else {
            return Box::new(async { Err(Error::ConnectionLimitReached) });
        };
        // The client sets the version that the connection speaks, and `host` from the address.
        *request.version_mut() = http::Version::HTTP_11;
        let client = self.client.clone();
        let options = options.unwrap_or_default();
        let head_time = options.connect_timeout.unwrap_or_default()
            + options.first_byte_timeout.unwrap_or(DEFAULT_TIMEOUT);
        let gap = options.between_bytes_timeout.unwrap_or(DEFAULT_TIMEOUT);
        Box::new(async move {
            let sending = client.get().request(request);
            let response = tokio::time::timeout(head_time, sending)
                .await
                .map_err(|_| Error::ConnectionReadTimeout)?
                .map_err(|error| translate(&error))?;
            // It counts as an outgoing request until its body is dropped.
            let response = response.map(|body| {
                IdleBody::new(body, gap, || Error::ConnectionReadTimeout, permit).boxed_unsync()
            });
            Ok((response, Box::new(async { Ok(()) }) as Io))
        })
    }
}

/// The nearest error code of `wasi:http` for what the client reports.
fn translate(error: &hyper_util::client::legacy::Error) -> Error {
    let mut source: Option<&(dyn StdError + 'static)> = error.source();
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<io::Error>() {
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
    let text = format!(
        "{error}: {}",
        error.source().map(ToString::to_string).unwrap_or_default()
    );
    if text.contains("dns error") {
        return Error::DnsError {
            rcode: None,
            info_code: None,
        };
    }
    if error.is_connect() {
        return Error::DestinationUnavailable;
    }
    Error::HttpProtocolError
}
