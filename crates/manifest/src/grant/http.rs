//! The grant to send HTTP requests to a server.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::{host_name, port_number};
use crate::invalid::{InvalidValue, quote};
use crate::text::written_as_text;

/// Leave to send HTTP requests: `https://api.example.com`, `http://127.0.0.1:8080`,
/// `https://*.example.com` (every name below it, not itself), `https://*` (any host), or `*`
/// (anything). A port of `*` is any port; without one it is the scheme's own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HttpGrant(Allowed);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Allowed {
    Anything,
    Server {
        scheme: HttpScheme,
        host: Host,
        /// Whether its address is what is left of a wider grant, which does not name it.
        is_left: bool,
        /// None is any port.
        port: Option<u16>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Host {
    Any,
    Address(IpAddr),
    /// In lower case.
    Name(String),
    /// All names that end in a dot and this.
    Below(String),
}

/// The two schemes of HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HttpScheme {
    /// Plain.
    Http,
    /// Over TLS.
    Https,
}

impl HttpScheme {
    /// The scheme as it stands in a URL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port of a URL that names none.
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl HttpGrant {
    /// The grant of everything, `*`.
    pub const fn anything() -> Self {
        Self(Allowed::Anything)
    }

    /// Whether it names `address` and no other host.
    pub fn is_very_address(&self, address: IpAddr) -> bool {
        matches!(
            &self.0,
            Allowed::Server { host: Host::Address(granted), is_left: false, .. }
                if *granted == address.to_canonical()
        )
    }

    /// What this one grants and `other`, too; `None` if that is nothing.
    ///
    /// Where this one is wider than an address, it does not name what is left of it: see
    /// [`HttpGrant::is_very_address`].
    pub fn and(&self, other: &Self) -> Option<Self> {
        let server = match (&self.0, &other.0) {
            (_, Allowed::Anything) => self.0.clone(),
            (
                Allowed::Anything,
                Allowed::Server {
                    scheme, host, port, ..
                },
            ) => Allowed::Server {
                scheme: *scheme,
                host: host.clone(),
                is_left: host.is_address(),
                port: *port,
            },
            (
                Allowed::Server {
                    scheme,
                    host,
                    is_left,
                    port,
                },
                Allowed::Server {
                    scheme: other_scheme,
                    host: other_host,
                    port: other_port,
                    ..
                },
            ) => {
                let is_one_port = port.is_none() || other_port.is_none() || port == other_port;
                if scheme != other_scheme || !is_one_port {
                    return None;
                }
                let both = host.and(other_host)?;
                Allowed::Server {
                    scheme: *scheme,
                    is_left: *is_left || (both.is_address() && both != *host),
                    host: both,
                    port: port.or(*other_port),
                }
            }
        };
        Some(Self(server))
    }

    /// Whether requests to `scheme://host:port` are granted.
    ///
    /// `scheme` and `host` are compared in any case; an IPv6 address may stand in brackets. Only
    /// what is written is compared: whether a name resolves to an address that policy forbids is
    /// for whoever connects to check.
    pub fn allows(&self, scheme: &str, host: &str, port: u16) -> bool {
        match &self.0 {
            Allowed::Anything => true,
            Allowed::Server {
                scheme: granted_scheme,
                host: granted_host,
                port: granted_port,
                ..
            } => {
                scheme.eq_ignore_ascii_case(granted_scheme.as_str())
                    && granted_port.is_none_or(|granted| granted == port)
                    && granted_host.allows(host)
            }
        }
    }
}

impl Host {
    fn is_address(&self) -> bool {
        matches!(self, Self::Address(_))
    }

    /// The hosts of both.
    fn and(&self, other: &Self) -> Option<Self> {
        match (self, other) {
            (Self::Any, _) => Some(other.clone()),
            (_, Self::Any) => Some(self.clone()),
            (Self::Address(one), Self::Address(other)) => (one == other).then(|| self.clone()),
            (Self::Name(name), Self::Name(_) | Self::Below(_)) => {
                other.allows(name).then(|| self.clone())
            }
            (Self::Below(_), Self::Name(name)) => self.allows(name).then(|| other.clone()),
            (Self::Below(one), Self::Below(two)) => {
                if one == two || other.allows(one) {
                    Some(self.clone())
                } else {
                    self.allows(two).then(|| other.clone())
                }
            }
            _ => None,
        }
    }

