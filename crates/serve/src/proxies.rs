//! What trusted proxies say of the clients behind them.
//!
//! A proxy adds to the right of what it was sent, so the list is read from there: every address of
//! a trusted proxy is one more hop, and the first that is not is the client. What stands left of
//! it anybody can have written.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use http::header::{FORWARDED, HeaderName};
use wharf_manifest::{AddressRange, ForwardedField};

use crate::log::RequestId;
use crate::request::{Peer, Scheme, X_REQUEST_ID};

static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Hops that are read; no real chain is as long.
const HOPS_MAX: usize = 32;

/// The proxies whose word is believed, and where they write it. What stands in the other field a
/// proxy passes on as a client wrote it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Proxies {
    trusted: Vec<AddressRange>,
    field: ForwardedField,
}

/// One hop as a proxy tells it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Hop {
    /// `None` where the proxy does not say, or hides it (RFC 7239, section 6).
    client: Option<IpAddr>,
    scheme: Option<Scheme>,
}

impl Proxies {
    pub(crate) fn new(trusted: Vec<AddressRange>, field: ForwardedField) -> Proxies {
        Proxies { trusted, field }
    }

    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|range| range.contains(address))
    }

    /// Who asks, by what `peer`, if it is trusted, says in `headers`; and the id that it gave
    /// the request, if it gave one.
    pub(crate) fn client(&self, peer: Peer, headers: &HeaderMap) -> (Peer, Option<RequestId>) {
        if self.trusted.is_empty() || !self.trusts(peer.addr.ip()) {
            return (peer, None);
        }
        let hops = match self.field {
            ForwardedField::Forwarded => forwarded(headers),
            ForwardedField::XForwardedFor => x_forwarded(headers),
        };
        let mut seen = peer;
        for hop in hops.into_iter().take(HOPS_MAX) {
            if let Some(scheme) = hop.scheme {
                seen.scheme = scheme;
            }
            let Some(client) = hop.client else {
                break;
            };
            // Its port is unknown, and nobody is told it.
            seen.addr = SocketAddr::new(client.to_canonical(), 0);
            if !self.trusts(client) {
                break;
            }
        }
        (seen, request_id(headers))
    }
}

/// The hops of `Forwarded` (RFC 7239, section 4), the nearest first. A malformed element ends the
/// list: nothing that stands left of it is believed, and nothing in it can take in what a proxy
/// added on its right.
fn forwarded(headers: &HeaderMap) -> Vec<Hop> {
    let mut hops = Vec::new();
    let values: Vec<_> = headers.get_all(FORWARDED).iter().collect();
    for value in values.into_iter().rev() {
        let text = String::from_utf8_lossy(value.as_bytes());
        for text in rsplit_quoted(&text, ',') {
            let hop = element(text);
            hops.push(hop.unwrap_or_default());
            if hop.is_none() {
                return hops;
            }
        }
    }
    hops
}

/// What one element says, or `None` if it is malformed.
fn element(text: &str) -> Option<Hop> {
    let mut hop = Hop::default();
    let mut rest = text.trim_matches([' ', '\t']);
    loop {
        let (name, after) = token(rest.trim_start_matches([' ', '\t']))?;
        let (value, after) = value(after.strip_prefix('=')?)?;
        match name.to_ascii_lowercase().as_str() {
            "for" => hop.client = address(value),
            "proto" => hop.scheme = scheme(value),
            _ => {}
        }
        rest = after.trim_start_matches([' ', '\t']);
        if rest.is_empty() {
            return Some(hop);
        }
        rest = rest.strip_prefix(';')?;
    }
}

/// Pieces of `text` between `separator`s outside quoted strings, from the right: a quote that the
/// client left open must not take in what a proxy wrote behind it.
fn rsplit_quoted(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut in_quotes = false;
    text.rsplit(move |character| {
        if character == '"' {
            in_quotes = !in_quotes;
        }
        character == separator && !in_quotes
    })
}

/// A token at the start, and what comes after it.
fn token(text: &str) -> Option<(&str, &str)> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let end = text.bytes().position(|byte| !is_token(byte));
    let (token, rest) = text.split_at(end.unwrap_or(text.len()));
    (!token.is_empty()).then_some((token, rest))
}

/// A token or a quoted string without escapes, which no address needs.
fn value(text: &str) -> Option<(&str, &str)> {
    match text.strip_prefix('"') {
        Some(inside) => {
            let (quoted, rest) = inside.split_once('"')?;
            (!quoted.contains('\\')).then_some((quoted, rest))
        }
        None => token(text),
    }
}

