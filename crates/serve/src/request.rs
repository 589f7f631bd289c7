//! A request on its way in: who asks, for what, and what the guest is told of it.

use std::fmt::Write as _;
use std::net::SocketAddr;

use http::header::{CONNECTION, COOKIE, FORWARDED, HOST, HeaderName, HeaderValue, UPGRADE};
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, Method, Request, StatusCode, Uri, Version};

use crate::authority::HostPort;
use crate::http1::{FIELDS_MAX, METHOD_MAX, TARGET_MAX, is_target};
use crate::log::RequestId;

static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub(crate) static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Why a request cannot be handed to an app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadRequest {
    /// There must be exactly one valid `Host`, or `:authority` (RFC 9112, section 3.2).
    Host,
    /// `Host` and the target's authority name different hosts (RFC 9112, section 3.2.2; RFC
    /// 9113, section 8.3.1).
    OtherHost,
    /// The target's scheme is neither http nor https.
    Scheme,
    /// The path has `.` or `..` segments, which clients resolve themselves (RFC 3986, 6.2.2.3).
    DotSegments,
    /// The target is not a path.
    Target,
    /// The method is longer than any.
    Method,
    /// The target is too long.
    TargetLength,
    /// There are too many fields.
    FieldCount,
    /// A value has blanks at its ends (RFC 9113, section 8.2.1).
    Blanks,
}

impl BadRequest {
    pub(crate) fn status(self) -> StatusCode {
        match self {
            BadRequest::Method => StatusCode::NOT_IMPLEMENTED,
            BadRequest::TargetLength => StatusCode::URI_TOO_LONG,
            BadRequest::FieldCount => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    pub(crate) fn text(self) -> &'static str {
        match self {
            BadRequest::Host => "the request needs one valid Host",
            BadRequest::OtherHost => "Host is not the host of the target",
            BadRequest::Scheme => "the target's scheme is neither http nor https",
            BadRequest::DotSegments => "the path has dot segments",
            BadRequest::Target => "the request's target is no path",
            BadRequest::Method => "the method is not known",
            BadRequest::TargetLength => "the request's target is too long",
            BadRequest::FieldCount => "the request has too many fields",
            BadRequest::Blanks => "a field's value has blanks at its ends",
        }
    }
}

/// What a client speaks HTTP over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }

    /// The port that need not be named.
    pub(crate) fn port(self) -> u16 {
        match self {
            Scheme::Http => 80,
            Scheme::Https => 443,
        }
    }
}

impl From<Scheme> for http::uri::Scheme {
    fn from(scheme: Scheme) -> http::uri::Scheme {
        match scheme {
            Scheme::Http => http::uri::Scheme::HTTP,
            Scheme::Https => http::uri::Scheme::HTTPS,
        }
    }
}

/// Who is at the other end of a connection, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    pub(crate) addr: SocketAddr,
    pub(crate) scheme: Scheme,
}

/// What is known of a request besides its head.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin {
    pub(crate) id: RequestId,
    pub(crate) peer: Peer,
    /// The same as the peer, unless that is a proxy which is believed.
    pub(crate) client: Peer,
}

/// The host asked for, without its port, before [`prepare`] has looked at it; empty if what is
/// named is none.
pub(crate) fn host<B>(request: &Request<B>) -> &str {
    let named = match request.uri().authority() {
        Some(authority) => authority.as_str().as_bytes(),
        None => match request.headers().get(HOST) {
            Some(host) => host.as_bytes(),
            None => return "",
        },
    };
    HostPort::parse(named).map_or("", |named| named.host())
}

/// Makes the request's URI absolute and its forwarded headers ours.
///
/// Copies of `Forwarded`, `X-Forwarded-*` and `X-Request-Id` that came are dropped, as anyone can
/// write them; what trusted proxies say is in `origin` already.
pub(crate) fn prepare<B>(request: &mut Request<B>, origin: Origin) -> Result<(), BadRequest> {
    let path = request.uri().path_and_query().cloned();
    let path = match path {
        Some(path) if path.path().starts_with('/') => path,
        Some(path) if path.path() == "*" && request.method() == Method::OPTIONS => {
            PathAndQuery::from_static("/")
        }
        _ => return Err(BadRequest::Target),
    };
    if request.version() == Version::HTTP_2 {
        check_h2(request)?;
        join_cookies(request.headers_mut());
    }
    // Over HTTP/2 nobody has looked at it.
    if !path.as_str().bytes().all(is_target) {
        return Err(BadRequest::Target);
    }
    if has_dot_segments(path.path()) {
        return Err(BadRequest::DotSegments);
    }
    // A proxy that has taken TLS off may say https in HTTP/2, where a scheme must be said.
    if !matches!(request.uri().scheme_str(), None | Some("http" | "https")) {
        return Err(BadRequest::Scheme);
    }
    let authority = authority(request, origin.peer.scheme)?;
    forward(request.headers_mut(), &authority, origin);
    *request.uri_mut() = Uri::builder()
        .scheme(origin.client.scheme)
        .authority(authority)
        .path_and_query(path)
        .build()
        .map_err(|_| BadRequest::Target)?;
    Ok(())
}

