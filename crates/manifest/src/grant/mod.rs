//! Grants: the pieces of authority that a component asks for.

mod files;
mod http;
mod net;
mod private;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

pub use files::FileGrant;
pub use http::{HttpGrant, HttpScheme};
pub use net::{NetGrant, NetHost, NetProtocol};
pub use private::PrivateAddress;

use crate::invalid::{InvalidValue, quote};

/// Everything that a component asks for; by default nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grants {
    /// Servers it may send HTTP requests to.
    pub http: Vec<HttpGrant>,
    /// Addresses it may open sockets to.
    pub net: Vec<NetGrant>,
    /// Folders it sees.
    pub files: Vec<FileGrant>,
    /// Environment variables it sees.
    pub env: BTreeMap<String, String>,
}

impl Grants {
    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        self.http.is_empty() && self.net.is_empty() && self.files.is_empty() && self.env.is_empty()
    }
}

/// `host` in lower case without a trailing dot, once it is a DNS name or IPv4 address.
pub(crate) fn host_name(host: &str) -> Result<String, InvalidValue> {
    let name = host.strip_suffix('.').unwrap_or(host);
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    // An address is one without a dot behind it: with one it would be compared as a name.
    if ends_in_a_number(name) && host.parse::<Ipv4Addr>().is_err() {
        return Err(
            InvalidValue::new(format!("{} is not a host name", quote(host)))
                .with_hint("write an address as four numbers: `127.0.0.1`"),
        );
    }
    if name.len() <= 253 && name.split('.').all(is_label) {
        return Ok(name.to_ascii_lowercase());
    }
    let invalid = InvalidValue::new(format!("{} is not a host name", quote(host)));
    Err(if host.is_ascii() {
        invalid
    } else {
        invalid.with_hint("write the name in its ASCII form (`xn--…`)")
    })
}

/// Whether resolvers may take `name` for an address in one of its old forms: decimal, octal,
/// hexadecimal, or with fewer than four parts. No name of the DNS ends so.
///
/// The rule is the "ends in a number" of the URL standard.
pub fn ends_in_a_number(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    if !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit()) {
        return true;
    }
    let hexadecimal = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    hexadecimal.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// `text` as a port from 1 to 65535.
fn port_number(text: &str) -> Result<u16, InvalidValue> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse::<u16>() {
        Ok(port) if digits && port > 0 => Ok(port),
        _ => Err(InvalidValue::new(format!("{} is not a port", quote(text)))
            .with_hint("ports go from 1 to 65535")),
    }
}
