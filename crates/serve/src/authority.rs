//! The host that a request is for, as it is written in `Host`, `:authority` or a target.

use std::net::Ipv6Addr;

use crate::request::Scheme;

/// A host and perhaps a port (RFC 3986, section 3.2), without a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HostPort<'a> {
    host: &'a [u8],
    port: Option<u16>,
}

impl<'a> HostPort<'a> {
    /// `None` if it is none. Encoded characters are not taken: no name that is looked up has
    /// them, and who decodes them sees another host.
    pub(crate) fn parse(text: &'a [u8]) -> Option<HostPort<'a>> {
        let (host, port) = if text.first() == Some(&b'[') {
            let end = text.iter().position(|byte| *byte == b']')?;
            let literal = std::str::from_utf8(&text[1..end]).ok()?;
            literal.parse::<Ipv6Addr>().ok()?;
            text.split_at(end + 1)
        } else {
            let end = text.iter().position(|byte| *byte == b':');
            let (host, port) = text.split_at(end.unwrap_or(text.len()));
            if host.is_empty() || !host.iter().all(|byte| is_name(*byte)) {
                return None;
            }
            (host, port)
        };
        let port = match port {
            [] | [b':'] => None,
            [b':', digits @ ..] => Some(number(digits)?),
            _ => return None,
        };
        Some(HostPort { host, port })
    }

    /// The host, an IPv6 address in its brackets.
    pub(crate) fn host(&self) -> &'a str {
        // Only ASCII was taken.
        std::str::from_utf8(self.host).unwrap_or_default()
    }

    /// Whether there is a port.
    pub(crate) fn has_port(&self) -> bool {
        self.port.is_some()
    }

    /// Whether both are the same origin under `scheme`.
    pub(crate) fn is_same(&self, other: &HostPort<'_>, scheme: Scheme) -> bool {
        let port = |of: &HostPort<'_>| of.port.unwrap_or(scheme.port());
        self.host.eq_ignore_ascii_case(other.host) && port(self) == port(other)
    }
}

/// `unreserved` and `sub-delims` of RFC 3986.
fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte)
}

fn number(digits: &[u8]) -> Option<u16> {
    if digits.len() > 5 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_what_is_none() {
        for good in [
            "a",
            "example.com",
            "A.B:80",
            "a:",
            "127.0.0.1:65535",
            "[::1]",
            "[2001:db8::7]:443",
            "a_b.c",
            "*",
        ] {
            assert!(HostPort::parse(good.as_bytes()).is_some(), "{good}");
        }
        for bad in [
            "",
            ":80",
            "a:x",
            "a:-1",
            "a:+1",
            "a:65536",
            "a:000080",
            "a:80:80",
            "me@a",
            "a b",
            "a/b",
            "a?b",
            "a#b",
            "a\\b",
            "a%20",
            "[::1",
            "::1",
            "[a]",
            "[::1]a",
            "[::1]:x",
            "[v1.a]",
            "a\t",
            "a\0",
            "a,b c",
            "\u{e4}",
            "[fe80::1%25eth0]",
            "a\"",
        ] {
            assert!(HostPort::parse(bad.as_bytes()).is_none(), "{bad}");
        }
    }

    #[test]
    fn the_scheme_s_own_port_may_be_left_out() {
        let same = |a: &str, b: &str, scheme| {
            let [a, b] = [a, b].map(|text| HostPort::parse(text.as_bytes()).unwrap());
            a.is_same(&b, scheme)
        };
        assert!(same("a", "A:80", Scheme::Http));
        assert!(same("a:443", "a", Scheme::Https));
        assert!(!same("a", "a:80", Scheme::Https));
        assert!(!same("a", "b", Scheme::Http));
        assert!(!same("a", "a.", Scheme::Http));
    }
}