/// What is judged of HTTP/1 before it comes here.
fn check_h2<B>(request: &Request<B>) -> Result<(), BadRequest> {
    if request.method().as_str().len() > METHOD_MAX {
        return Err(BadRequest::Method);
    }
    let target = request.uri().path_and_query();
    if target.is_some_and(|target| target.as_str().len() > TARGET_MAX) {
        return Err(BadRequest::TargetLength);
    }
    if request.headers().len() > FIELDS_MAX {
        return Err(BadRequest::FieldCount);
    }
    let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let mut values = request.headers().values().map(HeaderValue::as_bytes);
    match values.any(|value| is_blank(value.first()) || is_blank(value.last())) {
        true => Err(BadRequest::Blanks),
        false => Ok(()),
    }
}

/// HTTP/2 lets clients split `Cookie`; who reads it elsewhere wants it whole (RFC 9113, section
/// 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let mut cookies = headers.get_all(COOKIE).iter();
    if cookies.next().is_none() || cookies.next().is_none() {
        return;
    }
    let cookies: Vec<_> = headers
        .get_all(COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if let Ok(joined) = HeaderValue::from_bytes(&cookies.join(&b"; "[..])) {
        headers.insert(COOKIE, joined);
    }
}

/// The authority asked for: of the target if it has one, else of `Host`.
fn authority<B>(request: &Request<B>, scheme: Scheme) -> Result<Authority, BadRequest> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(BadRequest::Host);
    }
    let host = match host {
        Some(host) => Some(plain(Authority::try_from(host.as_bytes()))?),
        None => None,
    };
    if let Some(authority) = request.uri().authority() {
        // The target's authority wins, but HTTP/1.1 asks for the field nevertheless.
        if host.is_none() && request.version() == Version::HTTP_11 {
            return Err(BadRequest::Host);
        }
        let authority = plain(Ok::<_, ()>(authority.clone()))?;
        let is_same = |host: &Authority| {
            let both = [host, &authority].map(|host| HostPort::parse(host.as_str().as_bytes()));
            matches!(both, [Some(host), Some(authority)] if host.is_same(&authority, scheme))
        };
        if host.is_some_and(|host| !is_same(&host)) {
            return Err(BadRequest::OtherHost);
        }
        return Ok(authority);
    }
    match host {
        Some(host) => Ok(host),
        None if request.version() == Version::HTTP_10 => Ok(Authority::from_static("localhost")),
        None => Err(BadRequest::Host),
    }
}

/// A host and perhaps a port, without the user that a URL may have.
fn plain<E>(authority: Result<Authority, E>) -> Result<Authority, BadRequest> {
    authority
        .ok()
        .filter(|authority| HostPort::parse(authority.as_str().as_bytes()).is_some())
        .ok_or(BadRequest::Host)
}

fn forward(headers: &mut HeaderMap, authority: &Authority, origin: Origin) {
    // Whoever turns fields into variables, as CGI does, takes `_` for `-`.
    let is_forged = |name: &HeaderName| {
        let name = name.as_str();
        name.starts_with("x-forwarded-")
            || name == "proxy"
            || name.contains('_') && is_ours(&name.replace('_', "-"))
    };
    let theirs = headers.keys().filter(|name| is_forged(name));
    for name in theirs.cloned().collect::<Vec<_>>() {
        headers.remove(name);
    }
    headers.remove(FORWARDED);
    let ip = origin.client.addr.ip();
    let mut text = ip.to_string();
    let value = |text: &str| HeaderValue::try_from(text).ok();
    if let Some(value) = value(&text) {
        headers.insert(X_FORWARDED_FOR.clone(), value);
    }
    if let Some(value) = value(authority.as_str()) {
        headers.insert(X_FORWARDED_HOST.clone(), value);
    }
    let scheme = origin.client.scheme.as_str();
    headers.insert(X_FORWARDED_PROTO.clone(), HeaderValue::from_static(scheme));
    text.clear();
    let _ = match ip {
        std::net::IpAddr::V4(ip) => write!(text, "for={ip}"),
        std::net::IpAddr::V6(ip) => write!(text, "for=\"[{ip}]\""),
    };
    let _ = write!(text, ";host=\"{authority}\";proto={scheme}");
    if let Some(value) = value(&text) {
        headers.insert(FORWARDED, value);
    }
    text.clear();
    let _ = write!(text, "{}", origin.id);
    if let Some(value) = value(&text) {
        headers.insert(X_REQUEST_ID.clone(), value);
    }
}

