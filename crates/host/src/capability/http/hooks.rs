//! Where `wasi:http` asks the host to send a request.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, header};
use http_body_util::BodyExt;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use super::connect::{Refused, TooMany, Unresolved};
use super::{HttpClient, IdleBody};
use crate::outgoing::Outgoing;
use crate::resolver::LookupFailure;

/// Time to the first byte and between bytes when the guest names none.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

/// The outgoing HTTP of one instance.
#[derive(Debug)]
pub(crate) struct Hooks {
    client: Arc<HttpClient>,
    outgoing: Outgoing,
}

impl Hooks {
    pub(crate) fn new(client: Arc<HttpClient>, outgoing: Outgoing) -> Hooks {
        Hooks { client, outgoing }
    }
}

type Io = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Sent = Box<dyn Future<Output = Result<(Response<WasiBody>, Io), Error>> + Send>;

impl WasiHttpHooks for Hooks {
    /// The client writes `host`, from the address in its one form.
    fn set_host_header(&mut self) -> bool {
        false
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
                .map_err(|_| Error::ConnectionReadTimeout)?
                .map_err(|error| translate(&client, &error))?;
            // It counts as an outgoing request until its body is dropped.
            let response = response.map(|body| {
                IdleBody::new(body, gap, || Error::ConnectionReadTimeout, place).boxed_unsync()
            });
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
    if let Some(Refused { name, address }) = cause.downcast_ref::<Refused>() {
        let what = format!("outgoing HTTP to {name}");
        let refusal = client
            .egress
            .rules
            .refusal(&what, *address, Some(name), None);
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
