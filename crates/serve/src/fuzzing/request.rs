//! What a request's head says, and what proxies say of it.

use std::net::{IpAddr, SocketAddr};

use http::header::{HeaderName, HeaderValue};
use http::uri::Authority;
use http::{HeaderMap, Request, Uri, Version};
use wharf_fuzzkit::texts;

use crate::authority::HostPort;
use crate::log::RequestId;
use wharf_manifest::ForwardedField;

use crate::proxies::Proxies;
use crate::request::{self, Origin, Peer, Scheme, X_REQUEST_ID};
use crate::telemetry::{TRACEPARENT, TraceParent};

const PROXY: &str = "10.0.0.1";
const CLIENTS: [&str; 2] = ["198.51.100.9", "2001:db8::9"];

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn peer(ip: &str, scheme: Scheme) -> Peer {
    let addr = SocketAddr::new(address(ip), 1234);
    Peer { addr, scheme }
}

/// Lines of `name: value`; those that are no field are left out.
fn fields(lines: &[u8]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for line in lines.split(|byte| *byte == b'\n').take(64) {
        let colon = line.iter().position(|byte| *byte == b':');
        let (name, value) = line.split_at(colon.unwrap_or(line.len()));
        let name = HeaderName::from_bytes(name.trim_ascii());
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value)) {
            map.append(name, value);
        }
    }
    map
}

/// A host as `http` reads it, and as we do.
pub(super) fn authority(bytes: &[u8]) {
    let (one, other) = match bytes.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&bytes[..end], &bytes[end + 1..]),
        None => (bytes, bytes),
    };
    let Some(ours) = HostPort::parse(one) else {
        return;
    };
    let text = std::str::from_utf8(one).expect("a host is ASCII");
    let theirs = Authority::try_from(one).expect("what we take is an authority");
    assert_eq!(ours.has_port(), theirs.port_u16().is_some(), "{text}");
    assert_eq!(
        text.strip_prefix(theirs.host())
            .map(|rest| rest.get(..1).unwrap_or("")),
        Some(if text.len() > theirs.host().len() {
            ":"
        } else {
            ""
        }),
        "{text}"
    );
    if theirs.host().starts_with('[') {
        let inside = theirs.host().trim_matches(['[', ']']);
        assert!(inside.parse::<std::net::Ipv6Addr>().is_ok(), "{text}");
    }
    for scheme in [Scheme::Http, Scheme::Https] {
        assert!(ours.is_same(&ours, scheme));
        if let Some(other) = HostPort::parse(other) {
            let is_same = ours.is_same(&other, scheme);
            assert_eq!(is_same, other.is_same(&ours, scheme));
        }
    }
}

pub(super) fn authority_seeds() -> Vec<Vec<u8>> {
    texts(&[
        "example.com:80\nEXAMPLE.com",
        "a:\na:443",
        "[::1]:8080",
        "[2001:db8::7]",
        "me@a",
        "a_b.c*:65535",
    ])
}

/// A line with method, target and version, then fields.
fn parsed(bytes: &[u8]) -> Option<Request<()>> {
    let end = bytes.iter().position(|byte| *byte == b'\n');
    let (line, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
    let mut words = line.splitn(3, |byte| *byte == b' ');
    let (method, target) = (words.next()?, words.next()?);
    let version = match words.next() {
        Some(b"1.0") => Version::HTTP_10,
        Some(b"2") => Version::HTTP_2,
        _ => Version::HTTP_11,
    };
    let request = Request::builder()
        .method(method)
        .uri(target)
        .version(version);
    let mut request = request.body(()).ok()?;
    *request.headers_mut() = fields(rest);
    Some(request)
}

/// A request as an app gets it.
pub(super) fn prepare(bytes: &[u8]) {
    let Some(request) = parsed(bytes) else { return };
    let _ = (
        request::host(&request),
        request::wants_upgrade(request.headers()),
    );
    for (scheme, client) in [(Scheme::Http, CLIENTS[0]), (Scheme::Https, CLIENTS[1])] {
        let origin = Origin {
            id: RequestId::random(),
            peer: peer(PROXY, scheme),
            client: peer(client, Scheme::Https),
        };
        let mut prepared = request.clone();
        if request::prepare(&mut prepared, origin).is_ok() {
            is_ready(&prepared, origin);
            let mut again = prepared.clone();
            let result = request::prepare(&mut again, origin);
            assert_eq!(result, Ok(()), "a second time");
            assert_eq!(again.uri(), prepared.uri());
            assert_eq!(again.headers(), prepared.headers());
        }
    }
}

fn is_ready(request: &Request<()>, origin: Origin) {
    let uri = request.uri();
    assert_eq!(uri.scheme_str(), Some(origin.client.scheme.as_str()));
    let authority = uri.authority().expect("it has a host").as_str();
    assert!(
        HostPort::parse(authority.as_bytes()).is_some(),
        "{authority}"
    );
    assert!(uri.path().starts_with('/'));
    for segment in uri.path().split('/') {
        let plain = segment.to_ascii_lowercase().replace("%2e", ".");
        assert!(plain != "." && plain != "..", "{uri}");
    }
    assert_eq!(uri.to_string().parse::<Uri>().ok().as_ref(), Some(uri));
    let headers = request.headers();
    let mut names: Vec<_> = headers
        .iter()
        .map(|(name, _)| name.as_str())
        .filter(|name| {
            name.starts_with("x-forwarded-") || ["forwarded", "x-request-id"].contains(name)
        })
        .collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "forwarded",
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded-proto",
            "x-request-id"
        ]
    );
    assert_eq!(headers[&X_REQUEST_ID], origin.id.to_string());
    // Who stands behind us reads of it what we know.
    for field in FIELDS {
        let trusted = Proxies::new(vec![PROXY.parse().expect("a range")], field);
        let (seen, id) = trusted.client(peer(PROXY, Scheme::Http), headers);
        assert_eq!(seen.addr.ip(), origin.client.addr.ip(), "{headers:?}");
        assert_eq!(seen.scheme, origin.client.scheme, "{headers:?}");
        assert_eq!(id, Some(origin.id));
    }
}

