//! Outgoing HTTP: granted origins only, through one pooled client a component.
//!
//! The grant is looked at before anything leaves, and so for every redirect that a guest follows:
//! that is a request of its own. The addresses that the name resolves to are looked at on every
//! new connection, which goes to one of the very addresses that were looked at.
//!
//! What the host keeps of a guest's requests is counted to the guest's memory.
//!
//! Pools are not shared between components: nobody finds a connection that another's request, or
//! the way it signed in, has left its mark on.

mod client;
mod connect;
mod hooks;
mod idle;
pub(crate) mod kept;
mod policy;

use http::Uri;
use wharf_manifest::HttpScheme;

use idle::IdleBody;

pub(crate) use client::{HttpClient, Tls};
pub(crate) use hooks::Hooks;

/// The port of `uri` if it names none.
fn default_port(uri: &Uri) -> u16 {
    let scheme = match uri.scheme_str() {
        Some("https") => HttpScheme::Https,
        _ => HttpScheme::Http,
    };
    scheme.default_port()
}
