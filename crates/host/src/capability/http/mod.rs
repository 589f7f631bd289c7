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
                survived_by_many: false,
            });
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[test]
    fn only_granted_origins_are_asked_and_a_refusal_is_told_once() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let denials = Denials::new({
            let told = Arc::clone(&told);
            move |denial| told.lock().unwrap().push(denial.manifest_line.clone())
        });
        let grants = ["https://api.example.com", "http://127.0.0.1:8080"];
        let grants = grants.iter().map(|grant| grant.parse().unwrap()).collect();
        let policy = EgressPolicy::new(grants, denials);
        let allows = |uri: &str| policy.allows(&uri.parse().unwrap());
        assert!(allows("https://api.example.com/a?b"));
        assert!(allows("https://api.example.com:443/"));
        assert!(allows("http://127.0.0.1:8080/"));
        assert!(!allows("http://api.example.com/"));
        assert!(!allows("https://api.example.com:8443/"));
        assert!(!allows("https://api.example.com.evil.example/"));
        assert!(!allows("http://127.0.0.1/"));
        assert!(!allows("http://127.0.0.1/again"));
        assert!(!allows("/no-origin"));
        assert_eq!(
            *told.lock().unwrap(),
            [
                "http = [\"http://api.example.com\"]",
                "http = [\"https://api.example.com:8443\"]",
                "http = [\"https://api.example.com.evil.example\"]",
                "http = [\"http://127.0.0.1\"]",
            ]
        );
    }

    #[test]
    fn metadata_addresses_are_known_in_every_form() {
        for uri in [
            "http://169.254.169.254/latest",
            "http://[fd00:ec2::254]/",
            "http://[::ffff:169.254.169.254]/",
            "http://[fe80::1]/",
        ] {
            assert!(client::names_metadata(&uri.parse().unwrap()), "{uri}");
        }
        for uri in ["http://127.0.0.1/", "http://example.com/", "http://[::1]/"] {
            assert!(!client::names_metadata(&uri.parse().unwrap()), "{uri}");
        }
    }
}
