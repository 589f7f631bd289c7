//! WASI, in the version that the features choose: `p2` and `p3` offer the same
//! items, and the rest of the crate uses them through this module.

mod abi;
mod fields;

#[cfg(feature = "p2")]
#[path = "p2/mod.rs"]
mod version;
#[cfg(not(feature = "p2"))]
#[path = "p3/mod.rs"]
mod version;

pub(crate) use fields::expect_headers;
pub(crate) use version::{
    Parked, exports, monotonic_now_ns, random_bytes, random_u64, send, sleep, system_now,
    write_stderr,
};

/// A handler of the request with a handle, boxed so that the code around it exists once.
pub type Handler = fn(u32) -> HandlerFuture;

/// What a [`Handler`] gives.
pub type HandlerFuture = std::pin::Pin<Box<dyn Future<Output = fields::Answer>>>;