    fn allows(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host);
        match self {
            Self::Any => true,
            Self::Address(address) => bare_address(host).is_some_and(|other| other == *address),
            Self::Name(name) => host.eq_ignore_ascii_case(name),
            Self::Below(parent) => {
                let Some(label_end) = host.len().checked_sub(parent.len() + 1) else {
                    return false;
                };
                label_end > 0
                    && host.as_bytes()[label_end] == b'.'
                    && host.as_bytes()[label_end + 1..].eq_ignore_ascii_case(parent.as_bytes())
            }
        }
    }
}

/// `host` as an address, in brackets or not.
fn bare_address(host: &str) -> Option<IpAddr> {
    let bare = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(host);
    bare.parse()
        .ok()
        .map(|address: IpAddr| address.to_canonical())
}

impl FromStr for HttpGrant {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        if text == "*" {
            return Ok(Self::anything());
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(
                InvalidValue::new(format!("the HTTP grant {} has no scheme", quote(text)))
                    .with_hint(format!("write {}", quote(&format!("https://{text}")))),
            );
        };
        let scheme = match scheme {
            "http" => HttpScheme::Http,
            "https" => HttpScheme::Https,
            other => {
                return Err(InvalidValue::new(format!(
                    "{} is not a scheme of HTTP; there are `http` and `https`",
                    quote(other)
                )));
            }
        };
        if let Some((server, _)) = rest.split_once(['/', '?', '#']) {
            return Err(
                InvalidValue::new(format!("the HTTP grant {} has a path", quote(text))).with_hint(
                    format!(
                        "a grant is for a whole server: write {}",
                        quote(&format!("{}://{server}", scheme.as_str()))
                    ),
                ),
            );
        }
        if rest.contains('@') {
            return Err(InvalidValue::new("an HTTP grant has no user or password"));
        }
        let (host, port) = split_port(rest);
        Ok(Self(Allowed::Server {
            scheme,
            host: parse_host(host)?,
            is_left: false,
            port: match port {
                None => Some(scheme.default_port()),
                Some("*") => None,
                Some(port) => Some(port_number(port)?),
            },
        }))
    }
}

/// Splits `host:port`, where colons inside brackets belong to the host.
fn split_port(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (text, None),
    }
}

fn parse_host(host: &str) -> Result<Host, InvalidValue> {
    if host == "*" {
        return Ok(Host::Any);
    }
    if let Some(parent) = host.strip_prefix("*.") {
        if parent.parse::<IpAddr>().is_ok() {
            return Err(InvalidValue::new(format!(
                "{} mixes a wildcard and an address",
                quote(host)
            )));
        }
        return host_name(parent).map(Host::Below);
    }
    if let Some(address) = bare_address(host) {
        return if address.is_ipv6() && !host.starts_with('[') {
            Err(
                InvalidValue::new(format!("the address {} needs brackets", quote(host)))
                    .with_hint(format!("write `[{address}]`")),
            )
        } else {
            Ok(Host::Address(address))
        };
    }
    host_name(host).map(Host::Name)
}

impl fmt::Display for HttpGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Allowed::Server {
            scheme, host, port, ..
        } = &self.0
        else {
            return f.write_str("*");
        };
        write!(f, "{}://", scheme.as_str())?;
        match host {
            Host::Any => f.write_str("*")?,
            Host::Address(IpAddr::V6(address)) => write!(f, "[{address}]")?,
            Host::Address(address) => write!(f, "{address}")?,
            Host::Name(name) => f.write_str(name)?,
            Host::Below(parent) => write!(f, "*.{parent}")?,
        }
        match port {
            None => f.write_str(":*"),
            Some(port) if *port == scheme.default_port() => Ok(()),
            Some(port) => write!(f, ":{port}"),
        }
    }
}

