//! Names under which an app is asked for.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::grant::host_name;
use crate::invalid::{InvalidValue, quote};
use crate::text::written_as_text;

/// `example.com`, `*.example.com` (every name below it, not itself), or an IP address, without
/// a port. In lower case; an IPv6 address stands in brackets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostName(String);

impl HostName {
    /// The name as it is written, with `*.` in front for all names below one.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name below which all are meant, if it is such.
    pub fn parent(&self) -> Option<&str> {
        self.0.strip_prefix("*.")
    }
}

impl FromStr for HostName {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let inside = text
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        if let Some(address) = inside.and_then(|inside| inside.parse::<std::net::Ipv6Addr>().ok()) {
            return Ok(Self(format!("[{address}]")));
        }
        if text
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_ipv6())
        {
            return Err(InvalidValue::new("an IPv6 address stands in brackets")
                .with_hint(format!("write `[{text}]`")));
        }
        if let Some((name, port)) = text.rsplit_once(':')
            && port.bytes().all(|byte| byte.is_ascii_digit())
        {
            return Err(
                InvalidValue::new(format!("the host {} has a port", quote(text)))
                    .with_hint(format!("write {}", quote(name))),
            );
        }
        match text.strip_prefix("*.") {
            Some(parent) => {
                let parent = host_name(parent)?;
                if parent.parse::<IpAddr>().is_ok() {
                    return Err(InvalidValue::new(format!(
                        "{} is not a host name: there are no names below an address",
                        quote(text)
                    ))
                    .with_hint(format!("write {}", quote(&parent))));
                }
                Ok(Self(format!("*.{parent}")))
            }
            None => host_name(text).map(Self),
        }
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

written_as_text!(HostName, {
    "description": "A host name, *.NAME for every name below one, or an IP address, without a port.",
    "type": "string",
    "minLength": 1,
    "pattern": "^[^/:]+$|^\\[[0-9A-Fa-f.:]+\\]$"
});

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_are_compared_in_lower_case_and_without_their_last_dot() {
        for (text, expected) in [
            ("Example.COM.", "example.com"),
            ("*.example.com", "*.example.com"),
            ("127.0.0.1", "127.0.0.1"),
            ("[::1]", "[::1]"),
            ("localhost", "localhost"),
        ] {
            assert_eq!(text.parse::<HostName>().unwrap().as_str(), expected);
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for text in [
            "",
            "*",
            "*.",
            "a.*.b",
            "*.127.0.0.1",
            "*.127.0.0.1.",
            "127.0.0.1.",
            "example.com:80",
            "::1",
            "a/b",
            "ü.example",
            "a b",
        ] {
            assert!(text.parse::<HostName>().is_err(), "{text}");
        }
    }
}
