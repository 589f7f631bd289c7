//! The grant to open sockets to an address.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::{host_name, port_number};
use crate::address_range::AddressRange;
use crate::invalid::{InvalidValue, quote};
use crate::text::written_as_text;

/// Leave to open sockets: `tcp://host:port`, `udp://host:port`, `host:port` (both), or `*`
/// (anything).
///
/// The host is a name, an address (`[::1]` for IPv6), a network (`10.0.0.0/8`, `[fd00::/8]`) or
/// `*`; the port a number, a range (`8000-8100`) or `*`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetGrant {
    protocol: Option<NetProtocol>,
    host: NetHost,
    port_first: u16,
    port_last: u16,
    /// Whether its host is what is left of a wider one, which does not name it.
    is_left: bool,
}

/// The two kinds of sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NetProtocol {
    /// Streams.
    Tcp,
    /// Datagrams.
    Udp,
}

/// Which hosts a [`NetGrant`] covers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NetHost {
    /// Every host.
    Any,
    /// What the name, in lower case, resolves to.
    Name(String),
    /// An address or several.
    Network(AddressRange),
}

impl NetGrant {
    /// The grant of everything, `*`.
    pub const fn anything() -> Self {
        Self {
            protocol: None,
            host: NetHost::Any,
            port_first: 0,
            port_last: u16::MAX,
            is_left: false,
        }
    }

    /// What this one grants and `other`, too; `None` if that is nothing. A name and an address
    /// have nothing in common, whatever the name resolves to.
    ///
    /// Where this one is wider than an address, it does not name what is left of it: see
    /// [`NetGrant::is_very_address`].
    pub fn and(&self, other: &Self) -> Option<Self> {
        let protocol = match (self.protocol, other.protocol) {
            (Some(one), Some(other)) if one != other => return None,
            (one, other) => one.or(other),
        };
        let host = match (&self.host, &other.host) {
            (NetHost::Any, host) | (host, NetHost::Any) => host.clone(),
            (NetHost::Name(one), NetHost::Name(other)) if one == other => self.host.clone(),
            (NetHost::Network(one), NetHost::Network(other)) => NetHost::Network(one.and(other)?),
            _ => return None,
        };
        let port_first = self.port_first.max(other.port_first);
        let port_last = self.port_last.min(other.port_last);
        (port_first <= port_last).then(|| Self {
            is_left: self.is_left || host != self.host,
            protocol,
            host,
            port_first,
            port_last,
        })
    }

    /// The protocol granted; none is both.
    pub fn protocol(&self) -> Option<NetProtocol> {
        self.protocol
    }

    /// The hosts granted.
    pub fn host(&self) -> &NetHost {
        &self.host
    }

    /// The name granted, in lower case, if it is one.
    pub fn host_name(&self) -> Option<&str> {
        match &self.host {
            NetHost::Name(name) => Some(name),
            NetHost::Any | NetHost::Network(_) => None,
        }
    }

    /// Whether the guest may look up the addresses of `name`.
    pub fn allows_lookup(&self, name: &str) -> bool {
        match &self.host {
            NetHost::Any => true,
            NetHost::Name(granted) => {
                let name = name.strip_suffix('.').unwrap_or(name);
                name.eq_ignore_ascii_case(granted)
            }
            NetHost::Network(_) => false,
        }
    }

    /// Whether a socket to some port of `address` is granted by the address itself.
    pub fn covers_address(&self, address: IpAddr) -> bool {
        match &self.host {
            NetHost::Any => true,
            NetHost::Name(_) => false,
            NetHost::Network(network) => network.contains(address),
        }
    }

    /// Whether it names `address` and no other.
    pub fn is_very_address(&self, address: IpAddr) -> bool {
        !self.is_left
            && matches!(&self.host, NetHost::Network(network) if *network == AddressRange::of(address))
    }

    /// Whether a socket to `address` and `port` is granted by the address itself.
    ///
    /// A grant for a name covers no address here: whoever resolves names asks
    /// [`NetGrant::allows_resolved`].
    pub fn allows_address(&self, protocol: NetProtocol, address: IpAddr, port: u16) -> bool {
        self.covers_address(address) && self.allows_protocol_and_port(protocol, port)
    }

    /// Whether a socket to `port` of an address that `name` resolved to is granted by that name.
    pub fn allows_resolved(&self, protocol: NetProtocol, name: &str, port: u16) -> bool {
        self.allows_lookup(name) && self.allows_protocol_and_port(protocol, port)
    }

    fn allows_protocol_and_port(&self, protocol: NetProtocol, port: u16) -> bool {
        self.protocol.is_none_or(|granted| granted == protocol)
            && (self.port_first..=self.port_last).contains(&port)
    }
}