written_as_text!(HttpGrant, {
    "description": "A server: scheme, host and port; `*.` before a host for all names below it, `*` for anything.",
    "type": "string",
    "pattern": "^(\\*|https?://[^/?#@]+)$",
    "examples": ["https://api.example.com", "http://127.0.0.1:8080", "https://*.example.com", "*"]
});

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn grant(text: &str) -> HttpGrant {
        text.parse().unwrap()
    }

    #[test]
    fn scheme_host_and_port_must_agree() {
        let api = grant("https://api.example.com");
        assert!(api.allows("https", "api.example.com", 443));
        assert!(api.allows("HTTPS", "API.example.com.", 443));
        assert!(!api.allows("http", "api.example.com", 443));
        assert!(!api.allows("https", "api.example.com", 8443));
        assert!(!api.allows("https", "example.com", 443));
        assert!(!api.allows("https", "api.example.com.evil.org", 443));
        assert!(grant("http://127.0.0.1:8080").allows("http", "127.0.0.1", 8080));
        assert!(grant("http://localhost:*").allows("http", "localhost", 3000));
        assert!(grant("https://*").allows("https", "x.org", 443));
        assert!(!grant("https://*").allows("http", "x.org", 80));
        assert!(grant("*").allows("http", "anything", 1));
    }

    #[test]
    fn wildcards_cover_what_is_below_only() {
        let below = grant("https://*.example.com");
        assert!(below.allows("https", "a.example.com", 443));
        assert!(below.allows("https", "a.b.EXAMPLE.com", 443));
        assert!(!below.allows("https", "example.com", 443));
        assert!(!below.allows("https", ".example.com", 443));
        assert!(!below.allows("https", "badexample.com", 443));
        assert!(!below.allows("https", "é", 443));
    }

    #[test]
    fn addresses_compare_by_value() {
        let loopback = grant("http://[::1]:80");
        assert!(loopback.allows("http", "[0:0::1]", 80));
        assert!(loopback.allows("http", "::1", 80));
        assert!(!loopback.allows("http", "127.0.0.1", 80));
    }

    #[test]
    fn what_two_grants_have_in_common() {
        let check = |asked: &str, allowed: &str, both: Option<&str>| {
            let found = grant(asked).and(&grant(allowed));
            let found = found.map(|found| found.to_string());
            assert_eq!(found.as_deref(), both, "{asked} and {allowed}");
        };
        check("*", "*", Some("*"));
        check("*", "https://a.b", Some("https://a.b"));
        check("https://a.b", "*", Some("https://a.b"));
        check("https://*", "http://*", None);
        check("https://*:*", "https://a.b:8443", Some("https://a.b:8443"));
        check("https://*", "https://a.b:8443", None);
        check("https://a.b:*", "https://a.b", Some("https://a.b"));
        check("https://*.a.b", "https://c.a.b", Some("https://c.a.b"));
        check("https://c.a.b", "https://*.a.b", Some("https://c.a.b"));
        check("https://a.b", "https://*.a.b", None);
        check("https://*.a.b", "https://a.b", None);
        check("https://*.c.a.b", "https://*.a.b", Some("https://*.c.a.b"));
        check("https://*.a.b", "https://*.c.a.b", Some("https://*.c.a.b"));
        check("https://*.a.b", "https://*.a.b", Some("https://*.a.b"));
        check("https://*.a.b", "https://*.ca.b", None);
        check("http://[::1]", "http://[::1]", Some("http://[::1]"));
        check("http://10.0.0.1", "http://10.0.0.2", None);
        check("http://10.0.0.1", "http://a.b", None);
        check("http://*", "http://[::1]:*", Some("http://[::1]"));
    }

    #[test]
    fn what_is_left_of_a_wide_grant_names_no_address() {
        let address: IpAddr = "169.254.169.254".parse().unwrap();
        let exact = grant("http://169.254.169.254");
        for wide in ["*", "http://*"] {
            let left = grant(wide).and(&exact).unwrap();
            assert!(left.allows("http", "169.254.169.254", 80), "{wide}");
            assert!(!left.is_very_address(address), "{wide}");
            assert!(!left.and(&exact).unwrap().is_very_address(address));
            assert!(exact.and(&grant(wide)).unwrap().is_very_address(address));
        }
    }

    #[test]
    fn spelling_reads_back() {
        for text in [
            "*",
            "https://*",
            "https://a.b",
            "http://a:8080",
            "http://[::1]:8080",
            "https://*.a.b:*",
        ] {
            assert_eq!(grant(text).to_string(), text);
        }
        assert_eq!(grant("https://A.b:443").to_string(), "https://a.b");
    }

    #[test]
    fn bad_grants() {
        for bad in [
            "",
            "example.com",
            "ftp://a",
            "https://",
            "https://a/b",
            "https://a/",
            "https://u@a",
            "https://a:0",
            "https://a:70000",
            "https://a:+1",
            "https://::1",
            "https://*.10.0.0.1",
            "https://a*.b",
            "https://a..b",
            "https://grün.de",
            "https://[::1",
            "https://a b",
            "http://2130706433",
            "http://0x7f000001",
            "http://127.1",
            "http://127.0.0.1.",
            "http://*.127.0.0.1.",
            "http://0177.0.0.1",
            "http://*.0.1",
        ] {
            assert!(bad.parse::<HttpGrant>().is_err(), "{bad:?}");
        }
        let no_scheme = "example.com".parse::<HttpGrant>().unwrap_err();
        assert_eq!(no_scheme.hint(), Some("write `https://example.com`"));
        let path = "https://a.org/x".parse::<HttpGrant>().unwrap_err();
        assert_eq!(
            path.hint(),
            Some("a grant is for a whole server: write `https://a.org`")
        );
    }
}
