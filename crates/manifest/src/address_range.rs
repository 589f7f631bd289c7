//! Ranges of IP addresses.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::invalid::{InvalidValue, quote};
use crate::text::written_as_text;

/// An address (`10.0.0.5`) or a range of them (`10.0.0.0/8`, `fd00::/8`), as RFC 4632 and
/// RFC 4291 (section 2.3) write them.
///
/// An IPv4 address that is wrapped in an IPv6 one (`::ffff:10.0.0.5`) is that IPv4 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressRange {
    first: IpAddr,
    prefix: u8,
}

impl AddressRange {
    /// Whether `address` lies in the range.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.first, address.to_canonical()) {
            (IpAddr::V4(first), IpAddr::V4(address)) => {
                let shift = 32 - u32::from(self.prefix);
                first.to_bits().checked_shr(shift) == address.to_bits().checked_shr(shift)
            }
            (IpAddr::V6(first), IpAddr::V6(address)) => {
                let shift = 128 - u32::from(self.prefix);
                first.to_bits().checked_shr(shift) == address.to_bits().checked_shr(shift)
            }
            _ => false,
        }
    }

    /// The addresses of both ranges: one of the two, if they have any in common.
    pub fn and(&self, other: &Self) -> Option<Self> {
        let (wide, narrow) = match self.prefix <= other.prefix {
            true => (self, other),
            false => (other, self),
        };
        wide.contains(narrow.first).then_some(*narrow)
    }

    /// The range of this address alone.
    pub fn of(address: IpAddr) -> Self {
        let first = address.to_canonical();
        Self {
            first,
            prefix: width(first),
        }
    }
}

fn width(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// `address` with nothing but its first `prefix` bits.
fn network(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & mask))
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
        }
    }
}

impl FromStr for AddressRange {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let invalid = || {
            InvalidValue::new(format!("{} is no address or range", quote(text)))
                .with_hint("write `10.0.0.5`, `10.0.0.0/8` or `fd00::/8`")
        };
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| invalid())?;
        let Some(prefix) = prefix else {
            return Ok(Self::of(address));
        };
        if prefix.is_empty() || !prefix.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(invalid());
        }
        let prefix: u8 = prefix
            .parse()
            .ok()
            .filter(|prefix| *prefix <= width(address))
            .ok_or_else(invalid)?;
        let first = network(address, prefix);
        if first != address {
            return Err(
                InvalidValue::new(format!("{} has bits beyond its prefix", quote(text)))
                    .with_hint(format!("write `{first}/{prefix}`")),
            );
        }
        if address.to_canonical() != address {
            return Err(invalid());
        }
        Ok(Self { first, prefix })
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.prefix == width(self.first) {
            true => write!(f, "{}", self.first),
            false => write!(f, "{}/{}", self.first, self.prefix),
        }
    }
}

written_as_text!(AddressRange, {
    "description": "An IP address or a range such as 10.0.0.0/8.",
    "type": "string",
    "pattern": "^[0-9A-Fa-f.:]+(/[0-9]+)?$"
});

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn contains(range: &str, address: &str) -> bool {
        let range: AddressRange = range.parse().unwrap();
        range.contains(address.parse().unwrap())
    }

    #[test]
    fn a_range_contains_what_begins_alike() {
        assert!(contains("10.0.0.0/8", "10.255.0.1"));
        assert!(!contains("10.0.0.0/8", "11.0.0.1"));
        assert!(contains("10.0.0.5", "10.0.0.5"));
        assert!(!contains("10.0.0.5", "10.0.0.4"));
        assert!(contains("0.0.0.0/0", "192.0.2.1"));
        assert!(!contains("0.0.0.0/0", "2001:db8::1"));
        assert!(contains("::/0", "2001:db8::1"));
        assert!(contains("fd00::/8", "fdff::1"));
        assert!(contains("10.0.0.0/8", "::ffff:10.1.2.3"));
        assert!(!contains("::/0", "::ffff:10.1.2.3"));
    }

    #[test]
    fn a_range_is_written_as_it_is_read() {
        for text in ["10.0.0.0/8", "10.0.0.5", "fd00::/8", "::1", "0.0.0.0/0"] {
            assert_eq!(text.parse::<AddressRange>().unwrap().to_string(), text);
        }
        let mapped: AddressRange = "::ffff:10.0.0.5".parse().unwrap();
        assert_eq!(mapped.to_string(), "10.0.0.5");
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in [
            "",
            "10",
            "10.0.0",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/+8",
            "::/129",
            "10.0.0.1/8",
            "fd00::1/8",
            "010.0.0.1",
            "::ffff:10.0.0.0/104",
            "a.example/8",
        ] {
            assert!(text.parse::<AddressRange>().is_err(), "{text}");
        }
        let error = "10.0.0.1/8".parse::<AddressRange>().unwrap_err();
        assert_eq!(error.hint(), Some("write `10.0.0.0/8`"));
    }
}