impl FromStr for NetGrant {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        if text == "*" {
            return Ok(Self::anything());
        }
        let (protocol, rest) = match text.split_once("://") {
            None => (None, text),
            Some(("tcp", rest)) => (Some(NetProtocol::Tcp), rest),
            Some(("udp", rest)) => (Some(NetProtocol::Udp), rest),
            Some((scheme @ ("http" | "https"), _)) => {
                return Err(InvalidValue::new(format!(
                    "`{scheme}` is not a kind of socket; there are `tcp` and `udp`"
                ))
                .with_hint("HTTP requests are granted under `http`"));
            }
            Some((other, _)) => {
                return Err(InvalidValue::new(format!(
                    "{} is not a kind of socket; there are `tcp` and `udp`",
                    quote(other)
                )));
            }
        };
        let (host, ports) = split_host(text, rest)?;
        let (port_first, port_last) = parse_ports(ports)?;
        Ok(Self {
            protocol,
            host: parse_host(host)?,
            port_first,
            port_last,
            is_left: false,
        })
    }
}

fn split_host<'t>(text: &str, rest: &'t str) -> Result<(&'t str, &'t str), InvalidValue> {
    let no_port = || {
        InvalidValue::new(format!("the socket grant {} has no port", quote(text))).with_hint(
            format!("write {} for every port", quote(&format!("{text}:*"))),
        )
    };
    if rest.starts_with('[') {
        let (host, port) = rest.split_once(']').ok_or_else(|| {
            InvalidValue::new(format!("{} has a `[` without its `]`", quote(text)))
        })?;
        return Ok((host, port.strip_prefix(':').ok_or_else(no_port)?));
    }
    let (host, port) = rest.rsplit_once(':').ok_or_else(no_port)?;
    if host.contains(':') {
        return Err(
            InvalidValue::new(format!("the address in {} needs brackets", quote(text)))
                .with_hint("write IPv6 addresses as `[::1]:80`"),
        );
    }
    Ok((host, port))
}

/// `host` is without brackets; one that had them keeps its `[`.
fn parse_host(host: &str) -> Result<NetHost, InvalidValue> {
    if host == "*" {
        return Ok(NetHost::Any);
    }
    let bracketed = host.strip_prefix('[');
    let bare = bracketed.unwrap_or(host);
    if bracketed.is_some() || bare.contains('/') || bare.parse::<IpAddr>().is_ok() {
        return bare.parse().map(NetHost::Network);
    }
    host_name(bare).map(NetHost::Name)
}

fn parse_ports(text: &str) -> Result<(u16, u16), InvalidValue> {
    if text == "*" {
        return Ok((0, u16::MAX));
    }
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (port_number(first)?, port_number(last)?),
        None => {
            let port = port_number(text)?;
            (port, port)
        }
    };
    if first > last {
        return Err(
            InvalidValue::new(format!("the range of ports {} is empty", quote(text)))
                .with_hint(format!("did you mean `{last}-{first}`?")),
        );
    }
    Ok((first, last))
}

impl fmt::Display for NetGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::anything() {
            return f.write_str("*");
        }
        f.write_str(match self.protocol {
            None => "",
            Some(NetProtocol::Tcp) => "tcp://",
            Some(NetProtocol::Udp) => "udp://",
        })?;
        match &self.host {
            NetHost::Any => f.write_str("*")?,
            NetHost::Name(name) => f.write_str(name)?,
            NetHost::Network(network) => match network.to_string() {
                v6 if v6.contains(':') => write!(f, "[{v6}]")?,
                v4 => f.write_str(&v4)?,
            },
        }
        match (self.port_first, self.port_last) {
            (0, u16::MAX) => f.write_str(":*"),
            (first, last) if first == last => write!(f, ":{first}"),
            (first, last) => write!(f, ":{first}-{last}"),
        }
    }
}