/// The hops of `X-Forwarded-For` and `X-Forwarded-Proto`, the nearest first. Where the second
/// has one value for all hops, it is that of the first.
fn x_forwarded(headers: &HeaderMap) -> Vec<Hop> {
    let list = |name: &HeaderName| -> Vec<String> {
        let values = headers.get_all(name).iter();
        let texts = values
            .rev()
            .map(|value| String::from_utf8_lossy(value.as_bytes()));
        texts
            .flat_map(|text| {
                let items = text.rsplit(',').map(|item| item.trim().to_owned());
                items.collect::<Vec<_>>()
            })
            .collect()
    };
    let schemes = list(&X_FORWARDED_PROTO);
    let clients = list(&X_FORWARDED_FOR);
    let hops = clients.len().max(schemes.len());
    (0..hops)
        .map(|at| Hop {
            client: clients.get(at).and_then(|text| address(text)),
            scheme: schemes.get(at).and_then(|text| scheme(text)),
        })
        .collect()
}

/// An address, perhaps with a port: `192.0.2.7`, `192.0.2.7:80`, `2001:db8::1`,
/// `[2001:db8::1]:80`.
fn address(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address);
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(address.ip());
    }
    let inside = text.strip_prefix('[')?.strip_suffix(']')?;
    inside.parse().ok()
}

fn scheme(text: &str) -> Option<Scheme> {
    match text.to_ascii_lowercase().as_str() {
        "http" => Some(Scheme::Http),
        "https" => Some(Scheme::Https),
        _ => None,
    }
}

/// An id of 32 hexadecimal digits, also with the hyphens of a UUID.
fn request_id(headers: &HeaderMap) -> Option<RequestId> {
    let mut values = headers.get_all(&X_REQUEST_ID).iter();
    let text = values.next()?.to_str().ok()?;
    if values.next().is_some() || text.len() > 36 {
        return None;
    }
    let id: RequestId = text.replace('-', "").parse().ok()?;
    (!id.is_zero()).then_some(id)
}

#[cfg(test)]
mod tests {
    use http::header::HeaderValue;

    use super::*;

