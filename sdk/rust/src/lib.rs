#![doc = include_str!("../README.md")]
//!
//! # Place and limits
//!
//! The crate is linked into guests. It speaks the canonical ABI itself, with
//! the imports declared by hand in `wasi/*/raw.rs`: that is why a handler is
//! small, and why only what a guest uses is imported. It holds no router, no
//! JSON and no client beyond [`send`]; the crates for these work on its types.

#[cfg(any(
    test,
    all(feature = "allocator", target_family = "wasm", target_os = "unknown")
))]
mod allocator;
mod body;
mod channel;
pub mod collections;
mod error;
mod executor;
mod instance;
pub mod log;
pub mod random;
mod response;
pub mod time;
mod wasi;

pub use ::bytes::{self, Bytes};
pub use ::http;
pub use ::http_body;
pub use body::{BUFFER_BYTES_MAX, Body};
pub use channel::Sender;
pub use error::{Error, Result};
pub use executor::spawn;
pub use response::IntoResponse;
pub use wharf_sdk_macro::http;

/// A request, incoming or outgoing.
pub type Request = ::http::Request<Body>;

/// A response, outgoing or incoming.
pub type Response = ::http::Response<Body>;

/// Sends a request out, and gives the response when its head is there. Both
/// bodies stream.
///
/// The URI must be absolute. Headers that belong to a connection (`host`,
/// `connection`, `transfer-encoding` and the like) are left out, so that a
/// request can be passed on as it came.
///
/// # Errors
///
/// When the request cannot be sent: the text says which of WASI's error codes
/// the host gave. A component must be granted the address.
///
/// ```
/// use wharf_sdk::{Body, Response, Result, http};
///
/// async fn handle() -> Result<Response> {
///     let request = http::Request::get("https://example.com/").body(Body::empty())?;
///     wharf_sdk::send(request).await
/// }
/// ```
pub async fn send(request: Request) -> Result<Response> {
    wasi::send(request).await
}

#[doc(hidden)]
pub mod __private {
    pub use crate::wasi::exports::*;
}