written_as_text!(NetGrant, {
    "description": "Sockets: `tcp://` or `udp://` or neither, a host name, address, network or `*`, and a port, range or `*`.",
    "type": "string",
    "pattern": "^(\\*|((tcp|udp)://)?[^:/]+(/[0-9]+)?:[0-9*-]+|((tcp|udp)://)?\\[[^\\]]+\\]:[0-9*-]+)$",
    "examples": ["tcp://db.example.com:5432", "udp://10.0.0.0/8:53", "localhost:8000-8100", "*"]
});

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::NetProtocol::{Tcp, Udp};
    use super::*;

    fn grant(text: &str) -> NetGrant {
        text.parse().unwrap()
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_and_networks() {
        let network = grant("tcp://10.0.0.0/8:5432");
        assert!(network.allows_address(Tcp, address("10.255.0.1"), 5432));
        assert!(network.allows_address(Tcp, address("::ffff:10.1.2.3"), 5432));
        assert!(!network.allows_address(Tcp, address("11.0.0.1"), 5432));
        assert!(!network.allows_address(Tcp, address("10.0.0.1"), 5433));
        assert!(!network.allows_address(Udp, address("10.0.0.1"), 5432));
        assert!(!network.allows_lookup("db"));
        assert!(grant("0.0.0.0/0:*").allows_address(Udp, address("1.2.3.4"), 9));
        assert!(!grant("0.0.0.0/0:*").allows_address(Udp, address("::1"), 9));
        assert!(grant("[fd00::/8]:1-9").allows_address(Tcp, address("fd12::1"), 9));
        assert!(grant("[::/0]:1").allows_address(Tcp, address("fd12::1"), 1));
        assert!(grant("[::1]:80").allows_address(Tcp, address("::1"), 80));
        assert!(grant("*").allows_address(Udp, address("::1"), 0));
        assert!(grant("*:53").allows_address(Udp, address("9.9.9.9"), 53));
    }

    #[test]
    fn names_cover_what_they_resolve_to() {
        let db = grant("tcp://DB.example.com:5432");
        assert!(db.allows_lookup("db.EXAMPLE.com."));
        assert!(!db.allows_lookup("example.com"));
        assert!(db.allows_resolved(Tcp, "db.example.com", 5432));
        assert!(!db.allows_resolved(Tcp, "db.example.com", 22));
        assert!(!db.allows_resolved(Udp, "db.example.com", 5432));
        assert!(!db.allows_address(Tcp, address("10.0.0.1"), 5432));
    }

    #[test]
    fn what_two_grants_have_in_common() {
        let check = |asked: &str, allowed: &str, both: Option<&str>| {
            let found = grant(asked).and(&grant(allowed));
            let found = found.map(|found| found.to_string());
            assert_eq!(found.as_deref(), both, "{asked} and {allowed}");
        };
        check("*", "*", Some("*"));
        check("*", "tcp://a.b:80", Some("tcp://a.b:80"));
        check("tcp://a.b:80", "*", Some("tcp://a.b:80"));
        check("a.b:80", "udp://a.b:*", Some("udp://a.b:80"));
        check("tcp://a.b:80", "udp://a.b:80", None);
        check("a.b:80-90", "*:85-100", Some("a.b:85-90"));
        check("a.b:80-84", "*:85-100", None);
        check("a.b:1", "c.b:1", None);
        check("10.0.0.0/8:1", "10.1.0.0/16:1", Some("10.1.0.0/16:1"));
        check("10.1.0.0/16:1", "10.0.0.0/8:1", Some("10.1.0.0/16:1"));
        check("10.0.0.0/8:1", "11.0.0.0/8:1", None);
        check("0.0.0.0/0:1", "[::/0]:1", None);
        check("[::/0]:1", "[fd00::/8]:1", Some("[fd00::/8]:1"));
        check("a.b:1", "10.0.0.0/8:1", None);
        check("10.0.0.0/8:1", "a.b:1", None);
    }

    #[test]
    fn what_is_left_of_a_wide_grant_names_no_address() {
        let metadata = address("169.254.169.254");
        let exact = grant("tcp://169.254.169.254:80");
        for wide in ["*", "169.254.0.0/16:80", "*:80"] {
            let left = grant(wide).and(&exact).unwrap();
            assert!(left.allows_address(Tcp, metadata, 80), "{wide}");
            assert!(!left.is_very_address(metadata), "{wide}");
            assert!(!left.and(&exact).unwrap().is_very_address(metadata));
            assert!(exact.and(&grant(wide)).unwrap().is_very_address(metadata));
        }
    }

    #[test]
    fn spelling_reads_back() {
        for text in [
            "*",
            "*:53",
            "tcp://*:*",
            "udp://a.b:53",
            "localhost:8000-8100",
            "10.0.0.0/8:1",
            "127.0.0.1:80",
            "[::1]:80",
            "tcp://[fd00::/8]:*",
        ] {
            assert_eq!(grant(text).to_string(), text);
        }
    }

    #[test]
    fn bad_grants() {
        for bad in [
            "",
            "localhost",
            "tcp://localhost",
            "https://a:1",
            "sctp://a:1",
            "a:0",
            "a:65536",
            "a:9-1",
            "a:1-",
            "::1:80",
            "[::1]",
            "[::1:80",
            "[localhost]:80",
            "10.0.0.1/8:1",
            "10.0.0.0/33:1",
            "x/8:1",
            "tcp://2130706433:80",
            "tcp://0x7f.1:80",
            "127.1:80",
            "127.0.0.1.:80",
            "0177.0.0.1:80",
            "a b:1",
            ":80",
            "10.0.0.0/-1:1",
        ] {
            assert!(bad.parse::<NetGrant>().is_err(), "{bad:?}");
        }
        let stray_bits = "10.0.0.1/8:1".parse::<NetGrant>().unwrap_err();
        assert_eq!(stray_bits.hint(), Some("write `10.0.0.0/8`"));
    }
}
