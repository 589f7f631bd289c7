//! Whom a guest means by the text of a host.

use std::net::{IpAddr, Ipv6Addr};

use wharf_manifest::ends_in_a_number;

/// Longest text that is looked at, in bytes; a name of the DNS has 253.
const TEXT_LENGTH_MAX: usize = 1024;
const NAME_LENGTH_MAX: usize = 253;
const LABEL_LENGTH_MAX: usize = 63;

/// A host in its one form, that grants are compared with and that is connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Destination {
    /// Never an IPv4 address in IPv6 form.
    Address(IpAddr),
    /// In lower case and ASCII, without a trailing dot.
    Name(String),
}

impl Destination {
    /// What `host` means, which may be in any script: an address as it is usually written, in
    /// brackets or not, or a name. `None` for everything else: resolvers take `127.1`,
    /// `2130706433` and `0x7f.1` for addresses, and what they would make of `a b` nobody knows.
    pub(crate) fn of(host: &str) -> Option<Destination> {
        if host.len() > TEXT_LENGTH_MAX {
            return None;
        }
        if !host.is_ascii() {
            let ascii = idna::domain_to_ascii(host).ok()?;
            return name(&ascii).map(Destination::Name);
        }
        if let Some(inside) = host.strip_prefix('[') {
            let address: Ipv6Addr = inside.strip_suffix(']')?.parse().ok()?;
            return Some(Destination::Address(IpAddr::V6(address).to_canonical()));
        }
        match host.parse::<IpAddr>() {
            Ok(address) => Some(Destination::Address(address.to_canonical())),
            Err(_) => name(host).map(Destination::Name),
        }
    }

    /// As it stands in a URL.
    pub(crate) fn in_url(&self) -> String {
        match self {
            Destination::Address(IpAddr::V6(address)) => format!("[{address}]"),
            Destination::Address(address) => address.to_string(),
            Destination::Name(name) => name.clone(),
        }
    }
}

fn name(text: &str) -> Option<String> {
    let name = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        (1..=LABEL_LENGTH_MAX).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    (name.len() <= NAME_LENGTH_MAX && !ends_in_a_number(name) && name.split('.').all(is_label))
        .then(|| name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_in_their_usual_form() {
        for (text, address) in [
            ("127.0.0.1", "127.0.0.1"),
            ("::1", "::1"),
            ("[::1]", "::1"),
            ("[0:0:0:0:0:0:0:1]", "::1"),
            ("::ffff:10.0.0.1", "10.0.0.1"),
            ("[::ffff:7f00:1]", "127.0.0.1"),
            ("::127.0.0.1", "::127.0.0.1"),
            ("2001:DB8::1", "2001:db8::1"),
        ] {
            let address = Destination::Address(address.parse().unwrap());
            assert_eq!(Destination::of(text), Some(address), "{text}");
        }
    }

    #[test]
    fn names_in_one_form() {
        for (text, name) in [
            ("localhost", "localhost"),
            ("API.Example.COM", "api.example.com"),
            ("example.com.", "example.com"),
            ("_sip._tcp.example", "_sip._tcp.example"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("ｅｘａｍｐｌｅ。com", "example.com"),
            ("1.2.3.4.example", "1.2.3.4.example"),
            ("0x7f.example", "0x7f.example"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ] {
            assert_eq!(
                Destination::of(text),
                Some(Destination::Name(name.into())),
                "{text}"
            );
        }
    }

    #[test]
    fn odd_forms_are_nothing() {
        let (long_label, long_name) = ("a".repeat(64), "a.".repeat(127) + "a");
        let longest = "ü".repeat(100_000);
        for text in [
            "",
            ".",
            "..",
            "a..b",
            ".a",
            "a..",
            "2130706433",
            "0x7f000001",
            "0x7f.1",
            "0X7F.1",
            "127.1",
            "127.0.1",
            "0177.0.0.1",
            "127.0.0.01",
            "127.0.0.1.",
            "127.0.0.1.2",
            "256.0.0.1",
            "a.1",
            "a.0x1",
            "0x",
            "1",
            "[::1",
            "::1]",
            "[127.0.0.1]",
            "[::1%eth0]",
            "fe80::1%1",
            "a b",
            "a\0b",
            "a\n",
            "a/b",
            "a:80",
            "a@b",
            "user:pw@a",
            "%31",
            "127%2e0.0.1",
            "*",
            "*.a",
            "１２７.0.0.1",
            "①②⑦.0.0.1",
            "127。0。0。1",
            "\u{202e}a",
            &long_label,
            &long_name,
            &longest,
        ] {
            assert_eq!(Destination::of(text), None, "{text:.40}");
        }
    }
}
