//! What a node's operator allows of addresses that are not of the public network.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::host_name;
use crate::address_range::AddressRange;
use crate::invalid::{InvalidValue, quote};
use crate::text::written_as_text;

/// Leave for guests of a node to reach addresses that are not public: an address (`10.0.0.5`,
/// `::1`), a network (`10.1.0.0/16`, `fd00::/8`), or a host name (`db.internal`), whose addresses
/// may then be private.
///
/// It gives no guest anything by itself: what a guest reaches its manifest asks for, and this
/// only stops the node from refusing it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PrivateAddress(Allowed);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Allowed {
    Network(AddressRange),
    /// In lower case, without a trailing dot.
    Name(String),
}

impl PrivateAddress {
    /// Whether `address` is allowed, whatever it was called.
    pub fn covers_address(&self, address: IpAddr) -> bool {
        matches!(&self.0, Allowed::Network(network) if network.contains(address))
    }

    /// Whether this names `address` and no other.
    pub fn is_very_address(&self, address: IpAddr) -> bool {
        matches!(&self.0, Allowed::Network(network) if *network == AddressRange::of(address))
    }

    /// The name, in lower case, if it is one.
    pub fn name(&self) -> Option<&str> {
        match &self.0 {
            Allowed::Network(_) => None,
            Allowed::Name(name) => Some(name),
        }
    }

    /// Whether what `name` resolves to is allowed.
    pub fn covers_name(&self, name: &str) -> bool {
        let name = name.strip_suffix('.').unwrap_or(name);
        matches!(&self.0, Allowed::Name(allowed) if name.eq_ignore_ascii_case(allowed))
    }
}

impl FromStr for PrivateAddress {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        if text.contains('*') {
            return Err(
                InvalidValue::new(format!("{} is not a private address", quote(text)))
                    .with_hint("name networks, as `10.0.0.0/8`, or hosts, one by one"),
            );
        }
        if let Some(bare) = text.strip_prefix('[') {
            return Err(InvalidValue::new(format!(
                "the address {} stands in brackets",
                quote(text)
            ))
            .with_hint(format!("write {}", quote(bare.trim_end_matches(']')))));
        }
        if text.contains("://") {
            return Err(
                InvalidValue::new(format!("{} is not a private address", quote(text)))
                    .with_hint("write the host alone, without a scheme and a port"),
            );
        }
        let is_network = text.contains(['/', ':']) || text.parse::<IpAddr>().is_ok();
        Ok(Self(if is_network {
            Allowed::Network(text.parse()?)
        } else {
            Allowed::Name(host_name(text)?)
        }))
    }
}

impl fmt::Display for PrivateAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Allowed::Network(network) => write!(f, "{network}"),
            Allowed::Name(name) => f.write_str(name),
        }
    }
}

written_as_text!(PrivateAddress, {
    "description": "An address, a network as `10.1.0.0/16`, or a host name whose addresses may be private.",
    "type": "string",
    "pattern": "^[0-9A-Za-z._:-]+(/[0-9]+)?$",
    "examples": ["10.0.0.5", "10.1.0.0/16", "fd00::/8", "db.internal"]
});

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn private(text: &str) -> PrivateAddress {
        text.parse().unwrap()
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_networks_and_names() {
        let one = private("10.0.0.5");
        assert!(one.covers_address(address("10.0.0.5")));
        assert!(one.covers_address(address("::ffff:10.0.0.5")));
        assert!(!one.covers_address(address("10.0.0.6")));
        assert!(one.is_very_address(address("10.0.0.5")));
        let network = private("10.1.0.0/16");
        assert!(network.covers_address(address("10.1.255.255")));
        assert!(!network.covers_address(address("10.2.0.0")));
        assert!(!network.is_very_address(address("10.1.0.0")));
        assert!(private("fd00::/8").covers_address(address("fdff::1")));
        assert!(private("::1").is_very_address(address("::1")));
        assert!(private("0.0.0.0/0").covers_address(address("127.0.0.1")));
        assert!(!private("0.0.0.0/0").covers_address(address("::1")));
        let name = private("DB.internal.");
        assert!(name.covers_name("db.INTERNAL"));
        assert!(name.covers_name("db.internal."));
        assert!(!name.covers_name("internal"));
        assert!(!name.covers_name("a.db.internal"));
        assert!(!name.covers_address(address("10.0.0.5")));
    }

    #[test]
    fn spelling_reads_back() {
        for text in ["10.0.0.5", "10.1.0.0/16", "fd00::/8", "::1", "db.internal"] {
            assert_eq!(private(text).to_string(), text);
        }
        assert_eq!(private("::ffff:10.0.0.5").to_string(), "10.0.0.5");
    }

    #[test]
    fn bad_ones_say_what_to_write() {
        for bad in [
            "",
            "*",
            "*.internal",
            "[::1]",
            "10.0.0.0/33",
            "10.0.0.1/8",
            "10.0.0.5:80",
            "a b",
            "a/8",
            "tcp://10.0.0.5",
            "2130706433",
            "0x7f.1",
            "127.1",
            "010.0.0.1",
            "10.0.0.5.",
            "fe80::1%eth0",
            "..",
        ] {
            assert!(bad.parse::<PrivateAddress>().is_err(), "{bad:?}");
        }
        let hint = |text: &str| {
            text.parse::<PrivateAddress>()
                .unwrap_err()
                .hint()
                .unwrap()
                .to_owned()
        };
        assert_eq!(hint("[::1]"), "write `::1`");
        assert_eq!(hint("10.1.0.9/16"), "write `10.1.0.0/16`");
        assert_eq!(
            hint("127.1"),
            "write an address as four numbers: `127.0.0.1`"
        );
    }
}
