//! The nouns of wharf: apps, components, names, digests, grants and limits.
//!
//! First in the flow: `wharf.toml` becomes an [`App`] here, and everything after works on it.
//! What a person wrote is read once, into types that cannot be wrong.
//!
//! Invariants: pure values and no I/O, so it also builds for `wasm32-unknown-unknown`; reading is
//! bounded in time and memory whatever the input; a mistake has a place, a reason and, where
//! possible, a hint.
//!
//! The operator's `node.toml` becomes a [`NodeConfig`] in the same way.
//!
//! Left out on purpose: what lies on the disk, anything of WebAssembly.

#![forbid(unsafe_code)]

mod address_range;
mod app;
mod canonical;
mod digest;
mod duration;
mod error;
mod grant;
mod invalid;
mod limits;
mod name;
mod node;
mod parse;
mod path;
mod route;
mod schema;
mod size;
mod text;

pub use address_range::AddressRange;
pub use app::{
    App, BuildOptions, COMPONENT_COUNT_MAX, CommandTrigger, Component, FilesTarget, HttpTarget,
    HttpTrigger, Isolation, ROUTE_COUNT_MAX, Source, Triggers,
};
pub use canonical::CanonicalError;
pub use digest::Digest;
pub use duration::{format_duration, parse_duration};
pub use error::{ManifestError, ManifestErrors};
pub use grant::{
    FileGrant, Grants, HttpGrant, HttpScheme, NetGrant, NetHost, NetProtocol, PrivateAddress,
    ends_in_a_number,
};
pub use invalid::InvalidValue;
pub use limits::Limits;
pub use name::{AppName, ComponentName, NAME_LENGTH_MAX, NAME_RULE};
pub use node::{
    Allowance, Ceilings, CertificateFiles, ForwardedField, HostName, Lowered, NODE_APP_COUNT_MAX,
    NodeApp, NodeConfig, NodeLimits, NodeTls, Withheld, parse_node,
};
pub use parse::{MANIFEST_SIZE_MAX, parse_app};
pub use path::AppPath;
pub use route::{RoutePattern, Specificity};
pub use schema::{app_schema, node_schema};
pub use size::ByteSize;
