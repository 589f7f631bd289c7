//! What the operator of a node decides: `node.toml`.

mod allowance;
mod ceilings;
mod host_name;
mod lower;
mod raw;

use std::collections::BTreeMap;
use std::net::SocketAddr;

pub use allowance::{Allowance, Withheld};
pub use ceilings::{Ceilings, Lowered};
pub use host_name::HostName;
pub(crate) use raw::NodeTable;

use crate::address_range::AddressRange;
use crate::error::ManifestErrors;
use crate::grant::PrivateAddress;
use crate::name::AppName;
use crate::parse::parse_document;
use crate::parse::value::NodeVersion;
use crate::size::ByteSize;

/// What one `node.toml` describes: where a node listens, which apps it serves under which names,
/// and what none of them may exceed.
///
/// From [`parse_node`] it always holds that no two apps share a host name, that at most one app
/// has none, and that there is an address to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeConfig {
    /// Addresses for HTTP without TLS. Default `127.0.0.1:3000`, or none if there is TLS.
    pub listen: Vec<SocketAddr>,
    /// The address for metrics and health. Default `127.0.0.1:3900`.
    pub admin: Option<SocketAddr>,
    /// Addresses and certificates for HTTPS.
    pub tls: Option<NodeTls>,
    /// Proxies whose `Forwarded` and `X-Forwarded-*` are believed.
    pub trusted_proxies: Vec<AddressRange>,
    /// What guests may reach besides the public network, unless their app has a list of its own.
    /// Default nothing.
    pub private_addresses: Vec<PrivateAddress>,
    /// Where those proxies write it.
    pub forwarded_field: ForwardedField,
    /// What all apps together may use up.
    pub limits: NodeLimits,
    /// What the limits of a component are lowered to.
    pub ceilings: Ceilings,
    /// The apps by the names under which the node knows them.
    pub apps: BTreeMap<AppName, NodeApp>,
}

/// The header field in which trusted proxies tell of their clients. The other one they pass on as
/// clients write it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ForwardedField {
    /// `X-Forwarded-For` and `X-Forwarded-Proto`, as most proxies write.
    #[default]
    XForwardedFor,
    /// `Forwarded`, by RFC 7239.
    Forwarded,
}

/// HTTPS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeTls {
    /// Addresses, at least one.
    pub listen: Vec<SocketAddr>,
    /// At least one; the first serves clients that name no host, or one of no certificate.
    pub certificates: Vec<CertificateFiles>,
}

/// A certificate in two PEM files. Relative paths lie below the folder of `node.toml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate, then those that signed it.
    pub chain: String,
    /// Its private key.
    pub key: String,
}

/// Ceilings of the node as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeLimits {
    /// Memories and tables of all instances together. Default three quarters of what the machine
    /// or its control group has.
    pub memory: Option<ByteSize>,
    /// Connections at once. Default 10,000.
    pub connections: u32,
    /// Connections at once from one client: an IPv4 address, or the first 64 bits of an IPv6
    /// one. Default 1,000.
    pub connections_per_client: u32,
}

impl Default for NodeLimits {
    fn default() -> Self {
        Self {
            memory: None,
            connections: 10_000,
            connections_per_client: 1_000,
        }
    }
}

/// One app of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeApp {
    /// A folder with a `wharf.toml`, a `.wasm` file, or `NAME:VERSION` of an app in the store.
    /// Relative paths lie below the folder of `node.toml`.
    pub source: String,
    /// Names under which it is asked for; empty for the app that answers for all other names.
    pub hosts: Vec<HostName>,
    /// Memories and tables of all its instances together. Default the node's.
    pub memory: Option<ByteSize>,
    /// What its components may reach besides the public network. Default what the node says.
    pub private_addresses: Option<Vec<PrivateAddress>>,
    /// What its components may be granted. Default all that they ask for.
    pub allow: Allowance,
}

/// Most apps that a node file may name.
pub const NODE_APP_COUNT_MAX: usize = 10_000;

/// Reads `text`, the content of a `node.toml`; `file` names it in messages.
///
/// Nothing on the disk is looked at.
///
/// # Errors
/// All mistakes that are found, in the order of their places.
pub fn parse_node(text: &str, file: &str) -> Result<NodeConfig, ManifestErrors> {
    parse_document::<NodeTable, NodeVersion, _>(text, file, "node", lower::lower)
}