    fn seen(
        field: ForwardedField,
        peer: &str,
        headers: &[(&'static str, &str)],
    ) -> (String, &'static str) {
        let proxies = ["10.0.0.0/8", "::1"].map(|range| range.parse().unwrap());
        let proxies = Proxies::new(proxies.to_vec(), field);
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        let peer = Peer {
            addr: SocketAddr::new(peer.parse().unwrap(), 5),
            scheme: Scheme::Http,
        };
        let (seen, _) = proxies.client(peer, &map);
        (seen.addr.ip().to_string(), seen.scheme.as_str())
    }

    #[track_caller]
    fn check_field(
        field: ForwardedField,
        (peer, headers): (&str, &[(&'static str, &str)]),
        client: &str,
        scheme: &str,
    ) {
        let (address, seen) = seen(field, peer, headers);
        assert_eq!((address.as_str(), seen), (client, scheme), "{headers:?}");
    }

    #[track_caller]
    fn check(peer: &str, headers: &[(&'static str, &str)], client: &str, scheme: &str) {
        check_field(
            ForwardedField::XForwardedFor,
            (peer, headers),
            client,
            scheme,
        );
    }

    #[test]
    fn nobody_else_is_believed() {
        let claims = [
            ("x-forwarded-for", "192.0.2.9"),
            ("x-forwarded-proto", "https"),
            ("forwarded", "for=192.0.2.9"),
        ];
        check("192.0.2.7", &claims, "192.0.2.7", "http");
        check("10.0.0.1", &[], "10.0.0.1", "http");
    }

    #[test]
    fn the_client_is_the_first_from_the_right_that_is_no_proxy() {
        let of = |value| [("x-forwarded-for", value)];
        check("10.0.0.1", &of("192.0.2.9"), "192.0.2.9", "http");
        check("10.0.0.1", &of("1.2.3.4, 192.0.2.9"), "192.0.2.9", "http");
        check(
            "10.0.0.1",
            &of("1.2.3.4, 192.0.2.9, 10.0.0.7"),
            "192.0.2.9",
            "http",
        );
        check("10.0.0.1", &of("10.0.0.9"), "10.0.0.9", "http");
        check("::1", &of("2001:db8::1"), "2001:db8::1", "http");
        check(
            "::ffff:10.0.0.1",
            &of("::ffff:192.0.2.9"),
            "192.0.2.9",
            "http",
        );
        check("10.0.0.1", &of("192.0.2.9:4711"), "192.0.2.9", "http");
        // What cannot be read ends the reading.
        check("10.0.0.1", &of("192.0.2.9, unknown"), "10.0.0.1", "http");
        check(
            "10.0.0.1",
            &of("192.0.2.9, evil, 10.0.0.7"),
            "10.0.0.7",
            "http",
        );
        check(
            "10.0.0.1",
            &[
                ("x-forwarded-for", "1.1.1.1"),
                ("x-forwarded-for", "192.0.2.9"),
            ],
            "192.0.2.9",
            "http",
        );
    }

    #[test]
    fn the_scheme_is_that_of_the_same_hop() {
        check(
            "10.0.0.1",
            &[
                ("x-forwarded-for", "192.0.2.9"),
                ("x-forwarded-proto", "https"),
            ],
            "192.0.2.9",
            "https",
        );
        check(
            "10.0.0.1",
            &[("x-forwarded-proto", "HTTPS")],
            "10.0.0.1",
            "https",
        );
        check(
            "10.0.0.1",
            &[
                ("x-forwarded-for", "1.1.1.1, 192.0.2.9"),
                ("x-forwarded-proto", "http, https"),
            ],
            "192.0.2.9",
            "https",
        );
        check(
            "10.0.0.1",
            &[("x-forwarded-proto", "gopher")],
            "10.0.0.1",
            "http",
        );
    }

    #[test]
    fn only_the_field_that_the_proxies_write_is_read() {
        let both = [
            ("forwarded", "for=192.0.2.9;proto=https"),
            ("x-forwarded-for", "192.0.2.8"),
        ];
        check("10.0.0.1", &both, "192.0.2.8", "http");
        let forwarded = ForwardedField::Forwarded;
        check_field(forwarded, ("10.0.0.1", &both), "192.0.2.9", "https");
    }

    #[test]
    fn forwarded_is_read_strictly_and_from_the_right() {
        #[track_caller]
        fn check(value: &str, client: &str, scheme: &str) {
            let headers = [("forwarded", value)];
            check_field(
                ForwardedField::Forwarded,
                ("10.0.0.1", &headers),
                client,
                scheme,
            );
        }
        check(
            "for=1.1.1.1, For=\"[2001:db8::1]:80\";proto=http;by=10.0.0.1",
            "2001:db8::1",
            "http",
        );
        check(
            "for=192.0.2.9;proto=https, for=10.0.0.3;proto=http",
            "192.0.2.9",
            "https",
        );
        check("for=192.0.2.9, for=_hidden", "10.0.0.1", "http");
        // A client's own beginning cannot swallow what a proxy added.
        for behind in [
            "for=6.6.6.6;by=\", for=1.2.3.4",
            "for=\"x, for=1.2.3.4",
            "for=\"a\\\"b\", for=1.2.3.4",
        ] {
            check(behind, "1.2.3.4", "http");
        }
        for malformed in ["for=6.6.6.6 for=1.2.3.4", ";;=,,for", "for", "for=", ""] {
            check(malformed, "10.0.0.1", "http");
        }
        let lines = [("forwarded", "for=\"6.6.6.6"), ("forwarded", "for=1.2.3.4")];
        let field = ForwardedField::Forwarded;
        check_field(field, ("10.0.0.1", &lines), "1.2.3.4", "http");
    }

    #[test]
    fn nothing_that_a_client_sent_hides_it() {
        for junk in ["for=\"", "\"", "for=\"a,b", "\u{e4}", "for=1.1.1.1, for=\""] {
            let added = format!("{junk}, for=192.0.2.9;proto=https");
            let of = ("10.0.0.1", &[("forwarded", &*added)][..]);
            check_field(ForwardedField::Forwarded, of, "192.0.2.9", "https");
            let added = format!("{junk}, 192.0.2.9");
            check(
                "10.0.0.1",
                &[("x-forwarded-for", &added)],
                "192.0.2.9",
                "http",
            );
        }
    }

    #[test]
    fn an_id_is_taken_where_it_is_one() {
        let id = |value: &str| {
            let mut map = HeaderMap::new();
            map.insert(&X_REQUEST_ID, HeaderValue::from_str(value).unwrap());
            request_id(&map).map(|id| id.to_string())
        };
        let plain = "0123456789abcdef0123456789abcdef";
        assert_eq!(id(plain).as_deref(), Some(plain));
        assert_eq!(
            id("01234567-89ab-cdef-0123-456789abcdef").as_deref(),
            Some(plain)
        );
        for text in [
            "",
            "abc",
            "-",
            "0123456789abcdef0123456789abcdeg",
            "00000000000000000000000000000000",
        ] {
            assert_eq!(id(text), None, "{text}");
        }
    }
}