fn is_ours(name: &str) -> bool {
    name.starts_with("x-forwarded-") || name == X_REQUEST_ID.as_str()
}

fn has_dot_segments(path: &str) -> bool {
    path.contains('.') | path.contains("%2")
        && path.split('/').any(|segment| {
            let plain = segment.replace("%2e", ".").replace("%2E", ".");
            plain == "." || plain == ".."
        })
}

/// Whether the client asks for another protocol on this connection, as WebSocket does.
pub(crate) fn wants_upgrade(headers: &HeaderMap) -> bool {
    headers.contains_key(UPGRADE)
        && headers.get_all(CONNECTION).iter().any(|value| {
            value.to_str().is_ok_and(|value| {
                value
                    .split(',')
                    .any(|token| token.trim().eq_ignore_ascii_case("upgrade"))
            })
        })
        // An offer of cleartext HTTP/2 may be ignored (RFC 9113, section 3.1).
        && headers.get(UPGRADE).is_none_or(|value| !value.as_bytes().eq_ignore_ascii_case(b"h2c"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepared(request: http::request::Builder) -> Result<Request<()>, BadRequest> {
        prepared_over(Scheme::Http, request)
    }

    fn prepared_over(
        scheme: Scheme,
        request: http::request::Builder,
    ) -> Result<Request<()>, BadRequest> {
        let mut request = request.body(()).unwrap();
        let peer = Peer {
            addr: "192.0.2.7:1234".parse().unwrap(),
            scheme,
        };
        let origin = Origin {
            id: RequestId::random(),
            peer,
            client: peer,
        };
        prepare(&mut request, origin).map(|()| request)
    }

    #[test]
    fn the_host_is_that_of_the_target_or_the_field_without_its_port() {
        let host_of = |request: http::request::Builder| {
            let request = request.body(()).unwrap();
            host(&request).to_owned()
        };
        assert_eq!(host_of(Request::get("/").header("host", "a:80")), "a");
        assert_eq!(
            host_of(Request::get("/").header("host", "[::1]:80")),
            "[::1]"
        );
        assert_eq!(host_of(Request::get("/").header("host", "[::1]")), "[::1]");
        assert_eq!(host_of(Request::get("/").header("host", "a:")), "a");
        assert_eq!(
            host_of(Request::get("http://b:8/").header("host", "a")),
            "b"
        );
        assert_eq!(host_of(Request::get("http://[::1]:8/")), "[::1]");
        assert_eq!(host_of(Request::get("/")), "");
        // What is no host, and refused later, is no app's either.
        for bad in ["a:b", "a:80:80", "a:65536", "me@a", "::1", ":80", "a b"] {
            assert_eq!(host_of(Request::get("/").header("host", bad)), "", "{bad}");
        }
        assert_eq!(
            host_of(Request::get("http://me@b/").header("host", "a")),
            ""
        );
    }

    #[test]
    fn cookies_of_http2_are_joined_and_forged_names_are_dropped() {
        let request = Request::get("http://a.example/")
            .version(Version::HTTP_2)
            .header("cookie", "a=1")
            .header("cookie", "b=2")
            .header("x_forwarded_for", "6.6.6.6")
            .header("X_Request-Id", "6")
            .header("proxy", "http://evil.example")
            .header("x_other", "stays");
        let request = prepared(request).unwrap();
        assert_eq!(request.headers()["cookie"], "a=1; b=2");
        assert_eq!(request.headers().get_all("cookie").iter().count(), 1);
        for name in ["x_forwarded_for", "x_request-id", "proxy"] {
            assert!(!request.headers().contains_key(name), "{name}");
        }
        assert_eq!(request.headers()["x_other"], "stays");
    }

    #[test]
    fn http2_has_the_limits_of_http1() {
        let base = || Request::get("http://a.example/").version(Version::HTTP_2);
        let check = |request: http::request::Builder, expected| {
            assert_eq!(prepared(request).map(|_| ()), Err(expected));
        };
        let long = "a".repeat(9000);
        check(base().method(long.as_str()), BadRequest::Method);
        check(
            base().uri(format!("http://a.example/{long}")),
            BadRequest::TargetLength,
        );
        let many = (0..101).fold(base(), |request, count| {
            request.header(format!("a{count}"), "b")
        });
        check(many, BadRequest::FieldCount);
        check(base().header("a", " b"), BadRequest::Blanks);
        check(base().header("a", "b\t"), BadRequest::Blanks);
        assert!(prepared(base().header("a", "")).is_ok());
    }

    #[test]
    fn over_tls_all_say_https() {
        let request = Request::get("/a").header("host", "example.com");
        let request = prepared_over(Scheme::Https, request).unwrap();
        assert_eq!(request.uri(), "https://example.com/a");
        assert_eq!(request.headers()["x-forwarded-proto"], "https");
        let forwarded = request.headers()["forwarded"].to_str().unwrap();
        assert!(forwarded.ends_with(";proto=https"), "{forwarded}");
    }

    #[test]
    fn what_a_client_forwards_is_replaced() {
        let request = prepared(
            Request::get("/a?b=c")
                .header("host", "example.com:8080")
                .header("x-forwarded-for", "10.0.0.1")
                .header("x-forwarded-for", "10.0.0.2")
                .header("forwarded", "for=evil")
                .header("x-request-id", "mine"),
        )
        .unwrap();
        let headers = request.headers();
        assert_eq!(request.uri(), "http://example.com:8080/a?b=c");
        assert_eq!(headers.get_all("x-forwarded-for").iter().count(), 1);
        assert_eq!(headers["x-forwarded-for"], "192.0.2.7");
        assert_eq!(headers["x-forwarded-host"], "example.com:8080");
        assert_eq!(
            headers["forwarded"],
            "for=192.0.2.7;host=\"example.com:8080\";proto=http"
        );
        assert_eq!(headers["x-request-id"].len(), 32);
    }

    #[test]
    fn a_request_needs_one_host_and_a_plain_path() {
        let check = |request: http::request::Builder, expected| {
            assert_eq!(prepared(request).map(|_| ()), expected);
        };
        check(Request::get("/"), Err(BadRequest::Host));
        check(Request::get("/").version(Version::HTTP_10), Ok(()));
        check(Request::get("http://a.example/x"), Err(BadRequest::Host));
        check(
            Request::get("http://a.example/x").header("host", "A.example:80"),
            Ok(()),
        );
        check(
            Request::get("http://a.example/x").header("host", "b"),
            Err(BadRequest::OtherHost),
        );
        check(
            Request::get("ftp://a.example/x").header("host", "a.example"),
            Err(BadRequest::Scheme),
        );
        check(
            Request::get("http://me@a.example/x").header("host", "b"),
            Err(BadRequest::Host),
        );
        check(
            Request::get("http://a.example/x").version(Version::HTTP_2),
            Ok(()),
        );
        check(
            Request::get("/").header("host", "a").header("host", "b"),
            Err(BadRequest::Host),
        );
        check(
            Request::get("/").header("host", "me@a"),
            Err(BadRequest::Host),
        );
        check(
            Request::get("/").header("host", "a b"),
            Err(BadRequest::Host),
        );
        for path in ["/a/../b", "/..", "/a/./b", "/a/%2e%2E/b", "/%2e"] {
            check(
                Request::get(path).header("host", "a"),
                Err(BadRequest::DotSegments),
            );
        }
        for path in ["/h\u{e4}", "/a\"b"] {
            check(
                Request::get(path).header("host", "a"),
                Err(BadRequest::Target),
            );
        }
        for path in ["/a..b", "/.well-known/x", "/...", "/a%2Fb"] {
            check(Request::get(path).header("host", "a"), Ok(()));
        }
    }

    #[test]
    fn a_websocket_handshake_is_seen() {
        let mut headers = HeaderMap::new();
        headers.insert(
            "connection",
            HeaderValue::from_static("keep-alive, Upgrade"),
        );
        assert!(!wants_upgrade(&headers));
        headers.insert("upgrade", HeaderValue::from_static("websocket"));
        assert!(wants_upgrade(&headers));
        headers.insert("upgrade", HeaderValue::from_static("h2c"));
        assert!(!wants_upgrade(&headers));
    }
}
