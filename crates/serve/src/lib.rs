//! Serving apps: from a connection to an answer.
//!
//! **Purpose.** A [`Node`] holds an app, live: its routes, its components linked and ready, its
//! files. A [`Server`] accepts connections and hands each request to the node.
//!
//! **Place in the flow.** host → *serve* → answer.
//!
//! ```text
//! accept → route → admission → instance → stream
//! ```
//!
//! **Invariants.**
//! - On the warm path nothing is compiled, cloned or linked: that is [`activate`]'s work.
//! - Every request has a deadline to its response head, enforced outside the guest, and every
//!   body an idle limit. Beyond a component's concurrency requests wait in a bounded queue, and
//!   beyond that they get 503.
//! - A 0.2 instance belongs to one request and runs inside the task of its connection: when the
//!   client leaves, the guest ends. A 0.3 instance is shared by several.
//! - No blocking call on the reactor.
//!
//! **Left out on purpose.** Reading manifests and building (manifest, build); the terminal (cli).

#![forbid(unsafe_code)]

pub mod files;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod length;
pub mod log;
pub mod watch;

mod activate;
mod admin;
mod admission;
mod alarm;
mod answer;
mod answers;
mod app;
mod authority;
mod body;
mod capacity;
mod client_body;
mod clients;
mod component;
mod connection;
mod drain;
mod hosts;
mod http1;
mod http2;
mod late;
mod metrics;
mod node;
mod pace;
mod patience;
mod process_stat;
mod proxies;
mod request;
mod server;
mod telemetry;
mod tls;
mod untaken;
mod validity;
mod windows;

pub use activate::{ActivateError, AppTerms, Runtime, RuntimeOptions, activate};
pub use admin::Admin;
pub use app::{Absence, LiveApp};
pub use metrics::Metrics;
pub use node::{Node, NodeOptions};
pub use server::{Endpoint, ServeError, Server, ServerOptions};
pub use telemetry::{Telemetry, TelemetryError};
pub use tls::{CertificatePaths, Tls, TlsError};
pub use validity::Ending;
