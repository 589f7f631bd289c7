//! Outgoing HTTP: granted origins only, through one pooled client.
//!
//! The grant is looked at before anything leaves; the address that the name resolves to is
//! looked at again on every new connection, since a name can point anywhere.

mod client;
mod hooks;
mod idle;

pub use client::HttpClient;
pub(crate) use hooks::Hooks;
pub use idle::IdleBody;

use http::Uri;
use wharf_manifest::HttpGrant;

use crate::denial::{Denial, Denials};

/// Which origins a guest may ask.
#[derive(Debug, Clone)]
pub struct EgressPolicy {
    grants: std::sync::Arc<[HttpGrant]>,
    denials: Denials,
}

impl EgressPolicy {
    pub(crate) fn new(grants: Vec<HttpGrant>, denials: Denials) -> EgressPolicy {
        EgressPolicy {
            grants: grants.into(),
            denials,
        }
    }

    /// Whether a request to `uri` may leave. A refusal is reported.
    pub(crate) fn allows(&self, uri: &Uri) -> bool {
        let (Some(scheme), Some(host)) = (uri.scheme_str(), uri.host()) else {
            return false;
        };
        let default_port = if scheme == "https" { 443 } else { 80 };
        let port = uri.port_u16().unwrap_or(default_port);
        let allowed = self
            .grants
            .iter()
            .any(|grant| grant.allows(scheme, host, port));
        if !allowed {
            let origin = if port == default_port {
                format!("{scheme}://{host}")
            } else {
                format!("{scheme}://{host}:{port}")
            };
            self.denials.record(Denial {
                what: format!("outgoing HTTP to {origin}"),
                manifest_line: format!("http = [\"{origin}\"]"),
                flag: format!("--http {origin}"),
                asked_only: false,
            });
        }
        allowed
    }
}