pub(super) fn prepare_seeds() -> Vec<Vec<u8>> {
    texts(&[
        "GET /a?b=c\nhost: example.com:8080\nx-forwarded-for: 10.0.0.1\nforwarded: for=evil\nx-request-id: mine",
        "OPTIONS * 1.1\nhost: a",
        "GET http://a/%2e%2e/b 2\nhost: a:80",
        "GET /a/.%2E/b\nhost: a",
        "GET https://[::1]:8443/ 2",
        "GET / 1.0",
        "CONNECT a:443\nhost: a:443",
        "GET /\nhost: a\nupgrade: websocket\nconnection: keep-alive, Upgrade",
    ])
}

const FIELDS: [ForwardedField; 2] = [ForwardedField::Forwarded, ForwardedField::XForwardedFor];

/// What proxies say: only what the nearest ones added counts.
pub(super) fn proxies(bytes: &[u8]) {
    let headers = fields(bytes);
    let trusted = ["10.0.0.0/8", "::1"].map(|range| range.parse().expect("a range"));
    for field in FIELDS {
        believed(&Proxies::new(trusted.to_vec(), field), field, &headers);
    }
}

fn believed(trusted: &Proxies, field: ForwardedField, headers: &HeaderMap) {
    let stranger = peer(CLIENTS[0], Scheme::Http);
    let (seen, id) = trusted.client(stranger, headers);
    assert_eq!((seen.addr, seen.scheme), (stranger.addr, stranger.scheme));
    assert_eq!(id, None, "a stranger's word");

    let proxy = peer(PROXY, Scheme::Http);
    let (seen, id) = trusted.client(proxy, headers);
    assert!(seen.addr == proxy.addr || seen.addr.port() == 0);
    assert_eq!(seen.addr.ip(), seen.addr.ip().to_canonical());
    if let Some(id) = id {
        let said = headers[&X_REQUEST_ID].to_str().expect("an id is ASCII");
        assert_eq!(said.replace('-', "").to_lowercase(), id.to_string());
    }

    // A client sent any of these, and the proxy put the truth behind it, in the same line.
    for value in headers.values() {
        let client = address(CLIENTS[1]);
        let (name, added) = match field {
            ForwardedField::Forwarded => ("forwarded", format!(", for=\"[{client}]\";proto=https")),
            ForwardedField::XForwardedFor => ("x-forwarded-for", format!(", {client}")),
        };
        let mut map = HeaderMap::new();
        let value = [value.as_bytes(), added.as_bytes()].concat();
        let value = HeaderValue::from_bytes(&value).expect("it was a value before");
        map.insert(name, value);
        let (seen, _) = trusted.client(proxy, &map);
        assert_eq!(seen.addr.ip(), client, "{map:?}");
    }
}

pub(super) fn proxies_seeds() -> Vec<Vec<u8>> {
    let mut seeds = texts(&[
        "forwarded: for=192.0.2.9;proto=https, for=10.0.0.3;proto=http",
        "forwarded: for=1.1.1.1, For=\"[2001:db8::1]:80\";proto=http;by=10.0.0.1",
        "x-forwarded-for: 1.2.3.4, 192.0.2.9:80, 10.0.0.7\nx-forwarded-proto: http, https",
        "x-request-id: 01234567-89ab-cdef-0123-456789abcdef",
        "forwarded: for=_hidden\nforwarded: for=unknown",
        // The quote that a client left open took in what the proxy had added.
        "forwarded: for=\"",
    ]);
    // So did what is no UTF-8.
    seeds.push(b"x-forwarded-for: \xff".to_vec());
    seeds
}

/// A `traceparent`, held against its fields between the dashes.
pub(super) fn traceparent(bytes: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(bytes) else {
        return;
    };
    let of = |value: HeaderValue| {
        let mut headers = HeaderMap::new();
        headers.insert(&TRACEPARENT, value);
        TraceParent::of(&headers)
    };
    let Some(parent) = of(value) else { return };
    assert_eq!(of(parent.header()), Some(parent), "it reads back");
    let text = std::str::from_utf8(&bytes[..55]).expect("digits and dashes");
    let parts: Vec<_> = text.split('-').collect();
    let flags = u8::from_str_radix(parts[3], 16).expect("flags");
    assert_eq!(parts[1], format!("{:032x}", parent.trace));
    assert_eq!(parts[2], format!("{:016x}", parent.span));
    assert_eq!(flags & 1 == 1, parent.is_sampled);
    assert!(parent.trace != 0 && parent.span != 0 && parts[0] != "ff");
    assert!(bytes.len() == 55 || parts[0] != "00");
}

pub(super) fn traceparent_seeds() -> Vec<Vec<u8>> {
    texts(&[
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00-more",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
    ])
}

pub(super) fn id(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(id) = text.parse::<RequestId>() {
        assert_eq!(id.to_string(), text.to_ascii_lowercase());
        assert_eq!(id.to_string().parse(), Ok(id));
    }
}

pub(super) fn id_seeds() -> Vec<Vec<u8>> {
    texts(&[
        "0123456789abcdef0123456789ABCDEF",
        "+0000000000000000000000000000000",
    ])
}
